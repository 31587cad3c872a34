//! Blocks of so many bytes, whatever they are.

use std::num::NonZeroUsize;

use super::{CutError, Input, Memory, Next, Unit};

/// The next block.
pub(super) fn next(length: NonZeroUsize, input: Input<'_>) -> Result<Next<'_>, CutError> {
    let length = length.get();
    match input.rest.get(..length) {
        Some(bytes) => {
            let after = Memory { begun: true, unseparated: true, block_left: 0 };
            Ok(Next::Unit(Unit { bytes, skipped: 0, lines_skipped: 0, length, lines: 0, after }))
        }
        None if !input.end_of_content => Ok(Next::More),
        None if input.rest.is_empty() => Ok(Next::End { end_of_text: false }),
        None => Err(not_a_multiple(length, 0, input.rest.len())),
    }
}

/// The content ends within a block, `left` bytes behind the last whole one.
pub(super) fn not_a_multiple(length: usize, at: usize, left: usize) -> CutError {
    let expected = format!("content of a multiple of {length} bytes");
    let found = format!("{left} bytes behind the last whole {length}");
    CutError::new("truncated", at, expected, found)
}
