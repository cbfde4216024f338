//! Renders a topology as files. Pure: the same topology gives the same bytes on every machine.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::plan::{Base, Crate, Keys, Topology};
use super::{HEADER, IMAGES};
use crate::compose::{ROUTE_LABEL, TRAEFIK};

/// Where a binary stands in its image; a folder of the PATH that every engine gives.
const BIN: &str = "/usr/local/bin";

/// What is to stand in the dev dir, by its path in there.
///
/// # Errors
/// If what stands in a manifest cannot be written as YAML.
pub fn render(topology: &Topology) -> anyhow::Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    let mut ignored = vec!["/.gitignore", "/compose.yaml"];
    if !topology.crates.is_empty() {
        ignored.push("/images/");
        files.insert(format!("{IMAGES}/.gitignore"), format!("{HEADER} for what it builds.\n*\n"));
    }
    if !topology.routes.is_empty() {
        ignored.extend(["/traefik/dynamic.yaml", "/traefik/traefik.yaml"]);
        files.insert("traefik/dynamic.yaml".to_string(), yaml(&dynamic(topology))?);
        files.insert("traefik/traefik.yaml".to_string(), yaml(&static_configuration())?);
    }
    let ignored = ignored.join("\n");
    files.insert(".gitignore".to_string(), format!("{HEADER}, which makes these from Cargo.toml.\n{ignored}\n"));
    let has_images = topology.crates.values().any(|krate| krate.base == Base::Scratch);
    let note = if has_images { "# `cargo stagecraft dev` makes the images of crates.\n" } else { "" };
    files.insert("compose.yaml".to_string(), with_note(yaml(&compose(topology))?, note));
    Ok(files)
}

fn yaml(document: &Value) -> anyhow::Result<String> {
    // Long lines are not folded, so that a value can be searched in the file.
    let options = serde_saphyr::ser_options! { compact_list_indent: false, folded_wrap_chars: usize::MAX };
    let text = serde_saphyr::to_string_with_options(&Sorted(document), options).context("cannot be written as YAML")?;
    Ok(format!("{HEADER} from Cargo.toml: change it there.\n{text}"))
}

/// The file with a comment below its first line.
fn with_note(file: String, note: &str) -> String {
    match file.split_once('\n') {
        Some((first, rest)) => format!("{first}\n{note}{rest}"),
        None => file,
    }
}

/// A JSON value with sorted tables, independent of the features of serde_json.
struct Sorted<'a>(&'a Value);

impl Serialize for Sorted<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(table) => {
                let sorted: BTreeMap<&String, &Value> = table.iter().collect();
                serializer.collect_map(sorted.into_iter().map(|(key, it)| (Text(key), Sorted(it))))
            }
            Value::Array(all) => serializer.collect_seq(all.iter().map(Sorted)),
            Value::String(text) => Text(text).serialize(serializer),
            other => other.serialize(serializer),
        }
    }
}

/// A string that every reader of YAML finds as it was.
struct Text<'a>(&'a str);

impl Serialize for Text<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let first = self.0.lines().next().unwrap_or_default();
        // The indentation of a block is that of its first line, and what begins with a space, a tab or nothing shows none;
        // Compose's reader refuses a tab there.
        let is_plain = !first.is_empty() && !first.starts_with(char::is_whitespace);
        if self.0.contains('\n') && !is_plain {
            serde_saphyr::DoubleQuoted(self.0).serialize(serializer)
        } else {
            self.0.serialize(serializer)
        }
    }
}

fn compose(topology: &Topology) -> Value {
    let mut model = Map::new();
    if let Some(name) = &topology.project_name {
        model.insert("name".to_string(), json!(name.as_str()));
    }
    for (key, resources) in &topology.resources {
        model.insert(key.to_string(), json!(resources));
    }
    let services = topology.services.iter().map(|(name, keys)| {
        let mut keys = keys.clone();
        if let Some(krate) = topology.crates.get(name) {
            complete(&mut keys, name, krate);
        }
        let mut routes = topology.routes.iter().filter(|route| route.service == *name);
        if let Some(route) = routes.next() {
            add_label(&mut keys, ROUTE_LABEL, &topology.url(route));
        }
        (name.clone(), json!(keys))
    });
    let mut services: Map<String, Value> = services.collect();
    if !topology.routes.is_empty() {
        services.insert(TRAEFIK.to_string(), traefik(topology));
    }
    model.insert("services".to_string(), Value::Object(services));
    Value::Object(model)
}

/// Adds what makes a service of a binary.
fn complete(keys: &mut Keys, name: &str, krate: &Crate) {
    match &krate.base {
        Base::Scratch => {
            // Compose sets the variable. Without a key `build` it does not name the image.
            keys.entry("image".to_string()).or_insert_with(|| json!(format!("${{COMPOSE_PROJECT_NAME}}-{name}")));
            keys.entry("pull_policy".to_string()).or_insert_with(|| json!("never"));
        }
        Base::Image(base) => {
            let build =
                json!({"context": format!("./{IMAGES}/{name}"), "dockerfile_inline": dockerfile(base, &krate.bin)});
            keys.insert("build".to_string(), build);
            // A changed binary is in the image when the service is started, also by `docker compose up`.
            keys.entry("pull_policy".to_string()).or_insert_with(|| json!("build"));
        }
    }
    // Process 1 has no default signal handling and must reap orphaned processes.
    keys.entry("init".to_string()).or_insert_with(|| json!(true));
    if krate.base == Base::Scratch && !mounts(keys).any(|(_, target)| target == "/tmp") {
        keys.entry("tmpfs".to_string()).or_insert_with(|| json!(["/tmp"]));
    }
}

fn dockerfile(base: &str, bin: &str) -> String {
    format!("FROM {base}\nCOPY {bin} {BIN}/{bin}\nENTRYPOINT [\"{BIN}/{bin}\"]\n")
}

/// The directories of a crate's image that belong to its user: the mount points of volumes, since the engine gives a new volume the owner
/// of the directory that it is mounted on.
pub(crate) fn writable_directories(topology: &Topology, service: &str) -> (BTreeSet<String>, Option<(u64, u64)>) {
    let Some(keys) = topology.services.get(service) else { return (BTreeSet::new(), None) };
    (writable(keys).collect(), owner(keys))
}

/// The user and group that the service runs as, if they are numbers. A user without a group has the group of the same number.
fn owner(keys: &Keys) -> Option<(u64, u64)> {
    let (user, group) = match keys.get("user")? {
        Value::String(user) => user.split_once(':').unwrap_or((user, user)),
        _ => return None,
    };
    Some((user.parse().ok()?, group.parse().ok()?))
}

/// The mount points of volumes that the program must be able to write to.
fn writable(keys: &Keys) -> impl Iterator<Item = String> {
    let volumes = mounts(keys).filter(|(kind, _)| *kind == Mount::Volume);
    let targets: BTreeSet<String> = volumes.map(|it| it.1).collect();
    // What holds a variable or a space stays the engine's.
    targets.into_iter().filter(|target| target.starts_with('/') && !target.contains(['$', ' ', '"', '\\']))
}

#[derive(PartialEq, Eq)]
enum Mount {
    Volume,
    Other,
}

fn mounts(keys: &Keys) -> impl Iterator<Item = (Mount, String)> {
    let kind = |is_volume| if is_volume { Mount::Volume } else { Mount::Other };
    keys.get("volumes").and_then(Value::as_array).into_iter().flatten().filter_map(move |mount| match mount {
        Value::String(short) => {
            let mut parts = short.split(':');
            let (source, target) = (parts.next()?, parts.next());
            let is_volume = target.is_none() || !source.starts_with(['.', '/', '~', '$']);
            Some((kind(is_volume), target.unwrap_or(source).trim_end_matches('/').to_string()))
        }
        Value::Object(table) => {
            let target = table.get("target")?.as_str()?.trim_end_matches('/').to_string();
            Some((kind(table.get("type").is_some_and(|kind| kind == "volume")), target))
        }
        _ => None,
    })
}

fn add_label(keys: &mut Keys, label: &str, value: &str) {
    match keys.entry("labels".to_string()).or_insert_with(|| json!({})) {
        Value::Array(labels) => labels.push(json!(format!("{label}={value}"))),
        Value::Object(labels) => {
            labels.insert(label.to_string(), json!(value));
        }
        _ => {}
    }
}

fn traefik(topology: &Topology) -> Value {
    let port = json!({
        "app_protocol": "http", "host_ip": "127.0.0.1", "published": topology.traefik.port.to_string(), "target": 80,
    });
    let mut service = json!({
        "image": topology.traefik.image,
        "ports": [port],
        // The folder and not the files: a file that is replaced would stay the old one in there.
        "volumes": [{"type": "bind", "source": "./traefik", "target": "/etc/traefik", "read_only": true}],
    });
    let networks: BTreeSet<&str> =
        topology.routes.iter().flat_map(|route| networks(topology, &route.service)).collect();
    if !networks.iter().eq(&["default"]) {
        service["networks"] = json!(networks);
    }
    service
}

/// The networks that a service is on.
fn networks<'a>(topology: &'a Topology, service: &str) -> Vec<&'a str> {
    match topology.services.get(service).and_then(|keys| keys.get("networks")) {
        // To Compose none is the default one.
        Some(Value::Array(names)) if !names.is_empty() => names.iter().filter_map(Value::as_str).collect(),
        Some(Value::Object(table)) if !table.is_empty() => table.keys().map(String::as_str).collect(),
        _ => vec!["default"],
    }
}

/// `traefik.yaml`: what it is started with.
fn static_configuration() -> Value {
    json!({
        "entryPoints": {"web": {"address": ":80"}},
        "global": {"checkNewVersion": false, "sendAnonymousUsage": false},
        "providers": {"file": {"filename": "/etc/traefik/dynamic.yaml", "watch": true}},
    })
}

/// `dynamic.yaml`: where its routes lead; it sees for itself when that changes.
fn dynamic(topology: &Topology) -> Value {
    let mut routers = Map::new();
    let mut services = Map::new();
    for route in &topology.routes {
        let path = route.path.as_ref().map(|path| format!(" && PathPrefix(`{path}`)")).unwrap_or_default();
        let rule = format!("Host(`{}`){path}", route.host);
        let name = &route.service;
        routers.insert(name.clone(), json!({"entryPoints": ["web"], "rule": rule, "service": name}));
        let url = format!("http://{name}:{}", route.port);
        services.insert(name.clone(), json!({"loadBalancer": {"servers": [{"url": url}]}}));
    }
    json!({"http": {"routers": routers, "services": services}})
}
