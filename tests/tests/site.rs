//! A site: a ledger with its inboxes in a directory of its own, and the binary at work on it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::batchless::{self, Run};
use crate::oracle;
use crate::oracle::books::{Books, LedgerKey};
use crate::scanner::{Scan, Scanner};
use crate::sender::Sent;

/// How long anything may take on the slowest machine, before a test gives up waiting for it.
const PATIENCE: Duration = Duration::from_secs(240);

/// The configuration of every site, for each feed a folder of its name.
const CONFIGURATION: &str = "\
data = \"data\"

[[feed]]
name = \"ach\"
location = \"ach\"
format = \"nacha\"
look_every_ms = 50

[[feed]]
name = \"cards\"
location = \"cards\"
format = \"ipm\"
look_every_ms = 50

[[feed]]
name = \"cards-ebcdic\"
location = \"cards-ebcdic\"
format = \"ipm\"
encoding = \"cp500\"
look_every_ms = 50
";

/// The feeds, and the folders that are their inboxes.
const FEEDS: [&str; 3] = ["ach", "cards", "cards-ebcdic"];

/// A directory with a configuration, an inbox for each feed, and a data directory to be.
///
/// At its end everything that is left behind but the inboxes is scanned for the account numbers of
/// what was dropped.
#[derive(Debug)]
pub(crate) struct Site {
    folder: tempfile::TempDir,
    /// The account numbers of what was dropped.
    numbers: RefCell<BTreeSet<String>>,
    is_scanned: Cell<bool>,
}

impl Site {
    /// A site where nothing was dropped yet.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for feed in FEEDS {
            fs::create_dir(folder.path().join(feed)).unwrap();
        }
        fs::write(folder.path().join("batchless.toml"), CONFIGURATION).unwrap();
        Self { folder, numbers: RefCell::default(), is_scanned: Cell::new(true) }
    }

    /// A site where these were dropped.
    pub(crate) fn with(files: &[Sent]) -> Self {
        let site = Self::new();
        for sent in files {
            site.drop_in(sent);
        }
        site
    }

    /// Changes its configuration: lines that take the place of one that is there once.
    pub(crate) fn configure(&self, line: &str, lines: &str) {
        let path = self.path().join("batchless.toml");
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches(line).count(), 1, "{line} in {text}");
        fs::write(path, text.replace(line, lines)).unwrap();
    }

    /// Its directory.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Where a file lies.
    pub(crate) fn object(&self, sent: &Sent) -> PathBuf {
        self.path().join(sent.feed).join(&sent.name)
    }

    /// Drops a file whole, as a sender does who writes beside and renames.
    pub(crate) fn drop_in(&self, sent: &Sent) {
        let beside = self.path().join("beside");
        self.will_have(sent);
        fs::write(&beside, &sent.bytes).unwrap();
        fs::rename(beside, self.object(sent)).unwrap();
    }

    /// Looks for the account numbers of this file at the end, too.
    pub(crate) fn will_have(&self, sent: &Sent) {
        if self.is_scanned.get() {
            self.numbers.borrow_mut().extend(oracle::numbers(&sent.bytes));
        }
    }

    /// Leaves the scan out: for what is large and no other than what is scanned elsewhere.
    pub(crate) fn is_not_scanned(&self) {
        self.is_scanned.set(false);
    }

    /// What of the account numbers is left behind outside the inboxes.
    pub(crate) fn scan(&self) -> Scan {
        Scanner::of(&*self.numbers.borrow()).scan(self.path(), &FEEDS)
    }

    /// Runs the binary to its end.
    pub(crate) fn batchless(&self, arguments: &[&str]) -> Run {
        let run = batchless::run(self.path(), arguments);
        self.keep(&run);
        run
    }

    /// Keeps what was printed for the scan.
    pub(crate) fn keep(&self, run: &Run) {
        let path = self.path().join("printed.txt");
        let mut file = File::options().create(true).append(true).open(path).unwrap();
        write!(file, "{}\n{}\n", run.stdout, run.stderr).unwrap();
    }

    /// Runs until all that has arrived is at an end.
    pub(crate) fn once(&self) -> Run {
        let mut command = batchless::command(self.path());
        command.args(["run", "--config", "batchless.toml", "--once"]);
        self.bounded(command)
    }

    /// Runs a command that must end, though it may be what a defect keeps it from.
    pub(crate) fn bounded(&self, mut command: Command) -> Run {
        let (said, printed) = (self.path().join("stderr.txt"), self.path().join("stdout.txt"));
        let log = said.clone();
        let child = command
            .stdout(File::create(&printed).unwrap())
            .stderr(File::create(&said).unwrap())
            .spawn()
            .unwrap();
        let code = Working { child, log, said_before: 0 }.wait().code();
        let text = |path: &Path| fs::read_to_string(path).unwrap();
        let run = Run { code, stdout: text(&printed), stderr: text(&said) };
        self.keep(&run);
        run
    }

    /// Starts a run that goes on until it is stopped.
    pub(crate) fn start(&self) -> Working {
        self.start_with(&["run", "--config", "batchless.toml"])
    }

    /// Starts the binary.
    pub(crate) fn start_with(&self, arguments: &[&str]) -> Working {
        let log = self.path().join("log.txt");
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let said_before = file.metadata().unwrap().len();
        let child = batchless::command(self.path())
            .args(arguments)
            .stdout(Stdio::from(file.try_clone().unwrap()))
            .stderr(Stdio::from(file))
            .spawn()
            .unwrap();
        Working { child, log, said_before }
    }

    /// The objects of a command that lists.
    pub(crate) fn list(&self, command: &str) -> Vec<Value> {
        let run = self.batchless(&[command, "--data", "data", "--output", "json"]);
        assert!(matches!(run.code, Some(0 | 3)), "{command}: {run:?}");
        run.objects()
    }

    /// The files and objects, as far as there are any: also while the first run makes its ledger.
    pub(crate) fn files(&self) -> Vec<Value> {
        let run = self.batchless(&["files", "--data", "data", "--output", "json"]);
        if run.code == Some(0) { run.objects() } else { Vec::new() }
    }

    /// The row of a file or object; the last one where a name was used twice.
    pub(crate) fn file(&self, name: &str) -> Option<Value> {
        self.files().into_iter().rfind(|row| row["name"] == name)
    }

    /// The states of all files and objects by name, in the order of names.
    pub(crate) fn states(&self) -> Vec<(String, String)> {
        let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let rows = self.files();
        let mut states: Vec<_> =
            rows.iter().map(|row| (text(row, "name"), text(row, "state"))).collect();
        states.sort();
        states
    }

    /// Whether a file of this name is in this state.
    pub(crate) fn is(&self, name: &str, state: &str) -> bool {
        self.states().iter().any(|row| *row == (name.to_owned(), state.to_owned()))
    }

    /// What differs between the accounts and what the oracle makes of these files, each once.
    pub(crate) fn differences(&self, files: &[Sent]) -> Vec<String> {
        let mut books = Books::default();
        for sent in files {
            books.add(&oracle::read(sent.format(), &sent.bytes).books);
        }
        let key = LedgerKey::of(&self.data());
        let mut differences = books.differences(&key, &self.list("accounts"));
        differences.extend(books.differences(&key, &self.stored_accounts()));
        differences
    }

    /// Fails unless every one of these files is reconciled, the accounts are as the oracle says, by
    /// the command line and in the database, and `verify` finds nothing.
    pub(crate) fn assert_whole(&self, files: &[Sent]) {
        for sent in files {
            assert!(self.is(&sent.name, "reconciled"), "{}: {:?}", sent.name, self.states());
        }
        let differences = self.differences(files);
        assert!(differences.is_empty(), "{differences:#?}");
        let verify = self.batchless(&["verify", "--data", "data", "--output", "json"]);
        let off: Vec<_> = verify.objects().into_iter().filter(|row| row["ok"] != true).collect();
        assert!(verify.code == Some(0) && off.is_empty(), "{off:#?}\n{}", verify.stderr);
    }

    /// The balances as they lie in the database, in the form in which the command prints them.
    fn stored_accounts(&self) -> Vec<Value> {
        let store = self.database("accounts.db");
        let mut query = store
            .prepare("SELECT account, currency, debits_minor, credits_minor FROM balances")
            .unwrap();
        let rows = query.query_map([], |row| {
            let (account, currency): (String, String) = (row.get(0)?, row.get(1)?);
            let (debits, credits): (i64, i64) = (row.get(2)?, row.get(3)?);
            let owner = if account.contains('#') { "house" } else { "customer" };
            Ok(serde_json::json!({
                "account": account,
                "owner": owner,
                "currency": currency,
                "debits_minor": debits,
                "credits_minor": credits,
                "balance_minor": credits - debits,
            }))
        });
        rows.unwrap().map(Result::unwrap).collect()
    }

    /// A database of the data directory, opened to be read.
    pub(crate) fn database(&self, name: &str) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open(self.data().join(name)).unwrap();
        connection.pragma_update(None, "query_only", true).unwrap();
        connection
    }

    /// Every row of the account store as text. Left out is what every start of a run counts: the
    /// number of a shard's owner, and how far it has read in a topic that holds nothing for it.
    pub(crate) fn stored_rows(&self) -> Vec<String> {
        let store = self.database("accounts.db");
        let mut rows = Vec::new();
        for (table, columns) in [
            ("ledger", "*"),
            ("shards", "shard, next_number"),
            ("accounts", "*"),
            ("balances", "*"),
            ("outcomes", "*"),
            ("runs", "*"),
            ("spans", "*"),
        ] {
            let mut query = store.prepare(&format!("SELECT {columns} FROM {table}")).unwrap();
            let count = query.column_count();
            let found = query.query_map([], |row| {
                let cells = (0..count).map(|at| row.get::<_, rusqlite::types::Value>(at));
                Ok(format!("{table}: {:?}", cells.collect::<Result<Vec<_>, _>>()?))
            });
            rows.extend(found.unwrap().map(Result::unwrap));
        }
        rows
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // A test that has failed already says why.
        if self.is_scanned.get() && !std::thread::panicking() {
            let found = self.scan().found;
            assert!(found.is_empty(), "account numbers are left behind: {found:#?}");
        }
    }
}

/// Looks again and again until something is so.
///
/// # Panics
///
/// Where it is not within some minutes; `shown` is then said too.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool, shown: impl Fn() -> String) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "waited in vain until {what}: {}", shown());
        // Only so as not to take the processor from what is waited for.
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A run at work; killed where a test ends before it.
#[derive(Debug)]
pub(crate) struct Working {
    child: Child,
    log: PathBuf,
    /// How much of the log is of those before it.
    said_before: u64,
}

impl Working {
    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far, and those before it at this site.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Whether it says that it has: from then on it listens to signals.
    pub(crate) fn has_started(&self) -> bool {
        let before = usize::try_from(self.said_before).unwrap();
        self.said()[before..].contains("started")
    }

    /// How it ended, where it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Ends it as power fails: at whatever instruction it is.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end with SIGTERM, and fails unless it does so in order: all well, or with
    /// something that it refused.
    ///
    /// Waits until it says that it has started: before that nobody listens, and the signal ends it
    /// as any other process. Gives what it said.
    pub(crate) fn terminate(mut self) -> String {
        wait_until("it has started", || self.has_started(), || self.said());
        let told = Command::new("kill").args(["-TERM", &self.id().to_string()]).status().unwrap();
        assert!(told.success(), "kill: {told}");
        let status = self.wait();
        assert!(matches!(status.code(), Some(0 | 3)), "{status}\n{}", self.said());
        self.said()
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        let child = &mut self.child;
        let log = &self.log;
        wait_until(
            "it ended",
            || {
                status = child.try_wait().unwrap();
                status.is_some()
            },
            || fs::read_to_string(log).unwrap_or_default(),
        );
        status.unwrap()
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        // It may have ended already, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
