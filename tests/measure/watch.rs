//! How long it takes from a saved file to the new answer with `dev --watch`, beyond `cargo build` alone and beside `dev --detach`; and what it
//! costs to watch.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::edit::{DEV, EDITED, KINDS, Scene, seconds};
use crate::ground::Ground;
use crate::support::stage::write;
use crate::toolchain::Toolchain;
use crate::{Request, median};

const ROUNDS: usize = 20;
/// In how many rounds the peers are measured, too.
const PEER_ROUNDS: usize = 5;
const DEADLINE: Duration = Duration::from_secs(60);
/// How long a run is left alone to see what it does then.
const IDLE: Duration = Duration::from_secs(5);
/// How many crates a large workspace has.
const MANY: usize = 300;

pub fn measure(request: &Request) {
    let rounds = request.rounds.unwrap_or(ROUNDS);
    println!("| figure | services | target | pair | measured |\n|---|---|---|---|---|");
    for engine in &request.engines {
        let toolchain = Toolchain::import(engine);
        for kind in KINDS {
            let row = |figure: &str, target: &str, measured: &str| {
                println!("| {figure} | {} | {target} | {} | {measured} |", kind.name, engine.name);
            };
            let [watched, by_cargo, detached, by_compose, on_host] = Scene::copies(kind, &toolchain);
            let run = Foreground::start(&watched.ground, &["dev", "--watch", "--verbose"]);
            run.wait_for("Watching the files");
            watched.edit(0, || {});
            by_cargo.build_as_the_developer();
            detached.edit(0, || detached.dev());
            by_compose.write_dockerfile();
            by_compose.edit(0, || by_compose.compose(&["up", "--detach", "--build"]));
            let compose_watch = start(by_compose.ground.compose(&["watch", "--no-up"]));
            let cargo_watch = has_cargo_watch().then(|| {
                let run = format!("run --offline --package {EDITED}");
                start(on_host.ground.command("cargo-watch", &["watch", "--exec", &run]))
            });
            if cargo_watch.is_some() {
                on_host.edit_on_host(0);
            }
            let mut times = Vec::new();
            for round in 1..=rounds {
                let ours = watched.edit(round, || {});
                // The next build must not run beside the making of the image, after which this is asked.
                run.wait_for("Reloaded api");
                run.wait_for("docker image ls");
                let cargo = seconds(|| {
                    by_cargo.write_text(EDITED, round);
                    by_cargo.build_as_the_developer();
                });
                let detach = detached.edit(round, || detached.dev());
                // Where everything is compiled again, it takes long.
                let is_with_peers = round <= PEER_ROUNDS;
                let compose = is_with_peers.then(|| by_compose.edit(round, || {}));
                let host = cargo_watch.as_ref().filter(|_| is_with_peers).map(|_| on_host.edit_on_host(round));
                eprintln!(
                    "{} {round}/{rounds}, {}: watch {ours:.2} s, cargo {cargo:.2} s, detach {detach:.2} s, \
                     compose {compose:.2?} s, host {host:.2?} s",
                    engine.name, kind.name
                );
                times.push(Times { ours, cargo, detach, compose, host });
            }
            drop((compose_watch, cargo_watch));
            let beyond = |it: &Times| it.ours - it.cargo;
            let worst = times.iter().map(beyond).fold(f64::MIN, f64::max);
            let ours = median(times.iter().map(|it| it.ours));
            row(
                "one file saved to the new answer, beyond `cargo build` alone, median",
                "≤ 150 ms",
                &format!(
                    "+{:.0} ms ({ours:.2} s to {:.2} s)",
                    1000.0 * median(times.iter().map(beyond)),
                    median(times.iter().map(|it| it.cargo))
                ),
            );
            row("the same, the worst", "≤ 300 ms", &format!("+{:.0} ms of {rounds}", 1000.0 * worst));
            let compare = |figure: &str, other: &dyn Fn(&Times) -> Option<f64>| {
                let both: Vec<(f64, f64)> = times.iter().filter_map(|it| Some((it.ours, other(it)?))).collect();
                if both.is_empty() {
                    return;
                }
                let ratio = median(both.iter().map(|(ours, other)| ours / other));
                let [ours, other] = [median(both.iter().map(|it| it.0)), median(both.iter().map(|it| it.1))];
                row(figure, "", &format!("{ratio:.2} ({ours:.2} s to {other:.2} s)"));
            };
            compare("the same, compared with `dev --detach`", &|it| Some(it.detach));
            compare("the same, compared with `docker compose watch` and a Dockerfile that compiles", &|it| it.compose);
            compare("the same, compared with `cargo watch --exec run`, the program on this machine", &|it| it.host);
            // The same for all.
            if kind.name != KINDS[0].name {
                run.quit();
                continue;
            }
            let idle = run.idle();
            run.quit();
            let run = Foreground::start(&watched.ground, &["dev"]);
            run.wait_for("Started ");
            let plain = run.idle();
            run.quit();
            row(
                "memory of the program while nothing happens, compared with `dev`",
                "≤ +4 MiB",
                &format!("{:+.1} MiB ({:.1} MiB)", idle.0 - plain.0, idle.0),
            );
            row("its wake-ups in 5 s", "those of `dev`", &format!("{}, `dev` {}", idle.1, plain.1));
        }
        let ground = many(engine);
        let times = (0..5).map(|_| {
            let run = Foreground::start(&ground, &["dev", "--watch"]);
            run.wait_for("Starting ");
            let time = seconds(|| run.wait_for("Watching the files"));
            run.wait_for("Started ");
            run.quit();
            time
        });
        println!(
            "| from the start of `up` until a workspace of {MANY} crates is watched | {MANY} crates | ≤ 200 ms | {} | {:.0} ms |",
            engine.name,
            1000.0 * median(times)
        );
    }
}

/// One round, in seconds.
struct Times {
    ours: f64,
    cargo: f64,
    detach: f64,
    /// In the first rounds.
    compose: Option<f64>,
    /// The same, where `cargo-watch` is installed.
    host: Option<f64>,
}

fn has_cargo_watch() -> bool {
    Command::new("cargo-watch").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Starts another program that watches files.
fn start(mut watcher: Command) -> Watcher {
    let watcher = watcher.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    Watcher(watcher.spawn().expect("a program that watches"))
}

/// It runs as long as this lives.
struct Watcher(Child);

impl Drop for Watcher {
    fn drop(&mut self) {
        // Asked to end, cargo-watch ends what it has started, which is in a group of its own.
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}

/// A workspace with many crates, one of which is a service.
fn many(engine: &'static crate::support::engine::Engine) -> Ground {
    let ground = Ground::new(engine);
    let root = ground.root();
    let names: Vec<String> = (0..MANY).map(|number| format!("c{number}")).collect();
    write(&root.join("Cargo.toml"), &format!("[workspace]\nmembers = {names:?}\nresolver = \"2\"\n"));
    for (number, name) in names.iter().enumerate() {
        fs::create_dir_all(root.join(name).join("src")).expect("folders");
        let manifest = format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n");
        let (source, more) = match number {
            0 => {
                let all =
                    names[1..].iter().map(|name| format!("{name} = {{ path = '../{name}' }}\n")).collect::<String>();
                let table = "[package.metadata.stagecraft.dev]\nports = ['127.0.0.1::8080']\n";
                ("main.rs", format!("{table}[dependencies]\n{all}"))
            }
            _ => ("lib.rs", String::new()),
        };
        write(&root.join(name).join("Cargo.toml"), &(manifest + &more));
        write(
            &root.join(name).join("src").join(source),
            if number == 0 { "fn main() { loop { std::thread::park() } }\n" } else { "" },
        );
    }
    ground
}

/// A run in the foreground, and what it says.
struct Foreground {
    child: Child,
    lines: Receiver<String>,
}

impl Foreground {
    fn start(ground: &Ground, args: &[&str]) -> Foreground {
        let mut command = ground.command(DEV, args);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program");
        let stderr = BufReader::new(child.stderr.take().expect("stderr"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Foreground { child, lines }
    }

    fn wait_for(&self, text: &str) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("it does not say `{text}`"));
            if line.contains(text) {
                return;
            }
        }
    }

    /// Its memory in MiB, and how often its threads have been woken in a while in which nothing happens.
    fn idle(&self) -> (f64, u64) {
        thread::sleep(IDLE);
        let before = self.wakeups();
        thread::sleep(IDLE);
        let after = self.wakeups();
        // A thread that has ended meanwhile takes its count with it.
        let woken = after.iter().map(|(thread, count)| count - before.get(thread).unwrap_or(&0)).sum();
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("its status");
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        let kibibytes: f64 = memory.trim().trim_end_matches(" kB").parse().expect("a number");
        (kibibytes / 1024.0, woken)
    }

    /// How often each of its threads has been woken.
    fn wakeups(&self) -> BTreeMap<OsString, u64> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("its threads").flatten();
        let of_thread = |thread: fs::DirEntry| -> Option<(OsString, u64)> {
            let status = fs::read_to_string(thread.path().join("status")).ok()?;
            let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
            Some((thread.file_name(), count.trim().parse().ok()?))
        };
        threads.filter_map(of_thread).collect()
    }

    fn quit(mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a number")).expect("not 0");
        kill_process(pid, Signal::INT).expect("a signal");
        self.child.wait().expect("its end");
    }
}
