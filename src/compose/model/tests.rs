//! Which parts of Compose's model are read, and how.

use std::path::Path;

use super::*;

#[test]
fn a_stack_has_its_active_services_with_their_replicas() {
    let json = br#"{"name": "x", "services": {
        "web": {"image": "i", "ports": [{"target": 9000, "published": "80", "protocol": "tcp", "app_protocol": "http"}]},
        "three": {"scale": 3}, "two": {"deploy": {"replicas": 2}}, "none": {"scale": 0}}}"#;
    let stack = Stack::parse(json).unwrap();
    assert_eq!(stack.project.as_str(), "x");
    let replicas: Vec<_> = stack.services.iter().map(|(name, s)| (name.as_str(), s.replicas())).collect();
    assert_eq!(replicas, [("none", 0), ("three", 3), ("two", 2), ("web", 1)]);
    assert!(stack.has("web") && !stack.has("traefik"));
}

#[test]
fn a_model_that_cannot_be_read_is_not_quoted_in_the_error() {
    let error = format!("{:#}", Stack::parse(br#"{"name": 5, "secret": "hunter2"}"#).unwrap_err());
    assert_eq!(error, "cannot read what `docker compose config` printed: line 1, column 10");
}

#[test]
fn an_unreadable_value_is_named_by_service_and_key() {
    let json = br#"{"name": "x", "services": {"db": {}, "web": {"image": "i", "ports": [{"target": 70000}]}}}"#;
    let error = format!("{:#}", Stack::parse(json).unwrap_err());
    let words = "services.web.ports has a value that cannot be used here";
    assert_eq!(error, format!("cannot read what `docker compose config` printed: {words}"));
}

#[test]
fn every_file_that_compose_accepts_can_be_parsed() {
    let json = br#"{"name": "x", "services": {
        "many": {"scale": 5000000000}, "few": {"deploy": {"replicas": -1}}, "zero": {"ports": [{"protocol": "tcp"}]}}}"#;
    let stack = Stack::parse(json).unwrap();
    assert_eq!(stack.services["many"].replicas(), u32::MAX);
    assert_eq!(stack.services["few"].replicas(), 0);
    assert_eq!(stack.services["zero"].ports()[0].target, 0);
}

#[test]
fn a_stack_is_the_same_after_it_was_remembered() {
    let json = br#"{"name": "x", "services": {
        "api": {"build": {"args": {"TOKEN": "hunter2"}}, "environment": {"A": "hunter2"}, "scale": 2,
            "labels": {"dev.stagecraft.route": "http://x", "auth": "hunter2"},
            "ports": [{"target": 80, "published": "8080", "protocol": "tcp", "host_ip": "127.0.0.1"}],
            "volumes": [{"type": "bind", "source": "/a", "target": "/b"}],
            "healthcheck": {"test": ["CMD", "x"]}, "depends_on": {"p": {"condition": "service_started"}}},
        "p": {"provider": {"type": "x"}, "network_mode": "host"}}}"#;
    let stack = Stack::parse(json).unwrap();
    let text = serde_json::to_string(&stack).unwrap();
    assert!(!text.contains("hunter2"), "{text}");
    let again: Stack = serde_json::from_str(&text).unwrap();
    assert_eq!(format!("{again:#?}"), format!("{stack:#?}"));
    assert_eq!(again.services["api"].route(), Some("http://x"));
}

#[test]
fn a_scheme_is_what_the_file_states_or_a_well_known_port_stands_for() {
    let json = br#"{"name": "x", "services": {
        "web": {"ports": [{"target": 9000, "app_protocol": "https"}, {"target": 80, "app_protocol": "grpc"}]}}}"#;
    let stack = Stack::parse(json).unwrap();
    for (service, target, scheme) in [
        ("db", 5432, None),
        ("db", 8080, Some("http")),
        ("db", 443, Some("https")),
        ("web", 9000, Some("https")),
        ("web", 80, None),
    ] {
        assert_eq!(stack.scheme(service, target), scheme, "{service} {target}");
    }
}

#[test]
fn published_ports_are_numbers_ranges_or_the_engines_choice() {
    let port = |published: &str| {
        let json = format!(r#"{{"target": 80, "published": {published}}}"#);
        serde_json::from_str::<Port>(&json).unwrap().published()
    };
    assert_eq!(port(r#""8080""#), Some(8080..=8080));
    assert_eq!(port(r#""8000-8010""#), Some(8000..=8010));
    for chosen in ["null", r#""0""#, r#""""#, r#""x-y""#] {
        assert_eq!(port(chosen), None);
    }
}

#[test]
fn a_start_includes_the_named_services_and_their_dependencies() {
    let json = br#"{"name": "x", "services": {
        "web": {"depends_on": {"db": {"condition": "service_healthy"}}},
        "db": {"depends_on": {"init": {"condition": "service_completed_successfully"}, "off": {"condition": "x"}}},
        "init": {}, "other": {}}}"#;
    let stack = Stack::parse(json).unwrap();
    assert_eq!(stack.with_dependencies(["web"]), BTreeSet::from(["web", "db", "init"]));
    assert!(stack.is_one_shot("init") && !stack.is_one_shot("db"));
}

#[test]
fn a_folder_that_compose_creates_is_not_required() {
    let json = br#"{"name": "x", "services": {"web": {"volumes": [
        {"type": "bind", "source": "/made", "bind": {"create_host_path": true}}, {"type": "volume", "source": "data"},
        {"type": "bind", "source": "/needed", "bind": {}}, {"type": "bind", "source": "/long", "bind": null}]}}}"#;
    let stack = Stack::parse(json).unwrap();
    let web = &stack.services["web"];
    assert_eq!(web.bind_sources().count(), 3);
    assert_eq!(web.required_bind_sources().collect::<Vec<_>>(), [Path::new("/needed"), Path::new("/long")]);
}

#[test]
fn a_volume_is_configured_by_driver_options_and_labels() {
    let json = br#"{"name": "x", "volumes": {
        "a": {"name": "x_a"}, "b": {"name": "x_b", "driver": "local", "labels": {"k": "v"}},
        "c": {"name": "x_c", "driver_opts": {"type": "tmpfs"}}, "d": {"name": "other", "external": true}}}"#;
    let volumes = Stack::parse(json).unwrap().volumes;
    assert_eq!(volumes.keys().collect::<Vec<_>>(), ["x_a", "x_b", "x_c"]);
    let map = |key: &str, value: &str| BTreeMap::from([(key.to_string(), value.to_string())]);
    let (options, compose) = (map("type", "tmpfs"), map("com.docker.compose.project", "x"));
    assert_eq!(volumes["x_a"], VolumeConfig::new(Some("local"), None, Some(&compose)));
    assert_eq!(volumes["x_b"], VolumeConfig::new(None, None, Some(&map("k", "v"))));
    assert_eq!(volumes["x_c"], VolumeConfig::new(Some(""), Some(&options), None));
    assert_ne!(volumes["x_a"], volumes["x_b"]);
    assert_ne!(volumes["x_a"], volumes["x_c"]);
}

#[test]
fn a_service_without_an_image_has_one_of_composes_naming() {
    let json = br#"{"name": "x", "services": {"a": {"build": {"context": "."}}, "b": {"image": "postgres"}}}"#;
    let stack = Stack::parse(json).unwrap();
    assert_eq!(stack.services["a"].image(&stack.project, "a"), ("x-a".to_string(), true));
    assert_eq!(stack.services["b"].image(&stack.project, "b"), ("postgres".to_string(), false));
}
