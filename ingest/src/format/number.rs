//! Numbers, as COBOL and others write them: read, and written.
//!
//! A number is a plain `i64` of the smallest unit that is written. What can't be one is told with
//! what was expected and what was found, masked; never is it a figure. Of a number that doesn't fit
//! 64 bits, that is a fault too.
//!
//! Numbers in characters are given in ISO 8859-1, translated like all text: the characters that
//! EBCDIC has for signed digits are the same on all its pages. Packed and binary numbers are given
//! as they stand in the content, for they are no text; a transfer that translated them destroyed
//! them.
//!
//! # Format
//!
//! The number -123 in three places, or as many bytes as it takes:
//!
//! ```text
//! display, separate sign    -123  123-
//! zoned                     12L (EBCDIC F1 F2 D3)   with a leading sign J23
//! packed (COMP-3)           12 3D
//! binary (COMP)             FF 85
//! decimal text              -1.23  -1,23
//! ```

mod display;
mod zoned;
mod packed;
mod binary;
mod decimal;
#[cfg(test)]
mod tests;

use super::columns::masked;

/// How the digits of a number are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// Characters (COBOL's DISPLAY).
    Display(Sign),
    /// Two digits a byte (COMP-3).
    Packed(PackedSign),
    /// Big-endian (COMP), of 2, 4 or 8 bytes.
    Binary {
        /// True for two's complement.
        is_signed: bool,
    },
    /// Text with a point and perhaps a sign before it, as rows have it.
    Decimal {
        /// The point.
        point: u8,
        /// What may stand between groups of three digits.
        group: Option<u8>,
    },
}

/// Where a number in characters has its sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// It has none.
    None,
    /// In the first digit, punched over it.
    Leading,
    /// In the last digit, punched over it: zoned, as COBOL has it by default.
    Trailing,
    /// A character of its own before the digits.
    LeadingSeparate,
    /// A character of its own behind the digits.
    TrailingSeparate,
}

/// What the last half byte of a packed number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PackedSign {
    /// A sign.
    Signed,
    /// A sign that must not be minus.
    Unsigned,
    /// A digit: the number has no sign at all.
    None,
}

/// A number that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    /// In units of the last digit that is written.
    pub(crate) units: i64,
    /// How many digits are written behind a point; always 0 but in decimal text. Where a layout
    /// implies a point, it knows itself how many are behind that.
    pub(crate) scale: u8,
}

/// Bytes that are no number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NumberError {
    reason: &'static str,
    expected: &'static str,
    found: String,
}

impl NumberError {
    /// A code to count by.
    pub(crate) fn reason(&self) -> &'static str {
        self.reason
    }

    /// What was expected.
    pub(crate) fn expected(&self) -> &'static str {
        self.expected
    }

    /// What was found, masked.
    pub(crate) fn found(&self) -> &str {
        &self.found
    }

    /// No digit where one must be.
    #[cold]
    fn not_digits(expected: &'static str, found: impl Into<String>) -> Self {
        Self { reason: "not_digits", expected, found: found.into() }
    }

    /// No sign where one must be, or one where none must be.
    #[cold]
    fn sign(expected: &'static str, found: impl Into<String>) -> Self {
        Self { reason: "number_sign", expected, found: found.into() }
    }

    #[cold]
    fn too_large(bytes: &[u8]) -> Self {
        Self {
            reason: "number_too_large",
            expected: "a number of 64 bits",
            found: format!("a larger one in {} bytes", bytes.len()),
        }
    }
}

/// Reads a number that takes all of these bytes.
///
/// # Errors
///
/// Where they are none in this form. A blank field or one of low values is never a number, but for
/// low values in binary, or packed without a sign: there they are how zero is written.
#[inline]
pub(crate) fn read(written: Written, bytes: &[u8]) -> Result<Read, NumberError> {
    let whole = |units| Read { units, scale: 0 };
    match written {
        Written::Display(Sign::None) => display::unsigned(bytes).map(whole),
        Written::Display(Sign::Leading) => zoned::leading(bytes).map(whole),
        Written::Display(Sign::Trailing) => zoned::trailing(bytes).map(whole),
        Written::Display(Sign::LeadingSeparate) => display::leading_sign(bytes).map(whole),
        Written::Display(Sign::TrailingSeparate) => display::trailing_sign(bytes).map(whole),
        Written::Packed(sign) => packed::read(sign, bytes).map(whole),
        Written::Binary { is_signed } => binary::read(is_signed, bytes).map(whole),
        Written::Decimal { point, group } => decimal::read(point, group, bytes),
    }
}

/// Adds a number to `into`, in a field of `width` bytes; none where it doesn't fit it, or the form
/// can't express it, and then nothing is added.
///
/// Decimal text has blanks before it in a wider field.
pub(crate) fn write(
    written: Written,
    number: Read,
    width: usize,
    into: &mut Vec<u8>,
) -> Option<()> {
    let from = into.len();
    into.resize(from.checked_add(width)?, b'0');
    let field = into.get_mut(from..)?;
    let Read { units, scale } = number;
    let done = match written {
        Written::Display(Sign::None) => display::write_unsigned(field, units),
        Written::Display(Sign::Leading) => zoned::write_leading(field, units),
        Written::Display(Sign::Trailing) => zoned::write_trailing(field, units),
        Written::Display(Sign::LeadingSeparate) => display::write_leading_sign(field, units),
        Written::Display(Sign::TrailingSeparate) => display::write_trailing_sign(field, units),
        Written::Packed(sign) => packed::write(sign, field, units),
        Written::Binary { is_signed } => binary::write(is_signed, field, units),
        Written::Decimal { point, group } => decimal::write(point, group, field, units, scale),
    };
    if done.is_none() {
        into.truncate(from);
    }
    done
}

/// The number of a sign and an absolute value; none where it doesn't fit.
#[inline]
fn signed(is_negative: bool, value: u64) -> Option<i64> {
    if is_negative { 0_i64.checked_sub_unsigned(value) } else { i64::try_from(value).ok() }
}

/// True where all the bytes are a blank's, of EBCDIC or ASCII, or low values.
fn is_filler(bytes: &[u8]) -> bool {
    [0x40, b' ', 0x00].iter().any(|filler| bytes.iter().all(|byte| byte == filler))
}

/// What stands in a number's field, in words that don't show it.
#[cold]
fn described(bytes: &[u8]) -> String {
    match bytes.first() {
        None => "no bytes".to_owned(),
        Some(0x00) if is_filler(bytes) => "low values".to_owned(),
        Some(_) if is_filler(bytes) => "a blank field".to_owned(),
        Some(_) => masked(bytes),
    }
}
