//! Which entries fit a build, and how well.

use crate::oci::Platform;

/// What an entry says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// The image that it was saved for.
    pub image: &'a str,
    /// The platform that it was built for.
    pub platform: &'a Platform,
    /// The engines that can use it.
    pub engine_class: &'a str,
    /// The base key that it was saved under.
    pub key_base: &'a str,
    /// The full key that it was saved under.
    pub key_full: &'a str,
    /// When it was saved, in seconds since 1970.
    pub created: u64,
}

/// What a build looks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// The image.
    pub image: &'a str,
    /// The platform.
    pub platform: &'a Platform,
    /// The class of the engine.
    pub engine_class: &'a str,
    /// The base key.
    pub key_base: &'a str,
    /// The full key.
    pub key_full: &'a str,
}

/// How well an entry fits; the best comes last in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// The same image, platform and engine class.
    Image,
    /// The same base key as well: Dockerfile, bases and args.
    Base,
    /// The same full key as well: all inputs.
    Full,
}

/// Returns the places in `candidates` of the entries that can help, best first, newest first among
/// equals, at most `n_max`.
pub fn choose(
    wanted: &Wanted<'_>,
    candidates: &[Candidate<'_>],
    n_max: usize,
) -> Vec<(usize, Fit)> {
    let mut fitting: Vec<(Fit, u64, usize)> = candidates
        .iter()
        .enumerate()
        .filter_map(|(at, candidate)| Some((fit(wanted, candidate)?, candidate.created, at)))
        .collect();
    fitting.sort_by(|a, b| b.cmp(a));
    fitting
        .into_iter()
        .take(n_max)
        .map(|(fit, _, at)| (at, fit))
        .collect()
}

fn fit(wanted: &Wanted<'_>, candidate: &Candidate<'_>) -> Option<Fit> {
    if (candidate.image, candidate.platform, candidate.engine_class)
        != (wanted.image, wanted.platform, wanted.engine_class)
    {
        return None;
    }
    Some(
        match (
            candidate.key_full == wanted.key_full,
            candidate.key_base == wanted.key_base,
        ) {
            (true, _) => Fit::Full,
            (false, true) => Fit::Base,
            (false, false) => Fit::Image,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_before_base_before_image_and_newest_first() {
        let amd64 = Platform::linux_amd64();
        let arm64: Platform = "linux/arm64".parse().expect("a platform");
        let entry = |image, platform, engine_class, key_base, key_full, created| Candidate {
            image,
            platform,
            engine_class,
            key_base,
            key_full,
            created,
        };
        let candidates = [
            entry("app", &amd64, "b28", "b0", "f0", 9),
            entry("app", &amd64, "b28", "b1", "f0", 5),
            entry("app", &amd64, "b28", "b1", "f1", 1),
            entry("app", &amd64, "b28", "b1", "f1", 2),
            entry("app", &amd64, "b26", "b1", "f1", 3),
            entry("app", &arm64, "b28", "b1", "f1", 3),
            entry("web", &amd64, "b28", "b1", "f1", 3),
        ];
        let wanted = Wanted {
            image: "app",
            platform: &amd64,
            engine_class: "b28",
            key_base: "b1",
            key_full: "f1",
        };
        assert_eq!(
            choose(&wanted, &candidates, 9),
            [
                (3, Fit::Full),
                (2, Fit::Full),
                (1, Fit::Base),
                (0, Fit::Image)
            ]
        );
        assert_eq!(choose(&wanted, &candidates, 1), [(3, Fit::Full)]);
    }
}
