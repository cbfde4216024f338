//! What can happen to a stack. An event is emitted once, and each renderer takes from it what its readers need: [`super::people`] writes
//! text, [`super::message`] JSON, and `github` what GitHub Actions shows.

use super::message::Service;

/// Rows of a table for people.
pub(crate) type Rows = Vec<Vec<String>>;

/// Something that has happened.
pub(crate) enum Event<'a> {
    /// A service is ready. People see that in the progress.
    ServiceReady { project: &'a str, service: &'a str, state: &'a str },
    /// A container has ended by itself, and the engine starts it again.
    ServiceCrashed(ServiceCrash<'a>),
    /// An attached `up` has started everything. `rows` is empty if a later event shows the services.
    StackAttached { project: &'a str, services: Vec<Service>, rows: Rows },
    /// A stack has been started in the background, in this many seconds; with `--wait` it is ready, too.
    /// `notes`: what can be done with it.
    StackStarted {
        project: &'a str,
        seconds: f64,
        ready: bool,
        services: Vec<Service>,
        rows: Rows,
        notes: Vec<String>,
        summary: Rows,
    },
    /// Everything that a run in the foreground has started is ready, after this many seconds.
    StackReady { project: &'a str, seconds: f64, services: Vec<Service>, rows: Rows },
    /// A run in the foreground goes on although some services are not ready.
    StackNotReady { project: &'a str, problem: String, failures: Vec<ServiceFailure>, helps: Vec<String> },
    /// The stack failed to start, to run, or to be ready in time. People get the error after the teardown: [`Event::FailureSummary`].
    StackFailed(StackFailure<'a>),
    /// The end of a run that failed, after its teardown, so that the error is the last thing on the screen.
    FailureSummary(&'a FailureSummary),
    /// `up` has ended, and the engine does not say how the services are. People get the error with [`Event::FailureSummary`].
    StackUnknown { project: &'a str, message: String, compose: Option<&'a str> },
    /// Nothing of the stack runs any more. The cause is `requested`, `interrupted`, `finished`, `failed` or `late`.
    StackStopped { project: &'a str, cause: &'static str, complete: bool },
    /// Something of the stack is left after its teardown: kinds and names, and the command that removes it.
    Leftovers { project: &'a str, list: String, names: Vec<(&'static str, &'a str)>, removal: String },
    /// Ports that the stack publishes are already in use. The error that ends the command shows them to people.
    PortsTaken { project: &'a str, conflicts: Vec<PortConflict> },
    /// A dev file differs from what Cargo.toml describes.
    DevFile { path: &'a str, change: FileChange, state: FileState },
    /// Files that a running stack is made from have changed; by their paths in the workspace.
    ChangeSeen { project: &'a str, files: Vec<String> },
    /// A build after a change is over. People have read what cargo printed.
    BuildFinished { project: &'a str, success: bool, seconds: f64 },
    /// A service runs another program, this many seconds after a change was seen; `cargo` of them until it was built.
    ServiceReloaded { project: &'a str, service: &'a str, seconds: f64, cargo: f64, in_place: bool },
    /// A change could not be applied, or the program that it has led to has ended at once.
    ReloadFailed { project: &'a str, message: String, help: Option<String>, log: Option<(String, Vec<u8>)> },
    /// The command of `dev run` has been started.
    CommandStarted { project: &'a str, command: &'a str },
    /// It has ended with this exit code.
    CommandEnded { project: &'a str, exit_code: u8 },
    /// It was not run. `dev` would have exited with this code.
    CommandNotRun { exit_code: u8 },
    /// The command failed.
    Failed { message: &'a str, help: Option<&'a str> },
    /// The program ends with this exit code.
    Finished { exit_code: u8 },
}

/// The end of a container that the engine starts again.
pub(crate) struct ServiceCrash<'a> {
    pub(crate) project: &'a str,
    pub(crate) service: &'a str,
    pub(crate) container: &'a str,
    pub(crate) exit_code: i64,
    /// What the exit code stands for, where that is known.
    pub(crate) meaning: Option<String>,
    /// The last line of its log.
    pub(crate) log: &'a str,
}

/// A failed stack.
pub(crate) struct StackFailure<'a> {
    pub(crate) project: &'a str,
    /// What failed: `could not be started`, `was not ready within 60 s`.
    pub(crate) what: String,
    /// Why, from the services or from Compose.
    pub(crate) reasons: Vec<String>,
    /// The state of each service.
    pub(crate) rows: Rows,
    /// The services that caused it.
    pub(crate) failures: Vec<ServiceFailure>,
    /// What Compose printed last, where that is known.
    pub(crate) compose: Option<&'a str>,
}

impl StackFailure<'_> {
    /// What failed and why, without the project's name.
    pub(crate) fn message(&self) -> String {
        format!("{}: {}", self.what, self.reasons.join("; "))
    }
}

/// The error of a failed run for people, and the next step.
pub(crate) struct FailureSummary {
    pub(crate) message: String,
    pub(crate) helps: Vec<String>,
    pub(crate) note: Option<String>,
}

/// A container that failed, or a service without one.
pub(crate) struct ServiceFailure {
    pub(crate) service: Service,
    /// Why, as a sentence.
    pub(crate) reason: String,
    /// The output of its last healthcheck, if that failed.
    pub(crate) probe: Option<String>,
    /// The end of its log, and a title for it.
    pub(crate) log: Vec<u8>,
    pub(crate) log_title: String,
}

impl ServiceFailure {
    /// The container's name, or the service's if it has no container.
    pub(crate) fn name(&self) -> &str {
        self.service.container.as_deref().unwrap_or(&self.service.service)
    }
}

/// A published port that is already in use.
pub(crate) struct PortConflict {
    pub(crate) service: String,
    pub(crate) port: String,
    /// Who uses it, in words.
    pub(crate) holder: String,
}

/// What has to be done with a dev file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileChange {
    Write,
    Remove,
}

/// How far that is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileState {
    /// Done.
    Done,
    /// Not done, because this is a dry run.
    Planned,
    /// Not done, because this is a check.
    Stale,
}
