//! Private data subelements: tag, length and value, repeated inside five data elements.

use super::elements::{Spans, name};
use crate::format::columns::{masked, number};
use crate::format::fault::Fault;

/// The elements that hold them, in the order in which they are filled.
const CONTAINERS: [u8; 5] = [48, 62, 123, 124, 125];

/// The tags that are read: the others are stepped over.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Subelements<'a> {
    /// 0023, terminal type.
    pub(super) terminal_type: Option<&'a [u8]>,
    /// 0025, message reversal indicator.
    pub(super) reversal: Option<&'a [u8]>,
    /// 0052, e-commerce security level.
    pub(super) security_level: Option<&'a [u8]>,
    /// 0105, file ID.
    pub(super) file_id: Option<&'a [u8]>,
    /// 0146, amounts of fees.
    pub(super) fees: Option<&'a [u8]>,
    /// 0148, currency exponents.
    pub(super) exponents: Option<&'a [u8]>,
    /// 0165, settlement indicator.
    pub(super) settlement: Option<&'a [u8]>,
    /// 0301, file amount checksum.
    pub(super) checksum: Option<&'a [u8]>,
    /// 0306, file message count.
    pub(super) count: Option<&'a [u8]>,
}

impl<'a> Subelements<'a> {
    /// Finds them in a message.
    pub(super) fn find(spans: &Spans, text: &'a [u8]) -> Result<Self, Fault> {
        let mut found = Self::default();
        for bit in CONTAINERS {
            let Some(mut rest) = spans.get(text, bit) else { continue };
            while let Some((tag, value, behind)) = split(rest, bit)? {
                found.set(tag, value);
                rest = behind;
            }
        }
        Ok(found)
    }

    fn set(&mut self, tag: &[u8], value: &'a [u8]) {
        let slot = match tag {
            b"0023" => &mut self.terminal_type,
            b"0025" => &mut self.reversal,
            b"0052" => &mut self.security_level,
            b"0105" => &mut self.file_id,
            b"0146" => &mut self.fees,
            b"0148" => &mut self.exponents,
            b"0165" => &mut self.settlement,
            b"0301" => &mut self.checksum,
            b"0306" => &mut self.count,
            _ => return,
        };
        *slot = Some(value);
    }

    /// True where the message takes back an earlier one.
    pub(super) fn is_reversal(&self) -> bool {
        self.reversal.is_some_and(|value| value.first() == Some(&b'R'))
    }

    /// The exponent that the message states for a currency, by its numeric code.
    pub(super) fn exponent(&self, currency: &[u8]) -> Option<u8> {
        self.exponents?.chunks_exact(4).find_map(|row| match row.split_at_checked(3) {
            Some((code, [exponent @ b'0'..=b'9'])) if code == currency => {
                exponent.checked_sub(b'0')
            }
            _ => None,
        })
    }
}

/// Tag, value and what is behind them.
type Split<'a> = (&'a [u8], &'a [u8], &'a [u8]);

fn split(rest: &[u8], bit: u8) -> Result<Option<Split<'_>>, Fault> {
    if rest.is_empty() {
        return Ok(None);
    }
    let fault = |found: String| {
        Fault::new("subelement", name(bit), "tags of 4 and lengths of 3 digits", found)
    };
    let Some((head, behind)) = rest.split_at_checked(7) else {
        return Err(fault(format!("{} bytes", rest.len())));
    };
    let (tag, length) = head.split_at_checked(4).unwrap_or_default();
    if number(tag).is_none() {
        return Err(fault(masked(tag)));
    }
    let Some(length) = number(length).and_then(|length| usize::try_from(length).ok()) else {
        return Err(fault(masked(length)));
    };
    match behind.split_at_checked(length) {
        Some((value, behind)) => Ok(Some((tag, value, behind))),
        None => Err(fault(format!("a length of {length} with {} bytes left", behind.len()))),
    }
}
