//! Laws that hold for every format, whatever the bytes.

#![expect(clippy::unwrap_used, reason = "a helper of tests")]

use std::sync::LazyLock;

use ingest::format::{Encoding, Framing, Reader};
use ingest::generate::Plan;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::generated::{bytes, plan, settings_of};
use crate::whole::{Whole, read, read_in_pieces, read_on};

/// A file, and where its last significant byte ends.
struct Sample {
    plan: Plan,
    bytes: Vec<u8>,
    significant: usize,
    whole: Whole,
}

/// Every format that has a trailer, pages and framings, with some bad records; some larger than
/// what detection waits for.
static SAMPLES: LazyLock<Vec<Sample>> = LazyLock::new(|| {
    [
        ("nacha", Encoding::Ascii, Framing::Auto),
        ("nacha", Encoding::Cp1047, Framing::Auto),
        ("ipm", Encoding::Ascii, Framing::Vbs),
        ("ipm", Encoding::Cp037, Framing::Blocked),
        ("ipm", Encoding::Latin1, Framing::Rdw),
        ("cnab240", Encoding::Latin1, Framing::Auto),
        ("cnab240", Encoding::Cp1047, Framing::Auto),
        ("cnab400", Encoding::Latin1, Framing::Auto),
        ("base2", Encoding::Latin1, Framing::Auto),
        ("base2_itf", Encoding::Cp500, Framing::Auto),
        ("paypal_stl", Encoding::Latin1, Framing::Auto),
        ("statement_csv", Encoding::Cp037, Framing::Auto),
    ]
    .map(|(format, encoding, framing)| {
        let records = if ["nacha", "cnab240", "cnab400"].contains(&format) { 1_100 } else { 400 };
        let plan = Plan { encoding, framing, bad_per_million: 20_000, ..plan(format, records) };
        let bytes = bytes(&plan).0;
        let significant = significant(&plan, &bytes);
        let whole = read(&settings_of(&plan), &bytes).unwrap();
        Sample { plan, bytes, significant, whole }
    })
    .into()
});

/// The end of the trailer's last significant byte.
fn significant(plan: &Plan, bytes: &[u8]) -> usize {
    match (plan.format.as_str(), plan.framing) {
        ("nacha", _) => {
            let nine = if plan.encoding.is_ebcdic() { 0xf9 } else { b'9' };
            let lines: Vec<&[u8]> = bytes.chunks(95).collect();
            let padding = lines.iter().filter(|line| line[..94].iter().all(|byte| *byte == nine));
            // Behind the credits of the file control, column 55.
            (lines.len() - padding.count() - 1) * 95 + 55
        }
        // Behind the number of records in the trailer; what follows is of no interest.
        ("cnab240", _) => {
            let line_end = if plan.encoding.is_ebcdic() { 1 } else { 2 };
            bytes.len() - line_end - 240 + 29
        }
        ("cnab400", _) => bytes.len() - 2,
        // Behind the source amount in the trailer.
        ("base2", _) => bytes.len() - 169 + 116,
        ("base2_itf" | "paypal_stl" | "statement_csv", _) => bytes.len(),
        (_, Framing::Rdw) => bytes.len(),
        (_, Framing::Vbs) => bytes.len() - 4,
        _ => {
            let plain = self::bytes(&Plan { framing: Framing::Vbs, ..plan.clone() }).0;
            let payload = plain.len() - 4;
            payload + (payload - 1) / 1_012 * 2
        }
    }
}

proptest! {
    // 500 cuts for each of twelve files.
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_cut_before_the_last_significant_byte_never_ends(at in any::<Index>()) {
        for sample in &*SAMPLES {
            let settings = settings_of(&sample.plan);
            let cut = at.index(sample.significant);
            prop_assert!(read(&settings, &sample.bytes[..cut]).is_err(), "{:?} {cut}", sample.plan);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]

    #[test]
    fn a_cut_in_the_padding_loses_nothing(at in any::<Index>()) {
        for sample in &*SAMPLES {
            let cut = sample.significant + at.index(sample.bytes.len() - sample.significant + 1);
            let whole = read(&settings_of(&sample.plan), &sample.bytes[..cut]).unwrap();
            prop_assert_eq!(&whole.found, &sample.whole.found);
            prop_assert_eq!(&whole.summary.identifier, &sample.whole.summary.identifier);
        }
    }

    #[test]
    fn pieces_of_any_size_are_the_whole(pieces in prop::collection::vec(1_usize..700, 1..20)) {
        for sample in &*SAMPLES {
            let whole = read_in_pieces(&settings_of(&sample.plan), &sample.bytes, &pieces).unwrap();
            prop_assert_eq!(&whole, &sample.whole);
        }
    }

    #[test]
    fn damage_never_panics(
        which in any::<Index>(),
        damages in prop::collection::vec((any::<Index>(), any::<u8>(), 0..3_u8), 1..12),
        pieces in prop::collection::vec(1_usize..5_000, 1..5),
    ) {
        let sample = which.get(&SAMPLES);
        let mut bytes = sample.bytes.clone();
        for (at, byte, way) in damages {
            let at = at.index(bytes.len());
            match way {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => { bytes.remove(at); }
            }
        }
        let settings = settings_of(&sample.plan);
        let whole = read(&settings, &bytes);
        prop_assert_eq!(read_in_pieces(&settings, &bytes, &pieces), whole);
    }

    #[test]
    fn any_bytes_never_panic(
        which in any::<Index>(),
        head in any::<Index>(),
        noise in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let sample = which.get(&SAMPLES);
        let mut bytes = sample.bytes[..head.index(1_200)].to_vec();
        bytes.extend(noise);
        prop_assert!(read(&settings_of(&sample.plan), &bytes).is_err());
    }
}

#[test]
fn five_bytes_at_a_time_are_the_whole() {
    for sample in &*SAMPLES {
        let settings = settings_of(&sample.plan);
        for size in [1, 5, 94, 95, 1_012, 1_014] {
            let whole = read_in_pieces(&settings, &sample.bytes, &[size]).unwrap();
            assert_eq!(whole, sample.whole, "{:?} by {size}", sample.plan);
        }
    }
}

/// After each record the reader is dropped, and another one made of its state.
#[test]
fn stopping_after_any_record_changes_nothing() {
    for sample in &*SAMPLES {
        let settings = settings_of(&sample.plan);
        let mut reader = Reader::new(&settings).unwrap();
        let whole = read_on(&mut reader, &sample.bytes, &[3_000], |reader| {
            let state = reader.state().unwrap();
            assert!(state.len() < 2_000, "{} bytes of state", state.len());
            *reader = Reader::resume(&settings, &state).unwrap();
        });
        assert_eq!(whole.unwrap(), sample.whole);
    }
}

#[test]
fn a_state_of_another_format_is_refused() {
    let (nacha, ipm) = (&SAMPLES[0].plan, &SAMPLES[2].plan);
    let state = Reader::new(&settings_of(nacha)).unwrap().state().unwrap();
    assert!(Reader::resume(&settings_of(ipm), &state).is_err());
    assert!(Reader::resume(&settings_of(nacha), b"{}").is_err());
}
