//! What the manifests say of the dev stack, as a topology. Pure: nothing is looked up but the workspace that cargo told of.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Map, Value};

use super::keys;
use super::paths::Folder;
use crate::compose::{ProjectName, Service, TRAEFIK};
use crate::exit::Failure;
use crate::manifest::{Table, without_dates};
use crate::sorted;
use crate::suggest::suggestion;
use crate::workspace::{Package, Workspace};

/// The keys of a Compose table, sorted.
pub type Keys = BTreeMap<String, Value>;

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
    pub traefik: Traefik,
    /// The target to build for, if the manifest gives one.
    pub target: Option<String>,
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
pub struct Traefik {
    /// Its image.
    pub image: String,
    /// The port on the loopback address of this machine.
    pub port: u16,
}

impl Default for Traefik {
    fn default() -> Traefik {
        Traefik { image: "traefik:v3.5.4".to_string(), port: 80 }
    }
}

impl Topology {
    /// The services without a profile, as far as they matter before Compose has been asked.
    pub fn services_by_default(&self) -> BTreeMap<String, Service> {
        let has_profile =
            |keys: &Keys| keys.get("profiles").is_some_and(|profiles| profiles != &Value::Array(Vec::new()));
        let names = self.services.iter().filter(|(_, keys)| !has_profile(keys)).map(|(name, _)| name.clone());
        let traefik = (!self.routes.is_empty()).then(|| TRAEFIK.to_string());
        sorted::collect(names.chain(traefik).map(|name| (name, Service::default())))
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
const WORKSPACE_KEYS: [&str; 9] =
    ["configs", "domain", "networks", "project-name", "secrets", "services", "target", "traefik", "volumes"];
const TRAEFIK_KEYS: [&str; 2] = ["image", "port"];
const ROUTE_KEYS: [&str; 3] = ["host", "path", "port"];
const PACKAGE_KEYS: [&str; 6] = ["base", "bin", "features", "profile", "route", "service"];

/// The stack that the manifests of this workspace describe; none if they do not speak of one.
///
/// # Errors
/// [`crate::exit::Code::NothingToRun`] with file, table and key.
pub fn plan(workspace: &Workspace) -> Result<Option<Topology>, Failure> {
    let members = workspace.packages.iter().filter(|package| !package.metadata.is_null());
    let members: Vec<&Package> = members.collect();
    if workspace.metadata.is_null() && members.is_empty() {
        return Ok(None);
    }
    let mut plan = Plan { workspace, domain: "localhost".to_string(), topology: Topology::default() };
    plan.workspace()?;
    for member in members {
        plan.package(member)?;
    }
    plan.check_routes()?;
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
            let what = format!("is `{}`, and so is that of service `{other}`", krate.bin);
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
            let what = format!("is `{name}`, and so is that of [{}] in {}", other.name, other.file);
            return Err(at.error("service", what).help("give one of them another name with `service = \"…\"`"));
        }
        if let Some(route) = keys.remove("route") {
            self.route(name, &at, &route, &keys)?;
        }
        folder.reach_service(&mut keys);
        self.topology.services.insert(name.to_string(), sorted::collect(keys));
        self.topology.tables.insert(name.to_string(), at);
        Ok(())
    }

    fn route(&mut self, name: &str, at: &Table, route: &Value, keys: &Map<String, Value>) -> Result<(), Failure> {
        if let Some(mode) = keys.get("network_mode") {
            let what = format!("leads nowhere: with `network_mode` {mode} the service is on no network of the stack");
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
                                "is `{text}`, and a path begins with `/` and has no space, backquote, `?` or `#` in it"
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
        sorted::sort(&mut self.topology.routes);
        let mut taken = BTreeMap::new();
        for route in &self.topology.routes {
            let at = &self.topology.tables[&route.service];
            if let Some(other) = taken.insert((route.host.to_lowercase(), &route.path), &route.service) {
                let url = self.topology.url(route);
                return Err(at.error("route", format!("is {url}, and so is that of service `{other}`")));
            }
        }
        match self.topology.tables.get(TRAEFIK) {
            Some(at) if !self.topology.routes.is_empty() => Err(at
                .error("service", "is `traefik`, which is the name of the one that leads the routes")
                .help(format!("what there is to set stands in [{WORKSPACE}.traefik]: `image` and `port`"))),
            _ => Ok(()),
        }
    }
}

fn crate_of(at: &Table, package: &Package, table: &mut Map<String, Value>) -> Result<Crate, Failure> {
    let binaries = || package.binaries.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let bin = match (table.remove("bin"), package.binaries.as_slice()) {
        (_, []) => return Err(at.error("bin", format!("cannot be: package `{}` has no binary", package.name))),
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
        return Err(at.error("base", format!("is {base:?}, which is no image")));
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
    Ok(Crate {
        package: package.name.clone(),
        bin,
        base: if base == "scratch" { Base::Scratch } else { Base::Image(base) },
        profile,
        features: features.into_iter().collect(),
    })
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
        "is `{name}`, and no image can be called that: lower-case letters and digits, with one `.`, `_` or `-` between them"
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
    Err(at.error(key, format!("is `{host}`, which is no host's name")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::exit::Code;

    /// The package `api` with a binary of its name, in `crates/api` of the workspace.
    fn api(metadata: Value) -> Package {
        Package {
            name: "api".to_string(),
            manifest_path: "/w/shop/crates/api/Cargo.toml".into(),
            metadata,
            binaries: vec!["api".to_string()],
            ..Package::default()
        }
    }

    fn workspace(metadata: Value, packages: Vec<Package>) -> Workspace {
        let mut workspace = Workspace::at("/w/shop");
        (workspace.metadata, workspace.packages) = (metadata, packages);
        workspace
    }

    #[track_caller]
    fn planned(metadata: Value, packages: Vec<Package>) -> Topology {
        plan(&workspace(metadata, packages)).unwrap().expect("a stack is described")
    }

    /// The whole of what is said, help and all, that it is about the manifests, and that it is nobody else's fault.
    #[track_caller]
    fn refused(metadata: Value, packages: Vec<Package>) -> String {
        let failure = plan(&workspace(metadata, packages)).unwrap_err();
        assert_eq!(failure.code(), Code::NothingToRun, "{failure}");
        let help = failure.next_step().map(|help| format!("\nhelp: {help}")).unwrap_or_default();
        format!("{failure}{help}")
    }

    const OF_WORKSPACE: &str = "Cargo.toml: [workspace.metadata.stagecraft.dev";
    const OF_API: &str = "crates/api/Cargo.toml: [package.metadata.stagecraft.dev";

    /// Each table of the workspace, and the error behind [`OF_WORKSPACE`].
    #[track_caller]
    fn workspaces_are_refused(table: impl IntoIterator<Item = (Value, &'static str)>) {
        for (metadata, expected) in table {
            assert_eq!(refused(metadata.clone(), vec![]), format!("{OF_WORKSPACE}{expected}"), "{metadata}");
        }
    }

    /// Each table of the package `api`, and the error behind [`OF_API`].
    #[track_caller]
    fn packages_are_refused(table: impl IntoIterator<Item = (Value, &'static str)>) {
        for (metadata, expected) in table {
            let said = refused(Value::Null, vec![api(metadata.clone())]);
            assert_eq!(said, format!("{OF_API}{expected}"), "{metadata}");
        }
    }

    #[test]
    fn manifests_that_do_not_speak_of_a_stack_describe_none() {
        assert_eq!(plan(&workspace(Value::Null, vec![api(Value::Null)])).unwrap(), None);
        assert_eq!(planned(json!({}), vec![]), Topology::default());
        assert_eq!(planned(Value::Null, vec![api(json!({}))]).services.keys().collect::<Vec<_>>(), ["api"]);
    }

    #[test]
    fn a_key_that_nobody_knows_is_refused_with_the_one_that_may_be_meant() {
        workspaces_are_refused([
            (
                json!({"project_name": "x"}),
                "] `project_name` is not known\nhelp: a key with a similar name exists: `project-name`",
            ),
            (json!({"service": {}}), "] `service` is not known\nhelp: a key with a similar name exists: `services`"),
            (json!({"zzz": 1}), "] `zzz` is not known"),
            (
                json!({"traefik": {"ports": 80}}),
                ".traefik] `ports` is not known\nhelp: a key with a similar name exists: `port`",
            ),
            (
                json!({"services": {"db": {"image": "x", "enviroment": {}}}}),
                ".services.db] `enviroment` is not known\nhelp: a key with a similar name exists: `environment`",
            ),
            // What is a key of crates only.
            (json!({"services": {"db": {"bin": "db"}}}), ".services.db] `bin` is not known"),
            (
                json!({"services": {"db": {"route": {"port": 1, "hosts": "x"}}}}),
                ".services.db.route] `hosts` is not known\nhelp: a key with a similar name exists: `host`",
            ),
        ]);
        packages_are_refused([
            (json!({"feature": []}), "] `feature` is not known\nhelp: a key with a similar name exists: `features`"),
            (json!({"Port": 1}), "] `Port` is not known\nhelp: a key with a similar name exists: `ports`"),
            (
                json!({"route": {"port": 1, "paths": "/"}}),
                ".route] `paths` is not known\nhelp: a key with a similar name exists: `path`",
            ),
            (json!({"services": {}}), "] `services` is not known\nhelp: a key with a similar name exists: `service`"),
        ]);
    }

    #[test]
    fn what_begins_with_x_is_for_others_to_read() {
        let topology = planned(json!({"x-a": 1, "services": {"db": {"x-b": 2, "image": "db"}}}), vec![]);
        assert_eq!(topology.services["db"]["x-b"], 2);
    }

    #[test]
    fn a_value_of_another_type_is_refused() {
        let above = "Cargo.toml: [workspace.metadata.stagecraft] `dev` must be a table, found a boolean";
        assert_eq!(refused(json!(true), vec![]), above);
        let above = "crates/api/Cargo.toml: [package.metadata.stagecraft] `dev` must be a table, found a string";
        assert_eq!(refused(Value::Null, vec![api(json!("api"))]), above);
        workspaces_are_refused([
            (json!({"configs": []}), "] `configs` must be a table, found an array"),
            (json!({"configs": {"a": "x"}}), ".configs] `a` must be a table, found a string"),
            (json!({"domain": 1}), "] `domain` must be a string, found an integer"),
            (json!({"networks": "front"}), "] `networks` must be a table, found a string"),
            (json!({"networks": {"a": true}}), ".networks] `a` must be a table, found a boolean"),
            (json!({"project-name": ["shop"]}), "] `project-name` must be a string, found an array"),
            (json!({"secrets": 1.5}), "] `secrets` must be a table, found a float"),
            (json!({"secrets": {"a": 1}}), ".secrets] `a` must be a table, found an integer"),
            (json!({"services": ["db"]}), "] `services` must be a table, found an array"),
            (json!({"services": {"db": "postgres"}}), ".services] `db` must be a table, found a string"),
            (json!({"target": {}}), "] `target` must be a string, found a table"),
            (json!({"target": ""}), "] `target` is empty"),
            (json!({"traefik": false}), "] `traefik` must be a table, found a boolean"),
            (json!({"traefik": {"image": 3}}), ".traefik] `image` must be a string, found an integer"),
            (json!({"traefik": {"image": ""}}), ".traefik] `image` is empty"),
            (json!({"traefik": {"port": "80"}}), ".traefik] `port` must be a port, found a string"),
            (json!({"traefik": {"port": 0}}), ".traefik] `port` is 0, and ports are from 1 to 65535"),
            (json!({"volumes": ["data"]}), "] `volumes` must be a table, found an array"),
            (json!({"volumes": {"data": "x"}}), ".volumes] `data` must be a table, found a string"),
        ]);
        packages_are_refused([
            (json!({"base": 1}), "] `base` must be a string, found an integer"),
            (json!({"base": ""}), "] `base` is empty"),
            (json!({"base": "debian\nRUN x"}), "] `base` is \"debian\\nRUN x\", which is no image"),
            (json!({"bin": true}), "] `bin` must be a string, found a boolean"),
            (json!({"features": "tls"}), "] `features` must be an array of strings, found a string"),
            (json!({"features": [1]}), "] `features` must be a string, found an integer"),
            (json!({"profile": []}), "] `profile` must be a string, found an array"),
            (json!({"service": {}}), "] `service` must be a string, found a table"),
            (json!({"service": ""}), "] `service` is empty"),
        ]);
    }

    #[test]
    fn a_date_is_what_stands_in_the_manifest() {
        let date = json!({"$__toml_private_datetime": "1979-05-27"});
        let topology = planned(
            json!({"project-name": date, "services": {"db": {"labels": {"born": date}, "command": [date]}}}),
            vec![],
        );
        assert_eq!(topology.project_name.unwrap().as_str(), "1979-05-27");
        assert_eq!(topology.services["db"]["labels"], json!({"born": "1979-05-27"}));
        assert_eq!(topology.services["db"]["command"], json!(["1979-05-27"]));
        workspaces_are_refused([(json!({"services": date}), "] `services` must be a table, found a string")]);
    }

    #[test]
    fn a_project_name_is_one_that_compose_takes() {
        const RULE: &str = "a project name consists of lower-case letters, digits, `-` and `_`, and begins with a letter or \
                            a digit";
        for name in ["Shop", "-shop", "my shop", "shöp", "a.b"] {
            let expected = format!("{OF_WORKSPACE}] `project-name` is `{name}`: {RULE}");
            assert_eq!(refused(json!({"project-name": name}), vec![]), expected);
        }
        assert_eq!(refused(json!({"project-name": ""}), vec![]), format!("{OF_WORKSPACE}] `project-name` is empty"));
    }

    #[test]
    fn a_service_has_one_name_and_no_other_has_it() {
        let both = |first: &str, second: &str| {
            let web = Package {
                name: "web".to_string(),
                manifest_path: "/w/shop/web/Cargo.toml".into(),
                binaries: vec!["web".to_string()],
                metadata: json!({"service": second}),
                ..Package::default()
            };
            refused(json!({"services": {"db": {"image": "db"}}}), vec![api(json!({"service": first})), web])
        };
        let expected = "web/Cargo.toml: [package.metadata.stagecraft.dev] `service` is `x`, and so is that of \
                        [package.metadata.stagecraft.dev] in crates/api/Cargo.toml\n\
                        help: give one of them another name with `service = \"…\"`";
        assert_eq!(both("x", "x"), expected);
        let expected = "web/Cargo.toml: [package.metadata.stagecraft.dev] `service` is `db`, and so is that of \
                        [workspace.metadata.stagecraft.dev.services.db] in Cargo.toml\n\
                        help: give one of them another name with `service = \"…\"`";
        assert_eq!(both("x", "db"), expected);
    }

    #[test]
    fn a_service_has_a_name_that_compose_takes() {
        const RULE: &str = "a service's name consists of letters, digits, `.`, `_` and `-`";
        workspaces_are_refused([
            (
                json!({"services": {"a b": {}}}),
                ".services.\"a b\"] `service` is `a b`: a service's name consists of letters, digits, `.`, `_` and `-`",
            ),
            (
                json!({"services": {"": {}}}),
                ".services.\"\"] `service` is ``: a service's name consists of letters, digits, `.`, `_` and `-`",
            ),
            // No line of an error is forged.
            (
                json!({"services": {"a\nerror: b": {}}}),
                ".services.\"a\\nerror: b\"] `service` is `a\\nerror: b`: a service's name consists of letters, digits, `.`, `_` and `-`",
            ),
            // A name that is none of TOML's bare keys is quoted as it is in there.
            (
                json!({"services": {"a.b": {"imag": ""}}}),
                ".services.\"a.b\"] `imag` is not known\nhelp: a key with a similar name exists: `image`",
            ),
        ]);
        assert!(planned(json!({"services": {"a.b_C-9": {}}}), vec![]).services.contains_key("a.b_C-9"));
        assert!(refused(json!({"services": {"é": {}}}), vec![]).ends_with(RULE));
    }

    /// Where the image is made here it gets that name from Compose, and a folder of the dev dir too.
    #[test]
    fn a_crate_has_a_name_that_its_image_can_have() {
        for name in ["Api", ".", "..", "../x", ".gitignore", "-api", "api_", "a..b", "a___b", "a_.b", "ünï"] {
            let what = format!(
                "is `{name}`, and no image can be called that: lower-case letters and digits, with one `.`, `_` or `-` between \
                 them\nhelp: give it another name with `service = \"…\"`"
            );
            let expected = format!("{OF_API}] `service` {what}");
            assert_eq!(refused(Value::Null, vec![api(json!({"service": name}))]), expected);
            let package = Package { name: name.to_string(), ..api(json!({})) };
            assert_eq!(refused(Value::Null, vec![package]), expected);
        }
        for name in ["api", "9", "a-b", "a--b", "a_b", "a__b", "a.b-1"] {
            assert!(planned(Value::Null, vec![api(json!({"service": name}))]).crates.contains_key(name), "{name}");
        }
    }

    #[test]
    fn a_crate_needs_one_binary() {
        let with = |binaries: &[&str], default_run: Option<&str>, metadata: Value| Package {
            binaries: binaries.iter().map(ToString::to_string).collect(),
            default_run: default_run.map(str::to_string),
            ..api(metadata)
        };
        for (package, expected) in [
            (with(&[], None, json!({})), "] `bin` cannot be: package `api` has no binary"),
            (with(&[], None, json!({"bin": "api"})), "] `bin` cannot be: package `api` has no binary"),
            (with(&["a", "b"], None, json!({})), "] `bin` is missing: the package has `a`, `b`"),
            (
                with(&["a", "b"], Some("a"), json!({"bin": "c"})),
                "] `bin` is `c`: no such binary in the package; available: `a`, `b`",
            ),
            (with(&["a"], None, json!({"bin": ""})), "] `bin` is empty"),
        ] {
            assert_eq!(refused(Value::Null, vec![package]), format!("{OF_API}{expected}"));
        }
        for (package, bin) in [
            (with(&["a"], None, json!({})), "a"),
            (with(&["a", "b"], Some("b"), json!({})), "b"),
            (with(&["a", "b"], Some("b"), json!({"bin": "a"})), "a"),
        ] {
            assert_eq!(planned(Value::Null, vec![package]).crates["api"].bin, bin);
        }
    }

    #[test]
    fn two_binaries_of_one_name_would_be_built_into_one_place() {
        let package = |name: &str, metadata: Value| Package {
            name: name.to_string(),
            binaries: vec!["server".to_string()],
            manifest_path: format!("/w/shop/{name}/Cargo.toml").into(),
            metadata,
            ..Package::default()
        };
        let same = vec![package("api", json!({})), package("web", json!({}))];
        let expected = "web/Cargo.toml: [package.metadata.stagecraft.dev] `bin` is `server`, and so is that of service \
                        `api`\nhelp: give one of the binaries another name";
        assert_eq!(refused(Value::Null, same), expected);
        let apart = vec![package("api", json!({})), package("web", json!({"profile": "release"}))];
        assert_eq!(planned(Value::Null, apart).crates.len(), 2);
    }

    #[test]
    fn a_crate_is_built_as_its_table_says() {
        let package =
            Package { features: vec!["a".to_string(), "b".to_string()], ..api(json!({"features": ["b", "c"]})) };
        let expected = format!("{OF_API}] `features` contains `c`: no such feature in the package");
        assert_eq!(refused(Value::Null, vec![package.clone()]), expected);
        let what = "cannot be set: the image of a crate is built from its binary; use `base` to choose the base image";
        let with_build = api(json!({"build": {"context": "."}}));
        assert_eq!(refused(Value::Null, vec![with_build]), format!("{OF_API}] `build` {what}"));

        let metadata = json!({"features": ["b", "a", "b"], "base": "debian", "profile": "release", "init": false});
        let topology = planned(Value::Null, vec![Package { metadata, ..package }]);
        let krate = Crate {
            package: "api".to_string(),
            bin: "api".to_string(),
            base: Base::Image("debian".to_string()),
            profile: "release".to_string(),
            features: vec!["a".to_string(), "b".to_string()],
        };
        assert_eq!(topology.crates["api"], krate);
        // What is ours is no business of Compose's.
        assert_eq!(topology.services["api"], Keys::from([("init".to_string(), json!(false))]));
        let krate = &planned(Value::Null, vec![api(json!({"base": "scratch"}))]).crates["api"];
        assert_eq!((&krate.base, krate.profile.as_str()), (&Base::Scratch, "dev"));
    }

    #[test]
    fn a_route_leads_to_a_port() {
        packages_are_refused([
            (json!({"route": 0}), "] `route` is 0, and ports are from 1 to 65535"),
            (json!({"route": 70000}), "] `route` is 70000, and ports are from 1 to 65535"),
            (json!({"route": -1}), "] `route` is -1, and ports are from 1 to 65535"),
            (json!({"route": "x"}), "] `route` must be a port or a table, found a string"),
            (json!({"route": 80.5}), "] `route` must be a port, found a float"),
            (json!({"route": [80]}), "] `route` must be a port or a table, found an array"),
            (json!({"route": {"port": 0}}), ".route] `port` is 0, and ports are from 1 to 65535"),
            (json!({"route": {"port": 65536}}), ".route] `port` is 65536, and ports are from 1 to 65535"),
            (json!({"route": {"port": "x"}}), ".route] `port` must be a port, found a string"),
            (json!({"route": {}}), ".route] `port` is missing"),
            (json!({"route": {"host": "x.localhost"}}), ".route] `port` is missing"),
            (
                json!({"route": 80, "network_mode": "host"}),
                "] `route` leads nowhere: with `network_mode` \"host\" the service is on no network of the stack",
            ),
        ]);
        workspaces_are_refused([(
            json!({"services": {"web": {"route": 0}}}),
            ".services.web] `route` is 0, and ports are from 1 to 65535",
        )]);
        for port in [1, 65535] {
            assert_eq!(planned(Value::Null, vec![api(json!({"route": port}))]).routes[0].port, port);
        }
    }

    #[test]
    fn a_route_has_a_host_and_a_path_that_can_be() {
        let long = "x".repeat(64);
        for host in ["a b", "a..b", ".a", "a.", "http://a", "a:80", "a`)", "é.localhost", &long] {
            let said = refused(Value::Null, vec![api(json!({"route": {"port": 80, "host": host}}))]);
            assert_eq!(said, format!("{OF_API}.route] `host` is `{host}`, which is no host's name"));
            let said = refused(json!({"domain": host}), vec![]);
            assert_eq!(said, format!("{OF_WORKSPACE}] `domain` is `{host}`, which is no host's name"));
        }
        for path in ["v1", "/a b", "/a`", "/a?b", "/a#b", "/é"] {
            let said = refused(Value::Null, vec![api(json!({"route": {"port": 80, "path": path}}))]);
            let rule = "and a path begins with `/` and has no space, backquote, `?` or `#` in it";
            assert_eq!(said, format!("{OF_API}.route] `path` is `{path}`, {rule}"));
        }
        packages_are_refused([
            (json!({"route": {"port": 80, "host": ""}}), ".route] `host` is empty"),
            (json!({"route": {"port": 80, "host": 1}}), ".route] `host` must be a string, found an integer"),
            (json!({"route": {"port": 80, "path": ""}}), ".route] `path` is empty"),
            (json!({"route": {"port": 80, "path": true}}), ".route] `path` must be a string, found a boolean"),
        ]);
    }

    #[test]
    fn a_route_has_a_url_of_its_own() {
        let web =
            |route: Value| json!({"services": {"web": {"image": "x", "route": route}}, "traefik": {"port": 8000}});
        for (first, second, url) in [
            (json!({"port": 1, "host": "x.localhost"}), json!({"port": 2, "host": "X.localhost"}), "x.localhost:8000"),
            (json!({"port": 1, "host": "a", "path": "/v"}), json!({"port": 1, "host": "a", "path": "/v"}), "a:8000/v"),
            (json!({"port": 1, "host": "a", "path": "/"}), json!({"port": 1, "host": "a"}), "a:8000"),
        ] {
            let said = refused(web(first.clone()), vec![api(json!({"route": second}))]);
            // Of the two it is the later one by name that is refused.
            let expected =
                format!("{OF_WORKSPACE}.services.web] `route` is http://{url}, and so is that of service `api`");
            assert_eq!(said, expected);
        }
        let different = planned(
            web(json!({"port": 1, "host": "a", "path": "/v"})),
            vec![api(json!({"route": {"port": 1, "host": "a"}}))],
        );
        let urls: Vec<String> = different.routes.iter().map(|route| different.url(route)).collect();
        assert_eq!(urls, ["http://a:8000", "http://a:8000/v"]);
    }

    #[test]
    fn a_route_is_called_after_its_service_wherever_the_domain_stands() {
        let topology = planned(
            json!({"domain": "shop.test", "services": {"web": {"route": 80}}}),
            vec![api(json!({
                "route": 8080,
            }))],
        );
        let urls: Vec<String> = topology.routes.iter().map(|route| topology.url(route)).collect();
        assert_eq!(urls, ["http://api.shop.test", "http://web.shop.test"]);
    }

    #[test]
    fn the_service_that_leads_the_routes_is_nobody_elses() {
        let of_ours = json!({"services": {"traefik": {"image": "x"}}});
        let expected = format!(
            "{OF_WORKSPACE}.services.traefik] `service` is `traefik`, which is the name of the one that leads the routes\n\
             help: what there is to set stands in [workspace.metadata.stagecraft.dev.traefik]: `image` and `port`"
        );
        assert_eq!(refused(of_ours.clone(), vec![api(json!({"route": 80}))]), expected);
        let without_routes = planned(of_ours, vec![api(json!({}))]);
        assert!(without_routes.services.contains_key("traefik"));
    }
}
