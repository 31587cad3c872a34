//! A file's run on one shard: the one number that makes doubled events harmless, and the counts
//! and sums that answer the file's owner.

use std::collections::HashMap;

use schemas::file::Segment;
use schemas::record::SegmentClosed;
use schemas::{FileId, Sums};

use crate::event::Record;
use crate::reversal::{Applied, Reversal};

schemas::vocabulary! {
    /// Whether more of a file may come.
    RunState {
        /// It may.
        OPEN = "open",
        /// All of it came.
        COMPLETE = "complete",
        /// It was given up; nothing more of it is applied.
        CANCELLED = "cancelled",
    }
}

/// What a shard has of a file.
///
/// - `next_sequence` = `applied` + `rejected`: each of them took a sequence, nothing else does.
/// - `first_number` and `last_number` are those of the outcomes that took a sequence; all others of
///   the file that did lie between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The file.
    pub file: FileId,
    /// Whether more may come.
    pub state: RunState,
    /// True where an event before the newest is missing: nothing is applied until it comes.
    pub is_blocked: bool,
    /// The sequence of the next event.
    pub next_sequence: i64,
    /// Events applied.
    pub applied: i64,
    /// Events rejected while applying.
    pub rejected: i64,
    /// Events that were applied and then undone.
    pub reversed: i64,
    /// Records that came again and were recognised.
    pub duplicates: i64,
    /// What was applied.
    pub applied_sums: Sums,
    /// What was rejected.
    pub rejected_sums: Sums,
    /// What was applied and then undone.
    pub reversed_sums: Sums,
    /// The first outcome that took a sequence.
    pub first_number: Option<i64>,
    /// The last one.
    pub last_number: Option<i64>,
    /// The reversals that were taken up, in that order.
    pub reversals: Vec<Reversal>,
}

impl Run {
    /// The run of a file of which nothing came yet.
    pub fn new(file: FileId) -> Self {
        Self {
            file,
            state: RunState::OPEN,
            is_blocked: false,
            next_sequence: 0,
            applied: 0,
            rejected: 0,
            reversed: 0,
            duplicates: 0,
            applied_sums: Sums::new(),
            rejected_sums: Sums::new(),
            reversed_sums: Sums::new(),
            first_number: None,
            last_number: None,
            reversals: Vec::new(),
        }
    }

    /// True where all of the file came.
    pub fn is_complete(&self) -> bool {
        self.state == RunState::COMPLETE
    }

    /// True where the file was given up.
    pub fn is_cancelled(&self) -> bool {
        self.state == RunState::CANCELLED
    }

    /// True where more of it may be applied: it has begun, and was neither ended nor given up.
    pub fn may_grow(&self) -> bool {
        let has_begun = 0 < self.next_sequence || self.is_blocked;
        has_begun && !self.is_complete() && !self.is_cancelled()
    }

    /// What is said of it to the file's owner, in the outcome of this number; `events` is how many
    /// it has here.
    pub fn answer(&self, shard: u32, number: i64, events: i64) -> Segment {
        Segment {
            shard: i32::try_from(shard).unwrap_or(i32::MAX),
            number,
            complete: self.is_complete(),
            events,
            applied: self.applied,
            rejected: self.rejected,
            reversed: self.reversed,
            duplicates: self.duplicates,
            applied_sums: self.applied_sums.clone(),
            rejected_sums: self.rejected_sums.clone(),
            reversed_sums: self.reversed_sums.clone(),
        }
    }

    /// True where a reversal before `begun_number` undid this outcome of a record.
    pub fn is_undone(&self, begun_number: i64, index: i64, number: i64) -> bool {
        let mut before = self.reversals.iter().take_while(|it| it.begun_number < begun_number);
        before.any(|reversal| reversal.covers(index, number))
    }

    /// True while a reversal is taken up and has not ended.
    pub fn is_reversing(&self) -> bool {
        self.reversals.iter().any(Reversal::is_open)
    }
}

/// Where the outcomes that took a file's sequences lie: one span a commit and file.
///
/// By it the fingerprint of a sequence, and the postings of a range, are found again without an
/// index that every event would pay for. Sequences and indices ascend with the numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// The first sequence in it.
    pub first_sequence: i64,
    /// The index of that record.
    pub first_index: i64,
    /// The number of its outcome.
    pub first_number: i64,
    /// The number of the span's last outcome that took a sequence; outcomes of others may lie
    /// between.
    pub last_number: i64,
}

/// How a sequence was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Every leg is posted.
    Applied,
    /// None is.
    Rejected,
}

#[derive(Debug)]
struct Entry {
    run: Run,
    is_loaded: bool,
    is_changed: bool,
    /// What was taken since the last commit.
    span: Option<Span>,
    /// The fingerprints of that span, in order of sequence.
    fingerprints: Vec<i64>,
    /// Fingerprints that the store was asked for.
    earlier: HashMap<i64, i64>,
}

/// The runs of one shard that are in memory.
#[derive(Debug, Default)]
pub struct Runs {
    entries: HashMap<FileId, Entry>,
    wanted: Vec<FileId>,
}

impl Runs {
    /// How many are in memory.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True where none is.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Notes that a file's run will be needed.
    pub fn want(&mut self, file: FileId) {
        let wanted = &mut self.wanted;
        self.entries.entry(file).or_insert_with(|| {
            wanted.push(file);
            Entry {
                run: Run::new(file),
                is_loaded: false,
                is_changed: false,
                span: None,
                fingerprints: Vec::new(),
                earlier: HashMap::new(),
            }
        });
    }

    /// The files that the store must be asked for.
    pub fn wanted(&self) -> Vec<FileId> {
        self.wanted.clone()
    }

    /// Takes the store's answer to [`Self::wanted`], in the same order; none is a file of which it
    /// has nothing.
    pub fn load(&mut self, found: Vec<Option<Run>>) {
        for (file, run) in std::mem::take(&mut self.wanted).into_iter().zip(found) {
            let Some(entry) = self.entries.get_mut(&file) else { continue };
            entry.is_loaded = true;
            if let Some(run) = run {
                entry.run = run;
            }
        }
    }

    /// A run in memory; none where the store wasn't asked for it.
    pub fn get(&self, file: &FileId) -> Option<&Run> {
        self.entries.get(file).filter(|entry| entry.is_loaded).map(|entry| &entry.run)
    }

    /// True where the fingerprint of this sequence has to be asked of the store.
    pub fn wants_fingerprint(&self, file: &FileId, sequence: i64) -> bool {
        self.get(file).is_some_and(|run| sequence < run.next_sequence)
    }

    /// Takes fingerprints from the store, each with its sequence. They are forgotten with the next
    /// commit.
    pub fn load_fingerprints(&mut self, file: &FileId, found: Vec<(i64, i64)>) {
        if let Some(entry) = self.entries.get_mut(file) {
            entry.earlier.extend(found);
        }
    }

    /// The fingerprint under which a sequence was taken; none where it is not known.
    pub fn fingerprint(&self, file: &FileId, sequence: i64) -> Option<i64> {
        let entry = self.entries.get(file)?;
        let since_commit = entry.span.as_ref().and_then(|span| {
            let at = usize::try_from(sequence.checked_sub(span.first_sequence)?).ok()?;
            entry.fingerprints.get(at).copied()
        });
        since_commit.or_else(|| entry.earlier.get(&sequence).copied())
    }

    /// True where the sums have room for this record.
    pub fn has_room_for(&self, record: &Record) -> bool {
        let (Some(run), Some(currency)) = (self.get(&record.file), record.currency) else {
            return true;
        };
        let unit = (currency, record.exponent);
        let sum = run.applied_sums.iter().find(|sum| (sum.currency, sum.exponent) == unit);
        sum.is_none_or(|sum| {
            let largest = sum.debits_minor.max(sum.credits_minor);
            largest.checked_add(record.amount_minor).is_some()
        })
    }

    /// Takes the sequence of a record.
    ///
    /// A sum of rejects that would not fit in 64 bits stays as it is: the file's own total, which
    /// is checked before anything is published, would not have fitted either.
    pub fn take(&mut self, record: &Record, number: i64, taken: Taken) {
        let Some(entry) = self.entries.get_mut(&record.file) else { return };
        let run = &mut entry.run;
        let (count, sums) = match taken {
            Taken::Applied => (&mut run.applied, &mut run.applied_sums),
            Taken::Rejected => (&mut run.rejected, &mut run.rejected_sums),
        };
        *count = count.saturating_add(1);
        if let Some(currency) = record.currency {
            let _ = sums.add(&record.direction, currency, record.exponent, record.amount_minor);
        }
        let sequence = run.next_sequence;
        run.next_sequence = sequence.saturating_add(1);
        run.is_blocked = false;
        run.first_number.get_or_insert(number);
        run.last_number = Some(number);
        let span = entry.span.get_or_insert(Span {
            file: record.file,
            first_sequence: sequence,
            first_index: record.index,
            first_number: number,
            last_number: number,
        });
        span.last_number = number;
        entry.fingerprints.push(record.fingerprint);
        entry.is_changed = true;
    }

    /// Counts an event that came again.
    pub fn count_duplicate(&mut self, file: &FileId) {
        if let Some(entry) = self.entries.get_mut(file) {
            entry.run.duplicates = entry.run.duplicates.saturating_add(1);
            entry.is_changed = true;
        }
    }

    /// Notes that an event is missing.
    pub fn block(&mut self, file: &FileId) {
        if let Some(entry) = self.entries.get_mut(file) {
            entry.is_changed |= !entry.run.is_blocked;
            entry.run.is_blocked = true;
        }
    }

    /// Ends a file's run, and says what came of it.
    pub fn close(
        &mut self,
        closed: &SegmentClosed,
        is_cancelled: bool,
        shard: u32,
        number: i64,
    ) -> Option<Segment> {
        let entry = self.entries.get_mut(&closed.file_id)?;
        let state = if is_cancelled { RunState::CANCELLED } else { RunState::COMPLETE };
        entry.run.state = state;
        entry.run.is_blocked = false;
        entry.is_changed = true;
        Some(entry.run.answer(shard, number, closed.events))
    }

    /// The reversal of a file that this outcome took up.
    pub fn reversal(&self, file: &FileId, begun_number: i64) -> Option<&Reversal> {
        self.get(file)?.reversals.iter().find(|it| it.begun_number == begun_number)
    }

    fn change_reversal(
        &mut self,
        file: &FileId,
        begun_number: i64,
    ) -> Option<(&mut Reversal, &mut i64, &mut Sums)> {
        let entry = self.entries.get_mut(file)?;
        let run = &mut entry.run;
        let reversal = run.reversals.iter_mut().find(|it| it.begun_number == begun_number)?;
        entry.is_changed = true;
        Some((reversal, &mut run.reversed, &mut run.reversed_sums))
    }

    /// Notes a reversal that is taken up.
    pub fn begin_reversal(&mut self, file: &FileId, reversal: Reversal) {
        if let Some(entry) = self.entries.get_mut(file) {
            entry.run.reversals.push(reversal);
            entry.is_changed = true;
        }
    }

    /// Notes that a reversal came to an outcome: it is undone, or it can't be.
    pub fn undo(&mut self, file: &FileId, begun_number: i64, applied: &Applied, is_undone: bool) {
        let Some((reversal, reversed, sums)) = self.change_reversal(file, begun_number) else {
            return;
        };
        reversal.below = Some(applied.number);
        if !is_undone {
            return;
        }
        reversal.reversed = reversal.reversed.saturating_add(1);
        *reversed = reversed.saturating_add(1);
        let Some(currency) = applied.currency else { return };
        for sums in [&mut reversal.reversed_sums, sums] {
            // They have room: what was applied had it, and each record is undone once.
            let (direction, exponent) = (&applied.direction, applied.exponent);
            let _ = sums.add(direction, currency, exponent, applied.amount_minor);
        }
    }

    /// Ends a reversal, and says what came of it and of the file.
    pub fn end_reversal(
        &mut self,
        file: &FileId,
        begun_number: i64,
        shard: u32,
        number: i64,
    ) -> Option<(&Reversal, Segment)> {
        let (reversal, ..) = self.change_reversal(file, begun_number)?;
        reversal.below = None;
        let run = self.get(file)?;
        let answer = run.answer(shard, number, run.next_sequence);
        Some((self.reversal(file, begun_number)?, answer))
    }

    /// What differs from the store: the runs, and the spans taken since the last commit, both in
    /// order of file. From here on all of it is taken to be in the store.
    pub fn take_changes(&mut self) -> (Vec<Run>, Vec<Span>) {
        let (mut runs, mut spans) = (Vec::new(), Vec::new());
        for entry in self.entries.values_mut() {
            entry.earlier.clear();
            entry.fingerprints.clear();
            spans.extend(entry.span.take());
            if std::mem::take(&mut entry.is_changed) {
                runs.push(entry.run.clone());
            }
        }
        runs.sort_unstable_by_key(|run| run.file);
        spans.sort_unstable_by_key(|span: &Span| span.file);
        (runs, spans)
    }
}
