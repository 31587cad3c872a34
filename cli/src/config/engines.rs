//! Where topics, accounts and objects are: the locations of the configuration, taken apart.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use processors::store::postgres;

use super::{Said, optional, required};
use crate::config::keys::KEYS;

/// Where the topics are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TopicsConfig {
    /// In the data directory.
    Embedded,
    /// On Kafka.
    Kafka(Box<KafkaConfig>),
}

/// A Kafka, and how to speak to it. The secrets are asked for when they are needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KafkaConfig {
    /// `HOST:PORT` with commas between them.
    pub(crate) brokers: String,
    /// Stands before every name.
    pub(crate) prefix: String,
    /// The schema registry's address, and its user.
    pub(crate) registry: Option<(String, Option<String>)>,
    /// Whether through TLS.
    pub(crate) tls: bool,
    /// Who vouches for it.
    pub(crate) ca_file: Option<PathBuf>,
    /// Our own certificate, and its key.
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
    /// How a user signs in, and who.
    pub(crate) sasl: Option<(String, String)>,
    /// How many copies are made of a topic that is created.
    pub(crate) replication: Option<u16>,
    /// How long records and rejects are kept.
    pub(crate) retention_days: Option<u32>,
    /// After how long a silent member of a group is given up.
    pub(crate) session_timeout: Duration,
    /// After how long a publish is given up whose process has died.
    pub(crate) transaction_timeout: Duration,
}

/// Where accounts are.
#[derive(Clone, Debug)]
pub(crate) enum StoreConfig {
    /// In the data directory.
    Embedded,
    /// In PostgreSQL: how it is spoken to, without the password, which is asked for when it is
    /// needed.
    Postgres(Box<postgres::Settings>),
}

/// Where objects are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A folder.
    Folder(PathBuf),
    /// A bucket of S3, and what the keys in it begin with; empty for all of it.
    S3 {
        /// The bucket.
        bucket: String,
        /// Without a slash at its ends.
        prefix: String,
    },
}

impl Place {
    /// The place that a location names.
    ///
    /// # Errors
    ///
    /// Where it names none.
    pub(crate) fn of(key: &str, location: &str) -> anyhow::Result<Self> {
        match location.split_once("://") {
            None => Ok(Self::Folder(PathBuf::from(location))),
            Some(("file", path)) if Path::new(path).is_absolute() => {
                Ok(Self::Folder(PathBuf::from(path)))
            }
            Some(("file", _)) => bail!("{key}: expected file:///…, found `{location}`"),
            Some(("s3", rest)) => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                if bucket.is_empty() || bucket.contains(['@', ':']) {
                    bail!(
                        "{key}: expected s3://BUCKET/PREFIX; endpoint and credentials are said by \
                         AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and so on"
                    );
                }
                let prefix = prefix.trim_matches('/').to_owned();
                Ok(Self::S3 { bucket: bucket.to_owned(), prefix })
            }
            Some((scheme, _)) => bail!(
                "{key}: expected a folder, as a path or as file:///…, or s3://BUCKET/PREFIX, found \
                 {scheme}://"
            ),
        }
    }
}

impl TopicsConfig {
    /// What was said of the topics.
    ///
    /// # Errors
    ///
    /// Where it can't be used, or would be spoken to in clear without leave.
    pub(super) fn new(said: &Said) -> anyhow::Result<Self> {
        let text = |name| optional(&said.whole, KEYS, name);
        let path = |name| -> anyhow::Result<_> { Ok(text(name)?.map(PathBuf::from)) };
        let is_set = |name| -> anyhow::Result<bool> { Ok(text(name)?.as_deref() == Some("true")) };
        let location = required(&said.whole, KEYS, "topics.location")?;
        let brokers = match location.split_once("://") {
            None if location == "embedded" => return Ok(Self::Embedded),
            Some(("kafka", brokers)) => brokers,
            _ => bail!("topics.location: expected embedded, or kafka://HOST:PORT,HOST:PORT"),
        };
        let mut hosts = Vec::new();
        let mut listed = Vec::new();
        for broker in brokers.trim_end_matches('/').split(',') {
            let (host, port) = host_and_port(broker, None).context(
                "topics.location: expected kafka://HOST:PORT with commas between brokers, without \
                 a user",
            )?;
            listed.push(broker.to_owned());
            hosts.push((host, port));
        }
        let tls = is_set("topics.tls")?;
        let ca_file = path("topics.tls_ca_file")?;
        let certificate = match (path("topics.tls_certificate_file")?, path("topics.tls_key_file")?)
        {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate, key)),
            _ => bail!("topics.tls_certificate_file and topics.tls_key_file: give both or neither"),
        };
        if certificate.is_some() && !tls {
            bail!("topics.tls_certificate_file: a certificate is of no use without topics.tls");
        }
        let sasl = match (text("topics.sasl")?, text("topics.user")?) {
            (None, None) => None,
            (Some(how), Some(user)) => Some((how, user)),
            _ => bail!("topics.sasl and topics.user: give both or neither"),
        };
        let registry = text("topics.registry")?;
        let may_be_clear = is_set("topics.allow_clear")?;
        if !tls && !may_be_clear {
            let open = hosts.iter().find(|(host, _)| !is_this_machine(host));
            if let Some((host, _)) = open {
                bail!(in_clear("topics.location", host, "topics"));
            }
        }
        if let Some(url) = &registry {
            let (scheme, host) = registry_host(url).context(
                "topics.registry: expected http://HOST:PORT/PATH or https://…, without a user",
            )?;
            if scheme == "http" && !may_be_clear && !is_this_machine(&host) {
                bail!(
                    "topics.registry: {host} is beyond this machine; speak to it through https://, \
                     or set topics.allow_clear = true"
                );
            }
        }
        let number = |name| -> anyhow::Result<Option<u32>> {
            Ok(text(name)?.map(|text| text.parse()).transpose()?)
        };
        let milliseconds = |name| -> anyhow::Result<Duration> {
            Ok(Duration::from_millis(required(&said.whole, KEYS, name)?.parse()?))
        };
        let registry_user = text("topics.registry_user")?;
        Ok(Self::Kafka(Box::new(KafkaConfig {
            brokers: listed.join(","),
            prefix: required(&said.whole, KEYS, "topics.prefix")?,
            registry: registry.map(|url| (url, registry_user)),
            tls,
            ca_file,
            certificate,
            sasl,
            replication: number("topics.replication")?.map(u16::try_from).transpose()?,
            retention_days: number("topics.retention_days")?,
            session_timeout: milliseconds("topics.session_timeout_ms")?,
            transaction_timeout: milliseconds("topics.transaction_timeout_ms")?,
        })))
    }

    /// Whether they are in the data directory.
    pub(crate) fn is_embedded(&self) -> bool {
        *self == Self::Embedded
    }
}

impl StoreConfig {
    /// What was said of the store.
    ///
    /// # Errors
    ///
    /// Where it can't be used, or would be spoken to in clear without leave.
    pub(super) fn new(said: &Said) -> anyhow::Result<Self> {
        let text = |name| optional(&said.whole, KEYS, name);
        let is_set = |name| -> anyhow::Result<bool> { Ok(text(name)?.as_deref() == Some("true")) };
        let location = required(&said.whole, KEYS, "store.location")?;
        if location == "embedded" {
            return Ok(Self::Embedded);
        }
        // Nothing of the location is repeated: a password may stand where none is expected.
        let mut settings = match postgres::Settings::from_location(&location) {
            Ok(settings) => settings,
            Err(postgres::LocationError::Password) => bail!(
                "store.location: expected postgres://USER@HOST:PORT/DATABASE, found a password in \
                 it; put that into a file of its own and name it with store.password_file, or set \
                 BATCHLESS_STORE_PASSWORD"
            ),
            Err(error) => bail!("store.location: {error}; or `embedded`"),
        };
        let tls = is_set("store.tls")?;
        if !tls && !is_set("store.allow_clear")? && !is_this_machine(&settings.host) {
            bail!(in_clear("store.location", &settings.host, "store"));
        }
        let ca_file = text("store.tls_ca_file")?.map(PathBuf::from);
        settings.tls = tls.then_some(postgres::Tls { ca_file });
        Ok(Self::Postgres(Box::new(settings)))
    }

    /// Whether they are in the data directory.
    pub(crate) fn is_embedded(&self) -> bool {
        matches!(self, Self::Embedded)
    }
}

fn in_clear(key: &str, host: &str, section: &str) -> String {
    format!(
        "{key}: {host} is beyond this machine, where nothing may be read along; set {section}.tls \
         = true, or, in a network that nobody else is in, {section}.allow_clear = true"
    )
}

/// Host and port of `HOST:PORT` or `[V6]:PORT`; none where it is neither.
fn host_and_port(text: &str, port: Option<u16>) -> Option<(String, u16)> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(inner) => inner.split_once(']')?,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    if host.is_empty() || !host.bytes().all(is_host) {
        return None;
    }
    let port = match rest.strip_prefix(':') {
        Some(digits) => digits.parse().ok()?,
        None if rest.is_empty() => port?,
        None => return None,
    };
    Some((host.to_owned(), port))
}

/// Scheme and host of a registry's address.
fn registry_host(url: &str) -> Option<(&str, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let at = rest.split('/').next()?;
    let (host, _) = host_and_port(at, Some(0))?;
    ["http", "https"].contains(&scheme).then_some((scheme, host))
}

/// Whether what is sent there never leaves this machine.
fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
