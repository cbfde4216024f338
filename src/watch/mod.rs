//! Watches the files that a stack is made from. What the system says only wakes: what has changed is found by looking at the files, so
//! that the same code works where the system cannot say anything.

mod dep_info;
mod set;
mod snapshot;
mod wake;

pub(crate) use set::FileSet;
pub(crate) use snapshot::Snapshot;
pub(crate) use wake::{Unwatched, Wake};

#[cfg(test)]
mod tests;
