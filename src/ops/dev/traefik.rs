//! Whether the service `traefik` is started, and how it is left out.

use std::ffi::OsString;

use super::DevOptions;
use crate::compose::{Stack, TRAEFIK, Traefik};
use crate::engine::{self, Container};
use crate::ops::Context;
use crate::reporter::Logger as _;
use crate::settings::Settings;
use crate::stack::expected::UpArgs;

/// What to leave out of a stack that has the service `traefik`, or has not.
pub(super) fn traefik_of(options: &DevOptions, settings: Settings, cx: &Context<'_>, has_traefik: bool) -> Traefik {
    if has_traefik {
        return settings.traefik();
    }
    if options.settings.traefik == Some(Traefik::Off) {
        cx.shell.note("the stack has no active service `traefik` to leave out");
    }
    Traefik::On
}

/// How `up` leaves out the service `traefik` of this stack, and with which arguments.
///
/// `--scale traefik=0` also removes a container of it that exists. Compose rejects the option if services are named and `traefik` is not among
/// them, and pulls the image of a service that gets no container (2.26 and 2.40). So where the engine lacks the image, the other services are named instead.
pub(super) fn without_traefik(
    cx: &Context<'_>,
    stack: &Stack,
    args: &[OsString],
    before: &[Container],
) -> (Traefik, Vec<OsString>) {
    let parsed = UpArgs::parse(args);
    if let Some(started) = parsed.started(stack) {
        let traefik = if started.contains(TRAEFIK) { Traefik::Off } else { Traefik::On };
        return (traefik, args.to_vec());
    }
    let others: Vec<&str> = stack.services.keys().map(String::as_str).filter(|name| *name != TRAEFIK).collect();
    let is_needed = stack.with_dependencies(others.iter().copied()).contains(TRAEFIK);
    let is_there = before.iter().any(|container| container.service == TRAEFIK);
    let image = stack.services.get(TRAEFIK).map(|service| service.image(&stack.project, TRAEFIK).0);
    let names_any = !parsed.services.is_empty();
    let lacks_image = || image.is_some_and(|image| engine::lacks_image(&cx.commander, &image));
    if names_any || others.is_empty() || is_needed || is_there || !lacks_image() {
        return (Traefik::Off, args.to_vec());
    }
    (Traefik::On, args.iter().cloned().chain(others.into_iter().map(OsString::from)).collect())
}
