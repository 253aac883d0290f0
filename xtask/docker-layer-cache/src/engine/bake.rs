//! Several builds in one call of `docker buildx bake`: pure.

use serde_json::{Map, Value, json};

use super::{BuildRequest, CacheTarget, Output};

/// Returns the arguments behind `docker` of a bake that reads its targets from stdin.
pub(super) fn bake_argv() -> Vec<String> {
    ["buildx", "bake", "--progress=plain", "--load", "--file=-"]
        .map(str::to_owned)
        .to_vec()
}

/// Returns the targets of a bake as JSON. The context and the Dockerfile are absolute paths.
///
/// Source: <https://github.com/docker/buildx/blob/v0.29.1/docs/bake-reference.md>
pub(super) fn bake_json(requests: &[BuildRequest]) -> String {
    let name = |at: usize| format!("stage-{at}");
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
            build_contexts: vec![],
            pins: vec![],
            syntax: None,
            cache_from: vec![],
            cache_to: Some(CacheTarget::Inline),
            output: Output::Image(vec!["x:1".into()]),
        };
        let json: Value = serde_json::from_str(&bake_json(&[request])).expect("it is JSON");
        let target = &json["target"]["stage-0"];
        assert_eq!(target["args"]["V"], "$${HOME} %%{ if } $x");
        assert_eq!(target["cache-to"], json!(["type=inline"]));
        assert_eq!(target["tags"], json!(["x:1"]));
        assert_eq!(json["group"]["default"]["targets"], json!(["stage-0"]));
    }
}
