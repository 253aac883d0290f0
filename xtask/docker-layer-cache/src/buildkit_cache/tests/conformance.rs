//! What real engines wrote: Docker 28.5 (`BuildKit` 0.25) on one build of four stages.
//!
//! `stage_images.json` are the configs of its stage images, built on a graph driver with
//! `--cache-to type=inline`; `export_*.json` are what the containerd image store exported of the
//! same build with `--cache-to type=local,mode=max`.

use super::*;

const STAGE_IMAGES: &str =
    include_str!("../../../tests/conformance/buildkit_cache/stage_images.json");
const EXPORT_CONFIG: &str =
    include_str!("../../../tests/conformance/buildkit_cache/export_config.json");
const EXPORT_MANIFEST: &str =
    include_str!("../../../tests/conformance/buildkit_cache/export_manifest.json");

fn stage_images() -> BTreeMap<String, CacheGraph> {
    let images: Vec<Value> = serde_json::from_str(STAGE_IMAGES).expect("json");
    let graph = |image: &Value| {
        let config = image["config"].to_string();
        let inline = InlineCache::from_image_config(config.as_bytes())
            .expect("valid")
            .expect("an inline cache");
        let diff_ids = image["config"]["rootfs"]["diff_ids"]
            .as_array()
            .expect("diff IDs");
        let layers: Vec<Descriptor> = diff_ids
            .iter()
            .map(|id| layer(id.as_str().expect("text")))
            .collect();
        CacheGraph::from_inline(&inline, &layers).expect("valid")
    };
    let stage = |image: &Value| image["stage"].as_str().expect("text").to_owned();
    images
        .iter()
        .map(|image| (stage(image), graph(image)))
        .collect()
}

fn export() -> CacheGraph {
    let config = CacheConfig::parse(EXPORT_CONFIG.as_bytes()).expect("valid");
    let manifest: crate::oci::ImageManifest =
        serde_json::from_str(EXPORT_MANIFEST).expect("a manifest");
    let graph = CacheGraph::from_config(&config, &manifest.layers).expect("valid");
    assert_eq!(graph.stats().records, config.records.len());
    assert_eq!(graph.chains.len(), config.layers.len());
    assert_eq!(graph.blobs.len(), manifest.layers.len());
    graph
}

/// Each record with the heights of its results.
fn shape(graph: &CacheGraph) -> BTreeMap<RecordId, Vec<usize>> {
    let height = |chain: &ChainKey| graph.layers(chain).count();
    let shape = |(id, record): (&RecordId, &graph::Record)| {
        (id.clone(), record.results.keys().map(height).collect())
    };
    graph.records.iter().map(shape).collect()
}

#[test]
fn stage_images_give_what_buildkit_exports() {
    let images = stage_images();
    let stages = ["build", "deps", "runtime", "tool"];
    let entry = CacheEntry::after_build(&images, stages, None);
    assert_eq!(shape(&entry.graph), shape(&export()));
    assert_eq!(entry.graph.stats().records_with_results, 15);
    assert_eq!(entry.stages.stages().collect::<Vec<_>>(), stages);
}

#[test]
fn what_buildkit_exports_is_in_normal_form() {
    let export = export();
    let mut unified = export.clone();
    assert_eq!(unified.unify(), Renamed::default());
    assert_eq!(unified, export);
    let written = export.write().expect("small");
    let config = CacheConfig::parse(&written.config).expect("valid");
    let mut theirs = CacheConfig::parse(EXPORT_CONFIG.as_bytes())
        .expect("valid")
        .records;
    let mut ours = config.records;
    // Indexes differ, since ours come in another order; all that does not speak of order is equal.
    for record in theirs.iter_mut().chain(&mut ours) {
        for result in &mut record.results {
            result.layer = 0;
        }
        for input in &mut record.inputs {
            for link in &mut *input {
                link.link = 0;
            }
            input.sort_by(|a, b| a.selector.cmp(&b.selector));
        }
    }
    let key = |record: &CacheRecord| serde_json::to_string(record).expect("json");
    theirs.sort_by_key(key);
    ours.sort_by_key(key);
    assert_eq!(ours, theirs);
}

#[test]
fn a_stage_that_was_a_hit_is_carried_over_whole() {
    let mut images = stage_images();
    let stages = ["build", "deps", "runtime", "tool"];
    let whole = CacheEntry::after_build(&images, stages, None);
    images.remove("tool");
    images.remove("deps");
    assert_eq!(
        CacheEntry::after_build(&images, stages, Some(&whole)),
        whole
    );
    assert_eq!(
        CacheEntry::after_build(&BTreeMap::new(), stages, Some(&whole)),
        whole
    );
    let alone = CacheEntry::after_build(&BTreeMap::new(), ["tool"], Some(&whole));
    assert_eq!(alone.graph.stats().records_with_results, 1);
}
