//! Names that live as long as the program.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Every name that a layout has brought, once.
///
/// Attributes and rejects name fields by constants, so that naming one costs nothing on each
/// record. The set grows by what layouts name, which is read at start, never by what files hold.
static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// The same name, as a constant.
pub(super) fn intern(name: &str) -> &'static str {
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return known;
    }
    let name: &'static str = Box::leak(name.into());
    names.insert(name);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_once() {
        let first = intern(&String::from("paid"));
        assert!(std::ptr::eq(first, intern(&String::from("paid"))));
        assert_eq!(first, "paid");
    }
}
