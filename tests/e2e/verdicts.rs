//! Verdicts on what real stacks do: restarts that heal, services without containers, services behind a profile, signals that stop
//! nothing, containers to which `up` is not attached. `failures.rs` has what goes wrong in one service.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;

use crate::support::run::Ended;
use crate::support::stage::{Stage, ending, polite, service, stack, write};

on_both_pairs![
    a_crash_that_heals_without_a_wait,
    a_loop_in_the_foreground_runs_on,
    provider,
    provider_that_is_missing,
    service_behind_a_profile,
    status_of_what_was_started,
    crash_after_a_reload,
    signal_to_a_job,
    not_attached,
    not_attached_and_interrupted,
    not_attached_and_killed,
    exit_code_of_a_service,
    exit_code_of_a_service_that_crashes_like_go,
    stopped_by_compose,
    causes_that_compose_names,
    subnets_that_overlap,
    a_container_that_is_paused,
    an_image_that_cannot_be_pulled,
    traefik_that_is_left_out_is_not_pulled,
    a_healthcheck_in_an_image_without_a_shell,
    an_endless_line_of_a_log,
    hook_that_fails,
    container_name_that_is_taken,
    a_log_that_cannot_be_read,
];

/// Crashes at its first start only.
fn crashes_once(name: &str) -> String {
    let script = "test -f /state/there || { : > /state/there; echo no database yet; exit 1; }; \
                  trap 'exit 0' TERM; sleep 1000 & wait";
    service(name, script, &["restart: unless-stopped", "volumes: ['./state:/state']"])
}

fn a_crash_that_heals_without_a_wait(stage: &Stage) {
    stage.compose(&stack(&[crashes_once("api"), polite("db", &[])]));
    fs::create_dir_all(stage.root().join(".stagecraft/dev/state")).expect("a folder");
    stage.tool(&["dev", "--detach"]).run().with(0);
    stage.events().wait_for("die api 1;");
    stage.tool(&["dev", "--detach", "--wait"]).run().with(0);
    stage.assert_running(&["api", "db"]);
    stage.tool(&["dev", "status"]).run().with(0);
    stage.take_down();
}

fn a_loop_in_the_foreground_runs_on(stage: &Stage) {
    stage.compose(&stack(&[service("api", "exit 3", &["restart: always"]), polite("db", &[])]));
    let run = stage.tool(&["dev", "--wait"]).start();
    run.wait_for(&format!("warning: {} is not ready: api crashed 3 times in ", stage.project));
    stage.assert_running(&["db"]);
    run.signal(Signal::INT);
    run.end().with(130);
    stage.assert_gone();
}

const PROVIDED: &str = "services:
  cloud:
    provider: {type: stagecraft-test-provider}
  api:
    image: stagecraft-test
    pull_policy: never
    init: true
    command: [sleep, '600']
    depends_on: [cloud]
";

/// Providers came with Compose 2.36; before, the file is not valid.
fn knows_providers(stage: &Stage) -> bool {
    if stage.engine.name == "old" {
        stage.tool(&["dev", "--detach"]).run().with(3).says("provider");
    }
    stage.engine.name != "old"
}

fn provider(stage: &Stage) {
    stage.compose(PROVIDED);
    if !knows_providers(stage) {
        return;
    }
    let bin = stage.temp().join("bin");
    fs::create_dir_all(&bin).expect("a folder");
    let program = bin.join("stagecraft-test-provider");
    write(&program, "#!/bin/sh\necho '{\"type\": \"info\", \"message\": \"here\"}'\n");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a program");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("PATH"));
    let tool = |args: &[&str]| stage.tool(args).env("PATH", &path);
    tool(&["dev", "--detach", "--wait"]).run().with(0).does_not_say("cloud was not created");
    tool(&["dev", "status"]).run().with(0);
    tool(&["dev", "down"]).run().with(0);
    let run = tool(&["dev", "--message-format", "json"]).start();
    run.wait_for(r#""reason":"stack-started""#);
    run.signal(Signal::INT);
    run.end().with(130);
    stage.assert_gone();
}

fn provider_that_is_missing(stage: &Stage) {
    stage.compose(PROVIDED);
    if knows_providers(stage) {
        let ended = stage.tool(&["dev", "--detach", "--wait"]).run().with(1);
        ended.says("stagecraft-test-provider").does_not_say("could not be pulled");
        stage.assert_gone();
    }
}

fn service_behind_a_profile(stage: &Stage) {
    let debug = |script: &str| service("debug", script, &["profiles: [debug]", "ports: ['127.0.0.1::80']"]);
    stage.compose(&stack(&[polite("web", &[]), debug("sleep 1; echo broken; exit 3")]));
    stage.tool(&["dev", "--", "debug"]).run().with(1).says("debug exited with 3");
    stage.assert_gone();
    stage.tool(&["dev", "--detach", "--wait", "--", "web", "debug"]).run().with(1).says("debug exited with 3");
    stage.assert_gone();

    let serve = "mkdir -p /www; httpd -f -p 80 -h /www";
    stage.compose(&stack(&[polite("web", &[]), debug(serve)]));
    stage.tool(&["dev", "--detach", "--wait", "--", "web", "debug"]).run().with(0);
    let env = stage.tool(&["dev", "env"]).run().with(0);
    assert!(env.stdout.contains("DEBUG_80_ADDR=127.0.0.1:"), "{}", env.stdout);
    stage.engine.ask(&["kill", &stage.container("debug")]);
    stage.events().wait_for("die debug 137;");
    let status = stage.tool(&["dev", "status"]).run().with(1);
    let row = status.stdout.lines().find(|line| line.starts_with("debug ")).expect("a line");
    assert!(row.contains("exited (137)") && row.contains("not in the file, or in an inactive profile"), "{row}");
    stage.take_down();
}

/// What was never asked for is not missing.
fn status_of_what_was_started(stage: &Stage) {
    stage.compose(&stack(&[polite("db", &[]), polite("redis", &[]), polite("web", &["depends_on: [db]"])]));
    stage.tool(&["dev", "--detach", "--wait", "--", "db", "redis"]).run().with(0);
    let status = stage.tool(&["dev", "status"]).run().with(0);
    assert!(!status.stdout.contains("web"), "{}", status.stdout);
    stage.tool(&["dev", "--detach", "--wait"]).run().with(0);
    stage.engine.ask(&["rm", "--force", &stage.container("db")]);
    let status = stage.tool(&["dev", "status"]).run().with(1);
    assert!(status.stdout.contains("db       not created"), "{}", status.stdout);
    stage.take_down();
}

fn crash_after_a_reload(stage: &Stage) {
    let script = "trap 'echo reload' HUP; trap 'exit 3' USR2; echo web is ready; while :; do sleep 0.1; done";
    stage.compose(&stack(&[service("web", script, &[])]));
    let run = stage.tool(&["dev"]).start();
    stage.wait_until_up(&run, &["web"]);
    let web = stage.container("web");
    stage.engine.ask(&["kill", "--signal", "HUP", &web]);
    run.wait_for("reload");
    stage.engine.ask(&["kill", "--signal", "USR2", &web]);
    run.end().with(1).says("failed: web exited with 3");
    stage.assert_gone();
}

/// It exits with 0, which is success, although somebody has sent it a signal.
fn signal_to_a_job(stage: &Stage) {
    let job = "trap 'exit 0' USR1; echo job is ready; while :; do sleep 0.1; done";
    let web = polite("web", &["depends_on: {job: {condition: service_completed_successfully}}"]);
    stage.compose(&stack(&[service("job", job, &[]), web]));
    let run = stage.tool(&["dev", "--detach", "--wait"]).start();
    stage.events().wait_for("start job;");
    stage.wait_for_log("job", "job is ready");
    stage.engine.ask(&["kill", "--signal", "USR1", &stage.container("job")]);
    run.end().with(0);
    stage.take_down();
}

fn not_attached(stage: &Stage) {
    let web = service("web", "trap 'exit 0' USR1; while :; do sleep 0.1; done", &["attach: false"]);
    stage.compose(&stack(&[ending("job", 0), web]));
    let run = stage.tool(&["dev"]).start();
    run.wait_for(&format!("Running {}: web, not attached to (Ctrl+C stops and removes it)", stage.project));
    stage.assert_running(&["web"]);
    // Others may have the lock meanwhile.
    stage.tool(&["dev", "--detach"]).run().with(0);
    stage.engine.ask(&["kill", "--signal", "USR1", &stage.container("web")]);
    run.end().with(0).says("every container exited with 0");
    stage.assert_gone();
}

fn not_attached_and_interrupted(stage: &Stage) {
    stage.compose(&stack(&[ending("job", 0), polite("web", &[])]));
    let run = stage.tool(&["dev", "--", "--no-attach", "web"]).start();
    run.wait_for("not attached to");
    run.signal(Signal::TERM);
    run.end().with(143);
    stage.events().wait_for("die web 0;");
    stage.assert_gone();
}

fn not_attached_and_killed(stage: &Stage) {
    stage.compose(&stack(&[ending("job", 0), polite("web", &["attach: false"])]));
    let run = stage.tool(&["dev"]).start();
    run.wait_for("not attached to");
    run.signal(Signal::KILL);
    run.end().with(-9).says("nothing of it is left");
    stage.events().wait_for("die web 0;");
    stage.assert_gone();
}

/// `dev` with this code of the service `test`.
fn exit_code_from(stage: &Stage, code: u8) -> Ended {
    stage.compose(&stack(&[ending("test", code), polite("db", &[])]));
    let ended = stage.tool(&["dev", "--", "--exit-code-from", "test"]).run().with(code.into());
    stage.assert_gone();
    ended
}

fn exit_code_of_a_service(stage: &Stage) {
    exit_code_from(stage, 0).says("test exited with 0").does_not_say("stopped from elsewhere");
    exit_code_from(stage, 42).says("failed: test exited with 42").does_not_say("stopped from elsewhere");
}

/// Compose itself ends with 2 where it crashes.
fn exit_code_of_a_service_that_crashes_like_go(stage: &Stage) {
    exit_code_from(stage, 2).says("failed: test exited with 2");
}

fn stopped_by_compose(stage: &Stage) {
    stage.compose(&stack(&[ending("job", 0), polite("web", &[])]));
    let ended = stage.tool(&["dev", "--", "--abort-on-container-exit"]).run().with(0);
    ended.says("Compose stopped it because a container exited").does_not_say("stopped from elsewhere");
    stage.compose(&stack(&[ending("job", 7), polite("web", &[])]));
    stage.tool(&["dev", "--", "--abort-on-container-exit"]).run().with(1).says("failed: job exited with 7");
    stage.assert_gone();
}

/// Each with a part of the reason, which is not the exit status of `up`.
fn causes_that_compose_names(stage: &Stage) {
    let with = |keys: &str| format!("services:\n  web:\n    image: stagecraft-test\n    pull_policy: never\n{keys}");
    let command = "    command: [sleep, '1000']\n";
    for (text, reason) in [
        // Compose creates the folder.
        (with("    volumes: ['./nodir:/data']\n"), "o command specified"),
        (
            with(&format!("{command}    networks: [gone]\nnetworks: {{gone: {{external: true, name: e2e-gone}}}}\n")),
            "e2e-gone",
        ),
        (
            with(&format!(
                "{command}    volumes: ['gone:/x']\nvolumes: {{gone: {{external: true, name: e2e-gone}}}}\n"
            )),
            "e2e-gone",
        ),
        (with(&format!("{command}    secrets: [s]\nsecrets: {{s: {{file: ./gone.txt}}}}\n")), "gone.txt"),
        (with(&format!("{command}    configs: [c]\nconfigs: {{c: {{file: ./gone.conf}}}}\n")), "gone.conf"),
        (with(&format!("{command}    runtime: nosuch\n")), "nosuch"),
        (with(&format!("{command}    logging: {{driver: nosuch}}\n")), "nosuch"),
        (with(&format!("{command}    working_dir: relative/path\n")), "relative/path"),
    ] {
        stage.compose(&text);
        let ended = stage.tool(&["dev", "--detach", "--message-format", "json"]).run().with(1);
        let error = ended.complaints();
        assert!(error.contains(reason) && !error.contains("exit status"), "`{reason}` is not said: {error}");
        let failed = ended.stdout.lines().find(|line| line.contains(r#""reason":"stack-failed""#)).expect("a message");
        assert!(failed.contains(reason) && !failed.contains("exit status"), "{failed}");
        stage.assert_gone();
    }
}

fn subnets_that_overlap(stage: &Stage) {
    let theirs = format!("{}-theirs", stage.project);
    stage.engine.ask(&["network", "create", &theirs]);
    let subnet = "{{range .IPAM.Config}}{{.Subnet}}{{end}}";
    let subnet = stage.engine.ask(&["network", "inspect", "--format", subnet, &theirs]);
    let network = format!("networks: {{default: {{ipam: {{config: [{{subnet: {}}}]}}}}}}\n", subnet.trim());
    stage.compose(&format!("{}{network}", stack(&[polite("web", &[])])));
    let ended = stage.tool(&["dev", "--detach"]).run();
    stage.engine.ask(&["network", "rm", &theirs]);
    ended.with(1).says("could not be started: failed to create network").says("Pool overlaps with other one");
    stage.assert_gone();
}

fn a_container_that_is_paused(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[]), polite("db", &[])]));
    stage.start_detached();
    let web = format!("{}-web-1", stage.project);
    stage.engine.ask(&["pause", &web]);
    let ended = stage.tool(&["dev", "--detach"]).run().with(1);
    let ended = ended.says(&format!("error: {} could not be started: {web} is paused", stage.project));
    ended.says(&format!("`docker unpause {web}`"));
    stage.engine.ask(&["unpause", &web]);
    stage.start_detached();
    stage.take_down();
}

/// Nobody serves images there.
const NOWHERE: &str = "127.0.0.1:1/nobody/traefik:1";

fn an_image_that_cannot_be_pulled(stage: &Stage) {
    stage.compose(&format!("{}  proxy:\n    image: {NOWHERE}\n", stack(&[polite("web", &[])])));
    let ended = stage.tool(&["dev", "--detach"]).run().with(1);
    let error = ended.complaints();
    assert!(error.contains(&format!("its image {NOWHERE} is not on the engine and could not be pulled: ")), "{error}");
    assert!(error.contains("connection refused"), "{error}");
    stage.assert_gone();
}

fn traefik_that_is_left_out_is_not_pulled(stage: &Stage) {
    stage.compose(&format!("{}  traefik:\n    image: {NOWHERE}\n", stack(&[polite("web", &[]), polite("db", &[])])));
    let ended = stage.tool(&["dev", "--detach", "--no-traefik", "--verbose"]).run().with(0);
    ended.says(" up -d db web\n");
    stage.assert_running(&["db", "web"]);
    stage.take_down();
    // Compose refuses to scale what is not started at all.
    stage.tool(&["dev", "--detach", "--no-traefik", "--", "web"]).run().with(0);
    stage.assert_running(&["web"]);
    stage.take_down();
    // One that runs is removed.
    stage.compose(&stack(&[polite("web", &[]), polite("traefik", &[])]));
    stage.start_detached();
    stage.assert_running(&["traefik", "web"]);
    stage.tool(&["dev", "--detach", "--no-traefik", "--verbose"]).run().with(0).says(" up -d --scale traefik=0\n");
    stage.assert_running(&["web"]);
    stage.take_down();
}

fn a_healthcheck_in_an_image_without_a_shell(stage: &Stage) {
    let probe = "healthcheck: {test: [CMD, /no/such/sh, -c, 'true'], interval: 1s, retries: 1}";
    stage.compose(&stack(&[polite("web", &[probe])]));
    let ended = stage.tool(&["dev", "--detach", "--wait"]).run().with(1);
    let ended = ended.says("web is unhealthy: its healthcheck runs `/no/such/sh`, which is not in the image");
    ended.says("run a program that it has, as in `test: [\"CMD\", ").does_not_say("OCI runtime");
    stage.assert_gone();
}

fn an_endless_line_of_a_log(stage: &Stage) {
    let script = "head -c 786000 /dev/zero | tr '\\0' x; echo; exit 1";
    stage.compose(&stack(&[service("web", script, &["restart: on-failure:1"])]));
    for format in ["human", "json"] {
        let ended = stage.tool(&["dev", "--detach", "--wait", "--message-format", format]).run().with(1);
        let ended = ended.says("(781904 more bytes)");
        assert!(ended.all.len() < 40_000, "{} bytes", ended.all.len());
        stage.assert_gone();
    }
}

/// Hooks came with Compose 2.30, which older ones pass over.
fn hook_that_fails(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &["post_start: [{command: [sh, -c, 'exit 9']}]"])]));
    if stage.engine.name == "old" {
        stage.start_detached();
        stage.take_down();
        return;
    }
    let ended = stage.tool(&["dev", "--detach"]).run().with(1);
    assert!(
        ended.complaints().contains("hook") && !ended.complaints().contains("exit status: "),
        "{}",
        ended.complaints()
    );
    stage.assert_gone();
}

fn container_name_that_is_taken(stage: &Stage) {
    let name = format!("{}-the-one", stage.project);
    let text = stack(&[polite("web", &[&format!("container_name: {name}")])]);
    stage.compose(&text);
    stage.start_detached();
    let second = stage.workspace(&format!("{}-second", stage.project));
    stage.expect_project(&format!("{}-second", stage.project));
    crate::support::stage::compose_in(&second, &text);
    let ended = stage.tool(&["dev", "--detach"]).dir(&second).run().with(1);
    let first = stage.root().canonicalize().expect("the workspace").display().to_string();
    ended.says(&format!("the container name {name} is already in use by web of project {} ({first})", stage.project));
    stage.take_down();
}

fn a_log_that_cannot_be_read(stage: &Stage) {
    stage.compose(&stack(&[service("web", "exit 3", &["logging: {driver: none}"])]));
    let ended = stage.tool(&["dev", "--detach", "--wait"]).run().with(1).says("web exited with 3");
    ended.does_not_say("does not support reading");
    stage.assert_gone();
}
