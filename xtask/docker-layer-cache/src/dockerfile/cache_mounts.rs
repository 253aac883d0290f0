//! The caches that a build mounts: `RUN --mount=type=cache`.

use std::collections::BTreeMap;
use std::fmt;

use super::{Action, Evaluation, Mount, Source};

/// A cache that steps of the build mount. `BuildKit` knows it by its id, wherever it is mounted and
/// in whatever image, and gives another one to mounts that differ in owner, permissions or `from`.
///
/// Source: <https://github.com/moby/buildkit/blob/v0.30.0/frontend/dockerfile/dockerfile2llb/convert_runmount.go>
/// and `solver/llbsolver/mounts/mount.go` there
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheMount {
    /// `id=`; else the target as it is written, without `.`, `..` and doubled slashes.
    pub id: String,
    /// `uid=`
    pub uid: Option<u32>,
    /// `gid=`
    pub gid: Option<u32>,
    /// `mode=`
    pub mode: Option<u32>,
    /// It does not begin empty, but with files of a stage or an image.
    pub is_seeded: bool,
    /// The steps that mount it, in the order of the Dockerfile.
    pub uses: Vec<MountUse>,
}

/// A step that mounts a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MountUse {
    /// The stage, by index.
    pub stage: usize,
    /// The instruction's first line.
    pub line: usize,
}

impl Evaluation {
    /// Returns the caches that the stages mount which the target needs, sorted.
    pub fn cache_mounts(&self) -> Vec<CacheMount> {
        let mut found: BTreeMap<String, CacheMount> = BTreeMap::new();
        for stage in self.stages.iter().filter(|stage| stage.needed) {
            for instruction in &stage.instructions {
                let Action::Run(run) = &instruction.action else {
                    continue;
                };
                let place = MountUse {
                    stage: stage.index,
                    line: instruction.line,
                };
                for mount in run.mounts.iter().filter(|mount| mount.kind == "cache") {
                    let mount = CacheMount::of(mount);
                    let known = found.entry(mount.to_string()).or_insert(mount);
                    // Triggers of the base have the line of the `FROM`.
                    if known.uses.last() != Some(&place) {
                        known.uses.push(place);
                    }
                }
            }
        }
        found.into_values().collect()
    }
}

impl CacheMount {
    fn of(mount: &Mount) -> Self {
        let path = |path: &str| clean(&format!("/{path}"));
        let has_source = path(&mount.source) != "/";
        // A path within what is mounted: the attributes are of no effect then.
        let own = |value: Option<u32>| value.filter(|_| !has_source);
        Self {
            id: mount.id.clone().unwrap_or_else(|| clean(&mount.target)),
            uid: own(mount.uid),
            gid: own(mount.gid),
            mode: own(mount.mode),
            is_seeded: has_source || !matches!(mount.from, None | Some(Source::Scratch)),
            uses: Vec::new(),
        }
    }
}

impl fmt::Display for CacheMount {
    /// The id, then what makes it another cache than that of the plain id: `npm uid=1000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)?;
        for (name, value) in [("uid", self.uid), ("gid", self.gid)] {
            if let Some(value) = value {
                write!(f, " {name}={value}")?;
            }
        }
        if let Some(mode) = self.mode {
            write!(f, " mode={mode:o}")?;
        }
        if self.is_seeded {
            f.write_str(" from")?;
        }
        Ok(())
    }
}

/// Returns a path without `.`, `..` and doubled or trailing slashes, as Go's `path.Clean`.
fn clean(path: &str) -> String {
    let is_absolute = path.starts_with('/');
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." if names.last().is_some_and(|last| *last != "..") => {
                names.pop();
            }
            ".." if is_absolute => {}
            name => names.push(name),
        }
    }
    let joined = names.join("/");
    match (is_absolute, joined.as_str()) {
        (true, _) => format!("/{joined}"),
        (false, "") => ".".to_owned(),
        (false, _) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::{Dockerfile, EvaluateOptions};

    fn mounts(text: &str) -> Vec<CacheMount> {
        let dockerfile = Dockerfile::parse(text.as_bytes()).expect("a good Dockerfile");
        let evaluation = dockerfile.evaluate(&EvaluateOptions::new());
        evaluation.expect("a good Dockerfile").cache_mounts()
    }

    #[test]
    fn mounts_of_needed_stages_by_id_and_owner() {
        let found = mounts(
            "FROM alpine AS unused\n\
             RUN --mount=type=cache,target=/unused x\n\
             FROM alpine AS deps\n\
             ARG V=3\n\
             WORKDIR /app\n\
             RUN --mount=type=cache,id=npm-$V,target=/root/.npm \\\n  --mount=type=cache,target=./cc//x/ \\\n  --mount=type=tmpfs,target=/t a\n\
             RUN --mount=type=cache,id=npm-3,target=/elsewhere,sharing=locked b\n\
             FROM deps\n\
             RUN --mount=type=cache,id=npm-3,target=/x,uid=1000,gid=5,mode=0700 c\n\
             RUN --mount=type=cache,target=/x/../y/,ro d\n\
             RUN --mount=type=cache,target=/s,from=deps,source=/app e\n\
             RUN --mount=type=cache,target=/z,from=scratch f\n",
        );
        let names: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            names,
            [
                "/s from",
                "/y",
                "/z",
                "cc/x",
                "npm-3",
                "npm-3 uid=1000 gid=5 mode=700"
            ]
        );
        let npm = &found[4];
        let uses = [(1, 6), (1, 9)].map(|(stage, line)| MountUse { stage, line });
        assert_eq!(npm.uses, uses);
    }

    #[test]
    fn paths_are_cleaned_as_go_does() {
        for (path, cleaned) in [
            ("/tr/", "/tr"),
            ("cc", "cc"),
            ("./cc/./d", "cc/d"),
            ("", "."),
            ("/", "/"),
            ("/../a", "/a"),
            ("a/../..", ".."),
            ("../../a/..", "../.."),
            ("//a//b", "/a/b"),
        ] {
            assert_eq!(clean(path), cleaned, "{path}");
        }
    }
}
