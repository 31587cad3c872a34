//! The rule book's codes: what each means, as tables.

use schemas::Direction;

/// Which of a batch's totals an entry adds to, and so what it does to the receiver's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Takes from the receiver.
    Debit,
    /// Gives to the receiver.
    Credit,
}

impl Side {
    pub(super) fn direction(self) -> Direction {
        match self {
            Self::Debit => Direction::DEBIT,
            Self::Credit => Direction::CREDIT,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Debit => "a debit",
            Self::Credit => "a credit",
        }
    }
}

/// What a transaction code asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Moves money.
    Live,
    /// An entry that came back, or a notification of change.
    Back,
    /// A test of the account, without money.
    Prenote,
    /// No money, but remittance information.
    ZeroDollar,
    /// Takes back an earlier loan credit: the one debit that a loan account takes.
    LoanReversal,
    /// An advice between institutions.
    Advice,
}

/// What a transaction code means; none where the rule book lists none such.
///
/// The first digit is the account (2 checking, 3 savings, 4 general ledger, 5 loan, 8 advice), the
/// second says what happens to it.
pub(super) fn transaction_code(code: &[u8]) -> Option<(Form, Side)> {
    use Form::{Advice, Back, Live, LoanReversal, Prenote, ZeroDollar};
    use Side::{Credit, Debit};
    Some(match code {
        [b'2'..=b'5', b'1'] => (Back, Credit),
        [b'2'..=b'5', b'2'] => (Live, Credit),
        [b'2'..=b'5', b'3'] => (Prenote, Credit),
        [b'2'..=b'5', b'4'] => (ZeroDollar, Credit),
        [b'2'..=b'4', b'6'] => (Back, Debit),
        [b'2'..=b'4', b'7'] => (Live, Debit),
        [b'2'..=b'4', b'8'] => (Prenote, Debit),
        [b'2'..=b'4', b'9'] => (ZeroDollar, Debit),
        b"55" => (LoanReversal, Debit),
        b"56" => (Back, Debit),
        b"81" | b"83" | b"85" | b"87" => (Advice, Credit),
        b"82" | b"84" | b"86" | b"88" => (Advice, Debit),
        _ => return None,
    })
}

/// How the entries of a standard entry class are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form6 {
    /// The common form.
    Plain,
    /// With the number of addenda beside the name.
    Counted,
    /// International.
    Iat,
    /// Advice.
    Adv,
}

/// A standard entry class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EntryClass {
    /// Its three letters.
    pub(super) code: &'static str,
    /// How its entries are laid out.
    pub(super) form: Form6,
    /// True where it only collects: a credit comes only as the reversal of a collection.
    pub(super) debits_only: bool,
    /// True where its entries tell something and never move money.
    pub(super) informs: bool,
}

const fn class(code: &'static str, form: Form6, debits_only: bool, informs: bool) -> EntryClass {
    EntryClass { code, form, debits_only, informs }
}

/// Every standard entry class.
#[rustfmt::skip]
pub(super) const ENTRY_CLASSES: &[EntryClass] = &[
    //    code   form            debits informs
    class("ACK", Form6::Plain,   false, true),
    class("ADV", Form6::Adv,     false, false),
    class("ARC", Form6::Plain,   true,  false),
    class("ATX", Form6::Counted, false, true),
    class("BOC", Form6::Plain,   true,  false),
    class("CCD", Form6::Plain,   false, false),
    class("CIE", Form6::Plain,   false, false),
    class("COR", Form6::Plain,   false, true),
    class("CTX", Form6::Counted, false, false),
    class("DNE", Form6::Plain,   false, true),
    class("ENR", Form6::Plain,   false, true),
    class("IAT", Form6::Iat,     false, false),
    class("MTE", Form6::Plain,   false, false),
    class("POP", Form6::Plain,   true,  false),
    class("POS", Form6::Plain,   false, false),
    class("PPD", Form6::Plain,   false, false),
    class("RCK", Form6::Plain,   true,  false),
    class("SHR", Form6::Plain,   false, false),
    class("TEL", Form6::Plain,   true,  false),
    class("TRC", Form6::Plain,   true,  false),
    class("TRX", Form6::Counted, true,  false),
    class("WEB", Form6::Plain,   false, false),
    class("XCK", Form6::Plain,   true,  false),
];

/// Notifications of change to international entries: the batch says COR, and its entries are laid
/// out as international ones.
const IAT_CHANGE: EntryClass = class("COR", Form6::Iat, false, true);

/// The entry class of a batch that is international or not.
pub(super) fn batch_class(code: &[u8], is_iat: bool) -> Option<&'static EntryClass> {
    match code {
        b"COR" if is_iat => Some(&IAT_CHANGE),
        _ => entry_class(code),
    }
}

/// The entry class with these letters.
pub(super) fn entry_class(code: &[u8]) -> Option<&'static EntryClass> {
    ENTRY_CLASSES.iter().find(|class| class.code.as_bytes() == code)
}

/// The service class of batches of advices, and of no others.
pub(super) const ADVICES: i64 = 280;

/// Which sides a service class lets into its batch: debits, credits.
pub(super) fn service_class(code: i64) -> Option<(bool, bool)> {
    Some(match code {
        200 | 280 => (true, true),
        220 => (false, true),
        225 => (true, false),
        _ => return None,
    })
}

/// True for the reasons of a return that the rule book lists: R01–R47, R50–R53, dishonored
/// R61–R70, contested R71–R77, R80–R85.
pub(super) fn is_return_reason(code: &[u8]) -> bool {
    matches!(numbered(b'R', code), Some(1..=47 | 50..=53 | 61..=77 | 80..=85))
}

/// True for what goes back once more, to the institution that the account is at: returns that the
/// originator's institution dishonors (R61–R70), changes that it refuses (C61–C69).
pub(super) fn goes_to_the_account(reason: &[u8]) -> bool {
    matches!(numbered(b'R', reason), Some(61..=70))
        || matches!(numbered(b'C', reason), Some(61..=69))
}

/// True for the codes of a notification of change: C01–C14, refused ones C61–C69.
pub(super) fn is_change_code(code: &[u8]) -> bool {
    matches!(numbered(b'C', code), Some(1..=14 | 61..=69))
}

fn numbered(letter: u8, code: &[u8]) -> Option<i64> {
    match code {
        [first, digits @ ..] if *first == letter => crate::format::columns::number(digits),
        _ => None,
    }
}
