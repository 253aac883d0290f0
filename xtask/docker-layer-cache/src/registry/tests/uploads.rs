//! Blobs and manifests up.

use super::*;
use crate::oci::{Descriptor, ImageIndex};

/// A registry that takes what it is given.
fn server() -> FakeRegistry {
    FakeRegistry::start(|request, n| {
        if request.is("POST /v2/team/app/blobs/uploads/") {
            return with_header(202, "location", "/v2/team/app/blobs/uploads/u1?state=s%2F");
        }
        if request.is("HEAD ") {
            return status(if n == 0 { 404 } else { 200 });
        }
        status(201)
    })
}

fn descriptor(bytes: &[u8]) -> Descriptor {
    Descriptor::new(media_type::OCI_LAYER, Digest::of(bytes), bytes.len() as u64)
}

#[test]
fn has_blob() {
    let server = server();
    let client = client();
    let digest = Digest::of(b"blob");
    assert!(!client.has_blob(&tag(&server), &digest).expect("an answer"));
    assert!(client.has_blob(&tag(&server), &digest).expect("an answer"));
}

#[test]
fn small_and_large_blobs() {
    for size in [0, 5, 9 << 20] {
        let server = server();
        let bytes = vec![7; size];
        let descriptor = descriptor(&bytes);
        client()
            .put_blob(&tag(&server), &descriptor, bytes.as_slice())
            .expect("it is taken");
        let requests = server.requests();
        let put = requests.last().expect("two requests");
        assert_eq!(requests.len(), 2);
        assert_eq!(requests[0].header("content-length"), Some("0"));
        assert_eq!(
            put.line,
            format!(
                "PUT /v2/team/app/blobs/uploads/u1?state=s%2F&digest=sha256%3A{}",
                descriptor.digest.encoded()
            )
        );
        assert_eq!(
            put.header("content-length"),
            Some(size.to_string().as_str())
        );
        assert!(put.body == bytes, "{size} bytes");
    }
}

#[test]
fn a_small_upload_is_repeated() {
    let server = FakeRegistry::start(|request, n| {
        if request.is("POST ") {
            return with_header(202, "location", format!("/upload/{n}"));
        }
        status(if request.is("PUT /upload/0") {
            503
        } else {
            201
        })
    });
    client()
        .put_blob(&tag(&server), &descriptor(b"blob"), &b"blob"[..])
        .expect("the second attempt succeeds");
    assert_eq!(server.lines().len(), 4);
}

#[test]
fn what_is_not_what_it_says_is_not_sent() {
    let server = server();
    for content in [&b"blub"[..], b"blobs", b"blo"] {
        let error = client()
            .put_blob(&tag(&server), &descriptor(b"blob"), content)
            .expect_err("damaged");
        assert!(
            matches!(error.kind(), ErrorKind::DigestMismatch { .. }),
            "{error}"
        );
    }
    assert_eq!(server.lines(), Vec::<String>::new());
}

#[test]
fn a_large_blob_that_cannot_be_read() {
    struct Broken(usize);
    impl std::io::Read for Broken {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            if self.0 == 0 {
                return Err(std::io::Error::other("the disk is gone"));
            }
            self.0 -= 1;
            Ok(buf.len())
        }
    }
    let server = server();
    let descriptor = Descriptor::new(media_type::OCI_LAYER, Digest::of(b"x"), 9 << 20);
    let error = client()
        .put_blob(&tag(&server), &descriptor, Broken(3))
        .expect_err("unreadable");
    assert!(error.to_string().contains("the disk is gone"), "{error}");
}

#[test]
fn manifests() {
    let server = server();
    let client = client();
    let digest = client
        .put_manifest(&tag(&server), media_type::OCI_MANIFEST, MANIFEST)
        .expect("it is taken");
    assert_eq!(digest, Digest::of(MANIFEST));
    client
        .put_manifest(
            &tag(&server).at_digest(&digest),
            media_type::OCI_MANIFEST,
            MANIFEST,
        )
        .expect("it is taken");
    assert_eq!(
        server.lines(),
        [
            "PUT /v2/team/app/manifests/1".to_owned(),
            format!("PUT /v2/team/app/manifests/{digest}"),
        ]
    );
    let put = &server.requests()[0];
    assert_eq!(put.header("content-type"), Some(media_type::OCI_MANIFEST));
    assert_eq!(put.body, MANIFEST);
    client
        .put_manifest(
            &tag(&server).at_digest(&Digest::of(b"other")),
            media_type::OCI_MANIFEST,
            MANIFEST,
        )
        .expect_err("another digest");
}

#[test]
fn an_index_of_platforms_goes_up_under_a_tag() {
    let server = server();
    let manifests = ["linux/arm64", "linux/amd64"].map(|platform| {
        let digest = Digest::of(platform.as_bytes());
        let mut manifest = Descriptor::new(media_type::DOCKER_MANIFEST, digest, 7);
        manifest.platform = Some(platform.parse().expect("a platform"));
        manifest
    });
    let index = ImageIndex::of_platforms(manifests.into()).expect("two platforms");
    let (media_type, bytes) = index.to_media_type_and_bytes();
    let digest = client()
        .put_manifest(&tag(&server), &media_type, &bytes)
        .expect("it is taken");
    assert_eq!(digest, Digest::of(&bytes));
    let put = &server.requests()[0];
    assert_eq!(put.line, "PUT /v2/team/app/manifests/1");
    assert_eq!(
        put.header("content-type"),
        Some(media_type::DOCKER_MANIFEST_LIST)
    );
    assert_eq!(put.body, bytes);
}
