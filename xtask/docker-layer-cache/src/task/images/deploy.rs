//! `[deploy.NAME]` of `images.toml`: where what was pushed goes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::super::quantity::parse_age;
use super::super::tags::fill;
use crate::error::Error;

/// How long a service may take to run the new image, where nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(600);

/// One place where an image goes.
#[derive(Debug, Clone)]
pub(crate) struct Deploy {
    /// Its name in `images.toml`.
    pub(crate) name: String,
    /// The image.
    pub(crate) image: String,
    /// The repository that it comes from, where it is pushed to several: host and path.
    pub(crate) repository: Option<String>,
    /// How it goes there.
    pub(crate) way: Way,
}

/// How an image is deployed.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    /// To a service of Docker Swarm.
    Service {
        /// The service.
        service: String,
        /// How long it may take to converge.
        timeout: Duration,
    },
    /// By a program and its arguments, with placeholders.
    Command(Vec<String>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawDeploy {
    image: String,
    repository: Option<String>,
    service: Option<String>,
    #[serde(default)]
    command: Vec<String>,
    timeout: Option<String>,
}

/// Reads all of them, sorted by name. `known` are the images, where all are known by now.
pub(super) fn read(
    raw: BTreeMap<String, RawDeploy>,
    known: Option<&[&str]>,
) -> Result<Vec<Deploy>, Error> {
    raw.into_iter()
        .map(|(name, raw)| {
            raw.into_deploy(&name, known)
                .map_err(|error| error.during(format_args!("deploy `{name}`")))
        })
        .collect()
}

impl RawDeploy {
    fn into_deploy(self, name: &str, known: Option<&[&str]>) -> Result<Deploy, Error> {
        let image = self.image;
        if let Some(known) = known.filter(|known| !known.contains(&image.as_str())) {
            let error = Error::usage(format_args!("there is no image `{image}`"));
            return Err(match super::nearest(&image, known.iter().copied()) {
                Some(near) => error.with_hint(format_args!("did you mean `{near}`?")),
                None => error,
            });
        }
        let timeout = self.timeout.as_deref().map(parse_age).transpose();
        let timeout = timeout.map_err(|error| Error::usage(format_args!("timeout: {error}")))?;
        let way = match (self.service, self.command) {
            (Some(service), command) if command.is_empty() && !service.is_empty() => Way::Service {
                service,
                timeout: timeout.unwrap_or(TIMEOUT),
            },
            (None, command) if !command.is_empty() => {
                if timeout.is_some() {
                    return Err(Error::usage("`timeout` is for a service"));
                }
                for word in &command {
                    fill("word", word, &[("image", ""), ("digest", ""), ("tag", "")])?;
                }
                Way::Command(command)
            }
            _ => {
                return Err(Error::usage("it has not one of `service` and `command`")
                    .with_hint(
                        "`service = \"web\"`, or `command = [\"kubectl\", \"set\", \"image\", …, \"web={image}@{digest}\"]`",
                    ));
            }
        };
        Ok(Deploy {
            name: name.to_owned(),
            image,
            repository: self.repository,
            way,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Images;

    #[test]
    fn deploys_are_read_and_refused_by_what_is_wrong() {
        let parse = |text: &str| {
            let text = format!("[image.app]\n[deploy.web]\n{text}");
            Images::parse(&text, "images.toml".into(), "/r".into())
        };
        for good in [
            "image = \"app\"\nservice = \"web\"\n",
            "image = \"app\"\nservice = \"web\"\ntimeout = \"2h\"\n",
            "image = \"app\"\ncommand = [\"kubectl\", \"x={image}@{digest}\", \"{tag}\"]\n",
        ] {
            assert_eq!(parse(good).expect(good).deploys.len(), 1);
        }
        for (wrong, expected) in [
            ("image = \"ap\"\nservice = \"web\"\n", "no image `ap`"),
            ("image = \"app\"\n", "not one of `service` and `command`"),
            (
                "image = \"app\"\nservice = \"web\"\ncommand = [\"x\"]\n",
                "not one of",
            ),
            (
                "image = \"app\"\ncommand = [\"x\", \"{digests}\"]\n",
                "unknown placeholder `{digests}`",
            ),
            (
                "image = \"app\"\ncommand = [\"x\"]\ntimeout = \"1h\"\n",
                "`timeout` is for a service",
            ),
            ("image = \"app\"\nservise = \"web\"\n", "unknown field"),
        ] {
            let error = parse(wrong).expect_err(wrong).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
