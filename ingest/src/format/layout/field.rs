//! Fields: what stands in them, as text, as a number, or as a date.

use schemas::Date;

use super::date::{self, Moment};
use super::model::{self, Blank, Field, Form, Scale};
use crate::format::Encoding;
use crate::format::columns::{masked, shown};
use crate::format::fault::Fault;
use crate::format::number::{self, Sign, Written};

/// A field and what stands in it: characters in ISO 8859-1, or the content's own bytes where the
/// field is raw.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell<'a> {
    pub(super) field: &'a Field,
    pub(super) bytes: &'a [u8],
}

/// A number: so many units of the last of `scale` digits behind the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number {
    pub(super) units: i64,
    /// None where the number is of minor units of a currency, whatever their scale.
    pub(super) scale: Option<u8>,
}

impl Number {
    /// The same number at another scale; none where that isn't exact, or doesn't fit.
    pub(super) fn at(self, scale: u8) -> Option<i64> {
        let own = self.scale.unwrap_or(scale);
        let power = |digits: u8| 10_i64.checked_pow(u32::from(digits));
        if own <= scale {
            return self.units.checked_mul(power(scale.checked_sub(own)?)?);
        }
        let divisor = power(own.checked_sub(scale)?)?;
        (self.units.checked_rem(divisor)? == 0).then(|| self.units.checked_div(divisor)).flatten()
    }
}

impl<'a> Cell<'a> {
    /// The text, without what its layout trims.
    pub(super) fn text(&self) -> &'a [u8] {
        let trim = self.field.trim;
        let mut text = self.bytes;
        while let (Some(first), Some((byte, rest))) = (trim.leading, text.split_first())
            && *byte == first
        {
            text = rest;
        }
        while let (Some(last), Some((byte, rest))) = (trim.trailing, text.split_last())
            && *byte == last
        {
            text = rest;
        }
        text
    }

    /// What tests compare: without the blanks around it.
    pub(super) fn word(&self) -> &'a [u8] {
        self.bytes.trim_ascii()
    }

    /// True where the same stands in both: the same number, or the same text without what their
    /// layout trims.
    ///
    /// # Errors
    ///
    /// Where one is a number by its layout, and none such stands there.
    pub(super) fn is_same(&self, other: &Cell<'_>) -> Result<bool, Fault> {
        if !matches!(self.field.form, Form::Number(_)) {
            return Ok(self.text().trim_ascii() == other.text().trim_ascii());
        }
        let units = |cell: &Cell<'_>| Ok(cell.number()?.map(|number| number.units));
        Ok(units(self)? == units(other)?)
    }

    /// True where something stands in it that a text can tell.
    pub(super) fn is_there(&self) -> bool {
        self.field.is_raw() || !self.is_blank()
    }

    /// True where nothing stands in it. A raw number has no way to say so but its layout's.
    fn is_blank(&self) -> bool {
        let zeros_too = matches!(self.field.form, Form::Date(_));
        let is_nothing = |byte: &u8| *byte == b' ' || (zeros_too && *byte == b'0');
        if self.field.is_raw() {
            // Blanks of either page. A mix of them and of zeros is digits without a sign.
            let is_filled = |blank| self.bytes.iter().all(|byte| *byte == blank);
            return self.field.blank != Blank::Reject && (is_filled(0x20) || is_filled(0x40));
        }
        self.bytes.iter().all(is_nothing)
    }

    /// The number; none where it is blank, and the layout lets it be so.
    ///
    /// # Errors
    ///
    /// Where it is no number in the form that the layout gives it.
    #[inline]
    pub(super) fn number(&self) -> Result<Option<Number>, Fault> {
        let form = match &self.field.form {
            Form::Number(form) => *form,
            Form::Digits => DIGITS,
            Form::Text | Form::Date(_) => {
                return Err(self.fault("not_a_number", "a field that is a number"));
            }
        };
        let read = number::read(form.written, self.bytes);
        match read {
            Ok(read) => {
                let written = Number { units: read.units, scale: Some(read.scale) };
                match (form.scale, form.written) {
                    // The point is written, so the digits behind it may be more or fewer.
                    (Scale::Fixed(scale), Written::Decimal { .. }) => match written.at(scale) {
                        Some(units) => Ok(Some(Number { units, scale: Some(scale) })),
                        None => {
                            let expected = format!("at most {scale} digits behind the point");
                            Err(Fault::new("number_scale", self.field.name, expected, "more"))
                        }
                    },
                    (Scale::Fixed(scale), _) => {
                        Ok(Some(Number { units: read.units, scale: Some(scale) }))
                    }
                    (Scale::OfCurrency, _) => Ok(Some(Number { units: read.units, scale: None })),
                    (Scale::AsWritten, _) => Ok(Some(written)),
                }
            }
            Err(_) if self.is_blank() && self.field.blank == Blank::Zero => {
                Ok(Some(Number { units: 0, scale: None }))
            }
            Err(_) if self.is_blank() && self.field.blank == Blank::None => Ok(None),
            Err(error) => {
                let found = if self.field.show { self.found() } else { error.found().to_owned() };
                Err(Fault::new(error.reason(), self.field.name, error.expected(), found))
            }
        }
    }

    /// The date, the time, or both; none where it is blank, and the layout lets it be so.
    ///
    /// # Errors
    ///
    /// Where the calendar or the clock has none such.
    pub(super) fn moment(&self, near: Option<Date>) -> Result<Option<Moment>, Fault> {
        let Form::Date(form) = &self.field.form else {
            return Err(self.fault("not_a_date", "a field that is a date"));
        };
        if let Some(moment) = date::read(form, self.bytes, near) {
            return Ok(Some(moment));
        }
        if self.is_blank() && self.field.blank != Blank::Reject {
            return Ok(None);
        }
        Err(self.fault("not_a_date", format!("a date or time as {}", date::pattern(form))))
    }

    /// Adds what stands in the field to a text. Of a number the digits are added, without zeros
    /// before them. What is free text shows no number of an account, unless `in_full`.
    ///
    /// # Errors
    ///
    /// Where it is not what the layout says that it is, or is blank and must not be.
    pub(super) fn push(
        &self,
        into: &mut String,
        encoding: Encoding,
        near: Option<Date>,
        in_full: bool,
    ) -> Result<(), Fault> {
        match &self.field.form {
            Form::Text | Form::Digits => {
                let text = self.text();
                if text.is_empty() && self.field.blank == Blank::Reject {
                    return Err(self.fault("missing", "a text"));
                }
                let is_code = matches!(self.field.form, Form::Digits);
                if is_code && !text.iter().all(u8::is_ascii_digit) {
                    return Err(self.fault("not_digits", "digits"));
                }
                // Two accounts whose letters nobody can read would be one.
                if in_full && !encoding.is_all_text(text) {
                    let expected = format!("characters of {encoding}");
                    return Err(self.fault("not_text", expected));
                }
                if in_full || self.field.show {
                    encoding.push_text(into, text);
                } else {
                    encoding.push_free_text(into, text);
                }
            }
            Form::Number(_) => {
                if let Some(number) = self.number()? {
                    let from = into.len();
                    push_number(into, number);
                    let is_long = into.len().saturating_sub(from) >= LONG;
                    if is_long && !in_full && !self.field.show {
                        let digits = into.split_off(from);
                        encoding.push_free_text(into, digits.as_bytes());
                    }
                }
            }
            Form::Date(_) => {
                if let Some(moment) = self.moment(near)? {
                    use std::fmt::Write as _;
                    // Writing to a string can't fail.
                    let _ = write!(into, "{moment}");
                }
            }
        }
        Ok(())
    }

    pub(super) fn fault(&self, reason: &'static str, expected: impl Into<String>) -> Fault {
        Fault::new(reason, self.field.name, expected, self.found())
    }

    /// What stands here, so that it can be told: codes and dates as they are; all else, and what
    /// accounts are made of, masked.
    pub(super) fn found(&self) -> String {
        if self.field.is_raw() {
            return format!("{} bytes that are none", self.bytes.len());
        }
        let is_short = self.bytes.len() < LONG;
        match self.field.form {
            Form::Date(ref form) if date::is_shown(form, self.bytes) => {
                self.bytes.iter().copied().map(char::from).collect()
            }
            Form::Date(_) if is_short => shown(self.bytes),
            Form::Digits if is_short && !self.field.is_account => shown(self.bytes),
            _ if self.field.show => shown(self.bytes),
            _ => masked(self.bytes),
        }
    }
}

/// How digits that are a code are counted by.
const DIGITS: model::Number =
    model::Number { written: Written::Display(Sign::None), scale: Scale::Fixed(0) };

/// So many digits may be the number of an account.
pub(super) const LONG: usize = 9;

/// A number in decimal digits, with its point.
fn push_number(into: &mut String, number: Number) {
    use std::fmt::Write as _;
    let scale = usize::from(number.scale.unwrap_or_default());
    let power = 10_u64.checked_pow(u32::from(number.scale.unwrap_or_default()));
    let units = number.units.unsigned_abs();
    let sign = if number.units < 0 { "-" } else { "" };
    // Writing to a string can't fail.
    let _ = match power {
        Some(power) if scale > 0 => {
            let whole = units.checked_div(power).unwrap_or_default();
            let part = units.checked_rem(power).unwrap_or_default();
            write!(into, "{sign}{whole}.{part:0scale$}")
        }
        _ => write!(into, "{sign}{units}"),
    };
}
