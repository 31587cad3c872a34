use super::*;

use crate::format::layout::built_in::{built_in, names};
use crate::format::layout::context::{Keeping, Kept};
use crate::format::layout::group::Piece;
use crate::format::layout::model::{Layout, Place, Role};

/// A record of the family, with this character all over the field; else blank.
fn piece(layout: &Layout, at: FieldRef, character: u8) -> Piece {
    let has_it = |record: usize| layout.field(record, at).is_some();
    let record = (0..layout.records.len()).find(|record| has_it(*record)).unwrap();
    let Place::Columns(first, last) = layout.field(record, at).unwrap().place else {
        unreachable!("a built-in layout of rows compares nothing")
    };
    let mut text = vec![b' '; layout.length];
    text[first.saturating_sub(1)..last].fill(character);
    Piece::of(layout, record, text)
}

/// Whatever is said to be the same is compared, in each record of its kind.
#[test]
fn each_pair_of_each_built_in_layout_is_compared() {
    let mut pairs = 0;
    for layout in names().map(|name| built_in(name).unwrap()) {
        let keeping = Keeping::of(&layout);
        for event in &layout.events {
            for (at, other) in &event.same {
                let common = piece(&layout, *other, b'1');
                let mut kept = Kept::default();
                kept.keep(&keeping, &layout, &common, &[]);
                let is_header = layout.records[common.record].role != Role::Detail;
                let found = |last: u8| {
                    let mut pieces = vec![piece(&layout, *at, b'1'), piece(&layout, *at, last)];
                    if !is_header {
                        pieces.insert(0, common.clone());
                    }
                    let view = View {
                        layout: &layout,
                        encoding: layout.encoding(),
                        pieces: &pieces,
                        kept: &kept,
                        keeping: &keeping,
                        columns: &[],
                    };
                    is_of_one(&view, event).map_err(|fault| fault.into_reject(None))
                };
                let (field, name) = (layout.name(), layout.records[common.record].name);
                assert_eq!(found(b'1'), Ok(()), "{field}: {at:?} beside {name}");
                let reject = found(b'2').unwrap_err();
                assert_eq!(reject.reason, "not_the_same", "{field}: {at:?} beside {name}");
                assert!(reject.expected.contains(name), "{}", reject.expected);
                pairs += 1;
            }
        }
    }
    assert!(pairs >= 20, "{pairs}");
}
