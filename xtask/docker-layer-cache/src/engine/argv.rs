//! The arguments of `docker build`: pure.

use camino::{Utf8Path, Utf8PathBuf};

use super::Builder;
use crate::oci::{Platform, Reference};

/// One build, whatever the builder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildRequest {
    /// The build context, an absolute path.
    pub context: Utf8PathBuf,
    /// The Dockerfile, an absolute path.
    pub dockerfile: Utf8PathBuf,
    /// The stage to build; the last one where there is none.
    pub target: Option<String>,
    /// The platform, where it is not the engine's own.
    pub platform: Option<Platform>,
    /// Build args, `NAME` and value.
    pub build_args: Vec<BuildArg>,
    /// Secrets as docker takes them, such as `id=npm,env=NPM_TOKEN`.
    pub secrets: Vec<String>,
    /// SSH agents or keys as docker takes them, such as `default`.
    pub ssh: Vec<String>,
    /// Labels of the result, name and value.
    pub labels: Vec<(String, String)>,
    /// More build contexts, name and value.
    pub build_contexts: Vec<(String, String)>,
    /// Bases by the name that the Dockerfile gives them, and what they are pinned to.
    pub pins: Vec<(String, Reference)>,
    /// The frontend, pinned, where the Dockerfile names one.
    pub syntax: Option<Reference>,
    /// Where cached steps may come from.
    pub cache_from: Vec<CacheSource>,
    /// Where the cache goes.
    pub cache_to: Option<CacheTarget>,
    /// What becomes of the result.
    pub output: Output,
}

/// A build arg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildArg {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// The environment has this very value: docker finds it there by itself, and the command line,
    /// which every user of the machine can read, need not show it.
    pub is_in_environment: bool,
}

/// A source of cached steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheSource {
    /// A folder that `BuildKit` imports as `type=local`.
    View(Utf8PathBuf),
    /// An image of the engine.
    Image(String),
    /// A cache that `BuildKit` keeps elsewhere, as the flag takes it.
    Remote(String),
}

/// A target of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheTarget {
    /// Records of the result's steps within the image config.
    Inline,
    /// A folder to which `BuildKit` exports every step, zstd where it compresses itself.
    Folder {
        /// The folder.
        path: Utf8PathBuf,
        /// The build goes well also where the export does not.
        ignore_error: bool,
    },
    /// A place that `BuildKit` writes to by itself, as the flag takes it.
    Remote(String),
}

/// What becomes of a build's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// An image under these tags.
    Image(Vec<String>),
    /// Nothing: only the cache matters.
    CacheOnly,
}

impl BuildRequest {
    /// Returns the arguments behind `docker` for `builder`.
    pub fn argv(&self, builder: &Builder) -> Vec<String> {
        let buildx = matches!(builder, Builder::Buildx { .. });
        let mut argv: Vec<String> = if buildx {
            vec!["buildx".into(), "build".into(), "--progress=plain".into()]
        } else {
            vec!["build".into()]
        };
        if *builder == Builder::EmbeddedBuildkit {
            argv.push("--progress=plain".into());
        }
        argv.push(format!("--file={}", self.dockerfile));
        argv.extend(self.build_args.iter().map(BuildArg::flag));
        let mut flag = |name: &str, value: &str| argv.push(format!("--{name}={value}"));
        if let Some(target) = &self.target {
            flag("target", target);
        }
        if let Some(platform) = &self.platform {
            flag("platform", &platform.to_string());
        }
        for secret in &self.secrets {
            flag("secret", secret);
        }
        for ssh in &self.ssh {
            flag("ssh", ssh);
        }
        for (name, value) in &self.labels {
            flag("label", &format!("{name}={value}"));
        }
        for source in &self.cache_from {
            match source {
                CacheSource::View(folder) => flag(
                    "cache-from",
                    &csv(&["type=local", &format!("src={folder}")]),
                ),
                CacheSource::Image(text) | CacheSource::Remote(text) => flag("cache-from", text),
            }
        }
        match &self.cache_to {
            Some(CacheTarget::Inline) if buildx => flag("cache-to", "type=inline"),
            Some(CacheTarget::Inline) => flag("build-arg", "BUILDKIT_INLINE_CACHE=1"),
            Some(CacheTarget::Folder { path, ignore_error }) => {
                let folder = format!("dest={path}");
                let mut fields = vec!["type=local", "mode=max", "compression=zstd", &folder];
                fields.extend(ignore_error.then_some("ignore-error=true"));
                flag("cache-to", &csv(&fields));
            }
            Some(CacheTarget::Remote(text)) => flag("cache-to", text),
            None => {}
        }
        if *builder != Builder::Classic
            && let Some(syntax) = &self.syntax
        {
            flag("build-arg", &format!("BUILDKIT_SYNTAX={syntax}"));
        }
        if buildx {
            for (name, value) in &self.build_contexts {
                flag("build-context", &format!("{name}={value}"));
            }
            for (name, reference) in &self.pins {
                flag(
                    "build-context",
                    &format!("{name}=docker-image://{reference}"),
                );
            }
            // An attestation would make an index of the image: another ID at every build, and
            // nothing that `docker save` or a second save of ours could know again.
            flag("provenance", "false");
        }
        match &self.output {
            Output::Image(tags) => {
                for tag in tags {
                    flag("tag", tag);
                }
                if let Builder::Buildx { driver, .. } = builder
                    && driver != "docker"
                {
                    argv.push("--load".into());
                }
            }
            Output::CacheOnly => flag("output", "type=cacheonly"),
        }
        argv.push(absolute(&self.context));
        argv
    }
}

impl BuildArg {
    /// Returns the flag.
    pub(super) fn flag(&self) -> String {
        let Self { name, value, .. } = self;
        if self.is_in_environment {
            format!("--build-arg={name}")
        } else {
            format!("--build-arg={name}={value}")
        }
    }
}

/// Returns the context as docker takes it for a folder: an absolute path never looks like a flag,
/// `-` or a URL.
fn absolute(context: &Utf8Path) -> String {
    context.as_str().to_owned()
}

/// Joins the fields of a flag such as `--cache-from` as CSV: a field with a comma or a quote is quoted.
///
/// Source: <https://github.com/docker/buildx/blob/v0.29.1/util/buildflags/cache.go>
pub(super) fn csv(fields: &[&str]) -> String {
    let quoted: Vec<String> = fields
        .iter()
        .map(|field| {
            if field.contains([',', '"', '\n', '\r']) || field.starts_with(' ') {
                format!("\"{}\"", field.replace('"', "\"\""))
            } else {
                (*field).to_owned()
            }
        })
        .collect();
    quoted.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> BuildRequest {
        BuildRequest {
            context: "/src".into(),
            dockerfile: "/src/docker/Dockerfile".into(),
            target: Some("--run time".into()),
            platform: None,
            build_args: vec![
                BuildArg {
                    name: "V".into(),
                    value: "a b\"c $(x)".into(),
                    is_in_environment: false,
                },
                BuildArg {
                    name: "TOKEN".into(),
                    value: "s3cret".into(),
                    is_in_environment: true,
                },
            ],
            secrets: vec!["id=npm,env=T".into()],
            ssh: vec!["default".into()],
            labels: vec![("org.example.v".into(), "a b".into())],
            build_contexts: vec![],
            pins: vec![(
                "debian:12".into(),
                format!("debian@sha256:{}", "0".repeat(64))
                    .parse()
                    .expect("a reference"),
            )],
            syntax: None,
            cache_from: vec![CacheSource::View("/tmp/a,b".into())],
            cache_to: Some(CacheTarget::Inline),
            output: Output::Image(vec!["app:1".into()]),
        }
    }

    #[test]
    fn buildx() {
        let argv = request().argv(&Builder::Buildx {
            version: "0.29.1".into(),
            driver: "docker".into(),
        });
        let pin = format!(
            "--build-context=debian:12=docker-image://docker.io/library/debian@sha256:{}",
            "0".repeat(64)
        );
        assert_eq!(
            argv,
            [
                "buildx",
                "build",
                "--progress=plain",
                "--file=/src/docker/Dockerfile",
                "--build-arg=V=a b\"c $(x)",
                "--build-arg=TOKEN",
                "--target=--run time",
                "--secret=id=npm,env=T",
                "--ssh=default",
                "--label=org.example.v=a b",
                "--cache-from=type=local,\"src=/tmp/a,b\"",
                "--cache-to=type=inline",
                &pin,
                "--provenance=false",
                "--tag=app:1",
                "/src"
            ]
        );
    }

    #[test]
    fn classic_has_no_named_contexts() {
        let mut request = request();
        request.cache_from = vec![CacheSource::Image("docker-layer-cache/app:deps".into())];
        request.cache_to = None;
        let argv = request.argv(&Builder::Classic);
        assert_eq!(argv[0], "build");
        assert!(
            argv.iter()
                .all(|arg| !arg.starts_with("--build-context") && !arg.starts_with("--progress")),
            "{argv:?}"
        );
        assert!(argv.contains(&"--cache-from=docker-layer-cache/app:deps".to_owned()));
    }
}
