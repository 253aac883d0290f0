//! What an engine held at one moment, so that what came later can be taken away again and nothing
//! else.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use docker_layer_cache::oci::Digest;

/// Runs `docker` with these arguments and returns what it printed, or what it complained about.
pub type Docker<'a> = dyn Fn(&[&str]) -> Result<String, String> + 'a;

/// More rounds than any chain of images or build cache records needs.
const MAX_ROUNDS: usize = 30;
/// How often the engine is asked again for what a build held that has just ended.
const MAX_WAITS: usize = 5;
/// How long it is left alone in between.
const WAIT: Duration = Duration::from_millis(200);

/// The images and build cache records of an engine at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineSnapshot {
    images: BTreeSet<String>,
    build_cache: BTreeSet<String>,
    in_use: BTreeSet<String>,
}

impl EngineSnapshot {
    /// Notes what the engine holds now.
    ///
    /// # Errors
    /// Where `docker` fails; the text is its complaint.
    pub fn take(docker: &Docker<'_>) -> Result<Self, String> {
        Ok(Self {
            images: images(docker)?,
            build_cache: build_cache(docker, Use::Free)?,
            in_use: build_cache(docker, Use::InUse)?,
        })
    }

    /// Returns the build cache records that something was using, which an engine never prunes.
    pub fn in_use(&self) -> &BTreeSet<String> {
        &self.in_use
    }

    /// Tells whether the engine held nothing that can be removed.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty() && self.build_cache.is_empty()
    }

    /// Removes the images that the engine did not hold then and whose lowest layer is one of
    /// `lowest`, and the build cache records that it did not hold then.
    ///
    /// An image that somebody else brought in the meantime stays, since it stands on another layer.
    /// Build cache records tell nothing about whose they are: one that somebody else's build made
    /// in the meantime, and does not use any more, goes too.
    ///
    /// # Errors
    /// Where `docker` fails; the text is its complaint.
    pub fn remove_what_appeared(
        &self,
        docker: &Docker<'_>,
        lowest: &[Digest],
    ) -> Result<(), String> {
        // An image cannot go before those that stand on it, nor a record before its children:
        // rounds, until nothing moves any more.
        for _ in 0..MAX_ROUNDS {
            let held = images(docker)?;
            let appeared = held.difference(&self.images);
            if appeared
                .filter(|image| stands_on(docker, image, lowest))
                .filter(|image| docker(&["image", "rm", "--force", image]).is_ok())
                .count()
                == 0
            {
                break;
            }
        }
        let mut n_waits = 0;
        for _ in 0..MAX_ROUNDS {
            let held = build_cache(docker, Use::Free)?;
            let appeared = held
                .iter()
                .filter(|id| !self.build_cache.contains(*id) && !self.in_use.contains(*id));
            for record in appeared {
                // Only one `id` is taken at a time.
                let filter = format!("id={record}");
                docker(&["builder", "prune", "--all", "--force", "--filter", &filter])?;
            }
            if build_cache(docker, Use::Free)? != held {
                continue;
            }
            // A build that has just ended holds its records for a moment; those that stay held are
            // leaks of the engine, which only its restart frees.
            let still_held = build_cache(docker, Use::InUse)?;
            let is_new = |id: &String| !self.build_cache.contains(id) && !self.in_use.contains(id);
            if n_waits == MAX_WAITS || !still_held.iter().any(is_new) {
                break;
            }
            n_waits += 1;
            thread::sleep(WAIT);
        }
        Ok(())
    }
}

fn images(docker: &Docker<'_>) -> Result<BTreeSet<String>, String> {
    let ids = docker(&["image", "ls", "--all", "--quiet", "--no-trunc"])?;
    Ok(ids.lines().map(str::to_owned).collect())
}

fn stands_on(docker: &Docker<'_>, image: &str, lowest: &[Digest]) -> bool {
    let format = "{{range .RootFS.Layers}}{{.}} {{end}}";
    // An image that has just gone with its parent stands on nothing.
    let layers = docker(&["image", "inspect", "--format", format, image]).unwrap_or_default();
    let first = layers.split_whitespace().next();
    first.is_some_and(|first| lowest.iter().any(|digest| digest.as_str() == first))
}

/// Whether something holds on to a build cache record.
#[derive(Clone, Copy)]
enum Use {
    Free,
    InUse,
}

fn build_cache(docker: &Docker<'_>, wanted: Use) -> Result<BTreeSet<String>, String> {
    // `InUse` is a text: a template's `if` takes "false" for true.
    let format = "{{range .BuildCache}}{{.InUse}} {{.ID}}\n{{end}}";
    let records = docker(&["system", "df", "--verbose", "--format", format])?;
    let wanted = match wanted {
        Use::Free => "false",
        Use::InUse => "true",
    };
    Ok(records
        .lines()
        .filter_map(|record| record.trim().split_once(' '))
        .filter(|(in_use, _)| *in_use == wanted)
        // A record in use is marked with a star.
        .map(|(_, id)| id.trim().trim_end_matches('*').to_owned())
        .filter(|id| !id.is_empty())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn records_are_told_by_the_text_of_their_use() {
        let docker = |_: &[&str]| Ok("false free\ntrue used*\n\n".to_owned());
        let found = |wanted| build_cache(&docker, wanted).expect("the fake answers");
        assert_eq!(found(Use::Free), BTreeSet::from(["free".to_owned()]));
        assert_eq!(found(Use::InUse), BTreeSet::from(["used".to_owned()]));
    }

    #[test]
    fn only_ours_that_appeared_is_removed_children_first() {
        let held = RefCell::new(BTreeSet::from(["old".to_owned()]));
        let docker = |arguments: &[&str]| match arguments {
            ["image", "ls", ..] => Ok(held
                .borrow()
                .iter()
                .fold(String::new(), |all, id| all + id + "\n")),
            ["image", "inspect", .., "foreign"] => Ok(Digest::of(b"theirs").to_string()),
            ["image", "inspect", ..] => Ok(format!("{} sha256:more", Digest::of(b"ours"))),
            ["image", "rm", _, image] => {
                // `a-parent` sorts first, and cannot go while its child is there.
                if *image == "a-parent" && held.borrow().contains("child") {
                    return Err("image has dependent child images".to_owned());
                }
                held.borrow_mut().remove(*image);
                Ok(String::new())
            }
            _ => Ok(String::new()),
        };
        let before = EngineSnapshot::take(&docker).expect("the fake answers");
        let ours = Digest::of(b"ours");
        held.borrow_mut()
            .extend(["a-parent", "child", "foreign"].map(str::to_owned));
        before
            .remove_what_appeared(&docker, &[ours])
            .expect("the fake answers");
        assert_eq!(
            *held.borrow(),
            BTreeSet::from(["old", "foreign"].map(str::to_owned))
        );
    }
}
