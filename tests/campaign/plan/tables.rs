//! A stack that Cargo.toml describes.

use super::Plan;

impl Plan {
    /// The services as tables of Cargo.toml, with a crate that depends on all of them and is built for a second, after a command of half a
    /// second.
    pub fn tables(&self, proof: &str, registry: &str) -> String {
        let compose: serde_json::Value = serde_yaml_ng::from_str(&self.compose(proof, registry)).expect("a file");
        let depends_on: Vec<&str> = self.active().map(|service| service.name.as_str()).collect();
        let volumes =
            if compose["volumes"].is_null() { String::new() } else { "volumes = { data = {} }\n".to_string() };
        format!(
            "[workspace]\n[workspace.metadata.stagecraft.dev]\nbefore-build = ['sleep 0.5']\n{volumes}services = {}\n\
             [package.metadata.stagecraft.dev]\ndepends_on = {depends_on:?}\n",
            inline(&compose["services"])
        )
    }
}

/// A value in TOML, in one line.
fn inline(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Object(table) => {
            let pairs: Vec<String> = table.iter().map(|(key, value)| format!("{key:?} = {}", inline(value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        serde_json::Value::Array(all) => format!("[{}]", all.iter().map(inline).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}
