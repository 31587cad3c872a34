//! What one file's row says, compared with what its shards did.

use std::collections::BTreeMap;

use schemas::file::{File, FileState};
use schemas::{Currency, Sums};

use crate::fate::Error;
use crate::store::View;
use crate::verify::Check;

/// Checks one file whose shards have answered: that each record is either applied or rejected on
/// its shard (G1), that what was published is what was applied and rejected, per currency and
/// direction (G4), and that nothing of it is left where it was reversed or cancelled (G7).
///
/// # Errors
///
/// Where the store can't be read.
pub async fn file<V: View>(view: &mut V, file: &File) -> Result<Vec<Check>, Error> {
    let mut checks = Vec::new();
    let (mut counted, mut left) = (0_i64, 0_i64);
    let (mut done, mut applied, mut reversed) = (Sums::new(), Sums::new(), Sums::new());
    let is_cancelled = file.state == FileState::CANCELLED;
    for (shard, run) in view.runs_of(file.file_id).await.map_err(Error::Store)? {
        let at = usize::try_from(shard).unwrap_or(usize::MAX);
        let published = file.checkpoint.sequences.get(at).copied().unwrap_or_default();
        let taken = run.applied.saturating_add(run.rejected);
        counted = counted.saturating_add(taken);
        left = left.saturating_add(run.applied.saturating_sub(run.reversed));
        if !is_cancelled {
            let name = format!("G1 events on shard {shard} are applied or rejected");
            checks.push(Check::of(name, published, taken));
        }
        let merged = done
            .merge(&run.applied_sums)
            .and_then(|()| done.merge(&run.rejected_sums))
            .and_then(|()| applied.merge(&run.applied_sums))
            .and_then(|()| reversed.merge(&run.reversed_sums));
        if merged.is_err() {
            checks.push(Check::of("G4 sums fit in 64 bits".to_owned(), "they fit", "they do not"));
        }
    }
    // Of a cancelled file, what came after its end on a shard is neither.
    if !is_cancelled {
        let name = "G1 records published are applied or rejected".to_owned();
        checks.push(Check::of(name, file.checkpoint.published, counted));
        checks.extend(compare_sums("G4", "published and applied", &file.checkpoint.sums, &done));
    }
    if is_cancelled || file.state == FileState::REVERSED {
        checks.push(Check::of("G7 records applied and not reversed".to_owned(), 0, left));
        checks.extend(compare_sums("G7", "applied and reversed", &applied, &reversed));
    }
    Ok(checks)
}

fn compare_sums(guarantee: &str, what: &str, published: &Sums, done: &Sums) -> Vec<Check> {
    let mut units: BTreeMap<(Currency, i32), [i64; 4]> = BTreeMap::new();
    for sum in published.iter() {
        let [debits, credits, ..] = units.entry((sum.currency, sum.exponent)).or_default();
        (*debits, *credits) = (sum.debits_minor, sum.credits_minor);
    }
    for sum in done.iter() {
        let [.., debits, credits] = units.entry((sum.currency, sum.exponent)).or_default();
        (*debits, *credits) = (sum.debits_minor, sum.credits_minor);
    }
    let mut checks = Vec::new();
    for ((currency, _), [debits, credits, debits_done, credits_done]) in units {
        for (side, published, done) in
            [("debits", debits, debits_done), ("credits", credits, credits_done)]
        {
            let name = format!("{guarantee} {side} in {currency}, {what}");
            checks.push(Check::of(name, published, done));
        }
    }
    checks
}
