//! What the pages for people point at is there: links, and the commands of CONTRIBUTING.md.

use std::collections::BTreeSet;
use std::path::PathBuf;

use toml_edit::DocumentMut;

use crate::spec::{commands, files, read, root};

/// The pages, relative to the repository's root.
fn pages() -> Vec<PathBuf> {
    let spec = files(&root().join("spec"), "md");
    let spec = spec.iter().map(|page| page.strip_prefix(root()).unwrap().to_path_buf());
    ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/cookbook.md"]
        .map(PathBuf::from)
        .into_iter()
        .chain(spec)
        .collect()
}

/// The anchors that GitHub makes of a page's headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |c: char| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c.to_ascii_lowercase()),
        _ => None,
    };
    headings.map(|heading| heading.chars().filter_map(kept).collect()).collect()
}

/// Where the links of a page lead, but for those that leave the repository.
fn links(page: &str) -> impl Iterator<Item = &str> {
    let targets = page.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    targets.filter(|target| !target.starts_with("http"))
}

#[test]
fn every_link_leads_to_a_file_and_to_a_heading_of_it() {
    for page in pages() {
        let text = read(&page);
        for link in links(&text) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(root().join(&target).exists(), "{} links to {link}", page.display());
            let is_there = anchor.is_empty() || anchors(&read(&target)).contains(anchor);
            assert!(is_there, "{} links to {link}, which is no heading", page.display());
        }
    }
}

#[test]
fn every_page_of_the_spec_is_reached_from_another_one() {
    let pages = pages();
    let linked: BTreeSet<PathBuf> = pages
        .iter()
        .flat_map(|page| {
            let folder = root().join(page.parent().unwrap());
            let text = read(page);
            let targets = links(&text).map(|link| folder.join(link.split('#').next().unwrap()));
            let others = targets.filter_map(|target| target.canonicalize().ok());
            others.filter(|target| *target != root().join(page).canonicalize().unwrap()).collect::<Vec<_>>()
        })
        .collect();
    for page in pages.iter().filter(|page| page.starts_with("spec")) {
        assert!(linked.contains(&root().join(page).canonicalize().unwrap()), "nothing links to {}", page.display());
    }
}

#[test]
fn the_commands_of_contributing_exist() {
    let manifest: DocumentMut = read("Cargo.toml").parse().unwrap();
    let targets = manifest["test"].as_array_of_tables().unwrap();
    let targets: BTreeSet<&str> = targets.iter().map(|target| target["name"].as_str().unwrap()).collect();
    let features = manifest["features"].as_table().unwrap();
    let tests: String = files(&root().join("tests"), "rs").iter().map(read).collect();
    let is_test =
        |name: &str| tests.contains(&format!("mod {name}")) || tests.contains(name.rsplit(':').next().unwrap());
    let commands = commands(&read("CONTRIBUTING.md"));
    assert!(!commands.is_empty());
    for command in commands {
        let command = command.split(" #").next().unwrap().trim_end();
        let words: Vec<&str> = command.split_whitespace().collect();
        let named = |flag: &str| words.iter().position(|word| *word == flag).map(|at| words[at + 1]);
        for script in words.iter().filter(|word| word.starts_with("scripts/")) {
            assert!(root().join(script).is_file(), "`{command}`: there is no {script}");
        }
        if let Some(feature) = named("--features") {
            assert!(features.contains_key(feature), "`{command}`: there is no feature {feature}");
        }
        if let Some(target) = named("--test") {
            assert!(targets.contains(target), "`{command}`: there is no test target {target}");
            let filter = named("-E").and_then(|expression| Some(expression.split_once('(')?.1.split_once(')')?.0));
            let last = words.last().filter(|last| words[words.len() - 2] == target && !last.starts_with('-'));
            if let Some(test) = filter.or(last.copied()) {
                assert!(is_test(test), "`{command}`: there is no test {test}");
            }
        }
        if let Some(folder) = named("--profile") {
            assert!(read(".config/nextest.toml").contains(&format!("[profile.{folder}]")), "`{command}`");
        }
    }
}
