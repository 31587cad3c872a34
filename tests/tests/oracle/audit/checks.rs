//! What the audit looks at, one topic or table at a time.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::super::avro::{self, Datum};
use super::super::books::Direction;
use super::{Evidence, Expected, Report};

/// An outcome, as far as it is looked at.
struct Outcome {
    shard: u32,
    number: i64,
    fields: Datum,
}

impl Outcome {
    fn kind(&self) -> &str {
        self.fields.get("kind").text()
    }

    fn file(&self) -> &str {
        self.fields.get("file_id").text()
    }

    fn index(&self) -> u64 {
        self.fields.get("index").long().unwrap_or(-1).cast_unsigned()
    }
}

/// An audit under way.
pub(super) struct Audit<'a> {
    pub(super) expected: &'a Expected,
    pub(super) evidence: &'a Evidence,
    pub(super) report: Report,
}

impl Audit<'_> {
    /// Looks at everything.
    pub(super) fn look(mut self) -> Report {
        self.events();
        self.rejects();
        let outcomes = self.postings();
        self.store(&outcomes);
        self.outcomes(&outcomes);
        self.rows();
        self.objects();
        self.report
    }

    /// `records`: each readable record once, on one shard, in order, under a dense sequence.
    fn events(&mut self) {
        let mut seen: HashMap<&str, BTreeMap<u64, (u32, i64)>> = HashMap::new();
        let mut next: HashMap<(String, u32), i64> = HashMap::new();
        let mut again = 0;
        for (shard, messages) in self.evidence.partitions("records") {
            for message in messages {
                let value = message.value.as_deref().unwrap_or_default();
                let kind = avro::event_type(value);
                let event = avro::read(value, &["file_id", "index", "sequence"]);
                let file = event.get("file_id").text();
                let Some((file, _)) = self.expected.files.get_key_value(file) else {
                    if kind != "AccountChanged" {
                        self.report.strange(|| format!("{kind} of file {file} in records"));
                    }
                    continue;
                };
                if kind != "ClearingRecord" {
                    continue;
                }
                let number = |name| event.get(name).long().unwrap_or(-1);
                let (index, sequence) = (number("index").cast_unsigned(), number("sequence"));
                match seen.entry(file).or_default().insert(index, (shard, sequence)) {
                    None => {
                        let next = next.entry((file.clone(), shard)).or_default();
                        if sequence != *next {
                            self.report.disordered(|| {
                                format!("event {file}/{index}: sequence {sequence}, not {next}")
                            });
                        }
                        *next = sequence + 1;
                    }
                    Some(before) if before == (shard, sequence) => again += 1,
                    Some(before) => self.report.doubled(|| {
                        format!("event {file}/{index} at {before:?} and {:?}", (shard, sequence))
                    }),
                }
            }
        }
        let allowed = self.expected.published_again;
        if again > allowed {
            self.report.doubled(|| format!("{again} events, where {allowed} were published again"));
        }
        for (id, (name, reading, end)) in &self.expected.files {
            let seen = seen.remove(id.as_str()).unwrap_or_default();
            for index in 0..reading.records {
                match (reading.bad.contains(&index), seen.contains_key(&index)) {
                    (false, false) if end.state != "cancelled" => {
                        self.report.lost(|| format!("event {index} of {name}"));
                    }
                    (true, true) => self.report.strange(|| format!("event {index} of {name}")),
                    _ => (),
                }
            }
        }
    }

    /// `rejects`: each unreadable record once.
    fn rejects(&mut self) {
        let mut seen: BTreeMap<(String, u64), u64> = BTreeMap::new();
        for (_, messages) in self.evidence.partitions("rejects") {
            for message in messages {
                let value = message.value.as_deref().unwrap_or_default();
                let reject = avro::read(value, &["file_id", "index"]);
                let index = reject.get("index").long().unwrap_or(-1).cast_unsigned();
                *seen.entry((reject.get("file_id").text().to_owned(), index)).or_default() += 1;
            }
        }
        let mut again = self.expected.rejected_again;
        for (id, (name, reading, end)) in &self.expected.files {
            for index in &reading.bad {
                self.report.rejected += 1;
                match seen.remove(&(id.clone(), *index)).unwrap_or_default() {
                    0 if end.state == "cancelled" => (),
                    0 => self.report.lost(|| format!("reject {index} of {name}")),
                    1 => (),
                    2 if again > 0 => again -= 1,
                    times => {
                        self.report.doubled(|| format!("reject {index} of {name}, {times} times"));
                    }
                }
            }
        }
        for (file, index) in seen.into_keys() {
            self.report.strange(|| format!("reject {file}/{index}"));
        }
    }

    /// `postings`: the outcomes of each shard, dense and each once, as a subscriber reads them.
    fn postings(&mut self) -> Vec<Vec<Outcome>> {
        const WANTED: &[&str] = &[
            "shard",
            "number",
            "kind",
            "file_id",
            "index",
            "sequence",
            "legs",
            "number_reversed",
            "command_id",
        ];
        let mut all = Vec::new();
        for (shard, messages) in self.evidence.partitions("postings") {
            let mut outcomes: Vec<Outcome> = Vec::with_capacity(messages.len());
            let mut expected = 0_i64;
            for message in messages {
                let id = String::from_utf8_lossy(&message.id);
                let fields = avro::read(message.value.as_deref().unwrap_or_default(), WANTED);
                let number = fields.get("number").long().unwrap_or(-1);
                if id != format!("{shard}/{number}") {
                    self.report.off(|| format!("outcome {number} of shard {shard} as {id}"));
                }
                if number < expected {
                    self.report.doubled(|| format!("outcome {shard}/{number} in postings"));
                }
                for missing in expected..number {
                    self.report.lost(|| format!("outcome {shard}/{missing} in postings"));
                }
                expected = expected.max(number + 1);
                outcomes.push(Outcome { shard, number, fields });
            }
            all.push(outcomes);
        }
        all
    }

    /// The store has the outcomes that the topic has, byte for byte, and the balances that follow.
    fn store(&mut self, outcomes: &[Vec<Outcome>]) {
        let postings = self.evidence.partitions("postings");
        for ((shard, messages), stored) in postings.zip(&self.evidence.outcomes) {
            for (at, (number, body)) in stored.iter().enumerate() {
                let published = messages.get(at).and_then(|message| message.value.as_deref());
                let is_same = published == Some(body.as_slice());
                if i64::try_from(at) != Ok(*number) || !is_same {
                    self.report.off(|| format!("outcome {shard}/{number} of the store"));
                }
            }
            if stored.len() < messages.len() {
                let (has, should) = (stored.len(), messages.len());
                self.report.lost(|| format!("outcomes of shard {shard}: {has} of {should}"));
            }
        }
        let mut counters: BTreeMap<(u32, String, String), (i128, i128, i64)> = BTreeMap::new();
        for outcome in outcomes.iter().flatten() {
            let mut sums: BTreeMap<&str, i128> = BTreeMap::new();
            for leg in outcome.fields.get("legs").list() {
                let number = |name| leg.get(name).long().unwrap_or(i64::MIN);
                let currency = leg.get("currency").text();
                if currency == "XXX" {
                    continue;
                }
                let account = leg.get("account").text().to_owned();
                let entry = counters.entry((outcome.shard, account, currency.to_owned()));
                let (debits, credits, version) = entry.or_default();
                let amount = i128::from(number("amount_minor"));
                let is_debit = leg.get("direction").text() == "debit";
                *(if is_debit { &mut *debits } else { &mut *credits }) += amount;
                *version += 1;
                *sums.entry(currency).or_default() += if is_debit { -amount } else { amount };
                let after = (i128::from(number("debits_minor")), number("credits_minor").into());
                if after != (*debits, *credits) || number("version") != *version {
                    let (shard, number) = (outcome.shard, outcome.number);
                    self.report.off(|| format!("counters after outcome {shard}/{number}"));
                }
            }
            if sums.values().any(|sum| *sum != 0) {
                let (shard, number) = (outcome.shard, outcome.number);
                self.report.off(|| format!("outcome {shard}/{number} does not sum to zero"));
            }
        }
        for balance in &self.evidence.balances {
            let entry = (balance.shard, balance.account.clone(), balance.currency.clone());
            let found = (balance.debits, balance.credits, balance.version);
            let expected = counters.remove(&entry);
            if expected != Some(found) {
                self.report.off(|| {
                    format!("balance {entry:?}: {found:?}, where the postings say {expected:?}")
                });
            }
        }
        for entry in counters.into_keys() {
            self.report.lost(|| format!("balance {entry:?} in the store"));
        }
    }

    /// Each record is applied once, in the order of its file, with the legs that the file says; and
    /// what is reversed is undone once.
    fn outcomes(&mut self, outcomes: &[Vec<Outcome>]) {
        let mut taken: HashMap<(&str, u64), &Outcome> = HashMap::new();
        let mut undone: BTreeSet<(u32, i64)> = BTreeSet::new();
        for of_shard in outcomes {
            let mut last: HashMap<&str, u64> = HashMap::new();
            let by_number: HashMap<i64, &Outcome> =
                of_shard.iter().map(|outcome| (outcome.number, outcome)).collect();
            for outcome in of_shard {
                let (file, index) = (outcome.file(), outcome.index());
                let (shard, number) = (outcome.shard, outcome.number);
                if !file.is_empty() && !self.expected.files.contains_key(file) {
                    self.report.strange(|| format!("outcome {shard}/{number} of file {file}"));
                    continue;
                }
                match outcome.kind() {
                    "applied" | "rejected" => {
                        if taken.insert((file, index), outcome).is_some() {
                            self.report.doubled(|| format!("record {file}/{index} is applied"));
                        }
                        if last.insert(file, index).is_some_and(|before| before >= index) {
                            self.report.disordered(|| format!("record {file}/{index} is applied"));
                        }
                        self.legs(outcome);
                    }
                    "reversed" => {
                        let reversed = outcome.fields.get("number_reversed").long();
                        let original = reversed.and_then(|number| by_number.get(&number));
                        self.undoes(outcome, original.copied());
                        if !undone.insert((shard, reversed.unwrap_or(-1))) {
                            self.report
                                .doubled(|| format!("outcome {shard}/{number} undoes again"));
                        }
                        self.report.reversed += 1;
                    }
                    "duplicate" | "closed" => self.report.recognised += 1,
                    "conflict" | "gap" => {
                        let kind = outcome.kind();
                        self.report.off(|| format!("outcome {shard}/{number} is a {kind}"));
                    }
                    _ => (),
                }
            }
        }
        for (id, (name, reading, end)) in &self.expected.files {
            for index in (0..reading.records).filter(|index| !reading.bad.contains(index)) {
                let outcome = taken.get(&(id.as_str(), index));
                let Some(outcome) = outcome else {
                    if end.state != "cancelled" {
                        self.report.lost(|| format!("record {index} of {name} is not applied"));
                    }
                    continue;
                };
                let is_applied = outcome.kind() == "applied";
                *(if is_applied { &mut self.report.applied } else { &mut self.report.rejected }) +=
                    1;
                let must_be_undone =
                    end.reversed.is_some_and(|(first, last)| (first..=last).contains(&index));
                let is_undone = undone.contains(&(outcome.shard, outcome.number));
                match (must_be_undone && is_applied, is_undone) {
                    (true, false) => {
                        self.report.lost(|| format!("record {index} of {name} is not undone"));
                    }
                    (false, true) => {
                        self.report.off(|| format!("record {index} of {name} is undone"));
                    }
                    _ => (),
                }
            }
        }
    }

    /// The legs of a record are what its file says.
    fn legs(&mut self, outcome: &Outcome) {
        let (file, index) = (outcome.file(), outcome.index());
        let Some((name, reading, _)) = self.expected.files.get(file) else { return };
        if outcome.kind() == "rejected" {
            return self.report.off(|| format!("record {index} of {name} is rejected"));
        }
        let mut expected = Vec::new();
        if let Some(effect) = reading.effects.get(&index) {
            let account = if effect.is_house {
                effect.account.clone()
            } else {
                self.expected.key.token(&effect.account)
            };
            let currency = effect.currency.as_str();
            expected.push((account, effect.direction, currency, effect.amount));
            let opposite = effect.direction.opposite();
            expected.push(("clearing".to_owned(), opposite, currency, effect.amount));
        }
        let mut found: Vec<_> = legs(outcome).collect();
        found.sort();
        expected.sort();
        if found != expected {
            self.report
                .off(|| format!("record {index} of {name}: {found:?}, where it says {expected:?}"));
        }
    }

    /// A reversal has the legs of what it undoes, each on the other side.
    fn undoes(&mut self, outcome: &Outcome, original: Option<&Outcome>) {
        let (shard, number) = (outcome.shard, outcome.number);
        let is_applied = |original: &&Outcome| {
            (original.kind(), original.file(), original.index())
                == ("applied", outcome.file(), outcome.index())
        };
        let Some(original) = original.filter(is_applied) else {
            return self
                .report
                .off(|| format!("outcome {shard}/{number} undoes what is not there"));
        };
        let mut expected: Vec<_> = legs(original)
            .map(|(name, side, unit, sum)| (name, side.opposite(), unit, sum))
            .collect();
        let mut found: Vec<_> = legs(outcome).collect();
        found.sort();
        expected.sort();
        if found != expected {
            self.report.off(|| format!("outcome {shard}/{number} undoes another amount"));
        }
    }

    /// `files`: a row a file, in the state that it must have come to, each command answered once.
    fn rows(&mut self) {
        const WANTED: &[&str] = &["file_id", "state", "checkpoint", "answers", "work"];
        let mut rows: BTreeMap<String, Datum> = BTreeMap::new();
        for (_, messages) in self.evidence.partitions("files") {
            for value in messages.iter().filter_map(|message| message.value.as_deref()) {
                if avro::event_type(value) == "File" {
                    let row = avro::read(value, WANTED);
                    rows.insert(row.get("file_id").text().to_owned(), row);
                }
            }
        }
        let mut answers: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for row in rows.values() {
            for answer in row.get("answers").list() {
                let id = answer.get("command_id").text().to_owned();
                answers.entry(id).or_default().push(answer.get("outcome").text().to_owned());
            }
        }
        for (id, (name, reading, end)) in &self.expected.files {
            let Some(row) = rows.remove(id) else {
                self.report.lost(|| format!("the row of {name}"));
                continue;
            };
            let state = row.get("state").text();
            if state != end.state || *row.get("work") != Datum::Null {
                self.report.off(|| format!("{name} is {state}, where it must be {}", end.state));
            }
            let count =
                |field| row.get("checkpoint").get(field).long().unwrap_or(-1).cast_unsigned();
            let bad = u64::try_from(reading.bad.len()).unwrap();
            let (found, all) =
                ((count("published"), count("rejected")), (reading.records - bad, bad));
            if found != all && end.state != "cancelled" {
                self.report.off(|| format!("{name}: {found:?} published, where {all:?} must be"));
            }
        }
        for id in rows.into_keys() {
            self.report.strange(|| format!("a row of file {id}"));
        }
        for (id, expected) in &self.expected.commands {
            match answers.remove(id).unwrap_or_default().as_slice() {
                [] => self.report.lost(|| format!("the answer to command {id}")),
                [answer] if answer == expected => (),
                [answer] => self.report.off(|| format!("command {id} is {answer}")),
                _ => self.report.doubled(|| format!("the answer to command {id}")),
            }
        }
    }

    /// `arrivals`: every object has come to what it must.
    fn objects(&mut self) {
        let mut rows: BTreeMap<Vec<u8>, Option<Datum>> = BTreeMap::new();
        for (_, messages) in self.evidence.partitions("arrivals") {
            for message in messages {
                let row = message.value.as_deref();
                let row = row.map(|value| avro::read(value, &["feed", "object", "state"]));
                rows.insert(message.key.clone(), row);
            }
        }
        let mut found: BTreeMap<(String, String), String> = BTreeMap::new();
        for row in rows.into_values().flatten() {
            let text = |name| row.get(name).text().to_owned();
            found.insert((text("feed"), text("object")), text("state"));
        }
        for (object, expected) in &self.expected.objects {
            let state = found.remove(object).unwrap_or_default();
            if !expected.contains(&state.as_str()) {
                self.report.off(|| format!("{object:?} is {state}, where it must be {expected:?}"));
            }
        }
        for object in found.into_keys() {
            self.report.strange(|| format!("the object {object:?}"));
        }
    }
}

/// The legs of an outcome that move something: a customer's account, or the kind of a house
/// account; the side; the currency; the amount.
fn legs(outcome: &Outcome) -> impl Iterator<Item = (String, Direction, &str, i128)> {
    outcome.fields.get("legs").list().iter().filter_map(|leg| {
        let amount = i128::from(leg.get("amount_minor").long().unwrap_or(i64::MIN));
        let is_house = leg.get("owner").text() == "house";
        let name = leg.get("account").text();
        let name = if is_house { name.split(':').next().unwrap_or_default() } else { name };
        let direction = match leg.get("direction").text() {
            "debit" => Direction::Debit,
            _ => Direction::Credit,
        };
        let currency = leg.get("currency").text();
        (amount != 0).then(|| (name.to_owned(), direction, currency, amount))
    })
}
