//! Money: minor units, a currency and its exponent; never a float.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An ISO 4217 currency by its three letters, such as `BRL`.
///
/// - Three upper-case ASCII letters.
/// - Not necessarily a currency in force: files name old ones, and test codes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// US dollar, the one currency of a domestic ACH entry.
    pub const USD: Self = Self(*b"USD");

    /// The currency with these three letters; none where they aren't upper-case ASCII letters.
    pub fn from_letters(letters: &str) -> Option<Self> {
        let letters: [u8; 3] = letters.as_bytes().try_into().ok()?;
        letters.iter().all(u8::is_ascii_uppercase).then_some(Self(letters))
    }

    /// The currency of an ISO 4217 numeric code and its exponent; none where ISO lists no such
    /// code.
    pub fn from_numeric(code: u16) -> Option<(Self, u8)> {
        let listed = iso_currency::Currency::from_numeric(code)?;
        let exponent = u8::try_from(listed.exponent()?).ok()?;
        Some((Self::from_letters(listed.code())?, exponent))
    }

    /// How many decimal digits ISO 4217 gives its minor unit; none where it lists none.
    pub fn exponent(self) -> Option<u8> {
        u8::try_from(iso_currency::Currency::from_code(self.as_str())?.exponent()?).ok()
    }

    /// The three letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("???")
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Letters;
        impl serde::de::Visitor<'_> for Letters {
            type Value = Currency;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("three upper-case letters of a currency")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Currency, E> {
                Currency::from_letters(text)
                    .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Letters)
    }
}

crate::vocabulary! {
    /// What a record does to the customer's account.
    Direction {
        /// Takes from the account.
        DEBIT = "debit",
        /// Gives to the account.
        CREDIT = "credit",
        /// Moves no money.
        NONE = "none",
    }
}

impl Direction {
    /// The other side; *none* stays *none*.
    pub fn opposite(&self) -> Self {
        if *self == Self::DEBIT {
            Self::CREDIT
        } else if *self == Self::CREDIT {
            Self::DEBIT
        } else {
            self.clone()
        }
    }
}

/// Debits and credits of one currency: how many, and how much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// ISO 4217 letters.
    pub currency: Currency,
    /// Decimal digits of the minor unit that the amounts are in.
    pub exponent: i32,
    /// Number of debits.
    pub debits: i64,
    /// Sum of the debits in minor units; never negative.
    pub debits_minor: i64,
    /// Number of credits.
    pub credits: i64,
    /// Sum of the credits in minor units; never negative.
    pub credits_minor: i64,
}

/// Sums per currency and exponent, in ascending order of both.
///
/// The exponent is part of the unit: a file that states another exponent for a currency than ISO
/// does is summed apart, because 100 of one is not 100 of the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sums(Vec<Sum>);

/// A sum doesn't fit in 64 bits of minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sum in {currency} does not fit in 64 bits of minor units")]
pub struct SumOverflow {
    /// The currency whose sum is too large.
    pub currency: Currency,
}

impl Sums {
    /// No sums at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// The sums, one a currency and exponent, in ascending order.
    pub fn iter(&self) -> std::slice::Iter<'_, Sum> {
        self.0.iter()
    }

    /// True where nothing was added.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one amount; *none* as direction, and a zero amount, add nothing.
    ///
    /// # Errors
    ///
    /// Where the sum would not fit in 64 bits; nothing is added then.
    pub fn add(
        &mut self,
        direction: &Direction,
        currency: Currency,
        exponent: i32,
        amount_minor: i64,
    ) -> Result<(), SumOverflow> {
        let debit = *direction == Direction::DEBIT;
        if amount_minor == 0 || !(debit || *direction == Direction::CREDIT) {
            return Ok(());
        }
        let sum = self.entry(currency, exponent);
        let (count, amount) = if debit {
            (&mut sum.debits, &mut sum.debits_minor)
        } else {
            (&mut sum.credits, &mut sum.credits_minor)
        };
        let added = amount.checked_add(amount_minor).ok_or(SumOverflow { currency })?;
        *count = count.checked_add(1).ok_or(SumOverflow { currency })?;
        *amount = added;
        Ok(())
    }

    /// Adds all of `other`.
    ///
    /// # Errors
    ///
    /// Where a sum would not fit in 64 bits; what was added before stays.
    pub fn merge(&mut self, other: &Self) -> Result<(), SumOverflow> {
        for from in &other.0 {
            let overflow = SumOverflow { currency: from.currency };
            let into = self.entry(from.currency, from.exponent);
            into.debits = into.debits.checked_add(from.debits).ok_or(overflow)?;
            into.debits_minor = into.debits_minor.checked_add(from.debits_minor).ok_or(overflow)?;
            into.credits = into.credits.checked_add(from.credits).ok_or(overflow)?;
            into.credits_minor =
                into.credits_minor.checked_add(from.credits_minor).ok_or(overflow)?;
        }
        Ok(())
    }

    fn entry(&mut self, currency: Currency, exponent: i32) -> &mut Sum {
        let key = (currency, exponent);
        let at = match self.0.binary_search_by(|sum| (sum.currency, sum.exponent).cmp(&key)) {
            Ok(at) => at,
            Err(at) => {
                let none = Sum {
                    currency,
                    exponent,
                    debits: 0,
                    debits_minor: 0,
                    credits: 0,
                    credits_minor: 0,
                };
                self.0.insert(at, none);
                at
            }
        };
        &mut self.0[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numeric_codes_give_letters_and_exponent() {
        let cases = [(986, "BRL", 2), (840, "USD", 2), (392, "JPY", 0), (48, "BHD", 3)];
        for (code, letters, exponent) in cases {
            let (currency, found) = Currency::from_numeric(code).unwrap();
            assert_eq!((currency.as_str(), found), (letters, exponent));
            assert_eq!(currency.exponent(), Some(exponent));
        }
        assert_eq!(Currency::from_numeric(1), None);
        assert_eq!(Currency::from_letters("usd"), None);
        assert_eq!(Currency::from_letters("USDX"), None);
    }

    #[test]
    fn sums_stay_apart_by_currency_exponent_and_direction() {
        let brl = Currency::from_letters("BRL").unwrap();
        let mut sums = Sums::new();
        for (direction, currency, exponent, amount) in [
            (Direction::DEBIT, Currency::USD, 2, 5),
            (Direction::CREDIT, brl, 2, 7),
            (Direction::DEBIT, Currency::USD, 3, 11),
            (Direction::DEBIT, Currency::USD, 2, 1),
            (Direction::NONE, brl, 2, 100),
            (Direction::DEBIT, brl, 2, 0),
        ] {
            sums.add(&direction, currency, exponent, amount).unwrap();
        }
        let found: Vec<_> = sums
            .iter()
            .map(|sum| {
                (sum.currency, sum.exponent, sum.debits_minor, sum.credits_minor, sum.debits)
            })
            .collect();
        let usd = Currency::USD;
        assert_eq!(found, [(brl, 2, 0, 7, 0), (usd, 2, 6, 0, 2), (usd, 3, 11, 0, 1)]);
    }

    #[test]
    fn a_sum_that_does_not_fit_adds_nothing() {
        let mut sums = Sums::new();
        sums.add(&Direction::DEBIT, Currency::USD, 2, i64::MAX).unwrap();
        let before = sums.clone();
        assert!(sums.add(&Direction::DEBIT, Currency::USD, 2, 1).is_err());
        assert_eq!(sums, before);
    }
}
