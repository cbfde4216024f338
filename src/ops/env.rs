//! `dev env`: prints the addresses of published ports as variables, and the variables that Cargo.toml describes.

mod env_file;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};

use super::model::resolve;
use super::status::containers;
use super::{Context, Selection};
use crate::compose::Stack;
use crate::devfile;
use crate::engine::{Endpoint, Inspected, Published};
use crate::exit::Code;
use crate::reporter::Logger;
use crate::reporter::MessageFormat;
use crate::reporter::message::Message;
use crate::workspace::{BrokenMember, Workspace};

/// What `dev env` is asked for.
#[derive(Clone, Debug)]
pub struct EnvOptions {
    /// Which stack.
    pub selection: Selection,
    /// The file to write the variables into, instead of printing them.
    pub write: Option<PathBuf>,
}

/// One variable.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Variable {
    /// The service and its port inside, if this is part of an address.
    port: Option<(String, u16)>,
    value: String,
}

/// Prints the variables, sorted by name, or writes them into a file.
///
/// # Errors
/// [`Code::NothingToRun`] if nothing has been started, two services make the same name, or the file cannot be updated;
/// [`Code::EngineUnavailable`].
pub(crate) fn env(options: &EnvOptions, cx: &Context<'_>) -> anyhow::Result<Code> {
    let workspace = Workspace::discover(&cx.commander, cx.cwd, &options.selection.manifest, BrokenMember::Tolerate)?;
    let stack = resolve(cx, &workspace, &options.selection)?;
    let containers = containers(cx, &workspace, &stack)?;
    let variables = Variables::of(cx, &workspace, &stack, &containers)?;
    variables.warn_of_missing(cx.shell);
    let project = stack.project.as_str();
    for (key, variable) in &variables.all {
        let Variable { port, value } = variable;
        let message = match port {
            Some((service, port)) => Message::Address { project, service, port: *port, key, value },
            None => Message::Variable { project, key, value },
        };
        match cx.shell.format() {
            MessageFormat::Json => cx.shell.print_message(&message),
            MessageFormat::Human if options.write.is_some() => Ok(()),
            MessageFormat::Human => cx.shell.print(OsStr::new(&format!("{key}={value}"))),
        }
        .context("cannot write to stdout")?;
    }
    if let Some(file) = &options.write {
        let is_changed = env_file::write(&cx.cwd.join(file), &variables.values())?;
        cx.shell.status(if is_changed { "Writing" } else { "Fresh" }, &file.display().to_string());
    }
    Ok(Code::Success)
}

/// The variables for programs on this machine.
pub(super) struct Variables {
    /// By name.
    all: BTreeMap<String, Variable>,
    /// The published ports that are unreachable from here, with their services.
    unreachable: Vec<(String, u16)>,
    /// The described variables that are left out, each with the name that has no value.
    without_value: Vec<(String, String)>,
}

impl Variables {
    /// Those of the ports that these containers publish, and those that Cargo.toml describes.
    ///
    /// # Errors
    /// [`Code::NothingToRun`] if two services make the same name, or the table in Cargo.toml is invalid.
    pub(super) fn of(
        cx: &Context<'_>,
        workspace: &Workspace,
        stack: &Stack,
        containers: &[Inspected],
    ) -> anyhow::Result<Variables> {
        let described = devfile::environment(workspace)?;
        let endpoint = Endpoint::current(&cx.commander);
        let mut all = variables(stack, &endpoint, containers)?;
        // In the environment, a name that this stack could make is about another one.
        let of_ports = names_of_ports(stack);
        let inherited = |name: &str| std::env::var(name).ok().filter(|_| !of_ports.contains(name));
        let (own, without_value) = described_variables(&described, &all, &inherited);
        all.extend(own);
        Ok(Variables { all, unreachable: unreachable(&endpoint, containers), without_value })
    }

    /// Warns of what is left out.
    pub(super) fn warn_of_missing(&self, logger: &dyn Logger) {
        for (service, port) in &self.unreachable {
            logger.warn(&format!("{service} publishes {port} on the loopback address of another machine only"));
        }
        for (key, missing) in &self.without_value {
            logger.warn(&format!("variable {key} is left out, because {missing} has no value"));
        }
    }

    /// The first described variable that is left out, and why.
    pub(super) fn what_is_missing(&self) -> Option<String> {
        let (key, missing) = self.without_value.first()?;
        Some(format!("{key} was not set, because {missing} has no value; does the service publish its port?"))
    }

    /// The names that ports of this stack would make, and those of described variables, which have no value here.
    pub(super) fn names_without_value(&self, stack: &Stack) -> Vec<String> {
        let described = self.without_value.iter().map(|(key, _)| key.clone());
        names_of_ports(stack).into_iter().chain(described).filter(|name| !self.all.contains_key(name)).collect()
    }

    /// Names and values.
    pub(super) fn values(&self) -> Vec<(String, String)> {
        self.all.iter().map(|(key, variable)| (key.clone(), variable.value.clone())).collect()
    }
}

/// The variables that Cargo.toml describes, with their values; and each that is left out, with the name that has no value.
fn described_variables(
    described: &BTreeMap<String, String>,
    addresses: &BTreeMap<String, Variable>,
    inherited: &dyn Fn(&str) -> Option<String>,
) -> (BTreeMap<String, Variable>, Vec<(String, String)>) {
    let value_of = |name: &str| addresses.get(name).map(|address| address.value.clone()).or_else(|| inherited(name));
    let (mut variables, mut without_value) = (BTreeMap::new(), Vec::new());
    for (key, text) in described {
        match shellexpand::env_with_context(text, |name| value_of(name).map(Some).ok_or(())) {
            Ok(value) => {
                variables.insert(key.clone(), Variable { port: None, value: value.into_owned() });
            }
            Err(missing) => without_value.push((key.clone(), missing.var_name)),
        }
    }
    (variables, without_value)
}

/// The names that the ports of the services would make, if each had one container.
fn names_of_ports(stack: &Stack) -> BTreeSet<String> {
    let ports = stack.services.iter().flat_map(|(name, service)| service.ports().iter().map(move |port| (name, port)));
    let names = ports.flat_map(|(service, port)| {
        let protocol = port.protocol().to_string();
        let published = Published { target: port.target, protocol, host_ip: String::new(), host_port: 0 };
        PARTS.map(|part| key(service, &published, part, 1))
    });
    names.collect()
}

/// What the name of a variable ends in, by which part of an address it is.
const PARTS: [&str; 4] = ["ADDR", "HOST", "PORT", "URL"];

/// Every published port of every container, with the service and the number of the container in it.
fn ports(containers: &[Inspected]) -> impl Iterator<Item = (&str, u32, &Published)> {
    containers
        .iter()
        .flat_map(|container| container.ports.iter().map(|port| (container.service.as_str(), container.number, port)))
}

fn unreachable(endpoint: &Endpoint, containers: &[Inspected]) -> Vec<(String, u16)> {
    let ports = ports(containers).filter(|(_, _, port)| endpoint.host_of(port).is_none());
    ports.map(|(service, _, port)| (service.to_string(), port.target)).collect()
}

fn variables(
    stack: &Stack,
    endpoint: &Endpoint,
    containers: &[Inspected],
) -> anyhow::Result<BTreeMap<String, Variable>> {
    let mut variables: BTreeMap<String, Variable> = BTreeMap::new();
    let first = containers.iter().fold(BTreeMap::<&str, u32>::new(), |mut first, container| {
        let number = first.entry(&container.service).or_insert(container.number);
        *number = (*number).min(container.number);
        first
    });
    for (service, number, port) in ports(containers) {
        // A name that has to be looked up may lead to another family of addresses than the one that is bound.
        let Some(host) = endpoint.host_of(port).map(|host| if host == "localhost" { "127.0.0.1".into() } else { host })
        else {
            continue;
        };
        let address = format!("{host}:{}", port.host_port);
        let url = stack.scheme(service, port.target).filter(|_| port.protocol == "tcp");
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_string();
        let url = url.map(|scheme| format!("{scheme}://{address}"));
        let values = [Some(address), Some(bare), Some(port.host_port.to_string()), url];
        for (what, value) in PARTS.into_iter().zip(values).filter_map(|(what, value)| Some((what, value?))) {
            let key = key(service, port, what, if first[service] == number { 1 } else { number });
            let variable = Variable { port: Some((service.to_string(), port.target)), value };
            match variables.get(&key).and_then(|other| other.port.as_ref()) {
                Some((other, _)) if other != service => {
                    let error = anyhow!("services `{other}` and `{service}` both have the variable {key}");
                    return Err(Code::NothingToRun.because(error).help("rename one of them").into());
                }
                // The same port on another address, the version 6 one usually.
                Some(_) => {}
                None => drop(variables.insert(key, variable)),
            }
        }
    }
    Ok(variables)
}

/// The name of a variable, as in `API_8080_ADDR`: a name that every shell takes.
fn key(service: &str, port: &Published, what: &str, number: u32) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let name: String = service.chars().map(plain).collect();
    let front = if name.starts_with(|c: char| c.is_ascii_digit()) { "_" } else { "" };
    let protocol = if port.protocol == "tcp" { String::new() } else { format!("_{}", port.protocol.to_uppercase()) };
    let replica = if number > 1 { format!("_{number}") } else { String::new() };
    format!("{front}{name}_{}{protocol}_{what}{replica}", port.target)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(service: &str, number: u32, ports: &[(u16, &str, &str, u16)]) -> Inspected {
        let ports = ports.iter().map(|(target, protocol, ip, host_port)| Published {
            target: *target,
            protocol: protocol.to_string(),
            host_ip: ip.to_string(),
            host_port: *host_port,
        });
        let service = service.to_string();
        Inspected { service, number, ports: ports.collect(), ..Inspected::default() }
    }

    fn said(containers: &[Inspected], endpoint: &Endpoint) -> anyhow::Result<Vec<String>> {
        let stack = Stack::parse(br#"{"name": "x", "services": {}}"#).unwrap();
        let variables = variables(&stack, endpoint, containers)?;
        Ok(variables.into_iter().map(|(key, variable)| format!("{key}={}", variable.value)).collect())
    }

    #[test]
    fn each_published_port_makes_an_address_a_host_a_port_and_where_known_a_url() {
        let api = container("api", 1, &[(8080, "tcp", "0.0.0.0", 49153), (8080, "tcp", "::", 49153)]);
        let db = container("my-db", 1, &[(5432, "tcp", "127.0.0.1", 5432), (53, "udp", "::1", 53)]);
        assert_eq!(
            said(&[api, db], &Endpoint::Local).unwrap(),
            [
                "API_8080_ADDR=127.0.0.1:49153",
                "API_8080_HOST=127.0.0.1",
                "API_8080_PORT=49153",
                "API_8080_URL=http://127.0.0.1:49153",
                "MY_DB_53_UDP_ADDR=[::1]:53",
                "MY_DB_53_UDP_HOST=::1",
                "MY_DB_53_UDP_PORT=53",
                "MY_DB_5432_ADDR=127.0.0.1:5432",
                "MY_DB_5432_HOST=127.0.0.1",
                "MY_DB_5432_PORT=5432",
            ]
        );
    }

    #[test]
    fn further_containers_of_a_service_have_their_number_at_the_end() {
        let first = container("api", 2, &[(80, "tcp", "", 1)]);
        let second = container("api", 3, &[(80, "tcp", "", 2)]);
        let said = said(&[first, second], &Endpoint::Local).unwrap();
        assert!(said.contains(&"API_80_ADDR=127.0.0.1:1".to_string()), "{said:?}");
        assert!(said.contains(&"API_80_ADDR_3=127.0.0.1:2".to_string()), "{said:?}");
    }

    #[test]
    fn a_remote_engine_is_reached_at_its_host() {
        let remote = Endpoint::Remote("build.example".to_string());
        let api = container("1st", 1, &[(9000, "tcp", "0.0.0.0", 9), (9001, "tcp", "127.0.0.1", 10)]);
        let all = [api];
        let expected = ["_1ST_9000_ADDR=build.example:9", "_1ST_9000_HOST=build.example", "_1ST_9000_PORT=9"];
        assert_eq!(said(&all, &remote).unwrap(), expected);
        assert_eq!(unreachable(&remote, &all), [("1st".to_string(), 9001)]);
    }

    #[test]
    fn described_variables_get_addresses_and_inherited_values() {
        let stack = Stack::parse(br#"{"name": "x", "services": {}}"#).unwrap();
        let db = container("db", 1, &[(5432, "tcp", "127.0.0.1", 49153)]);
        let addresses = variables(&stack, &Endpoint::Local, &[db]).unwrap();
        let inherited = |name: &str| ["USER", "DB_5432_PORT"].contains(&name).then(|| "me".to_string());
        let described = [
            ("A", "postgres://$USER@${DB_5432_ADDR}/shop?$$x"),
            ("B", "${NONE:-a default}"),
            ("C", "$DB_5432_PORT"),
            ("D", "${DB_5432_ADDR}${NONE}"),
            ("E", ""),
        ];
        let described = described.map(|(key, text)| (key.to_string(), text.to_string())).into();
        let (own, without_value) = described_variables(&described, &addresses, &inherited);
        let own: Vec<(&str, &str)> = own.iter().map(|(key, it)| (key.as_str(), it.value.as_str())).collect();
        let expected = [("A", "postgres://me@127.0.0.1:49153/shop?$x"), ("B", "a default"), ("C", "49153"), ("E", "")];
        assert_eq!(own, expected);
        assert_eq!(without_value, [("D".to_string(), "NONE".to_string())]);
    }

    #[test]
    fn two_services_that_make_one_name_are_an_error() {
        let all = [container("a-b", 1, &[(80, "tcp", "", 1)]), container("a_b", 1, &[(80, "tcp", "", 2)])];
        let error = said(&all, &Endpoint::Local).unwrap_err().to_string();
        assert_eq!(error, "services `a-b` and `a_b` both have the variable A_B_80_ADDR");
    }
}
