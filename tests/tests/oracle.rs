//! An oracle: what input files do to accounts, read in the plainest way that there is.
//!
//! It shares no code with the product: it holds whole files in memory, cuts them by hand, and adds
//! up in 128 bits. What it knows is what the rule books say; it is slow, and small enough to be
//! checked by eye.

pub(crate) mod audit;
pub(crate) mod avro;
pub(crate) mod books;
pub(crate) mod ipm;
pub(crate) mod nacha;
pub(crate) mod topics;

mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use self::books::{Books, Direction};

/// What the oracle found in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Records: entries with their addenda, or messages that are neither header nor trailer.
    pub(crate) records: u64,
    /// The indexes, from 0, of those that can't be read or mean nothing.
    pub(crate) bad: Vec<u64>,
    /// What the others do to accounts.
    pub(crate) books: Books,
    /// The same by record: what each posts, where it posts anything.
    pub(crate) effects: BTreeMap<u64, Effect>,
    /// The numbers of accounts and cards as they stand in the file, of bad records too.
    pub(crate) numbers: BTreeSet<String>,
    /// The file's own totals, each beside what was counted.
    pub(crate) controls: Vec<Control>,
}

/// What one record does to one account; its opposite is done to the clearing house.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Effect {
    /// The customer's account by its number in clear, or the kind of house account.
    pub(crate) account: String,
    /// Whether it is a house account.
    pub(crate) is_house: bool,
    /// What is done to it.
    pub(crate) direction: Direction,
    /// In which currency.
    pub(crate) currency: String,
    /// How much, in minor units.
    pub(crate) amount: i128,
}

/// A total that a file states about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Control {
    /// What it counts.
    pub(crate) name: &'static str,
    /// What the file states; none where that is no number.
    pub(crate) stated: Option<i128>,
    /// What the oracle counted.
    pub(crate) counted: i128,
}

impl Reading {
    /// True where the file states totals and all agree.
    pub(crate) fn balances(&self) -> bool {
        let agree = |control: &Control| control.stated == Some(control.counted);
        !self.controls.is_empty() && self.controls.iter().all(agree)
    }

    fn post(&mut self, i: u64, account: &str, side: Direction, currency: &str, amount: i128) {
        self.books.post(account, side, currency, amount);
        self.keep(i, account, false, side, currency, amount);
    }

    fn post_house(&mut self, i: u64, house: &str, side: Direction, currency: &str, amount: i128) {
        self.books.post_house(house, side, currency, amount);
        self.keep(i, house, true, side, currency, amount);
    }

    fn keep(
        &mut self,
        index: u64,
        account: &str,
        is_house: bool,
        direction: Direction,
        currency: &str,
        amount: i128,
    ) {
        if amount != 0 {
            let (account, currency) = (account.to_owned(), currency.to_owned());
            let effect = Effect { account, is_house, direction, currency, amount };
            self.effects.insert(index, effect);
        }
    }

    fn name(&mut self, number: &str) {
        if !self.numbers.contains(number) {
            self.numbers.insert(number.to_owned());
        }
    }

    fn state(&mut self, name: &'static str, stated: Option<i128>, counted: i128) {
        self.controls.push(Control { name, stated, counted });
    }
}

/// Reads a file of this format, out of gzip where it is in it.
pub(crate) fn read(format: &str, bytes: &[u8]) -> Reading {
    let content = unpacked(bytes);
    match format {
        "nacha" => nacha::read(&content),
        "ipm" => ipm::read(&content),
        other => unreachable!("the oracle knows no format {other}"),
    }
}

/// The account and card numbers in a file, by what it looks like: it may be in the wrong place.
pub(crate) fn numbers(bytes: &[u8]) -> BTreeSet<String> {
    let content = unpacked(bytes);
    // Messages stand behind their length, and none is so long that all four bytes are needed.
    let is_ipm = content.first() == Some(&0);
    if is_ipm { ipm::read(&content).numbers } else { nacha::read(&content).numbers }
}

/// The content inside its container.
fn unpacked(bytes: &[u8]) -> Vec<u8> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return bytes.to_vec();
    }
    let mut content = Vec::new();
    // Where it is cut or damaged, what stands before.
    let _ = flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut content);
    content
}

/// The number that a text of digits alone stands for.
fn number(text: &str) -> Option<i128> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}
