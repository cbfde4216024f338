//! Tests of the program as it is built, and of the spec that it is built to.

// unsafe_code: pre_exec, where a child gets its terminal and its signals. A test may panic in its helpers too.
#![allow(missing_docs, unsafe_code, clippy::unwrap_used)]
// The fake docker is behind a unix socket, and other programs are scripts. Windows has tests/windows.
#![cfg(unix)]

mod architecture;
mod before_build;
mod cli;
mod completions;
mod crates;
mod dependencies;
mod devfile;
mod doctor;
mod github;
mod guard;
mod init;
mod lifecycle;
mod man;
mod messages;
mod package;
mod pages;
mod run;
mod settings;
mod spec;
mod support;
mod terminal;
mod together;
mod verbs;
mod wait;
mod watch;
