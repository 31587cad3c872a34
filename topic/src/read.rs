//! Reading a partition from an offset to its end.

use schemas::Topic;

use crate::{Error, Log, Received};

/// How much is asked for at a time: as a partition reader.
const READ_BYTES_MAX: usize = 1 << 20;

/// Gives `each` message of a partition from the offset `from` up to the end that the partition has
/// now, in order, and returns that end. This is how an owner reads its state.
///
/// # Errors
///
/// Those of [`Log::read`], and the first that `each` returns.
pub async fn read_all<L, E>(
    log: &L,
    topic: Topic,
    partition: u32,
    from: i64,
    mut each: impl FnMut(Received) -> Result<(), E>,
) -> Result<i64, E>
where
    L: Log,
    E: From<Error>,
{
    let end = log.end(topic, partition).await?;
    let mut offset = from;
    loop {
        // Asked even where the range is empty, so that a `from` outside the log is an error.
        let messages = log.read(topic, partition, offset..end.max(offset), READ_BYTES_MAX).await?;
        let Some(last) = messages.last() else { return Ok(end) };
        offset = last.offset + 1;
        for message in messages {
            each(message)?;
        }
    }
}
