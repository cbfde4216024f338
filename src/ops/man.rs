//! `man`: the manual, as pages that are made from the definition of the command line (`tests/it/man.rs` makes them).

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;

use super::Context;
use crate::exit::Code;
use crate::process::Logger;

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
    "cargo-stagecraft-dev-status.1",
    "cargo-stagecraft-doctor.1",
    "cargo-stagecraft-init.1",
    "cargo-stagecraft-man.1",
];

/// Writes the pages into a folder, which is made where it is missing.
///
/// # Errors
/// [`Code::Failed`] if one cannot be written.
pub fn man(options: &ManOptions, cx: &Context<'_>) -> anyhow::Result<Code> {
    let dir = cx.cwd.join(&options.dir);
    fs::create_dir_all(&dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
    for (name, page) in PAGES {
        let path = dir.join(name);
        fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
    }
    cx.shell.status("Written", &format!("{} man pages to {}", PAGES.len(), dir.display()));
    Ok(Code::Success)
}
