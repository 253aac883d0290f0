//! `docker-key`: the Dockerfile and its bases' digests → the recipe → the keys.

mod explain;
mod files;
mod keyed;

use std::cell::OnceCell;

use camino::{Utf8Path, Utf8PathBuf};
use xshell::Shell;

use super::bases::{self, Ahead, Lock, Look};
use super::dockerfile::Source;
use super::images::Image;
use super::job::Job;
use super::links;
use super::notes::{Notes, write_file};
use crate::cache_key::{self, Ingredient, KeyKind, Keys, Recipe};
use crate::cli::KeyArgs;
use crate::dockerfile::Evaluation;
use crate::engine::Engine;
use crate::error::{Error, exit_code};
use crate::oci::{Digest, Platform};
use crate::ui;

pub(super) use explain::Before;
pub(super) use keyed::{Keyed, KeyedBase};

/// Which digests the bases have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Digests {
    /// Those of the lock file, or those that the registries have now.
    Current,
    /// Those that are to be locked; `anew`: whatever the lock file says so far.
    ForLock { anew: bool },
    /// Those of the last key, as long as it is fresh: a tag can move between key and build.
    OfLastKey,
    /// Those of the last key, whatever came after it: what was built on them is saved.
    OfLastBuild,
}

/// Runs the command.
pub(crate) fn run(sh: &Shell, args: &KeyArgs) -> Result<(), Error> {
    let job = Job::open(sh, &args.task)?;
    let writes_lock = args.lock || args.update;
    if writes_lock && args.task.offline {
        let message = "--lock and --update ask the registries, so they do not go with --offline";
        return Err(Error::usage(message));
    }
    let digests = if writes_lock {
        Digests::ForLock { anew: args.update }
    } else {
        Digests::Current
    };
    let mut keyed_images = Vec::new();
    for image in job.images(sh)? {
        if args.refs_json {
            let (references, refusal) = Source::read(&image, host_platform())?.refs_json()?;
            ui::data(pretty(&references))?;
            refusal.map_or(Ok(()), Err)?;
            continue;
        }
        let before = match args.explain.as_deref() {
            None => None,
            Some("") => Some(Before::read(&job, &image, None)?),
            Some(file) => {
                let folder = Utf8PathBuf::from_path_buf(sh.current_dir()).unwrap_or_default();
                Some(Before::read(&job, &image, Some(&folder.join(file)))?)
            }
        };
        let keyed = key(&job, image, digests)?;
        let explanation = before.map(|before| before.explain(&job, &keyed));
        if let Some(explanation) = &explanation {
            explanation.print(&job, &keyed.image.label());
        }
        if args.task.json {
            let mut object = serde_json::json!({
                "image": keyed.image.name,
                "platform": keyed.platform.to_string(),
                "key": keyed.keys,
                "bases": keyed.bases,
                "newer": keyed.newer,
            });
            if let Some(explanation) = explanation {
                object["explain"] = serde_json::json!(explanation);
            }
            let object = object.to_string();
            let ingredients = keyed.recipe.ingredients_json(",");
            let members = object.strip_suffix('}').unwrap_or(&object);
            ui::data(format_args!("{members},\"ingredients\":[{ingredients}]}}"))?;
        } else if keyed.image.all_platforms.is_empty() {
            ui::data(&keyed.keys.full)?;
        }
        if let Some(keys) = &keyed.all_platforms_keys {
            if args.task.json {
                let platforms = keyed.image.all_platforms.iter();
                let platforms: Vec<String> = platforms.map(ToString::to_string).collect();
                ui::data(serde_json::json!({
                    "image": keyed.image.name,
                    "platforms": platforms,
                    "key": keys,
                }))?;
            } else {
                ui::data(&keys.full)?;
            }
        }
        keyed_images.push(keyed);
    }
    if writes_lock {
        write_lock(&job, &keyed_images)?;
    }
    Ok(())
}

/// Writes the digests of these images into the lock file; those of other images stay.
fn write_lock(job: &Job<'_>, images: &[Keyed]) -> Result<(), Error> {
    let root = &job.workspace.root;
    let mut lock = if job.args.images.is_empty() {
        Lock::default()
    } else {
        Lock::read(root)?.unwrap_or_default()
    };
    for base in images.iter().flat_map(|keyed| &keyed.bases) {
        lock.insert(base.reference.clone(), base.digest.clone());
    }
    lock.write(root)?;
    job.talk.say(format_args!(
        "locked {} base images in `{}`",
        lock.len(),
        Lock::path(root)
    ));
    Ok(())
}

/// Computes the keys of `image`, and writes the key files, the recipe and the notes.
pub(super) fn key(job: &Job<'_>, image: Image, digests: Digests) -> Result<Keyed, Error> {
    // 1. What takes its time, all at once: registries, engine, files.
    let notes_path = job.workspace.work_file(&image, "job.json");
    let last = Notes::read(&notes_path).filter(|notes| match digests {
        Digests::Current | Digests::ForLock { .. } => false,
        Digests::OfLastKey => notes.is_fresh(),
        Digests::OfLastBuild => true,
    });
    let known = last
        .as_ref()
        .and_then(|notes| Recipe::from_json(&notes.recipe).ok());
    let lock = match digests {
        Digests::ForLock { anew: true } => None,
        _ => Lock::read(&job.workspace.root)?,
    };
    let offline = job.args.offline;
    let asks = known.is_none() && lock.is_none() && !offline && !job.knows_engine();
    let ahead = asks.then(|| {
        let platform = image.platform.clone().unwrap_or_else(host_platform);
        Ahead::start(&image, platform, &job.workspace.key_dir)
    });
    let root = &job.workspace.root;
    let index = job.workspace.work_file(&image, "input-digests");
    let (engine, found_inputs) = std::thread::scope(|scope| {
        let inputs = scope.spawn(|| files::hash_inputs(root, &image, &index));
        let engine = reachable_engine(job);
        (engine, inputs.join().expect("hashing does not panic"))
    });
    let engine = engine?;
    let build_platform = engine.map_or_else(host_platform, |engine| engine.platform.clone());
    let platform = image
        .platform
        .clone()
        .unwrap_or_else(|| build_platform.clone());
    // 2. The Dockerfile.
    let source = Source::read(&image, build_platform)?;
    // 3. What it stands on: digests, and what the bases' configs add.
    let last_recipe = offline.then(|| explain::last_recipe(job, &image)).flatten();
    let bases = bases::resolve(
        job,
        engine,
        &source,
        bases::Known {
            recipe: known.as_ref(),
            lock: lock.as_ref(),
            writes_lock: matches!(digests, Digests::ForLock { .. }),
            offline,
            last: last_recipe.as_ref(),
            ahead,
        },
    )?;
    let evaluation = bases.evaluation;
    let dockerfile = source.dockerfile;
    for volatile in evaluation
        .volatile_inputs
        .iter()
        .filter(|volatile| !volatile.pinned)
    {
        let (line, address) = (volatile.line, volatile.shown_address());
        job.talk.warn(format_args!(
            "line {line}: `{address}` can change without notice, and the key cannot follow it"
        ));
    }
    // 4. The files.
    let ignore = files::ignore_rules(&image)?;
    files::warn_of_store_in_context(job, &image, ignore.as_ref());
    let mut ingredients = vec![
        Ingredient::Image {
            name: image.name.clone(),
        },
        Ingredient::Platform {
            platform: platform.clone(),
        },
        Ingredient::Dockerfile {
            path: relative(&image.dockerfile, root),
            digest: Digest::of(dockerfile.text().as_bytes()),
        },
    ];
    ingredients.extend(
        image
            .target
            .clone()
            .map(|stage| Ingredient::Target { stage }),
    );
    ingredients.extend(ignore.as_ref().map(|(path, text)| Ingredient::IgnoreRules {
        path: relative(path, root),
        digest: Digest::of(text),
    }));
    ingredients.extend(
        engine
            .map(|_| job.strategy(&image))
            .transpose()?
            .zip(engine)
            .map(|(strategy, engine)| Ingredient::EngineClass {
                name: strategy.engine_class(engine),
            }),
    );
    ingredients.extend(build_args(&image, &evaluation));
    ingredients.extend(files::inputs(job, &image, found_inputs)?);
    ingredients.extend(bases.ingredients);
    ingredients.extend(links::ingredients(job, &image)?);
    // 5. Recipe, keys, files.
    let recipe = Recipe::new(ingredients);
    let workspace = &job.workspace;
    let write = |extension: &str, text: &str| {
        write_file(
            &files::key_file(workspace, &image, extension),
            text.as_bytes(),
        )
    };
    let keys = std::thread::scope(|scope| {
        let json =
            scope.spawn(|| write_file(&workspace.recipe_file(&image), recipe.to_json().as_bytes()));
        let base_file = cache_key::key_file(&recipe, KeyKind::Base);
        let full_file = cache_key::key_file(&recipe, KeyKind::Full);
        write("base", &base_file)?;
        write("full", &full_file)?;
        json.join().expect("writing does not panic")?;
        Ok::<_, Error>(Keys::of_key_files(&base_file, &full_file))
    })?;
    let all_platforms_keys = files::combine(workspace, &image)?;
    let new = Notes::new(&recipe);
    let notes = match last {
        Some(last) => Notes {
            recipe: new.recipe,
            ..last
        },
        None => new,
    };
    notes.write(&notes_path)?;
    let findings = bases.look.map(Look::findings).unwrap_or_default();
    for newer in &findings.newer {
        job.talk.say(newer);
    }
    for note in &findings.notes {
        job.talk.say(note);
    }
    Ok(Keyed {
        image,
        dockerfile,
        evaluation,
        platform,
        recipe,
        keys,
        all_platforms_keys,
        ignore,
        forecast: OnceCell::new(),
        newer: findings.newer,
        has_all_configs: bases.has_all_configs,
        bases: bases
            .digests
            .into_iter()
            .map(|(reference, (digest, from))| KeyedBase {
                reference,
                digest,
                from,
            })
            .collect(),
    })
}

/// Returns the engine; none, with a warning, where none can be reached: the key of public images
/// can be had without one.
fn reachable_engine<'a>(job: &'a Job<'_>) -> Result<Option<&'a Engine>, Error> {
    match job.engine() {
        Ok(engine) => Ok(Some(engine)),
        Err(error) if error.exit_code() == exit_code::ENGINE => {
            job.talk.warn(format_args!("{error}; the key is made without the engine's mirrors, and is another one than with it"));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Returns the args that the Dockerfile uses and that are set here.
fn build_args<'a>(
    image: &'a Image,
    evaluation: &'a Evaluation,
) -> impl Iterator<Item = Ingredient> + use<'a> {
    let used = |(name, _): &(&String, &String)| evaluation.used_build_args.contains(*name);
    image
        .build_args
        .iter()
        .filter(used)
        .map(|(name, value)| Ingredient::build_arg(name, Some(value)))
}

/// Returns a path as a recipe has it: relative to the repository; the file name alone where it is
/// outside, since its folder is this machine's affair.
fn relative(path: &Utf8Path, root: &Utf8Path) -> String {
    let inside = path.strip_prefix(root).ok().map(Utf8Path::as_str);
    inside
        .or(path.file_name())
        .unwrap_or_default()
        .replace('\\', "/")
}

pub(super) fn host_platform() -> Platform {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    };
    Platform {
        os: "linux".to_owned(),
        architecture: architecture.to_owned(),
        variant: String::new(),
        os_version: String::new(),
    }
}

fn pretty(value: &serde_json::Value) -> String {
    serde_json::to_string_pretty(value).expect("a JSON value can be printed")
}
