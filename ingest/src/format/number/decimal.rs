//! Decimal text: digits, perhaps a sign before them, a point, and groups of three.

use super::display::{sign_of, value};
use super::{NumberError, Read, described, signed};
use crate::format::columns::placed;

/// More digits behind a point are no amount of money.
const SCALE_MAX: usize = 18;

/// The longest text: a sign, as many digits as fit 64 bits with their point, and groups.
const LENGTH_MAX: usize = 40;

/// Reads decimal text; blanks around it don't count.
pub(super) fn read(point: u8, group: Option<u8>, bytes: &[u8]) -> Result<Read, NumberError> {
    let text = bytes.trim_ascii();
    let (is_negative, digits) = match text.split_first() {
        Some((b'-', digits)) => (true, digits),
        Some((b'+', digits)) => (false, digits),
        _ => (false, text),
    };
    let mut parts = digits.splitn(2, |byte| *byte == point);
    let whole = parts.next().unwrap_or_default();
    let part = parts.next();
    // Digits without point and groups: of each at least one, but for those before a point.
    let mut plain = [0_u8; LENGTH_MAX];
    let mut length = 0_usize;
    for digit in ungrouped(whole, group).chain(part.unwrap_or_default()) {
        let Some(place) = plain.get_mut(length) else { return Err(NumberError::too_large(bytes)) };
        *place = *digit;
        length = length.saturating_add(1);
    }
    let is_decimal = part != Some(&[]) && are_groups(whole, group);
    let found = plain.get(..length).filter(|_| is_decimal).and_then(value);
    let Some(value) = found else {
        let expected = match point {
            b',' => "a number with a decimal comma",
            b'.' => "a number with a decimal point",
            _ => "a decimal number",
        };
        return Err(NumberError::not_digits(expected, odd(point, group, text)));
    };
    let scale = part.map_or(0, <[u8]>::len);
    match (signed(is_negative, value?), u8::try_from(scale)) {
        (Some(units), Ok(scale)) if usize::from(scale) <= SCALE_MAX => Ok(Read { units, scale }),
        _ => Err(NumberError::too_large(bytes)),
    }
}

/// The bytes but for those between groups.
fn ungrouped(whole: &[u8], group: Option<u8>) -> impl Iterator<Item = &u8> {
    whole.iter().filter(move |byte| Some(**byte) != group)
}

/// True where there are no groups, or each but the first has three digits, and that one to three.
fn are_groups(whole: &[u8], group: Option<u8>) -> bool {
    let Some(group) = group.filter(|group| whole.contains(group)) else { return true };
    let mut groups = whole.split(|byte| *byte == group);
    let first = groups.next().unwrap_or_default();
    (1..=3).contains(&first.len()) && groups.all(|group| group.len() == 3)
}

/// What of a text makes it no number, in words that don't show it.
#[cold]
fn odd(point: u8, group: Option<u8>, text: &[u8]) -> String {
    if !text.iter().any(u8::is_ascii_digit) {
        return described(text);
    }
    let sign = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let mut is_behind = false;
    for (at, byte) in text.iter().enumerate().skip(sign) {
        let is_point = *byte == point && !is_behind;
        is_behind |= is_point;
        let is_group = Some(*byte) == group && !is_behind;
        if !byte.is_ascii_digit() && !is_point && !is_group {
            return placed(text, at);
        }
    }
    String::from(match text.last() {
        Some(last) if *last == point => "nothing behind the point",
        _ => "groups that are not of three digits",
    })
}

/// Fills a field with decimal text, blanks before it.
pub(super) fn write(
    point: u8,
    group: Option<u8>,
    field: &mut [u8],
    units: i64,
    scale: u8,
) -> Option<()> {
    let scale = usize::from(scale);
    let mut value = units.unsigned_abs();
    let mut written = 0_usize;
    let mut places = field.iter_mut().rev();
    while value > 0 || written <= scale {
        let before_point = written.checked_sub(scale);
        match (before_point, group) {
            (Some(0), _) if scale > 0 => *places.next()? = point,
            (Some(before), Some(group)) if before > 0 && before % 3 == 0 => {
                *places.next()? = group;
            }
            _ => (),
        }
        *places.next()? = b'0'.wrapping_add(u8::try_from(value % 10).ok()?);
        value = value.checked_div(10)?;
        written = written.saturating_add(1);
    }
    if units < 0 {
        *places.next()? = sign_of(units);
    }
    places.for_each(|place| *place = b' ');
    Some(())
}
