//! The one thread that writes the database of an embedded log.
//!
//! It takes what waits in its queue, checks each publish, and commits those that pass in one
//! SQLite transaction: one sync of the disk for all of them. One that is fenced fails alone.
//! Publishes arrive encoded, so that this thread does nothing but check and insert.
//!
//! Others may append beside it ([`super::Beside`]). Each transaction, once it has the database to
//! itself, takes the ends anew where anybody else has committed since; so it never appends at an
//! offset that is taken. See `docs/adr/0014-publishing-beside.md`.

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::Connection;
use schemas::Topic;
use tokio::sync::{mpsc, oneshot};

use super::changes::Lookout;
use super::compaction::Piles;
use super::fault::Fault;
use super::record_batch::Encoded;
use super::{Visible, sql};
use crate::member::Groups;
use crate::memory::check_offset;
use crate::{Consumed, Error, Layout};

/// How many requests share a transaction at most. More would not save much of a sync, and would
/// keep the first one waiting.
const REQUESTS_MAX: usize = 64;

/// A transaction takes no further request once it holds this much: what one sync can carry while
/// nobody waits noticeably longer.
const TRANSACTION_BYTES_MAX: usize = 16 << 20;

/// What the committer is asked for. Requests take effect in the order in which they were sent.
#[derive(Debug)]
pub(super) enum Request {
    /// Open the writer of this name; the answer is its epoch.
    Open { name: Arc<str>, done: oneshot::Sender<u64> },
    /// Make all of it visible, or nothing.
    Publish { publish: Publish, done: oneshot::Sender<Result<(), Error>> },
    /// Answer with the positions of a group in these places.
    Positions {
        group: String,
        places: Range<usize>,
        done: oneshot::Sender<Result<Vec<Option<i64>>, Error>>,
    },
    /// Put compacted batches in the place of others.
    Replace { replacement: Replacement, done: oneshot::Sender<Result<(), Error>> },
    /// Another process has committed: show what it appended.
    Look,
    /// Commit what came before, close the database, and end.
    Close { done: oneshot::Sender<()> },
    /// Do this to the connection, before what comes later.
    #[cfg(test)]
    Do(Hook),
}

/// What a test does to the connection of the committer.
#[cfg(test)]
pub(super) struct Hook(pub(super) Box<dyn FnOnce(&Connection) + Send>);

#[cfg(test)]
impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook")
    }
}

/// A publish, encoded.
#[derive(Debug)]
pub(super) struct Publish {
    pub(super) name: Arc<str>,
    pub(super) epoch: u64,
    pub(super) batches: Vec<Encoded>,
    pub(super) consumed: Option<Consumed>,
}

/// Compacted batches, and those whose messages they keep.
#[derive(Debug)]
pub(super) struct Replacement {
    pub(super) place: usize,
    /// The batches that begin from the first to before the second offset are replaced.
    pub(super) offsets: Range<i64>,
    /// How many they are.
    pub(super) count: usize,
    pub(super) batches: Vec<Encoded>,
}

/// The state of the writing thread.
#[derive(Debug)]
pub(super) struct Committer {
    pub(super) path: PathBuf,
    pub(super) connection: Connection,
    pub(super) layout: Layout,
    /// The number of our opening of the log. Another number in the database means that somebody
    /// else has opened it for writing since.
    pub(super) opening: u32,
    pub(super) visible: Arc<Visible>,
    pub(super) groups: Arc<Groups>,
    /// For each name, how often its writer was opened. Not stored: those of other processes are
    /// past by the number of the opening.
    pub(super) epochs: HashMap<Arc<str>, u64>,
    pub(super) piles: Piles,
    pub(super) lookout: Lookout,
    /// The version of the database whose ends are known. It changes with the commits of others.
    pub(super) seen: i64,
    /// True after a failure, until the ends have been read from the database again.
    pub(super) is_stale: bool,
    /// False only in tests that must find out what goes wrong without.
    pub(super) is_fenced: bool,
}

/// What one transaction has done so far.
struct Round {
    has_begun: bool,
    ends: Vec<i64>,
    /// Bytes for each insert into a place.
    inserted: Vec<(usize, usize)>,
}

/// Who is answered once the transaction has ended.
enum Answer {
    Done(oneshot::Sender<Result<(), Error>>),
    Opened(oneshot::Sender<u64>, u64),
    Positions(String, Range<usize>, oneshot::Sender<Result<Vec<Option<i64>>, Error>>),
}

impl Committer {
    /// Serves requests until the last sender is gone or the log is closed.
    pub(super) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut closed = None;
        while closed.is_none()
            && let Some(first) = requests.blocking_recv()
        {
            let mut waiting = Vec::new();
            let mut bytes = 0;
            let mut next = Some(first);
            while let Some(request) = next {
                if let Request::Close { done } = request {
                    closed = Some(done);
                    break;
                }
                bytes += request.size_bytes();
                waiting.push(request);
                let has_room = waiting.len() < REQUESTS_MAX && bytes < TRANSACTION_BYTES_MAX;
                next = if has_room { requests.try_recv().ok() } else { None };
            }
            self.serve(waiting);
        }
        // Whoever still waits, or asks later, is told so by the end of the queue.
        drop(requests);
        self.visible.close();
        self.piles.end();
        self.lookout.end();
        drop(self.connection);
        if let Some(closed) = closed {
            // Nobody waits for the end of the log where the caller has gone.
            let _ = closed.send(());
        }
    }

    /// Serves these requests in one transaction, and answers them.
    fn serve(&mut self, requests: Vec<Request>) {
        let mut answers = Vec::new();
        let outcome = self.transact(requests, &mut answers);
        for answer in answers {
            // A caller that went away doesn't need its answer.
            match answer {
                Answer::Done(done) => {
                    let _ = done.send(outcome.as_ref().copied().map_err(Fault::to_error));
                }
                Answer::Opened(done, epoch) => {
                    let _ = done.send(epoch);
                }
                Answer::Positions(group, places, done) => {
                    let _ = done.send(self.positions(&group, places));
                }
            }
        }
    }

    fn transact(&mut self, requests: Vec<Request>, answers: &mut Vec<Answer>) -> Result<(), Fault> {
        let mut round = Round { has_begun: false, ends: Vec::new(), inserted: Vec::new() };
        // After a failure the rest of the round fails alike; it is all rolled back.
        let mut outcome = self.refresh();
        round.ends = self.visible.ends();
        for request in requests {
            match request {
                Request::Open { name, done } => {
                    let epoch = self.epochs.entry(name).or_insert(0);
                    *epoch += 1;
                    answers.push(Answer::Opened(done, *epoch));
                }
                Request::Publish { publish, done } => {
                    match self.check(&publish, &round.ends) {
                        Ok(()) => answers.push(Answer::Done(done)),
                        Err(error) => {
                            let _ = done.send(Err(error));
                            continue;
                        }
                    }
                    outcome = outcome.and_then(|()| self.insert(&mut round, publish));
                }
                Request::Replace { replacement, done } => {
                    answers.push(Answer::Done(done));
                    outcome = outcome.and_then(|()| self.replace(&mut round, replacement));
                }
                Request::Positions { group, places, done } => {
                    answers.push(Answer::Positions(group, places, done));
                }
                // The round began with a look.
                Request::Look => (),
                Request::Close { done } => drop(done),
                #[cfg(test)]
                Request::Do(Hook(run)) => run(&self.connection),
            }
        }
        outcome = outcome.and_then(|()| self.commit(&round));
        match outcome {
            Ok(()) => self.show(round),
            Err(_) => {
                self.roll_back();
                // What others appended is shown all the same; where even that fails, the next
                // round begins with it.
                let _ = self.refresh();
            }
        }
        outcome
    }

    fn check(&self, publish: &Publish, ends: &[i64]) -> Result<(), Error> {
        let Publish { name, epoch, consumed, .. } = publish;
        if self.is_fenced && self.epochs.get(name) != Some(epoch) {
            return Err(Error::Fenced { what: format!("writer {name} was opened again") });
        }
        let Some(consumed) = consumed else { return Ok(()) };
        if self.is_fenced {
            self.groups.check(consumed)?;
        }
        for &(topic, partition, offset) in &consumed.positions {
            let place = self.layout.place(topic, partition)?;
            check_offset(topic, partition, offset, ends.get(place).copied().unwrap_or(0))?;
        }
        Ok(())
    }

    fn insert(&mut self, round: &mut Round, publish: Publish) -> Result<(), Fault> {
        self.begin(round)?;
        for Encoded { place, offsets, size, body } in publish.batches {
            let Some(end) = round.ends.get_mut(place) else { continue };
            let next = *end + offsets;
            sql::insert(&self.connection, place, (*end, next), size, &body)
                .map_err(|source| self.fault(source))?;
            *end = next;
            round.inserted.push((place, body.len()));
        }
        if let Some(Consumed { membership, positions }) = publish.consumed {
            for (topic, partition, offset) in positions {
                // Checked before: a place that doesn't exist never gets here.
                let Ok(place) = self.layout.place(topic, partition) else { continue };
                sql::set_position(&self.connection, &membership.group, place, offset)
                    .map_err(|source| self.fault(source))?;
            }
        }
        Ok(())
    }

    fn replace(&mut self, round: &mut Round, replacement: Replacement) -> Result<(), Fault> {
        self.begin(round)?;
        let Replacement { place, offsets: Range { start, end }, count, batches } = replacement;
        self.replace_batches(place, (start, end), count, batches)
            .map_err(|source| self.fault(source))
    }

    fn replace_batches(
        &self,
        place: usize,
        (from, to): (i64, i64),
        count: usize,
        batches: Vec<Encoded>,
    ) -> rusqlite::Result<()> {
        if sql::count(&self.connection, place, from, to)? != count as i64 {
            // They were replaced by somebody else: leave them.
            return Ok(());
        }
        sql::remove(&self.connection, place, from, to)?;
        let mut base = from;
        for Encoded { offsets, size, body, .. } in batches {
            let next = base + offsets;
            sql::insert(&self.connection, place, (base, next), size, &body)?;
            base = next;
        }
        Ok(())
    }

    /// Begins the transaction, where it hasn't yet. From here on nobody else can append.
    fn begin(&mut self, round: &mut Round) -> Result<(), Fault> {
        if round.has_begun {
            return Ok(());
        }
        self.connection.execute_batch("BEGIN IMMEDIATE").map_err(|source| self.fault(source))?;
        round.has_begun = true;
        let opening = sql::opening(&self.connection).map_err(|source| self.fault(source))?;
        if self.is_fenced && opening != self.opening {
            return Err(Fault::fatal(format!(
                "another process has opened {} for writing; end one of the two",
                self.path.display()
            )));
        }
        let seen = sql::data_version(&self.connection).map_err(|source| self.fault(source))?;
        if seen != self.seen {
            // Somebody has appended beside since the round began, and nothing was inserted yet.
            round.ends = sql::ends_within(&self.connection, round.ends.len())
                .map_err(|source| self.fault(source))?;
            self.seen = seen;
        }
        Ok(())
    }

    fn commit(&self, round: &Round) -> Result<(), Fault> {
        if !round.has_begun {
            return Ok(());
        }
        self.connection.execute_batch("COMMIT").map_err(|source| {
            let is_rolled_back = self.connection.is_autocommit();
            Fault::of_commit(&self.path, source, is_rolled_back)
        })
    }

    fn roll_back(&mut self) {
        self.is_stale = true;
        if !self.connection.is_autocommit() {
            // Where even this fails, the next transaction can't begin, and says why.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }

    /// Makes what was committed visible, at once for all places, and wakes who waits for it.
    fn show(&mut self, round: Round) {
        self.visible.show(round.ends);
        for (place, bytes) in round.inserted {
            self.piles.grow(place, bytes as u64);
        }
    }

    /// Reads from the database how far the log goes, after a failure and where another process has
    /// committed, and shows it.
    fn refresh(&mut self) -> Result<(), Fault> {
        let seen = sql::data_version(&self.connection).map_err(|it| self.fault(it))?;
        if !self.is_stale && seen == self.seen {
            return Ok(());
        }
        let places = self.layout.places().count();
        let (seen, ends) = sql::ends(&self.connection, places).map_err(|it| self.fault(it))?;
        self.visible.show(ends);
        self.seen = seen;
        self.is_stale = false;
        Ok(())
    }

    fn positions(&self, group: &str, places: Range<usize>) -> Result<Vec<Option<i64>>, Error> {
        let positions = places.map(|place| sql::position(&self.connection, group, place));
        positions
            .collect::<rusqlite::Result<Vec<_>>>()
            .map_err(|source| self.fault(source).to_error())
    }

    fn fault(&self, source: rusqlite::Error) -> Fault {
        Fault::of(&self.path, source)
    }
}

impl Request {
    fn size_bytes(&self) -> usize {
        let batches = match self {
            Self::Publish { publish, .. } => &publish.batches,
            Self::Replace { replacement, .. } => &replacement.batches,
            _ => return 0,
        };
        batches.iter().map(|batch| batch.body.len()).sum()
    }
}

/// The places of a topic, which are consecutive.
pub(super) fn places_of(layout: Layout, topic: Topic) -> Result<Range<usize>, Error> {
    let first = layout.place(topic, 0)?;
    Ok(first..first + layout.partitions(topic) as usize)
}
