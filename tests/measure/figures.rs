//! What the spec promises of the program in figures: that it costs nothing while the stack runs, that Ctrl+C is no slower
//! than what one does by hand, and that impatience is honoured.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cargo_stagecraft::internals::session::{Guard, GuardTask, ProjectLock};
use rustix::process::Pid;

use crate::ground::{Events, Ground, start, start_in_terminal};
use crate::support::engine::Engine;
use crate::support::run::{Run, group_of_child};
use crate::support::stage::{polite, service, stack, stubborn};
use crate::{Request, median};

const ROUNDS: usize = 10;
const IDLE: Duration = Duration::from_secs(60);
/// What is needed for the start only has ended by then.
const SETTLE: Duration = Duration::from_secs(3);
/// How long a stack has been running when Ctrl+C is pressed.
const STEADY: Duration = Duration::from_secs(1);
const BETWEEN_PRESSES: Duration = Duration::from_millis(300);
const ARMINGS: usize = 200;
const DEV: &str = env!("CARGO_BIN_EXE_cargo-stagecraft");

pub fn measure(request: &Request) {
    let rounds = request.rounds.unwrap_or(ROUNDS);
    println!("| figure | target | pair | measured |\n|---|---|---|---|");
    for engine in &request.engines {
        let row = |figure: &str, target: &str, measured: &str| {
            println!("| {figure} | {target} | {} | {measured} |", engine.name);
        };
        let idle = idle(engine);
        let measured = format!("{} ({} until then)", idle.switches, idle.switches_before);
        row("context switches of program and guard in 60 s, idle", "≤ 5", &measured);
        row(
            "resident memory of program and guard, idle",
            "< 8 MiB",
            &format!("{} ({} with shared pages counted in proportion)", mib(idle.rss), mib(idle.pss)),
        );
        for (figure, what, by_hand) in [
            ("Ctrl+C and `docker compose down` by hand", "by hand", ctrl_c_by_hand as fn(_) -> _),
            ("the same and a look at what is left", "by hand with a look", ctrl_c_by_hand_with_a_look),
        ] {
            let speed = ctrl_c(engine, rounds, what, by_hand);
            let measured = format!("{:.2} ({:.2} s to {:.2} s)", speed.ratio, speed.ours, speed.by_hand);
            row(&format!("Ctrl+C to prompt, compared with {figure}"), "≤ 1.0", &measured);
        }
        let readiness = readiness(engine, rounds);
        let measured = format!("{:.0} ms, at most {:.0} ms", readiness.median, readiness.longest);
        row(
            "from the engine's word that the last service is healthy to the end of `dev --detach --wait`",
            "≤ 300 ms",
            &measured,
        );
        row(
            "questions to the engine in the last 10 s of such a wait",
            "≤ 2 a second",
            &readiness.questions.to_string(),
        );
        let impatience = impatience(engine, rounds);
        let measured = format!(
            "{:.2} s, at most {:.2} s; clean {}/{rounds}",
            impatience.median, impatience.longest, impatience.clean
        );
        row("two presses 0.3 s apart, a service that ignores SIGTERM", "≤ 3 s", &measured);
    }
    let Arming { arm, disarm, any } = arming();
    println!("| arming the guard | < 5 ms | – | {arm:.1} ms; disarming {disarm:.1} ms; starting `true` {any:.1} ms |");
}

fn mib(kib: u64) -> String {
    format!("{}.{} MiB", kib / 1024, kib % 1024 * 10 / 1024)
}

/// `cargo stagecraft dev` in a terminal, everything ready.
fn start_dev(ground: &Ground, services: &[&str]) -> Run {
    let events = ground.events();
    let run = start_in_terminal(ground.command(DEV, &["dev"]));
    wait_until_up(&run, &events, services);
    run
}

fn wait_until_up(run: &Run, events: &Events, services: &[&str]) {
    events.wait_for("start", services.len());
    for name in services {
        run.wait_for(&format!("{name} is ready"));
    }
}

struct Idle {
    switches: u64,
    /// Those of the start.
    switches_before: u64,
    /// In KiB.
    rss: u64,
    pss: u64,
}

fn idle(engine: &'static Engine) -> Idle {
    let ground = Ground::new(engine);
    ground.write_compose_file(&stack(&[polite("web", &[]), polite("db", &[])]));
    let run = start_dev(&ground, &["web", "db"]);
    // A guard leads a session of its own, hence a group.
    let processes = [run.pid(), group_of_child(run.pid(), "__guard")];
    thread::sleep(SETTLE);
    eprintln!("{}: idle for {} s", engine.name, IDLE.as_secs());
    let switches = || processes.into_iter().map(switches).sum::<u64>();
    let before = switches();
    thread::sleep(IDLE);
    let idle = Idle {
        switches: switches() - before,
        switches_before: before,
        rss: processes.into_iter().map(|pid| sum(&proc(pid, "status"), &["VmRSS:"])).sum(),
        pss: processes.into_iter().map(|pid| sum(&proc(pid, "smaps_rollup"), &["Pss:"])).sum(),
    };
    run.press_ctrl_c();
    run.end_whatever_compose_says();
    idle
}

fn proc(pid: Pid, file: &str) -> String {
    let path = format!("/proc/{}/{file}", pid.as_raw_nonzero());
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// How often the threads of a process have been put on or off a processor.
fn switches(pid: Pid) -> u64 {
    let threads = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())).expect("threads");
    let statuses = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("status")).ok());
    statuses.map(|status| sum(&status, &["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"])).sum()
}

/// The sum of these numbers of a status file.
fn sum(status: &str, names: &[&str]) -> u64 {
    let lines = status.lines().map(|line| line.split_whitespace());
    let wanted =
        lines.filter_map(|mut words| names.contains(&words.next()?).then(|| words.next()?.parse::<u64>().ok())?);
    wanted.sum()
}

struct Speed {
    /// Medians, in seconds.
    by_hand: f64,
    ours: f64,
    /// The median of the ratios of a round, ours to that by hand: whatever else the machine does hits both.
    ratio: f64,
}

fn ctrl_c(engine: &'static Engine, rounds: usize, what: &str, by_hand: fn(&'static Engine) -> f64) -> Speed {
    let mut times = Vec::new();
    for round in 1..=rounds {
        let (by_hand, ours) = (by_hand(engine), ctrl_c_ours(engine));
        eprintln!("{} {round}/{rounds}: Ctrl+C {what} {by_hand:.2} s, ours {ours:.2} s", engine.name);
        times.push((by_hand, ours));
    }
    Speed {
        by_hand: median(times.iter().map(|(by_hand, _)| *by_hand)),
        ours: median(times.iter().map(|(_, ours)| *ours)),
        ratio: median(times.iter().map(|(by_hand, ours)| ours / by_hand)),
    }
}

const THREE: [&str; 3] = ["web", "db", "cache"];

fn three(engine: &'static Engine) -> Ground {
    let ground = Ground::new(engine);
    ground.write_compose_file(&stack(&THREE.map(|name| polite(name, &[]))));
    ground
}

/// As one types it, in one terminal after the other, which is the same to Compose.
fn ctrl_c_by_hand(engine: &'static Engine) -> f64 {
    by_hand(&three(engine), &[])
}

/// What it takes by hand to know what our run says at its end.
fn ctrl_c_by_hand_with_a_look(engine: &'static Engine) -> f64 {
    let ground = three(engine);
    let label = format!("label=com.docker.compose.project={}", ground.project);
    by_hand(&ground, &[&["ps", "--all", "--filter", &label], &["network", "ls", "--filter", &label]])
}

fn by_hand(ground: &Ground, looks: &[&[&str]]) -> f64 {
    let events = ground.events();
    let mut up = ground.compose(&["up"]);
    // With the menu, which Compose shows in a terminal.
    up.env_remove("COMPOSE_MENU");
    let up = start_in_terminal(up);
    wait_until_up(&up, &events, &THREE);
    drop(events);
    thread::sleep(STEADY);
    let pressed = Instant::now();
    up.press_ctrl_c();
    up.end_whatever_compose_says();
    start_in_terminal(ground.compose(&["down"])).end_whatever_compose_says();
    for look in looks {
        start_in_terminal(ground.command("docker", look)).end_whatever_compose_says();
    }
    pressed.elapsed().as_secs_f64()
}

fn ctrl_c_ours(engine: &'static Engine) -> f64 {
    let ground = three(engine);
    let run = start_dev(&ground, &THREE);
    thread::sleep(STEADY);
    let pressed = Instant::now();
    run.press_ctrl_c();
    run.end_whatever_compose_says();
    pressed.elapsed().as_secs_f64()
}

struct Readiness {
    /// In milliseconds.
    median: f64,
    longest: f64,
    questions: usize,
}

/// How long the stack of which a wait is counted takes to become ready.
const LONG_WAIT: Duration = Duration::from_secs(10);

fn readiness(engine: &'static Engine, rounds: usize) -> Readiness {
    let mut times = Vec::new();
    let mut questions = 0;
    for round in 0..rounds {
        let ground = Ground::new(engine);
        let healthcheck = "healthcheck: {test: [CMD, test, -e, /tmp/ready], interval: 1s, timeout: 5s, retries: 1000}";
        let script = format!(
            "trap 'exit 0' TERM; sleep {} & wait $!; touch /tmp/ready; sleep 1000 & wait",
            if round == 0 { LONG_WAIT.as_secs() } else { 1 }
        );
        ground.write_compose_file(&stack(&[service("web", &script, &[healthcheck])]));
        let run = start(ground.command(DEV, &["dev", "--detach", "--wait", "-v"]));
        let ended = run.end_whatever_compose_says().with(0);
        let told = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock").as_nanos();
        // What the engine said, and when: its clock is this machine's.
        let healthy = ground.when("health_status: healthy");
        times.push((told - healthy) as f64 / 1e6);
        if round == 0 {
            // From the first word of the wait to the last but the final question.
            let wait = ended.stderr.split_once("Waiting for web: running (starting)").expect("it has waited").1;
            let wait = wait.split_once("Ready web: ").expect("it has become ready").0;
            questions = wait.matches(" Running docker ").count();
        }
    }
    Readiness { median: median(times.iter().copied()), longest: times.iter().copied().fold(0.0, f64::max), questions }
}

struct Impatience {
    median: f64,
    longest: f64,
    clean: usize,
}

fn impatience(engine: &'static Engine, rounds: usize) -> Impatience {
    let mut seconds = Vec::new();
    let mut clean = 0;
    for _ in 0..rounds {
        let ground = Ground::new(engine);
        ground.write_compose_file(&stack(&[stubborn("web")]));
        let run = start_dev(&ground, &["web"]);
        let pressed = Instant::now();
        run.press_ctrl_c();
        thread::sleep(BETWEEN_PRESSES);
        run.press_ctrl_c();
        run.end_whatever_compose_says();
        seconds.push(pressed.elapsed().as_secs_f64());
        clean += usize::from(engine.left(&ground.project).is_empty());
    }
    Impatience { median: median(seconds.iter().copied()), longest: seconds.iter().copied().fold(0.0, f64::max), clean }
}

/// Medians in milliseconds.
struct Arming {
    arm: f64,
    disarm: f64,
    /// What starting any process takes, for comparison.
    any: f64,
}

fn arming() -> Arming {
    // Its fields are the library's own affair; this is how a guard gets to know them.
    let charge = r#"{"root": "/", "project": "measure", "expected": {"containers": {}, "perhaps_others": false},
        "start": null, "undo": "Nothing", "timeout": null, "volumes": "Keep"}"#;
    let charge: GuardTask = serde_json::from_str(charge).expect("a charge");
    let [mut arm, mut disarm, mut any] = [const { Vec::new() }; 3];
    for _ in 0..ARMINGS {
        let guard = timed(&mut arm, || Guard::arm(&charge, &ProjectLock::none()).expect("a guard"));
        timed(&mut disarm, || { guard }.disarm());
        timed(&mut any, || Command::new("true").status().expect("true"));
    }
    Arming { arm: median(arm), disarm: median(disarm), any: median(any) }
}

/// Does something and notes how many milliseconds it took.
fn timed<T>(times: &mut Vec<f64>, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let result = work();
    times.push(began.elapsed().as_secs_f64() * 1000.0);
    result
}
