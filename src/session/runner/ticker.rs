//! Calls a function again and again, from its own thread.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

/// A running ticker. Dropping it stops it; a call that is under way is not waited for.
pub(super) struct Ticker {
    _until_dropped: Sender<()>,
}

impl Ticker {
    /// Calls `tick` for the first time after `pause`. It returns the pause before the next call, or `None` to stop.
    pub(super) fn start(mut pause: Duration, mut tick: impl FnMut() -> Option<Duration> + Send + 'static) -> Ticker {
        let (until_dropped, dropped) = mpsc::channel();
        thread::spawn(move || {
            while dropped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                match tick() {
                    Some(next) => pause = next,
                    None => return,
                }
            }
        });
        Ticker { _until_dropped: until_dropped }
    }
}
