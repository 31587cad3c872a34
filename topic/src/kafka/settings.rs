//! Where Kafka is, and how it is spoken to.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::registry;

/// How long a member of a group may be silent before its partitions are given to others.
///
/// The wait after a kill -9; long enough that a pause of the collector, of the disk or of the
/// network, on either side, is not taken for one.
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a publish may be under way before the broker aborts it.
///
/// A process that dies in the middle of one holds up the readers of committed data for so long,
/// unless the same name is opened sooner.
pub const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);

/// Where Kafka is, and how it is spoken to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `HOST:PORT`, with commas between them. Any of the cluster's brokers; the others are learnt.
    pub brokers: String,
    /// Stands before the name of every topic, group and writer.
    pub prefix: String,
    /// Encryption, and who we are.
    pub security: Security,
    /// The schema registry whose ids stand on the topics; none leaves the built-in ids there.
    pub registry: Option<registry::Settings>,
    /// See [`SESSION_TIMEOUT`], which is what to give. At least what the broker allows (its
    /// `group.min.session.timeout.ms`, 6 s).
    pub session_timeout: Duration,
    /// See [`TRANSACTION_TIMEOUT`], which is what to give.
    pub transaction_timeout: Duration,
}

/// Encryption, and who we are.
#[derive(Clone, Debug, Default)]
pub struct Security {
    /// TLS; none is plain text.
    pub tls: Option<Tls>,
    /// How the user signs in; none is nobody, or who the certificate says.
    pub sasl: Option<Sasl>,
}

/// Whom TLS trusts, and what it shows.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Certificates (PEM) to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate and its key (both PEM), where brokers ask for one.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// How the user signs in.
#[derive(Clone)]
pub struct Sasl {
    /// The mechanism.
    pub mechanism: Mechanism,
    /// The user.
    pub user: String,
    /// The user's password.
    pub password: String,
}

impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sasl")
            .field("mechanism", &self.mechanism)
            .field("user", &self.user)
            .field("password", &"***")
            .finish()
    }
}

/// How a password is shown to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// In clear: only of use within TLS.
    Plain,
    /// SCRAM-SHA-256.
    ScramSha256,
    /// SCRAM-SHA-512.
    ScramSha512,
}

impl Mechanism {
    /// Its name, as brokers and our configuration spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }

    /// The mechanism of this name, if any.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Plain, Self::ScramSha256, Self::ScramSha512].into_iter().find(|it| it.name() == name)
    }
}
