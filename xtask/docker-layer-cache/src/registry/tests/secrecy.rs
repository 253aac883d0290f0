//! No password and no token in anything that a person may see.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

const PASSWORD: &str = "planted-password";
const IDENTITY: &str = "planted-identity-token";
const ACCESS: &str = "planted-access-token";
const SIGNATURE: &str = "planted-signature";

/// A server that does everything wrong: it repeats the credentials in its errors.
fn chatty(code: u16, is_bearer: bool) -> FakeRegistry {
    FakeRegistry::start(move |request, _| {
        let host = request.header("host").unwrap_or_default().to_owned();
        let sent = format!(
            "{} {}",
            request.authorization().unwrap_or_default(),
            String::from_utf8_lossy(&request.body)
        );
        if request.line.contains("/token") {
            let body = if code == 418 {
                return echo(403, &sent);
            } else {
                format!(r#"{{"access_token":"{ACCESS}"}}"#)
            };
            return Reply::Http(200, Vec::new(), body.into_bytes());
        }
        if request.line.contains("signature") {
            return echo(500, &sent);
        }
        if request.authorization().is_none() {
            let challenge = if is_bearer {
                format!("Bearer realm=\"http://u:{SIGNATURE}@{host}/token?k={SIGNATURE}\"")
            } else {
                "Basic realm=\"r\"".to_owned()
            };
            return with_header(401, "www-authenticate", challenge);
        }
        if code == 307 {
            return with_header(
                307,
                "location",
                format!("http://u:{SIGNATURE}@{host}/signature?X={SIGNATURE}"),
            );
        }
        echo(code, &sent)
    })
}

fn echo(code: u16, sent: &str) -> Reply {
    let body = serde_json::json!({ "errors": [{ "code": sent, "message": sent }] });
    Reply::Http(code, Vec::new(), body.to_string().into_bytes())
}

#[test]
fn planted_secrets_do_not_show() {
    let auth = STANDARD.encode(format!("ci:{PASSWORD}"));
    let entries = [
        format!(r#"{{"auth":"{auth}"}}"#),
        format!(r#"{{"identitytoken":"{IDENTITY}"}}"#),
        format!(r#"{{"registrytoken":"{ACCESS}"}}"#),
        // A broken file: the parser's error would quote it.
        format!(r#"{{"auth":{{"{PASSWORD}":1}}}}"#),
    ];
    let mut n_errors = 0;
    for code in [400, 401, 403, 404, 418, 429, 500, 307] {
        for is_bearer in [true, false] {
            for entry in &entries {
                let server = chatty(code, is_bearer);
                let mut options = options();
                options.retries = 0;
                options.docker_auth_config =
                    Some(format!(r#"{{"auths":{{"{}":{entry}}}}}"#, server.host));
                options
                    .environment_credentials
                    .insert("OTHER_HOST".to_owned(), format!("ci:{PASSWORD}"));
                options.proxies.https = Some(format!("http://u:{PASSWORD}@proxy.invalid:1"));
                let client = Client::new(options.clone()).expect("the options are good");
                let error = resolve(&client, &tag(&server)).expect_err("it always fails");
                n_errors += 1;
                let upload = client
                    .put_blob(
                        &tag(&server),
                        &crate::oci::Descriptor::new("x", Digest::of(b""), 0),
                        &b""[..],
                    )
                    .expect_err("it always fails");
                let shown = format!(
                    "{error}\n{error:?}\n{error:#?}\n{:?}\n{upload}\n{upload:?}\n{options:?}\n{client:?}\n{:?}",
                    error.hint(),
                    client.notes()
                );
                for secret in [PASSWORD, IDENTITY, ACCESS, SIGNATURE, &auth] {
                    assert!(!shown.contains(secret), "{secret} in {shown}");
                }
            }
        }
    }
    assert_eq!(n_errors, 8 * 2 * 4);
}
