//! The tags of an image, with their placeholders filled in: `{git.sha}`, `{ci.build}` and the like.
//!
//! They are filled in where an image is tagged or pushed, and nowhere before: no key moves with them.

mod facts;
mod template;

use super::images::Image;
use super::job::Job;
use crate::error::Error;
use crate::oci::Reference;

pub(super) use facts::Facts;
pub(super) use template::{Template, fill};

/// Returns the image's tags. A tag whose value is missing, such as `{git.tag}` of a commit without
/// one, is left out with a word.
///
/// # Errors
/// Where a placeholder is not known, a tag is not a reference, or none is left.
pub(super) fn tags(job: &Job<'_>, image: &Image) -> Result<Vec<String>, Error> {
    let about = |error: Error| error.during(format_args!("image `{}`", image.name));
    let mut tags = Vec::new();
    let mut left_out = Vec::new();
    for text in &image.tags {
        let template = Template::parse(text).map_err(about)?;
        if template.is_plain() {
            tags.push(text.clone());
            continue;
        }
        match template.expand(|placeholder| job.facts.value(placeholder)) {
            Ok(tag) => {
                tag.parse::<Reference>().map_err(|error| {
                    about(Error::usage(format_args!(
                        "the tag `{text}` becomes `{tag}`: {error}"
                    )))
                })?;
                tags.push(tag);
            }
            Err(missing) => {
                job.facts.tell_once(
                    job.talk,
                    format!(
                        "{}: no tag `{text}`: `{{{missing}}}` has no value here",
                        image.label()
                    ),
                );
                left_out.push(missing);
            }
        }
    }
    match left_out.first() {
        Some(missing) if tags.is_empty() => Err(about(Error::usage(format_args!(
            "no tag is left: `{{{missing}}}` has no value here"
        )))
        .with_hint("add a tag without it, such as `{git.sha}`, or give one with --tag")),
        _ => Ok(tags),
    }
}
