#![no_main]

use std::time::{Duration, SystemTime};

use docker_layer_cache::image_layout::{Entry, EntryKind};
use docker_layer_cache::oci::{Descriptor, Digest, Platform, media_type};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    is_image: bool,
    texts: [String; 4],
    stage: Option<String>,
    seconds: u32,
    extra: std::collections::BTreeMap<String, String>,
}

// What is written of an entry is that entry.
fuzz_target!(|input: Input| {
    let [image, engine_class, key_base, key_full] = input.texts;
    let mut extra = input.extra;
    // Names of ours are not further annotations.
    extra.retain(|name, _| {
        !name.starts_with("dev.docker-layer-cache.") && !name.starts_with("org.")
    });
    let entry = Entry {
        kind: if input.is_image {
            EntryKind::StageImage
        } else {
            EntryKind::BuildCache
        },
        image,
        platform: Platform::linux_amd64(),
        engine_class,
        key_base,
        key_full,
        stage: input.stage,
        created: (SystemTime::UNIX_EPOCH + Duration::from_secs(input.seconds.into())).into(),
        steps: serde_json::Value::Null,
        extra,
    };
    let mut descriptor = Descriptor::new(media_type::OCI_MANIFEST, Digest::of(b"m"), 1);
    descriptor.annotations = entry.annotations(&descriptor.digest);
    assert_eq!(Entry::of(&descriptor), Some(entry));
    let index = docker_layer_cache::oci::ImageIndex::new(vec![descriptor]);
    docker_layer_cache::fuzzing::image_layout(&serde_json::to_vec(&index).expect("JSON"));
});
