use serde_json::json;

use super::*;
use crate::exit::Code;

/// The package `api` with a binary of its name, in `crates/api` of the workspace.
fn api(metadata: Value) -> Package {
    Package {
        name: "api".to_string(),
        manifest_path: "/w/shop/crates/api/Cargo.toml".into(),
        metadata,
        binaries: vec!["api".to_string()],
        ..Package::default()
    }
}

fn workspace(metadata: Value, packages: Vec<Package>) -> Workspace {
    let mut workspace = Workspace::at("/w/shop");
    (workspace.metadata, workspace.packages) = (metadata, packages);
    workspace
}

#[track_caller]
fn planned(metadata: Value, packages: Vec<Package>) -> Topology {
    plan(&workspace(metadata, packages)).unwrap().expect("a stack is described")
}

/// The whole of what is said, help and all, that it is about the manifests, and that it is nobody else's fault.
#[track_caller]
fn refused(metadata: Value, packages: Vec<Package>) -> String {
    let failure = plan(&workspace(metadata, packages)).unwrap_err();
    assert_eq!(failure.code(), Code::NothingToRun, "{failure}");
    let help = failure.next_step().map(|help| format!("\nhelp: {help}")).unwrap_or_default();
    format!("{failure}{help}")
}

const OF_WORKSPACE: &str = "Cargo.toml: [workspace.metadata.stagecraft.dev";
const OF_API: &str = "crates/api/Cargo.toml: [package.metadata.stagecraft.dev";

/// Each table of the workspace, and the error behind [`OF_WORKSPACE`].
#[track_caller]
fn workspaces_are_refused(table: impl IntoIterator<Item = (Value, &'static str)>) {
    for (metadata, expected) in table {
        assert_eq!(refused(metadata.clone(), vec![]), format!("{OF_WORKSPACE}{expected}"), "{metadata}");
    }
}

/// Each table of the package `api`, and the error behind [`OF_API`].
#[track_caller]
fn packages_are_refused(table: impl IntoIterator<Item = (Value, &'static str)>) {
    for (metadata, expected) in table {
        let said = refused(Value::Null, vec![api(metadata.clone())]);
        assert_eq!(said, format!("{OF_API}{expected}"), "{metadata}");
    }
}

#[test]
fn manifests_that_do_not_speak_of_a_stack_describe_none() {
    assert_eq!(plan(&workspace(Value::Null, vec![api(Value::Null)])).unwrap(), None);
    assert_eq!(planned(json!({}), vec![]), Topology::default());
    assert_eq!(planned(Value::Null, vec![api(json!({}))]).services.keys().collect::<Vec<_>>(), ["api"]);
}

#[test]
fn an_unknown_key_is_rejected_with_a_suggestion() {
    workspaces_are_refused([
        (
            json!({"project_name": "x"}),
            "] `project_name` is not known\nhelp: a key with a similar name exists: `project-name`",
        ),
        (json!({"service": {}}), "] `service` is not known\nhelp: a key with a similar name exists: `services`"),
        (json!({"zzz": 1}), "] `zzz` is not known"),
        (
            json!({"traefik": {"ports": 80}}),
            ".traefik] `ports` is not known\nhelp: a key with a similar name exists: `port`",
        ),
        (
            json!({"services": {"db": {"image": "x", "enviroment": {}}}}),
            ".services.db] `enviroment` is not known\nhelp: a key with a similar name exists: `environment`",
        ),
        // What is a key of crates only.
        (json!({"services": {"db": {"bin": "db"}}}), ".services.db] `bin` is not known"),
        (
            json!({"services": {"db": {"route": {"port": 1, "hosts": "x"}}}}),
            ".services.db.route] `hosts` is not known\nhelp: a key with a similar name exists: `host`",
        ),
    ]);
    packages_are_refused([
        (json!({"feature": []}), "] `feature` is not known\nhelp: a key with a similar name exists: `features`"),
        (json!({"Port": 1}), "] `Port` is not known\nhelp: a key with a similar name exists: `ports`"),
        (
            json!({"route": {"port": 1, "paths": "/"}}),
            ".route] `paths` is not known\nhelp: a key with a similar name exists: `path`",
        ),
        (json!({"services": {}}), "] `services` is not known\nhelp: a key with a similar name exists: `service`"),
    ]);
}

#[test]
fn extension_keys_are_copied() {
    let topology = planned(json!({"x-a": 1, "services": {"db": {"x-b": 2, "image": "db"}}}), vec![]);
    assert_eq!(topology.services["db"]["x-b"], 2);
}

#[test]
fn a_value_of_another_type_is_refused() {
    let above = "Cargo.toml: [workspace.metadata.stagecraft] `dev` must be a table, found a boolean";
    assert_eq!(refused(json!(true), vec![]), above);
    let above = "crates/api/Cargo.toml: [package.metadata.stagecraft] `dev` must be a table, found a string";
    assert_eq!(refused(Value::Null, vec![api(json!("api"))]), above);
    workspaces_are_refused([
        (json!({"configs": []}), "] `configs` must be a table, found an array"),
        (json!({"configs": {"a": "x"}}), ".configs] `a` must be a table, found a string"),
        (json!({"domain": 1}), "] `domain` must be a string, found an integer"),
        (json!({"networks": "front"}), "] `networks` must be a table, found a string"),
        (json!({"networks": {"a": true}}), ".networks] `a` must be a table, found a boolean"),
        (json!({"project-name": ["shop"]}), "] `project-name` must be a string, found an array"),
        (json!({"secrets": 1.5}), "] `secrets` must be a table, found a float"),
        (json!({"secrets": {"a": 1}}), ".secrets] `a` must be a table, found an integer"),
        (json!({"services": ["db"]}), "] `services` must be a table, found an array"),
        (json!({"services": {"db": "postgres"}}), ".services] `db` must be a table, found a string"),
        (json!({"static": "yes"}), "] `static` must be a boolean, found a string"),
        (json!({"target": {}}), "] `target` must be a string, found a table"),
        (json!({"target-dir": 1}), "] `target-dir` must be a string, found an integer"),
        (json!({"target": ""}), "] `target` is empty"),
        (json!({"traefik": false}), "] `traefik` must be a table, found a boolean"),
        (json!({"traefik": {"image": 3}}), ".traefik] `image` must be a string, found an integer"),
        (json!({"traefik": {"image": ""}}), ".traefik] `image` is empty"),
        (json!({"traefik": {"port": "80"}}), ".traefik] `port` must be a port, found a string"),
        (json!({"traefik": {"port": 0}}), ".traefik] `port` is 0, and ports are from 1 to 65535"),
        (json!({"volumes": ["data"]}), "] `volumes` must be a table, found an array"),
        (json!({"volumes": {"data": "x"}}), ".volumes] `data` must be a table, found a string"),
    ]);
    packages_are_refused([
        (json!({"base": 1}), "] `base` must be a string, found an integer"),
        (json!({"base": ""}), "] `base` is empty"),
        (json!({"base": "debian\nRUN x"}), "] `base` is \"debian\\nRUN x\", which is not an image name"),
        (json!({"bin": true}), "] `bin` must be a string, found a boolean"),
        (json!({"features": "tls"}), "] `features` must be an array of strings, found a string"),
        (json!({"features": [1]}), "] `features` must be a string, found an integer"),
        (json!({"profile": []}), "] `profile` must be a string, found an array"),
        (json!({"service": {}}), "] `service` must be a string, found a table"),
        (json!({"service": ""}), "] `service` is empty"),
    ]);
}

#[test]
fn a_toml_date_becomes_a_string() {
    let date = json!({"$__toml_private_datetime": "1979-05-27"});
    let topology = planned(
        json!({"project-name": date, "services": {"db": {"labels": {"born": date}, "command": [date]}}}),
        vec![],
    );
    assert_eq!(topology.project_name.unwrap().as_str(), "1979-05-27");
    assert_eq!(topology.services["db"]["labels"], json!({"born": "1979-05-27"}));
    assert_eq!(topology.services["db"]["command"], json!(["1979-05-27"]));
    workspaces_are_refused([(json!({"services": date}), "] `services` must be a table, found a string")]);
}

#[test]
fn a_project_name_is_one_that_compose_takes() {
    const RULE: &str = "a project name consists of lower-case letters, digits, `-` and `_`, and begins with a letter or \
                            a digit";
    for name in ["Shop", "-shop", "my shop", "shöp", "a.b"] {
        let expected = format!("{OF_WORKSPACE}] `project-name` is `{name}`: {RULE}");
        assert_eq!(refused(json!({"project-name": name}), vec![]), expected);
    }
    assert_eq!(refused(json!({"project-name": ""}), vec![]), format!("{OF_WORKSPACE}] `project-name` is empty"));
}

#[test]
fn a_service_has_one_name_and_no_other_has_it() {
    let both = |first: &str, second: &str| {
        let web = Package {
            name: "web".to_string(),
            manifest_path: "/w/shop/web/Cargo.toml".into(),
            binaries: vec!["web".to_string()],
            metadata: json!({"service": second}),
            ..Package::default()
        };
        refused(json!({"services": {"db": {"image": "db"}}}), vec![api(json!({"service": first})), web])
    };
    let expected = "web/Cargo.toml: [package.metadata.stagecraft.dev] `service` is `x`, the same as in \
                        [package.metadata.stagecraft.dev] in crates/api/Cargo.toml\n\
                        help: give one of them another name with `service = \"…\"`";
    assert_eq!(both("x", "x"), expected);
    let expected = "web/Cargo.toml: [package.metadata.stagecraft.dev] `service` is `db`, the same as in \
                        [workspace.metadata.stagecraft.dev.services.db] in Cargo.toml\n\
                        help: give one of them another name with `service = \"…\"`";
    assert_eq!(both("x", "db"), expected);
}

#[test]
fn a_service_has_a_name_that_compose_takes() {
    const RULE: &str = "a service's name consists of letters, digits, `.`, `_` and `-`";
    workspaces_are_refused([
        (
            json!({"services": {"a b": {}}}),
            ".services.\"a b\"] `service` is `a b`: a service's name consists of letters, digits, `.`, `_` and `-`",
        ),
        (
            json!({"services": {"": {}}}),
            ".services.\"\"] `service` is ``: a service's name consists of letters, digits, `.`, `_` and `-`",
        ),
        // No line of an error is forged.
        (
            json!({"services": {"a\nerror: b": {}}}),
            ".services.\"a\\nerror: b\"] `service` is `a\\nerror: b`: a service's name consists of letters, digits, `.`, `_` and `-`",
        ),
        // A name that is none of TOML's bare keys is quoted as it is in there.
        (
            json!({"services": {"a.b": {"imag": ""}}}),
            ".services.\"a.b\"] `imag` is not known\nhelp: a key with a similar name exists: `image`",
        ),
    ]);
    assert!(planned(json!({"services": {"a.b_C-9": {}}}), vec![]).services.contains_key("a.b_C-9"));
    assert!(refused(json!({"services": {"é": {}}}), vec![]).ends_with(RULE));
}

/// Where the image is made here it gets that name from Compose, and a folder of the dev dir too.
#[test]
fn a_crate_has_a_name_that_its_image_can_have() {
    for name in ["Api", ".", "..", "../x", ".gitignore", "-api", "api_", "a..b", "a___b", "a_.b", "ünï"] {
        let what = format!(
            "is `{name}`, which is not a valid image name: use lower-case letters and digits, with single `.`, `_` or `-` between \
                 them\nhelp: give it another name with `service = \"…\"`"
        );
        let expected = format!("{OF_API}] `service` {what}");
        assert_eq!(refused(Value::Null, vec![api(json!({"service": name}))]), expected);
        let package = Package { name: name.to_string(), ..api(json!({})) };
        assert_eq!(refused(Value::Null, vec![package]), expected);
    }
    for name in ["api", "9", "a-b", "a--b", "a_b", "a__b", "a.b-1"] {
        assert!(planned(Value::Null, vec![api(json!({"service": name}))]).crates.contains_key(name), "{name}");
    }
}

#[test]
fn a_crate_needs_one_binary() {
    let with = |binaries: &[&str], default_run: Option<&str>, metadata: Value| Package {
        binaries: binaries.iter().map(ToString::to_string).collect(),
        default_run: default_run.map(str::to_string),
        ..api(metadata)
    };
    for (package, expected) in [
        (with(&[], None, json!({})), "] `bin` is not possible: package `api` has no binary"),
        (with(&[], None, json!({"bin": "api"})), "] `bin` is not possible: package `api` has no binary"),
        (with(&["a", "b"], None, json!({})), "] `bin` is missing: the package has `a`, `b`"),
        (
            with(&["a", "b"], Some("a"), json!({"bin": "c"})),
            "] `bin` is `c`: no such binary in the package; available: `a`, `b`",
        ),
        (with(&["a"], None, json!({"bin": ""})), "] `bin` is empty"),
    ] {
        assert_eq!(refused(Value::Null, vec![package]), format!("{OF_API}{expected}"));
    }
    for (package, bin) in [
        (with(&["a"], None, json!({})), "a"),
        (with(&["a", "b"], Some("b"), json!({})), "b"),
        (with(&["a", "b"], Some("b"), json!({"bin": "a"})), "a"),
    ] {
        assert_eq!(planned(Value::Null, vec![package]).crates["api"].bin, bin);
    }
}

#[test]
fn two_binaries_of_one_name_would_be_built_into_one_place() {
    let package = |name: &str, metadata: Value| Package {
        name: name.to_string(),
        binaries: vec!["server".to_string()],
        manifest_path: format!("/w/shop/{name}/Cargo.toml").into(),
        metadata,
        ..Package::default()
    };
    let same = vec![package("api", json!({})), package("web", json!({}))];
    let expected = "web/Cargo.toml: [package.metadata.stagecraft.dev] `bin` is `server`, the same as for service \
                        `api`\nhelp: give one of the binaries another name";
    assert_eq!(refused(Value::Null, same), expected);
    let apart = vec![package("api", json!({})), package("web", json!({"profile": "release"}))];
    assert_eq!(planned(Value::Null, apart).crates.len(), 2);
}

#[test]
fn a_crate_is_built_as_its_table_says() {
    let package = Package { features: vec!["a".to_string(), "b".to_string()], ..api(json!({"features": ["b", "c"]})) };
    let expected = format!("{OF_API}] `features` contains `c`: no such feature in the package");
    assert_eq!(refused(Value::Null, vec![package.clone()]), expected);
    let what = "cannot be set: the image of a crate is built from its binary; use `base` to choose the base image";
    let with_build = api(json!({"build": {"context": "."}}));
    assert_eq!(refused(Value::Null, vec![with_build]), format!("{OF_API}] `build` {what}"));

    let metadata = json!({"features": ["b", "a", "b"], "base": "debian", "profile": "release", "init": false});
    let topology = planned(Value::Null, vec![Package { metadata, ..package }]);
    let krate = Crate {
        package: "api".to_string(),
        bin: "api".to_string(),
        base: Base::Image("debian".to_string()),
        profile: "release".to_string(),
        features: vec!["a".to_string(), "b".to_string()],
        listen: Vec::new(),
    };
    assert_eq!(topology.crates["api"], krate);
    // This program's own keys are not passed to Compose.
    assert_eq!(topology.services["api"], Keys::from([("init".to_string(), json!(false))]));
    let krate = &planned(Value::Null, vec![api(json!({"base": "scratch"}))]).crates["api"];
    assert_eq!((&krate.base, krate.profile.as_str()), (&Base::Scratch, "dev"));
}

#[test]
fn a_route_leads_to_a_port() {
    packages_are_refused([
        (json!({"route": 0}), "] `route` is 0, and ports are from 1 to 65535"),
        (json!({"route": 70000}), "] `route` is 70000, and ports are from 1 to 65535"),
        (json!({"route": -1}), "] `route` is -1, and ports are from 1 to 65535"),
        (json!({"route": "x"}), "] `route` must be a port or a table, found a string"),
        (json!({"route": 80.5}), "] `route` must be a port, found a float"),
        (json!({"route": [80]}), "] `route` must be a port or a table, found an array"),
        (json!({"route": {"port": 0}}), ".route] `port` is 0, and ports are from 1 to 65535"),
        (json!({"route": {"port": 65536}}), ".route] `port` is 65536, and ports are from 1 to 65535"),
        (json!({"route": {"port": "x"}}), ".route] `port` must be a port, found a string"),
        (json!({"route": {}}), ".route] `port` is missing"),
        (json!({"route": {"host": "x.localhost"}}), ".route] `port` is missing"),
        (
            json!({"route": 80, "network_mode": "host"}),
            "] `route` is not possible: with `network_mode` \"host\" the service is in no network of the stack",
        ),
    ]);
    workspaces_are_refused([(
        json!({"services": {"web": {"route": 0}}}),
        ".services.web] `route` is 0, and ports are from 1 to 65535",
    )]);
    for port in [1, 65535] {
        assert_eq!(planned(Value::Null, vec![api(json!({"route": port}))]).routes[0].port, port);
    }
}

#[test]
fn a_route_has_a_host_and_a_path_that_can_be() {
    let long = "x".repeat(64);
    for host in ["a b", "a..b", ".a", "a.", "http://a", "a:80", "a`)", "é.localhost", &long] {
        let said = refused(Value::Null, vec![api(json!({"route": {"port": 80, "host": host}}))]);
        assert_eq!(said, format!("{OF_API}.route] `host` is `{host}`, which is not a host name"));
        let said = refused(json!({"domain": host}), vec![]);
        assert_eq!(said, format!("{OF_WORKSPACE}] `domain` is `{host}`, which is not a host name"));
    }
    for path in ["v1", "/a b", "/a`", "/a?b", "/a#b", "/é"] {
        let said = refused(Value::Null, vec![api(json!({"route": {"port": 80, "path": path}}))]);
        let rule = "a path must begin with `/` and must not contain a space, backquote, `?` or `#`";
        assert_eq!(said, format!("{OF_API}.route] `path` is `{path}`; {rule}"));
    }
    packages_are_refused([
        (json!({"route": {"port": 80, "host": ""}}), ".route] `host` is empty"),
        (json!({"route": {"port": 80, "host": 1}}), ".route] `host` must be a string, found an integer"),
        (json!({"route": {"port": 80, "path": ""}}), ".route] `path` is empty"),
        (json!({"route": {"port": 80, "path": true}}), ".route] `path` must be a string, found a boolean"),
    ]);
}

#[test]
fn a_route_has_a_url_of_its_own() {
    let web = |route: Value| json!({"services": {"web": {"image": "x", "route": route}}, "traefik": {"port": 8000}});
    for (first, second, url) in [
        (json!({"port": 1, "host": "x.localhost"}), json!({"port": 2, "host": "X.localhost"}), "x.localhost:8000"),
        (json!({"port": 1, "host": "a", "path": "/v"}), json!({"port": 1, "host": "a", "path": "/v"}), "a:8000/v"),
        (json!({"port": 1, "host": "a", "path": "/"}), json!({"port": 1, "host": "a"}), "a:8000"),
    ] {
        let said = refused(web(first.clone()), vec![api(json!({"route": second}))]);
        // Of the two it is the later one by name that is refused.
        let expected = format!("{OF_WORKSPACE}.services.web] `route` is http://{url}, the same as for service `api`");
        assert_eq!(said, expected);
    }
    let different = planned(
        web(json!({"port": 1, "host": "a", "path": "/v"})),
        vec![api(json!({"route": {"port": 1, "host": "a"}}))],
    );
    let urls: Vec<String> = different.routes.iter().map(|route| different.url(route)).collect();
    assert_eq!(urls, ["http://a:8000", "http://a:8000/v"]);
}

#[test]
fn a_route_is_called_after_its_service_wherever_the_domain_stands() {
    let topology = planned(
        json!({"domain": "shop.test", "services": {"web": {"route": 80}}}),
        vec![api(json!({
            "route": 8080,
        }))],
    );
    let urls: Vec<String> = topology.routes.iter().map(|route| topology.url(route)).collect();
    assert_eq!(urls, ["http://api.shop.test", "http://web.shop.test"]);
}

#[test]
fn a_service_named_traefik_beside_routes_is_rejected() {
    let of_ours = json!({"services": {"traefik": {"image": "x"}}});
    let expected = format!(
        "{OF_WORKSPACE}.services.traefik] `service` is `traefik`, the name of the service that implements routes\n\
             help: set its `image` and `port` in [workspace.metadata.stagecraft.dev.traefik]"
    );
    assert_eq!(refused(of_ours.clone(), vec![api(json!({"route": 80}))]), expected);
    let without_routes = planned(of_ours, vec![api(json!({}))]);
    assert!(without_routes.services.contains_key("traefik"));
}
