//! The positions that groups have published.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use super::error::refused;
use super::feed::{Plain, hear, lock, number};
use super::outage::Outage;
use super::{Settings, config, fault};
use crate::Error;

/// How long the coordinator of a group may take to answer. It waits for the end of a publish that
/// carries positions and is under way: what it then gives is decided.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A client for each group that was asked for.
pub(super) struct Positions {
    settings: Settings,
    outage: Arc<Outage>,
    clients: Mutex<HashMap<String, Arc<BaseConsumer<Plain>>>>,
}

impl std::fmt::Debug for Positions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Positions").finish_non_exhaustive()
    }
}

impl Positions {
    pub(super) fn new(settings: Settings, outage: Arc<Outage>) -> Self {
        Self { settings, outage, clients: Mutex::new(HashMap::new()) }
    }

    /// Ends everything. Blocks for a moment.
    pub(super) fn close(&self) {
        let clients = std::mem::take(&mut *lock(&self.clients));
        drop(clients);
    }

    /// Hears what the clients have to say.
    pub(super) fn serve(&self) {
        let clients: Vec<_> = lock(&self.clients).values().cloned().collect();
        clients.iter().for_each(|client| hear(client));
    }

    /// The positions of a group in these partitions of a topic, by its name on the broker. Blocks.
    ///
    /// # Errors
    ///
    /// As [`fault::error`] says.
    pub(super) fn committed(
        &self,
        group: &str,
        name: &str,
        partitions: std::ops::Range<u32>,
    ) -> Result<Vec<Option<i64>>, Error> {
        let client = self.client(group)?;
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(name, number(partition));
        }
        let what = || format!("the positions of group {group}");
        let answer = client.committed_offsets(list, TIMEOUT).map_err(|error| {
            self.outage.suspect(&error, &error.to_string());
            fault::error(what(), error)
        })?;
        let mut positions = Vec::with_capacity(answer.count());
        for element in answer.elements() {
            element.error().map_err(|error| fault::error(what(), error))?;
            positions.push(match element.offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            });
        }
        Ok(positions)
    }

    fn client(&self, group: &str) -> Result<Arc<BaseConsumer<Plain>>, Error> {
        let mut clients = lock(&self.clients);
        if let Some(client) = clients.get(group) {
            return Ok(Arc::clone(client));
        }
        let context = Plain(Arc::clone(&self.outage));
        let client = config::positions(&self.settings, group)
            .create_with_context(context)
            .map_err(|error| Error::from(refused(error)))?;
        let client = Arc::new(client);
        clients.insert(group.to_owned(), Arc::clone(&client));
        Ok(client)
    }
}
