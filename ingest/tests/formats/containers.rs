//! Gzip: whole, in pieces, and damaged.

#![expect(clippy::unwrap_used, reason = "a helper of tests")]

use std::io::Write as _;

use flate2::{Compression, GzBuilder, write::GzEncoder};
use ingest::container::{Container, DecodeError, Decoder, Limits};
use proptest::prelude::*;

use crate::generated::{bytes, plan};

const LIMITS: Limits = Limits { bytes_max: 1 << 30, ratio_max: 200 };

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn decode_in_pieces(packed: &[u8], size: usize) -> Result<Vec<u8>, DecodeError> {
    let mut decoder = Decoder::new(Container::Gzip, LIMITS);
    let mut content = Vec::new();
    for piece in packed.chunks(size) {
        let mut rest = piece;
        while !rest.is_empty() {
            let used = decoder.push(rest, &mut content)?;
            rest = &rest[used..];
        }
    }
    decoder.finish()?;
    Ok(content)
}

#[test]
fn members_unpack_in_pieces_of_any_size() {
    let content = bytes(&plan("nacha", 5_000)).0;
    let (one, two) = content.split_at(100_000);
    let packed = [gzip(one), gzip(two), gzip(b"")].concat();
    assert_eq!(Container::detect(&packed), Container::Gzip);
    for size in [1, 5, 4_096, packed.len()] {
        assert!(decode_in_pieces(&packed, size).unwrap() == content, "by {size}");
    }
    assert!(Container::Gzip.decode_all(&packed, LIMITS).unwrap() == content);
}

#[test]
fn a_header_with_everything_is_stepped_over() {
    let mut encoder = GzBuilder::new()
        .filename("x.ach")
        .comment("y")
        .extra(vec![7; 300])
        .write(Vec::new(), Compression::fast());
    encoder.write_all(b"content").unwrap();
    let packed = encoder.finish().unwrap();
    assert_eq!(decode_in_pieces(&packed, 1).unwrap(), b"content");
}

#[test]
fn what_is_not_whole_is_refused() {
    let packed = gzip(b"content of a file");
    let length = u64::try_from(packed.len()).unwrap();
    let mut damaged = packed.clone();
    damaged[packed.len() - 6] ^= 1;
    for (bytes, expected) in [
        (packed[..packed.len() - 1].to_vec(), DecodeError::Truncated { offset: length - 1 }),
        (packed[..12].to_vec(), DecodeError::Truncated { offset: 12 }),
        ([packed.as_slice(), b"x"].concat(), DecodeError::Trailing { offset: length }),
        ([packed.as_slice(), &[0; 20]].concat(), DecodeError::Trailing { offset: length }),
        (damaged, DecodeError::Damaged { offset: length - 8, what: "checksum" }),
    ] {
        assert_eq!(Container::Gzip.decode_all(&bytes, LIMITS), Err(expected));
    }
}

#[test]
fn what_was_expected_and_found_is_said_once() {
    for (error, expected) in [
        (
            DecodeError::Damaged { offset: 9, what: "checksum" },
            "container damaged: expected gzip, found a damaged checksum at byte 9 of the object",
        ),
        (
            DecodeError::Truncated { offset: 12 },
            "container truncated: expected the rest of the gzip member, found the end of the object at byte 12",
        ),
        (
            DecodeError::TooLarge { bytes_max: 5 },
            "content too large: expected at most 5 bytes of content, found more",
        ),
    ] {
        assert_eq!(error.reason().to_string(), expected);
    }
}

#[test]
fn a_bomb_stops_at_the_limits() {
    let packed = gzip(&vec![0; 20 << 20]);
    let decode =
        |bytes_max, ratio_max| Container::Gzip.decode_all(&packed, Limits { bytes_max, ratio_max });
    assert_eq!(decode(1 << 30, 200), Err(DecodeError::OutOfProportion { ratio_max: 200 }));
    assert_eq!(decode(1 << 20, 5_000), Err(DecodeError::TooLarge { bytes_max: 1 << 20 }));
    assert_eq!(decode(1 << 30, 5_000).unwrap().len(), 20 << 20);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn damage_never_panics_and_never_passes(
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
        size in 1_usize..300,
    ) {
        let content = bytes(&plan("ipm", 20)).0;
        let mut packed = gzip(&content);
        let at = at.index(packed.len());
        packed[at] ^= 1 << bit;
        match decode_in_pieces(&packed, size) {
            // Some bits mean nothing: time and system in the header, what fills the last byte of
            // the blocks, and within them how far back a copy is taken from, where the bytes there
            // are the same. Those of checksum and length always do.
            Ok(found) => prop_assert!(found == content && at + 9 <= packed.len()),
            Err(_) => prop_assert!(true),
        }
    }
}
