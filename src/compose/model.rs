//! The stack as Compose understands it: what `config --format json` answers.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use jiff::SignedDuration;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ProjectName, TRAEFIK, Traefik};

/// How long a container may take to stop where the file does not say. Source: `stop_grace_period` of the Compose specification.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// The stack: interpolated, merged, without services behind an inactive profile.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stack {
    /// The project's name.
    pub project: ProjectName,
    /// The active services by name.
    pub services: BTreeMap<String, Service>,
    /// The volumes that Compose makes for it, by the engine's name.
    pub volumes: BTreeMap<String, VolumeConfig>,
    /// The external ones that it uses, by their name on the engine.
    pub external_volumes: BTreeSet<String>,
}

/// A hash of a volume's configuration, for comparison: options may contain passwords.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeConfig(u64);

impl VolumeConfig {
    /// Of a volume with this driver, these options and these labels, as the file or the engine names them. Compose's own labels do not
    /// count.
    pub fn new(
        driver: Option<&str>,
        options: Option<&BTreeMap<String, String>>,
        labels: Option<&BTreeMap<String, String>>,
    ) -> VolumeConfig {
        let mut hasher = DefaultHasher::new();
        driver.filter(|driver| !driver.is_empty()).unwrap_or("local").hash(&mut hasher);
        options.into_iter().flatten().for_each(|option| option.hash(&mut hasher));
        "labels".hash(&mut hasher);
        let labels = labels.into_iter().flatten().filter(|(label, _)| !label.starts_with("com.docker.compose."));
        labels.for_each(|label| label.hash(&mut hasher));
        VolumeConfig(hasher.finish())
    }
}

#[derive(Deserialize)]
struct Volume {
    name: Option<String>,
    driver: Option<String>,
    driver_opts: Option<BTreeMap<String, String>>,
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    external: bool,
}

impl Volume {
    fn config(&self) -> VolumeConfig {
        VolumeConfig::new(self.driver.as_deref(), self.driver_opts.as_ref(), self.labels.as_ref())
    }
}

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

/// The one label that matters: [`super::ROUTE_LABEL`]. Others may hold secrets.
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
    published: Option<String>,
    /// The host's address that it is bound to; none for all of them.
    pub host_ip: Option<String>,
    protocol: Option<String>,
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
    fn app_protocol(&self, target: u16) -> Option<&str> {
        let port = self.ports.iter().find(|port| port.target == target)?;
        port.app_protocol.as_deref()
    }
}

/// The answer as it is printed.
#[derive(Deserialize)]
struct Model {
    name: String,
    #[serde(default)]
    services: BTreeMap<String, Service>,
    #[serde(default)]
    volumes: BTreeMap<String, Volume>,
}

impl Model {
    /// The first key of a service that makes no sense.
    fn fault(json: &[u8]) -> Option<String> {
        let model: Value = serde_json::from_slice(json).ok()?;
        // Through text, since a reader of values would be a second one.
        let makes_sense = |key: &str, value: &Value| {
            let service = serde_json::json!({ key: value }).to_string();
            serde_json::from_slice::<Service>(service.as_bytes()).is_ok()
        };
        model["services"].as_object()?.iter().find_map(|(name, service)| {
            let (key, _) = service.as_object()?.iter().find(|(key, value)| !makes_sense(key, value))?;
            Some(format!("services.{name}.{key} has a value that cannot be used here"))
        })
    }
}

impl Stack {
    /// Reads what [`super::config`] answered. The text holds interpolated secrets: it is never shown, also not in an error.
    ///
    /// # Errors
    /// If this is not the JSON of a Compose model.
    pub fn parse(json: &[u8]) -> anyhow::Result<Stack> {
        let place = |error: serde_json::Error| format!("line {}, column {}", error.line(), error.column());
        let model: Model = serde_json::from_slice(json)
            .map_err(|error| anyhow!("{}", Model::fault(json).unwrap_or_else(|| place(error))))
            .context("cannot read what `docker compose config` printed")?;
        let (external, own): (Vec<Volume>, Vec<Volume>) = model.volumes.into_values().partition(|it| it.external);
        Ok(Stack {
            project: ProjectName::new(&model.name).map_err(|rule| anyhow!("`{}`: {rule}", model.name))?,
            services: model.services,
            volumes: own.into_iter().filter_map(|it| Some((it.name.clone()?, it.config()))).collect(),
            external_volumes: external.into_iter().filter_map(|it| it.name).collect(),
        })
    }

    /// Whether the stack has an active service of this name.
    pub fn has(&self, service: &str) -> bool {
        self.services.contains_key(service)
    }

    /// Forgets the service `traefik` where it is not started: then nothing is reached through it either.
    pub fn leave_out(&mut self, traefik: Traefik) {
        if traefik == Traefik::Off {
            self.services.remove(TRAEFIK);
        }
    }

    /// These services and all that they wait for.
    pub fn with_dependencies<'a>(&'a self, services: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
        let mut open: Vec<&str> = services.into_iter().collect();
        let mut found = BTreeSet::new();
        while let Some(name) = open.pop() {
            if let Some(service) = self.services.get(name)
                && found.insert(name)
            {
                open.extend(service.depends_on.keys().map(String::as_str));
            }
        }
        found
    }

    /// Whether another service waits for this one to do its work and exit with 0.
    pub fn is_one_shot(&self, service: &str) -> bool {
        let waits = |other: &Service| {
            let dependency = other.depends_on.get(service);
            dependency.is_some_and(|dependency| dependency.condition == "service_completed_successfully")
        };
        self.services.values().any(waits)
    }

    /// The scheme of the URLs of a service's port: the file's `app_protocol`, else what a well-known container port stands
    /// for. None where the protocol is not known, or is not that of the web.
    pub fn scheme(&self, service: &str, target: u16) -> Option<&'static str> {
        let stated = self.services.get(service).and_then(|service| service.app_protocol(target));
        match (stated, target) {
            (Some("http" | "http2"), _) => Some("http"),
            (Some("https"), _) => Some("https"),
            (None, 80 | 3000 | 8000 | 8080) => Some("http"),
            (None, 443 | 8443) => Some("https"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_stack_has_its_active_services_with_their_replicas() {
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
    fn an_unreadable_value_is_named_by_service_and_key() {
        let json = br#"{"name": "x", "services": {"db": {}, "web": {"image": "i", "ports": [{"target": 70000}]}}}"#;
        let error = format!("{:#}", Stack::parse(json).unwrap_err());
        let words = "services.web.ports has a value that cannot be used here";
        assert_eq!(error, format!("cannot read what `docker compose config` printed: {words}"));
    }

    #[test]
    fn every_file_that_compose_accepts_can_be_parsed() {
        let json = br#"{"name": "x", "services": {
            "many": {"scale": 5000000000}, "few": {"deploy": {"replicas": -1}}, "zero": {"ports": [{"protocol": "tcp"}]}}}"#;
        let stack = Stack::parse(json).unwrap();
        assert_eq!(stack.services["many"].replicas(), u32::MAX);
        assert_eq!(stack.services["few"].replicas(), 0);
        assert_eq!(stack.services["zero"].ports()[0].target, 0);
    }

    #[test]
    fn a_stack_is_the_same_after_it_was_remembered() {
        let json = br#"{"name": "x", "services": {
            "api": {"build": {"args": {"TOKEN": "hunter2"}}, "environment": {"A": "hunter2"}, "scale": 2,
                "labels": {"dev.stagecraft.route": "http://x", "auth": "hunter2"},
                "ports": [{"target": 80, "published": "8080", "protocol": "tcp", "host_ip": "127.0.0.1"}],
                "volumes": [{"type": "bind", "source": "/a", "target": "/b"}],
                "healthcheck": {"test": ["CMD", "x"]}, "depends_on": {"p": {"condition": "service_started"}}},
            "p": {"provider": {"type": "x"}, "network_mode": "host"}}}"#;
        let stack = Stack::parse(json).unwrap();
        let text = serde_json::to_string(&stack).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
        let again: Stack = serde_json::from_str(&text).unwrap();
        assert_eq!(format!("{again:#?}"), format!("{stack:#?}"));
        assert_eq!(again.services["api"].route(), Some("http://x"));
    }

    #[test]
    fn a_scheme_is_what_the_file_states_or_a_well_known_port_stands_for() {
        let json = br#"{"name": "x", "services": {
            "web": {"ports": [{"target": 9000, "app_protocol": "https"}, {"target": 80, "app_protocol": "grpc"}]}}}"#;
        let stack = Stack::parse(json).unwrap();
        for (service, target, scheme) in [
            ("db", 5432, None),
            ("db", 8080, Some("http")),
            ("db", 443, Some("https")),
            ("web", 9000, Some("https")),
            ("web", 80, None),
        ] {
            assert_eq!(stack.scheme(service, target), scheme, "{service} {target}");
        }
    }

    #[test]
    fn published_ports_are_numbers_ranges_or_the_engines_choice() {
        let port = |published: &str| {
            let json = format!(r#"{{"target": 80, "published": {published}}}"#);
            serde_json::from_str::<Port>(&json).unwrap().published()
        };
        assert_eq!(port(r#""8080""#), Some(8080..=8080));
        assert_eq!(port(r#""8000-8010""#), Some(8000..=8010));
        for chosen in ["null", r#""0""#, r#""""#, r#""x-y""#] {
            assert_eq!(port(chosen), None);
        }
    }

    #[test]
    fn a_start_includes_the_named_services_and_their_dependencies() {
        let json = br#"{"name": "x", "services": {
            "web": {"depends_on": {"db": {"condition": "service_healthy"}}},
            "db": {"depends_on": {"init": {"condition": "service_completed_successfully"}, "off": {"condition": "x"}}},
            "init": {}, "other": {}}}"#;
        let stack = Stack::parse(json).unwrap();
        assert_eq!(stack.with_dependencies(["web"]), BTreeSet::from(["web", "db", "init"]));
        assert!(stack.is_one_shot("init") && !stack.is_one_shot("db"));
    }

    #[test]
    fn a_folder_that_compose_creates_is_not_required() {
        let json = br#"{"name": "x", "services": {"web": {"volumes": [
            {"type": "bind", "source": "/made", "bind": {"create_host_path": true}}, {"type": "volume", "source": "data"},
            {"type": "bind", "source": "/needed", "bind": {}}, {"type": "bind", "source": "/long", "bind": null}]}}}"#;
        let stack = Stack::parse(json).unwrap();
        let web = &stack.services["web"];
        assert_eq!(web.bind_sources().count(), 3);
        assert_eq!(web.required_bind_sources().collect::<Vec<_>>(), [Path::new("/needed"), Path::new("/long")]);
    }

    #[test]
    fn a_volume_is_configured_by_driver_options_and_labels() {
        let json = br#"{"name": "x", "volumes": {
            "a": {"name": "x_a"}, "b": {"name": "x_b", "driver": "local", "labels": {"k": "v"}},
            "c": {"name": "x_c", "driver_opts": {"type": "tmpfs"}}, "d": {"name": "other", "external": true}}}"#;
        let volumes = Stack::parse(json).unwrap().volumes;
        assert_eq!(volumes.keys().collect::<Vec<_>>(), ["x_a", "x_b", "x_c"]);
        let map = |key: &str, value: &str| BTreeMap::from([(key.to_string(), value.to_string())]);
        let (options, compose) = (map("type", "tmpfs"), map("com.docker.compose.project", "x"));
        assert_eq!(volumes["x_a"], VolumeConfig::new(Some("local"), None, Some(&compose)));
        assert_eq!(volumes["x_b"], VolumeConfig::new(None, None, Some(&map("k", "v"))));
        assert_eq!(volumes["x_c"], VolumeConfig::new(Some(""), Some(&options), None));
        assert_ne!(volumes["x_a"], volumes["x_b"]);
        assert_ne!(volumes["x_a"], volumes["x_c"]);
    }

    #[test]
    fn a_service_without_an_image_has_one_of_composes_naming() {
        let json = br#"{"name": "x", "services": {"a": {"build": {"context": "."}}, "b": {"image": "postgres"}}}"#;
        let stack = Stack::parse(json).unwrap();
        assert_eq!(stack.services["a"].image(&stack.project, "a"), ("x-a".to_string(), true));
        assert_eq!(stack.services["b"].image(&stack.project, "b"), ("postgres".to_string(), false));
    }
}
