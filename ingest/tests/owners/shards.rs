//! Plays the processors: takes each event once, answers ends of files and reversals, keeps what it
//! knows over a restart of the owners.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex};

use schemas::codec::{Codec, Event, EventType};
use schemas::command::SegmentApplied;
use schemas::file::Segment;
use schemas::record::{Reversal, SegmentClosed};
use schemas::{ClearingRecord, CommandId, FileId, Sums, Timestamp, Topic};
use tokio_util::sync::CancellationToken;
use topic::{
    Batch, Consumed, Error, Log, Message, MessageSet, PartitionReader, Received, Writer,
    cloud_events,
};

use super::house::{FaultyLog, PROCESSORS};

/// What all shards know, by shard and file; and what the test has them do.
#[derive(Debug, Default)]
pub(crate) struct Shards {
    runs: BTreeMap<(u32, FileId), Run>,
    /// Reject what comes first for these files.
    pub(crate) rejecting: HashSet<FileId>,
    /// Lose the events of this shard, as a log would that lost them.
    pub(crate) deaf: Option<u32>,
}

/// A file's run on a shard.
#[derive(Debug, Default)]
struct Run {
    events: Vec<Taken>,
    is_complete: bool,
    is_cancelled: bool,
    duplicates: i64,
    commands: BTreeSet<CommandId>,
}

/// An event that took a sequence.
#[derive(Debug)]
struct Taken {
    event: ClearingRecord,
    is_rejected: bool,
    is_reversed: bool,
}

impl Shards {
    /// How many records of a file are applied and not undone.
    pub(crate) fn applied(&self, file_id: &FileId) -> usize {
        let runs = self.runs.iter().filter(|((_, of), _)| of == file_id);
        let events = runs.flat_map(|(_, run)| &run.events);
        events.filter(|taken| !taken.is_rejected && !taken.is_reversed).count()
    }

    /// Takes a message; gives the answers to it, if any.
    fn take(&mut self, shard: u32, message: &Received) -> Vec<(SegmentApplied, i32)> {
        let codec = Codec::built_in();
        let value = message.value.as_ref().unwrap();
        match codec.event_type(value).unwrap() {
            EventType::ClearingRecord if self.deaf != Some(shard) => {
                let is_replayed = message.headers.iter().any(|header| header.name == "replayed");
                self.apply(shard, codec.decode(value).unwrap(), is_replayed);
                Vec::new()
            }
            EventType::ClearingRecord => Vec::new(),
            EventType::SegmentClosed => {
                let closed: SegmentClosed = codec.decode(value).unwrap();
                let run = self.runs.entry((shard, closed.file_id)).or_default();
                run.is_cancelled |= !closed.complete;
                let came = i64::try_from(run.events.len()).unwrap();
                if !run.is_cancelled && came < closed.events {
                    // A command ends also where the run does not; the file itself waits.
                    let Some(command_id) = closed.command_id else { return Vec::new() };
                    let (file_id, answer_to) = (closed.file_id, closed.answer_to);
                    let (mut answer, to) =
                        run.answer(shard, message, file_id, Some(command_id), answer_to);
                    answer.segment.events = closed.events;
                    return vec![(answer, to)];
                }
                run.is_complete = !run.is_cancelled;
                assert_eq!((closed.events, &closed.sums), (came, &run.sums(|_| true)));
                vec![run.answer(
                    shard,
                    message,
                    closed.file_id,
                    closed.command_id,
                    closed.answer_to,
                )]
            }
            EventType::Reversal => {
                let asked: Reversal = codec.decode(value).unwrap();
                let run = self.runs.entry((shard, asked.file_id)).or_default();
                assert!(run.is_complete || run.is_cancelled, "undone before its end");
                assert!(run.commands.insert(asked.command_id), "asked twice");
                let range = asked.first_index..=asked.last_index;
                for taken in &mut run.events {
                    taken.is_reversed |= !taken.is_rejected && range.contains(&taken.event.index);
                }
                let command_id = Some(asked.command_id);
                vec![run.answer(shard, message, asked.file_id, command_id, asked.answer_to)]
            }
            other => panic!("{other:?} on records"),
        }
    }

    fn apply(&mut self, shard: u32, event: ClearingRecord, is_replayed: bool) {
        let is_rejected = self.rejecting.contains(&event.file_id);
        let run = self.runs.entry((shard, event.file_id)).or_default();
        let sequence = usize::try_from(event.sequence).unwrap();
        if let Some(taken) = run.events.get(sequence) {
            assert!(is_replayed, "{}/{} came again unmarked", event.file_id, event.index);
            assert_eq!(taken.event, event, "a replay says the same");
            run.duplicates += 1;
        } else if sequence == run.events.len() && !run.is_complete && !run.is_cancelled {
            run.events.push(Taken { event, is_rejected, is_reversed: false });
        } else {
            assert!(self.deaf.is_some(), "a gap before {}/{}", event.file_id, event.index);
        }
    }
}

impl Run {
    fn sums(&self, is_counted: impl Fn(&Taken) -> bool) -> Sums {
        let mut sums = Sums::new();
        for taken in self.events.iter().filter(|taken| is_counted(taken)) {
            let event = &taken.event;
            if let Some(currency) = event.currency {
                sums.add(&event.direction, currency, event.exponent, event.amount_minor).unwrap();
            }
        }
        sums
    }

    fn answer(
        &self,
        shard: u32,
        message: &Received,
        file_id: FileId,
        command_id: Option<CommandId>,
        answer_to: i32,
    ) -> (SegmentApplied, i32) {
        let count = |is_it: fn(&Taken) -> bool| {
            i64::try_from(self.events.iter().filter(|taken| is_it(taken)).count()).unwrap()
        };
        let segment = Segment {
            shard: i32::try_from(shard).unwrap(),
            number: message.offset,
            complete: self.is_complete,
            events: count(|_| true),
            applied: count(|taken| !taken.is_rejected),
            rejected: count(|taken| taken.is_rejected),
            reversed: count(|taken| taken.is_reversed),
            duplicates: self.duplicates,
            applied_sums: self.sums(|taken| !taken.is_rejected),
            rejected_sums: self.sums(|taken| taken.is_rejected),
            reversed_sums: self.sums(|taken| taken.is_reversed),
        };
        (SegmentApplied { file_id, segment, command_id }, answer_to)
    }
}

/// Owns the shards until `cancel`.
pub(crate) async fn play(log: FaultyLog, shards: Arc<Mutex<Shards>>, cancel: CancellationToken) {
    let own = |mut assignment: topic::Assignment<topic::ReaderOf<FaultyLog>>,
               token: CancellationToken| {
        let (log, shards) = (log.clone(), Arc::clone(&shards));
        async move {
            let shard = assignment.partition;
            let mut writer = log.writer(&format!("shard-{shard}")).await?;
            loop {
                let received = tokio::select! {
                    () = token.cancelled() => return Ok::<(), Error>(()),
                    received = assignment.messages.next() => received?,
                };
                let mut batch = Batch::default();
                for message in &received {
                    let answers = shards.lock().unwrap().take(shard, message);
                    batch.sets.extend(answers.into_iter().map(said));
                }
                let next = received.last().unwrap().offset + 1;
                let membership = assignment.membership.clone();
                batch.consumed =
                    Some(Consumed { membership, positions: vec![(Topic::Records, shard, next)] });
                writer.publish(batch).await?;
            }
        }
    };
    let stopped = |shard, error: Error| panic!("shard {shard}: {error}");
    topic::own_partitions(&log, PROCESSORS, Topic::Records, &cancel, own, stopped).await.unwrap();
}

fn said((answer, answer_to): (SegmentApplied, i32)) -> MessageSet {
    let text = answer.file_id.to_string();
    let Segment { shard, number, .. } = answer.segment;
    MessageSet {
        topic: Topic::Commands,
        partition: u32::try_from(answer_to).unwrap(),
        headers: cloud_events(SegmentApplied::TYPE, "test", &text, Timestamp(0)),
        messages: vec![Message {
            id: format!("{text}/segment/{shard}/{number}").into(),
            key: text.into(),
            value: Some(Codec::built_in().encode(&answer).unwrap().into()),
        }],
    }
}
