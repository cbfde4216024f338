//! The guard: a second process that takes the stack down if the first one cannot.
//!
//! No program survives its own SIGKILL, so before `up` is spawned our own binary is started once more, in a session of
//! its own, reading a socket whose only other end is ours. What it has to know comes through this socket, a line each:
//! the task as JSON, `command JSON`, `helper PID`, `helper over`, `builder PID`,
//! `builder over`, `up PID`, `up over`, `volume NAME`, `keep NAME`, `hurry`, `done`. If the socket ends without `done`, we died (SIGKILL, SIGQUIT,
//! out of memory, a panic), and the guard takes the stack down and looks, as we would have. It keeps no file and polls
//! nothing.
//!
//! Its standard output is the project's lock: the same open file as ours, so that a lock that we hold does not fall free
//! when we are killed.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{self, BufRead, Read, Write};
use std::path::PathBuf;
use std::process::Child;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::lifecycle::{Force, Undo};
use super::lock::ProjectLock;
use crate::command::Invocation;
use crate::compose::{Images, ProjectName, Volumes};
use crate::engine;
use crate::os::{self, Wire};
use crate::stack::expected::Expected;

/// The hidden subcommand that a guard is started with.
pub(super) const SUBCOMMAND: &str = "__guard";

/// The variable by which a command is found whose process id the guard has not received.
pub(super) const MARK: &str = "STAGECRAFT_COMMAND_OF";

/// A command that is about to be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Command {
    argv: Vec<Vec<u8>>,
    cwd: PathBuf,
    /// The value of [`MARK`].
    mark: String,
}

impl Command {
    /// Its process id, if it runs.
    pub(super) fn find(&self) -> Option<u32> {
        os::find(&self.argv, &self.cwd, MARK, &self.mark)
    }
}

/// What a guard is responsible for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GuardTask {
    pub(super) root: PathBuf,
    pub(super) project: ProjectName,
    /// Whether its compose file has an overlay, without which volumes would have other names.
    pub(super) is_isolated: bool,
    pub(super) expected: Expected,
    /// The command line of the `up` that is about to be started, if there is one.
    pub(super) start: Option<Vec<Vec<u8>>>,
    pub(super) undo: Undo,
    pub(super) timeout: Option<u32>,
    pub(super) volumes: Volumes,
    pub(super) images: Images,
}

/// Our end of a guard. Dropped without [`Guard::disarm`], it lets the guard act: also in a panic.
#[derive(Debug, Default)]
pub struct Guard(Option<(Wire, Child)>);

impl Guard {
    /// No guard at all.
    pub fn none() -> Guard {
        Guard(None)
    }

    /// Starts a guard that shares `lock`, and returns when no signal to us can end it.
    ///
    /// # Errors
    /// If our own binary cannot be started, or does not become a guard.
    pub fn arm(task: &GuardTask, lock: &ProjectLock) -> anyhow::Result<Guard> {
        let mut command = os::guard_command()?;
        // GitHub's runner ends every process that carries this at the end of a job, the guard's work undone.
        command.arg(SUBCOMMAND).env_remove("RUNNER_TRACKING_ID");
        let (child, mut ours) = os::start_guard(command, lock.to_share()?).context("cannot start the guard")?;
        serde_json::to_writer(&mut ours, task)?;
        ours.write_all(b"\n")?;
        ours.read_exact(&mut [0]).context("the guard did not become ready")?;
        Ok(Guard(Some((ours, child))))
    }

    /// Whether there is a guard.
    pub fn is_armed(&self) -> bool {
        self.0.is_some()
    }

    /// Tells the guard the process group of `up`, which may outlive us.
    pub fn watch(&mut self, up: u32) {
        self.say(&format!("up {up}"));
    }

    /// Announces a command to the guard, for the moment between its start and [`Guard::helper`]. What it returns is the command to start.
    pub fn announce(&mut self, command: &Invocation) -> Invocation {
        let mark = std::process::id().to_string();
        if let Some(cwd) = command.cwd() {
            let announced = Command { argv: command.argv(), cwd: cwd.to_owned(), mark: mark.clone() };
            // It consists of texts and numbers.
            let json = serde_json::to_string(&announced).unwrap_or_default();
            self.say(&format!("command {json}"));
        }
        command.clone().with_hidden_variable(MARK, &mark)
    }

    /// Tells the guard the process group of what listens to the engine, or of a command before the build, which would outlive us too.
    pub fn helper(&mut self, helper: u32) {
        self.say(&format!("helper {helper}"));
    }

    /// Tells the guard that the helper is over: its process id can be reused.
    pub fn forget_helper(&mut self) {
        self.say("helper over");
    }

    /// Tells the guard the process group of a command that applies a change of the files.
    pub fn builder(&mut self, builder: u32) {
        self.say(&format!("builder {builder}"));
    }

    /// Tells the guard that it is over.
    pub fn forget_builder(&mut self) {
        self.say("builder over");
    }

    /// Tells the guard that `up` is over and about to be reaped: its process id can be reused.
    pub fn forget(&mut self) {
        self.say("up over");
    }

    /// Takes back a [`Guard::volume`].
    pub fn keep_volume(&mut self, name: &str) {
        self.say(&format!("keep {name}"));
    }

    /// Tells the guard of an anonymous volume, before `down` removes the containers that would tell.
    pub fn volume(&mut self, name: &str) {
        self.say(&format!("volume {name}"));
    }

    /// Tells the guard that there is no patience left for containers.
    pub fn hurry(&mut self) {
        self.say("hurry");
    }

    /// Ends the guard: there is nothing left to do for it.
    pub fn disarm(&mut self) {
        self.say("done");
        if let Some((_, mut child)) = self.0.take() {
            let _ = child.wait();
        }
    }

    fn say(&mut self, line: &str) {
        // If the guard was killed, the message is lost, and the run goes on.
        if let Some((wire, _)) = &mut self.0 {
            let _ = wire.write_all(format!("{line}\n").as_bytes());
        }
    }
}

/// Whether these arguments ask for a guard.
pub fn is_guard(args: &[impl AsRef<OsStr>]) -> bool {
    args.get(1).is_some_and(|arg| arg.as_ref() == SUBCOMMAND)
}

/// What a guard has received when the run that it guards dies.
#[derive(Debug)]
pub(crate) struct Orphaned {
    pub(super) task: GuardTask,
    /// The process group of `up`, if it runs and we were told.
    pub(super) up: Option<u32>,
    /// That of another command.
    pub(super) helper: Option<u32>,
    /// What is about to become it.
    pub(super) command: Option<Command>,
    /// That of a command that applies a change of the files.
    pub(super) builder: Option<u32>,
    /// Anonymous volumes of containers that may be gone.
    pub(super) anonymous: BTreeSet<String>,
    pub(super) force: Force,
}

/// The life of a guard: leaves the session, then listens to its end of the socket until that ends. None if there is
/// nothing to do; otherwise what there is to do, and the project's lock, held if it was.
///
/// # Errors
/// If it cannot create a session, or if a message is invalid.
pub(crate) fn listen() -> anyhow::Result<Option<(Orphaned, ProjectLock)>> {
    let (mut wire, lock) = os::stand_guard()?;
    // The word for `arm`: from now on nothing that is aimed at its group or its terminal reaches us.
    wire.write_all(b".")?;
    let Some(orphaned) = hear(io::BufReader::new(wire))? else { return Ok(None) };
    let name = engine::lock_name(&orphaned.task.project);
    let lock = lock.map_or_else(|| ProjectLock::open(&name), |lock| ProjectLock::inherited(&name, lock));
    Ok(Some((orphaned, lock.unwrap_or_else(|_| ProjectLock::none()))))
}

fn hear(told: impl BufRead) -> anyhow::Result<Option<Orphaned>> {
    let mut lines = told.lines();
    // It died before it could say what to guard, and so before it started anything.
    let Some(task) = lines.next().transpose()? else { return Ok(None) };
    let Ok(task) = serde_json::from_slice(task.as_bytes()) else { return Ok(None) };
    let mut orphaned = Orphaned {
        task,
        up: None,
        helper: None,
        command: None,
        builder: None,
        anonymous: BTreeSet::new(),
        force: Force::Graceful,
    };
    for line in lines {
        match line?.as_str() {
            "done" => return Ok(None),
            "hurry" => orphaned.force = Force::AtOnce,
            "helper over" => (orphaned.helper, orphaned.command) = (None, None),
            "builder over" => orphaned.builder = None,
            // There is none any more, and none to look for.
            "up over" => (orphaned.up, orphaned.task.start) = (None, None),
            line => match line.split_once(' ') {
                Some(("command", json)) => orphaned.command = serde_json::from_str(json).ok(),
                Some(("helper", pid)) => orphaned.helper = pid.parse().ok(),
                Some(("builder", pid)) => orphaned.builder = pid.parse().ok(),
                Some(("up", pid)) => orphaned.up = pid.parse().ok(),
                Some(("keep", name)) => drop(orphaned.anonymous.remove(name)),
                Some(("volume", name)) => {
                    orphaned.anonymous.insert(name.to_string());
                }
                _ => {}
            },
        }
    }
    Ok(Some(orphaned))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> String {
        let task = GuardTask {
            root: PathBuf::from("/a b"),
            project: ProjectName::new("x").unwrap(),
            is_isolated: false,
            expected: Expected::default(),
            start: Some(vec![b"docker".to_vec()]),
            undo: Undo::Remove,
            timeout: Some(3),
            volumes: Volumes::Keep,
            images: Images::Keep,
        };
        serde_json::to_string(&task).unwrap()
    }

    #[test]
    fn the_end_without_the_word_is_a_death() {
        let told = format!("{}\nhelper 16\nup 17\nvolume b\nvolume c\nvolume a\nkeep c\nhurry\n", task());
        let orphaned = hear(told.as_bytes()).unwrap().unwrap();
        assert_eq!((orphaned.helper, orphaned.up, orphaned.force), (Some(16), Some(17), Force::AtOnce));
        assert_eq!(orphaned.anonymous, BTreeSet::from(["a", "b"].map(str::to_string)));
        assert_eq!(orphaned.task.root, PathBuf::from("/a b"));
        assert_eq!((orphaned.task.undo, orphaned.task.timeout), (Undo::Remove, Some(3)));
        for over in ["", "up 17\nup over\n"] {
            let told = format!("{}\nhelper 16\nhelper over\n{over}", task());
            let orphaned = hear(told.as_bytes()).unwrap().unwrap();
            assert_eq!((orphaned.helper, orphaned.up, orphaned.force), (None, None, Force::Graceful));
            assert_eq!(orphaned.task.start.is_some(), over.is_empty(), "it may run although nobody said so");
        }
    }

    #[test]
    fn a_command_is_expected_until_it_is_over() {
        let announced = Command { argv: vec![b"a b".to_vec()], cwd: PathBuf::from("/c"), mark: "7".to_string() };
        let line = format!("command {}\n", serde_json::to_string(&announced).unwrap());
        let expected = |told: String| hear(format!("{}\n{told}", task()).as_bytes()).unwrap().unwrap().command;
        assert_eq!(expected(line.clone()), Some(announced));
        assert_eq!(expected(format!("{line}helper 16\nhelper over\n")), None);
    }

    #[test]
    fn the_word_and_a_death_before_there_was_a_charge_leave_nothing_to_do() {
        assert!(hear(format!("{}\nup 17\ndone\n", task()).as_bytes()).unwrap().is_none());
        assert!(hear("".as_bytes()).unwrap().is_none());
        assert!(hear(&task().as_bytes()[..20]).unwrap().is_none());
    }
}
