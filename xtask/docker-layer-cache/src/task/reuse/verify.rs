//! `docker-ci --verify`: what was built against what was pushed before of the very same.
//!
//! Compared are the layers by diff ID, and of the config what a container is started by. Docker does
//! not promise the same bytes for the same step: files have times, package managers write logs. So a
//! layer of a step that ran may differ, which is told; a config may not, nor may a layer where every
//! step hit: then an equal digest did not mean an equal image.

use serde_json::{Map, Value};

use super::super::bases;
use super::super::job::Job;
use super::super::key::Keyed;
use super::super::notes::Built;
use super::super::push::own_targets;
use super::records;
use crate::error::{Error, exit_code};
use crate::oci::DiffId;

/// Compares the image that was built with what was pushed of the very same. Returns what came of
/// it, in words.
///
/// # Errors
/// Where they differ in what they may not, or one of them cannot be read.
pub(in crate::task) fn verify(
    job: &Job<'_>,
    keyed: &Keyed,
    built: &Built,
) -> Result<String, Error> {
    let label = keyed.image.label();
    let Some(made_of) = &built.reuse else {
        return Ok("not comparable".to_owned());
    };
    let targets = own_targets(job, &keyed.image)?;
    let records = records(job);
    let pushed = targets.iter().find_map(|target| {
        let mut records = records.iter().rev();
        let record = records.find(|record| {
            record.image == keyed.image.name
                && record.platform == keyed.platform.to_string()
                && record.repository == target.repository()
                && record.made_of == *made_of
        })?;
        Some((target, target.reference.at_digest(&record.digest)))
    });
    let Some((target, pinned)) = pushed else {
        job.talk.say(format_args!(
            "{label}: nothing to compare with: the very same was not pushed before"
        ));
        return Ok("nothing to compare with".to_owned());
    };
    let client = bases::client_without_mirrors(job.engine().ok())?;
    let (_, config) = client
        .image_config(&pinned, &keyed.platform)
        .map_err(|error| bases::of_registry(&error))?;
    let remote: Value = serde_json::from_slice(&config).map_err(|error| {
        Error::new(
            exit_code::REGISTRY,
            format_args!("the config of `{pinned}`: {error}"),
        )
    })?;
    let local = job
        .docker
        .inspect_images(std::slice::from_ref(&target.tag))?;
    let local = local.first().ok_or_else(|| {
        Error::new(
            exit_code::ENGINE,
            format_args!(
                "the engine has no `{}`, which was built just now",
                target.tag
            ),
        )
    })?;
    let differences = compare(local.diff_ids(), local.config(), &remote);
    let layers: Vec<&str> = differences.layers.iter().map(String::as_str).collect();
    for field in &differences.fields {
        job.talk.warn(format_args!(
            "{label}: `{field}` of the config is not as in `{pinned}`"
        ));
    }
    for layer in &layers {
        job.talk
            .say(format_args!("{label}: not as in `{pinned}`: {layer}"));
    }
    let all_hit = built.n_hits() == built.steps.len();
    if !differences.fields.is_empty() || (!layers.is_empty() && all_hit) {
        return Err(Error::new(
            exit_code::BUILD,
            format_args!("image `{label}`: the build is not what was pushed as `{pinned}`"),
        )
        .with_hint(
            "push it with --always-build, and tell us: equal sources should mean an equal image",
        ));
    }
    Ok(match layers.len() {
        0 => "the same".to_owned(),
        n => format!("{n} layers ran anew"),
    })
}

/// What differs between two images.
#[derive(Debug, Default, PartialEq, Eq)]
struct Differences {
    /// Fields of the config.
    fields: Vec<String>,
    /// Layers, in words.
    layers: Vec<String>,
}

/// Compares the engine's image with the config of another.
fn compare(diff_ids: &[DiffId], local: &Value, remote: &Value) -> Differences {
    let mut differences = Differences::default();
    let (local, other) = (set_fields(local), set_fields(&remote["config"]));
    for field in STARTED_BY {
        if local.get(*field) != other.get(*field) {
            differences.fields.push((*field).to_owned());
        }
    }
    let none = Vec::new();
    let others = remote["rootfs"]["diff_ids"].as_array().unwrap_or(&none);
    let history = remote["history"].as_array().unwrap_or(&none);
    let made: Vec<&Value> = history
        .iter()
        .filter(|one| one["empty_layer"] != Value::Bool(true))
        .collect();
    for n in 0..diff_ids.len().max(others.len()) {
        let own = diff_ids.get(n).map(ToString::to_string);
        let other = others.get(n).and_then(Value::as_str);
        if own.as_deref() != other {
            let by = made.get(n).and_then(|one| one["created_by"].as_str());
            let by: String = by.unwrap_or("?").chars().take(80).collect();
            differences.layers.push(format!("layer {} (`{by}`)", n + 1));
        }
    }
    differences
}

/// The fields of a config that a container is started by.
///
/// Source: <https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md#properties>
const STARTED_BY: &[&str] = &[
    "User",
    "ExposedPorts",
    "Env",
    "Entrypoint",
    "Cmd",
    "Volumes",
    "WorkingDir",
    "Labels",
    "StopSignal",
    "Healthcheck",
    "Shell",
    "OnBuild",
];

/// Returns the fields that say something: engines write `null` and empty lists each in their own way.
fn set_fields(config: &Value) -> Map<String, Value> {
    let says_something = |value: &Value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => true,
    };
    let fields = config.as_object().cloned().unwrap_or_default();
    fields
        .into_iter()
        .filter(|(_, value)| says_something(value))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_is_named() {
        let id = |text: &str| crate::oci::Digest::of(text.as_bytes()).to_string();
        let ids: Vec<DiffId> = ["a", "b"]
            .iter()
            .map(|text| DiffId(crate::oci::Digest::of(text.as_bytes())))
            .collect();
        let remote = json!({
            "config": { "Cmd": ["x"], "Labels": null, "Env": [] },
            "rootfs": { "diff_ids": [id("a"), id("c")] },
            "history": [
                { "created_by": "FROM" },
                { "created_by": "ENV", "empty_layer": true },
                { "created_by": "RUN date" },
            ],
        });
        let local = json!({ "Cmd": ["x"], "Labels": {}, "Hostname": "h" });
        let found = compare(&ids, &local, &remote);
        assert_eq!(found.fields, Vec::<String>::new());
        assert_eq!(found.layers, ["layer 2 (`RUN date`)"]);
        let local = json!({ "Cmd": ["y"], "Env": ["A=1"] });
        assert_eq!(compare(&ids, &local, &remote).fields, ["Env", "Cmd"]);
        assert_eq!(compare(&ids[..1], &local, &remote).layers.len(), 1);
    }
}
