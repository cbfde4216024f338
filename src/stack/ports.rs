//! Finds port conflicts before the start: which published ports are in use, and by which container or process.
//!
//! The engine finds out one port at a time, with half of the stack running, and does not say who it is.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use crate::command::{Executor, Invocation};
use crate::compose::{ProjectName, Service, Stack};
use crate::engine::{Container, running_containers};
use crate::exit::Failure;
use crate::os;
use crate::workspace::checkout_name;

/// A port of this machine's that a service asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    service: String,
    /// None for all addresses of both versions; `0.0.0.0` and `::` for those of one.
    ip: Option<IpAddr>,
    /// One of these.
    ports: RangeInclusive<u16>,
    protocol: String,
}

/// A published port that cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// The service that publishes it.
    pub service: String,
    /// The port, with the address and the protocol where these are special, as in `127.0.0.1:8080` or `53/udp`.
    pub port: String,
    /// Who has it.
    pub holder: Holder,
}

/// Who has a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// Another service of the same stack wants it as well, or another container of the same service.
    Service(String),
    /// A container of this very stack that the start does not replace.
    Own {
        /// Its name.
        name: String,
        /// Why it is not replaced.
        why: NotReplaced,
    },
    /// A container that runs.
    Container {
        /// Its name.
        name: String,
        /// Its Compose project; empty if it has none.
        project: String,
        /// The checkout or folder that this was started from; empty if it does not say.
        checkout: String,
    },
    /// A process of this machine.
    Process {
        /// The program's name.
        name: String,
        /// Its id.
        pid: i32,
    },
    /// Somebody whom this user may not see.
    Unknown,
}

/// Why a start leaves a container of its own stack alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotReplaced {
    /// It is one of `docker compose run`.
    OneOff,
    /// The start is about other services.
    NotStarted,
    /// Its service is not in the file any more, or behind a profile that is not active.
    Unknown,
}

impl fmt::Display for NotReplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NotReplaced::OneOff => "a container of `docker compose run`",
            NotReplaced::NotStarted => "which this start does not include",
            NotReplaced::Unknown => "which is no longer in the file, or only in an inactive profile",
        })
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Holder::Own { name, why } => write!(f, "held by {name} of this stack, {why}"),
            Holder::Service(name) => write!(f, "also published by {name}"),
            Holder::Container { name, project, .. } if project.is_empty() => write!(f, "held by container {name}"),
            Holder::Container { name, project, checkout } if checkout.is_empty() => {
                write!(f, "held by container {name} of project {project}")
            }
            Holder::Container { name, project, checkout } => {
                write!(f, "held by container {name} of project {project} ({checkout})")
            }
            Holder::Process { name, pid } => write!(f, "held by {name} (pid {pid})"),
            Holder::Unknown => f.write_str("held by a process that this user may not see"),
        }
    }
}

impl Holder {
    /// The name of a container of this very stack.
    pub(crate) fn own(&self) -> Option<&str> {
        match self {
            Holder::Own { name, .. } => Some(name),
            _ => None,
        }
    }
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: port {} is {}", self.service, self.port, self.holder)
    }
}

/// Whether a container at the first address is in the way of one at the second. None is all addresses of both versions, which the
/// engine binds one after the other; an address that is unspecified is all of its version. Source: both engines of the tests, which
/// bind `::` for version 6 only.
fn meet(one: Option<IpAddr>, other: Option<IpAddr>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => {
            one.is_ipv4() == other.is_ipv4() && (one == other || one.is_unspecified() || other.is_unspecified())
        }
        _ => true,
    }
}

/// The ports of these services that are in use on this machine. Those that the start will free itself are not among them: `ours`
/// are the containers of the project, `is_kept` says why one is not replaced or kept as it is wanted.
///
/// # Errors
/// [`crate::exit::Code::EngineUnavailable`] if the engine does not say what runs.
pub(crate) fn taken<'a>(
    executor: &dyn Executor,
    stack: &Stack,
    services: impl Iterator<Item = (&'a str, u32)>,
    ours: &[Container],
    is_kept: &dyn Fn(&Container) -> Option<NotReplaced>,
) -> Result<Vec<Taken>, Failure> {
    let wanted: Vec<(Wanted, u32)> = services.flat_map(|(name, replicas)| wanted_by(stack, name, replicas)).collect();
    let mut taken = contradictions(&wanted);
    let mut unexplained = Vec::new();
    for (wanted, _) in wanted.iter().filter(|(wanted, _)| is_busy(wanted)) {
        let holders: Vec<&Container> = ours.iter().filter(|container| publishes(container, wanted)).collect();
        match holders.iter().find_map(|container| Some((container, is_kept(container)?))) {
            Some((container, why)) => {
                let holder = Holder::Own { name: container.name.clone(), why };
                taken.push(Taken { service: wanted.service.clone(), port: wanted.to_string(), holder });
            }
            None if holders.is_empty() => unexplained.push(wanted),
            None => {}
        }
    }
    if unexplained.is_empty() {
        return Ok(taken);
    }
    let containers = running_containers(executor)?;
    for wanted in unexplained {
        if let Some(holder) = holder_of(executor, wanted, &containers, &stack.project) {
            taken.push(Taken { service: wanted.service.clone(), port: wanted.to_string(), holder });
        }
    }
    Ok(taken)
}

/// The holder of a port of this machine, for an engine's refusal to publish it.
pub(crate) fn holder(executor: &dyn Executor, project: &ProjectName, port: u16) -> Holder {
    let wanted = Wanted { service: String::new(), ip: None, ports: port..=port, protocol: "tcp".to_string() };
    let containers = running_containers(executor).unwrap_or_default();
    holder_of(executor, &wanted, &containers, project).unwrap_or(Holder::Unknown)
}

fn wanted_by(stack: &Stack, service: &str, replicas: u32) -> Vec<(Wanted, u32)> {
    let ports = stack.services.get(service).map(Service::ports).unwrap_or_default();
    let wanted = ports.iter().filter_map(|port| {
        let ip = match port.host_ip.as_deref().unwrap_or_default() {
            "" => None,
            // An address that is none is the engine's to complain about.
            ip => Some(ip.parse().ok()?),
        };
        let protocol = port.protocol().to_string();
        Some((Wanted { service: service.to_string(), ip, ports: port.published()?, protocol }, replicas))
    });
    // Without a container it publishes nothing.
    wanted.filter(|_| replicas > 0).collect()
}

/// The ports that two containers of the stack want.
fn contradictions(wanted: &[(Wanted, u32)]) -> Vec<Taken> {
    let mut first: BTreeMap<(u16, &str), Vec<&Wanted>> = BTreeMap::new();
    let mut taken = Vec::new();
    // Of a range each container gets another port.
    for (wanted, replicas) in wanted.iter().filter(|(wanted, _)| wanted.ports.start() == wanted.ports.end()) {
        let others = first.entry((*wanted.ports.start(), wanted.protocol.as_str())).or_default();
        let other = others.iter().find(|other| meet(other.ip, wanted.ip)).map(|other| other.service.clone());
        let itself = match replicas.saturating_sub(1) {
            0 => None,
            1 => Some(format!("the other container of {}", wanted.service)),
            others => Some(format!("the other {others} containers of {}", wanted.service)),
        };
        if let Some(holder) = other.or(itself) {
            let holder = Holder::Service(holder);
            taken.push(Taken { service: wanted.service.clone(), port: wanted.to_string(), holder });
        }
        others.push(wanted);
    }
    taken
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            Some(IpAddr::V6(ip)) => write!(f, "[{ip}]:")?,
            Some(ip) => write!(f, "{ip}:")?,
            None => {}
        }
        write!(f, "{}", self.ports.start())?;
        if self.ports.end() > self.ports.start() {
            write!(f, "-{}", self.ports.end())?;
        }
        if self.protocol == "tcp" { Ok(()) } else { write!(f, "/{}", self.protocol) }
    }
}

/// Whether none of the ports can be bound.
fn is_busy(wanted: &Wanted) -> bool {
    let everywhere = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let ips = wanted.ip.map_or(everywhere.to_vec(), |ip| vec![ip]);
    wanted.ports.clone().all(|port| ips.iter().any(|ip| is_taken(SocketAddr::new(*ip, port), &wanted.protocol)))
}

/// Whether a program on this machine has the port, at any address, for `tcp` or `udp`.
pub(crate) fn is_in_use(port: u16) -> bool {
    ["tcp", "udp"].iter().any(|protocol| {
        is_busy(&Wanted { service: String::new(), ip: None, ports: port..=port, protocol: (*protocol).to_string() })
    })
}

/// Whether the system says that this address is in use. Any other refusal (no right, no such address) is not known to be an
/// obstacle to the engine.
fn is_taken(address: SocketAddr, protocol: &str) -> bool {
    os::bind(address, protocol).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

/// None if it is a container of this project.
fn holder_of(
    executor: &dyn Executor,
    wanted: &Wanted,
    containers: &[Container],
    project: &ProjectName,
) -> Option<Holder> {
    match containers.iter().find(|container| publishes(container, wanted)) {
        Some(container) if container.project == project.as_str() => None,
        Some(container) => Some(Holder::Container {
            name: container.name.clone(),
            project: container.project.clone(),
            checkout: checkout_name(container.working_dir.as_ref()),
        }),
        None => Some(process_at(executor, wanted).unwrap_or(Holder::Unknown)),
    }
}

/// Whether a container has one of the ports.
fn publishes(container: &Container, wanted: &Wanted) -> bool {
    container.ports.iter().any(|port| {
        let meets = match port.host_ip.as_str() {
            "" => true,
            ip => ip.parse().is_ok_and(|ip| meet(Some(ip), wanted.ip)),
        };
        meets && port.protocol == wanted.protocol && wanted.ports.contains(&port.host_port)
    })
}

/// The process that listens there, as far as this user may see.
fn process_at(executor: &dyn Executor, wanted: &Wanted) -> Option<Holder> {
    let meets = |address: &SocketAddr| {
        // One at `::` may listen for version 4 as well, which the system does not tell.
        let is_dual = address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        wanted.ports.contains(&address.port()) && (is_dual || meet(Some(address.ip()), wanted.ip))
    };
    let ask = |command| executor.output(&Invocation::from(command));
    let (name, pid) = os::port_holder(&ask, &wanted.protocol, &meets)?;
    Some(Holder::Process { name, pid })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::command::System;
    use crate::engine::Published;

    fn wanted(service: &str, ip: &str, first: u16, last: u16) -> Wanted {
        let (service, protocol) = (service.to_string(), "tcp".to_string());
        Wanted { service, ip: ip.parse().ok(), ports: first..=last, protocol }
    }

    /// Somebody who listens, and the port.
    fn listener(ip: &str) -> (TcpListener, u16) {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    #[test]
    fn a_busy_port_is_reported_with_its_process() {
        let (_listener, port) = listener("127.0.0.1");
        let ours = Holder::Process { name: String::new(), pid: std::process::id().cast_signed() };
        for ip in ["127.0.0.1", "any"] {
            let wanted = wanted("web", ip, port, port);
            assert!(is_busy(&wanted), "{wanted}");
            let Some(Holder::Process { pid, name }) = process_at(&System, &wanted) else {
                panic!("nobody is seen at {wanted}")
            };
            assert_eq!(Holder::Process { name: String::new(), pid }, ours);
            assert!(!name.is_empty());
        }
    }

    #[test]
    fn a_port_in_use_on_ipv6_only_is_busy_for_all_addresses() {
        let Ok(listener) = TcpListener::bind("[::1]:0") else { return };
        let port = listener.local_addr().unwrap().port();
        for ip in ["any", "::", "::1"] {
            assert!(is_busy(&wanted("web", ip, port, port)), "{ip}");
        }
        for ip in ["0.0.0.0", "127.0.0.1"] {
            assert!(!is_busy(&wanted("web", ip, port, port)), "{ip}");
        }
    }

    #[test]
    fn addresses_meet_within_their_version() {
        let meet = |one: &str, other: &str| meet(one.parse().ok(), other.parse().ok());
        for (one, other) in
            [("any", "::1"), ("any", "any"), ("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("::1", "::1"), ("::", "any")]
        {
            assert!(meet(one, other) && meet(other, one), "{one} {other}");
        }
        for (one, other) in [("0.0.0.0", "::"), ("127.0.0.1", "127.0.0.2"), ("127.0.0.1", "::1"), ("0.0.0.0", "::1")] {
            assert!(!meet(one, other) && !meet(other, one), "{one} {other}");
        }
    }

    #[test]
    fn a_port_of_our_own_that_is_not_replaced_is_in_the_way() {
        let (_listener, port) = listener("127.0.0.1");
        let json = format!(
            r#"{{"name": "x", "services": {{"api": {{"ports": [{{"target": 80, "published": "{port}", "host_ip": "127.0.0.1"}}]}}}}}}"#
        );
        let stack = Stack::parse(json.as_bytes()).unwrap();
        let published = Published { target: 80, protocol: "tcp".into(), host_ip: "127.0.0.1".into(), host_port: port };
        let ours = [container("x-web-1", "x", &[published])];
        let said = |is_kept: &dyn Fn(&Container) -> Option<NotReplaced>| -> Vec<String> {
            let taken = taken(&System, &stack, [("api", 1)].into_iter(), &ours, is_kept).unwrap();
            taken.iter().map(ToString::to_string).collect()
        };
        assert!(said(&|_| None).is_empty());
        let line = format!(
            "api: port 127.0.0.1:{port} is held by x-web-1 of this stack, which is no longer in the file, or only in an inactive profile"
        );
        assert_eq!(said(&|_| Some(NotReplaced::Unknown)), [line]);
    }

    #[test]
    fn a_range_is_busy_when_all_of_it_is() {
        let (_listener, port) = listener("0.0.0.0");
        assert!(is_busy(&wanted("web", "any", port, port)));
        let wider = wanted("web", "any", port - 30, port);
        assert!(!is_busy(&wider), "somebody has all of {wider}");
    }

    #[test]
    fn a_port_of_another_protocol_is_free() {
        let (_listener, port) = listener("127.0.0.1");
        assert!(!is_busy(&Wanted { protocol: "udp".to_string(), ..wanted("web", "127.0.0.1", port, port) }));
    }

    fn container(name: &str, project: &str, ports: &[Published]) -> Container {
        let ([name, project], ports) = ([name, project].map(str::to_string), ports.to_vec());
        let working_dir = "/w/shop/.stagecraft/dev".to_string();
        Container { name, project, ports, working_dir, ..Container::default() }
    }

    #[test]
    fn a_port_conflict_names_container_and_checkout() {
        let published = |host_ip: &str, host_port, protocol: &str| {
            let [host_ip, protocol] = [host_ip, protocol].map(str::to_string);
            Published { target: 80, protocol, host_ip, host_port }
        };
        let ports =
            [("127.0.0.1", 8080, "tcp"), ("127.0.0.1", 8082, "tcp"), ("::", 53, "udp"), ("0.0.0.0", 443, "tcp")];
        let ports = ports.map(|(ip, port, protocol)| published(ip, port, protocol));
        let containers = [container("other-web-1", "other", &ports)];
        let project = ProjectName::new("mine").unwrap();
        let holder = |wanted: &Wanted| holder_of(&System, wanted, &containers, &project);
        let said = "held by container other-web-1 of project other (/w/shop)";
        for (ip, port) in [("any", 8080), ("127.0.0.1", 8082), ("any", 443), ("127.0.0.1", 443)] {
            assert_eq!(holder(&wanted("web", ip, port, port)).unwrap().to_string(), said, "{ip} {port}");
        }
        for port in [53, 9000] {
            assert!(!matches!(holder(&wanted("web", "any", port, port)), Some(Holder::Container { .. })), "{port}");
        }
        let ours = [container("mine-web-1", "mine", &ports)];
        assert_eq!(holder_of(&System, &wanted("web", "any", 8080, 8080), &ours, &project), None);
    }

    #[test]
    fn ports_published_twice_by_a_stack_are_reported() {
        let all = [
            (wanted("a", "any", 80, 80), 1),
            (wanted("b", "127.0.0.1", 80, 80), 1),
            (wanted("c", "127.0.0.1", 81, 81), 1),
            (wanted("d", "127.0.0.2", 81, 81), 1),
            (wanted("e", "any", 82, 82), 3),
            (wanted("f", "any", 90, 99), 3),
            (wanted("g", "0.0.0.0", 83, 83), 1),
            (wanted("g", "::", 83, 83), 1),
        ];
        let said: Vec<String> = contradictions(&all).iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "b: port 127.0.0.1:80 is also published by a",
                "e: port 82 is also published by the other 2 containers of e",
            ]
        );
    }

    #[test]
    fn published_ports_are_read_from_the_model() {
        let json = br#"{"name": "x", "services": {"web": {"ports": [
            {"target": 80, "published": "8080"}, {"target": 81, "published": "8081", "host_ip": "127.0.0.1"},
            {"target": 82}, {"target": 53, "published": "53", "protocol": "udp", "host_ip": "0.0.0.0"},
            {"target": 70, "published": "7000-7001", "host_ip": "::1"}, {"target": 9, "published": "9", "host_ip": "x"}]}}}"#;
        let stack = Stack::parse(json).unwrap();
        let said = |replicas| -> Vec<String> {
            wanted_by(&stack, "web", replicas).iter().map(|(wanted, _)| wanted.to_string()).collect()
        };
        assert_eq!(said(1), ["8080", "127.0.0.1:8081", "0.0.0.0:53/udp", "[::1]:7000-7001"]);
        assert!(said(0).is_empty());
        for network in ["host", "none"] {
            let port = r#"{"target": 80, "published": "80"}"#;
            let json = format!(
                r#"{{"name": "x", "services": {{"web": {{"network_mode": "{network}", "ports": [{port}]}}}}}}"#
            );
            assert!(wanted_by(&Stack::parse(json.as_bytes()).unwrap(), "web", 1).is_empty(), "{network}");
        }
    }
}
