//! The orders that an operator gives in tests that stop in between.

use anyhow::bail;
use schemas::CommandId;
use schemas::command::Action;
use schemas::file::FileState;

use crate::world::Order;

/// Orders by the name of their scenario.
///
/// # Errors
///
/// Where there is no such scenario.
pub fn orders(name: &str) -> anyhow::Result<Vec<Order>> {
    let order = |number: u8, object: &str, action: Action, range, once: FileState| Order {
        id: CommandId([number; 16]),
        object: object.to_owned(),
        action,
        range,
        once,
    };
    let reconciled = || FileState::RECONCILED;
    match name {
        "" => Ok(Vec::new()),
        "operate" => Ok(vec![
            order(1, "small.ach", Action::REVERSE, Some((10, 49)), reconciled()),
            order(2, "small.ipm", Action::REPLAY, None, reconciled()),
            order(3, "small.ipm", Action::CANCEL, None, reconciled()),
            order(4, "small.ipm", Action::REVERSE, None, reconciled()),
            order(5, "small.ach", Action::REVERSE, None, reconciled()),
            order(6, "small.ach", Action::REVERSE, None, FileState::REVERSED),
        ]),
        other => bail!("there are no orders {other}"),
    }
}
