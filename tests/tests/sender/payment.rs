//! NACHA files.

use super::Dice;

/// Entries in a batch, at most: the batch control has six digits for their number.
const BATCH_ENTRIES: usize = 10_000;

/// One entry, and how it is spoilt where it is.
#[derive(Clone, Debug)]
pub(crate) struct Payment {
    /// Its transaction code.
    pub(crate) code: &'static str,
    /// The first eight digits of the receiving institution's routing number.
    pub(crate) rdfi: String,
    /// The receiver's account.
    pub(crate) account: String,
    /// The amount in cents.
    pub(crate) cents: u64,
    /// What stands behind its type in an addenda; none where there is no addenda.
    pub(crate) addenda: Option<String>,
    /// A character that stands in a column, from 1, in the place of the right one.
    pub(crate) spoilt: Option<(usize, char)>,
}

impl Payment {
    /// An entry without addenda.
    pub(crate) fn new(code: &'static str, rdfi: &str, account: &str, cents: u64) -> Self {
        let (rdfi, account) = (rdfi.to_owned(), account.to_owned());
        Self { code, rdfi, account, cents, addenda: None, spoilt: None }
    }

    fn is_debit(&self) -> bool {
        self.code.ends_with(['6', '7', '8', '9'])
    }
}

/// A file of entries in batches of class PPD.
#[derive(Clone, Debug)]
pub(crate) struct Payments {
    /// Makes the file's own identifier: the time and the modifier in its header.
    pub(crate) identity: u64,
    /// The entries.
    pub(crate) entries: Vec<Payment>,
}

impl Payments {
    /// Drawn entries, among them prenotes and returns, on some hundred accounts.
    pub(crate) fn drawn(seed: u64, entries: u64) -> Self {
        let mut dice = Dice::new(seed);
        let entries = (0..entries).map(|_| {
            let (code, cents) = match dice.below(20) {
                0 => ("23", 0),
                1 => ("38", 0),
                2 => ("21", 1 + dice.below(50_000)),
                3..=9 => (["27", "37"][dice.below(2) as usize], 1 + dice.below(100_000)),
                _ => (["22", "32"][dice.below(2) as usize], 1 + dice.below(100_000)),
            };
            let rdfi = ["01140153", "09100001", "07640125"][dice.below(3) as usize];
            // No number that stands in the file as something else, such as the sender's.
            let account = format!("70{:010}", 3_418_062_957_u64 + dice.below(101) * 97);
            let addenda = match (code, dice.below(10)) {
                ("21", drawn) => {
                    let reason = if drawn < 5 { "R01" } else { "R61" };
                    let trace = dice.below(9_999_999);
                    Some(format!("99{reason}09100001{trace:07}      {rdfi}"))
                }
                (_, 0) => Some("05invoice".to_owned()),
                _ => None,
            };
            Payment { addenda, ..Payment::new(code, rdfi, &account, cents) }
        });
        Self { identity: seed, entries: entries.collect() }
    }

    /// The file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut file = String::with_capacity((self.entries.len() + 20) * 96);
        let mut records = 0_u64;
        let mut line = |text: &str| {
            file.push_str(&format!("{text:<94}\n"));
            records += 1;
        };
        let modifier = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"[(self.identity % 36) as usize];
        let minutes = self.identity / 36 % 1440;
        line(&format!(
            "101 091000019 091000001{:02}0722{:02}{:02}{}094101{:<23}{:<23}",
            20 + self.identity / 51_840 % 10,
            minutes / 60,
            minutes % 60,
            char::from(modifier),
            "RECEIVING BANK",
            "SENDING BANK",
        ));
        let mut whole = Totals::default();
        let mut trace = 0;
        let batches = self.entries.chunks(BATCH_ENTRIES).count();
        for (number, entries) in (1..).zip(self.entries.chunks(BATCH_ENTRIES)) {
            line(&format!(
                "5200{:<16}{:<20}1234567890PPD{:<10}{:<6}2607220001091000000{number:06}",
                "A COMPANY", "", "PAYROLL", ""
            ));
            let mut totals = Totals::default();
            for entry in entries {
                trace += 1;
                line(&entry.line(trace));
                totals.add(entry);
                if let Some(addenda) = &entry.addenda {
                    let text = if addenda.starts_with("99") {
                        format!("7{addenda:<78}09100000{:07}", trace % 10_000_000)
                    } else {
                        format!("7{addenda:<82}0001{:07}", trace % 10_000_000)
                    };
                    line(&text);
                    totals.lines += 1;
                }
            }
            line(&format!(
                "8200{:06}{:010}{:012}{:012}1234567890{:<19}{:<6}091000000{number:06}",
                totals.lines,
                totals.hash % 10_000_000_000,
                totals.debits,
                totals.credits,
                "",
                ""
            ));
            whole.merge(&totals);
        }
        let blocks = (records + 1).div_ceil(10);
        line_of_file_control(&mut file, batches, blocks, &whole);
        for _ in records + 1..blocks * 10 {
            file.push_str(&"9".repeat(94));
            file.push('\n');
        }
        file.into_bytes()
    }
}

fn line_of_file_control(file: &mut String, batches: usize, blocks: u64, whole: &Totals) {
    let text = format!(
        "9{batches:06}{blocks:06}{:08}{:010}{:012}{:012}",
        whole.lines,
        whole.hash % 10_000_000_000,
        whole.debits,
        whole.credits
    );
    file.push_str(&format!("{text:<94}\n"));
}

impl Payment {
    fn line(&self, trace: u64) -> String {
        let indicator = u8::from(self.addenda.is_some());
        let text = format!(
            "6{}{}{}{:<17}{:010}{:<15}{:<22}  {indicator}09100000{:07}",
            self.code,
            self.rdfi,
            check_digit(&self.rdfi),
            self.account,
            self.cents,
            "",
            "A RECEIVER",
            trace % 10_000_000
        );
        match self.spoilt {
            None => text,
            Some((column, character)) => {
                let mut characters: Vec<char> = text.chars().collect();
                characters[column - 1] = character;
                characters.into_iter().collect()
            }
        }
    }
}

#[derive(Default)]
struct Totals {
    lines: u64,
    hash: u64,
    debits: u64,
    credits: u64,
}

impl Totals {
    fn add(&mut self, entry: &Payment) {
        self.lines += 1;
        self.hash += entry.rdfi.parse::<u64>().unwrap();
        *if entry.is_debit() { &mut self.debits } else { &mut self.credits } += entry.cents;
    }

    fn merge(&mut self, other: &Self) {
        self.lines += other.lines;
        self.hash += other.hash;
        self.debits += other.debits;
        self.credits += other.credits;
    }
}

fn check_digit(rdfi: &str) -> u32 {
    let weights = [3, 7, 1, 3, 7, 1, 3, 7];
    let sum: u32 =
        rdfi.chars().zip(weights).map(|(digit, weight)| digit.to_digit(10).unwrap() * weight).sum();
    (10 - sum % 10) % 10
}
