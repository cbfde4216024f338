use std::io;
use std::process::Output;
use std::sync::Mutex;

use super::super::fake::{Says, project};
use super::*;
use crate::command::Invocation;

#[test]
fn a_container_is_read_as_docker_describes_it() {
    let sick = r#"{"Id":"1","Name":"/x-web-2","RestartCount":4,"Config":{"Env":null,"Labels":{"a":"b",
            "com.docker.compose.service":"web","com.docker.compose.container-number":"2"}},"State":{"Status":"running",
            "ExitCode":0,"OOMKilled":false,"Error":"","StartedAt":"2026-01-02T03:04:05.6Z","Health":{"Status":"unhealthy",
            "Log":[{"ExitCode":0,"Output":"fine"},{"ExitCode":1,"Output":" cannot connect\n"}]}},
            "NetworkSettings":{"Ports":{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"8080"},{"HostIp":"::1","HostPort":"8080"}],
            "53/udp":[{"HostIp":"","HostPort":"53"}],"9000/tcp":null}}}"#;
    let web = Inspected::from(serde_json::from_str::<Answer>(sick).unwrap());
    assert_eq!((web.name.as_str(), web.number, web.restarts), ("x-web-2", 2, 4));
    let health = web.health.unwrap();
    assert_eq!((health.status.as_str(), health.failure.as_deref()), ("unhealthy", Some("cannot connect")));
    let ports: Vec<_> = web.ports.iter().map(|p| (p.target, &*p.protocol, &*p.host_ip, p.host_port)).collect();
    let expected = [(53, "udp", "", 53), (80, "tcp", "127.0.0.1", 8080), (80, "tcp", "::1", 8080)];
    assert_eq!(ports, expected);
    let dead = r#"{"Id":"1","Name":"/x","RestartCount":0,"Config":{"Labels":{}},"NetworkSettings":{"Ports":{}},
            "State":{"Status":"exited","ExitCode":137,"OOMKilled":true,"Health":{"Status":"none"},
            "StartedAt":"2026-01-02T03:04:05.5Z","FinishedAt":"2026-01-02T04:04:07+01:00"}}"#;
    let dead = Inspected::from(serde_json::from_str::<Answer>(dead).unwrap());
    assert!(dead.out_of_memory && dead.health.is_none() && dead.ports.is_empty());
    assert_eq!(dead.last_run(), Some(Duration::from_millis(1500)));
    assert_eq!(dead.stop_signal, Signal::TERM);
}

#[test]
fn a_healthcheck_is_one_that_runs_something() {
    let has = |config: &str| {
        let text = format!(
            r#"{{"Id":"1","Name":"/x","RestartCount":0,"Config":{{"Labels":{{}}{config}}},"NetworkSettings":{{}},
                "State":{{"Status":"exited","ExitCode":0,"StartedAt":"0001-01-01T00:00:00Z"}}}}"#
        );
        let it = Inspected::from(serde_json::from_str::<Answer>(&text).unwrap());
        assert_eq!(it.started_at, None);
        it.has_healthcheck
    };
    assert!(has(r#","Healthcheck":{"Test":["CMD","true"]}"#));
    for none in [
        "",
        r#","Healthcheck":null"#,
        r#","Healthcheck":{"Test":["NONE"]}"#,
        r#","Healthcheck":{"Test":[]}"#,
        r#","Healthcheck":{"Interval":5}"#,
    ] {
        assert!(!has(none), "{none}");
    }
}

#[test]
fn nothing_is_inspected_where_nothing_is() {
    assert_eq!(inspect(&Says(0, "", ""), &project(), &BTreeSet::new()).unwrap(), []);
}

#[test]
fn replaced_images_are_removed_and_nothing_is_where_there_are_none() {
    let asked = |answer| {
        let executor = Asked { answer, commands: Mutex::default() };
        let before = ["sha256:1", "sha256:2"].map(str::to_string).into();
        remove_replaced_images(&executor, &project(), &before);
        executor.commands.into_inner().unwrap()
    };
    let list = "docker image ls --quiet --no-trunc --filter dangling=true --filter label=com.docker.compose.project=x";
    assert_eq!(asked(""), [list]);
    assert_eq!(asked("sha256:1\nsha256:2\n"), [list, "docker image rm sha256:1 sha256:2"]);
    // Another checkout's.
    assert_eq!(asked("sha256:2\nsha256:3\n"), [list, "docker image rm sha256:2"]);
}

/// Always gives the same answer, and remembers what it was asked.
struct Asked {
    answer: &'static str,
    commands: Mutex<Vec<String>>,
}

impl Executor for Asked {
    fn output(&self, invocation: &Invocation) -> io::Result<Output> {
        self.commands.lock().unwrap().push(invocation.to_string());
        Says(0, self.answer, "").output(invocation)
    }

    crate::command::refuse!(spawn, listen, request, exec);
}

#[test]
fn of_an_endless_line_only_the_beginning_is_shown() {
    let shown = |line: &str| String::from_utf8(shortened(line.as_bytes()).into_owned()).expect("whole characters");
    let endless = "ä".repeat(400_000);
    assert_eq!(shown(&format!("{endless}\n")), format!("{} … (795904 more bytes)\n", "ä".repeat(2048)));
    // Where it ends in the middle of a character.
    assert!(shown(&format!("x{endless}")).ends_with("ä … (795906 more bytes)"));
    assert_eq!(shown("short\n"), "short\n");
}

#[test]
fn an_image_is_missing_only_if_the_engine_says_so() {
    let images = BTreeSet::from(["a".to_string()]);
    assert_eq!(missing_images(&Says(1, "", "Error: No such image: a"), &images).unwrap(), images);
    assert!(missing_images(&Says(1, "", "Cannot connect"), &images).unwrap().is_empty());
    assert!(missing_images(&Says(0, "sha256:1", ""), &images).unwrap().is_empty());
}
