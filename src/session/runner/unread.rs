//! Detects a blocked reader. A command that writes to our stderr blocks if nothing reads it (a full pipe, Ctrl+S), and a
//! `down` then stops in the middle of its work.

use std::io;
use std::time::Duration;

use super::ticker::Ticker;
use crate::os;

/// The time between two checks.
const PAUSE: Duration = Duration::from_millis(100);
/// The number of checks in a row that must find stderr blocked.
const CHECKS: u32 = 10;

/// Calls `report` once if our stderr stays blocked for a second.
pub(super) fn watch(report: impl FnOnce() + Send + 'static) -> Ticker {
    let mut blocked = 0;
    let mut report = Some(report);
    Ticker::start(PAUSE, move || {
        blocked = if os::takes_writes(io::stderr()) { 0 } else { blocked + 1 };
        if blocked < CHECKS {
            return Some(PAUSE);
        }
        if let Some(report) = report.take() {
            report();
        }
        None
    })
}
