//! `BuildKit` cache configs: read, merged, pruned and written, without `BuildKit`.
//!
//! A graph-driver engine imports a cache of `type=local` but cannot export one. It does write the
//! same records into every image that is built with `--cache-to type=inline`. This module turns
//! those into the cache that the engine imports:
//!
//! ```text
//! image config ──▶ InlineCache ─┐                          ┌─▶ config blob    {layers, records}
//!   (moby.buildkit.cache.v0)    ├─▶ CacheGraph ─▶ written ─┤
//! cache config ──▶ CacheConfig ─┘   merge, fill            └─▶ manifest blob  config + layers
//!   (BuildKit's own export)         prune, subgraph
//! ```
//!
//! A *record* is one cache key: a digest, and for each of its inputs the records (one or several
//! that mean the same) that it stands on. Its *results* are chains of layers. Records of a config
//! name one another by index; a [`CacheGraph`] names them by [`RecordId`], which says what a
//! record is wherever it is written, so that caches can be laid over one another.
//!
//! After a build: every stage in which a step ran is built once more as a target with
//! `--cache-to type=inline` and *without* `--cache-from` (all its steps are in the engine by then;
//! with `--cache-from` the records lack results), and [`CacheEntry::after_build`] joins what these
//! images say with the entry before. Before a build: [`CacheGraph::view`] of the latest entries,
//! [`CacheGraph::prune`] by the blobs that are there, [`CacheGraph::write`].
//!
//! Nothing here reads or writes files, and nothing decides what a build hits: `BuildKit` does.
//!
//! Source: <https://github.com/moby/buildkit/blob/v0.13.2/cache/remotecache/v1/doc.go>

mod cache_config;
mod created_at;
mod inline;
mod record_order;
mod graph;
mod graph_read;
mod unify;
mod circles;
mod prune;
mod stage_layers;
mod stage_records;
mod cache_entry;
mod join_leaves;
mod written;
mod error;

pub use cache_config::{
    CacheConfig, CacheInput, CacheLayer, CacheRecord, CacheResult, ChainedResult,
};
pub use cache_entry::CacheEntry;
pub use created_at::CreatedAt;
pub use error::CacheConfigError;
pub use graph::{CacheGraph, ChainKey, GraphStats, RecordId};
pub use inline::InlineCache;
pub use prune::Pruned;
pub use stage_layers::StageSources;
pub use stage_records::StageRecords;
pub use unify::Renamed;
pub use written::{MAX_BLOB_BYTES, WrittenCache};

/// Annotation of a layer descriptor: the diff ID of the layer.
pub const UNCOMPRESSED_ANNOTATION: &str = "containerd.io/uncompressed";
/// Annotation of a layer descriptor: when the layer was made.
pub const CREATED_AT_ANNOTATION: &str = "buildkit/createdat";

#[cfg(test)]
mod tests;
