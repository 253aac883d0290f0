use serde_json::json;

use super::*;

/// What two versions print of one file.
const VERSIONS: [(&str, &str); 2] = [
    ("2.26.1", include_str!("../outputs/compose-2.26.1.json")),
    ("2.40.3", include_str!("../outputs/compose-2.40.3.json")),
];

fn read(json: &str, names: &[&str]) -> Result<Vec<BuildDefinition>, DefinitionError> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    compose_definitions(json.as_bytes(), &names)
}

#[test]
fn every_version_says_the_same() {
    for (version, json) in VERSIONS {
        let definitions = read(json, &[]).expect(version);
        let names: Vec<&str> = definitions.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["base", "web", "worker"], "{version}");
        let [base, web, worker] = definitions.as_slice() else {
            unreachable!("three names");
        };
        assert_eq!(base.tags, ["shop-base"]);
        assert_eq!(base.dockerfile, "/repo/base/docker/Dockerfile");
        assert_eq!(base.target.as_deref(), Some("tools"));
        assert!(!base.only_linked, "it is a service that is built");
        let inline = "FROM base\nRUN echo ${X} $z\n";
        assert_eq!(web.dockerfile_inline.as_deref(), Some(inline), "{version}");
        let args: Vec<_> = web
            .build_args
            .iter()
            .map(|(n, v)| format!("{n}={v}"))
            .collect();
        assert_eq!(args, ["EMPTY=", "VERSION=3"], "{version}");
        assert_eq!(
            web.tags,
            [
                "registry.example.com/shop/web:dev",
                "registry.example.com/shop/web:extra"
            ]
        );
        assert_eq!(web.labels["org.example.version"], "${V}");
        assert_eq!(web.platforms, ["linux/amd64"]);
        assert_eq!(
            web.secrets,
            ["id=npm,env=NPM_TOKEN", "id=rc,src=/repo/npmrc"]
        );
        assert_eq!(web.ssh, ["default"]);
        assert_eq!(web.build_contexts["base"], "target:base");
        assert_eq!(web.build_contexts["docs"], "/repo/docs");
        assert_eq!((web.left_out.len(), web.notes.len()), (0, 2), "{version}");
        assert_eq!(worker.context, "/repo");
    }
}

#[test]
fn a_named_service_brings_what_it_builds_on() {
    for (version, json) in VERSIONS {
        let definitions = read(json, &["web"]).expect(version);
        let found: Vec<_> = definitions
            .iter()
            .map(|one| (one.name.as_str(), one.only_linked))
            .collect();
        assert_eq!(found, [("base", true), ("web", false)], "{version}");
        let error = read(json, &["db"]).expect_err("db is not built");
        assert!(error.to_string().contains("`db` has no `build`"), "{error}");
        let error = read(json, &["wbe"]).expect_err("no such service");
        assert!(error.to_string().contains("no service `wbe`"), "{error}");
        let hint = error.hint().unwrap_or_default();
        assert!(hint.contains("`base`, `web`, `worker`"), "{hint}");
    }
}

#[test]
fn what_cannot_be_followed_is_refused_by_name() {
    for (field, value) in [
        ("no_cache", json!(true)),
        ("network", json!("host")),
        ("isolation", json!("hyperv")),
        ("privileged", json!(true)),
        ("shm_size", json!("134217728")),
        ("ulimits", json!({"nproc": 100})),
        ("extra_hosts", json!(["h=1.2.3.4"])),
        ("entitlements", json!(["network.host"])),
        ("secrets", json!([{"source": "unknown"}])),
        ("something_new", json!("x")),
    ] {
        let mut config = json!({ "name": "p", "services": { "a": { "build": { "context": "/" } }, "b": { "build": { "context": "/" } } } });
        config["services"]["a"]["build"][field] = value;
        let error = read(&config.to_string(), &["a"]).expect_err(field);
        assert!(error.to_string().contains(&format!("`{field}`")), "{error}");
        // What is not built matters to nobody.
        read(&config.to_string(), &["b"]).expect("b can be built");
    }
}

#[test]
fn extensions_are_for_others() {
    let config = json!({ "name": "p", "services": { "a": { "build": {
        "context": "/", "x-bake": { "no-cache": true }, "network": "default", "isolation": "default"
    } } } });
    let definitions = read(&config.to_string(), &[]).expect("valid");
    assert!(definitions[0].left_out.is_empty(), "{definitions:?}");
}
