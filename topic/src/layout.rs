//! How many partitions each topic has.

use schemas::Topic;

use crate::Error;

/// How many partitions each topic has. Fixed when a log is created.
///
/// - Every topic has at least one.
/// - `commands`, `files` and `rejects` have the same number: a file's owner has one of each.
/// - So have `records` and `postings`: a shard's owner has one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    arrivals: u32,
    files: u32,
    shards: u32,
}

impl Layout {
    /// A layout of `arrivals` partitions for `arrivals`, `files` for what the owners of files use,
    /// and `shards` for what the owners of shards use.
    ///
    /// # Panics
    ///
    /// Where a number is 0: the configuration never gives one.
    pub fn new(arrivals: u32, files: u32, shards: u32) -> Self {
        assert!(arrivals > 0 && files > 0 && shards > 0, "every topic has a partition");
        Self { arrivals, files, shards }
    }

    /// How many partitions this topic has.
    pub fn partitions(self, topic: Topic) -> u32 {
        match topic {
            Topic::Arrivals => self.arrivals,
            Topic::Commands | Topic::Files | Topic::Rejects => self.files,
            Topic::Records | Topic::Postings => self.shards,
        }
    }

    /// All partitions of all topics; the place of one is its index here.
    pub(crate) fn places(self) -> impl Iterator<Item = (Topic, u32)> {
        Topic::ALL
            .into_iter()
            .flat_map(move |topic| (0..self.partitions(topic)).map(move |p| (topic, p)))
    }

    /// The place of a partition among all of them.
    ///
    /// # Errors
    ///
    /// *Fatal* where the topic has no such partition.
    pub(crate) fn place(self, topic: Topic, partition: u32) -> Result<usize, Error> {
        let partitions = self.partitions(topic);
        if partition >= partitions {
            return Err(Error::fatal(format!(
                "expected a partition of {topic} below {partitions}, found {partition}"
            )));
        }
        let before = Topic::ALL.into_iter().take_while(|&earlier| earlier != topic);
        let index = before.map(|earlier| self.partitions(earlier)).sum::<u32>() + partition;
        Ok(index as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_the_index_among_all_places() {
        let layout = Layout::new(2, 3, 5);
        let places: Vec<(Topic, u32)> = layout.places().collect();
        assert_eq!(places.len(), 2 + 3 * 3 + 5 * 2);
        for (index, &(topic, partition)) in places.iter().enumerate() {
            assert_eq!(layout.place(topic, partition).unwrap(), index);
        }
        assert!(matches!(layout.place(Topic::Files, 3), Err(Error::Fatal { .. })));
    }
}
