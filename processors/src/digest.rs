//! A digest of the state, by which two stores are compared.
//!
//! It covers positions, accounts, balances, runs and outcomes. It leaves out epochs, which count
//! owners, and spans, which depend on how events were grouped into commits: the same events give
//! the same digest on every store, however they arrived.

use schemas::{Digest, Sums};
use sha2::{Digest as _, Sha256};

use crate::account::Account;
use crate::run::Run;
use crate::store::{Error, OutcomeRow, View};

/// Rows read at once.
const PAGE: usize = 4_096;

/// The digest of what a view holds.
///
/// # Errors
///
/// Where the store can't be read.
pub async fn digest<V: View>(view: &mut V) -> Result<Digest, Error> {
    let mut hash = Hash(Sha256::new());
    for shard in view.shards().await? {
        hash.numbers(&[i64::from(shard.shard), shard.next_offset, shard.next_number]);
        let mut after = None;
        loop {
            let page = view.accounts(shard.shard, after.take(), PAGE).await?;
            page.iter().for_each(|account| hash.account(account));
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.name.clone()),
                _ => break,
            }
        }
        let mut from = 0;
        loop {
            let page = view.outcomes(shard.shard, from, PAGE).await?;
            page.iter().for_each(|outcome| hash.outcome(outcome));
            match page.last() {
                Some(last) if page.len() == PAGE => from = last.number.saturating_add(1),
                _ => break,
            }
        }
    }
    let mut after = None;
    loop {
        let page = view.runs(after.take(), PAGE).await?;
        page.iter().for_each(|(shard, run)| hash.run(*shard, run));
        match page.last() {
            Some((shard, run)) if page.len() == PAGE => after = Some((run.file, *shard)),
            _ => break,
        }
    }
    Ok(Digest(hash.0.finalize().into()))
}

/// Parts are preceded by their length, so that no two lists of parts run together.
struct Hash(Sha256);

impl Hash {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        self.0.update(bytes);
    }

    fn numbers(&mut self, numbers: &[i64]) {
        for number in numbers {
            self.0.update(number.to_be_bytes());
        }
    }

    fn optional(&mut self, number: Option<i64>) {
        self.numbers(&[i64::from(number.is_some()), number.unwrap_or_default()]);
    }

    fn account(&mut self, account: &Account) {
        self.bytes(account.name.to_string().as_bytes());
        self.bytes(account.state.as_str().as_bytes());
        self.bytes(account.label.as_deref().unwrap_or_default().as_bytes());
        for balance in &account.balances {
            self.bytes(balance.currency.as_str().as_bytes());
            self.numbers(&[
                i64::from(balance.exponent),
                balance.debits_minor,
                balance.credits_minor,
                balance.version,
                balance.last_number,
            ]);
        }
    }

    fn outcome(&mut self, outcome: &OutcomeRow) {
        self.numbers(&[outcome.number]);
        self.bytes(outcome.file.as_ref().map_or(&[][..], |file| file.0.as_slice()));
        self.optional(outcome.sequence);
        self.optional(outcome.fingerprint);
        self.bytes(&outcome.body);
    }

    fn run(&mut self, shard: u32, run: &Run) {
        self.bytes(&run.file.0);
        self.bytes(run.state.as_str().as_bytes());
        self.numbers(&[
            i64::from(shard),
            i64::from(run.is_blocked),
            run.next_sequence,
            run.applied,
            run.rejected,
            run.reversed,
            run.duplicates,
        ]);
        self.sums(&run.applied_sums);
        self.sums(&run.rejected_sums);
        self.sums(&run.reversed_sums);
        self.optional(run.first_number);
        self.optional(run.last_number);
        for reversal in &run.reversals {
            self.bytes(&reversal.command_id.0);
            self.numbers(&[
                reversal.first_index,
                reversal.last_index,
                reversal.begun_number,
                reversal.reversed,
                i64::from(reversal.answer_to),
            ]);
            self.optional(reversal.below);
            self.sums(&reversal.reversed_sums);
        }
        self.bytes(b"end of reversals");
    }

    fn sums(&mut self, sums: &Sums) {
        for sum in sums.iter() {
            self.bytes(sum.currency.as_str().as_bytes());
            let amounts = [sum.debits, sum.debits_minor, sum.credits, sum.credits_minor];
            self.numbers(&[i64::from(sum.exponent)]);
            self.numbers(&amounts);
        }
        self.bytes(b"end of sums");
    }
}
