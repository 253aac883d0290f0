//! Why a request failed, from what the HTTP client wraps many times over.

use std::io;

use super::ErrorKind;

/// Returns what kind of failure an error of the HTTP client is.
pub(super) fn kind_of(error: &reqwest::Error) -> ErrorKind {
    if error.is_timeout() {
        return ErrorKind::Timeout;
    }
    if error.is_builder() {
        return ErrorKind::Options;
    }
    // An end of file inside the handshake is a broken connection; everything that rustls itself
    // says about is TLS.
    if causes(error)
        .iter()
        .any(|cause| cause.is::<rustls::Error>())
    {
        return ErrorKind::Tls;
    }
    ErrorKind::Connect
}

/// Returns whether a read failed because nothing came in time.
pub(super) fn is_timeout(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::TimedOut
        || causes(error).iter().any(|cause| {
            cause
                .downcast_ref::<reqwest::Error>()
                .is_some_and(reqwest::Error::is_timeout)
        })
}

/// Returns the innermost cause as text: the outer ones repeat the URL, with its query.
pub(super) fn text_of(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = causes(error);
    match causes
        .last()
        .and_then(|last| last.downcast_ref::<reqwest::Error>())
    {
        Some(error) if error.is_timeout() => "timed out".to_owned(),
        // Only the kind: the text could hold the URL.
        Some(error) if error.is_builder() => "cannot build the request".to_owned(),
        Some(_) => "the request failed".to_owned(),
        None if causes.iter().any(|cause| {
            matches!(
                cause.downcast_ref::<rustls::Error>(),
                Some(rustls::Error::InvalidMessage(_))
            )
        }) =>
        {
            "its answer is not TLS but perhaps plain HTTP".to_owned()
        }
        None => causes.last().map(ToString::to_string).unwrap_or_default(),
    }
}

/// Returns an error and everything below it, also what an `io::Error` wraps.
fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> Vec<&'a (dyn std::error::Error + 'static)> {
    let mut all = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        all.push(error);
        next = match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(inner) => Some(inner as &(dyn std::error::Error + 'static)),
            None => error.source(),
        };
    }
    all
}
