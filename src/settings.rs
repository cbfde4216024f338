//! Defaults of options from environment variables and Cargo.toml.
//!
//! Options that leave something running or delete data (`--detach`, `--keep`, `--volumes`) are not settings: a line in a file
//! that another person wrote must not surprise anyone.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::Value;

use crate::compose::Traefik;
use crate::exit::Failure;
use crate::manifest::{Table, without_dates};
use crate::stack::readiness::Ports;
use crate::workspace::Workspace;

/// What the names of all variables of ours begin with.
pub const PREFIX: &str = "STAGECRAFT_";
/// The variable for `--timeout`.
pub(crate) const TIMEOUT: &str = "STAGECRAFT_TIMEOUT";
/// The variable for `--traefik` and `--no-traefik`.
pub(crate) const TRAEFIK: &str = "STAGECRAFT_TRAEFIK";
/// The variable for `--wait` and `--no-wait`.
pub(crate) const WAIT: &str = "STAGECRAFT_WAIT";
/// The variable that sets whether a wait includes listeners on the published ports.
pub(crate) const WAIT_FOR_PORTS: &str = "STAGECRAFT_WAIT_FOR_PORTS";
/// The variable for `--watch` and `--no-watch`.
pub(crate) const WATCH: &str = "STAGECRAFT_WATCH";
/// The variable for `--wait-timeout`.
pub(crate) const WAIT_TIMEOUT: &str = "STAGECRAFT_WAIT_TIMEOUT";
/// Every variable that begins like that.
pub const VARIABLES: [&str; 6] = [TIMEOUT, TRAEFIK, WAIT, WAIT_FOR_PORTS, WAIT_TIMEOUT, WATCH];
/// Every key of [`TABLE`] that is a setting.
pub const KEYS: [&str; 6] = ["timeout", "traefik", "wait", "wait-for-ports", "wait-timeout", "watch"];
/// The table of the workspace's Cargo.toml.
pub(crate) const TABLE: &str = "workspace.metadata.stagecraft";

const PACKAGE: &str = "package.metadata.stagecraft";
/// The table in there that describes the stack.
const DEV: &str = "dev";
/// How long a stack may take to become ready, in seconds, unless something else is said.
const DEFAULT_WAIT_TIMEOUT: u32 = 120;

/// The settings, as far as one place gives them: the command line with the variables, or Cargo.toml.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Grace for containers at teardown in seconds; without it each service's own counts.
    pub timeout: Option<u32>,
    /// With or without the service `traefik`; default: with it.
    pub traefik: Option<Traefik>,
    /// Whether to wait until every service is ready; default: no.
    pub wait: Option<bool>,
    /// For how long, in seconds.
    pub wait_timeout: Option<u32>,
    /// Whether a service without a healthcheck must listen on its published ports; default: yes.
    pub wait_for_ports: Option<bool>,
    /// Whether a run in the foreground applies changes of the files; default: no.
    pub watch: Option<bool>,
}

impl Settings {
    /// What Cargo.toml gives.
    ///
    /// # Errors
    /// [`crate::exit::Code::NothingToRun`] with file, table and key.
    pub fn of(workspace: &Workspace) -> Result<Settings, Failure> {
        for package in &workspace.packages {
            let at = Table::of(workspace, &package.manifest_path, PACKAGE);
            require_none(&at, &package.settings)?;
        }
        let at = Table::of(workspace, &workspace.root().join("Cargo.toml"), TABLE);
        if workspace.settings.is_null() {
            return Ok(Settings::default());
        }
        let value = without_dates(&workspace.settings);
        let table = at.whole(&value)?;
        at.require_known(table, KEYS.into_iter().chain([DEV]))?;
        let mut settings = Settings::default();
        for (key, value) in table {
            match key.as_str() {
                "timeout" => settings.timeout = Some(duration(&at, key, value)?),
                "traefik" => settings.traefik = Some(Traefik::from(at.boolean(key, value)?)),
                "wait" => settings.wait = Some(at.boolean(key, value)?),
                "wait-for-ports" => settings.wait_for_ports = Some(at.boolean(key, value)?),
                "watch" => settings.watch = Some(at.boolean(key, value)?),
                "wait-timeout" => settings.wait_timeout = Some(duration(&at, key, value)?),
                _ => {}
            }
        }
        Ok(settings)
    }

    /// These, and those of the other place where these say nothing.
    #[must_use]
    pub fn or(self, other: Settings) -> Settings {
        Settings {
            timeout: self.timeout.or(other.timeout),
            traefik: self.traefik.or(other.traefik),
            wait: self.wait.or(other.wait),
            wait_timeout: self.wait_timeout.or(other.wait_timeout),
            wait_for_ports: self.wait_for_ports.or(other.wait_for_ports),
            watch: self.watch.or(other.watch),
        }
    }

    /// With or without the service `traefik`.
    pub fn traefik(self) -> Traefik {
        self.traefik.unwrap_or(Traefik::On)
    }

    /// What a service without a healthcheck has to do at the ports that it publishes.
    pub fn ports(self) -> Ports {
        if self.wait_for_ports == Some(false) { Ports::Ignored } else { Ports::Awaited }
    }

    /// How long to wait until every service is ready, if at all.
    pub fn wait(self) -> Option<Duration> {
        (self.wait == Some(true)).then(|| self.wait_limit())
    }

    /// How long a wait may take.
    pub fn wait_limit(self) -> Duration {
        Duration::from_secs(self.wait_timeout.unwrap_or(DEFAULT_WAIT_TIMEOUT).into())
    }
}

/// A key that holds a number of seconds, or a duration with units.
fn duration(at: &Table, key: &str, value: &Value) -> Result<u32, Failure> {
    match value {
        Value::String(text) => seconds(text)
            .map_err(|_| at.error(key, format!("must be a duration such as `90s` or `2m`, found `{text}`"))),
        _ => at.seconds(key, value),
    }
}

/// That a package has no settings: they are the workspace's.
fn require_none(at: &Table, settings: &Value) -> Result<(), Failure> {
    if settings.is_null() {
        return Ok(());
    }
    let table = at.whole(settings)?;
    match table.keys().find(|key| KEYS.contains(&key.as_str())) {
        Some(key) => {
            let error = at.error(key, "is a setting of the whole workspace");
            Err(error.help(format!("put it into [{TABLE}] of the workspace's Cargo.toml")))
        }
        None => at.require_known(table, [DEV].into_iter()),
    }
}

/// `true` or `false`, which is what cargo's own variables take, too.
///
/// # Errors
/// The expected value, for the error message of a variable.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "expected `true` or `false`".to_string())
}

/// A number of seconds, or a duration with units: `90`, `90s`, `2m`, `1m30s`.
///
/// # Errors
/// The expected value, for the error message of an option, a variable or a key.
pub(crate) fn seconds(text: &str) -> Result<u32, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let has_unit = text.ends_with(|last: char| last.is_ascii_alphabetic());
    let duration = text.parse::<SignedDuration>().ok().filter(|duration| has_unit && duration.subsec_nanos() == 0);
    duration
        .and_then(|duration| u32::try_from(duration.as_secs()).ok())
        .ok_or_else(|| "expected whole seconds, as in `90`, `90s` or `1m30s`".to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::exit::Code;
    use crate::workspace::Package;

    fn workspace(settings: Value, of_package: Value) -> Workspace {
        let mut workspace = Workspace::at("/w/shop");
        workspace.settings = settings;
        let manifest_path = "/w/shop/api/Cargo.toml".into();
        workspace.packages = vec![Package { manifest_path, settings: of_package, ..Package::default() }];
        workspace
    }

    #[track_caller]
    fn refused(settings: Value, of_package: Value) -> String {
        let failure = Settings::of(&workspace(settings, of_package)).unwrap_err();
        assert_eq!(failure.code(), Code::NothingToRun, "{failure}");
        let help = failure.next_step().map(|help| format!("\nhelp: {help}")).unwrap_or_default();
        format!("{failure}{help}")
    }

    #[test]
    fn settings_are_read_from_cargo_toml() {
        let none = Settings::of(&workspace(Value::Null, Value::Null)).unwrap();
        assert_eq!(none, Settings::default());
        assert_eq!((none.traefik(), none.wait()), (Traefik::On, None));
        let given = json!({"timeout": 5, "traefik": false, "wait": true, "wait-timeout": "5m", "x-mine": 1});
        let given = Settings::of(&workspace(given, json!({}))).unwrap();
        assert_eq!(given.timeout, Some(5));
        assert_eq!((given.traefik(), given.wait()), (Traefik::Off, Some(Duration::from_secs(300))));
    }

    #[test]
    fn every_key_is_read() {
        for key in KEYS {
            let failed = refused(json!({key: "x"}), Value::Null);
            assert!(failed.starts_with(&format!("Cargo.toml: [{TABLE}] `{key}` must be ")), "{failed}");
        }
    }

    #[test]
    fn a_place_that_comes_first_leaves_the_rest_to_the_next() {
        let first = Settings { wait: Some(false), timeout: Some(1), ..Settings::default() };
        let next = Settings { wait: Some(true), wait_timeout: Some(2), timeout: Some(3), ..Settings::default() };
        let both = first.or(next);
        assert_eq!((both.wait, both.wait_timeout, both.timeout), (Some(false), Some(2), Some(1)));
        assert_eq!(both.wait(), None);
        assert_eq!(Settings { wait: Some(true), ..Settings::default() }.wait(), Some(Duration::from_secs(120)));
    }

    #[test]
    fn invalid_tables_are_rejected_with_file_table_and_key() {
        let cases = [
            (json!({"wait": "yes"}), "] `wait` must be a boolean, found a string"),
            (json!({"traefik": {"port": 81}}), "] `traefik` must be a boolean, found a table"),
            (json!({"timeout": -1}), "] `timeout` is -1, which is not a number of seconds"),
            (json!({"timeout": 1.5}), "] `timeout` must be a number of seconds, found a float"),
            (
                json!({"timeout": {"$__toml_private_datetime": "2001-01-01"}}),
                "] `timeout` must be a duration such as `90s` or `2m`, found `2001-01-01`",
            ),
            (
                json!({"wait_timeout": 3}),
                "] `wait_timeout` is not known\nhelp: a key with a similar name exists: `wait-timeout`",
            ),
            (json!({"devs": {}}), "] `devs` is not known\nhelp: a key with a similar name exists: `dev`"),
            (json!({"detach": true}), "] `detach` is not known"),
            (json!({"volumes": true}), "] `volumes` is not known"),
        ];
        for (settings, expected) in cases {
            let failed = refused(settings, Value::Null);
            assert_eq!(failed, format!("Cargo.toml: [workspace.metadata.stagecraft{expected}"));
        }
        let expected = "Cargo.toml: [workspace.metadata] `stagecraft` must be a table, found a boolean";
        assert_eq!(refused(json!(true), Value::Null), expected);
    }

    #[test]
    fn a_package_has_no_settings() {
        let expected = "api/Cargo.toml: [package.metadata.stagecraft] `wait` is a setting of the whole workspace\n\
                        help: put it into [workspace.metadata.stagecraft] of the workspace's Cargo.toml";
        assert_eq!(refused(Value::Null, json!({"wait": true})), expected);
        let expected = "api/Cargo.toml: [package.metadata.stagecraft] `def` is not known\n\
                        help: a key with a similar name exists: `dev`";
        assert_eq!(refused(Value::Null, json!({"def": {}})), expected);
    }

    #[test]
    fn a_variable_is_true_or_false_or_a_number_of_seconds() {
        assert_eq!((boolean("true"), boolean("false")), (Ok(true), Ok(false)));
        assert!(boolean("1").is_err() && boolean("yes").is_err());
        assert_eq!(seconds("5"), Ok(5));
        for (text, expected) in [("90s", 90), ("2m", 120), ("1m30s", 90), ("1m 30s", 90), ("1h", 3600), ("0s", 0)] {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for text in ["-5", "soon", "", "1.5", "1500ms", "-2m", "2x", "99999999h", "2 m ago"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
