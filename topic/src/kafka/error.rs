//! What keeps us from Kafka, told apart by whoever must mend it.

use rdkafka::error::KafkaError;
use schemas::Topic;

use crate::{Error, registry};

/// Why Kafka can't be used. Each kind is another setting's fault.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// No broker answered.
    #[error("no broker of {brokers} answers: {reason}")]
    Unreachable {
        /// Where they were looked for.
        brokers: String,
        /// What the last try found.
        reason: String,
    },
    /// A broker doesn't let us in: user, password, mechanism or certificate.
    #[error("the broker refused the sign-in: {reason}")]
    SignIn {
        /// In the broker's words.
        reason: String,
    },
    /// We speak TLS and the broker doesn't.
    #[error("TLS was asked for, and the broker's listener speaks plain text: {reason}")]
    PlainListener {
        /// What was found.
        reason: String,
    },
    /// The broker speaks TLS (or wants a sign-in) and we don't.
    #[error("plain text was asked for, and the broker's listener speaks TLS: {reason}")]
    TlsListener {
        /// What was found.
        reason: String,
    },
    /// The broker's certificate isn't trusted, or ours can't be used.
    #[error("TLS failed: {reason}")]
    Tls {
        /// What was found.
        reason: String,
    },
    /// This program was built without what the settings ask for.
    #[error("this program's Kafka client was built without {feature}")]
    NotBuilt {
        /// What it lacks, in librdkafka's words.
        feature: &'static str,
    },
    /// The client refused a setting.
    #[error("the Kafka client refused the setting {name}: {reason}")]
    Setting {
        /// Its name, in librdkafka's words.
        name: String,
        /// Why; never the value.
        reason: String,
    },
    /// Some topics are not there.
    #[error("expected the topics {}, found them missing", names(.prefix, .missing))]
    Missing {
        /// Stands before their names.
        prefix: String,
        /// Which.
        missing: Vec<Topic>,
    },
    /// A topic has another number of partitions.
    #[error("expected {expected} partitions of the topic {prefix}{topic}, found {found}")]
    Partitions {
        /// Stands before its name.
        prefix: String,
        /// Which.
        topic: Topic,
        /// As the ledger has it, or the topics that go with it.
        expected: u32,
        /// As the broker has it.
        found: u32,
    },
    /// A topic would keep too little: what is compacted must not be deleted, and the reverse.
    #[error("expected {name} {expected} of the topic {prefix}{topic}, found {found}")]
    Kept {
        /// Stands before its name.
        prefix: String,
        /// Which.
        topic: Topic,
        /// The topic's setting, in Kafka's words.
        name: &'static str,
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The schema registry.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// Something else, such as a right that the user lacks.
    #[error(transparent)]
    Log(#[from] Error),
}

fn names(prefix: &str, topics: &[Topic]) -> String {
    let names: Vec<String> = topics.iter().map(|topic| format!("{prefix}{topic}")).collect();
    names.join(", ")
}

impl Unusable {
    /// True where waiting may mend it: brokers or registry that don't answer.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Log(Error::Retry { .. }) => true,
            Self::Registry(error) => error.is_outage(),
            _ => false,
        }
    }
}

impl From<Unusable> for Error {
    fn from(unusable: Unusable) -> Self {
        match unusable {
            Unusable::Log(error) => error,
            other => {
                let what = other.to_string();
                let source: Option<Box<dyn std::error::Error + Send + Sync>> = None;
                if other.is_outage() {
                    Self::Retry { what, source }
                } else {
                    Self::Fatal { what, source }
                }
            }
        }
    }
}

/// What a client says that could not be made. Never with a value: it may be a password.
pub(super) fn refused(error: KafkaError) -> Unusable {
    match error {
        KafkaError::ClientConfig(_, reason, name, _) if name.contains("password") => {
            let _ = reason;
            Unusable::Setting { name, reason: "expected another value".to_owned() }
        }
        KafkaError::ClientConfig(_, reason, name, _) => Unusable::Setting { name, reason },
        KafkaError::ClientCreation(reason) if reason.contains("ssl.") => Unusable::Tls { reason },
        other => Unusable::Log(Error::Fatal {
            what: "the Kafka client could not be made".to_owned(),
            source: Some(Box::new(other)),
        }),
    }
}
