//! Tables that read like a ledger page: what happens, what becomes of it, the balances after it.
//!
//! A row is an event in words, an arrow, and the outcome with its reason. Accounts are called by a
//! letter; `a` and `b` are on the shard, `x` is on another. The clearing account is `clearing`.

use std::collections::HashMap;
use std::fmt::Write as _;

use expect_test::{Expect, expect};
use schemas::outcome::Outcome;
use schemas::record::{AccountChanged, SegmentClosed};
use schemas::{AccountId, CommandId, Currency, Direction, FileId, Kind, Sums};

use crate::account::{Account, AccountName, Balance};
use crate::apply::{Checks, Settings, Shard, UnknownAccount};
use crate::event::{Event, Record, What};
use crate::posting::{LegRule, Party, Rule, Rules, Side};

fn account(letter: &str) -> AccountId {
    // Two shards: even tokens are on shard 0.
    let number = match letter {
        "a" => 0,
        "b" => 2,
        _ => 1,
    };
    format!("card:{number:016x}{:016x}", 0).parse().unwrap()
}

fn settings() -> Settings {
    let mut rules = vec![];
    for (kind, with_account, parties) in [
        (Kind::PRESENTMENT, true, [Party::Customer, Party::Clearing]),
        (Kind::FEE, false, [Party::Fees, Party::Clearing]),
        (Kind::SETTLEMENT, false, [Party::Settlement, Party::Clearing]),
    ] {
        let [party, other] = parties;
        let legs = vec![
            LegRule { party, side: Side::Same },
            LegRule { party: other, side: Side::Opposite },
        ];
        rules.push(Rule { format: None, kind, with_account, legs });
    }
    let unknown_accounts = HashMap::from([("strict".to_owned(), UnknownAccount::Reject)]);
    let unknown_account_default = UnknownAccount::Open;
    let rules = Rules::load(rules).unwrap();
    Settings { rules, unknown_accounts, unknown_account_default, checks: Checks::ALL }
}

/// A shard whose store has nothing, but what a test puts there first.
struct Page {
    shard: Shard,
    settings: Settings,
    stored: Vec<Account>,
    text: String,
}

impl Page {
    fn new() -> Self {
        let shard = Shard::new(0, 2, 0, 0);
        Self { shard, settings: settings(), stored: Vec::new(), text: String::new() }
    }

    /// The store has this account already, with these counters in USD.
    fn stored(mut self, name: AccountName, debits_minor: i64, credits_minor: i64) -> Self {
        let mut account = Account::new(name);
        account.balances.push(Balance {
            currency: Currency::USD,
            exponent: 2,
            debits_minor,
            credits_minor,
            version: 7,
            last_number: 0,
        });
        self.stored.push(account);
        self
    }

    fn apply(&mut self, what: What) -> Outcome {
        let event = Event { offset: self.shard.next_offset, what };
        self.shard.want(&self.settings, &event);
        let find = |name: &AccountName| self.stored.iter().find(|a| a.name == *name).cloned();
        let accounts = self.shard.accounts.wanted().iter().map(find).collect();
        self.shard.accounts.load(accounts);
        let runs = self.shard.runs.wanted().iter().map(|_| None).collect();
        self.shard.runs.load(runs);
        let number = self.shard.next_number;
        let outcome = self.shard.apply(&self.settings, &event).unwrap();
        assert_eq!((outcome.number, self.shard.next_number), (number, number + 1));
        let sum: i64 = outcome
            .legs
            .iter()
            .map(|leg| {
                if leg.direction == Direction::DEBIT { -leg.amount_minor } else { leg.amount_minor }
            })
            .sum();
        assert_eq!(sum, 0, "the legs sum to zero");
        outcome
    }

    /// Applies what the line says, and writes down what became of it.
    fn line(&mut self, line: &str) {
        let outcome = self.apply(event(line));
        write!(self.text, "{line:44} → {}", outcome.kind).unwrap();
        if let Some(reason) = &outcome.reason {
            write!(self.text, " {reason}: {}", outcome.detail.as_deref().unwrap()).unwrap();
        }
        for leg in &outcome.legs {
            write!(self.text, "; {}", shown(&leg.account)).unwrap();
            if leg.direction == Direction::NONE {
                write!(self.text, " {} {}", leg.state, leg.label.as_deref().unwrap_or("-"))
                    .unwrap();
            } else {
                let balance = leg.credits_minor - leg.debits_minor;
                write!(self.text, " {} {} = {balance}", leg.direction, leg.amount_minor).unwrap();
            }
        }
        if let Some(answer) = &outcome.segment {
            write!(
                self.text,
                "; {} of {} applied, {} rejected, {} again, complete {}",
                answer.applied, answer.events, answer.rejected, answer.duplicates, answer.complete
            )
            .unwrap();
        }
        self.text.push('\n');
    }
}

fn shown(account: &str) -> String {
    let letters = ["a", "b", "x"];
    let letter = letters.iter().find(|letter| self::account(letter).to_string() == account);
    letter.map_or_else(|| account.to_owned(), |letter| (*letter).to_owned())
}

/// Reads a line such as `1/0 presentment debit 100 USD a`: file and sequence, kind, direction,
/// amount, currency (`-` for none), account (`-` for none), and what is unusual.
fn event(line: &str) -> What {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["account", letter, state, label] => What::AccountChanged(AccountChanged {
            command_id: CommandId([9; 16]),
            account: account(letter),
            state: (*state != "-").then(|| (*state).to_owned()),
            label: (*label != "-").then(|| (*label).to_owned()),
            reason: "test".to_owned(),
        }),
        [file, end @ ("ends" | "cancelled"), "after", events, "on", shard, command @ ..] => {
            What::SegmentClosed(SegmentClosed {
                file_id: FileId([file.parse().unwrap(); 16]),
                shard: shard.parse().unwrap(),
                complete: *end == "ends",
                events: events.parse().unwrap(),
                sums: Sums::new(),
                command_id: (command == ["by", "command"]).then_some(CommandId([8; 16])),
                answer_to: 0,
            })
        }
        [id, kind, direction, amount, currency, on, rest @ ..] => {
            let (file, sequence) = id.split_once('/').unwrap();
            let (kind, direction) = (Kind::from(*kind), Direction::from(*direction));
            let account = (*on != "-").then(|| account(on));
            let amount_minor = if *amount == "max" { i64::MAX } else { amount.parse().unwrap() };
            let currency = Currency::from_letters(currency);
            let sequence = sequence.parse().unwrap();
            What::Record(Record {
                file: FileId([file.parse().unwrap(); 16]),
                index: sequence,
                sequence,
                fingerprint: schemas::fingerprint(
                    account.as_ref(),
                    &kind,
                    &direction,
                    amount_minor,
                    currency,
                    None,
                ),
                feed: if rest.contains(&"strict") { "strict" } else { "feed" }.into(),
                format: "ipm".into(),
                network: "mc".into(),
                kind,
                direction,
                account,
                label: Some("****0012".into()),
                amount_minor,
                currency,
                exponent: if rest.contains(&"exponent-12") { 12 } else { 2 },
            })
        }
        _ => panic!("expected an event, found `{line}`"),
    }
}

fn check(mut page: Page, lines: &str, expected: Expect) {
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        page.line(line);
    }
    expected.assert_eq(&page.text);
}

#[test]
fn a_record_posts_all_of_its_legs() {
    check(
        Page::new(),
        "1/0 presentment debit 100 USD a
         1/1 presentment credit 30 USD a
         1/2 presentment debit 5 USD b
         1/3 fee debit 7 USD -
         1/4 settlement credit 9 BRL -
         1 ends after 5 on 0",
        expect![[r#"
            1/0 presentment debit 100 USD a              → applied; a debit 100 = -100; clearing:mc#0 credit 100 = 100
            1/1 presentment credit 30 USD a              → applied; a credit 30 = -70; clearing:mc#0 debit 30 = 70
            1/2 presentment debit 5 USD b                → applied; b debit 5 = -5; clearing:mc#0 credit 5 = 75
            1/3 fee debit 7 USD -                        → applied; fees:mc#0 debit 7 = -7; clearing:mc#0 credit 7 = 82
            1/4 settlement credit 9 BRL -                → applied; settlement:mc#0 credit 9 = 9; clearing:mc#0 debit 9 = -9
            1 ends after 5 on 0                          → segment; 5 of 5 applied, 0 rejected, 0 again, complete true
        "#]],
    );
}

#[test]
fn each_rung_names_its_outcome() {
    check(
        Page::new(),
        "1/0 presentment debit -1 USD a
         1/1 presentment sideways 1 USD a
         1/2 presentment debit 1 USD a exponent-12
         1/3 presentment debit 1 USD x
         1/4 presentment debit 0 - a
         1/5 presentment none 5 USD a
         1/6 presentment debit 5 - a
         1/7 presentment debit 5 USD -
         1/8 novelty debit 5 USD a
         1/9 presentment debit 5 USD a strict
         1/10 presentment debit 5 USD a
         1/11 presentment debit 5 USD a strict
         1 ends after 12 on 0",
        expect![[r#"
            1/0 presentment debit -1 USD a               → rejected amount_negative: expected an amount of at least 0, found a negative one
            1/1 presentment sideways 1 USD a             → rejected direction_unknown: expected debit, credit or none, found another word
            1/2 presentment debit 1 USD a exponent-12    → rejected exponent_invalid: expected 0 to 9, found 12
            1/3 presentment debit 1 USD x                → rejected wrong_shard: expected an account of shard 0, found one of shard 1
            1/4 presentment debit 0 - a                  → applied
            1/5 presentment none 5 USD a                 → applied
            1/6 presentment debit 5 - a                  → rejected currency_missing: expected a currency, found none
            1/7 presentment debit 5 USD -                → rejected no_rule: no posting rule for presentment of ipm without an account
            1/8 novelty debit 5 USD a                    → rejected no_rule: no posting rule for novelty of ipm with an account
            1/9 presentment debit 5 USD a strict         → rejected account_unknown: feed strict posts to known accounts only
            1/10 presentment debit 5 USD a               → applied; a debit 5 = -5; clearing:mc#0 credit 5 = 5
            1/11 presentment debit 5 USD a strict        → applied; a debit 5 = -10; clearing:mc#0 credit 5 = 10
            1 ends after 12 on 0                         → segment; 4 of 12 applied, 8 rejected, 0 again, complete true
        "#]],
    );
}

/// Of two rungs that both hold, the earlier one names the reason.
#[test]
fn the_order_of_the_rungs_is_the_contract() {
    check(
        Page::new(),
        "account a closed -
         1/0 presentment debit -1 - x exponent-12
         1/1 presentment sideways 1 - x exponent-12
         1/2 presentment debit 1 - x exponent-12
         1/3 novelty debit 1 - x
         1/4 novelty debit 1 - a
         1/5 novelty debit 1 USD a
         1/6 presentment debit max USD b strict
         1/7 presentment debit max USD a strict
         1/9 presentment debit -1 USD a
         1/3 novelty debit 1 - a
         1 ends after 8 on 0
         1/9 presentment debit -1 USD a
         1/3 novelty debit 1 - a
         1 cancelled after 8 on 0
         1/3 novelty debit 1 - a",
        expect![[r#"
            account a closed -                           → changed; a closed -
            1/0 presentment debit -1 - x exponent-12     → rejected amount_negative: expected an amount of at least 0, found a negative one
            1/1 presentment sideways 1 - x exponent-12   → rejected direction_unknown: expected debit, credit or none, found another word
            1/2 presentment debit 1 - x exponent-12      → rejected exponent_invalid: expected 0 to 9, found 12
            1/3 novelty debit 1 - x                      → rejected wrong_shard: expected an account of shard 0, found one of shard 1
            1/4 novelty debit 1 - a                      → rejected currency_missing: expected a currency, found none
            1/5 novelty debit 1 USD a                    → rejected no_rule: no posting rule for novelty of ipm with an account
            1/6 presentment debit max USD b strict       → rejected account_unknown: feed strict posts to known accounts only
            1/7 presentment debit max USD a strict       → rejected account_closed: the account is closed
            1/9 presentment debit -1 USD a               → gap sequence_missing: expected sequence 8, found 9
            1/3 novelty debit 1 - a                      → conflict fingerprint_differs: sequence 3 was taken by an event that posts something else
            1 ends after 8 on 0                          → segment; 0 of 8 applied, 8 rejected, 0 again, complete true
            1/9 presentment debit -1 USD a               → closed file_complete: the file ended with 8 events
            1/3 novelty debit 1 - a                      → conflict fingerprint_differs: sequence 3 was taken by an event that posts something else
            1 cancelled after 8 on 0                     → segment; 0 of 8 applied, 8 rejected, 0 again, complete false
            1/3 novelty debit 1 - a                      → closed file_cancelled: the file was cancelled
        "#]],
    );
}

#[test]
fn a_sequence_is_taken_once() {
    check(
        Page::new(),
        "1/0 presentment debit 100 USD a
         1/0 presentment debit 100 USD a
         1/0 presentment debit 101 USD a
         1/2 presentment debit 5 USD a
         1 ends after 3 on 0
         1/1 presentment debit 6 USD a
         1/2 presentment debit 5 USD a
         1 ends after 2 on 0
         1 ends after 3 on 0
         1 ends after 3 on 0
         1/2 presentment debit 5 USD a
         1/3 presentment debit 5 USD a
         2/0 presentment debit 1 USD b
         2 cancelled after 1 on 0
         2/1 presentment debit 1 USD b
         2 ends after 1 on 0
         3 ends after 0 on 1",
        expect![[r#"
            1/0 presentment debit 100 USD a              → applied; a debit 100 = -100; clearing:mc#0 credit 100 = 100
            1/0 presentment debit 100 USD a              → duplicate
            1/0 presentment debit 101 USD a              → conflict fingerprint_differs: sequence 0 was taken by an event that posts something else
            1/2 presentment debit 5 USD a                → gap sequence_missing: expected sequence 1, found 2
            1 ends after 3 on 0                          → gap events_missing: expected 3 events, found 1
            1/1 presentment debit 6 USD a                → applied; a debit 6 = -106; clearing:mc#0 credit 6 = 106
            1/2 presentment debit 5 USD a                → applied; a debit 5 = -111; clearing:mc#0 credit 5 = 111
            1 ends after 2 on 0                          → conflict events_differ: expected 2 events, found 3
            1 ends after 3 on 0                          → segment; 3 of 3 applied, 0 rejected, 1 again, complete true
            1 ends after 3 on 0                          → segment; 3 of 3 applied, 0 rejected, 1 again, complete true
            1/2 presentment debit 5 USD a                → duplicate
            1/3 presentment debit 5 USD a                → closed file_complete: the file ended with 3 events
            2/0 presentment debit 1 USD b                → applied; b debit 1 = -1; clearing:mc#0 credit 1 = 112
            2 cancelled after 1 on 0                     → segment; 1 of 1 applied, 0 rejected, 0 again, complete false
            2/1 presentment debit 1 USD b                → closed file_cancelled: the file was cancelled
            2 ends after 1 on 0                          → segment; 1 of 1 applied, 0 rejected, 0 again, complete false
            3 ends after 0 on 1                          → rejected wrong_shard: expected shard 0, found 1
        "#]],
    );
}

/// A command waits for every shard, so each end that it says is answered; the answer to one that is
/// refused is not complete, also where the file is.
#[test]
fn an_end_that_a_command_says_always_answers() {
    check(
        Page::new(),
        "1/0 presentment debit 100 USD a
         1 ends after 2 on 0
         1 ends after 2 on 0 by command
         1 ends after 1 on 1 by command
         1/1 presentment debit 5 USD a
         1 ends after 1 on 0
         1 ends after 1 on 0 by command
         1 ends after 2 on 0
         1 ends after 2 on 0 by command
         1 ends after 3 on 0 by command
         1/1 presentment debit 5 USD a
         1 ends after 2 on 0 by command
         1 cancelled after 3 on 1 by command
         1 cancelled after 3 on 0 by command
         1 ends after 2 on 0 by command",
        expect![[r#"
            1/0 presentment debit 100 USD a              → applied; a debit 100 = -100; clearing:mc#0 credit 100 = 100
            1 ends after 2 on 0                          → gap events_missing: expected 2 events, found 1
            1 ends after 2 on 0 by command               → gap events_missing: expected 2 events, found 1; 1 of 2 applied, 0 rejected, 0 again, complete false
            1 ends after 1 on 1 by command               → rejected wrong_shard: expected shard 0, found 1; 1 of 1 applied, 0 rejected, 0 again, complete false
            1/1 presentment debit 5 USD a                → applied; a debit 5 = -105; clearing:mc#0 credit 5 = 105
            1 ends after 1 on 0                          → conflict events_differ: expected 1 events, found 2
            1 ends after 1 on 0 by command               → conflict events_differ: expected 1 events, found 2; 2 of 1 applied, 0 rejected, 0 again, complete false
            1 ends after 2 on 0                          → segment; 2 of 2 applied, 0 rejected, 0 again, complete true
            1 ends after 2 on 0 by command               → segment; 2 of 2 applied, 0 rejected, 0 again, complete true
            1 ends after 3 on 0 by command               → gap events_missing: expected 3 events, found 2; 2 of 3 applied, 0 rejected, 0 again, complete false
            1/1 presentment debit 5 USD a                → duplicate
            1 ends after 2 on 0 by command               → segment; 2 of 2 applied, 0 rejected, 1 again, complete true
            1 cancelled after 3 on 1 by command          → rejected wrong_shard: expected shard 0, found 1; 2 of 3 applied, 0 rejected, 1 again, complete false
            1 cancelled after 3 on 0 by command          → segment; 2 of 3 applied, 0 rejected, 1 again, complete false
            1 ends after 2 on 0 by command               → segment; 2 of 2 applied, 0 rejected, 1 again, complete false
        "#]],
    );
}

#[test]
fn a_state_is_set_and_stops_what_it_should() {
    check(
        Page::new(),
        "account a frozen -
         1/0 presentment debit 100 USD a
         account a open ****7777
         account a open ****7777
         1/1 presentment debit 100 USD a
         account a closed -
         1/2 presentment credit 100 USD a
         account a melted -
         account x frozen -
         account a frozen ****8888
         account a open -
         account a closed -
         account a - ****9999
         1/3 presentment debit 0 USD a",
        expect![[r#"
            account a frozen -                           → changed; a frozen -
            1/0 presentment debit 100 USD a              → rejected account_frozen: the account is frozen
            account a open ****7777                      → changed; a open ****7777
            account a open ****7777                      → changed; a open ****7777
            1/1 presentment debit 100 USD a              → applied; a debit 100 = -100; clearing:mc#0 credit 100 = 100
            account a closed -                           → changed; a closed ****7777
            1/2 presentment credit 100 USD a             → rejected account_closed: the account is closed
            account a melted -                           → rejected state_unknown: expected open, frozen or closed, found another word
            account x frozen -                           → rejected wrong_shard: expected an account of shard 0, found one of shard 1
            account a frozen ****8888                    → rejected account_closed: a closed account stays closed
            account a open -                             → rejected account_closed: a closed account stays closed
            account a closed -                           → changed; a closed ****7777
            account a - ****9999                         → changed; a closed ****9999
            1/3 presentment debit 0 USD a                → applied
        "#]],
    );
}

/// The first leg is posted and the second can't be: nothing of the first remains, in memory or in
/// what is committed, and the account isn't even opened.
#[test]
fn a_record_whose_second_leg_can_not_be_posted_leaves_no_trace_but_its_outcome() {
    let clearing = || AccountName::house(Party::Clearing, "mc", 0).unwrap();
    let mut page = Page::new().stored(clearing(), 10, i64::MAX - 50);
    page.line("1/0 presentment debit 51 USD a");
    page.line("1/1 presentment debit 50 USD b");
    page.line("1/2 presentment debit 1 USD b");
    let mut changed = Vec::new();
    page.shard.accounts.take_changes(
        |account| changed.push(format!("account {}", shown(&account.name.to_string()))),
        |_, _, _| (),
    );
    page.shard.accounts.take_changes(|_| panic!("nothing is left"), |_, _, _| panic!("nothing"));
    changed.sort();
    assert_eq!(changed, ["account b"]);
    let slot = page.shard.accounts.customer(&account("a")).unwrap();
    assert!(!page.shard.accounts.exists(slot));
    assert_eq!(
        page.shard.accounts.get(slot),
        Some(&Account::new(AccountName::Customer(account("a"))))
    );
    expect![[r#"
        1/0 presentment debit 51 USD a               → rejected counter_overflow: a counter in USD does not fit in 64 bits
        1/1 presentment debit 50 USD b               → applied; b debit 50 = -50; clearing:mc#0 credit 50 = 9223372036854775797
        1/2 presentment debit 1 USD b                → rejected counter_overflow: a counter in USD does not fit in 64 bits
    "#]]
    .assert_eq(&page.text);
}

#[test]
fn a_frozen_house_account_rejects_the_whole_record() {
    let mut page = Page::new().stored(AccountName::house(Party::Clearing, "mc", 0).unwrap(), 0, 0);
    page.stored[0].state = schemas::outcome::AccountState::FROZEN;
    page.line("1/0 presentment debit 51 USD a");
    expect![[r#"
        1/0 presentment debit 51 USD a               → rejected account_frozen: the account is frozen
    "#]]
    .assert_eq(&page.text);
    let changes = |_: &Account| panic!("nothing changed");
    page.shard.accounts.take_changes(changes, |_, _, _| panic!("nothing changed"));
}

/// One file can't fill the sums of its own answer: what no longer fits is rejected, nothing stops.
#[test]
fn a_sum_that_would_overflow_rejects_the_record() {
    check(
        Page::new(),
        "1/0 presentment debit max USD a
         1/1 presentment credit 1 USD a
         1/2 presentment debit 1 USD b
         1/3 presentment debit max USD b
         1 ends after 4 on 0",
        expect![[r#"
            1/0 presentment debit max USD a              → applied; a debit 9223372036854775807 = -9223372036854775807; clearing:mc#0 credit 9223372036854775807 = 9223372036854775807
            1/1 presentment credit 1 USD a               → rejected sum_overflow: the file's sum in USD does not fit in 64 bits
            1/2 presentment debit 1 USD b                → rejected counter_overflow: a counter in USD does not fit in 64 bits
            1/3 presentment debit max USD b              → rejected counter_overflow: a counter in USD does not fit in 64 bits
            1 ends after 4 on 0                          → segment; 1 of 4 applied, 3 rejected, 0 again, complete true
        "#]],
    );
}

/// The control of the tests that look for doubled records: without the check, one is applied again.
#[test]
fn without_the_sequence_check_a_doubled_record_is_applied_again() {
    let mut page = Page::new();
    page.settings.checks = Checks::ALL.without_sequence_check();
    check(
        page,
        "1/0 presentment debit 100 USD a
         1/0 presentment debit 100 USD a
         1 ends after 1 on 0",
        expect![[r#"
            1/0 presentment debit 100 USD a              → applied; a debit 100 = -100; clearing:mc#0 credit 100 = 100
            1/0 presentment debit 100 USD a              → applied; a debit 100 = -200; clearing:mc#0 credit 100 = 200
            1 ends after 1 on 0                          → conflict events_differ: expected 1 events, found 2
        "#]],
    );
}
