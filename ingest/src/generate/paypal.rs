//! PayPal's settlement report (STL): sections, each of an account, with rows told by codes.

use std::io::Write;

use super::rows::{Bad, Mix, Rows, drawn_of, time_of_day};
use super::{Draw, GenerateError, Generated, Plan, in_range};

/// A report of more rows has several files.
const ROWS_MAX: u64 = 1_000_000;

/// Rows of a section.
const SECTION_ROWS: u64 = 50;

#[rustfmt::skip]
const COLUMNS: &[&str] = &[
    "Transaction ID", "Invoice ID", "PayPal Reference ID", "PayPal Reference ID Type",
    "Transaction Event Code", "Transaction Initiation Date", "Transaction Completion Date",
    "Transaction Debit or Credit", "Gross Transaction Amount", "Gross Transaction Currency",
    "Fee Debit or Credit", "Fee Amount", "Fee Currency", "Custom Field", "Consumer ID",
];

/// Event codes, of how many in a hundred; true where it is a debit.
#[rustfmt::skip]
const MIX: Mix = &[
    (74, PAYMENT, false),
    (10, "T1107", true), // refund
    ( 6, "T0400", true), // withdrawal to a bank
    ( 6, "T0106", true), // fee
    ( 4, "T1201", true), // chargeback
];

const PAYMENT: &str = "T0006";

/// Of yen too the last two digits are behind the point.
const CURRENCIES: &[&str] = &["USD", "JPY"];

/// What a section or the report has of each currency: credits, debits, and fees.
type Sums = [(u64, u64, u64); 2];

/// The file under way.
struct File<'a, W: Write> {
    rows: Rows<'a, W>,
    draw: Draw,
    plan: &'a Plan,
    /// YYYY/MM/DD.
    day: String,
    written: u64,
    sums: Sums,
    bad: u64,
}

/// See [`super::generate`].
pub(super) fn generate(plan: &Plan, out: &mut impl Write) -> Result<Generated, GenerateError> {
    in_range("records", plan.records, 1, ROWS_MAX)?;
    let mut file = File {
        rows: Rows::new(plan, out, b','),
        draw: Draw::new(plan),
        plan,
        day: plan.date.to_string().replace('-', "/"),
        written: 0,
        sums: Sums::default(),
        bad: 0,
    };
    let made = format!("{} 23:59:59 -0700", file.day);
    file.rows.quoted("RH").cell(&made).quoted("A").quoted("EXAMPLEPARTNER").cell("011").end()?;
    file.rows.quoted("FH").cell(&format!("{:02}", plan.file_number)).end()?;
    let mut left = plan.records;
    while left > 0 {
        let rows = left.min(SECTION_ROWS);
        file.section(rows)?;
        left -= rows;
    }
    let sums = file.sums;
    file.footer("RF", &sums)?;
    let count = file.written.to_string();
    for code in ["RC", "FF"] {
        file.rows.quoted(code).cell(&count).end()?;
    }
    let (records, bad) = (plan.records, file.bad);
    Ok(Generated { bytes: file.rows.close()?, records, bad, identifier: None })
}

impl<W: Write> File<'_, W> {
    fn section(&mut self, rows: u64) -> Result<(), GenerateError> {
        let account = format!("EXAMPLE{}", self.draw.below(self.plan.accounts));
        let (from, to) =
            (format!("{} 00:00:00 -0700", self.day), format!("{} 23:59:59 -0700", self.day));
        self.rows.quoted("SH").cell(&from).cell(&to).quoted(&account).quoted("").end()?;
        self.rows.quoted("CH");
        for column in COLUMNS {
            self.rows.quoted(column);
        }
        self.rows.end()?;
        let mut sums = Sums::default();
        for _ in 0..rows {
            self.row(&mut sums)?;
        }
        self.footer("SF", &sums)?;
        for (sum, added) in self.sums.iter_mut().zip(sums) {
            *sum = (sum.0 + added.0, sum.1 + added.1, sum.2 + added.2);
        }
        Ok(self.rows.quoted("SC").cell(&rows.to_string()).end()?)
    }

    /// The sums of each currency that there is anything of.
    fn footer(&mut self, code: &str, sums: &Sums) -> Result<(), GenerateError> {
        for (currency, (credits, debits, fees)) in CURRENCIES.iter().zip(sums) {
            if (credits, debits) == (&0, &0) {
                continue;
            }
            let [credits, debits, fees] = [credits, debits, fees].map(u64::to_string);
            self.rows.quoted(code).quoted(currency);
            self.rows.cells(&[&credits, &debits, "0", &fees]).end()?;
        }
        Ok(())
    }

    fn row(&mut self, sums: &mut Sums) -> Result<(), GenerateError> {
        self.written += 1;
        let number = self.written;
        let (code, is_debit) = drawn_of(MIX, &mut self.draw);
        let at = usize::from(self.draw.below(10) == 9);
        let gross = 100 + self.draw.below(90_000);
        let fee = if code == PAYMENT { 30 + gross * 3 / 100 } else { 0 };
        let bad = Bad::drawn(&mut self.draw, self.plan);
        self.bad += u64::from(bad.is_some());
        let (credits, debits, fees) = &mut sums[at];
        *if is_debit { debits } else { credits } += gross;
        *fees += fee;

        let id = format!("{:08X}E{number:08X}", self.plan.file_number);
        let currency = CURRENCIES[at];
        let begun = format!("{} {} -0700", self.day, time_of_day(number));
        let done = if bad == Some(Bad::Date) { "2026/02/31 08:00:00 -0700" } else { &begun };
        let (fee_side, fee, fee_currency) = match fee {
            0 => ("", String::new(), ""),
            fee => ("DR", fee.to_string(), currency),
        };
        self.rows
            .quoted("SB")
            .quoted(if bad == Some(Bad::Blank) { "" } else { &id })
            .quoted(&format!("INV-{number}, \"{code}\""))
            .cells(&["", ""])
            .quoted(code)
            .cells(&[&begun, done])
            .quoted(if is_debit { "DR" } else { "CR" })
            .cell(&gross.to_string())
            .quoted(if bad == Some(Bad::Currency) { "U1D" } else { currency })
            .quoted(fee_side)
            .cell(&fee)
            .quoted(fee_currency)
            .quoted("")
            .quoted("");
        Ok(self.rows.end()?)
    }
}
