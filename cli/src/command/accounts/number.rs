//! What a user may type to name an account: its id, or its number.
//!
//! Nothing of it is repeated in an error: what is typed wrong may still be a number.

use std::collections::BTreeSet;

use anyhow::bail;
use ingest::format::built_in;
use schemas::account::is_scheme;
use schemas::{AccountId, AccountText};

use crate::config::Config;

/// A card number, as ISO 7812 has it and the readers take it.
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 8..=19;

/// The longest account number of the ACH formats: the field of an international entry.
const ACH_NUMBER_LENGTH_MAX: usize = 35;

/// The longest identity of a merchant: DE 42, the card acceptor ID.
const MERCHANT_LENGTH_MAX: usize = 15;

/// The longest number that is taken of an account by a layout, which may be made of several fields.
const LAYOUT_NUMBER_LENGTH_MAX: usize = 128;

/// The schemes that accounts by layouts may have.
#[derive(Debug)]
pub(crate) enum Schemes {
    /// Whatever can be one: for who asks for an account that is there or not. The feed that made it
    /// may be gone.
    Any,
    /// Those of the built-in layouts and of a ledger's feeds: for who makes accounts, so that a
    /// slip makes none.
    Known(BTreeSet<String>),
}

impl Schemes {
    pub(crate) fn known(config: &Config) -> Self {
        let built_in = ingest::format::names().iter().filter_map(|name| built_in(name));
        let own = config.feeds.iter().filter_map(|feed| feed.layout.clone());
        let layouts = built_in.chain(own);
        let mut all = BTreeSet::new();
        layouts.for_each(|layout| all.extend(layout.account_schemes().map(str::to_owned)));
        all.retain(|scheme| !OF_READERS.contains(&scheme.as_str()));
        Self::Known(all)
    }

    fn has(&self, scheme: &str) -> bool {
        match self {
            Self::Any => is_scheme(scheme),
            Self::Known(known) => known.contains(scheme),
        }
    }

    /// What is expected before the colon.
    fn expected(&self) -> String {
        match self {
            Self::Any => "one to eight small letters".to_owned(),
            Self::Known(known) => {
                let all = OF_READERS.iter().copied().chain(known.iter().map(String::as_str));
                format!("one of {}", all.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// The schemes whose numbers are checked as the readers check them.
const OF_READERS: [&str; 3] = ["card", "ach", "merchant"];

/// The text, where it can be an account's id: a scheme and a token, or the name of a house account
/// such as `clearing:ach#7`.
///
/// # Errors
///
/// Where it can be neither.
pub(crate) fn id(typed: &str) -> anyhow::Result<&str> {
    if typed.parse::<AccountId>().is_ok() || is_house(typed) {
        return Ok(typed);
    }
    bail!(
        "expected an account's id: a scheme such as card, a colon and 32 hexadecimal digits, or the \
         name of a house account such as clearing:ach#7; for a number use --number"
    )
}

fn is_house(typed: &str) -> bool {
    let is_word = |text: &str| {
        let is_letter = |byte: u8| byte.is_ascii_lowercase() || b"-_".contains(&byte);
        !text.is_empty() && text.bytes().all(is_letter)
    };
    let Some((party, (network, shard))) =
        typed.split_once(':').and_then(|(party, rest)| Some((party, rest.split_once('#')?)))
    else {
        return false;
    };
    // No ledger has more than 1024 shards: a longer number is none of a shard.
    is_word(party) && is_word(network) && shard.len() <= 4 && shard.parse::<u16>().is_ok()
}

/// The canonical text of a number, as the readers of the formats make it.
///
/// # Errors
///
/// Where it is none that a file could have.
pub(crate) fn canonical(typed: &str, schemes: &Schemes) -> anyhow::Result<AccountText> {
    let Some((scheme, number)) = typed.split_once(':') else {
        bail!(
            "expected card:DIGITS, ach:ROUTING:NUMBER, merchant:ID or the account as a layout \
             writes it, found no colon"
        );
    };
    let mut text = AccountText::new();
    text.begin(scheme);
    match scheme {
        "card" => text.push_str(card(number)?),
        "ach" => {
            let (routing, number) = ach(number)?;
            text.push_str(routing);
            text.push_str(":");
            text.push_str(number);
        }
        "merchant" => text.push_str(printable(number, MERCHANT_LENGTH_MAX)?),
        _ if schemes.has(scheme) => text.push_str(of_layout(number)?),
        _ => bail!("expected {} before the colon, found another text", schemes.expected()),
    }
    Ok(text)
}

fn card(typed: &str) -> anyhow::Result<&str> {
    let number = typed.trim();
    if !CARD_DIGITS.contains(&number.len()) || !is_digits(number) {
        bail!("expected card: and 8 to 19 digits without blanks, found another text");
    }
    Ok(number)
}

fn ach(typed: &str) -> anyhow::Result<(&str, &str)> {
    let Some((routing, number)) = typed.split_once(':') else {
        bail!("expected ach:ROUTING:NUMBER, found one colon only");
    };
    let routing = routing.trim();
    if routing.len() != 9 || !is_digits(routing) {
        bail!("expected a routing number of 9 digits, found another text");
    }
    // Weights 3, 7, 1 over all nine digits, the check digit included, add up to whole tens.
    let weighted = routing.bytes().zip([3, 7, 1].into_iter().cycle());
    let sum: u32 = weighted.map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    if !sum.is_multiple_of(10) {
        bail!("expected a routing number whose check digit is right, found another");
    }
    Ok((routing, printable(number, ACH_NUMBER_LENGTH_MAX)?))
}

fn printable(typed: &str, length_max: usize) -> anyhow::Result<&str> {
    let number = typed.trim_matches(' ');
    let is_printable = number.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if !(1..=length_max).contains(&number.len()) || !is_printable {
        bail!("expected 1 to {length_max} characters of ASCII, found another text");
    }
    Ok(number)
}

/// As the layout's `account` writes it behind the scheme: each field without blanks around it.
fn of_layout(typed: &str) -> anyhow::Result<&str> {
    let number = typed.trim_matches(' ');
    let length = number.chars().count();
    if !(1..=LAYOUT_NUMBER_LENGTH_MAX).contains(&length) || number.chars().any(char::is_control) {
        bail!("expected 1 to {LAYOUT_NUMBER_LENGTH_MAX} characters, found another text");
    }
    Ok(number)
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_as_the_readers_write_it() {
        let schemes = Schemes::Known(["bank".to_owned()].into());
        for (typed, expected) in [
            ("card:5413330089010012", Some("card:5413330089010012")),
            ("card: 5413330089010012 ", Some("card:5413330089010012")),
            ("card:5413 3300 8901 0012", None),
            ("card:1234567", None),
            ("card:12345678901234567890", None),
            ("ach:990000660:1000000005", Some("ach:990000660:1000000005")),
            ("ach:990000660: 0010 5 ", Some("ach:990000660:0010 5")),
            ("ach:990000661:1000000005", None),
            ("ach:99000066:1000000005", None),
            ("ach:990000660:", None),
            ("ach:990000660", None),
            ("merchant: SHOP 1 ", Some("merchant:SHOP 1")),
            ("merchant:1234567890123456", None),
            ("merchant:", None),
            ("bank: 341:0001:54133 ", Some("bank:341:0001:54133")),
            ("bank:", None),
            ("bank:54133\t", None),
            ("cart:5413330089010012", None),
            ("5413330089010012", None),
        ] {
            let found = canonical(typed, &schemes);
            assert_eq!(found.as_ref().ok().map(AccountText::reveal), expected, "{typed}");
            if let Err(error) = found {
                assert!(!error.to_string().contains("54133"), "{error}");
            }
        }
    }

    #[test]
    fn an_id_is_a_token_or_a_house_account() {
        let token = format!("card:{}", "5f".repeat(16));
        for (typed, is_id) in [
            (token.as_str(), true),
            ("clearing:ach#7", true),
            ("fees:mastercard#1023", true),
            ("card:4111111111111111", false),
            ("clearing:ach#4111111111111111", false),
            ("ach:990000660:1000000005", false),
            ("1000000005", false),
        ] {
            assert_eq!(id(typed).is_ok(), is_id, "{typed}");
        }
    }
}
