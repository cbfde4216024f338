//! The picture in `spec/architecture.md` shows the imports of the code, as they are.
//!
//! A room is a module at the top of `src`. `BLESS=1 cargo test --test it architecture` redraws the arrows: read the diff before you
//! commit it.

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
                assert!(floors.insert(line.to_string(), floor).is_none(), "{line} stands twice");
            }
        }
    }
    floors
}

fn arrows(imports: &Imports) -> String {
    let line = |(room, imported): (&String, &BTreeSet<String>)| {
        let imported: Vec<&str> = imported.iter().map(String::as_str).collect();
        format!("    {room} --> {}\n", imported.join(" & "))
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
    let mut imports = Imports::new();
    for file in files(&root().join("src"), "rs") {
        let path = file.strip_prefix(root().join("src")).unwrap().with_extension("");
        let path: Vec<&str> = path.iter().map(|part| part.to_str().unwrap()).collect();
        let room = match path[..] {
            ["main" | "lib"] | [.., "tests"] | [] => continue,
            [room, ..] => room.to_string(),
        };
        let text = fs::read_to_string(&file).unwrap();
        let program = text.split("#[cfg(test)]").next().unwrap();
        let lines = program.lines().filter(|line| !line.trim_start().starts_with("//"));
        let program = lines.collect::<Vec<_>>().join("\n");
        let imported = imports.entry(room.clone()).or_default();
        imported.extend(program.split("crate::").skip(1).map(first_word));
        imported.remove(&room);
    }
    imports
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}
