//! A server on loopback that answers as a test tells it to, and remembers what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// One request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    /// `HEAD /v2/app/manifests/1`
    pub(super) line: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// What to answer.
pub(super) enum Reply {
    /// Status, headers, body; the length is added.
    Http(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// These bytes, then the connection is closed.
    Raw(Vec<u8>),
    /// Nothing, until the client goes away.
    Silence,
}

pub(super) struct FakeRegistry {
    /// `127.0.0.1:PORT`
    pub(super) host: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl FakeRegistry {
    /// Starts a server. `answer` gets each request and the number of requests with the same line
    /// before it.
    pub(super) fn start(answer: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let host = listener.local_addr().expect("it is bound").to_string();
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let log = Arc::clone(&requests);
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream, &log, answer.as_ref()));
            }
        });
        Self { host, requests }
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no handler panics").clone()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.requests()
            .into_iter()
            .map(|request| request.line)
            .collect()
    }
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn authorization(&self) -> Option<&str> {
        self.header("authorization")
    }

    pub(super) fn is(&self, start: &str) -> bool {
        self.line.starts_with(start)
    }
}

fn serve(
    stream: TcpStream,
    log: &Mutex<Vec<Request>>,
    answer: &(dyn Fn(&Request, usize) -> Reply + Send + Sync),
) {
    let mut reader = BufReader::new(stream);
    let Some(request) = read_request(&mut reader) else {
        return;
    };
    let n_before = {
        let mut log = log.lock().expect("no handler panics");
        let n_before = log
            .iter()
            .filter(|known| known.line == request.line)
            .count();
        log.push(request.clone());
        n_before
    };
    let mut bytes = Vec::new();
    match answer(&request, n_before) {
        Reply::Http(status, headers, body) => {
            write!(bytes, "HTTP/1.1 {status} X\r\nconnection: close\r\n").expect("a Vec");
            let has_length = headers.iter().any(|(name, _)| *name == "content-length");
            if !has_length {
                write!(bytes, "content-length: {}\r\n", body.len()).expect("a Vec");
            }
            for (name, value) in headers {
                write!(bytes, "{name}: {value}\r\n").expect("a Vec");
            }
            bytes.extend(b"\r\n");
            if !request.is("HEAD ") {
                bytes.extend(body);
            }
        }
        Reply::Raw(raw) => bytes = raw,
        Reply::Silence => {
            // Returns when the client closes its side.
            let _ = reader.read(&mut [0]);
        }
    }
    // The client may be gone.
    let _ = reader.get_mut().write_all(&bytes);
}

fn read_request(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let line = line.trim_end().strip_suffix(" HTTP/1.1")?.to_owned();
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(": ") else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        line,
        headers,
        body,
    })
}
