//! Accounts in memory: two counters a currency that never decrease, and a scope around the legs of
//! one record that is kept or dropped whole.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use schemas::outcome::{AccountState, Leg, Owner};
use schemas::{AccountId, Currency, Direction};

use crate::posting::Party;

/// The name of an account: a customer's token, or a house account of one shard.
///
/// Names are in the order of their texts, so that every store lists them alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AccountName {
    /// A customer's.
    Customer(AccountId),
    /// Ours, such as `clearing:mastercard#7`.
    House(Arc<str>),
}

impl AccountName {
    /// The house account of a network on a shard; none where the party is the customer.
    pub fn house(party: Party, network: &str, shard: u32) -> Option<Self> {
        Some(Self::House(format!("{}:{network}#{shard}", party.house()?).into()))
    }

    /// The name that this text stands for. Only a customer's account has the form of a token.
    pub fn from_text(text: &str) -> Self {
        match text.parse() {
            Ok(account) => Self::Customer(account),
            Err(_) => Self::House(text.into()),
        }
    }

    /// Whose account it is.
    pub fn owner(&self) -> Owner {
        match self {
            Self::Customer(_) => Owner::CUSTOMER,
            Self::House(_) => Owner::HOUSE,
        }
    }
}

impl Ord for AccountName {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            // A scheme is padded with zeros, which go before every letter as a colon does, and
            // hexadecimal is in the order of its bytes: so these two are in the order of the texts.
            (Self::Customer(one), Self::Customer(two)) => one.cmp(two),
            (Self::House(one), Self::House(two)) => one.cmp(two),
            _ => self.to_string().cmp(&other.to_string()),
        }
    }
}

impl PartialOrd for AccountName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Customer(account) => account.fmt(f),
            Self::House(name) => f.pad(name),
        }
    }
}

/// The balance of an account in one currency and exponent: credits − debits.
///
/// - Counters never decrease, and are never negative.
/// - `version` counts the legs posted; the first makes it 1.
/// - `last_number` is the outcome that posted the last of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "documented on the type")]
pub struct Balance {
    pub currency: Currency,
    pub exponent: i32,
    pub debits_minor: i64,
    pub credits_minor: i64,
    pub version: i64,
    pub last_number: i64,
}

impl Balance {
    /// Credits − debits, in minor units.
    pub fn minor(&self) -> i128 {
        // Two numbers of 64 bits always have a difference in 128.
        i128::from(self.credits_minor).saturating_sub(i128::from(self.debits_minor))
    }
}

/// An account as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: AccountName,
    /// Whether it may be posted to.
    pub state: AccountState,
    /// The masked label.
    pub label: Option<Arc<str>>,
    /// One a currency and exponent.
    pub balances: Vec<Balance>,
}

impl Account {
    /// An account that is open and has no balance.
    pub fn new(name: AccountName) -> Self {
        Self { name, state: AccountState::OPEN, label: None, balances: Vec::new() }
    }
}

/// Where an account lies among those in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(usize);

#[derive(Debug)]
struct Entry {
    account: Account,
    /// False until the store was asked.
    is_loaded: bool,
    /// True where the store has it, or the next commit writes it.
    exists: bool,
    /// State, label or existence differ from the store's.
    is_changed: bool,
    /// The balances that differ from the store's: their indices, and the versions there.
    changed: Vec<(usize, i64)>,
    /// True where it is listed in `touched`.
    is_touched: bool,
}

/// The accounts of one shard that are in memory.
#[derive(Debug, Default)]
pub struct Accounts {
    entries: Vec<Entry>,
    customers: HashMap<AccountId, usize>,
    /// House accounts are few: a party and a network each.
    houses: Vec<(Party, Arc<str>, usize)>,
    /// The same by name, as a leg that was posted calls them.
    named: HashMap<Arc<str>, usize>,
    wanted: Vec<usize>,
    touched: Vec<usize>,
    undo: Vec<Undo>,
}

/// A counter of this account can't grow any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

/// One leg to be posted.
#[derive(Clone, Debug)]
pub struct Posting<'a> {
    /// A debit or a credit of the account.
    pub direction: Direction,
    /// Minor units, above 0.
    pub amount_minor: i64,
    /// Its currency.
    pub currency: Currency,
    /// Decimal digits of its minor unit.
    pub exponent: i32,
    /// The outcome that posts it.
    pub number: i64,
    /// The label that the record brings; it fills an empty one.
    pub label: Option<&'a Arc<str>>,
}

impl Accounts {
    /// How many are in memory.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True where none is.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The slot of a customer's account, if it is in memory or wanted.
    pub fn customer(&self, account: &AccountId) -> Option<Slot> {
        self.customers.get(account).copied().map(Slot)
    }

    /// The slot of a house account, if it is in memory or wanted.
    pub fn house(&self, party: Party, network: &str) -> Option<Slot> {
        let found = self.houses.iter().find(|(p, n, _)| *p == party && n.as_ref() == network);
        found.map(|(_, _, slot)| Slot(*slot))
    }

    /// Notes that a customer's account will be needed.
    pub fn want_customer(&mut self, account: &AccountId) {
        if !self.customers.contains_key(account) {
            let slot = self.want(AccountName::Customer(*account));
            self.customers.insert(*account, slot);
        }
    }

    /// Notes that a house account will be needed.
    pub fn want_house(&mut self, party: Party, network: &Arc<str>, shard: u32) {
        if self.house(party, network).is_none()
            && let Some(AccountName::House(name)) = AccountName::house(party, network, shard)
        {
            let slot = self.want_named(name);
            self.houses.push((party, Arc::clone(network), slot));
        }
    }

    /// Notes that the account of this name will be needed, as a leg that was posted calls it.
    pub fn want_text(&mut self, name: &str) -> Slot {
        if let Ok(account) = name.parse::<AccountId>() {
            if let Some(slot) = self.customer(&account) {
                return slot;
            }
            let slot = self.want(AccountName::Customer(account));
            self.customers.insert(account, slot);
            return Slot(slot);
        }
        Slot(match self.named.get(name) {
            Some(slot) => *slot,
            None => self.want_named(name.into()),
        })
    }

    /// A house account is there once, whether it is wanted by what it is for or by its name.
    fn want_named(&mut self, name: Arc<str>) -> usize {
        if let Some(slot) = self.named.get(&name) {
            return *slot;
        }
        let slot = self.want(AccountName::House(Arc::clone(&name)));
        self.named.insert(name, slot);
        slot
    }

    fn want(&mut self, name: AccountName) -> usize {
        let slot = self.entries.len();
        self.entries.push(Entry {
            account: Account::new(name),
            is_loaded: false,
            exists: false,
            is_changed: false,
            changed: Vec::new(),
            is_touched: false,
        });
        self.wanted.push(slot);
        slot
    }

    /// The accounts that the store must be asked for, sorted by name, so that neighbours in the
    /// store are read together.
    pub fn wanted(&mut self) -> Vec<AccountName> {
        let entries = &self.entries;
        let name = |slot: &usize| entries.get(*slot).map(|entry| &entry.account.name);
        self.wanted.sort_unstable_by(|a, b| name(a).cmp(&name(b)));
        self.wanted.iter().filter_map(name).cloned().collect()
    }

    /// Takes the store's answer to [`Self::wanted`], in the same order; none is an account that it
    /// doesn't have.
    pub fn load(&mut self, found: Vec<Option<Account>>) {
        for (slot, account) in std::mem::take(&mut self.wanted).into_iter().zip(found) {
            let Some(entry) = self.entries.get_mut(slot) else { continue };
            entry.is_loaded = true;
            if let Some(account) = account {
                entry.account = account;
                entry.exists = true;
            }
        }
    }

    /// An account in memory; none where the store wasn't asked for it.
    pub fn get(&self, slot: Slot) -> Option<&Account> {
        self.entries.get(slot.0).filter(|entry| entry.is_loaded).map(|entry| &entry.account)
    }

    /// True where the account is in the store or will be with the next commit.
    pub fn exists(&self, slot: Slot) -> bool {
        self.entries.get(slot.0).is_some_and(|entry| entry.exists)
    }

    /// Sets state and label; where one is none it stays. Makes the account where there is none.
    pub fn change(&mut self, slot: Slot, state: Option<AccountState>, label: Option<&str>) {
        let Some(entry) = self.entries.get_mut(slot.0) else { return };
        entry.exists = true;
        entry.is_changed = true;
        if let Some(state) = state {
            entry.account.state = state;
        }
        if let Some(label) = label {
            entry.account.label = Some(label.into());
        }
        touch(entry, slot.0, &mut self.touched);
    }

    /// Begins the legs of one record.
    pub fn scope(&mut self) -> Scope<'_> {
        self.undo.clear();
        Scope { accounts: self }
    }

    /// Gives what differs from the store to `account` and `balance` (with the version that the
    /// store has, 0 for none), each account once, sorted by name so that neighbours in the store
    /// are written together; from here on all of it is taken to be in the store.
    pub fn take_changes(
        &mut self,
        mut account: impl FnMut(&Account),
        mut balance: impl FnMut(&Account, &Balance, i64),
    ) {
        let mut touched = std::mem::take(&mut self.touched);
        let entries = &self.entries;
        touched.sort_unstable_by(|a, b| {
            let name = |slot: &usize| entries.get(*slot).map(|entry| &entry.account.name);
            name(a).cmp(&name(b))
        });
        for slot in &touched {
            let Some(entry) = self.entries.get_mut(*slot) else { continue };
            if std::mem::take(&mut entry.is_changed) {
                account(&entry.account);
            }
            for (at, version_before) in entry.changed.drain(..) {
                if let Some(found) = entry.account.balances.get(at) {
                    balance(&entry.account, found, version_before);
                }
            }
            entry.is_touched = false;
        }
        touched.clear();
        self.touched = touched;
    }
}

fn touch(entry: &mut Entry, slot: usize, touched: &mut Vec<usize>) {
    if !entry.is_touched {
        entry.is_touched = true;
        touched.push(slot);
    }
}

/// How to take one leg back.
#[derive(Debug)]
struct Undo {
    slot: usize,
    balance: usize,
    /// None where the leg made the balance.
    before: Option<Balance>,
    /// True where the leg was the first change of that balance since the last commit.
    is_first_change: bool,
    existed: bool,
    was_changed: bool,
    /// True where the leg filled the label.
    filled_label: bool,
}

/// The legs of one record: kept whole by [`Self::keep`], else taken back when dropped.
#[derive(Debug)]
pub struct Scope<'a> {
    accounts: &'a mut Accounts,
}

impl Scope<'_> {
    /// The accounts, as they are with the legs so far.
    pub fn accounts(&self) -> &Accounts {
        self.accounts
    }

    /// Posts one leg, and says what the account is like after it.
    ///
    /// # Errors
    ///
    /// Where a counter would not fit in 64 bits, or the account isn't in memory; nothing is posted
    /// then.
    pub fn post(&mut self, slot: Slot, posting: &Posting<'_>) -> Result<Leg, Overflow> {
        let Slot(slot) = slot;
        let entry = self.accounts.entries.get_mut(slot).ok_or(Overflow)?;
        let account = &mut entry.account;
        let unit = (posting.currency, posting.exponent);
        let found = account.balances.iter().position(|b| (b.currency, b.exponent) == unit);
        let before = found.and_then(|at| account.balances.get(at).copied());
        let mut after = before.unwrap_or(Balance {
            currency: posting.currency,
            exponent: posting.exponent,
            debits_minor: 0,
            credits_minor: 0,
            version: 0,
            last_number: posting.number,
        });
        let counter = if posting.direction == Direction::DEBIT {
            &mut after.debits_minor
        } else {
            &mut after.credits_minor
        };
        *counter = counter.checked_add(posting.amount_minor).ok_or(Overflow)?;
        after.version = after.version.checked_add(1).ok_or(Overflow)?;
        after.last_number = posting.number;

        let balance = found.unwrap_or(account.balances.len());
        let is_first_change = !entry.changed.iter().any(|(at, _)| *at == balance);
        let filled_label = account.label.is_none() && posting.label.is_some();
        self.accounts.undo.push(Undo {
            slot,
            balance,
            before,
            is_first_change,
            existed: entry.exists,
            was_changed: entry.is_changed,
            filled_label,
        });
        match account.balances.get_mut(balance) {
            Some(current) => *current = after,
            None => account.balances.push(after),
        }
        if is_first_change {
            entry.changed.push((balance, before.map_or(0, |before| before.version)));
        }
        if filled_label {
            account.label = posting.label.cloned();
        }
        entry.is_changed |= filled_label || !entry.exists;
        entry.exists = true;
        touch(entry, slot, &mut self.accounts.touched);
        Ok(leg(&entry.account, &after, posting, before.map(|balance| balance.last_number)))
    }

    /// Keeps every leg.
    pub fn keep(self) {
        self.accounts.undo.clear();
    }
}

impl Drop for Scope<'_> {
    fn drop(&mut self) {
        while let Some(undo) = self.accounts.undo.pop() {
            let Some(entry) = self.accounts.entries.get_mut(undo.slot) else { continue };
            match (undo.before, entry.account.balances.get_mut(undo.balance)) {
                (Some(before), Some(current)) => *current = before,
                _ => entry.account.balances.truncate(undo.balance),
            }
            if undo.is_first_change {
                entry.changed.retain(|(at, _)| *at != undo.balance);
            }
            if undo.filled_label {
                entry.account.label = None;
            }
            entry.exists = undo.existed;
            entry.is_changed = undo.was_changed;
        }
    }
}

fn leg(account: &Account, after: &Balance, posting: &Posting<'_>, previous: Option<i64>) -> Leg {
    Leg {
        account: account.name.to_string(),
        label: account.label.as_deref().map(str::to_owned),
        owner: account.name.owner(),
        state: account.state.clone(),
        direction: posting.direction.clone(),
        amount_minor: posting.amount_minor,
        currency: posting.currency,
        exponent: posting.exponent,
        debits_minor: after.debits_minor,
        credits_minor: after.credits_minor,
        version: after.version,
        previous_number: previous,
    }
}
