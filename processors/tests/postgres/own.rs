//! A server of a test's own, to be killed and to be started otherwise; gone when the test is over.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

/// A server of a test's own.
pub(crate) struct Own {
    instance: String,
    port: u16,
    extra: String,
    /// Where it is, with the password.
    pub(crate) url: String,
}

/// A port that nobody listens on at this moment.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Own {
    /// Starts one, with more of the server's options.
    pub(crate) fn start(extra: &str) -> Self {
        let port = free_port();
        let instance = format!("store-tests-{}-{port}", std::process::id());
        let mut own = Self { instance, port, extra: extra.to_owned(), url: String::new() };
        own.url = own.up();
        own
    }

    /// Starts it, also after it was killed.
    pub(crate) fn up(&self) -> String {
        self.script(&["up", &self.port.to_string()])
    }

    /// Has the engine's script do something, and gives what it said.
    pub(crate) fn script(&self, arguments: &[&str]) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engines/postgres.sh");
        let said = Command::new(script)
            .args(arguments)
            .env("PG_INSTANCE", &self.instance)
            .env("PG_EXTRA", &self.extra)
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(said.status.success(), "postgres.sh {arguments:?} failed");
        String::from_utf8(said.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.script(&["wipe"]);
    }
}
