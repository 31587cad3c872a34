//! Why a record, or a whole file, can't be read: the same of every format.

use schemas::arrival::Reason;

use super::columns::{Column, masked};
use super::{Control, Refusal, Reject};

/// Why a record can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) reason: &'static str,
    pub(crate) field: &'static str,
    pub(crate) expected: String,
    pub(crate) found: String,
}

impl Fault {
    pub(crate) fn new(
        reason: &'static str,
        field: impl Into<&'static str>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self { reason, field: field.into(), expected: expected.into(), found: found.into() }
    }

    /// A field that should be digits.
    pub(crate) fn not_digits(field: impl Into<&'static str>, found: &[u8]) -> Self {
        Self::new("not_digits", field, "digits", masked(found))
    }

    /// The reject of a record that adds this to the file's own totals.
    pub(crate) fn into_reject(self, control: Option<Control>) -> Reject {
        let Self { reason, field, expected, found } = self;
        Reject { reason, field, expected, found, control }
    }
}

impl From<Column> for &'static str {
    fn from(column: Column) -> Self {
        column.name
    }
}

/// A refusal about a record or a field.
pub(crate) fn refusal(
    code: &str,
    field: &str,
    expected: impl Into<String>,
    found: impl Into<String>,
) -> Refusal {
    let mut reason = Reason::new(code).expected_found(expected, found);
    reason.field = Some(field.to_owned());
    Refusal::new(reason)
}
