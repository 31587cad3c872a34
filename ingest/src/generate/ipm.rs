//! IPM files: purchases most of all; refunds, reversals, disputes, fees and addenda among them.

use std::io::Write;

use super::{Draw, GenerateError, Generated, Page, Plan, SHOPS, Sink, card, digits, wide, yymmdd};
use crate::format::Framing;

const PAYLOAD: usize = 1_012;
const BLOCK: usize = 1_014;
const FILLER: u8 = 0x40;
const PROCESSOR: &str = "00000012940";

/// The first six digits of test cards.
const ISSUER: &str = "541333";

/// MTI, function code, first digits of the processing code, whether it is a reversal; of how many
/// in a hundred.
#[rustfmt::skip]
const MIX: &[(u64, &str, &str, &str, bool)] = &[
    (80, "1240", "200", "00", false), // purchase
    ( 4, "1240", "200", "01", false), // cash
    ( 6, "1240", "200", "20", false), // refund
    ( 4, "1240", "200", "00", true),  // reversal of a purchase
    ( 2, "1442", "450", "00", false), // chargeback
    ( 1, "1240", "205", "00", false), // second presentment
    ( 2, "1740", "700", "19", false), // fee collection
    ( 1, "1644", "696", "",   false), // addendum
];

/// A message under way: its elements, in ascending order, and their bits.
struct Message {
    bitmap: u128,
    mti: &'static str,
    text: Vec<u8>,
}

impl Message {
    fn begin(&mut self, mti: &'static str) {
        self.bitmap = 1 << 127;
        self.mti = mti;
        self.text.clear();
    }

    fn fixed(&mut self, bit: u32, text: &str) {
        self.bitmap |= 1 << (128 - bit);
        self.text.extend_from_slice(text.as_bytes());
    }

    fn number(&mut self, bit: u32, width: usize, value: u64) {
        self.bitmap |= 1 << (128 - bit);
        let from = self.text.len();
        self.text.resize(from + width, b'0');
        digits(&mut self.text[from..], value);
    }

    /// An element with its length before it, in two or three digits.
    fn variable(&mut self, bit: u32, prefix: usize, text: &str) {
        self.number(bit, prefix, wide(text.len()));
        self.text.extend_from_slice(text.as_bytes());
    }
}

/// The file under way.
struct File<'a, W: Write> {
    sink: Sink<'a, W>,
    page: Page,
    framing: Framing,
    column: usize,
    draw: Draw,
    plan: &'a Plan,
    date: String,
    message: Message,
    /// PDS under way.
    subelements: String,
    messages: u64,
    sum: u64,
    bad: u64,
}

/// See [`super::generate`].
pub(super) fn generate(plan: &Plan, out: &mut impl Write) -> Result<Generated, GenerateError> {
    let mut file = File {
        sink: Sink::new(out),
        page: Page::new(plan.encoding),
        framing: if plan.framing == Framing::Auto { Framing::Blocked } else { plan.framing },
        column: 0,
        draw: Draw::new(plan),
        plan,
        date: yymmdd(plan.date),
        message: Message { bitmap: 0, mti: "", text: Vec::new() },
        subelements: String::new(),
        messages: 0,
        sum: 0,
        bad: 0,
    };
    // File type, date, processor, sequence. The sequence has five digits; what is above them goes
    // into the processor.
    let number = plan.file_number;
    let processor = PROCESSOR.parse::<u64>().unwrap_or_default() + u64::from(number / 100_000);
    let identifier = format!("002{}{processor:011}{:05}", file.date, number % 100_000);
    file.structure("697", &[("0105", &identifier), ("0122", "T"), ("0191", "2")])?;
    for _ in 0..plan.records {
        file.record()?;
    }
    let sum = format!("{:016}", file.sum);
    let count = format!("{:08}", file.messages + 1);
    file.structure("695", &[("0105", &identifier), ("0301", &sum), ("0306", &count)])?;
    file.end()?;
    Ok(Generated {
        bytes: file.sink.bytes,
        records: plan.records,
        bad: file.bad,
        identifier: Some(identifier),
    })
}

impl<W: Write> File<'_, W> {
    fn structure(
        &mut self,
        function: &'static str,
        subelements: &[(&str, &str)],
    ) -> Result<(), GenerateError> {
        self.message.begin("1644");
        self.message.fixed(24, function);
        self.subelements.clear();
        for (tag, value) in subelements {
            self.subelement(tag, value);
        }
        self.message.variable(48, 3, &self.subelements);
        self.messages += 1;
        self.message.number(71, 8, self.messages);
        self.write()
    }

    fn subelement(&mut self, tag: &str, value: &str) {
        let length = value.len();
        self.subelements.push_str(tag);
        for divisor in [100, 10, 1] {
            let digit = u8::try_from(length / divisor % 10).unwrap_or_default();
            self.subelements.push(char::from(b'0' + digit));
        }
        self.subelements.push_str(value);
    }

    fn record(&mut self) -> Result<(), GenerateError> {
        let (mti, function, processing, is_reversal) = self.kind();
        let account = self.draw.below(self.plan.accounts);
        let amount = 100 + self.draw.below(90_000);
        let is_abroad = self.draw.below(100) < 20;
        let (shop, category) = *self.draw.one_of(SHOPS);
        let spoilt = self.draw.below(1_000_000) < u64::from(self.plan.bad_per_million);
        let spoilt = spoilt.then(|| self.draw.below(2));
        self.bad += u64::from(spoilt.is_some());
        let moves = mti != "1644";
        self.messages += 1;

        let message = &mut self.message;
        message.begin(mti);
        if mti != "1740" {
            let pan = card::number(ISSUER, account);
            message.number(2, 2, wide(pan.len()));
            message.text.extend_from_slice(&pan);
            if spoilt == Some(0) {
                message.text[4] = b'X';
            }
        }
        if moves {
            message.fixed(3, processing);
            message.text.extend_from_slice(b"0000");
            message.number(4, 12, amount);
            self.sum += amount;
            if mti != "1740" {
                // What the cardholder is billed: abroad, at five for one.
                message.number(6, 12, if is_abroad { amount * 5 } else { amount });
            }
            message.fixed(12, &self.date);
            message.number(12, 6, clock(self.draw.below(86_400)));
        }
        message.fixed(24, function);
        if moves {
            message.fixed(26, category);
            let reference = card::reference(ISSUER, self.plan.date, self.messages);
            message.variable(31, 2, &reference);
            message.number(38, 6, self.draw.below(1_000_000));
            message.fixed(42, "MERCHANT0000001");
            self.subelements.clear();
            self.subelements.push_str(shop);
            self.subelements.push_str("\\RUA DAS FLORES 1\\SAO PAULO\\01310-100 SP BRA");
            message.variable(43, 2, &self.subelements);
        }
        self.subelements.clear();
        self.subelement("0023", "POI");
        if is_reversal {
            self.subelement("0025", "R");
        }
        if moves {
            self.subelement("0148", if is_abroad { "84029862" } else { "9862" });
        }
        self.subelement("0165", "M");
        let message = &mut self.message;
        message.variable(48, 3, &self.subelements);
        if moves {
            // A fee collection has no card to spoil, so its currency is spoilt whatever was drawn.
            let is_currency_spoilt = spoilt.is_some_and(|way| way == 1 || mti == "1740");
            let abroad = if is_abroad { "840" } else { "986" };
            message.fixed(49, if is_currency_spoilt { "000" } else { abroad });
            if mti != "1740" {
                message.fixed(51, "986");
            }
        } else if spoilt == Some(1) {
            message.text[4] = b'X';
        }
        message.number(71, 8, self.messages);
        self.write()
    }

    fn kind(&mut self) -> (&'static str, &'static str, &'static str, bool) {
        let mut drawn = self.draw.below(100);
        for (share, mti, function, processing, is_reversal) in MIX {
            if drawn < *share {
                return (mti, function, processing, *is_reversal);
            }
            drawn -= share;
        }
        ("1240", "200", "00", false)
    }

    /// Frames the message.
    fn write(&mut self) -> Result<(), GenerateError> {
        let message = &mut self.message;
        let length = 20 + message.text.len();
        self.page.encode(&mut message.text);
        let mut head = [0; 24];
        let word = u32::try_from(length).unwrap_or_default();
        match self.framing {
            Framing::Rdw => {
                let word = u16::try_from(length + 4).unwrap_or_default();
                head[..2].copy_from_slice(&word.to_be_bytes());
            }
            Framing::Auto | Framing::Vbs | Framing::Blocked => {
                head[..4].copy_from_slice(&word.to_be_bytes());
            }
        }
        head[4..8].copy_from_slice(message.mti.as_bytes());
        self.page.encode(&mut head[4..8]);
        head[8..].copy_from_slice(&message.bitmap.to_be_bytes());
        let text = std::mem::take(&mut message.text);
        self.push(&head)?;
        self.push(&text)?;
        self.message.text = text;
        Ok(())
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), GenerateError> {
        if self.framing != Framing::Blocked {
            return Ok(self.sink.push(bytes)?);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let piece = rest.len().min(PAYLOAD - self.column);
            let (now, later) = rest.split_at(piece);
            self.sink.push(now)?;
            self.column += piece;
            rest = later;
            if self.column == PAYLOAD {
                self.sink.push(&[FILLER; BLOCK - PAYLOAD])?;
                self.column = 0;
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), GenerateError> {
        if self.framing != Framing::Rdw {
            self.push(&[0; 4])?;
        }
        if self.framing == Framing::Blocked && self.column > 0 {
            let left = BLOCK - self.column;
            self.sink.push(&vec![FILLER; left])?;
        }
        Ok(self.sink.flush()?)
    }
}

/// hhmmss of a second of the day, as a number of six digits.
fn clock(second: u64) -> u64 {
    second / 3_600 * 10_000 + second / 60 % 60 * 100 + second % 60
}
