//! What splitters have made, published: chunks that wait are published together.

use schemas::FileId;
use schemas::file::FileState;
use tokio::sync::OwnedSemaphorePermit;
use topic::{Log, MessageSet};

use super::FileOwner;
use super::command::Changed;
use super::splitting::{Purpose, Splitting};
use super::work::conclude;
use crate::attempt::Failure;
use crate::split::Chunk;
use crate::splitter::{Ended, Made, Produced};
use crate::step::Step;

/// How many chunks are published together at most: with more, a command would wait longer, and a
/// crash would leave more to be made again.
const CHUNKS_TOGETHER: usize = 4;

/// Chunks that are published together, and the rows of their files behind them.
#[derive(Default)]
struct Together {
    sets: Vec<MessageSet>,
    changed: Changed,
    /// One for each chunk.
    steps: Vec<Step>,
    places: Vec<OwnedSemaphorePermit>,
}

impl<L: Log> FileOwner<'_, L> {
    /// Publishes what a splitter made, and what others have made meanwhile: together, as a publish
    /// costs as much for one chunk as for some. What is left of a splitter that was stopped is
    /// dropped: its generation is not the one that reads the file now.
    pub(super) async fn publish_produced(&mut self, produced: Produced) -> Result<(), Failure> {
        let mut together = Together::default();
        let mut next = Some(produced);
        while let Some(Produced { file_id, generation, result, place }) = next {
            let splitting = self.splitting.get(&file_id);
            let splitting = splitting.filter(|splitting| splitting.generation == generation);
            if let Some(Splitting { purpose, .. }) = splitting {
                let purpose = *purpose;
                match result {
                    Ok(Made::Chunk(chunk)) if purpose == Purpose::Publish => {
                        self.add_chunk(&mut together, file_id, *chunk)?;
                        together.places.extend(place);
                    }
                    other => {
                        self.publish_together(std::mem::take(&mut together)).await?;
                        self.publish_alone(file_id, purpose, other).await?;
                    }
                }
            }
            let is_full = CHUNKS_TOGETHER <= together.steps.len();
            next = if is_full { None } else { self.produced.try_recv().ok() };
        }
        self.publish_together(together).await
    }

    async fn publish_alone(
        &mut self,
        file_id: FileId,
        purpose: Purpose,
        result: Result<Made, Ended>,
    ) -> Result<(), Failure> {
        let Some(file) = self.open.get(&file_id).cloned() else { return Ok(()) };
        match result {
            Ok(Made::Chunk(chunk)) => self.publish_replayed(file, *chunk).await,
            Ok(Made::Picked(picked)) => self.publish_picked(file, picked).await,
            Err(Ended::Failed(reason)) => self.publish_failed(file, purpose, reason).await,
            Err(Ended::Away(error)) => {
                self.rest(file_id, &error);
                Ok(())
            }
        }
    }

    /// Adds a chunk of a file that is published for the first time.
    fn add_chunk(
        &mut self,
        together: &mut Together,
        file_id: FileId,
        chunk: Chunk,
    ) -> Result<(), Failure> {
        let Chunk { sets, checkpoint, is_last } = chunk;
        let file = together.changed.get(&file_id).or_else(|| self.open.get(&file_id));
        let Some(mut file) = file.cloned() else { return Ok(()) };
        self.unreadable.remove(&file_id);
        file.checkpoint = checkpoint;
        file.state = FileState::PUBLISHING;
        file.reason = None;
        together.sets.extend(sets);
        if is_last {
            self.splitting.remove(&file_id);
            together.sets.extend(self.close(&file, None)?);
            file.state = FileState::PUBLISHED;
            conclude(&mut file);
        }
        together.changed.insert(file);
        together.steps.push(if is_last { Step::Closed } else { Step::ChunkPublished });
        Ok(())
    }

    async fn publish_together(&mut self, together: Together) -> Result<(), Failure> {
        let Together { sets, changed, steps, places } = together;
        if steps.is_empty() {
            return Ok(());
        }
        self.publish(sets, changed.rows).await?;
        steps.into_iter().for_each(|step| self.config.step(step));
        drop(places);
        Ok(())
    }
}
