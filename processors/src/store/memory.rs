//! The store in memory: the model that the others are compared with.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use schemas::FileId;
use schemas::ledger::Ledger;

use crate::account::{Account, AccountName};
use crate::run::{Run, Span};
use crate::store::{
    Commit, Error, Fetched, OutcomeRow, Probe, Range, ShardRow, Store, View, other_balance,
    other_ledger,
};

/// Plain data under a lock.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
    probe: Probe,
}

#[derive(Clone, Debug, Default)]
struct State {
    ledger: Option<Ledger>,
    shards: Vec<Shard>,
}

#[derive(Clone, Debug)]
struct Shard {
    row: ShardRow,
    accounts: BTreeMap<AccountName, Account>,
    runs: BTreeMap<FileId, Run>,
    spans: HashMap<FileId, Vec<Span>>,
    outcomes: Vec<OutcomeRow>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store for tests that stop it in the middle.
    #[doc(hidden)]
    pub fn probed(probe: Probe) -> Self {
        Self { state: Arc::default(), probe }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change below is made by infallible steps, so a poisoned state is a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    type View = MemoryView;

    async fn open_ledger(&self, ledger: &Ledger) -> Result<(), Error> {
        let mut state = self.lock();
        match &state.ledger {
            Some(found) if found == ledger => return Ok(()),
            Some(found) => return Err(other_ledger(ledger, found)),
            None => (),
        }
        let shards = u32::try_from(ledger.shards).unwrap_or_default();
        state.ledger = Some(ledger.clone());
        state.shards = (0..shards)
            .map(|shard| Shard {
                row: ShardRow { shard, epoch: 0, next_offset: 0, next_number: 0 },
                accounts: BTreeMap::new(),
                runs: BTreeMap::new(),
                spans: HashMap::new(),
                outcomes: Vec::new(),
            })
            .collect();
        Ok(())
    }

    async fn acquire(&self, shard: u32) -> Result<ShardRow, Error> {
        let mut state = self.lock();
        let row = &mut state.shard_mut(shard)?.row;
        row.epoch += 1;
        Ok(*row)
    }

    async fn fetch(
        &self,
        shard: u32,
        accounts: Vec<AccountName>,
        files: Vec<FileId>,
    ) -> Result<Fetched, Error> {
        let state = self.lock();
        let shard = state.shard(shard)?;
        Ok(Fetched {
            accounts: accounts.iter().map(|name| shard.accounts.get(name).cloned()).collect(),
            runs: files.iter().map(|file| shard.runs.get(file).cloned()).collect(),
        })
    }

    async fn fingerprints(
        &self,
        shard: u32,
        file: FileId,
        sequences: Vec<i64>,
    ) -> Result<Vec<(i64, i64)>, Error> {
        let state = self.lock();
        let outcomes = &state.shard(shard)?.outcomes;
        let of_file = outcomes.iter().filter(|row| row.file == Some(file));
        let found = of_file.filter_map(|row| Some((row.sequence?, row.fingerprint?)));
        Ok(found.filter(|(sequence, _)| sequences.contains(sequence)).collect())
    }

    async fn reversing(&self, shard: u32) -> Result<Vec<Run>, Error> {
        let state = self.lock();
        let runs = state.shard(shard)?.runs.values();
        Ok(runs.filter(|run| run.is_reversing()).cloned().collect())
    }

    async fn taken(
        &self,
        shard: u32,
        file: FileId,
        range: Range,
    ) -> Result<Vec<OutcomeRow>, Error> {
        let state = self.lock();
        let outcomes = &state.shard(shard)?.outcomes;
        // Numbers are dense: the n-th outcome has the number n.
        let below = usize::try_from(range.below).unwrap_or_default().min(outcomes.len());
        let is_asked_for = |row: &&OutcomeRow| {
            let indices = range.first_index..=range.last_index;
            row.file == Some(file) && row.index.is_some_and(|index| indices.contains(&index))
        };
        let newest_first = outcomes[..below].iter().rev();
        Ok(newest_first.filter(is_asked_for).take(range.max).cloned().collect())
    }

    async fn commit(&self, commit: Arc<Commit>) -> Result<(), Error> {
        let mut state = self.lock();
        let from = commit.from;
        let shard = state.shard_mut(from.shard)?;
        let to = commit.to();
        let is_swapped = shard.row == from || self.probe.is_swap_blind;
        if !is_swapped && shard.row == to {
            return Ok(());
        }
        if !is_swapped {
            let (epoch, number) = (from.epoch, from.next_number);
            return Err(Error::Fenced { shard: from.shard, epoch, number });
        }
        check(&commit, shard)?;
        self.probe.swapped(from.shard);
        // From here on nothing can fail.
        shard.row = to;
        for row in &commit.accounts {
            let account = shard.account(&row.name);
            account.state = row.state.clone();
            account.label = row.label.clone();
        }
        for row in &commit.balances {
            let balances = &mut shard.account(&row.name).balances;
            let unit = (row.balance.currency, row.balance.exponent);
            match balances.binary_search_by_key(&unit, |b| (b.currency, b.exponent)) {
                Ok(at) => balances[at] = row.balance,
                Err(at) => balances.insert(at, row.balance),
            }
        }
        shard.outcomes.extend(commit.outcomes.iter().cloned());
        shard.runs.extend(commit.runs.iter().map(|run| (run.file, run.clone())));
        for span in &commit.spans {
            shard.spans.entry(span.file).or_default().push(span.clone());
        }
        Ok(())
    }

    async fn view(&self) -> Result<MemoryView, Error> {
        Ok(MemoryView(self.lock().clone()))
    }
}

/// The rules that a database keeps by constraints.
fn check(commit: &Commit, shard: &Shard) -> Result<(), Error> {
    commit.check()?;
    for row in &commit.balances {
        let account = shard.accounts.get(&row.name);
        let unit = (row.balance.currency, row.balance.exponent);
        let mut balances = account.iter().flat_map(|account| &account.balances);
        let found = balances.find(|balance| (balance.currency, balance.exponent) == unit);
        if found.map_or(0, |balance| balance.version) != row.version_before {
            return Err(other_balance(row));
        }
        let is_made = commit.accounts.iter().any(|made| made.name == row.name);
        let is_negative = row.balance.debits_minor < 0 || row.balance.credits_minor < 0;
        if is_negative || (account.is_none() && !is_made) {
            let what = "a balance has a negative counter or no account".to_owned();
            return Err(Error::Invariant { what, source: None });
        }
    }
    Ok(())
}

impl State {
    fn shard(&self, shard: u32) -> Result<&Shard, Error> {
        let at = usize::try_from(shard).unwrap_or(usize::MAX);
        self.shards.get(at).ok_or_else(|| no_shard(shard))
    }

    fn shard_mut(&mut self, shard: u32) -> Result<&mut Shard, Error> {
        let at = usize::try_from(shard).unwrap_or(usize::MAX);
        self.shards.get_mut(at).ok_or_else(|| no_shard(shard))
    }
}

impl Shard {
    fn account(&mut self, name: &AccountName) -> &mut Account {
        self.accounts.entry(name.clone()).or_insert_with(|| Account::new(name.clone()))
    }
}

fn no_shard(shard: u32) -> Error {
    let what = format!("expected shard {shard} in the ledger, found none");
    Error::Unusable { what, source: None }
}

/// A copy of the store at one moment.
#[derive(Debug)]
pub struct MemoryView(State);

impl View for MemoryView {
    async fn ledger(&mut self) -> Result<Option<Ledger>, Error> {
        Ok(self.0.ledger.clone())
    }

    async fn shards(&mut self) -> Result<Vec<ShardRow>, Error> {
        Ok(self.0.shards.iter().map(|shard| shard.row).collect())
    }

    async fn accounts(
        &mut self,
        shard: u32,
        after: Option<AccountName>,
        max: usize,
    ) -> Result<Vec<Account>, Error> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let found = self.0.shard(shard)?.accounts.range((from, Bound::Unbounded));
        Ok(found.take(max).map(|(_, account)| account.clone()).collect())
    }

    async fn account(&mut self, shard: u32, name: AccountName) -> Result<Option<Account>, Error> {
        Ok(self.0.shard(shard)?.accounts.get(&name).cloned())
    }

    async fn runs(
        &mut self,
        after: Option<(FileId, u32)>,
        max: usize,
    ) -> Result<Vec<(u32, Run)>, Error> {
        let mut found: Vec<(u32, &Run)> = Vec::new();
        for shard in &self.0.shards {
            found.extend(shard.runs.values().map(|run| (shard.row.shard, run)));
        }
        found.sort_unstable_by_key(|(shard, run)| (run.file, *shard));
        let rest = found.into_iter().filter(|(shard, run)| Some((run.file, *shard)) > after);
        Ok(rest.take(max).map(|(shard, run)| (shard, run.clone())).collect())
    }

    async fn runs_of(&mut self, file: FileId) -> Result<Vec<(u32, Run)>, Error> {
        let of_shard =
            |shard: &Shard| shard.runs.get(&file).map(|run| (shard.row.shard, run.clone()));
        Ok(self.0.shards.iter().filter_map(of_shard).collect())
    }

    async fn spans(&mut self, shard: u32, file: FileId) -> Result<Vec<Span>, Error> {
        Ok(self.0.shard(shard)?.spans.get(&file).cloned().unwrap_or_default())
    }

    async fn outcomes(
        &mut self,
        shard: u32,
        from_number: i64,
        max: usize,
    ) -> Result<Vec<OutcomeRow>, Error> {
        let from = usize::try_from(from_number).unwrap_or(usize::MAX);
        Ok(self.0.shard(shard)?.outcomes.iter().skip(from).take(max).cloned().collect())
    }
}
