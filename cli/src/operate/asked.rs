//! Who asks for something, and why: kept in the answer, for whoever asks later.

use clap::Args;

use crate::output::masked;

/// Who asks, and why.
#[derive(Args, Clone, Debug)]
pub(crate) struct Asked {
    /// Why; published and kept with what it is about.
    #[arg(long, value_name = "TEXT", default_value = "no reason given")]
    why: String,
    /// Who asks [default: the user of the environment]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

impl Asked {
    /// Why. What may be an account number in it is masked: it is published.
    pub(crate) fn why(&self) -> String {
        without_numbers(&masked(&self.why))
    }

    /// Who: as told, else the user of the environment.
    pub(crate) fn by(&self) -> String {
        let named = |wanted: &str| {
            let mut variables = crate::environment();
            variables
                .find_map(|(name, value)| (name == wanted && !value.is_empty()).then_some(value))
        };
        let by =
            self.by.clone().or_else(|| ["USER", "LOGNAME", "USERNAME"].into_iter().find_map(named));
        without_numbers(&masked(&by.unwrap_or_else(|| "unknown".to_owned())))
    }
}

/// How many digits in a row may be an account number.
const NUMBER_DIGITS_MIN: usize = 9;

/// The text with all but the last four digits of each long number hidden.
fn without_numbers(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut digits = String::new();
    for letter in text.chars().chain(['\n']) {
        if letter.is_ascii_digit() {
            digits.push(letter);
            continue;
        }
        if digits.len() >= NUMBER_DIGITS_MIN {
            shown.push_str("****");
            digits.drain(..digits.len() - 4);
        }
        shown.push_str(&digits);
        digits.clear();
        shown.push(letter);
    }
    shown.pop();
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_number_is_masked_and_a_date_is_not() {
        for (typed, expected) in [
            ("account 1000000005 of 2026-11-22", "account ****0005 of 2026-11-22"),
            ("123456789", "****6789"),
            ("12345678 é 1", "12345678 é 1"),
            ("", ""),
        ] {
            assert_eq!(without_numbers(typed), expected);
        }
    }
}
