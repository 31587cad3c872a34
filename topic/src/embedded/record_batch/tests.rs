use super::*;
use crate::Message;

fn layout() -> Layout {
    Layout::new(1, 1, 1)
}

fn text(text: &[u8]) -> Bytes {
    Bytes::copy_from_slice(text)
}

fn decode(batches: &[Encoded], base: i64) -> Vec<Received> {
    let mut wanted = Wanted::new(0..i64::MAX, usize::MAX);
    let mut base = base;
    for Encoded { place, offsets, size, body } in batches {
        let (next, size) = (base + offsets, *size as i64);
        let crc = checksum(*place, base, next, size, body);
        let stored = Stored { place: *place, base, next, size, crc, body };
        assert!(wanted.take((Topic::Records, 0), stored).unwrap().is_continue());
        base = next;
    }
    wanted.found
}

/// The example of the module's documentation, byte for byte.
#[test]
fn the_example_is_true() {
    let messages = vec![
        Message { id: text(b"i1"), key: text(b"k"), value: Some(text(b"v")) },
        Message { id: text(b"i2"), key: text(b"k"), value: None },
    ];
    let headers = Arc::from([Header { name: "a".to_owned(), value: text(b"b") }]);
    let set = MessageSet { topic: Topic::Records, partition: 0, headers, messages };
    let batches = encode(layout(), &[set]).unwrap();
    let body = lz4_flex::block::decompress(&batches[0].body, batches[0].size).unwrap();
    assert_eq!(body, b"\x01\x01\x01a\x01b\x02\x00\x02i1\x01k\x01v\x03\x00\x02i2\x01k");
}

#[test]
fn survivors_keep_their_offsets() {
    let headers: Arc<[Header]> = Arc::from([]);
    let survivor = |offset| Received {
        offset,
        id: text(b"i"),
        key: text(b"k"),
        value: Some(text(&[b'v'; 300_000])),
        headers: Arc::clone(&headers),
    };
    let survivors: Vec<Received> = [3, 4, 200, 70_000, 70_001].map(survivor).into();
    let batches = encode_survivors(0, 1, &survivors);
    assert!(batches.len() > 1, "a large body is cut");
    assert_eq!(decode(&batches, 1), survivors);
}

proptest::proptest! {
    /// Whatever the bytes are, reading them never panics and never invents what a checksum denies.
    #[test]
    fn arbitrary_bodies_are_refused_or_read(
        body in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
    ) {
        let compressed = lz4_flex::block::compress(&body);
        let size = body.len() as i64;
        let crc = checksum(0, 0, 1, size, &compressed);
        let stored = Stored { place: 0, base: 0, next: 1, size, crc, body: &compressed };
        let mut wanted = Wanted::new(0..i64::MAX, usize::MAX);
        let _either = wanted.take((Topic::Records, 0), stored);
        let wrong = Stored { crc: crc ^ 1, ..stored };
        let mut wanted = Wanted::new(0..i64::MAX, usize::MAX);
        assert!(wanted.take((Topic::Records, 0), wrong).is_err());
        assert!(wanted.found.is_empty());
    }
}
