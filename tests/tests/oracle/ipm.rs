//! Mastercard IPM as the oracle reads it: messages behind their lengths, in blocks or not.

use std::collections::BTreeMap;

use super::books::Direction;
use super::{Reading, number};

/// How long the data elements are: a number is fixed, a negative one is that many digits of length
/// before it.
const ELEMENTS: &[(usize, i32)] = &[
    (2, -2),
    (3, 6),
    (4, 12),
    (5, 12),
    (6, 12),
    (9, 8),
    (10, 8),
    (12, 12),
    (14, 4),
    (22, 12),
    (23, 3),
    (24, 3),
    (25, 4),
    (26, 4),
    (30, 24),
    (31, -2),
    (32, -2),
    (33, -2),
    (37, 12),
    (38, 6),
    (40, 3),
    (41, 8),
    (42, 15),
    (43, -2),
    (48, -3),
    (49, 3),
    (50, 3),
    (51, 3),
    (54, -3),
    (55, -3),
    (62, -3),
    (63, -3),
    (71, 8),
    (72, -3),
    (73, 6),
    (93, -2),
    (94, -2),
    (95, -2),
    (100, -2),
    (105, -3),
    (111, -3),
    (123, -3),
    (124, -3),
    (125, -3),
    (127, -3),
];

/// Currencies by number, as far as tests use them.
const CURRENCIES: &[(&str, &str)] = &[
    ("032", "ARS"),
    ("036", "AUD"),
    ("048", "BHD"),
    ("124", "CAD"),
    ("152", "CLP"),
    ("170", "COP"),
    ("392", "JPY"),
    ("484", "MXN"),
    ("604", "PEN"),
    ("756", "CHF"),
    ("826", "GBP"),
    ("840", "USD"),
    ("858", "UYU"),
    ("978", "EUR"),
    ("986", "BRL"),
];

/// The elements of one message by number, and its type under 0.
type Message = BTreeMap<usize, String>;

/// Reads a whole file.
pub(crate) fn read(content: &[u8]) -> Reading {
    let mut reading = Reading::default();
    let (mut amounts, mut messages, mut header) = (0, 0, String::new());
    for bytes in cut(&unblocked(content)) {
        messages += 1;
        let Some(message) = elements(&bytes) else {
            reading.bad.push(reading.records);
            reading.records += 1;
            continue;
        };
        let subelements = subelements(&message);
        let text = |element: usize| message.get(&element).map_or("", String::as_str);
        let private = |tag: &str| subelements.get(tag).map_or("", String::as_str);
        reading.name(text(2));
        amounts += number(text(4)).unwrap_or_default();
        match (text(0), text(24)) {
            ("1644", "697") => header = private("0105").to_owned(),
            ("1644", "695") => {
                let same = i128::from(header == private("0105") && !header.is_empty());
                reading.state("file identifier", Some(1), same);
                reading.state("messages", number(private("0306")), messages);
                reading.state("amounts", number(private("0301")), amounts);
                (amounts, messages) = (0, 0);
            }
            _ => {
                if post(&message, private("0025"), &mut reading).is_none() {
                    reading.bad.push(reading.records);
                }
                reading.records += 1;
            }
        }
    }
    reading
}

/// Posts what a message says; none where it says what can't be.
fn post(message: &Message, reversal: &str, reading: &mut Reading) -> Option<()> {
    let text = |element: usize| message.get(&element).map_or("", String::as_str);
    let fee = match (text(0), text(24)) {
        ("1240", "200" | "205" | "282") | ("1442", "450" | "451" | "453" | "454") => false,
        ("1740", "700" | "780" | "781" | "782" | "783") => true,
        ("1644", _) => return Some(()),
        _ => return None,
    };
    let mut direction = match text(3).get(..2)? {
        "00" | "01" | "09" | "12" | "17" | "18" | "50" if !fee => Direction::Debit,
        "20" | "28" if !fee => Direction::Credit,
        // A fee that credits its originator is taken from its receiver, and the other way round.
        "19" => Direction::Debit,
        "29" => Direction::Credit,
        _ => return None,
    };
    if text(0) == "1442" {
        direction = direction.opposite();
    }
    if reversal.starts_with('R') {
        direction = direction.opposite();
    }
    number(text(3))?;
    // What the cardholder is billed, where that is said; else the amount of the purchase.
    let billed = message.contains_key(&6);
    let (amount, currency) = if billed { (text(6), text(51)) } else { (text(4), text(49)) };
    number(text(4))?;
    let amount = number(amount)?;
    let (_, letters) = CURRENCIES.iter().find(|(code, _)| *code == currency)?;
    // A fee is between institutions, whatever card is named with it.
    if fee {
        reading.post_house(reading.records, "fees", direction, letters, amount);
        return Some(());
    }
    number(text(2))?;
    reading.post(reading.records, &format!("card:{}", text(2)), direction, letters, amount);
    Some(())
}

/// The stream of messages, out of its blocks of 1012 bytes and two of filler.
fn unblocked(content: &[u8]) -> Vec<u8> {
    let blocks = content.chunks(1014);
    let ends = |block: &[u8]| block.len() == 1014 && block.ends_with(&[0x40, 0x40]);
    if content.is_empty() || !blocks.clone().all(ends) {
        return content.to_vec();
    }
    blocks.flat_map(|block| &block[..1012]).copied().collect()
}

/// The messages: each behind its length in four bytes, up to a length of zero, filler or the end.
fn cut(mut stream: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while let Some((length, rest)) = stream.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        if length == 0 || length == 0x4040_4040 || rest.len() < length {
            break;
        }
        messages.push(rest[..length].to_vec());
        stream = &rest[length..];
    }
    messages
}

/// Takes a message apart; none where it can't be.
fn elements(bytes: &[u8]) -> Option<Message> {
    let ebcdic = *bytes.first()? >= 0xf0;
    let text = |bytes: &[u8]| -> String {
        bytes
            .iter()
            .map(|byte| if ebcdic { from_ebcdic(*byte) } else { char::from(*byte) })
            .collect()
    };
    let mut message = Message::from([(0, text(bytes.get(..4)?))]);
    let bitmap = bytes.get(4..20)?;
    let mut at = 20;
    for element in 2..=128_usize {
        let bit = bitmap[(element - 1) / 8] >> (7 - (element - 1) % 8) & 1;
        if bit == 0 {
            continue;
        }
        let (_, form) = ELEMENTS.iter().find(|(known, _)| *known == element)?;
        let length = if *form > 0 {
            usize::try_from(*form).ok()?
        } else {
            let digits = usize::try_from(-form).ok()?;
            let length = number(&text(bytes.get(at..at + digits)?))?;
            at += digits;
            usize::try_from(length).ok()?
        };
        message.insert(element, text(bytes.get(at..at + length)?));
        at += length;
    }
    (at == bytes.len()).then_some(message)
}

/// The private subelements: a tag of four digits, a length of three, and the value.
fn subelements(message: &Message) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for element in [48, 62, 123, 124, 125] {
        let mut rest = message.get(&element).map_or("", String::as_str);
        while let (Some(tag), Some(length)) = (rest.get(..4), rest.get(4..7)) {
            let Some(length) = number(length).and_then(|length| usize::try_from(length).ok())
            else {
                break;
            };
            let Some(value) = rest.get(7..7 + length) else { break };
            found.insert(tag.to_owned(), value.to_owned());
            rest = &rest[7 + length..];
        }
    }
    found
}

/// The character of a byte, where every page of EBCDIC agrees; else a question mark.
fn from_ebcdic(byte: u8) -> char {
    let letter = |first: u8, from: u8| char::from(first + (byte - from));
    match byte {
        0xf0..=0xf9 => letter(b'0', 0xf0),
        0xc1..=0xc9 => letter(b'A', 0xc1),
        0xd1..=0xd9 => letter(b'J', 0xd1),
        0xe2..=0xe9 => letter(b'S', 0xe2),
        0x81..=0x89 => letter(b'a', 0x81),
        0x91..=0x99 => letter(b'j', 0x91),
        0xa2..=0xa9 => letter(b's', 0xa2),
        0x40 => ' ',
        0xe0 => '\\',
        _ => '?',
    }
}
