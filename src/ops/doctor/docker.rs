//! Checks the docker CLI, its Compose plugin and the engine, and says which of them has to be fixed.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde::Deserialize;

use super::super::version::{INSTALL_COMPOSE, compose_version, version_number};
use super::check::Check;
use crate::command::{Executor, Invocation};
use crate::engine::{Address, Endpoint, Info, Server, Versions};

/// The oldest that the tests run with.
const OLDEST_COMPOSE: (u32, u32) = (2, 26);
const OLDEST_ENGINE: (u32, u32) = (20, 10);

/// The docker CLI, and its configuration where that cannot be read.
pub(super) fn cli(versions: &io::Result<Versions>, broken_config: Option<&(PathBuf, String)>) -> Vec<Check> {
    const NAME: &str = "docker";
    let cli = match versions {
        Ok(Versions { client: Some(version), .. }) => Check::ok(NAME, version),
        // The address of the engine is invalid; the check of the engine reports it.
        Ok(_) => Check::ok(NAME, "installed"),
        Err(error) => {
            let fix =
                "install the Docker CLI with Compose v2, or put it on PATH: https://docs.docker.com/engine/install/";
            Check::error(NAME, &format!("cannot run `docker`: {error}"), fix)
        }
    };
    let config = broken_config.filter(|_| versions.is_ok()).map(|(path, error)| {
        let found = format!("{} is invalid; docker ignores it: {error}", path.display());
        Check::warning(NAME, &found, "fix it, or move it away")
    });
    [cli].into_iter().chain(config).collect()
}

/// The Compose plugin, by what `docker compose version --short` has answered.
pub(super) fn compose(executor: &dyn Executor, answer: &anyhow::Result<Output>, info: Option<&Info>) -> Check {
    const NAME: &str = "compose";
    let Some((version, number)) = answer.as_ref().ok().and_then(compose_version) else {
        return without_plugin(executor);
    };
    let plugin = info.and_then(Info::compose);
    let found = match plugin {
        Some(plugin) => format!("{version} at {}", plugin.path.display()),
        None => version,
    };
    if number.0 < 2 {
        return Check::error(NAME, &format!("{found} is too old"), INSTALL_COMPOSE);
    }
    if number < OLDEST_COMPOSE {
        let (major, minor) = OLDEST_COMPOSE;
        let found = format!("{found} is older than {major}.{minor}, the oldest that is tested");
        return Check::warning(NAME, &found, "upgrade it: https://docs.docker.com/compose/install/");
    }
    let shadowed = plugin.iter().flat_map(|plugin| plugin.shadowed_paths.iter().flatten());
    let mut newer = shadowed.filter_map(|path| Some((path, version_at(executor, path)?)));
    match (newer.find(|(_, (_, other))| *other > number), plugin) {
        (Some((path, (version, _))), Some(plugin)) => {
            let found = format!("{found} hides a newer one, {version} at {}", path.display());
            Check::warning(NAME, &found, &format!("remove {} if that is not intended", plugin.path.display()))
        }
        _ => Check::ok(NAME, &found),
    }
}

/// Without a plugin: a separate `docker-compose`, of version 1 or 2.
fn without_plugin(executor: &dyn Executor) -> Check {
    let mut question = Command::new("docker-compose");
    question.args(["version", "--short"]);
    let standalone = executor.output(&Invocation::from(question)).ok().and_then(|output| compose_version(&output));
    let missing = "the Compose plugin of the docker CLI is missing";
    match standalone {
        None => Check::error("compose", missing, INSTALL_COMPOSE),
        Some((version, number)) => {
            let found = format!("{missing}; there is a separate docker-compose {version}");
            let link = "`mkdir -p ~/.docker/cli-plugins && \
                        ln -s \"$(command -v docker-compose)\" ~/.docker/cli-plugins/` makes it the plugin";
            Check::error("compose", &found, if number.0 < 2 { INSTALL_COMPOSE } else { link })
        }
    }
}

/// The version of a plugin, by the question that the docker CLI itself asks it.
fn version_at(executor: &dyn Executor, plugin: &Path) -> Option<(String, (u32, u32))> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Metadata {
        version: String,
    }
    let mut question = Command::new(plugin);
    question.arg("docker-cli-plugin-metadata");
    let mut answer = executor.output(&Invocation::from(question)).ok()?;
    let metadata: Metadata = serde_json::from_slice(&answer.stdout).ok()?;
    answer.stdout = metadata.version.into();
    compose_version(&answer)
}

/// What the engine depends on and what depends on it, on this machine.
#[derive(Clone, Debug, Default)]
pub(super) struct Surroundings {
    /// `DOCKER_HOST`, if it is set.
    pub(super) docker_host: Option<String>,
    /// `DOCKER_CONTEXT`, if it is set.
    pub(super) docker_context: Option<String>,
    /// The usual sockets at which an engine answers.
    pub(super) sockets: Vec<PathBuf>,
    /// Whether this is the inside of a container.
    pub(super) in_container: bool,
}

impl Surroundings {
    /// The address with what it comes from.
    fn told(&self, address: &Address) -> String {
        let Address { context, host } = address;
        match (&self.docker_host, &self.docker_context) {
            (Some(_), _) => format!("{host} (by DOCKER_HOST)"),
            (None, Some(_)) => format!("{host} (context {context}, by DOCKER_CONTEXT)"),
            (None, None) if context != "default" && !context.is_empty() => format!("{host} (context {context})"),
            (None, None) => host.clone(),
        }
    }

    /// How to have docker look elsewhere.
    fn other_address(&self) -> &'static str {
        match (&self.docker_host, &self.docker_context) {
            (Some(_), _) => "set DOCKER_HOST to another address, or `unset DOCKER_HOST`",
            (None, Some(_)) => "set DOCKER_CONTEXT to one of `docker context ls`, or `unset DOCKER_CONTEXT`",
            (None, None) => "`docker context use default`, or another one of `docker context ls`",
        }
    }
}

const ENGINE: &str = "engine";

/// An engine that answers: where, and what is special about that. `is_our_host` is whether it says that it runs on this host.
pub(super) fn engine(
    server: &Server,
    address: &Address,
    info: &Info,
    is_our_host: bool,
    around: &Surroundings,
) -> Vec<Check> {
    let rootless = if info.is_rootless() { ", rootless" } else { "" };
    let podman = if server.is_podman() { "Podman " } else { "" };
    let found = format!("{podman}{}{rootless} at {}", server.version, around.told(address));
    let mut checks = Vec::new();
    let mut warn = |what: &str, fix: &str| checks.push(Check::warning(ENGINE, &format!("{found} {what}"), fix));
    if server.is_podman() {
        let what = "is not Docker: starts, status, env, list, down and interrupts worked with 4.3; other features are not tested";
        warn(what, "healthchecks of Podman need systemd; if one stays `starting`, use Docker Engine");
    } else if version_number(&server.version).is_some_and(|number| number < OLDEST_ENGINE) {
        let (major, minor) = OLDEST_ENGINE;
        let what = format!("is older than {major}.{minor}, the oldest that is tested");
        warn(&what, "upgrade it: https://docs.docker.com/engine/install/");
    }
    if !Endpoint::of(&address.host).is_local() {
        warn("is on another machine; published ports and bind mounts are there, too", around.other_address());
    } else if around.in_container && !is_our_host {
        let fix = "use ports and paths of the host, or run this command there";
        warn("is outside of this container; published ports and bind mounts are there, too", fix);
    }
    if server.os != "linux" {
        let found = format!("{found} runs programs for {}", server.os);
        checks.push(Check::error(ENGINE, &found, "switch it to Linux containers"));
    }
    if checks.is_empty() { vec![Check::ok(ENGINE, &found)] } else { checks }
}

/// An engine that does not answer, in the CLI's words: whether it is away, not for this user, or somewhere else.
pub(super) fn unreachable(words: &str, address: &Result<Address, String>, around: &Surroundings) -> Check {
    let address = match address {
        Ok(address) => address,
        Err(why) => return Check::error(ENGINE, why, around.other_address()),
    };
    let told = around.told(address);
    let lower = words.to_lowercase();
    if lower.contains("client version") || lower.contains("supported api version") {
        let fix = "upgrade the older of the two: https://docs.docker.com/engine/install/";
        return Check::error(
            ENGINE,
            &format!("the engine at {told} and this docker CLI are incompatible: {words}"),
            fix,
        );
    }
    let Some(socket) = address.host.strip_prefix("unix://").map(Path::new) else {
        let fix = format!("check that it can be reached from here; or {}", around.other_address());
        return Check::error(ENGINE, &format!("no answer at {told}: {words}"), &fix);
    };
    if lower.contains("permission denied") {
        let fix = "join the docker group: `sudo usermod -aG docker \"$USER\"`; this takes effect at the next login";
        return Check::error(ENGINE, &format!("this user may not use the engine at {told}"), fix);
    }
    let start = "start it: `sudo systemctl start docker`, or Docker Desktop where that is used".to_string();
    let other = around.sockets.iter().find(|other| *other != socket);
    let other = other.map(|other| format!("use the one that answers: `export DOCKER_HOST=unix://{}`", other.display()));
    let moved =
        (around.docker_host.is_some() || address.context != "default").then(|| around.other_address().to_string());
    let fixes: Vec<String> = [Some(start), other.or(moved)].into_iter().flatten().collect();
    Check::error(ENGINE, &format!("no engine at {told}: {words}"), &fixes.join("; or "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reporter::message::CheckState;

    fn at(host: &str) -> Result<Address, String> {
        Ok(Address { context: "default".to_string(), host: host.to_string() })
    }

    fn set(docker_host: Option<&str>, docker_context: Option<&str>) -> Surroundings {
        let [docker_host, docker_context] = [docker_host, docker_context].map(|it| it.map(str::to_string));
        Surroundings { docker_host, docker_context, ..Surroundings::default() }
    }

    /// What is said of an engine that does not answer.
    fn said(words: &str, address: &Result<Address, String>, around: &Surroundings) -> String {
        let check = unreachable(words, address, around);
        assert_eq!(check.state, CheckState::Error);
        format!("{}\n{}", check.found, check.fix.unwrap())
    }

    const SOCKET: &str = "unix:///var/run/docker.sock";
    const START: &str = "start it: `sudo systemctl start docker`, or Docker Desktop where that is used";

    #[test]
    fn a_missing_engine_gets_help_to_start_or_find_it() {
        let words = "Cannot connect.";
        let plain = said(words, &at(SOCKET), &set(None, None));
        assert_eq!(plain, format!("no engine at {SOCKET}: Cannot connect.\n{START}"));
        let by_host = said(words, &at(SOCKET), &set(Some(SOCKET), None));
        let expected = format!(
            "no engine at {SOCKET} (by DOCKER_HOST): Cannot connect.\n\
             {START}; or set DOCKER_HOST to another address, or `unset DOCKER_HOST`"
        );
        assert_eq!(by_host, expected);
        let sockets = ["/var/run/docker.sock", "/run/user/1000/docker.sock"].map(PathBuf::from).to_vec();
        let rootless = said(words, &at(SOCKET), &Surroundings { sockets, ..Surroundings::default() });
        let expected = "; or use the one that answers: `export DOCKER_HOST=unix:///run/user/1000/docker.sock`";
        assert!(rootless.ends_with(expected), "{rootless}");
    }

    #[test]
    fn podman_is_recognised() {
        let version =
            r#"{"Version": "4.3.1", "Os": "linux", "Arch": "amd64", "Components": [{"Name": "Podman Engine"}]}"#;
        let podman: Server = serde_json::from_str(version).unwrap();
        let checks = engine(&podman, &at(SOCKET).unwrap(), &Info::default(), true, &set(None, None));
        let said = format!("{checks:?}");
        assert!(said.contains("Podman 4.3.1 at") && said.contains("is not Docker"), "{said}");
        assert!(said.contains("healthchecks of Podman need systemd") && !said.contains("older than"), "{said}");
    }

    #[test]
    fn a_forbidden_socket_is_not_a_missing_engine() {
        let words =
            "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock";
        let said = said(words, &at(SOCKET), &set(None, None));
        assert!(said.starts_with("this user may not use the engine at unix:///var/run/docker.sock\njoin "), "{said}");
        assert!(said.contains("`sudo usermod -aG docker \"$USER\"`"), "{said}");
    }

    #[test]
    fn an_invalid_engine_address_is_reported_with_its_source() {
        let none = Err("context \"x\": context not found".to_string());
        for (around, fix) in [
            (set(Some("foo://bar"), None), "set DOCKER_HOST to another address, or `unset DOCKER_HOST`"),
            (set(None, Some("x")), "set DOCKER_CONTEXT to one of `docker context ls`, or `unset DOCKER_CONTEXT`"),
            (set(None, None), "`docker context use default`, or another one of `docker context ls`"),
        ] {
            assert_eq!(said("", &none, &around), format!("context \"x\": context not found\n{fix}"));
        }
    }

    #[test]
    fn an_unreachable_engine_and_an_incompatible_cli_are_reported() {
        let far = said("no answer within 10 seconds", &at("tcp://me:pw@build:2375"), &set(Some("x"), None));
        assert!(far.starts_with("no answer at tcp://***@build:2375 (by DOCKER_HOST): no answer within 10 s"), "{far}");
        for words in [
            "Error response from daemon: client version 1.24 is too old. Minimum supported API version is 1.44",
            "Error response from daemon: client version 1.52 is too new. Maximum supported API version is 1.41",
        ] {
            let said = said(words, &at(SOCKET), &set(None, None));
            assert!(said.contains("are incompatible") && said.contains("upgrade the older"), "{said}");
        }
    }

    #[test]
    fn a_working_engine_is_shown_with_address_and_peculiarities() {
        let server = |version: &str, os: &str| Server {
            version: version.to_string(),
            os: os.to_string(),
            arch: "amd64".to_string(),
            ..Server::default()
        };
        let told =
            |server: &Server, host: &str, is_our_host: bool, around: &Surroundings| -> Vec<(CheckState, String)> {
                let checks = engine(server, &at(host).unwrap(), &Info::default(), is_our_host, around);
                assert!(checks.iter().all(|check| check.fix.is_some() == (check.state != CheckState::Ok)));
                checks.into_iter().map(|check| (check.state, check.found)).collect()
            };
        let good = server("28.5.2+dfsg4", "linux");
        let inside = Surroundings { in_container: true, ..Surroundings::default() };
        assert_eq!(
            told(&good, SOCKET, false, &set(None, None)),
            [(CheckState::Ok, format!("28.5.2+dfsg4 at {SOCKET}"))]
        );
        assert_eq!(told(&good, SOCKET, true, &inside)[0].0, CheckState::Ok);
        let state_of = |server: &Server, host: &str, around: &Surroundings, words: &str| {
            let told = told(server, host, false, around);
            told.iter().find(|(_, found)| found.contains(words)).unwrap_or_else(|| panic!("{told:?}")).0
        };
        assert_eq!(state_of(&good, SOCKET, &inside, "outside of this container"), CheckState::Warning);
        assert_eq!(state_of(&good, "ssh://me@build", &set(None, None), "on another machine"), CheckState::Warning);
        assert_eq!(
            state_of(&server("19.3.1", "linux"), SOCKET, &set(None, None), "older than 20.10"),
            CheckState::Warning
        );
        assert_eq!(state_of(&server("28.5.2", "windows"), SOCKET, &set(None, None), "for windows"), CheckState::Error);
    }

    #[test]
    fn a_context_is_named_where_it_is_not_the_default_one() {
        let address = Address { context: "build".to_string(), host: "ssh://build".to_string() };
        assert_eq!(set(None, None).told(&address), "ssh://build (context build)");
        assert_eq!(set(None, Some("build")).told(&address), "ssh://build (context build, by DOCKER_CONTEXT)");
        assert_eq!(set(Some("ssh://build"), None).told(&address), "ssh://build (by DOCKER_HOST)");
    }
}
