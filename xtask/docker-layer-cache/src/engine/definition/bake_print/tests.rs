use serde_json::json;

use super::*;

/// What two versions print of one file.
const VERSIONS: [(&str, &str, bool); 2] = [
    (
        "0.13.1",
        include_str!("../outputs/buildx-0.13.1.json"),
        false,
    ),
    (
        "0.29.1",
        include_str!("../outputs/buildx-0.29.1.json"),
        true,
    ),
];

fn read(json: &str, is_escaped: bool) -> Result<Vec<BuildDefinition>, DefinitionError> {
    bake_definitions(&BakePrint {
        json: json.as_bytes().to_vec(),
        is_escaped,
    })
}

/// Reads one target with a field more.
fn with(field: &str, value: Value) -> Result<BuildDefinition, DefinitionError> {
    let mut printed = json!({ "target": { "default": { "context": "." } } });
    printed["target"]["default"][field] = value;
    read(&printed.to_string(), false).map(|mut definitions| definitions.remove(0))
}

#[test]
fn every_version_says_the_same() {
    for (version, json, is_escaped) in VERSIONS {
        let definitions = read(json, is_escaped).expect(version);
        let names: Vec<&str> = definitions.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names[0], "base", "{version}: {names:?}");
        let find = |name: &str| definitions.iter().find(|one| one.name == name).expect(name);
        let base = find("base");
        assert!(base.only_linked, "{version}");
        assert_eq!(
            (base.context.as_str(), base.dockerfile.as_str()),
            ("base", "base/docker/Dockerfile")
        );
        assert_eq!(base.target.as_deref(), Some("tools"));
        let web = find("web");
        assert!(!web.only_linked);
        let inline = "FROM base\nRUN echo ${X} %{y} $z\n";
        assert_eq!(web.dockerfile_inline.as_deref(), Some(inline), "{version}");
        let args: Vec<_> = web
            .build_args
            .iter()
            .map(|(n, v)| format!("{n}={v}"))
            .collect();
        assert_eq!(args, ["EMPTY=", "TEXT=${a}", "VERSION=1.0"], "{version}");
        assert_eq!(web.labels["org.example.version"], "${VERSION}", "{version}");
        assert_eq!(web.tags, ["registry.example.com/web:1.0", "web:latest"]);
        assert_eq!(web.platforms, ["linux/amd64"]);
        assert_eq!(web.secrets.len(), 2);
        assert_eq!(web.secrets[0], "id=npm,env=NPM_TOKEN");
        assert!(web.secrets[1].ends_with("id=npmrc,src=npmrc"), "{version}");
        assert_eq!(web.ssh, ["default"]);
        assert_eq!(web.links().collect::<Vec<_>>(), ["base"]);
        assert_eq!(web.build_contexts["docs"], "./docs");
        for field in ["cache-from", "cache-to", "annotations", "attest"] {
            let mut told = web.left_out.iter().chain(&web.notes);
            assert!(told.any(|note| note.contains(field)), "{version}: {web:?}");
        }
        assert_eq!((web.left_out.len(), web.notes.len()), (2, 2), "{version}");
        let worker = find("worker");
        assert_eq!(worker.dockerfile, "./Dockerfile.worker");
        assert!(worker.left_out.is_empty(), "{:?}", worker.left_out);
    }
}

#[test]
fn what_cannot_be_followed_is_refused_by_name() {
    for (field, value) in [
        ("no-cache", json!(true)),
        ("no-cache-filter", json!(["deps"])),
        ("network", json!("host")),
        ("shm-size", json!("128m")),
        ("ulimits", json!(["nofile=1024:1024"])),
        ("extra-hosts", json!({"h": "1.2.3.4"})),
        ("entitlements", json!(["network.host"])),
        ("call", json!("check")),
        ("output", json!(["type=local,dest=out"])),
        ("output", json!([{"type": "tar", "dest": "a.tar"}])),
        ("output", json!(["type=docker,dest=a.tar"])),
        ("something-new", json!("x")),
    ] {
        let error = with(field, value).expect_err(field);
        assert!(error.to_string().contains(&format!("`{field}`")), "{error}");
        assert!(error.hint().is_some(), "{error}");
    }
    for (field, value) in [
        ("no-cache", json!(false)),
        ("network", json!("default")),
        ("call", json!("build")),
        ("description", json!("the app")),
        ("output", json!(["type=docker"])),
        ("pull", json!(true)),
    ] {
        let definition = with(field, value).expect(field);
        assert!(definition.left_out.is_empty(), "{:?}", definition.left_out);
    }
    let pushed = with("output", json!([{"type": "image", "push": "true"}])).expect("a note");
    assert!(pushed.left_out[0].contains("docker push"), "{pushed:?}");
}

#[test]
fn values_of_another_kind_are_refused() {
    for (field, value) in [
        ("context", json!(7)),
        ("tags", json!("x")),
        ("args", json!({"A": ["x"]})),
        ("secret", json!([{"id": "a", "unknown": "x"}])),
        ("ssh", json!([7])),
    ] {
        let error = with(field, value).expect_err(field);
        assert!(error.to_string().contains(&format!("`{field}`")), "{error}");
    }
}

#[test]
fn secrets_with_commas_stay_one_field() {
    let definition = with("secret", json!([{"id": "a", "src": "x,y"}])).expect("valid");
    assert_eq!(definition.secrets, ["id=a,\"src=x,y\""]);
    let definition = with("ssh", json!([{"id": "k", "paths": ["a", "b"]}])).expect("valid");
    assert_eq!(definition.ssh, ["k=a,b"]);
}

#[test]
fn links_come_first_and_never_in_a_circle() {
    let order = |targets: Value, wanted: Value| {
        let printed = json!({ "group": { "default": { "targets": wanted } }, "target": targets });
        let definitions = read(&printed.to_string(), false)?;
        Ok::<_, DefinitionError>(
            definitions
                .into_iter()
                .map(|one| one.name)
                .collect::<Vec<_>>()
                .join(" "),
        )
    };
    let on = |name: &str| json!({ "contexts": { "x": format!("target:{name}") } });
    assert_eq!(
        order(
            json!({ "a": on("b"), "b": on("c"), "c": {}, "d": on("c") }),
            json!(["d", "a"])
        ),
        Ok("c d b a".to_owned())
    );
    let circle = order(json!({ "a": on("b"), "b": on("a") }), json!(["a"]));
    let error = circle.expect_err("a circle").to_string();
    assert!(error.contains("a → b → a"), "{error}");
    let missing = order(json!({ "a": on("b") }), json!(["a"]));
    let error = missing.expect_err("a missing link").to_string();
    assert!(error.contains("`a` builds on `b`"), "{error}");
}
