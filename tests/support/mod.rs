//! What the test programs on real engines share: the engines, runs of the built program, terminals, and a workspace that cleans up.
//!
//! Each program includes this module by its path. A crate of its own would not know where the program is: Cargo tells
//! that (`CARGO_BIN_EXE_cargo-stagecraft`) to test targets only.

// Each program uses its part of it.
#![allow(dead_code)]
// Only a failing test prints.
#![allow(clippy::print_stderr)]

pub(crate) mod engine;
pub(crate) mod fixture;
pub(crate) mod proxy;
pub(crate) mod pty;
pub(crate) mod run;
pub(crate) mod stage;
