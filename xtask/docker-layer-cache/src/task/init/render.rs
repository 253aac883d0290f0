//! Texts: templates with their places filled, and the diff of what is proposed.

use similar::TextDiff;

use super::propose::Change;

/// Fills the places `@name@` of a template. A place that stands alone on a line takes a text of any
/// number of lines; one that is filled with nothing takes its line with it.
pub(super) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut text = String::with_capacity(template.len());
    for line in template.split_inclusive('\n') {
        let alone = values
            .iter()
            .find(|(name, _)| line.trim() == format!("@{name}@"));
        if let Some((_, value)) = alone {
            text.push_str(value);
            if !value.is_empty() && !value.ends_with('\n') {
                text.push('\n');
            }
            continue;
        }
        let mut line = line.to_owned();
        for (name, value) in values {
            line = line.replace(&format!("@{name}@"), value);
        }
        text.push_str(&line);
    }
    text
}

/// Returns the changes as one unified diff, as `git apply` takes it.
pub(super) fn diff(changes: &[Change]) -> String {
    let one = |change: &Change| {
        let path = &change.path;
        let before = change.before.as_deref().unwrap_or_default();
        let from = match &change.before {
            Some(_) => format!("a/{path}"),
            None => "/dev/null".to_owned(),
        };
        let diff = TextDiff::from_lines(before, &change.after);
        let mut unified = diff.unified_diff();
        unified
            .context_radius(3)
            .header(&from, &format!("b/{path}"));
        unified.to_string()
    };
    changes.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled() {
        for (template, expected) in [
            ("a @x@ b @x@\n", "a 1 b 1\n"),
            ("@lines@\nend\n", "one\ntwo\nend\n"),
            ("  @none@\nend\n", "end\n"),
            ("me@example.com @y@\n", "me@example.com @y@\n"),
        ] {
            let values = [("x", "1"), ("lines", "one\ntwo"), ("none", "")];
            assert_eq!(fill(template, &values), expected);
        }
    }

    #[test]
    fn diffs_name_new_files_and_additions() {
        let change = |before: Option<&str>, after: &str| Change {
            path: "x".into(),
            before: before.map(str::to_owned),
            after: after.to_owned(),
        };
        let text = diff(&[change(None, "a\n"), change(Some("a\n"), "a\nb\n")]);
        assert_eq!(
            text,
            "--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+a\n--- a/x\n+++ b/x\n@@ -1 +1,2 @@\n a\n+b\n"
        );
    }
}
