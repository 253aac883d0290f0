//! `docker save` and `docker load`: streams of an archive out of and into the engine.

use std::io::{self, BufWriter, Read, Write};
use std::process::Stdio;

use super::client::read_stderr;
use super::{Docker, EngineError, EngineErrorKind};

impl Docker {
    /// Streams `docker save NAMES` into `consume`. The exit code of `docker` counts as much as the
    /// consumer's result: an archive whose source failed is never complete.
    ///
    /// # Errors
    /// Where `docker` fails; the consumer's own result is the inner one.
    pub fn save<T, E>(
        &self,
        names: &[String],
        consume: impl FnOnce(&mut dyn Read) -> Result<T, E>,
    ) -> Result<Result<T, E>, EngineError> {
        let mut args = vec!["image".to_owned(), "save".to_owned(), "--".to_owned()];
        args.extend(names.iter().cloned());
        let (mut child, mut stdout, stderr) = self.start(&args, Stdio::null())?;
        let (consumed, stderr) = std::thread::scope(|scope| {
            let stderr = scope.spawn(move || read_stderr(stderr));
            let consumed = consume(&mut stdout);
            // The rest is read away, so that docker ends by itself unless the consumer gave up.
            if consumed.is_ok() {
                let _ = io::copy(&mut stdout, &mut io::sink());
            }
            drop(stdout);
            (consumed, stderr.join().expect("the thread does not panic"))
        });
        let status = child.wait().map_err(|error| {
            EngineError::new(EngineErrorKind::Failed, "docker image save", error)
        })?;
        // A docker that died says why; one whose pipe we closed says only that.
        let says_why = !stderr.trim().is_empty() && !stderr.contains("broken pipe");
        if !status.success() && (consumed.is_ok() || says_why) {
            return Err(EngineError::from_stderr("docker image save", &stderr));
        }
        Ok(consumed)
    }

    /// Streams the archive that `produce` writes into `docker load`.
    ///
    /// # Errors
    /// Where `docker` fails, or `produce` does: the producer's error is the inner one.
    pub fn load<E>(
        &self,
        produce: impl FnOnce(&mut dyn Write) -> Result<(), E>,
    ) -> Result<Result<(), E>, EngineError> {
        let args = ["image", "load", "--quiet"].map(str::to_owned);
        let (mut child, stdout, stderr) = self.start(&args, Stdio::piped())?;
        let stdin = child.stdin.take().expect("stdin is piped");
        let (produced, said, stderr) = std::thread::scope(|scope| {
            let stderr = scope.spawn(move || read_stderr(stderr));
            let stdout = scope.spawn(move || read_stderr(stdout));
            let mut writer = BufWriter::with_capacity(1 << 18, stdin);
            let produced = produce(&mut writer);
            if produced.is_err() {
                // An archive that ends early must not look like a whole one: docker sees the pipe
                // close in the middle of an entry, and loads nothing.
                let (stdin, _unwritten) = writer.into_parts();
                drop(stdin);
            } else {
                let _ = writer.flush();
                drop(writer);
            }
            let join = "the thread does not panic";
            (
                produced,
                stdout.join().expect(join),
                stderr.join().expect(join),
            )
        });
        let status = child.wait().map_err(|error| {
            EngineError::new(EngineErrorKind::Failed, "docker image load", error)
        })?;
        if !status.success() {
            // A broken pipe is what the producer sees of docker's own failure.
            let text = if stderr.trim().is_empty() {
                said
            } else {
                stderr
            };
            if produced.is_ok() || !text.trim().is_empty() {
                return Err(EngineError::from_stderr("docker image load", &text));
            }
        }
        Ok(produced)
    }
}
