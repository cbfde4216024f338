//! Reads the tables of the manifests into a topology. Pure: it uses only the workspace that cargo has described.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Map, Value};

use super::before_build::{self, Step};
use super::environment;
use super::keys;
use super::paths::Folder;
use crate::compose::{ProjectName, Service, TRAEFIK};
use crate::exit::Failure;
use crate::manifest::{Table, without_dates};
use crate::suggest::suggestion;
use crate::workspace::{Package, Workspace};

/// The keys of a Compose table, sorted.
pub(super) type Keys = BTreeMap<String, Value>;

/// A dev stack as Cargo.toml describes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Topology {
    /// The name of the project, if the manifest gives one.
    pub project_name: Option<ProjectName>,
    /// Each service's Compose keys, by name; those of a crate without what is made for it.
    pub services: BTreeMap<String, Keys>,
    /// The tables `configs`, `networks`, `secrets` and `volumes` of the compose file.
    pub resources: BTreeMap<&'static str, Keys>,
    /// The services that are crates, by name.
    pub crates: BTreeMap<String, Crate>,
    /// Where services can be reached by name, sorted.
    pub routes: Vec<Route>,
    /// The service that they lead through.
    pub traefik: TraefikOptions,
    /// The target to build for, if the manifest gives one.
    pub target: Option<String>,
    /// Whether crates on `scratch` are linked statically, even if programs of this machine run on the engine.
    pub is_static: bool,
    /// Cargo's target directory for the crates, from the workspace root, if the manifest gives one.
    pub target_dir: Option<String>,
    /// The commands to run before the build, when the services that crates depend on are ready. None if these are not started first.
    pub before_build: Option<Vec<Step>>,
    /// The table that describes each service of `services`.
    pub tables: BTreeMap<String, Table>,
}

/// A binary of the workspace that is a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crate {
    /// Its package.
    pub package: String,
    /// Its name.
    pub bin: String,
    /// What its image is made from.
    pub base: Base,
    /// Cargo's profile that it is built with.
    pub profile: String,
    /// The features that it is built with.
    pub features: Vec<String>,
    /// The addresses that are held open for it, and passed on.
    pub listen: Vec<SocketAddr>,
}

/// What the image of a crate is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// Nothing.
    Scratch,
    /// This image.
    Image(String),
}

/// A name under which a service can be reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The service.
    pub service: String,
    /// The name.
    pub host: String,
    /// What the paths begin with that lead there; all do without it.
    pub path: Option<String>,
    /// The port inside.
    pub port: u16,
}

/// What leads the routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraefikOptions {
    /// Its image.
    pub image: String,
    /// The port on the loopback address of this machine.
    pub port: u16,
}

impl Default for TraefikOptions {
    fn default() -> TraefikOptions {
        TraefikOptions { image: "traefik:v3.5.4".to_string(), port: 80 }
    }
}

impl Topology {
    /// The services without a profile, as far as they matter before Compose has been asked.
    pub fn services_by_default(&self) -> BTreeMap<String, Service> {
        let has_profile =
            |keys: &Keys| keys.get("profiles").is_some_and(|profiles| profiles != &Value::Array(Vec::new()));
        let names = self.services.iter().filter(|(_, keys)| !has_profile(keys)).map(|(name, _)| name.clone());
        let traefik = (!self.routes.is_empty()).then(|| TRAEFIK.to_string());
        names.chain(traefik).map(|name| (name, Service::default())).collect()
    }

    /// A route's URL.
    pub fn url(&self, route: &Route) -> String {
        let port = if self.traefik.port == 80 { String::new() } else { format!(":{}", self.traefik.port) };
        format!("http://{}{port}{}", route.host, route.path.as_deref().unwrap_or_default())
    }
}

const WORKSPACE: &str = "workspace.metadata.stagecraft.dev";
/// The workspace's own table.
pub(super) fn workspace_table() -> Table {
    Table { file: "Cargo.toml".to_string(), name: WORKSPACE.to_string() }
}

const PACKAGE: &str = "package.metadata.stagecraft.dev";
/// The tables of the compose file that are not services.
const RESOURCES: [&str; 4] = ["configs", "networks", "secrets", "volumes"];
const WORKSPACE_KEYS: [&str; 13] = [
    "before-build",
    "configs",
    "domain",
    "env",
    "networks",
    "project-name",
    "secrets",
    "services",
    "static",
    "target",
    "target-dir",
    "traefik",
    "volumes",
];
const TRAEFIK_KEYS: [&str; 2] = ["image", "port"];
const ROUTE_KEYS: [&str; 3] = ["host", "path", "port"];
const PACKAGE_KEYS: [&str; 7] = ["base", "bin", "features", "listen", "profile", "route", "service"];

/// The stack that the manifests of this workspace describe; none if they do not speak of one.
///
/// # Errors
/// [`crate::exit::Code::NothingToRun`] with file, table and key.
pub fn plan(workspace: &Workspace) -> Result<Option<Topology>, Failure> {
    // Also where nothing uses it.
    environment::environment(workspace)?;
    let members = workspace.packages.iter().filter(|package| !package.metadata.is_null());
    let members: Vec<&Package> = members.collect();
    let is_only_env = workspace.metadata.as_object().is_some_and(|table| table.keys().eq([environment::KEY]));
    if (workspace.metadata.is_null() || is_only_env) && members.is_empty() {
        return Ok(None);
    }
    let mut plan = Plan { workspace, domain: "localhost".to_string(), topology: Topology::default() };
    plan.workspace()?;
    for member in members {
        plan.package(member)?;
    }
    plan.check_routes()?;
    let is_service = |name: &str| plan.topology.services.contains_key(name);
    let steps = plan.topology.before_build.as_deref().unwrap_or_default();
    before_build::require_services(&workspace_table(), steps, &is_service)?;
    Ok(Some(plan.topology))
}

struct Plan<'a> {
    workspace: &'a Workspace,
    domain: String,
    topology: Topology,
}

impl Plan<'_> {
    fn workspace(&mut self) -> Result<(), Failure> {
        let at = workspace_table();
        if self.workspace.metadata.is_null() {
            return Ok(());
        }
        let metadata = without_dates(&self.workspace.metadata);
        let table = at.whole(&metadata)?;
        at.require_known(table, WORKSPACE_KEYS.into_iter())?;
        let folder = Folder::new(self.workspace.root(), self.workspace.root());
        self.topology.before_build = before_build::of(&at, table)?;
        // First what services need to know.
        if let Some(domain) = table.get("domain") {
            self.domain = at.text("domain", domain)?;
            require_host(&at, "domain", &self.domain)?;
        }
        for (key, value) in table {
            match key.as_str() {
                "project-name" => {
                    let name = at.text(key, value)?;
                    let name = ProjectName::new(&name).map_err(|rule| at.error(key, format!("is `{name}`: {rule}")))?;
                    self.topology.project_name = Some(name);
                }
                "target" => self.topology.target = Some(at.text(key, value)?),
                "target-dir" => self.topology.target_dir = Some(at.text(key, value)?),
                "static" => self.topology.is_static = at.boolean(key, value)?,
                "traefik" => self.traefik(&at.sub(key), at.table(key, value)?)?,
                "services" => {
                    for (name, service) in at.table(key, value)? {
                        let at = at.sub(key);
                        let table = at.table(name, service)?;
                        let at = at.sub(name);
                        at.require_known(table, keys::SERVICE.into_iter().chain(["route"]))?;
                        self.service(name, at, table.clone(), &folder)?;
                    }
                }
                _ => {}
            }
        }
        for key in RESOURCES {
            let Some(value) = table.get(key) else { continue };
            let mut resources = Keys::new();
            for (name, resource) in at.table(key, value)? {
                at.sub(key).table(name, resource)?;
                let mut resource = resource.clone();
                folder.reach_resource(&mut resource);
                resources.insert(name.clone(), resource);
            }
            self.topology.resources.insert(key, resources);
        }
        Ok(())
    }

    fn traefik(&mut self, at: &Table, table: &Map<String, Value>) -> Result<(), Failure> {
        at.require_known(table, TRAEFIK_KEYS.into_iter())?;
        if let Some(image) = table.get("image") {
            self.topology.traefik.image = at.text("image", image)?;
        }
        if let Some(port) = table.get("port") {
            self.topology.traefik.port = at.port("port", port)?;
        }
        Ok(())
    }

    fn package(&mut self, package: &Package) -> Result<(), Failure> {
        let at = Table::of(self.workspace, &package.manifest_path, PACKAGE);
        let metadata = without_dates(&package.metadata);
        let mut table = at.whole(&metadata)?.clone();
        at.require_known(&table, keys::SERVICE.into_iter().chain(PACKAGE_KEYS))?;
        let name = match table.remove("service") {
            Some(name) => at.text("service", &name)?,
            None => package.name.clone(),
        };
        require_image_name(&at, &name)?;
        let folder = Folder::new(package.manifest_path.parent().unwrap_or(Path::new("")), self.workspace.root());
        let krate = crate_of(&at, package, &mut table)?;
        if table.contains_key("build") {
            let what =
                "cannot be set: the image of a crate is built from its binary; use `base` to choose the base image";
            return Err(at.error("build", what));
        }
        // Cargo puts both into one place, and whichever it has built last would be in both images.
        let mut others = self.topology.crates.iter();
        if let Some((other, _)) = others.find(|(_, other)| (&other.bin, &other.profile) == (&krate.bin, &krate.profile))
        {
            let what = format!("is `{}`, the same as for service `{other}`", krate.bin);
            return Err(at.error("bin", what).help("give one of the binaries another name"));
        }
        self.service(&name, at, table, &folder)?;
        self.topology.crates.insert(name, krate);
        Ok(())
    }

    fn service(&mut self, name: &str, at: Table, mut keys: Map<String, Value>, folder: &Folder) -> Result<(), Failure> {
        let valid = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || !name.chars().all(valid) {
            let what = format!("is `{name}`: a service's name consists of letters, digits, `.`, `_` and `-`");
            return Err(at.error("service", what));
        }
        if let Some(other) = self.topology.tables.get(name) {
            let what = format!("is `{name}`, the same as in [{}] in {}", other.name, other.file);
            return Err(at.error("service", what).help("give one of them another name with `service = \"…\"`"));
        }
        if let Some(route) = keys.remove("route") {
            self.route(name, &at, &route, &keys)?;
        }
        folder.reach_service(&mut keys);
        self.topology.services.insert(name.to_string(), keys.into_iter().collect());
        self.topology.tables.insert(name.to_string(), at);
        Ok(())
    }

    fn route(&mut self, name: &str, at: &Table, route: &Value, keys: &Map<String, Value>) -> Result<(), Failure> {
        if let Some(mode) = keys.get("network_mode") {
            let what = format!("is not possible: with `network_mode` {mode} the service is in no network of the stack");
            return Err(at.error("route", what));
        }
        let mut host = format!("{name}.{}", self.domain);
        let mut path = None;
        let port = match route {
            Value::Object(table) => {
                let at = at.sub("route");
                at.require_known(table, ROUTE_KEYS.into_iter())?;
                if let Some(value) = table.get("host") {
                    host = at.text("host", value)?;
                    require_host(&at, "host", &host)?;
                }
                if let Some(value) = table.get("path") {
                    let text = at.text("path", value)?;
                    let valid = |c: char| c.is_ascii_graphic() && !"`?#".contains(c);
                    if !text.starts_with('/') || !text.chars().all(valid) {
                        return Err(at.error(
                            "path",
                            format!(
                                "is `{text}`; a path must begin with `/` and must not contain a space, backquote, `?` or `#`"
                            ),
                        ));
                    }
                    // Every path begins with it, so there is nothing that it leaves out.
                    path = (text != "/").then_some(text);
                }
                let port = table.get("port").ok_or_else(|| at.error("port", "is missing"))?;
                at.port("port", port)?
            }
            Value::Number(_) => at.port("route", route)?,
            other => return Err(at.wrong_type("route", "a port or a table", other)),
        };
        self.topology.routes.push(Route { service: name.to_string(), host, path, port });
        Ok(())
    }

    fn check_routes(&mut self) -> Result<(), Failure> {
        self.topology.routes.sort();
        let mut taken = BTreeMap::new();
        for route in &self.topology.routes {
            let at = &self.topology.tables[&route.service];
            if let Some(other) = taken.insert((route.host.to_lowercase(), &route.path), &route.service) {
                let url = self.topology.url(route);
                return Err(at.error("route", format!("is {url}, the same as for service `{other}`")));
            }
        }
        match self.topology.tables.get(TRAEFIK) {
            Some(at) if !self.topology.routes.is_empty() => Err(at
                .error("service", "is `traefik`, the name of the service that implements routes")
                .help(format!("set its `image` and `port` in [{WORKSPACE}.traefik]"))),
            _ => Ok(()),
        }
    }
}

fn crate_of(at: &Table, package: &Package, table: &mut Map<String, Value>) -> Result<Crate, Failure> {
    let binaries = || package.binaries.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let bin = match (table.remove("bin"), package.binaries.as_slice()) {
        (_, []) => return Err(at.error("bin", format!("is not possible: package `{}` has no binary", package.name))),
        (Some(bin), all) => {
            let bin = at.text("bin", &bin)?;
            if !all.contains(&bin) {
                return Err(
                    at.error("bin", format!("is `{bin}`: no such binary in the package; available: {}", binaries()))
                );
            }
            bin
        }
        (None, [only]) => only.clone(),
        (None, _) => match &package.default_run {
            Some(bin) => bin.clone(),
            None => return Err(at.error("bin", format!("is missing: the package has {}", binaries()))),
        },
    };
    let base = match table.remove("base") {
        Some(base) => at.text("base", &base)?,
        None => "scratch".to_string(),
    };
    if base.contains(char::is_whitespace) {
        return Err(at.error("base", format!("is {base:?}, which is not an image name")));
    }
    let profile = match table.remove("profile") {
        Some(profile) => at.text("profile", &profile)?,
        None => "dev".to_string(),
    };
    let mut features = BTreeSet::new();
    if let Some(value) = table.remove("features") {
        let all = value.as_array().ok_or_else(|| at.wrong_type("features", "an array of strings", &value))?;
        for feature in all {
            let feature = at.text("features", feature)?;
            if !package.features.contains(&feature) {
                let known = package.features.iter().map(String::as_str);
                let error = at.error("features", format!("contains `{feature}`: no such feature in the package"));
                return Err(error.help_if(suggestion("feature", &feature, known)));
            }
            features.insert(feature);
        }
    }
    let base = if base == "scratch" { Base::Scratch } else { Base::Image(base) };
    let listen = table.remove("listen").map(|value| addresses(at, &value)).transpose()?.unwrap_or_default();
    if !listen.is_empty() && base != Base::Scratch {
        return Err(
            at.error("listen", "is not possible with `base`: what holds the address is in images from `scratch`")
        );
    }
    let features = features.into_iter().collect();
    Ok(Crate { package: package.name.clone(), bin, base, profile, features, listen })
}

/// One address of a container, or several: a port stands for all interfaces.
fn addresses(at: &Table, value: &Value) -> Result<Vec<SocketAddr>, Failure> {
    let address = |value: &Value| match value {
        Value::Number(_) => Ok(SocketAddr::from(([0, 0, 0, 0], at.port("listen", value)?))),
        _ => {
            let text = at.text("listen", value)?;
            text.parse()
                .map_err(|_| at.error("listen", format!("is `{text}`, which is not an address such as `0.0.0.0:8080`")))
        }
    };
    match value {
        Value::Array(values) => values.iter().map(address).collect(),
        value => Ok(vec![address(value)?]),
    }
}

/// That Compose can name an image after the service, and we its build context: `..` would be the dev dir itself, of which
/// everything is removed that is no binary.
fn require_image_name(at: &Table, name: &str) -> Result<(), Failure> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut separators = name.split(is_plain).filter(|it| !it.is_empty());
    let valid = |it: &str| [".", "_", "__"].contains(&it) || it.chars().all(|c| c == '-');
    if name.starts_with(is_plain) && name.ends_with(is_plain) && separators.all(valid) {
        return Ok(());
    }
    let what = format!(
        "is `{name}`, which is not a valid image name: use lower-case letters and digits, with single `.`, `_` or `-` between them"
    );
    Err(at.error("service", what).help("give it another name with `service = \"…\"`"))
}

fn require_host(at: &Table, key: &str, host: &str) -> Result<(), Failure> {
    let is_label = |label: &str| {
        let valid = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        !label.is_empty() && label.len() < 64 && label.chars().all(valid)
    };
    if host.len() < 254 && host.split('.').all(is_label) {
        return Ok(());
    }
    Err(at.error(key, format!("is `{host}`, which is not a host name")))
}

#[cfg(test)]
mod tests;
