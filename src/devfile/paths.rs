//! Paths of the host that stand in Compose keys: in a Cargo.toml they are relative to that Cargo.toml, in the compose file
//! to the dev dir. Which keys hold paths: `paths/resolve.go` of compose-go.

use std::path::{Component, Path, PathBuf};

use serde_json::{Map, Value};

use crate::workspace::DEV_DIR;

/// The folder of a manifest, as it is reached from the dev dir.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// `folder` and `root` are absolute.
    pub(super) fn new(folder: &Path, root: &Path) -> Folder {
        let mut root = root.components();
        let mut folder = folder.components();
        let mut up = Path::new(DEV_DIR).components().count();
        loop {
            match (root.clone().next(), folder.clone().next()) {
                (Some(a), Some(b)) if a == b => {
                    root.next();
                    folder.next();
                }
                _ => break,
            }
        }
        up += root.count();
        Folder(std::iter::repeat_n(Component::ParentDir, up).chain(folder).collect())
    }

    /// A path of this folder, from the dev dir; the same on every system. What is not relative stays as it is: what begins with
    /// `/`, with `~`, or with a variable, whose value is unknown here.
    fn reach(&self, path: &str) -> String {
        if path.is_empty() || path.starts_with(['/', '~', '$', '\\']) || Path::new(path).is_absolute() {
            return path.to_string();
        }
        let mut reached = self.0.clone();
        for component in Path::new(path).components() {
            match component {
                Component::CurDir => {}
                Component::ParentDir if matches!(reached.components().next_back(), Some(Component::Normal(_))) => {
                    reached.pop();
                }
                other => reached.push(other),
            }
        }
        let names: Vec<_> = reached.iter().map(|name| name.to_string_lossy()).collect();
        names.join("/")
    }

    fn reach_in(&self, value: &mut Value) {
        match value {
            Value::String(path) => *path = self.reach(path),
            Value::Array(all) => all.iter_mut().for_each(|one| self.reach_in(one)),
            _ => {}
        }
    }

    fn reach_key(&self, table: &mut Value, key: &str) {
        if let Some(value) = table.get_mut(key) {
            self.reach_in(value);
        }
    }

    /// A build context may also be a Git repository or something that has a scheme.
    fn reach_context(&self, value: &mut Value) {
        if let Value::String(context) = value {
            let is_remote = ["git@", "github.com/", "target:", "service:"].iter().any(|it| context.starts_with(it));
            if !is_remote && !context.contains("://") {
                *context = self.reach(context);
            }
        }
    }

    fn reach_build(&self, build: &mut Value) {
        match build {
            Value::Object(table) => {
                self.reach_context(table.entry("context").or_insert_with(|| Value::from(".")));
                match table.get_mut("additional_contexts") {
                    Some(Value::Object(contexts)) => contexts.values_mut().for_each(|it| self.reach_context(it)),
                    Some(Value::Array(contexts)) => {
                        for context in contexts {
                            if let Some((name, path)) = context.as_str().and_then(|it| it.split_once('=')) {
                                let (name, mut path) = (name.to_string(), Value::from(path));
                                self.reach_context(&mut path);
                                *context = Value::from(format!("{name}={}", path.as_str().unwrap_or_default()));
                            }
                        }
                    }
                    _ => {}
                }
                self.reach_ssh(table.get_mut("ssh"));
            }
            other => self.reach_context(other),
        }
    }

    /// Keys for a build by their names; the agent, `default`, has none.
    fn reach_ssh(&self, ssh: Option<&mut Value>) {
        match ssh {
            Some(Value::Object(keys)) => keys.values_mut().for_each(|key| self.reach_in(key)),
            Some(Value::Array(keys)) => keys.iter_mut().for_each(|key| self.reach_after(key, &["="])),
            _ => {}
        }
    }

    /// A path that stands behind a name and the first of these signs, if there is one.
    fn reach_after(&self, value: &mut Value, signs: &[&str]) {
        if let Value::String(text) = value
            && let Some(sign) = signs.iter().find(|sign| text.contains(**sign))
            && let Some((name, path)) = text.split_once(sign)
        {
            *text = format!("{name}{sign}{}", self.reach(path));
        }
    }

    fn reach_mount(&self, mount: &mut Value) {
        match mount {
            // The source of the short form is a path if it looks like one, else the name of a volume.
            Value::String(short) if short.starts_with('.') => {
                let (source, rest) = short.split_once(':').unwrap_or((short, ""));
                let colon = if rest.is_empty() { "" } else { ":" };
                *short = format!("{}{colon}{rest}", self.reach(source));
            }
            Value::Object(_) if mount.get("type").is_some_and(|kind| kind == "bind") => {
                self.reach_key(mount, "source");
            }
            _ => {}
        }
    }

    /// Lets the paths in the keys of a service be relative to the dev dir.
    pub(super) fn reach_service(&self, service: &mut Map<String, Value>) {
        for (key, value) in service.iter_mut() {
            match key.as_str() {
                "build" => self.reach_build(value),
                "env_file" | "label_file" => {
                    self.reach_in(value);
                    if let Value::Array(files) = value {
                        files.iter_mut().for_each(|file| self.reach_key(file, "path"));
                    }
                }
                // Compose itself reads the profile, which is why compose-go has no word of it.
                "security_opt" => {
                    let is_file = |option: &&mut Value| {
                        option.as_str().and_then(|option| option.strip_prefix("seccomp")).is_some_and(|profile| {
                            let profile = profile.trim_start_matches(['=', ':']);
                            !["unconfined", "builtin"].contains(&profile)
                        })
                    };
                    let options = value.as_array_mut().into_iter().flatten();
                    options.filter(is_file).for_each(|option| self.reach_after(option, &["=", ":"]));
                }
                "extends" | "credential_spec" => self.reach_key(value, "file"),
                "volumes" => {
                    value.as_array_mut().into_iter().flatten().for_each(|mount| self.reach_mount(mount));
                }
                "develop" => {
                    let watch = value.get_mut("watch").and_then(Value::as_array_mut);
                    watch.into_iter().flatten().for_each(|rule| self.reach_key(rule, "path"));
                }
                _ => {}
            }
        }
    }

    /// The same for a `config`, a `secret`, or a `volume` of the top level.
    pub(super) fn reach_resource(&self, resource: &mut Value) {
        self.reach_key(resource, "file");
        // A local volume that is a folder of the host.
        if let Some(options) = resource.get_mut("driver_opts")
            && options.get("o").and_then(Value::as_str).is_some_and(|o| o.split(',').any(|word| word == "bind"))
        {
            self.reach_key(options, "device");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(folder: &str, service: Value) -> Value {
        let Value::Object(mut service) = service else { panic!("no table") };
        Folder::new(Path::new(folder), Path::new("/w/shop")).reach_service(&mut service);
        Value::Object(service)
    }

    #[test]
    fn a_manifests_folder_is_reached_from_the_dev_dir() {
        for (folder, path, reached) in [
            ("/w/shop", "data", "../../data"),
            ("/w/shop", "./data/", "../../data"),
            ("/w/shop", ".", "../.."),
            ("/w/shop/crates/api", "./data", "../../crates/api/data"),
            ("/w/shop/crates/api", "../shared", "../../crates/shared"),
            ("/w/shop/crates/api", "../../../other", "../../../other"),
            ("/w/other/api", "data", "../../../other/api/data"),
            ("/w/shop", "/etc/hosts", "/etc/hosts"),
            ("/w/shop", "~/x", "~/x"),
            ("/w/shop", "${DATA:-./x}", "${DATA:-./x}"),
            ("/w/shop", "", ""),
        ] {
            let folder = Folder::new(Path::new(folder), Path::new("/w/shop"));
            assert_eq!(folder.reach(path), reached, "{path}");
        }
    }

    #[test]
    fn every_key_that_holds_a_path_is_known() {
        let given = json!({
            "build": {"additional_contexts": {"a": "./a", "b": "docker-image://b", "c": "service:x"}, "dockerfile": "D"},
            "env_file": ["a.env", {"path": "b.env", "required": false}], "label_file": "labels",
            "extends": {"file": "other.yaml", "service": "x"}, "credential_spec": {"file": "c.json"},
            "develop": {"watch": [{"path": "src", "action": "sync", "target": "/src"}]},
            "volumes": ["./data:/data:ro", "named:/v", "/abs:/abs", "/anonymous", "~/h:/h", "..:/up",
                {"type": "bind", "source": "x", "target": "/x"}, {"type": "volume", "source": "x", "target": "/y"}],
            "command": ["./data"],
        });
        let expected = json!({
            "build": {"context": "../../api", "additional_contexts": {"a": "../../api/a", "b": "docker-image://b",
                "c": "service:x"}, "dockerfile": "D"},
            "env_file": ["../../api/a.env", {"path": "../../api/b.env", "required": false}],
            "label_file": "../../api/labels",
            "extends": {"file": "../../api/other.yaml", "service": "x"}, "credential_spec": {"file": "../../api/c.json"},
            "develop": {"watch": [{"path": "../../api/src", "action": "sync", "target": "/src"}]},
            "volumes": ["../../api/data:/data:ro", "named:/v", "/abs:/abs", "/anonymous", "~/h:/h", "../..:/up",
                {"type": "bind", "source": "../../api/x", "target": "/x"},
                {"type": "volume", "source": "x", "target": "/y"}],
            "command": ["./data"],
        });
        assert_eq!(service("/w/shop/api", given), expected);
        assert_eq!(service("/w/shop", json!({"build": "./web"})), json!({"build": "../../web"}));
        for remote in ["https://example.org/x.git", "git@example.org:x", "github.com/x/y"] {
            assert_eq!(service("/w/shop", json!({"build": remote})), json!({"build": remote}));
        }
        let contexts = json!({"build": {"context": ".", "additional_contexts": ["a=./a", "b=target:x"]}});
        let expected = json!({"build": {"context": "../..", "additional_contexts": ["a=../../a", "b=target:x"]}});
        assert_eq!(service("/w/shop", contexts), expected);
        let ssh = json!({"build": {"context": ".", "ssh": ["default", "deploy=./keys/id", "agent=$SOCKET"]}});
        let expected =
            json!({"build": {"context": "../..", "ssh": ["default", "deploy=../../keys/id", "agent=$SOCKET"]}});
        assert_eq!(service("/w/shop", ssh), expected);
        let ssh = json!({"build": {"context": ".", "ssh": {"deploy": "keys/id"}}});
        let expected = json!({"build": {"context": "../..", "ssh": {"deploy": "../../keys/id"}}});
        assert_eq!(service("/w/shop", ssh), expected);
        let options = json!({"security_opt": ["no-new-privileges", "seccomp=./s.json", "seccomp:s.json",
            "seccomp=unconfined", "label=user:USER"]});
        let expected = json!({"security_opt": ["no-new-privileges", "seccomp=../../s.json", "seccomp:../../s.json",
            "seccomp=unconfined", "label=user:USER"]});
        assert_eq!(service("/w/shop", options), expected);
        let env_file = service("/w/shop", json!({"env_file": ".env.dev"}));
        assert_eq!(env_file, json!({"env_file": "../../.env.dev"}));
    }

    #[test]
    fn resources_of_the_top_level_hold_paths_too() {
        let folder = Folder::new(Path::new("/w/shop"), Path::new("/w/shop"));
        for (mut given, expected) in [
            (json!({"file": "./app.toml"}), json!({"file": "../../app.toml"})),
            (
                json!({"driver_opts": {"type": "none", "o": "bind", "device": "./d"}}),
                json!({"driver_opts": {"type": "none", "o": "bind", "device": "../../d"}}),
            ),
            (
                json!({"driver_opts": {"type": "nfs", "o": "addr=x", "device": ":/d"}}),
                json!({"driver_opts": {"type": "nfs", "o": "addr=x", "device": ":/d"}}),
            ),
            (json!({"content": "./x"}), json!({"content": "./x"})),
        ] {
            folder.reach_resource(&mut given);
            assert_eq!(given, expected);
        }
    }
}
