//! The model: what Compose says of a file, asked and remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use cargo_stagecraft::compose::{self, NameChoice, ProjectName, Stack};
use cargo_stagecraft::workspace::{COMPOSE_FILE, Workspace};
use fastrand::Rng;

use crate::run::Ended;
use crate::stage::{Stage, polite, stack, write};

on_both_pairs![
    what_is_remembered_is_what_compose_says,
    what_has_changed_is_asked_again,
    ports_that_compose_merges_start,
    a_question_mark_in_a_flow_mapping_is_rejected,
    one_target_twice_is_as_compose_judges_it,
    a_label_has_no_newline_that_the_file_lacks,
    an_ssh_key_with_a_path_is_valid,
    a_file_that_says_nothing_is_rejected,
    a_large_scale_is_composes_to_judge,
    a_port_0_starts,
    the_error_names_what_is_at_fault,
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
fn what_is_remembered_is_what_compose_says(stage: &Stage) {
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

fn what_has_changed_is_asked_again(stage: &Stage) {
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

fn the_error_names_what_is_at_fault(stage: &Stage) {
    let env_file = stage.root().join(".stagecraft/dev/.env");
    let image = |image: &str| format!("services: {{web: {{image: \"{image}\"}}}}\n");
    write(&env_file, "A B=c\n");
    rejected(stage, &image("x")).says("error: .stagecraft/dev/.env is not valid\n");
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
        ended.says(&format!("error: the value of the environment variable {variable} is not valid\n"));
    }
    let ended = rejected(stage, "services: {web: {image: \"$UNUSED_VARIABLE\", imagine: x}}\n");
    let ended = ended.says("error: .stagecraft/dev/compose.yaml is not valid\n").says("imagine");
    assert!(!ended.stderr.contains("level=warning"), "{}", ended.stderr);
}

// ------------------------------------------------------------------------------------------------ files

fn fixtures() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let failures = fs::read_dir(root.join("failures")).expect("the fixtures");
    let failures = failures.map(|it| it.expect("a fixture").path().join(COMPOSE_FILE));
    let made = fs::read_dir(root.join("devfile")).expect("the fixtures");
    let made = made.map(|it| it.expect("a fixture").path().join("out/compose.yaml"));
    let mut files: Vec<_> = failures.chain(made).collect();
    files.sort();
    files.iter().map(|file| fs::read_to_string(file).expect("a compose file")).collect()
}

// ------------------------------------------------------------------------------------------------ any file

/// A file with one to three things in it that were not there, or not there.
fn mutated(rng: &mut Rng, files: &[String]) -> String {
    const PIECES: [&str; 34] = [
        "#", " #x", ":", ": ", "-", "- ", "\"", "'", "[", "]", "{", "}", ",", "|", ">", "&a ", "*a", "!!str ", "~",
        "null", "true", "0", "1", "8080", "1.5", " ", "  ", "\n", "\t", "$", "${A}", "${A:?}", "/", "\u{e9}",
    ];
    let mut text = files[rng.usize(..files.len())].clone();
    for _ in 0..rng.usize(1..4) {
        let mut lines: Vec<String> = text.lines().map(String::from).collect();
        let at = rng.usize(..lines.len().max(1));
        let Some(line) = lines.get_mut(at) else { continue };
        let mut column = rng.usize(..=line.len());
        while !line.is_char_boundary(column) {
            column -= 1;
        }
        match rng.u8(..8) {
            0..=2 => line.insert_str(column, PIECES[rng.usize(..PIECES.len())]),
            3 if line[column..].chars().next().is_some() => {
                line.remove(column);
            }
            4 => line.truncate(column),
            5 => {
                lines.remove(at);
            }
            6 => {
                let line = lines[at].clone();
                lines.insert(rng.usize(..=lines.len()), line);
            }
            _ => {
                let other = rng.usize(..lines.len());
                lines.swap(at, other);
            }
        }
        text = lines.join("\n") + "\n";
    }
    text
}

/// What may stand behind each key: mostly what is valid, and what nearly is.
const VALUES: [(&str, &[&str]); 38] = [
    (
        "image",
        &[
            "nginx",
            "\"postgres:17\"",
            "a.example:5000/b/c:1",
            "Nginx",
            "''",
            "nginx:",
            "x@sha256:00",
            "-x",
            "5",
            "a b",
            "${IMAGE:-x}",
            "x:$A",
        ],
    ),
    (
        "build",
        &[
            ".",
            "../..",
            "{context: .}",
            "{context: ../.., dockerfile: Dockerfile.dev, target: dev}",
            "{dockerfile: x}",
            "{context: ., args: {A: b, N: 1}}",
            "{context: ., dockerfile_inline: \"FROM x\\n\"}",
            "{context: ., dockerfile: x, dockerfile_inline: \"FROM x\"}",
            "https://example.org/x.git",
            "null",
            "{}",
            "\n      context: .\n      dockerfile_inline: |\n        FROM scratch\n        COPY a /b\n",
        ],
    ),
    (
        "command",
        &[
            "[sh, -c, 'exit 0']",
            "server --port 80",
            "[a, 1]",
            "\"it's\"",
            "null",
            "[]",
            "[sh, -c, \"echo $$HOME ${A:-b} $X\"]",
            "[\"${A:?no}\"]",
            "[\"${A\"]",
            "''",
            "- x",
            "\n      - server\n      - --port=80",
            "a -b c=d",
            "[a, ]",
            "[-c, --x, -1]",
            "true",
        ],
    ),
    ("entrypoint", &["[/serve]", "/serve", "''", "[]", "[1]"]),
    ("container_name", &["shop", "_x", "a b", "x", "shop-1.2_3"]),
    ("hostname", &["web", "web.example", "a_b", "5"]),
    (
        "environment",
        &[
            "{A: b}",
            "{A: 1, B_2: \"\"}",
            "[A=b, C=]",
            "[A=b, A=c]",
            "[A]",
            "{A: null}",
            "{A: true}",
            "{A: 1.5}",
            "{A: \"${X:-y}\"}",
            "{A: \"${X:?}\"}",
            "{A: \"$\"}",
            "{A: '${X-y}'}",
            "\n      A: b c d\n      URL: postgres://a:b@c:5432/d?x=y",
            "\n      - A=b\n      - B=c d",
            "[]",
            "{}",
            "null",
            "{A: [b]}",
            "{a-b: c}",
            "{A: \"a: b\", B: 'c # d'}",
            "{A: http://x:80/y}",
            "{A: \"${X:-a b}\"}",
            "{A: \"${X:-${Y}}\"}",
            "{A: $X/$Y}",
            "{A: 0}",
            "{A: 007}",
            "{A: off}",
        ],
    ),
    ("expose", &["[80]", "[\"80\", 443]", "[\"80-90\"]", "[80, 80]", "[0]", "[80, \"80\"]", "[99999]"]),
    (
        "ports",
        &[
            "[80]",
            "[\"8080:80\"]",
            "[8080:80]",
            "['127.0.0.1:8080:80/udp']",
            "[\"8000-8010:80-90\"]",
            "[\"8080:80\", \"8080:80\"]",
            "[\"8080:80\", 8080:80/tcp]",
            "[\"0:80\"]",
            "[\"08080:80\"]",
            "[\"80:0\"]",
            "[\"[::1]:80:80\"]",
            "[\"127.0.0.1::80\"]",
            "[\"999.0.0.1:80:80\"]",
            "[\"8080:80/sctp\"]",
            "[\"70000:80\"]",
            "[22:22]",
            "[59:59]",
            "\n      - 8080:80\n      - 127.0.0.1:8081:81",
            "[]",
            "null",
            "[{target: 80}]",
            "[{target: 80, published: \"8080\"}]",
            "[{target: 80, published: 8080, protocol: udp, host_ip: 127.0.0.1}]",
            "[{target: \"80\"}]",
            "[{published: 80}]",
            "[{target: 80, mode: host}]",
            "[{target: 80, published: \"8080-8090\"}]",
            "[{target: 80, app_protocol: http, published: \"80\"}]",
            "[{target: 80, host_ip: \"::1\"}]",
            "[{target: 80, x: 1}]",
            "[\"8080:80\", {target: 80, published: \"8080\"}]",
            "[80, \"80\"]",
            "[\"127.0.0.1:80:80\", \"127.0.0.2:80:80\"]",
            "['80/udp', '80/tcp', '80']",
            "[\"8080:80/TCP\"]",
            "[1]",
        ],
    ),
    (
        "volumes",
        &[
            "[data:/data]",
            "[\"./x:/x:ro\"]",
            "[\"../..:/src\"]",
            "[/a:/b:rw]",
            "[/data]",
            "[nothing:/data]",
            "[data:/data, \"./x:/data\"]",
            "[data:/data/]",
            "[data:data]",
            "[~/x:/x]",
            "[x:/y]",
            "[data:/data:z]",
            "[\".:/here\", \"..:/up\"]",
            "[{type: bind, source: ./x, target: /x}]",
            "[{type: volume, source: data, target: /d, read_only: true}]",
            "[{type: volume, target: /d}]",
            "[{type: tmpfs, target: /t}]",
            "[{type: bind, source: ./x}]",
            "[{type: other, source: x, target: /x}]",
            "[{type: bind, source: x, target: /x}]",
            "\n      - data:/var/lib/x\n      - type: bind\n        source: ./y\n        target: /y",
            "[]",
            "null",
            "[\"./a/../b:/c\"]",
            "[\"/../a//b:/c\"]",
            "[{type: bind, source: ./x/, target: /x}]",
            "[data:/a, data:/b]",
            "[{type: volume, source: ./data, target: /d}]",
            "[data:/a/./b]",
            "[\"./x:/x\", \"./x:/x\"]",
        ],
    ),
    (
        "depends_on",
        &[
            "[db]",
            "[db, db]",
            "[nobody]",
            "[web]",
            "{db: {condition: service_healthy}}",
            "{db: {condition: service_completed_successfully}}",
            "{db: {}}",
            "{db: {condition: x}}",
            "{db: {condition: service_started, required: false}}",
            "{nobody: {condition: service_started, required: false}}",
            "{db: {condition: service_started, restart: true}}",
            "\n      - db\n      - cache",
            "[]",
            "null",
            "[cache]",
            "db",
            "{db: null}",
        ],
    ),
    (
        "healthcheck",
        &[
            "{test: [CMD, true]}",
            "{test: [CMD, check]}",
            "{test: [CMD-SHELL, 'exit 0'], interval: 5s, timeout: 1m30s, retries: 3, start_period: 500ms}",
            "{test: check}",
            "{test: [NONE]}",
            "{disable: true}",
            "{test: [check]}",
            "{test: []}",
            "{test: [CMD]}",
            "{interval: 5}",
            "{interval: 5s}",
            "{test: [CMD, x], interval: 5 s}",
            "{test: [CMD, x], retries: \"3\"}",
            "{test: [CMD, x], retries: -1}",
            "{test: [CMD, x], start_interval: 1s}",
            "{test: [CMD, x], timeout: 1d}",
            "{test: ''}",
            "\n      test: [CMD-SHELL, \"pg_isready -U $$USER\"]\n      interval: 1s",
            "{test: [CMD, x], interval: 0s}",
            "{test: [CMD, x], retries: 0}",
            "{test: [CMD-SHELL, a, b]}",
            "{test: [CMD, x], interval: 1s1s}",
        ],
    ),
    ("init", &["true", "false", "yes", "\"true\"", "1"]),
    ("privileged", &["true", "null"]),
    ("read_only", &["true", "false"]),
    ("tty", &["true"]),
    ("stdin_open", &["false"]),
    (
        "labels",
        &[
            "{a: b}",
            "[a=b]",
            "{a: 1}",
            "{a.b/c: \"x y\"}",
            "[a]",
            "[a=b, a=c]",
            "{a: true}",
            "{a: null}",
            "{a: \"$X\"}",
            "[]",
            "{dev.stagecraft.route: \"http://x.localhost\"}",
            "[a=b=c]",
            "{a: 1.5}",
            "{A: 0}",
        ],
    ),
    ("mem_limit", &["64m", "1g", "64mb", "64", "\"64\"", "1.5g", "64M", "0m", "x", "512k", "100b"]),
    (
        "networks",
        &[
            "[default]",
            "[front]",
            "[nobody]",
            "{front: null}",
            "{front: {aliases: [x]}}",
            "[front, front]",
            "[]",
            "{}",
            "null",
            "[front, default]",
            "\n      front:\n      default:",
        ],
    ),
    ("pull_policy", &["never", "always", "missing", "build", "if_not_present", "daily", "Never", "every_5h"]),
    ("restart", &["always", "\"no\"", "no", "on-failure", "on-failure:3", "unless-stopped", "sometimes", "never"]),
    ("scale", &["1", "2", "0", "-1", "\"2\"", "1.5", "1000000"]),
    (
        "deploy",
        &[
            "{replicas: 2}",
            "{replicas: 0}",
            "{}",
            "{replicas: \"2\"}",
            "{mode: global}",
            "{replicas: 1, resources: {limits: {memory: 1g}}}",
            "null",
        ],
    ),
    ("stop_grace_period", &["1s", "0s", "1m30s", "5", "5000ms", "1.5s", "x", "1s1m"]),
    ("stop_signal", &["SIGINT", "SIGX", "2", "\"2\"", "INT"]),
    (
        "tmpfs",
        &["/tmp", "[/tmp]", "[/tmp, /run]", "[/tmp, /tmp]", "[\"/tmp:size=1m\"]", "tmp", "null", "/", "[\"/tmp/\"]"],
    ),
    ("user", &["\"1000\"", "1000", "app", "1000:1000", "'1000:1000'", "a b"]),
    ("working_dir", &["/app", "app", "/", "''", "/a/../b"]),
    ("env_file", &["[a.env]", "[]"]),
    ("profiles", &["[debug]", "[aa, bb]", "[a]", "[]", "aa", "[aa, aa]", "null"]),
    ("network_mode", &["host", "none", "service:db"]),
    ("extends", &["{service: db}", "db"]),
    ("platform", &["linux/amd64"]),
    ("cpus", &["0.5", "1"]),
    ("logging", &["{driver: none}"]),
    ("secrets", &["[a]"]),
    ("x-own", &["1", "{a: b}"]),
];

const TOP: [&str; 24] = [
    "volumes: {data: }",
    "volumes: {data: null}",
    "volumes: {data: {}}",
    "volumes:\n  data:",
    "volumes:\n  data:\n    driver: local",
    "volumes: {data: {external: true}}",
    "volumes: {data: {driver: x}}",
    "volumes: [data]",
    "volumes:",
    "networks: {front: {}}",
    "networks:\n  front:\n    driver: bridge",
    "networks: {front: {external: true}}",
    "networks: {front: {external: false}}",
    "networks: {front: {internal: true}}",
    "networks: {default: {}}",
    "networks: {default: {external: true}}",
    "version: '3.8'",
    "version: 3",
    "version: x",
    "name: other",
    "name: Other",
    "name: ${NAME:-x}",
    "x-a: &a {}",
    "---",
];

/// A file put together from pieces, with a service `web`, often `db`, seldom `cache`.
fn composed(rng: &mut Rng) -> String {
    let mut text = String::new();
    let mut tops: Vec<&str> = vec!["volumes:\n  data:", "networks: {front: {}}"];
    if rng.u8(..4) == 0 {
        tops.push(TOP[rng.usize(..TOP.len())]);
    }
    rng.shuffle(&mut tops);
    for top in tops.drain(..rng.usize(..=tops.len())) {
        text += &format!("{top}\n");
    }
    if rng.u8(..4) == 0 {
        text += "# services\n\n";
    }
    text += "services:\n";
    for (name, chance) in [("web", 1), ("db", 2), ("cache", 4)] {
        if rng.u8(..chance) != 0 {
            continue;
        }
        text += &format!("  {name}:\n");
        if rng.u8(..10) != 0 {
            text += "    image: x\n";
        }
        for _ in 0..rng.usize(..4) {
            let (key, values) = VALUES[rng.usize(..VALUES.len())];
            let value = values[rng.usize(..values.len())];
            let space = if value.starts_with('\n') { "" } else { " " };
            text += &format!("    {key}:{space}{value}\n");
        }
    }
    for top in tops {
        text += &format!("{top}\n");
    }
    text
}
