//! What Compose makes of a file in which everything is usual, found out without asking it, which takes 60 to 130 ms.
//!
//! The promise is that of a test that asks Compose about each of many files: where there is an answer here, the file is
//! valid and `config` gives the same one. So what is known in here is a list of what may stand in a file, in which form;
//! at anything else there is no answer, and Compose has to be asked. Source of the rules: the schema and the loader of
//! compose-go, <https://github.com/compose-spec/compose-go>.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsStr;
use std::hash::Hash;
use std::net::Ipv4Addr;
use std::path::{Component, Path, PathBuf};

use serde_json::{Map, Value};

use super::model::{Deploy, Healthcheck, Mount};
use super::{Dependency, NameChoice, Port, ProjectName, Service, Stack, yaml};
use crate::sorted;

/// The variables of Compose's that change nothing about what a file means.
const HARMLESS: [&str; 8] = [
    "COMPOSE_ANSI",
    "COMPOSE_BAKE",
    "COMPOSE_IGNORE_ORPHANS",
    "COMPOSE_MENU",
    "COMPOSE_PARALLEL_LIMIT",
    "COMPOSE_PROGRESS",
    "COMPOSE_PROJECT_NAME",
    "COMPOSE_STATUS_STDOUT",
];

/// Whether an environment with these variables leaves a file its usual meaning; the name of the project is not asked of it.
pub fn is_usual_environment<'a>(mut names: impl Iterator<Item = &'a OsStr>) -> bool {
    names.all(|name| {
        let name = name.to_string_lossy();
        HARMLESS.contains(&name.as_ref()) || !(name.starts_with("COMPOSE_") || name == "DOCKER_DEFAULT_PLATFORM")
    })
}

/// The stack that a compose file in this dev dir describes. None where something in it is not usual.
pub fn read(text: &str, dev_dir: &Path, name: NameChoice<'_>) -> Option<Stack> {
    let document = yaml::read(text)?;
    let model = Model { document: document.as_object()?, dev_dir };
    let services = model.services()?;
    let name = match (name, model.document.get("name")) {
        (NameChoice::Given(given), name) => {
            optional(name, |name| ProjectName::new(name.as_str()?).ok())?;
            given.clone()
        }
        (NameChoice::Default(_), Some(name)) => ProjectName::new(name.as_str()?).ok()?,
        (NameChoice::Default(default), None) => default.clone(),
    };
    Some(Stack { project: name, services, volumes: BTreeMap::new() })
}

struct Model<'a> {
    document: &'a Map<String, Value>,
    dev_dir: &'a Path,
}

impl Model<'_> {
    fn services(&self) -> Option<BTreeMap<String, Service>> {
        let known = ["name", "networks", "services", "version", "volumes"];
        let is_known = |key: &String| known.contains(&key.as_str());
        let version = self.document.get("version").is_none_or(|version| version.as_str().is_some_and(is_literal));
        let volumes = self.resources("volumes", "local")?;
        let networks = self.resources("networks", "bridge")?;
        if !self.document.keys().all(is_known) || !version {
            return None;
        }
        let table = self.document.get("services")?.as_object()?;
        let mut services = BTreeMap::new();
        for (name, keys) in table {
            let keys = keys.as_object().filter(|_| is_name(name) && name.len() < 64)?;
            services.insert(name.clone(), self.service(keys, &volumes, &networks)?);
        }
        depend_in_order(&services).then_some(())?;
        // No profile is active: the environment would say so.
        services.retain(|name, _| table[name].get("profiles").is_none());
        (!services.is_empty() && depend_in_order(&services)).then_some(services)
    }

    /// The names of a table of volumes or networks.
    fn resources(&self, key: &str, driver: &str) -> Option<HashSet<&str>> {
        let table = match self.document.get(key) {
            None => return Some(HashSet::new()),
            Some(table) => table.as_object()?,
        };
        let is_usual = |resource: &Value| match resource {
            Value::Null => true,
            Value::Object(keys) => match keys.len() {
                0 => true,
                1 => {
                    keys.get("driver").is_some_and(|it| it == driver)
                        || keys.get("external") == Some(&Value::Bool(true))
                }
                _ => false,
            },
            _ => false,
        };
        table.iter().all(|(name, resource)| is_name(name) && is_usual(resource)).then(|| {
            let names = table.keys().map(String::as_str);
            names.collect()
        })
    }

    fn service(&self, keys: &Map<String, Value>, volumes: &HashSet<&str>, networks: &HashSet<&str>) -> Option<Service> {
        let mut service = Service::default();
        for (key, value) in keys {
            match key.as_str() {
                "image" => service.image = Some(text(value).filter(|image| is_image(image))?.to_string()),
                "build" => {
                    is_build(value).then_some(())?;
                    service.build = Some(serde::de::IgnoredAny);
                }
                "command" | "entrypoint" => is_command(value).then_some(())?,
                "container_name" | "hostname" => text(value).filter(|name| is_name(name)).map(|_| ())?,
                "depends_on" => service.depends_on = dependencies(value)?,
                "deploy" => service.deploy = Some(Deploy { replicas: Some(count(only(value, "replicas")?)?) }),
                "environment" => is_environment(value).then_some(())?,
                "expose" => distinct(value, |port| number_or_digits(port).filter(|port| *port > 0)).map(|_| ())?,
                "healthcheck" => service.healthcheck = Some(healthcheck(value)?),
                "init" | "privileged" | "read_only" | "stdin_open" | "tty" => value.as_bool().map(|_| ())?,
                "labels" => service.labels = labels(value)?,
                "mem_limit" => text(value).filter(|size| is_size(size)).map(|_| ())?,
                "networks" => are_networks(value, networks).then_some(())?,
                "ports" => service.ports = distinct(value, port)?,
                "profiles" => distinct(value, |profile| text(profile).filter(|it| is_name(it)))
                    .filter(|it| !it.is_empty())
                    .map(|_| ())?,
                "pull_policy" => match text(value)? {
                    "build" => keys.contains_key("build").then_some(())?,
                    policy => ["always", "missing", "never"].contains(&policy).then_some(())?,
                },
                "restart" => ["always", "no", "on-failure", "unless-stopped"].contains(&text(value)?).then_some(())?,
                "scale" => service.scale = Some(count(value)?),
                "stop_grace_period" => is_duration(value).then_some(())?,
                "stop_signal" => {
                    text(value).filter(|signal| signal.starts_with("SIG") && is_name(signal)).map(|_| ())?
                }
                "tmpfs" => match value {
                    Value::Array(_) => distinct(value, |path| text(path).filter(|path| is_target(path))).map(|_| ())?,
                    _ => text(value).filter(|path| is_target(path)).map(|_| ())?,
                },
                "user" => text(value).filter(|user| is_literal(user)).map(|_| ())?,
                "volumes" => service.volumes = self.mounts(value, volumes)?,
                "working_dir" => text(value).filter(|path| is_target(path)).map(|_| ())?,
                _ => return None,
            }
        }
        let has_image = service.image.is_some() || service.build.is_some();
        let is_scaled_once = service.scale.is_none() || service.deploy.is_none();
        let may_be_many = service.replicas() < 2 || !keys.contains_key("container_name");
        (has_image && is_scaled_once && may_be_many).then_some(service)
    }

    fn mounts(&self, value: &Value, volumes: &HashSet<&str>) -> Option<Vec<Mount>> {
        let mounts = value.as_array()?.iter().map(|mount| match mount {
            Value::String(short) => self.short_mount(short, volumes),
            Value::Object(long) => self.long_mount(long, volumes),
            _ => None,
        });
        let mounts: Vec<(Mount, &str)> = mounts.collect::<Option<_>>()?;
        are_distinct(mounts.iter().map(|(_, target)| *target)).then(|| mounts.into_iter().map(|it| it.0).collect())
    }

    fn short_mount<'v>(&self, short: &'v str, volumes: &HashSet<&str>) -> Option<(Mount, &'v str)> {
        let parts: Vec<&str> = short.split(':').collect();
        let (source, target) = match parts[..] {
            [source, target] | [source, target, "ro" | "rw"] => (source, target),
            _ => return None,
        };
        let mount = if is_name(source) {
            volumes.contains(source).then(|| Mount { kind: "volume".to_string(), source: Some(source.into()) })
        } else {
            self.bind(source)
        };
        Some((mount?, Some(target).filter(|target| is_target(target))?))
    }

    fn long_mount<'v>(&self, long: &'v Map<String, Value>, volumes: &HashSet<&str>) -> Option<(Mount, &'v str)> {
        let known = ["read_only", "source", "target", "type"];
        let may_write = long.get("read_only").is_none_or(Value::is_boolean);
        if !may_write || !long.keys().all(|key| known.contains(&key.as_str())) {
            return None;
        }
        let source = text(long.get("source")?)?;
        let mount = match text(long.get("type")?)? {
            "bind" => self.bind(source)?,
            "volume" if volumes.contains(source) => Mount { kind: "volume".to_string(), source: Some(source.into()) },
            _ => return None,
        };
        Some((mount, text(long.get("target")?).filter(|target| is_target(target))?))
    }

    /// A file or folder of the host. Compose takes an absolute path as it is written and cleans the others.
    fn bind(&self, source: &str) -> Option<Mount> {
        let is_absolute = source.starts_with('/');
        let is_path = is_absolute || source == "." || source.starts_with("./") || source.starts_with("../");
        let path = self.dev_dir.join(Some(source).filter(|source| is_path && is_literal(source))?);
        Some(Mount { kind: "bind".to_string(), source: Some(if is_absolute { path } else { clean(&path) }) })
    }
}

/// A path without `.` and `..`, as Go's `filepath.Clean` makes it.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            part => clean.push(part),
        }
    }
    clean
}

/// Text in which nothing is to be interpolated.
fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.contains('$'))
}

/// Text that means itself to whoever splits, quotes or parses.
fn is_literal(text: &str) -> bool {
    let is_harmless = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | '@' | ',' | '+');
    !text.is_empty() && text.chars().all(is_harmless)
}

/// A name of a service, a volume, a network, a container.
fn is_name(text: &str) -> bool {
    let is_inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    text.len() > 1 && text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(is_inside)
}

/// `postgres`, `example.org:5000/team/app:1.2`.
fn is_image(text: &str) -> bool {
    let is_inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.' | '/' | ':');
    let edges = text.chars().next().into_iter().chain(text.chars().last());
    text.chars().all(is_inside) && edges.fold(!text.is_empty(), |all, edge| all && edge.is_ascii_alphanumeric())
}

/// An absolute path in a container.
fn is_target(text: &str) -> bool {
    let is_inside = |part: &str| !matches!(part, "" | "." | "..");
    text.strip_prefix('/')
        .is_some_and(|rest| is_literal(rest) && !rest.contains([':', ',']) && rest.split('/').all(is_inside))
}

/// `64m`.
fn is_size(text: &str) -> bool {
    let digits = text.trim_end_matches(['b', 'k', 'm', 'g']);
    text.len() - digits.len() < 2 && !digits.starts_with('0') && digits.len() < 7 && digits.parse::<u32>().is_ok()
}

/// `5s`, `1m30s`.
fn is_duration(value: &Value) -> bool {
    let Some(mut rest) = text(value) else { return false };
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let unit = ["ms", "s", "m", "h"].iter().find(|unit| rest[digits..].starts_with(**unit));
        let Some(unit) = unit.filter(|_| (1..7).contains(&digits)) else { return false };
        rest = &rest[digits + unit.len()..];
    }
    true
}

/// A whole number that cannot be too large.
fn count(value: &Value) -> Option<u32> {
    value.as_u64().filter(|count| *count < 1000).and_then(|count| u32::try_from(count).ok())
}

fn number_or_digits(value: &Value) -> Option<u16> {
    match value {
        Value::Number(number) => number.as_u64().and_then(|number| u16::try_from(number).ok()),
        Value::String(digits) => digits_of(digits),
        _ => None,
    }
}

/// A number without a sign or zeros in front.
fn digits_of(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| is_plain)
}

/// The value of the one key of a table.
fn only<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    let table = value.as_object()?;
    table.get(key).filter(|_| table.len() == 1)
}

fn are_distinct<T: Eq + Hash>(mut all: impl Iterator<Item = T>) -> bool {
    let mut seen = HashSet::new();
    all.all(|one| seen.insert(one))
}

/// The items of an array, none of them twice.
fn distinct<'a, T: Eq + Hash + Clone>(value: &'a Value, item: impl Fn(&'a Value) -> Option<T>) -> Option<Vec<T>> {
    let items: Vec<T> = value.as_array()?.iter().map(item).collect::<Option<_>>()?;
    are_distinct(items.iter().cloned()).then_some(items)
}

/// Text in which variables may be interpolated, in a way that cannot fail: `$NAME`, `${NAME}`, `${NAME:-word}`.
fn may_be_interpolated(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            rest = after;
            continue;
        }
        let (inside, after) = match rest.strip_prefix('{') {
            Some(braced) => match braced.split_once('}') {
                Some((inside, after)) => (inside, Some(after)),
                None => return false,
            },
            None => (rest, None),
        };
        let length = inside.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(inside.len());
        let (name, default) = inside.split_at(length);
        if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            return false;
        }
        rest = match after {
            Some(after)
                if default.is_empty()
                    || default.strip_prefix(":-").is_some_and(|it| it.is_empty() || is_literal(it)) =>
            {
                after
            }
            Some(_) => return false,
            None => default,
        };
    }
    true
}

/// A program with its arguments; a line is split as a shell does.
fn is_command(value: &Value) -> bool {
    match value {
        Value::String(line) => {
            let is_harmless = |c: char| c == ' ' || c.is_ascii_alphanumeric() || "-_./:@,+=".contains(c);
            !line.trim().is_empty() && line.chars().all(is_harmless)
        }
        Value::Array(words) => words.iter().all(|word| word.as_str().is_some_and(may_be_interpolated)),
        _ => false,
    }
}

fn is_variable(name: &str) -> bool {
    let is_inside = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(is_inside)
}

fn is_environment(value: &Value) -> bool {
    let is_value = |value: &Value| match value {
        Value::String(text) => may_be_interpolated(text),
        value => value.is_u64(),
    };
    match value {
        Value::Object(table) => table.iter().all(|(name, value)| is_variable(name) && is_value(value)),
        Value::Array(entries) => {
            let entry = |entry: &Value| {
                let (name, value) = entry.as_str()?.split_once('=')?;
                (is_variable(name) && may_be_interpolated(value)).then(|| name.to_string())
            };
            let names: Option<Vec<String>> = entries.iter().map(entry).collect();
            names.is_some_and(|names| are_distinct(names.iter()))
        }
        _ => false,
    }
}

fn is_build(value: &Value) -> bool {
    let is_path = |value: &Value| text(value).is_some_and(|path| is_literal(path) && !path.contains([':', '@']));
    match value {
        Value::Object(table) => {
            let is_usual = |(key, value): (&String, &Value)| match key.as_str() {
                "context" | "dockerfile" => is_path(value),
                "dockerfile_inline" => text(value).is_some_and(|text| !text.trim().is_empty()),
                "target" => text(value).is_some_and(is_name),
                "args" => value.is_object() && is_environment(value),
                _ => false,
            };
            let is_given_once = !table.contains_key("dockerfile") || !table.contains_key("dockerfile_inline");
            is_given_once && table.iter().all(is_usual)
        }
        value => is_path(value),
    }
}

fn dependencies(value: &Value) -> Option<BTreeMap<String, Dependency>> {
    let conditions = ["service_completed_successfully", "service_healthy", "service_started"];
    match value {
        Value::Array(_) => {
            let names = distinct(value, text)?.into_iter();
            let started = |name: &str| (name.to_string(), Dependency { condition: "service_started".to_string() });
            Some(sorted::collect(names.map(started)))
        }
        Value::Object(table) => {
            let mut dependencies = BTreeMap::new();
            for (name, dependency) in table {
                let condition = text(only(dependency, "condition")?).filter(|it| conditions.contains(it))?;
                dependencies.insert(name.clone(), Dependency { condition: condition.to_string() });
            }
            Some(dependencies)
        }
        _ => None,
    }
}

/// Whether each service that is waited for is there, and none waits for itself in the end.
fn depend_in_order(services: &BTreeMap<String, Service>) -> bool {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    while done.len() < services.len() {
        let is_next = |(name, service): &(&String, &Service)| {
            !done.contains(name.as_str()) && service.depends_on.keys().all(|other| done.contains(other.as_str()))
        };
        let next: Vec<&str> = services.iter().filter(is_next).map(|(name, _)| name.as_str()).collect();
        if next.is_empty() {
            return false;
        }
        done.extend(next);
    }
    true
}

fn healthcheck(value: &Value) -> Option<Healthcheck> {
    let table = value.as_object()?;
    for (key, value) in table {
        let is_usual = match key.as_str() {
            "test" => match value {
                Value::Array(words) => {
                    let kind = words.first().and_then(Value::as_str);
                    let length = words.len();
                    (kind == Some("CMD") && length > 1 || kind == Some("CMD-SHELL") && length == 2) && is_command(value)
                }
                value => value.as_str().is_some_and(|line| !line.trim().is_empty() && may_be_interpolated(line)),
            },
            "interval" | "start_period" | "timeout" => is_duration(value),
            "retries" => count(value).is_some_and(|retries| retries > 0),
            _ => false,
        };
        is_usual.then_some(())?;
    }
    table.contains_key("test").then_some(Healthcheck { disable: false })
}

fn labels(value: &Value) -> Option<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    match value {
        Value::Object(table) => {
            for (label, value) in table {
                let value = match value {
                    Value::Number(number) => number.to_string(),
                    value => text(value)?.to_string(),
                };
                is_literal(label).then(|| labels.insert(label.clone(), value))?;
            }
        }
        Value::Array(entries) => {
            for entry in entries {
                let (label, value) = text(entry)?.split_once('=')?;
                let is_new = is_literal(label) && labels.insert(label.to_string(), value.to_string()).is_none();
                is_new.then_some(())?;
            }
        }
        _ => return None,
    }
    Some(labels)
}

fn are_networks(value: &Value, networks: &HashSet<&str>) -> bool {
    let is_there = |name: &str| name == "default" || networks.contains(name);
    match value {
        Value::Array(names) => {
            !names.is_empty() && distinct(value, text).is_some_and(|it| it.into_iter().all(is_there))
        }
        Value::Object(table) => !table.is_empty() && table.iter().all(|(name, it)| is_there(name) && it.is_null()),
        _ => false,
    }
}

fn port(value: &Value) -> Option<Port> {
    match value {
        Value::Number(_) => {
            Some(Port { target: target_port(value)?, protocol: Some("tcp".to_string()), ..Port::default() })
        }
        Value::String(short) => short_port(short),
        Value::Object(long) => long_port(long),
        _ => None,
    }
}

fn target_port(value: &Value) -> Option<u16> {
    number_or_digits(value).filter(|port| *port > 0)
}

fn short_port(short: &str) -> Option<Port> {
    let (ports, protocol) = short.split_once('/').unwrap_or((short, "tcp"));
    let parts: Vec<&str> = ports.split(':').collect();
    let (host_ip, published, target) = match parts[..] {
        [target] => (None, None, target),
        [published, target] => (None, Some(published), target),
        [host_ip, published, target] => (Some(host_ip), Some(published), target),
        _ => return None,
    };
    Some(Port {
        target: digits_of(target)?,
        published: published
            .map(|published| digits_of(published).map(|port| port.to_string()))
            .map_or(Some(None), |it| it.map(Some))?,
        host_ip: host_ip.map(address).map_or(Some(None), |it| it.map(Some))?,
        protocol: Some(Some(protocol).filter(|it| is_protocol(it))?.to_string()),
        app_protocol: None,
    })
}

/// What is made of something that need not be there. None where it is, and nothing is made of it.
fn optional<T, U>(something: Option<T>, make: impl Fn(T) -> Option<U>) -> Option<Option<U>> {
    something.map_or(Some(None), |it| make(it).map(Some))
}

fn long_port(long: &Map<String, Value>) -> Option<Port> {
    let mut port = Port { protocol: Some("tcp".to_string()), ..Port::default() };
    for (key, value) in long {
        match key.as_str() {
            "target" => port.target = Some(value).filter(|value| value.is_u64()).and_then(target_port)?,
            "published" => port.published = Some(target_port(value)?.to_string()),
            "host_ip" => port.host_ip = Some(address(text(value)?)?),
            "protocol" => port.protocol = Some(text(value).filter(|it| is_protocol(it))?.to_string()),
            "app_protocol" => port.app_protocol = Some(text(value).filter(|it| is_name(it))?.to_string()),
            _ => return None,
        }
    }
    (port.target > 0).then_some(port)
}

fn is_protocol(text: &str) -> bool {
    matches!(text, "tcp" | "udp")
}

fn address(text: &str) -> Option<String> {
    text.parse::<Ipv4Addr>().ok().map(|address| address.to_string()).filter(|address| address == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual(text: &str) -> Option<Stack> {
        read(text, Path::new("/w/.stagecraft/dev"), NameChoice::Default(&ProjectName::new("w").unwrap()))
    }

    #[test]
    fn a_usual_file_says_what_matters_of_each_service() {
        let text = "
name: shop
volumes: {data: {}}
services:
  web:
    build: ../..
    ports: ['127.0.0.1:8080:80', {target: 443, app_protocol: https}, 9000]
    volumes: ['../../public:/srv:ro', 'data:/data']
    depends_on: {init: {condition: service_completed_successfully}}
    labels: [dev.stagecraft.route=http://web.localhost]
    deploy: {replicas: 2}
  init:
    image: x
    healthcheck: {test: [CMD, check], interval: 1s}
  debug: {image: x, profiles: [debug]}
";
        let stack = usual(text).unwrap();
        assert_eq!(stack.project.as_str(), "shop");
        assert_eq!(stack.services.keys().collect::<Vec<_>>(), ["init", "web"]);
        let web = &stack.services["web"];
        assert_eq!((web.replicas(), web.route()), (2, Some("http://web.localhost")));
        let ports: Vec<_> =
            web.ports().iter().map(|port| (port.target, port.published(), port.host_ip.as_deref())).collect();
        assert_eq!(ports, [(80, Some(8080..=8080), Some("127.0.0.1")), (443, None, None), (9000, None, None)]);
        assert_eq!(web.bind_sources().collect::<Vec<_>>(), [Path::new("/w/public")]);
        assert!(stack.is_one_shot("init") && stack.services["init"].has_healthcheck());
        assert_eq!(stack.scheme("web", 443), Some("https"));
    }

    #[test]
    fn a_name_that_is_given_goes_first_and_the_folder_last() {
        let given = ProjectName::new("given").unwrap();
        let of = |text, choice| read(text, Path::new("/w"), choice).map(|stack| stack.project.to_string());
        let plain = "services: {web: {image: x}}";
        assert_eq!(of(plain, NameChoice::Default(&given)).as_deref(), Some("given"));
        let named = "name: shop\nservices: {web: {image: x}}";
        assert_eq!(of(named, NameChoice::Default(&given)).as_deref(), Some("shop"));
        assert_eq!(of(named, NameChoice::Given(&given)).as_deref(), Some("given"));
    }

    #[test]
    fn what_might_be_wrong_or_mean_something_else_is_left_to_compose() {
        for service in [
            "{}",
            "{image: x, imagine: y}",
            "{image: 5}",
            "{image: X}",
            "{image: x, env_file: a}",
            "{image: x, extends: {service: y}}",
            "{image: x, ports: ['8000-8010:80']}",
            "{image: x, ports: ['[::1]:80:80']}",
            "{image: x, ports: ['80', '80']}",
            "{image: x, volumes: ['data:/data']}",
            "{image: x, volumes: ['~/a:/a']}",
            "{image: x, command: [1]}",
            "{image: x, depends_on: [nobody]}",
            "{image: x, depends_on: [web]}",
            "{image: x, scale: 1, deploy: {replicas: 1}}",
            "{image: x, environment: {A: '${A:?}'}}",
            "{image: x, environment: [A=1, A=2]}",
            "{image: x, labels: {a: $B}}",
            "{image: x, networks: [front]}",
            "{image: x, healthcheck: {test: [NONE]}}",
            "{image: x, container_name: web, scale: 2}",
            "{image: x, pull_policy: build}",
            "{image: x, profiles: [debug]}",
            "{image: x, restart: no}",
        ] {
            assert!(usual(&format!("services: {{web: {service}}}")).is_none(), "{service}");
        }
        for text in
            ["services: {}", "include: [x]\nservices: {web: {image: x}}", "name: ${N}\nservices: {web: {image: x}}"]
        {
            assert!(usual(text).is_none(), "{text}");
        }
    }
}
