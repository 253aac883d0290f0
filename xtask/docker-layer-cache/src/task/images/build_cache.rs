//! The strategy of an image, and the build cache that `BuildKit` keeps for it elsewhere.

use std::collections::BTreeMap;

use super::Image;
use crate::engine::{RemoteCache, Strategy, StrategyError};
use crate::error::Error;

/// Two images would write over each other's cache.
pub(super) fn check_build_caches(images: &[Image]) -> Result<(), Error> {
    let with = |image: &&Image| image.build_cache.is_some();
    for (at, image) in images.iter().enumerate().filter(|(_, image)| with(image)) {
        let same = |other: &&Image| other.build_cache == image.build_cache;
        if let Some(other) = images[..at].iter().find(same) {
            return Err(Error::usage(format_args!(
                "images `{}` and `{}` have the same `build-cache`, and would write over each other's",
                other.name, image.name
            )));
        }
    }
    Ok(())
}

/// Reads `strategy` and `build-cache`, which excludes any other one.
pub(super) fn strategy(
    strategy: Option<&str>,
    build_cache: Option<BTreeMap<String, String>>,
) -> Result<(Option<Strategy>, Option<RemoteCache>), String> {
    let Some(fields) = build_cache else {
        let strategy = strategy.map(str::parse).transpose();
        return Ok((
            strategy.map_err(|error: StrategyError| error.to_string())?,
            None,
        ));
    };
    if strategy.is_some() {
        return Err("`build-cache` is a strategy of its own: leave `strategy` out".to_owned());
    }
    let cache = RemoteCache::new(fields).map_err(|error| format!("build-cache: {error}"))?;
    Ok((Some(Strategy::RemoteBuildCache), Some(cache)))
}
