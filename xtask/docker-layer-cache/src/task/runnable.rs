//! Whether the builder can run what a build for another platform runs.

use super::job::Job;
use super::key::Keyed;
use crate::dockerfile::{Evaluation, Instruction, Stage};
use crate::engine::Builder;
use crate::error::{Error, exit_code};
use crate::oci::Platform;

/// Checks that the builder can run every `RUN` of the stages that are needed.
///
/// Only buildx tells what else than its own platform a builder can run; without it this is a
/// warning, since an emulator may be there.
///
/// The classic builder looks a step up without its platform: on `FROM scratch` it would take the image
/// of another platform (seen on Docker 20.10).
///
/// # Errors
/// Where it cannot, or where the classic builder is to build several platforms.
pub(super) fn check(job: &Job<'_>, keyed: &Keyed) -> Result<(), Error> {
    let engine = job.engine()?;
    if engine.builder == Builder::Classic && !keyed.image.all_platforms.is_empty() {
        let name = &keyed.image.name;
        return Err(Error::usage(format_args!(
            "image `{name}`: the classic builder cannot build several platforms: it takes the steps of one for those of another"
        ))
        .with_hint("install the buildx plugin, or build each platform on a machine of its own"));
    }
    let own = [engine.platform.clone()];
    if foreign(&keyed.evaluation, &own).is_none() {
        return Ok(());
    }
    let known = job.docker.builder_platforms(&engine.builder);
    let platforms = known.as_deref().unwrap_or(&own);
    let Some((stage, instruction)) = foreign(&keyed.evaluation, platforms) else {
        return Ok(());
    };
    let names = keyed.stage_names();
    let message = format!(
        "image `{}`: stage `{}` runs on {}, which the builder {} (`{}` in line {})",
        keyed.image.name,
        names[stage.index],
        stage.platform,
        if known.is_some() {
            "cannot run"
        } else {
            "may be unable to run"
        },
        instruction.original,
        instruction.line,
    );
    let hint = "install an emulator (QEMU with binfmt_misc: `docker run --privileged --rm tonistiigi/binfmt --install all`), or let the stage run on the builder's own platform: `FROM --platform=$BUILDPLATFORM`";
    if known.is_none() {
        job.talk.warn(format_args!("{message}; {hint}"));
        return Ok(());
    }
    Err(Error::new(exit_code::USAGE, message).with_hint(hint))
}

/// Returns the first `RUN` that is needed and that none of `platforms` runs.
fn foreign<'a>(
    evaluation: &'a Evaluation,
    platforms: &[Platform],
) -> Option<(&'a Stage, &'a Instruction)> {
    evaluation
        .stages
        .iter()
        .filter(|stage| stage.needed && !runs(platforms, &stage.platform))
        .find_map(|stage| {
            let mut instructions = stage.instructions.iter();
            Some((stage, instructions.find(|found| found.keyword == "RUN")?))
        })
}

/// Tells whether one of `platforms` runs programs of `platform`. Variants are left to the machine,
/// and 32 bits to that of 64: not every builder lists them.
fn runs(platforms: &[Platform], platform: &Platform) -> bool {
    let wanted = platform.normalized();
    platforms.iter().map(Platform::normalized).any(|known| {
        known.os == wanted.os
            && (known.architecture == wanted.architecture
                || (known.architecture == "amd64" && wanted.architecture == "386")
                || (known.architecture == "arm64" && wanted.architecture == "arm"))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::dockerfile::{Dockerfile, EvaluateOptions};

    #[test]
    fn only_a_run_of_a_needed_stage_must_run() {
        let arm64 = Platform::new("linux", "arm64");
        for (dockerfile, expected) in [
            ("FROM scratch\nCOPY a /\n", None),
            ("FROM a\nCOPY a /\nRUN b\n", Some(3)),
            ("FROM a AS x\nRUN b\nFROM scratch\nCOPY a /\n", None),
            (
                "FROM a AS x\nRUN b\nFROM scratch\nCOPY --from=x a /\n",
                Some(2),
            ),
            (
                "FROM --platform=$BUILDPLATFORM a AS x\nRUN b\nFROM scratch\nCOPY --from=x a /\n",
                None,
            ),
        ] {
            let options = EvaluateOptions {
                target: None,
                platform: arm64.clone(),
                build_platform: Platform::linux_amd64(),
                build_args: BTreeMap::default(),
                build_contexts: BTreeMap::default(),
                onbuild: BTreeMap::default(),
                base_environments: BTreeMap::default(),
            };
            let evaluation = Dockerfile::parse(dockerfile.as_bytes())
                .and_then(|parsed| parsed.evaluate(&options))
                .expect(dockerfile);
            let line = |platforms: &[Platform]| {
                foreign(&evaluation, platforms).map(|(_, instruction)| instruction.line)
            };
            assert_eq!(line(&[Platform::linux_amd64()]), expected, "{dockerfile}");
            let both = [Platform::linux_amd64(), arm64.clone()];
            assert_eq!(line(&both), None, "{dockerfile}");
        }
    }

    #[test]
    fn machines_run_their_own_smaller_kin() {
        let runs_on = |known: &str, wanted: &str| {
            let parse = |text: &str| text.parse().expect("a platform");
            runs(&[parse(known)], &parse(wanted))
        };
        for (known, wanted) in [
            ("linux/amd64", "linux/amd64/v3"),
            ("linux/amd64", "linux/386"),
            ("linux/arm64", "linux/arm64/v8"),
            ("linux/arm64", "linux/arm/v6"),
        ] {
            assert!(runs_on(known, wanted), "{wanted}");
        }
        for wanted in ["linux/arm64", "linux/riscv64", "windows/amd64"] {
            assert!(!runs_on("linux/amd64", wanted), "{wanted}");
        }
    }
}
