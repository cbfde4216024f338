//! `completions`: prints a shell completion script.

use std::ffi::OsStr;

use anyhow::Context as _;

use super::Context;
use crate::exit::Code;

/// A shell that can be taught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpreter {
    /// GNU Bash.
    Bash,
    /// Z shell.
    Zsh,
    /// fish.
    Fish,
    /// PowerShell.
    PowerShell,
    /// Elvish.
    Elvish,
}

impl Interpreter {
    fn script(self) -> &'static str {
        match self {
            Interpreter::Bash => include_str!("../../completions/cargo-stagecraft.bash"),
            Interpreter::Zsh => include_str!("../../completions/_cargo-stagecraft"),
            Interpreter::Fish => include_str!("../../completions/cargo-stagecraft.fish"),
            Interpreter::PowerShell => include_str!("../../completions/cargo-stagecraft.ps1"),
            Interpreter::Elvish => include_str!("../../completions/cargo-stagecraft.elv"),
        }
    }
}

/// Prints the script on stdout.
///
/// # Errors
/// [`Code::Failed`] if stdout cannot be written to.
pub(crate) fn completions(interpreter: Interpreter, cx: &Context<'_>) -> anyhow::Result<Code> {
    cx.shell.print(OsStr::new(interpreter.script().trim_end())).context("cannot write to stdout")?;
    Ok(Code::Success)
}
