//! The containers that a start should create. Used to decide when it has finished, and what to judge.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use serde::{Deserialize, Serialize};

use crate::compose::{Stack, TRAEFIK, Traefik};
use crate::engine::Container;

/// How many containers of each service a start asks for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Expected {
    containers: BTreeMap<String, u32>,
    /// The user's own arguments may name other services, or other numbers of containers.
    perhaps_others: bool,
}

/// The flags of `docker compose up` that take no value and change nothing about which containers there will be.
const FLAGS: [&str; 18] = [
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
    "--renew-anon-volumes",
    "--timestamps",
    "--wait",
    "--yes",
    "-V",
    "-d",
    "-y",
];
/// Those that take a value and change nothing about it either.
const WITH_VALUE: [&str; 6] = ["--attach", "--no-attach", "--pull", "--timeout", "--wait-timeout", "-t"];

/// What the user's own arguments for `docker compose up` say about the start.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UpArgs<'a> {
    /// The services that they name; all services of the file if there are none.
    pub services: Vec<&'a str>,
    /// Whether what these depend on is started too.
    with_dependencies: bool,
    /// There is an option of which we do not know whether it takes a value, or changes what is started.
    has_unknown: bool,
    /// The service whose exit code becomes that of the run (`--exit-code-from`).
    pub exit_code_from: Option<&'a str>,
    /// Whether Compose stops everything when a container ends.
    pub aborts: bool,
    /// Whether Compose first removes the containers of services that the file does not have.
    pub removes_orphans: bool,
}

impl<'a> UpArgs<'a> {
    /// Reads them. `docker compose` judges whether they are valid.
    pub(crate) fn parse(args: &'a [OsString]) -> UpArgs<'a> {
        let mut parsed = UpArgs {
            services: Vec::new(),
            with_dependencies: true,
            has_unknown: false,
            exit_code_from: None,
            aborts: false,
            removes_orphans: false,
        };
        let mut args = args.iter().map(|arg| arg.to_str());
        while let Some(arg) = args.next() {
            let Some(arg) = arg else {
                parsed.has_unknown = true;
                continue;
            };
            let (option, value) = arg.split_once('=').map_or((arg, None), |(option, value)| (option, Some(value)));
            let mut value = || value.or_else(|| args.next().flatten());
            match option {
                "--remove-orphans" => parsed.removes_orphans = true,
                "--no-deps" => parsed.with_dependencies = false,
                "--exit-code-from" => (parsed.exit_code_from, parsed.aborts) = (value(), true),
                "--abort-on-container-exit" | "--abort-on-container-failure" => parsed.aborts = true,
                _ if WITH_VALUE.contains(&option) => drop(value()),
                _ if FLAGS.contains(&option) => {}
                _ if arg.starts_with('-') => parsed.has_unknown = true,
                _ => parsed.services.push(arg),
            }
        }
        parsed
    }

    /// The services that they name, and what is started with them. None where they name none, or that is not certain.
    pub(crate) fn started<'s>(&'s self, stack: &'s Stack) -> Option<BTreeSet<&'s str>> {
        let is_certain = !self.has_unknown && self.services.iter().all(|service| stack.has(service));
        let named = self.services.iter().copied();
        (is_certain && !self.services.is_empty()).then(|| match self.with_dependencies {
            true => stack.with_dependencies(named),
            false => named.collect(),
        })
    }

    /// The services to ask Compose about, since the stack lacks one that is named: it is behind a profile, which naming it
    /// activates. None where there is none, or it may be the value of an option.
    pub(crate) fn services_to_resolve(&self, stack: &Stack) -> Option<&[&'a str]> {
        let lacks_one = self.services.iter().any(|service| !stack.has(service));
        (lacks_one && !self.has_unknown).then_some(&self.services)
    }
}

impl Expected {
    /// What a start of this stack with these arguments of the user's asks for.
    pub(crate) fn new(stack: &Stack, traefik: Traefik, args: &[OsString]) -> Expected {
        let args = UpArgs::parse(args);
        let perhaps_others = args.has_unknown || !args.services.iter().all(|service| stack.has(service));
        let all = || stack.services.keys().map(String::as_str).collect();
        let wanted: BTreeSet<&str> = args.started(stack).unwrap_or_else(all);
        let wanted = wanted.into_iter().filter(|name| *name != TRAEFIK || traefik == Traefik::On);
        Expected {
            containers: wanted.map(|name| (name.to_string(), stack.services[name].replicas())).collect(),
            perhaps_others,
        }
    }

    /// Whether there is nothing to start: each service has no container, by its file.
    pub(crate) fn is_empty(&self) -> bool {
        self.containers.values().all(|wanted| *wanted == 0)
    }

    /// Whether this is more than a guess.
    pub(crate) fn is_certain(&self) -> bool {
        !self.perhaps_others
    }

    /// The services that the start is about, with how many containers each is to have.
    pub(crate) fn services(&self) -> impl Iterator<Item = (&str, u32)> {
        self.containers.iter().map(|(name, wanted)| (name.as_str(), *wanted))
    }

    /// Whether the start is about this service.
    pub(crate) fn has(&self, service: &str) -> bool {
        self.containers.contains_key(service)
    }

    /// Whether each container exists and has been started.
    pub(crate) fn have_started(&self, there: &[Container]) -> bool {
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
    fn arguments_of_the_users_may_say_how_the_run_ends() {
        let args = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        for words in [&["--exit-code-from", "db", "web"][..], &["--exit-code-from=db", "web"]] {
            let args = args(words);
            let parsed = UpArgs::parse(&args);
            assert_eq!((parsed.exit_code_from, parsed.aborts, &parsed.services[..]), (Some("db"), true, &["web"][..]));
        }
        let args = args(&["--abort-on-container-exit"]);
        let parsed = UpArgs::parse(&args);
        assert!(parsed.aborts && parsed.exit_code_from.is_none());
    }

    #[test]
    fn a_named_service_that_the_stack_lacks_is_one_to_ask_compose_about() {
        let ask = |words: &[&str]| {
            let args: Vec<OsString> = words.iter().map(OsString::from).collect();
            UpArgs::parse(&args).services_to_resolve(&stack()).map(|services| services.join(" "))
        };
        assert_eq!(ask(&["web", "--build", "debug"]).as_deref(), Some("web debug"));
        assert_eq!(ask(&["web"]), None);
        assert_eq!(ask(&["--scale", "web=3"]), None);
    }

    #[test]
    fn a_service_of_a_provider_has_no_container() {
        let json = br#"{"name": "x", "services": {"cloud": {"provider": {"type": "x"}}}}"#;
        let expected = Expected::new(&Stack::parse(json).unwrap(), Traefik::On, &[]);
        assert!(expected.is_empty() && expected.have_started(&[]));
        assert!(!Expected::new(&stack(), Traefik::On, &[]).is_empty());
    }

    #[test]
    fn an_uncertain_start_counts_all_started_containers() {
        let some = Expected::new(&stack(), Traefik::On, &["--scale=web=1".into()]);
        assert!(some.have_started(&[container("web", "running")]) && !some.is_certain());
        assert!(!some.have_started(&[]));
    }
}
