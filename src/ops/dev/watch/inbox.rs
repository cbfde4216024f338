//! Delivers events to the reloader: to the command that runs, else to the loop that waits for changes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::engine::ContainerEvent;
use crate::session::RunNews;

/// Something that has happened.
pub(super) enum News {
    /// Something has happened in a directory that is watched.
    Woken,
    /// A key was pressed.
    Key(char),
    /// To the run.
    Run(RunNews),
    /// To a container.
    Container(ContainerEvent),
}

type Listener = Box<dyn Fn(News) + Send>;

/// Delivers to the listener that was added last.
#[derive(Default)]
pub(super) struct Inbox {
    listeners: Mutex<Vec<Listener>>,
    is_ending: AtomicBool,
    is_hurried: AtomicBool,
}

/// Listens until it is dropped.
pub(super) struct Listening<'a>(&'a Inbox);

impl Inbox {
    pub(super) fn tell(&self, news: News) {
        // Recorded here, since the listener may be busy.
        if let News::Run(RunNews::Ending | RunNews::Hurry) = news {
            self.is_ending.store(true, Ordering::SeqCst);
        }
        if let News::Run(RunNews::Hurry) = news {
            self.is_hurried.store(true, Ordering::SeqCst);
        }
        if let Some(listener) = self.listeners().last() {
            listener(news);
        }
    }

    pub(super) fn listen(&self, listener: impl Fn(News) + Send + 'static) -> Listening<'_> {
        self.listeners().push(Box::new(listener));
        Listening(self)
    }

    /// Whether the run ends: nothing may be begun any more.
    pub(super) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::SeqCst)
    }

    /// Whether it waits for nothing any more.
    pub(super) fn is_hurried(&self) -> bool {
        self.is_hurried.load(Ordering::SeqCst)
    }

    fn listeners(&self) -> MutexGuard<'_, Vec<Listener>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.0.listeners().pop();
    }
}
