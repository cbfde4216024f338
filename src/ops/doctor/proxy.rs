//! Proxies: those of the shell, of the engine and of containers are three different things, and each is in the way of something
//! else.

use std::env;

use super::check::Check;
use crate::engine::{ContainerProxies, Info};

const NAME: &str = "proxy";

/// The proxy variables of this shell.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment {
    /// For http, else for https.
    proxy: Option<String>,
    /// What is reached without one.
    no_proxy: String,
}

impl Environment {
    /// Ours, and so that of whatever we start.
    pub(super) fn ours() -> Environment {
        let variable = |name: &str| {
            let values = [name.to_lowercase(), name.to_string()].map(|name| env::var(name).ok());
            values.into_iter().flatten().find(|value| !value.is_empty())
        };
        let proxy = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"].into_iter().find_map(variable);
        Environment { proxy, no_proxy: variable("NO_PROXY").unwrap_or_default() }
    }
}

/// What is wrong with the proxies. `engine` is none where it is not on this machine or does not answer; `services` are those of
/// the stack, where they are known.
pub(super) fn proxies(
    environment: &Environment,
    engine: Option<&Info>,
    containers: &ContainerProxies,
    services: &[&str],
) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut warn = |found: &str, fix: &str| checks.push(Check::warning(NAME, found, fix));
    let engines = engine.map(|info| first(&info.http_proxy, &info.https_proxy));
    let containers_proxy = first(&containers.http_proxy, &containers.https_proxy);
    if let Some(proxy) = &environment.proxy {
        let proxy = shown(proxy);
        if !is_excepted(&environment.no_proxy, "localhost") || !is_excepted(&environment.no_proxy, "127.0.0.1") {
            let found =
                format!("requests to published ports go through {proxy}: NO_PROXY does not contain this machine");
            warn(&found, "add localhost, 127.0.0.1 and ::1 to NO_PROXY and no_proxy");
        }
        if engines == Some("") {
            let found =
                format!("this shell reaches the network through {proxy}, but the engine, which pulls images, does not");
            warn(&found, "configure it for the engine if pulls fail: https://docs.docker.com/engine/daemon/proxy/");
        }
    }
    if !containers_proxy.is_empty() {
        let proxy = shown(containers_proxy);
        if ["localhost", "127.0.0.1", "[::1]"].contains(&host_of(containers_proxy)) {
            let found = format!("containers use {proxy}, an address that means the container itself");
            warn(&found, "set an address that containers can reach in `proxies` of docker's config.json");
        }
        let asked: Vec<&str> =
            services.iter().copied().filter(|service| !is_excepted(&containers.no_proxy, service)).collect();
        if !asked.is_empty() {
            let found = format!(
                "requests between containers go through {proxy}: noProxy does not contain {}",
                asked.join(", ")
            );
            warn(&found, "add the names of the services to noProxy, in `proxies` of docker's config.json");
        }
    }
    if checks.is_empty() {
        let all = [
            ("this shell", environment.proxy.as_deref().unwrap_or_default()),
            ("the engine", engines.unwrap_or_default()),
            ("containers", containers_proxy),
        ];
        let used = all.into_iter().filter(|(_, proxy)| !proxy.is_empty());
        let used: Vec<String> = used.map(|(who, proxy)| format!("{who}: {}", shown(proxy))).collect();
        checks.push(Check::ok(NAME, &if used.is_empty() { "none".to_string() } else { used.join(", ") }));
    }
    checks
}

fn first<'a>(http: &'a str, https: &'a str) -> &'a str {
    if http.is_empty() { https } else { http }
}

/// The proxy as a URL, which it may be written without; the password in one is known by that.
fn shown(proxy: &str) -> String {
    if proxy.contains("://") { proxy.to_string() } else { format!("http://{proxy}") }
}

fn host_of(proxy: &str) -> &str {
    let rest = proxy.split_once("://").map_or(proxy, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if host.starts_with('[') {
        return host.split_inclusive(']').next().unwrap_or_default();
    }
    host.split(':').next().unwrap_or_default()
}

/// Whether a list of exceptions has this host: by its name, or by the domain or network that it is in.
fn is_excepted(no_proxy: &str, host: &str) -> bool {
    let mut entries = no_proxy.split(',').map(str::trim);
    entries.any(|entry| {
        let name = entry.trim_start_matches(['*', '.']);
        entry == "*" || name == host || (name == "127.0.0.0/8" && host == "127.0.0.1")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reporter::message::CheckState;

    fn environment(proxy: &str, no_proxy: &str) -> Environment {
        Environment { proxy: Some(proxy.to_string()), no_proxy: no_proxy.to_string() }
    }

    fn containers(http: &str, no: &str) -> ContainerProxies {
        let [http_proxy, no_proxy] = [http, no].map(str::to_string);
        ContainerProxies { http_proxy, no_proxy, ..ContainerProxies::default() }
    }

    fn info(proxy: &str) -> Info {
        serde_json::from_value(serde_json::json!({ "HttpProxy": proxy })).unwrap()
    }

    fn warnings(checks: &[Check]) -> Vec<&str> {
        checks.iter().filter(|check| check.state == CheckState::Warning).map(|check| check.found.as_str()).collect()
    }

    #[test]
    fn without_a_proxy_or_with_a_complete_one_all_is_well_and_no_password_is_shown() {
        let none = proxies(&Environment::default(), Some(&info("")), &ContainerProxies::default(), &["api"]);
        assert_eq!(none, [Check::ok(NAME, "none")]);
        for no_proxy in ["localhost,127.0.0.1", "*", "a, .localhost ,127.0.0.0/8"] {
            let checks = proxies(
                &environment("me:pw@proxy:3128", no_proxy),
                Some(&info("http://me:pw@proxy:3128")),
                &containers("http://proxy:3128", "api,db"),
                &["api", "db"],
            );
            let found =
                "this shell: http://***@proxy:3128, the engine: http://***@proxy:3128, containers: http://proxy:3128";
            assert_eq!(checks, [Check::ok(NAME, found)]);
        }
    }

    #[test]
    fn a_proxy_for_published_ports_is_a_warning() {
        for no_proxy in ["", "localhost", "127.0.0.1", "localhosts,example.org"] {
            let checks = proxies(&environment("http://p:1", no_proxy), None, &ContainerProxies::default(), &[]);
            let found = "requests to published ports go through http://p:1: NO_PROXY does not contain this machine";
            assert_eq!(warnings(&checks), [found], "{no_proxy}");
        }
    }

    #[test]
    fn an_engine_without_the_proxy_of_the_shell_is_a_warning() {
        let shell = environment("http://p:1", "*");
        let checks = proxies(&shell, Some(&info("")), &ContainerProxies::default(), &[]);
        assert!(warnings(&checks)[0].ends_with("but the engine, which pulls images, does not"), "{checks:?}");
        // The needs of an engine on another machine are unknown here.
        assert!(warnings(&proxies(&shell, None, &ContainerProxies::default(), &[])).is_empty());
    }

    #[test]
    fn a_proxy_between_containers_is_a_warning() {
        for (proxy, noproxy, words) in [
            ("http://localhost:3128", "api,db", "an address that means the container itself"),
            ("http://me:pw@127.0.0.1:3128", "api,db", "an address that means the container itself"),
            ("http://[::1]:3128", "api,db", "an address that means the container itself"),
            ("http://p:1", "api", "noProxy does not contain db"),
            ("http://p:1", "", "noProxy does not contain api, db"),
        ] {
            let checks = proxies(&Environment::default(), None, &containers(proxy, noproxy), &["api", "db"]);
            assert!(warnings(&checks).len() == 1 && warnings(&checks)[0].ends_with(words), "{checks:?}");
            assert!(!format!("{checks:?}").contains("pw"), "{checks:?}");
        }
    }
}
