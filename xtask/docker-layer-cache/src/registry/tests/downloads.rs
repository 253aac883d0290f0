//! Manifests, blobs, image configs: digests are checked.

use std::io::Read as _;

use super::*;
use crate::oci::{Descriptor, Platform};

const BLOB: &[u8] = b"a layer, or so";

fn blob_descriptor() -> Descriptor {
    Descriptor::new(media_type::OCI_LAYER, Digest::of(BLOB), BLOB.len() as u64)
}

fn read(body: &'static [u8], announced_length: usize) -> Result<Vec<u8>, String> {
    let server = FakeRegistry::start(move |_, _| {
        let length = vec![("content-length", announced_length.to_string())];
        Reply::Http(200, length, body.to_vec())
    });
    let mut reader = client()
        .blob(&tag(&server), &blob_descriptor())
        .map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    match reader.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(format!("{:?}: {error}", error.kind())),
    }
}

#[test]
fn blobs() {
    assert_eq!(read(BLOB, BLOB.len()), Ok(BLOB.to_vec()));
    for (body, length, expected) in [
        (&b"another layer!"[..], 14, "InvalidData"),
        (b"a layer, or", 11, "InvalidData"),
        (b"a layer, or so, and more", 24, "InvalidData"),
        (b"", 0, "InvalidData"),
        // The connection breaks off.
        (b"a layer", BLOB.len(), "UnexpectedEof"),
    ] {
        let error = read(body, length).expect_err("damaged");
        assert!(error.starts_with(expected), "{error}");
        assert!(error.contains("/team/app:1`"), "{error}");
    }
}

#[test]
fn a_broken_download_goes_on_where_it_broke() {
    for knows_ranges in [true, false] {
        let server = FakeRegistry::start(move |request, n| {
            let length = vec![("content-length", BLOB.len().to_string())];
            match request.header("range") {
                None => Reply::Http(200, length, BLOB[..4].to_vec()),
                Some("bytes=4-") if !knows_ranges => Reply::Http(200, length, BLOB.to_vec()),
                // The second connection breaks, too.
                Some("bytes=4-") if n == 1 => {
                    let length = vec![("content-length", (BLOB.len() - 4).to_string())];
                    Reply::Http(206, length, BLOB[4..9].to_vec())
                }
                Some("bytes=9-") => Reply::Http(206, Vec::new(), BLOB[9..].to_vec()),
                _ => status(416),
            }
        });
        let mut options = options();
        // The broken connection's place is free again.
        options.connections_per_host = 1;
        let client = Client::new(options).expect("the options are good");
        let mut reader = client
            .blob(&tag(&server), &blob_descriptor())
            .expect("it begins");
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).expect("it goes on");
        assert_eq!(bytes, BLOB);
        // The reader still lives, but its connection is free.
        client
            .blob(&tag(&server), &blob_descriptor())
            .expect("another connection");
    }
}

#[test]
fn manifests_are_checked() {
    for (announced, asked, is_good) in [
        (None, None, true),
        (Some(MANIFEST), None, true),
        (None, Some(MANIFEST), true),
        (Some(&b"other"[..]), None, false),
        (None, Some(&b"other"[..]), false),
        // What was asked for counts, not what is announced.
        (Some(&b"other"[..]), Some(MANIFEST), true),
    ] {
        let server = FakeRegistry::start(move |_, _| {
            let headers = announced
                .map(|bytes| ("docker-content-digest", Digest::of(bytes).to_string()))
                .into_iter()
                .collect();
            Reply::Http(200, headers, MANIFEST.to_vec())
        });
        let mut wanted = tag(&server);
        if let Some(bytes) = asked {
            wanted = wanted.at_digest(&Digest::of(bytes));
        }
        let result = client().manifest(&wanted);
        match result {
            Ok(fetched) => assert!(is_good && fetched.digest == Digest::of(MANIFEST)),
            Err(error) => assert!(
                !is_good && matches!(error.kind(), ErrorKind::DigestMismatch { .. }),
                "{error}"
            ),
        }
    }
}

#[test]
fn a_pinned_reference_with_sha512() {
    let server = FakeRegistry::start(|_, _| Reply::Http(200, Vec::new(), MANIFEST.to_vec()));
    let wrong: Digest = format!("sha512:{}", "0".repeat(128))
        .parse()
        .expect("a digest");
    let error = client()
        .manifest(&tag(&server).at_digest(&wrong))
        .expect_err("zeros");
    let ErrorKind::DigestMismatch {
        found: Some(found), ..
    } = error.kind()
    else {
        panic!("{error}");
    };
    client()
        .manifest(&tag(&server).at_digest(found))
        .expect("its own digest");
}

#[test]
fn a_truncated_manifest_is_fetched_again() {
    let server = FakeRegistry::start(|_, n| {
        let length = vec![("content-length", MANIFEST.len().to_string())];
        let end = if n == 0 { 20 } else { MANIFEST.len() };
        Reply::Http(200, length, MANIFEST[..end].to_vec())
    });
    client()
        .manifest(&tag(&server))
        .expect("the second attempt succeeds");
}

#[test]
fn image_configs() {
    const CONFIG: &[u8] = br#"{"architecture":"arm64","config":{"OnBuild":["RUN x"]}}"#;
    let config = Descriptor::new(
        media_type::OCI_CONFIG,
        Digest::of(CONFIG),
        CONFIG.len() as u64,
    );
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": config, "layers": [],
    })
    .to_string();
    let mut descriptor =
        Descriptor::new(media_type::OCI_MANIFEST, Digest::of(manifest.as_bytes()), 1);
    descriptor.platform = "linux/arm64".parse().ok();
    let index = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [descriptor],
    })
    .to_string();
    let server = FakeRegistry::start(move |request, _| {
        let body = if request.line.contains("/blobs/") {
            CONFIG.to_vec()
        } else if request.line.ends_with("/manifests/1") {
            index.clone().into_bytes()
        } else {
            manifest.clone().into_bytes()
        };
        Reply::Http(200, Vec::new(), body)
    });
    let arm64: Platform = "linux/arm64".parse().expect("a platform");
    let (digest, bytes) = client()
        .image_config(&tag(&server), &arm64)
        .expect("it is there");
    assert_eq!((digest, bytes), (Digest::of(CONFIG), CONFIG.to_vec()));
    assert_eq!(server.lines().len(), 3);
    let error = client()
        .image_config(&tag(&server), &Platform::linux_amd64())
        .expect_err("only arm64");
    assert_eq!(
        error.hint().as_deref(),
        Some("the image exists for linux/arm64")
    );
}
