//! Writes valid synthetic files of a format, of any size, for demos, tests and load.
//!
//! The same plan gives the same bytes, everywhere and always. Nothing of a file is kept but its
//! running totals, so that memory does not grow with it.

mod card;
mod rows;

mod adyen;
mod base2;
mod cnab;
mod ipm;
mod nacha;
mod paypal;
mod statement;

use std::io::{self, Write};

use schemas::Date;

use crate::format::{Encoding, Framing, UnknownWord};

/// What to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The format's name, one of [`crate::format::names`].
    pub format: String,
    /// The page of its text.
    pub encoding: Encoding,
    /// How IPM messages are laid into the file; *auto* writes blocks. Files of lines ignore it.
    pub framing: Framing,
    /// How many records, from 1; the most that a format can count is checked.
    pub records: u64,
    /// How many accounts they are spread over, from 1 to 1,000,000,000.
    pub accounts: u64,
    /// Another seed, other records.
    pub seed: u64,
    /// How many of a million records can't be read. What they add to the totals can.
    pub bad_per_million: u32,
    /// Goes into the file's own identifier, where it has one, and into the references of its
    /// records: two numbers of a date, two files.
    pub file_number: u32,
    /// The date of the file.
    pub date: Date,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Generated {
    /// Bytes.
    pub bytes: u64,
    /// Records, bad ones among them.
    pub records: u64,
    /// Records that can't be read.
    pub bad: u64,
    /// The file's own identifier, as its reader gives it; none where the format has none.
    pub identifier: Option<String>,
}

/// A file that can't be written.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// No format has this name.
    #[error("no such format: {0}")]
    Format(UnknownWord),
    /// The format can't be in the page of the plan.
    #[error("{0}")]
    Page(String),
    /// The plan asks for more or less than a file of this format can hold.
    #[error("{what}: expected {expected}, found {found}")]
    Plan {
        /// Which number of the plan.
        what: &'static str,
        /// Its range.
        expected: String,
        /// What it is.
        found: u64,
    },
    /// The file can't be written where it should go.
    #[error("the file can't be written")]
    Write(#[from] io::Error),
}

/// Writes the file of a plan.
///
/// # Errors
///
/// Where the plan is out of range, or `out` fails.
pub fn generate(plan: &Plan, out: &mut impl Write) -> Result<Generated, GenerateError> {
    in_range("records", plan.records, 1, RECORDS_MAX)?;
    in_range("accounts", plan.accounts, 1, ACCOUNTS_MAX)?;
    in_range("bad records of a million", u64::from(plan.bad_per_million), 0, 1_000_000)?;
    let layout = crate::format::built_in(&plan.format);
    if let Some(why) = plan.encoding.misfit(&plan.format, layout.as_deref()) {
        return Err(GenerateError::Page(why));
    }
    match plan.format.as_str() {
        "nacha" => nacha::generate(plan, out),
        "ipm" => ipm::generate(plan, out),
        "cnab240" => cnab::generate_240(plan, out),
        "cnab400" => cnab::generate_400(plan, out),
        "base2" | "base2_itf" => base2::generate(plan, out),
        "adyen_settlement" => adyen::generate(plan, out),
        "paypal_stl" => paypal::generate(plan, out),
        "statement_csv" => statement::generate(plan, out),
        _ => Err(GenerateError::Format(UnknownWord {
            expected: crate::format::names().join(", "),
            found: plan.format.clone(),
        })),
    }
}

/// NACHA counts blocks of ten in six digits; half of that is left for addenda and batches. IPM
/// counts messages in eight.
const RECORDS_MAX: u64 = 4_500_000;

/// Nine digits of a card number are free behind its issuer's six.
const ACCOUNTS_MAX: u64 = 1_000_000_000;

fn in_range(what: &'static str, found: u64, min: u64, max: u64) -> Result<(), GenerateError> {
    if (min..=max).contains(&found) {
        return Ok(());
    }
    Err(GenerateError::Plan { what, expected: format!("{min} to {max}"), found })
}

/// Numbers that look drawn: splitmix64, whose state steps by the golden ratio of 2^64 and is mixed
/// by two multiplications. Its sequence is part of what a plan means and never changes.
#[derive(Clone, Debug)]
struct Draw(u64);

impl Draw {
    fn new(plan: &Plan) -> Self {
        Self(plan.seed ^ (u64::from(plan.file_number) << 32))
    }

    /// The next 64 bits.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to below `end`, which is not 0. The bias of the remainder is of no matter
    /// here: `end` is small beside 2^64.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// One of these.
    fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let at = usize::try_from(self.below(wide(choices.len()))).unwrap_or_default();
        &choices[at]
    }
}

/// Bytes on their way out: encoded, gathered, counted.
struct Sink<'a, W: Write> {
    out: &'a mut W,
    buffer: Vec<u8>,
    bytes: u64,
}

/// Large enough that a write's own cost doesn't count.
const BUFFER_BYTES: usize = 1 << 16;

impl<'a, W: Write> Sink<'a, W> {
    fn new(out: &'a mut W) -> Self {
        Self { out, buffer: Vec::with_capacity(BUFFER_BYTES), bytes: 0 }
    }

    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.flush()?;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.write_all(&self.buffer)?;
        self.bytes += wide(self.buffer.len());
        self.buffer.clear();
        Ok(())
    }
}

/// From ISO 8859-1 to a page.
struct Page([u8; 256]);

impl Page {
    fn new(encoding: Encoding) -> Self {
        let mut page = [0; 256];
        for (character, byte) in (0..=u8::MAX).zip(&mut page) {
            *byte = encoding.byte(character);
        }
        Self(page)
    }

    fn encode(&self, text: &mut [u8]) {
        for byte in text {
            *byte = self.0[usize::from(*byte)];
        }
    }
}

/// Writes a number into a field, right-aligned, with zeros before it; its low digits, where the
/// field is too narrow.
fn digits(field: &mut [u8], mut value: u64) {
    for digit in field.iter_mut().rev() {
        *digit = b'0' + u8::try_from(value % 10).unwrap_or_default();
        value /= 10;
    }
}

/// YYMMDD of a date, in digits.
fn yymmdd(date: Date) -> String {
    date.to_string().chars().filter(char::is_ascii_digit).skip(2).collect()
}

fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

const NAMES: &[&str] = &[
    "ANA SOUZA",
    "BRUNO LIMA",
    "CARLA DIAS",
    "DIEGO ROCHA",
    "ELISA PRADO",
    "FABIO NUNES",
    "GILDA REIS",
    "HUGO MOTA",
    "IRIS CAMPOS",
    "JOAO ALVES",
    "KARINA LOPES",
    "LUIS BARROS",
];

const SHOPS: &[(&str, &str)] = &[
    ("PADARIA CENTRAL", "5462"),
    ("MERCADO DO BAIRRO", "5411"),
    ("POSTO NORTE", "5541"),
    ("LIVRARIA DA PRACA", "5942"),
    ("FARMACIA SUL", "5912"),
    ("CAFE DA ESQUINA", "5814"),
    ("HOTEL DO LAGO", "7011"),
    ("LOJA DE FERRAGENS", "5251"),
];
