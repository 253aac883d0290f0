//! Challenges, tokens, credentials.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

fn client_with(variables: &[(&str, String)]) -> Client {
    let mut options = ClientOptions::from_variables(
        variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone())),
    );
    options.certs_dirs = Vec::new();
    options.backoff = Duration::from_millis(1);
    Client::new(options).expect("the options are good")
}

/// The content of `DOCKER_AUTH_CONFIG` with one entry.
fn auth_config(host: &str, entry: &str) -> (&'static str, String) {
    (
        "DOCKER_AUTH_CONFIG",
        format!(r#"{{"auths":{{"{host}":{entry}}}}}"#),
    )
}

fn basic(user_and_password: &str) -> String {
    format!("Basic {}", STANDARD.encode(user_and_password))
}

/// A registry that gives out the tokens `good-0` and `good-1`; the first may be good for one
/// request alone.
fn bearer_registry(is_first_revoked: bool) -> FakeRegistry {
    FakeRegistry::start(move |request, n| {
        let host = request.header("host").unwrap_or_default();
        if request.is("GET /token") || request.is("POST /token") {
            let body = format!(r#"{{"token":"good-{n}","expires_in":300}}"#);
            return Reply::Http(200, Vec::new(), body.into_bytes());
        }
        match request.authorization() {
            Some("Bearer good-0") if !is_first_revoked || n == 1 => manifest(),
            Some("Bearer good-1") => manifest(),
            _ => with_header(
                401,
                "www-authenticate",
                format!(
                    "Bearer realm=\"http://{host}/token\",service=\"s e\",scope=\"repository:team/app:pull\""
                ),
            ),
        }
    })
}

#[test]
fn an_anonymous_token() {
    let server = bearer_registry(false);
    let client = client();
    resolve(&client, &tag(&server)).expect("the token is good");
    assert_eq!(
        server.lines(),
        [
            "HEAD /v2/team/app/manifests/1",
            "GET /token?service=s+e&scope=repository%3Ateam%2Fapp%3Apull",
            "HEAD /v2/team/app/manifests/1",
        ]
    );
    assert_eq!(server.requests()[1].authorization(), None);
    // The token is kept: one more request, not three.
    resolve(&client, &tag(&server)).expect("the token is good");
    assert_eq!(server.lines().len(), 4);
}

#[test]
fn a_token_for_user_and_password() {
    let server = bearer_registry(false);
    let entry = format!(r#"{{"auth":"{}"}}"#, STANDARD.encode("ci:pass:word"));
    let client = client_with(&[auth_config(&server.host, &entry)]);
    resolve(&client, &tag(&server)).expect("the token is good");
    let request = &server.requests()[1];
    assert_eq!(
        request.authorization(),
        Some(basic("ci:pass:word").as_str())
    );
    assert!(request.line.ends_with("&account=ci"), "{}", request.line);
}

#[test]
fn a_token_for_an_identity_token() {
    let server = bearer_registry(false);
    let client = client_with(&[auth_config(&server.host, r#"{"identitytoken":"re fresh"}"#)]);
    resolve(&client, &tag(&server)).expect("the token is good");
    let request = &server.requests()[1];
    assert_eq!(request.line, "POST /token");
    assert_eq!(
        String::from_utf8_lossy(&request.body),
        "grant_type=refresh_token&service=s+e&client_id=docker-layer-cache\
         &scope=repository%3Ateam%2Fapp%3Apull&refresh_token=re+fresh"
    );
}

#[test]
fn a_registry_token_is_sent_as_it_is() {
    let server = bearer_registry(false);
    let client = client_with(&[auth_config(&server.host, r#"{"registrytoken":"good-1"}"#)]);
    resolve(&client, &tag(&server)).expect("the token is good");
    assert_eq!(server.lines().len(), 2);
}

#[test]
fn a_revoked_token_is_replaced() {
    let server = bearer_registry(true);
    let client = client();
    resolve(&client, &tag(&server)).expect("the first token is good");
    resolve(&client, &tag(&server)).expect("the second token is good");
    let tokens: Vec<String> = server
        .requests()
        .iter()
        .filter(|request| request.is("HEAD"))
        .map(|request| request.authorization().unwrap_or("none").to_owned())
        .collect();
    assert_eq!(
        tokens,
        ["none", "Bearer good-0", "Bearer good-0", "Bearer good-1"]
    );
}

#[test]
fn ten_references_of_one_repository_ask_for_one_token() {
    let server = bearer_registry(false);
    let requests: Vec<ResolveRequest> = (0..10)
        .map(|n| ResolveRequest {
            reference: reference(&format!("{}/team/app:{n}", server.host)),
            platform: None,
        })
        .collect();
    let results = client().resolve(&requests);
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let n_tokens = server
        .lines()
        .iter()
        .filter(|line| line.starts_with("GET /token"))
        .count();
    assert_eq!(n_tokens, 1);
}

fn basic_registry() -> FakeRegistry {
    FakeRegistry::start(|request, _| {
        if request.authorization() == Some(basic("ci:password").as_str()) {
            return manifest();
        }
        // Bearer would be preferred, but names no token server.
        with_header(401, "www-authenticate", "Bearer, Basic realm=\"a, b\"")
    })
}

#[test]
fn basic_credentials() {
    let server = basic_registry();
    let name = format!(
        "DOCKER_LAYER_CACHE_AUTH_{}",
        server.host.replace(['.', ':'], "_")
    );
    let client = client_with(&[(&name, "ci:password".to_owned())]);
    resolve(&client, &tag(&server)).expect("the password is good");
    resolve(&client, &tag(&server)).expect("the password is good");
    // The challenge is remembered.
    assert_eq!(server.lines().len(), 3);
}

#[test]
fn wrong_credentials_are_sent_once_per_request() {
    let server = basic_registry();
    let entry = r#"{"username":"ci","password":"wrong"}"#;
    let client = client_with(&[auth_config(&server.host, entry)]);
    let error = resolve(&client, &tag(&server)).expect_err("the password is wrong");
    assert_eq!(error.kind(), &ErrorKind::Unauthorized);
    assert!(
        error.to_string().contains("refuses the stored credentials"),
        "{error}"
    );
    let hint = error.hint().expect("a next step");
    assert!(
        hint.contains(&format!("`docker login {}`", server.host)),
        "{hint}"
    );
    // HEAD without and with credentials, then GET with them.
    assert_eq!(server.lines().len(), 3);
}

#[test]
fn a_broken_login_is_told() {
    let server = basic_registry();
    let client = client_with(&[auth_config(&server.host, r#"{"auth":"not base64"}"#)]);
    let error = resolve(&client, &tag(&server)).expect_err("there are no credentials");
    assert_eq!(error.kind(), &ErrorKind::Credentials);
    assert!(error.to_string().contains("is not base64"), "{error}");
}

#[test]
fn a_redirect_to_another_host_gets_no_credentials() {
    let elsewhere = FakeRegistry::start(|request, _| match request.authorization() {
        None => manifest(),
        Some(_) => status(400),
    });
    let target = format!("http://{}/signed?X-Signature=1", elsewhere.host);
    let server = FakeRegistry::start(move |request, _| {
        if request.authorization() == Some(basic("ci:password").as_str()) {
            return with_header(307, "location", target.clone());
        }
        with_header(401, "www-authenticate", "Basic realm=\"r\"")
    });
    let entry = r#"{"username":"ci","password":"password"}"#;
    let client = client_with(&[auth_config(&server.host, entry)]);
    resolve(&client, &tag(&server)).expect("the redirect is followed");
    assert_eq!(elsewhere.lines(), ["HEAD /signed?X-Signature=1"]);
    assert_eq!(elsewhere.requests()[0].authorization(), None);
}

#[test]
fn a_challenge_behind_a_redirect_gets_nothing() {
    let elsewhere = FakeRegistry::start(|_, _| {
        with_header(401, "www-authenticate", "Basic realm=\"phishing\"")
    });
    let target = format!("http://{}/", elsewhere.host);
    let server = FakeRegistry::start(move |_, _| with_header(302, "location", target.clone()));
    let entry = r#"{"username":"ci","password":"password"}"#;
    let client = client_with(&[auth_config(&server.host, entry)]);
    resolve(&client, &tag(&server)).expect_err("nothing there");
    assert!(
        elsewhere
            .requests()
            .iter()
            .all(|request| request.authorization().is_none())
    );
}

#[test]
fn redirects_on_one_host_keep_the_credentials_and_end() {
    let server = FakeRegistry::start(|request, _| {
        if request.authorization().is_none() {
            return with_header(401, "www-authenticate", "Basic realm=\"r\"");
        }
        if request.is("HEAD /moved") {
            return manifest();
        }
        with_header(301, "location", "/moved")
    });
    let entry = r#"{"username":"ci","password":"password"}"#;
    let client = client_with(&[auth_config(&server.host, entry)]);
    resolve(&client, &tag(&server)).expect("the redirect is followed");

    let loops = FakeRegistry::start(|_, _| with_header(302, "location", "/again"));
    let error = resolve(&client, &tag(&loops)).expect_err("it never ends");
    assert!(error.to_string().contains("too many redirects"), "{error}");
}

#[cfg(unix)]
mod helpers {
    use std::os::unix::fs::PermissionsExt as _;

    use camino::Utf8PathBuf;

    use super::*;

    /// A folder with the helper `docker-credential-test` and a `config.json` that names it.
    fn folder(script: &str, config: &str) -> (tempfile::TempDir, ClientOptions) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = Utf8PathBuf::from_path_buf(folder.path().to_owned()).expect("UTF-8");
        let helper = path.join("docker-credential-test");
        std::fs::write(&helper, format!("#!/bin/sh\n{script}\n")).expect("written");
        std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).expect("set");
        std::fs::write(path.join("config.json"), config).expect("written");
        let mut options = options();
        options.docker_config = Some(path.clone());
        options.credential_helpers = Some(path);
        (folder, options)
    }

    #[test]
    fn helpers_are_asked() {
        let server = basic_registry();
        let host = &server.host;
        let answer = r#"echo '{"ServerURL":"x","Username":"ci","Secret":"password"}'"#;
        for (script, config, expected) in [
            (
                format!("test \"$1\" = get && test \"$(cat)\" = {host} && {answer}"),
                r#"{"credsStore":"test"}"#.to_owned(),
                None,
            ),
            (
                answer.to_owned(),
                format!(r#"{{"credHelpers":{{"{host}":"test"}}}}"#),
                None,
            ),
            (
                "echo 'credentials not found in native keychain'; exit 1".to_owned(),
                r#"{"credsStore":"test"}"#.to_owned(),
                Some(ErrorKind::Unauthorized),
            ),
            (
                "echo 'the key ring is locked' >&2; exit 3".to_owned(),
                r#"{"credsStore":"test"}"#.to_owned(),
                Some(ErrorKind::Credentials),
            ),
            (
                answer.to_owned(),
                r#"{"credsStore":"missing"}"#.to_owned(),
                Some(ErrorKind::Credentials),
            ),
            (
                "echo not JSON".to_owned(),
                r#"{"credsStore":"test"}"#.to_owned(),
                Some(ErrorKind::Credentials),
            ),
        ] {
            let (_folder, options) = folder(&script, &config);
            let client = Client::new(options).expect("the options are good");
            let result = resolve(&client, &tag(&server));
            let kind = result.err().map(|error| error.kind().clone());
            assert_eq!(kind, expected, "{script} with {config}");
        }
    }
}
