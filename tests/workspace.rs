//! `fixtures/workspace` on real engines: a workspace of six members with axum, sqlx, OpenSSL, libpq, rdkafka, macros, generated code and
//! cargo's own configuration, with PostgreSQL, Redis and a TLS server. `scripts/setup-servers.sh` makes what it needs.

// A test may panic in its helpers too.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::support::fixture::copy;
use crate::support::run::Ended;
use crate::support::stage::{Stage, play, write};

#[test]
fn a_fresh_clone_answers_on_the_old_pair() {
    play("old", "workspace", a_fresh_clone_answers);
}

#[test]
fn a_fresh_clone_answers_on_the_new_pair() {
    play("new", "workspace", a_fresh_clone_answers);
}

/// Runs a program that has to succeed.
#[track_caller]
fn run(stage: &Stage, program: &str, args: &[&str]) -> Ended {
    stage.program(program, args).run().with(0)
}

/// Makes the stage's workspace a fresh clone of the fixture. All clones share what cargo has compiled from the registry.
fn clone(stage: &Stage) {
    let origin = stage.temp().join("origin");
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/workspace"), &origin);
    let git = |args: &[&str]| {
        let identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org", "-C"];
        run(stage, "git", &[&identity[..], &[origin.to_str().unwrap()], args].concat());
    };
    git(&["init", "--quiet"]);
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--message", "The shop"]);
    fs::remove_dir_all(stage.root()).unwrap();
    fs::create_dir(stage.root()).unwrap();
    run(stage, "git", &["clone", "--quiet", origin.to_str().unwrap(), "."]);
    let build = Path::new(env!("CARGO_TARGET_TMPDIR")).join("workspace");
    fs::create_dir_all(&build).unwrap();
    symlink(build, stage.root().join("build")).unwrap();
    certificates(stage);
}

/// A certificate authority, and a certificate of it for the host `tls`.
fn certificates(stage: &Stage) {
    let script = "mkdir certs && cd certs\n\
        exec 2> log\n\
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=test\n\
        openssl req -newkey rsa:2048 -nodes -keyout tls.key -out tls.csr -subj /CN=tls\n\
        echo subjectAltName=DNS:tls > extensions\n\
        openssl x509 -req -in tls.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out tls.pem\n\
        chmod 644 tls.key\n\
        cat /etc/ssl/certs/ca-certificates.crt ca.pem > bundle.pem\n";
    run(stage, "sh", &["-ec", script]);
}

/// Compiles all that needs no database, for as long as it takes.
fn compile_dependencies(stage: &Stage) {
    for args in [&["-p", "migrate"][..], &[]] {
        let mut cargo = std::process::Command::new("cargo");
        cargo.args(["build", "--quiet", "--keep-going"]).args(args).current_dir(stage.root());
        // `api` cannot be compiled without a database; what it needs can.
        cargo.env_remove("DATABASE_URL").output().unwrap();
    }
}

/// The answer of `api`.
fn ask(stage: &Stage, path: &str) -> String {
    let address = stage.engine.ask(&["port", &stage.container("api"), "8080"]);
    let mut connection = TcpStream::connect(address.lines().next().unwrap()).unwrap();
    write!(connection, "GET {path} HTTP/1.0\r\nHost: shop\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer.rsplit("\r\n").next().unwrap().to_string()
}

fn build_cache(stage: &Stage) -> String {
    let disk = stage.engine.ask(&["system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Size}}"]);
    disk.lines().find(|line| line.starts_with("Build Cache")).unwrap_or_default().to_string()
}

fn a_fresh_clone_answers(stage: &Stage) {
    clone(stage);
    compile_dependencies(stage);
    let cached = build_cache(stage);

    // In the foreground, and nothing but this.
    let foreground = stage.tool(&["dev"]).start();
    foreground.wait_for("api listens");
    foreground.wait_for("hello from the shop! *3 $9 subscribe");
    assert_eq!(ask(stage, "/"), "Shop hello from the shop.");
    foreground.signal(Signal::INT);
    let ended = foreground.end().with(130);
    let ended = ended
        .says(": db, redis, tls before the build (Ctrl+C stops and removes it)\n")
        .says("Preparing `cargo run --quiet -p migrate`\n");
    let built = ended.says("the database is up to date\n").says("Compiling api").all;
    let order = ["the database is up to date", "Compiling api", "Loading image"].map(|text| built.find(text).unwrap());
    assert!(order.is_sorted(), "{order:?}");
    stage.assert_gone();

    // Nothing is compiled again, neither here nor by the developer's own build, nor for one service.
    let detached = stage.tool(&["dev", "--detach", "--wait", "--", "worker"]).run().with(0).does_not_say("Compiling");
    detached.does_not_say("migrate").says("before the build");
    let with_authority = "mount --bind certs/bundle.pem /etc/ssl/certs/ca-certificates.crt && exec \"$0\" stagecraft dev --detach --wait";
    let tool = env!("CARGO_BIN_EXE_cargo-stagecraft");
    run(stage, "unshare", &["--mount", "sh", "-c", with_authority, tool]).does_not_say("Compiling");
    answers_by_its_libraries(stage);
    shows_lines_of_the_source(stage);
    tests_with_a_database_of_their_own(stage);
    let env = stage.tool(&["dev", "env"]).run().with(0).stdout;
    let url = env.lines().find_map(|line| line.strip_prefix("DATABASE_URL=")).unwrap();
    assert!(url.starts_with("postgres://postgres@127.0.0.1:"), "{env}");
    stage.program("cargo", &["build", "--offline"]).env("DATABASE_URL", url).run().with(0).does_not_say("Compiling");

    // Another query and another migration: only then the database is asked again, and only this program is replaced.
    // With the authorities of this machine again.
    stage.start_detached().does_not_say("Preparing").does_not_say("before the build");
    let others = ["db", "redis", "tls", "worker"].map(|service| stage.container(service));
    let main = stage.root().join("api/src/main.rs");
    let text = fs::read_to_string(&main).unwrap();
    write(&main, &text.replace("select price from", "select price + discount as \\\"price!\\\" from"));
    let failed = stage.tool(&["dev", "--detach"]).run().with(1);
    failed.says("column \"discount\" does not exist").says("error: the programs of the stack cannot be built\n");
    write(
        &stage.root().join("api/migrations/2_discount.sql"),
        "alter table items add discount bigint not null default 2;\n",
    );
    let image = format!("Loading image {}-", stage.project);
    let started = stage.start_detached().says("Preparing").says(&format!("{image}api\n"));
    started.does_not_say(&format!("{image}worker\n"));
    stage.wait_for_log("api", "api listens");
    assert_eq!(ask(stage, "/price/a%20chair"), "42");
    assert_eq!(["db", "redis", "tls", "worker"].map(|service| stage.container(service)), others);
    assert_eq!(build_cache(stage), cached, "an image was built");
    stage.take_down();
}

fn answers_by_its_libraries(stage: &Stage) {
    stage.wait_for_log("api", "api listens");
    assert_eq!(ask(stage, "/price/a%20table"), "200");
    let libraries = ask(stage, "/libraries");
    assert!(libraries.starts_with("openssl 3") && libraries.contains("rdkafka "), "{libraries}");
    assert_eq!(ask(stage, "/redis"), "+PONG");
    assert_eq!(ask(stage, "/tls/tls"), "200 OK");
    // Five and a half hours at the beginning of 1970.
    assert_eq!(ask(stage, "/time"), "19800");
    assert_eq!(ask(stage, "/locale"), "C.UTF-8");
}

/// They empty a table, beside the stack that runs, whose table stays as it is.
fn tests_with_a_database_of_their_own(stage: &Stage) {
    stage.expect_project(&format!("{}-1", stage.project));
    let tests = ["dev", "run", "--service", "db", "--", "cargo", "test", "--offline", "--quiet", "-p", "migrate"];
    let ended = stage.tool(&tests).env("DATABASE_URL", "postgres://nowhere.invalid/").run().with(0);
    ended.says("test result: ok. 1 passed").says("nothing of it is left");
    assert_eq!(ask(stage, "/price/a%20table"), "200");
}

/// In a backtrace of the program, and in a debugger on this machine.
fn shows_lines_of_the_source(stage: &Stage) {
    assert!(ask(stage, "/panic").contains("panicked"));
    stage.wait_for_log("api", "api/src/main.rs:");
    let process = stage.engine.ask(&["inspect", "--format", "{{.State.Pid}}", &stage.container("api")]);
    let program = child_of(&process);
    let gdb = ["--batch", "-nx", "-p", &program, "-ex", "info line api::main", "-ex", "info threads"];
    let seen = run(stage, "gdb", &gdb).stdout;
    assert!(seen.contains("api/src/main.rs\"") && seen.contains("* 1 "), "{seen}");
}

/// The program below the init of a container.
fn child_of(process: &str) -> String {
    let children = PathBuf::from(format!("/proc/{process}/task/{process}/children"));
    fs::read_to_string(children).unwrap().trim().to_string()
}
