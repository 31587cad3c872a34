//! The layouts that are built in: a line each.

use std::sync::{Arc, LazyLock};

use super::model::Layout;
use crate::format::{Detected, Encoding, Framing};

/// Name and text of each, in the order in which content is compared with them.
const TABLE: &[(&str, &str)] = &[
    ("cnab240", include_str!("../../../layouts/cnab240.toml")),
    ("cnab400", include_str!("../../../layouts/cnab400.toml")),
    ("base2", include_str!("../../../layouts/base2.toml")),
    ("base2_itf", include_str!("../../../layouts/base2_itf.toml")),
    ("adyen_settlement", include_str!("../../../layouts/adyen_settlement.toml")),
    ("paypal_stl", include_str!("../../../layouts/paypal_stl.toml")),
    ("statement_csv", include_str!("../../../layouts/statement_csv.toml")),
];

/// The same, read. What can't be read is left out, and a test sees to it that nothing is.
static LAYOUTS: LazyLock<Vec<Arc<Layout>>> = LazyLock::new(|| {
    TABLE.iter().filter_map(|(_, text)| Layout::parse(text).ok().map(Arc::new)).collect()
});

/// The names of the built-in layouts.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}

/// The built-in layout of this name.
pub fn built_in(name: &str) -> Option<Arc<Layout>> {
    // Most names are asked for over and over, and of formats that are none.
    let at = TABLE.iter().position(|(known, _)| *known == name)?;
    LAYOUTS.get(at).map(Arc::clone)
}

/// The built-in layout that content is of for certain, by its first bytes.
pub(crate) fn detect(first: &[u8]) -> Option<Detected> {
    found(first, super::detect::detect).next()
}

/// What content of a layout that is built in resembles; none where it resembles several.
pub(crate) fn resembles(first: &[u8]) -> Option<Detected> {
    let mut found = found(first, super::detect::resembles);
    let only = found.next()?;
    found.next().is_none().then_some(only)
}

/// The built-in layouts by which this says a page.
fn found(
    first: &[u8],
    page: fn(&Arc<Layout>, &[u8]) -> Option<Encoding>,
) -> impl Iterator<Item = Detected> {
    LAYOUTS.iter().filter_map(move |layout| {
        let encoding = page(layout, first)?;
        Some(Detected { format: layout.name, encoding, framing: Framing::Auto })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_can_be_read_and_has_the_name_of_its_line() {
        for (name, text) in TABLE {
            let layout = Layout::parse(text).unwrap_or_else(|mistakes| {
                let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
                unreachable!("{name}: {}", told.join("\n"))
            });
            assert_eq!(layout.name, *name);
            assert_eq!(built_in(name).unwrap().digest(), layout.digest());
        }
    }
}
