//! What can be wrong with a registry.

use std::path::PathBuf;

/// Why the schemas could not be registered. No case ever shows a password.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address that can't be one.
    #[error(
        "expected the address of a schema registry as http(s)://host:port/path without a user in \
         it, found {found}"
    )]
    Address {
        /// What is wrong with it.
        found: String,
    },
    /// Certificates that can't be read.
    #[error("the certificates in {path} can't be used: {reason}", path = path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It doesn't answer, or not now.
    #[error("the schema registry at {url} is away: {reason}")]
    Away {
        /// Its address.
        url: String,
        /// What happened last.
        reason: String,
    },
    /// No connection can be made, and trying again won't help: unknown host, TLS.
    #[error("no connection to the schema registry at {url} can be made: {reason}")]
    Connection {
        /// Its address.
        url: String,
        /// Why.
        reason: String,
    },
    /// It doesn't let us.
    #[error(
        "the schema registry at {url} answers {status} to {call}: the user or the password is \
         wrong, or has not the right"
    )]
    Denied {
        /// Its address.
        url: String,
        /// 401 or 403.
        status: u16,
        /// What it was asked.
        call: String,
    },
    /// Something else is there.
    #[error("expected a schema registry at {url}, found something that answers {status} to {call}")]
    NoRegistry {
        /// The address.
        url: String,
        /// What it answered.
        status: u16,
        /// What it was asked.
        call: String,
    },
    /// The subject has versions that ours can't stand beside.
    #[error(
        "the schema registry at {url} refuses our schema as incompatible with what stands under \
         {subject}: {reason}"
    )]
    Incompatible {
        /// Its address.
        url: String,
        /// The subject.
        subject: String,
        /// The registry's own words.
        reason: String,
    },
    /// It refuses for another reason.
    #[error("the schema registry at {url} answers {status} to {call}: {reason}")]
    Refused {
        /// Its address.
        url: String,
        /// What it answered.
        status: u16,
        /// What it was asked.
        call: String,
        /// The registry's own words.
        reason: String,
    },
    /// It did not keep the compatibility that was set.
    #[error(
        "expected the schema registry at {url} to keep the compatibility FULL_TRANSITIVE of \
         {subject}, found {found}"
    )]
    Compatibility {
        /// Its address.
        url: String,
        /// The subject.
        subject: String,
        /// What it keeps.
        found: String,
    },
    /// The id that it gave stands for another schema.
    #[error("expected our schema of {subject} under id {id} at {url}, found another")]
    OtherSchema {
        /// Its address.
        url: String,
        /// The subject.
        subject: String,
        /// The id that it gave.
        id: u32,
    },
}

impl Error {
    /// True where it passes by itself: nothing is wrong with the settings.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Away { .. })
    }
}

impl From<Error> for crate::Error {
    fn from(error: Error) -> Self {
        let what = "its schemas can't be registered".to_owned();
        if error.is_outage() {
            Self::Retry { what, source: Some(Box::new(error)) }
        } else {
            Self::Fatal { what, source: Some(Box::new(error)) }
        }
    }
}
