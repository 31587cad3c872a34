//! Avro bodies in the Confluent framing: 0x00, schema id (u32 big-endian), Avro body.
//!
//! ```
//! use schemas::codec::{Codec, EventType};
//! use schemas::ledger::Ledger;
//!
//! let codec = Codec::built_in();
//! let ledger = Ledger {
//!     name: "main".to_owned(),
//!     shards: 16,
//!     file_partitions: 4,
//!     key_check_value: "00ff00ff00ff00ff".to_owned(),
//! };
//! let bytes = codec.encode(&ledger)?;
//! assert_eq!(bytes[..5], [0, 0, 0, 0, EventType::Ledger.built_in_id() as u8]);
//! assert_eq!(codec.event_type(&bytes)?, EventType::Ledger);
//! assert_eq!(codec.decode::<Ledger>(&bytes)?, ledger);
//! # Ok::<(), schemas::codec::Error>(())
//! ```

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use serde_avro_fast::ser::SerializerConfig;

use crate::arrival::Arrival;
use crate::command::{FileCommand, PublishFile, SegmentApplied};
use crate::file::File;
use crate::ledger::Ledger;
use crate::outcome::Outcome;
use crate::record::{AccountChanged, ClearingRecord, Reversal, SegmentClosed};
use crate::reject::RecordRejected;
use crate::topics::Topic;

const MAGIC: u8 = 0;
const HEADER_LENGTH: usize = 5;

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident = $id:literal on $topic:ident,)+) => {
        /// What an event is, by the name of its schema.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventType {
            $($(#[$doc])* $name,)+
        }

        impl EventType {
            /// Every type of event, in the order of the built-in ids.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The name of its schema, within the namespace `batchless`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }

            /// The name that CloudEvents headers give it.
            pub fn full_name(self) -> &'static str {
                match self {
                    $(Self::$name => concat!("batchless.", stringify!($name)),)+
                }
            }

            /// The topic that it stands on; no other ever has it.
            pub fn topic(self) -> Topic {
                match self {
                    $(Self::$name => Topic::$topic,)+
                }
            }

            /// The id of its newest schema where no schema registry is configured.
            pub fn built_in_id(self) -> u32 {
                match self {
                    $(Self::$name => $id,)+
                }
            }

            /// Its newest schema, as it stands in `avro/`.
            pub fn schema_text(self) -> &'static str {
                match self {
                    $(Self::$name => {
                        include_str!(concat!("../avro/", stringify!($name), ".avsc"))
                    })+
                }
            }
        }

        $(
            impl Event for $name {
                const TYPE: EventType = EventType::$name;
            }
        )+
    };
}

impl EventType {
    /// True where bytes written under this schema are read by the newest one as they are: both
    /// have the same parsing canonical form (docs, defaults and spacing are left out of it).
    pub fn is_written_as(self, schema_text: &str) -> bool {
        let canonical = |text: &str| {
            let schema: serde_avro_fast::schema::SchemaMut = text.parse().ok()?;
            schema.canonical_form_rabin_fingerprint().ok()
        };
        let theirs = canonical(schema_text);
        theirs.is_some() && theirs == canonical(self.schema_text())
    }
}

/// A type that is said on a topic, under one schema.
pub trait Event: Serialize + for<'de> Deserialize<'de> {
    /// Which one it is.
    const TYPE: EventType;
}

events! {
    /// One record of a file.
    ClearingRecord = 1 on Records,
    /// The end of a file's run on one shard.
    SegmentClosed = 2 on Records,
    /// Asks a shard to undo.
    Reversal = 3 on Records,
    /// Sets an account's state or label.
    AccountChanged = 4 on Records,
    /// A record that can't be read.
    RecordRejected = 5 on Rejects,
    /// What became of an event.
    Outcome = 6 on Postings,
    /// A row of `arrivals`.
    Arrival = 7 on Arrivals,
    /// A row of `files`.
    File = 8 on Files,
    /// The descriptor of the ledger.
    Ledger = 9 on Files,
    /// Hands a verified file to its owner.
    PublishFile = 10 on Commands,
    /// What an operator asks.
    FileCommand = 11 on Commands,
    /// A shard's answer.
    SegmentApplied = 12 on Commands,
}

/// Bytes that are no event of ours, or a value that has no form in its schema.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Too short for the framing, or another first byte.
    #[error("expected the framing 0x00 and a schema id, found {found} bytes that begin otherwise")]
    Framing {
        /// How many bytes there are.
        found: usize,
    },
    /// An id that no known schema has.
    #[error("expected the id of a known schema, found {id}")]
    UnknownSchema {
        /// The id found.
        id: u32,
    },
    /// The schema of another type than the one asked for.
    #[error("expected an event of type {expected}, found {found}")]
    OtherType {
        /// The type asked for.
        expected: &'static str,
        /// The type found.
        found: &'static str,
    },
    /// A body that doesn't follow its schema.
    #[error("failed to decode an event of type {event}: {source}")]
    Decode {
        /// The type that its id names.
        event: &'static str,
        /// Where the body departs from the schema.
        source: serde_avro_fast::de::DeError,
    },
    /// A value that the schema can't express.
    #[error("failed to encode an event of type {event}: {source}")]
    Encode {
        /// The type of the value.
        event: &'static str,
        /// What can't be expressed.
        source: serde_avro_fast::ser::SerError,
    },
}

/// Encodes and decodes events: knows which id stands for which schema.
#[derive(Clone, Copy, Debug)]
pub struct Codec(());

impl Codec {
    /// The codec of the built-in schemas, under their fixed ids.
    pub fn built_in() -> Self {
        Self(())
    }

    /// What event these bytes hold, by their schema id alone.
    ///
    /// # Errors
    ///
    /// Where the framing is another, or the id unknown.
    pub fn event_type(&self, bytes: &[u8]) -> Result<EventType, Error> {
        let id = match bytes {
            [MAGIC, a, b, c, d, ..] => u32::from_be_bytes([*a, *b, *c, *d]),
            _ => return Err(Error::Framing { found: bytes.len() }),
        };
        let known = EventType::ALL.iter().find(|event| event.built_in_id() == id);
        known.copied().ok_or(Error::UnknownSchema { id })
    }

    /// Decodes an event.
    ///
    /// # Errors
    ///
    /// Where the bytes hold another type of event, or don't follow its schema.
    pub fn decode<E: Event>(&self, bytes: &[u8]) -> Result<E, Error> {
        self.decode_view(E::TYPE, bytes)
    }

    /// Decodes into a type that holds only some of the event's fields, possibly borrowed.
    ///
    /// # Errors
    ///
    /// Where the bytes hold another type of event than `expected`, or don't follow its schema.
    pub fn decode_view<'a, T: Deserialize<'a>>(
        &self,
        expected: EventType,
        bytes: &'a [u8],
    ) -> Result<T, Error> {
        let found = self.event_type(bytes)?;
        if found != expected {
            return Err(Error::OtherType { expected: expected.name(), found: found.name() });
        }
        let body = bytes.get(HEADER_LENGTH..).unwrap_or_default();
        serde_avro_fast::from_datum_slice(body, schema(found))
            .map_err(|source| Error::Decode { event: found.name(), source })
    }

    /// Encodes one event. Where many of one type follow each other, use an [`Encoder`].
    ///
    /// # Errors
    ///
    /// Where the value has no form in its schema.
    pub fn encode<E: Event>(&self, event: &E) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.encoder().encode(event, &mut bytes)?;
        Ok(bytes)
    }

    /// An encoder for many events of one type, which keeps its buffers.
    pub fn encoder<E: Event>(&self) -> Encoder<E> {
        Encoder { config: SerializerConfig::new(schema(E::TYPE)), event: std::marker::PhantomData }
    }
}

/// Encodes many events of one type.
pub struct Encoder<E> {
    config: SerializerConfig<'static>,
    event: std::marker::PhantomData<fn(&E)>,
}

impl<E: Event> Encoder<E> {
    /// Appends one event, framed, to `bytes`.
    ///
    /// # Errors
    ///
    /// Where the value has no form in its schema; `bytes` is as it was then.
    pub fn encode(&mut self, event: &E, bytes: &mut Vec<u8>) -> Result<(), Error> {
        let before = bytes.len();
        bytes.push(MAGIC);
        bytes.extend_from_slice(&E::TYPE.built_in_id().to_be_bytes());
        match serde_avro_fast::to_datum(event, &mut *bytes, &mut self.config) {
            Ok(_) => Ok(()),
            Err(source) => {
                bytes.truncate(before);
                Err(Error::Encode { event: E::TYPE.name(), source })
            }
        }
    }
}

impl<E: Event> std::fmt::Debug for Encoder<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Encoder({})", E::TYPE.name())
    }
}

fn schema(event: EventType) -> &'static serde_avro_fast::Schema {
    static SCHEMAS: LazyLock<Vec<serde_avro_fast::Schema>> = LazyLock::new(|| {
        let parse = |event: &EventType| event.schema_text().parse();
        let parsed: Result<_, _> = EventType::ALL.iter().map(parse).collect();
        parsed.expect("the built-in schemas parse: the test `every_schema_parses` holds it")
    });
    &SCHEMAS[event as usize]
}
