//! A proxy before the server, of a name and port of its own, told over toxiproxy's API.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::own::free_port;
use crate::server::engine;

/// Where toxiproxy is, set by `engines/up`.
const TOXIPROXY: &str = "BATCHLESS_TEST_TOXIPROXY";

/// A proxy before a server.
pub(crate) struct Proxy {
    api: String,
    name: String,
    /// Where it listens.
    pub(crate) port: u16,
}

impl Proxy {
    /// A proxy before the server on this port.
    pub(crate) fn before(port: u16) -> Self {
        let api = engine(TOXIPROXY).strip_prefix("http://").unwrap().to_owned();
        let listen = free_port();
        let name = format!("store-tests-{}-{listen}", std::process::id());
        let proxy = Self { api, name: name.clone(), port: listen };
        proxy.ask(
            "POST",
            "/proxies",
            &format!(
                r#"{{"name":"{name}","listen":"127.0.0.1:{listen}","upstream":"127.0.0.1:{port}"}}"#
            ),
        );
        proxy
    }

    /// Closes the port and all connections.
    pub(crate) fn cut(&self) {
        self.ask("POST", &format!("/proxies/{}", self.name), r#"{"enabled":false}"#);
    }

    /// Does something to all connections from now on.
    pub(crate) fn poison(&self, stream: &str, kind: &str, attributes: &str) {
        self.ask("POST", &format!("/proxies/{}/toxics", self.name), &format!(
            r#"{{"name":"toxic","type":"{kind}","stream":"{stream}","attributes":{attributes}}}"#
        ));
    }

    /// Lets through again what comes.
    pub(crate) fn heal(&self, is_cut: bool) {
        match is_cut {
            true => self.ask("POST", &format!("/proxies/{}", self.name), r#"{"enabled":true}"#),
            false => self.ask("DELETE", &format!("/proxies/{}/toxics/toxic", self.name), ""),
        }
    }

    fn ask(&self, method: &str, path: &str, body: &str) {
        let mut stream = TcpStream::connect(&self.api).unwrap();
        let (host, length) = (&self.api, body.len());
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 2"), "{method} {path}: {answer}");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ask("DELETE", &format!("/proxies/{}", self.name), "");
    }
}
