use proptest::prelude::*;

use super::*;

/// `user:password` of the tests, in base64.
const AUTH: &str = "dXNlcjpwYXNzd29yZA==";

fn find(config: &str, registry: &str) -> String {
    let mut options = ClientOptions::anonymous();
    options.docker_auth_config = Some(config.to_owned());
    show(&CredentialStore::new(options).find(registry))
}

fn show(found: &Found) -> String {
    let text = match &found.credentials {
        Credentials::Anonymous => "anonymous".to_owned(),
        Credentials::Password { user, password } => format!("{user}:{}", password.expose()),
        Credentials::IdentityToken(token) => format!("identity {}", token.expose()),
        Credentials::RegistryToken(token) => format!("registry {}", token.expose()),
    };
    match &found.problem {
        Some(problem) => format!("{text} ({problem})"),
        None => text,
    }
}

#[test]
fn logins_of_config_json() {
    for (config, registry, expected) in [
        ("", "docker.io", "anonymous"),
        ("{}", "docker.io", "anonymous"),
        (
            r#"{"auths":null,"credHelpers":null}"#,
            "docker.io",
            "anonymous",
        ),
        (
            r#"{"auths":{"https://index.docker.io/v1/":{"auth":"AUTH"}}}"#,
            "docker.io",
            "user:password",
        ),
        (
            r#"{"auths":{"docker.io":{"auth":"AUTH"}}}"#,
            "docker.io",
            "user:password",
        ),
        (
            r#"{"auths":{"https://index.docker.io/v1/":{"auth":"AUTH"}}}"#,
            "ghcr.io",
            "anonymous",
        ),
        (
            r#"{"auths":{"ghcr.io":{"auth":"AUTH"}}}"#,
            "ghcr.io",
            "user:password",
        ),
        (
            r#"{"auths":{"https://ghcr.io/v2/":{"auth":"AUTH"}}}"#,
            "ghcr.io",
            "user:password",
        ),
        (
            r#"{"auths":{"http://GHCR.io":{"auth":"AUTH"}}}"#,
            "ghcr.io",
            "user:password",
        ),
        (
            r#"{"auths":{"localhost:5000":{"auth":"AUTH"}}}"#,
            "localhost:5000",
            "user:password",
        ),
        // The port belongs to the registry.
        (
            r#"{"auths":{"localhost:5000":{"auth":"AUTH"}}}"#,
            "localhost:5001",
            "anonymous",
        ),
        // Without padding, and with a colon in the password.
        (
            r#"{"auths":{"r":{"auth":"dXNlcjpwYXNzd29yZA"}}}"#,
            "r",
            "user:password",
        ),
        (r#"{"auths":{"r":{"auth":"YTpiOmM="}}}"#, "r", "a:b:c"),
        (
            r#"{"auths":{"r":{"username":"user","password":"p"}}}"#,
            "r",
            "user:p",
        ),
        (
            r#"{"auths":{"r":{"auth":"AUTH","identitytoken":"refresh"}}}"#,
            "r",
            "identity refresh",
        ),
        (
            r#"{"auths":{"r":{"registrytoken":"bearer"}}}"#,
            "r",
            "registry bearer",
        ),
        (r#"{"auths":{"r":{}}}"#, "r", "anonymous"),
        (
            r#"{"auths":{"r":{"auth":"!!!"}}}"#,
            "r",
            "anonymous (`auth` of `r` is not base64 of `user:password`)",
        ),
        (
            r#"{"auths":{"r":{"auth":7}}}"#,
            "r",
            "anonymous (`DOCKER_AUTH_CONFIG`: not a Docker configuration (line 1, column 23))",
        ),
        (
            r#"{"credsStore":"../../bin/sh"}"#,
            "r",
            "anonymous (`../../bin/sh` is not the name of a credential helper)",
        ),
    ] {
        let config = config.replace("AUTH", AUTH);
        assert_eq!(find(&config, registry), expected, "{config} for {registry}");
    }
}

#[test]
fn the_environment_goes_first() {
    let mut options = ClientOptions::from_variables(
        [
            ("DOCKER_LAYER_CACHE_AUTH_LOCALHOST_5000", "ci:a:b"),
            ("DOCKER_LAYER_CACHE_AUTH_ghcr_io", "ci:c"),
            ("DOCKER_LAYER_CACHE_AUTH_DOCKER_IO", "hub:d"),
            ("DOCKER_LAYER_CACHE_AUTH_QUAY_IO", "nothing-but-a-name"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    options.docker_auth_config = Some(format!(
        r#"{{"auths":{{"localhost:5000":{{"auth":"{AUTH}"}},"other":{{"auth":"{AUTH}"}}}}}}"#
    ));
    let store = CredentialStore::new(options);
    for (registry, expected) in [
        ("localhost:5000", "ci:a:b"),
        ("ghcr.io", "ci:c"),
        ("docker.io", "hub:d"),
        ("other", "user:password"),
        (
            "quay.io",
            "anonymous (`DOCKER_LAYER_CACHE_AUTH_QUAY_IO` is not `user:password`)",
        ),
    ] {
        assert_eq!(show(&store.find(registry)), expected, "{registry}");
    }
}

proptest! {
    #[test]
    fn any_text_is_a_configuration_or_a_problem(
        text in r#"(\{|\}|"auths"|"auth"|"r"|:|,|null|\[|\]|[ -~])*"#,
    ) {
        find(&text, "r");
    }

    #[test]
    fn a_login_comes_back(user in "[^:<][^:]*", password in "[^\u{0}]*", server in "[a-z.]{1,9}(:[0-9]{1,4})?") {
        use base64::engine::general_purpose::STANDARD;
        let auth = STANDARD.encode(format!("{user}:{password}"));
        let config = serde_json::json!({ "auths": { format!("https://{server}/v1/"): { "auth": auth } } });
        prop_assert_eq!(find(&config.to_string(), &server), format!("{user}:{password}"));
    }
}
