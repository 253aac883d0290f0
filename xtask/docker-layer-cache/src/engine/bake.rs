//! Several builds in one call of `docker buildx bake`: pure.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::{BuildRequest, CacheTarget, Output};

/// What the targets' names begin with; the request's place follows.
const TARGET: &str = "build-";

/// Returns the arguments behind `docker` of a bake that reads its targets from stdin.
pub(super) fn bake_argv() -> Vec<String> {
    ["buildx", "bake", "--progress=plain", "--load", "--file=-"]
        .map(str::to_owned)
        .to_vec()
}

/// Returns a line of a bake's progress without the target's name: `#9 [stage-1 deps 2/3] COPY a b`
/// is `#9 [deps 2/3] COPY a b` in a build of its own.
///
/// Source: <https://github.com/docker/buildx/blob/v0.29.1/util/progress/multiwriter.go>
pub(super) fn without_target(line: &str) -> Cow<'_, str> {
    let found = line.split_once(" [").and_then(|(number, rest)| {
        let is_number = number.strip_prefix('#')?.parse::<u32>().is_ok();
        let (target, rest) = rest.split_once(' ').filter(|_| is_number)?;
        target.strip_prefix(TARGET)?.parse::<usize>().ok()?;
        Some(format!("{number} [{rest}"))
    });
    found.map_or(Cow::Borrowed(line), Cow::Owned)
}

/// Returns the targets of a bake as JSON. The context and the Dockerfile are absolute paths.
///
/// Source: <https://github.com/docker/buildx/blob/v0.29.1/docs/bake-reference.md>
pub(super) fn bake_json(requests: &[BuildRequest]) -> String {
    let name = |at: usize| format!("{TARGET}{at}");
    let targets: Map<String, Value> = requests
        .iter()
        .enumerate()
        .map(|(at, request)| (name(at), target(request)))
        .collect();
    let names: Vec<String> = (0..requests.len()).map(name).collect();
    json!({ "group": { "default": { "targets": names } }, "target": targets }).to_string()
}

fn target(request: &BuildRequest) -> Value {
    let mut contexts: Map<String, Value> = Map::new();
    for (name, value) in &request.build_contexts {
        contexts.insert(literal(name), literal(value).into());
    }
    for (name, reference) in &request.pins {
        contexts.insert(
            literal(name),
            literal(&format!("docker-image://{reference}")).into(),
        );
    }
    let mut labels: Map<String, Value> = Map::new();
    for (name, value) in &request.labels {
        labels.insert(literal(name), literal(value).into());
    }
    let mut args: Map<String, Value> = Map::new();
    for arg in &request.build_args {
        args.insert(literal(&arg.name), literal(&arg.value).into());
    }
    if let Some(syntax) = &request.syntax {
        args.insert("BUILDKIT_SYNTAX".to_owned(), syntax.to_string().into());
    }
    let mut target = json!({
        "context": literal(request.context.as_str()),
        "dockerfile": literal(request.dockerfile.as_str()),
        "contexts": contexts,
        "args": args,
        "labels": labels,
        "secret": literals(&request.secrets),
        "ssh": literals(&request.ssh),
        "attest": ["type=provenance,disabled=true"],
    });
    if let Some(stage) = &request.target {
        target["target"] = literal(stage).into();
    }
    if let Some(platform) = &request.platform {
        target["platforms"] = json!([platform.to_string()]);
    }
    if let Output::Image(tags) = &request.output {
        target["tags"] = literals(tags);
    }
    if request.cache_to == Some(CacheTarget::Inline) {
        target["cache-to"] = json!(["type=inline"]);
    }
    target
}

fn literals(texts: &[String]) -> Value {
    texts
        .iter()
        .map(|text| literal(text))
        .collect::<Vec<_>>()
        .into()
}

/// Returns the text such that bake's templates leave it as it is.
///
/// Source: <https://github.com/hashicorp/hcl/blob/v2.24.0/json/spec.md#template-expressions>
fn literal(text: &str) -> String {
    text.replace("${", "$${").replace("%{", "%%{")
}

#[cfg(test)]
mod tests {
    use super::super::BuildArg;
    use super::*;

    #[test]
    fn templates_are_no_templates() {
        let request = BuildRequest {
            context: "/src".into(),
            dockerfile: "/key/Dockerfile".into(),
            target: Some("deps".into()),
            platform: None,
            build_args: vec![BuildArg {
                name: "V".into(),
                value: "${HOME} %{ if } $x".into(),
                is_in_environment: false,
            }],
            secrets: vec!["id=npm,env=T".into()],
            ssh: vec![],
            labels: vec![("l".into(), "${x}".into())],
            build_contexts: vec![],
            pins: vec![],
            syntax: None,
            cache_from: vec![],
            cache_to: Some(CacheTarget::Inline),
            output: Output::Image(vec!["x:1".into()]),
        };
        let json: Value = serde_json::from_str(&bake_json(&[request])).expect("it is JSON");
        let target = &json["target"]["build-0"];
        assert_eq!(target["args"]["V"], "$${HOME} %%{ if } $x");
        assert_eq!(target["labels"]["l"], "$${x}");
        assert_eq!(target["cache-to"], json!(["type=inline"]));
        assert_eq!(target["tags"], json!(["x:1"]));
        assert_eq!(json["group"]["default"]["targets"], json!(["build-0"]));
    }

    #[test]
    fn lines_lose_the_target_and_nothing_else() {
        for (line, expected) in [
            ("#9 [build-1 deps 2/3] COPY a b", "#9 [deps 2/3] COPY a b"),
            (
                "#9 [build-0 linux/amd64 deps 2/3] RUN x",
                "#9 [linux/amd64 deps 2/3] RUN x",
            ),
            (
                "#15 [build-2] exporting to image",
                "#15 [build-2] exporting to image",
            ),
            (
                "#1 [internal] load local bake definitions",
                "#1 [internal] load local bake definitions",
            ),
            (
                "#9 0.2 [build-1 of 3] compiling",
                "#9 0.2 [build-1 of 3] compiling",
            ),
            (
                "[build-1 deps 2/3] no progress line",
                "[build-1 deps 2/3] no progress line",
            ),
        ] {
            assert_eq!(without_target(line), expected);
        }
    }
}
