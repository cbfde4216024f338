//! The stack as Compose understands it: what `config --format json` answers.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use anyhow::{Context, anyhow};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ProjectName, TRAEFIK, Traefik};

mod service;
#[cfg(test)]
mod tests;

pub(crate) use service::{Port, Service};

/// The stack: interpolated, merged, without services behind an inactive profile.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stack {
    /// The project's name.
    pub project: ProjectName,
    /// The project of the workspace's own stack, if this one is isolated from it.
    #[serde(skip)]
    pub isolated_from: Option<ProjectName>,
    /// The active services by name.
    pub services: BTreeMap<String, Service>,
    /// The volumes that Compose makes for it, by the engine's name.
    pub volumes: BTreeMap<String, VolumeConfig>,
    /// The external ones that it uses, by their name on the engine.
    pub external_volumes: BTreeSet<String>,
    /// Its volumes and networks.
    pub resources: Vec<Resource>,
}

/// A volume or a network of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// Which of both.
    pub kind: ResourceKind,
    /// Its key in the file.
    pub key: String,
    /// Its name on the engine.
    pub name: String,
    /// Whether something else makes it.
    pub is_external: bool,
}

/// What a resource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResourceKind {
    /// Of `volumes`.
    Volume,
    /// Of `networks`.
    Network,
}

impl Resource {
    /// Whether its name is the one that Compose makes of the project's name.
    pub fn has_a_fixed_name(&self, project: &ProjectName) -> bool {
        self.name != format!("{project}_{}", self.key)
    }
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
struct Network {
    name: Option<String>,
    #[serde(default)]
    external: bool,
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

/// The answer as it is printed.
#[derive(Deserialize)]
struct Model {
    name: String,
    #[serde(default)]
    services: BTreeMap<String, Service>,
    #[serde(default)]
    volumes: BTreeMap<String, Volume>,
    #[serde(default)]
    networks: BTreeMap<String, Option<Network>>,
}

impl Model {
    fn resources(&self) -> Vec<Resource> {
        let resource = |kind, key: &String, name: &Option<String>, is_external| {
            Some(Resource { kind, key: key.clone(), name: name.clone()?, is_external })
        };
        let volumes = self.volumes.iter();
        let volumes = volumes.filter_map(|(key, it)| resource(ResourceKind::Volume, key, &it.name, it.external));
        let networks = self.networks.iter().filter_map(|(key, it)| Some((key, it.as_ref()?)));
        let networks = networks.filter_map(|(key, it)| resource(ResourceKind::Network, key, &it.name, it.external));
        volumes.chain(networks).collect()
    }

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
        let resources = model.resources();
        let (external, own): (Vec<Volume>, Vec<Volume>) = model.volumes.into_values().partition(|it| it.external);
        Ok(Stack {
            project: ProjectName::new(&model.name).map_err(|rule| anyhow!("`{}`: {rule}", model.name))?,
            isolated_from: None,
            services: model.services,
            volumes: own.into_iter().filter_map(|it| Some((it.name.clone()?, it.config()))).collect(),
            external_volumes: external.into_iter().filter_map(|it| it.name).collect(),
            resources,
        })
    }

    /// The project that the images of the stack are made for.
    pub(crate) fn project_of_images(&self) -> &ProjectName {
        self.isolated_from.as_ref().unwrap_or(&self.project)
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
