//! Anonymous volumes, which are removed with their containers, and named volumes and images, which are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use serde::Deserialize;

use super::list::{Container, containers, containers_directly, containers_with};
use super::{Leftovers, api, ask, docker, lacks_image, of_project};
use crate::command::Executor;
use crate::compose::{Images, ProjectName, Stack, VolumeConfig, Volumes};
use crate::exit::Failure;

/// The only label that an anonymous volume may have. Engine 23 and newer set it, older ones set none.
const ANONYMOUS: &str = "com.docker.volume.anonymous";
/// The time before the second question to an engine that has not answered the first.
const AFTER_A_RESTART: Duration = Duration::from_millis(500);
/// What Compose labels a container with that has taken the place of another.
const REPLACES: &str = "com.docker.compose.replace";

/// Whether the engine could have made up this name.
pub(super) fn looks_anonymous(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A volume as the engine or docker lists it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Volume {
    name: String,
    labels: Option<Labels>,
    driver: Option<String>,
    options: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Labels {
    Engines(BTreeMap<String, String>),
    /// Docker's, as in `a=b,c=d`.
    InWords(String),
}

/// The engine answers with all of them in one object, docker with one a line.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    One(Volume),
    #[serde(rename_all = "PascalCase")]
    All {
        volumes: Option<Vec<Volume>>,
    },
}

impl Answer {
    fn volumes(self) -> Vec<Volume> {
        match self {
            Answer::All { volumes } => volumes.unwrap_or_default(),
            Answer::One(volume) => vec![volume],
        }
    }
}

impl Volume {
    fn is_anonymous(&self) -> bool {
        let only_the_engines = match &self.labels {
            None => true,
            Some(Labels::Engines(labels)) => labels.keys().all(|label| label == ANONYMOUS),
            Some(Labels::InWords(words)) => words.is_empty() || *words == format!("{ANONYMOUS}="),
        };
        looks_anonymous(&self.name) && only_the_engines
    }
}

/// The volumes with this label, by name.
pub(super) fn volumes_of(executor: &dyn Executor, label: &str) -> Result<Vec<String>, Failure> {
    let command = docker(&["volume", "ls", "--filter", label, "--format", r#"{"Name":{{json .Name}}}"#]);
    let answers: Vec<Answer> = api::ask_or(executor, &[api::volumes_of(label)], &command)?;
    let mut names: Vec<String> = answers.into_iter().flat_map(Answer::volumes).map(|volume| volume.name).collect();
    names.sort();
    Ok(names)
}

const FORMAT: &str = r#"{"Name":{{json .Name}},"Labels":{{json .Labels}}}"#;

/// Those of these volumes that are there and anonymous, or of those that no container uses.
fn anonymous_among(
    executor: &dyn Executor,
    names: &BTreeSet<String>,
    unused: bool,
) -> Result<BTreeSet<String>, Failure> {
    let unused_words: &[&str] = if unused { &["--filter", "dangling=true"] } else { &[] };
    let filters: Vec<String> = names.iter().map(|name| format!("name={name}")).collect();
    let filters = filters.iter().flat_map(|filter| ["--filter", filter]).collect::<Vec<_>>();
    let command = docker(&[&["volume", "ls"], unused_words, &filters, &["--format", FORMAT]].concat());
    let answers: Vec<Answer> = api::ask_or(executor, &[api::volumes(names, unused)], &command)?;
    let volumes = answers.into_iter().flat_map(Answer::volumes).filter(Volume::is_anonymous);
    Ok(volumes.map(|volume| volume.name).filter(|name| names.contains(name)).collect())
}

/// The parts of a container that show which volumes it got by name.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mounting {
    id: String,
    config: Config,
    host_config: HostConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    binds: Option<Vec<String>>,
    mounts: Option<Vec<Mount>>,
    volumes_from: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mount {
    #[serde(default)]
    source: String,
    volume_options: Option<serde_json::Value>,
}

impl Mounting {
    /// Whether the volume was requested by its name.
    fn was_given(&self, volume: &str) -> bool {
        let replaces = self.config.labels.iter().any(|labels| labels.contains_key(REPLACES));
        let bind = |bind: &String| bind.split(':').next() == Some(volume);
        // Compose hands those of the container that it replaces on without options.
        let mount = |mount: &Mount| mount.source == volume && !(replaces && mount.volume_options.is_none());
        self.host_config.binds.iter().flatten().any(bind) || self.host_config.mounts.iter().flatten().any(mount)
    }

    /// Whether it has volumes of containers other than these.
    fn has_volumes_of_others(&self, ids: &BTreeSet<&str>) -> bool {
        let mut from = self.host_config.volumes_from.iter().flatten();
        from.any(|from| !ids.contains(from.split(':').next().unwrap_or_default()))
    }
}

/// The anonymous volumes of these containers of a stack, as far as the list of containers and the file tell: those that look so and
/// that the file does not name. For when a container is gone before the engine has said more about it, or the engine is too busy.
pub(crate) fn probably_anonymous(containers: &[Container], stack: &Stack) -> BTreeSet<String> {
    let of_the_file = containers.iter().filter(|it| !it.is_one_off && stack.has(&it.service));
    let names = of_the_file.flat_map(|container| &container.volumes).filter(|name| looks_anonymous(name));
    let is_named = |name: &String| stack.volumes.contains_key(name) || stack.external_volumes.contains(name);
    names.filter(|name| !is_named(name)).cloned().collect()
}

/// The anonymous volumes of these containers. None where the engine does not tell which of them are.
pub fn anonymous_volumes(executor: &dyn Executor, containers: &[Container]) -> BTreeSet<String> {
    sort_out_volumes(executor, containers).anonymous
}

/// Volumes whose names look made up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SortedOut {
    /// Those that were not requested by name.
    pub anonymous: BTreeSet<String>,
    /// Those that another container uses.
    pub others: BTreeSet<String>,
}

/// Which of the volumes of these containers are anonymous, and which only look so. Those of which the engine does not tell are
/// neither.
pub(crate) fn sort_out_volumes(executor: &dyn Executor, containers: &[Container]) -> SortedOut {
    let candidates = || containers.iter().filter(|container| container.volumes.iter().any(|it| looks_anonymous(it)));
    let ids: Vec<&str> = candidates().map(|container| container.id.as_str()).collect();
    if ids.is_empty() {
        return SortedOut::default();
    }
    let inspected = |ids: &[&str]| {
        let command = docker(&[&["container", "inspect", "--format", "{{json .}}"], ids].concat());
        let questions: Vec<String> = ids.iter().map(|id| api::container(id)).collect();
        api::ask_or::<Mounting>(executor, &questions, &command)
    };
    // One that has vanished meanwhile makes the question for all of them fail.
    let one_by_one = |_| ids.iter().flat_map(|&id| inspected(&[id]).unwrap_or_default()).collect();
    let mounting = inspected(&ids).unwrap_or_else(one_by_one);
    let all: BTreeSet<&str> = containers.iter().map(|container| container.id.as_str()).collect();
    let of = |container: &Container| mounting.iter().find(|it| it.id == container.id);
    let given = |name: &str| mounting.iter().any(|it| it.was_given(name));
    let own = |container: &Container| of(container).is_some_and(|it| !it.has_volumes_of_others(&all));
    let told = candidates().filter(|container| of(container).is_some());
    let volumes = told.flat_map(|container| container.volumes.iter().map(move |name| (name, own(container))));
    let (anonymous, others): (Vec<_>, Vec<_>) =
        volumes.filter(|(name, _)| looks_anonymous(name)).partition(|(name, own)| *own && !given(name));
    let names = |volumes: Vec<(&String, bool)>| volumes.into_iter().map(|(name, _)| name.clone()).collect();
    SortedOut { anonymous: names(anonymous), others: names(others) }
}

/// The containers that a project has right now, if the engine can be asked without docker; else the `known` ones, if any
/// question has told of them before.
pub(crate) fn containers_for_teardown(
    executor: &dyn Executor,
    project: &ProjectName,
    known: Option<Vec<Container>>,
) -> Vec<Container> {
    let by_docker = || containers(executor, project).ok();
    // An engine that has just been restarted may have cut off these questions, and answers the next one. This blocks the asking thread
    // alone: an interrupt does not wait for it. Without an answer the teardown goes on, and looks again when it is done.
    let again = || {
        thread::sleep(AFTER_A_RESTART);
        containers_directly(executor, project).or_else(by_docker)
    };
    containers_directly(executor, project).or(known).or_else(by_docker).or_else(again).unwrap_or_default()
}

/// Removes those of these anonymous volumes of a project that are still there, once it has no container any more. What stays is
/// left, unless another container uses it.
///
/// # Errors
/// [`crate::exit::Code::EngineUnavailable`] if the engine does not answer.
pub fn remove_anonymous(
    executor: &dyn Executor,
    mut remains: Leftovers,
    names: &BTreeSet<String>,
) -> Result<Leftovers, Failure> {
    if !names.is_empty() && !remains.containers.is_empty() {
        remains.volumes.extend(anonymous_among(executor, names, false)?);
    } else if !names.is_empty() {
        let (left, in_use) = remove_unused(executor, names)?;
        remains.volumes.extend(left);
        remains.in_use.extend(in_use);
    }
    Ok(remains)
}

/// Removes those of these anonymous volumes that no container uses. Returns those that could not be removed, and those that are
/// used.
///
/// # Errors
/// [`crate::exit::Code::EngineUnavailable`] if the engine does not answer.
pub(crate) fn remove_unused(
    executor: &dyn Executor,
    names: &BTreeSet<String>,
) -> Result<(BTreeSet<String>, BTreeSet<String>), Failure> {
    let there = if names.is_empty() { BTreeSet::new() } else { anonymous_among(executor, names, false)? };
    let in_use = used(executor, &there)?;
    let free: BTreeSet<String> = there.difference(&in_use).cloned().collect();
    let words: Vec<&str> = ["volume", "rm"].into_iter().chain(free.iter().map(String::as_str)).collect();
    let is_removed = || executor.output(&docker(&words)).is_ok_and(|output| output.status.success());
    let left = if free.is_empty() || is_removed() { BTreeSet::new() } else { anonymous_among(executor, &free, true)? };
    Ok((left, in_use))
}

/// Those of these volumes that some container mounts. The engine's own count misses a container with the volumes of another one
/// (`--volumes-from`), and then the engine removes what that one uses.
fn used(executor: &dyn Executor, names: &BTreeSet<String>) -> Result<BTreeSet<String>, Failure> {
    if names.is_empty() {
        return Ok(BTreeSet::new());
    }
    let mounted = containers_with(executor, names)?.into_iter().flat_map(|container| container.volumes);
    Ok(mounted.filter(|name| names.contains(name)).collect())
}

/// The anonymous volumes that no container on the engine uses.
///
/// # Errors
/// [`crate::exit::Code::EngineUnavailable`] if the engine does not answer.
pub fn unused_anonymous_volumes(executor: &dyn Executor) -> Result<Vec<String>, Failure> {
    let volumes: Vec<Volume> =
        ask(executor, &docker(&["volume", "ls", "--filter", "dangling=true", "--format", FORMAT]))?;
    let anonymous = volumes.into_iter().filter(Volume::is_anonymous).map(|volume| volume.name);
    let anonymous: BTreeSet<String> = anonymous.collect();
    let used = used(executor, &anonymous)?;
    Ok(anonymous.into_iter().filter(|name| !used.contains(name)).collect())
}

/// How the named volumes of a project are configured, by name.
///
/// # Errors
/// [`crate::exit::Code::EngineUnavailable`] if the engine does not answer.
pub fn volume_configs(
    executor: &dyn Executor,
    project: &ProjectName,
) -> Result<BTreeMap<String, VolumeConfig>, Failure> {
    let label = of_project(project);
    let questions = [api::volumes_of(&label)];
    let volumes: Vec<Answer> = match api::ask_directly(executor, &questions) {
        Some(volumes) => volumes,
        None => {
            let names = ask::<Volume>(executor, &docker(&["volume", "ls", "--filter", &label, "--format", FORMAT]))?;
            let names: Vec<&str> = names.iter().map(|volume| volume.name.as_str()).collect();
            if names.is_empty() {
                return Ok(BTreeMap::new());
            }
            let inspect = ["volume", "inspect", "--format", "{{json .}}"];
            ask(executor, &docker(&[&inspect[..], &names].concat()))?
        }
    };
    let config = |volume: &Volume| {
        let labels = match &volume.labels {
            Some(Labels::Engines(labels)) => Some(labels),
            _ => None,
        };
        VolumeConfig::new(volume.driver.as_deref(), volume.options.as_ref(), labels)
    };
    Ok(volumes.into_iter().flat_map(Answer::volumes).map(|volume| (volume.name.clone(), config(&volume))).collect())
}

/// The commands that remove these things, by kind, as one line for a POSIX shell.
pub(crate) fn removal(things: &[(&str, &Vec<String>)]) -> String {
    let things = things.iter().filter(|(_, names)| !names.is_empty());
    let command = |(kind, names): &(&str, &Vec<String>)| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        docker(&[&[kind, "rm"], &names[..]].concat()).to_string()
    };
    things.map(command).collect::<Vec<_>>().join(" && ")
}

/// What of a project stays on purpose when its containers are gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Its named volumes.
    pub volumes: Vec<String>,
    /// The images that were built for it.
    pub images: Vec<String>,
}

/// What stays when these containers of a project are gone, as far as it costs no start of docker to know; where one of them had
/// a named volume it may cost one.
pub(crate) fn kept(
    executor: &dyn Executor,
    project: &ProjectName,
    containers: &[Container],
    volumes: Volumes,
    images: Images,
) -> Kept {
    let label = of_project(project);
    let has_named = containers.iter().flat_map(|container| &container.volumes).any(|name| !looks_anonymous(name));
    let command = docker(&["volume", "ls", "--filter", &label, "--format", r#"{"Name":{{json .Name}}}"#]);
    let answers: Option<Vec<Answer>> = match volumes {
        Volumes::Remove => None,
        Volumes::Keep if has_named => api::ask_or(executor, &[api::volumes_of(&label)], &command).ok(),
        Volumes::Keep => api::ask_directly(executor, &[api::volumes_of(&label)]),
    };
    let volumes = answers.into_iter().flatten().flat_map(Answer::volumes).map(|volume| volume.name);
    let volumes: BTreeSet<String> = volumes.collect();
    // Where the file does not name the image, Compose does, and `--rmi local` removes it.
    let is_built = |container: &&Container| {
        let rest = container.image.strip_prefix(project.as_str()).and_then(|rest| rest.strip_prefix(['-', '_']));
        rest.is_some_and(|rest| rest == container.service)
    };
    let built = containers.iter().filter(is_built).filter(|_| images == Images::Keep);
    let mut images_kept: BTreeSet<String> = built.map(|container| container.image.clone()).collect();
    // An image whose name was given to a newer one is known by its id alone.
    let has_newer = |container: &&Container| container.image.starts_with("sha256:") && images == Images::Keep;
    let names = containers.iter().filter(has_newer).map(|container| format!("{project}-{}", container.service));
    images_kept.extend(names.filter(|name| !lacks_image(executor, name)));
    Kept { volumes: volumes.into_iter().collect(), images: images_kept.into_iter().collect() }
}
