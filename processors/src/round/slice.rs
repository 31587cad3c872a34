//! Reading what a reversal undoes next.

use schemas::codec::{Codec, EventType};
use schemas::outcome::OutcomeKind;
use schemas::{Currency, Direction};
use serde::Deserialize;

use crate::apply::Shard;
use crate::reversal::{Applied, AppliedLeg, Slice};
use crate::round::SLICE_MAX;
use crate::store::{self, OutcomeRow, Range, Store};

/// An outcome, as far as undoing it needs.
#[derive(Deserialize)]
struct OutcomeView<'a> {
    #[serde(borrow)]
    kind: &'a str,
    direction: Direction,
    amount_minor: i64,
    currency: Option<Currency>,
    exponent: i32,
    #[serde(borrow)]
    legs: Vec<LegView<'a>>,
}

#[derive(Deserialize)]
struct LegView<'a> {
    account: &'a str,
    direction: Direction,
    amount_minor: i64,
    currency: Currency,
    exponent: i32,
}

/// Reads which reversals are open, where that is not known yet: what was begun and not ended is
/// open work, whoever began it.
///
/// # Errors
///
/// As [`Store::fetch`].
pub async fn load<S: Store>(store: &S, shard: &mut Shard) -> Result<(), store::Error> {
    if shard.reversals.is_loaded() {
        return Ok(());
    }
    let runs = store.reversing(shard.id).await?;
    let open = runs.iter().flat_map(|run| {
        let open = run.reversals.iter().filter(|reversal| reversal.is_open());
        open.map(|reversal| (reversal.begun_number, run.file))
    });
    shard.reversals.load(open);
    Ok(())
}

/// Notes the file of the first open reversal.
pub(super) fn want(shard: &mut Shard) {
    if let Some((_, file)) = shard.reversals.first() {
        shard.runs.want(file);
    }
}

/// Reads what the first open reversal undoes next, and notes the accounts of its legs.
pub(super) async fn prepare<S: Store>(store: &S, shard: &mut Shard) -> Result<(), store::Error> {
    if shard.reversals.has_slice() {
        return Ok(());
    }
    let Some((begun_number, file)) = shard.reversals.first() else { return Ok(()) };
    let Some(reversal) = shard.runs.reversal(&file, begun_number) else { return Ok(()) };
    let Some(stands_at) = reversal.below else { return Ok(()) };
    let range = Range {
        first_index: reversal.first_index,
        last_index: reversal.last_index,
        below: shard.reversals.looks_below(begun_number, stands_at),
        max: SLICE_MAX,
    };
    let rows = store.taken(shard.id, file, range).await?;
    let is_last = rows.len() < SLICE_MAX;
    let below = rows.last().map(|row| row.number).filter(|_| !is_last);
    let mut applied = Vec::with_capacity(rows.len());
    let codec = Codec::built_in();
    for row in &rows {
        let index = row.index.unwrap_or_default();
        let run = shard.runs.get(&file);
        if !run.is_some_and(|run| run.is_undone(begun_number, index, row.number)) {
            applied.extend(read(&codec, shard, row, index)?);
        }
    }
    applied.reverse();
    shard.reversals.load_slice(Slice { begun_number, file, applied, below });
    Ok(())
}

/// What was applied; none where it was rejected.
fn read(
    codec: &Codec,
    shard: &mut Shard,
    row: &OutcomeRow,
    index: i64,
) -> Result<Option<Applied>, store::Error> {
    let decoded = codec.decode_view(EventType::Outcome, &row.body);
    let outcome: OutcomeView<'_> = decoded.map_err(|source| store::Error::Invariant {
        what: format!(
            "expected outcome {} of shard {}, which is to be undone, to decode; rebuild the store \
             from the topic postings",
            row.number, shard.id
        ),
        source: Some(Box::new(source)),
    })?;
    if outcome.kind != OutcomeKind::APPLIED.as_str() {
        return Ok(None);
    }
    let leg = |leg: &LegView<'_>| AppliedLeg {
        account: shard.accounts.want_text(leg.account),
        direction: leg.direction.clone(),
        amount_minor: leg.amount_minor,
        currency: leg.currency,
        exponent: leg.exponent,
    };
    Ok(Some(Applied {
        number: row.number,
        index,
        legs: outcome.legs.iter().map(leg).collect(),
        direction: outcome.direction,
        amount_minor: outcome.amount_minor,
        currency: outcome.currency,
        exponent: outcome.exponent,
    }))
}
