//! Layouts of fixed columns, written as the rule books print them.

/// A field of a line: its name, and its first and last column from 1, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    /// As the rule book calls it.
    pub(crate) name: &'static str,
    /// First column, from 1.
    pub(crate) first: usize,
    /// Last column, inclusive.
    pub(crate) last: usize,
}

impl Column {
    /// The field's bytes; none of them where the line is shorter, which a padded line never is.
    #[inline]
    pub(crate) fn of<'a>(&self, line: &'a [u8]) -> &'a [u8] {
        match self.first.checked_sub(1) {
            Some(from) => line.get(from..self.last).unwrap_or_default(),
            None => &[],
        }
    }
}

/// True where the columns follow each other from 1 to `length` without gap or overlap.
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "evaluated while compiling, where a mistake is an error"
)]
pub(crate) const fn contiguous(columns: &[Column], length: usize) -> bool {
    let mut next = 1;
    let mut at = 0;
    while at < columns.len() {
        if columns[at].first != next || columns[at].last < columns[at].first {
            return false;
        }
        next = columns[at].last + 1;
        at += 1;
    }
    next == length + 1
}

/// Declares the layout of a line: a constant a field, `ALL` of them, and the proof that they are
/// contiguous and add up to the line's length.
macro_rules! layout {
    (
        $(#[$outer:meta])*
        $name:ident $length:literal {
            $( $field:ident $first:literal - $last:literal $text:literal; )+
        }
    ) => {
        $(#[$outer])*
        pub(crate) mod $name {
            use crate::format::columns::{Column, contiguous};

            $( pub(crate) const $field: Column =
                Column { name: $text, first: $first, last: $last }; )+

            /// Every field, in order.
            pub(crate) const ALL: &[Column] = &[$($field),+];

            const _: () = assert!(contiguous(ALL, $length), "the columns leave a gap or overlap");
        }
    };
}

pub(crate) use layout;

/// The number that these ASCII digits write; none where one is no digit, or it is too large.
#[inline]
pub(crate) fn number(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() {
        return None;
    }
    let mut value: i64 = 0;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(i64::from(digit))?;
    }
    Some(value)
}

/// The text without the blanks around it.
pub(crate) fn trim(text: &[u8]) -> &[u8] {
    let from = text.iter().position(|byte| *byte != b' ').unwrap_or(text.len());
    let text = text.get(from..).unwrap_or_default();
    let to = text.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last.saturating_add(1));
    text.get(..to).unwrap_or_default()
}

/// A code, count or date as it stands, where it has letters and digits only: for fields that bear
/// no number of an account.
pub(crate) fn shown(found: &[u8]) -> String {
    if !found.is_empty() && found.iter().all(u8::is_ascii_alphanumeric) {
        found.iter().copied().map(char::from).collect()
    } else {
        masked(found)
    }
}

/// What stands in a field, so that it can be told without showing it: `11 digits`, `a blank field`,
/// `a letter at position 4`.
pub(crate) fn masked(found: &[u8]) -> String {
    if found.iter().all(|byte| *byte == b' ') {
        return String::from("a blank field");
    }
    match found.iter().position(|byte| !byte.is_ascii_digit()) {
        Some(at) => placed(found, at),
        None => format!("{} digits", found.len()),
    }
}

/// What stands at a place of a field, counted from 0, where no digit does.
pub(crate) fn placed(found: &[u8], at: usize) -> String {
    let what = match found.get(at) {
        Some(byte) if byte.is_ascii_alphabetic() => "a letter",
        Some(b' ') => "a blank",
        Some(0x21..=0x7e) => "a sign",
        _ => "a byte that is no character",
    };
    format!("{what} at position {} of {}", at.saturating_add(1), found.len())
}
