//! Kafka as the configuration has it, and which of its settings is at fault where it can't be used.

use anyhow::anyhow;
use topic::kafka::{Mechanism, Sasl, Security, Settings, Tls, Unusable};
use topic::{Error, registry};

use crate::config::Config;
use crate::config::engines::KafkaConfig;

/// How Kafka is spoken to.
///
/// # Errors
///
/// Where a secret can't be read.
pub(crate) fn settings(config: &Config, kafka: &KafkaConfig) -> anyhow::Result<Settings> {
    let secret = |name| -> anyhow::Result<Option<String>> {
        Ok(config.secret(name)?.map(|secret| secret.reveal().to_owned()))
    };
    let sasl = match &kafka.sasl {
        None => None,
        Some((mechanism, user)) => {
            let password = secret("topics.password")?.ok_or_else(|| {
                anyhow!(
                    "topics.password_file is missing: topics.user signs in with a password; name \
                     its file, or set BATCHLESS_TOPICS_PASSWORD"
                )
            })?;
            let mechanism = Mechanism::from_name(mechanism)
                .ok_or_else(|| anyhow!("topics.sasl: expected another mechanism"))?;
            Some(Sasl { mechanism, user: user.clone(), password })
        }
    };
    let registry = match &kafka.registry {
        None => None,
        Some((url, user)) => Some(registry::Settings {
            url: url.clone(),
            user: user.clone(),
            password: secret("topics.registry_password")?,
            ca_file: kafka.ca_file.clone(),
        }),
    };
    let tls = kafka
        .tls
        .then(|| Tls { ca_file: kafka.ca_file.clone(), certificate: kafka.certificate.clone() });
    Ok(Settings {
        brokers: kafka.brokers.clone(),
        prefix: kafka.prefix.clone(),
        security: Security { tls, sasl },
        registry,
        session_timeout: kafka.session_timeout,
        transaction_timeout: kafka.transaction_timeout,
    })
}

/// Why Kafka can't be used, where it may be away for a moment only: who starts while a broker is
/// started anew waits for it.
#[derive(Debug)]
pub(crate) struct Away(String);

impl std::fmt::Display for Away {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Away {}

/// Why Kafka can't be used: the setting at fault, what was found, and what to do.
pub(crate) fn sentence(unusable: Unusable) -> anyhow::Error {
    let (setting, remedy) = match &unusable {
        // librdkafka's guess where a listener ends the handshake without a word.
        Unusable::Unreachable { reason, .. } if reason.contains("PLAINTEXT") => {
            ("topics.tls", "set topics.tls = false, or give the port where it speaks TLS")
        }
        // A broker that wants a user ends the connection of a stranger who asks for anything.
        Unusable::Unreachable { reason, .. } if reason.contains("in state UP") => (
            "topics.sasl",
            "give topics.sasl and topics.user where it wants a user (topics.location says where)",
        ),
        Unusable::Unreachable { .. } => ("topics.location", "start Kafka, or say where it listens"),
        Unusable::SignIn { .. } => (
            "topics.password",
            "give this user's password and mechanism (topics.user, topics.sasl)",
        ),
        Unusable::PlainListener { .. } => {
            ("topics.tls", "set topics.tls = false, or give the port where it speaks TLS")
        }
        Unusable::TlsListener { .. } => {
            ("topics.tls", "set topics.tls = true, and topics.sasl where it wants a user")
        }
        Unusable::Tls { .. } => {
            ("topics.tls_ca_file", "name the certificates of whoever vouches for the brokers")
        }
        Unusable::NotBuilt { .. } => {
            ("topics.location", "use a binary that was built with it, as ours are by default")
        }
        Unusable::Setting { .. } => ("topics.location", "look at the settings of [topics]"),
        Unusable::Missing { .. } => {
            ("topics.prefix", "`batchless topics create` makes them, or give another prefix")
        }
        Unusable::Partitions { .. } => (
            "topics.prefix",
            "numbers of partitions are fixed with the ledger (ledger.shards, \
             ledger.file_partitions); give the ledger's own, or another prefix for a new one",
        ),
        Unusable::Kept { .. } => {
            ("topics.prefix", "set it so with Kafka's own kafka-configs, or events get lost")
        }
        Unusable::Registry(error) => return registry_sentence(error),
        Unusable::Log(Error::Retry { .. }) => {
            ("topics.location", "start Kafka, or say where it listens")
        }
        Unusable::Log(_) => ("topics.location", "look at the broker's own log for the reason"),
    };
    let text = format!("{setting}: {}; {remedy}", super::chain(&unusable));
    // What a listener says that speaks otherwise only looks like an outage.
    match unusable.is_outage() && setting == "topics.location" {
        true => anyhow::Error::new(Away(text)),
        false => anyhow!(text),
    }
}

fn registry_sentence(error: &registry::Error) -> anyhow::Error {
    use registry::Error::{
        Address, Away, Certificates, Compatibility, Connection, Denied, Incompatible, NoRegistry,
        OtherSchema, Refused,
    };
    let (setting, remedy) = match error {
        Address { .. } => ("topics.registry", "give its address"),
        Certificates { .. } => ("topics.tls_ca_file", "name a file of certificates in PEM"),
        Away { .. } => ("topics.registry", "start it, or say where it is"),
        Connection { .. } => {
            ("topics.registry", "say where it is, and whether through http:// or https://")
        }
        Denied { .. } => (
            "topics.registry_password",
            "give topics.registry_user and its password, with the right to register",
        ),
        NoRegistry { .. } => {
            ("topics.registry", "give the path of Confluent's API too, such as /apis/ccompat/v7")
        }
        Incompatible { .. } | OtherSchema { .. } => (
            "topics.registry",
            "another program registered there; give another topics.prefix, or upgrade",
        ),
        Refused { .. } | Compatibility { .. } => {
            ("topics.registry", "look at the registry's own log for the reason")
        }
    };
    anyhow!("{setting}: {error}; {remedy}")
}
