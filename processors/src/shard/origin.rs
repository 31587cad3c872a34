//! Whether the log is the one that the store's events came from.

use schemas::codec::Codec;
use schemas::outcome::Outcome;
use schemas::{CommandId, Topic};
use topic::{Log, Received};

use crate::event::{Decoder, Event, What};
use crate::fate::{End, Error};
use crate::outbox::Setup;
use crate::store::{ShardRow, Store, View};

/// Proves that `records` has the event that the store answered last, at its offset.
///
/// A log that is older than the store, or another's, gives new events offsets that the store has
/// behind it: they would be passed over, and have no outcome. Where the log begins behind that
/// event, as it does where old events are deleted, there is nothing to compare.
pub(super) async fn check<L: Log, S: Store>(
    setup: &Setup<'_, L>,
    store: &S,
    row: ShardRow,
) -> Result<(), End> {
    let Some(offset) = row.next_offset.checked_sub(1).filter(|offset| 0 <= *offset) else {
        return Ok(());
    };
    let outcome = answer_at(setup, store, row, offset).await?;
    let mut backoff = setup.backoff();
    let page = loop {
        let range = offset..row.next_offset;
        match setup.log.read(Topic::Records, setup.shard, range, 1).await {
            Err(topic::Error::Outside { first, .. }) if offset < first => return Ok(()),
            Err(topic::Error::Outside { .. }) => break Vec::new(),
            page => {
                if let Some(page) = backoff.after(page).await? {
                    break page;
                }
            }
        }
    };
    let found = match page.first() {
        None => "none",
        Some(message) if is_of(&outcome, message) => return Ok(()),
        Some(_) => "another",
    };
    let (shard, number) = (setup.shard, outcome.number);
    Err(End::Stop(Error::LogDiffers { shard, number, offset, found }))
}

/// The outcome of the event at this offset, the last that has one.
///
/// Offsets ascend with the numbers, and what a reversal undoes stands where the last event before
/// it does: so it is the first outcome at its offset, and found by halving.
async fn answer_at<L: Log, S: Store>(
    setup: &Setup<'_, L>,
    store: &S,
    row: ShardRow,
    offset: i64,
) -> Result<Outcome, End> {
    let lost = |number| Error::LogDiffers { shard: row.shard, number, offset, found: "no outcome" };
    let search = async || {
        let mut view = store.view().await?;
        let (mut low, mut high) = (0_i64, row.next_number.saturating_sub(1));
        loop {
            let number = low.midpoint(high);
            let found = view.outcomes(row.shard, number, 1).await?;
            let found = found.first().filter(|row| row.number == number);
            let body = &found.ok_or_else(|| End::Stop(lost(number)))?.body;
            let outcome: Outcome =
                Codec::built_in().decode(body).map_err(|error| End::Stop(Error::Encode(error)))?;
            if low == high {
                return Ok(outcome);
            } else if outcome.source_offset < offset {
                low = number.saturating_add(1);
            } else {
                high = number;
            }
        }
    };
    let mut backoff = setup.backoff();
    loop {
        let found: Result<Outcome, End> = search().await;
        if let Some(outcome) = backoff.after(found).await? {
            return Ok(outcome);
        }
    }
}

/// True where this is the event that the outcome answers.
fn is_of(outcome: &Outcome, message: &Received) -> bool {
    let mut decoder = Decoder::new(Codec::built_in());
    // Only what decodes was ever answered.
    let event = decoder.decode(message.offset, message.value.as_deref());
    event.is_ok_and(|event| answers(outcome, &event))
}

fn answers(outcome: &Outcome, event: &Event) -> bool {
    let text = |command_id: CommandId| Some(command_id.to_string());
    let of_file = (outcome.file_id, outcome.index, outcome.command_id.clone());
    let expected = match &event.what {
        What::Record(record) => {
            let taken = (outcome.sequence, outcome.fingerprint);
            if taken != (Some(record.sequence), Some(record.fingerprint)) {
                return false;
            }
            (Some(record.file), Some(record.index), None)
        }
        What::SegmentClosed(closed) => {
            (Some(closed.file_id), None, closed.command_id.and_then(text))
        }
        What::Reversal(asked) => {
            (Some(asked.file_id), Some(asked.first_index), text(asked.command_id))
        }
        What::AccountChanged(changed) => (None, None, text(changed.command_id)),
    };
    outcome.source_offset == event.offset && of_file == expected
}
