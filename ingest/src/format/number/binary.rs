//! Binary numbers (COMP): big-endian, of 2, 4 or 8 bytes.

use super::{NumberError, described};

/// Reads a binary number.
///
/// Low values are zero. Blanks are a fault where they are more than the number's digits can count
/// to: those of EBCDIC always (16,448 in two bytes, whose digits end at 9,999), those of ASCII from
/// four bytes on (8,224 in two bytes may be a number).
pub(super) fn read(is_signed: bool, bytes: &[u8]) -> Result<i64, NumberError> {
    let is_all = |blank: u8| bytes.iter().all(|byte| *byte == blank);
    if is_all(0x40) || (bytes.len() > 2 && is_all(b' ')) {
        return Err(NumberError::not_digits("a binary number", described(bytes)));
    }
    let value = match (is_signed, bytes) {
        (true, [a, b]) => i64::from(i16::from_be_bytes([*a, *b])),
        (false, [a, b]) => i64::from(u16::from_be_bytes([*a, *b])),
        (true, [a, b, c, d]) => i64::from(i32::from_be_bytes([*a, *b, *c, *d])),
        (false, [a, b, c, d]) => i64::from(u32::from_be_bytes([*a, *b, *c, *d])),
        _ => {
            let Ok(bytes) = <[u8; 8]>::try_from(bytes) else {
                let found = format!("{} bytes", bytes.len());
                return Err(NumberError::not_digits("2, 4 or 8 bytes", found));
            };
            let value = i64::from_be_bytes(bytes);
            if !is_signed && value < 0 {
                return Err(NumberError::too_large(&bytes));
            }
            value
        }
    };
    Ok(value)
}

/// Fills a field of 2, 4 or 8 bytes.
pub(super) fn write(is_signed: bool, field: &mut [u8], units: i64) -> Option<()> {
    match (is_signed, field.len()) {
        (true, 2) => field.copy_from_slice(&i16::try_from(units).ok()?.to_be_bytes()),
        (false, 2) => field.copy_from_slice(&u16::try_from(units).ok()?.to_be_bytes()),
        (true, 4) => field.copy_from_slice(&i32::try_from(units).ok()?.to_be_bytes()),
        (false, 4) => field.copy_from_slice(&u32::try_from(units).ok()?.to_be_bytes()),
        (true, 8) => field.copy_from_slice(&units.to_be_bytes()),
        (false, 8) => field.copy_from_slice(&u64::try_from(units).ok()?.to_be_bytes()),
        _ => return None,
    }
    Some(())
}
