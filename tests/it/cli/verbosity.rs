//! `--quiet` and `--verbose`.

use super::*;

#[test]
fn quiet_says_nothing_when_all_is_well() {
    for args in [&["dev", "-q"][..], &["dev", "-qd"], &["dev", "down", "-q"], &["-q", "dev", "--no-traefik"]] {
        let sandbox = short();
        sandbox.engine.on(Verb::Up, |call, world| {
            world.up_for(call);
            Some(Reply::exit(0).stderr("Container shop-api-1  Started\n"))
        });
        sandbox.engine.on(Verb::Down, |call, world| {
            world.down_for(call);
            Some(Reply::exit(0).stderr("Container shop-api-1  Removed\n"))
        });
        let finished = sandbox.run(args).exits(0);
        assert_eq!((finished.stdout(), &*finished.stderr), ("", ""), "{args:?}");
    }
}

#[test]
fn quiet_still_prints_the_error_once() {
    let sandbox = Sandbox::new();
    sandbox.engine.answer(Verb::Up, Reply::exit(1).stderr("Bind for 0.0.0.0:80 failed: port is already allocated\n"));
    sandbox.run(["dev", "-qd"]).exits(1).tells(str![[r#"
Bind for 0.0.0.0:80 failed: port is already allocated
error: shop could not be started: Bind for 0.0.0.0:80 failed: port is already allocated

"#]]);
}

#[test]
fn verbose_shows_every_command_line_run() {
    for args in [&["dev", "-v"][..], &["dev", "-dv"], &["dev", "down", "-v"]] {
        let sandbox = short();
        let finished = sandbox.run(args).exits(0);
        let shown = finished.stderr.lines().filter_map(|line| line.trim_start().strip_prefix("Running "));
        let mut shown: Vec<String> = shown.map(str::to_owned).collect();
        let cargo = shown.remove(0);
        assert!(cargo.starts_with("cargo metadata "), "{cargo}");
        let mut run: Vec<String> = sandbox.engine.calls().iter().map(Call::line).collect();
        // This listens for the end of the start, and is ended with it: perhaps before it has begun.
        for lines in [&mut shown, &mut run] {
            lines.retain(|line| !line.contains("events --since 1 --filter type"));
        }
        // Some questions are asked side by side.
        shown.sort();
        run.sort();
        let words = |lines: Vec<String>| lines.iter().map(|line| shlex::split(line).unwrap()).collect::<Vec<_>>();
        assert_eq!(words(shown), words(run));
    }
}

#[test]
fn verbose_tells_the_workspace_the_dev_dir_the_compose_file_and_the_project() {
    let finished = short().run(["dev", "-v"]).exits(0);
    let told: Vec<&str> = finished.stderr.lines().filter(|line| !line.contains(" Running ")).collect();
    assert_data_eq!(
        told.join("\n"),
        str![[r#"
   Workspace [ROOT]
     Dev dir .stagecraft/dev
Compose file .stagecraft/dev/compose.yaml
     Project shop
...
"#]]
    );
}

#[test]
fn without_verbose_no_command_line_is_shown() {
    short().run(["dev"]).exits(0).does_not_say("docker compose");
}
