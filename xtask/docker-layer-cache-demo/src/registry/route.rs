//! From a request to its answer: the endpoints of the distribution specification.

use std::sync::Arc;

use docker_layer_cache::oci::Digest;

use super::content::Content;

/// What the answers need to know of a request.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) method: &'a str,
    /// Path and query.
    pub(super) url: &'a str,
    pub(super) content_type: Option<&'a str>,
    pub(super) range: Option<&'a str>,
    pub(super) body: &'a [u8],
}

/// An HTTP answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Arc<[u8]>,
}

/// Answers a call from the content, and changes the content where the call asks for it.
pub(super) fn answer(content: &mut Content, call: &Call<'_>) -> Answer {
    let (path, query) = call.url.split_once('?').unwrap_or((call.url, ""));
    let Some(rest) = path.strip_prefix("/v2/") else {
        return Answer::error(404, "UNSUPPORTED", "only /v2/ is served");
    };
    if rest.is_empty() {
        return Answer::new(200).json(b"{}");
    }
    if let Some((name, id)) = rest.split_once("/blobs/uploads/") {
        return upload(content, call, name, id, query);
    }
    if let Some(name) = rest.strip_suffix("/blobs/uploads") {
        return upload(content, call, name, "", query);
    }
    if let Some((_, digest)) = rest.rsplit_once("/blobs/") {
        return blob(content, call, digest);
    }
    if let Some((name, reference)) = rest.rsplit_once("/manifests/") {
        return manifest(content, call, name, reference);
    }
    if let Some(name) = rest.strip_suffix("/tags/list") {
        return match content.tags(name) {
            Some(tags) => {
                let body = serde_json::json!({ "name": name, "tags": tags });
                Answer::new(200).json(body.to_string().as_bytes())
            }
            None => Answer::error(404, "NAME_UNKNOWN", "repository not known"),
        };
    }
    Answer::error(404, "UNSUPPORTED", "no such endpoint")
}

fn manifest(content: &mut Content, call: &Call<'_>, name: &str, reference: &str) -> Answer {
    match call.method {
        "GET" | "HEAD" => match content.manifest(name, reference) {
            Some(manifest) => Answer::new(200)
                .header("Content-Type", &manifest.media_type)
                .header("Docker-Content-Digest", manifest.digest.as_str())
                .header("Etag", &format!("\"{}\"", manifest.digest))
                .body(manifest.bytes),
            None => Answer::error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        },
        "PUT" => {
            let Some(media_type) = call.content_type else {
                return Answer::error(400, "MANIFEST_INVALID", "no Content-Type");
            };
            if reference.contains(':') && Digest::of(call.body).as_str() != reference {
                return Answer::error(400, "DIGEST_INVALID", "digest and content differ");
            }
            let digest = content.put_manifest(name, reference, media_type, call.body);
            Answer::new(201)
                .header("Location", &format!("/v2/{name}/manifests/{digest}"))
                .header("Docker-Content-Digest", digest.as_str())
        }
        "DELETE" if content.delete_manifest(name, reference) => Answer::new(202),
        "DELETE" => Answer::error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        _ => Answer::error(405, "UNSUPPORTED", "method not allowed"),
    }
}

fn blob(content: &mut Content, call: &Call<'_>, digest: &str) -> Answer {
    match call.method {
        "GET" | "HEAD" => {
            let Some(bytes) = content.blob(digest) else {
                return Answer::error(404, "BLOB_UNKNOWN", "blob unknown");
            };
            let found = Answer::new(200)
                .header("Content-Type", "application/octet-stream")
                .header("Docker-Content-Digest", digest)
                .header("Accept-Ranges", "bytes");
            match call.range.map(|range| byte_range(range, bytes.len())) {
                None => found.body(bytes),
                Some(Some((start, end))) => {
                    let mut part = found.header(
                        "Content-Range",
                        &format!("bytes {start}-{}/{}", end - 1, bytes.len()),
                    );
                    part.status = 206;
                    part.body(bytes[start..end].into())
                }
                Some(None) => Answer::error(416, "RANGE_INVALID", "range not satisfiable"),
            }
        }
        "DELETE" if content.delete_blob(digest) => Answer::new(202),
        "DELETE" => Answer::error(404, "BLOB_UNKNOWN", "blob unknown"),
        _ => Answer::error(405, "UNSUPPORTED", "method not allowed"),
    }
}

/// `POST` starts an upload (or mounts, or takes the whole blob), `PATCH` adds to it, `PUT` ends it.
fn upload(content: &mut Content, call: &Call<'_>, name: &str, id: &str, query: &str) -> Answer {
    match (call.method, id) {
        ("POST", "") => {
            if let Some(digest) = parameter(query, "mount")
                && content.blob(&digest).is_some()
            {
                return created_blob(name, &digest);
            }
            if let Some(digest) = parameter(query, "digest") {
                return put_blob(content, name, &digest, call.body);
            }
            let id = content.start_upload();
            upload_state(202, name, &id, 0)
        }
        ("PATCH", id) => match content.append_upload(id, call.body) {
            Some(size) => upload_state(202, name, id, size),
            None => Answer::error(404, "BLOB_UPLOAD_UNKNOWN", "upload unknown"),
        },
        ("GET", id) => match content.append_upload(id, b"") {
            Some(size) => upload_state(204, name, id, size),
            None => Answer::error(404, "BLOB_UPLOAD_UNKNOWN", "upload unknown"),
        },
        ("PUT", id) => {
            let Some(digest) = parameter(query, "digest") else {
                return Answer::error(400, "DIGEST_INVALID", "no digest");
            };
            match content.finish_upload(id) {
                Some(mut bytes) => {
                    bytes.extend_from_slice(call.body);
                    put_blob(content, name, &digest, &bytes)
                }
                None => Answer::error(404, "BLOB_UPLOAD_UNKNOWN", "upload unknown"),
            }
        }
        ("DELETE", id) => match content.finish_upload(id) {
            Some(_) => Answer::new(204),
            None => Answer::error(404, "BLOB_UPLOAD_UNKNOWN", "upload unknown"),
        },
        _ => Answer::error(405, "UNSUPPORTED", "method not allowed"),
    }
}

fn put_blob(content: &mut Content, name: &str, digest: &str, bytes: &[u8]) -> Answer {
    if Digest::of(bytes).as_str() != digest {
        return Answer::error(400, "DIGEST_INVALID", "digest and content differ");
    }
    content.put_blob(bytes);
    created_blob(name, digest)
}

fn created_blob(name: &str, digest: &str) -> Answer {
    Answer::new(201)
        .header("Location", &format!("/v2/{name}/blobs/{digest}"))
        .header("Docker-Content-Digest", digest)
}

fn upload_state(status: u16, name: &str, id: &str, size: usize) -> Answer {
    Answer::new(status)
        .header("Location", &format!("/v2/{name}/blobs/uploads/{id}"))
        .header("Docker-Upload-UUID", id)
        .header("Range", &format!("0-{}", size.saturating_sub(1)))
}

/// Returns one parameter of a query; of the escapes only that of the colon occurs in digests.
fn parameter(query: &str, name: &str) -> Option<String> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key == name).then(|| value.replace("%3A", ":").replace("%3a", ":"))
    })
}

/// Returns start and end (exclusive) of `bytes=A-B`, `bytes=A-` or `bytes=-N`.
fn byte_range(range: &str, length: usize) -> Option<(usize, usize)> {
    let (start, end) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (start, end) = match (start, end) {
        ("", suffix) => (length.saturating_sub(suffix.parse().ok()?), length),
        (start, "") => (start.parse().ok()?, length),
        (start, end) => (
            start.parse().ok()?,
            length.min(end.parse::<usize>().ok()?.checked_add(1)?),
        ),
    };
    (start < end).then_some((start, end))
}

impl Answer {
    pub(super) fn new(status: u16) -> Self {
        Self {
            status,
            headers: vec![("Docker-Distribution-Api-Version", "registry/2.0".to_owned())],
            body: [].into(),
        }
    }

    /// Returns an error in the specification's form.
    pub(super) fn error(status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({ "errors": [{ "code": code, "message": message }] });
        Self::new(status).json(body.to_string().as_bytes())
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(super) fn json(self, body: &[u8]) -> Self {
        self.header("Content-Type", "application/json")
            .body(body.into())
    }

    pub(super) fn body(mut self, body: Arc<[u8]>) -> Self {
        self.body = body;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(content: &mut Content, method: &str, url: &str, body: &[u8]) -> Answer {
        let call = Call {
            method,
            url,
            content_type: Some("application/json"),
            range: None,
            body,
        };
        answer(content, &call)
    }

    #[test]
    fn ranges() {
        for (range, expected) in [
            ("bytes=0-1", Some((0, 2))),
            ("bytes=3-", Some((3, 10))),
            ("bytes=-4", Some((6, 10))),
            ("bytes=5-99", Some((5, 10))),
            ("bytes=10-", None),
            ("bytes=4-2", None),
            ("lines=1-2", None),
        ] {
            assert_eq!(byte_range(range, 10), expected, "{range}");
        }
    }

    #[test]
    fn a_chunked_upload_becomes_a_blob() {
        let mut content = Content::default();
        let digest = Digest::of(b"abcdef");
        let started = call(&mut content, "POST", "/v2/a/b/blobs/uploads/", b"");
        assert_eq!(started.status, 202);
        let place = "/v2/a/b/blobs/uploads/upload-1";
        assert_eq!(call(&mut content, "PATCH", place, b"abc").status, 202);
        let end = format!("{place}?digest={}", digest.as_str().replace(':', "%3A"));
        assert_eq!(call(&mut content, "PUT", &end, b"def").status, 201);
        let got = call(&mut content, "GET", &format!("/v2/a/b/blobs/{digest}"), b"");
        assert_eq!((got.status, &*got.body), (200, &b"abcdef"[..]));
    }

    #[test]
    fn a_wrong_digest_is_refused() {
        let mut content = Content::default();
        let url = format!("/v2/a/blobs/uploads/?digest={}", Digest::of(b"x"));
        assert_eq!(call(&mut content, "POST", &url, b"y").status, 400);
        let url = format!("/v2/a/manifests/{}", Digest::of(b"x"));
        assert_eq!(call(&mut content, "PUT", &url, b"y").status, 400);
    }

    #[test]
    fn a_tag_moves_and_the_old_digest_stays() {
        let mut content = Content::default();
        for body in [&b"{\"a\":1}"[..], b"{\"a\":2}"] {
            assert_eq!(
                call(&mut content, "PUT", "/v2/a/manifests/1", body).status,
                201
            );
        }
        let got = call(&mut content, "GET", "/v2/a/manifests/1", b"");
        assert_eq!(&*got.body, b"{\"a\":2}");
        let old = format!("/v2/a/manifests/{}", Digest::of(b"{\"a\":1}"));
        assert_eq!(call(&mut content, "HEAD", &old, b"").status, 200);
        let tags = call(&mut content, "GET", "/v2/a/tags/list", b"");
        assert_eq!(&*tags.body, br#"{"name":"a","tags":["1"]}"#);
    }
}
