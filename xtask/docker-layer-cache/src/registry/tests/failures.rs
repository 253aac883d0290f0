//! What is tried again, and what a failure looks like.

use super::*;

fn check(
    expected: &[&str],
    answer: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static,
) -> Result<Resolved, RegistryError> {
    let server = FakeRegistry::start(answer);
    let mut options = options();
    options.retries = 2;
    let client = Client::new(options).expect("the options are good");
    let result = resolve(&client, &tag(&server));
    let methods: Vec<String> = server
        .lines()
        .iter()
        .map(|line| line.split(' ').next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(methods, expected, "{result:?}");
    result
}

fn kind(result: Result<Resolved, RegistryError>) -> ErrorKind {
    result.expect_err("a failure").kind().clone()
}

#[test]
fn a_failing_server_is_asked_again() {
    for code in [500, 502, 503, 504, 429, 408] {
        check(&["HEAD", "HEAD"], move |_, n| {
            if n == 0 { status(code) } else { manifest() }
        })
        .unwrap_or_else(|error| panic!("{code}: {error}"));
    }
}

#[test]
fn a_broken_connection_is_tried_again() {
    check(&["HEAD", "HEAD"], |_, n| {
        if n == 0 {
            Reply::Raw(Vec::new())
        } else {
            manifest()
        }
    })
    .expect("the second attempt succeeds");
}

#[test]
fn the_retries_end() {
    let result = check(&["HEAD", "HEAD", "HEAD"], |_, _| status(503));
    assert_eq!(kind(result), ErrorKind::Server { retry_after: None });
}

#[test]
fn retry_after_is_honoured_and_capped() {
    check(&["HEAD", "HEAD"], |_, n| {
        if n == 0 {
            with_header(429, "retry-after", "0")
        } else {
            manifest()
        }
    })
    .expect("the second attempt succeeds");
    check(&["HEAD", "HEAD"], |_, n| {
        if n == 0 {
            with_header(503, "retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")
        } else {
            manifest()
        }
    })
    .expect("the date is past");
    // An hour is not waited for.
    let result = check(&["HEAD"], |_, _| with_header(429, "retry-after", "3600"));
    let error = result.expect_err("no patience");
    let retry_after = Some(Duration::from_secs(3600));
    assert_eq!(error.kind(), &ErrorKind::RateLimited { retry_after });
    assert!(error.to_string().contains("asks to wait 3600 s"), "{error}");
}

#[test]
fn a_missing_tag() {
    let result = check(&["HEAD", "GET"], |_, _| {
        let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown\u001b[2J","detail":{"Tag":"1"}}]}"#;
        Reply::Http(404, Vec::new(), body.to_vec())
    });
    let error = result.expect_err("it is missing");
    assert_eq!(error.kind(), &ErrorKind::NotFound);
    assert_eq!(error.status(), Some(404));
    assert_eq!(error.codes()[0].code, "MANIFEST_UNKNOWN");
    // No control characters.
    assert_eq!(error.codes()[0].message, "manifest unknown [2J");
    let host = error.host();
    assert_eq!(
        error.to_string(),
        format!(
            "`{host}/team/app:1`: not found at `{host}` (GET http://{host}/v2/team/app/manifests/1: 404): \
             MANIFEST_UNKNOWN: manifest unknown [2J"
        )
    );
    assert!(
        error
            .hint()
            .is_some_and(|hint| hint.contains("check the spelling"))
    );
}

#[test]
fn statuses_and_their_kinds() {
    for (code, expected) in [
        // HTTPS is tried, too, since a TLS server answers 400 to plain HTTP.
        (400, ErrorKind::Protocol),
        (401, ErrorKind::Unauthorized),
        (403, ErrorKind::Forbidden),
        (404, ErrorKind::NotFound),
        (405, ErrorKind::Protocol),
    ] {
        assert_eq!(
            kind(check(&["HEAD", "GET"], move |_, _| status(code))),
            expected,
            "{code}"
        );
    }
}

#[test]
fn schema_1_is_refused() {
    for media_type in [
        media_type::DOCKER_SCHEMA1,
        "application/vnd.docker.distribution.manifest.v1+json; charset=utf-8",
    ] {
        let result = check(&["HEAD"], move |_, _| {
            with_header(200, "content-type", media_type)
        });
        assert_eq!(kind(result), ErrorKind::Schema1, "{media_type}");
    }
    // Also where only the body tells.
    let result = check(&["HEAD", "GET"], |_, _| {
        Reply::Http(
            200,
            Vec::new(),
            br#"{"schemaVersion":1,"fsLayers":[]}"#.to_vec(),
        )
    });
    assert_eq!(kind(result), ErrorKind::Schema1);
}

#[test]
fn something_else_than_a_registry() {
    let result = check(&["HEAD", "GET"], |_, _| {
        let html = vec![("content-type", "text/html".to_owned())];
        Reply::Http(
            200,
            html,
            b"<html>welcome to the hotel network</html>".to_vec(),
        )
    });
    assert_eq!(kind(result), ErrorKind::Protocol);
    let result = check(&["HEAD"], |_, _| {
        with_header(200, "docker-content-digest", "sha256:../../etc/passwd")
    });
    assert_eq!(kind(result), ErrorKind::Protocol);
}

#[test]
fn a_manifest_that_never_ends() {
    let result = check(&["HEAD", "GET"], |request, _| {
        if request.is("HEAD") {
            return status(200);
        }
        Reply::Http(200, Vec::new(), vec![b' '; (4 << 20) + 1])
    });
    let error = result.expect_err("it is too long");
    assert!(
        error.to_string().contains("longer than 4194304 bytes"),
        "{error}"
    );
}

#[test]
fn no_first_byte() {
    let server = FakeRegistry::start(|_, _| Reply::Silence);
    let mut options = options();
    options.timeout = Duration::from_millis(50);
    options.retries = 1;
    let client = Client::new(options).expect("the options are good");
    let error = resolve(&client, &tag(&server)).expect_err("no answer");
    assert_eq!(error.kind(), &ErrorKind::Timeout, "{error}");
    assert_eq!(server.lines().len(), 2, "one retry");
}

#[test]
fn the_total_time_is_bounded() {
    let server = FakeRegistry::start(|_, _| with_header(503, "retry-after", "20"));
    let mut options = options();
    options.total_timeout = Duration::from_secs(10);
    let client = Client::new(options).expect("the options are good");
    let error = resolve(&client, &tag(&server)).expect_err("20 s are more than 10 s");
    assert_eq!(error.status(), Some(503));
    assert_eq!(server.lines().len(), 1);
}

#[test]
fn nobody_listens() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let host = listener.local_addr().expect("bound").to_string();
    drop(listener);
    let error = resolve(&client(), &reference(&format!("{host}/app"))).expect_err("refused");
    assert_eq!(error.kind(), &ErrorKind::Connect);
    assert!(error.to_string().contains("HEAD http://"), "{error}");
}
