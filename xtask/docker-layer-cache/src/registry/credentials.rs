//! Which credentials a registry gets.
//!
//! In this order: `DOCKER_LAYER_CACHE_AUTH_<HOST>`, `DOCKER_AUTH_CONFIG`, and of Docker's
//! `config.json` first `credHelpers`, then `credsStore`, then `auths`.
//!
//! Source: <https://github.com/docker/cli/blob/v28.5.2/cli/config/configfile/file.go#L290>

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;

use super::credential_helper::{self, HelperAnswer};
use super::options::ClientOptions;
use super::secret::Secret;

/// The name under which Docker stores the login to Docker Hub.
const DOCKER_HUB_SERVER: &str = "https://index.docker.io/v1/";

/// `docker login` writes padded base64; people who write the file by hand do not always.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What one registry gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    /// Nothing is known.
    Anonymous,
    /// User and password.
    Password { user: String, password: Secret },
    /// A refresh token: traded for access tokens at the token server.
    IdentityToken(Secret),
    /// A bearer token, sent as it is.
    RegistryToken(Secret),
}

/// What was found for one registry, and what stood in the way of finding more.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) credentials: Credentials,
    pub(super) problem: Option<String>,
}

/// Looks credentials up, once per registry.
pub(super) struct CredentialStore {
    environment: BTreeMap<String, String>,
    /// `DOCKER_AUTH_CONFIG`, then `config.json`.
    configs: Vec<DockerConfig>,
    helpers: Option<Utf8PathBuf>,
    problems: Vec<String>,
    found: Mutex<HashMap<String, Arc<OnceLock<Found>>>>,
}

/// What we read of `config.json`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DockerConfig {
    #[serde(default, deserialize_with = "null_is_default")]
    auths: BTreeMap<String, AuthEntry>,
    #[serde(default, deserialize_with = "null_is_default")]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null_is_default")]
    creds_store: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AuthEntry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

impl CredentialStore {
    /// Reads Docker's configuration. What is unreadable is a problem that is told when a
    /// registry asks for credentials, since most registries never do.
    pub(super) fn new(options: ClientOptions) -> Self {
        let mut problems = Vec::new();
        let auth_config = options.docker_auth_config.as_ref().and_then(|text| {
            parse_config(text)
                .map_err(|cause| problems.push(format!("`DOCKER_AUTH_CONFIG`: {cause}")))
                .ok()
        });
        let docker_config = options.docker_config.as_ref().and_then(|folder| {
            let path = folder.join("config.json");
            match std::fs::read_to_string(&path) {
                Ok(text) => parse_config(&text)
                    .map_err(|cause| problems.push(format!("`{path}`: {cause}")))
                    .ok(),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                Err(error) => {
                    problems.push(format!("`{path}`: {error}"));
                    None
                }
            }
        });
        Self {
            environment: options.environment_credentials,
            configs: auth_config.into_iter().chain(docker_config).collect(),
            helpers: options.credential_helpers,
            problems,
            found: Mutex::default(),
        }
    }

    /// Returns the credentials for a registry, `docker.io` for Docker Hub.
    pub(super) fn find(&self, registry: &str) -> Found {
        let slot = self
            .found
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(registry.to_owned())
            .or_default()
            .clone();
        // Not under the lock of the table: a helper may take seconds.
        slot.get_or_init(|| self.look_up(registry)).clone()
    }

    fn look_up(&self, registry: &str) -> Found {
        let mut problems = self.problems.clone();
        let credentials = self
            .look_up_in_environment(registry, &mut problems)
            .or_else(|| {
                self.configs.iter().find_map(|config| {
                    config.find(registry, self.helpers.as_deref(), &mut problems)
                })
            })
            .unwrap_or(Credentials::Anonymous);
        Found {
            credentials,
            problem: (!problems.is_empty()).then(|| problems.join("; ")),
        }
    }

    fn look_up_in_environment(
        &self,
        registry: &str,
        problems: &mut Vec<String>,
    ) -> Option<Credentials> {
        let name = variable_suffix(registry);
        let value = self.environment.get(&name)?;
        let Some((user, password)) = value.split_once(':') else {
            problems.push(format!(
                "`{}{name}` is not `user:password`",
                super::options::AUTH_VARIABLE_PREFIX
            ));
            return None;
        };
        Some(password_or_token(user, password))
    }
}

impl DockerConfig {
    fn find(
        &self,
        registry: &str,
        helpers: Option<&Utf8Path>,
        problems: &mut Vec<String>,
    ) -> Option<Credentials> {
        let names = server_names(registry);
        let helper = names
            .iter()
            .find_map(|name| self.cred_helpers.get(name))
            .or((!self.creds_store.is_empty()).then_some(&self.creds_store));
        if let Some(helper) = helper {
            // Docker asks with the name that `docker login` stored: for Docker Hub that is the
            // old URL, for everything else the host.
            match credential_helper::get(helpers, helper, &names[0]) {
                Ok(HelperAnswer::Found { user, secret }) => {
                    return Some(password_or_token(&user, &secret));
                }
                Ok(HelperAnswer::NotFound) => {}
                Err(error) => problems.push(error),
            }
        }
        names
            .iter()
            .find_map(|name| self.auths.get(name))
            .or_else(|| {
                // Older logins are stored under URLs of any form.
                self.auths
                    .iter()
                    .find(|(server, _)| {
                        names
                            .iter()
                            .any(|name| host_of_server(server) == host_of_server(name))
                    })
                    .map(|(_, entry)| entry)
            })
            .and_then(|entry| entry.credentials(registry, problems))
    }
}

impl AuthEntry {
    fn credentials(&self, registry: &str, problems: &mut Vec<String>) -> Option<Credentials> {
        if !self.registrytoken.is_empty() {
            return Some(Credentials::RegistryToken(Secret::new(&self.registrytoken)));
        }
        if !self.identitytoken.is_empty() {
            return Some(Credentials::IdentityToken(Secret::new(&self.identitytoken)));
        }
        if !self.auth.is_empty() {
            let decoded = BASE64
                .decode(self.auth.trim())
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok());
            let Some((user, password)) = decoded.as_deref().and_then(|text| text.split_once(':'))
            else {
                problems.push(format!(
                    "`auth` of `{registry}` is not base64 of `user:password`"
                ));
                return None;
            };
            // Old versions of Docker padded with NULs.
            return Some(password_or_token(user, password.trim_matches('\0')));
        }
        if !self.username.is_empty() {
            return Some(password_or_token(&self.username, &self.password));
        }
        None
    }
}

/// Returns what the helpers' convention means: the user `<token>` marks an identity token.
fn password_or_token(user: &str, secret: &str) -> Credentials {
    if user == "<token>" {
        Credentials::IdentityToken(Secret::new(secret))
    } else {
        Credentials::Password {
            user: user.to_owned(),
            password: Secret::new(secret),
        }
    }
}

/// Returns the names that a login can be stored under, the usual one first.
fn server_names(registry: &str) -> Vec<String> {
    if registry == "docker.io" {
        [
            DOCKER_HUB_SERVER,
            "index.docker.io",
            "docker.io",
            "registry-1.docker.io",
        ]
        .map(str::to_owned)
        .to_vec()
    } else {
        vec![registry.to_owned(), format!("https://{registry}")]
    }
}

/// Returns the host of `https://host/v1/`, in lower case.
fn host_of_server(server: &str) -> String {
    let rest = server
        .strip_prefix("https://")
        .or_else(|| server.strip_prefix("http://"))
        .unwrap_or(server);
    rest.split('/')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase()
}

/// Returns how a host is written in the name of a variable: `ghcr.io` is `GHCR_IO`.
fn variable_suffix(host: &str) -> String {
    host.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect()
}

/// The place of an error, never its text: serde's messages quote what they choke on.
fn parse_config(text: &str) -> Result<DockerConfig, String> {
    if text.trim().is_empty() {
        return Ok(DockerConfig::default());
    }
    // A BOM is what Windows editors leave behind.
    serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| {
        format!(
            "not a Docker configuration (line {}, column {})",
            error.line(),
            error.column()
        )
    })
}

fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests;
