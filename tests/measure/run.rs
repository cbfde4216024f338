//! What `dev run` takes: with a stack that is ready, from nothing, and for several stacks at once, each beside what one would do by hand.

use std::process::{Child, Command, Stdio};
use std::thread;

use crate::edit::{DEV, seconds};
use crate::ground::{Ground, succeed};
use crate::support::engine::Engine;
use crate::support::stage::{healthy, stack};
use crate::{Request, median};

const ROUNDS: usize = 20;
/// How many stacks start at once.
const MANY: usize = 8;
const SERVICES: [&str; 3] = ["api", "db", "web"];

pub fn measure(request: &Request) {
    let rounds = request.rounds.unwrap_or(ROUNDS);
    println!("| figure | target | pair | measured |\n|---|---|---|---|");
    for engine in &request.engines {
        let row = |figure: &str, target: &str, measured: &str| {
            println!("| {figure} | {target} | {} | {measured} |", engine.name);
        };
        let ground = small(engine);
        let tool = |args: &[&str]| succeed(ground.command(DEV, args));
        tool(&["dev", "--detach", "--wait"]);
        let joined: Vec<(f64, f64)> = (0..rounds)
            .map(|_| {
                let ours = seconds(|| drop(tool(&["dev", "run", "--reuse", "--quiet", "--", "true"])));
                let exec = ground.compose(&["exec", "-T", "web", "true"]);
                (ours, seconds(|| drop(succeed(exec))))
            })
            .collect();
        tool(&["dev", "down"]);
        let alone = median((0..rounds).map(|_| seconds(|| drop(succeed(ground.command("true", &[]))))));
        let ours = median(joined.iter().map(|it| it.0));
        row(
            "`dev run --reuse -- true` with a stack that is ready, beyond `true`",
            "≤ 60 ms",
            &format!("+{:.0} ms", 1000.0 * (ours - alone)),
        );
        row(
            "the same, compared with `docker compose exec web true`",
            "",
            &format!(
                "{:.2} ({:.0} ms to {:.0} ms)",
                median(joined.iter().map(|(ours, exec)| ours / exec)),
                1000.0 * ours,
                1000.0 * median(joined.iter().map(|it| it.1))
            ),
        );
        let whole: Vec<(f64, f64)> = (0..rounds)
            .map(|_| {
                let run = seconds(|| drop(tool(&["dev", "run", "--", "true"])));
                let by_steps = seconds(|| {
                    tool(&["dev", "--detach", "--wait"]);
                    succeed(ground.command("true", &[]));
                    tool(&["dev", "down"]);
                });
                (run, by_steps)
            })
            .collect();
        row(
            "`dev run -- true` from nothing, compared with `dev --detach --wait`, `true` and `dev down`",
            "≤ 1",
            &compared(&whole),
        );
        let at_once: Vec<(f64, f64)> =
            (0..rounds.div_ceil(4)).map(|_| (ours_at_once(&ground), compose_at_once(&ground))).collect();
        row(
            &format!(
                "{MANY} isolated stacks at once, started, ready and removed, compared with `docker compose up --wait` and `down` of {MANY} projects"
            ),
            "≤ 1.15",
            &compared(&at_once),
        );
    }
}

fn compared(times: &[(f64, f64)]) -> String {
    let ratio = median(times.iter().map(|(ours, theirs)| ours / theirs));
    let [ours, theirs] = [median(times.iter().map(|it| it.0)), median(times.iter().map(|it| it.1))];
    format!("{ratio:.2} ({ours:.2} s to {theirs:.2} s)")
}

/// Three services that are ready as soon as the engine has looked.
fn small(engine: &'static Engine) -> Ground {
    let ground = Ground::new(engine);
    ground.write_compose_file(&stack(&SERVICES.map(|name| healthy(name, &["ports: ['127.0.0.1::80']"]))));
    ground
}

fn started(mut command: Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts")
}

fn ours_at_once(ground: &Ground) -> f64 {
    seconds(|| {
        let runs: Vec<Child> =
            (0..MANY).map(|_| started(ground.command(DEV, &["dev", "run", "--quiet", "--", "true"]))).collect();
        for mut run in runs {
            assert!(run.wait().expect("its end").success(), "a run has failed");
        }
    })
}

fn compose_at_once(ground: &Ground) -> f64 {
    seconds(|| {
        thread::scope(|scope| {
            for number in 0..MANY {
                scope.spawn(move || {
                    let project = format!("{}-by-hand-{number}", ground.project);
                    for args in [&["up", "--detach", "--wait"][..], &["down"]] {
                        let mut compose = ground.compose(args);
                        compose.env("COMPOSE_PROJECT_NAME", &project);
                        assert!(started(compose).wait().expect("its end").success(), "compose has failed");
                    }
                });
            }
        });
    })
}
