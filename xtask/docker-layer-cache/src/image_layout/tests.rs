use std::fs;
use std::io::{self, Cursor, Read, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use tempfile::TempDir;

use crate::oci::{Descriptor, Digest, ImageIndex, ImageManifest, Platform, media_type};

use super::*;

pub(super) fn store() -> (TempDir, ImageLayout) {
    let folder = TempDir::new().expect("a folder");
    let layout = ImageLayout::open_or_create(folder.path().join("store")).expect("a store");
    (folder, layout)
}

pub(super) fn entry(image: &str, key: &str) -> Entry {
    Entry {
        kind: EntryKind::StageImage,
        image: image.to_owned(),
        platform: Platform::linux_amd64(),
        engine_class: "classic".to_owned(),
        key_base: "base".to_owned(),
        key_full: key.to_owned(),
        stage: Some("build".to_owned()),
        mount: None,
        created: Timestamp::from(SystemTime::UNIX_EPOCH),
        steps: serde_json::json!([{"seconds": 1.5}]),
        extra: [("other".to_owned(), "kept".to_owned())].into(),
    }
}

/// Stores an image with one layer of each content.
pub(super) fn save(writer: &Writer, entry: &Entry, layers: &[&[u8]]) -> StoredEntry {
    let layers: Vec<StoredLayer> = layers
        .iter()
        .map(|layer| writer.put_layer(&mut Cursor::new(layer)).expect("a layer"))
        .collect();
    let diff_ids: Vec<_> = layers.iter().map(|layer| &layer.diff_id).collect();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = writer
        .put_blob(media_type::OCI_CONFIG, config.to_string().as_bytes())
        .expect("a config");
    let layers = layers.into_iter().map(|layer| layer.descriptor).collect();
    writer
        .put_entry(entry, &ImageManifest::new(config, layers))
        .expect("an entry")
}

/// Bytes that compress a little.
pub(super) fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    (0..len)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            u8::try_from(state >> 59).expect("five bits")
        })
        .collect()
}

/// A reader that gives a few bytes at a time.
struct Slow<'a>(&'a [u8], usize);

impl Read for Slow<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.1.min(buf.len());
        self.0.read(&mut buf[..n])
    }
}

#[test]
fn a_new_store_is_an_image_layout() {
    let (_folder, layout) = store();
    let marker = fs::read_to_string(layout.root().join("oci-layout")).expect("a marker");
    assert_eq!(marker, r#"{"imageLayoutVersion":"1.0.0"}"#);
    let stored = layout.index().expect("an index");
    assert_eq!((stored.index.manifests.len(), stored.damage), (0, None));
}

#[test]
fn a_store_that_is_not_there_is_empty_and_stays_away() {
    let folder = TempDir::new().expect("a folder");
    let layout = ImageLayout::open_read_only(folder.path().join("none")).expect("empty");
    assert_eq!(layout.entries().expect("none"), []);
    assert_eq!(layout.layers().expect("none"), StoredLayers::default());
    layout.hold().expect("nothing to hold");
    assert!(!layout.root().exists());
}

#[test]
fn a_later_format_is_left_alone() {
    let (_folder, layout) = store();
    for text in ["2\n", "two", "\u{1b}[31m"] {
        fs::write(layout.root().join("format"), text).expect("written");
        for opened in [
            ImageLayout::open_or_create(layout.root()),
            ImageLayout::open_read_only(layout.root()),
        ] {
            let error = opened.expect_err(text);
            assert!(matches!(error.kind(), StoreErrorKind::NewerFormat { .. }));
            assert!(error.hint().is_some() && !error.to_string().contains('\u{1b}'));
        }
    }
}

#[test]
fn an_earlier_format_is_taken_over() {
    let (_folder, layout) = store();
    let writer = layout.writer().expect("a writer");
    let saved = save(&writer, &entry("app", "1"), &[b"one"]);
    drop(writer);
    for text in ["0\n", ""] {
        fs::write(layout.root().join("format"), text).expect("written");
        let read = ImageLayout::open_read_only(layout.root()).expect("opens");
        assert_eq!(read.entries().expect("entries")[0].name, saved.name);
        assert_eq!(
            fs::read_to_string(layout.root().join("format")).expect("read"),
            text,
            "a reader writes nothing"
        );
        let written = ImageLayout::open_or_create(layout.root()).expect("opens");
        assert_eq!(written.entries().expect("entries")[0].name, saved.name);
        assert_eq!(
            fs::read_to_string(layout.root().join("format")).expect("read"),
            "1\n"
        );
    }
}

#[test]
fn a_folder_of_somebody_else_is_left_alone() {
    let folder = TempDir::new().expect("a folder");
    let precious = folder.path().join("tmp").join("precious");
    fs::create_dir_all(precious.parent().expect("tmp")).expect("a folder");
    fs::write(&precious, b"x").expect("written");
    let error = ImageLayout::open_or_create(folder.path()).expect_err("not ours");
    assert!(matches!(error.kind(), StoreErrorKind::NotAStore), "{error}");
    let layout = ImageLayout::open_read_only(folder.path()).expect("empty");
    let collected = layout.collect_garbage(&all()).expect("nothing");
    assert_eq!(collected, Collected::default());
    assert!(precious.exists());
    let left = fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(left, 1, "nothing was added");
}

#[test]
fn layers_come_back_and_are_described() {
    let (_folder, layout) = store();
    let writer = layout.writer().expect("a writer");
    for tar in [Vec::new(), noise(10), noise(3_000_000)] {
        let stored = writer.put_layer(&mut Slow(&tar, 70_000)).expect("a layer");
        assert_eq!(stored.diff_id.0, Digest::of(&tar));
        let annotations = &stored.descriptor.annotations;
        assert_eq!(annotations[UNCOMPRESSED], stored.diff_id.to_string());
        assert_eq!(annotations[UNCOMPRESSED_SIZE], tar.len().to_string());
        let mut back = Vec::new();
        let mut reader = layout.open_layer(&stored.descriptor).expect("a layer");
        reader.read_to_end(&mut back).expect("undamaged");
        assert!(back == tar);
    }
    let left: Vec<_> = fs::read_dir(layout.temporary()).expect("tmp").collect();
    assert!(left.is_empty());
}

#[test]
fn a_blob_does_not_depend_on_the_machine() {
    let (_folder, layout) = store();
    let writer = layout.writer().expect("a writer");
    // Three compression jobs at this level.
    let tar = noise(20_000_000);
    let mut digests = Vec::new();
    for (workers, read) in [(1, usize::MAX), (2, 100_001), (4, usize::MAX), (0, 8191)] {
        let stored = writer.put_layer_with(&mut Slow(&tar, read), workers);
        digests.push(stored.expect("a layer").descriptor.digest);
    }
    digests.dedup();
    assert_eq!(digests.len(), 1);
}

#[test]
fn gzip_and_plain_layers_are_opened_too() {
    let (_folder, layout) = store();
    let writer = layout.writer().expect("a writer");
    let tar = noise(100_000);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).expect("memory");
    let gzip = gzip.finish().expect("memory");
    for (media_type, bytes) in [
        (media_type::OCI_LAYER_GZIP, &gzip),
        (media_type::DOCKER_LAYER_GZIP, &gzip),
        (media_type::OCI_LAYER, &tar),
    ] {
        let blob = writer.put_blob(media_type, bytes).expect("a blob");
        let right = blob
            .clone()
            .with_annotation(UNCOMPRESSED, Digest::of(&tar).to_string());
        let wrong = blob.with_annotation(UNCOMPRESSED, Digest::of(b"x").to_string());
        let mut back = Vec::new();
        let mut reader = layout.open_layer(&right).expect("a layer");
        reader.read_to_end(&mut back).expect("undamaged");
        assert!(back == tar, "{media_type}");
        let mut reader = layout.open_layer(&wrong).expect("a layer");
        let error = reader.read_to_end(&mut back).expect_err("another diff ID");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}

#[test]
fn a_source_that_fails_leaves_nothing() {
    struct Failing(usize);
    impl Read for Failing {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(1).ok_or(io::ErrorKind::UnexpectedEof)?;
            Ok(buf.len())
        }
    }
    let (_folder, layout) = store();
    let writer = layout.writer().expect("a writer");
    let error = writer.put_layer(&mut Failing(20)).expect_err("short");
    assert!(matches!(error.kind(), StoreErrorKind::Source(_)));
    assert!(layout.is_empty());
    let left: Vec<_> = fs::read_dir(layout.temporary()).expect("tmp").collect();
    assert!(left.is_empty());
}

/// Ways to damage a blob, and what is then found.
type Damage = (&'static str, fn(&Path), BlobState);

pub(super) const DAMAGES: [Damage; 6] = [
    (
        "missing",
        |path| fs::remove_file(path).expect("a file"),
        BlobState::Missing,
    ),
    (
        "truncated",
        |path| {
            let bytes = fs::read(path).expect("a file");
            fs::write(path, &bytes[..bytes.len() - 1]).expect("a file");
        },
        BlobState::Damaged("another size"),
    ),
    (
        "flipped",
        |path| {
            let mut bytes = fs::read(path).expect("a file");
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(path, bytes).expect("a file");
        },
        BlobState::Damaged("other bytes"),
    ),
    (
        "empty",
        |path| fs::write(path, b"").expect("a file"),
        BlobState::Damaged("another size"),
    ),
    (
        "directory",
        |path| {
            fs::remove_file(path).expect("a file");
            fs::create_dir(path).expect("a file");
            fs::write(path.join("x"), b"x").expect("a file");
        },
        BlobState::Damaged("it is not a file"),
    ),
    (
        "symlink",
        |path| {
            let aside = path.with_extension("aside");
            fs::rename(path, &aside).expect("a file");
            #[cfg(unix)]
            std::os::unix::fs::symlink(&aside, path).expect("a file");
        },
        BlobState::Damaged("it is not a file"),
    ),
];

#[test]
fn damage_is_found_and_the_next_save_repairs_it() {
    for (name, damage, expected) in DAMAGES {
        let (_folder, layout) = store();
        let writer = layout.writer().expect("a writer");
        let tar = noise(50_000);
        let good = writer
            .put_layer(&mut Cursor::new(&noise(99)))
            .expect("a layer");
        let stored = writer.put_layer(&mut Cursor::new(&tar)).expect("a layer");
        damage(&layout.blob_path(&stored.descriptor.digest));

        let states = layout.verify(&[good.descriptor.clone(), stored.descriptor.clone()]);
        let expected = [
            (good.descriptor.digest.clone(), BlobState::Good),
            (stored.descriptor.digest.clone(), expected),
        ];
        assert_eq!(states, expected, "{name}");
        let read = layout
            .open_layer(&stored.descriptor)
            .map_err(io::Error::from)
            .and_then(|mut reader| reader.read_to_end(&mut Vec::new()));
        assert!(read.is_err(), "{name}");

        let discarded = writer.discard_if_damaged(&stored.descriptor).expect(name);
        assert_eq!(discarded, expected[1].1 != BlobState::Missing, "{name}");
        assert!(!writer.discard_if_damaged(&good.descriptor).expect(name));
        for _ in 0..2 {
            let again = writer.put_layer(&mut Cursor::new(&tar)).expect(name);
            let states = layout.verify(&[again.descriptor]);
            assert_eq!(states[0].1, BlobState::Good, "{name}");
        }
    }
}

#[test]
fn files_are_adopted() {
    let (folder, layout) = store();
    let writer = layout.writer().expect("a writer");
    let path = folder.path().join("blob");
    fs::write(&path, b"bytes").expect("written");
    let wrong = Digest::of(b"other");
    writer
        .adopt_file(&path, Some(&wrong))
        .expect_err("another digest");
    assert!(path.exists() && !layout.has_blob(&wrong));

    let digest = Digest::of(b"bytes");
    let adopted = writer.adopt_file(&path, Some(&digest)).expect("adopted");
    assert_eq!(adopted, (digest.clone(), 5));
    assert!(!path.exists() && layout.has_blob(&digest));

    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("/etc/hostname", &path).expect("a link");
        writer.adopt_file(&path, None).expect_err("a link");
    }
    writer
        .adopt_file(folder.path(), None)
        .expect_err("a folder");
}

#[test]
fn files_of_another_disk_are_copied() {
    let shm = Path::new("/dev/shm");
    let (_folder, layout) = store();
    let Ok(mut file) = tempfile::NamedTempFile::new_in(shm) else {
        return;
    };
    file.write_all(b"bytes").expect("written");
    let writer = layout.writer().expect("a writer");
    let path = file.into_temp_path();
    let (digest, _) = writer.adopt_file(&path, None).expect("copied");
    assert!(!path.exists());
    let blob = Descriptor::new("any", digest, 5);
    assert_eq!(layout.read_blob(&blob, 10).expect("a blob"), b"bytes");
}

#[test]
fn entries_come_back() {
    let (_folder, layout) = store();
    let writer = layout.writer().expect("a writer");
    let first = save(&writer, &entry("app", "1"), &[b"one", b"two"]);
    save(&writer, &entry("app", "2"), &[b"one", b"three"]);
    save(&writer, &entry("app", "1"), &[b"one", b"two"]);
    let entries = layout.entries().expect("entries");
    assert_eq!(entries.len(), 2, "the same name is the same entry");
    let found = entries.iter().find(|e| e.name == first.name).expect("it");
    assert_eq!(found.entry, entry("app", "1"));
    assert!(found.last_use.is_some());

    let layers = layout.layers().expect("layers").by_diff_id;
    assert_eq!(layers.len(), 3);
    let one = &layers[&crate::oci::DiffId(Digest::of(b"one"))];
    assert_eq!(one.annotations[UNCOMPRESSED_SIZE], "3");

    assert!(layout.remove_entry(&first.name).expect("removed"));
    assert!(!layout.remove_entry(&first.name).expect("gone"));
    assert_eq!(layout.entries().expect("entries").len(), 1);
}

#[test]
fn layers_are_found_by_what_the_engine_calls_them() {
    let (_folder, layout) = store();
    let writer = layout.writer().expect("a writer");
    let layer = writer.put_layer(&mut Cursor::new(b"one")).expect("a layer");
    let own_name = layer.descriptor.digest.to_string();
    let named = layer
        .descriptor
        .with_annotation(KNOWN_AS, "v1-id sha256:abc");
    let config = writer.put_blob("config", b"{}").expect("a config");
    let manifest = ImageManifest::new(config, vec![named]);
    writer
        .put_entry(&entry("app", "1"), &manifest)
        .expect("an entry");
    let by_name = layout.layers().expect("layers").by_name;
    assert_eq!(by_name["v1-id"], layer.diff_id);
    assert_eq!(by_name["sha256:abc"], layer.diff_id);
    assert_eq!(by_name[&own_name], layer.diff_id);
}

#[test]
fn an_entry_needs_its_blobs() {
    let (_folder, layout) = store();
    let writer = layout.writer().expect("a writer");
    let config = writer.put_blob("config", b"{}").expect("a config");
    let missing = Descriptor::new(media_type::OCI_LAYER, Digest::of(b"x"), 1);
    writer
        .put_entry(
            &entry("app", "1"),
            &ImageManifest::new(config, vec![missing]),
        )
        .expect_err("a missing layer");
    assert_eq!(layout.entries().expect("entries"), []);
}

#[test]
fn names_are_valid_and_unique() {
    // What `skopeo` takes behind `oci:STORE:`.
    let valid = |name: &str| {
        name.split('/').all(|component| {
            component
                .split('-')
                .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric()))
        })
    };
    let mut names: Vec<String> = ["app", "a b", "a-b", "--a__b", "…", "", "a/../b", "App"]
        .iter()
        .map(|image| entry(image, "1").name(&Digest::of(b"")))
        .collect();
    names.push(entry("app", "2").name(&Digest::of(b"")));
    names.push(entry("app", "2").name(&Digest::of(b"other content")));
    let stage = Some("x".to_owned());
    names.push(
        Entry {
            stage,
            ..entry("app", "1")
        }
        .name(&Digest::of(b"")),
    );
    for name in &names {
        assert!(valid(name), "{name}");
    }
    let n_names = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), n_names);
}

/// Collects as soon as nobody holds the store. A process that another test is just starting holds
/// all locks of this one, from `fork` to `exec`.
pub(super) fn collect(
    layout: &ImageLayout,
    retention: &Retention,
) -> Result<Collected, StoreError> {
    loop {
        let collected = layout.collect_garbage(retention)?;
        if !collected.busy {
            return Ok(collected);
        }
        std::thread::yield_now();
    }
}

/// The names of the dropped entries.
pub(super) fn names(collected: &Collected) -> Vec<&str> {
    let entries = collected.entries.iter();
    entries.map(|entry| entry.name.as_str()).collect()
}

#[test]
fn a_damaged_index_is_empty_and_kept_aside() {
    for garbage in [
        "",
        "{",
        "[]",
        r#"{"schemaVersion":3,"manifests":[]}"#,
        "\0\0",
    ] {
        let (_folder, layout) = store();
        let writer = layout.writer().expect("a writer");
        save(&writer, &entry("app", "1"), &[b"one"]);
        fs::write(layout.index_path(), garbage).expect("written");
        let stored = layout.index().expect("no error");
        assert!(stored.damage.is_some(), "{garbage}");
        assert_eq!(layout.entries().expect("no error"), []);
        drop(writer);

        let collected = collect(&layout, &all()).expect("no error");
        assert!(collected.damaged_index && collected.blobs == 0);

        let layout = ImageLayout::open_or_create(layout.root()).expect("opens");
        let writer = layout.writer().expect("a writer");
        save(&writer, &entry("app", "2"), &[b"one"]);
        assert_eq!(layout.entries().expect("entries").len(), 1);
        assert!(layout.index().expect("an index").damage.is_none());
        let aside = fs::read_to_string(layout.root().join("index.json.damaged"));
        assert_eq!(aside.expect("kept"), garbage);
    }
}

#[test]
fn a_lost_index_is_told_only_where_there_was_something() {
    let (_folder, layout) = store();
    fs::remove_file(layout.index_path()).expect("removed");
    assert!(layout.index().expect("no error").damage.is_none());
    layout
        .writer()
        .expect("a writer")
        .put_blob("x", b"x")
        .expect("a blob");
    let damage = layout.index().expect("no error").damage.expect("lost");
    assert!(damage.to_string().contains("it is missing"), "{damage}");
}

/// Removes all that can be removed, however young.
pub(super) fn all() -> Retention {
    Retention {
        grace: Duration::ZERO,
        ..Retention::default()
    }
}

#[test]
fn garbage_is_what_no_entry_names() {
    let (_folder, layout) = store();
    let writer = layout.writer().expect("a writer");
    let stored = save(&writer, &entry("app", "1"), &[b"one"]);
    let garbage = writer.put_blob("any", b"garbage").expect("a blob");
    fs::write(layout.temporary().join("left"), b"x").expect("written");
    fs::write(layout.blobs("sha256").join("README"), b"x").expect("written");

    let collected = layout.collect_garbage(&all()).expect("no error");
    assert!(collected.busy && layout.has_blob(&garbage.digest));
    drop(writer);
    let hold = layout.hold().expect("held");
    assert!(layout.collect_garbage(&all()).expect("no error").busy);
    drop(hold);

    let young = collect(&layout, &Retention::default()).expect("no error");
    assert_eq!(young.blobs, 0);
    let dry_run = Retention {
        dry_run: true,
        ..all()
    };
    assert_eq!(collect(&layout, &dry_run).expect("no error").blobs, 1);
    assert!(layout.has_blob(&garbage.digest));
    let collected = collect(&layout, &all()).expect("no error");
    assert_eq!((collected.blobs, collected.freed_bytes), (1, 7));
    assert!(!layout.has_blob(&garbage.digest));
    assert!(!layout.temporary().join("left").exists());
    assert!(layout.blobs("sha256").join("README").exists());
    let manifest = layout.manifest(&stored.descriptor).expect("a manifest");
    for blob in manifest.layers.iter().chain([&manifest.config]) {
        assert!(layout.has_blob(&blob.digest));
    }
}

#[test]
fn what_others_put_into_the_index_is_kept() {
    let (_folder, layout) = store();
    let writer = layout.writer().expect("a writer");
    let layer = writer.put_blob("layer", b"layer").expect("a blob");
    let config = writer.put_blob("config", b"{}").expect("a blob");
    let manifest = ImageManifest::new(config.clone(), vec![layer.clone()]);
    let json = serde_json::to_vec(&manifest).expect("JSON");
    let manifest = writer
        .put_blob(media_type::OCI_MANIFEST, &json)
        .expect("a blob");
    let index = ImageIndex::new(vec![manifest.clone()]);
    let json = serde_json::to_vec(&index).expect("JSON");
    let index = writer
        .put_blob(media_type::OCI_INDEX, &json)
        .expect("a blob");
    let later = index
        .clone()
        .with_annotation(annotation::KIND, "build-cache")
        .with_annotation(annotation::FORMAT, "99");
    writer
        .update_index(|index| index.manifests.push(later.clone()))
        .expect("an index");
    save(&writer, &entry("app", "1"), &[b"one"]);
    drop(writer);
    let nothing = Retention {
        max_size_bytes: Some(0),
        ..all()
    };
    let collected = collect(&layout, &nothing).expect("no error");
    assert_eq!(collected.entries.len(), 1);
    assert_eq!(layout.index().expect("an index").index.manifests, [later]);
    for blob in [layer, config, manifest, index] {
        assert!(layout.has_blob(&blob.digest));
    }
}

#[test]
fn the_least_recently_used_go_first() {
    let (_folder, layout) = store();
    let writer = layout.writer().expect("a writer");
    let shared = noise(10_000);
    let mut entries = Vec::new();
    for (n, key) in ["a", "b", "c", "d"].iter().enumerate() {
        let own = [u8::try_from(n).expect("few"); 3000].map(|byte| byte.wrapping_mul(31));
        let stored = save(&writer, &entry("app", key), &[&shared, &own]);
        let used = SystemTime::now() - Duration::from_secs(1000 - n as u64 * 100);
        let file = fs::File::open(layout.blob_path(&stored.descriptor.digest)).expect("a file");
        file.set_modified(used).expect("a time");
        entries.push(stored.name);
    }
    drop(writer);
    let oldest = layout.entries().expect("entries");
    let oldest = oldest.iter().find(|e| e.name == entries[0]).expect("it");
    layout.touch(oldest);

    let dry_run = |retention: Retention| {
        let retention = Retention {
            dry_run: true,
            ..retention
        };
        collect(&layout, &retention).expect("no error")
    };
    let kept = dry_run(all()).kept_bytes;
    let max_size_bytes = Some(kept - 1);
    let collected = dry_run(Retention {
        max_size_bytes,
        ..all()
    });
    assert_eq!(names(&collected), [entries[1].as_str()]);
    assert!(collected.kept_bytes < kept);
    let max_age = Some(Duration::from_secs(850));
    let collected = dry_run(Retention { max_age, ..all() });
    assert_eq!(names(&collected), [entries[1].as_str()]);
    let keep = Some(1);
    let collected = collect(&layout, &Retention { keep, ..all() }).expect("no error");
    assert_eq!(collected.entries.len(), 3);
    let left = layout.entries().expect("entries");
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].name, entries[0]);
    assert_eq!(layout.layers().expect("layers").by_diff_id.len(), 2);
}

#[test]
fn an_entry_without_its_manifest_is_dropped() {
    let (_folder, layout) = store();
    let writer = layout.writer().expect("a writer");
    let stored = save(&writer, &entry("app", "1"), &[b"one"]);
    drop(writer);
    fs::write(layout.blob_path(&stored.descriptor.digest), b"{").expect("written");
    let collected = collect(&layout, &all()).expect("no error");
    assert_eq!(names(&collected), [stored.name.as_str()]);
    assert!(layout.is_empty());
}

#[test]
fn a_view_is_an_image_layout_of_links() {
    let (folder, layout) = store();
    let writer = layout.writer().expect("a writer");
    let layer = writer
        .put_layer(&mut Cursor::new(b"one"))
        .expect("a layer")
        .descriptor;
    let config = Descriptor::new(media_type::BUILDKIT_CACHE_CONFIG, Digest::of(b"{}"), 2);
    let manifest = ImageManifest::new(config.clone(), vec![layer.clone(), layer.clone()]);
    let directory = folder.path().join("views").join("one");
    for _ in 0..2 {
        let view = View::create(&directory, &layout, &manifest, b"{}").expect("a view");
        let blobs = view.directory().join("blobs/sha256");
        let linked = blobs.join(layer.digest.encoded());
        assert!(linked.is_symlink());
        assert!(fs::read_link(&linked).expect("a link").is_absolute());
        assert!(linked.is_file() && blobs.join(config.digest.encoded()).is_file());
        let seen = ImageLayout::open_read_only(view.directory()).expect("a layout");
        let index = seen.index().expect("an index").index;
        assert_eq!(index.manifests[0].digest, *view.manifest());
        assert_eq!(
            index.manifests[0].annotations[annotation::REF_NAME],
            "latest"
        );
        assert_eq!(seen.manifest(&index.manifests[0]).expect("it"), manifest);
        fs::write(directory.join("index.json.lock"), b"").expect("as BuildKit does");
    }
    View::create(&directory, &layout, &manifest, b"[]").expect_err("another config");
    fs::remove_file(layout.blob_path(&layer.digest)).expect("removed");
    View::create(&directory, &layout, &manifest, b"{}").expect_err("a missing layer");

    let precious = folder.path().join("precious");
    fs::create_dir(&precious).expect("a folder");
    fs::write(precious.join("file"), b"x").expect("written");
    for directory in [&precious, layout.root()] {
        let error = View::create(directory, &layout, &manifest, b"{}").expect_err("not a view");
        assert!(matches!(error.kind(), StoreErrorKind::NotAView));
    }
    assert!(precious.join("file").exists());
}

#[test]
fn what_a_killed_view_left_is_replaced() {
    let (folder, layout) = store();
    let config = Descriptor::new("config", Digest::of(b"{}"), 2);
    let manifest = ImageManifest::new(config, Vec::new());
    let directory = folder.path().join("view");
    let left: [&[&str]; 4] = [&[], &["blobs"], &["blobs", "oci-layout"], &["oci-layout"]];
    for files in left {
        fs::create_dir(&directory).expect("a folder");
        for file in files {
            match *file {
                "blobs" => fs::create_dir(directory.join(file)),
                _ => fs::write(directory.join(file), b"{}"),
            }
            .expect("written");
        }
        View::create(&directory, &layout, &manifest, b"{}").expect("a view");
        fs::remove_dir_all(&directory).expect("removed");
    }
}

/// What an engine is given may lie on another disk than the store, in both directions.
#[test]
fn a_view_on_another_disk_is_one_too() {
    let Ok(shm) = TempDir::new_in("/dev/shm") else {
        return;
    };
    let here = TempDir::new().expect("a folder");
    for (store, view) in [(&here, &shm), (&shm, &here)] {
        let layout = ImageLayout::open_or_create(store.path().join("store")).expect("a store");
        let writer = layout.writer().expect("a writer");
        let layer = writer.put_blob("layer", b"layer").expect("a layer");
        let config = Descriptor::new("config", Digest::of(b"{}"), 2);
        let manifest = ImageManifest::new(config, vec![layer.clone()]);
        let view = View::create(&view.path().join("view"), &layout, &manifest, b"{}");
        let seen = ImageLayout::open_read_only(view.expect("a view").directory());
        let blob = seen.expect("a layout").blob_path(&layer.digest);
        assert_eq!(fs::read(blob).expect("the layer"), b"layer");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_flipped_bit_never_reads_to_the_end(
        tar in prop::collection::vec(any::<u8>(), 1..2000),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u32,
    ) {
        let (_folder, layout) = store();
        let writer = layout.writer().expect("a writer");
        let stored = writer.put_layer(&mut Cursor::new(&tar)).expect("a layer");
        let path = layout.blob_path(&stored.descriptor.digest);
        let mut bytes = fs::read(&path).expect("a blob");
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        fs::write(&path, bytes).expect("written");
        let read = layout
            .open_layer(&stored.descriptor)
            .map_err(io::Error::from)
            .and_then(|mut reader| reader.read_to_end(&mut Vec::new()));
        prop_assert!(read.is_err());
    }

    #[test]
    fn any_index_is_read_or_damaged(garbage in "\\PC{0,40}") {
        let (_folder, layout) = store();
        fs::write(layout.index_path(), garbage).expect("written");
        prop_assert!(layout.index().is_ok() && layout.entries().is_ok());
    }
}
