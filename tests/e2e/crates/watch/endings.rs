//! How a watched run ends in the middle of a change.

use super::*;

on_both_pairs![
    ctrl_c_during_a_build,
    ctrl_c_during_a_reload,
    killed_during_a_build,
    killed_during_a_reload,
    killed_while_nothing_runs,
    down_by_another_command
];

/// A run that builds for a change, and everything that it has started for that.
fn building(stage: &Stage) -> (Run, Vec<Other>, TcpStream, TcpListener) {
    workspace(stage, "", &[server("api", PUBLISHED)]);
    let listener = build_that_may_be_endless(stage, "api");
    let run = watch(stage, &["api"]);
    write(&stage.root().join("api/endless"), "");
    let script = accept(&listener);
    let family = Other::descendants(run.pid());
    (run, family, script, listener)
}

fn ctrl_c_during_a_build(stage: &Stage) {
    let (run, family, mut script, _listener) = building(stage);
    run.signal(Signal::INT);
    run.end().with(130).says("Removed");
    family.into_iter().for_each(Other::ends);
    assert!(matches!(script.read(&mut [0]), Ok(0) | Err(_)), "the build script has ended");
    stage.assert_gone();
}

/// The guard has to end cargo and everything that it has started.
fn killed_during_a_build(stage: &Stage) {
    let (run, family, mut script, _listener) = building(stage);
    run.signal(Signal::KILL);
    run.end_whatever_compose_says().with(-9);
    family.into_iter().for_each(Other::ends);
    assert!(matches!(script.read(&mut [0]), Ok(0) | Err(_)), "the build script has ended");
    stage.events().wait_for("destroy api;");
    stage.tool(&["dev", "down"]).run().with(0);
    stage.assert_gone();
}

/// A reload whose old program does not end.
fn reloading(stage: &Stage, grace: &str) -> Run {
    let keys = format!("{PUBLISHED}stop_grace_period = '{grace}'\n");
    let main = SERVER.replace(
        "fn main() {",
        "extern \"C\" { fn signal(number: i32, handler: usize) -> usize; }\n\nextern \"C\" fn stopping(_: i32) {\n    \
         let _ = std::io::stdout().write_all(b\"it does not stop\\n\");\n}\n\nfn main() {\n    unsafe { signal(15, stopping as *const () as usize) };",
    );
    workspace(stage, "", &[Package { name: "api", keys: &keys, main }]);
    let run = watch(stage, &["api"]);
    edit(stage, "api", "two");
    run.wait_for("it does not stop");
    run
}

fn ctrl_c_during_a_reload(stage: &Stage) {
    let run = reloading(stage, "300s");
    run.signal(Signal::INT);
    run.wait_for("press Ctrl+C again to kill its containers at once");
    run.signal(Signal::INT);
    run.end().with(130).does_not_say("Reloaded");
    stage.assert_gone();
}

fn killed_during_a_reload(stage: &Stage) {
    let run = reloading(stage, "5s");
    let family = Other::descendants(run.pid());
    run.signal(Signal::KILL);
    run.end_whatever_compose_says().with(-9);
    // It waits for the guard, or does its work.
    stage.tool(&["dev", "down"]).run().with(0);
    family.into_iter().for_each(Other::ends);
    stage.assert_gone();
}

fn killed_while_nothing_runs(stage: &Stage) {
    let main = SERVER.replace("fn main() {", "fn main() {\n    if true { std::process::exit(7) }");
    workspace(stage, "", &[Package { name: "api", keys: PUBLISHED, main }]);
    let run = stage.tool(&["dev", "--watch"]).start();
    run.wait_for("Waiting for a change of the files");
    run.signal(Signal::KILL);
    run.end_whatever_compose_says().with(-9);
    stage.events().wait_for("destroy api;");
    stage.tool(&["dev", "down"]).run().with(0);
    stage.assert_gone();
}

/// `dev down` also ends a watched run: the next change must not start the stack again.
fn down_by_another_command(stage: &Stage) {
    workspace(stage, "", &[server("api", PUBLISHED)]);
    let run = watch(stage, &["api"]);
    stage.tool(&["dev", "down"]).run().with(0);
    run.end().with(0).says("stopped from elsewhere");
    stage.assert_gone();
}
