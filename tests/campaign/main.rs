//! The fault campaign: random stacks, a random fault at a random moment, and nothing may be left.
//!
//! ```sh
//! cargo test --features e2e --test campaign -- --trials 40
//! cargo test --features e2e --test campaign -- --seed 7 --pair old --trial 12
//! ```
//!
//! The scenarios of `tests/e2e` tell what happens at moments that somebody has thought of; this finds the others. Each
//! trial is planned from a number ([`plan`]), which is printed and makes the same plan again, carried out on a real engine
//! and judged ([`trial`]): no container, network, process or lock is left, every container that was ready and was not
//! asked to hurry has said farewell, the exit code is as specified, and the terminal is as before. A table tells
//! what was struck when ([`table`]).

// A report for whoever started it.
#![allow(clippy::print_stdout)]

mod api;
mod plan;
mod procs;
mod registry;
#[path = "../support/mod.rs"]
mod support;
mod table;
mod trial;
mod watch;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use fastrand::Rng;

use crate::api::Api;
use crate::plan::Plan;
use crate::support::engine::{self, Engine};
use crate::trial::{Problem, Report};

/// What the project of every trial begins with.
const PREFIX: &str = "campaign-";
/// Trials between two words about how far it is.
const STRIDE: usize = 20;

/// Random faults against random stacks, on real engines.
#[derive(Parser)]
#[command(name = "campaign")]
struct Args {
    /// Trials on each pair
    #[arg(long, default_value_t = 60)]
    trials: usize,
    /// Only on this pair
    #[arg(long)]
    pair: Option<String>,
    /// What all trials are made from; by default the time
    #[arg(long)]
    seed: Option<u64>,
    /// Trials at the same time on each pair
    #[arg(long, default_value_t = 3)]
    jobs: usize,
    /// Only this trial, with everything that is known about it
    #[arg(long)]
    trial: Option<usize>,
    /// Begin further trials also after one that was not clean
    #[arg(long)]
    keep_going: bool,
    /// As the test harness, of whose tests this has none
    #[arg(long, hide = true)]
    list: bool,
    #[arg(long, hide = true)]
    format: Option<String>,
    #[arg(long, hide = true)]
    ignored: bool,
    #[arg(long, hide = true)]
    nocapture: bool,
    #[arg(long, hide = true)]
    exact: bool,
    /// Names of tests, which are of other programs
    #[arg(hide = true)]
    filters: Vec<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.list || args.ignored || !args.filters.is_empty() {
        return ExitCode::SUCCESS;
    }
    let seed = args.seed.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock");
        now.as_secs()
    });
    let campaign = Campaign { seed, args, failed: AtomicBool::new(false), stop: Arc::default() };
    // The first Ctrl+C lets the trials under way end, and clean up; the second one ends everything.
    for signal in [libc::SIGINT, libc::SIGTERM] {
        signal_hook::flag::register_conditional_default(signal, campaign.stop.clone()).expect("a handler");
        signal_hook::flag::register(signal, campaign.stop.clone()).expect("a handler");
    }
    if campaign.run() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Campaign {
    seed: u64,
    args: Args,
    failed: AtomicBool,
    stop: Arc<AtomicBool>,
}

impl Campaign {
    /// True if every trial was carried out and clean.
    fn run(&self) -> bool {
        println!("seed {}", self.seed);
        let pairs = engine::all().iter().map(|pair| pair.name.as_str());
        let pairs: Vec<&str> =
            pairs.filter(|name| self.args.pair.as_deref().is_none_or(|pair| pair == *name)).collect();
        assert!(!pairs.is_empty(), "there is no such pair");
        let engines: Vec<&'static Engine> = pairs.into_iter().map(engine::get).collect();
        let results: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = engines.iter().map(|engine| (engine, scope.spawn(|| self.run_on(engine)))).collect();
            threads.into_iter().map(|(engine, thread)| (engine, thread.join().expect("a campaign"))).collect()
        });
        for (engine, (reports, _)) in &results {
            println!("\n### {}\n\n{}", engine.name, table::table(reports));
        }
        for (engine, (reports, took)) in &results {
            println!("{}", table::summary(&engine.name, reports, *took));
        }
        !self.failed.load(Ordering::SeqCst) && !self.stop.load(Ordering::SeqCst)
    }

    /// All trials of a pair, and the time that they took.
    fn run_on(&self, engine: &'static Engine) -> (Vec<Report>, Duration) {
        let began = Instant::now();
        let trials = self.args.trial.map_or(0..self.args.trials, |trial| trial..trial + 1);
        let next = AtomicUsize::new(trials.start);
        let reports: Mutex<Vec<Report>> = Mutex::default();
        thread::scope(|scope| {
            for _ in 0..self.args.jobs {
                scope.spawn(|| {
                    while !self.is_over() {
                        let index = next.fetch_add(1, Ordering::SeqCst);
                        if index >= trials.end {
                            break;
                        }
                        let report = self.play(engine, index);
                        let mut reports = reports.lock().unwrap_or_else(PoisonError::into_inner);
                        reports.push(report);
                        if reports.len().is_multiple_of(STRIDE) {
                            println!("{}: {} of {}", engine.name, reports.len(), trials.len());
                        }
                    }
                });
            }
        });
        let mut reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.sweep(engine, &mut reports);
        (reports, began.elapsed())
    }

    fn is_over(&self) -> bool {
        let has_failed = self.failed.load(Ordering::SeqCst) && !self.args.keep_going;
        has_failed || self.stop.load(Ordering::SeqCst)
    }

    fn play(&self, engine: &Engine, index: usize) -> Report {
        let plan = Plan::new(self.seed_of(&engine.name, index));
        let project = format!("{}{}-{index}", prefix(), engine.name);
        let report = trial::play(engine, &plan, &project);
        if !report.problems.is_empty() {
            self.failed.store(true, Ordering::SeqCst);
        }
        if self.args.trial.is_some() || !report.problems.is_empty() {
            self.show(engine, &report);
        }
        report
    }

    /// Prints what is known about a trial, and how to play it again.
    fn show(&self, engine: &Engine, report: &Report) {
        let Report { project, fault, phase, story, .. } = report;
        let problems: String = report.problems.iter().map(|problem| format!("!! {problem}\n")).collect();
        let index = project.rsplit('-').next().unwrap_or_default();
        let again = format!("--seed {} --pair {} --trial {index}", self.seed, engine.name);
        println!("==== {} {index}: {fault} during {phase}\n{problems}again: {again}\n{story}====", engine.name);
    }

    /// The seed of one trial, which depends on nothing but this.
    fn seed_of(&self, pair: &str, index: usize) -> u64 {
        let parts = pair.bytes().map(u64::from).chain([index as u64]);
        parts.fold(self.seed, |seed, part| Rng::with_seed(seed ^ part).u64(..))
    }

    /// Looks once more when all is over: something may have come to be after its trial had been judged.
    fn sweep(&self, engine: &Engine, reports: &mut [Report]) {
        let api = Api::new(engine);
        api.clear_build_cache(plan::BUILD_STEP);
        for thing in api.left_of_all(&prefix()).into_iter().filter(|thing| !thing.is_lost) {
            let is_of = |report: &&mut Report| {
                ["-", "_"].iter().any(|end| thing.name.contains(&format!("{}{end}", report.project)))
            };
            match reports.iter_mut().find(is_of) {
                // The engine has found it again, and it is gone by now.
                Some(report) if report.lost_networks > 0 && thing.name.starts_with("network") => continue,
                Some(report) => {
                    report.problems.push(Problem::Left(format!("{}, which came later", thing.name)));
                    self.show(engine, report);
                }
                None => println!("!! {}: left by nobody knows whom: {}", engine.name, thing.name),
            }
            self.failed.store(true, Ordering::SeqCst);
            api.remove(&thing);
        }
    }
}

/// What the projects of this very campaign begin with; there may be another one.
fn prefix() -> String {
    format!("{PREFIX}{}-", std::process::id())
}
