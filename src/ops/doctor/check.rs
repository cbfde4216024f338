//! The result of one check of `doctor`.

use anyhow::Context as _;

use super::super::Context;
use crate::exit::Failure;
use crate::reporter::message::{CheckState, Message};

/// How one thing is, and what to do where that is not well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Check {
    /// What was looked at, in a word or two.
    pub(super) name: &'static str,
    pub(super) state: CheckState,
    /// What was found.
    pub(super) found: String,
    /// What to do, as a sentence or a command in backticks.
    pub(super) fix: Option<String>,
}

impl Check {
    pub(super) fn ok(name: &'static str, found: &str) -> Check {
        Check { name, state: CheckState::Ok, found: without_secrets(found), fix: None }
    }

    /// Something that may be meant, or that only some stacks fail of.
    pub(super) fn warning(name: &'static str, found: &str, fix: &str) -> Check {
        let fix = Some(without_secrets(fix));
        Check { state: CheckState::Warning, fix, ..Check::ok(name, found) }
    }

    /// Something with which no stack can be started.
    pub(super) fn error(name: &'static str, found: &str, fix: &str) -> Check {
        Check { state: CheckState::Error, ..Check::warning(name, found, fix) }
    }

    /// An error of another module, which may know the next step.
    pub(super) fn failed(name: &'static str, error: &anyhow::Error) -> Check {
        let fix = error.downcast_ref::<Failure>().and_then(Failure::next_step).map(without_secrets);
        Check { state: CheckState::Error, fix, ..Check::ok(name, &format!("{error:#}")) }
    }

    /// Prints it, for whom standard output is for.
    pub(super) fn print(&self, cx: &Context<'_>) -> anyhow::Result<()> {
        let Check { name, state, found, fix } = self;
        let fix = fix.as_deref();
        let message = Message::Check { name, state: *state, found, fix };
        cx.shell.print_message(&message).context("cannot write to stdout")?;
        cx.shell.print_check(*state, name, found, fix).context("cannot write to stdout")
    }
}

/// The text without what stands before the `@` of a URL: a user and a password, or a token. Whom one logs in as through SSH is
/// no secret.
fn without_secrets(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        safe.push_str(before);
        safe.push_str("://");
        let end = after.find(|c: char| c.is_whitespace() || "/?#\"'`,)".contains(c)).unwrap_or(after.len());
        let (authority, behind) = after.split_at(end);
        match authority.rsplit_once('@') {
            Some((user, host)) if !before.ends_with("ssh") || user.contains(':') => {
                safe.push_str("***@");
                safe.push_str(host);
            }
            _ => safe.push_str(authority),
        }
        rest = behind;
    }
    safe.push_str(rest);
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_found_shows_a_password() {
        for (text, safe) in [
            ("", ""),
            ("http://proxy:3128", "http://proxy:3128"),
            ("http://me:pw@proxy:3128/x, then a@b", "http://***@proxy:3128/x, then a@b"),
            ("a http://t0ken@p and https://u:p@w@q", "a http://***@p and https://***@q"),
            ("ssh://me@build.example", "ssh://me@build.example"),
            ("ssh://me:pw@build.example", "ssh://***@build.example"),
            ("Get \"http://me:pw@x/y\": no", "Get \"http://***@x/y\": no"),
            ("unix:///a@b.sock and x@sha256:1", "unix:///a@b.sock and x@sha256:1"),
        ] {
            assert_eq!(without_secrets(text), safe);
            assert_eq!(Check::error("x", text, text).fix.as_deref(), Some(safe));
            assert_eq!(Check::failed("x", &anyhow::anyhow!("{text}")).found, safe);
        }
    }
}
