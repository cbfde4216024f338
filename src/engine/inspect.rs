//! The details of a project's containers: state, exit code, error, addresses.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::thread;
use std::time::Duration;

use anyhow::anyhow;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::events::Signal;
use super::list::{containers_of_file, is_up};
use super::{api, ask, docker, no_docker, of_project};
use crate::command::Executor;
use crate::compose::ProjectName;
use crate::exit::{Code, Failure};
use crate::reporter::one_line;

/// A container as `docker inspect` describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspected {
    /// The engine's name for it, unique for ever.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The service that it belongs to.
    pub service: String,
    /// Which of the service's containers it is, from 1.
    pub number: u32,
    /// The engine's word: `created`, `running`, `restarting`, `exited`, `dead` …
    pub state: String,
    /// How its last process ended; 0 while it runs.
    pub exit_code: i64,
    /// Whether its last process was killed because it was out of memory.
    pub out_of_memory: bool,
    /// The number of its first process on the engine's host; 0 while it does not run.
    pub pid: u32,
    /// Why it could not be started, in the engine's words; empty if it could.
    pub error: String,
    /// When it was started the last time, by the engine's clock. None if it never was.
    pub started_at: Option<Timestamp>,
    /// When its last process ended, by the engine's clock. None if none has.
    pub finished_at: Option<Timestamp>,
    /// How often the engine has restarted it.
    pub restarts: u32,
    /// Whether it has a healthcheck, from the file or from its image.
    pub has_healthcheck: bool,
    /// How its healthcheck goes, once it has begun.
    pub health: Option<Health>,
    /// The signal that asks it to stop, as a number of Linux.
    pub stop_signal: Signal,
    /// Its ports, also those that are not published, in order.
    pub ports: Vec<Published>,
    /// The program that it runs, from its configuration.
    pub program: String,
}

impl Inspected {
    /// Whether it runs, or is about to again.
    pub fn is_up(&self) -> bool {
        is_up(&self.state)
    }

    /// What its last process exited with, if it does not run.
    pub fn ended_with(&self) -> Option<i64> {
        ["exited", "restarting", "dead"].contains(&self.state.as_str()).then_some(self.exit_code)
    }

    /// How long it has been running at this time of the engine's. None if it does not run.
    pub fn uptime(&self, now: Timestamp) -> Option<Duration> {
        let started = self.started_at.filter(|_| self.state == "running")?;
        Some(Duration::try_from(now.duration_since(started)).unwrap_or_default())
    }

    /// How long its last process ran. None while it runs.
    pub fn last_run(&self) -> Option<Duration> {
        let (started, finished) = (self.started_at?, self.finished_at?);
        Duration::try_from(finished.duration_since(started)).ok()
    }
}

/// How a healthcheck goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// `starting`, `healthy` or `unhealthy`.
    pub status: String,
    /// What the last probe printed, if it failed.
    pub failure: Option<String>,
}

/// A port of a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Published {
    /// The port inside.
    pub target: u16,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The engine's host's address that it is bound to; empty for all of them.
    pub host_ip: String,
    /// The port there.
    pub host_port: u16,
}

/// The answer, as the engine gives it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    id: String,
    name: String,
    #[serde(default)]
    path: String,
    config: Config,
    state: State,
    restart_count: u32,
    network_settings: NetworkSettings,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    labels: BTreeMap<String, String>,
    #[serde(default)]
    healthcheck: Option<Healthcheck>,
    #[serde(default)]
    stop_signal: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Healthcheck {
    #[serde(default)]
    test: Option<Vec<String>>,
}

impl Healthcheck {
    /// `NONE` switches the image's healthcheck off; without a test there is nothing to run.
    fn is_active(&self) -> bool {
        self.test.as_ref().and_then(|test| test.first()).is_some_and(|kind| kind != "NONE")
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings {
    ports: Option<BTreeMap<String, Option<Vec<Binding>>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    status: String,
    exit_code: i64,
    #[serde(default)]
    pid: u32,
    #[serde(rename = "OOMKilled", default)]
    out_of_memory: bool,
    #[serde(default)]
    error: String,
    #[serde(default)]
    started_at: String,
    #[serde(default)]
    finished_at: String,
    health: Option<Checked>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Checked {
    status: String,
    #[serde(default)]
    log: Option<Vec<Probe>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Probe {
    exit_code: i64,
    output: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Binding {
    host_ip: String,
    host_port: String,
}

impl From<Answer> for Inspected {
    fn from(answer: Answer) -> Inspected {
        let Answer { id, name, path, mut config, state, restart_count, network_settings } = answer;
        let mut label = |name: &str| config.labels.remove(&format!("com.docker.compose.{name}")).unwrap_or_default();
        let mut ports: Vec<Published> = network_settings.ports.into_iter().flatten().flat_map(published).collect();
        ports.sort();
        Inspected {
            id,
            name: name.trim_start_matches('/').to_string(),
            service: one_line(&label("service")).into_owned(),
            number: label("container-number").parse().unwrap_or(1),
            state: state.status,
            exit_code: state.exit_code,
            pid: state.pid,
            out_of_memory: state.out_of_memory,
            error: one_line(&state.error).into_owned(),
            started_at: timestamp(&state.started_at),
            finished_at: timestamp(&state.finished_at),
            restarts: restart_count,
            has_healthcheck: config.healthcheck.is_some_and(|healthcheck| healthcheck.is_active()),
            stop_signal: config.stop_signal.as_deref().and_then(Signal::parse).unwrap_or_default(),
            // Podman says that a container without a healthcheck has an empty one.
            health: state.health.filter(|health| !["", "none"].contains(&health.status.as_str())).map(Health::from),
            ports,
            program: path,
        }
    }
}

/// A time of the engine's. It writes the year 1 where there is none.
fn timestamp(text: &str) -> Option<Timestamp> {
    text.parse().ok().filter(|time: &Timestamp| *time > Timestamp::UNIX_EPOCH)
}

impl From<Checked> for Health {
    fn from(checked: Checked) -> Health {
        let last = checked.log.into_iter().flatten().last();
        let failed = last.filter(|probe| probe.exit_code != 0);
        Health { status: checked.status, failure: failed.map(|probe| probe.output.trim().to_string()) }
    }
}

/// What the engine says of a container's port, as in `80/tcp`.
fn published((port, bindings): (String, Option<Vec<Binding>>)) -> Vec<Published> {
    let Some((target, protocol)) = port.split_once('/') else { return Vec::new() };
    let Ok(target) = target.parse() else { return Vec::new() };
    let bindings = bindings.into_iter().flatten().filter_map(|binding| {
        let host_port = binding.host_port.parse().ok().filter(|port| *port > 0)?;
        Some(Published { target, protocol: protocol.to_string(), host_ip: binding.host_ip, host_port })
    });
    bindings.collect()
}

/// Every container that the project's file asks for, by name. Where its containers are those with the `known` ids, which
/// were there before, one question's time is enough.
///
/// # Errors
/// [`Code::EngineUnavailable`] if the engine does not answer.
pub fn inspect(
    executor: &dyn Executor,
    project: &ProjectName,
    known: &BTreeSet<String>,
) -> Result<Vec<Inspected>, Failure> {
    let ids = || -> Result<BTreeSet<String>, Failure> {
        Ok(containers_of_file(executor, project)?.into_iter().map(|container| container.id).collect())
    };
    let inspected = |ids: &BTreeSet<String>| inspect_ids(executor, ids);
    let mut there = if known.is_empty() {
        ids()?
    } else {
        let (there, all) = thread::scope(|scope| {
            let all = scope.spawn(|| inspected(known));
            (ids(), all.join().unwrap_or_else(|panic| resume_unwind(panic)))
        });
        let there = there?;
        match all {
            Ok(all) if there == *known => return Ok(all),
            _ => there,
        }
    };
    // A container that has been removed since it was listed makes the second question fail: as long as somebody takes
    // the stack down, it is asked again.
    let mut chances = 20;
    loop {
        if there.is_empty() {
            return Ok(Vec::new());
        }
        chances -= 1;
        match inspected(&there) {
            Err(failure) if chances > 0 && format!("{failure:#}").contains("No such container") => there = ids()?,
            answer => return answer,
        }
    }
}

/// The state of one container. None if it is gone, or the engine does not answer.
pub(crate) fn inspect_one(executor: &dyn Executor, id: &str) -> Option<Inspected> {
    inspect_ids(executor, &BTreeSet::from([id.to_string()])).ok()?.pop()
}

fn inspect_ids(executor: &dyn Executor, ids: &BTreeSet<String>) -> Result<Vec<Inspected>, Failure> {
    let command = ["container", "inspect", "--format", "{{json .}}"].into_iter();
    let command: Vec<&str> = command.chain(ids.iter().map(String::as_str)).collect();
    let questions: Vec<String> = ids.iter().map(|id| api::container(id)).collect();
    let answers: Vec<Answer> = api::ask_or(executor, &questions, &docker(&command))?;
    let mut all: Vec<Inspected> = answers.into_iter().map(Inspected::from).collect();
    all.sort_by(|a, b| (&a.service, a.number, &a.name).cmp(&(&b.service, b.number, &b.name)));
    Ok(all)
}

/// The last lines of what a container has printed, its errors among them, oldest first; of a line longer than
/// 4096 bytes only the beginning, and how much is missing. Empty where the engine does not tell: its refusal to read a
/// log (`logging: none`) is not a log.
pub fn last_words(executor: &dyn Executor, container: &str, lines: u32) -> Vec<u8> {
    let question = docker(&["logs", "--tail", &lines.to_string(), container]).with_errors();
    let answer = executor.output(&question).ok().filter(|answer| answer.status.success());
    let log = answer.map(|answer| answer.stdout).unwrap_or_default();
    log.split_inclusive(|byte| *byte == b'\n').flat_map(|line| shortened(line).into_owned()).collect()
}

/// The length of a log's line that is shown, in bytes.
const LONGEST_LINE: usize = 4096;

fn shortened(line: &[u8]) -> Cow<'_, [u8]> {
    let is_inside_a_character = |byte: u8| byte & 0b1100_0000 == 0b1000_0000;
    let (text, end) = line.strip_suffix(b"\n").map_or((line, &b""[..]), |text| (text, b"\n"));
    if text.len() <= LONGEST_LINE {
        return Cow::Borrowed(line);
    }
    let at = (0..=LONGEST_LINE).rev().find(|at| !is_inside_a_character(text[*at])).unwrap_or(LONGEST_LINE);
    let note = format!(" … ({} more bytes)", text.len() - at);
    Cow::Owned([&text[..at], note.as_bytes(), end].concat())
}

/// The images that were built for a project and have no name any more, since a newer one has it. None where the engine does not
/// tell.
pub(crate) fn replaced_images(executor: &dyn Executor, project: &ProjectName) -> Vec<String> {
    let dangling = ["image", "ls", "--quiet", "--no-trunc", "--filter", "dangling=true", "--filter"];
    let answer = executor.output(&docker(&[&dangling[..], &[&of_project(project)]].concat()));
    let images = answer.map(|answer| String::from_utf8_lossy(&answer.stdout).into_owned()).unwrap_or_default();
    images.lines().map(str::to_string).collect()
}

/// An image on the engine.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Image {
    /// Its id.
    pub id: String,
    /// Its names, each with a tag.
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

impl Image {
    /// Whether it has this name, as a compose file has it.
    pub fn is_named(&self, name: &str) -> bool {
        let mut names = self.repo_tags.iter().flatten();
        names.any(|it| it == name || it.strip_suffix(":latest") == Some(name))
    }

    /// The value of one of its labels.
    pub fn label(&self, label: &str) -> Option<&str> {
        self.labels.as_ref()?.get(label).map(String::as_str)
    }
}

/// The images that have these names. None of those that the engine does not have or does not list.
pub fn images(executor: &dyn Executor, names: &[String]) -> Vec<Image> {
    if names.is_empty() {
        return Vec::new();
    }
    let questions: Vec<String> = names.iter().map(|name| api::images(name)).collect();
    if let Some(images) = api::ask_directly::<Image>(executor, &questions) {
        return images;
    }
    let format = r#"{"Id":{{json .Id}},"RepoTags":{{json .RepoTags}},"Labels":{{json .Config.Labels}}}"#;
    let names = names.iter().map(String::as_str);
    let question: Vec<&str> = ["image", "inspect", "--format", format].into_iter().chain(names).collect();
    // It fails if one is missing, and has printed the others.
    let answer = executor.output(&docker(&question)).map(|answer| answer.stdout).unwrap_or_default();
    let lines = String::from_utf8_lossy(&answer).into_owned();
    lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Removes those of these images that are [`replaced_images`] now. What is still used stays, and `doctor` finds it.
///
/// Another checkout's of the same project name are not among them: a label says which project they are of, and not whose it is. Not
/// by `docker image prune`: while anybody's runs, of whatever images, the engine refuses another.
pub fn remove_replaced_images(executor: &dyn Executor, project: &ProjectName, before: &BTreeSet<String>) {
    if before.is_empty() {
        return;
    }
    let mut images = replaced_images(executor, project);
    images.retain(|image| before.contains(image));
    let images: Vec<&str> = images.iter().map(String::as_str).collect();
    if !images.is_empty() {
        let _ = executor.output(&docker(&[&["image", "rm"], &images[..]].concat()));
    }
}

/// Which of these images the engine does not have.
///
/// # Errors
/// [`Code::EngineUnavailable`] if docker cannot be run.
pub fn missing_images(executor: &dyn Executor, images: &BTreeSet<String>) -> Result<BTreeSet<String>, Failure> {
    let is_missing = |image: &&String| -> Result<bool, Failure> {
        let question = docker(&["image", "inspect", "--format", "{{.Id}}", image]);
        let output = executor.output(&question).map_err(no_docker)?;
        Ok(!output.status.success() && String::from_utf8_lossy(&output.stderr).to_lowercase().contains("no such image"))
    };
    let mut missing = BTreeSet::new();
    for image in images {
        if is_missing(&image)? {
            missing.insert(image.clone());
        }
    }
    Ok(missing)
}

/// Whether the engine lacks this image. False where it does not tell.
pub(crate) fn lacks_image(executor: &dyn Executor, image: &str) -> bool {
    let known: Option<Vec<IgnoredAny>> = api::ask_directly(executor, &[api::images(image)]);
    // Another spelling of the name may be known.
    known.is_none_or(|images| images.is_empty())
        && missing_images(executor, &BTreeSet::from([image.to_string()])).is_ok_and(|missing| !missing.is_empty())
}

/// The platform of a container's image and that of the engine, as in `linux/amd64`.
///
/// # Errors
/// [`Code::EngineUnavailable`] if the engine does not tell.
pub fn architectures(executor: &dyn Executor, container: &str) -> Result<(String, String), Failure> {
    let word = |words: &[&str]| -> Result<String, Failure> {
        let answer: Vec<String> = ask(executor, &docker(words))?;
        answer.into_iter().next().ok_or_else(|| Code::EngineUnavailable.because(anyhow!("docker said nothing")))
    };
    let image = word(&["container", "inspect", "--format", "{{json .Image}}", container])?;
    let image = word(&["image", "inspect", "--format", r#"{{json (print .Os "/" .Architecture)}}"#, &image])?;
    let Platform { os, arch } = platform(executor)?;
    Ok((image, format!("{os}/{arch}")))
}

/// Whether a container has the label of where it was started from since its image has it: then it is not Compose's word.
///
/// # Errors
/// [`Code::EngineUnavailable`] if the engine does not tell.
pub fn has_the_labels_of_its_image(executor: &dyn Executor, container: &str) -> Result<bool, Failure> {
    let image: Vec<String> =
        ask(executor, &docker(&["container", "inspect", "--format", "{{json .Image}}", container]))?;
    let image = image.first().map(String::as_str).unwrap_or_default();
    let labels = docker(&["image", "inspect", "--format", "{{json .Config.Labels}}", image]);
    let labels: Vec<Option<BTreeMap<String, String>>> = ask(executor, &labels)?;
    Ok(labels.into_iter().flatten().any(|labels| labels.contains_key("com.docker.compose.project.working_dir")))
}

/// The architecture that the engine runs programs for, as Docker names it: `amd64`.
///
/// # Errors
/// [`Code::EngineUnavailable`] if the engine does not answer; [`Code::NothingToRun`] if it runs no Linux programs.
pub fn architecture(executor: &dyn Executor) -> Result<String, Failure> {
    match platform(executor)? {
        Platform { os, arch } if os == "linux" => Ok(arch),
        Platform { os, .. } => {
            Err(Code::NothingToRun.because(anyhow!("the engine runs programs for {os}, and not for Linux")))
        }
    }
}

/// What an engine runs programs for.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Platform {
    os: String,
    arch: String,
}

fn platform(executor: &dyn Executor) -> Result<Platform, Failure> {
    let command = docker(&["version", "--format", r#"{"Os":{{json .Server.Os}},"Arch":{{json .Server.Arch}}}"#]);
    let answers = api::ask_or(executor, &[api::VERSION.to_string()], &command)?;
    let answer = answers.into_iter().next();
    answer.ok_or_else(|| Code::EngineUnavailable.because(anyhow!("docker did not report an engine")))
}

#[cfg(test)]
mod tests;
