//! What a program that reads our standard output gets to know with `--message-format json`: one object a line, each with a
//! `reason`. `spec/messages.schema.json` describes them, and a test holds the two together.

use serde::Serialize;

use super::event::{Event, FileChange, FileState, PortConflict, ServiceFailure};

/// Something that has happened, or was asked for.
#[derive(Debug, Serialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub(crate) enum Message<'a> {
    /// The stack has been started; in the background with all that is known of it.
    StackStarted {
        /// Its project.
        project: &'a str,
        /// Whether a run in the foreground is attached to it.
        attached: bool,
        /// Its containers.
        services: &'a [Service],
    },
    /// Every service is what it should be.
    StackReady {
        /// Its project.
        project: &'a str,
        /// Its containers.
        services: &'a [Service],
    },
    /// A service is what it should be.
    ServiceReady {
        /// The project.
        project: &'a str,
        /// The service.
        service: &'a str,
        /// Its state in a few words.
        state: &'a str,
    },
    /// A container has ended by itself, and the engine starts it again.
    ServiceCrashed {
        /// The project.
        project: &'a str,
        /// The service.
        service: &'a str,
        /// The container's name.
        container: &'a str,
        /// What it exited with.
        exit_code: i64,
        /// What that stands for, where it is known.
        meaning: Option<&'a str>,
        /// The last line that it has printed.
        log: &'a str,
    },
    /// A container is not what it should be, or a service has none.
    ServiceFailed {
        /// The project.
        project: &'a str,
        /// The container.
        #[serde(flatten)]
        service: &'a Service,
        /// What it has to be blamed for, as a sentence.
        message: &'a str,
        /// The end of its log, oldest line first.
        log: Vec<String>,
    },
    /// A published port is already in use.
    PortTaken {
        /// The project.
        project: &'a str,
        /// The service that publishes it.
        service: &'a str,
        /// The port.
        port: &'a str,
        /// Who has it, in words.
        holder: &'a str,
    },
    /// The stack failed to start, to run, or to be ready in time.
    StackFailed {
        /// The project.
        project: &'a str,
        /// Why, as one line.
        message: String,
        /// What Compose said last, where that is known.
        compose: Option<&'a str>,
    },
    /// The stack is over: nothing of it runs any more.
    StackStopped {
        /// The project.
        project: &'a str,
        /// Why: `requested`, `interrupted`, `finished`, `failed` or `late`.
        cause: &'static str,
        /// Whether everything is gone that was to go.
        complete: bool,
    },
    /// Something that is left on the engine although it was to go.
    Leftover {
        /// The project.
        project: &'a str,
        /// `container`, `network` or `volume`.
        kind: &'static str,
        /// Its name.
        name: &'a str,
        /// The command that removes all that is left.
        removal: &'a str,
    },
    /// A container of the stack, or a service that has none.
    ServiceStatus {
        /// The project.
        project: &'a str,
        /// The container.
        #[serde(flatten)]
        service: Service,
    },
    /// A stack on this engine.
    StackListed {
        /// The project.
        project: &'a str,
        /// The checkout that it was started from.
        workspace: &'a str,
        /// Whether that is gone; none where it cannot be told from here.
        workspace_gone: Option<bool>,
        /// How many of its containers run.
        running: usize,
        /// How many there are.
        containers: usize,
    },
    /// Where a published port can be reached.
    Address {
        /// The project.
        project: &'a str,
        /// The service.
        service: &'a str,
        /// The port inside.
        port: u16,
        /// The name of the variable.
        key: &'a str,
        /// Its value.
        value: &'a str,
    },
    /// A variable that Cargo.toml describes.
    Variable {
        /// The project.
        project: &'a str,
        /// The name of the variable.
        key: &'a str,
        /// Its value.
        value: &'a str,
    },
    /// A file that is made from Cargo.toml was not what it should be.
    DevFile {
        /// By its path in the workspace.
        path: &'a str,
        /// What was done, or would be done: `write` or `remove`.
        change: &'static str,
        /// Whether it has been done.
        done: bool,
    },
    /// What was found of something that a stack needs.
    Check {
        /// What was looked at.
        name: &'a str,
        /// How it is.
        state: CheckState,
        /// What was found.
        found: &'a str,
        /// What to do about it, where that is known.
        fix: Option<&'a str>,
    },
    /// All of that together.
    Verdict {
        /// The worst of the states.
        state: CheckState,
        /// How many errors there are.
        errors: usize,
        /// How many warnings there are.
        warnings: usize,
    },
    /// A command that would be run.
    Command {
        /// Ready to be pasted into a POSIX shell.
        line: String,
    },
    /// Files that a running stack is made from have changed.
    ChangeSeen {
        /// The project.
        project: &'a str,
        /// Their paths in the workspace.
        files: &'a [String],
    },
    /// A build after a change is over.
    BuildFinished {
        /// The project.
        project: &'a str,
        /// Whether cargo has succeeded.
        success: bool,
        /// How long it has taken.
        seconds: f64,
    },
    /// A service runs another program than before.
    ServiceReloaded {
        /// The project.
        project: &'a str,
        /// The service.
        service: &'a str,
        /// The time since the change was seen.
        seconds: f64,
        /// How much of it cargo has taken.
        cargo_seconds: f64,
        /// Whether its containers are the same as before.
        in_place: bool,
    },
    /// A change could not be applied, or the program that it has led to has ended at once.
    ReloadFailed {
        /// The project.
        project: &'a str,
        /// Why.
        message: &'a str,
        /// What to do next, where that is known.
        help: Option<&'a str>,
        /// The end of the program's log, oldest line first.
        log: Vec<String>,
    },
    /// The command of `dev run` has been started.
    CommandStarted {
        /// The project.
        project: &'a str,
        /// Ready to be pasted into a POSIX shell.
        command: &'a str,
    },
    /// It has ended.
    CommandEnded {
        /// The project.
        project: &'a str,
        /// Its exit code; 128+n if signal n has ended it.
        exit_code: u8,
    },
    /// It was not run.
    CommandNotRun {
        /// What `dev` would have exited with.
        exit_code: u8,
    },
    /// Why the program did not do what it was asked.
    Error {
        /// What failed, with its causes.
        message: &'a str,
        /// What to do next, where that is known.
        help: Option<&'a str>,
    },
    /// The last line.
    Finished {
        /// The program's exit code.
        exit_code: u8,
    },
}

impl<'a> Message<'a> {
    /// The messages that tell of an event.
    pub(crate) fn of(event: &'a Event<'a>) -> Vec<Message<'a>> {
        match event {
            Event::ServiceReady { project, service, state } => vec![Message::ServiceReady { project, service, state }],
            Event::ServiceCrashed(crash) => vec![Message::ServiceCrashed {
                project: crash.project,
                service: crash.service,
                container: crash.container,
                exit_code: crash.exit_code,
                meaning: crash.meaning.as_deref(),
                log: crash.log,
            }],
            Event::StackAttached { project, services, .. } => {
                vec![Message::StackStarted { project, attached: true, services }]
            }
            Event::StackStarted { project, ready, services, .. } => {
                let ready = ready.then_some(Message::StackReady { project, services });
                [Message::StackStarted { project, attached: false, services }].into_iter().chain(ready).collect()
            }
            Event::StackReady { project, services, .. } => vec![Message::StackReady { project, services }],
            Event::StackNotReady { project, failures, .. } => failed(project, failures).collect(),
            Event::StackFailed(failure) => {
                let (project, message, compose) = (failure.project, failure.message(), failure.compose);
                let stack = Message::StackFailed { project, message, compose };
                failed(project, &failure.failures).chain([stack]).collect()
            }
            Event::StackUnknown { project, message, compose } => {
                vec![Message::StackFailed { project, message: message.clone(), compose: *compose }]
            }
            Event::StackStopped { project, cause, complete } => {
                vec![Message::StackStopped { project, cause, complete: *complete }]
            }
            Event::Leftovers { project, names, removal, .. } => {
                names.iter().map(|(kind, name)| Message::Leftover { project, kind, name, removal }).collect()
            }
            Event::PortsTaken { project, conflicts } => {
                let message = |it: &'a PortConflict| Message::PortTaken {
                    project,
                    service: &it.service,
                    port: &it.port,
                    holder: &it.holder,
                };
                conflicts.iter().map(message).collect()
            }
            Event::DevFile { path, change, state } => {
                let change = match change {
                    FileChange::Write => "write",
                    FileChange::Remove => "remove",
                };
                vec![Message::DevFile { path, change, done: *state == FileState::Done }]
            }
            Event::ChangeSeen { project, files } => vec![Message::ChangeSeen { project, files }],
            Event::BuildFinished { project, success, seconds } => {
                vec![Message::BuildFinished { project, success: *success, seconds: *seconds }]
            }
            Event::ServiceReloaded { project, service, seconds, cargo, in_place } => {
                let (seconds, cargo_seconds) = (*seconds, *cargo);
                vec![Message::ServiceReloaded { project, service, seconds, cargo_seconds, in_place: *in_place }]
            }
            Event::ReloadFailed { project, message, help, log } => {
                let log = log.as_ref().map(|(_, log)| lines(log)).unwrap_or_default();
                vec![Message::ReloadFailed { project, message, help: help.as_deref(), log }]
            }
            Event::CommandStarted { project, command } => vec![Message::CommandStarted { project, command }],
            Event::CommandEnded { project, exit_code } => {
                vec![Message::CommandEnded { project, exit_code: *exit_code }]
            }
            Event::CommandNotRun { exit_code } => vec![Message::CommandNotRun { exit_code: *exit_code }],
            Event::FailureSummary(_) => Vec::new(),
            Event::Failed { message, help } => vec![Message::Error { message, help: *help }],
            Event::Finished { exit_code } => vec![Message::Finished { exit_code: *exit_code }],
        }
    }
}

fn failed<'a>(project: &'a str, failures: &'a [ServiceFailure]) -> impl Iterator<Item = Message<'a>> {
    failures.iter().map(move |failure| Message::ServiceFailed {
        project,
        service: &failure.service,
        message: &failure.reason,
        log: lines(&failure.log),
    })
}

/// How something that a stack needs is; the worse, the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CheckState {
    /// As it should be.
    Ok,
    /// Something that may be meant, or that only some stacks fail of.
    Warning,
    /// No stack can be started like this.
    Error,
}

impl CheckState {
    /// Its name.
    pub(crate) fn word(self) -> &'static str {
        match self {
            CheckState::Ok => "ok",
            CheckState::Warning => "warning",
            CheckState::Error => "error",
        }
    }
}

/// One container of the stack, or a service that has none.
#[derive(Debug, Serialize)]
pub(crate) struct Service {
    /// The service.
    pub service: String,
    /// Whether the file has it, and not behind a profile that is not active.
    pub in_file: bool,
    /// The container's name; none if there is none.
    pub container: Option<String>,
    /// The engine's word, or `not created`.
    pub state: String,
    /// `ready`, `pending` or `failed`.
    pub standing: &'static str,
    /// What it ended with, if it has.
    pub exit_code: Option<i64>,
    /// What that stands for, where it is known.
    pub meaning: Option<String>,
    /// Why it is not what it should be, where that is known.
    pub cause: Option<String>,
    /// `starting`, `healthy` or `unhealthy`, if it has a healthcheck.
    pub health: Option<String>,
    /// What the last probe of that printed, if it failed.
    pub health_output: Option<String>,
    /// How often the engine has restarted it.
    pub restarts: u32,
    /// When it was started the last time, by the engine's clock, as in RFC 3339; none if it never was.
    pub started_at: Option<String>,
    /// Where its published ports can be reached: URLs, or `host:port`.
    pub addresses: Vec<String>,
}

/// The lines of a log, without what cannot be text.
pub(crate) fn lines(log: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(log).lines().map(str::to_string).collect()
}
