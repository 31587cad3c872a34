//! Connections to PostgreSQL that are cut in the middle of a commit.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use processors::store::conformance::ledger;
use processors::store::postgres::PostgresStore;
use processors::store::{OnSwapped, Probe, Store};
use tokio::sync::mpsc;

use crate::house::{FaultyLog, FaultyStore, Plan, Running, SHARDS};
use crate::oracle::{Off, off};
use crate::proxy::Proxy;
use crate::server::Schema;
use crate::stream::{Stream, ops};

/// How a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cut {
    /// Between the swap and the rows: nothing is committed.
    BehindSwap,
    /// Before the COMMIT is on its way: nothing is committed, and the committer can't know.
    BeforeCommit,
    /// The server commits, and of its answer so many bytes arrive.
    InAnswer(u8),
    /// Both sides are told that the other is gone, while the COMMIT is on its way.
    Reset,
    /// The server commits, and its answer never arrives; nor does an end.
    NoAnswer,
    /// The COMMIT never arrives; nor does an end, until the committer gives up.
    NoCommit,
    /// The COMMIT arrives when the committer has given up, and may have begun to repeat it.
    LateCommit,
}

const CUTS: usize = 50;

impl Cut {
    fn of(n: usize) -> Self {
        // The whole answer to a COMMIT has 18 bytes.
        let bytes = u8::try_from(n * 7 % 18).unwrap();
        match n % 10 {
            0 => Self::BehindSwap,
            1 => Self::BeforeCommit,
            2 => Self::Reset,
            3 => Self::NoAnswer,
            4 => Self::NoCommit,
            5 | 6 => Self::LateCommit,
            _ => Self::InAnswer(bytes),
        }
    }

    fn make(self, proxy: &Proxy) {
        match self {
            Self::BehindSwap | Self::BeforeCommit => proxy.cut(),
            Self::InAnswer(bytes) => {
                proxy.poison("downstream", "limit_data", &format!(r#"{{"bytes":{bytes}}}"#));
            }
            Self::Reset => proxy.poison("downstream", "reset_peer", r#"{"timeout":0}"#),
            Self::NoAnswer => proxy.poison("downstream", "timeout", r#"{"timeout":0}"#),
            Self::NoCommit => proxy.poison("upstream", "timeout", r#"{"timeout":0}"#),
            Self::LateCommit => proxy.poison("upstream", "latency", r#"{"latency":600}"#),
        }
    }
}

/// The cut that the next commit to come to its place makes.
#[derive(Default)]
struct Armed(Mutex<Option<Cut>>);

impl Armed {
    fn take(&self, is_behind_swap: bool) -> Option<Cut> {
        let mut armed = self.0.lock().unwrap();
        armed.take_if(|cut| (*cut == Cut::BehindSwap) == is_behind_swap)
    }
}

/// Nothing is lost and nothing doubled, wherever a commit is cut; and of each of which it was not
/// known whether it happened, repeating it told.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_connection_cut_in_mid_commit_loses_and_doubles_nothing() {
    let schema = Schema::new();
    let proxy = Arc::new(Proxy::before(schema.settings.port));
    let (made, mut cuts) = mpsc::unbounded_channel();
    let armed = Arc::new(Armed::default());
    let cutter = |is_behind_swap| -> OnSwapped {
        let (armed, proxy, made) = (Arc::clone(&armed), Arc::clone(&proxy), made.clone());
        Arc::new(move |shard| {
            if let Some(cut) = armed.take(is_behind_swap) {
                cut.make(&proxy);
                made.send((cut, shard)).unwrap();
            }
        })
    };
    let probe = Probe {
        on_swapped: Some(cutter(true)),
        on_written: Some(cutter(false)),
        ..Probe::default()
    };
    let mut settings = schema.settings.clone();
    settings.port = proxy.port;
    settings.answer_timeout = Duration::from_millis(300);
    // Its tables are made with patience: that a server is slow is not what is tested.
    let patient = schema.open().await;
    patient.open_ledger(&ledger(i32::try_from(SHARDS).unwrap())).await.unwrap();
    let inner = loop {
        match PostgresStore::open_probed(settings.clone(), probe.clone()).await {
            Err(processors::store::Error::Retry { .. }) => (),
            opened => break opened.unwrap(),
        }
    };
    let store = FaultyStore::new(inner, Plan::none());
    let (on_failure, mut failures) = mpsc::unbounded_channel();
    store.seen.lock().unwrap().on_failure = Some(on_failure);

    let mut stream = Stream::new().await;
    let mut running = Running::start(&FaultyLog::new(&stream.log, Plan::none()), &store);
    for (n, some) in ops(11, CUTS * 40).chunks(40).enumerate() {
        *armed.0.lock().unwrap() = Some(Cut::of(n));
        stream.say_all(some).await;
        let (cut, shard) = cuts.recv().await.unwrap();
        while failures.recv().await.unwrap() != shard {}
        proxy.heal(matches!(cut, Cut::BehindSwap | Cut::BeforeCommit));
        running.until_answered(&mut stream).await;
        // Those of the other shard, and of tries meanwhile.
        while failures.try_recv().is_ok() {}
    }
    assert!(running.end().await.is_empty());

    let mut view = schema.open().await.view().await.unwrap();
    for shard in 0..SHARDS {
        stream.check(&mut view, shard).await;
    }
    let Off { lost, doubled } = off(&schema.connect().await, &stream).await;
    let (ambiguous, resolved) = {
        let seen = store.seen.lock().unwrap();
        (seen.ambiguous, seen.resolved)
    };
    println!(
        "cuts {CUTS}, ambiguous {ambiguous}, resolved {resolved}, lost {lost}, doubled {doubled}"
    );
    assert_eq!((ambiguous, lost, doubled), (resolved, 0, 0));
    // Those behind the swap are none.
    assert!(CUTS - CUTS / 10 <= ambiguous, "{ambiguous}");
}
