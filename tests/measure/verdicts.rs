//! What raw `docker compose up -d --wait` and what `dev --detach --wait` make of the scenarios of `fixtures/failures`, each in turn
//! in the same place.

use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::Request;
use crate::ground::{Ground, ends_within, start};
use crate::support::engine::Engine;
use crate::support::fixture::{self, Fixture};

/// More than any of them needs; raw Compose has no time-out of its own.
const WAIT_TIMEOUT: &str = "10";
const DEV: &str = env!("CARGO_BIN_EXE_cargo-stagecraft");

/// Whoever has not answered by then never will.
const PATIENCE: Duration = Duration::from_secs(30);

/// The exit codes on one pair; none without an answer.
struct Verdict {
    raw: Option<i32>,
    ours: Option<i32>,
}

pub fn measure(request: &Request) {
    let names = fixture::names();
    let columns: Vec<Vec<Verdict>> = thread::scope(|scope| {
        let judge = |engine: &'static Engine| names.iter().map(|name| verdict(engine, name)).collect();
        let threads: Vec<_> = request.engines.iter().map(|engine| scope.spawn(move || judge(engine))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a column")).collect()
    });
    let head: String =
        request.engines.iter().map(|engine| format!(" Compose, {0} | ours, {0} |", engine.name)).collect();
    println!("| scenario | description | the stack is |{head}\n|---|---|---|{}", "--:|--:|".repeat(columns.len()));
    let mut wrong = vec![(0, 0); columns.len()];
    for (row, name) in names.iter().enumerate() {
        let expected = Fixture::read(name).expected;
        let good = expected.exit == 0;
        let mut cells = String::new();
        for (verdicts, wrong) in columns.iter().zip(&mut wrong) {
            let Verdict { raw, ours } = verdicts[row];
            let raw_is_wrong = raw.is_none_or(|code| (code == 0) != good);
            let ours_is_wrong = ours != Some(expected.exit);
            wrong.0 += usize::from(raw_is_wrong);
            wrong.1 += usize::from(ours_is_wrong);
            cells += &format!(" {} | {} |", cell(raw, raw_is_wrong), cell(ours, ours_is_wrong));
        }
        println!("| `{name}` | {} | {} |{cells}", expected.about, if good { "good" } else { "not good" });
    }
    let sums: String = wrong.iter().map(|(raw, ours)| format!(" {raw} wrong | {ours} wrong |")).collect();
    println!("| all {} | | |{sums}", names.len());
}

fn cell(code: Option<i32>, is_wrong: bool) -> String {
    let code = code.map_or("no end".to_string(), |code| code.to_string());
    if is_wrong { format!("**{code}, wrong**") } else { code }
}

fn verdict(engine: &'static Engine, name: &str) -> Verdict {
    let fixture = Fixture::read(name);
    let raw = exit_code(engine, &fixture, |ground| {
        ground.compose(&["up", "--detach", "--wait", "--wait-timeout", WAIT_TIMEOUT])
    });
    let ours = exit_code(engine, &fixture, |ground| ground.command(DEV, &fixture.args()));
    eprintln!("{}: {name}: Compose {raw:?}, ours {ours:?}", engine.name);
    Verdict { raw, ours }
}

fn exit_code(engine: &'static Engine, fixture: &Fixture, command: impl Fn(&Ground) -> Command) -> Option<i32> {
    let ground = Ground::new(engine);
    ground.copy(fixture);
    let port = fixture.take_port(engine, &format!("{}-other", ground.project));
    let mut command = command(&ground);
    command.env("PORT", port.number.to_string());
    let run = start(command);
    // Dropped, it is killed.
    ends_within(run.pid(), PATIENCE).then(|| run.end_whatever_compose_says().code)
}
