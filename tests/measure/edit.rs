//! How long it takes from an edit of a Rust service to the new answer over HTTP: with services that the program builds, by
//! hand with the same images, and with a Dockerfile that compiles. And what it costs to ask for a stack that is up to date.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use crate::ground::{Ground, succeed};
use crate::support::stage::{stack, write};
use crate::toolchain::Toolchain;
use crate::{BROKEN_OFF, Request, median};

const ROUNDS: usize = 5;
pub const DEV: &str = env!("CARGO_BIN_EXE_cargo-stagecraft");
/// The target folder of the build by hand, apart from that of other builds as ours is.
const TARGET_DIR: &str = "target/by-hand";
const SERVICES: [&str; 3] = ["api", "jobs", "web"];
/// The one that is edited.
pub const EDITED: &str = SERVICES[0];
const DEADLINE: Duration = Duration::from_secs(30);
const ATTEMPT: Duration = Duration::from_millis(200);
/// Trying without a pause would take one of the machine's processors away from what is waited for.
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(2);

/// What the services are made of.
#[derive(Clone, Copy)]
pub struct Kind {
    pub name: &'static str,
    dependencies: &'static str,
    main: &'static str,
}

/// `TEXT` is what an edit changes.
pub const KINDS: [Kind; 2] = [
    Kind {
        name: "std only",
        dependencies: "",
        main: r#"use std::io::{Read as _, Write as _};
use std::net::TcpListener;

const TEXT: &str = "{text}";

fn main() {
    let listener = TcpListener::bind("0.0.0.0:8080").expect("the port");
    for mut stream in listener.incoming().flatten() {
        let _ = stream.read(&mut [0; 1024]);
        let _ = write!(stream, "HTTP/1.0 200 OK\r\n\r\n{TEXT}");
    }
}
"#,
    },
    Kind {
        name: "with dependencies",
        // Crates of our own lock file, so that they are on this machine, and without any of other systems.
        dependencies: r#"[dependencies]
anyhow = "1"
clap = { version = "4", default-features = false, features = ["derive", "help", "std", "usage"] }
serde = { version = "1", features = ["derive"] }
serde_json = "1"
"#,
        main: r#"use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use anyhow::Context as _;
use clap::Parser as _;

const TEXT: &str = "{text}";

#[derive(clap::Parser)]
struct Args {
    #[arg(long, default_value_t = 8080)]
    port: u16,
}

#[derive(serde::Serialize)]
struct Answer {
    text: &'static str,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let listener = TcpListener::bind(("0.0.0.0", args.port)).context("the port")?;
    for mut stream in listener.incoming().flatten() {
        let _ = stream.read(&mut [0; 1024]);
        let answer = serde_json::to_string(&Answer { text: TEXT })?;
        let _ = write!(stream, "HTTP/1.0 200 OK\r\n\r\n{answer}");
    }
    Ok(())
}
"#,
    },
];

pub fn measure(request: &Request) {
    let rounds = request.rounds.unwrap_or(ROUNDS);
    println!("| figure | services | target | pair | measured |\n|---|---|---|---|---|");
    for engine in &request.engines {
        let toolchain = Toolchain::import(engine);
        for kind in KINDS {
            let times = play(kind, &toolchain, rounds);
            let row = |figure: &str, target: &str, measured: &str| {
                println!("| {figure} | {} | {target} | {} | {measured} |", kind.name, engine.name);
            };
            let [ours, by_hand, multi_stage] =
                [|it: &Times| it.ours, |it: &Times| it.by_hand, |it: &Times| it.multi_stage];
            row("one line edited to the new answer, compared with by hand", "≤ 1.3", &compared(&times, ours, by_hand));
            row(
                "the same by a Dockerfile that compiles, compared with ours",
                "≥ 5",
                &compared(&times, multi_stage, ours),
            );
            let kept = times.iter().filter(|it| it.kept).count();
            let unchanged = compared(&times, |it| it.unchanged_ours, |it| it.unchanged_by_hand);
            row(
                "`dev --detach` with nothing changed, compared with by hand",
                "≤ 1.5",
                &format!("{unchanged}; containers kept {kept}/{rounds}"),
            );
            let beyond = median(times.iter().map(|it| it.first_ours - it.first_by_hand));
            row(
                "the first start after `cargo build`, beyond `docker compose up -d` with these images",
                "≤ 2 s",
                &format!("{beyond:.2} s ({:.2} s)", median(times.iter().map(|it| it.first_ours))),
            );
            let beside = compared(&times, |it| it.beside_check, |it| it.ours);
            row("one line edited to the new answer beside `cargo check`, compared with alone", "", &beside);
            let apart = compared(&times, |it| it.apart_from_check, |it| it.ours);
            row("the same with a `target-dir` of its own", "", &apart);
        }
    }
}

/// The median of the ratios of a round, and of the seconds: whatever else the machine does hits both.
fn compared(times: &[Times], this: fn(&Times) -> f64, that: fn(&Times) -> f64) -> String {
    let ratio = median(times.iter().map(|it| this(it) / that(it)));
    format!("{ratio:.2} ({:.2} s to {:.2} s)", median(times.iter().map(this)), median(times.iter().map(that)))
}

/// One round, in seconds.
struct Times {
    ours: f64,
    by_hand: f64,
    multi_stage: f64,
    unchanged_ours: f64,
    unchanged_by_hand: f64,
    /// Without images, after a build of the developer's own.
    first_ours: f64,
    /// `docker compose up -d` alone, with the images of that.
    first_by_hand: f64,
    /// As `ours`, while the developer's editor checks the workspace in the same target directory.
    beside_check: f64,
    /// The same with another target directory.
    apart_from_check: f64,
    /// Whether the containers were the same after both times that nothing had changed.
    kept: bool,
}

/// The services in a workspace and a project of their own.
pub struct Scene<'a> {
    pub ground: Ground,
    kind: Kind,
    toolchain: &'a Toolchain,
    ports: [u16; SERVICES.len()],
}

fn play(kind: Kind, toolchain: &Toolchain, rounds: usize) -> Vec<Times> {
    let [ours, by_hand, multi_stage] = Scene::copies(kind, toolchain);
    // The first time is no edit.
    ours.edit(0, || ours.dev());
    by_hand.take_compose_file_of(&ours);
    by_hand.edit(0, || by_hand.build_and_start(&SERVICES));
    multi_stage.write_dockerfile();
    multi_stage.edit(0, || multi_stage.compose(&["up", "--detach", "--build"]));
    let mut times = Vec::new();
    for round in 1..=rounds {
        assert!(!BROKEN_OFF.load(Ordering::SeqCst), "broken off");
        let ours_first = round % 2 == 1;
        let (edit_ours, edit_by_hand) = in_turn(
            ours_first,
            || ours.edit(round, || ours.dev()),
            || by_hand.edit(round, || by_hand.build_and_start(&[EDITED])),
        );
        let edit_multi_stage = multi_stage.edit(round, || multi_stage.compose(&["up", "--detach", "--build"]));
        let containers = ours.containers();
        let (unchanged_ours, unchanged_by_hand) = in_turn(
            ours_first,
            || seconds(|| ours.dev()),
            // The same stack, but the build of the other workspace, which is the same too: cargo need not take what the
            // program has built for its own.
            || {
                seconds(|| {
                    by_hand.build(&SERVICES);
                    ours.compose(&["up", "--detach"]);
                })
            },
        );
        let kept = containers == ours.containers();
        let [first_ours, first_by_hand] = ours.first_starts();
        let [beside_check, apart_from_check] = ours.edits_beside_check(round);
        let it = Times {
            first_ours,
            first_by_hand,
            beside_check,
            apart_from_check,
            ours: edit_ours,
            by_hand: edit_by_hand,
            multi_stage: edit_multi_stage,
            unchanged_ours,
            unchanged_by_hand,
            kept,
        };
        eprintln!(
            "{} {round}/{rounds}, {}: edit ours {:.2} s, by hand {:.2} s, multi-stage {:.2} s; unchanged ours {:.2} s, \
             by hand {:.2} s",
            toolchain.engine().name,
            kind.name,
            it.ours,
            it.by_hand,
            it.multi_stage,
            it.unchanged_ours,
            it.unchanged_by_hand
        );
        times.push(it);
    }
    times
}

/// Does both, the first one first or last: what is done later finds what both read in memory.
fn in_turn(first: bool, one: impl FnOnce() -> f64, other: impl FnOnce() -> f64) -> (f64, f64) {
    if first {
        let one = one();
        (one, other())
    } else {
        let other = other();
        (one(), other)
    }
}

pub fn seconds(work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64()
}

impl<'a> Scene<'a> {
    /// So many times the same workspace, but for the ports.
    pub fn copies<const N: usize>(kind: Kind, toolchain: &'a Toolchain) -> [Scene<'a>; N] {
        // Held all at once, so that they differ.
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let listeners = [(); N].map(|()| SERVICES.map(|_| free()));
        listeners.map(|listeners| {
            let ports = listeners.map(|listener| listener.local_addr().expect("an address").port());
            let scene = Scene { ground: Ground::new(toolchain.engine()), kind, toolchain, ports };
            scene.write_workspace();
            scene
        })
    }

    fn write_workspace(&self) {
        let root = self.ground.root();
        let workspace = format!("[workspace]\nmembers = {SERVICES:?}\nresolver = \"2\"\n\n");
        write(&root.join("Cargo.toml"), &workspace);
        for (name, port) in SERVICES.iter().zip(self.ports) {
            fs::create_dir_all(root.join(name).join("src")).expect("folders");
            let package = format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n");
            let service = format!("[package.metadata.stagecraft.dev]\nports = [\"127.0.0.1:{port}:8080\"]\n");
            let dependencies = self.kind.dependencies;
            write(&root.join(name).join("Cargo.toml"), &format!("{package}\n{service}\n{dependencies}"));
            self.write_text(name, 0);
        }
        if self.kind.dependencies.is_empty() {
            succeed(self.ground.command("cargo", &["generate-lockfile", "--offline"]));
        } else {
            // Cargo keeps what is needed of it.
            let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock");
            fs::copy(lock, root.join("Cargo.lock")).expect("our lock file");
            let config = succeed(self.ground.command("cargo", &["vendor"]));
            fs::create_dir(root.join(".cargo")).expect("a folder");
            write(&root.join(".cargo/config.toml"), &config);
        }
    }

    /// The line that is edited.
    pub fn write_text(&self, service: &str, number: usize) {
        let main = self.kind.main.replace("{text}", &text(service, number));
        write(&self.ground.root().join(service).join("src/main.rs"), &main);
    }

    /// The compose file that our program has made of the same workspace, but for the ports, and with a builder for the images.
    fn take_compose_file_of(&self, ours: &Scene<'_>) {
        let path = ours.ground.root().join(".stagecraft/dev/compose.yaml");
        let mut text = fs::read_to_string(path).expect("a compose file");
        for (theirs, port) in ours.ports.iter().zip(self.ports) {
            let theirs = format!("127.0.0.1:{theirs}:");
            assert!(text.contains(&theirs), "no port {theirs} in {text}");
            text = text.replace(&theirs, &format!("127.0.0.1:{port}:"));
        }
        for service in SERVICES {
            let image = format!("    image: ${{COMPOSE_PROJECT_NAME}}-{service}\n");
            assert!(text.contains(&image), "no image {image} in {text}");
            let build = format!(
                "    build:\n      context: ./images/{service}\n      dockerfile_inline: |\n        FROM scratch\n        \
                 COPY {service} /usr/local/bin/{service}\n        ENTRYPOINT [\"/usr/local/bin/{service}\"]\n"
            );
            text = text.replace(&image, &build);
        }
        let text = text.replace("pull_policy: never", "pull_policy: build");
        self.ground.write_compose_file(&text);
        for service in SERVICES {
            fs::create_dir_all(self.context(service)).expect("folders");
        }
    }

    fn context(&self, service: &str) -> PathBuf {
        self.ground.root().join(".stagecraft/dev/images").join(service)
    }

    /// The edited service alone: each further one would compile again, since they share the sources.
    pub fn write_dockerfile(&self) {
        let root = self.ground.root();
        let Toolchain { image, target, .. } = self.toolchain;
        // The word that the steps are found by when it is time to forget them.
        let folder = format!("target/{image}");
        let build = [vec!["cargo".to_string()], self.cargo_build(&[EDITED], &folder)].concat();
        let build = serde_json::to_string(&build).expect("words");
        let compile = format!("FROM {image} AS build\nWORKDIR /src\nCOPY . .\nRUN {build}\n");
        let copy = format!("COPY --from=build /src/{folder}/{target}/debug/{EDITED} /usr/local/bin/{EDITED}");
        let entry = format!("ENTRYPOINT [\"/usr/local/bin/{EDITED}\"]");
        write(&root.join("Dockerfile"), &format!("{compile}\nFROM scratch\n{copy}\n{entry}\n"));
        write(&root.join(".dockerignore"), "/.stagecraft\n/target\n");
        let ports = format!("ports: [\"127.0.0.1:{}:8080\"]", self.ports[0]);
        let watch = format!("develop: {{watch: [{{action: rebuild, path: ../../{EDITED}/src}}]}}");
        let service = format!("  {EDITED}:\n    build: ../..\n    init: true\n    {ports}\n    {watch}\n");
        self.ground.write_compose_file(&stack(&[service]));
    }

    /// The words after `cargo`.
    fn cargo_build(&self, services: &[&str], target_dir: &str) -> Vec<String> {
        let target = &self.toolchain.target;
        let rustflags = format!("target.{target}.rustflags = [\"-C\", \"target-feature=+crt-static\"]");
        let words = ["build", "--target", target, "--target-dir", target_dir, "--config", &rustflags];
        let packages = services.iter().flat_map(|service| ["--package", service]);
        words.into_iter().chain(packages).map(str::to_string).collect()
    }

    /// How many seconds it takes from an edit, with what has to be done about it, to the answer.
    pub fn edit(&self, number: usize, start: impl FnOnce()) -> f64 {
        self.edit_at(self.ports[0], number, start)
    }

    /// The same where the edited service runs on this machine.
    pub fn edit_on_host(&self, number: usize) -> f64 {
        self.edit_at(8080, number, || {})
    }

    fn edit_at(&self, port: u16, number: usize, start: impl FnOnce()) -> f64 {
        seconds(|| {
            self.write_text(EDITED, number);
            start();
            wait_for_answer(port, &text(EDITED, number));
        })
    }

    pub fn dev(&self) {
        succeed(self.ground.command(DEV, &["dev", "--detach"]));
    }

    /// `cargo build`, and nothing else.
    pub fn build_as_the_developer(&self) {
        succeed(self.ground.command("cargo", &["build", "--offline"]));
    }

    fn build_and_start(&self, services: &[&str]) {
        self.build(services);
        for service in services {
            let binary = self.ground.root().join(TARGET_DIR).join(&self.toolchain.target).join("debug").join(service);
            fs::copy(binary, self.context(service).join(service)).expect("a copy");
        }
        self.compose(&["up", "--detach"]);
    }

    fn build(&self, services: &[&str]) {
        let mut build = self.ground.command("cargo", &[]);
        build.args(self.cargo_build(services, TARGET_DIR));
        succeed(build);
    }

    pub fn compose(&self, args: &[&str]) {
        succeed(self.ground.compose(args));
    }

    /// A first start after a build of the developer's own, and `docker compose up -d` with the images that it has made.
    fn first_starts(&self) -> [f64; 2] {
        succeed(self.ground.command(DEV, &["dev", "down", "--images"]));
        succeed(self.ground.command("cargo", &["build", "--offline"]));
        let ours = seconds(|| self.dev());
        succeed(self.ground.command(DEV, &["dev", "down"]));
        [ours, seconds(|| self.compose(&["up", "--detach"]))]
    }

    /// Two edits while `cargo check` runs, as an editor starts it when a file is saved: in the same target directory, and in another one.
    fn edits_beside_check(&self, round: usize) -> [f64; 2] {
        let manifest = self.ground.root().join("Cargo.toml");
        let before = fs::read_to_string(&manifest).expect("a manifest");
        let edit = |number: usize| {
            let mut editor = None;
            let time = self.edit(number, || {
                let check = ["check", "--offline", "--workspace", "--all-targets", "--message-format=json"];
                let mut check = self.ground.command("cargo", &check);
                editor = Some(check.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("cargo"));
                self.dev();
            });
            editor.expect("a check").wait().expect("its end");
            time
        };
        let beside = edit(1000 + round);
        write(&manifest, &format!("{before}[workspace.metadata.stagecraft.dev]\ntarget-dir = \"target/dev\"\n"));
        self.dev();
        let apart = edit(2000 + round);
        write(&manifest, &before);
        self.dev();
        [beside, apart]
    }

    fn containers(&self) -> BTreeSet<String> {
        let project = format!("label=com.docker.compose.project={}", self.ground.project);
        let ids = self.ground.engine.ask(&["ps", "--quiet", "--filter", &project]);
        ids.lines().map(str::to_string).collect()
    }
}

fn text(service: &str, number: usize) -> String {
    format!("{service} says {number}.")
}

/// Blocks until the service on this port answers with this text.
fn wait_for_answer(port: u16, text: &str) {
    let deadline = Instant::now() + DEADLINE;
    while !answer(port).is_some_and(|answer| answer.contains(text)) {
        assert!(Instant::now() < deadline, "port {port} does not answer `{text}`");
        thread::sleep(BETWEEN_ATTEMPTS);
    }
}

fn answer(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), ATTEMPT).ok()?;
    stream.set_read_timeout(Some(ATTEMPT)).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
