//! Crates that are built as the developer builds them, and what their images take from this machine.

use super::*;
use crate::own_engine::OwnEngine;

on_both_pairs![
    the_first_start_after_a_build_compiles_nothing,
    the_image_has_what_the_program_needs_of_this_machine,
    static_programs_on_demand,
    another_target_directory,
    a_missing_library_starts_nothing,
    a_library_that_is_not_static_names_the_way_out,
    with_the_image_store_of_containerd
];

/// A library with a feature that only a member without a service enables.
fn with_features(stage: &Stage) {
    let tables = "[workspace.dependencies]\nshared = { path = 'shared' }\n";
    workspace(stage, tables, &[package("api", PUBLISHED), package("db", PUBLISHED), package("tool", "")]);
    let manifest = "[package]\nname = \"shared\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[features]\nmore = []\n";
    fs::create_dir_all(stage.root().join("shared/src")).expect("folders");
    write(&stage.root().join("shared/Cargo.toml"), manifest);
    write(&stage.root().join("shared/src/lib.rs"), "pub fn answer() -> bool { cfg!(feature = \"more\") }\n");
    for (name, features) in [("api", ""), ("db", ""), ("tool", ", features = ['more']")] {
        let manifest = stage.root().join(name).join("Cargo.toml");
        let text = fs::read_to_string(&manifest).expect("a manifest");
        let text = text.replace(
            "\n[package.metadata",
            &format!("[dependencies]\nshared = {{ workspace = true{features} }}\n\n[package.metadata"),
        );
        // No service of its own.
        let text = if name == "tool" { text.replace("[package.metadata.stagecraft.dev]\n", "") } else { text };
        write(&manifest, &text);
    }
}

fn the_first_start_after_a_build_compiles_nothing(stage: &Stage) {
    with_features(stage);
    stage.program("cargo", &["build", "--quiet", "--offline"]).run().with(0);
    // One service, and then all.
    let first = stage.tool(&["dev", "--detach", "--", "api"]).run().with(0).does_not_say("Compiling");
    first.says("Loading image");
    stage.tool(&["dev", "--detach"]).run().with(0).does_not_say("Compiling");
    stage.wait_for_log("api", "api is ready");
    assert_eq!(ask(stage, "api", "/"), "I am api");
    assert!(!stage.root().join("target/stagecraft").join("debug").exists(), "nothing was built apart");
    // Nor does the next build of one's own.
    stage.program("cargo", &["build", "--offline"]).run().with(0).does_not_say("Compiling");
    stage.take_down();
}

fn the_image_has_what_the_program_needs_of_this_machine(stage: &Stage) {
    workspace(stage, "", &[package("api", PUBLISHED)]);
    start(stage, &["api"]);
    let read = |path: &str| ask(stage, "api", &format!("/read?{path}"));
    assert!(read("/proc/self/maps").contains("/libc.so.6"), "the program has its shared libraries");
    assert!(read("/etc/passwd").contains("nonroot:x:65532:65532:"));
    let there = |path: &str| fs::read_to_string(path).ok();
    let certificates = "/etc/ssl/certs/ca-certificates.crt";
    if let Some(of_this_machine) = there(certificates) {
        assert_eq!(ask(stage, "api", "/env?SSL_CERT_FILE"), certificates);
        assert!(read(certificates).trim() == of_this_machine.trim(), "the certificates are others");
    }
    let zones = "/usr/share/zoneinfo/zone.tab";
    if let Some(of_this_machine) = there(zones) {
        assert!(read(zones).trim() == of_this_machine.trim(), "the zones are others");
    }
    // An image of the same files is the same.
    let first = image(stage, "api");
    stage.tool(&["dev", "down", "--images"]).run().with(0);
    fs::remove_file(dev_dir(stage).join("images/api.json")).expect("the record");
    start(stage, &["api"]);
    assert_eq!(image(stage, "api"), first);
    stage.tool(&["dev", "down", "--images"]).run().with(0);
    let left = stage.engine.ask(&["image", "ls", "--quiet", &format!("{}-api", stage.project)]);
    assert_eq!(left, "", "the image was removed");
}

fn static_programs_on_demand(stage: &Stage) {
    workspace(stage, "[workspace.metadata.stagecraft.dev]\nstatic = true\n", &[package("api", PUBLISHED)]);
    start(stage, &["api"]);
    assert!(!ask(stage, "api", "/read?/proc/self/maps").contains("/libc.so.6"));
    assert!(stage.root().join("target/stagecraft").is_dir());
    stage.take_down();
}

fn another_target_directory(stage: &Stage) {
    let tables = "[workspace.metadata.stagecraft.dev]\ntarget-dir = 'target/dev'\n";
    workspace(stage, tables, &[package("api", PUBLISHED)]);
    start(stage, &["api"]);
    assert!(stage.root().join("target/dev/debug/api").is_file());
    assert!(!stage.root().join("target/debug").exists());
    stage.take_down();
}

/// A workspace with a program that needs a shared library in a directory of its own.
fn with_a_library(stage: &Stage, tables: &str) {
    workspace(stage, tables, &[package("api", PUBLISHED)]);
    fs::create_dir_all(stage.root().join("lib")).expect("a folder");
    write(&stage.root().join("lib.c"), "int answer(void) { return 42; }\n");
    let library = ["-shared", "-Wl,-soname,libanswer.so.1", "-o", "lib/libanswer.so", "lib.c"];
    stage.program("cc", &library).run().with(0);
    let main = "#[link(name = \"answer\")]\nunsafe extern \"C\" { fn answer() -> i32; }\nfn main() { println!(\"{}\", unsafe { answer() }) }\n";
    write(&main_of(stage, "api"), main);
    let script =
        format!("fn main() {{ println!(\"cargo:rustc-link-search={}\") }}\n", stage.root().join("lib").display());
    write(&stage.root().join("api/build.rs"), &script);
}

fn a_library_that_is_not_static_names_the_way_out(stage: &Stage) {
    with_a_library(stage, "[workspace.metadata.stagecraft.dev]\nstatic = true\n");
    let failed = stage.tool(&["dev", "--detach"]).run().with(1);
    failed
        .says("error: the programs of the stack cannot be built; nothing was started\nhelp: ")
        .says("remove `static`");
    // Another failure has nothing to do with it.
    write(&main_of(stage, "api"), BROKEN);
    stage.tool(&["dev", "--detach"]).run().with(1).does_not_say("help: a program");
}

/// As one that only `LD_LIBRARY_PATH` of a developer's shell leads to.
fn a_missing_library_starts_nothing(stage: &Stage) {
    with_a_library(stage, "");
    let failed = stage.tool(&["dev", "--detach"]).run().with(1);
    failed
        .says("error: a shared library of ")
        .says("was not found: libanswer.so.1")
        .says("help: ")
        .does_not_say("Starting");
    stage.assert_gone();
}

/// Engine 20.10 does not have it, and keeps its own.
fn with_the_image_store_of_containerd(stage: &Stage) {
    let engine = OwnEngine::start_with(stage, "{\"features\": {\"containerd-snapshotter\": true}}\n");
    workspace(stage, "", &[package("api", ""), package("db", "")]);
    let start = || stage.tool(&["dev", "--detach", "--wait"]).env("DOCKER_HOST", engine.host()).run().with(0);
    let containers = || engine.try_ask(&["ps", "--quiet", "--no-trunc"]).expect("the containers");
    start().says("Loading image");
    let before = containers();
    start().does_not_say("Loading image");
    assert_eq!(containers(), before, "nothing has changed");
    write(&main_of(stage, "api"), &program("api", "I am another", 8080));
    start()
        .says(&format!("Loading image {}-api", stage.project))
        .does_not_say(&format!("Loading image {}-db", stage.project));
    assert_ne!(containers(), before);
    stage.tool(&["dev", "down", "--images"]).env("DOCKER_HOST", engine.host()).run().with(0);
    let left = engine.try_ask(&["image", "ls", "--quiet", "--filter", "label=dev.stagecraft.image"]);
    assert_eq!(left.as_deref(), Some(""), "an image is left");
    engine.assert_gone();
}
