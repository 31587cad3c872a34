//! Data elements: which there are, how long they are, and where they stand in a message.

use crate::format::columns::{masked, number};
use crate::format::fault::Fault;

/// The MTI and both bitmaps.
pub(super) const HEAD: usize = 20;

/// How long an element is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// Always this long.
    Fixed(usize),
    /// Two digits before it say how long it is, this at most.
    Ll(usize),
    /// Three digits before it say how long it is, this at most.
    Lll(usize),
}

/// A data element.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element {
    /// Its bit, 2 to 127.
    pub(super) bit: u8,
    /// How long it is.
    pub(super) length: Length,
    /// Its number and name.
    pub(super) name: &'static str,
}

const fn element(bit: u8, length: Length, name: &'static str) -> Element {
    Element { bit, length, name }
}

use Length::{Fixed, Ll, Lll};

/// Every data element that clearing messages hold. All are text in the file's page but DE 55.
#[rustfmt::skip]
const ELEMENTS: &[Element] = &[
    element(2,   Ll(19),    "DE 2 primary account number"),
    element(3,   Fixed(6),  "DE 3 processing code"),
    element(4,   Fixed(12), "DE 4 amount, transaction"),
    element(5,   Fixed(12), "DE 5 amount, reconciliation"),
    element(6,   Fixed(12), "DE 6 amount, cardholder billing"),
    element(9,   Fixed(8),  "DE 9 conversion rate, reconciliation"),
    element(10,  Fixed(8),  "DE 10 conversion rate, cardholder billing"),
    element(12,  Fixed(12), "DE 12 date and time, local transaction"),
    element(14,  Fixed(4),  "DE 14 expiration date"),
    element(22,  Fixed(12), "DE 22 point of service data code"),
    element(23,  Fixed(3),  "DE 23 card sequence number"),
    element(24,  Fixed(3),  "DE 24 function code"),
    element(25,  Fixed(4),  "DE 25 message reason code"),
    element(26,  Fixed(4),  "DE 26 card acceptor business code"),
    element(30,  Fixed(24), "DE 30 amounts, original"),
    element(31,  Ll(23),    "DE 31 acquirer reference data"),
    element(32,  Ll(11),    "DE 32 acquiring institution ID code"),
    element(33,  Ll(11),    "DE 33 forwarding institution ID code"),
    element(37,  Fixed(12), "DE 37 retrieval reference number"),
    element(38,  Fixed(6),  "DE 38 approval code"),
    element(40,  Fixed(3),  "DE 40 service code"),
    element(41,  Fixed(8),  "DE 41 card acceptor terminal ID"),
    element(42,  Fixed(15), "DE 42 card acceptor ID code"),
    element(43,  Ll(99),    "DE 43 card acceptor name and location"),
    element(48,  Lll(999),  "DE 48 additional data"),
    element(49,  Fixed(3),  "DE 49 currency code, transaction"),
    element(50,  Fixed(3),  "DE 50 currency code, reconciliation"),
    element(51,  Fixed(3),  "DE 51 currency code, cardholder billing"),
    element(54,  Lll(999),  "DE 54 amounts, additional"),
    element(55,  Lll(999),  "DE 55 ICC system related data"),
    element(62,  Lll(999),  "DE 62 additional data 2"),
    element(63,  Lll(16),   "DE 63 transaction life cycle ID"),
    element(71,  Fixed(8),  "DE 71 message number"),
    element(72,  Lll(999),  "DE 72 data record"),
    element(73,  Fixed(6),  "DE 73 date, action"),
    element(93,  Ll(11),    "DE 93 transaction destination institution ID code"),
    element(94,  Ll(11),    "DE 94 transaction originator institution ID code"),
    element(95,  Ll(10),    "DE 95 card issuer reference data"),
    element(100, Ll(11),    "DE 100 receiving institution ID code"),
    element(105, Lll(999),  "DE 105 multi-use transaction identification data"),
    element(111, Lll(999),  "DE 111 amount, currency conversion assessment"),
    element(123, Lll(999),  "DE 123 additional data 3"),
    element(124, Lll(999),  "DE 124 additional data 4"),
    element(125, Lll(999),  "DE 125 additional data 5"),
    element(127, Lll(999),  "DE 127 network data"),
];

/// The elements by bit: 0 and 1 are none.
static BY_BIT: [Option<Element>; 129] = by_bit();

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    reason = "evaluated while compiling, where a mistake is an error"
)]
const fn by_bit() -> [Option<Element>; 129] {
    let mut by_bit = [None; 129];
    let mut last = 1;
    let mut at = 0;
    while at < ELEMENTS.len() {
        let element = ELEMENTS[at];
        assert!(element.bit > last && element.bit < 128, "bits ascend from 2 to 127");
        by_bit[element.bit as usize] = Some(element);
        last = element.bit;
        at += 1;
    }
    by_bit
}

/// The number and name of an element.
pub(super) fn name(bit: u8) -> &'static str {
    BY_BIT.get(usize::from(bit)).and_then(Option::as_ref).map_or("bitmap", |known| known.name)
}

/// Where a message's elements stand in it. Used again for each message.
#[derive(Clone, Debug)]
pub(super) struct Spans {
    by_bit: Box<[(usize, usize); 129]>,
}

impl Spans {
    pub(super) fn new() -> Self {
        Self { by_bit: Box::new([(0, 0); 129]) }
    }

    /// Finds the elements of a message: `bytes` as they came, `text` translated.
    ///
    /// Elements before the one that can't be found stay known, so that what they add to totals is.
    pub(super) fn find(&mut self, bytes: &[u8], text: &[u8]) -> Result<(), Fault> {
        self.by_bit.fill((0, 0));
        let mti = text.get(..4).unwrap_or_default();
        if number(mti).is_none() {
            return Err(Fault::new("message_type", "MTI", "4 digits", masked(mti)));
        }
        let bitmap = bytes.get(4..HEAD).and_then(|bitmap| <[u8; 16]>::try_from(bitmap).ok());
        let mut bits = bitmap.map(u128::from_be_bytes).unwrap_or_default();
        let mut at = HEAD;
        let mut is_first = true;
        while bits != 0 || is_first {
            let zeros = bits.leading_zeros();
            bits &= !FIRST_BIT.wrapping_shr(zeros);
            let bit = u8::try_from(zeros.saturating_add(1)).unwrap_or(u8::MAX);
            if std::mem::take(&mut is_first) {
                if bit == 1 {
                    continue;
                }
                let found = "none";
                return Err(Fault::new("bitmap", "bitmap", "a secondary bitmap (bit 1)", found));
            }
            let (from, to) = span(bit, text, at)?;
            if let Some(span) = self.by_bit.get_mut(usize::from(bit)) {
                *span = (from, to);
            }
            at = to;
        }
        let left = text.len().saturating_sub(at);
        if left > 0 {
            let found = format!("{left} bytes more");
            return Err(Fault::new("left_over", "message", "an end after the last element", found));
        }
        Ok(())
    }

    /// The bytes of an element; none where the message has it not.
    #[inline]
    pub(super) fn get<'a>(&self, text: &'a [u8], bit: u8) -> Option<&'a [u8]> {
        match self.by_bit.get(usize::from(bit)) {
            Some((0, _)) | None => None,
            Some((from, to)) => text.get(*from..*to),
        }
    }
}

const FIRST_BIT: u128 = 1 << 127;

/// Where the element of this bit stands, from `at` on.
fn span(bit: u8, text: &[u8], at: usize) -> Result<(usize, usize), Fault> {
    let Some(element) = BY_BIT.get(usize::from(bit)).and_then(Option::as_ref) else {
        return Err(Fault::new(
            "unknown_element",
            "bitmap",
            "data elements whose length is known",
            format!("bit {bit}"),
        ));
    };
    let (prefix, length_max) = match element.length {
        Fixed(length) => (0, length),
        Ll(length_max) => (2, length_max),
        Lll(length_max) => (3, length_max),
    };
    let from = at.saturating_add(prefix);
    let length = match element.length {
        Fixed(length) => length,
        Ll(_) | Lll(_) => {
            let digits = text.get(at..from).unwrap_or_default();
            let length = number(digits).and_then(|length| usize::try_from(length).ok());
            match length.filter(|length| *length <= length_max) {
                Some(length) => length,
                None => {
                    let expected = format!("a length of at most {length_max}");
                    let found = match length {
                        Some(length) => length.to_string(),
                        None => masked(digits),
                    };
                    return Err(Fault::new("element_length", element.name, expected, found));
                }
            }
        }
    };
    let to = from.saturating_add(length);
    if to > text.len() {
        return Err(Fault::new(
            "element_cut",
            element.name,
            format!("{length} bytes"),
            format!("{} bytes to the end of the message", text.len().saturating_sub(from)),
        ));
    }
    Ok((from, to))
}
