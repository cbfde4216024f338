//! The processes of a trial: whoever has its mark in the environment, which every child inherits.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::support::run::command_line;

/// The variable whose value is the trial's project.
pub const MARK: &str = "CAMPAIGN_TRIAL";

pub struct Process {
    pub pid: Pid,
    parent: Option<Pid>,
    pub command: String,
}

/// Every process of the trial; zombies have no environment and do not count.
pub fn of_trial(project: &str) -> Vec<Process> {
    let mark = format!("{MARK}={project}");
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let mut processes: Vec<Process> = entries
        .filter_map(|entry| {
            let pid = Pid::from_raw(std::str::from_utf8(entry.file_name().as_bytes()).ok()?.parse().ok()?)?;
            let environment = std::fs::read(entry.path().join("environ")).ok()?;
            let is_marked = environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes());
            is_marked.then(|| Process { pid, parent: parent(pid), command: command_line(pid) })
        })
        .collect();
    processes.sort_by_key(|process| process.pid.as_raw_nonzero());
    processes
}

fn parent(pid: Pid) -> Option<Pid> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // After the name, which is in parentheses and may hold anything: state, parent.
    Pid::from_raw(stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()?)
}

impl Process {
    pub fn is_guard(&self) -> bool {
        self.command.contains(" __guard")
    }

    /// Whether it is a `docker compose` that changes something, or its plugin.
    fn acts(&self) -> bool {
        let words: Vec<&str> = self.command.split_ascii_whitespace().collect();
        words.contains(&"compose") && words.iter().any(|word| ["up", "stop", "down"].contains(word))
    }
}

/// The guard of this process.
pub fn guard_of(project: &str, tool: Pid) -> Option<Pid> {
    of_trial(project).into_iter().find(|process| process.parent == Some(tool) && process.is_guard()).map(|it| it.pid)
}

/// The `docker compose` that this process has started last, to do something.
pub fn docker_of(project: &str, tool: Pid) -> Option<Pid> {
    of_trial(project).into_iter().rfind(|process| process.parent == Some(tool) && process.acts()).map(|it| it.pid)
}

/// The plugin that works for this `docker`.
pub fn plugin_of(project: &str, docker: Pid) -> Option<Pid> {
    of_trial(project).into_iter().find(|process| process.parent == Some(docker) && process.acts()).map(|it| it.pid)
}

/// A process of which one may wait for the end, whoever started it.
pub struct End(Option<OwnedFd>);

impl End {
    pub fn of(pid: Pid) -> End {
        // None that could be opened has ended.
        End(pidfd_open(pid, PidfdFlags::empty()).ok())
    }

    /// Blocks until it has ended. False if it has not in time.
    pub fn wait(&self, time: Duration) -> bool {
        let Some(process) = &self.0 else { return true };
        let time =
            Timespec { tv_sec: i64::try_from(time.as_secs()).expect("short"), tv_nsec: time.subsec_nanos().into() };
        loop {
            match poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&time)) {
                Err(rustix::io::Errno::INTR) => {}
                polled => return polled != Ok(0),
            }
        }
    }

    pub fn has_come(&self) -> bool {
        self.wait(Duration::ZERO)
    }
}

/// Blocks until the trial has no process any more. The ones that are left when the time is over.
pub fn wait_for_all(project: &str, time: Duration) -> Vec<Process> {
    let deadline = std::time::Instant::now() + time;
    loop {
        let processes = of_trial(project);
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        match processes.first() {
            // It may have started another one meanwhile, hence once more from the beginning.
            Some(first) if !left.is_zero() => drop(End::of(first.pid).wait(left)),
            _ => return processes,
        }
    }
}

/// Ends what is left of the trial.
pub fn end_all(project: &str) {
    for process in of_trial(project) {
        let _ = kill_process(process.pid, Signal::KILL);
    }
    wait_for_all(project, Duration::from_secs(10));
}
