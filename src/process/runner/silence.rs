//! An engine that accepts what it is asked and never answers. A `down` waits for it as long as it lives, so while one runs the engine
//! is asked something now and then.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::compose::ProjectName;
use crate::engine;
use crate::process::exec::{Again, Executor};

/// Before each question: most teardowns are over by then.
pub(super) const PAUSE: Duration = Duration::from_secs(10);
/// An error that comes sooner is of an engine that is away, and a `down` gets the same one.
const SILENT: Duration = Duration::from_secs(2);

/// Asks until it is dropped.
pub(super) struct Silence {
    _until_dropped: Sender<()>,
}

impl Silence {
    /// Calls `tell`, with the time of the question, if the engine has let one pass without an answer. The first comes after `pause`.
    pub(super) fn watch(
        executor: Arc<dyn Executor>,
        project: ProjectName,
        mut pause: Duration,
        tell: impl FnOnce(Instant) + Send + 'static,
    ) -> Silence {
        let (until_dropped, dropped) = mpsc::channel();
        let executor = Again(executor);
        thread::spawn(move || {
            while dropped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                let asked = Instant::now();
                if engine::containers(&executor, &project).is_err() && asked.elapsed() >= SILENT {
                    return tell(asked);
                }
                pause = PAUSE;
            }
        });
        Silence { _until_dropped: until_dropped }
    }
}
