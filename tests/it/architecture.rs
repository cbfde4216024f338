//! The picture in `spec/architecture.md` shows the imports of the code, as they are.
//!
//! A room is a module of `src`; those of `process` are rooms of their own. `BLESS=1 cargo test --test it architecture`
//! draws the arrows anew: read the diff before it is committed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::spec::{files, read, root};

const PAGE: &str = "spec/architecture.md";

/// Who imports whom.
type Imports = BTreeMap<String, BTreeSet<String>>;

#[test]
fn the_picture_shows_every_room_and_whom_it_imports() {
    let imports = imports();
    let drawn = arrows(&without_detours(&imports));
    let page = read(PAGE);
    let (before, picture, after) = parts(&page);
    let (floors, shown) = picture.split_at(picture.find("\n\n").map_or(picture.len(), |blank| blank + 1));
    if std::env::var_os("BLESS").is_some_and(|bless| bless == "1") {
        fs::write(root().join(PAGE), format!("{before}{floors}\n{drawn}{after}")).unwrap();
        return;
    }
    let rooms: BTreeSet<&String> = imports.keys().chain(imports.values().flatten()).collect();
    let places = floors_of(floors);
    assert_eq!(places.keys().collect::<BTreeSet<_>>(), rooms, "the rooms of {PAGE} and those of src");
    assert_eq!(shown.trim_start_matches('\n'), drawn, "`BLESS=1` draws the arrows of {PAGE} anew");
}

#[test]
fn no_room_imports_from_a_floor_above_and_none_imports_itself_by_a_detour() {
    let imports = imports();
    let page = read(PAGE);
    let places = floors_of(parts(&page).1);
    for (room, imported) in &imports {
        for other in imported {
            assert!(places[room] <= places[other], "{room} imports {other}, which is on a floor above");
        }
        assert!(!reach(&imports, imported).contains(room), "{room} imports itself by a detour");
    }
}

/// What is before the picture, the picture, and what is after it.
fn parts(page: &str) -> (&str, &str, &str) {
    let begin = page.find("```mermaid\n").expect("a picture") + "```mermaid\n".len();
    let end = begin + page[begin..].find("```").expect("its end");
    (&page[..begin], &page[begin..end], &page[end..])
}

/// The floor of each room, counted from the top.
fn floors_of(picture: &str) -> BTreeMap<String, usize> {
    let mut floors = BTreeMap::new();
    let mut floor = 0;
    for line in picture.lines().map(str::trim).filter(|line| !line.contains("-->")) {
        match line.split_once(' ').map_or(line, |(word, _)| word) {
            "" | "flowchart" | "end" => {}
            "subgraph" => floor += 1,
            _ => {
                // Mermaid wants a plain word for what is called `process::exec`.
                let quoted = line.split_once("[\"").map(|(id, rest)| (id, rest.trim_end_matches("\"]")));
                let (id, name) = quoted.unwrap_or((line, line));
                assert_eq!(id, name.replace("::", "_"));
                assert!(floors.insert(name.to_string(), floor).is_none(), "{name} stands twice");
            }
        }
    }
    floors
}

fn arrows(imports: &Imports) -> String {
    let id = |room: &String| room.replace("::", "_");
    let line = |(room, imported): (&String, &BTreeSet<String>)| {
        let imported: Vec<String> = imported.iter().map(id).collect();
        format!("    {} --> {}\n", id(room), imported.join(" & "))
    };
    imports.iter().filter(|(_, imported)| !imported.is_empty()).map(line).collect()
}

/// All rooms that these lead to.
fn reach<'a>(imports: &'a Imports, from: impl IntoIterator<Item = &'a String>) -> BTreeSet<&'a String> {
    let mut found = BTreeSet::new();
    let mut next: Vec<&String> = from.into_iter().collect();
    while let Some(room) = next.pop() {
        if found.insert(room) {
            next.extend(imports.get(room).into_iter().flatten());
        }
    }
    found
}

/// Without the imports that a longer way shows, too.
fn without_detours(imports: &Imports) -> Imports {
    let needed = |imported: &BTreeSet<String>| {
        let is_needed = |room: &&String| !reach(imports, imported.iter().filter(|other| other != room)).contains(room);
        imported.iter().filter(is_needed).cloned().collect()
    };
    imports.iter().map(|(room, imported)| (room.clone(), needed(imported))).collect()
}

/// Every room of `src` and whom its code imports, its tests aside.
fn imports() -> Imports {
    let process = Process::read();
    let mut imports = Imports::new();
    for file in files(&root().join("src"), "rs") {
        let path = file.strip_prefix(root().join("src")).unwrap().with_extension("");
        let path: Vec<&str> = path.iter().map(|part| part.to_str().unwrap()).collect();
        let room = match path[..] {
            ["main" | "lib"] | ["process", "mod"] | [.., "tests"] => continue,
            ["process", room, ..] => format!("process::{room}"),
            [room, ..] => room.to_string(),
            [] => continue,
        };
        let text = fs::read_to_string(&file).unwrap();
        let program = text.split("#[cfg(test)]").next().unwrap();
        let lines = program.lines().filter(|line| !line.trim_start().starts_with("//"));
        let program = lines.collect::<Vec<_>>().join("\n");
        let imported = imports.entry(room.clone()).or_default();
        for (name, items) in paths(&program, "crate::") {
            match name {
                "process" => imported.extend(items.iter().map(|item| process.room_of(item))),
                name => imported.extend([name.to_string()]),
            }
        }
        // One folder deeper `super` is the room itself.
        if let ["process", _] = path[..] {
            imported.extend(paths(&program, "super::").map(|(name, _)| process.room_of(name)));
        }
        imported.remove(&room);
    }
    imports
}

/// Each path in a text that begins like this: the name that comes next, and the names right below it.
fn paths<'a>(text: &'a str, beginning: &str) -> impl Iterator<Item = (&'a str, Vec<&'a str>)> {
    let word = |text: &'a str| text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
    text.split(beginning).skip(1).map(move |rest| {
        let name = word(rest);
        let below = rest[name.len()..].strip_prefix("::").unwrap_or_default();
        let items = match below.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap_or_default().split(',').map(|item| word(item.trim())).collect(),
            None => vec![word(below)],
        };
        (name, items.into_iter().filter(|item| !item.is_empty()).collect())
    })
}

/// What the rooms of `process` are called from outside.
struct Process {
    rooms: BTreeSet<String>,
    /// The room that each re-exported item comes from.
    items: BTreeMap<String, String>,
}

impl Process {
    fn read() -> Process {
        let text = read("src/process/mod.rs");
        let rooms = text.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';')).map(str::to_string);
        let rooms: BTreeSet<String> = rooms.collect();
        let mut items = BTreeMap::new();
        for (room, names) in paths(&text, "pub use ") {
            let (room, names) = match room {
                "crate" => paths(&text, "pub use crate::").next().expect("a path"),
                _ => (room, names),
            };
            let room = if rooms.contains(room) { format!("process::{room}") } else { room.to_string() };
            items.extend(names.iter().map(|name| (name.to_string(), room.clone())));
        }
        Process { rooms, items }
    }

    fn room_of(&self, name: &str) -> String {
        match self.items.get(name) {
            Some(room) => room.clone(),
            None if self.rooms.contains(name) => format!("process::{name}"),
            None => panic!("src/process/mod.rs has no `{name}`"),
        }
    }
}
