//! PostgreSQL as the configuration has it, and which of its settings is at fault where it can't be
//! used.

use anyhow::anyhow;
use processors::store::Error;
use processors::store::postgres::{Password, Settings};

use crate::config::Config;

/// How PostgreSQL is spoken to, the password included.
///
/// # Errors
///
/// Where the password can't be read.
pub(crate) fn settings(config: &Config, at: &Settings) -> anyhow::Result<Settings> {
    let password = config.secret("store.password")?;
    let password = password.map(|secret| Password::new(secret.reveal()));
    Ok(Settings { password, ..at.clone() })
}

/// What a failure is about, by a word of its text, and the setting that says that; the first one
/// holds. The errors of the store tell a caller what to do, and these two what to look at.
const AT_FAULT: &[(&str, &str)] = &[
    ("password", "store.password"),
    ("certificate", "store.tls_ca_file"),
    ("encrypted connection", "store.tls"),
    ("in clear or encrypted", "store.tls"),
    ("has no TLS", "store.tls"),
];

/// Why PostgreSQL can't be used: the setting at fault, what was found, and what to do.
pub(crate) fn sentence(error: &Error) -> anyhow::Error {
    let text = super::chain(error);
    let found = AT_FAULT.iter().find(|(word, _)| text.contains(word));
    let setting = found.map_or("store.location", |(_, setting)| setting);
    match error {
        Error::Retry { .. } => {
            anyhow!("{setting}: {text}; start PostgreSQL, or say where it listens")
        }
        _ => anyhow!("{setting}: {text}"),
    }
}
