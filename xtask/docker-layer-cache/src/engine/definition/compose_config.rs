//! What `docker compose config --format json` prints.
//!
//! ```json
//! { "name": "shop",
//!   "services": { "web": { "image": "web:1", "build": { "context": "/repo/web" } } },
//!   "secrets": { "npm": { "environment": "NPM_TOKEN" } } }
//! ```
//! Paths are absolute, and every `$` is doubled.
//!
//! Source: <https://github.com/compose-spec/compose-spec/blob/main/build.md>

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::fields::{Fields, csv, is};
use super::{BuildDefinition, DefinitionError, LINK, in_build_order};

/// Returns the images of the services with a `build`, those that others build on first: the named
/// ones with what they build on, or all of them.
///
/// # Errors
/// Where a service is not there or has no `build`, or a field cannot be followed, which the error
/// names.
pub fn compose_definitions(
    json: &[u8],
    names: &[String],
) -> Result<Vec<BuildDefinition>, DefinitionError> {
    let not_understood = |error: &dyn std::fmt::Display| {
        DefinitionError::new(format_args!(
            "`docker compose config` printed what is not understood: {error}"
        ))
    };
    let text = std::str::from_utf8(json).map_err(|error| not_understood(&error))?;
    let config: Value =
        serde_json::from_str(&text.replace("$$", "$")).map_err(|error| not_understood(&error))?;
    let project = config["name"].as_str().unwrap_or_default();
    let services = config["services"]
        .as_object()
        .ok_or_else(|| not_understood(&"there are no services"))?;
    let builds: BTreeMap<&String, (&Map<String, Value>, &Value)> = services
        .iter()
        .filter_map(|(name, service)| Some((name, (service["build"].as_object()?, service))))
        .collect();
    let wanted: Vec<String> = if names.is_empty() {
        builds.keys().map(|name| (*name).clone()).collect()
    } else {
        names.to_vec()
    };
    let list = || {
        let names: Vec<String> = builds.keys().map(|name| format!("`{name}`")).collect();
        names.join(", ")
    };
    if wanted.is_empty() {
        return Err(DefinitionError::new("no service has a `build`"));
    }
    if let Some(name) = wanted.iter().find(|name| !builds.contains_key(name)) {
        return Err(DefinitionError::new(if services.contains_key(name) {
            format!("service `{name}` has no `build`")
        } else {
            format!("there is no service `{name}`")
        })
        .with_hint(format_args!(
            "there is {}; a service of a profile is seen where COMPOSE_PROFILES names that",
            list()
        )));
    }
    let definitions = builds
        .iter()
        .map(|(name, (build, service))| {
            let definition = definition(project, name, build, service, &config["secrets"]);
            ((*name).clone(), definition)
        })
        .collect();
    in_build_order(definitions, &wanted)
}

fn definition(
    project: &str,
    name: &str,
    build: &Map<String, Value>,
    service: &Value,
    secrets: &Value,
) -> Result<BuildDefinition, DefinitionError> {
    let mut fields = Fields::new(format!("service `{name}`"), build);
    for default in ["network", "isolation"] {
        fields.ignore(default, is("default"));
    }
    // The registries are asked at every `docker-key`: what is built on is never older.
    fields.take("pull");
    for cache in ["cache_from", "cache_to"] {
        fields.leave_cache_out(cache);
    }
    for attestation in ["provenance", "sbom"] {
        fields.ignore(attestation, is("false"));
        fields.leave_out(
            attestation,
            "an attestation would give the image another ID at every build",
        );
    }
    let context = fields.text("context")?.unwrap_or_else(|| ".".to_owned());
    let dockerfile = fields
        .text("dockerfile")?
        .unwrap_or_else(|| "Dockerfile".to_owned());
    let image = service["image"].as_str().map(str::to_owned);
    let mut tags = vec![image.unwrap_or_else(|| format!("{project}-{name}"))];
    tags.extend(fields.texts("tags")?);
    let mut platforms = fields.texts("platforms")?;
    if platforms.is_empty() {
        platforms.extend(service["platform"].as_str().map(str::to_owned));
    }
    let mut build_contexts = fields.map("additional_contexts")?;
    for value in build_contexts.values_mut() {
        if let Some(service) = value.strip_prefix("service:") {
            *value = format!("{LINK}{service}");
        }
    }
    let definition = BuildDefinition {
        name: name.to_owned(),
        dockerfile: if dockerfile.starts_with('/') {
            dockerfile
        } else {
            format!("{context}/{dockerfile}")
        },
        context,
        dockerfile_inline: fields.text("dockerfile_inline")?,
        target: fields.text("target")?,
        tags,
        platforms,
        build_args: fields.map("args")?,
        build_contexts,
        secrets: fields.list("secrets", |one| secret(one, secrets))?,
        ssh: fields.texts("ssh")?,
        labels: fields.map("labels")?,
        ..BuildDefinition::default()
    };
    fields.finish(definition)
}

/// Returns a secret that a service uses as `docker build` takes it: the file's top level says where
/// it is from. Owner and mode say nothing to `BuildKit`.
fn secret(used: &Map<String, Value>, secrets: &Value) -> Option<String> {
    let source = used.get("source")?.as_str()?;
    let id = used.get("target").and_then(Value::as_str).unwrap_or(source);
    let from = secrets.get(source)?;
    let (field, value) = match (from["file"].as_str(), from["environment"].as_str()) {
        (Some(file), _) => ("src", file),
        (None, Some(variable)) => ("env", variable),
        (None, None) => return None,
    };
    Some(csv(&[("id", id), (field, value)]))
}

#[cfg(test)]
mod tests;
