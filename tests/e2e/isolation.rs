//! Isolated stacks: beside the workspace's own one, and with nothing in common with it.

use std::collections::BTreeSet;
use std::fs;

use rustix::process::Signal;

use crate::support::stage::{Stage, healthy, stack, write};

on_both_pairs![
    two_in_the_background,
    fixed_names,
    a_name_with_data_is_passed_over,
    kinds_of_ports,
    killed_in_the_foreground,
    failed_start,
    what_an_earlier_run_has_left
];

mod in_the_foreground {
    on_the_new_pair![ctrl_c, what_is_shared];

    use super::{ctrl_c, what_is_shared};
}

fn isolated(stage: &Stage, slot: u32) -> String {
    let project = format!("{}-{slot}", stage.project);
    stage.expect_project(&project);
    project
}

fn stacks(stage: &Stage) -> BTreeSet<String> {
    let folder = stage.root().join(".stagecraft/dev/stacks");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().into_string().expect("UTF-8")).collect()
}

fn address(stage: &Stage, project: &str) -> String {
    stage.tool(&["dev", "env", "--project-name", project]).run().with(0).stdout
}

/// A stack with a volume.
fn small(stage: &Stage) {
    let services = stack(&[healthy("web", &["ports: ['127.0.0.1:1:80']", "volumes: ['data:/data']"])]);
    stage.compose(&format!("{services}volumes: {{data: {{}}}}\n"));
}

fn two_in_the_background(stage: &Stage) {
    small(stage);
    let (first, second) = (isolated(stage, 1), isolated(stage, 2));
    let start = || stage.tool(&["dev", "--detach", "--isolated", "--wait"]).run().with(0);
    start().says(&format!("stop it with `cargo stagecraft dev down --project-name {first}`"));
    start().says(&format!("dev logs -f --project-name {second}")).does_not_say("also runs");
    let addresses = [&first, &second].map(|project| address(stage, project));
    assert_ne!(addresses[0], addresses[1]);
    // The port is pinned, so the engine does not choose another one.
    stage.program("docker", &["restart", "-t", "0", &format!("{first}-web-1")]).run().with(0);
    assert_eq!(address(stage, &first), addresses[0]);
    stage.tool(&["dev", "logs", "--project-name", &first]).run().with(0).says("web is ready");
    let files = [".gitignore".to_string(), format!("{first}.yaml"), format!("{second}.yaml")];
    assert_eq!(stacks(stage), BTreeSet::from(files));
    for project in [&first, &second] {
        stage.tool(&["dev", "down", "--project-name", project]).run().with(0).says("nothing of it is left");
        assert!(!stage.engine.has_volume(&format!("{project}_data")));
    }
    assert!(stacks(stage).is_empty());
    // The same name again, and so the same port.
    start();
    assert_eq!(address(stage, &first), addresses[0]);
    stage.tool(&["dev", "down", "--project-name", &first]).run().with(0);
}

/// Fixed names of containers, volumes and networks would lead to the developer's own.
fn fixed_names(stage: &Stage) {
    let id = &stage.id;
    let web = healthy("web", &[&format!("container_name: e2e-{id}-web"), "volumes: ['data:/data']", "networks: [net]"]);
    let named = format!("volumes: {{data: {{name: e2e-{id}-data}}}}\nnetworks: {{net: {{name: e2e-{id}-net}}}}\n");
    stage.compose(&format!("{}{named}", stack(&[web])));
    let project = isolated(stage, 1);
    stage.tool(&["dev", "--detach", "--wait"]).run().with(0);
    let write_to =
        |container: &str| stage.program("docker", &["exec", container, "touch", "/data/precious"]).run().with(0);
    write_to(&format!("e2e-{id}-web"));
    let script = format!("docker exec {project}-web-1 ls /data; docker network ls; docker volume ls");
    let ended = stage.tool(&["dev", "run", "--", "sh", "-c", &script]).run().with(0);
    assert!(!ended.stdout.contains("precious"), "{}", ended.stdout);
    assert!(ended.stdout.contains(&format!("{project}_net")) && ended.stdout.contains(&format!("{project}_data")));
    let there = stage.program("docker", &["exec", &format!("e2e-{id}-web"), "ls", "/data"]).run().with(0);
    assert_eq!(there.stdout.trim(), "precious");
    stage.tool(&["dev", "down", "--volumes"]).run().with(0);
}

/// Another workspace may have that name, and its data must neither be used nor removed.
fn a_name_with_data_is_passed_over(stage: &Stage) {
    small(stage);
    let (taken, next) = (isolated(stage, 1), isolated(stage, 2));
    let label = format!("com.docker.compose.project={taken}");
    let volume = format!("{taken}_data");
    stage.program("docker", &["volume", "create", "--label", &label, &volume]).run().with(0);
    let ended = stage.tool(&["dev", "run", "--", "sh", "-c", "echo $COMPOSE_PROJECT_NAME"]).run().with(0);
    assert_eq!(ended.stdout.trim(), next);
    assert!(stage.engine.has_volume(&volume));
    stage.program("docker", &["volume", "rm", &volume]).run().with(0);
}

fn kinds_of_ports(stage: &Stage) {
    let ports = "ports: ['127.0.0.1:7000-7002:7000-7002', '127.0.0.1:53:53', '127.0.0.1:53:53/udp', '127.0.0.1::90']";
    let several = healthy("several", &["scale: 2", "ports: ['127.0.0.1::80']"]);
    stage.compose(&stack(&[healthy("web", &[ports]), several]));
    isolated(stage, 1);
    let ended = stage.tool(&["dev", "run", "--", "env"]).run().with(0);
    let value = |name: &str| -> u16 {
        let value = ended.stdout.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
        value.unwrap_or_else(|| panic!("no {name} in {}", ended.stdout)).parse().expect("a port")
    };
    let names = ["WEB_7000_PORT", "WEB_7001_PORT", "WEB_7002_PORT", "WEB_53_PORT", "WEB_90_PORT", "SEVERAL_80_PORT"];
    let ports: BTreeSet<u16> = names.map(value).into_iter().chain([value("SEVERAL_80_PORT_2")]).collect();
    assert_eq!(ports.len(), 7, "{ports:?}");
    assert!(ports.iter().all(|port| (20000..32768).contains(port)), "{ports:?}");
    assert_eq!(value("WEB_53_UDP_PORT"), value("WEB_53_PORT"));
}

fn ctrl_c(stage: &Stage) {
    small(stage);
    let project = isolated(stage, 1);
    let run = stage.tool(&["dev", "--isolated"]).start();
    run.wait_for("web is ready");
    run.signal(Signal::INT);
    run.end().with(130).says("nothing of it is left");
    assert!(!stage.engine.has_volume(&format!("{project}_data")));
    assert!(stacks(stage).is_empty());
}

fn killed_in_the_foreground(stage: &Stage) {
    small(stage);
    let project = isolated(stage, 1);
    let run = stage.tool(&["dev", "--isolated"]).start();
    run.wait_for("web is ready");
    run.signal(Signal::KILL);
    run.end_whatever_compose_says().with(-9);
    // It waits for the guard, or does its work.
    stage.tool(&["dev", "down", "--project-name", &project]).run().with(0);
    assert!(!stage.engine.has_volume(&format!("{project}_data")));
    assert!(stacks(stage).is_empty());
}

fn failed_start(stage: &Stage) {
    small(stage);
    let file = stage.root().join(".stagecraft/dev/compose.yaml");
    let text = fs::read_to_string(&file).expect("the compose file");
    write(&file, &text.replace("trap ", "exit 3; trap "));
    let project = isolated(stage, 1);
    stage.tool(&["dev", "--detach", "--isolated", "--wait"]).run().with(1).says("web exited with 3");
    assert!(!stage.engine.has_volume(&format!("{project}_data")));
    assert!(stacks(stage).is_empty());
    // Kept, to be looked at.
    let ended = stage.tool(&["dev", "--detach", "--isolated", "--wait", "--keep"]).run().with(1);
    ended.says(&format!("`cargo stagecraft dev down --project-name {project}` removes it"));
    stage.tool(&["dev", "down", "--project-name", &project]).run().with(0);
    assert!(stacks(stage).is_empty());
}

fn what_is_shared(stage: &Stage) {
    let volume = format!("e2e-{}-theirs", stage.id);
    stage.program("docker", &["volume", "create", &volume]).run().with(0);
    fs::create_dir(stage.root().join("written")).expect("a folder");
    let mounts = "volumes: ['theirs:/theirs', '../../written:/written', '../../app:/app:ro']";
    let services = stack(&[healthy("web", &[mounts]), healthy("host", &["network_mode: host"])]);
    stage.compose(&format!("{services}volumes: {{theirs: {{external: true, name: {volume}}}}}\n"));
    isolated(stage, 1);
    let ended = stage.tool(&["dev", "run", "--", "true"]).run().with(0);
    let written = stage.root().join("written");
    ended.says(&format!(
        "shares the external volume {volume}, the network of the host (host), {} (written by web)",
        written.display()
    ));
    assert!(stage.engine.has_volume(&volume));
    stage.program("docker", &["volume", "rm", &volume]).run().with(0);
}

/// As after a failure of the machine.
fn what_an_earlier_run_has_left(stage: &Stage) {
    small(stage);
    let (left, next) = (isolated(stage, 1), isolated(stage, 2));
    stage.tool(&["dev", "--detach", "--isolated"]).run().with(0);
    stage.program("docker", &["kill", &format!("{left}-web-1")]).run().with(0);
    let ended = stage.tool(&["dev", "run", "--", "sh", "-c", "echo $COMPOSE_PROJECT_NAME"]).run().with(0);
    let ended = ended.says(&format!("remove it with `cargo stagecraft dev down --project-name {left}`"));
    assert_eq!(ended.stdout.trim(), next);
    stage.tool(&["dev", "down", "--project-name", &left]).run().with(0);
}
