//! Visa BASE II files: batches of sales most of all, with credits, cash, disputes and reversals
//! among them; as they are sent, in lines of 168 characters, or as they are received, in blocks of
//! 170.
//!
//! The columns here are written apart from those of the layouts, so that each proves the other.

use std::io::Write;

use schemas::Date;

use super::card::{self, day_of_year};
use super::{Draw, GenerateError, Generated, Page, Plan, SHOPS, Sink, digits};

const LENGTH: usize = 168;
const BATCH_TRANSACTIONS: u64 = 1_000;

/// The first six digits of test cards, and of those who acquire.
const ISSUER: &str = "400000";
const ACQUIRER: &str = "490000";

/// Transaction codes, of how many in a hundred.
#[rustfmt::skip]
const MIX: &[(u64, &str)] = &[
    (76, "05"), // sale
    ( 4, "07"), // cash
    ( 6, "06"), // credit
    ( 3, "25"), // reversals of those
    ( 1, "27"),
    ( 1, "26"),
    ( 2, "15"), // disputes of those
    ( 1, "17"),
    ( 1, "16"),
    ( 1, "35"), // reversals of the disputes
    ( 1, "37"),
    ( 1, "36"),
    ( 2, MESSAGE),
];

/// A message of many purposes, which moves nothing.
const MESSAGE: &str = "33";

/// A code that nobody knows.
const UNKNOWN: &str = "48";

/// Of how many in a hundred there are further records: 1, 5 and 7.
const FURTHER: &[(u64, &str)] = &[(80, "1"), (60, "5"), (30, "7")];

/// A record under way, its columns from 1.
struct Text([u8; LENGTH]);

impl Text {
    /// Transaction code, and the record's number in its transaction.
    fn new(code: &str, number: &str) -> Self {
        let mut text = Self([b' '; LENGTH]);
        text.text(1, code).text(3, "0").text(4, number);
        text
    }

    fn text(&mut self, first: usize, text: &str) -> &mut Self {
        self.0[first - 1..first - 1 + text.len()].copy_from_slice(text.as_bytes());
        self
    }

    fn number(&mut self, first: usize, last: usize, value: u64) -> &mut Self {
        digits(&mut self.0[first - 1..last], value);
        self
    }
}

/// What a batch and the file have added up.
#[derive(Clone, Copy, Default)]
struct Totals {
    monetary: u64,
    transactions: u64,
    records: u64,
    source: u64,
    destination: u64,
}

/// The file under way.
struct File<'a, W: Write> {
    sink: Sink<'a, W>,
    page: Page,
    is_received: bool,
    line_end: u8,
    draw: Draw,
    plan: &'a Plan,
    totals: Totals,
    batches: u64,
    transactions: u64,
    bad: u64,
}

/// See [`super::generate`].
pub(super) fn generate(plan: &Plan, out: &mut impl Write) -> Result<Generated, GenerateError> {
    let mut file = File {
        sink: Sink::new(out),
        page: Page::new(plan.encoding),
        is_received: plan.format == "base2_itf",
        line_end: if plan.encoding.is_ebcdic() { 0x25 } else { b'\n' },
        draw: Draw::new(plan),
        plan,
        totals: Totals::default(),
        batches: 0,
        transactions: 0,
        bad: 0,
    };
    let identifier = file.header()?;
    let mut left = plan.records;
    while left > 0 {
        let transactions = left.min(BATCH_TRANSACTIONS);
        file.batch(transactions)?;
        left -= transactions;
    }
    // The trailers count each other: a batch's as a transaction and a record of its own, and so
    // does the file's.
    let mut totals = file.totals;
    totals.transactions += 1;
    totals.records += 1;
    let batches = file.batches;
    file.trailer("92", &totals, batches)?;
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
        self.page.encode(&mut text.0);
        if !self.is_received {
            self.sink.push(&text.0)?;
            return Ok(self.sink.push(&[self.line_end])?);
        }
        // Two bytes of check behind the code, whose rule is not public: zeros stand in for them.
        let mut check = *b"00";
        self.page.encode(&mut check);
        let (code, rest) = text.0.split_at(2);
        self.sink.push(code)?;
        self.sink.push(&check)?;
        Ok(self.sink.push(rest)?)
    }

    /// Institution, date and number tell the files apart. The number has three letters or digits,
    /// and what is above them goes into the institution.
    fn header(&mut self) -> Result<String, GenerateError> {
        const LETTERS: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let mut rest = self.plan.file_number;
        let mut number = [0; 3];
        for letter in number.iter_mut().rev() {
            *letter = LETTERS[usize::try_from(rest % 36).unwrap_or_default()];
            rest /= 36;
        }
        let number: String = number.into_iter().map(char::from).collect();
        let institution = (465_000 + u64::from(rest)).to_string();
        let (year, day) = day_of_year(self.plan.date);
        let date = format!("{:02}{day:03}", year % 100);
        let mut text = Text([b' '; LENGTH]);
        text.text(1, "90").text(3, &institution).text(9, &date).text(77, &number);
        self.write(&mut text)?;
        Ok([institution, self.plan.date.to_string(), number].join("/"))
    }

    fn batch(&mut self, transactions: u64) -> Result<(), GenerateError> {
        let mut totals = Totals::default();
        for _ in 0..transactions {
            self.transaction(&mut totals)?;
        }
        totals.transactions += 1;
        totals.records += 1;
        self.batches += 1;
        self.trailer("91", &totals, self.batches)?;
        let file = &mut self.totals;
        file.monetary += totals.monetary;
        file.transactions += totals.transactions;
        file.records += totals.records;
        file.source += totals.source;
        file.destination += totals.destination;
        Ok(())
    }

    fn trailer(&mut self, code: &str, of: &Totals, batches: u64) -> Result<(), GenerateError> {
        let (year, day) = day_of_year(self.plan.date);
        let date = format!("{:02}{day:03}", year % 100);
        let mut text = Text::new(code, "0");
        text.text(5, ISSUER)
            .text(11, &date)
            .number(16, 30, of.destination)
            .number(31, 42, of.monetary)
            .number(43, 48, batches)
            .number(49, 60, of.records)
            .number(75, 83, of.transactions)
            .number(102, 116, of.source);
        self.write(&mut text)
    }

    fn transaction(&mut self, totals: &mut Totals) -> Result<(), GenerateError> {
        let code = self.code();
        let account = self.draw.below(self.plan.accounts);
        let source = 100 + self.draw.below(90_000);
        let place = self.draw.below(100);
        let drawn = self.draw.below(1_000_000);
        let spoilt = drawn < u64::from(self.plan.bad_per_million);
        self.bad += u64::from(spoilt);
        self.transactions += 1;
        totals.transactions += 1;
        if code == MESSAGE {
            totals.records += 1;
            let mut text = Text::new(if spoilt { UNKNOWN } else { code }, "0");
            text.text(5, "MESSAGE OF MANY PURPOSES");
            return self.write(&mut text);
        }
        // Abroad the cardholder is billed five for one; yen have no cents.
        let (currency, country, destination) = match place {
            0..18 => ("840", "US ", source * 5),
            18..20 => ("392", "JP ", source),
            _ => ("986", "BR ", source),
        };
        let mut text = Text::new(code, "0");
        self.draft(&mut text, account);
        text.number(62, 73, destination)
            .text(74, "986")
            .number(77, 88, source)
            .text(89, currency)
            .text(130, country);
        if spoilt {
            self.spoil(&mut text);
        }
        self.write(&mut text)?;
        totals.monetary += 1;
        totals.records += 1;
        totals.source += source;
        totals.destination += destination;
        for (share, number) in FURTHER {
            if self.draw.below(100) < *share {
                self.further(code, number)?;
                totals.records += 1;
            }
        }
        Ok(())
    }

    fn code(&mut self) -> &'static str {
        let mut drawn = self.draw.below(100);
        for (share, code) in MIX {
            if drawn < *share {
                return code;
            }
            drawn -= share;
        }
        "05"
    }

    /// The record 0, but for what depends on the place.
    fn draft(&mut self, text: &mut Text, account: u64) {
        let card = card::number(ISSUER, account);
        let (shop, category) = *self.draw.one_of(SHOPS);
        let has_19_digits = account % 50 == 49;
        let is_again = self.draw.below(100) < 2;
        let bought = days_before(self.plan.date, self.draw.below(6));
        let (year, day) = day_of_year(self.plan.date);
        let date = bought.to_string();
        text.0[4..20].copy_from_slice(&card);
        text.text(21, if has_19_digits { "019" } else { "000" })
            .text(27, &card::reference(ACQUIRER, bought, self.transactions))
            .text(50, "90000001")
            .text(58, date.get(5..7).unwrap_or_default())
            .text(60, date.get(8..10).unwrap_or_default())
            .text(92, shop)
            .text(117, "SAO PAULO")
            .text(133, category)
            .text(137, "01310")
            .text(147, if is_again { "2" } else { "1" })
            .text(148, "00")
            .text(150, "8")
            .number(152, 157, self.draw.below(1_000_000))
            .text(162, "05")
            .text(164, &format!("{}{day:03}", year % 10))
            .text(168, "0");
    }

    fn further(&mut self, code: &str, number: &str) -> Result<(), GenerateError> {
        let mut text = Text::new(code, number);
        match number {
            "1" => {
                text.text(81, "MERCHANT0000001").text(96, "TERM0001").number(158, 166, 0);
            }
            "5" => {
                text.number(5, 19, 300_000_000_000_000 + self.transactions)
                    .number(20, 31, 0)
                    .text(32, "986")
                    .text(45, "01")
                    .text(47, "01");
            }
            _ => {
                text.text(5, "00").text(7, "001").text(41, "0001").text(49, "0123456789ABCDEF");
            }
        }
        self.write(&mut text)
    }

    /// Spoils a transaction so that it can't be read, and yet what it adds to the totals can.
    fn spoil(&mut self, text: &mut Text) {
        match self.draw.below(3) {
            0 => text.0[8] = b'X',
            1 => text.0[57..61].copy_from_slice(b"1332"),
            _ => text.0[88..91].copy_from_slice(b"000"),
        }
    }
}

/// The date so many days before, where that is in the same month; else the date itself.
fn days_before(date: Date, days: u64) -> Date {
    let text = date.to_string();
    let part = |range| text.get(range).and_then(|digits: &str| digits.parse::<i16>().ok());
    let earlier = || {
        let month = i8::try_from(part(5..7)?).ok()?;
        let day = part(8..10)?.checked_sub(i16::try_from(days).ok()?)?;
        Date::new(part(0..4)?, month, i8::try_from(day).ok()?)
    };
    earlier().unwrap_or(date)
}
