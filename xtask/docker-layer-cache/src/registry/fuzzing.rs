//! What the fuzzers drive.

use super::challenge::parse_challenges;
use super::credentials::{CredentialStore, Credentials};
use super::options::ClientOptions;

/// Parses a `WWW-Authenticate` header; what is found comes out of what is written of it.
pub(crate) fn challenge(header: &str) {
    let challenges = parse_challenges(header);
    let written: Vec<String> = challenges
        .iter()
        .map(|challenge| {
            let parameters: Vec<String> = challenge
                .parameters
                .iter()
                .map(|(name, value)| {
                    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
                    format!("{name}=\"{value}\"")
                })
                .collect();
            format!("{} {}", challenge.scheme, parameters.join(", "))
        })
        .collect();
    assert_eq!(
        parse_challenges(&written.join(", ")),
        challenges,
        "{written:?} of {header:?}"
    );
}

/// Looks up credentials in a `config.json`, without helpers; no problem that is told has a secret.
pub(crate) fn docker_config(config: &str) {
    let mut options = ClientOptions::anonymous();
    options.docker_auth_config = Some(config.to_owned());
    // There is none, so none is ever run.
    options.credential_helpers = Some("/nowhere".into());
    let store = CredentialStore::new(options);
    for registry in ["docker.io", "ghcr.io", "localhost:5000", "a"] {
        let found = store.find(registry);
        let secret = match &found.credentials {
            Credentials::Anonymous => continue,
            Credentials::Password { password, .. } => password,
            Credentials::IdentityToken(token) | Credentials::RegistryToken(token) => token,
        };
        // Shorter ones are found in any text by chance.
        if secret.expose().len() > 20 {
            let told = format!("{found:?}");
            assert!(!told.contains(secret.expose()), "{told}");
        }
    }
}
