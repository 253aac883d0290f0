//! Whether there is a login for a registry, without showing it.

use super::credentials::{Credentials, Found};

/// What is stored for one registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The kind of credentials.
    pub kind: LoginKind,
    /// What stood in the way of finding more, such as a credential helper that is not there. It
    /// shows no secret.
    pub problem: Option<String>,
}

/// The kinds of credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginKind {
    /// None.
    Anonymous,
    /// User and password, or user and access token.
    Password,
    /// A refresh token, or a bearer token.
    Token,
}

impl Login {
    pub(super) fn of(found: &Found) -> Self {
        Login {
            kind: match found.credentials {
                Credentials::Anonymous => LoginKind::Anonymous,
                Credentials::Password { .. } => LoginKind::Password,
                Credentials::IdentityToken(_) | Credentials::RegistryToken(_) => LoginKind::Token,
            },
            problem: found.problem.clone(),
        }
    }
}
