//! What the owner of a feed knows of an object.

use serde::{Deserialize, Serialize};

use crate::{FileId, Timestamp};

crate::vocabulary! {
    /// Where an object stands with its feed's owner.
    ArrivalState {
        /// Seen, and not yet at rest.
        SEEN = "seen",
        /// At rest: size and version were the same in two looks, or its marker is there.
        ARRIVED = "arrived",
        /// Being read for the first time.
        VERIFYING = "verifying",
        /// Verified, and handed to the owner of its file.
        VERIFIED = "verified",
        /// Not verified: nothing of it is published; the reason says why.
        REFUSED = "refused",
        /// The same content as a file that was verified before.
        DUPLICATE = "duplicate",
        /// Verified, but an operator must decide.
        HELD = "held",
        /// Its file is reconciled, and it was moved to the feed's archive.
        ARCHIVED = "archived",
        /// Its file is reconciled, and it is not in the bucket any more.
        DELETED = "deleted",
    }
}

impl ArrivalState {
    /// True where nothing more happens to this version of the object.
    pub fn is_end(&self) -> bool {
        self.is_sent() || [Self::REFUSED, Self::DUPLICATE].contains(self)
    }

    /// True where its file was sent to the owner of files.
    pub fn is_sent(&self) -> bool {
        [Self::VERIFIED, Self::HELD].contains(self) || self.has_left()
    }

    /// True where the object is gone from the bucket because its file is reconciled.
    pub fn has_left(&self) -> bool {
        [Self::ARCHIVED, Self::DELETED].contains(self)
    }
}

/// A row of `arrivals`: an object in a bucket, at one version. Schema: `avro/Arrival.avsc`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented field by field in the schema, which is the source")]
pub struct Arrival {
    pub feed: String,
    pub object: String,
    pub version: String,
    pub size_bytes: i64,
    pub state: ArrivalState,
    pub reason: Option<Reason>,
    pub rejects: Vec<Reason>,
    pub file_id: Option<FileId>,
    pub identifier: Option<String>,
    pub settings_digest: String,
    pub records: i64,
    pub content_bytes: i64,
    pub updated_at: Timestamp,
}

impl Arrival {
    /// True where the object was refused, but under other settings than those of this digest.
    pub fn is_refused_otherwise_than(&self, settings_digest: &str) -> bool {
        self.state == ArrivalState::REFUSED && self.settings_digest != settings_digest
    }
}

/// Why something is as it is: a code to count by, and the place with what was found and expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented field by field in the schema, which is the source")]
pub struct Reason {
    pub code: String,
    pub index: Option<i64>,
    pub byte_offset: Option<i64>,
    pub line: Option<i64>,
    pub field: Option<String>,
    pub expected: Option<String>,
    pub found: Option<String>,
    pub remedy: Option<String>,
}

impl Reason {
    /// A reason that has a code only.
    pub fn new(code: &str) -> Self {
        Self {
            code: code.to_owned(),
            index: None,
            byte_offset: None,
            line: None,
            field: None,
            expected: None,
            found: None,
            remedy: None,
        }
    }

    /// The same, with what was expected and found.
    #[must_use]
    pub fn expected_found(mut self, expected: impl Into<String>, found: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self.found = Some(found.into());
        self
    }

    /// The same, with what to do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

impl std::fmt::Display for Reason {
    /// One sentence: place, code, what was expected and found, and what to do.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(index) = self.index {
            write!(f, "record {index}, ")?;
        }
        if let Some(line) = self.line {
            write!(f, "line {line}, ")?;
        }
        if let Some(byte_offset) = self.byte_offset {
            write!(f, "byte {byte_offset}, ")?;
        }
        if let Some(field) = &self.field {
            write!(f, "{field}: ")?;
        }
        write!(f, "{}", self.code.replace('_', " "))?;
        if let Some(expected) = &self.expected {
            write!(f, ": expected {expected}")?;
        }
        if let Some(found) = &self.found {
            write!(f, ", found {found}")?;
        }
        if let Some(remedy) = &self.remedy {
            write!(f, "; {remedy}")?;
        }
        Ok(())
    }
}
