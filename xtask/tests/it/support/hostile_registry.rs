//! A registry with a token server that fails on demand, and repeats in its answers what it was told.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// What the registry does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Serves every manifest.
    Good,
    /// Answers every request with a valid token with this status.
    Status(u16),
    /// Answers every request for a token with this status.
    TokenStatus(u16),
    /// Hangs up on every request.
    HangUp,
    /// As an HTTP proxy: lets every `CONNECT` through, and then talks no TLS.
    NoTls,
}

/// A registry on a port of `127.0.0.1`; it ends with the process.
pub(crate) struct HostileRegistry {
    /// `127.0.0.1:PORT`.
    pub(crate) host: String,
    shared: Arc<Shared>,
}

struct Shared {
    host: String,
    token: String,
    mood: Mutex<Mood>,
    /// The `Authorization` and `Proxy-Authorization` headers, and the bodies, that came.
    told: Mutex<Vec<String>>,
}

const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}"#;

impl HostileRegistry {
    /// Starts one whose token server gives `token`.
    pub(crate) fn start(token: &str) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let host = listener.local_addr()?.to_string();
        let shared = Arc::new(Shared {
            host: host.clone(),
            token: token.to_owned(),
            mood: Mutex::new(Mood::Good),
            told: Mutex::default(),
        });
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&of_thread);
                // A client that goes away is no failure.
                thread::spawn(move || shared.serve(&client).ok());
            }
        });
        Ok(Self { host, shared })
    }

    /// Does this from now on.
    pub(crate) fn be(&self, mood: Mood) {
        *self
            .shared
            .mood
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = mood;
    }

    /// Returns what clients told of secrets since the last call.
    pub(crate) fn told(&self) -> Vec<String> {
        let mut told = self
            .shared
            .told
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut told)
    }
}

impl Shared {
    /// Answers one request, and hangs up.
    fn serve(&self, client: &TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(client);
        if reader.fill_buf()?.first() == Some(&0x16) {
            return Ok(());
        }
        let mut request = String::new();
        reader.read_line(&mut request)?;
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            match line.trim_end().split_once(':') {
                Some((name, value)) => {
                    headers.insert(name.to_lowercase(), value.trim().to_owned());
                }
                None => break,
            }
        }
        let length = headers.get("content-length");
        let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let body = String::from_utf8_lossy(&body).into_owned();
        let header = |name: &str| headers.get(name).cloned().unwrap_or_default();
        let (authorization, proxy) = (header("authorization"), header("proxy-authorization"));
        let told = format!("{authorization} {proxy} {body} {request}");
        self.told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(told.clone());
        let mood = *self.mood.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |status: u16| {
            // A server may write into its error whatever it likes.
            let message = serde_json::json!(format!("denied: {told}"));
            let body = format!("{{\"errors\":[{{\"code\":\"DENIED\",\"message\":{message}}}]}}");
            answer(client, status, "Retry-After: 0\r\n", &body, true)
        };
        let is_head = request.starts_with("HEAD");
        match mood {
            Mood::HangUp => Ok(()),
            Mood::NoTls if request.starts_with("CONNECT") => {
                write!(&mut &*client, "HTTP/1.1 200 OK\r\n\r\n{told}")
            }
            Mood::TokenStatus(status) if request.contains("/token") => failed(status),
            _ if request.contains("/token") => {
                let token = serde_json::json!({ "token": self.token, "access_token": self.token });
                answer(client, 200, "", &token.to_string(), true)
            }
            _ if authorization != format!("Bearer {}", self.token) => {
                let challenge = format!(
                    "WWW-Authenticate: Bearer realm=\"http://{}/token\",service=\"s\",scope=\"repository:team/base:pull\"\r\n",
                    self.host
                );
                answer(client, 401, &challenge, "", true)
            }
            Mood::Status(status) => failed(status),
            _ => {
                let content = if request.contains("/blobs/") {
                    "{}"
                } else {
                    MANIFEST
                };
                let kind = "Content-Type: application/vnd.oci.image.manifest.v1+json\r\n";
                answer(client, 200, kind, content, !is_head)
            }
        }
    }
}

fn answer(
    mut client: &TcpStream,
    status: u16,
    headers: &str,
    body: &str,
    with_body: bool,
) -> std::io::Result<()> {
    let length = body.len();
    let body = if with_body { body } else { "" };
    write!(
        client,
        "HTTP/1.1 {status} Status\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
}
