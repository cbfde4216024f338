//! Reads and replaces files safely.

pub(crate) mod read;
pub(crate) mod replace;
