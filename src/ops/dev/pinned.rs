//! Host ports for an isolated stack. They are derived from names, so that they are the same at each start, and reserved, so that two starts at the same
//! time do not choose the same one.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::RangeInclusive;

use crate::compose::{Port, ProjectName};
use crate::session::ProjectLock;
use crate::stack::ports::is_in_use;

/// Below the ports that Linux takes for outgoing connections (`net.ipv4.ip_local_port_range`), above those that programs are known for.
const RANGE: RangeInclusive<u16> = 20000..=32767;

/// The ports of one project.
pub(super) struct PinnedPorts {
    project: ProjectName,
    /// Whether the ports are on this machine. Of another one nothing is known.
    is_local: bool,
    chosen: BTreeMap<(String, u16, String), RangeInclusive<u16>>,
    /// What excludes other starts from these ports, as long as this lives.
    reserved: Vec<ProjectLock>,
}

impl PinnedPorts {
    pub(super) fn new(project: ProjectName, is_local: bool) -> PinnedPorts {
        PinnedPorts { project, is_local, chosen: BTreeMap::new(), reserved: Vec::new() }
    }

    /// Where a port of a service with so many containers is published. `tcp` and `udp` of one port stay together.
    pub(super) fn choose(&mut self, service: &str, port: &Port, replicas: u32) -> RangeInclusive<u16> {
        let published = port.published();
        let key = (service.to_string(), port.target, format!("{:?} {published:?}", port.host_ip));
        if let Some(ports) = self.chosen.get(&key) {
            return ports.clone();
        }
        let in_file = published.map_or(1, |ports| ports.end().saturating_sub(*ports.start()).saturating_add(1));
        let length = in_file.max(u16::try_from(replicas).unwrap_or(u16::MAX)).clamp(1, RANGE.end() - RANGE.start());
        let places = RANGE.end() - RANGE.start() + 2 - length;
        let mut hasher = DefaultHasher::new();
        (self.project.as_str(), &key).hash(&mut hasher);
        let first = u16::try_from(hasher.finish() % u64::from(places)).unwrap_or_default();
        let place = |offset: u16| {
            let first =
                RANGE.start() + u16::try_from((u32::from(first) + u32::from(offset)) % u32::from(places)).unwrap_or(0);
            first..=first + (length - 1)
        };
        // If all are in use, the check before the start says by what.
        let ports = (0..places).map(place).find(|ports| self.reserve(ports)).unwrap_or_else(|| place(0));
        self.chosen.insert(key, ports.clone());
        ports
    }

    fn reserve(&mut self, ports: &RangeInclusive<u16>) -> bool {
        let meets = |other: &RangeInclusive<u16>| ports.start() <= other.end() && other.start() <= ports.end();
        if self.chosen.values().any(meets) || self.is_local && ports.clone().any(is_in_use) {
            return false;
        }
        // A project's name has no dot. Where files cannot be locked, nothing is reserved.
        let locks = ports.clone().map(|port| ProjectLock::open(&format!("port.{port}")));
        let mut locks: Vec<ProjectLock> = locks.map(|lock| lock.unwrap_or_else(|_| ProjectLock::none())).collect();
        let is_free = locks.iter_mut().all(|lock| lock.try_take().unwrap_or(true));
        if is_free {
            self.reserved.append(&mut locks);
        }
        is_free
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn ports(project: &str) -> PinnedPorts {
        PinnedPorts::new(ProjectName::new(project).unwrap(), true)
    }

    fn port(json: &str) -> Port {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_port_is_derived_from_names_and_stays_the_same() {
        let db = port(r#"{"target": 5432, "published": "5432"}"#);
        let chosen = |project: &str, service: &str| ports(project).choose(service, &db, 1);
        let first = chosen("pinned-a", "db");
        assert!(RANGE.contains(first.start()) && first.start() == first.end());
        assert_eq!(chosen("pinned-a", "db"), first);
        assert_ne!(chosen("pinned-b", "db"), first);
        assert_ne!(chosen("pinned-a", "cache"), first);
    }

    #[test]
    fn a_port_in_use_or_reserved_by_another_start_is_passed_over() {
        let db = port(r#"{"target": 5432}"#);
        let mut other = ports("pinned-c");
        let reserved = other.choose("db", &db, 1);
        let next = ports("pinned-c").choose("db", &db, 1);
        assert_ne!(next, reserved);
        drop(other);
        let listener = TcpListener::bind(("127.0.0.1", *reserved.start())).unwrap();
        assert_ne!(ports("pinned-c").choose("db", &db, 1), reserved);
        drop(listener);
        assert_eq!(ports("pinned-c").choose("db", &db, 1), reserved);
    }

    #[test]
    fn ranges_keep_their_length_and_both_protocols_stay_together() {
        let mut ports = ports("pinned-d");
        let range = ports.choose("web", &port(r#"{"target": 80, "published": "8000-8010"}"#), 2);
        assert_eq!(range.end() - range.start(), 10);
        let several = ports.choose("web", &port(r#"{"target": 81}"#), 3);
        assert_eq!(several.end() - several.start(), 2);
        let tcp = ports.choose("dns", &port(r#"{"target": 53, "published": "53", "protocol": "tcp"}"#), 1);
        let udp = ports.choose("dns", &port(r#"{"target": 53, "published": "53", "protocol": "udp"}"#), 1);
        assert_eq!(tcp, udp);
        assert!([&range, &several, &tcp].iter().all(|it| RANGE.contains(it.start()) && RANGE.contains(it.end())));
    }
}
