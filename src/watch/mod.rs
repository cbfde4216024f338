//! Watches the files that a stack is made from. An event of the system only starts a comparison of the files with their last state, so the
//! same code polls where the system reports no events.

mod dep_info;
mod set;
mod snapshot;
mod wake;

pub(crate) use set::FileSet;
pub(crate) use snapshot::Snapshot;
pub(crate) use wake::{Unwatched, Wake};

#[cfg(test)]
mod tests;
