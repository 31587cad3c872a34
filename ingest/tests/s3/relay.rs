//! A relay before an S3 server, which can answer in its place that it is busy, and counts.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What a busy server answers.
const BUSY: &str =
    "<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>";

/// A relay; it ends with the process.
pub(crate) struct Relay {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Host and port of the server.
    server: String,
    refuses_all: AtomicBool,
    refuses_every_other: AtomicBool,
    requests: AtomicU64,
    refused: AtomicU64,
    /// Bytes that were sent to the client.
    sent: AtomicU64,
}

impl Relay {
    /// A relay before the server of this URL.
    pub(crate) fn before(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = url.strip_prefix("http://").unwrap().to_owned();
        let shared = Arc::new(Shared { server, ..Shared::default() });
        let for_all = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let shared = Arc::clone(&for_all);
                // A client that goes away in the middle is nobody's matter.
                std::thread::spawn(move || shared.answer(client.ok()?).ok());
            }
        });
        Self { port, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn refuse_all(&self, refuse: bool) {
        self.shared.refuses_all.store(refuse, Ordering::SeqCst);
    }

    pub(crate) fn refuse_every_other(&self, refuse: bool) {
        self.shared.refuses_every_other.store(refuse, Ordering::SeqCst);
    }

    /// How many requests were answered in the server's place.
    pub(crate) fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::SeqCst)
    }

    pub(crate) fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::SeqCst)
    }
}

impl Shared {
    /// Answers one request without a body, and closes.
    fn answer(&self, mut client: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(client.try_clone()?);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let request = self.requests.fetch_add(1, Ordering::SeqCst);
        let is_other = self.refuses_every_other.load(Ordering::SeqCst) && request.is_multiple_of(2);
        if is_other || self.refuses_all.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            let length = BUSY.len();
            let head =
                "HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close";
            return write!(client, "{head}\r\nContent-Length: {length}\r\n\r\n{BUSY}");
        }
        let mut server = TcpStream::connect(&self.server)?;
        // What is signed stays as it is.
        let head = head.trim_end_matches("\r\n");
        write!(server, "{head}\r\nConnection: close\r\n\r\n")?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = server.read(&mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            client.write_all(&buffer[..read])?;
            self.sent.fetch_add(read as u64, Ordering::SeqCst);
        }
    }
}
