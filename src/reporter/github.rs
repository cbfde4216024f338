//! Output for GitHub Actions: folded groups, annotations and the summary of a step.
//!
//! The runner reads its commands from everything that a step prints, a container's log included; so while such a log is
//! shown, commands are switched off: <https://docs.github.com/actions/reference/workflow-commands-for-github-actions>.

use std::fs::OpenOptions;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Write;
use std::path::PathBuf;

use super::event::{Event, PortConflict, ServiceFailure};
use super::safe;

/// A job of GitHub Actions that we run in.
pub(super) struct Actions {
    /// Where the summary of the step is collected.
    summary: Option<PathBuf>,
}

impl Actions {
    /// None anywhere else.
    pub(super) fn from_env() -> Option<Actions> {
        let runs_here = std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true");
        let summary = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty());
        runs_here.then(|| Actions { summary: summary.map(PathBuf::from) })
    }

    /// A text that is folded under its title, with commands in it switched off.
    pub(super) fn group(&self, title: &str, text: &str) -> String {
        let (before, behind) = brackets();
        format!("::group::{}\n{before}\n{text}\n{behind}\n::endgroup::", data(title))
    }

    /// The annotations of an event, one line each; writes the summary of the step.
    pub(super) fn show(&self, event: &Event<'_>) -> Vec<String> {
        let annotate = |failure: &ServiceFailure| self.error(&failure.service.service, &failure.reason);
        match event {
            Event::StackStarted { project, summary, .. } => {
                self.summarize(&format!("{project} runs"), summary);
                Vec::new()
            }
            Event::StackNotReady { failures, .. } => failures.iter().map(annotate).collect(),
            Event::StackFailed(failure) => {
                self.summarize(&format!("{} {}", failure.project, failure.what), &failure.rows);
                if failure.failures.is_empty() {
                    return vec![self.error(failure.project, &failure.message())];
                }
                failure.failures.iter().map(annotate).collect()
            }
            Event::PortsTaken { project, conflicts } => {
                let head = ["service", "port", "conflict"].map(str::to_string).to_vec();
                let row = conflicts.iter().map(|it| vec![it.service.clone(), it.port.clone(), it.holder.clone()]);
                let rows: Vec<_> = [head].into_iter().chain(row).collect();
                self.summarize(&format!("{project} was not started: ports are already in use"), &rows);
                let annotate = |it: &PortConflict| {
                    self.error(&it.service, &format!("{}: port {} is {}", it.service, it.port, it.holder))
                };
                conflicts.iter().map(annotate).collect()
            }
            _ => Vec::new(),
        }
    }

    /// An annotation of the run.
    fn error(&self, title: &str, message: &str) -> String {
        format!("::error title={}::{}", property(&safe::one_line(title)), data(&safe::lines(message)))
    }

    /// Adds a table, its head first, to the summary of the step.
    fn summarize(&self, title: &str, rows: &[Vec<String>]) {
        let Some(path) = &self.summary else { return };
        let row = |cells: &Vec<String>| {
            let cells = cells.iter().map(|cell| cell.replace('|', "\\|").replace(['\r', '\n'], " "));
            format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
        };
        let mut text = format!("### {title}\n\n");
        for (number, cells) in rows.iter().enumerate() {
            text.push_str(&row(cells));
            if number == 0 {
                text.push_str(&format!("|{}\n", "---|".repeat(cells.len())));
            }
        }
        text.push('\n');
        // A summary that cannot be written is no reason to fail.
        let file = OpenOptions::new().append(true).create(true).open(path);
        let _ = file.and_then(|mut file| file.write_all(text.as_bytes()));
    }
}

/// The lines that switch commands off and on again.
pub(super) fn brackets() -> (String, String) {
    // Nothing that a container prints may be the word that switches commands on again.
    let token = format!("stagecraft-{:016x}", RandomState::new().build_hasher().finish());
    (format!("::stop-commands::{token}"), format!("::{token}::"))
}

/// Text outside of such brackets in which nothing is a command: the runner takes `::` at the beginning of a line for one, and `##[`
/// anywhere.
pub(super) fn without_commands(text: &str) -> String {
    let text = text.replace("##[", "# #[");
    let line = |line: &str| {
        let text = line.trim_start();
        let space = &line[..line.len() - text.len()];
        text.strip_prefix("::").map_or_else(|| line.to_string(), |rest| format!("{space}: :{rest}"))
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_lets_no_command_of_a_log_through() {
        let actions = Actions { summary: None };
        let group = |text: &str| actions.group("log of web", text);
        let one = group("::error::not ours");
        let lines: Vec<&str> = one.lines().collect();
        let token = lines[1].strip_prefix("::stop-commands::").unwrap();
        let back = format!("::{token}::");
        assert_eq!(lines, ["::group::log of web", lines[1], "::error::not ours", &back, "::endgroup::"]);
        assert_ne!(one, group("::error::not ours"), "the word is another each time");
    }

    #[test]
    fn outside_of_a_group_nothing_is_a_command() {
        assert_eq!(without_commands("x ##[error]y\n  ::add-mask::e\na::b"), "x # #[error]y\n  : :add-mask::e\na::b");
    }

    #[test]
    fn an_annotation_is_always_one_line() {
        let actions = Actions { summary: None };
        assert_eq!(actions.error("a: b, c", "100 %\nof it"), "::error title=a%3A b%2C c::100 %25%0Aof it");
    }

    #[test]
    fn the_summary_grows_by_a_table() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("summary.md");
        let actions = Actions { summary: Some(path.clone()) };
        let rows = [vec!["service".to_string(), "state".to_string()], vec!["web".to_string(), "a|b".to_string()]];
        actions.summarize("shop", &rows);
        actions.summarize("shop", &rows[..1]);
        let text = std::fs::read_to_string(path).unwrap();
        let first = "### shop\n\n| service | state |\n|---|---|\n| web | a\\|b |\n\n";
        assert_eq!(text, format!("{first}### shop\n\n| service | state |\n|---|---|\n\n"));
    }

    #[test]
    fn a_port_conflict_is_an_annotation_and_a_summary() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("summary.md");
        let actions = Actions { summary: Some(path.clone()) };
        let [service, port, holder] = ["db", "5432", "held by postgres (pid 7)"].map(str::to_string);
        let conflicts = vec![PortConflict { service, port, holder }];
        let lines = actions.show(&Event::PortsTaken { project: "shop", conflicts });
        assert_eq!(lines, ["::error title=db::db: port 5432 is held by postgres (pid 7)"]);
        let summary = "### shop was not started: ports are already in use\n\n| service | port | conflict |\n|---|---|---|\n\
                       | db | 5432 | held by postgres (pid 7) |\n\n";
        assert_eq!(std::fs::read_to_string(path).unwrap(), summary);
    }
}
