//! The steps of all owners under one name, and a trigger that goes off at one of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A step of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Of an owner of feeds or of files.
    Ingest(ingest::step::Step),
    /// Of the owner of a shard.
    Shard(processors::Step),
}

impl Step {
    /// Every step, in the order in which a record meets them.
    pub fn all() -> impl Iterator<Item = Self> {
        let ingest = ingest::step::Step::ALL.into_iter().map(Self::Ingest);
        ingest.chain(processors::Step::ALL.into_iter().map(Self::Shard))
    }

    /// Its name, unique among all: `Closed`, `ReversalBegun`.
    pub fn name(self) -> String {
        match self {
            Self::Ingest(step) => format!("{step:?}"),
            Self::Shard(step) => format!("{step:?}"),
        }
    }

    /// The step of this name, if any.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|step| step.name() == name)
    }
}

/// Does something once: at the n-th time that a step is taken.
#[derive(Clone)]
pub struct Trigger {
    step: Step,
    /// At which time, from 1.
    hit: u64,
    seen: Arc<AtomicU64>,
    gone_off: Arc<AtomicBool>,
    then: Arc<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for Trigger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trigger").field("step", &self.step).field("hit", &self.hit).finish()
    }
}

impl Trigger {
    /// Has `then` called, in the task that takes the step, at the `hit`-th time (from 1).
    pub fn new(step: Step, hit: u64, then: impl Fn() + Send + Sync + 'static) -> Self {
        let (seen, gone_off) = (Arc::default(), Arc::default());
        Self { step, hit, seen, gone_off, then: Arc::new(then) }
    }

    /// True once it was called.
    pub fn has_gone_off(&self) -> bool {
        self.gone_off.load(Ordering::SeqCst)
    }

    /// Takes note of a step.
    pub fn note(&self, step: Step) {
        if step == self.step && self.seen.fetch_add(1, Ordering::SeqCst) + 1 == self.hit {
            self.gone_off.store(true, Ordering::SeqCst);
            (self.then)();
        }
    }
}
