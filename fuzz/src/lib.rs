//! What holds of any bytes that a reader is given; each target says it of one reader.
//!
//! Nothing panics and no sum overflows. What is read is the same in any pieces, and after the
//! reader was put away and taken up again. What is read has a form as an event, and reads back
//! from it equal.

#![expect(clippy::unwrap_used, reason = "a panic is what is looked for")]

#[path = "../../ingest/tests/formats/whole.rs"]
mod whole;

use std::cell::Cell;
use std::sync::Arc;

use ingest::container::{Container, DecodeError, Decoder, Limits};
use ingest::format::{Encoding, Layout, Reader, Settings, Side, built_in, detect};
use schemas::codec::Codec;

use self::whole::{Whole, read, read_in_pieces, read_on, settings, text};

/// Content that is said to be of a format that is built in.
pub fn as_format(format: &str, content: &[u8]) {
    let usual = built_in(format).map_or(Encoding::Ascii, |layout| layout.encoding());
    let page = detect(content).filter(|detected| detected.format == format);
    let page = page.map_or(usual, |detected| detected.encoding);
    holds(&of_either_side(settings(format, page), content), content);
}

/// Content that is said to be of a layout.
pub fn as_layout(layout: &Arc<Layout>, content: &[u8]) {
    let of_layout = settings(layout.name(), layout.encoding());
    let settings = Settings { layout: Some(Arc::clone(layout)), ..of_layout };
    holds(&of_either_side(settings, content), content);
}

/// Bytes that are said to be packed.
pub fn as_container(packed: &[u8]) {
    let limits = Limits { bytes_max: 1 << 20, ratio_max: 100 };
    for container in [Container::detect(packed), Container::Gzip, Container::Zstd] {
        let whole = container.decode_all(packed, limits);
        let mut decoder = Decoder::new(container, limits);
        let mut content = Vec::new();
        let in_pieces = packed
            .chunks(pieces(packed)[0])
            .try_for_each(|piece| {
                let mut rest = piece;
                while !rest.is_empty() {
                    let used = decoder.push(rest, &mut content)?;
                    rest = &rest[used..];
                }
                Ok(())
            })
            .and_then(|()| decoder.finish());
        let in_pieces = in_pieces.map(|()| content);
        // How far apart damage and a limit are is a matter of the pieces.
        let is_limit = |error: &DecodeError| {
            matches!(error, DecodeError::TooLarge { .. } | DecodeError::OutOfProportion { .. })
        };
        match (whole, in_pieces) {
            (Ok(whole), in_pieces) => {
                assert!(whole.len() <= 1 << 20);
                assert_eq!(in_pieces, Ok(whole), "{container}");
            }
            (Err(whole), Err(in_pieces)) if is_limit(&whole) || is_limit(&in_pieces) => {}
            (whole, in_pieces) => assert_eq!(in_pieces, whole, "{container}"),
        }
    }
}

/// The feed of an issuer, or of an acquirer.
fn of_either_side(settings: Settings, content: &[u8]) -> Settings {
    let side = if mixed(content) & 1 == 0 { Side::Issuer } else { Side::Acquirer };
    Settings { side, ..settings }
}

fn holds(settings: &Settings, content: &[u8]) {
    let whole = read(settings, content);
    assert_eq!(read_in_pieces(settings, content, &pieces(content)), whole);
    assert_eq!(resumed(settings, content), whole);
    assert!(!text(&whole).is_empty());
    if let Ok(Whole { found, .. }) = whole {
        let codec = Codec::built_in();
        for record in found.iter().filter(|found| found.reject.is_none()) {
            let event = codec.encode(&record.draft.record).unwrap();
            assert_eq!(
                codec.decode::<schemas::record::ClearingRecord>(&event).unwrap(),
                record.draft.record
            );
        }
    }
}

/// The same by a reader that is put away behind some records, and taken up again.
fn resumed(settings: &Settings, content: &[u8]) -> Result<Whole, ingest::format::Refusal> {
    let every = 1 + mixed(content) / 5 % 7;
    let read = Cell::new(0);
    read_on(&mut Reader::new(settings).unwrap(), content, &[usize::MAX], |reader| {
        read.set(read.get() + 1);
        if u64::is_multiple_of(read.get(), every) {
            let state = reader.state().unwrap();
            *reader = Reader::resume(settings, &state).unwrap();
        }
    })
}

/// Sizes of pieces, some of a few bytes and some of many records.
fn pieces(content: &[u8]) -> [usize; 2] {
    let mixed = usize::try_from(mixed(content)).unwrap();
    [1 + mixed % 97, 1 + mixed / 97 % 1_500]
}

/// A number that is another for almost every content: FNV-1a.
fn mixed(content: &[u8]) -> u64 {
    content.iter().fold(0xcbf2_9ce4_8422_2325, |mixed, byte| {
        (mixed ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
