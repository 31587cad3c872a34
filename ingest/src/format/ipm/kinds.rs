//! What a message means, and what it does to the cardholder's account: as tables.

use schemas::{Direction, Kind};

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Begins a logical file.
    Header,
    /// Ends a logical file.
    Trailer,
    /// Presented by the acquirer.
    Presentment,
    /// Presented again by the acquirer.
    Representment,
    /// Disputed by the issuer.
    Chargeback,
    /// A fee between institutions: no cardholder is concerned.
    FeeCollection,
    /// A position between institutions: no cardholder is concerned.
    Position,
    /// Tells something and moves nothing.
    Information,
}

/// MTI, DE 24, what it means.
#[rustfmt::skip]
const MEANINGS: &[(&[u8; 4], &[u8; 3], Meaning)] = &[
    (b"1240", b"200", Meaning::Presentment),
    (b"1240", b"205", Meaning::Representment), // second presentment, full
    (b"1240", b"282", Meaning::Representment), // second presentment, partial
    (b"1442", b"450", Meaning::Chargeback),    // first chargeback, full
    (b"1442", b"451", Meaning::Chargeback),    // arbitration chargeback, full
    (b"1442", b"453", Meaning::Chargeback),    // first chargeback, partial
    (b"1442", b"454", Meaning::Chargeback),    // arbitration chargeback, partial
    (b"1644", b"603", Meaning::Information),   // retrieval request
    (b"1644", b"640", Meaning::Information),   // currency update
    (b"1644", b"680", Meaning::Information),   // file currency summary
    (b"1644", b"685", Meaning::Position),      // financial position detail
    (b"1644", b"688", Meaning::Position),      // settlement position detail
    (b"1644", b"691", Meaning::Information),   // message exception
    (b"1644", b"693", Meaning::Information),   // text
    (b"1644", b"695", Meaning::Trailer),
    (b"1644", b"696", Meaning::Information),   // addendum
    (b"1644", b"697", Meaning::Header),
    (b"1644", b"699", Meaning::Information),   // file reject
    (b"1740", b"700", Meaning::FeeCollection), // by a member
    (b"1740", b"780", Meaning::FeeCollection), // returned (unverified, as are the next three)
    (b"1740", b"781", Meaning::FeeCollection),
    (b"1740", b"782", Meaning::FeeCollection),
    (b"1740", b"783", Meaning::FeeCollection), // by the network
];

/// What MTI and function code mean; none where the table has no such pair.
pub(super) fn meaning(mti: &[u8], function: &[u8]) -> Option<Meaning> {
    MEANINGS
        .iter()
        .find(|(known_mti, known_function, _)| *known_mti == mti && *known_function == function)
        .map(|(_, _, meaning)| *meaning)
}

/// DE 3, first two digits: what a first presentment means, and whether it credits the cardholder.
#[rustfmt::skip]
const PROCESSING: &[(&[u8; 2], Kind, bool)] = &[
    (b"00", Kind::PRESENTMENT, false), // purchase
    (b"01", Kind::PRESENTMENT, false), // cash at a machine
    (b"09", Kind::PRESENTMENT, false), // purchase with cash back
    (b"12", Kind::PRESENTMENT, false), // cash at a counter
    (b"17", Kind::PRESENTMENT, false), // convenience check
    (b"18", Kind::PRESENTMENT, false), // quasi cash
    (b"19", Kind::FEE,         false), // fee, credit to its originator
    (b"20", Kind::REFUND,      true),
    (b"28", Kind::PAYMENT,     true),
    (b"29", Kind::FEE,         true),  // fee, debit to its originator
    (b"50", Kind::PRESENTMENT, false),
];

/// Kind and direction of a message that moves money, from the issuer's side; none where the
/// processing code is unknown.
///
/// A chargeback goes the other way than the presentment, a reversal the other way than what it
/// reverses.
pub(super) fn kind(
    meaning: Meaning,
    processing_code: &[u8],
    is_reversal: bool,
) -> Option<(Kind, Direction)> {
    let processing = processing_code.get(..2)?;
    let (_, presented, credits) =
        PROCESSING.iter().find(|(known, _, _)| known.as_slice() == processing)?;
    let is_fee_collection = meaning == Meaning::FeeCollection;
    if is_fee_collection && *presented != Kind::FEE {
        return None;
    }
    let turns = (meaning == Meaning::Chargeback) ^ is_reversal;
    let direction = if *credits ^ turns { Direction::CREDIT } else { Direction::DEBIT };
    let kind = match meaning {
        Meaning::FeeCollection => Kind::FEE,
        _ if is_reversal => Kind::REVERSAL,
        Meaning::Chargeback => Kind::CHARGEBACK,
        Meaning::Representment => Kind::REPRESENTMENT,
        _ => presented.clone(),
    };
    Some((kind, direction))
}
