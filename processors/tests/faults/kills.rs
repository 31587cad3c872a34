//! A server that is killed in the middle of commits.

use std::sync::{Arc, Mutex};

use processors::store::conformance::ledger;
use processors::store::postgres::PostgresStore;
use processors::store::{OnSwapped, Probe, Store};
use tokio::sync::mpsc;

use crate::house::{FaultyLog, FaultyStore, Plan, Running, SHARDS};
use crate::oracle::{Off, off};
use crate::own::Own;
use crate::server::Schema;
use crate::stream::{Stream, ops};

/// When the server is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    /// Between the swap and the rows.
    Swapped,
    /// Between the rows and the COMMIT.
    Written,
    /// While the COMMIT, and what comes after it, is on its way.
    Beside,
}

/// Kills of each server, and servers that are killed side by side: most of the time is their
/// recovery.
const KILLS: usize = 5;
const SERVERS: usize = 4;

/// What was seen of one server.
struct Found {
    ambiguous: usize,
    resolved: usize,
    off: Off,
}

/// SIGKILL of the whole server, under load: what was answered is there after its recovery, what was
/// not is done once.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_server_killed_in_mid_commit_loses_and_doubles_nothing() {
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..SERVERS {
        tasks.spawn(kill_again_and_again(n));
    }
    let (mut ambiguous, mut resolved, mut lost, mut doubled) = (0, 0, 0, 0);
    while let Some(found) = tasks.join_next().await {
        let found = found.unwrap();
        ambiguous += found.ambiguous;
        resolved += found.resolved;
        lost += found.off.lost;
        doubled += found.off.doubled;
    }
    let kills = KILLS * SERVERS;
    println!(
        "kills {kills}, ambiguous {ambiguous}, resolved {resolved}, lost {lost}, doubled {doubled}"
    );
    assert_eq!((ambiguous, lost, doubled), (resolved, 0, 0));
    // Each of those before a COMMIT at least.
    assert!(kills / 3 <= ambiguous, "{ambiguous}");
}

async fn kill_again_and_again(server_number: usize) -> Found {
    let server = Arc::new(tokio::task::spawn_blocking(|| Own::start("")).await.unwrap());
    let schema = Schema::of(&server.url);
    let (killed, mut kills) = mpsc::unbounded_channel();
    let armed: Arc<Mutex<Option<At>>> = Arc::default();
    let killer = |is_swapped: bool| -> OnSwapped {
        let (armed, server, killed) = (Arc::clone(&armed), Arc::clone(&server), killed.clone());
        Arc::new(move |_| {
            let is_here = |at: &mut At| (*at == At::Swapped) == is_swapped;
            let Some(at) = armed.lock().unwrap().take_if(is_here) else { return };
            let (server, killed) = (Arc::clone(&server), killed.clone());
            let kill = move || {
                server.script(&["kill9"]);
                killed.send(()).unwrap();
            };
            match at {
                At::Beside => drop(std::thread::spawn(kill)),
                At::Swapped | At::Written => kill(),
            }
        })
    };
    let probe = Probe {
        on_swapped: Some(killer(true)),
        on_written: Some(killer(false)),
        ..Probe::default()
    };
    let inner = PostgresStore::open_probed(schema.settings.clone(), probe).await.unwrap();
    inner.open_ledger(&ledger(i32::try_from(SHARDS).unwrap())).await.unwrap();
    let store = FaultyStore::new(inner, Plan::none());

    let mut stream = Stream::new().await;
    let mut running = Running::start(&FaultyLog::new(&stream.log, Plan::none()), &store);
    let seed = 100 + u64::try_from(server_number).unwrap();
    for (n, some) in ops(seed, KILLS * 2_000).chunks(2_000).enumerate() {
        let ways = [At::Swapped, At::Written, At::Beside];
        *armed.lock().unwrap() = Some(ways[(n + server_number) % 3]);
        stream.say_all(some).await;
        kills.recv().await.unwrap();
        let again = Arc::clone(&server);
        tokio::task::spawn_blocking(move || again.up()).await.unwrap();
    }
    running.until_answered(&mut stream).await;
    assert!(running.end().await.is_empty());

    let mut view = schema.open().await.view().await.unwrap();
    for shard in 0..SHARDS {
        stream.check(&mut view, shard).await;
    }
    let off = off(&schema.connect().await, &stream).await;
    let seen = store.seen.lock().unwrap();
    Found { ambiguous: seen.ambiguous, resolved: seen.resolved, off }
}
