//! The one table of exit codes.
//!
//! Scripts and CI branch on these numbers, so they are part of the interface: `spec/commands/dev.md` lists the same
//! table and a test holds the two together. Code that knows why something failed says so with [`Code::because`];
//! no other module chooses a number. Any other error, wherever it comes from, ends the program with [`Code::Failed`], 1: where an
//! `# Errors` section names no code, this is the one.

use std::fmt;

/// How the program ends, as a number that scripts can rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The stack did what was asked of it.
    Success,
    /// The stack failed to start or to run.
    Failed,
    /// The command line makes no sense.
    Usage,
    /// There is nothing to run: no workspace, no valid compose file, or a project of another checkout.
    NothingToRun,
    /// Docker or Compose is missing, or the daemon does not answer.
    EngineUnavailable,
    /// The stack was not ready in time.
    NotReady,
    /// Something of the stack is still on the engine.
    TeardownIncomplete,
    /// The signal with this number ended the run, and the stack was torn down.
    Interrupted(u8),
    /// The service that `-- --exit-code-from` names has exited with this, and the stack was torn down.
    OfService(u8),
    /// The command of `dev run` has exited with this, and what was started for it was torn down.
    OfCommand(u8),
    /// The command of `dev run` was not run, or what was started for it is still on the engine: what another command would have exited with.
    WithoutCommand(u8),
    /// The command of `dev run` cannot be executed.
    NotExecutable,
    /// The command of `dev run` was not found.
    NotFound,
}

impl Code {
    /// The codes that are plain numbers, in order, with the words of the documented table.
    pub const TABLE: [(Code, &str); 7] = [
        (Code::Success, "success"),
        (Code::Failed, "the stack failed to start or to run"),
        (Code::Usage, "wrong usage"),
        (
            Code::NothingToRun,
            "nothing to run: no workspace, compose file missing or invalid, project of another checkout",
        ),
        (Code::EngineUnavailable, "engine unavailable: docker or Compose v2 missing, daemon not answering"),
        (Code::NotReady, "not ready in time"),
        (Code::TeardownIncomplete, "teardown incomplete; the leftovers are listed with the command that removes them"),
    ];

    /// The words of the row that stands for 129, 130 and 143.
    pub const INTERRUPTED: &str = "interrupted by signal n and torn down";

    /// The words of the table's last row.
    pub const OF_SERVICE: &str = "with `-- --exit-code-from <SERVICE>`: that of the service";

    /// The codes of `dev run` besides that of its command, with the words of the documented table. They are those of `docker run`, env(1) and
    /// timeout(1).
    pub const OF_RUN: [(Code, &str); 3] = [
        (Code::WithoutCommand(0), "the command was not run, or it ended with 0 and the teardown is incomplete"),
        (Code::NotExecutable, "the command cannot be executed"),
        (Code::NotFound, "the command was not found"),
    ];

    /// The words of the documented table for a number of [`Code::TABLE`].
    pub fn words(number: u8) -> Option<&'static str> {
        Code::TABLE.iter().find(|(code, _)| code.number() == number).map(|(_, words)| *words)
    }

    /// The number that the shell sees.
    pub fn number(self) -> u8 {
        match self {
            Code::Success => 0,
            Code::Failed => 1,
            Code::Usage => 2,
            Code::NothingToRun => 3,
            Code::EngineUnavailable => 4,
            Code::NotReady => 5,
            Code::TeardownIncomplete => 6,
            Code::Interrupted(signal) => 128 + signal,
            Code::OfService(code) | Code::OfCommand(code) => code,
            Code::WithoutCommand(_) => 125,
            Code::NotExecutable => 126,
            Code::NotFound => 127,
        }
    }

    /// An error that ends the program with this code.
    pub fn because(self, error: impl Into<anyhow::Error>) -> Failure {
        Failure { code: self, error: error.into(), help: None }
    }
}

/// An error with its exit code and the next step.
#[derive(Debug)]
pub struct Failure {
    code: Code,
    error: anyhow::Error,
    help: Option<String>,
}

impl Failure {
    /// Adds the next step, shown as a `help:` line below the error.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Failure {
        self.help = Some(help.into());
        self
    }

    /// As [`Failure::help`], where there is a next step to name.
    #[must_use]
    pub fn help_if(self, help: Option<String>) -> Failure {
        Failure { help: help.or(self.help), ..self }
    }

    /// The exit code that this failure asks for.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The next step, if there is one to name.
    pub fn next_step(&self) -> Option<&str> {
        self.help.as_deref()
    }
}

/// An error with its causes, as it is printed.
pub(crate) fn message(error: &anyhow::Error) -> String {
    let causes: Vec<String> = error.chain().skip(1).map(|cause| cause.to_string().replace('\n', "\n  ")).collect();
    match causes.is_empty() {
        true => error.to_string(),
        false => format!("{error}\n\nCaused by:\n  {}", causes.join("\n  ")),
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}
