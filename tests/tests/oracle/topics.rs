//! The topics as the oracle reads them: the rows of the embedded log, unpacked by hand.

use rusqlite::Connection;

/// What one publish put into one partition.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Its number among all batches, in the order in which they were published.
    pub(crate) id: i64,
    /// The topic, without a prefix.
    pub(crate) topic: String,
    /// The partition.
    pub(crate) partition: u32,
    /// The offset of its first message.
    pub(crate) base: i64,
    /// Its entries, out of their compression.
    pub(crate) body: Vec<u8>,
}

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    pub(crate) offset: i64,
    /// Its id: the header `ce_id`.
    pub(crate) id: &'a str,
    pub(crate) key: &'a [u8],
    /// None where the key is removed.
    pub(crate) value: Option<&'a [u8]>,
    /// Whether its headers say that it was published before.
    pub(crate) replayed: bool,
}

/// Gives every batch of a topic, by partition and offset; of all topics where none is named.
pub(crate) fn each_batch(log: &Connection, topic: Option<&str>, mut each: impl FnMut(&Batch)) {
    let mut query = log
        .prepare(
            "SELECT topic, partition, base, size, body, id FROM batches JOIN partitions USING (place)
             WHERE ?1 IS NULL OR topic = ?1 ORDER BY place, base",
        )
        .unwrap();
    let mut rows = query.query([topic]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let (size, packed): (i64, Vec<u8>) = (row.get(3).unwrap(), row.get(4).unwrap());
        let size = usize::try_from(size).unwrap();
        each(&Batch {
            id: row.get(5).unwrap(),
            topic: row.get(0).unwrap(),
            partition: row.get(1).unwrap(),
            base: row.get(2).unwrap(),
            body: lz4_flex::block::decompress(&packed, size).unwrap(),
        });
    }
}

impl Batch {
    /// Its messages, in order.
    pub(crate) fn messages(&self) -> Vec<Message<'_>> {
        let mut bytes = Bytes(&self.body);
        let (mut messages, mut offset, mut replayed) = (Vec::new(), self.base, false);
        while !bytes.0.is_empty() {
            let kind = bytes.number();
            if kind == 1 {
                let names = (0..bytes.number()).map(|_| (bytes.text(), bytes.text()).0);
                // Every name is read: the iterator is drained.
                replayed = names.filter(|name| *name == b"replayed").count() > 0;
                continue;
            }
            offset += i64::try_from(bytes.number()).unwrap();
            let id = std::str::from_utf8(bytes.text()).unwrap();
            let key = bytes.text();
            let value = (kind == 2).then(|| bytes.text());
            messages.push(Message { offset, id, key, value, replayed });
            offset += 1;
        }
        messages
    }
}

/// Bytes that are still to be read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    /// A number in groups of seven bits, the lowest first.
    fn number(&mut self) -> u64 {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = self.take(1)[0];
            number |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return number;
            }
        }
    }

    fn text(&mut self) -> &'a [u8] {
        let length = usize::try_from(self.number()).unwrap();
        self.take(length)
    }
}
