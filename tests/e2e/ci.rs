//! The workflow of the README, as far as a machine without GitHub can run it: its steps, in order, with what a runner sets.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::Deserialize;

use crate::support::run::Ended;
use crate::support::stage::{Stage, page, service, stack, write};

on_both_pairs![workflow_of_the_readme, workflow_with_a_broken_service];

#[derive(Deserialize)]
struct Workflow {
    jobs: BTreeMap<String, Job>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Job {
    runs_on: String,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    id: Option<String>,
    #[serde(rename = "if")]
    condition: Option<String>,
    run: Option<String>,
}

/// The steps of the workflow, and those of the longer form.
fn steps() -> [Vec<Step>; 2] {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("the README");
    let mut blocks = readme.split("```yaml\n").skip(1).map(|block| block.split_once("```").expect("its end").0);
    let workflow: Workflow = serde_yaml_ng::from_str(blocks.next().expect("a workflow")).expect("a workflow");
    let job = workflow.jobs.into_values().next().expect("a job");
    assert!(job.runs_on.starts_with("ubuntu"));
    let longer = serde_yaml_ng::from_str(blocks.next().expect("its longer form")).expect("steps");
    [job.steps, longer]
}

/// Runs the steps as a runner does, but for those that fetch something.
fn play(stage: &Stage, steps: Vec<Step>) -> (Vec<(String, Ended)>, String) {
    let file = |name: &str| -> PathBuf {
        let path = stage.temp().join(name);
        write(&path, "");
        path
    };
    let (env, summary) = (file("env"), file("summary"));
    let tool = PathBuf::from(env!("CARGO_BIN_EXE_cargo-stagecraft"));
    let path = format!("{}:{}", tool.parent().expect("a folder").display(), std::env::var("PATH").expect("PATH"));
    let mut ended: Vec<(String, Ended)> = Vec::new();
    let mut failed_steps: Vec<String> = Vec::new();
    for Step { id, condition, run } in steps {
        let Some(run) = run.filter(|run| !run.starts_with("cargo install")) else { continue };
        let failed = ended.iter().any(|(_, ended)| ended.code != 0);
        let runs = match condition.as_deref() {
            None => !failed,
            Some("always()") => true,
            Some(condition) => {
                let step = condition
                    .strip_prefix("failure() && steps.")
                    .and_then(|it| it.strip_suffix(".outcome == 'failure'"));
                let step = step.unwrap_or_else(|| panic!("what does `{condition}` mean?"));
                failed && failed_steps.iter().any(|failed| failed == step)
            }
        };
        if runs {
            let mut step = stage.program("bash", &["-e", "-c", &run]).env("PATH", &path).env("CI", "true");
            step = step.env("GITHUB_ACTIONS", "true").env("GITHUB_ENV", &env).env("GITHUB_STEP_SUMMARY", &summary);
            let variables = fs::read_to_string(&env).expect("the variables");
            for (key, value) in variables.lines().filter_map(|line| line.split_once('=')) {
                step = step.env(key, value);
            }
            let end = step.run();
            failed_steps.extend(id.filter(|_| end.code != 0));
            ended.push((run, end));
        }
    }
    (ended, fs::read_to_string(summary).expect("the summary"))
}

fn workflow_of_the_readme(stage: &Stage) {
    stage.compose(&stack(&[page("api", "hello-from-the-stack")]));
    let test = r#"
        #[test]
        fn the_api_answers() {
            use std::io::{Read, Write};
            let address = std::env::var("API_80_ADDR").expect("API_80_ADDR");
            let mut api = std::net::TcpStream::connect(address).expect("it listens");
            api.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("a request");
            let mut answer = String::new();
            api.read_to_string(&mut answer).expect("an answer");
            assert!(answer.contains("hello-from-the-stack"), "{answer}");
        }
    "#;
    write(&stage.root().join("app/src/lib.rs"), test);
    stage.expect_project(&format!("{}-1", stage.project));
    let [short, long] = steps();
    for (steps, teardown) in [(short, "dev run"), (long, "dev down")] {
        let (steps, summary) = play(stage, steps);
        for (run, ended) in &steps {
            assert_eq!(ended.code, 0, "{run}");
        }
        let tests = steps.iter().find(|(run, _)| run.contains("cargo test")).expect("a step that tests");
        assert!(tests.1.stdout.contains("test the_api_answers ... ok"));
        assert!(steps.iter().any(|(run, _)| run.contains(teardown)), "it is taken down");
        assert!(summary.contains("| api | running |"), "{summary}");
        stage.assert_gone();
    }
}

fn workflow_with_a_broken_service(stage: &Stage) {
    stage.compose(&stack(&[service("api", "echo DATABASE_URL is not set >&2; exit 101", &[])]));
    stage.expect_project(&format!("{}-1", stage.project));
    let [short, long] = steps();
    for (steps, code, teardown) in [(short, 125, None), (long, 1, Some("dev down"))] {
        let (steps, summary) = play(stage, steps);
        let codes: Vec<(&str, i32)> = steps.iter().map(|(run, ended)| (run.as_str(), ended.code)).collect();
        assert_eq!(codes[0].1, code, "{codes:?}");
        let start = &steps[0].1;
        assert!(!start.all.contains("test result"), "nothing is tested: {}", start.all);
        assert!(start.stderr.contains("::error title=api::api exited with 101: a panic in Rust"));
        assert!(start.stderr.contains("DATABASE_URL is not set"));
        assert!(summary.contains("| api | exited (101) | a panic in Rust |"), "{summary}");
        // Only the start, and where it is a step, the teardown.
        assert_eq!(
            codes[1..].iter().map(|(_, code)| *code).collect::<Vec<_>>(),
            vec![0; usize::from(teardown.is_some())]
        );
        assert!(teardown.is_none_or(|teardown| codes[1].0.contains(teardown)), "{codes:?}");
        stage.assert_gone();
    }
}
