//! Who is next for a place: the one that waits longest, but the last free place is for the
//! smallest, so that a small file is never held up by huge ones.

/// What waits for a place, in the order in which it came.
#[derive(Debug)]
pub(crate) struct Waiting<T> {
    queue: Vec<(u64, T)>,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self { queue: Vec::new() }
    }
}

impl<T> Waiting<T> {
    /// Adds one of this size.
    pub(crate) fn push(&mut self, size: u64, waiting: T) {
        self.queue.push((size, waiting));
    }

    /// The one that waits longest among those that this is true of.
    pub(crate) fn first(&self, is_it: impl Fn(&T) -> bool) -> Option<&T> {
        self.queue.iter().map(|(_, one)| one).find(|one| is_it(one))
    }

    /// Takes the next for one of `free` places, among those that may go.
    pub(crate) fn take(&mut self, free: usize, may_go: impl Fn(&T) -> bool) -> Option<T> {
        let at = self.next(free, may_go)?;
        Some(self.take_at(at))
    }

    /// Where the next for one of `free` places stands, among those that may go.
    pub(crate) fn next(&self, free: usize, may_go: impl Fn(&T) -> bool) -> Option<usize> {
        let candidates = self.queue.iter().enumerate().filter(|(_, (_, one))| may_go(one));
        let next = match free {
            0 => None,
            1 => candidates.min_by_key(|(at, (size, _))| (*size, *at)),
            _ => candidates.min_by_key(|(at, _)| *at),
        };
        next.map(|(at, _)| at)
    }

    /// Takes the one that stands there.
    ///
    /// # Panics
    ///
    /// Where nothing stands there.
    pub(crate) fn take_at(&mut self, at: usize) -> T {
        self.queue.remove(at).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_place_is_for_the_smallest() {
        let mut waiting = Waiting::default();
        for (size, name) in [(9, "a"), (8, "b"), (1, "c"), (7, "d")] {
            waiting.push(size, name);
        }
        assert_eq!(waiting.take(0, |_| true), None);
        assert_eq!(waiting.take(2, |_| true), Some("a"));
        assert_eq!(waiting.take(1, |_| true), Some("c"));
        assert_eq!(waiting.take(2, |name| *name != "b"), Some("d"));
        assert_eq!(waiting.take(1, |name| *name != "b"), None);
        assert_eq!(waiting.take(1, |_| true), Some("b"));
    }
}
