//! An image for several platforms: one image for each, which are keyed, built and stored by
//! themselves.

use super::Image;
use crate::oci::Platform;

impl Image {
    /// Returns the image once for each of its platforms, in an order that does not depend on that
    /// of the configuration; by itself where it has one platform or the engine's.
    pub(crate) fn for_each_platform(mut self, mut platforms: Vec<Platform>) -> Vec<Image> {
        platforms.sort_by_key(|platform| platform.normalized().to_string());
        platforms.dedup_by_key(|platform| platform.normalized());
        if platforms.len() < 2 {
            self.platform = platforms.pop();
            self.all_platforms = Vec::new();
            return vec![self];
        }
        self.all_platforms = platforms;
        self.siblings()
    }

    /// Returns the image for each of its platforms, itself included.
    pub(crate) fn siblings(&self) -> Vec<Image> {
        let with = |platform: &Platform| Image {
            platform: Some(platform.clone()),
            ..self.clone()
        };
        self.all_platforms.iter().map(with).collect()
    }

    /// Tells whether this is the last of an image's several platforms.
    pub(crate) fn is_last_platform(&self) -> bool {
        self.all_platforms.last().is_some() && self.all_platforms.last() == self.platform.as_ref()
    }

    /// Returns what people are told that this is: the name, with the platform where there are
    /// several.
    pub(crate) fn label(&self) -> String {
        match self.platform_of_several() {
            Some(platform) => format!("{} {platform}", self.name),
            None => self.name.clone(),
        }
    }

    /// Returns the name under which the engine keeps the images of the stages: those of several
    /// platforms do not take one another's.
    pub(crate) fn stage_repository(&self) -> String {
        match self.platform_of_several() {
            Some(platform) => format!("{}@{platform}", self.name),
            None => self.name.clone(),
        }
    }

    /// Returns the beginning of the names of the files about this image for this platform. A slug
    /// has no `@`, so no other image has the same.
    pub(crate) fn file_stem(&self) -> String {
        match self.platform_of_several() {
            Some(platform) => format!("{}@{}", self.slug(), dashed(platform)),
            None => self.slug(),
        }
    }

    /// Returns the tags of the result on an engine of the platform `engine`, of what the tags of the
    /// configuration have become.
    ///
    /// A tag of an engine holds one platform. Of several, each has its tags with the platform behind
    /// them; the engine's own, or else the first, has also the tags as they are.
    pub(crate) fn tags_on(&self, tags: &[String], engine: &Platform) -> Vec<String> {
        let Some(platform) = self.platform_of_several() else {
            return tags.to_vec();
        };
        let normalized = |platform: &Platform| platform.normalized();
        let mut platforms = self.all_platforms.iter();
        let plain = platforms
            .find(|platform| normalized(platform) == normalized(engine))
            .or(self.all_platforms.first());
        let mut found = if plain == Some(platform) {
            tags.to_vec()
        } else {
            Vec::new()
        };
        found.extend(self.own_tags(tags));
        found
    }

    /// Returns the tags that no other platform has: of several, with the platform behind them.
    pub(crate) fn own_tags(&self, tags: &[String]) -> Vec<String> {
        match self.platform_of_several() {
            None => tags.to_vec(),
            Some(platform) => {
                let suffix = dashed(platform);
                tags.iter().map(|tag| with_suffix(tag, &suffix)).collect()
            }
        }
    }

    fn platform_of_several(&self) -> Option<&Platform> {
        self.platform
            .as_ref()
            .filter(|_| !self.all_platforms.is_empty())
    }
}

/// Returns a tag with `-<suffix>` behind its tag part, which is `latest` where there is none.
fn with_suffix(tag: &str, suffix: &str) -> String {
    let name = tag.rsplit_once('/').map_or(tag, |(_, name)| name);
    if name.contains(':') {
        format!("{tag}-{suffix}")
    } else {
        format!("{tag}:latest-{suffix}")
    }
}

/// Returns `linux-arm64`, or `linux-arm-v7`: fit for a file name and a tag.
fn dashed(platform: &Platform) -> String {
    platform
        .to_string()
        .chars()
        .map(|c| match c {
            '/' | '(' => '-',
            c => c,
        })
        .filter(|c| *c != ')')
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::Images;
    use super::*;

    fn images(platforms: &str) -> Vec<Image> {
        let text = format!("[image.app]\ntags = [\"host:5/app\", \"app:1\"]\n{platforms}");
        let images = Images::parse(&text, "images.toml".into(), "/r".into()).expect("it is right");
        let image = images.list.into_iter().next().expect("one image");
        let platforms = image.all_platforms.clone();
        image.for_each_platform(platforms)
    }

    #[test]
    fn one_platform_has_the_names_that_it_always_had() {
        for platforms in [
            "",
            "platforms = [\"arm64\"]",
            "platforms = [\"arm64\", \"linux/arm64/v8\"]",
        ] {
            let [image] = images(platforms).try_into().expect("one image");
            assert_eq!(image.file_stem(), "app");
            assert_eq!(image.stage_repository(), "app");
            assert_eq!(image.label(), "app");
            assert_eq!(
                image.tags_on(&image.tags, &Platform::linux_amd64()),
                ["host:5/app", "app:1"]
            );
            assert!(!image.is_last_platform());
        }
    }

    #[test]
    fn several_platforms_in_any_order() {
        for platforms in [
            "\"arm64\", \"linux/arm/v7\", \"amd64\"",
            "\"amd64\", \"arm64\", \"arm\"",
        ] {
            let [amd64, arm, arm64] = images(&format!("platforms = [{platforms}]"))
                .try_into()
                .expect("three images");
            assert_eq!(amd64.file_stem(), "app@linux-amd64");
            assert_eq!(arm64.label(), "app linux/arm64");
            assert!(arm64.is_last_platform() && !arm.is_last_platform());
            let suffixed = ["host:5/app:latest-linux-arm64", "app:1-linux-arm64"];
            assert_eq!(
                arm64.tags_on(&arm64.tags, &Platform::linux_amd64()),
                suffixed
            );
            assert_eq!(
                arm64
                    .tags_on(&arm64.tags, &Platform::new("linux", "arm64"))
                    .len(),
                4
            );
            let riscv = Platform::new("linux", "riscv64");
            assert_eq!(amd64.tags_on(&amd64.tags, &riscv).len(), 4);
            assert_eq!(arm64.tags_on(&arm64.tags, &riscv), suffixed);
        }
    }
}
