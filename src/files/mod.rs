//! Reads and replaces files safely.

pub(crate) mod cache;
pub(crate) mod hash;
pub(crate) mod read;
pub(crate) mod replace;
