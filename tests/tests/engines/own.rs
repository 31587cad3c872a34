//! Engines of a test's own, to be killed, stopped and cut off; gone when the test is over.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU16, Ordering};

/// What an engine is started with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Kafka,
    Registry,
    Postgres,
    S3,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Kafka, Self::Registry, Self::Postgres, Self::S3];

    /// The script, the variable that names an instance, and where its state is kept.
    fn script(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Kafka => ("kafka.sh", "KAFKA_INSTANCE", "kafka"),
            Self::Registry => ("registry.sh", "REGISTRY_INSTANCE", "registry"),
            Self::Postgres => ("postgres.sh", "PG_INSTANCE", "postgres"),
            Self::S3 => ("s3.sh", "S3_INSTANCE", "s3"),
        }
    }
}

/// An engine of a test's own.
#[derive(Debug)]
pub(crate) struct Own {
    kind: Kind,
    instance: String,
    pub(crate) port: u16,
    /// More of the script's environment.
    settings: Vec<(&'static str, String)>,
    /// What `up` printed: where it is.
    pub(crate) address: String,
}

/// The lines that have a broker take members that may be silent for a shorter time.
pub(crate) const SHORT_SESSIONS: (&str, &str) =
    ("KAFKA_EXTRA", "group.min.session.timeout.ms=1000");

/// And the line that has ours make use of it: who is killed is noticed after this.
pub(crate) const SHORT_SESSION: &str = "topics.session_timeout_ms = 3000\n";

impl Own {
    /// Starts one, with more of the script's environment.
    pub(crate) fn start(kind: Kind, settings: &[(&'static str, &str)]) -> Self {
        Self::start_on(kind, free_port(), settings)
    }

    /// The same on a port that is known before.
    pub(crate) fn start_on(kind: Kind, port: u16, settings: &[(&'static str, &str)]) -> Self {
        sweep();
        let instance = format!("tests-{}-{port}", std::process::id());
        let settings = settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let mut own = Self { kind, instance, port, settings, address: String::new() };
        own.address = own.script(&["up", &port.to_string()]);
        own
    }

    /// Starts it again, on the same data.
    pub(crate) fn up(&self) {
        self.script(&["up", &self.port.to_string()]);
    }

    /// Ends it as power fails.
    pub(crate) fn kill9(&self) {
        self.script(&["kill9"]);
    }

    /// Ends it in order.
    pub(crate) fn down(&self) {
        self.script(&["down"]);
    }

    /// Runs its script to its end, and gives what it printed.
    pub(crate) fn script(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{:?} {arguments:?}: {said}", self.kind);
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(self.kind, &self.instance);
        command.args(arguments).envs(self.settings.iter().map(|(name, value)| (*name, value)));
        command
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // Where it fails, the next run sweeps it away.
        let _ = self.command(&[end_of(self.kind)]).stdout(Stdio::null()).status();
    }
}

fn command(kind: Kind, instance: &str) -> Command {
    let (script, variable, _) = kind.script();
    let engines = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../engines");
    let mut command = Command::new(engines.join(script));
    command.env(variable, instance).stdin(Stdio::null());
    command
}

/// The word that ends an instance, and forgets it: the registry keeps nothing.
fn end_of(kind: Kind) -> &'static str {
    if kind == Kind::Registry { "down" } else { "wipe" }
}

/// Sweeps away, once, the engines of tests that were killed before they could.
fn sweep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for kind in Kind::ALL {
            let (.., name) = kind.script();
            for instance in instances(name) {
                let owner = instance.strip_prefix("tests-").and_then(|rest| rest.split('-').next());
                let is_dead = |id: &str| !PathBuf::from(format!("/proc/{id}")).exists();
                if owner.is_some_and(is_dead) {
                    let _ =
                        command(kind, &instance).arg(end_of(kind)).stdout(Stdio::null()).status();
                }
            }
        }
    });
}

/// The instances of an engine that have a state.
fn instances(name: &str) -> Vec<String> {
    let home = PathBuf::from(std::env::var("HOME").unwrap_or_default());
    let cache = std::env::var("BATCHLESS_ENGINES")
        .map_or(home.join(".cache/batchless-engines"), PathBuf::from);
    let places = [cache.join("run"), PathBuf::from("/var/tmp/batchless-engines")];
    let entries = places.iter().filter_map(|place| std::fs::read_dir(place).ok()).flatten();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter_map(|it| it.strip_prefix(&format!("{name}-")).map(str::to_owned)).collect()
}

/// A port that nobody listens on, nor on those that a broker uses beside it: 1000 and 2000 further
/// on, and 100 and 200 further on where it has more of them.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 900).unwrap();
    for _ in 0..900 {
        let port = 23_000 + (start + NEXT.fetch_add(7, Ordering::SeqCst)) % 900;
        let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if [0, 100, 200, 1_000, 2_000].into_iter().all(|further| is_free(port + further)) {
            return port;
        }
    }
    panic!("no port from 23000 to 23899 is free");
}

/// A proxy before an engine, by the toxiproxy that all share.
#[derive(Debug)]
pub(crate) struct Proxy {
    name: String,
    /// Where it listens.
    pub(crate) port: u16,
}

impl Proxy {
    /// A proxy on `port` before what listens on `target`.
    pub(crate) fn before(port: u16, target: u16) -> Self {
        let name = format!("tests-{}-{port}", std::process::id());
        toxiproxy(&["proxy", &name, &port.to_string(), &target.to_string()]);
        Self { name, port }
    }

    /// Closes its connections, and takes no more.
    pub(crate) fn cut(&self) {
        toxiproxy(&["cut", &self.name]);
    }

    /// Takes connections again.
    pub(crate) fn heal(&self) {
        toxiproxy(&["heal", &self.name]);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.cut();
        }
    }
}

fn toxiproxy(arguments: &[&str]) {
    let engines = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../engines");
    let mut command = Command::new(engines.join("toxiproxy.sh"));
    let output = command.args(arguments).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "toxiproxy {arguments:?}: {said}");
}
