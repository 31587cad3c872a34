//! What becomes of a group of records: an event.

use schemas::{Currency, Direction, Kind};

use super::{FieldRef, Test};

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
    /// In each of these fields of its records, the repeated ones too, stands what stands in the
    /// other.
    pub(crate) same: Vec<(FieldRef, FieldRef)>,
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
