//! The topics of a ledger on Kafka: made, checked, described.

use std::time::Duration;

use schemas::Topic;

use super::{Settings, Unusable};
use crate::{Error, Layout};

/// What the topics are made like, besides their number of partitions.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// How many copies of each partition there are; none leaves it to the broker.
    pub replication: Option<u16>,
    /// How long `records` and `rejects` are kept; none is for ever.
    pub retention: Option<Duration>,
    /// More settings of each topic, in Kafka's words. For tests.
    #[doc(hidden)]
    pub extra: Vec<(String, String)>,
}

/// A topic as the broker has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Which.
    pub topic: Topic,
    /// Its name on the broker.
    pub name: String,
    /// How many partitions it has.
    pub partitions: u32,
    /// How many copies of each.
    pub replication: u32,
    /// Whether all but the newest message of a key may go.
    pub is_compacted: bool,
    /// How long messages are kept; none is for ever.
    pub retention: Option<Duration>,
}

/// Makes the topics that are not there yet, and gives which those were. Those that are there are
/// left as they are: [`check`] says whether they will do.
///
/// # Errors
///
/// [`Unusable`].
pub async fn create(
    settings: &Settings,
    layout: Layout,
    policy: &Policy,
) -> Result<Vec<Topic>, Unusable> {
    let _ = (settings, layout, policy);
    Err(Error::fatal("expected a client of Kafka").into())
}

/// What of the topics won't do for this layout: nothing where all is well.
///
/// # Errors
///
/// [`Unusable`] where it can't be asked.
pub async fn check(settings: &Settings, layout: Layout) -> Result<Vec<Unusable>, Unusable> {
    let _ = (settings, layout);
    Err(Error::fatal("expected a client of Kafka").into())
}

/// The topics of the ledger that are there, in the order data flows.
///
/// # Errors
///
/// [`Unusable`].
pub async fn describe(settings: &Settings) -> Result<Vec<Description>, Unusable> {
    let _ = settings;
    Err(Error::fatal("expected a client of Kafka").into())
}

/// Deletes the topics with this prefix, with all that is in them. For tests.
///
/// # Errors
///
/// [`Unusable`].
#[doc(hidden)]
pub async fn delete(settings: &Settings) -> Result<(), Unusable> {
    let _ = settings;
    Err(Error::fatal("expected a client of Kafka").into())
}
