//! How long it takes from a saved file to the new answer with `dev --watch`, beyond `cargo build` alone and beside `dev --detach`; and what it
//! costs to watch.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::edit::{DEV, EDITED, KINDS, Scene, seconds};
use crate::ground::Ground;
use crate::support::stage::write;
use crate::toolchain::Toolchain;
use crate::{Request, median};

const ROUNDS: usize = 20;
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
            let [watched, by_cargo, detached] = Scene::three(kind, &toolchain);
            let run = Foreground::start(&watched.ground, &["dev", "--watch", "--verbose"]);
            run.wait_for("Watching the files");
            watched.edit(0, || {});
            by_cargo.build_as_the_developer();
            detached.edit(0, || detached.dev());
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
                eprintln!(
                    "{} {round}/{rounds}, {}: watch {ours:.2} s, cargo {cargo:.2} s, detach {detach:.2} s",
                    engine.name, kind.name
                );
                times.push((ours, cargo, detach));
            }
            let beyond = |(ours, cargo, _): &(f64, f64, f64)| ours - cargo;
            let worst = times.iter().map(beyond).fold(f64::MIN, f64::max);
            let ours = median(times.iter().map(|it| it.0));
            row(
                "one file saved to the new answer, beyond `cargo build` alone, median",
                "≤ 150 ms",
                &format!(
                    "+{:.0} ms ({ours:.2} s to {:.2} s)",
                    1000.0 * median(times.iter().map(beyond)),
                    median(times.iter().map(|it| it.1))
                ),
            );
            row("the same, the worst", "≤ 300 ms", &format!("+{:.0} ms of {rounds}", 1000.0 * worst));
            let ratio = median(times.iter().map(|(ours, _, detach)| ours / detach));
            row(
                "the same, compared with `dev --detach`",
                "",
                &format!("{ratio:.2} ({ours:.2} s to {:.2} s)", median(times.iter().map(|it| it.2))),
            );
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
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("its status");
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        let kibibytes: f64 = memory.trim().trim_end_matches(" kB").parse().expect("a number");
        (kibibytes / 1024.0, self.wakeups() - before)
    }

    fn wakeups(&self) -> u64 {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("its threads").flatten();
        let of_thread = |path: std::path::PathBuf| -> Option<u64> {
            let status = fs::read_to_string(path.join("status")).ok()?;
            status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?.trim().parse().ok()
        };
        threads.filter_map(|thread| of_thread(thread.path())).sum()
    }

    fn quit(mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a number")).expect("not 0");
        kill_process(pid, Signal::INT).expect("a signal");
        self.child.wait().expect("its end");
    }
}
