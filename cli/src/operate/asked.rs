//! Who asks for something, and why: kept in the answer, for whoever asks later.

use clap::Args;

use crate::output::masked;

/// Who asks, and why.
#[derive(Args, Clone, Debug)]
pub(crate) struct Asked {
    /// Why; kept in the file's row with the answer.
    #[arg(long, value_name = "TEXT", default_value = "no reason given")]
    why: String,
    /// Who asks [default: the user of the environment]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

impl Asked {
    /// Why. Card numbers in it are masked: it is published.
    pub(crate) fn why(&self) -> String {
        masked(&self.why)
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
        masked(&by.unwrap_or_else(|| "unknown".to_owned()))
    }
}
