//! `docker-doctor`: what is wrong here, why it matters, and the command that mends it; and the proof
//! on the spot that caching works.
//!
//! Each check gathers its facts at the edge, and judges them in a function of them alone. Nothing is
//! changed: what the checks write, and what the proof builds, is removed again.

mod cargo;
mod ci;
mod context;
mod disk;
mod engine;
mod finding;
mod proof;
mod registries;
mod store;

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::json;
use xshell::Shell;

use self::cargo::CargoFacts;
use self::ci::CiFacts;
use self::context::ContextFacts;
use self::disk::{DiskFacts, Space};
use self::engine::EngineFacts;
use self::finding::{Finding, Level};
use self::proof::ProofFacts;
use self::registries::RegistryFacts;
use self::store::StoreFacts;
use super::bases::Registries;
use super::dockerfile::Source;
use super::images::Image;
use super::job::Job;
use crate::cli::DoctorArgs;
use crate::engine::{Docker, EnginePlace, Strategy};
use crate::error::{Error, exit_code};
use crate::oci::{Platform, Reference};
use crate::ui;

/// Runs the command.
pub(crate) fn run(sh: &Shell, args: &DoctorArgs) -> Result<(), Error> {
    let mut report = Report {
        painted: ui::paints(),
        json: args.task.json,
        quiet: args.task.quiet,
        findings: Vec::new(),
    };
    // A configuration that is wrong is a finding: the engine is looked at all the same.
    let job = Job::open(sh, &args.task).and_then(|job| {
        let images = job.images(sh)?;
        Ok((job, images))
    });
    let docker = match &job {
        Ok((job, _)) => job.docker.clone(),
        Err(_) => Docker::new(),
    };
    let engine = EngineFacts::gather(&docker);
    let forced = match &job {
        Ok((_, images)) => images.iter().find_map(|image| image.strategy),
        Err(_) => args.task.build.strategy,
    };
    report.add(engine.judge(forced))?;
    match &job {
        Ok((job, images)) => check_repository(sh, args, job, images, &engine, &mut report)?,
        Err(error) => report.add([of_configuration(error)])?,
    }
    if !args.no_proof {
        report.add(prove(&docker, &engine, forced))?;
    }
    report.end(&engine)
}

/// Checks all that needs a repository.
fn check_repository(
    sh: &Shell,
    args: &DoctorArgs,
    job: &Job<'_>,
    images: &[Image],
    engine: &EngineFacts,
    report: &mut Report,
) -> Result<(), Error> {
    let workspace = &job.workspace;
    let (root, store) = (&workspace.root, absolute(sh, &workspace.store));
    let key_dir = absolute(sh, &workspace.key_dir);
    let store_facts = StoreFacts::gather(&store, args.task.read_only, args.deep);
    report.add(store_facts.judge())?;
    let data_root = engine.details.data_root.as_str();
    let is_here = engine.engine.is_ok()
        && engine.details.place() == EnginePlace::Local
        && Utf8Path::new(data_root).is_dir();
    let disk = DiskFacts {
        store: Space::at(&store),
        key_dir: Space::at(&key_dir),
        engine: is_here.then(|| Space::at(data_root.into())).flatten(),
        data_root: data_root.to_owned(),
        store_bytes: store_facts.size_bytes(),
        max_bytes: workspace.images.max_size_bytes,
    };
    report.add(disk.judge())?;
    let contexts: Vec<ContextFacts> = one_per_name(images)
        .map(|image| ContextFacts::gather(image, root, &[&store, &key_dir]))
        .collect();
    let is_ignored = context::is_ignored_by_git(sh, root, &store);
    let shown = store.strip_prefix(root).unwrap_or(&store);
    report.add(context::judge(&contexts, is_ignored, shown))?;
    report.add(check_registries(job, images, engine))?;
    let slugs: BTreeSet<String> = images.iter().map(Image::slug).collect();
    let has_remote = job.remote_url().is_some();
    report.add(CiFacts::gather(root, &store, &key_dir, has_remote, slugs).judge())?;
    report.add(CargoFacts::gather(root).iter().flat_map(CargoFacts::judge))
}

/// Asks the registries of the bases, and of the tags.
fn check_registries(job: &Job<'_>, images: &[Image], engine: &EngineFacts) -> Vec<Finding> {
    let engine = engine.engine.as_ref().ok();
    let platform = engine.map_or_else(Platform::linux_amd64, |engine| engine.platform.clone());
    let mut findings = Vec::new();
    let mut bases: Vec<Reference> = Vec::new();
    for image in images {
        let evaluated = Source::read(image, platform.clone())
            .and_then(|source| source.evaluate(&source.options()));
        match evaluated {
            Ok(evaluation) => {
                let references = evaluation.base_references.into_iter();
                bases.extend(references.map(|base| base.reference));
            }
            Err(error) => findings.push(of_configuration(&error)),
        }
    }
    if job.args.offline {
        findings.push(Finding::ok("registry", "none is asked (--offline)"));
        return findings;
    }
    let tags: Vec<String> = one_per_name(images)
        .flat_map(|image| image.tags.clone())
        .collect();
    let mut wanted = registries::wanted(&bases, &tags);
    if engine.is_none() && wanted.remove("docker.io").is_some() {
        findings.push(Finding::ok(
            "registry",
            "`docker.io` is not asked: whether it has a mirror, the engine would tell",
        ));
    }
    match registries::gather(Registries::of(engine).options(), &wanted) {
        Ok(facts) if facts.is_empty() && findings.is_empty() => {
            findings.push(Finding::ok("registry", "none is needed"));
        }
        Ok(facts) => findings.extend(facts.iter().flat_map(RegistryFacts::judge)),
        Err(error) => findings.push(
            Finding::problem(
                exit_code::REGISTRY,
                "registry",
                &error,
                "no registry can be asked",
            )
            .mend(error.hint().unwrap_or_else(|| {
                "correct the proxy variables, or `registry-mirrors` of the engine".to_owned()
            })),
        ),
    }
    findings
}

/// Proves that caching works, where something can build at all.
fn prove(docker: &Docker, engine: &EngineFacts, forced: Option<Strategy>) -> Vec<Finding> {
    let Ok(found) = &engine.engine else {
        return Vec::new();
    };
    match engine.strategy(forced) {
        Some(Ok(_)) => ProofFacts::gather(docker, &found.builder, forced).judge(),
        // It was told already why.
        _ => Vec::new(),
    }
}

/// Returns the finding of an error that ends every command.
fn of_configuration(error: &Error) -> Finding {
    let finding = Finding::problem(
        error.exit_code(),
        "images",
        error,
        "every command ends with this",
    );
    finding.mend(
        error
            .hint()
            .unwrap_or("correct it: README.md shows what docker/images.toml may say"),
    )
}

/// Returns each image once, whatever its platforms.
fn one_per_name(images: &[Image]) -> impl Iterator<Item = &Image> {
    let mut names = BTreeSet::new();
    images
        .iter()
        .filter(move |image| names.insert(image.name.clone()))
}

/// Returns the path as it is when the current folder is another.
fn absolute(sh: &Shell, path: &Utf8Path) -> Utf8PathBuf {
    let path = sh.current_dir().join(path);
    Utf8PathBuf::from_path_buf(path)
        .unwrap_or_default()
        .components()
        .collect()
}

/// What was found so far.
struct Report {
    painted: bool,
    json: bool,
    quiet: bool,
    findings: Vec<Finding>,
}

impl Report {
    /// Adds what a check found, and tells people.
    fn add(&mut self, findings: impl IntoIterator<Item = Finding>) -> Result<(), Error> {
        for finding in findings {
            let is_wanted = !self.quiet || finding.level != Level::Ok;
            if is_wanted && !self.json {
                ui::data(finding.text(self.painted))?;
            }
            self.findings.push(finding);
        }
        Ok(())
    }

    /// Tells programs, and ends with the code of the first problem.
    fn end(self, engine: &EngineFacts) -> Result<(), Error> {
        let findings = &self.findings;
        let worst = finding::worst(findings);
        let code = finding::exit_code_of(findings);
        if self.json {
            let details = &engine.details;
            let found = engine.engine.as_ref().ok();
            ui::data(json!({
                "result": worst,
                "exit_code": code,
                "engine": found.map(|engine| json!({
                    "description": engine.to_string(),
                    "server_version": engine.server_version,
                    "server_api": details.server_api,
                    "client_version": details.client_version,
                    "client_api": details.client_api,
                    "storage_driver": details.storage_driver,
                    "platform": engine.platform.to_string(),
                    "context": details.context,
                    "endpoint": details.endpoint,
                    "rootless": details.is_rootless,
                })),
                "findings": findings,
            }))?;
        }
        match worst {
            Level::Problem => Err(Error::new(
                code,
                format_args!("docker-doctor found {}", finding::summary(findings)),
            )),
            _ => Ok(()),
        }
    }
}
