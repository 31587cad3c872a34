//! The rules, and one pass over a shard's outcomes that finds where they are broken.

use std::collections::{BTreeMap, HashMap, HashSet};

use schemas::file::{File, FileState, Segment};
use schemas::outcome::{Leg, Outcome, OutcomeKind};
use schemas::{Currency, Direction, FileId, Sums};

use crate::account::Account;
use crate::event::{Event, What};
use crate::outcome::NO_CURRENCY;
use crate::run::Run;
use crate::store::ShardRow;
use crate::verify::{Check, Known};

/// What must be so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    Answered,
    Complete,
    Sequences,
    RecordsOnce,
    UndoneOnce,
    Dense,
    Published,
    Legs,
    Balances,
    Files,
    Answers,
    Order,
    Verified,
    Opposite,
    NothingLeft,
}

impl Rule {
    /// The rules in order: each, what it says, and whether it needs the topics.
    const ALL: [(Self, &'static str, bool); 15] = [
        (Self::Answered, "G1 every event has one outcome, which answers it", true),
        (Self::Complete, "G1 every record of an ended file is applied or rejected", true),
        (Self::Sequences, "G2 no sequence of a file is taken twice or passed over", false),
        (Self::RecordsOnce, "G2 no record is applied or rejected twice", true),
        (Self::UndoneOnce, "G2 what is undone was applied, and is undone once", false),
        (Self::Dense, "G2 outcomes are numbered without a hole", false),
        (Self::Published, "G2 postings has each outcome of the store once, in order", true),
        (Self::Legs, "G3 the legs of every outcome sum to zero", false),
        (Self::Balances, "G3 balances are those of their postings", false),
        (Self::Files, "G4 files have the counts and sums of their outcomes", false),
        (Self::Answers, "G4 the shards' answers are in the rows of their files", true),
        (Self::Order, "G5 the records of a file take effect in its order", false),
        (Self::Verified, "G6 events are of records that were verified", true),
        (Self::Opposite, "G7 what undoes a record posts the opposite", false),
        (Self::NothingLeft, "G7 nothing of a reversed or cancelled file is left", true),
    ];
}

/// Departures from one rule.
#[derive(Clone, Debug, Default)]
struct Departures {
    count: u64,
    first: String,
}

/// One bit a record.
#[derive(Debug, Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn place(at: i64) -> (usize, u64) {
        let at = usize::try_from(at).unwrap_or_default();
        (at / 64, 1 << (at % 64))
    }

    fn has(&self, at: i64) -> bool {
        let (word, bit) = Self::place(at);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Sets a bit; false where it was set.
    fn set(&mut self, at: i64) -> bool {
        let (word, bit) = Self::place(at);
        if self.0.len() <= word {
            self.0.resize(word.saturating_add(1), 0);
        }
        let Some(word) = self.0.get_mut(word) else { return false };
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}

/// What was found of one file, over all shards.
#[derive(Debug, Default)]
struct OfFile {
    /// Records that are applied or rejected on a shard.
    taken: Bits,
    /// Records that can't be read.
    rejected: Bits,
    applied: i64,
    reversed: i64,
}

/// What was found so far.
#[derive(Debug)]
pub(super) struct Findings<'a> {
    known: Option<Known<'a>>,
    departures: [Departures; Rule::ALL.len()],
    files: HashMap<FileId, OfFile>,
    /// Answers in rows that no outcome was found for yet.
    answers: HashMap<(FileId, i32, i64), &'a Segment>,
    /// Outcomes after the last that was published.
    pub(super) unsent: u64,
    sums: BTreeMap<(Currency, i32), i128>,
}

impl<'a> Findings<'a> {
    pub(super) fn new(known: Option<Known<'a>>) -> Self {
        let mut answers = HashMap::new();
        for file in known.iter().flat_map(|known| known.files.values()) {
            for segment in &file.segments {
                answers.insert((file.file_id, segment.shard, segment.number), segment);
            }
        }
        let (departures, files) = (Default::default(), HashMap::new());
        Self { known, departures, files, answers, unsent: 0, sums: BTreeMap::new() }
    }

    /// Notes a departure where something that a rule wants is not so.
    pub(super) fn hold(&mut self, rule: Rule, is_so: bool, what: impl FnOnce() -> String) {
        if is_so {
            return;
        }
        let at = Rule::ALL.iter().position(|(known, ..)| *known == rule);
        if let Some(departures) = at.and_then(|at| self.departures.get_mut(at)) {
            if departures.count == 0 {
                departures.first = what();
            }
            departures.count = departures.count.saturating_add(1);
        }
    }

    fn file(&self, id: FileId) -> Option<&'a File> {
        self.known.and_then(|known| known.files.get(&id))
    }

    /// An event must be of a record that was verified, in a file that was not refused or held.
    pub(super) fn event(&mut self, shard: u32, event: &Event) {
        let Some(known) = self.known else { return };
        let at = usize::try_from(shard).unwrap_or(usize::MAX);
        let is_later = known.ends.get(at).is_none_or(|end| *end <= event.offset);
        let What::Record(record) = &event.what else { return };
        let is_verified = match known.files.get(&record.file) {
            // Its row may be newer than those that were read.
            None => is_later && !known.refused.contains(&record.file),
            Some(file) => {
                let pinned = file.verdict.shard_events.get(at).copied().unwrap_or_default();
                let is_begun = is_later
                    || ![FileState::HELD, FileState::VERIFIED].contains(&file.state)
                    || 0 < file.checkpoint.published;
                is_begun && record.sequence < pinned && record.index < file.verdict.records
            }
        };
        let what = || {
            format!("record {} of file {} at {shard}/{}", record.index, record.file, event.offset)
        };
        self.hold(Rule::Verified, is_verified, what);
    }

    /// A record that took a sequence on a shard.
    fn take(&mut self, file: FileId, index: i64) {
        let Some(row) = self.file(file) else { return };
        // What lies outside is not a record of the file: the event says so.
        if (0..row.verdict.records).contains(&index) {
            let is_new = self.files.entry(file).or_default().taken.set(index);
            self.hold(Rule::RecordsOnce, is_new, || format!("record {index} of file {file}"));
        }
    }

    /// A record that can't be read. A replay says it again.
    pub(super) fn reject(&mut self, file: FileId, index: i64, is_replayed: bool) {
        let Some(row) = self.file(file) else { return };
        let is_record = (0..row.verdict.records).contains(&index);
        let of_file = self.files.entry(file).or_default();
        let is_once =
            is_record && !of_file.taken.has(index) && (of_file.rejected.set(index) || is_replayed);
        self.hold(Rule::RecordsOnce, is_once, || format!("reject {index} of file {file}"));
    }

    fn answer(&mut self, file: FileId, segment: &Segment) {
        let answer = self.answers.remove(&(file, segment.shard, segment.number));
        let is_same = answer.is_none_or(|answer| answer == segment);
        let what = || format!("shard {} on file {file}", segment.shard);
        self.hold(Rule::Answers, is_same, what);
    }

    /// Ends: what must be so of files as a whole, and of all balances.
    pub(super) fn into_checks(mut self) -> Vec<Check> {
        for (file, shard, number) in std::mem::take(&mut self.answers).into_keys() {
            let what = || format!("outcome {shard}/{number} on file {file}");
            self.hold(Rule::Answers, false, what);
        }
        for file in self.known.map(|known| known.files.values()).into_iter().flatten() {
            self.end_of_file(file);
        }
        let has_topics = self.known.is_some();
        let rules = Rule::ALL.iter().zip(self.departures);
        let rules = rules.filter(|((.., needs_topics), _)| has_topics || !needs_topics);
        let unsent = self.unsent;
        let mut checks: Vec<Check> = rules
            .map(|((rule, name, _), Departures { count, first })| {
                let expected = "none that departs".to_owned();
                let found = match count {
                    0 if *rule == Rule::Published && unsent != 0 => {
                        format!("{expected}; the last {unsent} not sent yet")
                    }
                    0 => expected.clone(),
                    1 => first,
                    more => format!("{first}, and {} more", more.saturating_sub(1)),
                };
                Check { name: (*name).to_owned(), ok: count == 0, expected, found }
            })
            .collect();
        checks.extend(self.sums.into_iter().map(|((currency, exponent), sum)| {
            let decimals = format!("{currency} with {exponent} decimals");
            Check::of(format!("G3 all balances in {decimals} sum to zero"), 0, sum)
        }));
        checks
    }

    fn end_of_file(&mut self, file: &File) {
        let id = file.file_id;
        let none = OfFile::default();
        let of_file = self.files.get(&id).unwrap_or(&none);
        if file.work.is_some() {
            return;
        }
        let left = of_file.applied.saturating_sub(of_file.reversed);
        let ended = [FileState::RECONCILED, FileState::UNBALANCED, FileState::REVERSED];
        if ended.contains(&file.state) {
            let is_missing =
                |index: &i64| !(of_file.taken.has(*index) || of_file.rejected.has(*index));
            if let Some(index) = (0..file.verdict.records).find(is_missing) {
                self.hold(Rule::Complete, false, || format!("record {index} of file {id}"));
            }
        }
        if [FileState::REVERSED, FileState::CANCELLED].contains(&file.state) {
            self.hold(Rule::NothingLeft, left == 0, || format!("{left} records of file {id}"));
        }
    }
}

/// Debits, credits, version, last number.
type Counters = (i64, i64, i64, i64);

/// What a shard's outcomes say of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    next_sequence: i64,
    applied: i64,
    rejected: i64,
    reversed: i64,
    duplicates: i64,
    applied_sums: Sums,
    rejected_sums: Sums,
    reversed_sums: Sums,
}

impl Counts {
    fn of(run: &Run) -> Self {
        Self {
            next_sequence: run.next_sequence,
            applied: run.applied,
            rejected: run.rejected,
            reversed: run.reversed,
            duplicates: run.duplicates,
            applied_sums: run.applied_sums.clone(),
            rejected_sums: run.rejected_sums.clone(),
            reversed_sums: run.reversed_sums.clone(),
        }
    }
}

/// A pass over the outcomes of one shard.
#[derive(Debug)]
pub(super) struct Pass {
    shard: u32,
    pub(super) next_number: i64,
    accounts: HashMap<String, BTreeMap<(Currency, i32), Counters>>,
    accounts_seen: usize,
    files: HashMap<FileId, (Counts, Option<i64>)>,
    applied: Bits,
    undone: Bits,
}

impl Pass {
    pub(super) fn new(shard: u32) -> Self {
        Self {
            shard,
            next_number: 0,
            accounts: HashMap::new(),
            accounts_seen: 0,
            files: HashMap::new(),
            applied: Bits::default(),
            undone: Bits::default(),
        }
    }

    /// The next outcome must have the next number.
    pub(super) fn number(&mut self, number: i64, findings: &mut Findings<'_>) {
        let (shard, expected) = (self.shard, self.next_number);
        findings.hold(Rule::Dense, number == expected, || format!("{shard}/{expected} is missing"));
        self.next_number = number.saturating_add(1);
    }

    pub(super) fn add(&mut self, outcome: &Outcome, findings: &mut Findings<'_>) {
        let place = || format!("{}/{}", self.shard, outcome.number);
        findings.hold(Rule::Legs, sums_to_zero(&outcome.legs), place);
        for leg in &outcome.legs {
            let balances = self.accounts.entry(leg.account.clone()).or_default();
            if leg.currency.as_str() == NO_CURRENCY && leg.direction == Direction::NONE {
                continue;
            }
            let counters = balances.entry((leg.currency, leg.exponent)).or_default();
            if leg.direction == Direction::DEBIT {
                counters.0 = counters.0.saturating_add(leg.amount_minor);
            } else {
                counters.1 = counters.1.saturating_add(leg.amount_minor);
            }
            counters.2 = counters.2.saturating_add(1);
            counters.3 = outcome.number;
        }
        let Some(file) = outcome.file_id else { return };
        if let Some(segment) = &outcome.segment {
            findings.answer(file, segment);
        }
        let takes = [OutcomeKind::APPLIED, OutcomeKind::REJECTED].contains(&outcome.kind);
        match outcome.sequence {
            Some(sequence) if takes => self.take(file, sequence, outcome, findings),
            Some(_) if outcome.kind == OutcomeKind::DUPLICATE => {
                let (counts, _) = self.files.entry(file).or_default();
                counts.duplicates = counts.duplicates.saturating_add(1);
            }
            _ => (),
        }
    }

    /// An outcome that took a sequence.
    fn take(
        &mut self,
        file: FileId,
        sequence: i64,
        outcome: &Outcome,
        findings: &mut Findings<'_>,
    ) {
        let place = || format!("{}/{} of file {file}", self.shard, outcome.number);
        let index = outcome.index.unwrap_or(-1);
        let (counts, last_index) = self.files.entry(file).or_default();
        findings.hold(Rule::Sequences, sequence == counts.next_sequence, place);
        counts.next_sequence = sequence.saturating_add(1);
        findings.hold(Rule::Order, last_index.is_none_or(|last| last < index), place);
        *last_index = Some(index);
        let (count, sums) = if outcome.kind == OutcomeKind::APPLIED {
            self.applied.set(outcome.number);
            let of_file = findings.files.entry(file).or_default();
            of_file.applied = of_file.applied.saturating_add(1);
            (&mut counts.applied, &mut counts.applied_sums)
        } else {
            (&mut counts.rejected, &mut counts.rejected_sums)
        };
        *count = count.saturating_add(1);
        add(sums, outcome);
        findings.take(file, index);
    }

    /// An outcome that undoes another: of the same record, with the opposite legs, and once.
    pub(super) fn undo(
        &mut self,
        outcome: &Outcome,
        undone: Option<&Outcome>,
        findings: &mut Findings<'_>,
    ) {
        let place = || format!("{}/{}", self.shard, outcome.number);
        let number = outcome.number_reversed.unwrap_or(-1);
        let is_once = 0 <= number
            && number < outcome.number
            && self.applied.has(number)
            && self.undone.set(number);
        findings.hold(Rule::UndoneOnce, is_once, place);
        let is_opposite = undone.is_some_and(|undone| is_opposite(outcome, undone));
        findings.hold(Rule::Opposite, is_opposite, place);
        let Some(file) = outcome.file_id else { return };
        let (counts, _) = self.files.entry(file).or_default();
        counts.reversed = counts.reversed.saturating_add(1);
        add(&mut counts.reversed_sums, outcome);
        let of_file = findings.files.entry(file).or_default();
        of_file.reversed = of_file.reversed.saturating_add(1);
    }

    /// A stored account: its balances must be those of the outcomes.
    pub(super) fn account(&mut self, account: &Account, findings: &mut Findings<'_>) {
        self.accounts_seen = self.accounts_seen.saturating_add(1);
        let mut stored = BTreeMap::new();
        for balance in &account.balances {
            let unit = (balance.currency, balance.exponent);
            let sum = findings.sums.entry(unit).or_default();
            *sum = sum.saturating_add(balance.minor());
            let (debits, credits) = (balance.debits_minor, balance.credits_minor);
            stored.insert(unit, (debits, credits, balance.version, balance.last_number));
        }
        let name = account.name.to_string();
        let is_same = self.accounts.get(&name) == Some(&stored);
        findings.hold(Rule::Balances, is_same, || name);
    }

    /// Ends: what the store says of the shard and of its files must be what the outcomes say.
    pub(super) fn end(self, row: ShardRow, runs: &[Run], findings: &mut Findings<'_>) {
        let shard = self.shard;
        let is_all = self.next_number == row.next_number;
        findings.hold(Rule::Dense, is_all, || format!("{shard}/{} is missing", self.next_number));
        let are_all = self.accounts_seen == self.accounts.len();
        findings
            .hold(Rule::Balances, are_all, || format!("an account of shard {shard} is missing"));
        let none = Counts::default();
        for run in runs {
            let found = self.files.get(&run.file).map_or(&none, |(counts, _)| counts);
            let what = || format!("file {} on shard {shard}", run.file);
            findings.hold(Rule::Files, *found == Counts::of(run), what);
        }
        let rows: HashSet<FileId> = runs.iter().map(|run| run.file).collect();
        for file in self.files.keys() {
            let has_row = rows.contains(file);
            findings
                .hold(Rule::Files, has_row, || format!("file {file} has no row on shard {shard}"));
        }
    }
}

fn add(sums: &mut Sums, outcome: &Outcome) {
    if let Some(currency) = outcome.currency {
        // A sum that doesn't fit stays as it is, as it does where it is kept.
        let (direction, exponent) = (&outcome.direction, outcome.exponent);
        let _ = sums.add(direction, currency, exponent, outcome.amount_minor);
    }
}

fn sums_to_zero(legs: &[Leg]) -> bool {
    let mut sums: BTreeMap<(Currency, i32), i128> = BTreeMap::new();
    for leg in legs {
        let sum = sums.entry((leg.currency, leg.exponent)).or_default();
        let amount = i128::from(leg.amount_minor);
        *sum = if leg.direction == Direction::DEBIT {
            sum.saturating_sub(amount)
        } else {
            sum.saturating_add(amount)
        };
    }
    sums.values().all(|sum| *sum == 0)
}

/// True where the legs of both outcomes are of the same record and take each other back.
fn is_opposite(outcome: &Outcome, undone: &Outcome) -> bool {
    let is_same_record = (outcome.file_id, outcome.index) == (undone.file_id, undone.index);
    let mut left: Vec<&Leg> = undone.legs.iter().collect();
    let are_all = outcome.legs.iter().all(|leg| {
        let takes_back = |other: &&Leg| {
            leg.account == other.account
                && leg.direction == other.direction.opposite()
                && (leg.amount_minor, leg.currency, leg.exponent)
                    == (other.amount_minor, other.currency, other.exponent)
        };
        let at = left.iter().position(takes_back);
        at.map(|at| left.swap_remove(at)).is_some()
    });
    is_same_record && are_all && left.is_empty()
}
