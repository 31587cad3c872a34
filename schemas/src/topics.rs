//! The six topics: their names, and what each keeps.

use std::fmt;

/// A topic. Its full name is the prefix of the configuration (default `batchless.`) and this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// A row per object; key: feed and object; partitioned by feed; compacted.
    Arrivals,
    /// What the owner of a file must do or know; key: file id.
    Commands,
    /// A row per file; key: file id, or `ledger`; partitioned as `commands`; compacted.
    Files,
    /// What happens to accounts; key: account id; partition: shard.
    Records,
    /// Records that can't be read; key: file id.
    Rejects,
    /// Outcomes in the order of commits; key: account id; partition: shard.
    Postings,
}

impl Topic {
    /// All of them, in the order data flows.
    pub const ALL: [Self; 6] =
        [Self::Arrivals, Self::Commands, Self::Files, Self::Records, Self::Rejects, Self::Postings];

    /// Its name without the prefix.
    pub fn name(self) -> &'static str {
        match self {
            Self::Arrivals => "arrivals",
            Self::Commands => "commands",
            Self::Files => "files",
            Self::Records => "records",
            Self::Rejects => "rejects",
            Self::Postings => "postings",
        }
    }

    /// The topic of this name (without the prefix), if any.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.name() == name)
    }

    /// True where only the newest message of a key is kept for sure.
    pub fn is_compacted(self) -> bool {
        matches!(self, Self::Arrivals | Self::Files)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
