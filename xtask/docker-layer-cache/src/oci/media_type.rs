//! Media types that we read or write.

/// OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI image config.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// OCI layer, uncompressed tar.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// OCI layer, gzip.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// OCI layer, zstd: what the store writes.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Docker image manifest, version 2, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker manifest list.
pub const DOCKER_MANIFEST_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker image config.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Docker layer, gzip.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Docker image manifest, version 2, schema 1 (refused: it has no digest of a config).
pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
/// `BuildKit` cache config, the config blob of a build cache.
///
/// Source: <https://github.com/moby/buildkit/blob/v0.25.0/cache/remotecache/v1/spec.go>
pub const BUILDKIT_CACHE_CONFIG: &str = "application/vnd.buildkit.cacheconfig.v0";
/// The config blob of a cache mount in the store: JSON, what the manifest is for people.
pub const CACHE_MOUNT_CONFIG: &str =
    "application/vnd.docker-layer-cache.cache-mount.config.v1+json";
/// What is in a cache mount: text, zstd.
pub const CACHE_MOUNT_LISTING: &str =
    "application/vnd.docker-layer-cache.cache-mount.listing.v1+zstd";
/// Files of a cache mount, one behind the other: zstd.
pub const CACHE_MOUNT_PACK: &str = "application/vnd.docker-layer-cache.cache-mount.pack.v1+zstd";
