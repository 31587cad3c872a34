//! NACHA files: batches of up to a thousand entries, credits and debits, some prenotes, some
//! addenda.

use std::io::Write;

use super::{Draw, GenerateError, Generated, NAMES, Page, Plan, SHOPS, Sink, digits, yymmdd};
use crate::format::Column;
use crate::format::nacha::layout::{
    addenda, batch_control, batch_header, entry, file_control, file_header,
};
use crate::format::nacha::routing_check_digit;

const LENGTH: usize = 94;
const LINE: usize = 95;
const BATCH_ENTRIES: u64 = 1_000;
const HASH_MODULUS: u64 = 10_000_000_000;

/// Institutions that no register has: their first four digits are no Federal Reserve district.
const INSTITUTIONS: &[&str] =
    &["99000011", "99000022", "99000033", "99000044", "99000055", "99000066", "99000077"];

/// The institution whose files these are.
const HOME: &str = "99000001";

const CLASSES: &[(&str, &str)] =
    &[("PPD", "PAYROLL"), ("CCD", "SUPPLIERS"), ("WEB", "ONLINE"), ("PPD", "RENT")];

/// What of ten thousand entries is which.
const ADDENDA_PER_10_000: u64 = 500;
const PRENOTES_PER_10_000: u64 = 200;

/// A line under way.
struct Text([u8; LINE]);

impl Text {
    fn new(record_type: u8) -> Self {
        let mut line = [b' '; LINE];
        line[0] = record_type;
        Self(line)
    }

    fn field(&mut self, column: Column) -> &mut [u8] {
        &mut self.0[column.first - 1..column.last]
    }

    fn text(&mut self, column: Column, text: &str) -> &mut Self {
        let field = self.field(column);
        let length = text.len().min(field.len());
        field[..length].copy_from_slice(&text.as_bytes()[..length]);
        self
    }

    fn number(&mut self, column: Column, value: u64) -> &mut Self {
        digits(self.field(column), value);
        self
    }
}

/// What a batch and the file have added up.
#[derive(Clone, Copy, Default)]
struct Totals {
    count: u64,
    hash: u64,
    debits: u64,
    credits: u64,
}

/// The file under way.
struct File<'a, W: Write> {
    sink: Sink<'a, W>,
    page: Page,
    line_end: u8,
    lines: u64,
    draw: Draw,
    plan: &'a Plan,
    totals: Totals,
    batches: u64,
    bad: u64,
    trace: u64,
}

/// See [`super::generate`].
pub(super) fn generate(plan: &Plan, out: &mut impl Write) -> Result<Generated, GenerateError> {
    let mut file = File {
        sink: Sink::new(out),
        page: Page::new(plan.encoding),
        line_end: if plan.encoding.is_ebcdic() { 0x25 } else { b'\n' },
        lines: 0,
        draw: Draw::new(plan),
        plan,
        totals: Totals::default(),
        batches: 0,
        bad: 0,
        trace: 0,
    };
    let identifier = file.header()?;
    let mut left = plan.records;
    while left > 0 {
        let entries = left.min(BATCH_ENTRIES);
        file.batch(entries)?;
        left -= entries;
    }
    file.control()?;
    file.sink.flush()?;
    Ok(Generated {
        bytes: file.sink.bytes,
        records: plan.records,
        bad: file.bad,
        identifier: Some(identifier),
    })
}

impl<W: Write> File<'_, W> {
    fn write(&mut self, text: &mut Text) -> Result<(), GenerateError> {
        self.page.encode(&mut text.0[..LENGTH]);
        text.0[LENGTH] = self.line_end;
        self.lines += 1;
        Ok(self.sink.push(&text.0)?)
    }

    /// Time, modifier and origin tell the files of a date apart.
    fn header(&mut self) -> Result<String, GenerateError> {
        use file_header as columns;
        const MODIFIERS: &[u8; 36] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
        const MINUTES: u32 = 24 * 60;
        let number = self.plan.file_number;
        let minute = number % MINUTES;
        let modifier = MODIFIERS[usize::try_from(number / MINUTES % 36).unwrap_or_default()];
        let origin = format!("{}", 1_000_000_000 + u64::from(number / MINUTES / 36));
        let destination = routing(HOME);
        let date = yymmdd(self.plan.date);
        let time = format!("{:02}{:02}", minute / 60, minute % 60);
        let modifier = char::from(modifier).to_string();
        let mut line = Text::new(b'1');
        line.text(columns::PRIORITY, "01")
            .text(columns::DESTINATION, &format!(" {destination}"))
            .text(columns::ORIGIN, &origin)
            .text(columns::DATE, &date)
            .text(columns::TIME, &time)
            .text(columns::MODIFIER, &modifier)
            .text(columns::RECORD_SIZE, "094")
            .text(columns::BLOCKING, "10")
            .text(columns::FORMAT_CODE, "1")
            .text(columns::DESTINATION_NAME, "EXAMPLE BANK")
            .text(columns::ORIGIN_NAME, "EXAMPLE OPERATOR");
        self.write(&mut line)?;
        Ok([origin, destination, date, time, modifier].join(","))
    }

    fn batch(&mut self, entries: u64) -> Result<(), GenerateError> {
        use batch_header as columns;
        self.batches += 1;
        let (class, description) = *self.draw.one_of(CLASSES);
        let (company, _) = *self.draw.one_of(SHOPS);
        let mut line = Text::new(b'5');
        line.text(columns::CLASS, "200")
            .text(columns::COMPANY, company)
            .text(columns::COMPANY_ID, "1990000001")
            .text(columns::SEC, class)
            .text(columns::DESCRIPTION, description)
            .text(columns::EFFECTIVE_DATE, &yymmdd(self.plan.date))
            .text(columns::STATUS, "1")
            .text(columns::ODFI, HOME)
            .number(columns::NUMBER, self.batches);
        self.write(&mut line)?;
        let mut totals = Totals::default();
        for _ in 0..entries {
            self.entry(&mut totals)?;
        }
        self.batch_control(&totals)?;
        self.totals.count += totals.count;
        self.totals.hash = (self.totals.hash + totals.hash) % HASH_MODULUS;
        self.totals.debits += totals.debits;
        self.totals.credits += totals.credits;
        Ok(())
    }

    fn entry(&mut self, totals: &mut Totals) -> Result<(), GenerateError> {
        use entry as columns;
        let account = self.draw.below(self.plan.accounts);
        let institution = INSTITUTIONS[usize::try_from(account % 7).unwrap_or_default()];
        let is_debit = self.draw.below(100) < 40;
        let is_prenote = self.draw.below(10_000) < PRENOTES_PER_10_000;
        let has_addenda = self.draw.below(10_000) < ADDENDA_PER_10_000;
        let amount = if is_prenote { 0 } else { 100 + self.draw.below(50_000) };
        let code = match (is_debit, is_prenote, account.is_multiple_of(3)) {
            (false, false, false) => "22",
            (false, false, true) => "32",
            (true, false, false) => "27",
            (true, false, true) => "37",
            (false, true, _) => "23",
            (true, true, _) => "28",
        };
        let name = *self.draw.one_of(NAMES);
        self.trace += 1;
        let mut line = Text::new(b'6');
        line.text(columns::CODE, code)
            .text(columns::RDFI, institution)
            .number(columns::AMOUNT, amount)
            .text(columns::NAME, name)
            .text(columns::ADDENDA_INDICATOR, if has_addenda { "1" } else { "0" });
        line.field(columns::CHECK_DIGIT)[0] = routing_check_digit(institution.as_bytes());
        digits(&mut line.field(columns::ACCOUNT)[..10], 1_000_000_000 + account);
        let trace = line.field(columns::TRACE);
        trace[..8].copy_from_slice(HOME.as_bytes());
        digits(&mut trace[8..], self.trace);
        let is_bad = self.draw.below(1_000_000) < u64::from(self.plan.bad_per_million);
        if is_bad {
            self.spoil(&mut line);
        }
        self.write(&mut line)?;
        totals.count += 1;
        if has_addenda {
            let mut line = Text::new(b'7');
            line.text(addenda::TYPE, "05").text(addenda::REST, "REFERENCE OF THE PAYER");
            digits(&mut line.0[83..87], 1);
            digits(&mut line.0[87..94], self.trace);
            self.write(&mut line)?;
            totals.count += 1;
        }
        totals.hash = (totals.hash + institution.parse::<u64>().unwrap_or_default()) % HASH_MODULUS;
        *(if is_debit { &mut totals.debits } else { &mut totals.credits }) += amount;
        Ok(())
    }

    /// Spoils an entry so that it can't be read, and yet what it adds to the totals can.
    fn spoil(&mut self, line: &mut Text) {
        use entry as columns;
        self.bad += 1;
        match self.draw.below(3) {
            0 => {
                let digit = &mut line.field(columns::CHECK_DIGIT)[0];
                *digit = if *digit == b'9' { b'0' } else { *digit + 1 };
            }
            1 => line.field(columns::ACCOUNT).fill(b' '),
            _ => line.field(columns::NAME)[3] = 0x1a,
        }
    }

    fn batch_control(&mut self, totals: &Totals) -> Result<(), GenerateError> {
        use batch_control as columns;
        let mut line = Text::new(b'8');
        line.text(columns::CLASS, "200")
            .number(columns::COUNT, totals.count)
            .number(columns::HASH, totals.hash)
            .number(columns::DEBITS, totals.debits)
            .number(columns::CREDITS, totals.credits)
            .text(columns::COMPANY_ID, "1990000001")
            .text(columns::ODFI, HOME)
            .number(columns::NUMBER, self.batches);
        self.write(&mut line)
    }

    fn control(&mut self) -> Result<(), GenerateError> {
        use file_control as columns;
        let totals = self.totals;
        let mut line = Text::new(b'9');
        line.number(columns::BATCHES, self.batches)
            .number(columns::BLOCKS, (self.lines + 1).div_ceil(10))
            .number(columns::COUNT, totals.count)
            .number(columns::HASH, totals.hash)
            .number(columns::DEBITS, totals.debits)
            .number(columns::CREDITS, totals.credits);
        self.write(&mut line)?;
        while !self.lines.is_multiple_of(10) {
            self.write(&mut Text([b'9'; LINE]))?;
        }
        Ok(())
    }
}

fn routing(institution: &str) -> String {
    let digit = char::from(routing_check_digit(institution.as_bytes()));
    format!("{institution}{digit}")
}

const _: () = assert!(INSTITUTIONS.len() == 7, "accounts are spread over seven institutions");
