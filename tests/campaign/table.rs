//! The results: a row for each fault and phase, as Markdown.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::trial::{Problem, Report};
use crate::watch::Phase;

/// The order of the rows, by how they begin.
const FAULTS: [&str; 13] = [
    "INT",
    "TERM",
    "HUP",
    "QUIT",
    "KILL",
    "KILL, group",
    "terminal closed",
    "to `docker`",
    "to the plugin",
    "guard",
    "tool + guard",
    "detach: ",
    "down: ",
];

#[derive(Default)]
struct Row<'a>(Vec<&'a Report>);

impl Row<'_> {
    fn count(&self, is: impl Fn(&Report) -> bool) -> usize {
        self.0.iter().filter(|report| is(report)).count()
    }

    fn with(&self, is: impl Fn(&Problem) -> bool) -> usize {
        self.count(|report| report.problems.iter().any(&is))
    }

    fn times(&self) -> Vec<Duration> {
        let mut times: Vec<Duration> = self.0.iter().filter_map(|report| report.time).collect();
        times.sort();
        times
    }

    /// The cells after the first two.
    fn cells(&self) -> String {
        let times = self.times();
        let seconds =
            |time: Option<&Duration>| time.map_or("–".to_string(), |time| format!("{:.1}", time.as_secs_f64()));
        [
            self.0.len().to_string(),
            self.count(|report| report.problems.is_empty()).to_string(),
            self.with(|problem| matches!(problem, Problem::Left(_))).to_string(),
            self.with(|problem| matches!(problem, Problem::Ungraceful(_))).to_string(),
            self.with(|problem| matches!(problem, Problem::Code(_))).to_string(),
            self.0.iter().map(|report| report.lost_networks).sum::<usize>().to_string(),
            self.count(|report| report.compose_panicked).to_string(),
            seconds(times.get(times.len() / 2)),
            seconds(times.last()),
        ]
        .join(" | ")
    }
}

/// The table of one pair.
pub fn table(reports: &[Report]) -> String {
    let mut rows: BTreeMap<(usize, &str, Phase), Row> = BTreeMap::new();
    for report in reports {
        // The longest that fits.
        let rank = (0..FAULTS.len())
            .filter(|rank| report.fault.starts_with(FAULTS[*rank]))
            .max_by_key(|rank| FAULTS[*rank].len());
        rows.entry((rank.unwrap_or(FAULTS.len()), &report.fault, report.phase)).or_default().0.push(report);
    }
    let mut text = "| fault | phase | trials | clean | leftovers | ungraceful | wrong code | lost by the engine | Compose panics | \
                    median s | max s |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n"
        .to_string();
    for ((_, fault, phase), row) in &rows {
        text += &format!("| {fault} | {phase} | {} |\n", row.cells());
    }
    let all = Row(reports.iter().collect());
    text + &format!("| all | | {} |\n", all.cells())
}

/// One line about a pair.
pub fn summary(pair: &str, reports: &[Report], took: Duration) -> String {
    let all = Row(reports.iter().collect());
    format!(
        "{pair}: {} trials, {} clean; {} with leftovers, {} ungraceful, {} with a wrong exit code, {} with another problem; \
         {} networks lost by the engine, {} Compose panics, {} kills of Compose's own; {:.0} s",
        reports.len(),
        all.count(|report| report.problems.is_empty()),
        all.with(|problem| matches!(problem, Problem::Left(_))),
        all.with(|problem| matches!(problem, Problem::Ungraceful(_))),
        all.with(|problem| matches!(problem, Problem::Code(_))),
        all.with(|problem| matches!(problem, Problem::Other(_))),
        reports.iter().map(|report| report.lost_networks).sum::<usize>(),
        all.count(|report| report.compose_panicked),
        all.count(|report| report.compose_killed),
        took.as_secs_f64()
    )
}
