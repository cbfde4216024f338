//! What matters of one service.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use jiff::SignedDuration;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::ProjectName;

/// How long a container may take to stop where the file does not say. Source: `stop_grace_period` of the Compose specification.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// What matters to us of one service. It is remembered on the disk, so nothing of its environment belongs here.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Service {
    scale: Option<i64>,
    deploy: Option<Deploy>,
    image: Option<String>,
    build: Option<Present>,
    /// A program that provides the service, in place of a container.
    provider: Option<Present>,
    network_mode: Option<String>,
    /// The fixed name of its container.
    pub container_name: Option<String>,
    #[serde(default)]
    ports: Vec<Port>,
    #[serde(default)]
    volumes: Vec<Mount>,
    healthcheck: Option<Healthcheck>,
    #[serde(default)]
    labels: Labels,
    /// What runs first in its containers, in place of what the image says.
    entrypoint: Option<Present>,
    stop_signal: Option<String>,
    stop_grace_period: Option<String>,
    /// The services that it waits for, by name.
    #[serde(default)]
    pub depends_on: BTreeMap<String, Dependency>,
}

/// A key with any value.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "IgnoredAny", into = "bool")]
struct Present;

impl From<IgnoredAny> for Present {
    fn from(_: IgnoredAny) -> Present {
        Present
    }
}

impl From<Present> for bool {
    fn from(_: Present) -> bool {
        true
    }
}

/// The one label that matters: [`ROUTE_LABEL`](crate::compose::ROUTE_LABEL). Others may hold secrets.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Labels {
    #[serde(rename = "dev.stagecraft.route")]
    route: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Deploy {
    replicas: Option<i64>,
}

/// A port that a service publishes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Port {
    /// The port inside. Compose leaves out a 0, which the engine takes for a port.
    #[serde(default)]
    pub target: u16,
    /// The port, or the range of ports, on the host; none where the engine is to choose.
    #[serde(skip_serializing_if = "Option::is_none")]
    published: Option<String>,
    /// The host's address that it is bound to; none for all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_protocol: Option<String>,
}

impl Port {
    /// The range of host ports. None if the engine chooses.
    pub fn published(&self) -> Option<RangeInclusive<u16>> {
        let (first, last) = match self.published.as_deref()?.split_once('-') {
            Some((first, last)) => (first.parse().ok()?, last.parse().ok()?),
            None => {
                let port = self.published.as_deref()?.parse().ok()?;
                (port, port)
            }
        };
        (first > 0).then_some(first..=last)
    }

    /// The same port, with another one on the host.
    pub(crate) fn published_as(&self, ports: &RangeInclusive<u16>) -> Port {
        let (first, last) = (ports.start(), ports.end());
        let published = if first == last { first.to_string() } else { format!("{first}-{last}") };
        Port { published: Some(published), ..self.clone() }
    }

    /// `tcp` or `udp`.
    pub fn protocol(&self) -> &str {
        self.protocol.as_deref().unwrap_or("tcp")
    }
}

/// What a service waits for before it is started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// `service_started`, `service_healthy` or `service_completed_successfully`.
    #[serde(default)]
    pub condition: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Healthcheck {
    #[serde(default)]
    disable: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Mount {
    #[serde(rename = "type")]
    kind: String,
    source: Option<PathBuf>,
    #[serde(default)]
    read_only: bool,
    bind: Option<Bind>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Bind {
    #[serde(default)]
    create_host_path: bool,
}

impl Service {
    /// How many containers the file asks for. None where a program provides the service.
    pub fn replicas(&self) -> u32 {
        if self.provider.is_some() {
            return 0;
        }
        let deployed = self.deploy.as_ref().and_then(|deploy| deploy.replicas);
        let replicas = self.scale.or(deployed).unwrap_or(1);
        u32::try_from(replicas.max(0)).unwrap_or(u32::MAX)
    }

    /// The image that its containers are made from, as the engine calls it, and whether it is built here.
    pub fn image(&self, project: &ProjectName, name: &str) -> (String, bool) {
        let image = self.image.clone().unwrap_or_else(|| format!("{project}-{name}"));
        (image, self.build.is_some())
    }

    /// Whether it has the network of the host instead of one of its own.
    pub fn has_host_network(&self) -> bool {
        self.network_mode.as_deref() == Some("host")
    }

    /// The ports that it publishes. None for one that has the host's network or none: the engine publishes nothing of it.
    pub fn ports(&self) -> &[Port] {
        if matches!(self.network_mode.as_deref(), Some("host" | "none")) { &[] } else { &self.ports }
    }

    /// The URL under which it can be reached by name, through the service `traefik`.
    pub fn route(&self) -> Option<&str> {
        self.labels.route.as_deref()
    }

    /// What of the host's file system is mounted into it.
    pub fn bind_sources(&self) -> impl Iterator<Item = &PathBuf> {
        self.volumes.iter().filter(|mount| mount.kind == "bind").filter_map(|mount| mount.source.as_ref())
    }

    /// What of it the service can write to.
    pub fn writable_bind_sources(&self) -> impl Iterator<Item = &PathBuf> {
        let binds = self.volumes.iter().filter(|mount| mount.kind == "bind" && !mount.read_only);
        binds.filter_map(|mount| mount.source.as_ref())
    }

    /// Those of them that Compose does not create where they are missing.
    pub fn required_bind_sources(&self) -> impl Iterator<Item = &PathBuf> {
        let is_created = |mount: &Mount| mount.bind.as_ref().is_some_and(|bind| bind.create_host_path);
        let binds = self.volumes.iter().filter(move |mount| mount.kind == "bind" && !is_created(mount));
        binds.filter_map(|mount| mount.source.as_ref())
    }

    /// Whether the file gives it a healthcheck.
    pub fn has_healthcheck(&self) -> bool {
        self.healthcheck.as_ref().is_some_and(|healthcheck| !healthcheck.disable)
    }

    /// Whether the file says what runs first in its containers.
    pub fn has_entrypoint(&self) -> bool {
        self.entrypoint.is_some()
    }

    /// The name of the signal that asks its containers to end.
    pub fn stop_signal(&self) -> &str {
        self.stop_signal.as_deref().unwrap_or("SIGTERM")
    }

    /// How long they may take then.
    pub fn stop_grace(&self) -> Duration {
        let period = self.stop_grace_period.as_deref().and_then(|period| period.parse::<SignedDuration>().ok());
        period.and_then(|period| Duration::try_from(period).ok()).unwrap_or(DEFAULT_GRACE)
    }

    /// The protocol that the file states for a container port (`app_protocol`).
    pub(super) fn app_protocol(&self, target: u16) -> Option<&str> {
        let port = self.ports.iter().find(|port| port.target == target)?;
        port.app_protocol.as_deref()
    }
}
