//! The tags of a repository: listed, and taken away.
//!
//! Source: <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-tags>

use reqwest::{Method, Url};
use serde::Deserialize;

use super::client::Client;
use super::exchange::{Message, Target};
use super::token::Access;
use super::{ErrorKind, RegistryError};
use crate::oci::Reference;

/// More than a page of tags of any registry.
const MAX_PAGE_BYTES: usize = 16 << 20;
/// A registry that names the next page forever ends here.
const MAX_PAGES: usize = 1000;

#[derive(Deserialize)]
struct Page {
    /// Some registries say `null` where there is none.
    tags: Option<Vec<String>>,
}

impl Client {
    /// Returns the tags of the reference's repository, at the registry itself and not a mirror of
    /// it. A repository that is not there has none.
    ///
    /// # Errors
    ///
    /// When the registry cannot be asked, or has more pages than anybody reads.
    pub fn tags(&self, repository: &Reference) -> Result<Vec<String>, RegistryError> {
        let task = self.exchange.task(repository, Access::Pull);
        let mut tags = Vec::new();
        let mut next: Option<Url> = None;
        for _ in 0..MAX_PAGES {
            let page = self.exchange.write(&task, |endpoint| {
                let target = next
                    .as_ref()
                    .map_or(Target::Path(&["tags", "list"]), Target::Url);
                let message = Message {
                    method: Method::GET,
                    target,
                    headers: &[],
                    body: &[],
                };
                let answer = self.exchange.send(&task, endpoint, &message)?;
                let following = answer.header("link").and_then(next_page);
                let following = following.and_then(|link| answer.url.join(link).ok());
                let place = answer.error(ErrorKind::Protocol);
                let bytes = answer.read_body(MAX_PAGE_BYTES, task.deadline)?;
                let page: Page =
                    serde_json::from_slice(&bytes).map_err(|error| place.with_cause(error))?;
                Ok((page, following))
            });
            let (page, following) = match page {
                Err(error) if error.kind == ErrorKind::NotFound && next.is_none() => {
                    return Ok(tags);
                }
                page => page?,
            };
            tags.extend(page.tags.unwrap_or_default());
            next = following;
            if next.is_none() {
                return Ok(tags);
            }
        }
        let cause = "its list of tags has no end";
        Err(RegistryError::new(ErrorKind::Protocol, repository.domain())
            .with_cause(cause)
            .for_reference(repository))
    }

    /// Deletes the manifest of the reference's digest, and with it the tags that name it. What is
    /// not there is deleted.
    ///
    /// # Errors
    ///
    /// When the registry refuses; many do unless they are set up otherwise.
    pub fn delete_manifest(&self, reference: &Reference) -> Result<(), RegistryError> {
        let task = self.exchange.task(reference, Access::Delete);
        let Some(digest) = reference.digest() else {
            let error = RegistryError::new(ErrorKind::Options, reference.domain())
                .with_cause("only a digest says for certain what is deleted");
            return Err(error.for_reference(reference));
        };
        let path = ["manifests", digest.as_str()];
        let deleted = self.exchange.write(&task, |endpoint| {
            let message = Message {
                method: Method::DELETE,
                target: Target::Path(&path),
                headers: &[],
                body: &[],
            };
            self.exchange.send(&task, endpoint, &message).map(|_| ())
        });
        match deleted {
            Err(error) if error.kind != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Returns the target of `<URL>; rel="next"`.
fn next_page(link: &str) -> Option<&str> {
    let (target, parameters) = link.strip_prefix('<')?.split_once('>')?;
    parameters.contains("next").then_some(target)
}

#[cfg(test)]
mod tests {
    #[test]
    fn next_pages() {
        for (link, expected) in [
            (
                "</v2/a/tags/list?last=b&n=2>; rel=\"next\"",
                Some("/v2/a/tags/list?last=b&n=2"),
            ),
            (
                "<https://r.example/v2/x>; rel=next",
                Some("https://r.example/v2/x"),
            ),
            ("</v2/a>; rel=\"prev\"", None),
            ("nonsense", None),
        ] {
            assert_eq!(super::next_page(link), expected, "{link}");
        }
    }
}
