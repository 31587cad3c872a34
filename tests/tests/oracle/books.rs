//! The oracle's books: debits and credits per account and currency, and how the product's compare.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;

/// What a record does to the account that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Direction {
    /// Takes from it.
    Debit,
    /// Gives to it.
    Credit,
}

impl Direction {
    pub(crate) fn opposite(self) -> Self {
        match self {
            Self::Debit => Self::Credit,
            Self::Credit => Self::Debit,
        }
    }
}

/// The two sums of an account in one currency, in minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sides {
    pub(crate) debits: i128,
    pub(crate) credits: i128,
}

impl Sides {
    fn add(&mut self, direction: Direction, amount: i128) {
        match direction {
            Direction::Debit => self.debits += amount,
            Direction::Credit => self.credits += amount,
        }
    }
}

/// An account or a house, and a currency.
pub(crate) type Entry = (String, String);

/// Debits and credits of many files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Books {
    /// Per customer's account, by its number in clear: `card:…`, `ach:…`.
    pub(crate) customers: BTreeMap<Entry, Sides>,
    /// Per kind of house account, over all shards and networks: `clearing`, `fees`, `returns`,
    /// `settlement`.
    pub(crate) houses: BTreeMap<Entry, Sides>,
}

impl Books {
    /// Posts an amount to an account, and its opposite to the clearing house; nothing where it is
    /// zero.
    pub(crate) fn post(
        &mut self,
        account: &str,
        direction: Direction,
        currency: &str,
        amount: i128,
    ) {
        self.post_between(Some(account), "", direction, currency, amount);
    }

    /// Posts an amount where no customer is concerned: to a house account of ours.
    pub(crate) fn post_house(
        &mut self,
        house: &str,
        direction: Direction,
        currency: &str,
        amount: i128,
    ) {
        self.post_between(None, house, direction, currency, amount);
    }

    fn post_between(
        &mut self,
        account: Option<&str>,
        house: &str,
        direction: Direction,
        currency: &str,
        amount: i128,
    ) {
        if amount == 0 {
            return;
        }
        let entry = |name: &str| (name.to_owned(), currency.to_owned());
        match account {
            Some(account) => self.customers.entry(entry(account)).or_default(),
            None => self.houses.entry(entry(house)).or_default(),
        }
        .add(direction, amount);
        self.houses.entry(entry("clearing")).or_default().add(direction.opposite(), amount);
    }

    /// Adds the books of another file.
    pub(crate) fn add(&mut self, other: &Self) {
        for (ours, theirs) in
            [(&mut self.customers, &other.customers), (&mut self.houses, &other.houses)]
        {
            for (entry, sides) in theirs {
                let sum = ours.entry(entry.clone()).or_default();
                sum.debits += sides.debits;
                sum.credits += sides.credits;
            }
        }
    }

    /// What is not as it should be in the product's `accounts --output json`, a line each.
    pub(crate) fn differences(&self, key: &LedgerKey, accounts: &[Value]) -> Vec<String> {
        let mut differences = Vec::new();
        let mut expected = self.houses.clone();
        for ((account, currency), sides) in &self.customers {
            expected.insert((key.token(account), currency.clone()), *sides);
        }
        let found = product_books(accounts, &mut differences);
        let entries: BTreeSet<&Entry> = expected.keys().chain(found.keys()).collect();
        for entry in entries {
            let expected = expected.get(entry).copied().unwrap_or_default();
            let found = found.get(entry).copied().unwrap_or_default();
            if expected != found {
                differences.push(format!("{entry:?}: expected {expected:?}, found {found:?}"));
            }
        }
        differences.extend(sums_not_zero(&found));
        differences
    }
}

/// The rows that the product printed, house accounts added up over shards and networks.
fn product_books(accounts: &[Value], differences: &mut Vec<String>) -> BTreeMap<Entry, Sides> {
    let mut found: BTreeMap<Entry, Sides> = BTreeMap::new();
    for row in accounts {
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let number = |key: &str| row[key].as_i64().map(i128::from);
        let (Some(debits), Some(credits), Some(balance)) =
            (number("debits_minor"), number("credits_minor"), number("balance_minor"))
        else {
            differences.push(format!("a row without its amounts: {row}"));
            continue;
        };
        if credits - debits != balance {
            differences.push(format!("a balance that is not credits less debits: {row}"));
        }
        let name = match text("owner").as_str() {
            "customer" => text("account"),
            "house" => text("account").split(':').next().unwrap_or_default().to_owned(),
            _ => {
                differences.push(format!("a row without its owner: {row}"));
                continue;
            }
        };
        let sides = found.entry((name, text("currency"))).or_default();
        sides.debits += debits;
        sides.credits += credits;
    }
    found
}

/// The currencies whose balances don't sum to zero.
fn sums_not_zero(books: &BTreeMap<Entry, Sides>) -> Vec<String> {
    let mut sums: BTreeMap<&str, i128> = BTreeMap::new();
    for ((_, currency), sides) in books {
        *sums.entry(currency).or_default() += sides.credits - sides.debits;
    }
    let off = sums.into_iter().filter(|(_, sum)| *sum != 0);
    off.map(|(currency, sum)| format!("balances in {currency} sum to {sum}, not to zero")).collect()
}

/// The key that a ledger makes its tokens with.
#[derive(Clone)]
pub(crate) struct LedgerKey([u8; 32]);

impl LedgerKey {
    /// The key in a data directory: 64 hexadecimal digits.
    pub(crate) fn of(data: &Path) -> Self {
        let text = std::fs::read_to_string(data.join("key")).unwrap();
        let digits: Vec<u8> =
            text.trim_end().chars().map(|digit| digit.to_digit(16).unwrap() as u8).collect();
        let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair[0] * 16 + pair[1]).collect();
        Self(bytes.try_into().unwrap())
    }

    pub(crate) const fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The token of an account: its scheme, and the first 128 bits of an HMAC over its text.
    pub(crate) fn token(&self, account: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).unwrap();
        mac.update(account.as_bytes());
        let scheme = account.split(':').next().unwrap_or_default();
        let digest = mac.finalize().into_bytes();
        let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!("{scheme}:{hex}")
    }
}
