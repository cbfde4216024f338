//! Which containers a start asks for, so that an interrupt knows whether the start is over, and a wait what for.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use serde::{Deserialize, Serialize};

use crate::compose::{Stack, TRAEFIK, Traefik};
use crate::engine::Container;
use crate::sorted;

/// How many containers of each service a start asks for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Expected {
    containers: BTreeMap<String, u32>,
    /// The user's own arguments may name other services, or other numbers of containers.
    perhaps_others: bool,
}

/// The flags of `docker compose up` that take no value and change nothing about which containers there will be.
const FLAGS: [&str; 21] = [
    "--abort-on-container-exit",
    "--abort-on-container-failure",
    "--always-recreate-deps",
    "--attach-dependencies",
    "--build",
    "--detach",
    "--force-recreate",
    "--no-build",
    "--no-color",
    "--no-log-prefix",
    "--no-recreate",
    "--quiet-build",
    "--quiet-pull",
    "--remove-orphans",
    "--renew-anon-volumes",
    "--timestamps",
    "--wait",
    "--yes",
    "-V",
    "-d",
    "-y",
];
/// Those that take a value and change nothing about it either.
const WITH_VALUE: [&str; 7] =
    ["--attach", "--exit-code-from", "--no-attach", "--pull", "--timeout", "--wait-timeout", "-t"];
const NO_DEPENDENCIES: &str = "--no-deps";

/// The services that the user's own arguments name, and whether what these wait for is started too. None where the
/// arguments may mean something else.
fn named<'a>(stack: &Stack, args: &'a [OsString]) -> Option<(Vec<&'a str>, bool)> {
    let mut services = Vec::new();
    let mut with_dependencies = true;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let arg = arg.to_str()?;
        let with_value = arg.split_once('=').is_some_and(|(option, _)| WITH_VALUE.contains(&option));
        if arg == NO_DEPENDENCIES {
            with_dependencies = false;
        } else if WITH_VALUE.contains(&arg) {
            args.next();
        } else if stack.has(arg) {
            services.push(arg);
        } else if !with_value && !FLAGS.contains(&arg) {
            return None;
        }
    }
    Some((services, with_dependencies))
}

impl Expected {
    /// What a start of this stack with these arguments of the user's asks for.
    pub fn new(stack: &Stack, traefik: Traefik, args: &[OsString]) -> Expected {
        let named = named(stack, args);
        let wanted: BTreeSet<&str> = match &named {
            Some((services, true)) if !services.is_empty() => stack.with_dependencies(services.iter().copied()),
            Some((services, false)) if !services.is_empty() => sorted::collect(services.iter().copied()),
            _ => sorted::collect(stack.services.keys().map(String::as_str)),
        };
        let wanted = wanted.into_iter().filter(|name| *name != TRAEFIK || traefik == Traefik::On);
        Expected {
            containers: sorted::collect(wanted.map(|name| (name.to_string(), stack.services[name].replicas()))),
            perhaps_others: named.is_none(),
        }
    }

    /// Whether this is more than a guess.
    pub fn is_certain(&self) -> bool {
        !self.perhaps_others
    }

    /// The services that the start is about, with how many containers each is to have.
    pub fn services(&self) -> impl Iterator<Item = (&str, u32)> {
        self.containers.iter().map(|(name, wanted)| (name.as_str(), *wanted))
    }

    /// Whether the start is about this service.
    pub fn has(&self, service: &str) -> bool {
        self.containers.contains_key(service)
    }

    /// Whether each container exists and has been started.
    pub(super) fn have_started(&self, there: &[Container]) -> bool {
        let ours = |container: &&Container| self.has(&container.service);
        if there.iter().filter(ours).any(|container| container.state == "created") {
            return false;
        }
        if self.perhaps_others {
            return !there.is_empty();
        }
        self.containers.iter().all(|(name, wanted)| {
            let of_service = there.iter().filter(|container| container.service == *name);
            of_service.count() >= usize::try_from(*wanted).unwrap_or(usize::MAX)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(service: &str, state: &str) -> Container {
        Container { state: state.to_string(), service: service.to_string(), ..Container::default() }
    }

    fn stack() -> Stack {
        let json = br#"{"name": "x", "services": {
            "web": {"scale": 2, "depends_on": {"db": {"condition": "service_started"}}},
            "db": {}, "traefik": {}, "none": {"scale": 0}}}"#;
        Stack::parse(json).unwrap()
    }

    #[test]
    fn a_start_is_over_when_every_container_that_it_asks_for_has_been_started() {
        let web = |states: &[&str]| {
            let web = states.iter().map(|state| container("web", state));
            web.chain([container("db", "running")]).collect::<Vec<_>>()
        };
        let without = Expected::new(&stack(), Traefik::Off, &[]);
        assert!(without.have_started(&web(&["running", "exited"])));
        assert!(!without.have_started(&web(&["running"])));
        assert!(!without.have_started(&web(&["running", "created"])));
        assert!(!Expected::new(&stack(), Traefik::On, &[]).have_started(&web(&["running", "running"])));
        // What another start has left is not waited for.
        let left = [web(&["running", "running"]), vec![container("old", "created")]].concat();
        assert!(without.have_started(&left));
    }

    #[test]
    fn arguments_of_the_users_may_name_the_services_that_a_start_is_about() {
        let about = |args: &[&str]| {
            let args: Vec<OsString> = args.iter().map(OsString::from).collect();
            let expected = Expected::new(&stack(), Traefik::On, &args);
            let names: Vec<String> = expected.services().map(|(name, _)| name.to_string()).collect();
            expected.is_certain().then(|| names.join(" "))
        };
        let all = Some("db none traefik web".to_string());
        assert_eq!(about(&[]), all);
        assert_eq!(about(&["--build", "-V", "--pull", "always", "--timeout=3"]), all);
        assert_eq!(about(&["web"]), Some("db web".to_string()));
        assert_eq!(about(&["--no-deps", "--build", "web"]), Some("web".to_string()));
        assert_eq!(about(&["--attach", "web", "db"]), Some("db".to_string()));
        for guess in [&["--scale", "web=3"][..], &["--scale=web=3"], &["nobody"], &["--new-option", "web"]] {
            assert_eq!(about(guess), None, "{guess:?}");
        }
    }

    #[test]
    fn a_guess_takes_whatever_has_been_started() {
        let some = Expected::new(&stack(), Traefik::On, &["--scale=web=1".into()]);
        assert!(some.have_started(&[container("web", "running")]) && !some.is_certain());
        assert!(!some.have_started(&[]));
    }
}
