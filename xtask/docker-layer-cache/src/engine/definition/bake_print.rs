//! What `docker buildx bake --print` prints.
//!
//! ```json
//! { "group": { "default": { "targets": ["web"] } },
//!   "target": { "web": { "context": ".", "dockerfile": "Dockerfile", "args": { "V": "1" } } } }
//! ```
//! Linked targets stand under `target` too. In buildx 0.13 secrets and the like are texts, in 0.29
//! tables; and 0.29 escapes some values, such that bake can read its own output again.
//!
//! Source: <https://github.com/docker/buildx/blob/v0.29.1/bake/bake.go>

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::fields::{Fields, csv, is};
use super::{BuildDefinition, DefinitionError, in_build_order};

/// The output of `docker buildx bake --print`.
#[derive(Debug, Clone)]
pub struct BakePrint {
    /// What was printed.
    pub json: Vec<u8>,
    /// This buildx escapes values in it.
    pub is_escaped: bool,
}

#[derive(Deserialize)]
struct Printed {
    #[serde(default)]
    group: BTreeMap<String, Group>,
    #[serde(default)]
    target: BTreeMap<String, Map<String, Value>>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    targets: Vec<String>,
}

/// Returns the images, those that others build on first.
///
/// # Errors
/// Where a field cannot be followed, which the error names.
pub fn bake_definitions(print: &BakePrint) -> Result<Vec<BuildDefinition>, DefinitionError> {
    let printed: Printed = serde_json::from_slice(&print.json).map_err(|error| {
        DefinitionError::new(format_args!(
            "`docker buildx bake --print` printed what is not understood: {error}"
        ))
    })?;
    let mut wanted = Vec::new();
    resolve(&printed, "default", &mut wanted, 0);
    // A target of that name is not a member of the group in every version.
    if printed.target.contains_key("default") && !wanted.iter().any(|name| name == "default") {
        wanted.push("default".to_owned());
    }
    let definitions = printed
        .target
        .iter()
        .map(|(name, fields)| (name.clone(), definition(name, fields, print.is_escaped)))
        .collect();
    in_build_order(definitions, &wanted)
}

/// Adds the targets of a group, those of groups in it among them.
fn resolve(printed: &Printed, group: &str, targets: &mut Vec<String>, depth: usize) {
    // A group that holds itself is refused by bake; should it come, it ends here.
    let Some(found) = printed.group.get(group).filter(|_| depth < 64) else {
        return;
    };
    for name in &found.targets {
        if !printed.target.contains_key(name) {
            resolve(printed, name, targets, depth + 1);
        } else if !targets.contains(name) {
            targets.push(name.clone());
        }
    }
}

fn definition(
    name: &str,
    map: &Map<String, Value>,
    is_escaped: bool,
) -> Result<BuildDefinition, DefinitionError> {
    let plain = |text: String| {
        if is_escaped {
            text.replace("$${", "${").replace("%%{", "%{")
        } else {
            text
        }
    };
    let plain_values = |map: BTreeMap<String, String>| {
        let plain = |(name, value)| (name, plain(value));
        map.into_iter().map(plain).collect::<BTreeMap<_, _>>()
    };
    let mut fields = Fields::new(format!("target `{name}`"), map);
    for said in ["description", "name"] {
        fields.take(said);
    }
    fields.ignore("call", is("build"));
    fields.ignore("network", is("default"));
    // The registries are asked at every `docker-key`: what is built on is never older.
    fields.take("pull");
    for cache in ["cache-from", "cache-to"] {
        fields.leave_cache_out(cache);
    }
    fields.leave_out(
        "annotations",
        "give them to the image where it is pushed (`docker buildx imagetools create --annotation`)",
    );
    let is_attested = fields
        .list("attest", |map| Some(pairs(map)))?
        .iter()
        .any(|one| !one.contains("disabled=true"));
    if is_attested {
        fields.note(
            "attest",
            "an attestation would give the image another ID at every build",
        );
    }
    output(&mut fields)?;
    let context = fields.text("context")?.unwrap_or_else(|| ".".to_owned());
    let dockerfile = fields
        .text("dockerfile")?
        .unwrap_or_else(|| "Dockerfile".to_owned());
    let definition = BuildDefinition {
        name: name.to_owned(),
        dockerfile: match dockerfile.strip_prefix("cwd://") {
            Some(path) => path.to_owned(),
            None if dockerfile.starts_with('/') => dockerfile,
            None => format!("{}/{dockerfile}", folder(&context)),
        },
        context: folder(&context).to_owned(),
        dockerfile_inline: fields.text("dockerfile-inline")?.map(plain),
        target: fields.text("target")?,
        tags: fields.texts("tags")?,
        platforms: fields.texts("platforms")?,
        build_args: plain_values(fields.map("args")?),
        build_contexts: fields.map("contexts")?,
        secrets: fields.list("secret", secret)?,
        ssh: fields.list("ssh", ssh)?,
        labels: plain_values(fields.map("labels")?),
        ..BuildDefinition::default()
    };
    fields.finish(definition)
}

fn folder(context: &str) -> &str {
    match context.strip_prefix("cwd://") {
        Some("") => ".",
        Some(path) => path,
        None => context,
    }
}

fn output(fields: &mut Fields<'_>) -> Result<(), DefinitionError> {
    for one in fields.list("output", |map| Some(pairs(map)))? {
        let has = |field: &str| one.split(',').any(|found| found == field);
        if has("type=registry") || has("push=true") || has("push-by-digest=true") {
            fields.note(
                "output",
                "nothing is pushed; `docker push` the tags after the build",
            );
        } else if !(["type=docker", "type=image", "type=cacheonly"]
            .into_iter()
            .any(has))
            || one.contains("dest=")
        {
            return Err(fields.refuse(
                "output",
                "take it out of the file: images go into the engine under their tags",
            ));
        }
    }
    Ok(())
}

fn pairs(map: &Map<String, Value>) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    let pairs = map.iter().map(|(name, value)| (name.as_str(), text(value)));
    let pairs: Vec<(&str, String)> = pairs.collect();
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(n, v)| (*n, v.as_str())).collect();
    csv(&pairs)
}

fn secret(map: &Map<String, Value>) -> Option<String> {
    // In this order whatever the map's: it shows in what we say.
    let known = ["type", "id", "src", "env"];
    if map.keys().any(|field| !known.contains(&field.as_str())) {
        return None;
    }
    let fields: Vec<(&str, &str)> = known
        .into_iter()
        .filter_map(|field| Some((field, map.get(field)?.as_str()?)))
        .collect();
    Some(csv(&fields))
}

fn ssh(map: &Map<String, Value>) -> Option<String> {
    let id = map.get("id")?.as_str()?;
    let paths = map.get("paths").and_then(Value::as_array);
    let paths: Vec<&str> = paths
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    Some(if paths.is_empty() {
        id.to_owned()
    } else {
        format!("{id}={}", paths.join(","))
    })
}

#[cfg(test)]
mod tests;
