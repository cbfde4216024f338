//! The state of a stack's containers as table rows and as JSON messages.

use std::time::Duration;

use jiff::Timestamp;

use crate::compose::{Service, Stack, TRAEFIK};
use crate::engine::Endpoint;
use crate::reporter::message;
use crate::stack::diagnosis::Finding;

/// A table, its head first: each container's state and why it is like that.
pub(crate) fn table(stack: &Stack, endpoint: &Endpoint, findings: &[Finding]) -> Vec<Vec<String>> {
    let head = ["SERVICE", "STATE", "DETAIL"].map(str::to_string).to_vec();
    let rows = findings.iter().map(|finding| {
        let detail = match detail(stack, finding) {
            none if none.is_empty() => addresses(stack, endpoint, finding).join(" "),
            detail => detail,
        };
        vec![label(finding, findings), finding.state(), detail]
    });
    [head].into_iter().chain(rows).collect()
}

/// A table, its head first: each container's state, since when it runs, where it can be reached, and what is wrong.
/// `now` is the engine's time.
pub(crate) fn status(stack: &Stack, endpoint: &Endpoint, findings: &[Finding], now: Timestamp) -> Vec<Vec<String>> {
    let head = ["SERVICE", "STATE", "UPTIME", "ADDRESSES", "DETAIL"].map(str::to_string).to_vec();
    let rows = findings.iter().map(|finding| {
        let uptime = finding.container.as_ref().and_then(|it| it.uptime(now)).map(coarse).unwrap_or_default();
        let addresses = addresses(stack, endpoint, finding).join(" ");
        vec![label(finding, findings), finding.state(), uptime, addresses, detail(stack, finding)]
    });
    [head].into_iter().chain(rows).collect()
}

/// What there is to say beside the state.
fn detail(stack: &Stack, finding: &Finding) -> String {
    let detail = finding.detail();
    match (stack.has(&finding.service), detail.as_str()) {
        (true, _) => detail,
        (false, "") => UNKNOWN.to_string(),
        (false, _) => format!("{detail}; {UNKNOWN}"),
    }
}

/// What is said of a container whose service is not among those of the file.
const UNKNOWN: &str = "not in the file, or in an inactive profile";

/// The two largest units of a time, as in `2h 5m`.
fn coarse(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [(seconds / 86400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let words = units.into_iter().filter(|(number, _)| *number > 0).map(|(number, unit)| format!("{number}{unit}"));
    let words: Vec<String> = words.take(2).collect();
    if words.is_empty() { "0s".to_string() } else { words.join(" ") }
}

/// Rows without a head: each container's state and where it can be reached.
pub(crate) fn started(stack: &Stack, endpoint: &Endpoint, findings: &[Finding]) -> Vec<Vec<String>> {
    let row = |finding: &Finding| {
        let mut words = addresses(stack, endpoint, finding);
        words.extend((!stack.has(&finding.service)).then(|| UNKNOWN.to_string()));
        vec![label(finding, findings), finding.state(), words.join(" ")]
    };
    findings.iter().map(row).collect()
}

/// What a row is about: the service, with the container's number where it is one of several.
fn label(finding: &Finding, all: &[Finding]) -> String {
    let service = &finding.service;
    let several = all.iter().filter(|other| other.service == *service).count() > 1;
    match &finding.container {
        Some(container) if several => format!("{service}-{}", container.number),
        _ => service.clone(),
    }
}

/// Where a container can be reached: by its service's name, and where its published ports are, in order.
pub(crate) fn addresses(stack: &Stack, endpoint: &Endpoint, finding: &Finding) -> Vec<String> {
    let Some(container) = &finding.container else { return Vec::new() };
    let mut addresses: Vec<String> =
        container.ports.iter().filter_map(|port| endpoint.address(stack, &finding.service, port)).collect();
    addresses.sort();
    addresses.dedup();
    // What leads there may have been left out, or be another machine's.
    let route = stack.services.get(&finding.service).and_then(Service::route);
    let leads_there = stack.has(TRAEFIK) && endpoint.is_local() && container.state == "running";
    route.filter(|_| leads_there).map(str::to_string).into_iter().chain(addresses).collect()
}

/// Every container, for a program.
pub(crate) fn services(stack: &Stack, endpoint: &Endpoint, findings: &[Finding]) -> Vec<message::Service> {
    findings.iter().map(|finding| service(stack, endpoint, finding)).collect()
}

/// A container, for a program.
pub(crate) fn service(stack: &Stack, endpoint: &Endpoint, finding: &Finding) -> message::Service {
    let container = finding.container.as_ref();
    message::Service {
        service: finding.service.clone(),
        in_file: stack.has(&finding.service),
        container: container.map(|it| it.name.clone()),
        state: container.map_or("not created".to_string(), |it| it.state.clone()),
        standing: finding.standing.word(),
        exit_code: finding.exit_code(),
        meaning: finding.meaning(),
        cause: finding.cause.clone(),
        health: container.and_then(|it| Some(it.health.as_ref()?.status.clone())),
        health_output: finding.failed_probe().map(str::to_string),
        restarts: container.map_or(0, |it| it.restarts),
        started_at: container.and_then(|it| it.started_at).map(|time| time.to_string()),
        addresses: addresses(stack, endpoint, finding),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Inspected;
    use crate::stack::readiness::Standing;

    #[test]
    fn one_of_several_containers_has_its_number() {
        let container = |service: &str, number| {
            let service = service.to_string();
            Finding::of(Inspected { service, number, ..Inspected::default() }, Standing::Ready)
        };
        let all = [container("db", 1), container("web", 1), container("web", 2), Finding::missing("job", None)];
        let labels: Vec<String> = all.iter().map(|finding| label(finding, &all)).collect();
        assert_eq!(labels, ["db", "web-1", "web-2", "job"]);
    }

    #[test]
    fn a_duration_has_at_most_two_units() {
        for (seconds, words) in [(0, "0s"), (59, "59s"), (7_384, "2h 3m"), (90_061, "1d 1h"), (86_405, "1d 5s")] {
            assert_eq!(coarse(Duration::from_secs(seconds)), words);
        }
    }
}
