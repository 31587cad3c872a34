//! An owner in its smallest form.

use std::sync::Arc;

use schemas::codec::Encoder;
use schemas::outcome::Outcome;

use crate::apply::{Settings, Shard};
use crate::event::{Event, What};
use crate::round;
use crate::store::conformance::settings;
use crate::store::{Commit, Error, Store};

/// An owner in its smallest form: one shard, one store, one round at a time.
#[derive(Debug)]
pub struct Driver<S> {
    store: S,
    settings: Settings,
    shard: Shard,
    epoch: i64,
    encoder: Encoder<Outcome>,
}

impl<S: Store> Driver<S> {
    /// Takes a shard of a ledger of `shards` shards.
    ///
    /// # Errors
    ///
    /// Where the store has no such shard.
    pub async fn new(store: &S, shard: u32, shards: u32) -> Result<Self, Error> {
        let row = store.acquire(shard).await?;
        Ok(Self {
            store: store.clone(),
            settings: settings(),
            shard: Shard::new(shard, shards, row.next_offset, row.next_number),
            epoch: row.epoch,
            encoder: round::encoder(),
        })
    }

    /// Applies what is said, at the next offsets, undoes a slice of what is being undone, and
    /// commits it as one round.
    ///
    /// # Errors
    ///
    /// As [`Store::commit`].
    pub async fn round(&mut self, said: Vec<What>) -> Result<Arc<Commit>, Error> {
        let commit = self.prepare(said).await?;
        self.store.commit(Arc::clone(&commit)).await?;
        Ok(commit)
    }

    /// Applies what is said, and commits nothing.
    ///
    /// # Errors
    ///
    /// As [`Store::fetch`]; *invariant* where it can't be applied, or nothing comes of it.
    pub async fn prepare(&mut self, said: Vec<What>) -> Result<Arc<Commit>, Error> {
        let nothing = || Error::Invariant { what: "nothing came of a round".into(), source: None };
        self.apply(said).await?.ok_or_else(nothing)
    }

    /// Undoes what is being undone to its end, in rounds of its own; gives what it committed.
    ///
    /// # Errors
    ///
    /// As [`Store::commit`].
    pub async fn undo(&mut self) -> Result<Vec<Arc<Commit>>, Error> {
        let mut commits = Vec::new();
        round::load_reversals(&self.store, &mut self.shard).await?;
        while self.shard.reversals.first().is_some() {
            if let Some(commit) = self.apply(Vec::new()).await? {
                self.store.commit(Arc::clone(&commit)).await?;
                commits.push(commit);
            }
        }
        Ok(commits)
    }

    async fn apply(&mut self, said: Vec<What>) -> Result<Option<Arc<Commit>>, Error> {
        let first = self.shard.next_offset;
        let events: Vec<Event> =
            said.into_iter().zip(first..).map(|(what, offset)| Event { offset, what }).collect();
        let (shard, settings) = (&mut self.shard, &self.settings);
        round::load_reversals(&self.store, shard).await?;
        round::prepare(&self.store, shard, settings, &events).await?;
        match round::apply_all(shard, self.epoch, settings, &events, &mut self.encoder) {
            (round, None) => Ok(round.map(|round| round.commit)),
            (_, error) => Err(Error::Invariant {
                what: "a round can't be applied".to_owned(),
                source: error.map(Into::into),
            }),
        }
    }
}
