//! From references to digests.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::oci::Platform;

const INDEX_PLATFORMS: [&str; 3] = ["linux/amd64", "linux/arm64/v8", "unknown/unknown"];

fn index() -> Vec<u8> {
    let manifests: Vec<serde_json::Value> = INDEX_PLATFORMS
        .iter()
        .map(|text| {
            let platform: Platform = text.parse().expect("a platform");
            serde_json::json!({
                "mediaType": media_type::OCI_MANIFEST,
                "digest": Digest::of(text.as_bytes()),
                "size": 1,
                "platform": platform,
            })
        })
        .collect();
    let index = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_INDEX,
        "manifests": manifests,
    });
    index.to_string().into_bytes()
}

fn index_reply() -> Reply {
    Reply::Http(
        200,
        vec![
            ("content-type", media_type::OCI_INDEX.to_owned()),
            ("docker-content-digest", Digest::of(&index()).to_string()),
        ],
        index(),
    )
}

#[test]
fn head_alone_where_it_tells_the_digest() {
    let server = FakeRegistry::start(|_, _| manifest());
    let resolved = resolve(&client(), &tag(&server)).expect("it is there");
    assert_eq!(
        resolved,
        Resolved {
            digest: Digest::of(MANIFEST),
            media_type: media_type::OCI_MANIFEST.to_owned(),
            platform_digest: None,
            endpoint: server.host.clone(),
        }
    );
    assert_eq!(server.lines(), ["HEAD /v2/team/app/manifests/1"]);
    let accept = server.requests()[0]
        .header("accept")
        .unwrap_or_default()
        .to_owned();
    for media_type in [
        media_type::OCI_INDEX,
        media_type::OCI_MANIFEST,
        media_type::DOCKER_MANIFEST_LIST,
        media_type::DOCKER_MANIFEST,
    ] {
        assert!(
            accept.split(", ").any(|known| known == media_type),
            "{media_type} in {accept}"
        );
    }
}

#[test]
fn get_where_head_does_not_tell() {
    let server = FakeRegistry::start(|request, _| {
        if request.is("HEAD") {
            return with_header(200, "content-type", media_type::OCI_MANIFEST);
        }
        Reply::Http(200, Vec::new(), MANIFEST.to_vec())
    });
    let resolved = resolve(&client(), &tag(&server)).expect("it is there");
    assert_eq!(resolved.digest, Digest::of(MANIFEST));
    assert_eq!(resolved.media_type, media_type::OCI_MANIFEST);
    assert_eq!(server.lines().len(), 2);
}

#[test]
fn get_where_head_is_not_known() {
    let server = FakeRegistry::start(|request, _| {
        if request.is("HEAD") {
            status(405)
        } else {
            manifest()
        }
    });
    let resolved = resolve(&client(), &tag(&server)).expect("it is there");
    assert_eq!(resolved.digest, Digest::of(MANIFEST));
}

#[test]
fn a_pinned_reference_needs_no_network() {
    let digest = Digest::of(b"pinned");
    let pinned = reference(&format!("registry.invalid/app:1@{digest}"));
    let resolved = resolve(&client(), &pinned).expect("no network is needed");
    assert_eq!(resolved.digest, digest);
}

#[test]
fn platforms_of_one_reference_share_its_requests() {
    let server = FakeRegistry::start(|_, _| index_reply());
    let platforms = ["linux/amd64", "linux/arm64", "linux/s390x", ""];
    let requests: Vec<ResolveRequest> = platforms
        .iter()
        .map(|text| ResolveRequest {
            reference: tag(&server),
            platform: text.parse().ok(),
        })
        .collect();
    let got: Vec<Option<Digest>> = client()
        .resolve(&requests)
        .into_iter()
        .map(|result| match result {
            Ok(resolved) => {
                assert_eq!(resolved.digest, Digest::of(&index()));
                resolved.platform_digest
            }
            Err(error) => {
                let available = vec!["linux/amd64".to_owned(), "linux/arm64/v8".to_owned()];
                let platform = "linux/s390x".to_owned();
                assert_eq!(
                    error.kind(),
                    &ErrorKind::NoPlatform {
                        platform,
                        available
                    }
                );
                None
            }
        })
        .collect();
    let digest = |text: &str| Some(Digest::of(text.as_bytes()));
    assert_eq!(
        got,
        [digest("linux/amd64"), digest("linux/arm64/v8"), None, None]
    );
    let by_digest = format!("GET /v2/team/app/manifests/{}", Digest::of(&index()));
    assert_eq!(
        server.lines(),
        ["HEAD /v2/team/app/manifests/1", &by_digest]
    );
}

/// No request is answered before all ten are there.
#[test]
fn ten_references_are_asked_at_the_same_time() {
    let barrier = Barrier::new(10);
    let server = FakeRegistry::start(move |_, _| {
        barrier.wait();
        manifest()
    });
    let requests: Vec<ResolveRequest> = (0..20)
        .map(|n| ResolveRequest {
            // Each of them twice.
            reference: reference(&format!("{}/app:{}", server.host, n % 10)),
            platform: None,
        })
        .collect();
    let results = client().resolve(&requests);
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!((results.len(), server.lines().len()), (20, 10));
}

#[test]
fn connections_per_host_are_limited() {
    let open = AtomicUsize::new(0);
    let server = FakeRegistry::start(move |_, _| {
        if open.fetch_add(1, Ordering::SeqCst) >= 2 {
            return status(400);
        }
        // Time for the others to arrive, if they were allowed to.
        std::thread::yield_now();
        open.fetch_sub(1, Ordering::SeqCst);
        manifest()
    });
    let mut options = options();
    options.connections_per_host = 2;
    let requests: Vec<ResolveRequest> = (0..12)
        .map(|n| ResolveRequest {
            reference: reference(&format!("{}/app:{n}", server.host)),
            platform: None,
        })
        .collect();
    let client = Client::new(options).expect("the options are good");
    let results = client.resolve(&requests);
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

#[test]
fn mirrors_go_first_and_the_hub_stands_behind_them() {
    let good = FakeRegistry::start(|_, _| manifest());
    let missing = FakeRegistry::start(|_, _| status(404));
    let broken = FakeRegistry::start(|_, _| status(500));
    let mut options = options();
    options.mirrors = [&missing, &broken, &good]
        .iter()
        .map(|server| format!("http://{}/", server.host))
        .collect();
    let client = Client::new(options).expect("the mirrors are good");
    let resolved = resolve(&client, &reference("alpine:3.20")).expect("the last mirror has it");
    assert_eq!(resolved.endpoint, good.host);
    assert_eq!(good.lines(), ["HEAD /v2/library/alpine/manifests/3.20"]);
    assert_eq!(missing.lines().len(), 2, "HEAD, then GET for the reason");
    assert_eq!(broken.lines().len(), 1, "no patience with a mirror");
    // Mirrors are Docker Hub's alone.
    let other = FakeRegistry::start(|_, _| status(404));
    resolve(&client, &tag(&other)).expect_err("it is missing");
    assert_eq!(good.lines().len(), 1);
}

#[test]
fn the_rate_limit_is_noted() {
    let server = FakeRegistry::start(|_, _| {
        let Reply::Http(code, mut headers, body) = manifest() else {
            return status(500);
        };
        headers.push(("ratelimit-limit", "100;w=21600".to_owned()));
        headers.push(("ratelimit-remaining", "7;w=21600".to_owned()));
        Reply::Http(code, headers, body)
    });
    let client = client();
    resolve(&client, &tag(&server)).expect("it is there");
    let limit = RateLimit {
        limit: 100,
        remaining: 7,
        window_seconds: Some(21_600),
    };
    assert_eq!(client.rate_limits(), [(server.host.clone(), limit)]);
    assert!(
        client.notes()[0].contains("allows 7 more of 100 pulls"),
        "{:?}",
        client.notes()
    );
}

#[test]
fn proxies_serve_all_but_loopback() {
    let proxy = FakeRegistry::start(|_, _| manifest());
    let loopback = FakeRegistry::start(|_, _| manifest());
    let mut options = options();
    options.proxies.http = Some(format!("user:pass@{}", proxy.host));
    options.mirrors = vec!["http://mirror.invalid/".to_owned()];
    let client = Client::new(options).expect("the options are good");
    resolve(&client, &reference("alpine")).expect("the proxy answers");
    resolve(&client, &tag(&loopback)).expect("no proxy is in between");
    let requests = proxy.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(
        requests[0].line,
        "HEAD http://mirror.invalid/v2/library/alpine/manifests/latest"
    );
    assert_eq!(
        requests[0].header("proxy-authorization"),
        Some("Basic dXNlcjpwYXNz")
    );
}

#[cfg(unix)]
#[test]
fn no_proxy_is_respected() {
    let proxy = FakeRegistry::start(|_, _| status(404));
    let server = FakeRegistry::start(|_, _| manifest());
    // This machine by an address that is not loopback's, so that the proxy would be asked.
    let host = server.host.replace("127.0.0.1", "0.0.0.0");
    for (no_proxy, is_good) in [("192.0.2.1, 0.0.0.0/8", true), ("192.0.2.1", false)] {
        let mut options = options();
        options.proxies.http = Some(format!("http://{}", proxy.host));
        options.proxies.no_proxy = Some(no_proxy.to_owned());
        // HTTPS is tried first, and fails without any proxy.
        options.insecure = vec![host.clone()];
        let client = Client::new(options).expect("the options are good");
        let result = resolve(&client, &reference(&format!("{host}/app")));
        assert_eq!(result.is_ok(), is_good, "{no_proxy}: {result:?}");
    }
    assert_eq!(proxy.lines().len(), 2, "HEAD, then GET for the reason");
}
