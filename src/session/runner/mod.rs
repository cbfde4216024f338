//! Starts stacks and takes them down. `run` carries out what the lifecycle table says.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use self::latecomers::Found;
use self::mode::{Mode, Plan};
use self::readiness::Readiness;
use self::undoing::{Answers, Undoing};
use self::up::UpClient;
pub(crate) use self::watching::{Helper, RunHandle, RunNews, Watching};
use super::guard::{Guard, GuardTask, Orphaned};
use super::lifecycle::{Action, EndCause, Policy, State, Undo, Up};
use super::lock::ProjectLock;
use super::preparation::Preparation;
use crate::command::{Commander, Echo, Hook, Interrupt, OnExit, adopt};
use crate::compose::{Attach, Compose, DownScope, Images, Logs, PROJECT_NAME, ProjectName, Stack, Traefik, Volumes};
use crate::engine::{self, Clock, Container, Endpoint, Kept, Leftovers, SortedOut};
use crate::exit::{Code, Failure};
use crate::os;
use crate::reporter::event::FailureSummary;
use crate::reporter::{ColorChoice, Logger, Verbosity};
use crate::stack::expected::Expected;
use crate::stack::observer::Observation;
use crate::stack::readiness::Ports;
use crate::stack::verdict::Verdict;
use crate::workspace::Workspace;

mod for_command;
mod judging;
mod latecomers;
mod mode;
mod readiness;
mod run;
mod silence;
mod tell;
#[cfg(test)]
mod tests;
mod ticker;
mod undoing;
mod unread;
mod up;
mod watching;

/// How many lines of each log come first when a stack is followed that runs already.
const LAST_LINES: u32 = 20;

/// Printed while another command changes the project.
pub(crate) fn waiting_for_others(project: &ProjectName) -> String {
    format!("waiting for another command on {project} to finish")
}

/// What the end of a run does with containers that are no longer needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnEnd {
    /// Remove them.
    #[default]
    TearDown,
    /// Leave them there to be looked at.
    Keep,
}

/// How to start.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Stay attached or return.
    pub attach: Attach,
    /// With or without the service `traefik`.
    pub traefik: Traefik,
    /// What a failed start or a finished foreground run does with what it leaves.
    pub on_end: OnEnd,
    /// What of the project was there before.
    pub before: Vec<Container>,
    /// Whether any of it was up before the run; a detached start then leaves it alone if it fails.
    pub found_running: bool,
    /// How long to wait until everything is ready, if that is asked for.
    pub wait: Option<Duration>,
    /// Whether published ports must have a listener.
    pub ports: Ports,
    /// The user's own arguments for `up`.
    pub args: Vec<OsString>,
    /// How to take down what has to be taken down.
    pub teardown: Teardown,
}

impl Options {
    /// What the run undoes when it ends in another way than asked for.
    fn undo(&self) -> Undo {
        match (self.attach, self.on_end) {
            (Attach::Foreground, OnEnd::TearDown) => Undo::Remove,
            (Attach::Foreground, OnEnd::Keep) => Undo::StopOnly,
            (Attach::Detached, OnEnd::TearDown) if !self.found_running => Undo::Remove,
            (Attach::Detached, _) => Undo::Nothing,
        }
    }
}

/// Why a start goes no further after what crates depend on has been started.
pub(crate) enum GivenUp {
    /// An interrupt came.
    Interrupted(Interrupt),
    /// This failed.
    Failed {
        /// The error.
        message: String,
        /// The next step.
        help: Option<String>,
    },
}

/// How to take down.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Teardown {
    /// Grace for containers in seconds; without it each service's own counts.
    pub timeout: Option<u32>,
    /// The grace after an interrupt, in seconds, where `timeout` gives none: a CI runner does not wait for long.
    pub interrupt_timeout: Option<u32>,
    /// Whether named volumes go too.
    pub volumes: Volumes,
    /// Whether images go too.
    pub images: Images,
    /// How much to show of what Compose prints meanwhile.
    pub verbosity: Verbosity,
}

/// How a run ended. What there is to say about it has been said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// As asked: started in the background, finished with success, or taken down.
    Done,
    /// The stack failed to start or to run; what had to be taken down is gone.
    Failed,
    /// The stack was not ready in time; what had to be taken down is gone.
    Late,
    /// Interrupted; what had to be taken down is gone.
    Interrupted(Interrupt),
    /// With the exit code of the service that the user's arguments name (`--exit-code-from`); what had to be taken down is gone.
    Exited(i64),
    /// Something is left on the engine, or that is unknown.
    Incomplete,
}

impl Outcome {
    /// The exit code.
    pub(crate) fn code(self) -> Code {
        match self {
            Outcome::Done => Code::Success,
            Outcome::Failed => Code::Failed,
            Outcome::Late => Code::NotReady,
            Outcome::Interrupted(interrupt) => Code::Interrupted(interrupt.number()),
            // The engine's exit codes are bytes.
            Outcome::Exited(code) => Code::OfService(u8::try_from(code).unwrap_or(u8::MAX)),
            Outcome::Incomplete => Code::TeardownIncomplete,
        }
    }
}

/// Arms a guard for this task, which shares the lock. The real one is [`Guard::arm`].
pub(crate) type Arm = dyn Fn(&GuardTask, &ProjectLock) -> anyhow::Result<Guard> + Send + Sync;

/// Starts stacks and takes them down.
pub(crate) struct Runner<'a> {
    commander: Commander,
    logger: &'a dyn Logger,
    hook: &'a Hook,
    arm: &'a Arm,
}

impl<'a> Runner<'a> {
    /// A runner on these tools.
    pub(crate) fn new(commander: Commander, logger: &'a dyn Logger, hook: &'a Hook, arm: &'a Arm) -> Runner<'a> {
        Runner { commander: commander.shielded(), logger, hook, arm }
    }

    /// Starts `stack` and stays until it is started ([`Attach::Detached`]) or over ([`Attach::Foreground`]); then, or
    /// when an interrupt comes, takes down what has to be taken down and looks whether it is gone. The lock of `preparation` is held; in the
    /// foreground it is given back while the stack just runs. `watching` applies changes of the files meanwhile.
    ///
    /// # Errors
    /// [`Code::EngineUnavailable`] if docker could not be started at all; there is nothing to take down then.
    pub(crate) fn run(
        &self,
        compose: &Compose,
        stack: &Stack,
        options: &Options,
        preparation: Preparation,
        watching: Option<Watching<'a>>,
    ) -> anyhow::Result<Outcome> {
        let Preparation { lock, guard: mut guard_before, interrupts } = preparation;
        let mut run = Run::new(self, compose, Mode::Start(stack, options), options.teardown, State::STARTING, lock)?;
        run.policy.watches = watching.is_some();
        run.watching = watching;
        run.add_pending(interrupts.as_ref());
        // A wait leaves something at work even where there is nothing to undo: what listens to the engine.
        if run.policy.undo != Undo::Nothing || run.policy.waits {
            run.arm();
        }
        guard_before.disarm();
        match options.attach {
            Attach::Foreground => self
                .logger
                .status("Starting", &format!("{} (Ctrl+C {})", compose.project(), run.what_an_interrupt_does())),
            Attach::Detached => self.logger.status("Starting", compose.project().as_str()),
        }
        run.start_up(options, None)?;
        run.begin_watching();
        Ok(run.drive())
    }

    /// Starts these services of `stack`, which crates depend on, and waits until they are ready, for `limit` at most. `options` are those of
    /// the whole start. What it returns holds the lock, and a guard, until [`Runner::run`] or [`Runner::give_up`] gets it; or how the
    /// start has ended.
    ///
    /// # Errors
    /// As those of [`Runner::run`].
    pub(crate) fn start_first(
        &self,
        compose: &Compose,
        stack: &Stack,
        options: &Options,
        services: &[String],
        limit: Duration,
        lock: ProjectLock,
    ) -> anyhow::Result<Result<Preparation, Outcome>> {
        let first = Options {
            attach: Attach::Detached,
            traefik: Traefik::On,
            wait: Some(limit),
            args: services.iter().map(OsString::from).collect(),
            ..options.clone()
        };
        let mode = Mode::First(stack, &first, options.undo());
        let mut run = Run::new(self, compose, mode, options.teardown, State::STARTING, lock)?;
        run.arm();
        let what = match options.attach {
            Attach::Foreground => format!(" (Ctrl+C {})", run.what_an_interrupt_does()),
            Attach::Detached => String::new(),
        };
        let services = services.join(", ");
        self.logger.status("Starting", &format!("{}: {services} before the build{what}", compose.project()));
        run.start_up(&first, None)?;
        run.drive_to_the_next_part()
    }

    /// Ends a start after [`Runner::start_first`]: takes down what has to be taken down, and reports why.
    ///
    /// # Errors
    /// If interrupts cannot be hooked; then the guard takes it down.
    pub(crate) fn give_up(
        &self,
        compose: &Compose,
        stack: &Stack,
        options: &Options,
        preparation: Preparation,
        why: GivenUp,
    ) -> anyhow::Result<Outcome> {
        let Preparation { lock, guard, interrupts } = preparation;
        let mode = Mode::First(stack, options, options.undo());
        let cause = match &why {
            GivenUp::Interrupted(interrupt) => EndCause::Interrupted(*interrupt),
            GivenUp::Failed { .. } => EndCause::Failed,
        };
        let (state, action) = State::given_up(mode.policy(), cause);
        let mut run = Run::new(self, compose, mode, options.teardown, state, lock)?;
        run.add_pending(interrupts.as_ref());
        run.guard = guard;
        match why {
            GivenUp::Interrupted(interrupt) if run.policy.undo == Undo::Nothing => run.tell_left(interrupt),
            GivenUp::Interrupted(interrupt) => run.tell_interrupt(interrupt, State::STARTING),
            GivenUp::Failed { message, help } => {
                let note = run.why_it_is_kept(options);
                run.summary = Some(Summary::Start { message, help, note });
            }
        }
        run.act(action);
        Ok(run.drive())
    }

    /// Follows a stack that another run owns until that takes it down, or an interrupt comes; undoes nothing.
    ///
    /// # Errors
    /// [`Code::EngineUnavailable`] if docker could not be started.
    pub(crate) fn follow(&self, compose: &Compose, verbosity: Verbosity) -> anyhow::Result<Outcome> {
        let teardown = Teardown { verbosity, ..Teardown::default() };
        let mut run = Run::new(self, compose, Mode::Follow, teardown, State::STARTING, ProjectLock::none())?;
        let project = compose.project();
        self.logger.status("Following", &format!("{project}, which another run owns (Ctrl+C only stops following)"));
        let logs = Logs { follow: true, tail: Some(LAST_LINES), services: Vec::new() };
        let logs = compose.logs(DownScope::File, &logs);
        run.up.line = logs.to_string();
        run.up.process = Some(run.spawn(&logs, Arrival::UpExited(0)).map_err(engine::no_docker)?);
        Ok(run.drive())
    }

    /// Takes the stack down, whoever started it, and looks whether it is gone; `reach` is how wide it begins, `before` what
    /// of the project is there. `lock` is held.
    ///
    /// # Errors
    /// If interrupts cannot be hooked; nothing was touched then.
    pub(crate) fn take_down(
        &self,
        compose: &Compose,
        reach: DownScope,
        teardown: Teardown,
        before: Vec<Container>,
        lock: ProjectLock,
    ) -> anyhow::Result<Outcome> {
        // So that the `up` of an attached run ends first: see `lifecycle`.
        let (state, action) = match reach {
            DownScope::File if lock.is_owned_by_another() => (State::stopping(), Action::Stop),
            _ => (State::taking_down(reach), Action::Undo(reach)),
        };
        let mut run = Run::new(self, compose, Mode::TakeDown, teardown, state, lock)?;
        run.undoing.known = Some(before);
        run.arm();
        self.logger.status("Stopping", compose.project().as_str());
        run.act(action);
        Ok(run.drive())
    }

    /// Does what is left to do after the process that started `up` has died: what a guard is for.
    ///
    /// # Errors
    /// If the workspace cannot be named, or interrupts cannot be hooked.
    pub(crate) fn take_over(&self, orphaned: Orphaned, mut lock: ProjectLock) -> anyhow::Result<Outcome> {
        let Orphaned { task, up, helper, command, builder, anonymous, force } = orphaned;
        // The run may have died after it started a command and before it sent the process id.
        let helper = helper.or_else(|| command?.find());
        let others = [helper, builder].into_iter().flatten();
        let others: Vec<_> = others.filter_map(|pid| adopt(pid, Box::new(|| {}))).collect();
        let was_applying = builder.is_some() && !others.is_empty();
        others.into_iter().for_each(|mut other| other.cut_off());
        if task.undo == Undo::Nothing {
            return Ok(Outcome::Done);
        }
        let project = task.project.clone();
        let compose = Compose::new(&Workspace::at(task.root), task.project, ColorChoice::Auto)?;
        let compose = if task.is_isolated { compose.isolated() } else { compose };
        let teardown = Teardown {
            timeout: task.timeout,
            interrupt_timeout: None,
            volumes: task.volumes,
            images: task.images,
            // Compose's output goes through a pipe of ours: if our stderr is closed, SIGPIPE would kill Compose.
            verbosity: Verbosity::Quiet,
        };
        self.logger.status("Guarding", &format!("{}, whose `cargo stagecraft` is gone", compose.project()));
        // Held already if it died in the middle of a change; else others may be at one. Without a lock it goes on all the
        // same: a stack that stays is worse.
        let _ = lock.take();
        let mut run = Run::new(self, &compose, Mode::TakeOver(task.undo), teardown, State::orphaned(force), lock)?;
        run.expected = task.expected;
        run.undoing.anonymous = anonymous;
        let sender = run.sender.clone();
        let on_exit: OnExit = Box::new(move || {
            let _ = sender.send(Arrival::UpExited(0));
        });
        // The run may have died after it started `up` and before it sent the process id.
        let up = up.or_else(|| os::find(task.start.as_ref()?, &compose.root(), PROJECT_NAME, project.as_str()));
        match up.and_then(|pid| adopt(pid, on_exit)) {
            Some(mut up) => {
                if was_applying {
                    // The engine may still be busy for the command that was killed, as for an `up` that is cut off.
                    up.cut_off();
                    run.state.up = Up::CutOff;
                }
                run.up.process = Some(up);
            }
            None => run.state.up = Up::CutOff,
        }
        run.act(Action::Look);
        Ok(run.drive())
    }
}

/// What arrives on the one channel.
enum Arrival {
    /// With the time at which it came: on a busy machine it may lie here for a while.
    Interrupt(Interrupt, Instant),
    /// With the number of the `up` that it is about.
    Observation(u32, Observation),
    Locked(ProjectLock),
    /// With the number of the `up`: another one may have been started since.
    UpExited(u32),
    /// A change of the files needs another `up`, perhaps of another stack. With the engine's clock.
    Again(Option<Box<Plan>>, Option<Clock>),
    /// The process that the reloader runs; none if it has ended.
    Helper(Option<Helper>),
    /// With the number of the command, since a `down` may have been replaced by a harder one.
    UndoExited(u32),
    /// Volumes that are anonymous unless the engine says later that a container was given one by name.
    Probably(BTreeSet<String>),
    /// Containers that were created after the list was made.
    Late(Found),
    /// Nobody reads the output of this teardown command.
    Unread(u32),
    /// The engine has not answered since this time, while this teardown command ran.
    Silent(u32, Instant),
    Listed(Listed),
    Judged(Result<(Verdict, Endpoint), Failure>),
    /// What has become ready in the foreground.
    Ready(Result<(Verdict, Endpoint), Failure>),
    Followed,
    Looked(Result<Vec<Container>, Failure>),
    Checked(Result<Leftovers, Failure>, Kept),
}

/// What there is of a project before a `down`.
struct Listed {
    containers: Vec<Container>,
    volumes: SortedOut,
    /// The number of the `down` that waits for this, unless it is running already.
    then: Option<u32>,
    /// How wide it reaches.
    reach: DownScope,
}

struct Run<'a> {
    runner: &'a Runner<'a>,
    compose: &'a Compose,
    mode: Mode<'a>,
    plan: Option<Plan>,
    /// What the next `up` starts, if that is another one.
    next_plan: Option<Plan>,
    /// The engine's clock, once another `up` was asked for.
    clock: Option<Clock>,
    policy: Policy,
    state: State,
    /// The containers that the start should create.
    expected: Expected,
    guard: Guard,
    /// None while a thread waits for it.
    lock: Option<ProjectLock>,
    sender: Sender<Arrival>,
    receiver: Receiver<Arrival>,
    /// When the lifecycle table wants to be told that the time is up.
    deadline: Option<Instant>,
    began: Instant,
    echo: Echo,
    up: UpClient,
    readiness: Readiness,
    undoing: Undoing,
    answers: Answers,
    watching: Option<Watching<'a>>,
    /// The process that the reloader runs.
    builder: Option<Helper>,
    /// The error to print at the end.
    summary: Option<Summary>,
}

/// Why a run has failed, to be printed at its end.
enum Summary {
    /// The stack did; an event has reported it to programs.
    Stack(FailureSummary),
    /// The start went no further than what crates depend on.
    Start { message: String, help: Option<String>, note: Option<String> },
}
