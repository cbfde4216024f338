//! A command as data: it can be inspected, compared and printed before anything runs.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::os::{self, Group};

/// Where the output of a spawned command goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Show {
    /// To our own stdout and stderr, without passing through us.
    #[default]
    Live,
    /// Standard output as with [`Show::Live`]; standard error through us, as it comes, so that its end can be kept.
    LiveAndKept,
    /// Standard error as with [`Show::LiveAndKept`], but without the lines of [`Invocation::leave_out`]; standard output held back, to be shown only if the command fails. There Compose
    /// prints the progress of builds.
    ErrorsLive,
    /// Held back, to be shown only if the command fails.
    IfItFails,
    /// Nowhere: there is no terminal left to write to.
    Nothing,
}

/// A command that has not run yet: program, arguments, environment, directory and standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    /// Variables whose values may be secrets. They are set, and not shown.
    hidden_env: Vec<(String, String)>,
    /// Variables of ours that the command does not get.
    removed_env: Vec<String>,
    cwd: Option<PathBuf>,
    pub(super) stdin: Option<String>,
    pub(super) show: Show,
    /// How lines of standard error begin and end that [`Show::ErrorsLive`] leaves out.
    pub(super) left_out: Option<(&'static str, &'static str)>,
    /// Whether its standard output goes to our standard error.
    pub(super) stdout_to_stderr: bool,
    pub(super) errors: Errors,
    pub(super) group: Group,
    /// How long its output may take to come.
    pub(super) limit: Option<Duration>,
}

/// Where the standard error of a command goes that is asked for its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errors {
    /// Into a place of its own.
    Apart,
    /// To the standard output, as with `2>&1`.
    WithOutput,
    /// To our own.
    Shown,
}

impl From<Command> for Invocation {
    /// Takes over program, arguments, added environment and directory; variables that the command removes are not kept.
    fn from(command: Command) -> Invocation {
        let mut env: Vec<_> =
            command.get_envs().filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned()))).collect();
        env.sort();
        Invocation {
            program: command.get_program().to_owned(),
            args: command.get_args().map(OsStr::to_owned).collect(),
            env,
            hidden_env: Vec::new(),
            removed_env: Vec::new(),
            cwd: command.get_current_dir().map(Path::to_owned),
            stdin: None,
            show: Show::Live,
            left_out: None,
            stdout_to_stderr: false,
            errors: Errors::Apart,
            group: Group::Ours,
            limit: None,
        }
    }
}

impl From<xshell::Cmd<'_>> for Invocation {
    fn from(cmd: xshell::Cmd<'_>) -> Invocation {
        Invocation::from(Command::from(cmd))
    }
}

impl Invocation {
    /// Sets the text that the command reads from standard input, which is empty by default.
    #[must_use]
    pub fn stdin(mut self, text: impl Into<String>) -> Invocation {
        self.stdin = Some(text.into());
        self
    }

    /// Sets variables that are not shown with the command.
    #[must_use]
    pub fn with_hidden_env(mut self, variables: &[(String, String)]) -> Invocation {
        self.hidden_env = variables.to_vec();
        self
    }

    /// Sets one more such variable.
    #[must_use]
    pub fn with_hidden_variable(mut self, name: &str, value: &str) -> Invocation {
        self.hidden_env.push((name.to_string(), value.to_string()));
        self
    }

    /// Takes these variables away from the command.
    #[must_use]
    pub fn without_env(mut self, names: Vec<String>) -> Invocation {
        self.removed_env = names;
        self
    }

    /// Puts the command into a process group of its own that has the terminal, if this process has it. Its standard input is ours.
    #[must_use]
    pub fn in_foreground(mut self) -> Invocation {
        self.group = Group::Foreground;
        self
    }

    /// Sends its standard output to our standard error when it is spawned and shown.
    #[must_use]
    pub(super) fn stdout_to_stderr(mut self) -> Invocation {
        self.stdout_to_stderr = true;
        self
    }

    /// Says where the output goes when the command is spawned.
    #[must_use]
    pub fn show(mut self, show: Show) -> Invocation {
        self.show = show;
        self
    }

    /// Leaves out lines of standard error that begin and end like this, with [`Show::ErrorsLive`].
    #[must_use]
    pub fn leave_out(mut self, beginning: &'static str, ending: &'static str) -> Invocation {
        self.left_out = Some((beginning, ending));
        self
    }

    /// Lets standard error go to where standard output goes, each line in its place, when the command is asked for its
    /// output.
    #[must_use]
    pub fn with_errors(mut self) -> Invocation {
        self.errors = Errors::WithOutput;
        self
    }

    /// Lets standard error go to our own when the command is asked for its output or listened to.
    #[must_use]
    pub fn with_errors_shown(mut self) -> Invocation {
        self.errors = Errors::Shown;
        self
    }

    /// Puts the command into a process group of its own, where a Ctrl+C of the terminal does not reach it.
    #[must_use]
    pub fn shielded(mut self) -> Invocation {
        if self.group == Group::Ours {
            self.group = Group::Own;
        }
        self
    }

    /// Puts the command into the process group of another one, so that what ends that one's group ends both.
    #[must_use]
    pub fn beside(mut self, leader: u32) -> Invocation {
        self.group = Group::Of(leader);
        self
    }

    /// Ends the command with [`std::io::ErrorKind::TimedOut`] if its output takes longer, when it is asked for that.
    #[must_use]
    pub(super) fn within(mut self, limit: Duration) -> Invocation {
        self.limit = Some(limit);
        self
    }

    /// Whether it asks the engine for something that is there, which takes a moment. What removes something may take long, and
    /// Compose has more to do than to ask.
    pub(super) fn is_question(&self) -> bool {
        let words: Vec<_> = self.args.iter().filter_map(|arg| arg.to_str()).take(2).collect();
        self.program == "docker"
            && match words[..] {
                ["ps" | "info" | "version" | "events" | "logs", ..] => true,
                [what, "ls" | "inspect"] => what != "context",
                _ => false,
            }
    }

    /// The program, as it is looked up on `PATH`.
    pub fn program(&self) -> &OsStr {
        &self.program
    }

    /// The arguments, without the program.
    pub fn args(&self) -> &[OsString] {
        &self.args
    }

    /// The variables set for this command, sorted by name.
    pub fn env(&self) -> &[(OsString, OsString)] {
        &self.env
    }

    /// The directory that the command runs in; ours if there is none.
    pub fn cwd(&self) -> Option<&Path> {
        self.cwd.as_deref()
    }

    /// Program and arguments, as the system shows them of the process.
    pub fn argv(&self) -> Vec<Vec<u8>> {
        [&self.program].into_iter().chain(&self.args).map(|word| word.as_encoded_bytes().to_vec()).collect()
    }

    /// The command as a line for a POSIX shell: pasted there, in [`Invocation::cwd`], it runs the same thing.
    ///
    /// Bytes that are not UTF-8 come out as they are, which is why this is no `String`.
    pub fn line(&self) -> OsString {
        let mut line = Vec::new();
        if let Some(stdin) = &self.stdin {
            line.extend_from_slice(b"printf %s ");
            push_quoted(&mut line, stdin.as_bytes());
            line.extend_from_slice(b" | ");
        }
        for (key, value) in &self.env {
            line.extend_from_slice(key.as_encoded_bytes());
            line.push(b'=');
            push_quoted(&mut line, value.as_encoded_bytes());
            line.push(b' ');
        }
        push_quoted(&mut line, self.program.as_encoded_bytes());
        for arg in &self.args {
            line.push(b' ');
            push_argument(&mut line, arg.as_encoded_bytes());
        }
        if self.errors == Errors::WithOutput {
            line.extend_from_slice(b" 2>&1");
        }
        os::text(line)
    }

    /// The process to start.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).stdin(match (&self.stdin, self.group) {
            (Some(_), _) => Stdio::piped(),
            (None, Group::Foreground) => Stdio::inherit(),
            (None, _) => Stdio::null(),
        });
        for name in &self.removed_env {
            command.env_remove(name);
        }
        command.envs(self.hidden_env.iter().map(|(key, value)| (key, value)));
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        if let Some(cwd) = &self.cwd {
            command.current_dir(cwd);
        }
        os::join(&mut command, self.group);
        command
    }
}

impl fmt::Display for Invocation {
    /// [`Invocation::line`], with bytes that are not UTF-8 replaced.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.line().to_string_lossy().fmt(f)
    }
}

/// Adds a word that needs no quotes as it is, since a quoted `traefik=0` is harder to read; shlex quotes the others.
fn push_argument(line: &mut Vec<u8>, word: &[u8]) {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(byte);
    // zsh expands a leading `=`.
    if !word.is_empty() && !word.starts_with(b"=") && word.iter().all(plain) {
        line.extend_from_slice(word);
    } else {
        push_quoted(line, word);
    }
}

fn push_quoted(line: &mut Vec<u8>, word: &[u8]) {
    match shlex::bytes::try_quote(word) {
        Ok(quoted) => line.extend_from_slice(&quoted),
        // Only a NUL cannot be quoted, and the system starts no process with one in an argument.
        Err(_) => line.extend_from_slice(word),
    }
}
