#![no_main]

//! Archives whose headers are right: the fuzzer chooses names, kinds and contents.

use docker_layer_cache::oci::Digest;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Item {
    Blob(Vec<u8>),
    File(Name, Vec<u8>),
    Config(Vec<u8>),
    Link(Name, Name),
    HardLink(Name, Name),
    Folder(Name),
    Manifest(Vec<(u8, Vec<u8>)>),
}

#[derive(Arbitrary, Debug)]
enum Name {
    Layer(u8),
    Blob(u8),
    Up(Box<Name>),
    Any(String),
}

fuzz_target!(|items: Vec<Item>| {
    let mut tar = tar::Builder::new(Vec::new());
    let mut paths: Vec<String> = Vec::new();
    for item in items.iter().take(24) {
        let mut link = String::new();
        let (path, kind, bytes) = match item {
            Item::Blob(bytes) => (blob(bytes), tar::EntryType::Regular, bytes.clone()),
            Item::File(name, bytes) => (name.text(), tar::EntryType::Regular, bytes.clone()),
            Item::Config(layers) => {
                let diff_ids: Vec<Digest> = layers.iter().map(|n| Digest::of(&[*n])).collect();
                let config = serde_json::json!({"os": "linux", "architecture": "amd64",
                    "rootfs": {"type": "layers", "diff_ids": diff_ids}})
                .to_string()
                .into_bytes();
                (blob(&config), tar::EntryType::Regular, config)
            }
            Item::Link(name, to) => {
                link = to.text();
                (name.text(), tar::EntryType::Symlink, Vec::new())
            }
            Item::HardLink(name, to) => {
                link = to.text();
                (name.text(), tar::EntryType::Link, Vec::new())
            }
            Item::Folder(name) => (name.text(), tar::EntryType::Directory, Vec::new()),
            Item::Manifest(images) => {
                let path = |n: &u8| match paths.len() {
                    0 => "none".to_owned(),
                    length => paths[usize::from(*n) % length].clone(),
                };
                let images: Vec<_> = images
                    .iter()
                    .map(|(config, layers)| {
                        serde_json::json!({"Config": path(config), "RepoTags": null,
                            "Layers": layers.iter().map(path).collect::<Vec<_>>()})
                    })
                    .collect();
                let manifest = serde_json::to_vec(&images).expect("JSON");
                (
                    "manifest.json".to_owned(),
                    tar::EntryType::Regular,
                    manifest,
                )
            }
        };
        let mut header = tar::Header::new_gnu();
        put(&mut header.as_old_mut().name, &path);
        put(&mut header.as_old_mut().linkname, &link);
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        tar.append(&header, &bytes[..]).expect("a Vec takes all");
        paths.push(path);
    }
    let archive = tar.into_inner().expect("a Vec takes all");
    docker_layer_cache::fuzzing::docker_archive(&archive);
});

impl Name {
    fn text(&self) -> String {
        match self {
            Self::Layer(n) => format!("{}/layer.tar", n % 8),
            Self::Blob(n) => blob(&[*n]),
            Self::Up(name) => format!("../{}", name.text()),
            Self::Any(text) => text.clone(),
        }
    }
}

fn blob(bytes: &[u8]) -> String {
    format!("blobs/sha256/{}", Digest::of(bytes).encoded())
}

fn put(field: &mut [u8], text: &str) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text.as_bytes()[..length]);
}
