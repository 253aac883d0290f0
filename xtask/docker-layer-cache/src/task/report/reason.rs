//! Why a step hit or ran, in words for people. Pure.

use crate::engine::StepResult;

/// What is known about a step.
pub(super) struct Why<'a> {
    /// What became of it.
    pub(super) result: StepResult,
    /// The builder was offered nothing of the store.
    pub(super) nothing_offered: bool,
    /// Its layer was left out of the offer because it would not pay.
    pub(super) left_out: bool,
    /// The nearest step before it in its stage that ran: line and instruction.
    pub(super) after: Option<(Option<usize>, &'a str)>,
}

/// Returns the reason.
pub(super) fn reason(why: &Why<'_>) -> String {
    if why.result == StepResult::Hit {
        return "taken from the cache: nothing that it depends on changed".to_owned();
    }
    if why.result == StepResult::Failed {
        return "it failed".to_owned();
    }
    if why.left_out {
        return "running it is faster than bringing its layer in".to_owned();
    }
    if why.nothing_offered {
        return "the builder was offered nothing of the store".to_owned();
    }
    if let Some((line, instruction)) = why.after {
        let line = line.map_or_else(String::new, |line| format!("line {line}, "));
        return format!("a step before it ran: {line}`{instruction}`");
    }
    "the first of its stage that ran: its instruction, its base or a file that it takes is not as \
     in the store"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_name_what_came_first() {
        let mut why = Why {
            result: StepResult::Run,
            nothing_offered: false,
            left_out: false,
            after: None,
        };
        assert!(reason(&why).starts_with("the first of its stage"));
        why.after = Some((Some(3), "COPY a b"));
        assert_eq!(reason(&why), "a step before it ran: line 3, `COPY a b`");
        why.nothing_offered = true;
        assert!(reason(&why).contains("offered nothing"));
        why.left_out = true;
        assert!(reason(&why).contains("faster"));
        why.result = StepResult::Hit;
        assert!(reason(&why).starts_with("taken from the cache"));
    }
}
