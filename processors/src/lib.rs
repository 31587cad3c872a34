//! Topic to account state: apply, stores, reconciliation.
