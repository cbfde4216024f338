//! Which commands run.

use super::*;

/// It is set all the same, so the engine of this machine is not meant; nobody is behind it, so docker has the word.
#[test]
fn a_docker_host_that_is_not_utf8_is_not_ignored() {
    let sandbox = Sandbox::new();
    sandbox.configure_docker("{}");
    let host = OsStr::from_bytes(b"unix:///nobody\xff.sock");
    let run = sandbox.stagecraft(["dev", "list", "--verbose"]).env("DOCKER_HOST", host).run().exits(0);
    run.says("Asking curl --unix-socket '/nobody\u{fffd}.sock' ").says("Running docker ps ");
}

#[test]
fn every_option_becomes_exactly_these_commands() {
    let table: [(&str, &[&str]); 18] = [
        ("dev", &["{up}", "{down}"]),
        ("dev --timeout 7", &["{up}", "{down} --timeout 7"]),
        ("dev --timeout 0", &["{up}", "{down} --timeout 0"]),
        ("dev --no-traefik", &["{up} --scale traefik=0", "{down}"]),
        ("dev -- --build api", &["{up} --build api", "{down}"]),
        ("dev --no-traefik -- --build", &["{up} --scale traefik=0 --build", "{down}"]),
        // Compose refuses to scale a service that is not among those that are named.
        ("dev --no-traefik -- --build api", &["{up} --build api", "{down}"]),
        ("dev -- -- --odd", &["{up} -- --odd", "{down}"]),
        ("dev -d", &["{up} -d"]),
        ("dev --detach", &["{up} -d"]),
        ("dev --detach --timeout 7", &["{up} -d"]),
        ("dev --detach --no-traefik", &["{up} -d --scale traefik=0"]),
        ("dev -d --no-traefik -- --wait 'a b'", &["{up} -d --scale traefik=0 --wait 'a b'"]),
        ("dev down", &["{down}"]),
        ("dev down --timeout 7", &["{down} --timeout 7"]),
        ("dev down --volumes", &["{down} --volumes"]),
        ("dev down --volumes --timeout 7", &["{down} --timeout 7 --volumes"]),
        ("dev --timeout 7 down", &["{down} --timeout 7"]),
    ];
    for (typed, expected) in table {
        let sandbox = short();
        sandbox.engine.world(|world| world.services.insert("traefik".to_string(), json!({})));
        sandbox.run(args_of(typed)).exits(0);
        let expected: Vec<String> =
            expected.iter().map(|line| line.replace("{up}", UP).replace("{down}", DOWN)).collect();
        assert_eq!(sandbox.engine.changes(), expected, "cargo stagecraft {typed}");
    }
}

#[test]
fn every_command_of_a_run_is_run_from_the_root_of_the_workspace() {
    let sandbox = short();
    sandbox.stagecraft(["dev"]).cwd(sandbox.root().join("src")).run().exits(0);
    let compose: Vec<Call> = sandbox.engine.calls().into_iter().filter(|call| call.args[0] == "compose").collect();
    assert!(compose.len() >= 3, "config, up, ps and down were run");
    for call in compose {
        assert_eq!(call.cwd, sandbox.root(), "{}", call.line());
    }
}

#[test]
fn up_gets_no_input_and_no_menu_also_where_we_have_input() {
    for mode in [&["dev"][..], &["dev", "--detach"]] {
        let sandbox = short();
        let (input, _writer) = std::io::pipe().unwrap();
        sandbox.stagecraft(mode).stdin(input).run().exits(0);
        let up = sandbox.engine.only(Verb::Up);
        assert!(up.null[0], "stdin of `up` is /dev/null");
        assert_eq!(up.env[OsStr::new("COMPOSE_MENU")], "0");
    }
}

#[test]
fn no_traefik_without_a_service_of_that_name_is_a_note_and_a_normal_start() {
    for mode in [&["dev", "--no-traefik"][..], &["dev", "--no-traefik", "--detach"]] {
        let sandbox = short();
        sandbox.run(mode).exits(0).says("note: the stack has no active service `traefik` to leave out\n");
        assert!(!sandbox.engine.only(Verb::Up).line().contains("--scale"));
    }
}

#[test]
fn no_traefik_removes_a_traefik_that_runs() {
    let sandbox = Sandbox::new();
    sandbox.engine.world(|world| world.services.insert("traefik".to_string(), json!({})));
    sandbox.run(["dev", "--detach"]).exits(0).says("traefik");
    sandbox.run(["dev", "--detach", "--no-traefik"]).exits(0).does_not_say("traefik");
}

#[test]
fn a_foreground_run_refuses_arguments_that_make_up_return_at_once() {
    for arg in ["-d", "--detach", "--wait"] {
        let sandbox = Sandbox::new();
        sandbox.run(["dev", "--", arg]).exits(2).says("use `cargo stagecraft dev --detach`");
        touches_nothing(&sandbox);
    }
}
