//! What the lifecycle table is about: states, events and actions.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::command::Interrupt;
use crate::compose::DownScope;

/// What a run has to undo when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::session) enum Undo {
    /// Stop and remove the whole stack.
    Remove,
    /// Stop it if it is interrupted, remove nothing (`--keep` in the foreground).
    StopOnly,
    /// Leave everything as it is (`--keep`, or a stack that ran before we came).
    Nothing,
}

/// What a run is for, fixed before it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) struct Policy {
    /// Whether a stack that started well outlives the run.
    pub leaves_running: bool,
    /// Whether it has started well only when all of it is ready.
    pub waits: bool,
    /// What any other end undoes.
    pub undo: Undo,
    /// Whether some of the stack was up before the run: if the run does not get it started, it leaves it as it is.
    pub found_running: bool,
    /// Whether it starts what crates depend on, before they are built.
    pub precedes_build: bool,
    /// Whether changes of the files are applied while it runs: then it does not end by itself once the stack has been started.
    pub watches: bool,
}

/// Why the run is ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum EndCause {
    /// Somebody asked for a teardown.
    Requested,
    /// The first interrupt.
    Interrupted(Interrupt),
    /// `up` ended by itself, and all is well.
    Finished,
    /// `up` or a container failed.
    Failed,
    /// The stack was not ready in time.
    Late,
}

/// How the containers fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum Judgement {
    /// As they should.
    Well,
    /// As they should: another command has stopped them.
    StoppedElsewhere,
    /// Some failed.
    Badly,
    /// None failed, but some were not ready in time.
    TooSlowly,
    /// `up` has ended, and some run on to which it was not attached.
    StillUp,
}

/// How much patience a teardown has with containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum Force {
    /// Each gets its grace to end on SIGTERM.
    Graceful,
    /// None at all.
    AtOnce,
}

/// Where `up` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum Up {
    /// Running.
    Alive,
    /// Over by itself, after everything it had asked the engine for was answered.
    Over,
    /// Killed or broken off in the middle: the engine may still be busy for it.
    CutOff,
}

/// How an `up` whose containers have all been started is ended (`spec/dev/process-mgmt.md` has the measurements).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum UpShutdown {
    /// It is killed, which no container notices, and `down` runs: right with every version of Compose.
    Cut,
    /// `down` runs while it is attached, so that it shows the last logs and ends by itself: not with a version that may
    /// crash when its containers vanish.
    Attached,
}

/// Where the run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum Phase {
    /// `up` runs.
    Running,
    /// `up` has ended by itself, and what it has started becomes ready.
    Waiting,
    /// The start has ended; the engine is asked for the state of the containers.
    Judging,
    /// `up` has ended by itself, and containers run on to which it was not attached.
    Staying,
    /// Nothing of the stack runs any more; waiting for a change of the files.
    Resting,
    /// Waiting for the project's lock, for another `up`; the one before is over or was ended.
    Restarting,
    /// Waiting for the project's lock, for a teardown.
    Locking,
    /// Interrupted; the engine is asked whether everything has started.
    Looking,
    /// A `stop` runs before the `down`, so that the `up` of an attached run ends before its containers vanish.
    Stopping,
    /// A `down` runs (or a `stop`, if nothing is removed).
    Undoing(DownScope),
    /// It is done; `up`, whose containers are gone, ends.
    Draining(DownScope),
    /// The engine is asked what is left.
    Checking(DownScope),
    /// Nothing was left, but `up` was cut off: look once more a little later.
    Settling,
    /// That second look.
    CheckingAgain,
    /// The engine did not answer such a question: ask again a little later.
    Away(DownScope),
    /// That question.
    CheckingBack(DownScope),
    /// Over.
    Ended(End),
}

/// How the run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum End {
    /// As it should: torn down and checked, or left running as asked.
    Clean,
    /// With something left on the engine, or unknown.
    Incomplete,
    /// By the third interrupt, before the teardown was done.
    Abandoned,
}

/// The whole state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) struct State {
    /// Where the run is.
    pub phase: Phase,
    /// Why it is ending, once it is.
    pub cause: Option<EndCause>,
    /// How much patience is left.
    pub force: Force,
    /// Where `up` is.
    pub up: Up,
    /// What `up` is ended by, once every container of the stack is known to have been started.
    pub shutdown: Option<UpShutdown>,
    /// Whether this `up` has started everything, as far as that can be known.
    pub start_is_over: bool,
    /// Whether that was so once.
    pub has_started: bool,
    /// Whether another `up` is to follow this one, whose start is not over yet.
    pub again: bool,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum RunEvent {
    /// A signal came.
    Interrupt(Interrupt),
    /// `up` ended; whether with exit code 0.
    UpEnded {
        /// Exit code 0.
        success: bool,
    },
    /// Everything is ready, or something never will be, or the time is over.
    Settled {
        /// Ready.
        success: bool,
    },
    /// The engine told how the containers fared.
    Judged(Judgement),
    /// Something has happened to the containers of a stack that [`Action::Stay`] watches.
    Over {
        /// None runs any more. Otherwise they cannot be watched.
        known: bool,
    },
    /// The start is over.
    Started {
        /// What `up` is ended by from now on. None if it is only no longer to be seen whether everything has started.
        shutdown: Option<UpShutdown>,
    },
    /// A change of the files needs another `up`.
    Again,
    /// The project's lock is held, or cannot be had.
    Locked,
    /// The engine told whether the start is over.
    Looked {
        /// What `up` is ended by, if every container of the stack has started.
        shutdown: Option<UpShutdown>,
    },
    /// `down` or `stop` has ended.
    UndoEnded,
    /// The time of a [`Action::Wait`] is over.
    TimeIsUp,
    /// The engine told what is left.
    Checked {
        /// Nothing.
        clean: bool,
    },
    /// The engine could not be asked what is left.
    Unanswered {
        /// It has been away for less than [`crate::command::PATIENCE`].
        patience: bool,
    },
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum Action {
    /// Nothing but wait for the next event.
    Idle,
    /// Ask how the containers fared.
    Judge,
    /// First cut `up` off, then as [`Action::Judge`].
    KillUpAndJudge,
    /// Send [`RunEvent::Over`] when no container of the stack runs any more; meanwhile let others have the project's lock.
    Stay,
    /// Let others have the project's lock.
    Unlock,
    /// As [`Action::Unlock`]; a change of the files goes on.
    Rest,
    /// Cut `up` off, which has started everything, and take the project's lock.
    KillUpAndLock,
    /// Spawn another `up`.
    StartAgain,
    /// Take the project's lock.
    Lock,
    /// Ask whether everything has started.
    Look,
    /// Run `stop`.
    Stop,
    /// Run `down` this wide (or `stop`), in place of one that may still be running.
    Undo(DownScope),
    /// First cut `up` off, then as [`Action::Undo`].
    KillUpAndUndo(DownScope),
    /// Cut `up` off and go on when it has ended.
    KillUp,
    /// Send [`RunEvent::TimeIsUp`] after this time.
    Wait(Duration),
    /// Ask what is left.
    Check,
    /// Return.
    Finish,
}
