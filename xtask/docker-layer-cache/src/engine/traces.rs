//! What a build left in an engine: images that carry a label, and build cache records that speak of
//! it. They can be taken away again, and nothing else is.

use std::thread;
use std::time::Duration;

use super::{Builder, Docker, EngineError};

/// More rounds than any chain of images or records of a small build needs.
const MAX_ROUNDS: usize = 20;
/// A build that has just ended holds its records for a moment.
const WAIT: Duration = Duration::from_millis(200);

/// A build cache record.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    id: String,
    /// Such as `[app 1/2] COPY go.mod /src/`, or `imported sha256:…` of a layer from a cache.
    description: String,
}

impl Docker {
    /// Removes the images that carry `label` (`name=value`) and the build cache records whose
    /// description has one of `words`; returns how many of each are left. An image that another stands on,
    /// and a record that is in use, stay.
    ///
    /// # Errors
    /// Where the engine does not answer.
    pub fn remove_traces(
        &self,
        builder: &Builder,
        label: &str,
        words: &[String],
    ) -> Result<(usize, usize), EngineError> {
        let mut images = self.images_with(label)?;
        for _ in 0..MAX_ROUNDS {
            if images.is_empty() {
                break;
            }
            for image in &images {
                // One that another stands on goes in a later round.
                let _ = self.read(&owned(&["image", "rm", "--force", image]));
            }
            let left = self.images_with(label)?;
            if left == images {
                break;
            }
            images = left;
        }
        let mut records = self.records_about(builder, words)?;
        let mut n_waits = 0;
        for _ in 0..MAX_ROUNDS {
            if records.is_empty() {
                break;
            }
            for record in &records {
                // Only one `id` is taken at a time.
                let filter = format!("id={}", record.id);
                let prune = ["prune", "--all", "--force", "--filter", &filter];
                let is_buildx = matches!(builder, Builder::Buildx { .. });
                let group = if is_buildx { "buildx" } else { "builder" };
                self.read(&owned(&[&[group], prune.as_slice()].concat()))?;
            }
            let left = self.records_about(builder, words)?;
            if left == records {
                n_waits += 1;
                if n_waits > 5 {
                    break;
                }
                thread::sleep(WAIT);
            }
            records = left;
        }
        Ok((images.len(), records.len()))
    }

    fn images_with(&self, label: &str) -> Result<Vec<String>, EngineError> {
        self.image_ids(&["--filter", &format!("label={label}")])
    }

    fn records_about(
        &self,
        builder: &Builder,
        words: &[String],
    ) -> Result<Vec<Record>, EngineError> {
        let records = if matches!(builder, Builder::Buildx { .. }) {
            let listed = self.read(&owned(&["buildx", "du", "--verbose"]))?;
            records_of_buildx(&String::from_utf8_lossy(&listed))
        } else {
            let format = "{{range .BuildCache}}{{.ID}} {{.Description}}\n{{end}}";
            let listed = self.read(&owned(&["system", "df", "--verbose", "--format", format]))?;
            records_of_engine(&String::from_utf8_lossy(&listed))
        };
        let about = |record: &Record| {
            let description = &record.description;
            words.iter().any(|word| description.contains(word.as_str()))
        };
        Ok(records.into_iter().filter(about).collect())
    }
}

/// Reads what `docker buildx du --verbose` prints: paragraphs of `Name:<tab>value`.
fn records_of_buildx(text: &str) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    for line in text.lines() {
        if let Some(id) = line.strip_prefix("ID:") {
            records.push(Record {
                id: id.trim().trim_end_matches('*').to_owned(),
                description: String::new(),
            });
        } else if let Some(description) = line.strip_prefix("Description:")
            && let Some(record) = records.last_mut()
        {
            description.trim().clone_into(&mut record.description);
        }
    }
    records
}

/// Reads `ID description`, one a line.
fn records_of_engine(text: &str) -> Vec<Record> {
    text.lines()
        .filter_map(|line| line.trim().split_once(' '))
        .map(|(id, description)| Record {
            // One in use is marked with a star.
            id: id.trim_end_matches('*').to_owned(),
            description: description.to_owned(),
        })
        .collect()
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_both_commands() {
        let record = |id: &str, description: &str| Record {
            id: id.into(),
            description: description.into(),
        };
        let expected = [
            record("abc", "[app 1/2] COPY x-1f /x"),
            record("def", "local source for context"),
        ];
        let buildx = "ID:\t\tabc*\nParents:\n - zzz\nReclaimable:\ttrue\n\
                      Description:\t[app 1/2] COPY x-1f /x\nType:\t\tregular\n\n\
                      ID:\t\tdef\nDescription:\tlocal source for context\n\n\
                      Reclaimable:\t8.2kB\nTotal:\t\t8.2kB\n";
        assert_eq!(records_of_buildx(buildx), expected);
        let engine = "abc* [app 1/2] COPY x-1f /x\ndef local source for context\n\n";
        assert_eq!(records_of_engine(engine), expected);
    }
}
