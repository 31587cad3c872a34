//! The three-way reconciliation of a file: what it states, what was published, what the shards did.
//!
//! Pure: a row of `files` in, nothing or the first difference out, named to the minor unit.

use schemas::Sums;
use schemas::arrival::Reason;
use schemas::file::{File, FileState, Segment};

/// The shards that a file touches and that have not answered yet.
pub fn open_shards(file: &File) -> impl Iterator<Item = i32> {
    let touched = (0..).zip(&file.verdict.shard_events).filter(|(_, events)| **events > 0);
    let answered = |shard: i32| file.segments.iter().any(|segment| segment.shard == shard);
    touched.map(|(shard, _)| shard).filter(move |shard| !answered(*shard))
}

/// True where a shard may not have all that was published of a whole file.
pub fn lacks_events(file: &File) -> bool {
    let done = |segment: &Segment| segment.applied.saturating_add(segment.rejected);
    [FileState::PUBLISHED, FileState::UNBALANCED].contains(&file.state)
        && (open_shards(file).next().is_some()
            || file.segments.iter().any(|segment| done(segment) < segment.events))
}

/// Takes up a shard's answer: of several of one shard the one with the highest number counts.
pub fn take_answer(segments: &mut Vec<Segment>, answer: Segment) {
    match segments.iter_mut().find(|segment| segment.shard == answer.shard) {
        Some(segment) if segment.number < answer.number => *segment = answer,
        Some(_) => (),
        None => {
            segments.push(answer);
            segments.sort_by_key(|segment| segment.shard);
        }
    }
}

/// Proves a file whose shards have all answered; the difference where it can't be proved.
///
/// # Errors
///
/// The first difference, in this order: records, the file's own sums, events per shard, sums.
pub fn reconcile(file: &File) -> Result<(), Box<Reason>> {
    let (verdict, published) = (&file.verdict, &file.checkpoint);
    let records = published.published.checked_add(published.rejected).unwrap_or(i64::MAX);
    equal("records_differ", "records published and rejected", verdict.records, records)?;
    // A total to which an unreadable record adds an unknown amount proves nothing.
    if verdict.is_proven() {
        for (name, claimed, seen) in [
            ("debits that the file states", verdict.claimed_debits, published.control_debits),
            ("credits that the file states", verdict.claimed_credits, published.control_credits),
            ("sum that the file states", verdict.claimed_unsigned, published.control_unsigned),
        ] {
            if let Some(claimed) = claimed {
                equal("control_total_differs", name, claimed, seen)?;
            }
        }
    }
    let mut answered = Sums::new();
    let too_large = |_| Box::new(Reason::new("sum_too_large"));
    for segment in &file.segments {
        let shard = usize::try_from(segment.shard).unwrap_or(usize::MAX);
        let events = verdict.shard_events.get(shard).copied().unwrap_or_default();
        let done = segment.applied.checked_add(segment.rejected).unwrap_or(i64::MAX);
        let name = format!("events applied and rejected on shard {shard}");
        equal("events_differ", &name, events, done)?;
        answered.merge(&segment.applied_sums).map_err(too_large)?;
        answered.merge(&segment.rejected_sums).map_err(too_large)?;
    }
    if answered != published.sums {
        let show = |sums: &Sums| {
            let each = sums.iter().map(|sum| {
                let (debits, credits) = (sum.debits_minor, sum.credits_minor);
                format!("{} {debits} debit {credits} credit", sum.currency)
            });
            each.collect::<Vec<_>>().join(", ")
        };
        return Err(Box::new(Reason::new("sums_differ").expected_found(
            format!("{} as published", show(&published.sums)),
            format!("{} applied and rejected", show(&answered)),
        )));
    }
    Ok(())
}

fn equal(code: &str, name: &str, expected: i64, found: i64) -> Result<(), Box<Reason>> {
    if expected == found {
        return Ok(());
    }
    let difference = i128::from(found) - i128::from(expected);
    let mut reason = Reason::new(code)
        .expected_found(expected.to_string(), format!("{found}, a difference of {difference}"));
    reason.field = Some(name.to_owned());
    Err(Box::new(reason))
}

#[cfg(test)]
mod tests {
    use schemas::file::{Checkpoint, ControlTotal, Verdict};
    use schemas::{Currency, Digest, Direction, FileId, Timestamp};

    use super::*;

    fn sums(debit: i64, credit: i64) -> Sums {
        let mut sums = Sums::new();
        sums.add(&Direction::DEBIT, Currency::USD, 2, debit).unwrap();
        sums.add(&Direction::CREDIT, Currency::USD, 2, credit).unwrap();
        sums
    }

    fn segment(shard: i32, applied: i64, applied_sums: Sums) -> Segment {
        Segment {
            shard,
            number: 10,
            complete: true,
            events: applied,
            applied,
            rejected: 0,
            reversed: 0,
            duplicates: 0,
            applied_sums,
            rejected_sums: Sums::new(),
            reversed_sums: Sums::new(),
        }
    }

    /// Four records: two events on shard 0, one on shard 2, one reject that adds 7 to the debits.
    fn file() -> File {
        File {
            file_id: FileId([1; 16]),
            feed: "ach".to_owned(),
            object: "a.ach".to_owned(),
            version: "1".to_owned(),
            state: FileState::PUBLISHED,
            reason: None,
            verdict: Verdict {
                content_digest: Digest([2; 32]),
                occurrence: 0,
                format: "nacha".to_owned(),
                container: "none".to_owned(),
                identifier: None,
                identifiers: Vec::new(),
                size_bytes: 940,
                content_bytes: 940,
                records: 4,
                rejects: 1,
                shard_events: vec![2, 0, 1],
                sums: sums(100, 50),
                claimed_debits: Some(107),
                claimed_credits: Some(50),
                claimed_unsigned: None,
                control_totals: vec![ControlTotal {
                    name: "file debits".to_owned(),
                    claimed: 107,
                    seen: 107,
                    proven: true,
                }],
                warnings: Vec::new(),
                settings_digest: String::new(),
                reader_revision: 1,
                block_bytes: 1,
                block_digests: Vec::new(),
            },
            checkpoint: Checkpoint {
                published: 3,
                rejected: 1,
                sums: sums(100, 50),
                control_debits: 107,
                control_credits: 50,
                ..Checkpoint::default()
            },
            segments: vec![segment(0, 2, sums(100, 0)), segment(2, 1, sums(0, 50))],
            duplicates: 0,
            answers: Vec::new(),
            work: None,
            resubmits: None,
            arrived_at: Timestamp(0),
            updated_at: Timestamp(0),
        }
    }

    #[test]
    fn a_file_that_agrees_in_all_three_ways_is_proven() {
        assert_eq!(reconcile(&file()), Ok(()));
    }

    #[test]
    fn each_difference_is_named_to_the_minor_unit() {
        type Change = fn(&mut File);
        let cases: [(Change, &str); 7] = [
            (
                |f| f.checkpoint.published = 2,
                "records published and rejected: records_differ: expected 4, found 3, a difference of -1",
            ),
            (
                |f| f.checkpoint.control_debits = 108,
                "debits that the file states: control_total_differs: expected 107, found 108, a difference of 1",
            ),
            (
                |f| f.checkpoint.control_credits = 49,
                "credits that the file states: control_total_differs: expected 50, found 49, a difference of -1",
            ),
            (
                |f| f.verdict.claimed_unsigned = Some(5),
                "sum that the file states: control_total_differs: expected 5, found 0, a difference of -5",
            ),
            (
                |f| f.segments[0].applied = 1,
                "events applied and rejected on shard 0: events_differ: expected 2, found 1, a difference of -1",
            ),
            (
                |f| f.segments[1].applied_sums = sums(0, 51),
                "sums_differ: expected USD 100 debit 50 credit as published, found USD 100 debit 51 credit applied and rejected",
            ),
            (
                |f| f.segments[1].rejected_sums = sums(1, 0),
                "sums_differ: expected USD 100 debit 50 credit as published, found USD 101 debit 50 credit applied and rejected",
            ),
        ];
        for (change, expected) in cases {
            let mut file = file();
            change(&mut file);
            let found = reconcile(&file).unwrap_err().to_string();
            assert_eq!(found, expected.replace('_', " "), "{expected}");
        }
    }

    #[test]
    fn what_was_rejected_while_applying_is_no_difference() {
        let mut file = file();
        let segment = &mut file.segments[0];
        (segment.applied, segment.rejected) = (1, 1);
        (segment.applied_sums, segment.rejected_sums) = (sums(60, 0), sums(40, 0));
        // The count of debits is one each instead of one in all.
        file.checkpoint.sums.add(&Direction::DEBIT, Currency::USD, 2, 0).unwrap();
        let found = reconcile(&file);
        assert!(found.is_err(), "the numbers of debits differ: {found:?}");
        let mut published = sums(60, 50);
        published.add(&Direction::DEBIT, Currency::USD, 2, 40).unwrap();
        file.checkpoint.sums = published;
        assert_eq!(reconcile(&file), Ok(()));
    }

    #[test]
    fn an_unproven_total_is_not_compared() {
        let mut file = file();
        file.checkpoint.control_debits = 100;
        assert!(reconcile(&file).is_err());
        file.verdict.control_totals[0].proven = false;
        assert_eq!(reconcile(&file), Ok(()));
    }

    #[test]
    fn shards_are_open_until_they_answer_and_the_newest_answer_counts() {
        let mut file = file();
        let last = file.segments.pop().unwrap();
        assert_eq!(open_shards(&file).collect::<Vec<_>>(), [2]);
        take_answer(&mut file.segments, last.clone());
        assert_eq!(open_shards(&file).count(), 0);
        take_answer(&mut file.segments, Segment { number: 9, applied: 0, ..last.clone() });
        assert_eq!(file.segments[1], last);
        take_answer(&mut file.segments, Segment { number: 11, duplicates: 1, ..last });
        assert_eq!(file.segments[1].duplicates, 1);
    }
}
