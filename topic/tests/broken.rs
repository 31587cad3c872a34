//! The rules catch what they are for: a log that breaks one in a known way is found out.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use schemas::Topic;
use tokio::sync::oneshot;
use topic::conformance::{Subject, layout, run_all};
use topic::memory::{self, MemoryLog};
use topic::{
    Assignment, Batch, Change, Error, Log, Member, PartitionReader, Reader, Received, Revocation,
    Subscription, Writer,
};

/// What a log does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    DropsASet,
    SwapsSets,
    PublishesPiecemeal,
    IgnoresWriters,
    IgnoresMemberships,
    LosesPositions,
    ReadsFromElsewhere,
    SeeksElsewhere,
    IgnoresTheRange,
    IgnoresTheSize,
    AcknowledgesItself,
    ResumesAtTheBeginning,
    LosesTheNewest,
    CompactsEverything,
    LosesWhatIsCancelled,
}

/// A memory log with a fault.
#[derive(Clone)]
struct Faulty {
    log: MemoryLog,
    fault: Fault,
    is_compacted: Arc<AtomicBool>,
}

struct FaultyWriter {
    writer: memory::Writer,
    name: String,
    log: Faulty,
}

struct FaultyMember {
    member: Member<MemoryLog>,
    log: Faulty,
}

struct FaultyReader {
    reader: Reader<MemoryLog>,
    log: Faulty,
    topic: Topic,
    partition: u32,
}

impl Log for Faulty {
    type Writer = FaultyWriter;
    type Subscription = FaultyMember;

    fn partitions(&self, topic: Topic) -> u32 {
        self.log.partitions(topic)
    }

    async fn writer(&self, name: &str) -> Result<FaultyWriter, Error> {
        let writer = self.log.writer(name).await?;
        Ok(FaultyWriter { writer, name: name.to_owned(), log: self.clone() })
    }

    async fn subscribe(&self, group: &str, topic: Topic) -> Result<FaultyMember, Error> {
        let member = self.log.subscribe(group, topic).await?;
        Ok(FaultyMember { member, log: self.clone() })
    }

    async fn read(
        &self,
        topic: Topic,
        partition: u32,
        mut offsets: Range<i64>,
        mut bytes_max: usize,
    ) -> Result<Vec<Received>, Error> {
        let end = self.log.end(topic, partition).await?;
        match self.fault {
            Fault::ReadsFromElsewhere => offsets.start = offsets.start.clamp(0, end),
            Fault::IgnoresTheRange => offsets.end = end,
            Fault::IgnoresTheSize => bytes_max = usize::MAX,
            _ => (),
        }
        let mut found = self.log.read(topic, partition, offsets, bytes_max).await?;
        if self.is_compacted.load(Ordering::Relaxed) {
            match self.fault {
                Fault::LosesTheNewest => found.retain(|message| message.offset + 1 != end),
                Fault::CompactsEverything => found.retain(|message| message.offset > 10),
                _ => (),
            }
        }
        Ok(found)
    }

    async fn end(&self, topic: Topic, partition: u32) -> Result<i64, Error> {
        self.log.end(topic, partition).await
    }

    async fn committed(&self, group: &str, topic: Topic) -> Result<Vec<Option<i64>>, Error> {
        self.log.committed(group, topic).await
    }
}

impl Writer for FaultyWriter {
    async fn publish(&mut self, mut batch: Batch) -> Result<(), Error> {
        match self.log.fault {
            Fault::DropsASet if batch.sets.len() > 1 => drop(batch.sets.pop()),
            Fault::SwapsSets => batch.sets.reverse(),
            Fault::LosesPositions => batch.consumed = None,
            Fault::PublishesPiecemeal => {
                for set in std::mem::take(&mut batch.sets) {
                    self.writer.publish(Batch { sets: vec![set], consumed: None }).await?;
                    tokio::task::yield_now().await;
                }
            }
            _ => (),
        }
        let outcome = self.writer.publish(batch.clone()).await;
        match (self.log.fault, outcome) {
            (Fault::IgnoresWriters, Err(Error::Fenced { .. })) => {
                self.writer = self.log.log.writer(&self.name).await?;
                self.writer.publish(batch).await
            }
            (Fault::IgnoresMemberships, Err(Error::Fenced { .. })) => {
                self.writer.publish(Batch { consumed: None, ..batch }).await
            }
            (_, outcome) => outcome,
        }
    }
}

impl Subscription for FaultyMember {
    type PartitionReader = FaultyReader;

    async fn next(&mut self) -> Result<Change<FaultyReader>, Error> {
        let change = self.member.next().await?;
        if self.log.fault == Fault::LosesWhatIsCancelled {
            tokio::task::yield_now().await;
        }
        let assignments = match change {
            Change::Revoked(revocation) if self.log.fault == Fault::AcknowledgesItself => {
                let partitions = revocation.partitions.clone();
                revocation.acknowledge();
                let (nobody, _) = oneshot::channel();
                return Ok(Change::Revoked(Revocation::new(partitions, nobody)));
            }
            Change::Revoked(revocation) => return Ok(Change::Revoked(revocation)),
            Change::Assigned(assignments) => assignments,
        };
        let mut faulty = Vec::new();
        for Assignment { partition, membership, messages: mut reader } in assignments {
            if self.log.fault == Fault::ResumesAtTheBeginning {
                reader.seek(0).await?;
            }
            // The rules subscribe to records only.
            let (log, topic) = (self.log.clone(), Topic::Records);
            let messages = FaultyReader { reader, log, topic, partition };
            faulty.push(Assignment { partition, membership, messages });
        }
        Ok(Change::Assigned(faulty))
    }
}

impl PartitionReader for FaultyReader {
    async fn next(&mut self) -> Result<Vec<Received>, Error> {
        self.reader.next().await
    }

    async fn seek(&mut self, mut offset: i64) -> Result<(), Error> {
        if self.log.fault == Fault::SeeksElsewhere {
            offset = offset.clamp(0, self.log.end(self.topic, self.partition).await?);
        }
        self.reader.seek(offset).await
    }
}

impl Subject for Fault {
    type Log = Faulty;

    async fn log(&self) -> Faulty {
        Faulty { log: MemoryLog::new(layout()), fault: *self, is_compacted: Arc::default() }
    }

    async fn compact(&self, log: &Faulty) {
        log.is_compacted.store(true, Ordering::Relaxed);
        log.log.compact();
    }
}

/// For each fault, a rule that finds it out. Others may as well. The clock stands still unless
/// everything waits: a rule that a fault leaves waiting for ever fails at once.
#[tokio::test(start_paused = true)]
async fn each_fault_is_caught_by_its_rule() {
    for (fault, rule) in [
        (Fault::DropsASet, "a_batch_spans_topics_and_positions"),
        (Fault::SwapsSets, "sets_of_one_partition_keep_their_order"),
        (Fault::PublishesPiecemeal, "half_a_publish_is_never_seen"),
        (Fault::IgnoresWriters, "a_new_writer_fences_the_former"),
        (Fault::IgnoresWriters, "a_publish_in_flight_has_happened_or_never_does"),
        (Fault::IgnoresMemberships, "a_past_membership_is_fenced"),
        (Fault::LosesPositions, "a_group_resumes_at_its_position"),
        (Fault::ReadsFromElsewhere, "a_read_outside_the_log_is_an_error"),
        (Fault::SeeksElsewhere, "a_seek_outside_the_log_is_an_error"),
        (Fault::IgnoresTheRange, "a_read_keeps_to_its_range_and_size"),
        (Fault::IgnoresTheSize, "a_read_keeps_to_its_range_and_size"),
        (Fault::AcknowledgesItself, "a_revocation_waits_for_its_acknowledgement"),
        (Fault::ResumesAtTheBeginning, "a_group_resumes_at_its_position"),
        (Fault::LosesTheNewest, "the_newest_of_a_key_stays"),
        (Fault::CompactsEverything, "other_topics_keep_everything"),
        (Fault::LosesWhatIsCancelled, "waiting_can_be_cancelled"),
    ] {
        let results = run_all(&fault).await;
        let caught = results.iter().find(|(name, _)| *name == rule);
        assert!(caught.is_some_and(|(_, result)| result.is_err()), "{fault:?} passes {rule}");
    }
}

/// The wrapper itself breaks nothing.
#[tokio::test]
async fn without_a_fault_all_rules_pass() {
    for (rule, result) in run_all(&Fault::None).await {
        assert!(result.is_ok(), "{rule}: {result:?}");
    }
}
