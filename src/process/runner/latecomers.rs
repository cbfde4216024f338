//! Containers that the engine was still creating for an `up` that was killed. They appear after the question for what there is, and
//! the `down` that removes them leaves their anonymous volumes behind. So the question is asked again and again while it runs.

use std::collections::BTreeSet;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::compose::ProjectName;
use crate::engine::{self, Container};
use crate::process::exec::{Again, Executor};

/// Between two questions. Compose needs a tenth of a second at least from its own question to the removal of the first container.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks for them until it is dropped.
pub(super) struct Latecomers {
    found: Arc<Mutex<Found>>,
    _until_dropped: Sender<()>,
}

/// What has been seen.
#[derive(Clone, Default)]
pub(super) struct Found {
    pub(super) containers: Vec<Container>,
    /// Their anonymous volumes.
    pub(super) anonymous: BTreeSet<String>,
}

impl Latecomers {
    /// Begins to look. Where the engine cannot be asked without docker, whose start takes too long for that, nothing is found.
    /// `tell` hears of each at once.
    pub(super) fn watch(
        executor: Arc<dyn Executor>,
        project: ProjectName,
        tell: impl Fn(Found) + Send + 'static,
    ) -> Latecomers {
        let (until_dropped, dropped) = mpsc::channel();
        let found = Arc::new(Mutex::new(Found::default()));
        let seen = Arc::clone(&found);
        let executor = Again(executor);
        thread::spawn(move || {
            while dropped.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
                let Some(mut containers) = engine::containers_directly(&executor, &project) else { return };
                containers.retain(|container| !lock(&seen).containers.iter().any(|known| known.id == container.id));
                if containers.is_empty() {
                    continue;
                }
                let anonymous = engine::anonymous_volumes(&executor, &containers);
                let found = Found { containers, anonymous };
                tell(found.clone());
                let mut seen = lock(&seen);
                seen.containers.extend(found.containers);
                seen.anonymous.extend(found.anonymous);
            }
        });
        Latecomers { found, _until_dropped: until_dropped }
    }

    /// What has been seen so far. No answer is waited for.
    pub(super) fn found(&self) -> Found {
        lock(&self.found).clone()
    }
}

fn lock(found: &Mutex<Found>) -> MutexGuard<'_, Found> {
    found.lock().unwrap_or_else(PoisonError::into_inner)
}
