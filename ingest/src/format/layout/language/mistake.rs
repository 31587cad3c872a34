//! What is wrong with a layout: where, what was expected, what was found, and what to do.

use std::cell::RefCell;
use std::fmt;

/// A mistake in a layout's text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// What was expected there.
    pub expected: String,
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, expected, found, remedy } = self;
        write!(f, "line {line}, column {column}: expected {expected}, found {found}")?;
        match remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

/// The text that is read, and what was found wrong with it so far.
#[derive(Debug)]
pub(super) struct Source<'a> {
    text: &'a str,
    mistakes: RefCell<Vec<Mistake>>,
}

impl<'a> Source<'a> {
    /// Nothing wrong yet.
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, mistakes: RefCell::default() }
    }

    /// Notes a mistake at a byte of the text.
    pub(super) fn mistake(
        &self,
        at: usize,
        expected: impl Into<String>,
        found: impl Into<String>,
        remedy: Option<String>,
    ) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.split('\n').count();
        let last = before.rsplit('\n').next().unwrap_or_default();
        self.mistakes.borrow_mut().push(Mistake {
            line,
            column: last.chars().count().saturating_add(1),
            expected: expected.into(),
            found: found.into(),
            remedy,
        });
    }

    /// True where something is wrong.
    pub(super) fn is_wrong(&self) -> bool {
        !self.mistakes.borrow().is_empty()
    }

    /// All that is wrong, in the order of the text.
    pub(super) fn into_mistakes(self) -> Vec<Mistake> {
        let mut mistakes = self.mistakes.into_inner();
        mistakes.sort();
        // What a record that is like another has from it is read twice.
        mistakes.dedup_by(|later, former| {
            (later.line, later.column, &later.expected)
                == (former.line, former.column, &former.expected)
        });
        mistakes
    }
}

/// What to do about a word that isn't one of those: the one that was meant, where one is near.
pub(super) fn did_you_mean<'a>(
    found: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let distances = known.into_iter().map(|known| (distance(found, known), known));
    let (distance, known) = distances.min()?;
    let far = found.chars().count().max(known.chars().count()).div_ceil(3);
    (distance <= far).then(|| format!("did you mean {known:?}?"))
}

/// The words, as they are listed in a sentence.
pub(super) fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<&str> = words.into_iter().collect();
    match words.as_slice() {
        [] => String::from("nothing"),
        [word] => (*word).to_owned(),
        [words @ .., last] => format!("{} or {last}", words.join(", ")),
    }
}

/// How many characters are to be added, removed or changed to make one word the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (count, letter) in (1..).zip(one.chars()) {
        let mut diagonal = row.first().copied().unwrap_or_default();
        if let Some(first) = row.first_mut() {
            *first = count;
        }
        let mut left: usize = count;
        for (cell, known) in row.iter_mut().skip(1).zip(&other) {
            let changed = diagonal.saturating_add(usize::from(letter != *known));
            diagonal = *cell;
            *cell = changed.min(left.saturating_add(1)).min(diagonal.saturating_add(1));
            left = *cell;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_meant_where_it_is_near() {
        for (found, expected) in [
            ("lenght", Some("did you mean \"length\"?")),
            ("separater", Some("did you mean \"separator\"?")),
            ("at", None),
            ("", None),
        ] {
            let meant = did_you_mean(found, ["length", "separator", "quote"]);
            assert_eq!(meant.as_deref(), expected, "{found}");
        }
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(one_of(["a", "b", "c"]), "a, b or c");
    }
}
