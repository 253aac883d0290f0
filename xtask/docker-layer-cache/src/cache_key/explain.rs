//! Why a key moved, in words.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::sentence;
use super::{Ingredient, KeyKind, Recipe, UsedBy};
use crate::oci::Platform;

/// One ingredient that differs between two recipes. Displays as a sentence, such as
/// "`ruby:3.3` moved: sha256:1… → sha256:2… (used by stage `deps`, line 4)".
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Change {
    /// What kind of ingredient, as in a recipe's JSON, such as `base` or `input`.
    pub ingredient: &'static str,
    /// Which one: a reference, a path, a name.
    pub name: String,
    /// What it was, if it was there. Of a build argument, only whether it was set.
    pub old: Option<String>,
    /// What it is now, if it is there.
    pub new: Option<String>,
    /// The places in the Dockerfile that use it, or that used it.
    pub used_by: Vec<UsedBy>,
    /// The key that moves.
    pub affects: Affects,
    /// The sentence.
    pub text: String,
}

/// Which keys a change moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Affects {
    /// The base key, and with it the full key.
    Base,
    /// The full key alone.
    Full,
}

/// What is compared with what: the same ingredient in two recipes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Identity {
    Image,
    Target,
    Platforms,
    EngineClass,
    Dockerfile,
    Frontend,
    Base(String, Platform),
    LinkedImage(String),
    BuildArg(String),
    IgnoreRules,
    Input(String),
}

/// The ingredients of one identity that only one of the recipes has.
#[derive(Default)]
struct Sides<'a> {
    old: Vec<&'a Ingredient>,
    new: Vec<&'a Ingredient>,
}

/// Returns what differs between two recipes: what moves the base key first.
///
/// The list is empty exactly when both recipes have the same full key.
pub fn explain(old: &Recipe, new: &Recipe) -> Vec<Change> {
    let old_lines = old.key_lines(KeyKind::Full);
    let new_lines = new.key_lines(KeyKind::Full);
    let mut differences: BTreeMap<Identity, Sides<'_>> = BTreeMap::new();
    for ingredient in only_in(old, &new_lines) {
        let sides = differences.entry(Identity::of(ingredient)).or_default();
        sides.old.push(ingredient);
    }
    for ingredient in only_in(new, &old_lines) {
        let sides = differences.entry(Identity::of(ingredient)).or_default();
        sides.new.push(ingredient);
    }
    pair_replaced_bases(&mut differences);
    let mut changes: Vec<Change> = differences
        .into_values()
        .flat_map(Sides::into_changes)
        .collect();
    changes.sort_by_key(|change| change.affects);
    changes
}

fn only_in<'a>(
    recipe: &'a Recipe,
    sorted_others: &'a [String],
) -> impl Iterator<Item = &'a Ingredient> {
    recipe
        .ingredients()
        .iter()
        .filter(|ingredient| sorted_others.binary_search(&ingredient.key_line()).is_err())
}

/// Makes one change of a base that went and one that came, where both serve the same stage with
/// the same instruction: `FROM ruby:3.3` became `FROM ruby:3.4`.
fn pair_replaced_bases(differences: &mut BTreeMap<Identity, Sides<'_>>) {
    let gone: Vec<Identity> = differences
        .iter()
        .filter(|(identity, sides)| matches!(identity, Identity::Base(..)) && sides.new.is_empty())
        .map(|(identity, _)| identity.clone())
        .collect();
    for identity in gone {
        let places: Vec<(&str, &str)> = places(&differences[&identity].old).collect();
        let successor = differences
            .iter()
            .find(|(other, sides)| {
                matches!(other, Identity::Base(..))
                    && sides.old.is_empty()
                    && self::places(&sides.new).any(|place| places.contains(&place))
            })
            .map(|(other, _)| other.clone());
        if let Some(successor) = successor
            && let Some(sides) = differences.remove(&identity)
        {
            differences.entry(successor).or_default().old = sides.old;
        }
    }
}

fn places<'a>(ingredients: &[&'a Ingredient]) -> impl Iterator<Item = (&'a str, &'a str)> {
    uses(ingredients)
        .into_iter()
        .map(|used_by| (used_by.stage.as_str(), used_by.instruction.as_str()))
}

/// Returns the places that use the bases among `ingredients`, in the order of the Dockerfile.
fn uses<'a>(ingredients: &[&'a Ingredient]) -> Vec<&'a UsedBy> {
    let mut uses: Vec<&UsedBy> = ingredients
        .iter()
        .flat_map(|ingredient| match ingredient {
            Ingredient::Base(base) => base.used_by.as_slice(),
            _ => &[],
        })
        .collect();
    uses.sort_by_key(|used_by| (used_by.line, *used_by));
    uses.dedup();
    uses
}

impl Identity {
    fn of(ingredient: &Ingredient) -> Self {
        match ingredient {
            Ingredient::Image { .. } => Self::Image,
            Ingredient::Target { .. } => Self::Target,
            Ingredient::Platform { .. } => Self::Platforms,
            Ingredient::EngineClass { .. } => Self::EngineClass,
            Ingredient::Dockerfile { .. } => Self::Dockerfile,
            Ingredient::Frontend { .. } => Self::Frontend,
            Ingredient::Base(base) => Self::Base(base.reference.to_string(), base.platform.clone()),
            Ingredient::LinkedImage { image, .. } => Self::LinkedImage(image.clone()),
            Ingredient::BuildArg { name, .. } => Self::BuildArg(name.clone()),
            Ingredient::IgnoreRules { .. } => Self::IgnoreRules,
            Ingredient::Input { path, .. } => Self::Input(path.clone()),
        }
    }
}

impl Sides<'_> {
    /// Returns one change where both sides have something, otherwise one for each ingredient.
    fn into_changes(self) -> Vec<Change> {
        match (self.old.as_slice(), self.new.as_slice()) {
            ([], new) => new.iter().map(|new| Change::new(&[], &[*new])).collect(),
            (old, []) => old.iter().map(|old| Change::new(&[*old], &[])).collect(),
            (old, new) => vec![Change::new(old, new)],
        }
    }
}

impl Change {
    fn new(old: &[&Ingredient], new: &[&Ingredient]) -> Self {
        let one = new
            .first()
            .or(old.first())
            .expect("a change has at least one side");
        let affects = if one.is_in_base_key() {
            Affects::Base
        } else {
            Affects::Full
        };
        Self {
            ingredient: sentence::kind(one),
            name: sentence::name(one),
            old: sentence::side(old),
            new: sentence::side(new),
            used_by: uses(if new.is_empty() { old } else { new })
                .into_iter()
                .cloned()
                .collect(),
            affects,
            text: sentence::sentence(old, new),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
