//! Lists containers, as `docker ps` does.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::Deserialize;

use super::{NOT_ONE_OFF, PROJECT_LABEL, Published, api, docker, of_project};
use crate::command::Executor;
use crate::compose::ProjectName;
use crate::exit::Failure;
use crate::reporter::one_line;

/// A container as `docker ps --all` lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Listed")]
pub struct Container {
    /// The engine's name for it, unique for ever.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The engine's word: `created`, `running`, `exited` …
    pub state: String,
    /// The Compose project that it belongs to; empty if to none.
    pub project: String,
    /// The service that it belongs to.
    pub service: String,
    /// Whether it is one of `docker compose run`.
    pub is_one_off: bool,
    /// The compose files that it was made from, separated by commas; empty if it does not say.
    pub config_files: String,
    /// The folder of the compose file that it was made from; empty if it does not say.
    pub working_dir: String,
    /// The version of the Compose that made it; empty if it does not say.
    pub made_by: String,
    /// The image, by the name that it was made from; empty if it does not say.
    pub image: String,
    /// Its published ports, in order.
    pub ports: Vec<Published>,
    /// The volumes that it mounts, by name.
    pub volumes: Vec<String>,
}

impl Container {
    /// Whether it runs, or is about to again.
    pub fn is_up(&self) -> bool {
        is_up(&self.state)
    }
}

/// Whether a container in this state runs, or is about to again.
pub(super) fn is_up(state: &str) -> bool {
    matches!(state, "running" | "restarting" | "paused")
}

/// What the engine answers, and docker with [`FORMAT`].
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    names: Vec<String>,
    state: String,
    labels: BTreeMap<String, String>,
    #[serde(default)]
    image: String,
    #[serde(default)]
    ports: Vec<Port>,
    #[serde(default)]
    ports_in_words: String,
    #[serde(default)]
    mounts: Vec<Mount>,
    #[serde(default)]
    mounts_in_words: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mount {
    #[serde(rename = "Type", default)]
    kind: String,
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Port {
    #[serde(rename = "IP", default)]
    ip: String,
    private_port: u16,
    #[serde(default)]
    public_port: u16,
    #[serde(rename = "Type")]
    protocol: String,
}

const FORMAT: &str = concat!(
    r#"{"Id":{{json .ID}},"Names":[{{json .Names}}],"State":{{json .State}},"Labels":{"#,
    r#""com.docker.compose.project":{{json (.Label "com.docker.compose.project")}},"#,
    r#""com.docker.compose.service":{{json (.Label "com.docker.compose.service")}},"#,
    r#""com.docker.compose.oneoff":{{json (.Label "com.docker.compose.oneoff")}},"#,
    r#""com.docker.compose.project.config_files":{{json (.Label "com.docker.compose.project.config_files")}},"#,
    r#""com.docker.compose.project.working_dir":{{json (.Label "com.docker.compose.project.working_dir")}},"#,
    r#""com.docker.compose.version":{{json (.Label "com.docker.compose.version")}}},"Image":{{json .Image}},"#,
    r#""PortsInWords":{{json .Ports}},"MountsInWords":{{json .Mounts}}}"#
);

impl From<Listed> for Container {
    fn from(listed: Listed) -> Container {
        let Listed { id, names, state, mut labels, image, ports, ports_in_words, mounts, mounts_in_words } = listed;
        let mut label = |name: &str| labels.remove(&format!("com.docker.compose.{name}")).unwrap_or_default();
        // One with a further slash is what a container that is linked to it calls it.
        let mut names = names.iter().flat_map(|names| names.split(',')).map(|name| name.trim_start_matches('/'));
        let name = names.find(|name| !name.contains('/'));
        let mut ports: Vec<Published> =
            ports.into_iter().filter(|port| port.public_port > 0).map(Published::from).collect();
        ports.extend(published(&ports_in_words));
        ports.sort();
        // Docker mixes them with the paths of bind mounts, which no name of a volume looks like.
        let is_name = |word: &&str| !word.is_empty() && !word.contains(['/', '\\']);
        let volumes = mounts.into_iter().filter(|mount| mount.kind == "volume").map(|mount| mount.name);
        let mut volumes: Vec<String> =
            volumes.chain(mounts_in_words.split(',').filter(is_name).map(str::to_string)).collect();
        volumes.sort();
        Container {
            id,
            name: name.unwrap_or_default().to_string(),
            state,
            project: label("project"),
            service: one_line(&label("service")).into_owned(),
            is_one_off: label("oneoff") == "True",
            config_files: label("project.config_files"),
            working_dir: label("project.working_dir"),
            made_by: label("version"),
            image,
            ports,
            volumes,
        }
    }
}

impl From<Port> for Published {
    fn from(Port { ip, private_port, public_port, protocol }: Port) -> Published {
        Published { target: private_port, protocol, host_ip: ip, host_port: public_port }
    }
}

/// What `docker ps` says of a container's ports, as in `0.0.0.0:8080-8081->80-81/tcp, [::]:53->53/udp, 9000/tcp`.
fn published(words: &str) -> impl Iterator<Item = Published> {
    let ranges = words.split(", ").filter_map(|port| {
        let (host, target) = port.split_once("->")?;
        let (ip, host_ports) = host.rsplit_once(':')?;
        let (targets, protocol) = target.rsplit_once('/')?;
        // Engine 20.10 leaves out the brackets.
        let ip: IpAddr = ip.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
        let range = |words: &str| {
            let (first, last) = words.split_once('-').unwrap_or((words, words));
            Some(first.parse::<u16>().ok()?..=last.parse::<u16>().ok()?)
        };
        Some((ip.to_string(), range(host_ports)?, range(targets)?, protocol.to_string()))
    });
    ranges.flat_map(|(host_ip, host_ports, targets, protocol)| {
        host_ports.zip(targets).map(move |(host_port, target)| Published {
            target,
            protocol: protocol.clone(),
            host_ip: host_ip.clone(),
            host_port,
        })
    })
}

fn list(executor: &dyn Executor, all: bool, labels: &[&str]) -> Result<Vec<Container>, Failure> {
    ask_for(executor, api::containers(all, labels), all, labels)
}

fn ask_for(executor: &dyn Executor, question: String, all: bool, filters: &[&str]) -> Result<Vec<Container>, Failure> {
    let all_words: &[&str] = if all { &["--all"] } else { &[] };
    let filters = filters.iter().flat_map(|filter| ["--filter", filter]).collect::<Vec<_>>();
    let words = [&["ps", "--no-trunc"], all_words, &filters, &["--format", FORMAT]].concat();
    let mut containers: Vec<Container> = api::ask_or(executor, &[question], &docker(&words))?;
    containers.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(containers)
}

/// Every container of a project.
///
/// # Errors
/// [`crate::exit::Code::EngineUnavailable`] if docker is missing or the daemon does not answer.
pub fn containers(executor: &dyn Executor, project: &ProjectName) -> Result<Vec<Container>, Failure> {
    list(executor, true, &[&of_project(project)])
}

/// Every container of a project, if the engine can be asked without docker.
pub(crate) fn containers_directly(executor: &dyn Executor, project: &ProjectName) -> Option<Vec<Container>> {
    api::ask_directly(executor, &[api::containers(true, &[&of_project(project)])])
}

/// Every container that mounts one of these volumes, of any project.
///
/// # Errors
/// [`crate::exit::Code::EngineUnavailable`] if the engine does not answer.
pub(super) fn containers_with(executor: &dyn Executor, volumes: &BTreeSet<String>) -> Result<Vec<Container>, Failure> {
    let filters: Vec<String> = volumes.iter().map(|name| format!("volume={name}")).collect();
    let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
    ask_for(executor, api::containers_with(volumes), true, &filters)
}

/// Every container of a project that its file asks for, as opposed to those of `docker compose run`.
///
/// # Errors
/// [`crate::exit::Code::EngineUnavailable`] if the engine does not answer.
pub(super) fn containers_of_file(executor: &dyn Executor, project: &ProjectName) -> Result<Vec<Container>, Failure> {
    list(executor, true, &[&of_project(project), NOT_ONE_OFF])
}

/// Every container of any Compose project.
///
/// # Errors
/// [`crate::exit::Code::EngineUnavailable`] if the engine does not answer.
pub fn compose_containers(executor: &dyn Executor) -> Result<Vec<Container>, Failure> {
    list(executor, true, &[PROJECT_LABEL])
}

/// Every running container, of any project.
///
/// # Errors
/// [`crate::exit::Code::EngineUnavailable`] if the engine does not answer.
pub fn running_containers(executor: &dyn Executor) -> Result<Vec<Container>, Failure> {
    list(executor, false, &[])
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Says, project};
    use super::*;
    use crate::exit::Code;

    #[test]
    fn containers_are_read_a_line_each_and_sorted() {
        let lines = r#"{"Id":"2","Names":["b"],"State":"exited","Labels":{"com.docker.compose.project.working_dir":"/a b\"c"}}
            {"Id":"1","Names":["a,other/alias"],"State":"running","Labels":{"com.docker.compose.service":"s"}}"#;
        let containers = containers(&Says(0, lines, ""), &project()).unwrap();
        let names: Vec<_> = containers.iter().map(|c| (c.name.as_str(), c.service.as_str(), c.is_up())).collect();
        assert_eq!(names, [("a", "s", true), ("b", "", false)]);
        assert_eq!(containers[1].working_dir, "/a b\"c");
    }

    #[test]
    fn an_answer_that_makes_no_sense_is_exit_code_4() {
        let failure = containers(&Says(0, "no json", ""), &project()).unwrap_err();
        assert_eq!(failure.code(), Code::EngineUnavailable);
    }

    #[test]
    fn docker_and_the_engine_tell_the_same_ports() {
        let read = |ports: &str| {
            let answer = format!(r#"{{"Id":"1","Names":["/x-web-1"],"State":"running","Labels":{{}},{ports}}}"#);
            serde_json::from_str::<Container>(&answer).unwrap().ports
        };
        let docker = read(
            r#""PortsInWords":"127.0.0.1:8080-8081->80-81/tcp, :::53->53/udp, 9000/tcp, [::]:443->443/tcp, 0.0.0.0:443->443/tcp""#,
        );
        let engine = read(
            r#""Ports":[{"PrivatePort":9000,"Type":"tcp"},
            {"IP":"0.0.0.0","PrivatePort":443,"PublicPort":443,"Type":"tcp"},
            {"IP":"::","PrivatePort":443,"PublicPort":443,"Type":"tcp"},
            {"IP":"127.0.0.1","PrivatePort":81,"PublicPort":8081,"Type":"tcp"},
            {"IP":"127.0.0.1","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},
            {"IP":"::","PrivatePort":53,"PublicPort":53,"Type":"udp"}]"#,
        );
        assert_eq!(docker, engine);
        let told: Vec<_> = docker.iter().map(|p| (p.target, &*p.protocol, &*p.host_ip, p.host_port)).collect();
        let expected = [
            (53, "udp", "::", 53),
            (80, "tcp", "127.0.0.1", 8080),
            (81, "tcp", "127.0.0.1", 8081),
            (443, "tcp", "0.0.0.0", 443),
            (443, "tcp", "::", 443),
        ];
        assert_eq!(told, expected);
    }
}
