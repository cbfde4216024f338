//! Events as text for people.

use super::Logger;
use super::event::{Event, FailureSummary, FileChange, FileState, ServiceCrash, ServiceFailure, StackFailure};
use crate::exit::Code;

/// Writes what people need to know about an event.
pub(crate) fn show(event: &Event<'_>, logger: &dyn Logger) {
    match event {
        Event::ServiceCrashed(crash) => show_crash(crash, logger),
        Event::StackAttached { project, rows, .. } if !rows.is_empty() => {
            logger.status("Started", project);
            logger.table(rows);
        }
        Event::StackStarted { project, seconds, ready, rows, notes, .. } => {
            let ready = if *ready { ", ready" } else { "" };
            logger.status("Started", &format!("{project} in {seconds:.1}s{ready}"));
            logger.table(rows);
            notes.iter().for_each(|note| logger.note(note));
        }
        Event::StackReady { project, seconds, rows, .. } => {
            logger.status("Ready", &format!("{project} in {seconds:.1}s"));
            logger.table(rows);
        }
        Event::StackNotReady { project, problem, failures, helps } => {
            failures.iter().for_each(|failure| show_service(failure, logger));
            logger.warn(&format!("{project} is not ready{problem}"));
            helps.iter().for_each(|help| logger.help(help));
        }
        Event::StackFailed(failure) => show_failure(failure, logger),
        Event::FailureSummary(summary) => show_summary(summary, logger),
        Event::Leftovers { project, list, removal, .. } => {
            logger.error(&format!("{project} is not completely torn down; still on the engine:\n{list}"));
            logger.help(&format!("remove it with `{removal}`"));
        }
        Event::DevFile { path, change, state } => show_file(path, *change, *state, logger),
        Event::ChangeSeen { files, .. } => logger.status("Changed", &some_of(files)),
        Event::ServiceReloaded { service, seconds, cargo, in_place, .. } => {
            let how = if *in_place { "" } else { ", container replaced" };
            logger.status("Reloaded", &format!("{service} in {seconds:.2}s (cargo {cargo:.2}s{how})"));
        }
        Event::ReloadFailed { message, help, log, .. } => {
            if let Some((title, log)) = log {
                logger.excerpt(title, log);
            }
            logger.error(message);
            help.iter().for_each(|help| logger.help(help));
        }
        Event::CommandStarted { command, .. } => logger.status("Running", &format!("`{command}`")),
        Event::CommandNotRun { exit_code } => {
            let words = Code::words(*exit_code).map(|words| format!(" ({words})")).unwrap_or_default();
            logger.note(&format!("the command was not run; instead of {exit_code}{words}, the exit code is 125"));
        }
        Event::Failed { message, help } => {
            logger.error(message);
            if let Some(help) = help {
                logger.help(help);
            }
        }
        Event::ServiceReady { .. }
        | Event::StackAttached { .. }
        | Event::StackUnknown { .. }
        | Event::StackStopped { .. }
        | Event::PortsTaken { .. }
        | Event::BuildFinished { .. }
        | Event::CommandEnded { .. }
        | Event::Finished { .. } => {}
    }
}

/// The first few of some files.
fn some_of(files: &[String]) -> String {
    const SHOWN: usize = 3;
    let more = files.len().saturating_sub(SHOWN);
    let shown = files.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

fn show_crash(crash: &ServiceCrash<'_>, logger: &dyn Logger) {
    let ServiceCrash { service, exit_code, meaning, log, .. } = crash;
    let why = meaning.as_deref().map(|meaning| format!(" ({meaning})")).unwrap_or_default();
    let words = if log.is_empty() { String::new() } else { format!(": {log}") };
    logger.status("Restarting", &format!("{service}, which exited with {exit_code}{why}{words}"));
}

fn show_failure(failure: &StackFailure<'_>, logger: &dyn Logger) {
    logger.table(&failure.rows);
    failure.failures.iter().for_each(|failure| show_service(failure, logger));
}

fn show_summary(summary: &FailureSummary, logger: &dyn Logger) {
    logger.error(&summary.message);
    summary.helps.iter().for_each(|help| logger.help(help));
    if let Some(note) = &summary.note {
        logger.note(note);
    }
}

fn show_service(failure: &ServiceFailure, logger: &dyn Logger) {
    if let Some(output) = &failure.probe {
        logger.excerpt(&format!("last output of the healthcheck of {}", failure.name()), output.as_bytes());
    }
    if !failure.log.is_empty() {
        logger.excerpt(&failure.log_title, &failure.log);
    }
}

fn show_file(path: &str, change: FileChange, state: FileState, logger: &dyn Logger) {
    match (state, change) {
        (FileState::Done, FileChange::Write) => logger.status("Writing", path),
        (FileState::Done, FileChange::Remove) => logger.status("Removing", path),
        (FileState::Planned, FileChange::Write) => logger.note(&format!("it would write {path}")),
        (FileState::Planned, FileChange::Remove) => logger.note(&format!("it would remove {path}")),
        (FileState::Stale, FileChange::Write) => logger.error(&format!("{path} is out of date")),
        (FileState::Stale, FileChange::Remove) => {
            logger.error(&format!("{path} is no longer described in Cargo.toml"));
        }
    }
}
