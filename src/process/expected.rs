//! Which containers a start asks for, so that an interrupt knows whether the start is over.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use serde::{Deserialize, Serialize};

use crate::compose::{Stack, TRAEFIK, Traefik};
use crate::engine::Container;

/// How many containers of each service a start asks for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Expected {
    containers: BTreeMap<String, u32>,
    /// The user's own arguments may name a few services only, or other numbers of containers.
    perhaps_others: bool,
}

impl Expected {
    pub(super) fn new(stack: &Stack, traefik: Traefik, args: &[OsString]) -> Expected {
        let services = stack.services.iter();
        let services = services.filter(|(name, _)| *name != TRAEFIK || traefik == Traefik::On);
        Expected {
            containers: services.map(|(name, service)| (name.clone(), service.replicas())).collect(),
            perhaps_others: !args.iter().all(|arg| is_flag(arg)),
        }
    }

    /// Whether [`Expected::have_started`] is more than a guess.
    pub(super) fn is_certain(&self) -> bool {
        !self.perhaps_others
    }

    /// Whether each of them exists and has been started.
    pub(super) fn have_started(&self, there: &[Container]) -> bool {
        if there.iter().any(|container| container.state == "created") {
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

/// Whether this argument of `up` changes nothing about which containers there will be.
fn is_flag(arg: &OsStr) -> bool {
    let arg = arg.to_string_lossy();
    arg.starts_with('-') && !arg.starts_with("--scale")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(service: &str, state: &str) -> Container {
        let (name, working_dir, made_by) = (String::new(), String::new(), String::new());
        Container { name, state: state.to_string(), service: service.to_string(), working_dir, made_by }
    }

    #[test]
    fn a_start_is_over_when_every_container_that_it_asks_for_has_been_started() {
        let json = br#"{"name": "x", "services": {"web": {"scale": 2}, "traefik": {}, "none": {"scale": 0}}}"#;
        let stack = Stack::parse(json).unwrap();
        let web = |states: &[&str]| states.iter().map(|state| container("web", state)).collect::<Vec<_>>();
        let without = Expected::new(&stack, Traefik::Off, &[]);
        assert!(without.have_started(&web(&["running", "exited"])));
        assert!(!without.have_started(&web(&["running"])));
        assert!(!without.have_started(&web(&["running", "created"])));
        assert!(!Expected::new(&stack, Traefik::On, &[]).have_started(&web(&["running", "running"])));
        let some = Expected::new(&stack, Traefik::On, &["web".into()]);
        assert!(some.have_started(&web(&["running"])) && !some.is_certain());
        assert!(!some.have_started(&[]));
        assert!(Expected::new(&stack, Traefik::On, &["--build".into()]).is_certain());
        assert!(!Expected::new(&stack, Traefik::On, &["--scale=web=3".into()]).is_certain());
    }
}
