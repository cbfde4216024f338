//! Free disk space for cargo's target directory and for the engine.

use std::path::Path;
use std::process::Command;

use super::check::Check;
use crate::command::{Executor, Invocation};

const NAME: &str = "disk";
const MIB: u64 = 1024 * 1024;
/// A few images and one more build would fill it.
const LITTLE: u64 = 5 * 1024 * MIB;
/// Not even a small image can be relied on to fit.
const NOTHING: u64 = 512 * MIB;

/// A place that has to hold something.
pub(super) struct Place<'a> {
    /// Whose it is.
    pub(super) whose: &'static str,
    pub(super) path: &'a Path,
    /// What makes room there.
    pub(super) fix: &'static str,
}

/// How much room there is in each of these. One that cannot be looked at is left out.
pub(super) fn disk(executor: &dyn Executor, places: &[Place<'_>]) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut enough = Vec::new();
    for Place { whose, path, fix } in places {
        let Some(free) = free(executor, path) else { continue };
        let found = format!("{} free for {whose} ({})", size(free), path.display());
        match free {
            0..NOTHING => checks.push(Check::error(NAME, &found, fix)),
            NOTHING..LITTLE => checks.push(Check::warning(NAME, &found, fix)),
            LITTLE.. => enough.push(found),
        }
    }
    if checks.is_empty() && !enough.is_empty() {
        checks.push(Check::ok(NAME, &enough.join(", ")));
    }
    checks
}

/// How many bytes are free where this path is, or its nearest folder upwards that exists.
fn free(executor: &dyn Executor, path: &Path) -> Option<u64> {
    let there = path.ancestors().find(|path| path.exists())?;
    let mut question = Command::new("df");
    // As POSIX has it: one line, in KiB.
    question.args(["-Pk", "--"]).arg(there);
    let answer = executor.output(&Invocation::from(question)).ok()?;
    available(&String::from_utf8_lossy(&answer.stdout))
}

/// The column before the percentage. Names of devices and directories may contain blanks.
fn available(answer: &str) -> Option<u64> {
    let words: Vec<&str> = answer.lines().nth(1)?.split_ascii_whitespace().collect();
    let is_percentage = |word: &str| word.strip_suffix('%').is_some_and(|number| number.parse::<u8>().is_ok());
    let percentage = words.iter().position(|word| is_percentage(word))?;
    words.get(percentage.checked_sub(1)?)?.parse::<u64>().ok()?.checked_mul(1024)
}

fn size(bytes: u64) -> String {
    let mib = bytes / MIB;
    if mib < 1024 { format!("{mib} MiB") } else { format!("{}.{} GiB", mib / 1024, mib % 1024 * 10 / 1024) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_space_is_parsed_for_all_names() {
        const HEAD: &str = "Filesystem 1024-blocks Used Available Capacity Mounted on\n";
        for (line, expected) in [
            ("/dev/vda 264120380 17104408 78543916 18% /\n", Some(78_543_916 * 1024)),
            ("//nas/my files 100 60 40 60% /mnt/my 5% files\n", Some(40 * 1024)),
            ("overlay 100 100 0 100% /", Some(0)),
            ("none - - - - /proc", None),
            ("", None),
        ] {
            assert_eq!(available(&format!("{HEAD}{line}")), expected, "{line}");
        }
    }

    #[test]
    fn a_size_is_short() {
        for (bytes, text) in [(0, "0 MiB"), (511 * MIB, "511 MiB"), (1024 * MIB, "1.0 GiB"), (76_800 * MIB, "75.0 GiB")]
        {
            assert_eq!(size(bytes), text);
        }
    }
}
