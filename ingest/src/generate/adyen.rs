//! Adyen's settlement detail report: batches of movements, each of a merchant account, and each
//! with a payout at its end of all that is left.

use std::io::Write;

use super::rows::{Bad, Mix, Rows, decimal, drawn_of, time_of_day};
use super::{Draw, GenerateError, Generated, NAMES, Plan, RECORDS_MAX, in_range};

/// Rows of a batch, the payout among them.
const BATCH_ROWS: u64 = 20;

#[rustfmt::skip]
const COLUMNS: &[&str] = &[
    "Company Account", "Merchant Account", "Psp Reference", "Merchant Reference",
    "Payment Method", "Creation Date", "TimeZone", "Type", "Modification Reference",
    "Gross Currency", "Gross Debit (GC)", "Gross Credit (GC)", "Exchange Rate",
    "Net Currency", "Net Debit (NC)", "Net Credit (NC)", "Commission (NC)", "Markup (NC)",
    "Scheme Fees (NC)", "Interchange (NC)", "Payment Method Variant", "Batch Number",
    "Reserved4",
];

/// Which movement, of how many in a hundred; true where it is a debit.
#[rustfmt::skip]
const MIX: Mix = &[
    (76, "Settled", false),
    (10, "Refunded", true),
    ( 5, "Chargeback", true),
    ( 4, "ChargebackReversed", false),
    ( 5, "Fee", true),
];

const PAYOUT: &str = "MerchantPayout";

const CURRENCY: &str = "EUR";

/// The file under way.
struct File<'a, W: Write> {
    rows: Rows<'a, W>,
    draw: Draw,
    plan: &'a Plan,
    day: String,
    written: u64,
    bad: u64,
}

/// A movement as it is drawn.
struct Movement {
    what: &'static str,
    is_debit: bool,
    gross: u64,
    net: u64,
}

/// See [`super::generate`].
pub(super) fn generate(plan: &Plan, out: &mut impl Write) -> Result<Generated, GenerateError> {
    // A movement, and its payout.
    in_range("records", plan.records, 2, RECORDS_MAX)?;
    let mut file = File {
        rows: Rows::new(plan, out, b','),
        draw: Draw::new(plan),
        plan,
        day: plan.date.to_string(),
        written: 0,
        bad: 0,
    };
    file.rows.cells(COLUMNS).end()?;
    let (mut left, mut batch) = (plan.records, 0);
    while left > 0 {
        // No batch is a payout alone.
        let rows = if left == BATCH_ROWS + 1 { BATCH_ROWS - 1 } else { left.min(BATCH_ROWS) };
        batch += 1;
        file.batch(batch, rows)?;
        left -= rows;
    }
    let (records, bad) = (plan.records, file.bad);
    Ok(Generated { bytes: file.rows.close()?, records, bad, identifier: None })
}

impl<W: Write> File<'_, W> {
    fn batch(&mut self, batch: u64, rows: u64) -> Result<(), GenerateError> {
        let merchant = format!("ExampleShop{}", self.draw.below(self.plan.accounts));
        let batch = batch.to_string();
        let mut balance = 0;
        for _ in 1..rows {
            let movement = self.movement(balance);
            match movement.is_debit {
                true => balance -= movement.net,
                false => balance += movement.net,
            }
            self.row(&merchant, &batch, &movement)?;
        }
        let payout = Movement { what: PAYOUT, is_debit: true, gross: 0, net: balance };
        self.row(&merchant, &batch, &payout)
    }

    /// The next movement on a merchant account, which is never overdrawn, nor left with nothing.
    fn movement(&mut self, balance: u64) -> Movement {
        let (mut what, mut is_debit) = drawn_of(MIX, &mut self.draw);
        if is_debit && balance < 2 {
            (what, is_debit) = ("Settled", false);
        }
        let gross = match is_debit {
            true => 1 + self.draw.below((balance / 2).min(20_000)),
            false => 1_000 + self.draw.below(50_000),
        };
        let net = if what == "Settled" { gross - costs(gross) } else { gross };
        Movement { what, is_debit, gross, net }
    }

    fn row(
        &mut self,
        merchant: &str,
        batch: &str,
        movement: &Movement,
    ) -> Result<(), GenerateError> {
        let Movement { what, is_debit, gross, net } = *movement;
        self.written += 1;
        let number = self.written;
        let (name, is_visa) = (*self.draw.one_of(NAMES), self.draw.below(2) == 0);
        let bad = Bad::drawn(&mut self.draw, self.plan);
        self.bad += u64::from(bad.is_some());

        let is_payment = !["Fee", PAYOUT].contains(&what);
        let of_payment = |text: &str| if is_payment { text.to_owned() } else { String::new() };
        let id = format!("{:08X}{number:08X}", self.plan.file_number);
        let reference = match what {
            PAYOUT => format!("batch {batch}, paid out"),
            _ if is_payment => format!("order {number}, \"{name}\""),
            _ => format!("fees of batch {batch}"),
        };
        let day = if bad == Some(Bad::Date) { "2026-02-31" } else { &self.day };
        let created = format!("{day} {}", time_of_day(number));
        let (debit, credit) = sides(is_debit, net);
        let (gross_debit, gross_credit) = sides(is_debit, gross);
        let [commission, interchange] = match what {
            "Settled" => [decimal(COMMISSION, '.', None), decimal(gross / 100, '.', None)],
            _ => [String::new(), String::new()],
        };
        self.rows
            .cell("ExampleCompany")
            .cell(if bad == Some(Bad::Blank) { "" } else { merchant })
            .cell(&of_payment(&format!("PSP{id}")))
            .cell(&reference)
            .cell(&of_payment(if is_visa { "visa" } else { "mc" }))
            .cells(&[&created, "CEST", what])
            .cell(&of_payment(&format!("MOD{id}")))
            .cell(&of_payment(CURRENCY))
            .cell(&of_payment(&gross_debit))
            .cell(&of_payment(&gross_credit))
            .cell(&of_payment("1"))
            .cell(if bad == Some(Bad::Currency) { "E1R" } else { CURRENCY })
            .cells(&[&debit, &credit, &commission, "", "", &interchange])
            .cell(&of_payment(if is_visa { "visadebit" } else { "mccredit" }))
            .cells(&[batch, ""]);
        Ok(self.rows.end()?)
    }
}

/// What of each payment is the acquirer's, in cents.
const COMMISSION: u64 = 10;

/// What a payment costs: a commission, and a percent of interchange.
fn costs(gross: u64) -> u64 {
    COMMISSION + gross / 100
}

/// An amount in the column of its side, and nothing in the other.
fn sides(is_debit: bool, minor: u64) -> (String, String) {
    let amount = decimal(minor, '.', None);
    if is_debit { (amount, String::new()) } else { (String::new(), amount) }
}
