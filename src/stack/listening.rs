//! Whether a program listens on the published ports of a container.
//!
//! A connection through the engine's proxy proves nothing: the proxy accepts it even without a listener, and then closes it. So the
//! sockets of the container are read from the system if possible, which does not disturb the program. Otherwise a connection is made,
//! and nothing is sent. `spec/dev/readiness.md` has the measurements.

use std::io::{ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::engine::{Inspected, Published};
use crate::os;

/// How long a connection may take, and how long the proxy may take to close one that leads nowhere: it was at most 9 ms.
const PROXY_LIMIT: Duration = Duration::from_millis(500);

/// A published port on which no program listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deaf {
    /// The port in the container.
    pub port: u16,
    /// The container is known to listen there at its loopback address, which is reached from within only.
    pub at_loopback: bool,
}

impl Deaf {
    /// The cause, with what to change.
    pub(crate) fn cause(&self) -> String {
        let port = self.port;
        if self.at_loopback {
            format!("nothing listens on port {port} in the container except at 127.0.0.1: bind 0.0.0.0 in the program")
        } else {
            format!("nothing listens on port {port} in the container; does the program bind 127.0.0.1?")
        }
    }
}

/// The published TCP ports of a running container on which no program listens, in order.
pub(crate) fn deaf_ports(container: &Inspected) -> Vec<Deaf> {
    deaf_ports_seen(container).unwrap_or_else(|| {
        let deaf = published(container).filter(|port| !answers(port));
        without_repetition(deaf.map(|port| Deaf { port: port.target, at_loopback: false }).collect())
    })
}

/// As [`deaf_ports`], without a connection. None where that does not tell.
pub(crate) fn deaf_ports_seen(container: &Inspected) -> Option<Vec<Deaf>> {
    let listeners = os::listeners_of(container.pid, &container.id)?;
    Some(without_repetition(published(container).filter_map(|port| deaf_by(port.target, &listeners)).collect()))
}

fn published(container: &Inspected) -> impl Iterator<Item = &Published> {
    container.ports.iter().filter(|port| port.protocol == "tcp" && port.host_port > 0)
}

/// A port is published once for each address of the host.
fn without_repetition(mut deaf: Vec<Deaf>) -> Vec<Deaf> {
    deaf.dedup_by_key(|deaf| deaf.port);
    deaf
}

fn deaf_by(port: u16, listeners: &[SocketAddr]) -> Option<Deaf> {
    let mut at_port = listeners.iter().filter(|address| address.port() == port).peekable();
    let at_loopback = at_port.peek().is_some();
    at_port.all(|address| address.ip().is_loopback()).then_some(Deaf { port, at_loopback })
}

/// Whether a connection to the port is not closed at once.
fn answers(port: &Published) -> bool {
    let ip = match port.host_ip.parse() {
        Ok(IpAddr::V4(ip)) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Ok(IpAddr::V6(ip)) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        Ok(ip) => ip,
        Err(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    let Ok(mut connection) = TcpStream::connect_timeout(&SocketAddr::new(ip, port.host_port), PROXY_LIMIT) else {
        return false;
    };
    if connection.set_read_timeout(Some(PROXY_LIMIT)).is_err() {
        return true;
    }
    match connection.read(&mut [0]) {
        Ok(read) => read > 0,
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn a_listener_counts_at_any_address_but_loopback() {
        let at = |addresses: &[&str]| {
            let addresses: Vec<SocketAddr> = addresses.iter().map(|it| it.parse().unwrap()).collect();
            deaf_by(80, &addresses).map(|deaf| deaf.at_loopback)
        };
        for good in [&["0.0.0.0:80"][..], &["[::]:80"], &["10.0.0.2:80"], &["127.0.0.1:80", "0.0.0.0:80"]] {
            assert_eq!(at(good), None, "{good:?}");
        }
        assert_eq!(at(&["0.0.0.0:8080"]), Some(false));
        assert_eq!(at(&["127.0.0.1:80", "[::1]:80"]), Some(true));
    }

    #[test]
    fn without_a_look_at_the_sockets_a_connection_that_stays_tells() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host_port = listener.local_addr().unwrap().port();
        let port = Published { target: 80, protocol: "tcp".into(), host_ip: "0.0.0.0".into(), host_port };
        let container = Inspected { ports: vec![port], ..Inspected::default() };
        assert_eq!(deaf_ports(&container), []);
        // As the engine's proxy does without a listener.
        let server = thread::spawn(move || {
            drop(listener.accept().unwrap());
            drop(listener.accept().unwrap());
        });
        let deaf = Deaf { port: 80, at_loopback: false };
        assert_eq!(deaf_ports(&container), [deaf]);
        server.join().unwrap();
        assert_eq!(deaf_ports(&container), [deaf], "refused");
    }
}
