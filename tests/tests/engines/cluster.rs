//! A cluster: a ledger on real engines, with a prefix, a database, and inboxes of its own, and
//! processes of the binary at work on it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use super::observer::Observer;
use super::{Shared, patiently};
use crate::batchless::{self, Run};
use crate::oracle;
use crate::oracle::audit::Message;
use crate::scanner::Scanner;
use crate::sender::Sent;

/// The ledger's key, as the configuration bears it.
pub(crate) const KEY: [u8; 32] = [9; 32];

/// The feeds, as sites have them.
pub(crate) const FEEDS: [&str; 3] = ["ach", "cards", "cards-ebcdic"];

/// How a cluster differs from what is usual.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The engines.
    pub(crate) engines: Shared,
    /// How many shards.
    pub(crate) shards: u32,
    /// Whether the inboxes are in a bucket; else they are folders.
    pub(crate) is_on_s3: bool,
    /// Lines of the configuration before those of the feeds.
    pub(crate) lines: String,
}

impl Plan {
    /// On the engines that all share, with four shards and folders.
    pub(crate) fn shared() -> Self {
        let engines = Shared::engines();
        Self { engines, shards: 4, is_on_s3: false, lines: String::new() }
    }
}

/// A ledger on real engines.
///
/// At its end everything that was printed, and what the observer read, is scanned for the account
/// numbers of what was dropped.
#[derive(Debug)]
pub(crate) struct Cluster {
    folder: tempfile::TempDir,
    /// What the observer prints: in hexadecimal digits, where chance writes numbers.
    observed: tempfile::TempDir,
    pub(crate) plan: Plan,
    /// Its name on all engines.
    pub(crate) name: String,
    /// The account numbers of what was dropped.
    numbers: RefCell<BTreeSet<String>>,
    is_scanned: Cell<bool>,
    started: Cell<u32>,
}

impl Cluster {
    /// A cluster with its topics and its database made, at which nobody works yet.
    pub(crate) fn new(plan: Plan) -> Self {
        let cluster = Self::bare(plan);
        let created = cluster.batchless(&["topics", "create"]);
        assert_eq!(created.code, Some(0), "topics create: {created:?}");
        cluster
    }

    /// The same without its topics.
    pub(crate) fn bare(plan: Plan) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        let name = format!("t{}-{number}", std::process::id());
        let (folder, observed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (numbers, is_scanned) = (RefCell::default(), Cell::new(true));
        let started = Cell::new(0);
        let cluster = Self { folder, observed, plan, name, numbers, is_scanned, started };
        for feed in FEEDS {
            fs::create_dir(cluster.path().join(feed)).unwrap();
        }
        fs::write(cluster.path().join("batchless.toml"), cluster.configuration()).unwrap();
        sql(&cluster.plan.engines.postgres, &format!("CREATE DATABASE \"{}\"", cluster.name));
        if cluster.plan.is_on_s3 {
            cluster.curl(&["-X", "PUT"], "");
        }
        cluster
    }

    fn configuration(&self) -> String {
        let Plan { engines, shards, lines, .. } = &self.plan;
        let (user, host) = user_and_host(&engines.postgres);
        let mut text = format!(
            "ledger.name = \"{name}\"
ledger.shards = {shards}
ledger.file_partitions = 2
topics.location = \"kafka://{kafka}\"
topics.prefix = \"{prefix}\"
topics.registry = \"{registry}\"
store.location = \"postgres://{user}@{host}/{name}\"
{lines}
",
            name = self.name,
            kafka = engines.kafka,
            prefix = self.prefix(),
            registry = engines.registry,
        );
        for feed in FEEDS {
            let location = if self.plan.is_on_s3 {
                format!("s3://{}/{feed}", self.name)
            } else {
                feed.to_owned()
            };
            let (format, encoding) = match feed {
                "ach" => ("nacha", "ascii"),
                "cards" => ("ipm", "ascii"),
                _ => ("ipm", "cp500"),
            };
            text.push_str(&format!(
                "\n[[feed]]\nname = \"{feed}\"\nlocation = \"{location}\"\nformat = \"{format}\"\n\
                 encoding = \"{encoding}\"\nlook_every_ms = 100\n"
            ));
        }
        text
    }

    /// Its directory.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What its topics' names begin with.
    pub(crate) fn prefix(&self) -> String {
        format!("{}.", self.name)
    }

    /// Changes its configuration: a line that begins so, and is there once, becomes another.
    pub(crate) fn configure(&self, beginning: &str, line: &str) {
        let path = self.path().join("batchless.toml");
        let text = fs::read_to_string(&path).unwrap();
        let is_it = |old: &&str| old.starts_with(beginning);
        assert_eq!(text.lines().filter(is_it).count(), 1, "{beginning} in {text}");
        let lines = text.lines().map(|old| if is_it(&old) { line } else { old });
        fs::write(path, lines.collect::<Vec<_>>().join("\n") + "\n").unwrap();
    }

    /// Leaves the scan out: for what is large and no other than what is scanned elsewhere.
    pub(crate) fn is_not_scanned(&self) {
        self.is_scanned.set(false);
    }

    /// Drops a file, whole.
    pub(crate) fn drop_in(&self, sent: &Sent) {
        if self.is_scanned.get() {
            self.numbers.borrow_mut().extend(oracle::numbers(&sent.bytes));
        }
        let beside = self.path().join("beside");
        fs::write(&beside, &sent.bytes).unwrap();
        if self.plan.is_on_s3 {
            let beside = beside.to_str().unwrap();
            self.curl(&["-T", beside], &format!("/{}/{}", sent.feed, sent.name));
            fs::remove_file(beside).unwrap();
        } else {
            fs::rename(beside, self.path().join(sent.feed).join(&sent.name)).unwrap();
        }
    }

    /// Asks the S3 server for something of its bucket.
    pub(crate) fn curl(&self, arguments: &[&str], path: &str) {
        let key = |name: &str| std::env::var(name).unwrap();
        let user = format!("{}:{}", key("AWS_ACCESS_KEY_ID"), key("AWS_SECRET_ACCESS_KEY"));
        let region = format!("aws:amz:{}:s3", key("AWS_REGION"));
        let url = format!("{}/{}{path}", self.plan.engines.s3, self.name);
        let output = Command::new("curl")
            .args(["-sS", "--fail-with-body", "--aws-sigv4", &region, "--user", &user])
            .args(["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"])
            .args(arguments)
            .arg(url)
            .output()
            .unwrap();
        assert!(output.status.success(), "curl {arguments:?} {path}: {output:?}");
    }

    /// A command of the binary, with the secrets of the cluster in its environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = batchless::command(self.path());
        let key: String = KEY.iter().map(|byte| format!("{byte:02x}")).collect();
        command
            .args(arguments)
            .args(["--config", "batchless.toml"])
            .env("BATCHLESS_LEDGER_KEY", key)
            .env("BATCHLESS_STORE_PASSWORD", password(&self.plan.engines.postgres))
            .env("AWS_ENDPOINT_URL", &self.plan.engines.s3);
        command
    }

    /// Runs the binary to its end.
    pub(crate) fn batchless(&self, arguments: &[&str]) -> Run {
        self.ended(self.command(arguments))
    }

    /// Runs a command to its end, and keeps what it printed.
    pub(crate) fn ended(&self, command: Command) -> Run {
        let mut working = self.spawn(command, "command");
        let code = working.wait().code();
        let run = Run { code, stdout: working.printed(), stderr: working.said() };
        fs::remove_file(&working.out).unwrap();
        run
    }

    /// Starts a process that goes on until it is stopped: `watch`, `process`, `run`.
    pub(crate) fn start(&self, word: &str) -> Member {
        self.spawn(self.command(&[word]), word)
    }

    /// Starts a command.
    pub(crate) fn spawn(&self, mut command: Command, word: &str) -> Member {
        let number = self.started.get();
        self.started.set(number + 1);
        let log = self.path().join(format!("{word}-{number}.log"));
        let out = self.path().join(format!("{word}-{number}.out"));
        let child = command
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Member { child, word: word.to_owned(), log, out }
    }

    /// The objects of a command that lists.
    pub(crate) fn list(&self, command: &str) -> Vec<Value> {
        let run = self.batchless(&[command, "--output", "json"]);
        assert!(matches!(run.code, Some(0 | 3)), "{command}: {run:?}");
        run.objects()
    }

    /// The states of all files and objects by name, in the order of names.
    pub(crate) fn states(&self) -> Vec<(String, String)> {
        let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let rows = self.list("files");
        let mut states: Vec<_> =
            rows.iter().map(|row| (text(row, "name"), text(row, "state"))).collect();
        states.sort();
        states
    }

    /// Waits until each of these is reconciled.
    pub(crate) fn wait_until_reconciled(&self, files: &[Sent]) {
        let is_so = || {
            let states = self.states();
            files.iter().all(|sent| states.contains(&(sent.name.clone(), "reconciled".to_owned())))
        };
        let told = || format!("{:?}\n{}", self.states(), self.situation());
        patiently("all files are reconciled", is_so, told);
    }

    /// Asks its database.
    pub(crate) fn sql(&self, query: &str) -> Vec<Vec<String>> {
        sql(&self.database(), query)
    }

    /// A number from its database; 0 while the tables are not there.
    pub(crate) fn number(&self, query: &str) -> i64 {
        let rows = try_sql(&self.database(), query).unwrap_or_default();
        rows.first().and_then(|row| row[0].parse().ok()).unwrap_or_default()
    }

    /// How many records its shards have applied.
    pub(crate) fn applied(&self) -> u64 {
        self.number("SELECT coalesce(sum(applied), 0) FROM runs").unsigned_abs()
    }

    /// All that its processes have said so far.
    pub(crate) fn logs(&self) -> String {
        self.log_files().iter().map(|path| fs::read_to_string(path).unwrap()).collect()
    }

    /// The end of what each process has said, and how far all is.
    pub(crate) fn situation(&self) -> String {
        let mut told = format!("{} records are applied\n", self.applied());
        for path in self.log_files() {
            let said = fs::read_to_string(&path).unwrap();
            let lines: Vec<&str> = said.lines().collect();
            let from = lines.len().saturating_sub(8);
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            told.push_str(&format!("{name}:\n  {}\n", lines[from..].join("\n  ")));
        }
        told
    }

    fn log_files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut logs: Vec<_> =
            entries.filter(|path| path.extension().is_some_and(|it| it == "log")).collect();
        logs.sort();
        logs
    }

    /// Host and port of PostgreSQL.
    pub(crate) fn postgres(&self) -> String {
        user_and_host(&self.plan.engines.postgres).1
    }

    /// The URL of its database, with the password.
    pub(crate) fn database(&self) -> String {
        let (before, _) = self.plan.engines.postgres.rsplit_once('/').unwrap();
        format!("{before}/{}", self.name)
    }

    /// Starts the subscriber that is not ours.
    pub(crate) fn observer(&self) -> Observer {
        let Shared { kafka, registry, .. } = &self.plan.engines;
        Observer::start(self.observed.path(), kafka, &self.prefix(), registry)
    }

    /// Keeps what was said in the topics, for the scan.
    pub(crate) fn keep(&self, topics: &BTreeMap<String, Vec<Vec<Message>>>) {
        if self.is_scanned.get() {
            let messages = topics.values().flatten().flatten();
            let bytes = messages.flat_map(|it| [&it.id, &it.key].into_iter().chain(&it.value));
            let all: Vec<u8> = bytes.flatten().copied().collect();
            fs::write(self.path().join("topics.bin"), all).unwrap();
        }
    }

    /// Fails unless `verify` finds nothing. Gives how many checks it made.
    pub(crate) fn assert_verified(&self) -> usize {
        let verify = self.batchless(&["verify", "--output", "json"]);
        let checks = verify.objects();
        let off: Vec<_> = checks.iter().filter(|row| row["ok"] != true).collect();
        assert!(verify.code == Some(0) && off.is_empty(), "{off:#?}\n{}", verify.stderr);
        checks.len()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What it has said is what one looks at then; the engines' own state is left, too.
            let kept = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap()).keep();
            println!("kept: {}", kept.display());
            return;
        }
        if self.is_scanned.get() {
            let found = Scanner::of(&*self.numbers.borrow()).scan(self.path(), &FEEDS).found;
            assert!(found.is_empty(), "account numbers are left behind: {found:#?}");
        }
        // An engine of the test's own may be gone by now, and its database with it.
        let drop = format!("DROP DATABASE IF EXISTS \"{}\" WITH (FORCE)", self.name);
        let _ = try_sql(&self.plan.engines.postgres, &drop);
    }
}

/// A process of the binary; killed where a test ends before it.
#[derive(Debug)]
pub(crate) struct Member {
    child: Child,
    /// What it is: `watch`, `process` or `run`.
    pub(crate) word: String,
    pub(crate) log: PathBuf,
    out: PathBuf,
}

impl Member {
    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn printed(&self) -> String {
        fs::read_to_string(&self.out).unwrap()
    }

    /// The end of what it has said.
    pub(crate) fn last_said(&self) -> String {
        let said = self.said();
        let lines: Vec<&str> = said.lines().collect();
        let from = lines.len().saturating_sub(15);
        format!("{} {}:\n{}", self.word, self.id(), lines[from..].join("\n"))
    }

    /// Waits until it says that it has started.
    pub(crate) fn wait_until_started(&mut self) {
        let (log, child) = (&self.log, &mut self.child);
        let said = || fs::read_to_string(log).unwrap();
        let is_so = || {
            assert!(child.try_wait().unwrap().is_none(), "it ended: {}", said());
            said().contains("started")
        };
        patiently("it has started", is_so, said);
    }

    /// How it ended, where it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        let (signal, id) = (format!("-{name}"), self.id().to_string());
        let told = Command::new("kill").args([signal, id]).status().unwrap();
        assert!(told.success(), "kill -{name}: {told}");
    }

    /// Ends it as power fails: at whatever instruction it is.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end with SIGTERM, and fails unless it does so in order.
    pub(crate) fn terminate(&mut self) {
        self.wait_until_started();
        self.signal("TERM");
        let status = self.wait();
        assert!(matches!(status.code(), Some(0 | 3)), "{status}\n{}", self.last_said());
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        let (log, child) = (&self.log, &mut self.child);
        patiently(
            "it ended",
            || {
                status = child.try_wait().unwrap();
                status.is_some()
            },
            || fs::read_to_string(log).unwrap_or_default(),
        );
        status.unwrap()
    }

    /// How much memory it has now, in KiB.
    pub(crate) fn memory_kib(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|it| it.trim().strip_suffix("kB")?.trim().parse().ok()).unwrap_or(0)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have ended already, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The user, and the host with the port, of PostgreSQL's URL.
fn user_and_host(url: &str) -> (String, String) {
    let rest = url.strip_prefix("postgres://").unwrap();
    let (credentials, place) = rest.split_once('@').unwrap();
    let user = credentials.split(':').next().unwrap();
    (user.to_owned(), place.split('/').next().unwrap().to_owned())
}

fn password(url: &str) -> &str {
    url.split_once('@').unwrap().0.rsplit_once(':').unwrap().1
}

/// Asks a database, by PostgreSQL's own client.
fn sql(url: &str, query: &str) -> Vec<Vec<String>> {
    try_sql(url, query).unwrap_or_else(|error| panic!("{query}: {error}"))
}

fn try_sql(url: &str, query: &str) -> Result<Vec<Vec<String>>, String> {
    let output = Command::new("psql")
        .args(["-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-c", query, url])
        .stdin(Stdio::null())
        .env("PGCONNECT_TIMEOUT", "10")
        .output()
        .map_err(|error| format!("psql: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8(output.stdout).unwrap();
    Ok(text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
}
