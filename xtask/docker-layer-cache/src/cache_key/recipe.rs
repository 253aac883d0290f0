//! The recipe: every ingredient of a key, sorted.

use std::fmt;

use serde::Deserialize;

use super::{Base, Ingredient, KeyKind, Keys, key_file};

/// The version of the lines of a key file and of a recipe's JSON. A change moves every key.
pub const FORMAT_VERSION: u32 = 1;

/// Everything that a key is made of, sorted, each thing once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    ingredients: Vec<Ingredient>,
}

/// Why a text is not a recipe.
#[derive(Debug)]
pub struct RecipeError {
    kind: RecipeErrorKind,
}

#[derive(Debug)]
enum RecipeErrorKind {
    Syntax(serde_json::Error),
    Version(u32),
}

/// A recipe's JSON.
#[derive(Deserialize)]
struct Document {
    ingredients: Vec<Ingredient>,
}

/// The part of a recipe's JSON that every version has.
#[derive(Deserialize)]
struct Header {
    version: u32,
}

impl Recipe {
    /// Returns the recipe of `ingredients`, in whatever order they come.
    ///
    /// A base that comes several times is kept once, with all the places that use it.
    pub fn new(ingredients: impl IntoIterator<Item = Ingredient>) -> Self {
        let mut ingredients: Vec<Ingredient> = ingredients.into_iter().collect();
        ingredients.sort();
        ingredients.dedup_by(|next, kept| match (next, kept) {
            (Ingredient::Base(next), Ingredient::Base(kept)) => merge_uses(kept, next),
            (next, kept) => next == kept,
        });
        for ingredient in &mut ingredients {
            if let Ingredient::Base(base) = ingredient {
                base.used_by.sort();
                base.used_by.dedup();
            }
        }
        Self { ingredients }
    }

    /// Returns the ingredients, sorted.
    pub fn ingredients(&self) -> &[Ingredient] {
        &self.ingredients
    }

    /// Returns the bases among the ingredients, sorted by reference and platform.
    pub fn bases(&self) -> impl Iterator<Item = &Base> {
        self.ingredients
            .iter()
            .filter_map(|ingredient| match ingredient {
                Ingredient::Base(base) => Some(base),
                _ => None,
            })
    }

    /// Returns the part of the recipe that the base key is made of: all but the files, of which
    /// there can be many.
    #[must_use]
    pub fn base_part(&self) -> Self {
        let ingredients = self.ingredients.iter();
        let ingredients = ingredients.filter(|ingredient| ingredient.is_in_base_key());
        Self {
            ingredients: ingredients.cloned().collect(),
        }
    }

    /// Returns both keys.
    pub fn keys(&self) -> Keys {
        Keys::of_key_files(
            &key_file(self, KeyKind::Base),
            &key_file(self, KeyKind::Full),
        )
    }

    /// Returns the recipe for people: one line per ingredient, with the places that use a base.
    pub fn to_text(&self) -> String {
        let mut text = format!("docker-layer-cache recipe v{FORMAT_VERSION}\n");
        for ingredient in &self.ingredients {
            text.push_str(&ingredient.text_line());
            text.push('\n');
        }
        text
    }

    /// Returns the recipe as JSON, an ingredient a line, with a line break at the end.
    pub fn to_json(&self) -> String {
        format!(
            "{{\"version\":{FORMAT_VERSION},\"ingredients\":[\n{}\n]}}\n",
            self.ingredients_json(",\n")
        )
    }

    /// Returns the ingredients as JSON objects with `separator` between them.
    pub fn ingredients_json(&self, separator: &str) -> String {
        let mut json = String::new();
        for ingredient in &self.ingredients {
            if !json.is_empty() {
                json.push_str(separator);
            }
            ingredient.write_json(&mut json);
        }
        json
    }

    /// Parses what [`Recipe::to_json`] wrote.
    ///
    /// # Errors
    /// When the text is not a recipe, or one of another format version.
    pub fn from_json(json: &str) -> Result<Self, RecipeError> {
        let syntax = |source| RecipeError {
            kind: RecipeErrorKind::Syntax(source),
        };
        let header: Header = serde_json::from_str(json).map_err(syntax)?;
        if header.version != FORMAT_VERSION {
            return Err(RecipeError {
                kind: RecipeErrorKind::Version(header.version),
            });
        }
        let document: Document = serde_json::from_str(json).map_err(syntax)?;
        Ok(Self::new(document.ingredients))
    }

    /// Returns the lines that a key is the digest of, sorted, each once.
    pub(super) fn key_lines(&self, kind: KeyKind) -> Vec<String> {
        let mut lines: Vec<String> = self
            .ingredients
            .iter()
            .filter(|ingredient| kind == KeyKind::Full || ingredient.is_in_base_key())
            .map(Ingredient::key_line)
            .collect();
        lines.sort();
        lines.dedup();
        lines
    }
}

/// Moves the uses of `next` to `kept`, if both are the same base.
fn merge_uses(kept: &mut Base, next: &mut Base) -> bool {
    let same = kept.reference == next.reference
        && kept.platform == next.platform
        && kept.digest == next.digest
        && kept.platform_digest == next.platform_digest
        && kept.written == next.written;
    if same {
        kept.used_by.append(&mut next.used_by);
    }
    same
}

impl RecipeError {
    /// Returns what to do about it.
    pub fn hint(&self) -> &'static str {
        "run `cargo xtask docker-key` once: it writes the recipe anew"
    }
}

impl fmt::Display for RecipeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            RecipeErrorKind::Syntax(source) => write!(f, "not a recipe: {source}"),
            RecipeErrorKind::Version(version) => write!(
                f,
                "recipe has format version {version}, this program reads version {FORMAT_VERSION}"
            ),
        }
    }
}

impl std::error::Error for RecipeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            RecipeErrorKind::Syntax(source) => Some(source),
            RecipeErrorKind::Version(_) => None,
        }
    }
}
