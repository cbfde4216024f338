//! What is known of a stack: whether it is ready, and if not, why.
//!
//! `expected` says which containers a start should create, `observer` follows the engine's events while it creates them,
//! `tracker` keeps the state of each container, `readiness` has the rules for one container, and `verdict` the last word on all
//! of them. `causes`, `diagnosis` and `ports` explain a failure. The rules are in `spec/dev/readiness.md`.

pub(crate) mod causes;
pub(crate) mod diagnosis;
pub(crate) mod expected;
pub(crate) mod listening;
pub(crate) mod observer;
pub(crate) mod ports;
pub(crate) mod readiness;
pub(crate) mod report;
pub(crate) mod tracker;
pub(crate) mod verdict;
