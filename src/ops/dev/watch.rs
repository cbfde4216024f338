//! `dev --watch`: applies changes of the files while the stack runs.
//!
//! It works in a thread of its own beside the run, which owns `up` and the teardown. Programs are replaced in the containers that run
//! them; for everything else Compose is called, by the run where it has to be attached.

mod apply;
mod command;
mod inbox;
mod report;
mod swap;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use self::inbox::{Inbox, News};
use super::isolate::Slot;
use super::{Described, DevOptions};
use crate::command::Running;
use crate::engine::{Clock, Container};
use crate::exit::{self, Failure};
use crate::files::hash;
use crate::ops::Context;
use crate::os;
use crate::reporter::Logger;
use crate::session::{Options, RunHandle, RunNews, Watching};
use crate::watch::{FileSet, Snapshot, Wake};

/// How long no file must have changed before a change is applied: an editor writes a file in several steps, and git many files.
const QUIET: Duration = Duration::from_millis(30);
/// How often the files are polled if the system does not report all changes.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often to check whether git is done.
const LOOK_FOR_GIT: Duration = Duration::from_millis(20);
/// How long git may take before its lock counts as left behind.
const GIT_AT_MOST: Duration = Duration::from_secs(30);

/// How many builds in a row may change the same files. More than one, since a developer may save a file again during each build.
const RESTLESS: u32 = 5;

/// What changes are applied to.
pub(super) struct Reloads<'a> {
    pub(super) cx: &'a Context<'a>,
    pub(super) options: &'a DevOptions,
    /// The stack that runs.
    pub(super) described: Described,
    /// That of an isolated stack.
    pub(super) slot: Option<Slot>,
    /// How it was started.
    pub(super) how: Options,
    /// Where the binary of each crate is.
    pub(super) binaries: BTreeMap<String, PathBuf>,
    /// The variables with which they were built.
    pub(super) variables: Vec<(String, String)>,
    /// The images that theirs have replaced, by id.
    pub(super) replaced: BTreeSet<String>,
}

/// Does what `run` does, and applies changes meanwhile. Returns the images that were replaced, too.
pub(super) fn run<T>(reloads: Reloads<'_>, run: impl FnOnce(Watching<'_>) -> T) -> (T, BTreeSet<String>) {
    let inbox = &Arc::new(Inbox::default());
    let replaced = reloads.replaced.clone();
    thread::scope(|scope| {
        let (started, is_started) = mpsc::channel();
        let begin = move |handle| {
            let (sender, news) = mpsc::channel();
            // Before the thread has begun, so that nothing is missed.
            let listening = inbox.listen(move |news| drop(sender.send(news)));
            let reloader = scope.spawn(move || {
                let _listening = listening;
                Reloader::new(reloads, inbox, handle, news).run()
            });
            let _ = started.send(reloader);
        };
        let tell = |news| inbox.tell(News::Run(news));
        let ended = run(Watching { begin: Box::new(begin), tell: Box::new(tell) });
        inbox.tell(News::Run(RunNews::Hurry));
        let replaced = match is_started.try_recv().map(thread::ScopedJoinHandle::join) {
            Ok(Ok(replaced)) => replaced,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            // It was not begun.
            Err(_) => replaced,
        };
        (ended, replaced)
    })
}

/// Something that is wanted of the reloader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// Build, whether a file has changed or not.
    Build,
    /// Build, and reload every program, whether it has changed or not.
    ReloadAll,
}

struct Reloader<'a> {
    cx: &'a Context<'a>,
    options: &'a DevOptions,
    inbox: &'a Arc<Inbox>,
    handle: RunHandle,
    news: Receiver<News>,
    described: Described,
    /// That of an isolated stack.
    slot: Option<Slot>,
    how: Options,
    binaries: BTreeMap<String, PathBuf>,
    variables: Vec<(String, String)>,
    replaced: BTreeSet<String>,
    /// A hash of the program that each service runs.
    programs: BTreeMap<String, u64>,
    wake: Wake,
    set: FileSet,
    snapshot: Snapshot,
    /// Whether the last build has succeeded, so that cargo has said what it has read.
    is_exact: bool,
    /// Whether the files are polled, because the system does not report all changes.
    polls: bool,
    /// What has changed while cargo was at work the last time.
    changed_by_build: Vec<PathBuf>,
    /// What the last builds have changed, each of which was for that alone, and how many there were.
    restless: (Vec<PathBuf>, u32),
    /// When the last build began, by the clock that files have.
    build_began: SystemTime,
    /// Whether a program runs of which there is no image yet.
    lacks_images: bool,
    /// Whether what the stack is made of has changed, and that is not applied yet.
    is_replanned: bool,
    /// The services that are no longer in it.
    removed: BTreeSet<String>,
    /// Since when something has happened that was not looked at.
    woken: Option<Instant>,
    wishes: VecDeque<Wish>,
    /// Whether an attached `up` has started everything.
    is_attached: bool,
    /// The project's containers. None if they may be others by now.
    containers: Option<Vec<Container>>,
    /// The engine's.
    clock: Option<Clock>,
    /// Reports the end of containers for a while after a reload.
    listener: Option<Listener>,
    /// The containers whose end is reported, with their services.
    reloaded: BTreeMap<String, String>,
}

/// A `docker events` that reports the end of containers.
struct Listener {
    process: Box<dyn Running>,
    until: Instant,
}

impl<'a> Reloader<'a> {
    fn new(reloads: Reloads<'a>, inbox: &'a Arc<Inbox>, handle: RunHandle, news: Receiver<News>) -> Reloader<'a> {
        let Reloads { cx, options, described, slot, how, binaries, variables, replaced } = reloads;
        let waker = Arc::clone(inbox);
        Reloader {
            cx,
            options,
            inbox,
            handle,
            news,
            described,
            slot,
            how,
            binaries,
            variables,
            replaced,
            programs: BTreeMap::new(),
            wake: Wake::new(move || waker.tell(News::Woken)),
            set: FileSet::default(),
            snapshot: Snapshot::default(),
            is_exact: true,
            polls: false,
            changed_by_build: Vec::new(),
            restless: Default::default(),
            build_began: SystemTime::now(),
            lacks_images: false,
            is_replanned: false,
            removed: BTreeSet::new(),
            woken: None,
            wishes: VecDeque::new(),
            is_attached: false,
            containers: None,
            clock: None,
            listener: None,
            reloaded: BTreeMap::new(),
        }
    }

    /// Until the run ends. Returns the images that were replaced.
    fn run(mut self) -> BTreeSet<String> {
        let keys = Arc::clone(self.inbox);
        let keyboard = os::read_keys(move |key| keys.tell(News::Key(key)));
        self.programs =
            self.binaries.iter().filter_map(|(service, it)| Some((service.clone(), hash::of(it).ok()?))).collect();
        self.watch_files();
        self.snapshot = Snapshot::take(&self.set, &Snapshot::default());
        self.clock = Clock::ask(&self.cx.commander).ok();
        let keys = if keyboard.is_some() { "; press r to reload all, b to build, q to quit" } else { "" };
        self.cx.shell.status("Watching", &format!("the files of {}{keys}", self.project()));
        while !self.inbox.is_ending() {
            if let Some(wish) = self.wishes.pop_front() {
                self.apply(Vec::new(), Some(wish));
                continue;
            }
            if self.woken.is_some() || self.polls {
                let began = Instant::now();
                let changed = self.look();
                if !changed.is_empty() {
                    self.woken.get_or_insert(began);
                    self.apply(changed, None);
                    continue;
                }
            }
            self.wait();
        }
        self.stop_listening();
        self.replaced
    }

    fn project(&self) -> &str {
        self.described.stack.project.as_str()
    }

    /// Blocks until there is news.
    fn wait(&mut self) {
        let until = self.listener.as_ref().map(|listener| listener.until);
        let look = self.polls.then(|| Instant::now() + LOOK_EVERY);
        let news = match until.into_iter().chain(look).min() {
            None => self.news.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(until) => self.news.recv_timeout(until.saturating_duration_since(Instant::now())),
        };
        match news {
            Ok(news) => self.note(news),
            Err(RecvTimeoutError::Timeout) => {
                if until.is_some_and(|until| until <= Instant::now()) {
                    self.stop_listening();
                }
            }
            // Its sender lives as long as this.
            Err(RecvTimeoutError::Disconnected) => {}
        }
    }

    fn note(&mut self, news: News) {
        match news {
            News::Woken => drop(self.woken.get_or_insert_with(Instant::now)),
            News::Key('r') => self.wishes.push_back(Wish::ReloadAll),
            News::Key('b') => self.wishes.push_back(Wish::Build),
            News::Key('q') => self.handle.quit(),
            News::Key(_) => {}
            News::Run(RunNews::Attached(attached)) => {
                self.is_attached = attached;
                self.containers = None;
            }
            // The inbox has recorded it.
            News::Run(RunNews::Ending | RunNews::Hurry) => {}
            News::Container(event) => self.container_ended(&event),
        }
    }

    /// The files that have changed since the last look, once nothing changes any more. Empty also if the run ends.
    fn look(&mut self) -> Vec<PathBuf> {
        let began = Instant::now();
        let mut said = false;
        loop {
            let busy = self.git_is_busy() && began.elapsed() < GIT_AT_MOST;
            if busy && !said {
                self.cx.shell.detail("Waiting", "for git, which is at work");
                said = true;
            }
            match self.news.recv_timeout(if busy { LOOK_FOR_GIT } else { QUIET }) {
                Ok(news) => self.note(news),
                Err(_) if !busy => break,
                Err(_) => {}
            }
            if self.inbox.is_ending() {
                return Vec::new();
            }
        }
        let changed = self.changes();
        if changed.is_empty() {
            self.woken = None;
        }
        changed
    }

    /// The files that have changed since the last look.
    fn changes(&mut self) -> Vec<PathBuf> {
        if !self.is_exact {
            // A directory may be new.
            self.watch_files();
        }
        let now = Snapshot::take(&self.set, &self.snapshot);
        let changed = now.changes(&self.snapshot);
        self.snapshot = now;
        changed
    }

    /// Whether git is changing the working tree.
    fn git_is_busy(&self) -> bool {
        let root = self.described.workspace.root();
        let git = root.ancestors().map(|folder| folder.join(".git")).find(|git| git.exists());
        let folder = git.and_then(|git| match git.is_dir() {
            true => Some(git),
            // That of a worktree is elsewhere.
            false => {
                let text = std::fs::read_to_string(&git).ok()?;
                Some(git.parent()?.join(text.strip_prefix("gitdir: ")?.trim()))
            }
        });
        folder.is_some_and(|folder| folder.join("index.lock").exists())
    }

    /// Watches what the stack is made from now.
    fn watch_files(&mut self) {
        let binaries: Vec<PathBuf> = self.binaries.values().cloned().collect();
        self.set = FileSet::of(&self.described.workspace, &binaries, self.is_exact);
        self.set.add(self.step_files());
        let watched = self.wake.watch(&self.set);
        let polled = std::mem::replace(&mut self.polls, watched.is_err());
        if let Err(reason) = watched
            && !polled
        {
            self.tell_unwatched(&reason);
        }
    }

    /// The files that commands before the build name.
    fn step_files(&self) -> Vec<PathBuf> {
        let topology = self.described.files.topology.as_ref();
        let steps = topology.and_then(|topology| topology.before_build.as_ref()).into_iter().flatten();
        let files = steps.flat_map(|step| step.files.iter().flatten());
        files.map(|file| self.described.workspace.root().join(file)).collect()
    }

    /// A path for messages: relative to the workspace root.
    fn shown(&self, path: &Path) -> String {
        path.strip_prefix(self.described.workspace.root()).unwrap_or(path).display().to_string()
    }

    fn failed(&self, error: &anyhow::Error) {
        let help = error.downcast_ref::<Failure>().and_then(Failure::next_step).map(str::to_string);
        self.tell_failed(exit::message(error), help, None);
    }
}
