//! Gzip and zstd: whole, in pieces, and damaged.

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

type Packer = fn(&[u8]) -> Vec<u8>;

/// What packs content so that it is detected as this container.
const PACKERS: [(Container, Packer); 2] = [(Container::Gzip, gzip), (Container::Zstd, zstd)];

fn zstd(content: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(content, ruzstd::encoding::CompressionLevel::Fastest)
}

fn decode_in_pieces(
    container: Container,
    packed: &[u8],
    size: usize,
) -> Result<Vec<u8>, DecodeError> {
    let mut decoder = Decoder::new(container, LIMITS);
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
fn parts_unpack_in_pieces_of_any_size() {
    let content = bytes(&plan("nacha", 5_000)).0;
    let (one, two) = content.split_at(100_000);
    for (container, pack) in PACKERS {
        let packed = [pack(one), pack(two), pack(b"")].concat();
        assert_eq!(Container::detect(&packed), container);
        for size in [1, 5, 4_096, packed.len()] {
            assert!(
                decode_in_pieces(container, &packed, size).unwrap() == content,
                "{container} by {size}"
            );
        }
        assert!(container.decode_all(&packed, LIMITS).unwrap() == content);
    }
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
    assert_eq!(decode_in_pieces(Container::Gzip, &packed, 1).unwrap(), b"content");
}

/// The same is told of the same bytes, however they come.
fn is_refused(container: Container, packed: &[u8], expected: &DecodeError) {
    for size in [1, 3, packed.len()] {
        let decoded = decode_in_pieces(container, packed, size);
        assert_eq!(decoded.as_ref(), Err(expected), "{container} by {size}");
    }
}

#[test]
fn what_is_not_whole_is_refused() {
    let packed = gzip(b"content of a file");
    let length = u64::try_from(packed.len()).unwrap();
    let mut damaged = packed.clone();
    damaged[packed.len() - 6] ^= 1;
    let changed = |at: usize, byte: u8| {
        let mut changed = packed.clone();
        changed[at] = byte;
        changed
    };
    for (bytes, expected) in [
        (packed[..packed.len() - 1].to_vec(), DecodeError::Truncated { offset: length - 1 }),
        (packed[..12].to_vec(), DecodeError::Truncated { offset: 12 }),
        ([packed.as_slice(), b"x"].concat(), DecodeError::Trailing { offset: length }),
        ([packed.as_slice(), &[0; 20]].concat(), DecodeError::Trailing { offset: length }),
        (damaged, DecodeError::Damaged { offset: length - 8, what: "checksum" }),
        // No method but deflate, no flag that is reserved, no block of the kind that is none.
        (changed(2, 7), DecodeError::Damaged { offset: 0, what: "header" }),
        (changed(3, 0xe0), DecodeError::Damaged { offset: 0, what: "header" }),
        (changed(10, 7), DecodeError::Damaged { offset: 11, what: "compressed blocks" }),
    ] {
        is_refused(Container::Gzip, &bytes, &expected);
    }
}

/// A file of the sizes above as the zstd of its authors packs it: one frame without stated size, one
/// with it, with and without a checksum, and one to be stepped over between them.
#[test]
fn frames_of_every_kind_are_read() {
    let frames: [&[u8]; 5] = [
        // printf 'first line\n' | zstd --no-check
        b"\x28\xb5\x2f\xfd\x00\x58\x59\x00\x00first line\n",
        // To be stepped over, of five bytes and of none.
        b"\x50\x2a\x4d\x18\x05\x00\x00\x00(\xb5/\xfd ",
        b"\x5f\x2a\x4d\x18\x00\x00\x00\x00",
        // A block of one byte, five times; 05 bytes stated.
        b"\x28\xb5\x2f\xfd\x20\x05\x2b\x00\x00A",
        // An empty block that is the last.
        b"\x28\xb5\x2f\xfd\x00\x58\x01\x00\x00",
    ];
    let packed = frames.concat();
    for size in [1, 2, 3, 7, packed.len()] {
        assert_eq!(decode_in_pieces(Container::Zstd, &packed, size).unwrap(), b"first line\nAAAAA");
    }
    for cut in 1..packed.len() {
        let is_edge = (1..5).any(|count| frames[..count].concat().len() == cut);
        assert_eq!(
            decode_in_pieces(Container::Zstd, &packed[..cut], 4).is_ok(),
            is_edge,
            "cut at {cut}"
        );
    }
}

#[test]
fn zstd_that_is_not_whole_or_asks_too_much_is_refused() {
    let packed = zstd(&b"content of a file\n".repeat(1_000));
    let length = u64::try_from(packed.len()).unwrap();
    let last = packed.len() - 1;
    let mut checksum = packed.clone();
    checksum[last] ^= 1;
    let frame = |header: &[u8]| [b"\x28\xb5\x2f\xfd", header, &[0; 20]].concat();
    for (bytes, expected) in [
        (packed[..last].to_vec(), DecodeError::Truncated { offset: length - 1 }),
        (packed[..7].to_vec(), DecodeError::Truncated { offset: 7 }),
        ([packed.as_slice(), b"x"].concat(), DecodeError::Trailing { offset: length }),
        ([packed.as_slice(), &[0; 20]].concat(), DecodeError::Trailing { offset: length }),
        ([packed.as_slice(), b"\x51\x2a\x00"].concat(), DecodeError::Trailing { offset: length }),
        (checksum, DecodeError::Damaged { offset: length - 1, what: "checksum" }),
        // A window of 16 MiB, a dictionary, a block of the kind that is none, one that is too large,
        // and a stated size that is another one.
        (frame(b"\x00\x70"), DecodeError::Unsupported { offset: 0, what: "a larger window" }),
        (frame(b"\x01\x58\x07"), DecodeError::Unsupported { offset: 0, what: "a dictionary" }),
        (
            frame(b"\x00\x58\x07\x00\x00"),
            DecodeError::Damaged { offset: 6, what: "compressed blocks" },
        ),
        (
            frame(b"\x00\x58\x09\x00\x10"),
            DecodeError::Damaged { offset: 6, what: "compressed blocks" },
        ),
        (frame(b"\x20\x06\x2b\x00\x00A"), DecodeError::Damaged { offset: 9, what: "content size" }),
    ] {
        is_refused(Container::Zstd, &bytes, &expected);
    }
}

#[test]
fn what_was_expected_and_found_is_said_once() {
    for (error, expected) in [
        (
            DecodeError::Damaged { offset: 9, what: "checksum" },
            "container damaged: expected a whole container of gzip or zstd, found a damaged checksum at byte 9 of the object",
        ),
        (
            DecodeError::Truncated { offset: 12 },
            "container truncated: expected the rest of the container of gzip or zstd, found the end of the object at byte 12",
        ),
        (
            DecodeError::Unsupported { offset: 0, what: "a larger window" },
            "container unsupported: expected zstd without a dictionary, and with a window of at most 8 MiB, found a larger window at byte 0 of the object",
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
    for (container, pack) in PACKERS {
        let packed = pack(&vec![0; 20 << 20]);
        let decode =
            |bytes_max, ratio_max| container.decode_all(&packed, Limits { bytes_max, ratio_max });
        assert_eq!(decode(1 << 30, 200), Err(DecodeError::OutOfProportion { ratio_max: 200 }));
        assert_eq!(decode(1 << 20, 50_000), Err(DecodeError::TooLarge { bytes_max: 1 << 20 }));
        assert_eq!(decode(1 << 30, 50_000).unwrap().len(), 20 << 20);
    }
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
        match decode_in_pieces(Container::Gzip, &packed, size) {
            // Some bits mean nothing: time and system in the header, what fills the last byte of
            // the blocks, and within them how far back a copy is taken from, where the bytes there
            // are the same. Those of checksum and length always do.
            Ok(found) => prop_assert!(found == content && at + 9 <= packed.len()),
            Err(_) => prop_assert!(true),
        }
    }

    /// The checksum of a frame is over all of its content.
    #[test]
    fn damage_of_zstd_never_panics_and_never_passes(
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
        size in 1_usize..300,
    ) {
        let content = bytes(&plan("ipm", 20)).0;
        let mut packed = zstd(&content);
        let at = at.index(packed.len());
        packed[at] ^= 1 << bit;
        // Some bits mean nothing but how much memory is needed.
        if let Ok(found) = decode_in_pieces(Container::Zstd, &packed, size) {
            prop_assert!(found == content || at < 6);
        }
    }
}
