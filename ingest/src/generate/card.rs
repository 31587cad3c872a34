//! Numbers of cards, and references of those who acquire what is paid with them.

use schemas::Date;

use super::digits;

/// The number of the n-th account of an issuer of six digits: sixteen digits, the last one by
/// Luhn's rule.
pub(super) fn number(issuer: &str, account: u64) -> [u8; 16] {
    let mut pan = [b'0'; 16];
    pan[..6].copy_from_slice(issuer.as_bytes());
    digits(&mut pan[6..15], account);
    pan[15] = luhn(&pan[..15]);
    pan
}

/// The check digit behind these digits: every second one from the right, the last among them,
/// counts double, its digits added.
fn luhn(number: &[u8]) -> u8 {
    let mut sum = 0;
    for (place, digit) in number.iter().rev().enumerate() {
        let digit = digit - b'0';
        sum += match (place % 2 == 0, digit) {
            (true, 5..) => digit * 2 - 9,
            (true, _) => digit * 2,
            (false, _) => digit,
        };
    }
    b'0' + (10 - sum % 10) % 10
}

/// An acquirer's reference: mixed use, six digits of its own, YDDD, sequence, check digit.
pub(super) fn reference(acquirer: &str, date: Date, number: u64) -> String {
    let (year, day) = day_of_year(date);
    let reference = format!("0{acquirer}{}{day:03}{number:011}", year % 10);
    let check = char::from(luhn(reference.as_bytes()));
    format!("{reference}{check}")
}

/// The year, and the day of it from 1.
pub(super) fn day_of_year(date: Date) -> (i16, i32) {
    let text = date.to_string();
    let year = text.get(..4).and_then(|year| year.parse::<i16>().ok()).unwrap_or(1970);
    let first = Date::new(year, 1, 1).unwrap_or(date);
    (year, date.days() - first.days() + 1)
}
