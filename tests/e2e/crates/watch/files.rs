//! What counts as a change, and how it is reported.

use std::process::Command;

use super::*;

on_the_new_pair![
    each_way_of_saving_is_one_change,
    a_file_that_holds_the_same_is_no_change,
    a_dependency_outside_of_the_workspace_and_an_included_file,
    a_newer_change_ends_the_build_of_an_older_one,
    cargo_fmt_while_cargo_builds,
    a_build_script_that_writes_into_its_sources,
    a_burst_of_changes_is_one_build,
    messages_for_programs,
    keys_of_a_terminal
];

fn each_way_of_saving_is_one_change(stage: &Stage) {
    workspace(stage, "", &[server("api", PUBLISHED)]);
    let run = watch(stage, &["api"]);
    let main = main_of(stage, "api");
    let beside = |name: &str| main.with_file_name(name);
    let next = |answer: &str| {
        run.wait_for(&format!("api says {answer}"));
        assert_eq!(ask(stage, "api", "/"), answer);
    };
    // In place.
    edit(stage, "api", "in place");
    next("in place");
    // By a new file with another name, which is renamed.
    write(&beside(".main.rs.tmp"), &edited(stage, "api", "renamed"));
    fs::rename(beside(".main.rs.tmp"), &main).expect("renamed");
    next("renamed");
    // By deleting it first.
    let text = edited(stage, "api", "new");
    fs::remove_file(&main).expect("removed");
    write(&main, &text);
    next("new");
    // As vim does: it looks whether it can write there, keeps a copy, and writes a new file.
    let text = edited(stage, "api", "by vim");
    write(&beside("4913"), "");
    fs::remove_file(beside("4913")).expect("removed");
    fs::rename(&main, beside("main.rs~")).expect("renamed");
    write(&main, &text);
    fs::remove_file(beside("main.rs~")).expect("removed");
    next("by vim");
    // As VS Code does: the file is emptied and filled.
    let text = edited(stage, "api", "by code");
    fs::File::create(&main).and_then(|mut file| file.write_all(text.as_bytes())).expect("written");
    next("by code");
    let ended = quit(stage, run);
    assert_eq!(count(&ended.all, "Changed api/src/main.rs\n"), 5);
    assert_eq!(count(&ended.all, "Reloaded api in"), 5);
}

/// Neither one that is saved again, nor one that git ignores, nor one that no program is made from.
fn a_file_that_holds_the_same_is_no_change(stage: &Stage) {
    workspace(stage, "", &[server("api", PUBLISHED)]);
    let run = watch(stage, &["api"]);
    let main = main_of(stage, "api");
    let text = fs::read_to_string(&main).expect("a source");
    write(&main, &text);
    fs::File::open(&main).and_then(|file| file.set_modified(std::time::SystemTime::now())).expect("touched");
    write(&main.with_file_name("notes.txt"), "nothing that is compiled");
    write(&stage.root().join("README.md"), "nor is this");
    edit(stage, "api", "two");
    run.wait_for("Reloaded api in ");
    let ended = quit(stage, run);
    assert_eq!(count(&ended.all, "Changed "), 1);
    assert_eq!(count(&ended.all, "Finished `dev` profile"), 2, "one build for the start, and one");
}

fn a_dependency_outside_of_the_workspace_and_an_included_file(stage: &Stage) {
    workspace(stage, "", &[server("api", PUBLISHED), server("db", PUBLISHED)]);
    // A path with a space in it.
    let folder = stage.temp().join("shared code");
    shared(stage, &folder);
    let elsewhere = stage.temp().join("word.txt");
    write(&elsewhere, "first");
    let include = format!("pub const WORD: &str = include_str!({:?});\n", elsewhere.to_str().expect("a text"));
    write(&folder.join("src/lib.rs"), &include);
    let run = watch(stage, &["api", "db"]);
    write(&elsewhere, "second");
    run.wait_for("api says one, second");
    run.wait_for("db says one, second");
    // Its manifest counts, too.
    let manifest = folder.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).expect("a manifest");
    write(&manifest, &text.replace("0.1.0", "0.2.0"));
    run.wait_for("shared v0.2.0");
    quit(stage, run);
}

fn a_newer_change_ends_the_build_of_an_older_one(stage: &Stage) {
    workspace(stage, "", &[server("api", PUBLISHED)]);
    let listener = build_that_may_be_endless(stage, "api");
    let run = watch(stage, &["api"]);
    let endless = stage.root().join("api/endless");
    write(&endless, "");
    let mut script = accept(&listener);
    let family = Other::child_of(run.pid(), "cargo build");
    fs::remove_file(&endless).expect("removed");
    edit(stage, "api", "two");
    family.ends();
    assert!(matches!(script.read(&mut [0]), Ok(0) | Err(_)), "the build script has ended");
    run.wait_for("api says two");
    run.wait_for("Reloaded api in ");
    quit(stage, run);
}

/// Formatted sources are a change as any other, and what is formatted already is none.
fn cargo_fmt_while_cargo_builds(stage: &Stage) {
    workspace(stage, "", &[server("api", PUBLISHED)]);
    let listener = build_that_may_be_endless(stage, "api");
    let run = watch(stage, &["api"]);
    let endless = stage.root().join("api/endless");
    write(&main_of(stage, "api"), &edited(stage, "api", "two").replace("fn main() {", "fn   main( )\n{"));
    run.wait_for("api says two");
    run.wait_for_times("Reloaded api in ", 1);
    write(&endless, "");
    let _script = accept(&listener);
    let build = Other::child_of(run.pid(), "cargo build");
    fs::remove_file(&endless).expect("removed");
    stage.program("cargo", &["fmt"]).run().with(0);
    build.ends();
    run.wait_for_times("Finished `dev` profile", 3);
    edit(stage, "api", "three");
    run.wait_for("api says three");
    // Again, with nothing to format.
    let changes = count(&run.transcript.text(), "Changed ");
    stage.program("cargo", &["fmt"]).run().with(0);
    edit(stage, "api", "four");
    run.wait_for("api says four");
    assert_eq!(count(&run.transcript.text(), "Changed "), changes + 1);
    quit(stage, run);
}

/// A change that a build makes itself leads to one more build, which makes none.
fn a_build_script_that_writes_into_its_sources(stage: &Stage) {
    workspace(stage, "", &[server("api", PUBLISHED)]);
    let script = "fn main() {\n    let main = std::fs::read_to_string(\"src/main.rs\").unwrap();\n    \
                  std::fs::write(\"src/generated.rs\", format!(\"// {}\\n\", main.len())).unwrap();\n}\n";
    write(&stage.root().join("api/build.rs"), script);
    let text = fs::read_to_string(main_of(stage, "api")).expect("a source");
    write(&main_of(stage, "api"), &format!("mod generated;\n{text}"));
    write(&stage.root().join("api/src/generated.rs"), "");
    let run = watch(stage, &["api"]);
    edit(stage, "api", "longer");
    run.wait_for("api says longer");
    run.wait_for("Reloaded api in ");
    edit(stage, "api", "the longest");
    run.wait_for("api says the longest");
    let ended = quit(stage, run);
    let builds = count(&ended.all, "Finished `dev` profile");
    assert!((3..=5).contains(&builds), "{builds} builds for two changes and a start");
}

/// Five hundred files of another branch.
fn a_burst_of_changes_is_one_build(stage: &Stage) {
    workspace(stage, "", &[server("api", PUBLISHED)]);
    let text = fs::read_to_string(main_of(stage, "api")).expect("a source");
    let modules: String = (0..500).map(|number| format!("mod m{number};\n")).collect();
    write(&main_of(stage, "api"), &format!("#![allow(dead_code)]\n{modules}{text}"));
    let fill = |word: &str| {
        for number in 0..500 {
            write(
                &main_of(stage, "api").with_file_name(format!("m{number}.rs")),
                &format!("pub const IT: &str = \"{word}\";\n"),
            );
        }
    };
    let git = |args: &[&str]| {
        let identity = ["-c", "user.name=x", "-c", "user.email=x@localhost", "-c", "core.hooksPath=/dev/null"];
        let mut git = Command::new("git");
        let status =
            git.args(identity).args(args).current_dir(stage.root()).stdout(std::process::Stdio::null()).status();
        assert!(status.expect("git").success(), "git {args:?}");
    };
    fill("first");
    write(&stage.root().join(".gitignore"), "target\n.stagecraft\n");
    git(&["init", "--quiet", "--initial-branch", "first"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "--message", "first"]);
    git(&["checkout", "--quiet", "-b", "second"]);
    fill("second");
    edit(stage, "api", "two");
    git(&["commit", "--quiet", "--all", "--message", "second"]);
    git(&["checkout", "--quiet", "first"]);
    let run = watch(stage, &["api"]);
    git(&["checkout", "--quiet", "second"]);
    run.wait_for("api says two");
    run.wait_for("Reloaded api in ");
    let ended = quit(stage, run).says("and 498 more\n");
    assert_eq!(count(&ended.all, "Changed "), 1);
    assert_eq!(count(&ended.all, "Finished `dev` profile"), 2, "one for the start, and one");
    assert_eq!(count(&ended.all, "Reloaded "), 1);
}

fn messages_for_programs(stage: &Stage) {
    workspace(stage, "", &[server("api", PUBLISHED)]);
    let run = stage.tool(&["dev", "--watch", "--message-format", "json"]).start();
    run.wait_for("\"reason\":\"stack-started\"");
    run.wait_for("Watching the files of");
    edit(stage, "api", "two");
    run.wait_for("\"reason\":\"service-reloaded\"");
    write(&main_of(stage, "api"), BROKEN);
    run.wait_for("\"reason\":\"reload-failed\"");
    run.signal(Signal::INT);
    let ended = run.end().with(130);
    let project = &stage.project;
    let starts = [
        format!(r#"{{"reason":"change-seen","project":"{project}","files":["api/src/main.rs"]}}"#),
        format!(r#"{{"reason":"build-finished","project":"{project}","success":true,"#),
        format!(r#"{{"reason":"service-reloaded","project":"{project}","service":"api","seconds":"#),
        format!(r#"{{"reason":"build-finished","project":"{project}","success":false,"#),
        format!(
            r#"{{"reason":"reload-failed","project":"{project}","message":"cargo could not build the change; the running programs are kept","#
        ),
    ];
    for start in starts {
        assert!(ended.stdout.lines().any(|line| line.starts_with(&start)), "no line `{start}`");
    }
    assert!(ended.stdout.lines().all(|line| line.starts_with('{')), "only messages go to standard output");
    stage.assert_gone();
}

fn keys_of_a_terminal(stage: &Stage) {
    workspace(stage, "", &[server("api", PUBLISHED)]);
    let run = stage.tool(&["dev", "--watch"]).start_in_terminal();
    let before = run.terminal().modes();
    watched(stage, &run, &["api"]);
    run.wait_for("press r to reload all, b to build, q to quit");
    run.terminal().type_in(b"b");
    run.wait_for("no program of the stack has changed");
    run.terminal().type_in(b"r");
    run.wait_for(" api in ");
    run.terminal().type_in(b"q");
    // As with Ctrl+C.
    run.wait_for("Stopping");
    run.wait_for("Removed");
    assert!(run.terminal().modes() == before, "the terminal is left as it was found");
    run.end().with(130);
    stage.assert_gone();
}
