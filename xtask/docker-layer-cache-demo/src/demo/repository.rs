//! The small repository that the demo builds: a shell program with a lock file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// The waits stand for what dear steps do: fetching and compiling.
const DOCKERFILE: &str = "\
ARG BASE=@base@

FROM ${BASE} AS deps
COPY deps.lock /build/
RUN mkdir -p /build/deps && head -c 20000000 /dev/urandom > /build/deps/library && sleep 4

FROM deps AS build
COPY src /build/src
RUN cat /build/src/greet.sh > /build/greet && chmod 755 /build/greet && sleep 2

FROM ${BASE} AS runtime
RUN mkdir -p /srv && id > /srv/built-by && sleep 1
COPY --from=build /build/greet /srv/greet
COPY greeting.txt /srv/
CMD [\"/bin/sh\", \"/srv/greet\"]
";

/// A repository in a temporary folder, with its store beside it.
#[derive(Debug)]
pub(super) struct Repository {
    folder: TempDir,
    pub(super) tag: String,
}

impl Repository {
    /// Writes the repository; its stages stand on `base`.
    pub(super) fn write(base: &str, tag: &str) -> io::Result<Self> {
        let repository = Self {
            folder: TempDir::with_prefix("docker-layer-cache-demo-")?,
            tag: tag.to_owned(),
        };
        let config = format!(
            "[image.app]\ndockerfile = \"docker/Dockerfile\"\ncontext = \".\"\ntags = [\"{tag}\"]\ninputs = [\"deps.lock\"]\n"
        );
        for (path, text) in [
            (
                "docker/Dockerfile",
                DOCKERFILE.replace("@base@", base).as_str(),
            ),
            ("docker/images.toml", &config),
            (".dockerignore", "target\n"),
            ("deps.lock", "library 1.0\n"),
            ("src/greet.sh", "cat /srv/greeting.txt\n"),
        ] {
            repository.put(path, text)?;
        }
        repository.set_greeting("hello")?;
        Ok(repository)
    }

    /// Changes the source that the last step takes.
    pub(super) fn set_greeting(&self, greeting: &str) -> io::Result<()> {
        self.put("greeting.txt", &format!("{greeting}\n"))
    }

    pub(super) fn root(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    pub(super) fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    fn put(&self, path: &str, text: &str) -> io::Result<()> {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        fs::write(path, text)
    }
}
