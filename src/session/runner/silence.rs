//! Detects an engine that accepts requests and never answers. `down` would wait for such an engine forever, so while a `down` runs, the
//! engine is asked from time to time for what `down` removes. Containers alone are not enough: Engine 20.10 can deadlock in its
//! networks, and then lists containers as always.

use std::time::{Duration, Instant};

use super::ticker::Ticker;
use crate::command::{Commander, PAUSE_AFTER_SILENCE};
use crate::compose::{ProjectName, Volumes};
use crate::engine;

/// The time before each question. Most teardowns end sooner.
pub(super) const PAUSE: Duration = Duration::from_secs(10);
/// An error that arrives sooner comes from an engine that is not running, and `down` gets the same error; or another question has just
/// been left unanswered, and this one was not asked.
const SILENT: Duration = Duration::from_secs(2);

/// Calls `report` once, with the time of the question, if the engine leaves a question unanswered. The first question is asked after
/// `pause`.
pub(super) fn watch(
    commander: Commander,
    project: ProjectName,
    pause: Duration,
    report: impl FnOnce(Instant) + Send + 'static,
) -> Ticker {
    let commander = commander.repeating();
    let mut report = Some(report);
    Ticker::start(pause, move || {
        let asked = Instant::now();
        if engine::remains(&commander, &project, Volumes::Keep).is_ok() {
            return Some(PAUSE);
        }
        if asked.elapsed() < SILENT {
            return Some(PAUSE_AFTER_SILENCE);
        }
        if let Some(report) = report.take() {
            report(asked);
        }
        None
    })
}
