//! `dev --watch`: a saved file, and what becomes of it.

mod endings;
mod files;
mod listen;
mod stacks;

use super::interrupted::accept;
use super::*;

on_both_pairs![
    a_saved_file_runs_in_the_same_container,
    a_program_that_dies_after_a_reload_is_shown_and_healed,
    the_only_program_may_die_and_come_back
];

mod by_the_supervisor {
    use super::*;

    on_the_new_pair![
        a_syntax_error_keeps_the_old_program_and_its_repair_heals,
        a_shared_library_reloads_in_the_order_of_dependencies,
        a_program_that_ignores_the_stop_signal_gets_its_grace
    ];
}

/// Says who it is and what it answers, and answers that at port 8080.
const SERVER: &str = r#"
use std::io::{Read, Write};

const ANSWER: &str = "one";

fn main() {
    let listener = std::net::TcpListener::bind("0.0.0.0:8080").expect("the port is free");
    println!("{} says {ANSWER}", env!("CARGO_PKG_NAME"));
    for connection in listener.incoming() {
        let mut connection = connection.expect("a connection");
        let _ = connection.read(&mut [0; 1024]);
        let _ = write!(connection, "HTTP/1.0 200 OK\r\n\r\n{ANSWER}");
    }
}
"#;

fn server<'a>(name: &'a str, keys: &'a str) -> Package<'a> {
    Package { name, keys, main: SERVER.to_string() }
}

/// The source of a program with another answer.
fn edited(stage: &Stage, package: &str, answer: &str) -> String {
    let text = fs::read_to_string(main_of(stage, package)).expect("a source");
    let (before, rest) = text.split_once("ANSWER: &str = \"").expect("an answer");
    let (_, after) = rest.split_once('"').expect("its end");
    format!("{before}ANSWER: &str = \"{answer}\"{after}")
}

/// Saves a source with another answer.
fn edit(stage: &Stage, package: &str, answer: &str) {
    write(&main_of(stage, package), &edited(stage, package, answer));
}

/// Starts the stack and watches it, once all of these run.
fn watch(stage: &Stage, services: &[&str]) -> Run {
    let run = stage.tool(&["dev", "--watch"]).start();
    watched(stage, &run, services);
    run
}

fn watched(stage: &Stage, run: &Run, services: &[&str]) {
    // On a terminal, the verb has a colour.
    run.wait_for(" the files of ");
    for service in services {
        run.wait_for(&format!("{service} says one"));
        stage.events().wait_for(&format!("start {service};"));
    }
    run.wait_for(" running ");
}

fn count(text: &str, what: &str) -> usize {
    text.matches(what).count()
}

fn quit(stage: &Stage, run: Run) -> Ended {
    run.signal(Signal::INT);
    let ended = run.end().with(130).says("Removed");
    stage.assert_gone();
    ended
}

/// Environment, addresses and volumes are those of the container, which is the same.
fn a_saved_file_runs_in_the_same_container(stage: &Stage) {
    workspace(stage, "", &[server("api", PUBLISHED), server("db", PUBLISHED)]);
    let run = watch(stage, &["api", "db"]);
    let (api, db) = (stage.container("api"), stage.container("db"));
    let address = address(stage, "api", 8080);
    edit(stage, "api", "two");
    run.wait_for("Changed api/src/main.rs\n");
    run.wait_for("api says two");
    run.wait_for("Reloaded api in ");
    assert_eq!(get(&address, "localhost", "/"), "two");
    assert_eq!((stage.container("api"), stage.container("db")), (api, db));
    assert_eq!(count(&run.transcript.text(), "db says"), 1, "the other one is left alone");
    // The signal of a stop, and not the end of the container.
    let ended = quit(stage, run).does_not_say("exited with code 1\n").says("Reloaded api in ");
    assert_eq!(count(&ended.all, "Reloaded"), 1);
    stage.events().wait_for("die api 143;");
    // A container that is created later runs the newest program, and without `--watch` nothing comes first in it.
    stage.tool(&["dev", "--detach"]).run().with(0).does_not_say("Compiling");
    stage.wait_for_log("api", "api says two");
    let entry = stage.engine.ask(&["container", "inspect", "--format", "{{.Path}}", &stage.container("api")]);
    assert_eq!(entry, "/usr/local/bin/api");
    stage.take_down();
    assert_eq!(nameless_images(stage), "");
}

fn a_syntax_error_keeps_the_old_program_and_its_repair_heals(stage: &Stage) {
    workspace(stage, "", &[server("api", PUBLISHED)]);
    let run = watch(stage, &["api"]);
    let main = main_of(stage, "api");
    let container = stage.container("api");
    write(&main, &format!("mod missing;\n{}", edited(stage, "api", "two")));
    run.wait_for("file not found for module `missing`");
    run.wait_for("error: cargo could not build the change; the running programs are kept\n");
    assert_eq!(ask(stage, "api", "/"), "one");
    // A file that has not been there, in a directory that has not been there.
    fs::create_dir(main.with_file_name("missing")).expect("a directory");
    write(&main.with_file_name("missing").join("mod.rs"), "");
    run.wait_for("api says two");
    run.wait_for("Reloaded api in ");
    assert_eq!(stage.container("api"), container);
    quit(stage, run);
}

/// A library of the workspace that both use.
fn shared(stage: &Stage, folder: &Path) {
    fs::create_dir_all(folder.join("src")).expect("folders");
    write(
        &folder.join("Cargo.toml"),
        "[package]\nname = \"shared\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n",
    );
    write(&folder.join("src/lib.rs"), "pub const WORD: &str = \"first\";\n");
    for name in ["api", "db"] {
        let manifest = stage.root().join(name).join("Cargo.toml");
        let text = fs::read_to_string(&manifest).expect("a manifest");
        let dependency = format!(
            "[dependencies]\nshared = {{ path = {:?} }}\n\n[package.metadata",
            folder.to_str().expect("a text")
        );
        write(&manifest, &text.replace("[package.metadata", &dependency));
        let text = fs::read_to_string(main_of(stage, name)).expect("a source");
        let text = text.replace(
            "\"{} says {ANSWER}\", env!(\"CARGO_PKG_NAME\")",
            "\"{} says {ANSWER}, {}\", env!(\"CARGO_PKG_NAME\"), shared::WORD",
        );
        write(&main_of(stage, name), &text);
    }
}

fn a_shared_library_reloads_in_the_order_of_dependencies(stage: &Stage) {
    // By the alphabet it would be the other way round.
    let keys = format!("{PUBLISHED}depends_on = ['db']\n");
    workspace(stage, "", &[server("api", &keys), server("db", PUBLISHED)]);
    let folder = stage.temp().join("shared");
    shared(stage, &folder);
    let run = watch(stage, &["api", "db"]);
    write(&folder.join("src/lib.rs"), "pub const WORD: &str = \"second\";\n");
    run.wait_for("api says one, second");
    run.wait_for("Reloaded api in ");
    let ended = quit(stage, run);
    let reloaded = |name: &str| ended.all.find(&format!("Reloaded {name} in ")).expect("reloaded");
    assert!(reloaded("db") < reloaded("api"));
    assert_eq!(count(&ended.all, "Changed "), 1);
}

fn a_program_that_dies_after_a_reload_is_shown_and_healed(stage: &Stage) {
    workspace(stage, "", &[server("api", PUBLISHED), server("db", PUBLISHED)]);
    let run = watch(stage, &["api", "db"]);
    let text = fs::read_to_string(main_of(stage, "api")).expect("a source");
    write(
        &main_of(stage, "api"),
        &text.replace("fn main() {", "fn main() {\n    if true { eprintln!(\"no way\"); std::process::exit(101) }"),
    );
    run.wait_for("error: api exited with 101 after the reload\n");
    run.wait_for("---- log of api");
    run.wait_for("no way\n");
    stage.assert_running(&["db"]);
    write(&main_of(stage, "api"), &text.replace("\"one\"", "\"healed\""));
    run.wait_for("container replaced");
    stage.wait_for_log("api", "api says healed");
    assert_eq!(ask(stage, "api", "/"), "healed");
    // And so is the next one, in the container that there is now.
    edit(stage, "api", "better");
    run.wait_for("api says better");
    let ended = quit(stage, run);
    assert_eq!(count(&ended.all, "db says"), 1, "the other one is left alone");
}

/// A stack that is over is one that waits for a change.
fn the_only_program_may_die_and_come_back(stage: &Stage) {
    workspace(stage, "", &[server("api", PUBLISHED)]);
    let run = watch(stage, &["api"]);
    let text = fs::read_to_string(main_of(stage, "api")).expect("a source");
    write(&main_of(stage, "api"), &text.replace("fn main() {", "fn main() {\n    if true { std::process::exit(7) }"));
    run.wait_for("Waiting for a change of the files (Ctrl+C stops and removes it)");
    stage.assert_running(&[]);
    write(&main_of(stage, "api"), &text.replace("\"one\"", "\"healed\""));
    run.wait_for("api says healed");
    edit(stage, "api", "better");
    run.wait_for("api says better");
    assert_eq!(ask(stage, "api", "/"), "better");
    quit(stage, run).says("exited with 7");
}

fn a_program_that_ignores_the_stop_signal_gets_its_grace(stage: &Stage) {
    let keys = format!("{PUBLISHED}stop_signal = 'SIGUSR1'\nstop_grace_period = '1s'\n");
    // Blocked, which the standard library has no words for; a shell has.
    let main = SERVER.replace("fn main() {", "extern \"C\" { fn signal(number: i32, handler: usize) -> usize; }\n\nfn main() {\n    unsafe { signal(10, 1) };");
    workspace(stage, "", &[Package { name: "api", keys: &keys, main }]);
    let run = watch(stage, &["api"]);
    edit(stage, "api", "two");
    run.wait_for("api says two");
    run.wait_for("Reloaded api in ");
    let ended = quit(stage, run);
    let reloaded = ended.all.lines().find_map(|line| line.trim().strip_prefix("Reloaded api in ")).expect("a line");
    let seconds: f64 = reloaded.split('s').next().expect("a number").parse().expect("seconds");
    assert!(seconds >= 1.0, "killed before its grace was over: {reloaded}");
}

/// A build that lasts until the listener is gone, from the moment on at which its file is there.
fn build_that_may_be_endless(stage: &Stage, package: &str) -> TcpListener {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let script = format!(
        "fn main() {{\n    println!(\"cargo:rerun-if-changed=endless\");\n    if std::path::Path::new(\"endless\").exists() {{\n        \
         let mut test = std::net::TcpStream::connect({address:?}).expect(\"the test listens\");\n        \
         let _ = std::io::Read::read(&mut test, &mut [0]);\n    }}\n}}\n"
    );
    write(&stage.root().join(package).join("build.rs"), &script);
    listener
}
