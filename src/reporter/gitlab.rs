//! Output for GitLab CI: folded sections.
//!
//! Source: <https://docs.gitlab.com/ci/jobs/job_logs/#custom-collapsible-sections>.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A job of GitLab CI that we run in.
#[derive(Default)]
pub(super) struct Job {
    /// How many sections there were: each has a name of its own.
    sections: AtomicU32,
}

impl Job {
    /// None anywhere else.
    pub(super) fn from_env() -> Option<Job> {
        std::env::var_os("GITLAB_CI").is_some_and(|value| value == "true").then(Job::default)
    }

    /// A text that is folded under its title. Control characters in both are visible already, so nothing in them is a command.
    pub(super) fn section(&self, title: &str, text: &str) -> String {
        let number = self.sections.fetch_add(1, Ordering::Relaxed);
        let name = format!("stagecraft_{}_{number}", std::process::id());
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let start = format!("\x1b[0Ksection_start:{time}:{name}[collapsed=true]\r\x1b[0K{title}");
        format!("{start}\n{text}\n\x1b[0Ksection_end:{time}:{name}\r\x1b[0K")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_section_has_a_name_of_its_own() {
        let job = Job::default();
        let [first, second] = ["one", "two"].map(|text| job.section("log of web", text));
        let name = |section: &str| {
            let (_, name) = section.split_once("section_start:").unwrap();
            name.split(':').nth(1).unwrap().split('[').next().unwrap().to_string()
        };
        assert_ne!(name(&first), name(&second));
        let lines: Vec<&str> = first.split('\n').collect();
        assert!(lines[0].ends_with("[collapsed=true]\r\x1b[0Klog of web"), "{first:?}");
        assert_eq!(lines[1], "one");
        assert!(
            lines[2].starts_with("\x1b[0Ksection_end:") && lines[2].ends_with(&format!("{}\r\x1b[0K", name(&first)))
        );
    }
}
