//! EBCDIC pages by table, and text of one byte a character; UTF-8 where cells are separated.
//!
//! Every page but UTF-8 maps its 256 bytes one to one onto ISO 8859-1, so a translated record is as
//! long as it was, and columns stay where they are. The EBCDIC pages differ at a dozen bytes only,
//! so they are written as differences from the first.
//!
//! The euro sign of cp1140 is the one character that ISO 8859-1 has not. Translated, it stands
//! where ISO 8859-15 has it, at A4, and whoever makes text of it knows the page: see
//! [`Encoding::character`].

use super::Encoding;

type Page = [u8; 256];

impl Encoding {
    /// True for the EBCDIC pages.
    pub fn is_ebcdic(self) -> bool {
        self.page().is_some()
    }

    /// The table from this page to ISO 8859-1; none where the bytes are that already.
    pub(crate) fn page(self) -> Option<&'static Page> {
        match self {
            Self::Ascii | Self::Latin1 | Self::Utf8 => None,
            // The same bytes: what A4 is, is another character.
            Self::Cp037 | Self::Cp1140 => Some(&CP037),
            Self::Cp500 => Some(&CP500),
            Self::Cp1047 => Some(&CP1047),
        }
    }

    /// The character that this page has for a byte. Of ASCII, what is beyond its 128 bytes is that
    /// of ISO 8859-1.
    pub fn character(self, byte: u8) -> char {
        let translated = self.page().and_then(|page| page.get(usize::from(byte))).copied();
        self.shown(translated.unwrap_or(byte))
    }

    /// The character of a translated byte.
    fn shown(self, character: u8) -> char {
        match (self, character) {
            (Self::Cp1140, EURO) => '€',
            _ => char::from(character),
        }
    }

    /// The byte that this page has for an ISO 8859-1 character; every page has each.
    pub(crate) fn byte(self, character: u8) -> u8 {
        let Some(page) = self.page() else { return character };
        let at = page.iter().position(|known| *known == character).unwrap_or_default();
        u8::try_from(at).unwrap_or_default()
    }

    /// True where the page has this character and it is no control, so that it may be part of text.
    pub(crate) fn is_text(self, character: u8) -> bool {
        matches!(character, 0x20..=0x7e) || (character >= 0xa0 && self != Self::Ascii)
    }

    /// True where all of it is text, and none of it would become a question mark.
    pub(crate) fn is_all_text(self, text: &[u8]) -> bool {
        match (self, std::str::from_utf8(text)) {
            (Self::Utf8, Ok(text)) => !text.chars().any(is_unseen),
            (Self::Utf8, Err(_)) => false,
            _ => text.iter().all(|byte| self.is_text(*byte)),
        }
    }

    /// Adds text to a string: in UTF-8 where that is the page, in ISO 8859-1 else. What is no text
    /// becomes a question mark.
    pub(crate) fn push_text(self, into: &mut String, text: &[u8]) {
        match std::str::from_utf8(text) {
            Ok(plain) if text.iter().all(|byte| matches!(byte, 0x20..=0x7e)) => {
                into.push_str(plain)
            }
            _ if self == Self::Utf8 => text.utf8_chunks().for_each(|chunk| {
                let shown = |letter: char| if is_unseen(letter) { '?' } else { letter };
                into.extend(chunk.valid().chars().map(shown));
                into.extend((!chunk.invalid().is_empty()).then_some('?'));
            }),
            _ => into.extend(
                text.iter().map(|byte| if self.is_text(*byte) { self.shown(*byte) } else { '?' }),
            ),
        }
    }

    /// Adds text that anybody may have written anything into: as [`Encoding::push_text`] does, but
    /// of a number that may be one of an account only the last four digits are shown.
    pub(crate) fn push_free_text(self, into: &mut String, text: &[u8]) {
        let from = into.len();
        let mut rest = text;
        while let Some((before, number, behind)) = self.long_number(rest) {
            self.push_text(into, before);
            into.push_str("****");
            let digits = || number.iter().filter(|byte| byte.is_ascii_digit());
            let hidden = digits().count().saturating_sub(4);
            into.extend(digits().skip(hidden).copied().map(char::from));
            rest = behind;
        }
        self.push_text(into, rest);
        if self == Self::Utf8 && has_other_digits(into.get(from..).unwrap_or_default()) {
            let pushed = into.split_off(from);
            into.extend(
                pushed.chars().map(|letter| if is_other_digit(letter) { '*' } else { letter }),
            );
        }
    }

    /// The first number of so many digits, with at most one blank, hyphen or the like between each
    /// two: what is before it, it, and what is behind it.
    fn long_number(self, text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
        let mut at = 0_usize;
        loop {
            let rest = text.get(at..)?;
            let from = at.saturating_add(rest.iter().position(u8::is_ascii_digit)?);
            let (mut to, mut next, mut digits) = (from, from, 0_usize);
            while let Some(byte) = text.get(next) {
                if byte.is_ascii_digit() {
                    next = next.saturating_add(1);
                    to = next;
                    digits = digits.saturating_add(1);
                } else if next == to
                    && let Some(gap) = self.gap(text.get(next..)?)
                {
                    next = next.saturating_add(gap);
                } else {
                    break;
                }
            }
            if digits >= NUMBER_DIGITS_MIN {
                return Some((text.get(..from)?, text.get(from..to)?, text.get(to..)?));
            }
            at = to;
        }
    }

    /// How long a blank, a hyphen or the like is that text begins with, which may stand between
    /// digits of one number.
    fn gap(self, text: &[u8]) -> Option<usize> {
        match (self, text.first()?) {
            (_, b' ' | b'-') => Some(1),
            (Self::Utf8, 0x80..) => {
                let letter = text.utf8_chunks().next()?.valid().chars().next()?;
                (!letter.is_alphanumeric()).then(|| letter.len_utf8())
            }
            // A blank that no line ends at, and a hyphen where one may.
            (_, 0xa0 | 0xad) => Some(1),
            _ => None,
        }
    }
}

/// Where the euro sign of cp1140 is translated to.
const EURO: u8 = 0xa4;

/// So many digits may be the number of an account; fewer are a date, a time, a shop's own number.
const NUMBER_DIGITS_MIN: usize = 9;

/// A digit of another script, such as those of full width.
fn is_other_digit(letter: char) -> bool {
    !letter.is_ascii() && letter.is_numeric()
}

/// True where digits of other scripts are there, and with them as many as an account's number has.
fn has_other_digits(text: &str) -> bool {
    !text.is_ascii()
        && text.chars().any(is_other_digit)
        && text.chars().filter(|letter| letter.is_numeric()).count() >= NUMBER_DIGITS_MIN
}

/// Controls, and what turns the direction of writing: neither is text.
fn is_unseen(letter: char) -> bool {
    let turns = ['\u{200e}'..='\u{200f}', '\u{202a}'..='\u{202e}', '\u{2066}'..='\u{2069}'];
    letter.is_control() || turns.iter().any(|range| range.contains(&letter))
}

/// EBCDIC of the United States, Canada, Brazil and Portugal, in rows of sixteen.
#[rustfmt::skip]
const CP037: Page = [
    0x00, 0x01, 0x02, 0x03, 0x9c, 0x09, 0x86, 0x7f, 0x97, 0x8d, 0x8e, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f,
    0x10, 0x11, 0x12, 0x13, 0x9d, 0x85, 0x08, 0x87, 0x18, 0x19, 0x92, 0x8f, 0x1c, 0x1d, 0x1e, 0x1f,
    0x80, 0x81, 0x82, 0x83, 0x84, 0x0a, 0x17, 0x1b, 0x88, 0x89, 0x8a, 0x8b, 0x8c, 0x05, 0x06, 0x07,
    0x90, 0x91, 0x16, 0x93, 0x94, 0x95, 0x96, 0x04, 0x98, 0x99, 0x9a, 0x9b, 0x14, 0x15, 0x9e, 0x1a,
    0x20, 0xa0, 0xe2, 0xe4, 0xe0, 0xe1, 0xe3, 0xe5, 0xe7, 0xf1, 0xa2, 0x2e, 0x3c, 0x28, 0x2b, 0x7c,
    0x26, 0xe9, 0xea, 0xeb, 0xe8, 0xed, 0xee, 0xef, 0xec, 0xdf, 0x21, 0x24, 0x2a, 0x29, 0x3b, 0xac,
    0x2d, 0x2f, 0xc2, 0xc4, 0xc0, 0xc1, 0xc3, 0xc5, 0xc7, 0xd1, 0xa6, 0x2c, 0x25, 0x5f, 0x3e, 0x3f,
    0xf8, 0xc9, 0xca, 0xcb, 0xc8, 0xcd, 0xce, 0xcf, 0xcc, 0x60, 0x3a, 0x23, 0x40, 0x27, 0x3d, 0x22,
    0xd8, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0xab, 0xbb, 0xf0, 0xfd, 0xfe, 0xb1,
    0xb0, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f, 0x70, 0x71, 0x72, 0xaa, 0xba, 0xe6, 0xb8, 0xc6, 0xa4,
    0xb5, 0x7e, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0xa1, 0xbf, 0xd0, 0xdd, 0xde, 0xae,
    0x5e, 0xa3, 0xa5, 0xb7, 0xa9, 0xa7, 0xb6, 0xbc, 0xbd, 0xbe, 0x5b, 0x5d, 0xaf, 0xa8, 0xb4, 0xd7,
    0x7b, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0xad, 0xf4, 0xf6, 0xf2, 0xf3, 0xf5,
    0x7d, 0x4a, 0x4b, 0x4c, 0x4d, 0x4e, 0x4f, 0x50, 0x51, 0x52, 0xb9, 0xfb, 0xfc, 0xf9, 0xfa, 0xff,
    0x5c, 0xf7, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0xb2, 0xd4, 0xd6, 0xd2, 0xd3, 0xd5,
    0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0xb3, 0xdb, 0xdc, 0xd9, 0xda, 0x9f,
];

const CP500: Page = differing(&[
    (0x4a, b'['),
    (0x4f, b'!'),
    (0x5a, b']'),
    (0x5f, b'^'),
    (0xb0, 0xa2),
    (0xba, 0xac),
    (0xbb, b'|'),
]);

const CP1047: Page = differing(&[
    (0x15, b'\n'),
    (0x25, 0x85),
    (0x5f, b'^'),
    (0xad, b'['),
    (0xb0, 0xac),
    (0xba, 0xdd),
    (0xbb, 0xa8),
    (0xbd, b']'),
]);

/// CP037 with these bytes mapped otherwise; each page stays one to one.
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    reason = "evaluated while compiling, where a mistake is an error"
)]
const fn differing(differences: &[(u8, u8)]) -> Page {
    let mut page = CP037;
    let mut at = 0;
    while at < differences.len() {
        let (byte, character) = differences[at];
        page[byte as usize] = character;
        at += 1;
    }
    let mut seen = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        assert!(!seen[page[byte] as usize], "two bytes of a page are the same character");
        seen[page[byte] as usize] = true;
        byte += 1;
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_differ_at_eleven_bytes_only() {
        let differing: Vec<usize> = (0..256)
            .filter(|byte| CP037[*byte] != CP500[*byte] || CP037[*byte] != CP1047[*byte])
            .collect();
        let expected = [0x15, 0x25, 0x4a, 0x4f, 0x5a, 0x5f, 0xad, 0xb0, 0xba, 0xbb, 0xbd];
        assert_eq!(differing, expected);
    }

    #[test]
    fn digits_letters_and_the_backslash_are_where_the_pages_have_them() {
        for encoding in [Encoding::Cp037, Encoding::Cp500, Encoding::Cp1140, Encoding::Cp1047] {
            let page = encoding.page().unwrap();
            assert_eq!([page[0xf0], page[0xf9], page[0xc1], page[0xe9]], *b"09AZ");
            assert_eq!([page[0x81], page[0xa9], page[0x40], page[0xe0]], *b"az \\");
            for character in 0..=255 {
                assert_eq!(page[usize::from(encoding.byte(character))], character);
            }
        }
    }

    #[test]
    fn what_is_no_text_becomes_a_question_mark() {
        let shown = |encoding: Encoding, text: &[u8]| {
            let mut into = String::new();
            encoding.push_text(&mut into, text);
            into
        };
        assert_eq!(shown(Encoding::Latin1, b"S\xc3O\n"), "SÃO?");
        assert_eq!(shown(Encoding::Ascii, b"S\xc3O\n"), "S?O?");
        assert_eq!(shown(Encoding::Utf8, "Łódź\t5 €".as_bytes()), "Łódź?5 €");
        assert_eq!(shown(Encoding::Utf8, b"S\xc3O, \xe2\x82"), "S?O, ?");
        assert_eq!(shown(Encoding::Utf8, "a\u{202e}b".as_bytes()), "a?b");
        assert_eq!(shown(Encoding::Cp037, b"5 \xa4"), "5 ¤");
        assert_eq!(shown(Encoding::Cp1140, b"5 \xa4"), "5 €");
    }

    #[test]
    fn of_a_number_in_free_text_four_digits_are_shown() {
        for (text, expected) in [
            ("PAY*4111111111111111", "PAY*****1111"),
            ("4111 1111 1111 1111 SHOP", "****1111 SHOP"),
            ("A 4111-1111-1111-1111-B 123456789", "A ****1111-B ****6789"),
            ("LOJA 12345678", "LOJA 12345678"),
            ("1234  56789", "1234  56789"),
            ("2026-07-22", "2026-07-22"),
            ("9", "9"),
            ("", ""),
        ] {
            for page in [Encoding::Latin1, Encoding::Utf8] {
                let mut into = String::new();
                page.push_free_text(&mut into, text.as_bytes());
                assert_eq!(into, expected);
            }
        }
        for gap in ["\u{a0}", "\u{202f}", "\u{2011}", "–", "·"] {
            let text = ["4111"; 4].join(gap);
            let mut into = String::new();
            Encoding::Utf8.push_free_text(&mut into, text.as_bytes());
            assert_eq!(into, "****4111", "{gap:?}");
        }
        for (text, expected) in [
            ("４１１１１１１１１１１１１１１１ 東京", "**************** 東京"),
            ("4111１１１１1111", "4111****1111"),
            ("部屋１２ 2026", "部屋１２ 2026"),
        ] {
            let mut into = String::from("１２３４５６７８９ ");
            Encoding::Utf8.push_free_text(&mut into, text.as_bytes());
            assert_eq!(into, format!("１２３４５６７８９ {expected}"));
        }
        let mut into = String::new();
        Encoding::Latin1.push_free_text(&mut into, b"4111\xa01111\xad1111 1111, \xa01");
        assert_eq!(into, "****1111, \u{a0}1");
    }
}
