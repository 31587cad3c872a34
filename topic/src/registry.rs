//! The schema registry: under which ids our schemas travel on Kafka.
//!
//! Inside the program every event bears the built-in id of its schema; a log that is read by others
//! bears the registry's. [`Ids`] knows both ways, for every topic, from the moment it is made: no
//! message ever waits for a call, so a registry that is away later on stops nothing.
//!
//! A subject is a topic and a record's name (TopicRecordNameStrategy), since several events share
//! a topic: `batchless.records-batchless.ClearingRecord`. Its compatibility is FULL_TRANSITIVE, set
//! by us, because the defaults of servers differ. Nothing is written that is there already: once
//! the schemas are registered, a user who may only read is enough.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use schemas::Topic;
use schemas::codec::EventType;

mod client;
mod error;
mod subject;

pub use error::Error;

use client::Client;

/// Where the registry is, and who we are to it.
#[derive(Clone)]
pub struct Settings {
    /// Its address up to where Confluent's paths (`/subjects`, `/schemas`, `/config`) begin: http
    /// or https, without a user in it.
    pub url: String,
    /// Who asks, where it wants to know (HTTP basic authentication).
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<String>,
    /// Certificates (PEM) to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An address with a user in it is refused, but may be printed before it is.
        let url = if self.url.contains('@') { "***" } else { &self.url };
        f.debug_struct("Settings")
            .field("url", &url)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("ca_file", &self.ca_file)
            .finish()
    }
}

/// The ids of schemas, inside (built-in) and on the wire. A cheap handle.
#[derive(Clone, Debug)]
pub struct Ids {
    /// None where no registry is configured: the built-in ids travel.
    registered: Option<Arc<Registered>>,
}

/// What a registry said.
#[derive(Debug)]
struct Registered {
    url: String,
    prefix: String,
    /// For each topic, in the order of [`Topic::ALL`], its few ids. The first pair of a built-in
    /// id is the one to write; the others are older versions that read the same.
    topics: [Vec<Pair>; Topic::ALL.len()],
}

/// An id inside and on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pair {
    built_in: u32,
    wire: u32,
}

impl Ids {
    /// The ids where no registry is configured: the same inside and on the wire.
    pub fn built_in() -> Self {
        Self { registered: None }
    }

    /// Registers every schema under its subject on the topics with this prefix, where it is not
    /// there yet, and learns its ids. Where the registry can't be reached it is tried again for a
    /// few seconds.
    ///
    /// # Errors
    ///
    /// [`Error`] says which; [`Error::is_outage`] are those that pass by themselves.
    pub async fn register(settings: &Settings, prefix: &str) -> Result<Self, Error> {
        let client = Client::new(settings)?;
        let mut topics: [Vec<Pair>; Topic::ALL.len()] = Default::default();
        for &event in EventType::ALL {
            let wires = subject::register(&client, prefix, event).await?;
            let built_in = event.built_in_id();
            topics[event.topic() as usize]
                .extend(wires.into_iter().map(|wire| Pair { built_in, wire }));
        }
        let url = client.url().to_owned();
        Ok(Self {
            registered: Some(Arc::new(Registered { url, prefix: prefix.to_owned(), topics })),
        })
    }

    /// True where the ids inside are those on the wire, so that nothing is to be translated.
    pub fn is_built_in(&self) -> bool {
        self.registered.is_none()
    }

    /// The id on the wire of what has this built-in id; none where such an event doesn't stand on
    /// this topic.
    pub fn to_wire(&self, topic: Topic, built_in: u32) -> Option<u32> {
        let Some(registered) = &self.registered else { return Some(built_in) };
        let mut pairs = registered.topics[topic as usize].iter();
        pairs.find(|pair| pair.built_in == built_in).map(|pair| pair.wire)
    }

    /// The built-in id of what has this id on the wire; none where it is none of ours (then say
    /// [`Self::unknown`]).
    pub fn from_wire(&self, topic: Topic, wire: u32) -> Option<u32> {
        let Some(registered) = &self.registered else { return Some(wire) };
        let mut pairs = registered.topics[topic as usize].iter();
        pairs.find(|pair| pair.wire == wire).map(|pair| pair.built_in)
    }

    /// What is wrong with a message whose id on the wire isn't known.
    pub fn unknown(&self, topic: Topic, wire: u32) -> crate::Error {
        let whose = match &self.registered {
            None => "the built-in schemas".to_owned(),
            Some(registered) => {
                let Registered { url, prefix, .. } = &**registered;
                format!("the subjects {prefix}{topic}-… at {url}, as they were at start")
            }
        };
        crate::Error::fatal(format!(
            "expected an id of {whose}, found {wire}; where a newer version writes to this topic, \
             upgrade or restart"
        ))
    }

    /// Every subject and its newest id; empty where no registry is configured.
    pub fn subjects(&self) -> Vec<(String, u32)> {
        let Some(registered) = &self.registered else { return Vec::new() };
        let known = |&event: &EventType| {
            let wire = self.to_wire(event.topic(), event.built_in_id())?;
            Some((subject(&registered.prefix, event), wire))
        };
        EventType::ALL.iter().filter_map(known).collect()
    }
}

/// The subject of an event's schema, by TopicRecordNameStrategy.
pub fn subject(prefix: &str, event: EventType) -> String {
    format!("{prefix}{}-{}", event.topic(), event.full_name())
}
