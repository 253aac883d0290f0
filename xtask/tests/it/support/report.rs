//! What `--json` reports on one image, read by the contract of the command line.

use serde_json::Value;

/// The report on one image.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) base_key: String,
    pub(crate) full_key: String,
    pub(crate) steps: Vec<Step>,
    /// `hit`, `partial` or `miss`.
    pub(crate) result: String,
    /// Steps that the forecast had wrong: what it said, and whether the step hit.
    pub(crate) disagreements: Vec<(String, bool)>,
}

/// One instruction of the build.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) stage: String,
    pub(crate) instruction: String,
    pub(crate) hit: bool,
}

impl Report {
    pub(super) fn from_json(object: &Value) -> Result<Self, String> {
        let text = |value: &Value, what: &str| match value.as_str() {
            Some(text) => Ok(text.to_owned()),
            None => Err(format!("the report has no text `{what}`: {object}")),
        };
        let steps = object["steps"]
            .as_array()
            .ok_or_else(|| format!("the report has no list `steps`: {object}"))?;
        Ok(Self {
            base_key: object["key"]["base"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            full_key: object["key"]["full"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            steps: steps
                .iter()
                .map(|step| {
                    Ok(Step {
                        stage: text(&step["stage"], "stage")?,
                        instruction: text(&step["instruction"], "instruction")?,
                        hit: match step["result"].as_str() {
                            Some("hit") => true,
                            Some("run") => false,
                            _ => return Err(format!("a step is neither hit nor run: {step}")),
                        },
                    })
                })
                .collect::<Result<_, String>>()?,
            result: text(&object["result"], "result")?,
            disagreements: object["disagreements"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|one| (one.to_string(), one["hit"] == true))
                .collect(),
        })
    }

    /// Returns how many steps were hits, and how many there are.
    pub(crate) fn hits(&self) -> (usize, usize) {
        let hits = self.steps.iter().filter(|step| step.hit).count();
        (hits, self.steps.len())
    }

    /// Returns the steps in short, one a line, to be shown when a test fails.
    pub(crate) fn table(&self) -> String {
        let line = |step: &Step| {
            let result = if step.hit { "hit" } else { "run" };
            format!("{result} {}: {}", step.stage, step.instruction)
        };
        self.steps.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}
