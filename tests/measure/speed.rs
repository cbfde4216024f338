//! What the program costs beyond what it runs: beside raw Compose, and beside what else one would write two commands into.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::ground::{Ground, succeed};
use crate::support::engine::Engine;
use crate::support::stage::{polite, service, stack, write};
use crate::{Request, median};

const ROUNDS: usize = 9;
/// Short commands are measured more often.
const OFTEN: usize = 30;
const DEV: &str = env!("CARGO_BIN_EXE_cargo-stagecraft");
const COMPOSE_FILE: &str = ".stagecraft/dev/compose.yaml";
/// How much a service prints, in bytes, and what comes last.
const PRINTED: u64 = 200_000_000;
const END: &[u8] = b"THE END";

pub fn measure(request: &Request) {
    let rounds = request.rounds.unwrap_or(ROUNDS);
    println!("| figure | target | pair | measured |\n|---|---|---|---|");
    alone(request.engines[0]);
    for engine in &request.engines {
        let row = |figure: &str, target: &str, measured: &str| {
            println!("| {figure} | {target} | {} | {measured} |", engine.name);
        };
        for (services, up, down) in [(1, "≤ 1.25", "≤ 1.15"), (5, "≤ 1.10", "–"), (20, "≤ 1.05", "≤ 1.05")]
        {
            let what = if services == 1 { "1 service".to_string() } else { format!("{services} services") };
            eprintln!("{}: {what}", engine.name);
            let rounds = if services == 20 { rounds.min(5) } else { rounds };
            let times = in_turn(&ground(engine, services), &[RAW, OURS], rounds);
            row(&format!("`dev --detach` from nothing, {what}"), up, &ratio(&times, |times| times.up));
            if services == 1 {
                row("`dev --detach`, already running, 1 service", "≤ +150 ms", &surplus(&times, |times| times.again));
            }
            row(&format!("`dev down`, {what}"), down, &ratio(&times, |times| times.down));
        }
        eprintln!("{}: beside others", engine.name);
        for (name, tool) in [("`just`", JUST), ("`cargo make`", MAKE)] {
            if !is_there(tool.program) {
                row(&format!("{name}, the same two commands"), "–", "not installed");
                continue;
            }
            let times = in_turn(&ground(engine, 1), &[RAW, tool, OURS], rounds);
            let beside = |time: fn(&Times) -> f64| {
                let of = |which: usize| median(times.iter().map(|round| time(&round[which]) / time(&round[0])));
                format!("{:.2}, ours {:.2}", of(1), of(2))
            };
            row(&format!("{name} from nothing, 1 service"), "–", &beside(|times| times.up));
            row(&format!("{name}, already running, 1 service"), "–", &beside(|times| times.again));
            row(&format!("{name} down, 1 service"), "–", &beside(|times| times.down));
        }
        eprintln!("{}: {} MB of logs", engine.name, PRINTED / 1_000_000);
        let logs = logs(engine, rounds);
        row(&format!("{} MB of logs in the foreground", PRINTED / 1_000_000), "≤ 1.02", &logs.ratio);
        row("processor time of the program meanwhile", "0", &format!("{:.2} s", logs.processor));
        for (what, words) in QUESTIONS {
            let ground = ground(engine, 1);
            succeed(ground.compose(&["up", "-d"]));
            let time = median((0..OFTEN).map(|_| seconds(|| drop(succeed(ground.command("docker", words))))));
            row(&format!("what a question costs: {what}"), "–", &format!("{:.0} ms", time * 1000.0));
        }
    }
}

/// What is ours alone, whatever the engine.
fn alone(engine: &'static Engine) {
    for (crates, target) in [(2, "≤ 40 ms"), (300, "≤ 120 ms")] {
        eprintln!("{crates} crates");
        let own = own_time(engine, crates);
        println!(
            "| own time of `dev --detach` with a docker that answers at once, {crates} crates | {target} | – | {:.0} ms, \
             `cargo metadata --no-deps` alone {:.0} ms |",
            own.dev * 1000.0,
            own.metadata * 1000.0
        );
    }
    let version = median((0..OFTEN).map(|_| seconds(|| drop(succeed(plain(DEV, &["--version"]))))));
    let nothing = median((0..OFTEN).map(|_| seconds(|| drop(succeed(plain("true", &[]))))));
    println!(
        "| `cargo-stagecraft --version` | < 3 ms | – | {:.1} ms; `true` {:.1} ms |",
        version * 1000.0,
        nothing * 1000.0
    );
    let size = fs::metadata(DEV).expect("the program").len();
    println!("| the program's size | < 2097152 bytes | – | {size} bytes |");
}

/// The questions that a start asks or spares.
const QUESTIONS: [(&str, &[&str]); 4] = [
    ("`docker compose config`", &["compose", "-f", COMPOSE_FILE, "config", "--format", "json"]),
    ("`docker compose version`", &["compose", "version", "--short"]),
    ("`docker ps`", &["ps", "--all", "--no-trunc"]),
    ("`docker version`", &["version", "--format", "{{.Server.Version}}"]),
];

// ------------------------------------------------------------------------------------------------ tools in turn

/// A way to type the two commands.
#[derive(Clone, Copy)]
struct Tool {
    program: &'static str,
    up: &'static [&'static str],
    down: &'static [&'static str],
}

const RAW: Tool = Tool {
    program: "docker",
    up: &["compose", "-f", COMPOSE_FILE, "up", "-d"],
    down: &["compose", "-f", COMPOSE_FILE, "down"],
};
const OURS: Tool = Tool { program: DEV, up: &["dev", "--detach"], down: &["dev", "down"] };
const JUST: Tool = Tool { program: "just", up: &["up"], down: &["down"] };
const MAKE: Tool = Tool {
    program: "cargo-make",
    up: &["make", "--loglevel", "error", "up"],
    down: &["make", "--loglevel", "error", "down"],
};

#[derive(Clone, Copy, Default)]
struct Times {
    up: f64,
    again: f64,
    down: f64,
}

/// A workspace with so many services that start at once and end at once.
fn ground(engine: &'static Engine, services: usize) -> Ground {
    let ground = Ground::new(engine);
    let services: Vec<String> = (1..=services).map(|number| polite(&format!("web-{number}"), &[])).collect();
    ground.write_compose_file(&stack(&services));
    let commands = [("up", RAW.up), ("down", RAW.down)];
    let mut justfile = String::new();
    let mut makefile = String::new();
    for (name, words) in commands {
        let _ = write!(justfile, "{name}:\n    docker {}\n", words.join(" "));
        let _ = write!(makefile, "[tasks.{name}]\ncommand = \"docker\"\nargs = {words:?}\n");
    }
    write(&ground.root().join("justfile"), &justfile);
    write(&ground.root().join("Makefile.toml"), &makefile);
    ground
}

/// Starts, starts again and takes down with each tool in turn, the first one last in the next round.
fn in_turn(ground: &Ground, tools: &[Tool], rounds: usize) -> Vec<Vec<Times>> {
    let run = |tool: &Tool, words: &[&str]| seconds(|| drop(succeed(ground.command(tool.program, words))));
    let play = |tool: &Tool| Times { up: run(tool, tool.up), again: run(tool, tool.up), down: run(tool, tool.down) };
    // What is loaded for the first time is nobody's.
    play(&tools[0]);
    let round = |number: usize| {
        let mut times = vec![Times::default(); tools.len()];
        for step in 0..tools.len() {
            let which = (step + number) % tools.len();
            times[which] = play(&tools[which]);
        }
        times
    };
    (0..rounds).map(round).collect()
}

/// Ours by raw Compose, and both in seconds.
fn ratio(times: &[Vec<Times>], time: fn(&Times) -> f64) -> String {
    let [raw, ours] = [0, 1].map(|which| median(times.iter().map(|round| time(&round[which]))));
    let ratio = median(times.iter().map(|round| time(&round[1]) / time(&round[0])));
    format!("{ratio:.2} ({ours:.2} s to {raw:.2} s)")
}

/// Ours less raw Compose.
fn surplus(times: &[Vec<Times>], time: fn(&Times) -> f64) -> String {
    let surplus = median(times.iter().map(|round| time(&round[1]) - time(&round[0])));
    format!("+{:.0} ms ({})", surplus * 1000.0, ratio(times, time))
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn plain(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

// ------------------------------------------------------------------------------------------------ logs

struct Logs {
    ratio: String,
    /// Seconds.
    processor: f64,
}

/// How long a service that prints all at once takes in the foreground, until its last line is there.
fn logs(engine: &'static Engine, rounds: usize) -> Logs {
    let ground = Ground::new(engine);
    let line = "all work and no play makes jack a dull boy, all work and no play makes jack a dull boy, and so on.";
    let end = String::from_utf8_lossy(END);
    let script = format!("yes '{line}' | head -c {PRINTED}; echo; echo {end}; sleep 1000");
    ground.write_compose_file(&stack(&[service("web", &script, &["stop_grace_period: 0s"])]));
    let mut processor = Vec::new();
    let mut play = |is_ours: bool| {
        let (program, words) = if is_ours { (DEV, &["dev"][..]) } else { ("docker", &RAW.up[..RAW.up.len() - 1]) };
        let begin = Instant::now();
        let mut command = ground.command(program, words);
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the program starts");
        let mut stdout = child.stdout.take().expect("stdout");
        read_until(&mut stdout, END);
        let time = begin.elapsed().as_secs_f64();
        if is_ours {
            processor.push(processor_time(child.id()));
        }
        succeed(ground.command(OURS.program, OURS.down));
        // Who closes it earlier makes whoever still prints fail.
        io::copy(&mut stdout, &mut io::sink()).expect("the rest");
        child.wait().expect("it ends");
        time
    };
    let mut round = |number: usize| {
        let ours_first = !number.is_multiple_of(2);
        let first = play(ours_first);
        let second = play(!ours_first);
        if ours_first { (second, first) } else { (first, second) }
    };
    let times: Vec<(f64, f64)> = (0..rounds).map(&mut round).collect();
    let [raw, ours] = [|it: &(f64, f64)| it.0, |it: &(f64, f64)| it.1].map(|one| median(times.iter().map(one)));
    let ratio = median(times.iter().map(|(raw, ours)| ours / raw));
    Logs { ratio: format!("{ratio:.2} ({ours:.1} s to {raw:.1} s)"), processor: median(processor) }
}

/// Reads until this has come.
fn read_until(reader: &mut impl Read, end: &[u8]) {
    let mut buffer = vec![0; 1 << 16];
    let mut kept = 0;
    loop {
        let read = reader.read(&mut buffer[kept..]).expect("what is printed");
        assert!(read > 0, "it has ended before");
        let filled = kept + read;
        if buffer[..filled].windows(end.len()).any(|window| window == end) {
            return;
        }
        kept = filled.min(end.len());
        buffer.copy_within(filled - kept..filled, 0);
    }
}

/// What a process has used until now, in seconds.
fn processor_time(pid: u32) -> f64 {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let (_, numbers) = stat.rsplit_once(')').expect("a name in parentheses");
    let ticks = numbers.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u32>().expect("a number"));
    f64::from(ticks.sum::<u32>()) / 100.0
}

// ------------------------------------------------------------------------------------------------ our own time

struct Own {
    dev: f64,
    metadata: f64,
}

/// A docker that answers at once as if one container had been started.
const AT_ONCE: &str = r##"
fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| words.iter().any(|it| it == word);
    if has("label=com.docker.compose.oneoff=False") {
        println!("{}", r#"{"Id":"0123","Names":["web-1"],"State":"running","Labels":{}}"#);
    } else if has("inspect") {
        let state = r#""State":{"Status":"running","ExitCode":0,"StartedAt":"2026-01-01T00:00:00Z"}"#;
        let labels = r#""Config":{"Labels":{"com.docker.compose.service":"web"}}"#;
        let rest = r#""Id":"0123","Name":"/web-1","RestartCount":0,"NetworkSettings":{"Ports":{}}"#;
        println!("{{{rest},{labels},{state}}}");
    }
}
"##;

fn own_time(engine: &'static Engine, crates: usize) -> Own {
    let ground = Ground::new(engine);
    ground.write_compose_file("services:\n  web:\n    image: nginx\n");
    write(&ground.root().join("Cargo.toml"), "[workspace]\nmembers = [\"crates/*\"]\nresolver = \"2\"\n");
    for number in 0..crates {
        let folder = ground.root().join(format!("crates/c{number}"));
        fs::create_dir_all(folder.join("src")).expect("folders");
        let package = format!("[package]\nname = \"c{number}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n");
        write(&folder.join("Cargo.toml"), &package);
        write(&folder.join("src/main.rs"), "fn main() {}\n");
    }
    let docker = at_once(ground.temp());
    let mut path = docker.parent().expect("a folder").as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let in_there = |mut command: Command| {
        command.env("PATH", &path);
        // Only docker would know what that means, so docker is asked and not the engine behind its socket.
        command.env("DOCKER_API_VERSION", "1.41");
        command
    };
    let dev = || seconds(|| drop(succeed(in_there(ground.command(DEV, &["dev", "--detach"])))));
    let metadata = ["metadata", "--format-version", "1", "--no-deps"];
    let metadata = || seconds(|| drop(succeed(in_there(ground.command(env!("CARGO"), &metadata)))));
    let times: Vec<(f64, f64)> = (0..OFTEN).map(|_| (dev(), metadata())).collect();
    Own { dev: median(times.iter().map(|it| it.0)), metadata: median(times.iter().map(|it| it.1)) }
}

fn at_once(folder: &Path) -> PathBuf {
    let folder = folder.join("bin");
    fs::create_dir_all(&folder).expect("a folder");
    write(&folder.join("docker.rs"), AT_ONCE);
    let mut rustc = plain("rustc", &["-O", "docker.rs"]);
    rustc.current_dir(&folder);
    succeed(rustc);
    folder.join("docker")
}
