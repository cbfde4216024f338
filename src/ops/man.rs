//! `man`: writes the man pages, which `tests/it/man.rs` generates from the definition of the command line.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context as _;

use super::Context;
use crate::command::{Executor, Invocation, hook};
use crate::exit::Code;
use crate::os;
use crate::reporter;
use crate::reporter::Logger;

/// What `man` is asked to do.
#[derive(Clone, Debug)]
pub struct ManOptions {
    /// Where the pages go.
    pub dir: PathBuf,
}

macro_rules! pages {
    ($($name:literal),* $(,)?) => { &[$(($name, include_str!(concat!("../../man/", $name)))),*] };
}

/// Every page, by the name of its file.
pub const PAGES: &[(&str, &str)] = pages![
    "cargo-stagecraft.1",
    "cargo-stagecraft-completions.1",
    "cargo-stagecraft-dev.1",
    "cargo-stagecraft-dev-down.1",
    "cargo-stagecraft-dev-env.1",
    "cargo-stagecraft-dev-files.1",
    "cargo-stagecraft-dev-list.1",
    "cargo-stagecraft-dev-logs.1",
    "cargo-stagecraft-dev-run.1",
    "cargo-stagecraft-dev-status.1",
    "cargo-stagecraft-doctor.1",
    "cargo-stagecraft-init.1",
    "cargo-stagecraft-man.1",
];

/// Shows a page by man, and returns when its reader is done with it. False if it has not been shown: there is no such page,
/// no man that shows it, or no terminal.
pub(crate) fn show(page: &str, executor: &dyn Executor) -> bool {
    let Some((_, text)) = PAGES.iter().find(|(name, _)| *name == page) else { return false };
    let (press, pressed) = mpsc::channel();
    // Ctrl+C means something to a pager, and we would leave it alone with the terminal.
    if !reporter::is_interactive() || hook(move |_| press.send(()).unwrap_or_default()).is_err() {
        return false;
    }
    let mut man = Command::new("man");
    // man-db's name for that is `-l -`; by this one others find it, too.
    man.arg(os::STDIN);
    let shown = executor.spawn(&Invocation::from(man).stdin(*text), Box::new(|| {}));
    // man-db exits with an error after Ctrl+C, even if the page was shown. Our own interrupt event arrives a moment later.
    let was_read = || pressed.recv_timeout(Duration::from_secs(1)).is_ok();
    shown.and_then(|mut man| man.wait()).is_ok_and(|ended| ended.status.success() || was_read())
}

/// Writes the pages into a folder, which is made where it is missing.
///
/// # Errors
/// [`Code::Failed`] if one cannot be written.
pub(crate) fn man(options: &ManOptions, cx: &Context<'_>) -> anyhow::Result<Code> {
    let dir = cx.cwd.join(&options.dir);
    fs::create_dir_all(&dir).with_context(|| format!("cannot create the directory {}", dir.display()))?;
    for (name, page) in PAGES {
        let path = dir.join(name);
        fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
    }
    cx.shell.status("Written", &format!("{} man pages to {}", PAGES.len(), dir.display()));
    Ok(Code::Success)
}
