//! A field: where it is in a unit, and how it is written there.

use super::FieldRef;
pub(crate) use crate::format::number::{PackedSign, Sign, Written};

/// A field of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    /// Its name.
    pub(crate) name: &'static str,
    /// Where it is.
    pub(crate) place: Place,
    /// How it is written.
    pub(crate) form: Form,
    /// What it is where nothing stands in it.
    pub(crate) blank: Blank,
    /// What is no part of a text at its ends.
    pub(crate) trim: Trim,
    /// True where it may be shown whatever it holds: the layout says that it is no number of an
    /// account.
    pub(crate) show: bool,
    /// True where it is a part of an account's number.
    pub(crate) is_account: bool,
}

impl Field {
    /// True where nothing of what stands in it is shown in full.
    pub(crate) fn is_secret(&self) -> bool {
        self.is_account && !self.show
    }

    /// True where its bytes are read as they stand in the content, not as characters.
    pub(crate) fn is_raw(&self) -> bool {
        matches!(&self.form, Form::Number(number)
            if matches!(number.written, Written::Packed(_) | Written::Binary { .. }))
    }
}

/// Where something stands in a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// From a column to another one, from 1, both inclusive.
    Columns(usize, usize),
    /// In this cell of a row, from 1.
    Cell(usize),
    /// In the cell below this name: an index into [`Layout::columns`].
    Named(usize),
}

/// How a field is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Characters.
    Text,
    /// Digits that are no number: a code.
    Digits,
    /// A number.
    Number(Number),
    /// A date, a time, or both.
    Date(DateForm),
}

/// How a number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number {
    /// In which digits.
    pub(crate) written: Written,
    /// How many of its digits are behind the point.
    pub(crate) scale: Scale,
}

/// How many digits of a number are behind the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// So many.
    Fixed(u8),
    /// As many as the currency of its amount has: the number is of minor units.
    OfCurrency,
    /// As many as are written; of decimal text only.
    AsWritten,
}

/// How a date is written: its parts in order, each as many characters as its variant says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DateForm {
    /// The parts.
    pub(crate) parts: Vec<DatePart>,
    /// The date that one without a whole year is nearest to.
    pub(crate) near: Option<FieldRef>,
    /// True where it is the last one that is not behind that date, a day allowed.
    pub(crate) is_past: bool,
}

/// A part of a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DatePart {
    /// `YYYY`.
    Year,
    /// `YY`: 1970 to 2069, or the one nearest to another date.
    YearOfCentury,
    /// `Y`: the one nearest to another date.
    YearOfDecade,
    /// `MM`.
    Month,
    /// `DD`.
    Day,
    /// `DDD`.
    DayOfYear,
    /// `HH`.
    Hour,
    /// `mm`.
    Minute,
    /// `ss`.
    Second,
    /// This character.
    Literal(u8),
    /// `?`: any character, of no meaning here.
    Any,
}

impl DatePart {
    /// How many characters it is.
    pub(crate) fn width(self) -> usize {
        match self {
            Self::Year => 4,
            Self::DayOfYear => 3,
            Self::YearOfDecade | Self::Literal(_) | Self::Any => 1,
            _ => 2,
        }
    }
}

/// What a field is where nothing stands in it: blanks, or of a date zeros too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blank {
    /// A reject.
    Reject,
    /// None: as if there were no such field.
    None,
    /// Zero; of numbers only.
    Zero,
}

/// What is removed from the ends of a text, as often as it stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trim {
    /// Before it.
    pub(crate) leading: Option<u8>,
    /// Behind it.
    pub(crate) trailing: Option<u8>,
}
