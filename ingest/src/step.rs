//! The steps of ingest, by name, for tests that stop in between.

use std::sync::Arc;

/// A step of an owner of ingest, in the order in which a file meets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A bucket was listed.
    Listed,
    /// Rows of arrivals are published.
    ArrivalWritten,
    /// An object was read whole, and its verdict is there; nothing of it is published.
    Verified,
    /// The verdict and the command for the file's owner are published.
    Announced,
    /// A command for a new file is answered by its row.
    RowWritten,
    /// A block of the object was read again.
    BlockRead,
    /// A chunk is encoded.
    Encoded,
    /// A chunk is published, and it was not the last.
    ChunkPublished,
    /// The last chunk is published, with the end of the file's run on each shard.
    Closed,
    /// A shard's answer is in the file's row.
    Answered,
    /// The row that says that the file is reconciled is published.
    Reconciled,
    /// A command of an operator is taken: the row, and what the shards are asked for.
    CommandTaken,
    /// A command that took a while is answered in the file's row.
    CommandAnswered,
    /// The object of a reconciled file is about to be taken out of its bucket; where it is copied
    /// to the archive, it is there.
    Leaving,
    /// It is taken out, and its row doesn't say so yet.
    Left,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Self; 15] = [
        Self::Listed,
        Self::ArrivalWritten,
        Self::Verified,
        Self::Announced,
        Self::RowWritten,
        Self::BlockRead,
        Self::Encoded,
        Self::ChunkPublished,
        Self::Closed,
        Self::Answered,
        Self::Reconciled,
        Self::CommandTaken,
        Self::CommandAnswered,
        Self::Leaving,
        Self::Left,
    ];
}

/// Is told of a step, in the task that takes it.
pub type OnStep = Arc<dyn Fn(Step) + Send + Sync>;
