//! The model: what Compose says of a file, asked and remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use cargo_stagecraft::internals::compose::{self, NameChoice, ProjectName, Stack};
use cargo_stagecraft::internals::workspace::{COMPOSE_FILE, Workspace};
use fastrand::Rng;

use crate::support::run::Ended;
use crate::support::stage::{Stage, polite, stack, write};

mod files;

use files::{composed, fixtures, mutated};

on_both_pairs![
    the_cached_model_equals_a_fresh_one,
    a_changed_file_is_resolved_again,
    ports_that_compose_merges_start,
    a_question_mark_in_a_flow_mapping_is_rejected,
    one_target_twice_is_as_compose_judges_it,
    a_label_has_no_newline_that_the_file_lacks,
    an_ssh_key_with_a_path_is_valid,
    a_file_that_says_nothing_is_rejected,
    a_large_scale_is_composes_to_judge,
    a_port_0_starts,
    the_error_names_the_faulty_place,
    the_error_of_a_generated_file_leads_to_the_manifest,
];

const STORE: &str = "target/stagecraft/model";

/// How many valid files Compose is asked about, each in three variants; `STAGECRAFT_TRIALS` makes it more.
const TRIALS: u64 = 8;

/// From which files are made; `STAGECRAFT_SEED` makes others. Fixed, so that a change is judged by what it changes.
const SEED: u64 = 1;

/// What an answer depends on, as far as it is varied here.
#[derive(Clone)]
struct Input {
    compose_file: String,
    env_file: Option<String>,
    variables: BTreeMap<&'static str, &'static str>,
}

// A long run says how many there were.
#[allow(clippy::print_stdout)]
fn the_cached_model_equals_a_fresh_one(stage: &Stage) {
    let given = |variable| std::env::var(variable).ok().and_then(|value| value.parse::<u64>().ok());
    let trials = given("STAGECRAFT_TRIALS").unwrap_or(TRIALS);
    let seed = given("STAGECRAFT_SEED").unwrap_or(SEED);
    let mut rng = Rng::with_seed(seed);
    let fixtures = fixtures();
    let (mut made, mut files, mut answers, mut remembered) = (0, 0, 0, 0);
    while files < trials {
        made += 1;
        assert!(made < trials * 40, "{files} of {made} files are valid: seed {seed}");
        let compose_file = match rng.u8(..4) {
            0 => mutated(&mut rng, &fixtures),
            1 => {
                let files = [composed(&mut rng)];
                mutated(&mut rng, &files)
            }
            _ => composed(&mut rng),
        };
        let mut input = Input { compose_file, env_file: None, variables: BTreeMap::new() };
        let _ = fs::remove_dir_all(stage.root().join(STORE));
        let mut known = BTreeSet::new();
        // Of those that Compose rejects only some are looked at closer: most are.
        let is_valid = accepts(stage, &input.compose_file);
        if !is_valid && rng.u8(..8) != 0 {
            continue;
        }
        files += u64::from(is_valid);
        for _ in 0..3 {
            if let Some(is_remembered) = agree(stage, &input, &mut known, seed) {
                answers += 1;
                remembered += u64::from(is_remembered);
            }
            input = changed(&mut rng, &input);
        }
    }
    println!("{files} of {made} files are valid, {remembered} of {answers} answers remembered: seed {seed}");
    assert!(remembered * 2 > answers, "{remembered} of {answers}");
}

fn accepts(stage: &Stage, text: &str) -> bool {
    stage.compose(text);
    let _ = fs::remove_file(stage.root().join(".stagecraft/dev/.env"));
    stage.program("docker", &["compose", "-f", COMPOSE_FILE, "config", "-q"]).run().code == 0
}

/// Holds what the program takes for the model against Compose's own answer. Whether it was remembered at last; none where Compose
/// rejects the file.
fn agree(stage: &Stage, input: &Input, known: &mut BTreeSet<String>, seed: u64) -> Option<bool> {
    let context =
        format!("seed {seed}, {:?}, .env {:?}, compose.yaml:\n{}", input.variables, input.env_file, input.compose_file);
    stage.compose(&input.compose_file);
    let env_file = stage.root().join(".stagecraft/dev/.env");
    match &input.env_file {
        Some(text) => write(&env_file, text),
        None => drop(fs::remove_file(env_file)),
    }
    let run = |program: &str, args: &[&str]| {
        let tool = if program.is_empty() { stage.tool(args) } else { stage.program(program, args) };
        input.variables.iter().fold(tool, |tool, (name, value)| tool.env(name, value)).run()
    };
    // The very question that the program asks.
    let default = ProjectName::new(&stage.project).expect("a name");
    let workspace = Workspace::at(stage.root().canonicalize().expect("the workspace"));
    let question = compose::config(&workspace, NameChoice::Default(&default), &[]).expect("a question");
    let theirs = run("sh", &["-c", &question.to_string()]);
    let alone = run("sh", &["-c", &compose::check(&workspace).expect("a question").to_string()]);
    let before = answers(stage);
    let first = run("", &["dev", "--dry-run", "-v"]);
    let second = run("", &["dev", "--dry-run", "-v"]);
    assert_eq!((first.code, &first.stdout), (second.code, &second.stdout), "{context}");
    if theirs.code != 0 || alone.code != 0 {
        assert_eq!(first.code, 3, "{context}");
        assert!(!is_remembered(&second), "{context}");
        return None;
    }
    assert_eq!(first.code, 0, "{context}");
    let theirs = format!("{:#?}", Stack::parse(theirs.stdout.as_bytes()).expect("a model"));
    let after = answers(stage);
    let new: Vec<&PathBuf> = after.difference(&before).collect();
    match new[..] {
        [new] => {
            assert!(!is_remembered(&first) && is_remembered(&second), "{context}");
            let text = fs::read(new).expect("an answer");
            let ours: Stack = serde_json::from_slice(&text).expect("a stack");
            assert_eq!(format!("{ours:#?}"), theirs, "{context}");
        }
        // What has changed is nothing that the answer depends on.
        [] if is_remembered(&first) => assert!(known.contains(&theirs), "{context}"),
        [] => {
            assert!(!is_remembered(&second), "{context}");
            let refers = ["include", "extends", "env_file"].iter().any(|key| input.compose_file.contains(key));
            assert!(refers, "nothing is remembered: {context}");
        }
        _ => panic!("{new:?} for one question: {context}"),
    }
    known.insert(theirs);
    Some(is_remembered(&second))
}

/// The same with one difference.
fn changed(rng: &mut Rng, input: &Input) -> Input {
    const ENV_FILES: [&str; 4] = ["A=env\n", "X=${A:-b}\n", "COMPOSE_PROJECT_NAME=stagecraft-e2e-other\n", "# A\n"];
    const VARIABLES: [&str; 5] = ["A", "X", "IMAGE", "NAME", "UNUSED_VARIABLE"];
    let mut input = input.clone();
    match rng.u8(..4) {
        0 => input.compose_file = mutated(rng, &[input.compose_file]),
        1 => input.compose_file += "# one byte more\n",
        2 => input.env_file = Some(ENV_FILES[rng.usize(..ENV_FILES.len())].to_string()),
        _ => {
            let values = ["one", "two", ""];
            input.variables.insert(VARIABLES[rng.usize(..VARIABLES.len())], values[rng.usize(..values.len())]);
        }
    }
    input
}

fn answers(stage: &Stage) -> BTreeSet<PathBuf> {
    let folder = fs::read_dir(stage.root().join(STORE));
    folder.into_iter().flatten().map(|entry| entry.expect("an entry").path()).collect()
}

fn is_remembered(ended: &Ended) -> bool {
    ended.stderr.contains("Remembered ")
}

fn a_changed_file_is_resolved_again(stage: &Stage) {
    // A plugin that can be replaced.
    let config = stage.temp().join("docker-config");
    fs::create_dir_all(config.join("cli-plugins")).expect("a folder");
    let plugin = config.join("cli-plugins/docker-compose");
    fs::copy(stage.engine.config.join("cli-plugins/docker-compose"), &plugin).expect("a plugin");
    let ask = |variables: &[(&str, &str)]| {
        let tool = stage.tool(&["dev", "--dry-run", "-v"]).env("DOCKER_CONFIG", &config);
        is_remembered(&variables.iter().fold(tool, |tool, (name, value)| tool.env(name, value)).run().with(0))
    };
    let twice = |variables: &[(&str, &str)]| (ask(variables), ask(variables));
    let text = "# a comment, and *what* is { unusual\nx-base: &base {image: \"x:${TAG:-1}\"}\nservices:\n  web:\n    <<: *base\n";
    stage.compose(text);
    assert_eq!(twice(&[]), (false, true));
    stage.compose(&format!("{text} "));
    assert_eq!(twice(&[]), (false, true), "a byte");
    stage.compose(text);
    assert!(ask(&[]), "as it was");
    assert_eq!(twice(&[("TAG", "2")]), (false, true), "a variable");
    assert_eq!(twice(&[("COMPOSE_PROFILES", "x")]), (false, true), "a variable of Compose's");
    assert!(ask(&[("UNUSED_VARIABLE", "x")]), "a variable that nothing refers to");
    let env_file = stage.root().join(".stagecraft/dev/.env");
    write(&env_file, "TAG=3\n");
    assert_eq!(twice(&[]), (false, true), "a file of variables");
    fs::remove_file(env_file).expect("it was there");
    assert!(ask(&[]), "as it was");
    let file = fs::File::options().write(true).open(&plugin).expect("the plugin");
    file.set_modified(SystemTime::now() - Duration::from_secs(60)).expect("another time");
    drop(file);
    assert_eq!(twice(&[]), (false, true), "another plugin");
    stage.tool(&["dev", "--dry-run", "-v"]).run().with(0).says("Running");
    fs::remove_dir_all(stage.root().join("target")).expect("cargo clean");
    assert_eq!(twice(&[]), (false, true), "nothing is there");
}

// ------------------------------------------------------------------------------------------------ one file each

/// A port of this machine that is free.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port()
}

/// The only answer that is remembered.
fn remembered(stage: &Stage) -> Stack {
    let answers = answers(stage);
    assert_eq!(answers.len(), 1, "{answers:?}");
    serde_json::from_slice(&fs::read(answers.first().expect("one")).expect("an answer")).expect("a stack")
}

fn ports_that_compose_merges_start(stage: &Stage) {
    let port = free_port();
    for ports in [
        format!("['{port}:80', '0.0.0.0:{port}:80']"),
        format!("[{{target: 80, published: {port}, app_protocol: http}}, {{target: 80, published: {port}}}]"),
    ] {
        stage.compose(&stack(&[polite("web", &[&format!("ports: {ports}")])]));
        stage.start_detached();
        stage.assert_running(&["web"]);
        stage.take_down();
    }
}

fn rejected(stage: &Stage, text: &str) -> Ended {
    stage.compose(text);
    stage.tool(&["dev", "--detach"]).run().with(3);
    stage.tool(&["dev", "--dry-run", "--project-name", &stage.project]).run().with(3);
    stage.tool(&["dev", "--dry-run"]).run().with(3)
}

fn a_question_mark_in_a_flow_mapping_is_rejected(stage: &Stage) {
    rejected(
        stage,
        "services:\n  web:\n    image: stagecraft-test\n    environment: {DATABASE_URL: postgres://u@db/x?sslmode=disable}\n",
    );
}

fn one_target_twice_is_as_compose_judges_it(stage: &Stage) {
    let text = "services:\n  web:\n    image: stagecraft-test\n    tmpfs: /cache\n    volumes: [\"./cache:/cache\"]\n";
    let code = if accepts(stage, text) { 0 } else { 3 };
    stage.tool(&["dev", "--dry-run"]).run().with(code);
}

fn a_label_has_no_newline_that_the_file_lacks(stage: &Stage) {
    stage.compose(
        "services:\n  web:\n    image: stagecraft-test\n    labels:\n      dev.stagecraft.route: |\n        http://web.localhost",
    );
    stage.tool(&["dev", "--dry-run"]).run().with(0);
    assert_eq!(remembered(stage).services["web"].route(), Some("http://web.localhost"));
}

fn an_ssh_key_with_a_path_is_valid(stage: &Stage) {
    stage.compose(concat!(
        "services:\n  web:\n    build: {context: ., ssh: [\"default=./key\"]}\n    scale: 2\n",
        "    ports: [\"127.0.0.1:8080-8081:80\"]\n    volumes: [\"./a:/a\"]\n    depends_on: [db]\n",
        "    labels: {dev.stagecraft.route: \"yes\", a: \"${TOKEN:-hunter2}\"}\n    environment: {A: hunter2}\n",
        "  db:\n    image: \"5\"\n    healthcheck: {test: [CMD, x]}\n    deploy: {replicas: 3}\n",
    ));
    stage.tool(&["dev", "--dry-run"]).run().with(0);
    let read = remembered(stage);
    assert_eq!(read.project.as_str(), stage.project);
    let (web, db) = (&read.services["web"], &read.services["db"]);
    assert_eq!(web.image(&read.project, "web"), (format!("{}-web", stage.project), true));
    assert_eq!(db.image(&read.project, "db"), ("5".to_string(), false));
    assert_eq!((web.replicas(), db.replicas()), (2, 3));
    assert_eq!(web.route(), Some("yes"));
    assert!(db.has_healthcheck() && web.depends_on["db"].condition == "service_started");
    assert!(web.bind_sources().all(|source| source.ends_with(".stagecraft/dev/a")));
    let port = &web.ports()[0];
    assert_eq!((port.target, port.published(), port.host_ip.as_deref()), (80, Some(8080..=8081), Some("127.0.0.1")));
    // The same without what Compose cannot print.
    let text = fs::read_to_string(stage.root().join(COMPOSE_FILE)).expect("the file");
    fs::remove_dir_all(stage.root().join(STORE)).expect("the answers");
    stage.compose(&text.replace(", ssh: [\"default=./key\"]", ""));
    stage.tool(&["dev", "--dry-run"]).run().with(0);
    assert_eq!(format!("{read:#?}"), format!("{:#?}", remembered(stage)));
}

fn a_file_that_says_nothing_is_rejected(stage: &Stage) {
    for text in ["", "# nothing yet\n", "{}\n"] {
        rejected(stage, text).says("empty compose file");
    }
    for text in ["name:\n", "name:\nservices: {web: {image: x}}\n", "{\"name\": ~, services: {web: {image: x}}}\n"] {
        rejected(stage, text).says("name must be a string");
    }
    // Nothing to start is no fault of the file.
    for text in ["services: {}\n", "services: {web: {image: x, profiles: [debug]}}\n"] {
        stage.compose(text);
        stage.tool(&["dev", "--dry-run"]).run().with(0);
    }
}

/// Nothing is started: Compose would make that many containers.
fn a_large_scale_is_composes_to_judge(stage: &Stage) {
    for many in ["scale: 5000000000", "deploy: {replicas: 5000000000}"] {
        stage.compose(&format!("services:\n  web:\n    image: stagecraft-test\n    {many}\n"));
        stage.tool(&["dev", "--dry-run"]).run().with(0);
    }
}

fn a_port_0_starts(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &["ports: [{target: 0}]"])]));
    stage.start_detached();
    stage.assert_running(&["web"]);
    stage.take_down();
    // The engine knows no such port, and the answer has nothing but the number to say so.
    rejected(stage, &stack(&[polite("web", &["ports: [{target: 70000}]"])])).says("services.web.ports");
}

fn the_error_names_the_faulty_place(stage: &Stage) {
    let env_file = stage.root().join(".stagecraft/dev/.env");
    let image = |image: &str| format!("services: {{web: {{image: \"{image}\"}}}}\n");
    write(&env_file, "A B=c\n");
    rejected(stage, &image("x")).says("error: .stagecraft/dev/.env is not valid\n");
    write(&env_file, "PASSWORD='hunter2\n");
    rejected(stage, &image("x")).says("error: .stagecraft/dev/.env is not valid\n").does_not_say("hunter2");
    write(&env_file, "COMPOSE_PROJECT_NAME=Bad Name\n");
    stage.compose(&image("x"));
    let fault = "error: the value of COMPOSE_PROJECT_NAME in .stagecraft/dev/.env is not valid\n";
    stage.tool(&["dev", "--dry-run"]).run().with(3).says(fault);
    fs::remove_file(&env_file).expect("it was there");
    rejected(stage, &image("${A_TAG:?set it}"))
        .says("error: .stagecraft/dev/compose.yaml requires a value for the variable A_TAG\n");
    stage.compose("services: {web: {image: x, ports: [\"${A_PORT}:80\"]}}\n");
    for (variable, value) in [("A_PORT", "808O"), ("COMPOSE_PARALLEL_LIMIT", "x"), ("COMPOSE_ENV_FILES", "/nowhere")] {
        let ended = stage.tool(&["dev", "--dry-run"]).env(variable, value).run().with(3);
        let ended = ended.says(&format!("error: the value of the environment variable {variable} is not valid\n"));
        if variable == "A_PORT" {
            ended.says("${A_PORT}").does_not_say(value);
        }
    }
    let ended = rejected(stage, "services: {web: {image: \"$UNUSED_VARIABLE\", imagine: x}}\n");
    let ended = ended.says("error: .stagecraft/dev/compose.yaml is not valid\n").says("imagine");
    assert!(!ended.stderr.contains("level=warning"), "{}", ended.stderr);
}

fn the_error_of_a_generated_file_leads_to_the_manifest(stage: &Stage) {
    fs::remove_dir_all(stage.root().join(".stagecraft")).expect("the stage's own compose file");
    let manifest = stage.root().join("Cargo.toml");
    let package = fs::read_to_string(&manifest).expect("a manifest");
    let place = "error: Cargo.toml: [workspace.metadata.stagecraft.dev.services.web]";
    for (keys, error) in [
        ("ports = 8080", " `ports` is not valid"),
        ("ports = [\"808O:80\"]", " `ports` is not valid"),
        ("depends_on = [\"gone\"]", " `depends_on` is not valid"),
        ("networks = [\"gone\"]", " `networks` is not valid"),
        ("mem_limit = \"12q\"", " `mem_limit` is not valid"),
        ("environment = { A = \"${E2E_UNSET?set it}\" }", " `environment` requires a value for the variable E2E_UNSET"),
    ] {
        let table =
            format!("\n[workspace.metadata.stagecraft.dev.services.web]\nimage = \"stagecraft-test\"\n{keys}\n");
        write(&manifest, &format!("{package}{table}"));
        // Before the file is there, and when it is.
        stage.tool(&["dev", "--dry-run"]).run().with(3).says(&format!("{place}{error}\n"));
        stage.tool(&["dev", "--detach"]).run().with(3).says(&format!("{place}{error}\n"));
    }
}
