//! The images that a build needs.

use serde::Serialize;

use crate::oci::{Platform, Reference};

/// An image that the build resolves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BaseReference {
    /// The image, normalised.
    pub reference: Reference,
    /// The platform that is picked from it.
    pub platform: Platform,
    /// Whether the build stands on it, or is read by it.
    pub kind: BaseKind,
    /// The name under which `BuildKit` looks for a named context that replaces the image, such as
    /// `alpine`: a build with `--build-context WRITTEN=docker-image://…@sha256:…` uses that digest.
    pub written: String,
    /// Where the image is used, in the order of the file.
    pub used_by: Vec<UsedBy>,
}

/// What an image is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BaseKind {
    /// The source of files: `FROM`, `COPY --from`, `RUN --mount=from`.
    Base,
    /// The frontend that `# syntax=` or `BUILDKIT_SYNTAX` names.
    Syntax,
}

/// An instruction that uses an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct UsedBy {
    /// The stage's name, or its index where it has none; nothing for the frontend.
    pub stage: Option<String>,
    /// `FROM`, `COPY --from`, `RUN --mount` or `# syntax`.
    #[serde(skip)]
    pub instruction: String,
    /// The instruction's first line, from 1; 0 where it is not from the file.
    pub line: usize,
}

/// One entry of [`refs_json`].
#[derive(Serialize)]
struct ReferenceEntry<'a> {
    #[serde(rename = "ref")]
    reference: &'a Reference,
    platform: String,
    kind: BaseKind,
    used_by: Vec<&'a UsedBy>,
}

/// Adds a use to the list, sorted by reference; the same image is kept once.
pub(super) fn add(references: &mut Vec<BaseReference>, base: BaseReference) {
    let key = |base: &BaseReference| {
        (
            base.reference.clone(),
            base.platform.clone(),
            base.kind,
            base.written.clone(),
        )
    };
    match references.binary_search_by_key(&key(&base), key) {
        Ok(found) => {
            let used_by = &mut references[found].used_by;
            for used in base.used_by {
                if !used_by.contains(&used) {
                    used_by.push(used);
                }
            }
            used_by.sort_by_key(|used| used.line);
        }
        Err(position) => references.insert(position, base),
    }
}

/// Returns the references as JSON: `[{"ref", "platform", "kind", "used_by": [{"stage", "line"}]}]`,
/// one entry for each image, platform and kind.
pub fn refs_json(references: &[BaseReference]) -> serde_json::Value {
    let mut entries: Vec<ReferenceEntry<'_>> = Vec::new();
    for base in references {
        let platform = base.platform.to_string();
        let same = entries.iter_mut().find(|entry| {
            entry.reference == &base.reference
                && entry.platform == platform
                && entry.kind == base.kind
        });
        match same {
            Some(entry) => entry.used_by.extend(&base.used_by),
            None => entries.push(ReferenceEntry {
                reference: &base.reference,
                platform,
                kind: base.kind,
                used_by: base.used_by.iter().collect(),
            }),
        }
    }
    serde_json::to_value(entries).expect("entries have string keys only")
}
