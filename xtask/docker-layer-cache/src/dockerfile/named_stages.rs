//! The same Dockerfile with a name for every stage, so that each can be a `--target`.

use std::collections::BTreeMap;

use super::parse::{Dockerfile, StageLines};

/// A Dockerfile in which every stage has a name of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedStages {
    /// The text: as before but for names behind some `FROM`s.
    pub text: String,
    /// The names, in the order of the stages.
    pub names: Vec<String>,
}

impl Dockerfile {
    /// Names every stage.
    ///
    /// Names are added to `FROM`s without one. Where a name is given twice, the last stage keeps
    /// it, since that is the one that `--target` and `COPY --from` mean; an earlier one gets a
    /// name of its own, and so do the plain `FROM`s that stand on it. Everything else stays as it
    /// is, byte for byte.
    pub fn with_named_stages(&self) -> NamedStages {
        self.rewritten(&BTreeMap::new(), true)
    }

    /// Puts other bases into the `FROM`s of some stages, by index: for bases that a named context
    /// cannot replace, since a stage has their name. Everything else stays as it is.
    pub fn with_bases(&self, bases: &BTreeMap<usize, String>) -> String {
        self.rewritten(bases, false).text
    }

    /// Does both.
    pub fn with_named_stages_on(&self, bases: &BTreeMap<usize, String>) -> NamedStages {
        self.rewritten(bases, true)
    }

    fn rewritten(&self, bases: &BTreeMap<usize, String>, name_stages: bool) -> NamedStages {
        let mut last_of: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, stage) in self.stages.iter().enumerate() {
            if let Some(name) = &stage.from.name {
                last_of.insert(name, index);
            }
        }
        let lower = self.text.to_lowercase();
        let mut names = Vec::with_capacity(self.stages.len());
        let mut edits = Vec::new();
        // The renamed stages, by the name under which a later FROM means them.
        let mut renamed: BTreeMap<&str, String> = BTreeMap::new();
        for (index, stage) in self.stages.iter().enumerate() {
            let base = bases
                .get(&index)
                .or_else(|| renamed.get(stage.from.base.as_str()))
                .cloned();
            let name = match &stage.from.name {
                _ if !name_stages => None,
                Some(name) if last_of[name.as_str()] == index => {
                    renamed.remove(name.as_str());
                    None
                }
                _ => Some(free_name(&lower, index)),
            };
            if name.is_some() || base.is_some() {
                edits.extend(self.edit_from(stage, name.as_deref(), base.as_deref()));
            }
            if let (Some(old), Some(new)) = (&stage.from.name, &name) {
                renamed.insert(old, new.clone());
            }
            names.push(name.or_else(|| stage.from.name.clone()).unwrap_or_default());
        }
        let mut text = self.text.clone();
        for (range, replacement) in edits.into_iter().rev() {
            text.replace_range(range, &replacement);
        }
        NamedStages { text, names }
    }

    /// The edit that gives a `FROM` the new name, or base.
    fn edit_from(
        &self,
        stage: &StageLines,
        name: Option<&str>,
        base: Option<&str>,
    ) -> Option<(std::ops::Range<usize>, String)> {
        let line = &self.lines.lines[stage.logical_line];
        let is_addition = stage.from.name.is_none() && base.is_none();
        if let (true, Some(name)) = (is_addition, name) {
            // Behind the last piece of the line that is not blank.
            let (number, piece) = line
                .pieces
                .iter()
                .rfind(|(_, text)| !text.trim().is_empty())?;
            let (start, text) = self.physical_line(*number)?;
            let offset = text.find(piece.trim_end())? + piece.trim_end().len();
            return Some((start + offset..start + offset, format!(" AS {name}")));
        }
        // A rename: rare, and the words can lie on several lines. The whole line is written anew.
        let (first, _) = self.physical_line(line.pieces.first()?.0)?;
        let (last, text) = self.physical_line(line.lines.1)?;
        let end = last + text.trim_end_matches(['\r', '\n']).len();
        let bom = if self.text[first..].starts_with('\u{feff}') {
            3
        } else {
            0
        };
        let mut words = vec!["FROM".to_owned()];
        // A flag's value has no quotes any more, but may need them.
        words.extend(
            line.flags
                .iter()
                .map(|flag| format!("\"{flag}\""))
                .map(|flag| flag.replacen("\"--", "--\"", 1)),
        );
        let base = base.unwrap_or(&stage.from.base);
        words.push(base.to_owned());
        if let Some(name) = name.or(stage.from.name.as_deref()) {
            words.extend(["AS".to_owned(), name.to_owned()]);
        }
        Some((first + bom..end, words.join(" ")))
    }

    /// The offset and text of a line, from 1.
    fn physical_line(&self, number: usize) -> Option<(usize, &str)> {
        let mut offset = 0;
        for (index, line) in self.text.split_inclusive('\n').enumerate() {
            if index + 1 == number {
                return Some((offset, line));
            }
            offset += line.len();
        }
        None
    }
}

/// A name that occurs nowhere in the file, not even as an image.
fn free_name(lower_text: &str, index: usize) -> String {
    let mut name = format!("unnamed-stage-{index}");
    while lower_text.contains(&name) {
        name.push_str("-x");
    }
    name
}
