//! The order of members and keys makes no difference.

use super::*;

/// A value with the keys of its tables in another order, where a table keeps any.
fn shuffled(value: &Value, random: &mut fastrand::Rng) -> Value {
    match value {
        Value::Object(table) => {
            let mut entries: Vec<_> = table.iter().map(|(key, value)| (key.clone(), shuffled(value, random))).collect();
            random.shuffle(&mut entries);
            Value::Object(Map::from_iter(entries))
        }
        Value::Array(all) => all.iter().map(|value| shuffled(value, random)).collect(),
        other => other.clone(),
    }
}

/// A value of a manifest with its keys in another order, and written in one line.
fn shuffled_toml(value: toml_edit::Value, random: &mut fastrand::Rng) -> toml_edit::Value {
    let mut value = match value {
        toml_edit::Value::InlineTable(table) => {
            let mut entries: Vec<(String, toml_edit::Value)> =
                table.into_iter().map(|(k, v)| (k.to_string(), v)).collect();
            random.shuffle(&mut entries);
            let mut shuffled = InlineTable::new();
            for (key, value) in entries {
                let value = match (key.as_str(), value) {
                    ("members", toml_edit::Value::Array(members)) => {
                        let mut members: Vec<_> = members.into_iter().collect();
                        random.shuffle(&mut members);
                        toml_edit::Value::Array(members.into_iter().collect())
                    }
                    (_, value) => shuffled_toml(value, random),
                };
                shuffled.insert(key, value);
            }
            toml_edit::Value::InlineTable(shuffled)
        }
        toml_edit::Value::Array(all) => {
            all.into_iter().map(|value| shuffled_toml(value, random)).collect::<toml_edit::Array>().into()
        }
        other => other,
    };
    // Comments and line ends.
    value.decor_mut().clear();
    value
}

fn shuffled_manifest(text: &str, random: &mut fastrand::Rng) -> String {
    let document: DocumentMut = text.parse().unwrap();
    let root = Item::Table(document.as_table().clone()).into_value().unwrap();
    let toml_edit::Value::InlineTable(root) = shuffled_toml(root, random) else { unreachable!("a table stays one") };
    root.iter().map(|(key, value)| format!("{key} = {value}\n")).collect()
}

#[test]
fn the_order_of_members_and_keys_in_manifests_does_not_matter() {
    for tree in trees() {
        let written = files(&fixtures().join(&tree).join("in"));
        for seed in 0..4 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut files = written.clone();
            for (_, text) in files.iter_mut().filter(|(path, _)| path.ends_with("Cargo.toml")) {
                *text = shuffled_manifest(text, &mut random);
            }
            assert_ne!(files, written, "they were shuffled");
            let (_dir, workspace) = discover(&files);
            let made = rendered(&workspace);
            let golden = golden(&tree);
            assert!(made == golden, "{tree}, seed {seed}: {}\n{files:#?}", differences(&golden, &made));
        }
    }
}

#[test]
fn the_order_of_packages_and_keys_does_not_matter() {
    let trees: Vec<_> = trees()
        .into_iter()
        .map(|tree| (discover(&files(&fixtures().join(&tree).join("in"))).1, golden(&tree)))
        .collect();
    proptest!(Config { failure_persistence: None, ..Config::with_cases(64) }, |(tree in 0..trees.len(), seed: u64)| {
        let (workspace, golden) = &trees[tree];
        let mut random = fastrand::Rng::with_seed(seed);
        let mut workspace = workspace.clone();
        random.shuffle(&mut workspace.packages);
        workspace.metadata = shuffled(&workspace.metadata, &mut random);
        for package in &mut workspace.packages {
            package.metadata = shuffled(&package.metadata, &mut random);
            random.shuffle(&mut package.binaries);
            random.shuffle(&mut package.features);
        }
        let made = rendered(&workspace);
        prop_assert!(made == *golden, "{}", differences(golden, &made));
    });
}
