//! The door of the registry: answers TLS with plain text, and lets everything else through.
//!
//! An engine tries TLS first, also on loopback. The HTTP server behind waits for the end of a line in
//! what is no text, and the engine for an answer: ten seconds for each push and pull. Who gets plain
//! text tries plain HTTP at once; containerd does so for nothing else.

use std::io::{self, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The first byte of a TLS connection: a record of the handshake (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;
/// What Go's HTTP server answers.
const NO_TLS: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\r\nthis is plain HTTP\n";
/// How long the other side may take to see that there is no TLS.
const GOODBYE: Duration = Duration::from_secs(1);

/// A port of `127.0.0.1` before another one, until it is dropped.
#[derive(Debug)]
pub(super) struct Front {
    pub(super) address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Front {
    /// Listens on a free port for the server at `inner`.
    pub(super) fn start(inner: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let is_over = Arc::new(AtomicBool::new(false));
        let of_thread = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if of_thread.load(Ordering::Relaxed) {
                    break;
                }
                // A client that goes away is no failure.
                thread::spawn(move || pass(&client, inner).ok());
            }
        });
        Ok(Self {
            address,
            is_over,
            thread: Some(thread),
        })
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // Whoever waits for a client gets one.
        if TcpStream::connect(self.address).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

/// Passes a connection on, both ways, until both sides have ended it.
fn pass(client: &TcpStream, inner: SocketAddr) -> io::Result<()> {
    let mut first = [0];
    if client.peek(&mut first)? == 0 {
        return Ok(());
    }
    if first[0] == TLS_HANDSHAKE {
        (&mut &*client).write_all(NO_TLS)?;
        client.shutdown(Shutdown::Write)?;
        // With something unread, the connection would be reset before the answer is seen.
        client.set_read_timeout(Some(GOODBYE))?;
        return io::copy(&mut &*client, &mut io::sink()).map(|_| ());
    }
    let server = TcpStream::connect(inner)?;
    for stream in [client, &server] {
        stream.set_nodelay(true)?;
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = io::copy(&mut &*client, &mut &server);
            let _ = server.shutdown(Shutdown::Write);
        });
        let _ = io::copy(&mut &server, &mut &*client);
        let _ = client.shutdown(Shutdown::Both);
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::super::Registry;
    use super::*;

    #[test]
    fn tls_gets_plain_text_and_http_goes_through() -> io::Result<()> {
        let registry = Registry::start()?;
        let mut tls = TcpStream::connect(registry.host())?;
        tls.write_all(&[TLS_HANDSHAKE, 3, 1, 0, 9, 1])?;
        let mut answer = Vec::new();
        tls.read_to_end(&mut answer)?;
        assert_eq!(answer, NO_TLS);
        answer.clear();
        let mut http = TcpStream::connect(registry.host())?;
        http.write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        http.read_to_end(&mut answer)?;
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
        Ok(())
    }
}
