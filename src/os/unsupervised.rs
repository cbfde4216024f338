//! Systems without containers of their own.

use std::ffi::OsString;
use std::io;

use super::Supervised;

pub(crate) fn supervise(_: &Supervised) -> io::Result<u8> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) fn start_listening(_: &[OsString]) -> Option<io::Error> {
    None
}
