//! A field: `{ at = "82-96", type = "number", scale = 2 }`.

use super::file::{File, character};
use super::mistake::one_of;
use super::names::Within;
use super::value::{Table, Value};
use super::{date, place};
use crate::format::layout::model::{
    Blank, Cut, Field, Form, Number, PackedSign, Place, Scale, Sign, Trim, Written,
};
use crate::format::layout::name::intern;

/// What every field may say.
const KEYS: &[&str] = &["at", "type", "blank", "show", "overlaps"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Text,
    Digits,
    Number,
    Zoned,
    Packed,
    Binary,
    Decimal,
    Date,
}

/// The types, and what each of them may say more.
const TYPES: &[(&str, Type, &[&str])] = &[
    ("text", Type::Text, &["justify", "fill"]),
    ("digits", Type::Digits, &[]),
    ("number", Type::Number, &["scale", "sign"]),
    ("zoned", Type::Zoned, &["scale", "sign"]),
    ("packed", Type::Packed, &["scale", "sign"]),
    ("binary", Type::Binary, &["scale", "signed"]),
    ("decimal", Type::Decimal, &["scale"]),
    ("date", Type::Date, &["as", "near", "year"]),
];

const SIGNS: &[(&str, Sign)] = &[
    ("none", Sign::None),
    ("leading", Sign::Leading),
    ("trailing", Sign::Trailing),
    ("leading_separate", Sign::LeadingSeparate),
    ("trailing_separate", Sign::TrailingSeparate),
];

const ZONED_SIGNS: &[(&str, Sign)] = &[("leading", Sign::Leading), ("trailing", Sign::Trailing)];

const PACKED_SIGNS: &[(&str, PackedSign)] = &[
    ("signed", PackedSign::Signed),
    ("unsigned", PackedSign::Unsigned),
    ("none", PackedSign::None),
];

const BLANKS: &[(&str, Blank)] =
    &[("reject", Blank::Reject), ("none", Blank::None), ("zero", Blank::Zero)];

/// Reads a field, and the names of columns that it brings.
pub(super) fn field<'a>(
    name: &str,
    value: Value<'a>,
    file: &File<'_>,
    within: &Within<'_, 'a>,
    columns: &mut Vec<String>,
) -> Option<Field> {
    let table = value.any_table()?;
    let types: Vec<(&str, (Type, &[&str]))> =
        TYPES.iter().map(|(word, kind, keys)| (*word, (*kind, *keys))).collect();
    let kind = table.require("type").and_then(|value| value.word(&types));
    let place = table.require("at").and_then(|at| place::place(at, file, columns));
    let (kind, keys) = kind?;
    let is_cut_by_characters = matches!(file.cut, Cut::Lines | Cut::Rows(_));
    if let (true, Type::Packed | Type::Binary, Some(value)) =
        (is_cut_by_characters, kind, table.get("type"))
    {
        let remedy = String::from("cut by fixed or rdw, where no byte ends a line or a cell");
        value.mistake_with("a type of characters in lines and rows", value.shown(), remedy);
    }
    table.only(&[KEYS, keys].concat());
    let form = match kind {
        Type::Text => Form::Text,
        Type::Digits => Form::Digits,
        Type::Date => Form::Date(date::read(table, within)?),
        _ => Form::Number(number(kind, table, file)?),
    };
    if let (Some(Place::Columns(first, last)), Some(at)) = (place, table.get("at")) {
        width(&form, last.saturating_sub(first).saturating_add(1), at);
    }
    let default = if kind == Type::Text { Blank::None } else { Blank::Reject };
    let blank = table.get("blank").map_or(Some(default), |value| {
        let is_number = matches!(form, Form::Number(_));
        let words: Vec<_> =
            BLANKS.iter().copied().filter(|word| is_number || word.1 != Blank::Zero).collect();
        value.word(&words)
    });
    let show = table.get("show").and_then(Value::flag).unwrap_or_default();
    let trim = trim(table)?;
    let (name, place, blank) = (intern(name), place?, blank?);
    Some(Field { name, place, form, blank, trim, show, is_account: false })
}

fn number(kind: Type, table: Table<'_>, file: &File<'_>) -> Option<Number> {
    let sign = table.get("sign");
    let written = match kind {
        Type::Zoned => {
            Written::Display(sign.map_or(Some(Sign::Trailing), |value| value.word(ZONED_SIGNS))?)
        }
        Type::Packed => {
            let signed = PackedSign::Signed;
            Written::Packed(sign.map_or(Some(signed), |value| value.word(PACKED_SIGNS))?)
        }
        Type::Binary => {
            let signed = table.get("signed");
            Written::Binary { is_signed: signed.map_or(Some(true), Value::flag)? }
        }
        Type::Decimal => Written::Decimal { point: file.point, group: file.group },
        _ => Written::Display(sign.map_or(Some(Sign::None), |value| value.word(SIGNS))?),
    };
    let scale = match table.get("scale") {
        None if kind == Type::Decimal => Scale::AsWritten,
        None => Scale::Fixed(0),
        Some(value) if value.if_text() == Some("currency") && kind != Type::Decimal => {
            Scale::OfCurrency
        }
        Some(value) => match value.if_integer().map(u8::try_from) {
            Some(Ok(scale @ 0..=18)) => Scale::Fixed(scale),
            _ => {
                value.mistake("0 to 18 digits behind the point, or \"currency\"", value.shown());
                return None;
            }
        },
    };
    Some(Number { written, scale })
}

/// Notes where a field is of another width than its form can be.
fn width(form: &Form, width: usize, at: Value<'_>) {
    let allowed: &[usize] = match form {
        Form::Number(Number { written: Written::Binary { .. }, .. }) => &[2, 4, 8],
        Form::Number(Number { written: Written::Packed(_), .. }) => {
            &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
        }
        Form::Date(form) => {
            let expected: usize = form.parts.iter().map(|part| part.width()).sum();
            if width != expected {
                at.mistake(
                    format!("{expected} columns, as wide as the date is written"),
                    width.to_string(),
                );
            }
            return;
        }
        _ => return,
    };
    if !allowed.contains(&width) {
        let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
        let allowed = one_of(allowed.iter().map(String::as_str));
        at.mistake(format!("{allowed} bytes"), format!("{width}"));
    }
}

#[derive(Clone, Copy)]
enum Justify {
    Left,
    Right,
}

/// What is no part of a text: blanks at both ends, or what fills it up on the other side of where
/// it is justified.
fn trim(table: Table<'_>) -> Option<Trim> {
    let fill = table.get("fill").map_or(Some(b' '), character)?;
    let words = &[("left", Justify::Left), ("right", Justify::Right)];
    Some(match table.get("justify") {
        None if fill != b' ' => {
            table.mistake("the key justify beside fill", "none");
            return None;
        }
        None => Trim { leading: Some(b' '), trailing: Some(b' ') },
        Some(value) => match value.word(words)? {
            Justify::Left => Trim { leading: None, trailing: Some(fill) },
            Justify::Right => Trim { leading: Some(fill), trailing: None },
        },
    })
}
