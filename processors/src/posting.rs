//! Posting rules: which accounts a record moves money between, as a table.
//!
//! A rule is chosen by the record's format and kind, and by whether it concerns a customer's
//! account. Each of its legs posts the record's whole amount, on the record's own side or on the
//! opposite one, so a rule sums to zero for every input where as many legs stand on one side as on
//! the other. That is checked when the table is loaded.

use schemas::{Direction, Kind};

/// Whose account a leg is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Party {
    /// The customer that the record names.
    Customer,
    /// What we owe a network or it owes us: `clearing:<network>#<shard>`.
    Clearing,
    /// Fees between institutions: `fees:<network>#<shard>`.
    Fees,
    /// Settlement positions between institutions: `settlement:<network>#<shard>`.
    Settlement,
    /// Money of our customers' entries that came back, until it is booked to the customers:
    /// `returns:<network>#<shard>`.
    Returns,
}

impl Party {
    /// The first part of a house account's name; none for a customer.
    pub fn house(self) -> Option<&'static str> {
        match self {
            Self::Customer => None,
            Self::Clearing => Some("clearing"),
            Self::Fees => Some("fees"),
            Self::Settlement => Some("settlement"),
            Self::Returns => Some("returns"),
        }
    }
}

/// On which side a leg stands, as seen from the record's direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A debit record debits this account.
    Same,
    /// A debit record credits this account.
    Opposite,
}

impl Side {
    /// What the leg does to its account, where the record has this direction.
    pub fn direction(self, record: &Direction) -> Direction {
        match self {
            Self::Same => record.clone(),
            Self::Opposite => record.opposite(),
        }
    }
}

/// One leg of a rule: the whole amount on one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegRule {
    /// Whose account.
    pub party: Party,
    /// On which side.
    pub side: Side,
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The format that it is for; none means any. A rule for one format goes before one for any.
    pub format: Option<String>,
    /// The kind of record that it is for.
    pub kind: Kind,
    /// True for records that name a customer's account, false for those that name none.
    pub with_account: bool,
    /// What is posted; nothing at all where there are no legs.
    pub legs: Vec<LegRule>,
}

/// A table of rules that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The legs of a rule don't sum to zero.
    #[error(
        "expected the posting rule for {rule} to sum to zero, found {same} legs on the record's \
         side and {opposite} on the opposite one"
    )]
    Unbalanced {
        /// Which rule.
        rule: String,
        /// Legs on the record's side.
        same: usize,
        /// Legs on the opposite side.
        opposite: usize,
    },
    /// A rule for records without an account posts to the customer.
    #[error("expected the posting rule for {rule} to name house accounts, found the customer's")]
    NoCustomer {
        /// Which rule.
        rule: String,
    },
    /// Two rules for the same records.
    #[error("expected one posting rule for {rule}, found two")]
    Twice {
        /// Which rule.
        rule: String,
    },
}

/// A table of rules, checked.
///
/// - Every rule sums to zero for every input.
/// - No two rules are for the same records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules(Vec<Rule>);

impl Rules {
    /// Checks a table.
    ///
    /// # Errors
    ///
    /// Where a rule doesn't sum to zero, names an account that its records lack, or is there twice.
    pub fn load(rules: Vec<Rule>) -> Result<Self, Error> {
        let mut known: Vec<&Rule> = Vec::with_capacity(rules.len());
        for rule in &rules {
            let same = rule.legs.iter().filter(|leg| leg.side == Side::Same).count();
            let opposite = rule.legs.iter().filter(|leg| leg.side == Side::Opposite).count();
            if same != opposite {
                return Err(Error::Unbalanced { rule: name(rule), same, opposite });
            }
            let customer = rule.legs.iter().any(|leg| leg.party == Party::Customer);
            if customer && !rule.with_account {
                return Err(Error::NoCustomer { rule: name(rule) });
            }
            let is_for_the_same = |other: &&Rule| {
                (&other.format, &other.kind, other.with_account)
                    == (&rule.format, &rule.kind, rule.with_account)
            };
            if known.iter().any(is_for_the_same) {
                return Err(Error::Twice { rule: name(rule) });
            }
            known.push(rule);
        }
        Ok(Self(rules))
    }

    /// The rules that hold where the configuration states none.
    ///
    /// | kind | account | legs |
    /// |---|---|---|
    /// | presentment, refund, reversal, chargeback, representment, fee, payment, return | yes | customer, against clearing |
    /// | fee | no | fees, against clearing |
    /// | settlement | no | settlement, against clearing |
    /// | return | no | returns, against clearing |
    /// | prenote, change, information | either | none |
    ///
    /// Where a record concerns no account, the house's fees, settlement or returns account stands
    /// in the customer's place: its direction says what the record does to that account.
    pub fn standard() -> Self {
        let rule = |kind, with_account, party: Option<Party>| Rule {
            format: None,
            kind,
            with_account,
            legs: party.map_or_else(Vec::new, |party| {
                vec![
                    LegRule { party, side: Side::Same },
                    LegRule { party: Party::Clearing, side: Side::Opposite },
                ]
            }),
        };
        Self(vec![
            rule(Kind::PRESENTMENT, true, Some(Party::Customer)),
            rule(Kind::PAYMENT, true, Some(Party::Customer)),
            rule(Kind::REFUND, true, Some(Party::Customer)),
            rule(Kind::REVERSAL, true, Some(Party::Customer)),
            rule(Kind::RETURN, true, Some(Party::Customer)),
            rule(Kind::CHARGEBACK, true, Some(Party::Customer)),
            rule(Kind::REPRESENTMENT, true, Some(Party::Customer)),
            rule(Kind::FEE, true, Some(Party::Customer)),
            rule(Kind::FEE, false, Some(Party::Fees)),
            rule(Kind::SETTLEMENT, false, Some(Party::Settlement)),
            rule(Kind::RETURN, false, Some(Party::Returns)),
            rule(Kind::PRENOTE, true, None),
            rule(Kind::PRENOTE, false, None),
            rule(Kind::CHANGE, true, None),
            rule(Kind::CHANGE, false, None),
            rule(Kind::INFORMATION, true, None),
            rule(Kind::INFORMATION, false, None),
        ])
    }

    /// The legs for a record of this format and kind; none where no rule fits.
    pub fn find(&self, format: &str, kind: &Kind, with_account: bool) -> Option<&[LegRule]> {
        let mut for_any = None;
        for rule in &self.0 {
            if rule.kind != *kind || rule.with_account != with_account {
                continue;
            }
            match &rule.format {
                Some(only) if only == format => return Some(&rule.legs),
                Some(_) => (),
                None => for_any = Some(rule.legs.as_slice()),
            }
        }
        for_any
    }
}

fn name(rule: &Rule) -> String {
    format!(
        "{} of {} {} an account",
        rule.kind,
        rule.format.as_deref().unwrap_or("any format"),
        if rule.with_account { "with" } else { "without" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(format: Option<&str>, with_account: bool, legs: &[(Party, Side)]) -> Rule {
        let legs = legs.iter().map(|(party, side)| LegRule { party: *party, side: *side });
        Rule {
            format: format.map(str::to_owned),
            kind: Kind::FEE,
            with_account,
            legs: legs.collect(),
        }
    }

    const CUSTOMER: (Party, Side) = (Party::Customer, Side::Same);
    const CLEARING: (Party, Side) = (Party::Clearing, Side::Opposite);
    const FEES: (Party, Side) = (Party::Fees, Side::Opposite);

    #[test]
    fn the_standard_table_passes_its_own_check() {
        let standard = Rules::standard();
        assert_eq!(Rules::load(standard.0.clone()), Ok(standard));
    }

    #[test]
    fn a_return_without_an_account_is_posted_house_against_house() {
        let standard = Rules::standard();
        let legs = |with_account| {
            let legs = standard.find("nacha", &Kind::RETURN, with_account).unwrap_or_default();
            legs.iter().map(|leg| (leg.party, leg.side)).collect::<Vec<_>>()
        };
        assert_eq!(legs(false), [(Party::Returns, Side::Same), CLEARING]);
        assert_eq!(legs(true), [CUSTOMER, CLEARING]);
        assert_eq!(Party::Returns.house(), Some("returns"));
    }

    #[test]
    fn a_table_that_does_not_sum_to_zero_is_refused_by_the_name_of_the_rule() {
        let cases = [
            (
                vec![rule(Some("ipm"), true, &[CUSTOMER, CLEARING, FEES])],
                "expected the posting rule for fee of ipm with an account to sum to zero, \
                 found 1 legs on the record's side and 2 on the opposite one",
            ),
            (
                vec![rule(None, false, &[CUSTOMER, CLEARING])],
                "expected the posting rule for fee of any format without an account to name \
                 house accounts, found the customer's",
            ),
            (
                vec![rule(None, true, &[CUSTOMER, CLEARING]), rule(None, true, &[])],
                "expected one posting rule for fee of any format with an account, found two",
            ),
        ];
        for (rules, expected) in cases {
            assert_eq!(Rules::load(rules).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn a_rule_for_the_format_goes_before_one_for_any() {
        let rules = Rules::load(vec![
            rule(None, true, &[CUSTOMER, CLEARING]),
            rule(Some("ipm"), true, &[]),
        ])
        .unwrap();
        assert_eq!(rules.find("ipm", &Kind::FEE, true).map(<[_]>::len), Some(0));
        assert_eq!(rules.find("nacha", &Kind::FEE, true).map(<[_]>::len), Some(2));
        assert_eq!(rules.find("nacha", &Kind::FEE, false), None);
        assert_eq!(rules.find("nacha", &Kind::PAYMENT, true), None);
    }
}
