use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use proptest::prelude::*;

use crate::oci::{Descriptor, DiffId, Digest, media_type};

use super::*;

/// Keeps layers in memory, as a store does on disk.
#[derive(Default)]
struct Memory {
    layers: BTreeMap<DiffId, Vec<u8>>,
    by_name: BTreeMap<String, DiffId>,
    read: usize,
}

impl LayerSink for Memory {
    fn known(&mut self, name: LayerName<'_>) -> Option<DiffId> {
        let name = match name {
            LayerName::Blob(digest) => digest.as_str(),
            LayerName::Legacy(name) => name,
        };
        self.by_name.get(name).cloned()
    }

    fn layer(&mut self, name: LayerName<'_>, tar: &mut dyn Read) -> io::Result<DiffId> {
        let mut bytes = Vec::new();
        tar.read_to_end(&mut bytes)?;
        let diff_id = DiffId(Digest::of(&bytes));
        let name = match name {
            LayerName::Blob(digest) => digest.to_string(),
            LayerName::Legacy(name) => name.to_owned(),
        };
        self.by_name.insert(name, diff_id.clone());
        self.layers.insert(diff_id.clone(), bytes);
        self.read += 1;
        Ok(diff_id)
    }
}

/// What an entry of a hand-made archive is.
enum Item<'a> {
    File(&'a str, &'a [u8]),
    Link(&'a str, &'a str),
    Folder(&'a str),
    Fifo(&'a str),
}

fn tar_of(items: &[Item<'_>]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for item in items {
        let (path, kind, bytes, target) = match item {
            Item::File(path, bytes) => (path, tar::EntryType::Regular, *bytes, ""),
            Item::Link(path, target) => (path, tar::EntryType::Symlink, &b""[..], *target),
            Item::Folder(path) => (path, tar::EntryType::Directory, &b""[..], ""),
            Item::Fifo(path) => (path, tar::EntryType::Fifo, &b""[..], ""),
        };
        let mut header = tar::Header::new_gnu();
        // Not `set_path`: it refuses what some of the tests are about.
        let name = &mut header.as_old_mut().name;
        name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        let link = &mut header.as_old_mut().linkname;
        link[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        tar.append(&header, bytes).expect("a Vec takes all");
    }
    tar.into_inner().expect("a Vec takes all")
}

fn layer(name: &str, content: &[u8]) -> Vec<u8> {
    tar_of(&[Item::File(name, content)])
}

fn config(layers: &[&[u8]]) -> Vec<u8> {
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
    serde_json::json!({
        "architecture": "amd64", "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    })
    .to_string()
    .into_bytes()
}

fn blob(bytes: &[u8]) -> String {
    format!("blobs/sha256/{}", Digest::of(bytes).encoded())
}

fn manifest(config: &str, tags: &[&str], layers: &[&str]) -> Vec<u8> {
    serde_json::json!([{"Config": config, "RepoTags": tags, "Layers": layers}])
        .to_string()
        .into_bytes()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("a Vec takes all");
    encoder.finish().expect("a Vec takes all")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("memory is enough")
}

/// The shape of 20.10: the v1 ID names a layer, a repeated layer is a link, manifest.json is last.
fn saved_by_20_10(layers: [&[u8]; 2]) -> Vec<u8> {
    let config = config(&[layers[0], layers[1], layers[0]]);
    let config_path = format!("{}.json", Digest::of(&config).encoded());
    let paths = ["a/layer.tar", "b/layer.tar", "c/layer.tar"];
    tar_of(&[
        Item::File(&config_path, &config),
        Item::Folder("a/"),
        Item::File("a/VERSION", b"1.0"),
        Item::File("a/json", b"{}"),
        Item::File("a/layer.tar", layers[0]),
        Item::Folder("c/"),
        Item::Link("c/layer.tar", "../a/layer.tar"),
        Item::Folder("b/"),
        Item::File("b/layer.tar", layers[1]),
        Item::File("manifest.json", &manifest(&config_path, &["app:1"], &paths)),
        Item::File("repositories", b"{}"),
    ])
}

/// The shape of 25 and later, its layers compressed by `compress`.
fn saved_since_25(layers: [&[u8]; 2], compress: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let config = config(&layers);
    let blobs = layers.map(compress);
    let paths = [blob(&blobs[0]), blob(&blobs[1])];
    let manifest = manifest(&blob(&config), &["app:1"], &[&paths[0], &paths[1]]);
    let other = br#"{"schemaVersion":2}"#;
    tar_of(&[
        Item::Folder("blobs/"),
        Item::Folder("blobs/sha256/"),
        Item::File(&paths[1], &blobs[1]),
        Item::File(&blob(other), other),
        Item::File(&blob(&config), &config),
        Item::File(&paths[0], &blobs[0]),
        Item::File("index.json", b"{}"),
        Item::File("manifest.json", &manifest),
        Item::File("oci-layout", b"{}"),
    ])
}

#[test]
fn both_generations_and_all_compressions() {
    let (one, two) = (layer("one", b"1"), layer("{two", &[7; 3000]));
    let same = |bytes: &[u8]| bytes.to_vec();
    for (name, archive, n_layers) in [
        ("20.10", saved_by_20_10([&one, &two]), 3),
        ("graph driver", saved_since_25([&one, &two], same), 2),
        ("gzip", saved_since_25([&one, &two], gzip), 2),
        ("zstd", saved_since_25([&one, &two], zstd), 2),
    ] {
        let mut memory = Memory::default();
        let images = read(archive.as_slice(), &mut memory).expect(name);
        assert_eq!(images.len(), 1, "{name}");
        assert_eq!(images[0].repo_tags, ["app:1"], "{name}");
        assert_eq!(images[0].diff_ids.len(), n_layers, "{name}");
        assert_eq!(memory.layers[&images[0].diff_ids[0]], one, "{name}");
        assert_eq!(memory.layers[&images[0].diff_ids[1]], two, "{name}");
        assert_eq!(memory.read, 2, "{name}");

        let again = read(archive.as_slice(), &mut memory).expect(name);
        assert_eq!((again, memory.read), (images, 2), "{name}: all are known");
    }
}

#[test]
fn an_image_without_layers() {
    let config = br#"{"rootfs":{"type":"layers","diff_ids":null}}"#;
    let manifest = format!(
        r#"[{{"Config":"{}","RepoTags":null,"Layers":null}}]"#,
        blob(config)
    );
    let archive = tar_of(&[
        Item::File(&blob(config), config),
        Item::File("manifest.json", manifest.as_bytes()),
    ]);
    let images = read(archive.as_slice(), &mut Memory::default()).expect("an image");
    assert_eq!(images[0].image_id(), Digest::of(config));
    assert!(images[0].diff_ids.is_empty() && images[0].repo_tags.is_empty());
}

#[test]
fn archives_that_are_refused() {
    let one = layer("one", b"1");
    let config = config(&[&one]);
    let (config_path, layer_path) = (blob(&config), blob(&one));
    let good = manifest(&config_path, &["app:1"], &[&layer_path]);
    let other = layer("other", b"2");
    let not_a_tar = vec![b'x'; 2000];
    let manifest_of_x = manifest(&config_path, &[], &["x/layer.tar"]);
    let cases: Vec<(&str, Vec<Item<'_>>)> = vec![
        ("no `manifest.json`", vec![]),
        (
            "not in the archive",
            vec![
                Item::File(&config_path, &config),
                Item::File("manifest.json", &good),
            ],
        ),
        (
            "not in the archive",
            vec![
                Item::File(&layer_path, &one),
                Item::File("manifest.json", &good),
            ],
        ),
        (
            "have digest",
            vec![
                Item::File(&config_path, &config),
                Item::File(&layer_path, &other),
                Item::File("manifest.json", &good),
            ],
        ),
        ("have digest", vec![Item::File(&config_path, b"{}")]),
        (
            "occurs twice",
            vec![Item::File(&layer_path, &one), Item::File(&layer_path, &one)],
        ),
        (
            "leaves the archive",
            vec![Item::File("../x/layer.tar", &one)],
        ),
        ("leaves the archive", vec![Item::File("/x/layer.tar", &one)]),
        (
            "leaves the archive",
            vec![Item::Link("x/layer.tar", "/etc/passwd")],
        ),
        (
            "leaves the archive",
            vec![Item::Link("x/layer.tar", "../../y")],
        ),
        ("neither a file", vec![Item::Fifo("x")]),
        ("invalid JSON", vec![Item::File("manifest.json", b"[{]")]),
        (
            "not in the archive",
            vec![
                Item::File(&config_path, &config),
                Item::File("x/layer.tar", &not_a_tar),
                Item::File("manifest.json", &manifest_of_x),
            ],
        ),
    ];
    for (expected, items) in cases {
        let archive = tar_of(&items);
        let error = read(archive.as_slice(), &mut Memory::default()).expect_err(expected);
        assert!(error.to_string().contains(expected), "{expected}: {error}");
    }
}

#[test]
fn a_sink_that_fails_is_told_from_an_archive_that_fails() {
    struct Full;
    impl LayerSink for Full {
        fn known(&mut self, _: LayerName<'_>) -> Option<DiffId> {
            None
        }
        fn layer(&mut self, _: LayerName<'_>, tar: &mut dyn Read) -> io::Result<DiffId> {
            tar.read_to_end(&mut Vec::new())?;
            Err(io::ErrorKind::StorageFull.into())
        }
    }
    let one = layer("one", &[1; 5000]);
    let archive = saved_by_20_10([&one, &one]);
    let error = read(archive.as_slice(), &mut Full).expect_err("full");
    let cause = error.layer_error().expect("the sink's own");
    assert_eq!(cause.kind(), io::ErrorKind::StorageFull);

    let inside_a_layer = archive.len() - 8000;
    let error = read(&archive[..inside_a_layer], &mut Memory::default()).expect_err("short");
    assert!(error.layer_error().is_none(), "{error}");
}

#[test]
fn written_archives_are_read_back() {
    let layers: Vec<Vec<u8>> = (0..4_u8).map(|n| layer("f", &[n; 700])).collect();
    let stored: BTreeMap<DiffId, Vec<u8>> = layers
        .iter()
        .map(|layer| (DiffId(Digest::of(layer)), zstd(layer)))
        .collect();
    let images: Vec<(Vec<u8>, Vec<&Vec<u8>>)> = [[0, 1], [0, 2], [3, 0]]
        .iter()
        .map(|picks| {
            let picked: Vec<&Vec<u8>> = picks.iter().map(|&n| &layers[n]).collect();
            (config(&[picked[0], picked[1]]), picked)
        })
        .collect();
    for layout in [ArchiveLayout::Legacy, ArchiveLayout::Oci] {
        for as_stored in [false, true] {
            let images: Vec<ArchiveImage> = images
                .iter()
                .map(|(config, layers)| ArchiveImage {
                    repo_tags: vec!["app:1".into(), "host:5000/app:2".into()],
                    config: config.clone(),
                    layers: layers
                        .iter()
                        .map(|layer| {
                            let diff_id = DiffId(Digest::of(layer));
                            if as_stored {
                                let blob = &stored[&diff_id];
                                let size = blob.len() as u64;
                                let zstd = media_type::OCI_LAYER_ZSTD;
                                let blob = Descriptor::new(zstd, Digest::of(blob), size);
                                ArchiveLayer::as_stored(diff_id, blob)
                            } else {
                                ArchiveLayer::uncompressed(diff_id, layer.len() as u64)
                            }
                        })
                        .collect(),
                })
                .collect();
            let opened = RefCell::new(0);
            let open = |layer: &ArchiveLayer| {
                *opened.borrow_mut() += 1;
                let blob = &stored[&layer.diff_id];
                Ok(io::Cursor::new(if as_stored {
                    blob.clone()
                } else {
                    zstd::decode_all(blob.as_slice())?
                }))
            };
            let mut archive = Vec::new();
            let written = write(&mut archive, layout, &images, open).expect("a Vec takes all");
            assert_eq!(written.archive_bytes, archive.len() as u64);
            assert_eq!((written.layers, *opened.borrow()), (4, 4), "each once");

            let mut memory = Memory::default();
            let back = read(archive.as_slice(), &mut memory).expect("our own");
            for (image, back) in images.iter().zip(&back) {
                assert_eq!(
                    (&image.config, &image.repo_tags),
                    (&back.config, &back.repo_tags)
                );
            }
            assert_eq!(back.len(), 3);
        }
    }
}

#[test]
fn layers_are_left_out_only_where_no_image_needs_them() {
    let (one, two) = (layer("one", b"1"), layer("two", b"2"));
    let sizes =
        |tar: &Vec<u8>| ArchiveLayer::uncompressed(DiffId(Digest::of(tar)), tar.len() as u64);
    let present = |tar: &Vec<u8>| ArchiveLayer {
        left_out: true,
        ..sizes(tar)
    };
    let image = |layers: Vec<ArchiveLayer>| ArchiveImage {
        repo_tags: vec![],
        config: config(&[&one, &two]),
        layers,
    };
    let open = |_: &ArchiveLayer| Ok(io::Cursor::new(two.clone()));
    for (images, layers, left_out) in [
        (vec![image(vec![present(&one), sizes(&two)])], 1, 1),
        (vec![image(vec![present(&one), present(&two)])], 0, 2),
        (
            vec![image(vec![sizes(&two)]), image(vec![present(&two)])],
            1,
            0,
        ),
    ] {
        let written = write(io::sink(), ArchiveLayout::Oci, &images, open).expect("a sink");
        assert_eq!((written.layers, written.left_out), (layers, left_out));
    }
}

#[test]
fn a_layer_of_another_size_is_an_error() {
    let one = layer("one", b"1");
    for size in [one.len() as u64 - 1, one.len() as u64 + 1] {
        let image = ArchiveImage {
            repo_tags: vec![],
            config: config(&[&one]),
            layers: vec![ArchiveLayer::uncompressed(DiffId(Digest::of(&one)), size)],
        };
        let open = |_: &ArchiveLayer| Ok(one.as_slice());
        let error = write(io::sink(), ArchiveLayout::Legacy, &[image], open).expect_err("size");
        assert!(matches!(error.kind(), ArchiveErrorKind::LayerSize { .. }));
    }
}

/// What is left after damage is right, or refused.
fn check_damaged(damaged: &[u8], original: &[SavedImage], layers: [&[u8]; 2]) {
    let mut memory = Memory::default();
    let Ok(images) = read(damaged, &mut memory) else {
        return;
    };
    for image in &images {
        for diff_id in &image.diff_ids {
            let bytes = &memory.layers[diff_id];
            assert!(layers.contains(&bytes.as_slice()), "a layer that never was");
        }
        // A flipped bit in manifest.json can change a tag; nothing but a digest covers those.
        assert!(original.iter().any(|known| known.config == image.config));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damage_never_gives_a_wrong_layer(
        at in any::<prop::sample::Index>(),
        bit in 0..8_u32,
        cut in any::<prop::sample::Index>(),
    ) {
        let (one, two) = (layer("one", b"1"), layer("two", &[7; 2000]));
        let archives = [
            saved_by_20_10([&one, &two]),
            saved_since_25([&one, &two], <[u8]>::to_vec),
            saved_since_25([&one, &two], gzip),
            saved_since_25([&one, &two], zstd),
        ];
        for archive in archives {
            let original = read(archive.as_slice(), &mut Memory::default()).expect("undamaged");
            let mut flipped = archive.clone();
            flipped[at.index(archive.len())] ^= 1 << bit;
            check_damaged(&flipped, &original, [&one, &two]);
            check_damaged(&archive[..cut.index(archive.len())], &original, [&one, &two]);
        }
    }

    #[test]
    fn garbage_is_refused(garbage in prop::collection::vec(any::<u8>(), 0..4000)) {
        prop_assert!(read(garbage.as_slice(), &mut Memory::default()).is_err());
    }
}
