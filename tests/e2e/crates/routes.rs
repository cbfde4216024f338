//! Routes through Traefik.

use super::*;

on_both_pairs![routes_lead_through_traefik, without_traefik];

/// A replacement for Traefik, whose image is not available to the tests: forwards requests to the service that `dynamic.yaml` gives for the host.
const PROXY: &str = r##"
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

fn main() {
    let listener = TcpListener::bind(("0.0.0.0", 80)).expect("the port is free");
    println!("proxy is ready");
    for connection in listener.incoming() {
        let mut connection = connection.expect("a connection");
        let mut request = [0; 1024];
        let read = connection.read(&mut request).expect("a request");
        let answer = answer(&request[..read]).unwrap_or_else(|| "HTTP/1.0 404 Not Found\r\n\r\nnowhere".to_string());
        connection.write_all(answer.as_bytes()).expect("an answer");
    }
}

fn answer(request: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(request).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("Host: "))?.trim();
    let routes = std::fs::read_to_string("/etc/traefik/dynamic.yaml").expect("the file of the routes");
    let after = routes.split(&format!("Host(`{host}`)")).nth(1)?;
    let service = after.lines().find_map(|line| line.trim().strip_prefix("service: "))?;
    let after = routes.split(&format!("http://{service}:")).nth(1)?;
    let port: String = after.chars().take_while(char::is_ascii_digit).collect();
    let mut service = TcpStream::connect(format!("{service}:{port}")).expect("the service is reached");
    service.write_all(request).expect("passed on");
    let mut answer = String::new();
    service.read_to_string(&mut answer).expect("an answer");
    Some(answer)
}
"##;

fn routed(image: &str, port: u16) -> String {
    let traefik = format!("traefik = {{image = '{image}', port = {port}}}\n");
    format!("[workspace.metadata.stagecraft.dev]\nnetworks = {{front = {{}}, back = {{}}}}\n{traefik}")
}

fn routes_lead_through_traefik(stage: &Stage) {
    let port = free_port(stage);
    let tables = routed(&format!("{}-proxy", stage.project), port);
    let packages = |tables: &str, api, db, web| {
        let proxy = Package { name: "proxy", keys: "", main: PROXY.to_string() };
        workspace(stage, tables, &[package("api", api), package("db", db), package("web", web), proxy]);
    };
    // Without a route there is no Traefik; this is for the image that stands in for it.
    packages(&tables, "", "", "");
    start(stage, &["proxy"]);
    stage.assert_running(&["api", "db", "proxy", "web"]);

    let api = "route = 8080\n";
    let web = "networks = ['front']\nroute = {port = 8080, host = 'www.shop.localhost'}\n";
    packages(&tables, api, "networks = ['back']\n", web);
    let started = stage.tool(&["dev", "--detach"]).run().with(0);
    started.says(&format!("http://api.localhost:{port}")).says(&format!("http://www.shop.localhost:{port}"));
    for service in ["api", "db", "web"] {
        stage.wait_for_log(service, &format!("{service} is ready"));
    }
    stage.wait_for_log("traefik", "proxy is ready");
    let address = format!("127.0.0.1:{port}");
    let open = |host: &str| get(&address, host, "/");
    assert_eq!(open("api.localhost"), "I am api");
    assert_eq!(open("www.shop.localhost"), "I am web");
    assert_eq!(open("db.localhost"), "nowhere");

    let traefik = stage.container("traefik");
    let inspect = |what: &str| stage.engine.ask(&["container", "inspect", "--format", what, &traefik]);
    let mount = "{{range .Mounts}}{{.Type}} {{.Source}} {{.Destination}} {{.RW}};{{end}}";
    let folder = dev_dir(stage).join("traefik");
    assert_eq!(inspect(mount), format!("bind {} /etc/traefik false;", folder.display()));
    let bound = format!(r#"{{"80/tcp":[{{"HostIp":"127.0.0.1","HostPort":"{port}"}}]}}"#);
    assert_eq!(inspect("{{json .HostConfig.PortBindings}}"), bound);
    let networks = inspect("{{range $name, $network := .NetworkSettings.Networks}}{{$name}} {{end}}");
    assert_eq!(networks.trim(), format!("{0}_default {0}_front", stage.project));

    // It sees for itself where a new route leads: nothing of it is recreated.
    packages(&tables, api, "networks = ['front']\nroute = 8080\n", web);
    start(stage, &["db"]);
    assert_eq!(open("db.localhost"), "I am db");
    assert_eq!(stage.container("traefik"), traefik);
    // What stands in for Traefik is the process 1 of its container and ignores SIGTERM.
    stage.tool(&["dev", "down", "--timeout", "0"]).run().with(0);
    stage.assert_gone();

    assert!(folder.join("dynamic.yaml").exists());
    packages("", "", "", "");
    stage.tool(&["dev", "files"]).run().with(0).says("Removing .stagecraft/dev/traefik/dynamic.yaml");
    assert!(!folder.exists());
}

fn without_traefik(stage: &Stage) {
    // Nobody asks for its port.
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    let keys = format!("{PUBLISHED}route = 8080\n");
    workspace(stage, &routed("stagecraft-test", port), &[package("api", &keys)]);
    let ended = stage.tool(&["dev", "--detach", "--no-traefik"]).run().with(0);
    ended.does_not_say("http://api.localhost").does_not_say("note: the stack has no");
    stage.wait_for_log("api", "api is ready");
    assert_eq!(ask(stage, "api", "/"), "I am api");
    stage.assert_running(&["api"]);
    assert_eq!(stage.containers().len(), 1);
    stage.take_down();
}
