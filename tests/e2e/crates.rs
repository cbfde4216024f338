//! Stacks that Cargo.toml describes: the workspace's own binaries as services, without any Dockerfile.

mod before_build;
mod interrupted;
mod native;
mod routes;
mod watch;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;

use crate::support::engine::DEADLINE;
use crate::support::run::{Ended, Other, Run};
use crate::support::stage::{Stage, compose_in, polite, stack, write};

on_both_pairs![
    a_new_package_answers,
    an_edit_recreates_its_service_only,
    a_run_that_follows_builds_nothing,
    unchanged_crates_touch_nothing,
    two_detached_starts_at_once,
    a_failed_build_leaves_a_running_stack_alone,
    names_of_other_services_resolve,
    volumes_are_writable,
    a_strict_umask_changes_nothing,
    paths_are_relative_to_the_manifest,
    rustflags_of_a_configuration_are_used,
    on_a_base_image,
    behind_an_inactive_profile_nothing_is_built,
    crates_of_services_that_are_not_started_are_not_built,
    dry_run_writes_nothing,
    an_unknown_key_ends_it_before_anything_is_written,
    a_compose_file_written_by_hand_is_left_alone
];

/// Listens at PORT and answers what it is asked for by the path of a request: about itself and what is around it.
const PROGRAM: &str = r##"
use std::io::{Read, Write};
use std::net::{TcpListener, ToSocketAddrs};

fn main() {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).expect("the port is free");
    println!("NAME is ready");
    for connection in listener.incoming() {
        let mut connection = connection.expect("a connection");
        let mut request = [0; 1024];
        let read = connection.read(&mut request).expect("a request");
        let request = String::from_utf8_lossy(&request[..read]).into_owned();
        let asked = request.split(' ').nth(1).unwrap_or_default();
        let (what, about) = asked.split_once('?').unwrap_or((asked, ""));
        let answer = match what {
            "/" => ANSWER.to_string(),
            "/user" => {
                let status = std::fs::read_to_string("/proc/self/status").expect("our own status");
                let line = |name| status.lines().find(|line| line.starts_with(name)).expect("an id").to_string();
                let id = |name| line(name).split_ascii_whitespace().nth(1).expect("a number").to_string();
                format!("{}:{}", id("Uid:"), id("Gid:"))
            }
            "/process" => std::process::id().to_string(),
            "/read" => std::fs::read_to_string(about).unwrap_or_else(|error| error.to_string()),
            "/write" => match std::fs::write(about, "written") {
                Ok(()) => "written".to_string(),
                Err(error) => error.to_string(),
            },
            "/env" => std::env::var(about).unwrap_or_else(|error| error.to_string()),
            "/ask" => match (about, 8080).to_socket_addrs().map(Iterator::collect::<Vec<_>>) {
                Ok(addresses) => {
                    let mut other = std::net::TcpStream::connect(&addresses[..]).expect("the other one listens");
                    write!(other, "GET / HTTP/1.0\r\n\r\n").expect("a question");
                    let mut answer = String::new();
                    other.read_to_string(&mut answer).expect("an answer");
                    answer.rsplit("\r\n").next().expect("what it says").to_string()
                }
                Err(error) => error.to_string(),
            },
            other => panic!("what is `{other}`?"),
        };
        write!(connection, "HTTP/1.0 200 OK\r\n\r\n{answer}").expect("an answer");
    }
}
"##;

/// A member of the stage's workspace.
struct Package<'a> {
    name: &'a str,
    /// What stands in its table.
    keys: &'a str,
    main: String,
}

/// One that answers at port 8080, which is published somewhere.
fn package<'a>(name: &'a str, keys: &'a str) -> Package<'a> {
    Package { name, keys, main: program(name, &format!("I am {name}"), 8080) }
}

fn program(name: &str, answer: &str, port: u16) -> String {
    PROGRAM.replace("NAME", name).replace("ANSWER", &format!("{answer:?}")).replace("PORT", &port.to_string())
}

const PUBLISHED: &str = "ports = ['127.0.0.1::8080']\n";
/// No program, whatever it is called.
const BROKEN: &str = "fn main() { let broken: u32 = \"no number\"; }\n";

/// Makes the workspace one of these packages, with these tables in the Cargo.toml of its root.
fn workspace(stage: &Stage, tables: &str, packages: &[Package<'_>]) {
    let members: Vec<&str> = packages.iter().map(|package| package.name).collect();
    let head = format!("[workspace]\nmembers = {members:?}\nresolver = \"2\"\n\n");
    // Small programs, so that what takes time is not what they are made of.
    let profile = "\n[profile.dev]\ndebug = false\nincremental = false\nstrip = true\n";
    write(&stage.root().join("Cargo.toml"), &(head + tables + profile));
    for Package { name, keys, main } in packages {
        fs::create_dir_all(stage.root().join(name).join("src")).expect("folders");
        let head = format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n");
        let manifest = format!("{head}\n[package.metadata.stagecraft.dev]\n{keys}");
        write(&stage.root().join(name).join("Cargo.toml"), &manifest);
        write(&main_of(stage, name), main);
    }
}

fn main_of(stage: &Stage, package: &str) -> PathBuf {
    stage.root().join(package).join("src/main.rs")
}

/// Starts the stack; these services listen then.
#[track_caller]
fn start(stage: &Stage, services: &[&str]) {
    stage.start_detached();
    for service in services {
        stage.wait_for_log(service, &format!("{service} is ready"));
    }
}

/// Where a port of a service is reached.
fn address(stage: &Stage, service: &str, port: u16) -> String {
    let addresses = stage.engine.ask(&["port", &stage.container(service), &port.to_string()]);
    addresses.lines().next().expect("an address").to_string()
}

/// What a service says when it is asked for this path.
#[track_caller]
fn ask(stage: &Stage, service: &str, path: &str) -> String {
    get(&address(stage, service, 8080), "whoever.it.is", path)
}

/// The body of what is answered there.
#[track_caller]
fn get(address: &str, host: &str, path: &str) -> String {
    let mut browser = TcpStream::connect(address).expect("the address answers");
    browser.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    browser.write_all(format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes()).expect("a request");
    let mut answer = String::new();
    browser.read_to_string(&mut answer).expect("an answer");
    answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}")).1.to_string()
}

/// A port that nobody has. None of those that the system gives to whoever asks for any, as other scenarios do meanwhile.
fn free_port(stage: &Stage) -> u16 {
    let seed = u16::from_str_radix(&stage.id[4..], 16).expect("four digits");
    let mut ports = (10_000 + seed % 10_000..30_000).filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    ports.next().expect("a free port")
}

/// The file or folder itself, and when its content has changed.
type Identity = (u64, i64, i64);

/// Everything below a folder.
fn snapshot(folder: &Path) -> BTreeMap<PathBuf, Identity> {
    let mut all = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        let metadata = fs::symlink_metadata(&path).expect("it is there");
        if metadata.is_dir() {
            open.extend(fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()));
        }
        all.insert(path, (metadata.ino(), metadata.mtime(), metadata.mtime_nsec()));
    }
    all
}

fn dev_dir(stage: &Stage) -> PathBuf {
    stage.root().join(".stagecraft/dev")
}

/// The image of a service's container.
fn image(stage: &Stage, service: &str) -> String {
    stage.engine.ask(&["container", "inspect", "--format", "{{.Image}}", &stage.container(service)])
}

/// The images of the project that have no name.
fn nameless_images(stage: &Stage) -> String {
    let label = format!("label=com.docker.compose.project={}", stage.project);
    stage.engine.ask(&["image", "ls", "--quiet", "--no-trunc", "--filter", "dangling=true", "--filter", &label])
}

fn a_new_package_answers(stage: &Stage) {
    fs::remove_dir_all(stage.root()).expect("nothing is there yet");
    // The project's name is that of the folder, which is to be unique.
    let new = ["new", "--quiet", "--vcs", "none", "--name", "hello", &stage.project];
    stage.program("cargo", &new).dir(stage.temp()).run().with(0);
    let port = free_port(stage);
    stage.cargo(&["stagecraft", "init", "--service", &format!("hello:{port}")]).run().with(0);
    write(&stage.root().join("src/main.rs"), &program("hello", "hello from a container", port));
    let address = format!("127.0.0.1:{port}");
    stage.cargo(&["stagecraft", "dev", "--detach", "--wait"]).run().with(0).says(&address);
    let ask = |path: &str| get(&address, "localhost", path);
    assert_eq!(ask("/"), "hello from a container");

    assert_eq!(ask("/user"), "65532:65532");
    assert_eq!(ask("/write?/tmp/file"), "written");
    assert_ne!(ask("/process"), "1");
    let first = ask("/read?/proc/1/comm");
    assert!(["docker-init", "tini"].contains(&first.trim()), "process 1 is {first}");

    // It gets SIGTERM, handles none, and does not have to be killed (137).
    stage.take_down();
    stage.events().wait_for("kill hello 15;");
    stage.events().wait_for("die hello 143;");
}

fn an_edit_recreates_its_service_only(stage: &Stage) {
    workspace(stage, "", &[package("api", PUBLISHED), package("db", PUBLISHED)]);
    start(stage, &["api", "db"]);
    assert_eq!(ask(stage, "api", "/"), "I am api");
    let (api, db) = (stage.container("api"), stage.container("db"));
    let (replaced, kept) = (image(stage, "api"), image(stage, "db"));

    write(&main_of(stage, "api"), &program("api", "I am another", 8080));
    // No builder runs, in whose cache something could be left.
    let edited = stage.tool(&["dev", "--detach", "--verbose"]).run().with(0).says("docker load --quiet --input");
    edited.does_not_say("load build definition").does_not_say("docker-buildx").does_not_say("buildx isn't installed");
    assert_eq!(ask(stage, "api", "/"), "I am another");
    assert_ne!(stage.container("api"), api);
    assert_eq!((stage.container("db"), image(stage, "db")), (db, kept));
    assert_eq!(nameless_images(stage), "");
    let inspected = stage.engine.try_ask(&["image", "inspect", &replaced]);
    assert!(inspected.is_err(), "the replaced image is still there: {inspected:?}");
    stage.take_down();
}

/// What is only followed is not built: following would not apply it.
fn a_run_that_follows_builds_nothing(stage: &Stage) {
    workspace(stage, "", &[package("api", PUBLISHED)]);
    let first = stage.tool(&["dev"]).start();
    first.wait_for("api is ready");
    stage.events().wait_for("start api;");
    write(&main_of(stage, "api"), &program("api", "I am another", 8080));
    let second = stage.tool(&["dev", "--verbose"]).start();
    second.wait_for("Following ");
    second.signal(Signal::INT);
    let ended = second.end().with(130).does_not_say("cargo build").does_not_say("Compiling");
    ended.says("note: following does not apply changes; `cargo stagecraft dev --detach` does");
    first.signal(Signal::INT);
    first.end().with(130);
    stage.assert_gone();
}

fn unchanged_crates_touch_nothing(stage: &Stage) {
    // A volume has a directory in the image, too.
    let tables = "[workspace.metadata.stagecraft.dev.volumes.data]\n";
    let keys = format!("{PUBLISHED}volumes = ['data:/data']\n");
    workspace(stage, tables, &[package("api", &keys), package("db", PUBLISHED), package("queue", "")]);
    start(stage, &["api", "db", "queue"]);
    let before = (snapshot(&dev_dir(stage)), stage.container("api"), stage.container("db"));
    assert!(before.0.contains_key(&dev_dir(stage).join("images/api.json")), "{:?}", before.0);
    let again = stage.start_detached();
    assert_eq!((snapshot(&dev_dir(stage)), stage.container("api"), stage.container("db")), before);
    // Cargo's line, ours, and a row for each service.
    assert!(again.stderr.lines().count() <= 8, "{}", again.stderr);
    stage.tool(&["dev", "down", "--volumes"]).run().with(0);
}

/// Both make the same images.
fn two_detached_starts_at_once(stage: &Stage) {
    workspace(stage, "", &[package("api", PUBLISHED), package("db", PUBLISHED)]);
    let starts = [(); 2].map(|()| stage.tool(&["dev", "--detach"]).start());
    for start in starts {
        start.end().with(0).says("Started");
    }
    stage.assert_running(&["api", "db"]);
    assert_eq!(stage.containers().len(), 2, "one stack");
    assert_eq!(ask(stage, "api", "/"), "I am api");
    stage.take_down();
}

fn a_failed_build_leaves_a_running_stack_alone(stage: &Stage) {
    workspace(stage, "", &[package("api", PUBLISHED), package("db", PUBLISHED)]);
    start(stage, &["api", "db"]);
    let containers = || (stage.container("api"), stage.container("db"));
    let before = containers();
    // What could be built is not started either.
    write(&main_of(stage, "db"), &program("db", "I am another", 8080));
    write(&main_of(stage, "api"), BROKEN);
    let ended = stage.tool(&["dev", "--detach"]).run().with(1).says("mismatched types").says("api/src/main.rs:1");
    assert_eq!(ended.complaints().lines().last(), Some(NOT_BUILT));
    assert_eq!(ended.stdout, "", "what cargo tells us is for us");
    assert_eq!(containers(), before);
    stage.assert_running(&["api", "db"]);
    assert_eq!(ask(stage, "api", "/"), "I am api");
    assert_eq!(ask(stage, "db", "/"), "I am db");
    stage.take_down();
}

const NOT_BUILT: &str = "error: the programs of the stack cannot be built; nothing was started";

/// By the resolver of a static program, also on another network.
fn names_of_other_services_resolve(stage: &Stage) {
    let tables = "[workspace.metadata.stagecraft.dev.networks.back]\n";
    let api = format!("{PUBLISHED}networks = ['default', 'back']\n");
    let packages = [package("api", &api), package("db", ""), package("queue", "networks = {back = {aliases = ['q']}}")];
    workspace(stage, tables, &packages);
    start(stage, &["api", "db", "queue"]);
    assert_eq!(ask(stage, "api", "/ask?db"), "I am db");
    assert_eq!(ask(stage, "api", "/ask?queue"), "I am queue");
    assert_eq!(ask(stage, "api", "/ask?q"), "I am queue");
    let nobody = ask(stage, "api", "/ask?nobody");
    assert!(nobody.starts_with("failed to lookup address information"), "{nobody}");
    stage.take_down();
}

fn volumes_are_writable(stage: &Stage) {
    let tables = "[workspace.metadata.stagecraft.dev]\nvolumes = {one = {}, two = {}}\n";
    let api = format!("{PUBLISHED}volumes = ['one:/var/lib/api']\n");
    let mount = "[[package.metadata.stagecraft.dev.volumes]]\ntype = 'volume'\nsource = 'two'\ntarget = '/data'\n";
    let db = format!("{PUBLISHED}user = '1000:1000'\n{mount}");
    workspace(stage, tables, &[package("api", &api), package("db", &db)]);
    start(stage, &["api", "db"]);
    for (service, user, file) in [("api", "65532:65532", "/var/lib/api/file"), ("db", "1000:1000", "/data/file")] {
        assert_eq!(ask(stage, service, "/user"), user);
        assert_eq!(ask(stage, service, &format!("/write?{file}")), "written", "{service}");
        assert_eq!(ask(stage, service, "/write?/tmp/file"), "written", "{service}");
    }
    // And what is written there outlives the stack.
    stage.tool(&["dev", "down"]).run().with(0);
    start(stage, &["api", "db"]);
    assert_eq!(ask(stage, "api", "/read?/var/lib/api/file"), "written");
    assert_eq!(ask(stage, "db", "/read?/data/file"), "written");
    stage.tool(&["dev", "down", "--volumes"]).run().with(0);
}

/// What goes into an image, and what a container reads as another user, has its mode from us.
fn a_strict_umask_changes_nothing(stage: &Stage) {
    let tables = "[workspace.metadata.stagecraft.dev]\nvolumes = {one = {}}\n";
    workspace(stage, tables, &[package("api", &format!("{PUBLISHED}volumes = ['one:/var/lib/api']\n"))]);
    let tool = env!("CARGO_BIN_EXE_cargo-stagecraft");
    let strict = r#"umask 077; exec "$0" dev --detach --wait"#;
    stage.program("sh", &["-c", strict, tool]).run().with(0);
    assert_eq!(ask(stage, "api", "/"), "I am api");
    assert_eq!(ask(stage, "api", "/write?/var/lib/api/file"), "written");
    // What no container reads is as private as the user wants it.
    let compose_file = fs::metadata(stage.root().join(".stagecraft/dev/compose.yaml")).expect("the compose file");
    assert_eq!(compose_file.mode() & 0o077, 0);
    stage.tool(&["dev", "down", "--volumes"]).run().with(0);
}

fn rustflags_of_a_configuration_are_used(stage: &Stage) {
    let mut api = package("api", PUBLISHED);
    api.main.push_str("#[cfg(not(flag_of_the_workspace))]\ncompile_error!(\"the flag is missing\");\n");
    workspace(stage, "", &[api]);
    fs::create_dir(stage.root().join(".cargo")).expect("a folder");
    write(&stage.root().join(".cargo/config.toml"), "build.rustflags = ['--cfg', 'flag_of_the_workspace']\n");
    start(stage, &["api"]);
    assert_eq!(ask(stage, "api", "/"), "I am api");
    stage.take_down();
}

fn paths_are_relative_to_the_manifest(stage: &Stage) {
    let tables = "[workspace.metadata.stagecraft.dev.services.tool]\nimage = 'stagecraft-test'\n\
                  command = ['sh', '-c', 'cat /conf/name; echo tool is ready; sleep 1000']\ninit = true\n\
                  pull_policy = 'never'\nvolumes = ['./conf:/conf:ro']\n";
    let keys = format!("{PUBLISHED}volumes = ['./conf:/conf:ro']\nenv_file = ['api.env', '../shared.env']\n");
    workspace(stage, tables, &[package("api", &keys)]);
    for folder in ["conf", "api/conf"] {
        fs::create_dir(stage.root().join(folder)).expect("a folder");
        write(&stage.root().join(folder).join("name"), &format!("of {folder}\n"));
    }
    write(&stage.root().join("api/api.env"), "OWN=of the member\n");
    write(&stage.root().join("shared.env"), "SHARED=of the workspace\n");
    // From wherever it is started.
    stage.tool(&["dev", "--detach"]).dir(stage.root().join("api/src")).run().with(0);
    stage.wait_for_log("api", "api is ready");
    assert_eq!(ask(stage, "api", "/read?/conf/name"), "of api/conf\n");
    assert_eq!(ask(stage, "api", "/env?OWN"), "of the member");
    assert_eq!(ask(stage, "api", "/env?SHARED"), "of the workspace");
    stage.wait_for_log("tool", "of conf");
    stage.take_down();
}

fn on_a_base_image(stage: &Stage) {
    let keys = format!("{PUBLISHED}base = 'stagecraft-test'\n");
    workspace(stage, "", &[package("api", &keys)]);
    start(stage, &["api"]);
    assert_eq!(ask(stage, "api", "/"), "I am api");
    let shell = stage.engine.ask(&["exec", &stage.container("api"), "sh", "-c", "echo $((6 * 7)) in a shell"]);
    assert_eq!(shell, "42 in a shell");
    stage.take_down();
    stage.events().wait_for("die api 143;");
}

fn behind_an_inactive_profile_nothing_is_built(stage: &Stage) {
    let mut extra = package("extra", "profiles = ['more']\n");
    let whole = std::mem::replace(&mut extra.main, BROKEN.to_string());
    workspace(stage, "", &[package("api", ""), extra]);
    start(stage, &["api"]);
    stage.assert_running(&["api"]);
    stage.tool(&["dev", "--detach"]).env("COMPOSE_PROFILES", "more").run().with(1).says("mismatched types");
    write(&main_of(stage, "extra"), &whole);
    stage.tool(&["dev", "--detach"]).env("COMPOSE_PROFILES", "more").run().with(0);
    stage.assert_running(&["api", "extra"]);
    stage.tool(&["dev", "down"]).env("COMPOSE_PROFILES", "more").run().with(0);
    stage.assert_gone();
}

fn crates_of_services_that_are_not_started_are_not_built(stage: &Stage) {
    let mut web = package("web", "");
    web.main = BROKEN.to_string();
    workspace(stage, "", &[package("api", "depends_on = ['db']\n"), package("db", ""), web]);
    stage.tool(&["dev", "--detach", "--", "api"]).run().with(0).does_not_say("web");
    stage.assert_running(&["api", "db"]);
    stage.take_down();
}

fn dry_run_writes_nothing(stage: &Stage) {
    workspace(stage, "", &[package("api", PUBLISHED), package("db", "")]);
    let before = snapshot(&stage.root());
    let commands = || {
        let ended = stage.tool(&["dev", "--detach", "--dry-run"]).run().with(0);
        let commands: Vec<String> = ended.stdout.lines().map(str::to_string).collect();
        assert_eq!(commands.len(), 3, "{commands:#?}");
        assert!(commands[0].contains("cargo build --bin api --bin db "), "{commands:#?}");
        assert!(commands[1].contains("docker compose ") && commands[1].ends_with(" up -d"), "{commands:#?}");
        assert!(commands[2].contains("docker compose ") && commands[2].ends_with(" down"), "{commands:#?}");
        (commands, ended.stderr)
    };
    let (planned, said) = commands();
    assert!(said.contains("note: it would load the images "), "{said}");
    assert!(said.contains("note: it would write .stagecraft/dev/compose.yaml\n"), "{said}");
    assert_eq!(snapshot(&stage.root()), before);
    stage.assert_gone();

    // Once the files are there it says the same, and these commands are what does it.
    stage.tool(&["dev", "files"]).run().with(0);
    // What Compose says of them is remembered below target.
    let before = snapshot(&dev_dir(stage));
    let (commands, said) = commands();
    assert_eq!(commands, planned);
    assert!(!said.contains("it would write"), "{said}");
    assert_eq!(snapshot(&dev_dir(stage)), before);
}

fn an_unknown_key_ends_it_before_anything_is_written(stage: &Stage) {
    workspace(stage, "", &[package("api", "prots = ['127.0.0.1::8080']\n"), package("db", "")]);
    let before = snapshot(&stage.root());
    let ended = stage.tool(&["dev", "--detach"]).run().with(3);
    let expected = "error: api/Cargo.toml: [package.metadata.stagecraft.dev] `prots` is not known\n\
                    help: a key with a similar name exists: `ports`";
    assert_eq!(ended.complaints(), expected);
    assert_eq!(snapshot(&stage.root()), before);
    stage.assert_gone();
}

fn a_compose_file_written_by_hand_is_left_alone(stage: &Stage) {
    let by_hand = stack(&[polite("web", &[])]);
    compose_in(&stage.root(), &by_hand);
    workspace(stage, "", &[package("api", "")]);
    let before = snapshot(&stage.root());
    let ended = stage.tool(&["dev", "--detach"]).run().with(3);
    let complaints = ended.complaints();
    assert!(
        complaints.starts_with("error: .stagecraft/dev/compose.yaml was not generated by cargo-stagecraft"),
        "{complaints}"
    );
    assert!(complaints.contains("\nhelp: move its services to "), "{complaints}");
    assert_eq!(snapshot(&stage.root()), before);
    assert_eq!(fs::read_to_string(dev_dir(stage).join("compose.yaml")).expect("the file"), by_hand);
    stage.assert_gone();
}
