//! Finds containers that the engine was still creating for a killed `up`. They appear after the first list of containers was made, and
//! the `down` that removes them leaves their anonymous volumes behind. So the list is requested again while `down` runs.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::ticker::Ticker;
use crate::command::Commander;
use crate::compose::ProjectName;
use crate::engine::{self, Container};

/// The pause between two requests at first. Compose needs at least 0.1 s from its own list to the removal of the first container.
const PAUSE: Duration = Duration::from_millis(20);
/// How long the short pause lasts. A busy engine takes seconds to finish what a killed `up` has requested.
const BUSY: Duration = Duration::from_secs(5);
/// The pause after that. By then `down` has made its own list and only waits for containers to stop.
const LONG_PAUSE: Duration = Duration::from_secs(1);

/// Looks for new containers until it is dropped.
pub(super) struct Latecomers {
    found: Arc<Mutex<Found>>,
    _ticker: Ticker,
}

/// Containers and their anonymous volumes.
#[derive(Clone, Default)]
pub(super) struct Found {
    pub(super) containers: Vec<Container>,
    pub(super) anonymous: BTreeSet<String>,
}

impl Latecomers {
    /// Starts to look, and reports new containers as soon as they are found. Finds nothing where the engine can be asked only through
    /// docker, which starts too slowly for this.
    pub(super) fn watch(
        commander: Commander,
        project: ProjectName,
        report: impl Fn(Found) + Send + 'static,
    ) -> Latecomers {
        let found = Arc::new(Mutex::new(Found::default()));
        let seen = Arc::clone(&found);
        let commander = commander.repeating();
        let began = Instant::now();
        let ticker = Ticker::start(PAUSE, move || {
            let mut containers = engine::containers_directly(&commander, &project)?;
            containers.retain(|container| !lock(&seen).containers.iter().any(|known| known.id == container.id));
            if !containers.is_empty() {
                let anonymous = engine::anonymous_volumes(&commander, &containers);
                let new = Found { containers, anonymous };
                report(new.clone());
                let mut seen = lock(&seen);
                seen.containers.extend(new.containers);
                seen.anonymous.extend(new.anonymous);
            }
            Some(if began.elapsed() < BUSY { PAUSE } else { LONG_PAUSE })
        });
        Latecomers { found, _ticker: ticker }
    }

    /// Everything that was found so far. Does not wait for a request that is under way.
    pub(super) fn found(&self) -> Found {
        lock(&self.found).clone()
    }
}

fn lock(found: &Mutex<Found>) -> MutexGuard<'_, Found> {
    found.lock().unwrap_or_else(PoisonError::into_inner)
}
