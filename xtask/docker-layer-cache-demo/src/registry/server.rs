//! The registry's socket, its worker threads, its log and its faults.

use std::io::{self, Cursor};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use tiny_http::{Header, Request, Response, Server, StatusCode};

use super::Fault;
use super::content::Content;
use super::front::Front;
use super::route::{Answer, Call, answer};

/// Engines pull a handful of layers at a time; a slow answer must not hold up the others.
const N_WORKERS: usize = 16;

/// A registry that serves on `127.0.0.1` until it is dropped.
#[derive(Debug)]
pub struct Registry {
    front: Front,
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

/// One request that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The method, such as `HEAD`.
    pub method: String,
    /// Path and query, such as `/v2/library/app/manifests/1`.
    pub url: String,
    /// The status of the answer.
    pub status: u16,
}

struct Shared {
    server: Server,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    content: Content,
    served: Vec<Served>,
    fault: Option<Fault>,
    /// How many requests more the fault meets; `None`: all.
    fault_times: Option<u32>,
    /// The `Authorization` header that is asked for.
    authorization: Option<String>,
}

impl Registry {
    /// Starts a registry on a free port of `127.0.0.1`.
    ///
    /// # Errors
    /// Where no port can be had.
    pub fn start() -> io::Result<Self> {
        let server = Server::http("127.0.0.1:0").map_err(io::Error::other)?;
        let inner = server
            .server_addr()
            .to_ip()
            .expect("a server on 127.0.0.1 has an IP address");
        let front = Front::start(inner)?;
        let shared = Arc::new(Shared {
            server,
            state: Mutex::default(),
        });
        let workers = (0..N_WORKERS)
            .map(|_| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    while let Ok(request) = shared.server.recv() {
                        shared.serve(request);
                    }
                })
            })
            .collect();
        Ok(Self {
            front,
            shared,
            workers,
        })
    }

    /// Returns `127.0.0.1:PORT`, the registry's part of a reference.
    pub fn host(&self) -> String {
        self.front.address.to_string()
    }

    /// Returns what was asked and answered so far, oldest first.
    pub fn served(&self) -> Vec<Served> {
        self.shared.state().served.clone()
    }

    /// Returns how many requests of `method` had `part` in their URL.
    pub fn count(&self, method: &str, part: &str) -> usize {
        self.shared
            .state()
            .served
            .iter()
            .filter(|served| served.method == method && served.url.contains(part))
            .count()
    }

    /// Takes nobody from now on but the one with this `Authorization` header, such as
    /// `Basic Y2k6c2VjcmV0`.
    pub fn ask_for(&self, authorization: &str) {
        self.shared.state().authorization = Some(authorization.to_owned());
    }

    /// Fails every request from now on, until [`Registry::recover`].
    pub fn fail(&self, fault: Fault) {
        let mut state = self.shared.state();
        state.fault = Some(fault);
        state.fault_times = None;
    }

    /// Fails the next `times` requests.
    pub fn fail_times(&self, times: u32, fault: Fault) {
        let mut state = self.shared.state();
        state.fault = Some(fault);
        state.fault_times = Some(times);
    }

    /// Serves as it should again.
    pub fn recover(&self) {
        self.shared.state().fault = None;
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        for _ in &self.workers {
            self.shared.server.unblock();
        }
        for worker in self.workers.drain(..) {
            // A worker that panicked has said so already.
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, mut request: Request) {
        let mut body = Vec::new();
        if request.as_reader().read_to_end(&mut body).is_err() {
            return;
        }
        let fault = self.state().next_fault(&request);
        if let Some(Fault::Slow(delay)) = fault {
            thread::sleep(delay);
        }
        let method = request.method().to_string();
        let url = request.url().to_owned();
        let answer = fault.and_then(|fault| fault.answer()).unwrap_or_else(|| {
            let call = Call {
                method: &method,
                url: &url,
                content_type: header(&request, "Content-Type"),
                range: header(&request, "Range"),
                body: &body,
            };
            answer(&mut self.state().content, &call)
        });
        self.state().served.push(Served {
            method,
            url,
            status: answer.status,
        });
        // A client that went away has nothing to be told.
        let _ = request.respond(response(answer));
    }
}

impl State {
    fn next_fault(&mut self, request: &Request) -> Option<Fault> {
        let asked_for = self.authorization.as_deref();
        if asked_for.is_some() && header(request, "Authorization") != asked_for {
            return Some(Fault::Unauthorized);
        }
        match &mut self.fault_times {
            None => self.fault.clone(),
            Some(0) => None,
            Some(times) => {
                *times -= 1;
                self.fault.clone()
            }
        }
    }
}

fn header<'a>(request: &'a Request, name: &'static str) -> Option<&'a str> {
    request
        .headers()
        .iter()
        .find(|header| header.field.equiv(name))
        .map(|header| header.value.as_str())
}

fn response(answer: Answer) -> Response<Cursor<Arc<[u8]>>> {
    let headers = answer
        .headers
        .iter()
        .map(|(name, value)| {
            Header::from_bytes(*name, value.as_bytes()).expect("our headers are ASCII")
        })
        .collect();
    let length = answer.body.len();
    Response::new(
        StatusCode(answer.status),
        headers,
        Cursor::new(answer.body),
        Some(length),
        None,
    )
    // Clients of registries rely on Content-Length, after HEAD above all.
    .with_chunked_threshold(usize::MAX)
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}
