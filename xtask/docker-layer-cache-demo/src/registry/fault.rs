//! What a registry can be told to do wrong.

use std::time::Duration;

use super::route::Answer;

/// A way in which a registry fails.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// 401 with a Basic challenge, whatever the client sends.
    Unauthorized,
    /// 404 for everything.
    NotFound,
    /// 429, as Docker Hub answers when the pull limit is reached.
    TooManyRequests {
        /// What `Retry-After` says, in whole seconds.
        retry_after: Duration,
    },
    /// 500.
    Failing,
    /// 503.
    Unavailable,
    /// The right answer, late.
    Slow(Duration),
}

impl Fault {
    /// Returns the answer that replaces the right one; `None` where the right one is only late.
    pub(super) fn answer(&self) -> Option<Answer> {
        match self {
            Self::Unauthorized => Some(
                Answer::error(401, "UNAUTHORIZED", "authentication required")
                    .header("WWW-Authenticate", "Basic realm=\"loopback\""),
            ),
            Self::NotFound => Some(Answer::error(404, "NAME_UNKNOWN", "repository not known")),
            Self::TooManyRequests { retry_after } => Some(
                Answer::error(429, "TOOMANYREQUESTS", "pull rate limit reached")
                    .header("Retry-After", &retry_after.as_secs().to_string()),
            ),
            Self::Failing => Some(Answer::error(500, "UNKNOWN", "something went wrong")),
            Self::Unavailable => Some(Answer::error(503, "UNAVAILABLE", "service unavailable")),
            Self::Slow(_) => None,
        }
    }
}
