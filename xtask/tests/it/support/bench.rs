//! The place of one test on one engine: the turn, an empty engine, bases to build on.

use std::cell::Cell;
use std::io::{self, Write as _};
use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use docker_layer_cache_demo::{Base, BaseImage, EngineSnapshot, Registry};
use libtest_mimic::Failed;

use super::engine::Turn;
use super::wipe::{snapshot, wipe};
use super::{Engine, Files};

/// An engine that is this test's alone, emptied before and after.
pub(crate) struct Bench<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) registry: Registry,
    before: EngineSnapshot,
    /// Nothing was built since the engine was emptied.
    is_empty: Cell<bool>,
    _turn: Turn<'a>,
}

impl<'a> Bench<'a> {
    /// Waits for the engine and empties it.
    pub(crate) fn new(engine: &'a Engine) -> Result<Self, Failed> {
        let turn = engine.take_turn()?;
        let before = snapshot(engine)?;
        let bench = Self {
            engine,
            registry: Registry::start()?,
            before,
            is_empty: Cell::new(false),
            _turn: turn,
        };
        bench.wipe()?;
        Ok(bench)
    }

    /// Empties the engine, as a fresh CI machine would be.
    pub(crate) fn wipe(&self) -> Result<(), Failed> {
        self.is_empty.set(true);
        wipe(self.engine, &self.before)
    }

    /// Tells whether nothing was built since the engine was emptied, and that now something was.
    pub(crate) fn was_empty(&self) -> bool {
        self.is_empty.replace(false)
    }

    /// Returns a base image of a name of its own: behind the engine's mirror for Docker Hub where
    /// there is one on loopback that takes writes, otherwise at the test's own registry.
    pub(crate) fn base(&self, name: &str) -> Result<Base, Failed> {
        self.base_of(name, base_image()?)
    }

    /// As [`Bench::base`], with these `ONBUILD` instructions.
    pub(crate) fn base_on_build(&self, name: &str, lines: &[&str]) -> Result<Base, Failed> {
        self.base_of(name, &base_image()?.on_build(lines))
    }

    fn base_of(&self, name: &str, image: &BaseImage) -> Result<Base, Failed> {
        let name = unique(name);
        // Engines can keep build cache "in use" that no wipe removes: each base is one of its own.
        let image = &image.named(&name);
        for mirror in self.loopback_mirrors()? {
            if let Ok(base) = Base::at_mirror(&mirror, &name, image) {
                return Ok(base);
            }
        }
        Ok(Base::at_registry(&self.registry, &name, image)?)
    }

    /// Returns the files below `/out` of the image that `tag` names now.
    pub(crate) fn files(&self, tag: &str) -> Result<Files, Failed> {
        Files::of_image(self.engine, tag, "/out")
    }

    /// Returns the engine's mirrors for Docker Hub on loopback, as `127.0.0.1:PORT`.
    pub(crate) fn loopback_mirrors(&self) -> Result<Vec<String>, Failed> {
        let format = "{{range .RegistryConfig.Mirrors}}{{.}}\n{{end}}";
        let mirrors = self.engine.run(&["info", "--format", format])?;
        Ok(mirrors
            .lines()
            .filter_map(|mirror| mirror.trim().strip_prefix("http://127.0.0.1:"))
            .map(|port| format!("127.0.0.1:{}", port.trim_end_matches('/')))
            .collect())
    }
}

impl Drop for Bench<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.wipe() {
            let message = error.message().unwrap_or_default();
            let _ = writeln!(
                io::stderr(),
                "{}: wiping after the test failed: {message}",
                self.engine.name()
            );
        }
    }
}

/// Returns `name` with a suffix that no other test has, here or in another process.
pub(crate) fn unique(name: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("dlc-test-{name}-{now:x}-{:x}-{n}", process::id())
}

fn base_image() -> Result<&'static BaseImage, Failed> {
    static IMAGE: OnceLock<Result<BaseImage, String>> = OnceLock::new();
    IMAGE
        .get_or_init(|| BaseImage::make().map_err(|error| error.to_string()))
        .as_ref()
        .map_err(Into::into)
}
