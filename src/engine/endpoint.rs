//! Where the engine is: on this machine, or on another one, whose ports are not local.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Published, ask, docker};
use crate::command::Executor;
use crate::compose::{ProjectName, Stack};
use crate::docker::{config_folder, is_program_on_path};
use crate::exit::Failure;
use crate::files::read;
use crate::os;

/// Where the engine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Behind a socket of this machine.
    Local,
    /// On this host, reached over the network.
    Remote(String),
}

impl Endpoint {
    /// The engine that the docker CLI talks to. Only for a context that does not tell where it is docker is asked.
    pub fn current(executor: &dyn Executor) -> Endpoint {
        match Choice::current() {
            Choice::Default => Endpoint::Local,
            Choice::Host(host) => Endpoint::of(&host),
            Choice::Context(context) => Endpoint::of_context(executor, &context),
        }
    }

    /// The engine of a context of the docker CLI's.
    pub fn of_context(executor: &dyn Executor, context: &str) -> Endpoint {
        let question = docker(&["context", "inspect", "--format", "{{json .Endpoints.docker.Host}}", context]);
        // The next question reports a context that does not exist.
        let hosts: Vec<String> = ask(executor, &question).unwrap_or_default();
        hosts.first().map_or(Endpoint::Local, |host| Endpoint::of(host))
    }

    /// What a value of `DOCKER_HOST` stands for.
    pub fn of(host: &str) -> Endpoint {
        let Some((scheme, rest)) = host.split_once("://") else {
            // docker takes it for tcp.
            return Endpoint::of(&format!("tcp://{host}"));
        };
        match scheme {
            "tcp" | "http" | "https" | "ssh" => {
                let authority = rest.split('/').next().unwrap_or_default();
                let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
                let name = match host.strip_prefix('[').and_then(|v6| v6.split_once(']')) {
                    Some((v6, _)) => v6,
                    None => host.rsplit_once(':').map_or(host, |(name, _)| name),
                };
                // Only docker decides what an empty one means.
                if name.is_empty() { Endpoint::Local } else { Endpoint::Remote(name.to_string()) }
            }
            _ => Endpoint::Local,
        }
    }

    /// Whether its ports are this machine's.
    pub fn is_local(&self) -> bool {
        *self == Endpoint::Local
    }

    /// The host under which a published port can be reached from here, as in a URL. None if it is bound to a loopback
    /// address of another machine.
    pub fn host_of(&self, port: &Published) -> Option<String> {
        let ip = port.host_ip.as_str();
        let everywhere = ["", "0.0.0.0", "::"].contains(&ip);
        let loopback = ip.starts_with("127.") || ip == "::1";
        let host = match self {
            Endpoint::Local if everywhere => "localhost",
            Endpoint::Remote(host) if everywhere => host,
            Endpoint::Remote(host) if loopback && !is_this_machine(host) => return None,
            _ => ip,
        };
        Some(if host.contains(':') { format!("[{host}]") } else { host.to_string() })
    }

    /// Where a published port of a service can be reached from here: a URL if the protocol is known, else `host:port`. None if
    /// it cannot be reached.
    pub fn address(&self, stack: &Stack, service: &str, port: &Published) -> Option<String> {
        let address = format!("{}:{}", self.host_of(port)?, port.host_port);
        Some(match stack.scheme(service, port.target) {
            _ if port.protocol == "udp" => format!("{address}/udp"),
            Some(scheme) => format!("{scheme}://{address}"),
            None => address,
        })
    }
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.starts_with("127.") || host == "::1"
}

/// Whether the engine runs on this very host, and sees the same folders: not on another machine, nor outside of the container
/// that we are in.
///
/// # Errors
/// [`crate::exit::Code::EngineUnavailable`] if the engine does not answer.
pub(crate) fn is_on_this_host(executor: &dyn Executor) -> Result<bool, Failure> {
    if !Endpoint::current(executor).is_local() {
        return Ok(false);
    }
    Ok(is_our_host(&host_name(executor)?))
}

/// Whether this is what the host that we run on is called.
pub(crate) fn is_our_host(name: &str) -> bool {
    name == os::host_name()
}

/// What the engine calls the host that it runs on.
///
/// # Errors
/// [`crate::exit::Code::EngineUnavailable`] if it does not answer.
pub fn host_name(executor: &dyn Executor) -> Result<String, Failure> {
    let names: Vec<String> = ask(executor, &docker(&["info", "--format", "{{json .Name}}"]))?;
    Ok(names.into_iter().next().unwrap_or_default())
}

/// What the lock of a project on the current engine is called: two projects of one name on two engines have nothing to do with each
/// other. On the usual engine it is the project's name. One engine under two addresses has two names.
pub(crate) fn lock_name(project: &ProjectName) -> String {
    lock_name_of(project, Choice::current())
}

fn lock_name_of(project: &ProjectName, choice: Choice) -> String {
    let address = match choice {
        Choice::Default => return project.to_string(),
        Choice::Host(host) => match host.strip_prefix("unix://") {
            // Whatever link leads to the socket.
            Some(path) => {
                let [usual, path] =
                    [USUAL_SOCKET, path].map(|path| fs::canonicalize(path).unwrap_or_else(|_| path.into()));
                if path == usual {
                    return project.to_string();
                }
                path.to_string_lossy().into_owned()
            }
            None => host,
        },
        Choice::Context(context) => format!("context {context}"),
    };
    let mut hasher = DefaultHasher::new();
    address.hash(&mut hasher);
    // No project's name has an `@` in it.
    format!("{project}@{:016x}", hasher.finish())
}

/// The docker CLI's default address of the engine.
const USUAL_SOCKET: &str = "/var/run/docker.sock";

/// The socket behind which the docker CLI asks the engine, where it does so without anything that only the CLI knows of:
/// certificates, headers, another version of the API.
pub(super) fn socket() -> Option<PathBuf> {
    socket_of(&variable, &config_folder()?).filter(|_| is_program_on_path())
}

fn socket_of(variable: &Variable<'_>, folder: &Path) -> Option<PathBuf> {
    /// What changes how the CLI asks. Source: <https://docs.docker.com/reference/cli/docker/#environment-variables>.
    const HOW: [&str; 4] = ["DOCKER_API_VERSION", "DOCKER_CUSTOM_HEADERS", "DOCKER_TLS", "DOCKER_TLS_VERIFY"];
    // One that cannot be read is for docker to complain about.
    let config = Config::in_folder(folder)?;
    if config.headers.is_some() || HOW.iter().any(|name| variable(name).is_some()) {
        return None;
    }
    let host = match Choice::of(variable, Some(folder), config) {
        Choice::Default => format!("unix://{USUAL_SOCKET}"),
        Choice::Host(host) => host,
        Choice::Context(_) => return None,
    };
    host.strip_prefix("unix://").filter(|path| path.starts_with('/')).map(PathBuf::from)
}

/// The value of a variable, if it has one.
type Variable<'a> = dyn Fn(&str) -> Option<String> + 'a;

fn variable(name: &str) -> Option<String> {
    // One that is no text is set all the same.
    env::var_os(name).filter(|value| !value.is_empty()).map(|value| value.to_string_lossy().into_owned())
}

/// What the docker CLI has been told about where its engine is.
enum Choice {
    /// Nothing.
    Default,
    /// An address, by `DOCKER_HOST` or in a context.
    Host(String),
    /// A context that does not tell in the usual way where it is.
    Context(String),
}

impl Choice {
    /// The choice of the docker CLI that this process would start.
    fn current() -> Choice {
        let folder = config_folder();
        let config = folder.as_deref().and_then(Config::in_folder).unwrap_or_default();
        Choice::of(&variable, folder.as_deref(), config)
    }

    /// By the CLI's own rules: `DOCKER_HOST`, then `DOCKER_CONTEXT`, then the current context of its configuration.
    fn of(variable: &Variable<'_>, folder: Option<&Path>, config: Config) -> Choice {
        if let Some(host) = variable("DOCKER_HOST") {
            return Choice::Host(host);
        }
        let configured = config.current_context.filter(|context| !context.is_empty());
        match variable("DOCKER_CONTEXT").or(configured) {
            Some(context) if context != "default" => {
                let host = folder.and_then(|folder| host_of_context(folder, &context));
                host.map_or(Choice::Context(context), Choice::Host)
            }
            _ => Choice::Default,
        }
    }
}

/// What of the docker CLI's configuration matters here.
#[derive(Default, Deserialize)]
struct Config {
    #[serde(rename = "currentContext")]
    current_context: Option<String>,
    #[serde(rename = "HttpHeaders")]
    headers: Option<IgnoredAny>,
}

impl Config {
    /// That in the CLI's folder, which need not be there. None of one that cannot be read.
    fn in_folder(folder: &Path) -> Option<Config> {
        match read::bytes(&folder.join("config.json")) {
            Ok(text) => serde_json::from_slice(&text).ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(Config::default()),
            Err(_) => None,
        }
    }
}

/// Where the engine of a context is, by the file that `docker context create` writes. Certificates, which lie elsewhere, do not
/// matter for a socket.
fn host_of_context(folder: &Path, context: &str) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Meta {
        name: String,
        endpoints: Endpoints,
    }
    #[derive(Deserialize)]
    struct Endpoints {
        docker: Docker,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Docker {
        host: String,
    }
    // The folders are called after a hash of the name.
    let folders = fs::read_dir(folder.join("contexts/meta")).ok()?;
    let texts = folders.filter_map(|folder| read::bytes(&folder.ok()?.path().join("meta.json")).ok());
    let mut found = texts.filter_map(|text| serde_json::from_slice::<Meta>(&text).ok());
    Some(found.find(|meta| meta.name == context)?.endpoints.docker.host).filter(|host| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_one_projects_on_one_engine() {
        let project = ProjectName::new("hello").unwrap();
        let name = |choice| lock_name_of(&project, choice);
        let host = |host: &str| Choice::Host(host.to_string());
        assert_eq!(name(Choice::Default), "hello");
        assert_eq!(name(host("unix:///var/run/docker.sock")), "hello");
        let others = [host("unix:///run/other.sock"), host("tcp://build:2375"), Choice::Context("build".to_string())];
        let names: std::collections::BTreeSet<String> = others.into_iter().map(name).collect();
        assert!(names.len() == 3 && names.iter().all(|name| name.starts_with("hello@")), "{names:?}");
        assert_eq!(name(host("tcp://build:2375")), name(host("tcp://build:2375")));
    }

    #[test]
    fn a_socket_is_local_and_a_host_is_remote() {
        let remote = |name: &str| Endpoint::Remote(name.to_string());
        for (host, endpoint) in [
            ("unix:///var/run/docker.sock", Endpoint::Local),
            ("npipe:////./pipe/docker_engine", Endpoint::Local),
            ("fd://", Endpoint::Local),
            ("tcp://10.0.0.7:2375", remote("10.0.0.7")),
            ("tcp://build.example", remote("build.example")),
            ("10.0.0.7:2375", remote("10.0.0.7")),
            ("tcp://[2001:db8::1]:2376", remote("2001:db8::1")),
            ("ssh://me@build.example:22", remote("build.example")),
            ("ssh://me@build.example/run/docker.sock", remote("build.example")),
            ("https://build.example:443/engine", remote("build.example")),
            ("tcp://", Endpoint::Local),
        ] {
            assert_eq!(Endpoint::of(host), endpoint, "{host}");
        }
    }

    #[test]
    fn the_engine_is_asked_behind_a_socket_only_where_docker_would_ask_it_there_in_the_same_way() {
        let temp = tempfile::tempdir().unwrap();
        let meta = temp.path().join("contexts/meta/0123");
        fs::create_dir_all(&meta).unwrap();
        let describe = |name: &str, host: &str| {
            let text = format!(r#"{{"Name":"{name}","Metadata":{{}},"Endpoints":{{"docker":{{"Host":"{host}"}}}}}}"#);
            fs::write(meta.join("meta.json"), text).unwrap();
        };
        describe("rootless", "unix:///run/user/1000/docker.sock");
        let socket = |config: &str, variables: &[(&str, &str)]| {
            let file = temp.path().join("config.json");
            if config.is_empty() {
                drop(fs::remove_file(file))
            } else {
                fs::write(file, config).unwrap()
            }
            let variable =
                |name: &str| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| value.to_string());
            let socket = socket_of(&variable, temp.path());
            socket.map(|socket| socket.to_str().unwrap().to_string())
        };
        let (default, rootless) = (Some("/var/run/docker.sock".to_string()), "/run/user/1000/docker.sock".to_string());
        assert_eq!(socket("", &[]), default);
        assert_eq!(socket(r#"{"auths": {}, "credsStore": "x"}"#, &[]), default);
        assert_eq!(socket("", &[("DOCKER_HOST", "unix:///x")]), Some("/x".to_string()));
        assert_eq!(socket(r#"{"currentContext": "rootless"}"#, &[]), Some(rootless.clone()));
        assert_eq!(socket(r#"{"currentContext": "rootless"}"#, &[("DOCKER_CONTEXT", "default")]), default);
        assert_eq!(socket("", &[("DOCKER_CONTEXT", "rootless")]), Some(rootless));
        for host in ["tcp://127.0.0.1:2375", "ssh://x", "fd://", "unix://", "npipe:////./pipe/x", "x"] {
            assert_eq!(socket("", &[("DOCKER_HOST", host)]), None, "{host}");
        }
        for (name, value) in [("DOCKER_CONTEXT", "other"), ("DOCKER_TLS_VERIFY", "1"), ("DOCKER_API_VERSION", "1.41")] {
            assert_eq!(socket("", &[(name, value)]), None, "{name}");
        }
        for config in [r#"{"HttpHeaders": {"A": "b"}}"#, "{broken", r#"{"currentContext": "other"}"#] {
            assert_eq!(socket(config, &[]), None, "{config}");
        }
        describe("rootless", "ssh://build.example");
        assert_eq!(socket(r#"{"currentContext": "rootless"}"#, &[]), None);
    }

    #[test]
    fn an_address_is_a_url_where_the_protocol_is_known() {
        let stack = Stack::parse(br#"{"name": "x", "services": {}}"#).unwrap();
        for (ip, target, protocol, address) in [
            ("127.0.0.1", 5432, "tcp", "127.0.0.1:1234"),
            ("0.0.0.0", 8080, "tcp", "http://localhost:1234"),
            ("::1", 443, "tcp", "https://[::1]:1234"),
            ("", 53, "udp", "localhost:1234/udp"),
            ("", 80, "udp", "localhost:1234/udp"),
        ] {
            let [protocol, host_ip] = [protocol, ip].map(str::to_string);
            let port = Published { target, protocol, host_ip, host_port: 1234 };
            assert_eq!(Endpoint::Local.address(&stack, "web", &port).as_deref(), Some(address));
        }
    }

    #[test]
    fn a_port_is_reached_at_the_host_of_the_engine() {
        let at = |ip: &str| Published { target: 80, protocol: "tcp".into(), host_ip: ip.into(), host_port: 8080 };
        let remote = Endpoint::Remote("build.example".to_string());
        let tunnel = Endpoint::Remote("127.0.0.1".to_string());
        for (ip, here, there, through) in [
            ("", Some("localhost"), Some("build.example"), Some("127.0.0.1")),
            ("0.0.0.0", Some("localhost"), Some("build.example"), Some("127.0.0.1")),
            ("::", Some("localhost"), Some("build.example"), Some("127.0.0.1")),
            ("127.0.0.1", Some("127.0.0.1"), None, Some("127.0.0.1")),
            ("::1", Some("[::1]"), None, Some("[::1]")),
            ("10.0.0.7", Some("10.0.0.7"), Some("10.0.0.7"), Some("10.0.0.7")),
        ] {
            for (endpoint, host) in [(&Endpoint::Local, here), (&remote, there), (&tunnel, through)] {
                assert_eq!(endpoint.host_of(&at(ip)).as_deref(), host, "{ip} of {endpoint:?}");
            }
        }
        let v6 = Endpoint::Remote("2001:db8::1".to_string());
        assert_eq!(v6.host_of(&at("::")).as_deref(), Some("[2001:db8::1]"));
    }
}
