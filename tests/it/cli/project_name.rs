//! The project name.

use super::*;

/// The name that the program uses with this flag, variable and file.
fn name_used(folder: &str, flag: Option<&str>, variable: Option<&str>, file: Option<&str>) -> String {
    let sandbox = Sandbox::in_folder(folder);
    sandbox.engine.world(|world| world.name = file.map(str::to_owned));
    let flag = flag.map(|name| vec!["--project-name", name]).unwrap_or_default();
    let mut program = sandbox.stagecraft(["dev", "--detach"].into_iter().chain(flag));
    if let Some(variable) = variable {
        program = program.env("COMPOSE_PROJECT_NAME", variable);
    }
    program.run().exits(0);
    let up = sandbox.engine.only(Verb::Up);
    let name = up.env[OsStr::new("COMPOSE_PROJECT_NAME")].to_string_lossy().into_owned();
    // Before the start all projects are asked for, for the sake of others of this checkout.
    for call in sandbox.engine.calls().iter().filter(|call| call.verb == Verb::Containers).skip(1) {
        assert!(call.line().contains(&format!("label=com.docker.compose.project={name} ")), "{}", call.line());
    }
    name
}

#[test]
fn the_project_name_is_the_flags_else_the_variables_else_the_files_else_the_folders() {
    let (flag, variable, file) = (Some("by-flag"), Some("by-variable"), Some("by-file"));
    assert_eq!(name_used("shop", flag, variable, file), "by-flag");
    assert_eq!(name_used("shop", None, variable, file), "by-variable");
    assert_eq!(name_used("shop", None, None, file), "by-file");
    assert_eq!(name_used("shop", None, None, None), "shop");
}

#[test]
fn an_empty_variable_names_nothing() {
    assert_eq!(name_used("shop", None, Some(""), None), "shop");
    assert_eq!(name_used("shop", None, Some(""), Some("by-file")), "by-file");
}

#[test]
fn the_folders_name_is_normalized_by_composes_rules() {
    for (folder, name) in [
        ("My Shop", "myshop"),
        ("shop.v2", "shopv2"),
        ("_-shop_-", "shop_-"),
        ("Caf\u{e9} \u{1f980}", "caf"),
        ("dev", "dev"),
    ] {
        assert_eq!(name_used(folder, None, None, None), name, "{folder}");
    }
}

#[test]
fn a_directory_name_without_valid_characters_needs_a_project_name() {
    let sandbox = Sandbox::in_folder("\u{65e5}\u{672c}");
    sandbox.run(["dev", "--detach"]).exits(3).tells(str![[r#"
error: the name of the workspace directory, [ROOT], contains no character of a project name
help: name the project with `--project-name`

"#]]);
    touches_nothing(&sandbox);
    assert_eq!(name_used("\u{65e5}\u{672c}", Some("given"), None, None), "given");
}

#[test]
fn a_variable_that_is_no_project_name_is_wrong_usage_unless_the_flag_overrides_it() {
    let sandbox = Sandbox::new();
    let run = |args: &[&str]| sandbox.stagecraft(args).env("COMPOSE_PROJECT_NAME", "My Shop").run();
    run(&["dev", "--detach"]).exits(2).says("invalid COMPOSE_PROJECT_NAME `My Shop`: a project name consists of");
    touches_nothing(&sandbox);
    run(&["dev", "--detach", "--project-name", "mine"]).exits(0);
}

#[test]
fn every_command_of_a_run_names_the_same_project() {
    let sandbox = short();
    sandbox.run(["dev", "--project-name", "mine"]).exits(0);
    for call in sandbox.engine.calls() {
        // The warning about other projects of this checkout asks for all.
        let is_about_all = call.line().contains("--filter label=com.docker.compose.project --format");
        assert!(is_about_all || call.line().contains("=mine "), "{}", call.line());
    }
}
