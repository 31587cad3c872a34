//! A child that tests start: all owners over the embedded log and store of a directory, until all
//! is at an end, or until it is stopped at a step.
//!
//! ```text
//! crash-child directory=D [orders=NAME] [step=NAME hit=N then=abort|pause] [without=fence,…]
//! ```
//!
//! The directory holds the inboxes and, in `data`, the log and the store.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use processors::store::sqlite::SqliteStore;
use schemas::Timestamp;
use tests::orders::orders;
use tests::step::{Step, Trigger};
use tests::world::{OnStep, Without, World, layout, probe};
use topic::embedded::EmbeddedLog;

#[expect(clippy::disallowed_methods, reason = "a binary reads its own arguments")]
fn main() -> anyhow::Result<()> {
    let said: Vec<String> = std::env::args().skip(1).collect();
    let mut arguments: HashMap<&str, &str> = HashMap::new();
    for argument in &said {
        let (name, value) = argument.split_once('=').context("arguments are name=value")?;
        arguments.insert(name, value);
    }
    let directory = Path::new(arguments.get("directory").context("directory is missing")?);
    let without = Without::named(arguments.get("without").copied().unwrap_or_default())?;
    let orders = orders(arguments.get("orders").copied().unwrap_or_default())?;
    let data = directory.join("data");
    let log = match without.fence {
        false => EmbeddedLog::open(data.join("log.db"), layout())?,
        true => EmbeddedLog::open_unfenced(data.join("log.db"), layout())?,
    };
    let on_step = match arguments.get("step") {
        Some(step) => Some(on_step(step, &arguments, &data)?),
        None => None,
    };
    let probe = probe(on_step.clone(), without);
    let store = SqliteStore::open_probed(&data.join("accounts.db"), probe)?;
    let world = World::new(log.clone(), store, directory, without, now, on_step)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let settled = runtime.block_on(world.settle(&orders));
    runtime.block_on(log.close());
    settled
}

/// What stops it: at the `hit`-th time that this step is taken.
fn on_step(name: &str, arguments: &HashMap<&str, &str>, data: &Path) -> anyhow::Result<OnStep> {
    let step = Step::named(name).with_context(|| format!("there is no step {name}"))?;
    let hit = arguments.get("hit").context("hit is missing")?.parse()?;
    match arguments.get("then") {
        Some(&"abort") => {
            let trigger = Trigger::new(step, hit, || std::process::abort());
            Ok(Arc::new(move |step| trigger.note(step)))
        }
        Some(&"pause") => {
            let (gate, data) = (Arc::new(Gate::default()), data.to_owned());
            let closed = Arc::clone(&gate);
            let trigger = Trigger::new(step, hit, move || closed.while_closed(|| pause(&data)));
            Ok(Arc::new(move |step| {
                // In the middle of a commit nobody may wait: its lock would be held.
                if step != Step::Shard(processors::Step::Swapped) {
                    gate.pass();
                }
                trigger.note(step);
            }))
        }
        other => bail!("expected then=abort or then=pause, found {other:?}"),
    }
}

/// What nobody passes while it is closed.
#[derive(Default)]
struct Gate {
    is_closed: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn pass(&self) {
        let is_closed = self.is_closed.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.opened.wait_while(is_closed, |is_closed| *is_closed));
    }

    fn while_closed(&self, what: impl FnOnce()) {
        *self.is_closed.lock().unwrap_or_else(PoisonError::into_inner) = true;
        what();
        *self.is_closed.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.opened.notify_all();
    }
}

/// How often in a row nothing was written before all is taken to have come to the gate; and how
/// long between two looks.
const LOOKS: u32 = 20;
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Stops all threads of this process until somebody has it go on: once the others have ended what
/// they were writing, or the locks of the databases would keep everybody out.
fn pause(data: &Path) {
    let told = || Command::new("kill").args(["-STOP", &std::process::id().to_string()]).status();
    let is_quiet = wait_until_quiet(data).is_ok();
    if !is_quiet || !told().is_ok_and(|status| status.success()) {
        std::process::abort();
    }
}

fn wait_until_quiet(data: &Path) -> rusqlite::Result<()> {
    let open = |name| rusqlite::Connection::open(data.join(name));
    let databases = [open("log.db")?, open("accounts.db")?];
    let (mut before, mut same) = ([0_i64; 2], 0);
    while same < LOOKS {
        let mut now = [0_i64; 2];
        for (database, version) in databases.iter().zip(&mut now) {
            database.busy_timeout(Duration::from_secs(10))?;
            database.execute_batch("BEGIN IMMEDIATE; ROLLBACK")?;
            // It changes with every commit of others.
            *version = database.pragma_query_value(None, "data_version", |row| row.get(0))?;
        }
        same = if now == before { same + 1 } else { 0 };
        before = now;
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a binary reads the clock")]
fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp(since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
}
