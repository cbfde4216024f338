//! Finds the manifest, table and key that a part of the generated compose file comes from. Pure.

use serde_json::Value;

use super::plan::{Keys, Topology, workspace_table};
use crate::compose::TRAEFIK;

impl Topology {
    /// Where this service, or this key of it, is described: ``api/Cargo.toml: [package.metadata.stagecraft.dev] `ports` ``. None if
    /// no manifest describes it.
    pub fn origin(&self, service: &str, key: Option<&str>) -> Option<String> {
        let (table, key) = match self.tables.get(service) {
            Some(table) => (table, key.filter(|key| self.services[service].contains_key(*key))),
            // What is made for the routes has one port, and its own key for it.
            None if service == TRAEFIK && !self.routes.is_empty() => {
                let table = workspace_table().sub("traefik");
                return Some(table.place((key == Some("ports")).then_some("port")));
            }
            None => return None,
        };
        Some(table.place(key))
    }

    /// What Compose's error is about, as [`Topology::origin`] says it. None if the error does not tell.
    pub fn origin_of_error(&self, error: &str) -> Option<String> {
        self.service_in_path(error)
            .or_else(|| self.resource_in_path(error))
            .or_else(|| self.named_service(error))
            .or_else(|| {
                let (service, key) = self.only_holder_of(error)?;
                self.origin(service, Some(key))
            })
    }

    /// `services.api.ports` and `services[api].ports`, as the schema's and the decoder's errors name it.
    fn service_in_path(&self, error: &str) -> Option<String> {
        let (name, rest) = named(error, "services", self.services.keys())?;
        self.origin(name, first_key(rest))
    }

    fn resource_in_path(&self, error: &str) -> Option<String> {
        let workspace = workspace_table();
        let found = |(kind, resources): (&&str, &Keys)| {
            let (name, _) = named(error, kind, resources.keys())?;
            Some(workspace.sub(kind).place(Some(name)))
        };
        self.resources.iter().find_map(found)
    }

    /// `service "api" depends on undefined service "db"` and the like.
    fn named_service(&self, error: &str) -> Option<String> {
        let (name, what) = error.split_once("service \"")?.1.split_once('"')?;
        let key = match what.trim_start() {
            what if what.starts_with("depends on") => Some("depends_on"),
            what => what.strip_prefix("refers to undefined ").and_then(|what| match what.split(' ').next()? {
                "network" => Some("networks"),
                "volume" => Some("volumes"),
                "secret" => Some("secrets"),
                "config" => Some("configs"),
                _ => None,
            }),
        };
        self.origin(name, key)
    }

    /// The key that alone has the value which the error ends with, as in `Invalid hostPort: 808O`, or refers to the variable that
    /// it names.
    fn only_holder_of(&self, error: &str) -> Option<(&str, &str)> {
        let value = match error.split_once("required variable ") {
            Some((_, rest)) => format!("${{{}", rest.split(' ').next()?),
            None => error.trim().rsplit(' ').next()?.trim_matches(['"', '\'', '.']).to_string(),
        };
        let keys =
            self.services.iter().flat_map(|(service, keys)| keys.iter().map(move |(key, it)| (service, key, it)));
        let mut holders = keys.filter(|(.., it)| !value.is_empty() && holds(it, &value));
        let (service, key, _) = holders.next()?;
        holders.next().is_none().then_some((service, key))
    }
}

/// The longest of these names that stands behind the kind, and what follows.
fn named<'a>(error: &'a str, kind: &str, names: impl Iterator<Item = &'a String>) -> Option<(&'a str, &'a str)> {
    let found = names.filter_map(|name| {
        [format!("{kind}.{name}"), format!("{kind}[{name}]")].iter().find_map(|path| {
            let (before, rest) = error.split_once(path.as_str())?;
            let is_whole = !before.ends_with(|c: char| c.is_alphanumeric())
                && !rest.starts_with(|c: char| c.is_alphanumeric() || "-_".contains(c));
            is_whole.then_some((name.as_str(), rest))
        })
    });
    found.max_by_key(|(name, _)| name.len())
}

/// `ports` of `.ports.0 must be a string`.
fn first_key(rest: &str) -> Option<&str> {
    let rest = rest.strip_prefix('.').or_else(|| rest.trim_start().strip_prefix("additional properties '"))?;
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    (end > 0).then(|| &rest[..end])
}

/// Whether a text in it has this as a part of its own.
fn holds(value: &Value, part: &str) -> bool {
    match value {
        Value::String(text) => text.match_indices(part).any(|(at, _)| {
            let is_part = |c: char| c.is_alphanumeric() || c == '_';
            !text[..at].ends_with(is_part) && !text[at + part.len()..].starts_with(is_part)
        }),
        Value::Array(all) => all.iter().any(|value| holds(value, part)),
        Value::Object(table) => table.iter().any(|(key, value)| key == part || holds(value, part)),
        Value::Number(number) => number.to_string() == part,
        Value::Null | Value::Bool(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::devfile::plan;
    use crate::workspace::{Package, Workspace};

    /// Compose 2.26 and 2.40 say these.
    #[test]
    fn an_error_of_composes_leads_to_manifest_table_and_key() {
        let mut workspace = Workspace::at("/w/shop");
        workspace.metadata = json!({
            "services": { "db": { "image": "postgres", "mem_limit": "12q" }, "db.2": { "image": "x", "ports": ["80:8O"] } },
            "volumes": { "data": {} },
        });
        workspace.packages = vec![Package {
            name: "api".to_string(),
            manifest_path: "/w/shop/api/Cargo.toml".into(),
            metadata: json!({
                "ports": ["808O:80"], "depends_on": ["cache"], "environment": { "A": "${A?set it}" }, "route": 80,
            }),
            binaries: vec!["api".to_string()],
            ..Package::default()
        }];
        let topology = plan(&workspace).expect("a valid stack").expect("a stack");
        let api = |key: &str| Some(format!("api/Cargo.toml: [package.metadata.stagecraft.dev]{key}"));
        let workspace = |table: &str| Some(format!("Cargo.toml: [workspace.metadata.stagecraft.dev.{table}"));
        for (error, origin) in [
            ("validating /w/compose.yaml: services.api.ports must be a list", api(" `ports`")),
            ("validating /w/compose.yaml: services.api.environment.A must be a string", api(" `environment`")),
            // The key is not one of the manifest's.
            ("services.api.build must be a string", api("")),
            ("validating /w/compose.yaml: services.api additional properties 'bogus' not allowed", api("")),
            ("Invalid hostPort: 808O", api(" `ports`")),
            ("service \"api\" depends on undefined service \"cache\": invalid compose project", api(" `depends_on`")),
            ("service \"api\" refers to undefined network db: invalid compose project", api("")),
            (
                "error while interpolating services.api.environment.[]: required variable A is missing a value: set it",
                api(" `environment`"),
            ),
            ("required variable A is missing a value: set it", api(" `environment`")),
            (
                "decoding failed due to the following error(s):\n\n'services[db].mem_limit' invalid suffix: 'q'",
                workspace("services.db] `mem_limit`"),
            ),
            ("services.db.2.ports.0 is wrong", workspace("services.\"db.2\"] `ports`")),
            ("Invalid containerPort: 8O", workspace("services.\"db.2\"] `ports`")),
            ("validating /w/compose.yaml: volumes.data additional properties", workspace("volumes] `data`")),
            ("dependency cycle detected: api -> b -> api", None),
            ("unexpected end of file", None),
        ] {
            assert_eq!(topology.origin_of_error(error), origin, "{error}");
        }
        assert_eq!(topology.origin("traefik", Some("ports")), workspace("traefik] `port`"));
        assert_eq!(topology.origin("gone", None), None);
    }
}
