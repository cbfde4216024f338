//! What is known of a stack's containers, as rows for people and as messages for programs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::compose::{Service, Stack, TRAEFIK};
use crate::diagnosis::Finding;
use crate::engine::{Endpoint, Inspected};
use crate::message;
use crate::sorted;

/// A table, its head first: each container's state and why it is like that.
pub fn table(stack: &Stack, endpoint: &Endpoint, findings: &[Finding]) -> Vec<Vec<String>> {
    let head = ["SERVICE", "STATE", "DETAIL"].map(str::to_string).to_vec();
    let rows = findings.iter().map(|finding| {
        let detail = match finding.detail() {
            none if none.is_empty() => addresses(stack, endpoint, finding).join(" "),
            detail => detail,
        };
        vec![label(finding, findings), finding.state(), detail]
    });
    [head].into_iter().chain(rows).collect()
}

/// A table, its head first: each container's state, since when it runs, where it can be reached, and what is wrong.
pub fn status(stack: &Stack, endpoint: &Endpoint, findings: &[Finding]) -> Vec<Vec<String>> {
    let head = ["SERVICE", "STATE", "UPTIME", "ADDRESSES", "DETAIL"].map(str::to_string).to_vec();
    let rows = findings.iter().map(|finding| {
        let uptime = finding.container.as_ref().and_then(uptime).map(coarse).unwrap_or_default();
        let addresses = addresses(stack, endpoint, finding).join(" ");
        vec![label(finding, findings), finding.state(), uptime, addresses, finding.detail()]
    });
    [head].into_iter().chain(rows).collect()
}

/// How long a container has been running, by our clock; none if it is not, or the engine's clock is ahead of ours.
pub fn uptime(container: &Inspected) -> Option<Duration> {
    let started = UNIX_EPOCH + since_1970(&container.started_at)?;
    (container.state == "running").then(|| SystemTime::now().duration_since(started).ok())?
}

/// The time that an engine writes as `2026-01-02T03:04:05.678901234Z`, to the second.
fn since_1970(text: &str) -> Option<Duration> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let numbers = |text: &str, separator| text.split(separator).map(|it| it.parse().ok()).collect::<Option<Vec<u64>>>();
    let [year, month @ 1..=12, day @ 1..=31] = numbers(date, '-')?[..] else { return None };
    let [hours, minutes, seconds] = numbers(time.split('.').next()?, ':')?[..] else { return None };
    // Years that begin in March: the day that there is not always is their last one.
    let year = if month < 3 { year.checked_sub(1)? } else { year };
    let days_of_years = year * 365 + year / 4 - year / 100 + year / 400;
    let days = days_of_years + ((month + 9) % 12 * 153 + 2) / 5 + day - 1;
    // From 1 March of year 0 to 1 January 1970.
    let days = days.checked_sub(719_468)?;
    Some(Duration::from_secs(((days * 24 + hours) * 60 + minutes) * 60 + seconds))
}

/// The two largest units of a time, as in `2h 5m`.
fn coarse(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [(seconds / 86400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let words = units.into_iter().filter(|(number, _)| *number > 0).map(|(number, unit)| format!("{number}{unit}"));
    let words: Vec<String> = words.take(2).collect();
    if words.is_empty() { "0s".to_string() } else { words.join(" ") }
}

/// Rows without a head: each container's state and where it can be reached.
pub fn started(stack: &Stack, endpoint: &Endpoint, findings: &[Finding]) -> Vec<Vec<String>> {
    let row = |finding: &Finding| {
        vec![label(finding, findings), finding.state(), addresses(stack, endpoint, finding).join(" ")]
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
pub fn addresses(stack: &Stack, endpoint: &Endpoint, finding: &Finding) -> Vec<String> {
    let Some(container) = &finding.container else { return Vec::new() };
    let mut addresses: Vec<String> =
        container.ports.iter().filter_map(|port| endpoint.address(stack, &finding.service, port)).collect();
    sorted::sort(&mut addresses);
    addresses.dedup();
    // What leads there may have been left out, or be another machine's.
    let route = stack.services.get(&finding.service).and_then(Service::route);
    let leads_there = stack.has(TRAEFIK) && endpoint.is_local() && container.state == "running";
    route.filter(|_| leads_there).map(str::to_string).into_iter().chain(addresses).collect()
}

/// Every container, for a program.
pub fn services(stack: &Stack, endpoint: &Endpoint, findings: &[Finding]) -> Vec<message::Service> {
    findings.iter().map(|finding| service(stack, endpoint, finding)).collect()
}

/// A container, for a program.
pub fn service(stack: &Stack, endpoint: &Endpoint, finding: &Finding) -> message::Service {
    let container = finding.container.as_ref();
    let never = "0001-01-01";
    let started = container.map(|it| it.started_at.clone()).filter(|at| !at.is_empty() && !at.starts_with(never));
    message::Service {
        service: finding.service.clone(),
        container: container.map(|it| it.name.clone()),
        state: container.map_or("not created".to_string(), |it| it.state.clone()),
        standing: finding.standing.word(),
        exit_code: finding.exit_code(),
        meaning: finding.meaning(),
        cause: finding.cause.clone(),
        health: container.and_then(|it| Some(it.health.as_ref()?.status.clone())),
        health_output: finding.failed_probe().map(str::to_string),
        restarts: container.map_or(0, |it| it.restarts),
        started_at: started,
        addresses: addresses(stack, endpoint, finding),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::readiness::Standing;

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
    fn a_time_is_told_in_two_units() {
        for (seconds, words) in [(0, "0s"), (59, "59s"), (7_384, "2h 3m"), (90_061, "1d 1h"), (86_405, "1d 5s")] {
            assert_eq!(coarse(Duration::from_secs(seconds)), words);
        }
    }

    #[test]
    fn a_time_of_the_engines_is_one_of_ours() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T12:00:00Z", Some(951_825_600)),
            ("2024-12-31T23:59:59.999999999Z", Some(1_735_689_599)),
            ("2026-03-01T00:00:01Z", Some(1_772_323_201)),
            ("2100-03-01T00:00:00Z", Some(4_107_542_400)),
            ("0001-01-01T00:00:00Z", None),
            ("2026-01-02", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-01-02T03:04:05+01:00", None),
            ("", None),
        ] {
            assert_eq!(since_1970(text).map(|time| time.as_secs()), seconds, "{text}");
        }
    }

    #[test]
    fn only_what_runs_has_an_uptime() {
        let mut container = Inspected { state: "running".to_string(), ..Inspected::default() };
        assert_eq!(uptime(&container), None);
        container.started_at = "2026-01-02T03:04:05.678901234Z".to_string();
        assert!(uptime(&container).is_some());
        container.state = "exited".to_string();
        assert_eq!(uptime(&container), None);
    }
}
