//! What there is of docker on this machine and what is behind it: what `doctor` looks at. Unlike other questions to the engine,
//! these expect that something is wrong: what docker says then is part of the answer.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{PROJECT_LABEL, ask, docker};
use crate::command::{Executor, Show};
use crate::docker::config_folder;
use crate::exit::Failure;

/// Where the docker CLI looks for an engine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Address {
    /// The context; `default` also where `DOCKER_HOST` is what counts.
    pub context: String,
    /// As in `unix:///var/run/docker.sock`.
    pub host: String,
}

/// Which docker there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    /// That of the CLI; none where it does not come so far as to tell.
    pub client: Option<String>,
    /// The engine, or what the CLI says instead.
    pub server: Result<Server, String>,
}

/// An engine that answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Server {
    /// Its version.
    pub version: String,
    /// The system that it runs programs for: `linux`.
    pub os: String,
    /// The architecture, as Docker names it: `amd64`.
    pub arch: String,
    /// What it consists of.
    pub components: Vec<Component>,
}

/// A part of an engine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Component {
    /// Its name: Docker's is `Engine`, Podman's `Podman Engine`.
    pub name: String,
}

impl Server {
    /// Whether it is Podman, which answers as Docker does at its socket, with a version of its own.
    pub fn is_podman(&self) -> bool {
        self.components.iter().any(|component| component.name.starts_with("Podman"))
    }
}

/// What an engine reports about itself, and the CLI about its plugins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Info {
    /// What it calls its host.
    pub name: String,
    /// Where it keeps its data, on its host.
    pub docker_root_dir: PathBuf,
    /// Its proxies, for what it pulls.
    pub http_proxy: String,
    /// The same for https.
    pub https_proxy: String,
    security_options: Option<Vec<String>>,
    client_info: Client,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Client {
    plugins: Option<Vec<Plugin>>,
}

/// A plugin of the docker CLI.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Plugin {
    name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Other programs of this name, which it hides.
    pub shadowed_paths: Option<Vec<PathBuf>>,
}

impl Info {
    /// Whether the engine runs without root's rights.
    pub fn is_rootless(&self) -> bool {
        self.security_options.iter().flatten().any(|option| option == "name=rootless")
    }

    /// The Compose plugin.
    pub fn compose(&self) -> Option<&Plugin> {
        self.client_info.plugins.iter().flatten().find(|plugin| plugin.name == "compose")
    }
}

/// The proxies that the docker CLI gives to containers and builds, by its configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ContainerProxies {
    /// For http.
    pub http_proxy: String,
    /// For https.
    pub https_proxy: String,
    /// What is reached without one.
    pub no_proxy: String,
}

/// Where the docker CLI looks for an engine, which needs none.
///
/// # Errors
/// What the CLI says if it cannot tell, or why it cannot be run.
pub fn address(executor: &dyn Executor) -> Result<Address, String> {
    let format = r#"{"context":{{json .Name}},"host":{{json .Endpoints.docker.Host}}}"#;
    let output = executor.output(&docker(&["context", "inspect", "--format", format])).map_err(|it| it.to_string())?;
    match serde_json::from_slice(&output.stdout) {
        Ok(address) if output.status.success() => Ok(address),
        _ => Err(String::from_utf8_lossy(&output.stderr).trim().to_string()),
    }
}

/// Which docker there is, if the engine answers within this time: one behind a network that swallows everything would be
/// waited for as long as the system waits for a connection.
///
/// # Errors
/// If docker cannot be run.
pub fn versions(executor: &dyn Executor, limit: Duration) -> io::Result<Versions> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        client: Option<Client>,
        server: Option<Server>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Client {
        version: String,
    }
    let (sender, ended) = mpsc::channel();
    let question = docker(&["version", "--format", "{{json .}}"]).show(Show::IfItFails);
    let mut asked = executor.spawn(&question, Box::new(move || sender.send(()).unwrap_or_default()))?;
    let in_time = ended.recv_timeout(limit).is_ok();
    if !in_time {
        asked.cut_off();
    }
    let said = String::from_utf8_lossy(&asked.wait()?.kept).into_owned();
    let answer = said.lines().find_map(|line| serde_json::from_slice::<Answer>(line.as_bytes()).ok());
    let (client, server) = answer.map_or((None, None), |answer| (answer.client, answer.server));
    let words: Vec<&str> = said.lines().filter(|line| !line.starts_with('{')).collect();
    let words = || match words.join("\n").trim() {
        _ if !in_time => format!("no answer within {} seconds", limit.as_secs()),
        "" => "docker gives no reason".to_string(),
        words => words.to_string(),
    };
    Ok(Versions { client: client.map(|client| client.version), server: server.ok_or_else(words) })
}

/// What the engine reports about itself.
///
/// # Errors
/// [`crate::exit::Code::EngineUnavailable`] if it does not answer.
pub fn info(executor: &dyn Executor) -> Result<Info, Failure> {
    first(executor, &["info", "--format", "{{json .}}"])
}

fn first<T: DeserializeOwned + Default>(executor: &dyn Executor, words: &[&str]) -> Result<T, Failure> {
    Ok(ask(executor, &docker(words))?.into_iter().next().unwrap_or_default())
}

/// The networks of Compose projects that no container runs on, by project.
///
/// # Errors
/// [`crate::exit::Code::EngineUnavailable`] if the engine does not answer.
pub fn unused_networks(executor: &dyn Executor) -> Result<BTreeMap<String, Vec<String>>, Failure> {
    #[derive(Deserialize)]
    struct Row {
        project: String,
        name: String,
    }
    let format = r#"{"project":{{json (.Label "com.docker.compose.project")}},"name":{{json .Name}}}"#;
    let words = ["network", "ls", "--filter", "dangling=true", "--filter", PROJECT_LABEL, "--format", format];
    let mut networks: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for Row { project, name } in ask(executor, &docker(&words))? {
        networks.entry(project).or_default().push(name);
    }
    networks.values_mut().for_each(|names| names.sort());
    Ok(networks)
}

/// The docker CLI's configuration: where it is, and the proxies that it gives to containers of the engine at `host`.
///
/// # Errors
/// If it is no configuration; docker says so once and then goes on without it.
pub(crate) fn container_proxies(host: &str) -> Result<ContainerProxies, (PathBuf, String)> {
    match config_folder() {
        Some(folder) => proxies_of(&folder.join("config.json"), host),
        None => Ok(ContainerProxies::default()),
    }
}

fn proxies_of(config: &Path, host: &str) -> Result<ContainerProxies, (PathBuf, String)> {
    #[derive(Deserialize)]
    struct Config {
        proxies: Option<BTreeMap<String, ContainerProxies>>,
    }
    let text = match crate::files::read::bytes(config) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(ContainerProxies::default()),
        Err(error) => return Err((config.to_owned(), error.to_string())),
    };
    let config: Config = serde_json::from_slice(&text).map_err(|error| (config.to_owned(), error.to_string()))?;
    let mut proxies = config.proxies.unwrap_or_default();
    Ok(proxies.remove(host).or_else(|| proxies.remove("default")).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::fake::Says;
    use super::*;

    /// Where there is a shell for them.
    #[cfg(unix)]
    mod by_scripts {
        use std::process::Output;

        use super::*;
        use crate::command::{Invocation, OnExit, Running, System};

        /// Runs this script in the place of docker.
        struct Script(&'static str);

        impl Executor for Script {
            fn output(&self, _: &Invocation) -> io::Result<Output> {
                Err(io::ErrorKind::Unsupported.into())
            }

            fn spawn(&self, _: &Invocation, on_exit: OnExit) -> io::Result<Box<dyn Running>> {
                let mut command = std::process::Command::new("sh");
                command.args(["-c", self.0]);
                System.spawn(&Invocation::from(command).show(Show::IfItFails), on_exit)
            }

            crate::command::refuse!(listen, request, exec);
        }

        fn seen(script: &'static str) -> Versions {
            versions(&Script(script), Duration::from_secs(30)).unwrap()
        }

        #[test]
        fn both_halves_of_docker_are_told_apart() {
            let both = seen(
                r#"echo '{"Client":{"Version":"28.2.2"},"Server":{"Version":"20.10.24","Os":"linux","Arch":"arm64"}}'"#,
            );
            let server = ["20.10.24", "linux", "arm64"].map(str::to_string);
            let [version, os, arch] = server;
            assert_eq!(
                both,
                Versions {
                    client: Some("28.2.2".to_string()),
                    server: Ok(Server { version, os, arch, ..Server::default() })
                }
            );
            let away = seen(r#"echo Cannot connect >&2; echo '{"Client":{"Version":"28.2.2"},"Server":null}'; exit 1"#);
            assert_eq!(
                away,
                Versions { client: Some("28.2.2".to_string()), server: Err("Cannot connect".to_string()) }
            );
            let neither = seen("echo Failed to initialize >&2; exit 1");
            assert_eq!(neither, Versions { client: None, server: Err("Failed to initialize".to_string()) });
        }

        #[test]
        fn an_engine_that_does_not_answer_is_not_waited_for() {
            let away = versions(&Script("exec sleep 1000"), Duration::ZERO).unwrap();
            assert_eq!(away, Versions { client: None, server: Err("no answer within 0 seconds".to_string()) });
        }
    }

    #[test]
    fn the_engines_address_is_reported_or_why_there_is_none() {
        let there = Address { context: "default".to_string(), host: "unix:///x.sock".to_string() };
        assert_eq!(address(&Says(0, r#"{"context":"default","host":"unix:///x.sock"}"#, "")), Ok(there));
        assert_eq!(address(&Says(1, "\n", "context \"x\": not found\n")), Err("context \"x\": not found".to_string()));
    }

    #[test]
    fn the_version_of_old_and_new_engines_is_parsed() {
        let told = r#"{"Name":"vm","DockerRootDir":"/d","HttpProxy":"p","HttpsProxy":"q","SecurityOptions":["name=rootless"],
            "ClientInfo":{"Plugins":[{"Name":"buildx","Path":"/b"},{"Name":"compose","Path":"/c","ShadowedPaths":["/e"]}]}}"#;
        let info = info(&Says(0, told, "")).unwrap();
        assert_eq!((info.name.as_str(), info.docker_root_dir.to_str()), ("vm", Some("/d")));
        assert!(info.is_rootless());
        let compose = info.compose().unwrap();
        assert_eq!((compose.path.to_str(), compose.shadowed_paths.as_deref()), (Some("/c"), Some(&["/e".into()][..])));
        let bare = super::info(&Says(0, r#"{"Name":"vm","SecurityOptions":null,"ClientInfo":{"Plugins":null}}"#, ""));
        let bare = bare.unwrap();
        assert!(!bare.is_rootless() && bare.compose().is_none());
    }

    #[test]
    fn networks_are_listed_by_project() {
        let rows = r#"{"project":"b","name":"b_y"} {"project":"a","name":"a_x"} {"project":"b","name":"b_x"}"#;
        let networks = unused_networks(&Says(0, rows, "")).unwrap();
        let expected = [("a", vec!["a_x"]), ("b", vec!["b_x", "b_y"])];
        let expected =
            expected.map(|(project, names)| (project.to_string(), names.into_iter().map(str::to_string).collect()));
        assert_eq!(networks, BTreeMap::from(expected));
    }

    #[test]
    fn the_proxies_of_an_engine_override_the_default_ones() {
        let temp = tempfile::tempdir().unwrap();
        let config = temp.path().join("config.json");
        let http = |host: &str| proxies_of(&config, host).map(|proxies| proxies.http_proxy).map_err(|(path, _)| path);
        assert_eq!(http("x"), Ok(String::new()));
        std::fs::write(&config, r#"{"proxies":{"default":{"httpProxy":"a"},"tcp://b:1":{"httpProxy":"b"}}}"#).unwrap();
        assert_eq!(http("unix:///x.sock"), Ok("a".to_string()));
        assert_eq!(http("tcp://b:1"), Ok("b".to_string()));
        std::fs::write(&config, r#"{"auths":{}}"#).unwrap();
        assert_eq!(http("x"), Ok(String::new()));
        std::fs::write(&config, "{").unwrap();
        assert_eq!(http("x"), Err(config.clone()));
    }
}
