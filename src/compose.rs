//! Which `docker compose` command does what, and what Compose's answers mean. Nothing runs in here.
//!
//! Every command is run from the workspace root with the relative `-f .stagecraft/dev/compose.yaml` and with the project
//! name in the environment, so that the same line does the same thing on every machine.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use xshell::{Shell, cmd};

use crate::process::Invocation;
use crate::workspace::{COMPOSE_FILE, DEV_DIR, Workspace};

/// The service that `--no-traefik` leaves out.
pub const TRAEFIK: &str = "traefik";
/// The variable that names the project.
pub const PROJECT_NAME: &str = "COMPOSE_PROJECT_NAME";

/// The name of a Compose project: lower-case ASCII letters, digits, `-` and `_`, beginning with a letter or a digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProjectName(String);

impl ProjectName {
    /// The name, if Compose would accept it as it is.
    ///
    /// # Errors
    /// If it would not; the error says what a name consists of.
    pub fn new(name: &str) -> Result<ProjectName, String> {
        let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if name.starts_with(['-', '_']) || name.is_empty() || !name.chars().all(valid) {
            return Err(
                "a project name consists of lower-case letters, digits, `-` and `_`, and begins with a letter or a digit"
                    .to_string(),
            );
        }
        Ok(ProjectName(name.to_string()))
    }

    /// A folder's name made into a project name by Compose's rule (`NormalizeProjectName` in compose-go): lower case,
    /// anything else dropped, no `-` or `_` in front. None if nothing remains.
    pub fn normalized(folder: &OsStr) -> Option<ProjectName> {
        let lower = folder.to_string_lossy().to_lowercase();
        let kept: String = lower.chars().filter(|c| ProjectName::new(&format!("a{c}")).is_ok()).collect();
        ProjectName::new(kept.trim_start_matches(['-', '_'])).ok()
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Whether `up` stays attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// `up` streams logs until the stack ends.
    Foreground,
    /// `up -d` returns when the containers are started.
    Detached,
}

/// Whether the service `traefik` is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traefik {
    /// As the compose file says.
    On,
    /// Scaled to zero.
    Off,
}

/// How wide a `down` reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// What the compose file describes.
    File,
    /// Also services behind a profile, and containers of services that the file no longer has.
    Everything,
    /// Whatever carries the project's name on the engine; the compose file is not read, so it may be broken or gone.
    ByName,
}

/// Whether a `down` takes the volumes too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Volumes {
    /// Data outlives the stack.
    #[default]
    Keep,
    /// Named volumes of the file and anonymous ones are removed.
    Remove,
}

/// The project name asked for, before Compose has been asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameChoice<'a> {
    /// From the command line or the environment: nothing overrides it.
    Given(&'a ProjectName),
    /// What the compose file or its `.env` says, else this.
    Default(&'a ProjectName),
}

/// The question how Compose understands the file: `config --format json`, answered without a daemon.
///
/// Compose names a project after the file's folder, which is `dev` in every workspace. So that the workspace's own name
/// is the default instead, a first file that holds nothing but this name comes in on standard input: what the real
/// file or its `.env` says overrides it, by Compose's own rules.
///
/// # Errors
/// If our own working directory is gone.
pub fn config(workspace: &Workspace, name: NameChoice<'_>) -> anyhow::Result<Invocation> {
    let sh = shell_in(workspace.root())?;
    Ok(match name {
        NameChoice::Given(name) => Invocation::from(
            cmd!(sh, "docker compose -f {COMPOSE_FILE} config --format json").env(PROJECT_NAME, name.as_str()),
        ),
        NameChoice::Default(name) => Invocation::from(cmd!(
            sh,
            "docker compose --project-directory {DEV_DIR} -f - -f {COMPOSE_FILE} config --format json"
        ))
        .stdin(format!("name: \"{name}\"")),
    })
}

/// The question which Compose is installed; its answer begins with the version.
///
/// # Errors
/// If our own working directory is gone.
pub fn version(workspace: &Workspace) -> anyhow::Result<Invocation> {
    let sh = shell_in(workspace.root())?;
    Ok(Invocation::from(cmd!(sh, "docker compose version --short")))
}

fn shell_in(root: &Path) -> anyhow::Result<Shell> {
    let sh = Shell::new().context("the current directory cannot be found")?;
    sh.change_dir(root);
    Ok(sh)
}

/// Builds the commands for one project of one workspace.
pub struct Compose {
    sh: Shell,
    project: ProjectName,
}

impl Compose {
    /// Commands for `project`, to be run from the root of `workspace`.
    ///
    /// # Errors
    /// If our own working directory is gone.
    pub fn new(workspace: &Workspace, project: ProjectName) -> anyhow::Result<Compose> {
        Ok(Compose { sh: shell_in(workspace.root())?, project })
    }

    /// The project that these commands are about.
    pub fn project(&self) -> &ProjectName {
        &self.project
    }

    /// The folder that the commands run in.
    pub fn root(&self) -> PathBuf {
        self.sh.current_dir()
    }

    /// Starts the stack; `args` are the user's own, appended as they are.
    pub fn up(&self, attach: Attach, traefik: Traefik, args: &[OsString]) -> Invocation {
        let detach = (attach == Attach::Detached).then_some("-d");
        let scale: &[&str] = match traefik {
            Traefik::On => &[],
            Traefik::Off => &["--scale", "traefik=0"],
        };
        let sh = &self.sh;
        let up = cmd!(sh, "docker compose -f {COMPOSE_FILE} up {detach...} {scale...} {args...}");
        // The menu puts the terminal into raw mode, and then Ctrl+C is no signal any more.
        self.finish(up.env("COMPOSE_MENU", "0"))
    }

    /// Stops and removes the stack. `timeout` is the grace in seconds; without it each service's own counts.
    pub fn down(&self, reach: Reach, timeout: Option<u32>, volumes: Volumes) -> Invocation {
        let timeout = timeout_args(timeout);
        let volumes = (volumes == Volumes::Remove).then_some("--volumes");
        let (sh, project) = (&self.sh, self.project.as_str());
        match reach {
            Reach::File => self.finish(cmd!(sh, "docker compose -f {COMPOSE_FILE} down {timeout...} {volumes...}")),
            Reach::Everything => self.finish(cmd!(
                sh,
                "docker compose -f {COMPOSE_FILE} --profile * down --remove-orphans {timeout...} {volumes...}"
            )),
            Reach::ByName => {
                // From a folder that is always there: the workspace may be gone, and no file is read.
                let sh = sh.clone();
                sh.change_dir("/");
                let down = cmd!(sh, "docker compose -p {project} down --remove-orphans {timeout...} {volumes...}");
                Invocation::from(down)
            }
        }
    }

    /// Stops the containers and leaves them there to be looked at.
    pub fn stop(&self, timeout: Option<u32>) -> Invocation {
        let timeout = timeout_args(timeout);
        let sh = &self.sh;
        self.finish(cmd!(sh, "docker compose -f {COMPOSE_FILE} stop {timeout...}"))
    }

    /// The question what the containers of the stack are doing; [`ContainerStatus::parse`] reads the answer.
    pub fn ps(&self) -> Invocation {
        let sh = &self.sh;
        self.finish(cmd!(sh, "docker compose -f {COMPOSE_FILE} ps --all --format json"))
    }

    /// Follows the logs of the whole stack.
    pub fn follow_logs(&self) -> Invocation {
        let sh = &self.sh;
        self.finish(cmd!(sh, "docker compose -f {COMPOSE_FILE} logs -f"))
    }

    /// Follows the logs of the whole stack, beginning with the last lines of each service.
    pub fn follow_logs_from(&self, lines: u32) -> Invocation {
        let lines = lines.to_string();
        let sh = &self.sh;
        self.finish(cmd!(sh, "docker compose -f {COMPOSE_FILE} logs -f --tail {lines}"))
    }

    /// The last words of some services.
    pub fn last_logs(&self, lines: u32, services: &[&str]) -> Invocation {
        let lines = lines.to_string();
        let sh = &self.sh;
        self.finish(cmd!(sh, "docker compose -f {COMPOSE_FILE} logs --no-color --tail {lines} {services...}"))
    }

    fn finish(&self, cmd: xshell::Cmd<'_>) -> Invocation {
        Invocation::from(cmd.env(PROJECT_NAME, self.project.as_str()))
    }
}

fn timeout_args(seconds: Option<u32>) -> Vec<String> {
    let args = seconds.map(|seconds| vec!["--timeout".to_string(), seconds.to_string()]);
    args.unwrap_or_default()
}

/// The stack as Compose understands it: interpolated, merged, without services behind an inactive profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// The project's name.
    pub project: ProjectName,
    /// The active services by name.
    pub services: BTreeMap<String, Service>,
}

/// What matters to us of one service.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Service {
    scale: Option<u32>,
    deploy: Option<Deploy>,
    #[serde(default)]
    ports: Vec<Port>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Deploy {
    replicas: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Port {
    target: u16,
    app_protocol: Option<String>,
}

impl Service {
    /// How many containers the file asks for.
    pub fn replicas(&self) -> u32 {
        let deployed = self.deploy.as_ref().and_then(|deploy| deploy.replicas);
        self.scale.or(deployed).unwrap_or(1)
    }

    /// The protocol that the file states for a container port (`app_protocol`).
    fn app_protocol(&self, target: u16) -> Option<&str> {
        let port = self.ports.iter().find(|port| port.target == target)?;
        port.app_protocol.as_deref()
    }
}

impl Stack {
    /// Reads what [`config`] answered. The text holds interpolated secrets: it is never shown, also not in an error.
    ///
    /// # Errors
    /// If this is not the JSON of a Compose model.
    pub fn parse(json: &[u8]) -> anyhow::Result<Stack> {
        #[derive(Deserialize)]
        struct Model {
            name: String,
            #[serde(default)]
            services: BTreeMap<String, Service>,
        }
        let model: Model = serde_json::from_slice(json)
            .map_err(|error| anyhow::anyhow!("line {}, column {}", error.line(), error.column()))
            .context("cannot read what `docker compose config` printed")?;
        Ok(Stack {
            project: ProjectName::new(&model.name).map_err(|rule| anyhow::anyhow!("`{}`: {rule}", model.name))?,
            services: model.services,
        })
    }

    /// Whether the stack has an active service of this name.
    pub fn has(&self, service: &str) -> bool {
        self.services.contains_key(service)
    }

    /// Where a published port can be reached, as a URL if the protocol is known, else as `host:port`.
    ///
    /// The protocol is the file's `app_protocol`, else what a well-known container port stands for.
    pub fn address(&self, service: &str, publisher: &Publisher) -> Option<String> {
        if publisher.published_port == 0 {
            return None;
        }
        let host = match publisher.url.as_str() {
            "" | "0.0.0.0" | "::" => "localhost".to_string(),
            v6 if v6.contains(':') => format!("[{v6}]"),
            host => host.to_string(),
        };
        let address = format!("{host}:{}", publisher.published_port);
        if publisher.protocol == "udp" {
            return Some(format!("{address}/udp"));
        }
        let stated = self.services.get(service).and_then(|s| s.app_protocol(publisher.target_port));
        let scheme = match (stated, publisher.target_port) {
            (Some("http" | "http2"), _) => "http",
            (Some("https"), _) => "https",
            (None, 80 | 3000 | 8000 | 8080) => "http",
            (None, 443 | 8443) => "https",
            _ => return Some(address),
        };
        Some(format!("{scheme}://{address}"))
    }
}

/// One container as `docker compose ps --format json` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerStatus {
    /// The container's id, shortened.
    #[serde(rename = "ID")]
    pub id: String,
    /// The container's name.
    pub name: String,
    /// The service that it belongs to.
    pub service: String,
    /// The engine's word: `created`, `running`, `restarting`, `exited`, `dead` …
    pub state: String,
    /// How its last process ended; 0 while it runs.
    #[serde(default)]
    pub exit_code: i64,
    /// `healthy`, `unhealthy`, `starting`, or empty without a healthcheck.
    #[serde(default)]
    pub health: String,
    /// Its ports, also those that are not published.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub publishers: Vec<Publisher>,
}

/// One port of a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Publisher {
    /// The host's address that it is bound to.
    #[serde(rename = "URL", default)]
    pub url: String,
    /// The port inside.
    pub target_port: u16,
    /// The port on the host, 0 if it is not published.
    #[serde(default)]
    pub published_port: u16,
    /// `tcp` or `udp`.
    #[serde(default)]
    pub protocol: String,
}

fn null_as_empty<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Publisher>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl ContainerStatus {
    /// Reads the answer to [`Compose::ps`]: one object a line, or one array with Compose before 2.21. Sorted by name.
    ///
    /// # Errors
    /// If it is neither.
    pub fn parse(json: &[u8]) -> anyhow::Result<Vec<ContainerStatus>> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum OneOrMany {
            Many(Vec<ContainerStatus>),
            One(ContainerStatus),
        }
        let mut all = Vec::new();
        for value in serde_json::Deserializer::from_slice(json).into_iter() {
            match value.context("cannot read what `docker compose ps` printed")? {
                OneOrMany::One(container) => all.push(container),
                OneOrMany::Many(containers) => all.extend(containers),
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// Whether its process has ended and did not succeed, or ends again and again.
    pub fn has_failed(&self) -> bool {
        match self.state.as_str() {
            "exited" => self.exit_code != 0,
            "dead" | "restarting" => true,
            _ => false,
        }
    }

    /// State and, where they say more, exit code or health.
    pub fn summary(&self) -> String {
        match self.state.as_str() {
            "exited" | "dead" | "restarting" => format!("{} ({})", self.state, self.exit_code),
            "running" if !self.health.is_empty() => format!("running ({})", self.health),
            state => state.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compose() -> Compose {
        let project = ProjectName::new("hello").unwrap();
        Compose::new(&Workspace::at("/"), project).unwrap()
    }

    #[test]
    fn up_is_built_from_every_combination_of_choices() {
        for (attach, detach) in [(Attach::Foreground, ""), (Attach::Detached, " -d")] {
            for (traefik, scale) in [(Traefik::On, ""), (Traefik::Off, " --scale traefik=0")] {
                for (args, shown) in [(vec![], ""), (vec!["--build".into(), "a b".into()], " --build 'a b'")] {
                    let up = compose().up(attach, traefik, &args);
                    let expected = format!(
                        "COMPOSE_MENU=0 COMPOSE_PROJECT_NAME=hello docker compose -f .stagecraft/dev/compose.yaml up{detach}{scale}{shown}"
                    );
                    assert_eq!(up.to_string(), expected);
                    assert_eq!(up.cwd(), Some(Path::new("/")));
                }
            }
        }
    }

    #[test]
    fn down_is_built_from_every_combination_of_choices() {
        let file = "COMPOSE_PROJECT_NAME=hello docker compose -f .stagecraft/dev/compose.yaml";
        for (reach, words) in [
            (Reach::File, format!("{file} down")),
            (Reach::Everything, format!("{file} --profile '*' down --remove-orphans")),
            (Reach::ByName, "docker compose -p hello down --remove-orphans".to_string()),
        ] {
            for (timeout, seconds) in [(None, ""), (Some(0), " --timeout 0"), (Some(10), " --timeout 10")] {
                for (volumes, flag) in [(Volumes::Keep, ""), (Volumes::Remove, " --volumes")] {
                    let down = compose().down(reach, timeout, volumes);
                    assert_eq!(down.to_string(), format!("{words}{seconds}{flag}"));
                }
            }
        }
        assert_eq!(compose().stop(Some(3)).to_string(), format!("{file} stop --timeout 3"));
    }

    #[test]
    fn the_default_name_comes_in_as_a_file_that_the_real_one_overrides() {
        let name = ProjectName::new("123").unwrap();
        let workspace = Workspace::at("/");
        let ask = |choice| config(&workspace, choice).unwrap().to_string();
        assert_eq!(
            ask(NameChoice::Default(&name)),
            "printf %s 'name: \"123\"' | docker compose --project-directory .stagecraft/dev -f - \
             -f .stagecraft/dev/compose.yaml config --format json"
        );
        assert_eq!(
            ask(NameChoice::Given(&name)),
            "COMPOSE_PROJECT_NAME=123 docker compose -f .stagecraft/dev/compose.yaml config --format json"
        );
    }

    #[test]
    fn a_project_name_is_what_compose_accepts() {
        for good in ["a", "0", "hello-stack", "a_b", "1-"] {
            assert_eq!(ProjectName::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "-a", "_a", "Hello", "a b", "a.b", "\u{e9}"] {
            assert!(ProjectName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_folder_becomes_a_project_name_by_composes_rule() {
        for (folder, name) in [
            ("hello", Some("hello")),
            ("Hello World", Some("helloworld")),
            ("my.app_2-x", Some("myapp_2-x")),
            ("--_a", Some("a")),
            ("gr\u{f6}\u{df}e", Some("gre")),
            ("\u{65e5}\u{672c}", None),
            ("-_-", None),
            ("", None),
        ] {
            let normalized = ProjectName::normalized(OsStr::new(folder));
            assert_eq!(normalized.as_ref().map(ProjectName::as_str), name, "{folder}");
        }
    }

    #[test]
    fn a_stack_knows_its_active_services_and_how_many_containers_each_wants() {
        let json = br#"{"name": "x", "services": {
            "web": {"image": "i", "ports": [{"target": 9000, "published": "80", "protocol": "tcp", "app_protocol": "http"}]},
            "three": {"scale": 3}, "two": {"deploy": {"replicas": 2}}, "none": {"scale": 0}}}"#;
        let stack = Stack::parse(json).unwrap();
        assert_eq!(stack.project.as_str(), "x");
        let replicas: Vec<_> = stack.services.iter().map(|(name, s)| (name.as_str(), s.replicas())).collect();
        assert_eq!(replicas, [("none", 0), ("three", 3), ("two", 2), ("web", 1)]);
        assert!(stack.has("web") && !stack.has("traefik"));
    }

    #[test]
    fn a_model_that_cannot_be_read_is_not_quoted_in_the_error() {
        let error = format!("{:#}", Stack::parse(br#"{"name": 5, "secret": "hunter2"}"#).unwrap_err());
        assert_eq!(error, "cannot read what `docker compose config` printed: line 1, column 10");
    }

    #[test]
    fn an_address_is_a_url_where_the_protocol_is_known() {
        let json = br#"{"name": "x", "services": {
            "web": {"ports": [{"target": 9000, "app_protocol": "https"}, {"target": 80, "app_protocol": "grpc"}]}}}"#;
        let stack = Stack::parse(json).unwrap();
        for (service, url, target, published, protocol, address) in [
            ("db", "127.0.0.1", 5432, 5432, "tcp", Some("127.0.0.1:5432")),
            ("db", "0.0.0.0", 8080, 1234, "tcp", Some("http://localhost:1234")),
            ("db", "::", 443, 1234, "tcp", Some("https://localhost:1234")),
            ("db", "::1", 80, 1234, "tcp", Some("http://[::1]:1234")),
            ("db", "0.0.0.0", 53, 53, "udp", Some("localhost:53/udp")),
            ("db", "", 80, 0, "tcp", None),
            ("web", "10.0.0.1", 9000, 1, "tcp", Some("https://10.0.0.1:1")),
            ("web", "10.0.0.1", 80, 1, "tcp", Some("10.0.0.1:1")),
        ] {
            let publisher = Publisher {
                url: url.to_string(),
                target_port: target,
                published_port: published,
                protocol: protocol.to_string(),
            };
            assert_eq!(stack.address(service, &publisher).as_deref(), address);
        }
    }

    #[test]
    fn containers_are_read_from_lines_and_from_an_array() {
        let one =
            r#"{"ID":"b1","Name":"x-b-1","Service":"b","State":"exited","ExitCode":3,"Health":"","Publishers":null}"#;
        let two = r#"{"ID":"a1","Name":"x-a-1","Service":"a","State":"running","ExitCode":0,"Health":"healthy",
            "Publishers":[{"URL":"0.0.0.0","TargetPort":80,"PublishedPort":8080,"Protocol":"tcp"}]}"#;
        let lines = ContainerStatus::parse(format!("{one}\n{two}\n").as_bytes()).unwrap();
        let array = ContainerStatus::parse(format!("[{one},{two}]").as_bytes()).unwrap();
        assert_eq!(lines, array);
        let summaries: Vec<_> = lines.iter().map(|c| (c.service.as_str(), c.summary(), c.has_failed())).collect();
        assert_eq!(summaries, [("a", "running (healthy)".into(), false), ("b", "exited (3)".into(), true)]);
        assert_eq!(ContainerStatus::parse(b"").unwrap(), []);
        assert!(ContainerStatus::parse(b"{").is_err());
    }
}
