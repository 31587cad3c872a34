//! A log and a store in memory, and worlds that work on them one after the other.

use std::panic::resume_unwind;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use processors::store::memory::MemoryStore;
use schemas::Timestamp;
use tempfile::TempDir;
use tests::orders::orders;
use tests::step::{Step, Trigger};
use tests::world::{OnStep, Order, Without, World, layout, probe};
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use topic::memory::MemoryLog;

use super::again::{publish_again, set_positions_back};
use super::enumeration::Start;
use super::evidence;
use super::lost::Through;
use super::scene::Scene;
use crate::oracle::audit::{Expected, Report, audit};

/// A log and a store that outlive their owners.
pub(crate) struct Realm {
    pub(crate) log: MemoryLog,
    store: MemoryStore,
    /// Who is told of the steps of the store now.
    told: Told,
    scene: &'static Scene,
    orders: Vec<Order>,
    inboxes: Inboxes,
    without: Without,
}

/// Where the inboxes of a scene are: shared with other realms where nobody takes anything out.
enum Inboxes {
    Shared(&'static Path),
    Own(TempDir),
}

impl Inboxes {
    fn of(scene: &'static Scene) -> Self {
        if !scene.archives {
            return Self::Shared(scene.inboxes());
        }
        let folder = tempfile::tempdir().unwrap();
        scene.drop_into(folder.path());
        Self::Own(folder)
    }

    fn path(&self) -> &Path {
        match self {
            Self::Shared(path) => path,
            Self::Own(folder) => folder.path(),
        }
    }
}

type Told = Arc<Mutex<Option<OnStep>>>;

/// A store that tells of the step in the middle of its commits.
fn store(told: &Told, without: Without) -> MemoryStore {
    let told = Arc::clone(told);
    let on_step: OnStep = Arc::new(move |step| {
        let now = told.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(tell) = now {
            tell(step);
        }
    });
    MemoryStore::probed(probe(Some(on_step), without))
}

/// A clock that no test waits for: each look is a millisecond later.
pub(crate) fn clock() -> Timestamp {
    static NOW: AtomicI64 = AtomicI64::new(1_790_000_000_000);
    Timestamp(NOW.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

impl Realm {
    /// A realm in which nothing was done yet.
    pub(crate) fn new(scene: &'static Scene, without: Without) -> Self {
        let log =
            if without.fence { MemoryLog::unfenced(layout()) } else { MemoryLog::new(layout()) };
        let told = Told::default();
        let store = store(&told, without);
        let inboxes = Inboxes::of(scene);
        Self { log, store, told, scene, orders: Vec::new(), inboxes, without }
    }

    /// A realm as a case begins.
    pub(crate) fn at(start: Start) -> Self {
        let mut realm = Self::new(start.scene(), Without::default());
        if start.is_reconciled() {
            realm.goes_on();
        }
        if start == Start::OlderStore {
            realm.store = store(&realm.told, Without::default());
        }
        realm.orders = orders(start.orders()).unwrap();
        realm
    }

    pub(crate) fn world(&self, on_step: Option<OnStep>) -> World<MemoryLog, MemoryStore> {
        let (log, store) = (self.log.clone(), self.store.clone());
        World::new(log, store, self.inboxes.path(), self.without, clock, on_step).unwrap()
    }

    /// Has all owners end at a step: that one there, the others at their next step or wherever they
    /// wait. False where all came to its end before.
    pub(crate) fn loses_its_owners_at(&mut self, step: Step, hit: u64) -> bool {
        let (dead, killed) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
        let trigger = {
            let (dead, killed) = (Arc::clone(&dead), Arc::clone(&killed));
            Trigger::new(step, hit, move || {
                dead.store(true, Ordering::SeqCst);
                killed.notify_one();
            })
        };
        let on_step: OnStep = Arc::new(move |step| {
            trigger.note(step);
            if dead.load(Ordering::SeqCst) {
                // A panic that is told to nobody: whoever takes a step now ends in it.
                resume_unwind(Box::new("killed"));
            }
        });
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&on_step));
        let runtime = runtime();
        let world = self.world(Some(on_step));
        let was_killed = runtime.block_on(async {
            tokio::select! {
                biased;
                () = killed.notified() => true,
                settled = world.settle(&self.orders) => {
                    // An owner's end may be noticed before the kill is.
                    if let Err(error) = &settled {
                        assert!(error.to_string().contains("owner"), "{error:#}");
                    }
                    settled.is_err()
                }
            }
        });
        // Whatever still waits ends here.
        drop(runtime);
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = None;
        was_killed
    }

    /// Has all owners stand still at a step, be taken for lost, and others bring all to its end;
    /// then the first go on, who know nothing of it. Gives how they ended; none where the step was
    /// not taken so often.
    pub(crate) fn is_taken_over_at(&mut self, step: Step, hit: u64) -> Option<anyhow::Result<()>> {
        let (stands, stood) = mpsc::channel();
        let (wake, woken) = mpsc::channel::<()>();
        let woken = Mutex::new(woken);
        let trigger = Trigger::new(step, hit, move || {
            // Nobody listens, or wakes, where the test has failed already.
            let _ = stands.send(());
            let _ = woken.lock().unwrap_or_else(PoisonError::into_inner).recv();
        });
        let on_step: OnStep = Arc::new(move |step| trigger.note(step));
        let through = Through::new(self.log.clone());
        let (log, store, taken) = (through.clone(), self.store.clone(), through.clone());
        let inboxes = self.inboxes.path();
        let world = World::new(log, store, inboxes, self.without, clock, Some(on_step));
        let (world, orders) = (world.unwrap(), self.orders.clone());
        // One thread: where one of them stands, all do.
        let first = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                tokio::select! {
                    ended = world.settle(&orders) => ended,
                    () = taken.has_let_go() => Ok(()),
                }
            })
        });
        if stood.recv().is_err() {
            first.join().unwrap().unwrap();
            return None;
        }
        through.lose();
        self.goes_on();
        wake.send(()).unwrap();
        let ended = first.join().unwrap();
        // Whatever the first have done, others begin again from what is there.
        self.goes_on();
        Some(ended)
    }

    /// Publishes every message of `records` once more; gives how many of them are records.
    pub(crate) fn publishes_again(&self) -> u64 {
        runtime().block_on(publish_again(&self.log))
    }

    /// Sets all positions of all groups back to the first message.
    pub(crate) fn sets_positions_back(&self) {
        runtime().block_on(set_positions_back(&self.log));
    }

    /// Has new owners work until all is at an end.
    pub(crate) fn goes_on(&mut self) {
        let world = self.world(None);
        runtime().block_on(world.settle(&self.orders)).unwrap();
    }

    /// What the oracle finds.
    pub(crate) fn audit(&self) -> Report {
        self.audit_after(|_| ())
    }

    /// What the oracle finds where more is expected than was sent.
    pub(crate) fn audit_after(&self, change: impl FnOnce(&mut Expected)) -> Report {
        let mut expected = self.scene.expected.clone();
        change(&mut expected);
        let evidence = runtime().block_on(evidence::memory(&self.log, &self.store));
        audit(&expected, &evidence)
    }
}
