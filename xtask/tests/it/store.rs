//! `docker-gc` and `docker-store` on stores that are made on the spot, and other tools on them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use docker_layer_cache::image_layout::{
    Entry, EntryKind, ImageLayout, StoreError, StoredEntry, Timestamp,
};
use docker_layer_cache::oci::{Digest, ImageManifest, Platform, media_type};
use libtest_mimic::Failed;
use serde_json::Value;
use tempfile::TempDir;

use crate::storage_errors::Mount;
use crate::support::{Outcome, Run, xtask};

/// A test that needs no engine: its name, why it cannot be run here, and itself.
type Test = (&'static str, fn() -> Option<String>, fn() -> Outcome);

pub(crate) const TESTS: &[Test] = &[
    ("ls_tells_sizes_and_sharing", anywhere, ls),
    ("show_tells_steps_and_layers", anywhere, show),
    ("unknown_entry_names_the_nearest", anywhere, unknown_entry),
    ("verify_finds_damage_and_rm_ends_it", anywhere, verify),
    ("gc_tells_first_and_then_does", anywhere, gc),
    ("gc_takes_max_size_from_images_toml", anywhere, gc_max_size),
    ("gc_waits_for_nobody", anywhere, busy),
    ("no_store_is_an_empty_one", anywhere, no_store),
    ("newer_store_is_left_alone", anywhere, newer_format),
    ("damaged_index_is_told", anywhere, damaged_index),
    ("read_only_job_removes_nothing", anywhere, read_only_job),
    ("killed_commands_leave_a_whole_store", anywhere, killed),
    ("read_only_disk", mount, read_only_disk),
    ("disk_full_in_mid_save", mount, full_disk),
    ("skopeo_reads_the_store", skopeo_command, skopeo),
];

/// The exit code of the contract for a store that cannot be used.
const STORE: i32 = 5;
const USAGE: i32 = 2;

fn anywhere() -> Option<String> {
    None
}

fn mount() -> Option<String> {
    let mounted = Mount::new(100_000).err()?;
    let reason = mounted.message().unwrap_or_default().trim().to_owned();
    Some(format!("no right to mount: {reason}"))
}

fn skopeo_command() -> Option<String> {
    let run = Command::new("skopeo").arg("--version").output();
    run.err().map(|error| format!("no `skopeo`: {error}"))
}

/// A repository without a Dockerfile, and a store.
struct Place {
    folder: TempDir,
    store: PathBuf,
}

impl Place {
    fn new() -> Result<Self, Failed> {
        let folder = TempDir::with_prefix("dlc-test-")?;
        Ok(Self {
            store: folder.path().join("store"),
            folder,
        })
    }

    /// Makes a store in which `a` and `b` share a layer; `a` was used a day ago.
    fn filled() -> Result<(Self, [StoredEntry; 2]), Failed> {
        let place = Self::new()?;
        let shared = layer("shared", 10_000)?;
        let a = save(&place.store, "a", &[&shared, &layer("a", 3000)?])?;
        let b = save(&place.store, "b", &[&shared, &layer("b", 5000)?])?;
        let manifest = place.blob(&a.descriptor.digest);
        let day = Duration::from_secs(86_400);
        fs::File::open(manifest)?.set_modified(SystemTime::now() - day)?;
        Ok((place, [a, b]))
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        self.store.join("blobs/sha256").join(digest.encoded())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = xtask();
        command.args(arguments).current_dir(self.folder.path());
        command.arg("--root").arg(self.folder.path());
        command.arg("--store").arg(&self.store);
        command
    }

    fn run(&self, arguments: &[&str]) -> Result<Run, Failed> {
        Run::of(&mut self.command(arguments))
    }

    fn json(&self, arguments: &[&str]) -> Result<Value, Failed> {
        let run = self.run(arguments)?.success()?;
        Ok(serde_json::from_str(&run.stdout)?)
    }

    /// Returns the files of the store with their content, without locks.
    fn files(&self) -> Result<BTreeMap<PathBuf, Vec<u8>>, Failed> {
        let mut files = BTreeMap::new();
        let mut open = vec![self.store.clone()];
        while let Some(folder) = open.pop() {
            for file in fs::read_dir(&folder)? {
                let path = file?.path();
                if path.is_dir() {
                    open.push(path);
                } else if path.extension().is_none_or(|extension| extension != "lock") {
                    files.insert(path.clone(), fs::read(&path)?);
                }
            }
        }
        Ok(files)
    }
}

/// Returns the tar of a layer with one file of `size` bytes that compress badly.
fn layer(name: &str, size: usize) -> Result<Vec<u8>, Failed> {
    let mut state = size as u64;
    let bytes: Vec<u8> = (0..size)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        })
        .collect();
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, name, bytes.as_slice())?;
    Ok(tar.into_inner()?)
}

/// Stores a stage image of these layers.
fn save(store: &Path, image: &str, layers: &[&[u8]]) -> Result<StoredEntry, StoreError> {
    let writer = ImageLayout::open_or_create(store)?.writer()?;
    let mut descriptors = Vec::new();
    let mut diff_ids = Vec::new();
    for layer in layers {
        let stored = writer.put_layer(&mut Cursor::new(layer))?;
        descriptors.push(stored.descriptor);
        diff_ids.push(stored.diff_id.to_string());
    }
    let history: Vec<Value> = diff_ids
        .iter()
        .map(|_| serde_json::json!({ "created": "2026-01-01T00:00:00Z" }))
        .collect();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {}, "history": history,
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config = writer.put_blob(media_type::OCI_CONFIG, config.to_string().as_bytes())?;
    let entry = Entry {
        kind: EntryKind::StageImage,
        image: image.to_owned(),
        platform: Platform::linux_amd64(),
        engine_class: "classic".to_owned(),
        key_base: "the-base-key".to_owned(),
        key_full: "the-full-key".to_owned(),
        stage: Some("build".to_owned()),
        mount: None,
        created: Timestamp::from(SystemTime::now()),
        steps: serde_json::json!([
            { "stage": "build", "step": "1/2", "instruction": "RUN make", "result": "run", "seconds": 12.5 },
            { "stage": "other", "step": "1/1", "instruction": "RUN test", "result": "run", "seconds": 1.0 },
        ]),
        extra: BTreeMap::new(),
    };
    writer.put_entry(&entry, &ImageManifest::new(config, descriptors))
}

/// Fails unless data has every one of `parts`.
fn prints(run: Run, parts: &[&str]) -> Result<Run, Failed> {
    match parts.iter().find(|part| !run.stdout.contains(**part)) {
        None => Ok(run),
        Some(part) => Err(run.failure(&format!("does not print `{part}`"))),
    }
}

fn is(found: &Value, expected: impl Into<Value>) -> Outcome {
    let expected = expected.into();
    if *found == expected {
        Ok(())
    } else {
        Err(format!("{found}, not {expected}").into())
    }
}

fn ls() -> Outcome {
    let (place, [a, b]) = Place::filled()?;
    let run = place.run(&["docker-store", "ls"])?.success()?;
    prints(
        run,
        &[
            &a.name,
            &b.name,
            "linux/amd64",
            "stage-image build",
            "2 entries",
        ],
    )?;
    let told = place.json(&["docker-store", "ls", "--json"])?;
    let entries = told["entries"].as_array().ok_or("no entries")?;
    is(&entries[0]["name"], a.name)?;
    is(&entries[0]["image"], "a")?;
    is(&entries[0]["kind"], "stage-image")?;
    let bytes = |at: usize, what: &str| entries[at][what].as_u64().unwrap_or_default();
    is(&entries[0]["shared_bytes"], bytes(1, "shared_bytes"))?;
    let sum = bytes(0, "own_bytes") + bytes(1, "own_bytes") + bytes(1, "shared_bytes");
    is(&told["size_bytes"], sum)?;
    is(&told["unnamed_bytes"], 0)
}

fn show() -> Outcome {
    let (place, [a, b]) = Place::filled()?;
    let start = a.name.rsplit('/').next().and_then(|last| last.get(..6));
    let start = start.ok_or("a name without parts")?;
    let run = place.run(&["docker-store", "show", start])?.success()?;
    let layer = "sha256:";
    let run = prints(
        run,
        &[
            "the-base-key",
            "the-full-key",
            "classic",
            "RUN make",
            "12.5 s",
            layer,
        ],
    )?;
    if run.stdout.contains("RUN test") {
        return Err(run.failure("shows the steps of another stage"));
    }
    let told = place.json(&["docker-store", "show", &a.name, "--json"])?;
    is(&told["key"]["full"], "the-full-key")?;
    is(&told["steps"][0]["seconds"], 12.5)?;
    is(&told["layers"][0]["shared_with"], vec![b.name])?;
    is(&told["layers"][1]["shared_with"], Value::Array(Vec::new()))?;
    // In a tar, 10 000 bytes take 20 blocks of 512, and three more for head and end.
    is(&told["layers"][0]["uncompressed_bytes"], 23 * 512)
}

fn unknown_entry() -> Outcome {
    let (place, [a, _]) = Place::filled()?;
    let nearly = &a.name[..a.name.len() - 1];
    let nearly = format!("{nearly}x");
    for arguments in [["docker-store", "show"], ["docker-store", "rm"]] {
        let run = place.run(&[arguments[0], arguments[1], &nearly])?;
        run.exit(USAGE)?.says(&[&nearly, "did you mean", &a.name])?;
        let run = place.run(&[arguments[0], arguments[1], "???"])?;
        run.exit(USAGE)?.says(&["docker-store ls"])?;
    }
    Ok(())
}

fn verify() -> Outcome {
    let (place, [a, b]) = Place::filled()?;
    place.run(&["docker-store", "verify"])?.success()?;
    let layout = ImageLayout::open_read_only(&place.store)?;
    let own = &layout.manifest(&a.descriptor)?.layers[1].digest;
    let mut bytes = fs::read(place.blob(own))?;
    bytes[100] ^= 1;
    fs::write(place.blob(own), bytes)?;

    let run = place.run(&["docker-store", "verify"])?.exit(STORE)?;
    let run = run.says(&["is damaged", "docker-save", "docker-store rm"])?;
    prints(run, &[own.as_str(), "other bytes", &a.name])?;
    let run = place.run(&["docker-store", "verify", "--json"])?;
    let told: Value = serde_json::from_str(&run.exit(STORE)?.stdout)?;
    is(&told["damaged"][0]["digest"], own.as_str())?;
    is(&told["damaged"][0]["entries"], vec![a.name.clone()])?;

    let freed = place.json(&["docker-store", "rm", "--json", &a.name])?;
    is(&freed["removed"], vec![a.name])?;
    let told = place.json(&["docker-store", "verify", "--json"])?;
    is(&told["good_blobs"], 4)?;
    let told = place.json(&["docker-store", "ls", "--json"])?;
    is(&told["entries"][0]["name"], b.name)?;
    is(&told["unnamed_bytes"], 0)
}

fn gc() -> Outcome {
    let (place, [a, b]) = Place::filled()?;
    let before = place.files()?;
    let flags = ["docker-gc", "--max-age", "12h", "--json", "--dry-run"];
    let told = place.json(&flags)?;
    let run = place.run(&["docker-gc", "--max-age", "12h", "--dry-run"])?;
    prints(
        run.success()?,
        &[&a.name, "would go", "not used for 24 h", "stays"],
    )?;
    if place.files()? != before {
        return Err("a dry run changed the store".into());
    }
    let done = place.json(&flags[..4])?;
    is(&done["dropped"], told["dropped"].clone())?;
    is(&done["dropped"][0]["name"], a.name)?;
    is(&done["freed_bytes"], told["freed_bytes"].clone())?;
    is(&done["kept"][0]["name"], b.name)?;
    let left = place.json(&["docker-store", "ls", "--json"])?;
    is(&left["size_bytes"], done["kept_bytes"].clone())?;
    place.run(&["docker-store", "verify"])?.success()?;
    let run = place.run(&["docker-gc", "--max-age", "soon"])?;
    run.exit(USAGE)?.says(&["soon", "30d"]).map(drop)
}

fn gc_max_size() -> Outcome {
    let (place, [a, _]) = Place::filled()?;
    fs::create_dir(place.folder.path().join("docker"))?;
    let toml = "[store]\nmax-size = \"17 kB\"\n";
    fs::write(place.folder.path().join("docker/images.toml"), toml)?;
    let told = place.json(&["docker-gc", "--json", "--dry-run"])?;
    is(&told["dropped"][0]["name"], a.name)?;
    let told = place.json(&["docker-gc", "--json", "--max-size", "1GiB", "--keep", "9"])?;
    is(&told["dropped"], Value::Array(Vec::new()))
}

fn busy() -> Outcome {
    let (place, [a, _]) = Place::filled()?;
    let writer = ImageLayout::open_or_create(&place.store)?.writer()?;
    let run = place.run(&["docker-gc", "--keep", "0"])?.success()?;
    run.says(&["warning", "another process"])?;
    let told = place.json(&["docker-store", "rm", &a.name, "--json"])?;
    is(&told["busy"], true)?;
    if writer.entries()?.len() != 1 || !writer.has_blob(&a.descriptor.digest) {
        return Err("only the entry is to go while others use the store".into());
    }
    Ok(())
}

fn no_store() -> Outcome {
    let place = Place::new()?;
    for arguments in [
        &["docker-store", "ls"][..],
        &["docker-store", "verify"],
        &["docker-gc", "--keep", "1"],
    ] {
        place.run(arguments)?.success()?.says(&["no store at"])?;
    }
    if place.store.exists() {
        return Err("a store was laid out".into());
    }
    Ok(())
}

fn newer_format() -> Outcome {
    let (place, [a, _]) = Place::filled()?;
    fs::write(place.store.join("format"), "99\n")?;
    let before = place.files()?;
    for arguments in [
        &["docker-store", "ls"][..],
        &["docker-store", "show", &a.name],
        &["docker-store", "verify"],
        &["docker-store", "rm", &a.name],
        &["docker-gc", "--keep", "0"],
    ] {
        let run = place.run(arguments)?.exit(STORE)?;
        run.says(&["format 99", "update docker-layer-cache"])?;
    }
    if place.files()? == before {
        Ok(())
    } else {
        Err("a store of a newer version was changed".into())
    }
}

fn damaged_index() -> Outcome {
    let (place, _) = Place::filled()?;
    fs::write(place.store.join("index.json"), "{")?;
    let before = place.files()?;
    let run = place.run(&["docker-gc", "--keep", "0"])?.success()?;
    run.says(&["warning", "index is damaged"])?;
    let run = place.run(&["docker-store", "verify"])?.exit(STORE)?;
    run.says(&["warning", "its index"])?;
    place
        .run(&["docker-store", "ls"])?
        .success()?
        .says(&["warning"])?;
    if place.files()? == before {
        Ok(())
    } else {
        Err("blobs were removed that nobody could ask for".into())
    }
}

fn read_only_job() -> Outcome {
    let (place, [a, _]) = Place::filled()?;
    let before = place.files()?;
    let run = place.run(&["docker-gc", "--keep", "0", "--read-only"])?;
    run.success()?.says(&["read-only"])?;
    let mut command = place.command(&["docker-store", "rm", &a.name]);
    let run = Run::of(command.env("DOCKER_LAYER_CACHE_READ_ONLY", "1"))?;
    run.exit(STORE)?.says(&["read-only"])?;
    if place.files()? == before {
        Ok(())
    } else {
        Err("a read-only job changed the store".into())
    }
}

fn killed() -> Outcome {
    for round in 0..20_u64 {
        let (place, [a, b]) = Place::filled()?;
        let arguments: [&[&str]; 2] = [
            &["docker-gc", "--keep", "0"],
            &["docker-store", "rm", &a.name, &b.name],
        ];
        let at = usize::try_from(round % 2)?;
        let mut child = place
            .command(arguments[at])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()?;
        // Not waiting for anything: some point of its work, which takes some 10 ms.
        std::thread::sleep(Duration::from_micros(round * 1100));
        child.kill()?;
        child.wait()?;
        place.run(&["docker-store", "verify"])?.success()?;
        let done = place.json(&["docker-gc", "--keep", "0", "--json"])?;
        is(&done["kept"], Value::Array(Vec::new()))?;
    }
    Ok(())
}

fn read_only_disk() -> Outcome {
    let disk = Mount::new(10_000_000)?;
    let mut place = Place::new()?;
    place.store = disk.path().join("store");
    let a = save(&place.store, "a", &[&layer("a", 3000)?])?;
    disk.make_read_only()?;
    place.run(&["docker-store", "ls"])?.success()?;
    place.run(&["docker-store", "verify"])?.success()?;
    let told = place.json(&["docker-gc", "--keep", "0", "--dry-run", "--json"])?;
    is(&told["dropped"][0]["name"], a.name.clone())?;
    for arguments in [
        &["docker-gc", "--keep", "0"][..],
        &["docker-store", "rm", &a.name],
    ] {
        let run = place.run(arguments)?.exit(STORE)?;
        run.says(&["read-only", "--store"])?;
    }
    Ok(())
}

/// A disk that is full at ever another point of a save: the error says so, what was there stays
/// whole, nothing half-written is named, and the next save with room enough succeeds.
fn full_disk() -> Outcome {
    let disk = Mount::new(400_000)?;
    let mut place = Place::new()?;
    place.store = disk.path().join("store");
    let first = save(&place.store, "first", &[&layer("first", 20_000)?])?;
    let filler = disk.path().join("filler");
    let second = layer("second", 60_000)?;
    let mut n_full = 0;
    for pages in 0..40_u64 {
        // All but so many pages of 4 kB.
        fs::write(&filler, "")?;
        fill(&filler)?;
        let file = fs::OpenOptions::new().write(true).open(&filler)?;
        let size = file.metadata()?.len();
        file.set_len(size.saturating_sub(pages * 4096))?;

        let saved = save(&place.store, "second", &[&second]);
        if let Err(error) = &saved {
            n_full += 1;
            if !error.to_string().contains("No space left") || error.hint().is_none() {
                return Err(format!("does not say that the disk is full: {error}").into());
            }
        }
        place.run(&["docker-store", "verify"])?.success()?;
        let told = place.json(&["docker-store", "ls", "--json"])?;
        let entries = told["entries"].as_array().ok_or("no entries")?;
        let has = |entry: &StoredEntry| entries.iter().any(|known| known["name"] == entry.name);
        if !has(&first) || saved.as_ref().is_ok_and(|second| !has(second)) {
            return Err(format!("an entry was lost: {told}").into());
        }
        if saved.is_err() && entries.len() != 1 {
            return Err(format!("a save that failed is named: {told}").into());
        }
        let left = fs::read_dir(place.store.join("tmp"))?.count();
        if left > 0 {
            return Err("a save that failed left what it had written".into());
        }
        if let Ok(second) = saved {
            place
                .run(&["docker-store", "rm", &second.name])?
                .success()?;
        }
    }
    fs::remove_file(&filler)?;
    save(&place.store, "second", &[&second])?;
    place.run(&["docker-store", "verify"])?.success()?;
    if (5..35).contains(&n_full) {
        Ok(())
    } else {
        Err(format!("{n_full} of 40 saves found the disk full: the sizes test nothing").into())
    }
}

/// Writes into a file until the disk is full.
fn fill(path: &Path) -> Outcome {
    let mut file = fs::OpenOptions::new().append(true).open(path)?;
    match std::io::copy(&mut std::io::repeat(0), &mut file) {
        Err(error) if error.kind() == std::io::ErrorKind::StorageFull => Ok(()),
        other => Err(format!("the disk took all: {other:?}").into()),
    }
}

/// `skopeo` copies a stage image into an archive for `docker load`. Before 1.14 it does so only by
/// way of gzip: <https://github.com/containers/skopeo/issues/1977>.
fn skopeo() -> Outcome {
    let (place, [a, _]) = Place::filled()?;
    let source = format!("oci:{}:{}", place.store.display(), a.name);
    let inspected: Value = serde_json::from_str(&run_skopeo(&["inspect", &source])?)?;
    let layers = inspected["Layers"].as_array().map_or(0, Vec::len);
    if layers != 2 {
        return Err(format!("skopeo sees {layers} layers: {inspected}").into());
    }
    let archive = place.folder.path().join("archive.tar");
    let target = format!("docker-archive:{}:app:1", archive.display());
    if let Err(error) = run_skopeo(&["copy", &source, &target]) {
        if !error.message().unwrap_or_default().contains("zstd") {
            return Err(error);
        }
        let gzip = format!("oci:{}:app", place.folder.path().join("gzip").display());
        let format = ["--dest-compress", "--dest-compress-format", "gzip"];
        run_skopeo(&["copy", format[0], format[1], format[2], &source, &gzip])?;
        run_skopeo(&["copy", &gzip, &target])?;
    }
    let layout = ImageLayout::open_read_only(&place.store)?;
    let image_id = layout.manifest(&a.descriptor)?.config.digest;
    let mut found = Vec::new();
    for file in tar::Archive::new(fs::File::open(&archive)?).entries()? {
        let mut file = file?;
        if file.path()?.as_ref() == Path::new("manifest.json") {
            file.read_to_end(&mut found)?;
        }
    }
    let manifest: Value = serde_json::from_slice(&found)?;
    is(
        &manifest[0]["Config"],
        format!("{}.json", image_id.encoded()),
    )
}

fn run_skopeo(arguments: &[&str]) -> Result<String, Failed> {
    let output = Command::new("skopeo")
        .arg("--insecure-policy")
        .args(arguments)
        .output()?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned().into())
    }
}
