//! The pictures of the README are real runs of the program on the new pair, drawn by this scenario, and so is their text
//! beside them. `BLESS=1` draws them anew:
//!
//! ```sh
//! BLESS=1 cargo nextest run --features e2e --profile e2e --test e2e -E 'test(pictures)'
//! ```
//!
//! What is another thing at every run becomes what it was once: the folder, the name of the project, the port, how long
//! it took. Compose's own progress is switched off with its variable `COMPOSE_PROGRESS`, as a user can.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use anstyle_svg::Term;
use rustix::process::Signal;

use crate::support::stage::{self, Stage, Tool, write};

#[test]
fn pictures() {
    stage::play("new", "pictures", draw);
}

fn draw(stage: &Stage) {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port").port();
    shop(&stage.root(), port);
    let album = Album { stage, port };

    let start = album.tool(&["dev", "--detach", "--wait"]).run().with(0).all;
    let down = album.tool(&["dev", "down"]).run().with(0).all;
    album.hang("start", &[("cargo stagecraft dev --detach --wait", &start), ("cargo stagecraft dev down", &down)]);

    let failure = album.tool(&["dev", "--detach", "--wait"]).env("DATABASE_URL", "localhost").run().with(1).all;
    // Whether the database is seen to be ready before the other one has failed is a matter of chance.
    let is_progress = |line: &&str| without_color(line).trim_start().starts_with("Ready ");
    let failure: String = failure.lines().filter(|line| !is_progress(line)).map(|line| format!("{line}\n")).collect();
    album.hang("failure", &[("DATABASE_URL=localhost cargo stagecraft dev --detach --wait", &failure)]);

    let run = album.tool(&["dev"]).start();
    run.wait_for("listening on port 8080");
    run.wait_for(&format!("http://127.0.0.1:{port}"));
    run.signal(Signal::INT);
    let interrupted = run.end().with(130).all.replace("    Stopping", "^C    Stopping");
    album.hang("interrupt", &[("cargo stagecraft dev", &logs_first(&interrupted))]);

    let run = album.tool(&["dev", "--watch"]).start();
    run.wait_for("listening on port 8080");
    run.wait_for(" the files of ");
    run.wait_for(&format!("http://127.0.0.1:{port}"));
    let main = stage.root().join("api/src/main.rs");
    let text = fs::read_to_string(&main).expect("a source");
    write(&main, &text.replace("listening on port 8080", "listening again"));
    run.wait_for("api-1  | ");
    run.wait_for(" api in ");
    run.wait_for("listening again");
    run.signal(Signal::INT);
    let watched = run.end().with(130).all;
    let lines = [
        "Finished",
        "Loading",
        "Starting",
        "Watching",
        "Attaching to",
        "| listening on",
        "Started",
        "api  running",
        "db ",
        "Changed",
        "Compiling",
        "Finished",
        "| listening again",
        "Reloaded",
    ];
    album.hang("watch", &[("cargo stagecraft dev --watch", &in_this_order(&watched, &lines))]);
}

/// The service's line above the summary. One comes from Compose and the other from us, so that either may be the first.
fn logs_first(said: &str) -> String {
    let (logs, rest): (Vec<&str>, Vec<&str>) = said.lines().partition(|line| line.contains("api-1  |"));
    let attached = rest.iter().position(|line| line.starts_with("Attaching to")).map_or(0, |line| line + 1);
    let (before, after) = rest.split_at(attached);
    [before, &logs, after].concat().iter().map(|line| format!("{line}\n")).collect()
}

/// The lines with these words, in their order. Each comes from Compose, cargo, a container or us, so that either may be the first.
fn in_this_order(said: &str, words: &[&str]) -> String {
    let mut left: Vec<&str> = said.lines().collect();
    let line = |words: &&str| {
        let at = left.iter().position(|line| without_color(line).contains(words))?;
        Some(format!("{}\n", left.remove(at)))
    };
    words.iter().filter_map(line).collect()
}

/// A database, and a crate that is served when the database is healthy.
fn shop(root: &Path, port: u16) {
    fs::remove_dir_all(root).expect("the stage's own workspace");
    fs::create_dir_all(root.join("api/src")).expect("folders");
    let workspace = r#"
[workspace]
members = ["api"]
resolver = "3"

[workspace.metadata.stagecraft.dev.services.db]
image = "stagecraft-test"
pull_policy = "never"
command = ["sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait"]
healthcheck = { test = ["CMD", "true"], interval = "1s" }
"#;
    let api = format!(
        r#"
[package]
name = "api"
version = "0.1.0"
edition = "2024"

[package.metadata.stagecraft.dev]
ports = ["127.0.0.1:{port}:8080"]
depends_on = {{ db = {{ condition = "service_healthy" }} }}
environment = {{ DATABASE_URL = "${{DATABASE_URL:-postgres://db}}" }}
"#
    );
    let main = r#"
use std::net::TcpListener;
use std::process::ExitCode;

fn main() -> ExitCode {
    let database = std::env::var("DATABASE_URL").unwrap_or_default();
    if !database.starts_with("postgres://") {
        eprintln!("DATABASE_URL is {database:?}, which is no database");
        return ExitCode::FAILURE;
    }
    let listener = TcpListener::bind("0.0.0.0:8080").expect("port 8080 is free");
    println!("listening on port 8080");
    for peer in listener.incoming() {
        drop(peer);
    }
    ExitCode::SUCCESS
}
"#;
    write(&root.join("Cargo.toml"), workspace.trim_start());
    write(&root.join("api/Cargo.toml"), api.trim_start());
    write(&root.join("api/src/main.rs"), main.trim_start());
}

struct Album<'a> {
    stage: &'a Stage,
    port: u16,
}

impl Album<'_> {
    fn tool(&self, args: &[&str]) -> Tool<'_> {
        self.stage.tool(args).env("CARGO_TERM_COLOR", "always").env("COMPOSE_PROGRESS", "quiet")
    }

    /// Compares a picture, and the text beside it, with what was typed and what was said.
    #[track_caller]
    fn hang(&self, name: &str, runs: &[(&str, &str)]) {
        let run = |(typed, said): &(&str, &str)| format!("\x1b[1m$ {typed}\x1b[0m\n{}", self.every_time_the_same(said));
        let colored: String = runs.iter().map(run).collect();
        let svg = Term::new().render_svg(colored.trim_end());
        let text = without_color(&colored);

        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let path = root.join("docs/pictures").join(name).with_extension("svg");
        let readme = fs::read_to_string(root.join("README.md")).expect("the README");
        let (before, old, after) = block_below(&readme, &format!("(docs/pictures/{name}.svg)"));
        if std::env::var_os("BLESS").is_some_and(|bless| bless == "1") {
            fs::create_dir_all(path.parent().expect("a folder")).expect("docs/pictures");
            write(&path, &svg);
            write(&root.join("README.md"), &format!("{before}{text}{after}"));
            return;
        }
        assert_eq!(old, text, "what the README says; `BLESS=1` writes it anew");
        let drawn = fs::read_to_string(&path).expect("a picture");
        assert_eq!(drawn, svg, "{}; `BLESS=1` draws it anew", path.display());
    }

    fn every_time_the_same(&self, said: &str) -> String {
        let root = self.stage.root().display().to_string();
        let said = said.replace(&root, "/home/me/shop").replace(&self.stage.project, "shop");
        let said = said.replace(&self.port.to_string(), "8080");
        // A terminal shows only for a while what is waited for. What Compose warns of is this engine's lack of buildx.
        let stays = |line: &&str| !line.contains("Waiting\x1b") && !line.starts_with("time=");
        said.lines().filter(stays).map(|line| format!("{}\n", in_no_time(line))).collect()
    }
}

/// With another time than it took.
fn in_no_time(line: &str) -> String {
    let number = |text: &str| text.chars().take_while(|c| c.is_ascii_digit() || *c == '.').count();
    match line.rsplit_once(" in ") {
        Some((before, after)) if number(after) > 0 && after[number(after)..].starts_with('s') => {
            let after = &after[number(after)..];
            let after = match after.split_once("(cargo ") {
                Some((before, after)) => format!("{before}(cargo 1.1{}", &after[number(after)..]),
                None => after.to_string(),
            };
            format!("{before} in 1.2{after}")
        }
        _ => line.to_string(),
    }
}

fn without_color(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_string();
    parts.fold(first, |text, part| text + part.split_once('m').map_or(part, |(_, rest)| rest))
}

/// The first console block below this text, and what is round it.
#[track_caller]
fn block_below<'a>(page: &'a str, text: &str) -> (&'a str, &'a str, &'a str) {
    let begin = page.find(text).unwrap_or_else(|| panic!("the README lacks {text}"));
    let begin = begin + page[begin..].find("```console\n").expect("its text") + "```console\n".len();
    let end = begin + page[begin..].find("```\n").expect("its end");
    (&page[..begin], &page[begin..end], &page[end..])
}
