//! A build for what its step does: a program of ours, in a container with cache mounts, which no
//! other command of docker reaches.
//!
//! The step stands on nothing, and the program comes with the build context: no image is pulled,
//! and none is made.

use std::time::Duration;

use camino::Utf8PathBuf;

use super::{BuildArg, BuildOutcome, Builder, Docker, EngineError};

/// The build arg that is another one each time, so that the step runs.
const NONCE: &str = "DOCKER_LAYER_CACHE_NONCE";

/// A build of one step with cache mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelperBuild {
    /// The build context: the program and what it reads. An absolute path.
    pub context: Utf8PathBuf,
    /// The mounts.
    pub mounts: Vec<HelperMount>,
    /// The program and its arguments, with paths as they are in the container.
    pub command: Vec<String>,
    /// Build args that the builder itself looks at.
    pub build_args: Vec<BuildArg>,
    /// Another text than in any earlier build.
    pub nonce: String,
    /// The folder that is made of the container's files: what the program wrote, in
    /// [`HelperBuild::OUT`], and little else.
    pub out: Utf8PathBuf,
}

/// A cache mount of a helper's step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelperMount {
    /// See [`HelperMount::can_name`].
    pub id: String,
    /// The owner.
    pub uid: Option<u32>,
    /// The group.
    pub gid: Option<u32>,
    /// The permissions.
    pub mode: Option<u32>,
}

impl HelperMount {
    /// Tells whether a mount can be given this id: in the flags of a Dockerfile's `RUN`, quotes,
    /// spaces, commas, `$` and the like mean something else, and not to all builders the same.
    pub fn can_name(id: &str) -> bool {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-:@+=~#%".contains(c);
        !id.is_empty() && id.chars().all(is_plain)
    }
}

impl HelperBuild {
    /// Where the build context is in the container.
    pub const CONTEXT: &'static str = "/context";
    /// Where the program writes in the container, and below [`HelperBuild::out`].
    pub const OUT: &'static str = "/out";

    /// Returns where the mount of this number is in the container.
    pub fn mount_folder(number: usize) -> String {
        format!("/mounts/{number}")
    }

    /// Returns the Dockerfile. The mounts are locked, so that no build has them at the same time.
    fn dockerfile(&self) -> String {
        let flags = self.mounts.iter().enumerate().map(|(number, mount)| {
            let folder = Self::mount_folder(number);
            let flag = format!(
                " --mount=type=cache,target={folder},sharing=locked,id={}",
                mount.id
            );
            let number = |name: &str, value: Option<u32>| {
                value.map_or_else(String::new, |value| format!(",{name}={value}"))
            };
            let mode = mount
                .mode
                .map_or_else(String::new, |mode| format!(",mode={mode:04o}"));
            flag + &number("uid", mount.uid) + &number("gid", mount.gid) + &mode
        });
        let flags: String = flags.collect();
        let command = serde_json::to_string(&self.command).expect("words are JSON");
        let context = Self::CONTEXT;
        format!(
            "FROM scratch\nARG {NONCE}\nRUN --mount=type=bind,target={context}{flags} {command}\n"
        )
    }

    fn argv(&self, builder: &Builder) -> Vec<String> {
        let is_buildx = matches!(builder, Builder::Buildx { .. });
        let mut argv: Vec<String> = if is_buildx {
            vec!["buildx".into(), "build".into()]
        } else {
            vec!["build".into()]
        };
        // Without a network the container starts sooner.
        argv.extend(["--progress=plain", "--network=none", "--file=-"].map(str::to_owned));
        argv.push(format!("--build-arg={NONCE}={}", self.nonce));
        argv.extend(self.build_args.iter().map(BuildArg::flag));
        if is_buildx {
            argv.push("--provenance=false".into());
        }
        argv.push(format!(
            "--output={}",
            super::argv::csv(&["type=local", &format!("dest={}", self.out)])
        ));
        argv.push(self.context.to_string());
        argv
    }
}

impl Docker {
    /// Runs the helper, at most for `limit`: a mount may be held by a build that takes long.
    ///
    /// A build that fails, or is ended, is no error here but an outcome.
    ///
    /// # Errors
    /// Where `docker` cannot be started or its output cannot be read.
    pub fn run_helper(
        &self,
        build: &HelperBuild,
        builder: &Builder,
        limit: Duration,
    ) -> Result<BuildOutcome, EngineError> {
        let docker = match builder {
            Builder::Buildx { .. } => self.with_env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1"),
            _ => self.with_env("DOCKER_BUILDKIT", "1"),
        };
        docker.run_limited(&build.argv(builder), &build.dockerfile(), limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build() -> HelperBuild {
        HelperBuild {
            context: "/key/context".into(),
            mounts: vec![
                HelperMount {
                    id: "/root/.npm".into(),
                    uid: None,
                    gid: None,
                    mode: None,
                },
                HelperMount {
                    id: "go".into(),
                    uid: Some(1000),
                    gid: Some(5),
                    mode: Some(0o700),
                },
            ],
            command: vec!["program/ld.so".into(), "a \"b\"".into()],
            build_args: vec![BuildArg {
                name: "BUILDKIT_CACHE_MOUNT_NS".into(),
                value: "team".into(),
                is_in_environment: false,
            }],
            nonce: "1".into(),
            out: "/key/a,b".into(),
        }
    }

    #[test]
    fn all_mounts_are_in_one_step() {
        assert_eq!(
            build().dockerfile(),
            "FROM scratch\n\
             ARG DOCKER_LAYER_CACHE_NONCE\n\
             RUN --mount=type=bind,target=/context \
             --mount=type=cache,target=/mounts/0,sharing=locked,id=/root/.npm \
             --mount=type=cache,target=/mounts/1,sharing=locked,id=go,uid=1000,gid=5,mode=0700 \
             [\"program/ld.so\",\"a \\\"b\\\"\"]\n"
        );
    }

    #[test]
    fn arguments_of_both_command_lines() {
        let buildx = Builder::Buildx {
            version: "0.29.1".into(),
            driver: "docker".into(),
        };
        let mut expected = vec![
            "buildx",
            "build",
            "--progress=plain",
            "--network=none",
            "--file=-",
            "--build-arg=DOCKER_LAYER_CACHE_NONCE=1",
            "--build-arg=BUILDKIT_CACHE_MOUNT_NS=team",
            "--provenance=false",
            "--output=type=local,\"dest=/key/a,b\"",
            "/key/context",
        ];
        assert_eq!(build().argv(&buildx), expected);
        expected.retain(|word| !word.starts_with("buildx") && !word.starts_with("--prov"));
        assert_eq!(build().argv(&Builder::EmbeddedBuildkit), expected);
    }

    #[test]
    fn ids_that_mean_something_else_in_a_dockerfile_are_not_named() {
        for id in ["/root/.cache", "npm-3", "cargo_1.0:x@y+z=~"] {
            assert!(HelperMount::can_name(id), "{id}");
        }
        for id in [
            "", "a b", "a,b", "$x", "a\"", "a'b", "a\\b", "ä", "a\nRUN x",
        ] {
            assert!(!HelperMount::can_name(id), "{id}");
        }
    }
}
