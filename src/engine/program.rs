//! Replaces programs in running containers: through the engine's socket where docker would use it, else by docker.

use std::path::Path;

use anyhow::anyhow;
use serde::Deserialize;

use super::{api, docker, endpoint};
use crate::command::{Archive, Executor, Invocation, Request};

/// A process of a container, with numbers of the engine's host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// That of its parent.
    pub parent: u32,
    /// Its command line.
    pub line: String,
}

/// The processes of a container.
///
/// # Errors
/// If it does not run, or the engine does not tell.
pub fn processes(executor: &dyn Executor, container: &str) -> anyhow::Result<Vec<Process>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Top {
        processes: Vec<Vec<String>>,
    }
    let process = |words: Vec<&str>| {
        let [pid, parent, line @ ..] = &words[..] else { return None };
        Some(Process { pid: pid.parse().ok()?, parent: parent.parse().ok()?, line: line.join(" ") })
    };
    let path = format!("/containers/{container}/top?ps_args=-o%20pid,ppid,args");
    if let Some(tops) = api::ask_directly::<Top>(executor, &[path]) {
        let rows = tops.iter().flat_map(|top| &top.processes);
        return Ok(rows.filter_map(|row| process(row.iter().map(String::as_str).collect())).collect());
    }
    let output = executor.output(&docker(&["top", container, "-o", "pid,ppid,args"]))?;
    if !output.status.success() {
        return Err(anyhow!("{}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(|line| process(line.split_whitespace().collect())).collect())
}

/// Puts a program into a directory of a container. What runs there keeps the file that it has.
///
/// # Errors
/// If the program cannot be read, or the container cannot be written to.
pub fn put_program(
    executor: &dyn Executor,
    container: &str,
    directory: &str,
    name: &str,
    archive: Archive,
) -> anyhow::Result<()> {
    let path = format!("/containers/{container}/archive?path=/{directory}");
    let copy = docker(&["cp", &archive.file.to_string_lossy(), &format!("{container}:/{directory}/{name}")]);
    perform(executor, |socket| Request::put(socket, &path, archive), &copy)
}

/// Sends a signal to the first process of a container.
///
/// # Errors
/// If it does not run.
pub fn signal(executor: &dyn Executor, container: &str, number: i32) -> anyhow::Result<()> {
    let path = format!("/containers/{container}/kill?signal={number}");
    let kill = docker(&["kill", "--signal", &number.to_string(), container]);
    perform(executor, |socket| Request::post(socket, &path), &kill)
}

/// As with questions: where anything is not as it should be, docker is to do it, and says why it cannot.
fn perform(
    executor: &dyn Executor,
    request: impl FnOnce(&Path) -> Request,
    command: &Invocation,
) -> anyhow::Result<()> {
    if endpoint::socket().is_some_and(|socket| executor.request(&request(&socket)).is_ok()) {
        return Ok(());
    }
    let output = executor.output(command)?;
    if !output.status.success() {
        return Err(anyhow!("{}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(())
}
