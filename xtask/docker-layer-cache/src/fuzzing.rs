//! What the fuzzers of `fuzz/` drive: each function panics where something does not hold that must
//! hold for any input. Not part of the API.

use std::io::Read;

use crate::build_context::IgnoreRules;
use crate::buildkit_cache::{CacheConfig, CacheEntry, CacheGraph, InlineCache};
use crate::docker_archive::{LayerName, LayerSink};
use crate::engine::{BuildkitProgress, ClassicProgress, Step};
use crate::image_layout::Entry;
use crate::oci::{Descriptor, DiffId, Digest, ImageIndex, Platform, Reference};
use crate::task::images::Images;

/// Parses, prints, evaluates and rewrites a Dockerfile.
pub fn dockerfile(bytes: &[u8]) {
    crate::dockerfile::invariants::check_invariants(bytes);
}

/// Parses a reference; what is printed means the same.
pub fn reference(text: &str) {
    let Ok(reference) = text.parse::<Reference>() else {
        return;
    };
    let same = |text: &str| assert_eq!(text.parse::<Reference>().as_ref(), Ok(&reference));
    if !reference.domain().is_empty() {
        same(&reference.to_string());
        let first = reference.path().split('/').next().unwrap_or_default();
        // Docker's own short forms of `docker.io/a.b/c` mean `c` at the host `a.b`, and one that is
        // 64 hexadecimal digits means an image ID.
        if !(first == "localhost" || first.contains('.')) {
            same(&reference.familiar());
            if reference.context_name().len() != 64 {
                same(&reference.context_name());
            }
        }
    }
}

/// Parses a platform; what is printed means the same.
pub fn platform(text: &str) {
    if let Ok(platform) = text.parse::<Platform>() {
        assert_eq!(platform.to_string().parse().as_ref(), Ok(&platform));
    }
}

/// Parses an ignore file, up to the first NUL, and asks it for the paths behind that.
pub fn ignore_file(bytes: &[u8]) {
    let mut parts = bytes.split(|&byte| byte == 0);
    let Ok(rules) = IgnoreRules::parse(parts.next().unwrap_or_default()) else {
        return;
    };
    for path in ["a", "src/main.rs", "target/debug/.a", "ä b/[c]/d\\e"] {
        let _ = rules.keeps(path);
    }
    for path in parts.filter_map(|path| str::from_utf8(path).ok()) {
        let _ = rules.keeps(path);
    }
}

/// Parses a `WWW-Authenticate` header.
pub fn challenge(header: &str) {
    crate::registry::fuzzing::challenge(header);
}

/// Looks up credentials in a `config.json`.
pub fn docker_config(text: &str) {
    crate::registry::fuzzing::docker_config(text);
}

/// Reads a `docker save` archive: what comes of it was seen by the sink.
pub fn docker_archive(bytes: &[u8]) {
    struct Digests(Vec<DiffId>);
    impl LayerSink for Digests {
        fn known(&mut self, _: LayerName<'_>) -> Option<DiffId> {
            None
        }
        fn layer(&mut self, _: LayerName<'_>, mut tar: &mut dyn Read) -> std::io::Result<DiffId> {
            let mut digest = crate::oci::DigestWriter::new(std::io::sink());
            std::io::copy(&mut (&mut tar).take(16 << 20), &mut digest)?;
            let (_, digest, _) = digest.finish();
            self.0.push(DiffId(digest.clone()));
            Ok(DiffId(digest))
        }
    }
    let mut sink = Digests(Vec::new());
    if let Ok(images) = crate::docker_archive::read(bytes, &mut sink) {
        for diff_id in images.iter().flat_map(|image| &image.diff_ids) {
            assert!(sink.0.contains(diff_id));
        }
    }
}

/// Reads entries from an `index.json`: what is written of one means the same.
pub fn image_layout(bytes: &[u8]) {
    let Ok(index) = serde_json::from_slice::<ImageIndex>(bytes) else {
        return;
    };
    let written = serde_json::to_vec(&index).expect("an index is JSON");
    let again: ImageIndex = serde_json::from_slice(&written).expect("what is written is an index");
    assert_eq!(index, again);
    for mut descriptor in index.manifests {
        let Some(entry) = Entry::of(&descriptor) else {
            continue;
        };
        descriptor.annotations = entry.annotations(&descriptor.digest);
        assert_eq!(Entry::of(&descriptor).as_ref(), Some(&entry));
        let name = entry.name(&descriptor.digest);
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '/');
        assert!(name.chars().all(plain), "{name}");
    }
}

/// Parses a cache config: see [`cache_graph`].
pub fn cache_config(bytes: &[u8]) {
    let Ok(config) = CacheConfig::parse(bytes) else {
        return;
    };
    let layers: Vec<Descriptor> = config
        .layers
        .iter()
        .map(|layer| Descriptor::new(crate::oci::media_type::OCI_LAYER, layer.blob.clone(), 1))
        .collect();
    let graph = CacheGraph::from_config(&config, &layers).expect("what is checked can be read");
    cache_graph(&graph, &CacheGraph::default(), &|blob| {
        !blob.encoded().ends_with('0')
    });
}

/// Reads the records in the config of an image.
pub fn inline_cache(bytes: &[u8]) {
    use base64::Engine as _;
    let _ = InlineCache::from_image_config(bytes);
    let records = base64::engine::general_purpose::STANDARD.encode(bytes);
    let image = serde_json::json!({ "moby.buildkit.cache.v0": records }).to_string();
    let Ok(Some(inline)) = InlineCache::from_image_config(image.as_bytes()) else {
        return;
    };
    let layers: Vec<Descriptor> = (0..4_u8)
        .map(|n| Descriptor::new(crate::oci::media_type::OCI_LAYER, Digest::of(&[n]), 1))
        .collect();
    if let Ok(graph) = CacheGraph::from_inline(&inline, &layers) {
        cache_graph(&graph, &CacheGraph::default(), &|_| true);
    }
}

/// Merges, unifies, prunes and writes two caches.
pub fn cache_graph(a: &CacheGraph, b: &CacheGraph, available: &dyn Fn(&Digest) -> bool) {
    let merged = |a: &CacheGraph, b: &CacheGraph| {
        let mut merged = a.clone();
        merged.merge(b);
        merged
    };
    let graph = merged(a, b);
    assert_eq!(graph, merged(b, a));
    assert_eq!(rewritten(&graph), graph);

    let mut unified = graph.clone();
    let renamed = unified.unify();
    assert_eq!(rewritten(&unified), unified);
    let ids = unified.record_ids();
    assert!(
        graph
            .record_ids()
            .iter()
            .all(|id| ids.contains(renamed.of(id)))
    );
    let mut again = unified.clone();
    again.unify();
    assert_eq!(again, unified);

    let mut filled = a.clone();
    filled.fill(b);
    assert_eq!(rewritten(&filled), filled);

    let mut pruned = unified;
    pruned.prune(available);
    assert!(pruned.blobs().all(|blob| available(&blob.digest)));
    assert_eq!(rewritten(&pruned), pruned);

    let images = std::collections::BTreeMap::from([("a".to_owned(), a.clone())]);
    let older = CacheEntry::after_build(
        &std::collections::BTreeMap::from([
            ("a".to_owned(), b.clone()),
            ("b".to_owned(), b.clone()),
        ]),
        ["a", "b"],
        None,
    );
    let entry = CacheEntry::after_build(&images, ["a", "b"], Some(&older));
    for stage in ["a", "b"] {
        let part = entry.stages.part_of(&entry.graph, stage);
        assert!(part.is_some(), "the stage is there");
    }
    assert_eq!(rewritten(&entry.graph), entry.graph);
    let _ = CacheGraph::view([a, b]).write();
}

fn rewritten(graph: &CacheGraph) -> CacheGraph {
    let (config, blobs) = graph.to_config();
    let bytes = serde_json::to_vec(&config).expect("a config is JSON");
    let config = CacheConfig::parse(&bytes).expect("what is written can be read");
    CacheGraph::from_config(&config, &blobs).expect("what is written can be read")
}

/// Reads what a build prints.
pub fn progress(text: &str) {
    let stages = ["deps".to_owned(), "stage-1".to_owned()];
    let (mut buildkit, mut classic) = (BuildkitProgress::default(), ClassicProgress::default());
    for (n, line) in text.lines().enumerate() {
        buildkit.line(line);
        classic.line(line, f64::from(u32::try_from(n).unwrap_or_default()));
    }
    let json = |steps: &[Step]| serde_json::to_string(steps).expect("steps are JSON");
    for steps in [
        buildkit.steps(&stages),
        classic.steps(&stages, true),
        classic.steps(&stages, false),
    ] {
        assert!(
            steps
                .iter()
                .all(|step| step.seconds.is_finite() && step.seconds >= 0.0)
        );
        let again: Vec<Step> = serde_json::from_str(&json(&steps)).expect("what is written");
        assert_eq!(again.len(), steps.len());
    }
    let _ = (buildkit.errors(), classic.stage_images());
}

/// Parses an `images.toml`.
pub fn images_toml(text: &str) {
    match Images::parse(text, "docker/images.toml".into(), "/repository".into()) {
        Ok(images) => {
            for image in &images.list {
                let slug = image.slug();
                let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
                assert!(slug.starts_with(plain) && slug.ends_with(plain), "{slug}");
                assert!(slug.len() <= 64, "{slug}");
                let tag = format!("docker-layer-cache/{slug}:latest");
                assert!(tag.parse::<Reference>().is_ok(), "{tag}");
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
