//! The words for a change of an ingredient.

use super::{Base, Ingredient, UsedBy};

/// Returns what happened, in a sentence without a full stop. One of the sides may be empty.
pub(super) fn sentence(old: &[&Ingredient], new: &[&Ingredient]) -> String {
    match (old, new) {
        ([old], [new]) => changed(old, new),
        ([], [new]) => match new {
            Ingredient::Target { stage } => format!("target is now `{stage}`"),
            _ => format!("{} is new{}", noun(new), used(new, "used by")),
        },
        ([old], []) => match old {
            Ingredient::Target { stage } => format!("target is no longer `{stage}`"),
            _ => format!("{} is gone{}", noun(old), used(old, "was used by")),
        },
        (old, new) => format!("{} gave way to {}", nouns(old), nouns(new)),
    }
}

fn changed(old: &Ingredient, new: &Ingredient) -> String {
    match (old, new) {
        (Ingredient::Base(old), Ingredient::Base(new)) => base_changed(old, new),
        (
            Ingredient::Frontend {
                reference: old_reference,
                digest: old_digest,
            },
            Ingredient::Frontend { reference, digest },
        ) if old_reference == reference => {
            format!("frontend `{}` moved: {old_digest} → {digest}", name(new))
        }
        (
            Ingredient::BuildArg { digest: None, .. },
            Ingredient::BuildArg {
                digest: Some(_), ..
            },
        ) => format!("{} is now set", noun(new)),
        (
            Ingredient::BuildArg {
                digest: Some(_), ..
            },
            Ingredient::BuildArg { digest: None, .. },
        ) => format!("{} is no longer set", noun(new)),
        (Ingredient::Input { kind: old_kind, .. }, Ingredient::Input { kind: new_kind, .. })
            if old_kind != new_kind =>
        {
            format!("{} changed: {old_kind} → {new_kind}", noun(new))
        }
        (
            Ingredient::Image { .. }
            | Ingredient::Target { .. }
            | Ingredient::Platform { .. }
            | Ingredient::EngineClass { .. },
            _,
        ) => format!("{} changed: `{}` → `{}`", class(new), name(old), name(new)),
        _ if name(old) != name(new) => {
            format!("{} is now `{}`, not `{}`", class(new), name(new), name(old))
        }
        _ => format!("{} changed", noun(new)),
    }
}

fn base_changed(old: &Base, new: &Base) -> String {
    let (old_name, new_name) = (old.reference.familiar(), new.reference.familiar());
    let place = used_by(&new.used_by, "used by");
    if old.reference == new.reference && old.platform == new.platform {
        let (old_digest, new_digest) = match (&old.platform_digest, &new.platform_digest) {
            (Some(old), Some(new)) => (old, new),
            _ => (&old.digest, &new.digest),
        };
        if old_digest == new_digest {
            return format!("`{new_name}` was looked up in another way: {new_digest}{place}");
        }
        return format!("`{new_name}` moved: {old_digest} → {new_digest}{place}");
    }
    if old.reference == new.reference {
        return format!(
            "`{new_name}` is now for platform `{}`, not `{}`{place}",
            new.platform, old.platform
        );
    }
    match new.used_by.as_slice() {
        [one] => format!(
            "stage `{}` now uses base `{new_name}` in place of `{old_name}` (line {})",
            one.stage, one.line
        ),
        _ => format!("base is now `{new_name}`, not `{old_name}`{place}"),
    }
}

/// Returns the kind of an ingredient, as in a recipe's JSON.
pub(super) fn kind(ingredient: &Ingredient) -> &'static str {
    match ingredient {
        Ingredient::Image { .. } => "image",
        Ingredient::Target { .. } => "target",
        Ingredient::Platform { .. } => "platform",
        Ingredient::EngineClass { .. } => "engine-class",
        Ingredient::Dockerfile { .. } => "dockerfile",
        Ingredient::Frontend { .. } => "frontend",
        Ingredient::Base(_) => "base",
        Ingredient::LinkedImage { .. } => "linked-image",
        Ingredient::BuildArg { .. } => "build-arg",
        Ingredient::IgnoreRules { .. } => "ignore-rules",
        Ingredient::Input { .. } => "input",
    }
}

/// Returns the kind of an ingredient in words.
fn class(ingredient: &Ingredient) -> &'static str {
    match ingredient {
        Ingredient::Image { .. } => "image name",
        Ingredient::EngineClass { .. } => "engine class",
        Ingredient::Dockerfile { .. } => "Dockerfile",
        Ingredient::LinkedImage { .. } => "linked image",
        Ingredient::BuildArg { .. } => "build arg",
        Ingredient::IgnoreRules { .. } => "ignore file",
        other => kind(other),
    }
}

/// Returns which one of its kind an ingredient is.
pub(super) fn name(ingredient: &Ingredient) -> String {
    match ingredient {
        Ingredient::Image { name }
        | Ingredient::EngineClass { name }
        | Ingredient::BuildArg { name, .. } => name.clone(),
        Ingredient::LinkedImage { image, .. } => image.clone(),
        Ingredient::Target { stage } => stage.clone(),
        Ingredient::Platform { platform } => platform.to_string(),
        Ingredient::Frontend { reference, .. } => reference.familiar(),
        Ingredient::Base(base) => base.reference.familiar(),
        Ingredient::Dockerfile { path, .. }
        | Ingredient::IgnoreRules { path, .. }
        | Ingredient::Input { path, .. } => path.clone(),
    }
}

/// Returns one side of a change as a value; nothing where the side is empty.
pub(super) fn side(ingredients: &[&Ingredient]) -> Option<String> {
    let values: Vec<String> = ingredients.iter().map(|one| value(one)).collect();
    (!values.is_empty()).then(|| values.join(", "))
}

fn value(ingredient: &Ingredient) -> String {
    match ingredient {
        Ingredient::Base(base) => format!(
            "{}@{} ({})",
            base.reference.familiar(),
            base.platform_digest.as_ref().unwrap_or(&base.digest),
            base.platform
        ),
        Ingredient::Frontend { reference, digest } => format!("{}@{digest}", reference.familiar()),
        Ingredient::Dockerfile { path, digest } | Ingredient::IgnoreRules { path, digest } => {
            format!("{path} {digest}")
        }
        Ingredient::LinkedImage { digest, .. } => digest.to_string(),
        Ingredient::Input { kind, digest, .. } => format!("{kind} {digest}"),
        // A short value can be guessed from its digest: that it differs is all we say.
        Ingredient::BuildArg { digest, .. } => match digest {
            Some(_) => "set".to_owned(),
            None => "unset".to_owned(),
        },
        other => name(other),
    }
}

fn nouns(ingredients: &[&Ingredient]) -> String {
    let nouns: Vec<String> = ingredients.iter().map(|one| noun(one)).collect();
    nouns.join(", ")
}

/// Returns an ingredient as the subject of a sentence; files stand for themselves.
fn noun(ingredient: &Ingredient) -> String {
    let name = name(ingredient);
    match ingredient {
        Ingredient::Dockerfile { .. } | Ingredient::Input { .. } => format!("`{name}`"),
        other => format!("{} `{name}`", class(other)),
    }
}

fn used(ingredient: &Ingredient, how: &str) -> String {
    match ingredient {
        Ingredient::Base(base) => used_by(&base.used_by, how),
        _ => String::new(),
    }
}

fn used_by(places: &[UsedBy], how: &str) -> String {
    if places.is_empty() {
        return String::new();
    }
    let places: Vec<String> = places.iter().map(UsedBy::to_string).collect();
    format!(" ({how} {})", places.join("; "))
}
