//! From an answer that is not 2xx to an error.

use std::time::SystemTime;

use reqwest::StatusCode;
use serde::Deserialize;

use super::error::{ErrorCode, ErrorKind, RegistryError};
use super::exchange::MAX_ERROR_BYTES;
use super::retry;
use super::transport::Answer;

/// Returns the error that an answer stands for; reads its body. `scrub` takes secrets out of a
/// text that a server wrote.
pub(super) fn refusal(answer: Answer, scrub: impl Fn(&str) -> String) -> RegistryError {
    let retry_after = answer
        .header("retry-after")
        .and_then(|value| retry::parse_retry_after(value, SystemTime::now()));
    let kind = match answer.status() {
        StatusCode::UNAUTHORIZED => ErrorKind::Unauthorized,
        StatusCode::FORBIDDEN => ErrorKind::Forbidden,
        StatusCode::NOT_FOUND | StatusCode::GONE => ErrorKind::NotFound,
        StatusCode::TOO_MANY_REQUESTS => ErrorKind::RateLimited { retry_after },
        StatusCode::REQUEST_TIMEOUT => ErrorKind::Timeout,
        status if status.is_server_error() => ErrorKind::Server { retry_after },
        _ => ErrorKind::Protocol,
    };
    let mut error = answer.error(kind);
    error.place.codes = parse_codes(&answer.read_some(MAX_ERROR_BYTES as u64))
        .into_iter()
        .map(|ErrorCode { code, message }| ErrorCode {
            code: one_line(&scrub(&code), 60),
            message: one_line(&scrub(&message), 200),
        })
        .collect();
    // Harbor and some proxies pack the limit of another registry into their own status.
    if error
        .codes()
        .iter()
        .any(|code| code.code == "TOOMANYREQUESTS")
    {
        error.kind = ErrorKind::RateLimited { retry_after };
    }
    error
}

fn parse_codes(body: &[u8]) -> Vec<ErrorCode> {
    #[derive(Deserialize)]
    struct Body {
        errors: Option<Vec<Entry>>,
        /// Docker Hub's token server answers `{"details": …}`, others `{"message": …}`.
        details: Option<serde_json::Value>,
        message: Option<serde_json::Value>,
    }
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        code: serde_json::Value,
        #[serde(default)]
        message: serde_json::Value,
    }
    fn text(value: &serde_json::Value) -> String {
        match value {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Null => String::new(),
            other => other.to_string(),
        }
    }
    let Ok(body) = serde_json::from_slice::<Body>(body) else {
        return Vec::new();
    };
    if let Some(errors) = body.errors {
        return errors
            .iter()
            .take(3)
            .map(|entry| ErrorCode {
                code: text(&entry.code),
                message: text(&entry.message),
            })
            .collect();
    }
    body.details
        .or(body.message)
        .map(|message| ErrorCode {
            code: text(&message),
            message: String::new(),
        })
        .into_iter()
        .collect()
}

/// Returns a server's text such that it cannot play with a terminal.
fn one_line(text: &str, limit_chars: usize) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(limit_chars)
        .collect()
}
