//! End-to-end scenarios: the built program, real Docker Compose, real engines.
//!
//! Every scenario runs on both pairs that `scripts/setup-engine.sh` makes, as `…::old::NAME` and `…::new::NAME`. What is
//! checked is the state of the engine, the exit code and what the program says. Scenarios wait for events (a line of
//! output, an event of the engine), never for a time; the deadlines are safety nets.
//!
//! Each plays on a [`support::stage::Stage`] of its own: a real Cargo workspace with a unique name, hence a Compose project of
//! its own. The stage clears the engine also when a scenario fails, and a scenario that leaves something behind fails.
//! `tests/e2e_leftovers.rs` looks once more at the end.

// Only a failing scenario prints, for whoever looks into it.
#![allow(clippy::print_stderr)]

/// Makes the tests `old::NAME` and `new::NAME` of each scenario, a `fn(&Stage)`.
macro_rules! on_both_pairs {
    ($($scenario:ident),* $(,)?) => {
        mod old {
            $(#[test] fn $scenario() { crate::support::stage::play("old", stringify!($scenario), super::$scenario); })*
        }
        mod new {
            $(#[test] fn $scenario() { crate::support::stage::play("new", stringify!($scenario), super::$scenario); })*
        }
    };
}

/// Makes the test `new::NAME` of each scenario that is about files and cargo, and not about the engine or Compose.
macro_rules! on_the_new_pair {
    ($($scenario:ident),* $(,)?) => {
        mod new {
            $(#[test] fn $scenario() { crate::support::stage::play("new", stringify!($scenario), super::$scenario); })*
        }
    };
}

mod own_engine;
#[path = "../support/mod.rs"]
mod support;

mod ci;
mod completions;
mod crates;
mod detached;
mod devfile;
mod direct;
mod doctor;
mod down;
mod endings;
mod environment;
mod failures;
mod foreground;
mod isolation;
mod man;
mod model;
mod names;
mod outage;
mod pictures;
mod ports;
mod readme;
mod remote;
mod run;
mod signals;
mod startup;
mod together;
mod traefik;
mod verbs;
mod verdicts;
mod volumes;
mod wait;
