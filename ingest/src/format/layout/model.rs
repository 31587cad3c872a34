//! The layout as a plain value: what the language says, with every name resolved to its place.
//!
//! Whoever reads by it never looks a name up. What a value of these types can't say, the language
//! has refused: a reference leads to a field that is there, columns lie within the line, a total
//! is of a number.

use schemas::{Currency, Direction, Kind};

use crate::format::Encoding;

/// A format as data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The text that it was read from.
    pub(crate) text: String,
    /// SHA-256 of the text, hexadecimal.
    pub(crate) digest: String,
    /// Its name: the `format` of its events.
    pub(crate) name: &'static str,
    /// What it is, for people.
    pub(crate) title: String,
    /// Raised by whoever changes it so that the same bytes give other events.
    pub(crate) revision: i32,
    /// The `network` of its events.
    pub(crate) network: &'static str,
    /// True where the directions are the issuer's: an acquirer's are the other ones.
    pub(crate) is_by_side: bool,
    /// How content is cut into units.
    pub(crate) cut: Cut,
    /// Characters of a unit; a shorter line is padded with blanks. Zero where units vary.
    pub(crate) length: usize,
    /// The page of a feed that names none.
    pub(crate) encoding: Encoding,
    /// The file's own identifier, of fields of the file header; none where it has none.
    pub(crate) identifier: Option<Template>,
    /// The record types; a unit is of the first one whose tests all hold.
    pub(crate) records: Vec<Record>,
    /// How many families of record types there are: see [`FieldRef`].
    pub(crate) families: usize,
    /// The groups of records that become events.
    pub(crate) events: Vec<Event>,
    /// The numbers that must run without a gap.
    pub(crate) sequences: Vec<Sequence>,
    /// What the file states about itself.
    pub(crate) totals: Vec<Total>,
    /// The names of the columns that the layout uses, as the row of column names has them; of
    /// rows only. [`Place::Named`] counts in it.
    pub(crate) columns: Vec<String>,
}

/// How content is cut into units: a line, a block or a row each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Lines, by whatever ends them.
    Lines,
    /// Blocks of the length, with nothing between them.
    Fixed,
    /// Lines where the first one ends behind its length, else blocks.
    LinesOrFixed,
    /// A record descriptor word before each unit: two bytes of length and two of zero.
    Rdw {
        /// True where the two bytes of zero come first and the length has its low byte first.
        is_little: bool,
        /// True where the length counts the four bytes of the word too.
        includes_itself: bool,
    },
    /// Blocks, each behind a block descriptor word; units behind record descriptor words in them.
    BdwRdw,
    /// Rows of a delimited file.
    Rows(Rows),
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rows {
    /// Between two cells.
    pub(crate) separator: u8,
    /// Around a cell; none where the file has no quotes.
    pub(crate) quote: Option<u8>,
    /// Where the names of the columns stand.
    pub(crate) header: Header,
}

/// Where a delimited file has the names of its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// Nowhere.
    None,
    /// In its first row.
    FirstRow,
    /// In the record type of the role [`Role::ColumnNames`].
    Record,
}

/// A record type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it is in the file.
    pub(crate) role: Role,
    /// The records that are like each other, from 0: see [`FieldRef`].
    pub(crate) family: usize,
    /// All of them hold of a unit of this type.
    pub(crate) tests: Vec<Test>,
    /// By their number in the family; none where another of the family has the field only.
    pub(crate) fields: Vec<Option<Field>>,
    /// The event that it begins: an index into [`Layout::events`].
    pub(crate) begins: Option<usize>,
}

/// What a record is in the structure of a file:
/// `file_header? (batch_header detail* batch_trailer | detail)* file_trailer?`.
///
/// A role that no record type has is not asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// The first record.
    FileHeader,
    /// Begins a batch.
    BatchHeader,
    /// Begins an event, or joins one.
    Detail,
    /// Ends a batch.
    BatchTrailer,
    /// The last record.
    FileTrailer,
    /// Names the columns of the rows behind it.
    ColumnNames,
    /// Anywhere, and of no interest but to totals and sequences.
    Skipped,
}

/// A field of whichever record of a family is there.
///
/// A record that is like another one has its fields under the same numbers, at other places. So a
/// reference holds for all of them. Of a header it is the one of the file or of the batch that is
/// open; of a detail the one of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FieldRef {
    /// The family, from 0.
    pub(crate) family: usize,
    /// The field's number in the family, from 0.
    pub(crate) field: usize,
}

/// A field of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    /// Its name.
    pub(crate) name: &'static str,
    /// Where it is.
    pub(crate) place: Place,
    /// How it is written.
    pub(crate) form: Form,
    /// What it is where nothing stands in it.
    pub(crate) blank: Blank,
    /// What is no part of a text at its ends.
    pub(crate) trim: Trim,
    /// True where it may be shown whatever it holds: the layout says that it is no number of an
    /// account.
    pub(crate) show: bool,
}

impl Field {
    /// True where its bytes are read as they stand in the content, not as characters.
    pub(crate) fn is_raw(&self) -> bool {
        matches!(&self.form, Form::Number(number)
            if matches!(number.written, Written::Packed(_) | Written::Binary { .. }))
    }
}

/// Where something stands in a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// From a column to another one, from 1, both inclusive.
    Columns(usize, usize),
    /// In this cell of a row, from 1.
    Cell(usize),
    /// In the cell below this name: an index into [`Layout::columns`].
    Named(usize),
}

/// How a field is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Characters.
    Text,
    /// Digits that are no number: a code.
    Digits,
    /// A number.
    Number(Number),
    /// A date, a time, or both.
    Date(DateForm),
}

/// How a number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number {
    /// In which digits.
    pub(crate) written: Written,
    /// How many of its digits are behind the point.
    pub(crate) scale: Scale,
}

/// How the digits of a number are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// Characters (COBOL's DISPLAY).
    Display(Sign),
    /// Two digits a byte (COMP-3).
    Packed(PackedSign),
    /// Big-endian (COMP), of 2, 4 or 8 bytes.
    Binary {
        /// True for two's complement.
        is_signed: bool,
    },
    /// Text with a point and perhaps a minus, as rows have it.
    Decimal {
        /// The point.
        point: u8,
        /// What may stand between groups of three digits.
        group: Option<u8>,
    },
}

/// Where a number in characters has its sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// It has none.
    None,
    /// In the first digit, punched over it.
    Leading,
    /// In the last digit, punched over it: zoned, as COBOL has it by default.
    Trailing,
    /// A character of its own before the digits.
    LeadingSeparate,
    /// A character of its own behind the digits.
    TrailingSeparate,
}

/// What the last half byte of a packed number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PackedSign {
    /// A sign.
    Signed,
    /// A sign that must not be minus.
    Unsigned,
    /// A digit: the number has no sign at all.
    None,
}

/// How many digits of a number are behind the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// So many.
    Fixed(u8),
    /// As many as the currency of its amount has: the number is of minor units.
    OfCurrency,
    /// As many as are written; of decimal text only.
    AsWritten,
}

/// How a date is written: its parts in order, each as many characters as its variant says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DateForm {
    /// The parts.
    pub(crate) parts: Vec<DatePart>,
    /// The date that one without a whole year is nearest to.
    pub(crate) near: Option<FieldRef>,
}

/// A part of a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DatePart {
    /// `YYYY`.
    Year,
    /// `YY`: 1970 to 2069, or the one nearest to another date.
    YearOfCentury,
    /// `Y`: the one nearest to another date.
    YearOfDecade,
    /// `MM`.
    Month,
    /// `DD`.
    Day,
    /// `DDD`.
    DayOfYear,
    /// `HH`.
    Hour,
    /// `mm`.
    Minute,
    /// `ss`.
    Second,
    /// This character.
    Literal(u8),
}

impl DatePart {
    /// How many characters it is.
    pub(crate) fn width(self) -> usize {
        match self {
            Self::Year => 4,
            Self::DayOfYear => 3,
            Self::YearOfDecade | Self::Literal(_) => 1,
            _ => 2,
        }
    }
}

/// What a field is where nothing stands in it: blanks, or of a date zeros too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blank {
    /// A reject.
    Reject,
    /// None: as if there were no such field.
    None,
    /// Zero; of numbers only.
    Zero,
}

/// What is removed from the ends of a text, as often as it stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trim {
    /// Before it.
    pub(crate) leading: Option<u8>,
    /// Behind it.
    pub(crate) trailing: Option<u8>,
}

/// A test: something in a unit or in its surroundings is one of these values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Test {
    /// What is tested.
    pub(crate) of: Tested,
    /// The values, in ISO 8859-1. Of columns each is as wide as they are; else compared without
    /// blanks at their ends.
    pub(crate) values: Vec<Vec<u8>>,
    /// True where it must be none of them.
    pub(crate) is_not: bool,
}

/// What a test looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tested {
    /// A place of the unit.
    Place(Place),
    /// A field of the group, or of a header.
    Field(FieldRef),
}

/// Text with fields in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(pub(crate) Vec<Part>);

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Text as it is.
    Text(String),
    /// What a field holds, trimmed.
    Field(FieldRef),
}

/// A group of records that becomes one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// The records that may follow, in order.
    pub(crate) joined: Vec<Joined>,
    /// True where they may follow in any order.
    pub(crate) in_any_order: bool,
    /// The event's code, as the file has it.
    pub(crate) code: Template,
    /// The first case whose tests hold; none is a reject.
    pub(crate) cases: Vec<Case>,
}

/// A record that belongs to the group that another one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Joined {
    /// Any record of this family.
    pub(crate) family: usize,
    /// True where the group isn't whole without it.
    pub(crate) is_required: bool,
    /// True where there may be several; fields are of the first one.
    pub(crate) repeats: bool,
}

/// What an event is, where its tests hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    /// All of them hold.
    pub(crate) tests: Vec<Test>,
    /// What it means.
    pub(crate) kind: Kind,
    /// What it does to the account.
    pub(crate) direction: DirectionOf,
    /// The account's canonical text; none where it concerns none.
    pub(crate) account: Option<Template>,
    /// What is posted, where a feed posts what is billed; also where it makes no difference.
    pub(crate) money: Option<Money>,
    /// What is posted, where a feed posts the transaction's amount.
    pub(crate) money_of_transaction: Option<Money>,
    /// Further amounts, by their roles.
    pub(crate) amounts: Vec<(&'static str, Money)>,
    /// What the record adds to the file's totals, where that is not what it posts.
    pub(crate) control: Option<FieldRef>,
    /// When it happened: a date, and the time where that is a field of its own.
    pub(crate) occurred_at: Option<(FieldRef, Option<FieldRef>)>,
    /// From when it counts.
    pub(crate) value_date: Option<FieldRef>,
    /// What to find it by.
    pub(crate) reference: Option<Template>,
    /// The other side.
    pub(crate) counterparty: Option<Template>,
    /// More of it, by name.
    pub(crate) attributes: Vec<(&'static str, Template)>,
}

/// What an event does to its account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DirectionOf {
    /// The same always.
    Fixed(Direction),
    /// What a field says, without blanks at its ends; another word is a reject.
    Field {
        /// The field.
        field: FieldRef,
        /// What it says of a credit.
        credit: Vec<Vec<u8>>,
        /// What it says of a debit.
        debit: Vec<Vec<u8>>,
    },
    /// The amount's sign: minus is a debit.
    Sign,
    /// Whichever of two fields isn't zero; both are a reject. The amount is what it holds.
    Fields {
        /// The amount of a credit.
        credit: FieldRef,
        /// The amount of a debit.
        debit: FieldRef,
    },
}

/// An amount and its currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Money {
    /// The amount; none where [`DirectionOf::Fields`] has it.
    pub(crate) amount: Option<FieldRef>,
    /// The currency.
    pub(crate) currency: CurrencyOf,
    /// The digits of the minor unit, where the report has its own; else ISO 4217's.
    pub(crate) exponent: Option<u8>,
}

/// The currency of an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CurrencyOf {
    /// This one.
    Fixed(Currency),
    /// The one that a field names, by letters or digits of ISO 4217.
    Field(FieldRef),
}

/// A number that must run from the first one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sequence {
    /// The field that has it, in each family that has one.
    pub(crate) fields: Vec<FieldRef>,
    /// Where it begins again.
    pub(crate) scope: Scope,
    /// The first one.
    pub(crate) first: i64,
}

/// What a number or a total is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The file.
    File,
    /// A batch, from its header to its trailer, both included.
    Batch,
}

/// What the file states about itself, and what is counted for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Total {
    /// Its name.
    pub(crate) name: &'static str,
    /// Where it is stated: in a header or trailer of its scope.
    pub(crate) stated: FieldRef,
    /// What it is of.
    pub(crate) scope: Scope,
    /// What is counted.
    pub(crate) counted: Counted,
    /// Only of records of these families; all of them where it is empty. Of [`Counted::Records`]
    /// and [`Counted::Events`], whose records are those that begin them.
    pub(crate) families: Vec<usize>,
    /// Only of records for which these hold.
    pub(crate) only: Vec<Test>,
    /// Only of events of this direction.
    pub(crate) direction: Option<Direction>,
    /// The total is there where these hold as it is stated.
    pub(crate) when: Vec<Test>,
    /// Added to what is counted.
    pub(crate) plus: i64,
    /// The remainder of this counts, where what doesn't fit was cut off.
    pub(crate) modulus: Option<i64>,
    /// True where zero, or a blank field, means that it isn't filled in.
    pub(crate) zero_is_blank: bool,
    /// What it is in the reconciliation of the whole file.
    pub(crate) claims: Option<Claims>,
    /// True where a difference is a warning; else it refuses the file.
    pub(crate) is_warning: bool,
}

/// What a total counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// Records: units, whatever their role.
    Records,
    /// Events, rejected ones included.
    Events,
    /// Batches.
    Batches,
    /// The sum of some fields, less that of others.
    Sum {
        /// Added.
        plus: Vec<FieldRef>,
        /// Taken away.
        minus: Vec<FieldRef>,
    },
    /// The difference, without sign, of a field's sums over debits and over credits.
    Difference(FieldRef),
}

/// Which of the file's sums a total is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claims {
    /// Debits.
    Debits,
    /// Credits.
    Credits,
    /// A sum without direction.
    Unsigned,
}

impl Layout {
    /// Its name: the `format` of its events.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What it is, for people.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// SHA-256 of its text, hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The text that it was read from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The page of a feed that names none.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// A field of a record, by its reference; none where this record of the family has it not, or
    /// the reference is to another family.
    pub(crate) fn field(&self, record: usize, at: FieldRef) -> Option<&Field> {
        let record = self.records.get(record).filter(|record| record.family == at.family)?;
        record.fields.get(at.field)?.as_ref()
    }

    /// True where a record type has this role.
    pub(crate) fn has(&self, role: Role) -> bool {
        self.records.iter().any(|record| record.role == role)
    }
}
