//! CNAB files from a bank: titles that were paid, registered, written off or charged for.
//!
//! Of 240 columns a title is two records (T and U) in batches of ten thousand; of 400 it is one, as
//! Itaú lays it out, and the records are numbered through the file.

use std::io::Write;

use super::{Draw, GenerateError, Generated, NAMES, Page, Plan, Sink, digits, in_range};

/// How many records a file's trailer can count in six digits, less what is around the titles.
const TITLES_MAX_240: u64 = 499_800;

/// How many records six digits can number, less header and trailer.
const TITLES_MAX_400: u64 = 999_997;

/// Sequences in a batch have five digits.
const BATCH_TITLES: u64 = 10_000;

/// What of a hundred titles is which: its code, and whether it was paid by it.
const MOVEMENTS: &[(u64, &str, bool)] =
    &[(82, "06", true), (6, "17", true), (6, "02", false), (4, "09", false), (2, "28", false)];

const COMPANY: &str = "EMPRESA EXEMPLO LTDA";

/// A registration number whose check digits are wrong, so that no company has it.
const REGISTRATION: &str = "00000000000100";

/// The file under way.
struct File<'a, W: Write> {
    sink: Sink<'a, W>,
    page: Page,
    line: Vec<u8>,
    line_end: &'static [u8],
    lines: u64,
    draw: Draw,
    plan: &'a Plan,
    /// DDMMYYYY.
    day: String,
    /// DDMMYY.
    day_short: String,
    bad: u64,
}

/// What a batch states in its trailer.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    records: u64,
    titles: u64,
    value: u64,
}

/// A title as it is drawn.
struct Title {
    account: u64,
    number: u64,
    movement: &'static str,
    name: &'static str,
    nominal: u64,
    fee: u64,
    paid: u64,
    bad: Option<Bad>,
}

/// What is wrong with a title that can't be read, and yet adds to the totals what can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bad {
    Movement,
    Date,
    Name,
}

/// See [`super::generate`].
pub(super) fn generate_240(plan: &Plan, out: &mut impl Write) -> Result<Generated, GenerateError> {
    in_range("records", plan.records, 1, TITLES_MAX_240)?;
    let mut file = File::new(plan, out, 240);
    let identifier = file.header_240()?;
    let mut batches = 0;
    let mut left = plan.records;
    while left > 0 {
        let titles = left.min(BATCH_TITLES);
        batches += 1;
        file.batch(batches, plan.records - left, titles)?;
        left -= titles;
    }
    file.text(1, "00199999").number(18, 23, batches);
    let records = file.lines + 1;
    file.number(24, 29, records).number(30, 35, 0);
    file.write()?;
    file.end(identifier)
}

/// See [`super::generate`].
pub(super) fn generate_400(plan: &Plan, out: &mut impl Write) -> Result<Generated, GenerateError> {
    in_range("records", plan.records, 1, TITLES_MAX_400)?;
    let mut file = File::new(plan, out, 400);
    let short = file.day_short.clone();
    let number = format!("{:013}", plan.file_number);
    file.text(1, "02RETORNO01COBRANCA").text(47, COMPANY).text(77, "341BANCO EXEMPLO");
    file.text(95, &short).text(101, &number);
    file.write_numbered()?;
    for number in 0..plan.records {
        file.title_400(number)?;
    }
    file.text(1, "9201341");
    file.write_numbered()?;
    let identifier = ["341", "2", &short, &number, "", COMPANY].join("/");
    file.end(identifier)
}

impl<'a, W: Write> File<'a, W> {
    fn new(plan: &'a Plan, out: &'a mut W, length: usize) -> Self {
        let date = plan.date.to_string();
        let part = |from: usize, to: usize| date.get(from..to).unwrap_or_default();
        let (year, month, day) = (part(0, 4), part(5, 7), part(8, 10));
        Self {
            sink: Sink::new(out),
            page: Page::new(plan.encoding),
            line: vec![b' '; length],
            line_end: if plan.encoding.is_ebcdic() { b"\x25" } else { b"\r\n" },
            lines: 0,
            draw: Draw::new(plan),
            plan,
            day: format!("{day}{month}{year}"),
            day_short: format!("{day}{month}{}", part(2, 4)),
            bad: 0,
        }
    }

    /// Sets a text from this column on, counted from 1.
    fn text(&mut self, first: usize, text: &str) -> &mut Self {
        let field = &mut self.line[first - 1..];
        let length = text.len().min(field.len());
        field[..length].copy_from_slice(&text.as_bytes()[..length]);
        self
    }

    /// Sets a number in these columns, with zeros before it.
    fn number(&mut self, first: usize, last: usize, value: u64) -> &mut Self {
        digits(&mut self.line[first - 1..last], value);
        self
    }

    /// Writes the line, and begins another one.
    fn write(&mut self) -> Result<(), GenerateError> {
        self.page.encode(&mut self.line);
        self.sink.push(&self.line)?;
        self.sink.push(self.line_end)?;
        self.line.fill(b' ');
        self.lines += 1;
        Ok(())
    }

    /// As above, with its number in the last columns of 400.
    fn write_numbered(&mut self) -> Result<(), GenerateError> {
        let number = self.lines + 1;
        self.number(395, 400, number).write()
    }

    fn end(mut self, identifier: String) -> Result<Generated, GenerateError> {
        self.sink.flush()?;
        let (records, bytes) = (self.plan.records, self.sink.bytes);
        Ok(Generated { bytes, records, bad: self.bad, identifier: Some(identifier) })
    }

    /// Number and time tell the files of a date apart.
    fn header_240(&mut self) -> Result<String, GenerateError> {
        const NUMBERS: u32 = 1_000_000;
        let day = self.day.clone();
        let second = self.plan.file_number / NUMBERS;
        let time = format!("{:02}{:02}{:02}", second / 3_600, second / 60 % 60, second % 60);
        let number = format!("{:06}", self.plan.file_number % NUMBERS);
        self.text(1, "00100000").text(18, "2").text(19, REGISTRATION).text(73, COMPANY);
        self.text(103, "BANCO EXEMPLO").text(143, "2").text(144, &day).text(152, &time);
        self.text(158, &number).text(164, "084");
        self.write()?;
        Ok(["001", REGISTRATION, "2", &day, &time, &number].join("/"))
    }

    fn batch(&mut self, batch: u64, first: u64, titles: u64) -> Result<(), GenerateError> {
        let day = self.day.clone();
        self.text(1, "001").number(4, 7, batch).text(8, "1T01  043").text(18, "2");
        self.text(19, REGISTRATION).text(74, COMPANY).number(184, 191, 1).text(192, &day);
        self.write()?;
        let mut totals = Totals { records: 2, ..Totals::default() };
        for number in first..first + titles {
            self.title_240(batch, number, &mut totals)?;
        }
        self.text(1, "001").number(4, 7, batch).text(8, "5").number(18, 23, totals.records);
        self.number(24, 29, totals.titles).number(30, 46, totals.value).number(47, 115, 0);
        self.write()
    }

    fn title_240(
        &mut self,
        batch: u64,
        number: u64,
        totals: &mut Totals,
    ) -> Result<(), GenerateError> {
        let day = self.day.clone();
        let title = self.title(number);
        let movement = if title.bad == Some(Bad::Movement) { "0X" } else { title.movement };
        let due = if title.bad == Some(Bad::Date) { "31022026" } else { &day };
        let sequence = totals.records - 1;
        self.text(1, "001").number(4, 7, batch).text(8, "3").number(9, 13, sequence);
        self.text(14, "T").text(16, movement).number(18, 22, 1 + title.account % 7);
        self.number(24, 35, 1_000_000_000 + title.account).number(36, 36, title.account % 9);
        self.number(38, 54, title.number).text(58, "1").number(59, 73, title.number);
        self.text(74, due).number(82, 96, title.nominal).text(97, "001").number(100, 105, 1);
        self.text(131, "09").text(133, "1").number(134, 148, 0).text(149, title.name);
        self.number(199, 213, title.fee);
        if title.bad == Some(Bad::Name) {
            self.line[151] = 0x1a;
        }
        self.write()?;
        let net = title.paid.saturating_sub(title.fee);
        self.text(1, "001").number(4, 7, batch).text(8, "3").number(9, 13, sequence + 1);
        self.text(14, "U").text(16, movement).number(18, 77, 0).number(78, 92, title.paid);
        self.number(93, 107, net).number(108, 137, 0).text(138, &day).text(146, &day);
        self.write()?;
        totals.records += 2;
        totals.titles += 1;
        totals.value += title.nominal;
        Ok(())
    }

    fn title_400(&mut self, number: u64) -> Result<(), GenerateError> {
        let day = self.day_short.clone();
        let title = self.title(number);
        let movement = if title.bad == Some(Bad::Movement) { "0X" } else { title.movement };
        let due = if title.bad == Some(Bad::Date) { "310226" } else { &day };
        self.text(1, "102").text(4, REGISTRATION).number(18, 21, title.account / 100_000);
        self.text(22, "00").number(24, 28, title.account % 100_000);
        self.number(29, 29, title.account % 9).number(63, 70, title.number % 100_000_000);
        self.text(83, "109").text(108, "I").text(109, movement).text(111, &day);
        self.number(117, 126, title.number).text(147, due).number(153, 165, title.nominal);
        self.text(166, "341").number(169, 173, 1).text(174, "01").number(176, 188, title.fee);
        self.number(189, 253, 0).number(254, 266, title.paid).number(267, 292, 0);
        self.text(296, &day).text(325, title.name);
        if title.bad == Some(Bad::Name) {
            self.line[326] = 0x1a;
        }
        self.write_numbered()
    }

    fn title(&mut self, number: u64) -> Title {
        let account = self.draw.below(self.plan.accounts);
        let mut share = self.draw.below(100);
        let mut drawn = ("06", true);
        for (of_hundred, movement, is_paid) in MOVEMENTS {
            drawn = (movement, *is_paid);
            match share.checked_sub(*of_hundred) {
                Some(rest) => share = rest,
                None => break,
            }
        }
        let (movement, is_paid) = drawn;
        let nominal = 1_000 + self.draw.below(500_000);
        let name = *self.draw.one_of(NAMES);
        let is_bad = self.draw.below(1_000_000) < u64::from(self.plan.bad_per_million);
        let bad = is_bad.then(|| *self.draw.one_of(&[Bad::Movement, Bad::Date, Bad::Name]));
        self.bad += u64::from(is_bad);
        let paid = if is_paid { nominal } else { 0 };
        Title { account, number: number + 1, movement, name, nominal, fee: 150, paid, bad }
    }
}
