//! What an event posts, in 64 bits: by it a doubled sequence is told from a conflicting one.

use sha2::{Digest as _, Sha256};

use crate::{AccountId, Currency, Date, Direction, Kind};

/// The first 64 bits of SHA-256 over account, kind, direction, amount, currency and value date.
///
/// Each part is closed by 0x1f, which none of them holds, so that no two lists of parts run
/// together.
pub fn fingerprint(
    account: Option<&AccountId>,
    kind: &Kind,
    direction: &Direction,
    amount_minor: i64,
    currency: Option<Currency>,
    value_date: Option<Date>,
) -> i64 {
    const END: &[u8] = &[0x1f];
    let mut hash = Sha256::new();
    if let Some(account) = account {
        hash.update(account.to_string());
    }
    hash.update(END);
    hash.update(kind.as_str());
    hash.update(END);
    hash.update(direction.as_str());
    hash.update(END);
    hash.update(amount_minor.to_be_bytes());
    hash.update(END);
    if let Some(currency) = currency {
        hash.update(currency.as_str());
    }
    hash.update(END);
    if let Some(date) = value_date {
        hash.update(date.days().to_be_bytes());
    }
    let digest = hash.finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AccountKey, AccountText};

    #[test]
    fn every_part_changes_it() {
        let account = |number: &str| {
            let mut text = AccountText::new();
            text.begin("card");
            text.push_str(number);
            AccountKey::new(&[1; 32]).account(&text)
        };
        let one = account("5413330089010012");
        let other = account("5413330089010020");
        let brl = Currency::from_letters("BRL");
        let usd = Some(Currency::USD);
        let day = Date::new(2026, 1, 2);
        let base = (&one, Kind::PRESENTMENT, Direction::DEBIT, 100, brl, day);
        let cases = [
            base.clone(),
            (&other, base.1.clone(), base.2.clone(), 100, brl, day),
            (&None, base.1.clone(), base.2.clone(), 100, brl, day),
            (&one, Kind::REFUND, base.2.clone(), 100, brl, day),
            (&one, base.1.clone(), Direction::CREDIT, 100, brl, day),
            (&one, base.1.clone(), base.2.clone(), 101, brl, day),
            (&one, base.1.clone(), base.2.clone(), 100, usd, day),
            (&one, base.1.clone(), base.2.clone(), 100, brl, None),
        ];
        let of = |(account, kind, direction, amount, currency, date): &(
            &Option<AccountId>,
            Kind,
            Direction,
            i64,
            Option<Currency>,
            Option<Date>,
        )| {
            fingerprint(account.as_ref(), kind, direction, *amount, *currency, *date)
        };
        let found: std::collections::BTreeSet<i64> = cases.iter().map(of).collect();
        assert_eq!(found.len(), cases.len());
        assert_eq!(of(&cases[0]), of(&base));
    }
}
