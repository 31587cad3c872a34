//! A bank's own statement as a spreadsheet writes it: semicolons, decimal commas, and a trailer.

use std::io::Write;

use super::rows::{Bad, Mix, Rows, decimal, drawn_of};
use super::{Draw, GenerateError, Generated, NAMES, Plan};

/// Which movement, of how many in a hundred; true where it is a debit.
#[rustfmt::skip]
const MIX: Mix = &[
    (45, "PIX", false),
    (30, "PIX", true),
    (12, "TED", true),
    ( 8, FEE, true),
    ( 5, "EST", false),
];

const FEE: &str = "TAR";

/// Accounts of a branch.
const BRANCH_ACCOUNTS: u64 = 100_000_000;

/// The file under way.
struct File<'a, W: Write> {
    rows: Rows<'a, W>,
    draw: Draw,
    plan: &'a Plan,
    /// DD/MM/YYYY.
    day: String,
    debits: u64,
    credits: u64,
    bad: u64,
}

/// See [`super::generate`].
pub(super) fn generate(plan: &Plan, out: &mut impl Write) -> Result<Generated, GenerateError> {
    let date = plan.date.to_string();
    let mut parts: Vec<&str> = date.split('-').collect();
    parts.reverse();
    let mut file = File {
        rows: Rows::new(plan, out, b';'),
        draw: Draw::new(plan),
        plan,
        day: parts.join("/"),
        debits: 0,
        credits: 0,
        bad: 0,
    };
    let identifier = file.header(&date)?;
    for number in 1..=plan.records {
        file.movement(number)?;
    }
    let (debits, credits) = (amount(file.debits), amount(file.credits));
    file.rows.cells(&["T", &plan.records.to_string(), &debits, &credits]).end()?;
    let (records, bad) = (plan.records, file.bad);
    Ok(Generated { bytes: file.rows.close()?, records, bad, identifier: Some(identifier) })
}

impl<W: Write> File<'_, W> {
    /// The number has six digits, as longer ones may be an account's; what is above them goes into
    /// the name of the bank.
    fn header(&mut self, date: &str) -> Result<String, GenerateError> {
        const NUMBERS: u32 = 1_000_000;
        let number = (self.plan.file_number % NUMBERS).to_string();
        let bank = match self.plan.file_number / NUMBERS {
            0 => String::from("Banco Exemplo"),
            above => format!("Banco Exemplo {above}"),
        };
        self.rows.cells(&["H", &bank, &self.day, &number]).end()?;
        Ok([&bank, date, &number].join("/"))
    }

    fn movement(&mut self, number: u64) -> Result<(), GenerateError> {
        let account = self.draw.below(self.plan.accounts);
        let (code, is_debit) = drawn_of(MIX, &mut self.draw);
        let minor = if code == FEE { 990 } else { 1 + self.draw.below(2_000_000) };
        let name = *self.draw.one_of(NAMES);
        let bad = Bad::drawn(&mut self.draw, self.plan);
        self.bad += u64::from(bad.is_some());
        *if is_debit { &mut self.debits } else { &mut self.credits } += minor;

        let (branch, account) = (1 + account / BRANCH_ACCOUNTS, account % BRANCH_ACCOUNTS);
        let reference = format!("E2E-{}-{number}", self.plan.file_number);
        self.rows
            .cells(&["M", &format!("{branch:04}-{account:08}")])
            .cell(if bad == Some(Bad::Date) { "31/02/2026" } else { &self.day })
            .cell(if bad == Some(Bad::Blank) { "" } else { code })
            .cells(&[if is_debit { "D" } else { "C" }, &amount(minor)])
            .cell(if bad == Some(Bad::Currency) { "B1L" } else { "BRL" })
            .cell(if code == FEE { "" } else { &reference })
            .cell(if code == FEE { "Tarifa; mensal" } else { name });
        Ok(self.rows.end()?)
    }
}

fn amount(minor: u64) -> String {
    decimal(minor, ',', Some('.'))
}
