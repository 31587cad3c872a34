//! NACHA as the oracle reads it: lines of 94 characters, an entry at a time.
//!
//! Columns are 1-based and inclusive, as the rule book prints them.

use std::collections::BTreeSet;

use super::books::Direction;
use super::{Reading, number};

/// Classes that tell something and move no money, whatever their codes say.
const INFORM: &[&str] = &["ACK", "ATX", "COR", "DNE", "ENR"];

/// Classes that only collect: a credit in them is a collection taken back.
const COLLECT: &[&str] = &["ARC", "BOC", "POP", "RCK", "TEL", "TRC", "TRX", "XCK"];

/// Totals, of a batch or of the file.
#[derive(Default)]
struct Totals {
    lines: i128,
    hash: i128,
    debits: i128,
    credits: i128,
    /// Whether every amount could be read.
    unread: bool,
}

/// Reads a whole file.
pub(crate) fn read(content: &[u8]) -> Reading {
    let mut reading = Reading::default();
    let mut file = Totals::default();
    let (mut batch, mut header) = (Totals::default(), String::new());
    let (mut batches, mut lines) = (0, 0);
    let mut entry: Vec<String> = Vec::new();
    for line in cut(content) {
        let first = line.chars().next().unwrap_or(' ');
        if line.bytes().all(|byte| byte == b'9') {
            continue;
        }
        lines += 1;
        if first != '7' && !entry.is_empty() {
            close(&header, &entry, &mut batch, &mut reading);
            entry.clear();
        }
        match first {
            '5' => header = line,
            '6' | '7' => {
                batch.lines += 1;
                entry.push(line);
            }
            '8' => {
                batches += 1;
                control(&header, &line, &batch, &mut reading);
                for (sum, part) in [
                    (&mut file.lines, batch.lines),
                    (&mut file.hash, batch.hash),
                    (&mut file.debits, batch.debits),
                    (&mut file.credits, batch.credits),
                ] {
                    *sum += part;
                }
                batch = Totals::default();
            }
            '9' => {
                let wide = columns(&header, 51, 53) == "ADV";
                let (debits, credits) =
                    if wide { ((32, 51), (52, 71)) } else { ((32, 43), (44, 55)) };
                let stated = |(from, to)| number(columns(&line, from, to));
                reading.state("batches", stated((2, 7)), batches);
                reading.state("blocks", stated((8, 13)), (lines + 9) / 10);
                reading.state("entries and addenda", stated((14, 21)), file.lines);
                reading.state("hash", stated((22, 31)), file.hash % 10_000_000_000);
                reading.state("debits", stated(debits), file.debits);
                reading.state("credits", stated(credits), file.credits);
            }
            _ => (),
        }
    }
    reading
}

/// Compares a batch's control.
fn control(header: &str, line: &str, batch: &Totals, reading: &mut Reading) {
    let wide = columns(header, 51, 53) == "ADV";
    let (debits, credits) = if wide { ((21, 40), (41, 60)) } else { ((21, 32), (33, 44)) };
    let stated = |(from, to)| number(columns(line, from, to));
    reading.state("batch: entries and addenda", stated((5, 10)), batch.lines);
    reading.state("batch: hash", stated((11, 20)), batch.hash % 10_000_000_000);
    if !batch.unread {
        reading.state("batch: debits", stated(debits), batch.debits);
        reading.state("batch: credits", stated(credits), batch.credits);
    }
}

/// Ends an entry: the line of type 6 and those of type 7 after it.
fn close(header: &str, entry: &[String], batch: &mut Totals, reading: &mut Reading) {
    let index = reading.records;
    reading.records += 1;
    let line = &entry[0];
    reading.name(account(header, line));
    let amount = number(amount(header, line));
    let direction = direction(columns(line, 2, 3));
    batch.hash += number(columns(line, 4, 11)).unwrap_or_default();
    match (direction, amount) {
        (Some(Direction::Debit), Some(amount)) => batch.debits += amount,
        (Some(Direction::Credit), Some(amount)) => batch.credits += amount,
        (None, Some(0)) => (),
        _ => batch.unread = true,
    }
    let (Some(direction), Some(amount)) = (direction, amount) else {
        reading.bad.push(index);
        return;
    };
    if is_bad(header, entry, direction, amount) {
        reading.bad.push(index);
        return;
    }
    // A notification of change, and what only informs, moves no money.
    let changes = entry[1..].iter().any(|line| columns(line, 2, 3) == "98");
    let returned = entry[1..].iter().rfind(|line| columns(line, 2, 3) == "99");
    let zero_dollar = matches!(columns(line, 3, 3), "4" | "9");
    let class = columns(header, 51, 53);
    if returned.is_none() && (changes || zero_dollar || INFORM.contains(&class)) {
        return;
    }
    if class == "ADV" {
        reading.post_house(index, "settlement", direction, "USD", amount);
        return;
    }
    // A return bears the account at the bank that it comes from, which is none of ours; only a
    // dishonored one, R61 to R70, is back at the account's own bank.
    let reason = returned.map_or("", |line| columns(line, 4, 6));
    if returned.is_some() && !("R61"..="R70").contains(&reason) {
        reading.post_house(index, "returns", direction, "USD", amount);
        return;
    }
    let account = format!("ach:{}:{}", columns(line, 4, 12), account(header, line));
    reading.post(index, &account, direction, "USD", amount);
}

fn amount<'a>(header: &str, line: &'a str) -> &'a str {
    if columns(header, 51, 53) == "ADV" { columns(line, 28, 39) } else { columns(line, 30, 39) }
}

fn account<'a>(header: &str, line: &'a str) -> &'a str {
    let international = columns(header, 51, 53) == "IAT";
    let number = if international { columns(line, 40, 74) } else { columns(line, 13, 29) };
    number.trim_matches(' ')
}

/// What a transaction code does to the receiver's account.
fn direction(code: &str) -> Option<Direction> {
    let code: u32 = code.parse().ok()?;
    match (code / 10, code % 10) {
        // A loan account takes one debit only, the reversal of a credit, and its return.
        (5, 5 | 6) => Some(Direction::Debit),
        (5, 7..=9) => None,
        (2..=5, 1..=4) => Some(Direction::Credit),
        (2..=4, 6..=9) => Some(Direction::Debit),
        // Advices: odd codes are credits, even ones debits.
        (8, 1 | 3 | 5 | 7) => Some(Direction::Credit),
        (8, 2 | 4 | 6 | 8) => Some(Direction::Debit),
        _ => None,
    }
}

/// Whether an entry says what can't be.
fn is_bad(header: &str, entry: &[String], direction: Direction, amount: i128) -> bool {
    let line = &entry[0];
    let class = columns(header, 51, 53);
    let readable = entry.iter().all(|line| line.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
    let advice = columns(line, 2, 2) == "8";
    let addenda: BTreeSet<&str> = entry[1..].iter().map(|line| columns(line, 2, 3)).collect();
    let came_back = addenda.contains("98") || addenda.contains("99");
    let debit = direction == Direction::Debit;
    let taken_back = columns(header, 54, 63).trim() == "REVERSAL";
    let counted = ["ATX", "CTX", "TRX"].contains(&class) && !came_back;
    !readable
        || advice != (class == "ADV")
        || !has_check_digit(columns(line, 4, 12))
        || (class != "IAT" && columns(header, 2, 4) == "220" && debit)
        || (class != "IAT" && columns(header, 2, 4) == "225" && !debit)
        || (COLLECT.contains(&class) && debit == taken_back)
        || columns(line, 79, 79) != if entry.len() > 1 { "1" } else { "0" }
        || (counted && number(columns(line, 55, 58)) != i128::try_from(entry.len() - 1).ok())
        || (matches!(columns(line, 3, 3), "1" | "6") && !advice && !came_back)
        || (matches!(columns(line, 3, 3), "3" | "8") && !advice && amount != 0)
        || (class != "ADV" && account(header, line).is_empty())
}

/// Whether nine digits, weighted by 3, 7, 1 over and over, make a multiple of ten.
fn has_check_digit(routing: &str) -> bool {
    let digits: Vec<u32> = routing.chars().filter_map(|digit| digit.to_digit(10)).collect();
    let weighted =
        digits.iter().zip([3, 7, 1].iter().cycle()).map(|(digit, weight)| digit * weight);
    digits.len() == 9 && weighted.sum::<u32>() % 10 == 0
}

/// The lines, each of 94 characters: at line ends where there are any, else every 94 bytes.
/// A byte that is no ASCII is a control character here, so that columns are bytes.
fn cut(content: &[u8]) -> Vec<String> {
    let has_ends = content.iter().any(|byte| matches!(byte, b'\r' | b'\n'));
    let pieces: Vec<&[u8]> = if has_ends {
        content.split(|byte| matches!(byte, b'\r' | b'\n')).collect()
    } else {
        content.chunks(94).collect()
    };
    let ascii = |byte: &u8| if byte.is_ascii() { char::from(*byte) } else { '\u{1}' };
    pieces
        .into_iter()
        .filter(|piece| !piece.is_empty())
        .map(|piece| format!("{:<94}", piece.iter().map(ascii).collect::<String>()))
        .collect()
}

fn columns(line: &str, first: usize, last: usize) -> &str {
    line.get(first - 1..last).unwrap_or_default()
}
