//! Images as bake and compose files define them: `read` asks docker's plugins, the rest is pure.
//!
//! ```text
//! docker-bake.hcl ─ docker buildx bake --print ─▶ JSON ─▶ definitions
//! compose.yaml ─── docker compose config ──────▶ JSON ─▶ definitions
//! ```
//!
//! A field that would make another image, and that not every build of ours can follow, is refused
//! by its name, and so is one that is not known. What only rules the cache, or goes with an image to
//! a registry, is left out with a note.

mod bake_print;
mod compose_config;
mod fields;
mod read;

use std::collections::BTreeMap;
use std::fmt;

pub use bake_print::{BakePrint, bake_definitions};
pub use compose_config::compose_definitions;

/// What the value of a named context begins with where another image of the file is meant.
pub const LINK: &str = "target:";

/// One image of a bake or compose file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildDefinition {
    /// The target's or service's name.
    pub name: String,
    /// The build context, relative to where docker ran.
    pub context: String,
    /// The Dockerfile, relative to where docker ran.
    pub dockerfile: String,
    /// The Dockerfile's text, which counts instead where there is one.
    pub dockerfile_inline: Option<String>,
    /// The stage to build; the last where there is none.
    pub target: Option<String>,
    /// Tags of the result.
    pub tags: Vec<String>,
    /// Platforms.
    pub platforms: Vec<String>,
    /// Build args that have a value.
    pub build_args: BTreeMap<String, String>,
    /// More build contexts; `target:NAME` is another image of the file.
    pub build_contexts: BTreeMap<String, String>,
    /// Secrets, as `docker build` takes them.
    pub secrets: Vec<String>,
    /// SSH agents or keys, as `docker build` takes them.
    pub ssh: Vec<String>,
    /// Labels of the result.
    pub labels: BTreeMap<String, String>,
    /// Nobody asked for it: another image of the file builds on it.
    pub only_linked: bool,
    /// What the file asks for and is left out, each as one sentence: the image lacks it.
    pub left_out: Vec<String>,
    /// What is left out and changes nothing of the image.
    pub notes: Vec<String>,
}

/// A file that cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionError {
    message: String,
    hint: Option<String>,
}

impl BuildDefinition {
    /// Returns the names of the images that this one builds on.
    pub fn links(&self) -> impl Iterator<Item = &str> {
        self.build_contexts
            .values()
            .filter_map(|value| value.strip_prefix(LINK))
    }
}

impl DefinitionError {
    fn new(message: impl fmt::Display) -> Self {
        Self {
            message: message.to_string(),
            hint: None,
        }
    }

    fn with_hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// Returns the next step, where there is one to name.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for DefinitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DefinitionError {}

/// An image, or why it cannot be followed: that matters where it is wanted.
type Defined = Result<BuildDefinition, DefinitionError>;

/// Puts what others build on before them; otherwise the order stays. What nothing leads to is left
/// out.
///
/// # Errors
/// Where an image builds on one that is not there, or on itself, or cannot be followed.
fn in_build_order(
    mut all: BTreeMap<String, Defined>,
    wanted: &[String],
) -> Result<Vec<BuildDefinition>, DefinitionError> {
    fn visit(
        name: &str,
        by: Option<&str>,
        all: &mut BTreeMap<String, Defined>,
        open: &mut Vec<String>,
        ordered: &mut Vec<BuildDefinition>,
    ) -> Result<(), DefinitionError> {
        if ordered.iter().any(|done| done.name == name) {
            return Ok(());
        }
        if open.iter().any(|one| one == name) {
            return Err(DefinitionError::new(format_args!(
                "`{name}` builds on itself: {} → {name}",
                open.join(" → ")
            )));
        }
        let Some(definition) = all.remove(name) else {
            return Err(DefinitionError::new(match by {
                Some(by) => format!("`{by}` builds on `{name}`, which the file does not build"),
                None => format!("the file does not build `{name}`"),
            }));
        };
        let definition = definition?;
        open.push(name.to_owned());
        let links: Vec<String> = definition.links().map(str::to_owned).collect();
        for link in &links {
            visit(link, Some(name), all, open, ordered)?;
        }
        open.pop();
        ordered.push(definition);
        Ok(())
    }
    let mut ordered = Vec::new();
    for name in wanted {
        visit(name, None, &mut all, &mut Vec::new(), &mut ordered)?;
    }
    for definition in &mut ordered {
        definition.only_linked = !wanted.contains(&definition.name);
    }
    Ok(ordered)
}
