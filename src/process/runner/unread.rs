//! A reader that does not read. A command that writes to our stderr blocks as soon as that is full (a pipe, Ctrl+S), a `down` in the
//! middle of its work.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use crate::os;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// How often in a row nothing can be written before it counts.
const LOOKS: u32 = 10;

/// Looks at our stderr until it is dropped.
pub(super) struct Unread {
    _until_dropped: Sender<()>,
}

impl Unread {
    /// Calls `tell` if nobody reads for a second.
    pub(super) fn watch(tell: impl FnOnce() + Send + 'static) -> Unread {
        let (until_dropped, dropped) = mpsc::channel();
        thread::spawn(move || {
            let mut unread = 0;
            while unread < LOOKS {
                if dropped.recv_timeout(PAUSE) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                unread = if os::takes_writes(io::stderr()) { 0 } else { unread + 1 };
            }
            tell();
        });
        Unread { _until_dropped: until_dropped }
    }
}
