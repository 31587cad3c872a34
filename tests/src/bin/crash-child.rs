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
use std::sync::Arc;

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
        Some(step) => Some(on_step(step, &arguments)?),
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
fn on_step(name: &str, arguments: &HashMap<&str, &str>) -> anyhow::Result<OnStep> {
    let step = Step::named(name).with_context(|| format!("there is no step {name}"))?;
    let hit = arguments.get("hit").context("hit is missing")?.parse()?;
    let then: fn() = match arguments.get("then") {
        Some(&"abort") => || std::process::abort(),
        Some(&"pause") => pause,
        other => bail!("expected then=abort or then=pause, found {other:?}"),
    };
    let trigger = Trigger::new(step, hit, then);
    Ok(Arc::new(move |step| trigger.note(step)))
}

/// Stops all threads of this process until somebody has it go on.
fn pause() {
    let told = Command::new("kill").args(["-STOP", &std::process::id().to_string()]).status();
    if !told.is_ok_and(|status| status.success()) {
        std::process::abort();
    }
}

#[expect(clippy::disallowed_methods, reason = "a binary reads the clock")]
fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp(since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
}
