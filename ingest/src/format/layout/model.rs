//! The layout as a plain value: what the language says, with every name resolved to its place.
//!
//! Whoever reads by it never looks a name up. What a value of these types can't say, the language
//! has refused: a reference leads to a field that is there, columns lie within the line, a total
//! is of a number.

mod field;
mod event;
mod total;

use crate::format::Encoding;

pub(crate) use event::{Case, CurrencyOf, DirectionOf, Event, Joined, Money, Part, Template};
pub(crate) use field::{
    Blank, DateForm, DatePart, Field, Form, Number, PackedSign, Place, Scale, Sign, Trim, Written,
};
pub(crate) use total::{Claims, Counted, Scope, Sequence, Total};

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
    /// True where the last line or row has its end as the others have, so that the file is cut off
    /// where it has none.
    pub(crate) is_ended: bool,
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

/// A test: something in a unit or in its surroundings is one of these values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Test {
    /// What is tested.
    pub(crate) of: Tested,
    /// The values, in ISO 8859-1; of cells in UTF-8 too. Of columns each is as wide as they are;
    /// else compared without blanks at their ends.
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

impl Layout {
    /// Its name: the `format` of its events.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its revision, as whoever wrote it counts.
    pub fn revision(&self) -> i32 {
        self.revision
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

    /// What it has, in a sentence.
    pub fn summary(&self) -> String {
        let count = |number: usize, thing: &str| {
            format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
        };
        let proofs = match (self.totals.len(), self.sequences.len()) {
            (0, 0) => String::from("nothing by which a file proves that it is whole"),
            (totals, 0) => count(totals, "total"),
            (0, sequences) => count(sequences, "sequence"),
            (totals, sequences) => {
                format!("{}, {}", count(totals, "total"), count(sequences, "sequence"))
            }
        };
        let (records, events) = (self.records.len(), self.events.len());
        format!("{}, {}, {proofs}", count(records, "record type"), count(events, "event"))
    }

    /// The schemes of the accounts that its events name, such as `card`.
    pub fn account_schemes(&self) -> impl Iterator<Item = &str> {
        let cases = self.events.iter().flat_map(|event| &event.cases);
        cases.filter_map(|case| match case.account.as_ref()?.0.first()? {
            Part::Text(text) => text.split(':').next(),
            Part::Field(_) => None,
        })
    }

    /// True where content is cut into rows of separated cells.
    pub(crate) fn has_rows(&self) -> bool {
        matches!(self.cut, Cut::Rows(_))
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
