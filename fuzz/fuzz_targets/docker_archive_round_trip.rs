#![no_main]

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};

use docker_layer_cache::docker_archive::{
    ArchiveImage, ArchiveLayer, ArchiveLayout, LayerName, LayerSink, read, write,
};
use docker_layer_cache::oci::{DiffId, Digest};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Archive {
    oci: bool,
    images: Vec<Image>,
}

#[derive(Arbitrary, Debug)]
struct Image {
    tags: Vec<String>,
    /// The content of each layer's file, and whether the engine has the layer.
    layers: Vec<(Vec<u8>, bool)>,
    label: String,
}

fuzz_target!(|input: Archive| {
    let mut tars: BTreeMap<DiffId, Vec<u8>> = BTreeMap::new();
    let images: Vec<ArchiveImage> = input
        .images
        .iter()
        .take(4)
        .map(|image| image.build(&mut tars))
        .collect();
    let layout = if input.oci {
        ArchiveLayout::Oci
    } else {
        ArchiveLayout::Legacy
    };
    let mut archive = Vec::new();
    let written = write(&mut archive, layout, &images, |layer| {
        Ok(Cursor::new(tars[&layer.diff_id].clone()))
    })
    .expect("all layers are there");
    assert_eq!(written.archive_bytes, archive.len() as u64);

    let mut sink = Memory::default();
    let saved = read(&archive[..], &mut sink);
    if written.left_out > 0 {
        // Only an engine that has the layers can read it.
        assert!(saved.is_err());
        return;
    }
    let saved = saved.expect("what is written can be read");
    assert_eq!(saved.len(), images.len());
    for (saved, image) in saved.iter().zip(&images) {
        assert_eq!(saved.config, image.config);
        assert_eq!(saved.repo_tags, image.repo_tags);
        let diff_ids: Vec<_> = image
            .layers
            .iter()
            .map(|layer| layer.diff_id.clone())
            .collect();
        assert_eq!(saved.diff_ids, diff_ids);
    }
    for (diff_id, bytes) in &sink.read {
        assert_eq!(&tars[diff_id], bytes);
    }
    // Half of it is no archive.
    let half = &archive[..archive.len() / 2];
    assert!(images.is_empty() || read(half, &mut Memory::default()).is_err());
});

impl Image {
    fn build(&self, tars: &mut BTreeMap<DiffId, Vec<u8>>) -> ArchiveImage {
        let layers: Vec<ArchiveLayer> = self
            .layers
            .iter()
            .take(6)
            .map(|(content, left_out)| {
                let tar = tar_of(content);
                let diff_id = DiffId(Digest::of(&tar));
                let mut layer = ArchiveLayer::uncompressed(diff_id.clone(), tar.len() as u64);
                layer.left_out = *left_out;
                tars.insert(diff_id, tar);
                layer
            })
            .collect();
        let diff_ids: Vec<&Digest> = layers.iter().map(|layer| &layer.diff_id.0).collect();
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux",
            "config": {"Labels": {"label": self.label}},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        ArchiveImage {
            repo_tags: self.tags.clone(),
            config: config.to_string().into_bytes(),
            layers,
        }
    }
}

fn tar_of(content: &[u8]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, "file", content)
        .expect("a Vec takes all");
    tar.into_inner().expect("a Vec takes all")
}

#[derive(Default)]
struct Memory {
    read: BTreeMap<DiffId, Vec<u8>>,
}

impl LayerSink for Memory {
    fn known(&mut self, _: LayerName<'_>) -> Option<DiffId> {
        None
    }

    fn layer(&mut self, _: LayerName<'_>, tar: &mut dyn Read) -> io::Result<DiffId> {
        let mut bytes = Vec::new();
        tar.read_to_end(&mut bytes)?;
        let diff_id = DiffId(Digest::of(&bytes));
        self.read.insert(diff_id.clone(), bytes);
        Ok(diff_id)
    }
}
