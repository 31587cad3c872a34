//! Undoing what was applied, from events to outcomes and balances: pages that read like a ledger,
//! and laws.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that can not go on says so")]

use std::collections::BTreeSet;
use std::fmt::Write as _;

use expect_test::{Expect, expect};
use processors::digest::digest;
use processors::event::What;
use processors::store::conformance::{Driver, closed, customer, debit, file, ledger, reversal};
use processors::store::memory::MemoryStore;
use processors::store::sqlite::SqliteStore;
use processors::store::{Commit, Store, View};
use proptest::prelude::*;
use schemas::codec::Codec;
use schemas::outcome::{Outcome, OutcomeKind};
use schemas::record::AccountChanged;
use schemas::{CommandId, Digest, Direction, FileId};

const SHARDS: u32 = 2;

fn outcomes(commit: &Commit) -> Vec<Outcome> {
    let codec = Codec::built_in();
    commit.outcomes.iter().map(|row| codec.decode(&row.body).unwrap()).collect()
}

/// Reads a line: `1/0 debit 100 a` (file and sequence, direction, amount, account, and the network
/// where it is another), `1 ends 3`, `1 cancelled 3`, `undo 1 0..1 by 7`, `account a frozen`.
fn event(line: &str) -> What {
    let words: Vec<&str> = line.split_whitespace().collect();
    let account = |letter: &str| customer(if letter == "a" { 0 } else { 1 }, 0, SHARDS);
    let of = |number: &str| file(number.parse().unwrap());
    match words.as_slice() {
        ["account", letter, state] => What::AccountChanged(AccountChanged {
            command_id: CommandId([9; 16]),
            account: account(letter),
            state: Some((*state).to_owned()),
            label: None,
            reason: "test".to_owned(),
        }),
        [number, how @ ("ends" | "cancelled"), events] => {
            closed(of(number), *how == "ends", events.parse().unwrap())
        }
        ["undo", number, range, "by", command] => {
            let (first, last) = range.split_once("..").unwrap();
            let last = if last.is_empty() { i64::MAX } else { last.parse().unwrap() };
            reversal(command.parse().unwrap(), of(number), first.parse().unwrap(), last)
        }
        [id, direction, amount, letter, rest @ ..] => {
            let (number, sequence) = id.split_once('/').unwrap();
            let amount_minor = match *amount {
                "max" => i64::MAX - 10,
                amount => amount.parse().unwrap(),
            };
            let sequence = sequence.parse().unwrap();
            let mut record = debit(of(number), sequence, account(letter), amount_minor);
            record.direction = Direction::from(*direction);
            record.label = None;
            if let [network] = rest {
                record.network = (*network).into();
            }
            What::Record(record)
        }
        _ => panic!("expected an event, found `{line}`"),
    }
}

/// Says what became of an event or of a record that was undone.
fn shown(outcome: &Outcome) -> String {
    let mut text = outcome.kind.to_string();
    if let Some(number) = outcome.number_reversed {
        write!(text, " of number {number}").unwrap();
    }
    if let Some(reason) = &outcome.reason {
        write!(text, " {reason}: {}", outcome.detail.as_deref().unwrap()).unwrap();
    }
    for leg in &outcome.legs {
        let name = if leg.account == customer(0, 0, SHARDS).to_string() {
            "a"
        } else if leg.account == customer(1, 0, SHARDS).to_string() {
            "b"
        } else {
            &leg.account
        };
        let balance = leg.credits_minor - leg.debits_minor;
        match leg.direction == Direction::NONE {
            true => write!(text, "; {name} {}", leg.state).unwrap(),
            false => {
                write!(text, "; {name} {} {} = {balance}", leg.direction, leg.amount_minor).unwrap()
            }
        }
    }
    if let Some(answer) = &outcome.segment {
        let (of, applied, reversed) = (answer.events, answer.applied, answer.reversed);
        write!(text, "; {applied} of {of} applied, {reversed} reversed").unwrap();
        write!(text, ", complete {}", answer.complete).unwrap();
    }
    text
}

/// Each line is a round; `…` goes on with what is being undone to its end.
async fn check(lines: &str, expected: Expect) {
    let store = MemoryStore::new();
    store.open_ledger(&ledger(2)).await.unwrap();
    let mut driver = Driver::new(&store, 0, SHARDS).await.unwrap();
    let mut text = String::new();
    for line in lines.lines().map(str::trim) {
        let commits = match line {
            "…" => driver.undo().await.unwrap(),
            line => vec![driver.round(vec![event(line)]).await.unwrap()],
        };
        let came: Vec<_> = commits.iter().flat_map(|it| outcomes(it)).collect();
        for (n, outcome) in came.iter().enumerate() {
            assert!(outcome.number_reversed.is_none() || outcome.sequence.is_none());
            let said = if n == 0 { line } else { "" };
            writeln!(text, "{said:22}→ {}", shown(outcome)).unwrap();
        }
    }
    expected.assert_eq(&text);
}

#[tokio::test]
async fn a_file_is_undone_newest_first_and_both_entries_stay() {
    check(
        "1/0 debit 100 a
         1/1 credit 30 a
         1/2 none 0 a
         1/3 debit 5 b
         1 ends 4
         undo 1 0.. by 7
         …
         undo 1 0.. by 7
         undo 1 0.. by 8
         …
         1/4 debit 5 b
         1/0 debit 100 a
         1 ends 4",
        expect![[r#"
            1/0 debit 100 a       → applied; a debit 100 = -100; clearing:mastercard#0 credit 100 = 100
            1/1 credit 30 a       → applied; a credit 30 = -70; clearing:mastercard#0 debit 30 = 70
            1/2 none 0 a          → applied
            1/3 debit 5 b         → applied; b debit 5 = -5; clearing:mastercard#0 credit 5 = 75
            1 ends 4              → segment; 4 of 4 applied, 0 reversed, complete true
            undo 1 0.. by 7       → reversal_begun
            …                     → reversed of number 3; clearing:mastercard#0 debit 5 = 70; b credit 5 = 0
                                  → reversed of number 2
                                  → reversed of number 1; clearing:mastercard#0 credit 30 = 100; a debit 30 = -100
                                  → reversed of number 0; clearing:mastercard#0 debit 100 = 0; a credit 100 = 0
                                  → reversal_ended; 4 of 4 applied, 4 reversed, complete true
            undo 1 0.. by 7       → duplicate; 4 of 4 applied, 4 reversed, complete true
            undo 1 0.. by 8       → reversal_begun
            …                     → reversal_ended; 4 of 4 applied, 4 reversed, complete true
            1/4 debit 5 b         → closed file_complete: the file ended with 4 events
            1/0 debit 100 a       → duplicate
            1 ends 4              → segment; 4 of 4 applied, 4 reversed, complete true
        "#]],
    )
    .await;
}

#[tokio::test]
async fn each_rung_of_a_reversal_names_its_outcome() {
    check(
        "undo 3 0.. by 1
         …
         1/1 debit 5 a
         undo 1 0.. by 2
         1/0 debit 100 a
         undo 1 0.. by 2
         1 ends 1
         undo 1 0.. by 2
         …
         2/0 debit 7 a
         2 cancelled 1
         undo 2 0..0 by 3
         undo 2 0..0 by 3
         …",
        expect![[r#"
            undo 3 0.. by 1       → reversal_begun
            …                     → reversal_ended; 0 of 0 applied, 0 reversed, complete false
            1/1 debit 5 a         → gap sequence_missing: expected sequence 0, found 1
            undo 1 0.. by 2       → rejected file_open: the file has not ended here; 0 of 0 applied, 0 reversed, complete false
            1/0 debit 100 a       → applied; a debit 100 = -100; clearing:mastercard#0 credit 100 = 100
            undo 1 0.. by 2       → rejected file_open: the file has not ended here; 1 of 1 applied, 0 reversed, complete false
            1 ends 1              → segment; 1 of 1 applied, 0 reversed, complete true
            undo 1 0.. by 2       → reversal_begun
            …                     → reversed of number 4; clearing:mastercard#0 debit 100 = 0; a credit 100 = 0
                                  → reversal_ended; 1 of 1 applied, 1 reversed, complete true
            2/0 debit 7 a         → applied; a debit 7 = -7; clearing:mastercard#0 credit 7 = 7
            2 cancelled 1         → segment; 1 of 1 applied, 0 reversed, complete false
            undo 2 0..0 by 3      → reversal_begun
            undo 2 0..0 by 3      → duplicate
                                  → reversed of number 10; clearing:mastercard#0 debit 7 = 0; a credit 7 = 0
                                  → reversal_ended; 1 of 1 applied, 1 reversed, complete false
        "#]],
    )
    .await;
}

/// Ranges that overlap undo each record once; what was rejected is left out.
#[tokio::test]
async fn what_one_reversal_undid_the_next_leaves_alone() {
    check(
        "1/0 debit 1 a
         1/1 debit -1 a
         1/2 debit 4 a
         1/3 debit 8 a
         1 ends 4
         undo 1 2..2 by 1
         undo 1 1..3 by 2
         …
         undo 1 0.. by 3
         …",
        expect![[r#"
            1/0 debit 1 a         → applied; a debit 1 = -1; clearing:mastercard#0 credit 1 = 1
            1/1 debit -1 a        → rejected amount_negative: expected an amount of at least 0, found a negative one
            1/2 debit 4 a         → applied; a debit 4 = -5; clearing:mastercard#0 credit 4 = 5
            1/3 debit 8 a         → applied; a debit 8 = -13; clearing:mastercard#0 credit 8 = 13
            1 ends 4              → segment; 3 of 4 applied, 0 reversed, complete true
            undo 1 2..2 by 1      → reversal_begun
            undo 1 1..3 by 2      → reversal_begun
                                  → reversed of number 2; clearing:mastercard#0 debit 4 = 9; a credit 4 = -9
                                  → reversal_ended; 3 of 4 applied, 1 reversed, complete true
            …                     → reversed of number 3; clearing:mastercard#0 debit 8 = 1; a credit 8 = -1
                                  → reversal_ended; 3 of 4 applied, 2 reversed, complete true
            undo 1 0.. by 3       → reversal_begun
            …                     → reversed of number 0; clearing:mastercard#0 debit 1 = 0; a credit 1 = 0
                                  → reversal_ended; 3 of 4 applied, 3 reversed, complete true
        "#]],
    )
    .await;
}

#[tokio::test]
async fn frozen_and_closed_accounts_take_reversals() {
    check(
        "1/0 debit 100 a
         1/1 debit 30 b
         1 ends 2
         account a frozen
         account b closed
         undo 1 0.. by 7
         …",
        expect![[r#"
            1/0 debit 100 a       → applied; a debit 100 = -100; clearing:mastercard#0 credit 100 = 100
            1/1 debit 30 b        → applied; b debit 30 = -30; clearing:mastercard#0 credit 30 = 130
            1 ends 2              → segment; 2 of 2 applied, 0 reversed, complete true
            account a frozen      → changed; a frozen
            account b closed      → changed; b closed
            undo 1 0.. by 7       → reversal_begun
            …                     → reversed of number 1; clearing:mastercard#0 debit 30 = 100; b credit 30 = 0
                                  → reversed of number 0; clearing:mastercard#0 debit 100 = 0; a credit 100 = 0
                                  → reversal_ended; 2 of 2 applied, 2 reversed, complete true
        "#]],
    )
    .await;
}

/// The first of the opposite legs can be posted and the second can't: none of it is, the outcome
/// says why, and the others are undone.
#[tokio::test]
async fn a_record_that_can_not_be_undone_stays_applied_whole() {
    check(
        "1/0 debit max a other
         1 ends 1
         2/0 credit 4 a
         2/1 credit 100 a
         2 ends 2
         undo 2 0.. by 7
         …
         2/0 credit 4 a
         2 ends 2",
        expect![[r#"
            1/0 debit max a other → applied; a debit 9223372036854775797 = -9223372036854775797; clearing:other#0 credit 9223372036854775797 = 9223372036854775797
            1 ends 1              → segment; 1 of 1 applied, 0 reversed, complete true
            2/0 credit 4 a        → applied; a credit 4 = -9223372036854775793; clearing:mastercard#0 debit 4 = -4
            2/1 credit 100 a      → applied; a credit 100 = -9223372036854775693; clearing:mastercard#0 debit 100 = -104
            2 ends 2              → segment; 2 of 2 applied, 0 reversed, complete true
            undo 2 0.. by 7       → reversal_begun
            …                     → rejected of number 3 counter_overflow: a counter does not fit in 64 bits
                                  → reversed of number 2; clearing:mastercard#0 credit 4 = -100; a debit 4 = -9223372036854775697
                                  → reversal_ended; 2 of 2 applied, 1 reversed, complete true
            2/0 credit 4 a        → duplicate
            2 ends 2              → segment; 2 of 2 applied, 1 reversed, complete true
        "#]],
    )
    .await;
}

/// An end that comes again answers again; one that lacks events stays a gap; what was missing fills
/// it when it comes.
#[tokio::test]
async fn a_replay_fills_a_gap_and_an_end_answers_again() {
    check(
        "1/0 debit 1 a
         1/2 debit 4 a
         1 ends 3
         1/0 debit 1 a
         1/1 debit 2 a
         1/2 debit 4 a
         1 ends 3
         1 ends 3
         2 cancelled 0
         2/0 debit 1 a",
        expect![[r#"
            1/0 debit 1 a         → applied; a debit 1 = -1; clearing:mastercard#0 credit 1 = 1
            1/2 debit 4 a         → gap sequence_missing: expected sequence 1, found 2
            1 ends 3              → gap events_missing: expected 3 events, found 1
            1/0 debit 1 a         → duplicate
            1/1 debit 2 a         → applied; a debit 2 = -3; clearing:mastercard#0 credit 2 = 3
            1/2 debit 4 a         → applied; a debit 4 = -7; clearing:mastercard#0 credit 4 = 7
            1 ends 3              → segment; 3 of 3 applied, 0 reversed, complete true
            1 ends 3              → segment; 3 of 3 applied, 0 reversed, complete true
            2 cancelled 0         → segment; 0 of 0 applied, 0 reversed, complete false
            2/0 debit 1 a         → closed file_cancelled: the file was cancelled
        "#]],
    )
    .await;
}

/// Files of the property: three small ones, and one that is undone in more than one slice.
const FILES: u8 = 4;
const LARGE: u8 = 3;
const LARGE_RECORDS: i64 = 700;

/// What comes next in the property.
#[derive(Clone, Debug)]
enum Next {
    Said(What),
    /// Commit what was said.
    Round,
    /// Another owner takes the shard, with nothing in memory.
    Restart,
}

fn any_next() -> impl Strategy<Value = Next> {
    let record = (0..FILES, 0_i64..9, 0_u32..3, -1_i64..4);
    let end = (0..FILES, 0_i64..9, prop::bool::weighted(0.4));
    let undo = (0..FILES, 0_i64..9, 0_i64..9, any::<bool>(), 0_u8..9);
    prop_oneof![
        12 => record.prop_map(|(of, sequence, account, amount)| {
            let account = customer(account, 0, SHARDS);
            Next::Said(What::Record(debit(file(of), sequence, account, amount)))
        }),
        3 => end.prop_map(|(of, events, complete)| Next::Said(closed(file(of), complete, events))),
        4 => undo.prop_map(|(of, first, length, is_open_ended, command)| {
            let last = if is_open_ended { i64::MAX } else { first + length };
            Next::Said(reversal(command, file(of), first, last))
        }),
        5 => Just(Next::Round),
        1 => Just(Next::Restart),
    ]
}

/// Applies all of it, then gives every file up and undoes what is left of it. Checks each round's
/// outcomes and the end, and gives its digest.
async fn drive<S: Store>(store: &S, all: &[Next]) -> Digest {
    store.open_ledger(&ledger(2)).await.unwrap();
    let mut driver = Driver::new(store, 0, SHARDS).await.unwrap();
    let mut said = Vec::new();
    let mut came = Vec::new();
    let large = (0..LARGE_RECORDS).map(|sequence| {
        let account = customer(u32::try_from(sequence % 5).unwrap(), 0, SHARDS);
        What::Record(debit(file(LARGE), sequence, account, sequence))
    });
    came.extend(outcomes(&driver.round(large.collect()).await.unwrap()));
    for next in all {
        match next {
            Next::Said(what) => said.push(what.clone()),
            Next::Round if said.is_empty() => (),
            Next::Round => {
                came.extend(outcomes(&driver.round(std::mem::take(&mut said)).await.unwrap()));
            }
            Next::Restart => driver = Driver::new(store, 0, SHARDS).await.unwrap(),
        }
    }
    for of in 0..FILES {
        said.push(closed(file(of), false, 0));
    }
    came.extend(outcomes(&driver.round(said).await.unwrap()));
    came.extend(driver.undo().await.unwrap().iter().flat_map(|it| outcomes(it)));
    each_is_undone_once_where_it_was_asked_for(&came);

    let whole = (0..FILES).map(|of| reversal(100 + of, file(of), 0, i64::MAX)).collect();
    came.extend(outcomes(&driver.round(whole).await.unwrap()));
    came.extend(driver.undo().await.unwrap().iter().flat_map(|it| outcomes(it)));
    each_is_undone_once_where_it_was_asked_for(&came);
    assert!(came.iter().map(|outcome| outcome.number).eq(0..i64::try_from(came.len()).unwrap()));
    assert!(came.is_sorted_by_key(|outcome| outcome.source_offset));

    let mut view = store.view().await.unwrap();
    for account in view.accounts(0, None, 100).await.unwrap() {
        for balance in account.balances {
            assert_eq!(balance.debits_minor, balance.credits_minor, "{}", account.name);
        }
    }
    for (_, run) in view.runs(None, 100).await.unwrap() {
        assert_eq!((run.reversed, run.reversed_sums), (run.applied, run.applied_sums));
        assert!(run.reversals.iter().all(|reversal| reversal.below.is_none()));
        let of_each: i64 = run.reversals.iter().map(|reversal| reversal.reversed).sum();
        assert_eq!(of_each, run.reversed);
    }
    digest(&mut view).await.unwrap()
}

/// From the outcomes alone: what was applied before a reversal was taken up and lies in its range
/// is undone, once, by the opposite of what it posted, and nothing else is.
fn each_is_undone_once_where_it_was_asked_for(came: &[Outcome]) {
    let of_kind = |kind| came.iter().filter(move |outcome| outcome.kind == kind);
    let covers = |begun: &Outcome, applied: &Outcome| {
        let indices = begun.index..=begun.last_index;
        begun.file_id == applied.file_id
            && indices.contains(&applied.index)
            && applied.number < begun.number
    };
    let is_asked_for = |applied: &&Outcome| {
        of_kind(OutcomeKind::REVERSAL_BEGUN).any(|begun| covers(begun, applied))
    };
    let asked_for: BTreeSet<i64> =
        of_kind(OutcomeKind::APPLIED).filter(is_asked_for).map(|applied| applied.number).collect();
    let undone: Vec<i64> =
        of_kind(OutcomeKind::REVERSED).map(|outcome| outcome.number_reversed.unwrap()).collect();
    assert_eq!(undone.len(), asked_for.len());
    assert_eq!(undone.into_iter().collect::<BTreeSet<_>>(), asked_for);
    for reversed in of_kind(OutcomeKind::REVERSED) {
        let number = usize::try_from(reversed.number_reversed.unwrap()).unwrap();
        let applied = &came[number];
        let said = |outcome: &Outcome| (outcome.file_id, outcome.index, outcome.amount_minor);
        assert_eq!(said(reversed), said(applied));
        let opposite =
            applied.legs.iter().rev().map(|leg| (&leg.account, leg.direction.opposite()));
        let posted = reversed.legs.iter().map(|leg| (&leg.account, leg.direction.clone()));
        assert!(opposite.eq(posted));
    }
    let commands = |kind| {
        of_kind(kind)
            .map(|it| (it.file_id, it.command_id.clone()))
            .collect::<BTreeSet<(Option<FileId>, Option<String>)>>()
    };
    let begun = of_kind(OutcomeKind::REVERSAL_BEGUN).count();
    assert_eq!(commands(OutcomeKind::REVERSAL_BEGUN).len(), begun, "once a command");
    assert_eq!(commands(OutcomeKind::REVERSAL_ENDED), commands(OutcomeKind::REVERSAL_BEGUN));
    assert_eq!(of_kind(OutcomeKind::REVERSAL_ENDED).count(), begun);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever comes, in whatever order, and whoever goes on with it: balances of what is undone
    /// are back to the minor unit, and every store has the same state.
    #[test]
    fn whatever_is_undone_is_undone_once(all in prop::collection::vec(any_next(), 1..120)) {
        let work = async {
            let of_model = drive(&MemoryStore::new(), &all).await;
            let directory = tempfile::tempdir().unwrap();
            let sqlite = SqliteStore::open(&directory.path().join("accounts.db")).unwrap();
            assert_eq!(drive(&sqlite, &all).await, of_model);
        };
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
    }
}
