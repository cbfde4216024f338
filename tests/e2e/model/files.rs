//! Random compose files, most of them nearly right.

use std::fs;
use std::path::Path;

use cargo_stagecraft::internals::workspace::COMPOSE_FILE;
use fastrand::Rng;

/// The compose files of this repository, and those that are made of its Cargo.toml files.
pub fn fixtures() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let failures = fs::read_dir(root.join("failures")).expect("the fixtures");
    let failures = failures.map(|it| it.expect("a fixture").path().join(COMPOSE_FILE));
    let made = fs::read_dir(root.join("devfile")).expect("the fixtures");
    let made = made.map(|it| it.expect("a fixture").path().join("out/compose.yaml"));
    let mut files: Vec<_> = failures.chain(made).collect();
    files.sort();
    files.iter().map(|file| fs::read_to_string(file).expect("a compose file")).collect()
}

/// A file with one to three things in it that were not there, or not there.
pub fn mutated(rng: &mut Rng, files: &[String]) -> String {
    const PIECES: [&str; 34] = [
        "#", " #x", ":", ": ", "-", "- ", "\"", "'", "[", "]", "{", "}", ",", "|", ">", "&a ", "*a", "!!str ", "~",
        "null", "true", "0", "1", "8080", "1.5", " ", "  ", "\n", "\t", "$", "${A}", "${A:?}", "/", "\u{e9}",
    ];
    let mut text = files[rng.usize(..files.len())].clone();
    for _ in 0..rng.usize(1..4) {
        let mut lines: Vec<String> = text.lines().map(String::from).collect();
        let at = rng.usize(..lines.len().max(1));
        let Some(line) = lines.get_mut(at) else { continue };
        let mut column = rng.usize(..=line.len());
        while !line.is_char_boundary(column) {
            column -= 1;
        }
        match rng.u8(..8) {
            0..=2 => line.insert_str(column, PIECES[rng.usize(..PIECES.len())]),
            3 if line[column..].chars().next().is_some() => {
                line.remove(column);
            }
            4 => line.truncate(column),
            5 => {
                lines.remove(at);
            }
            6 => {
                let line = lines[at].clone();
                lines.insert(rng.usize(..=lines.len()), line);
            }
            _ => {
                let other = rng.usize(..lines.len());
                lines.swap(at, other);
            }
        }
        text = lines.join("\n") + "\n";
    }
    text
}

/// What may stand behind each key: mostly what is valid, and what nearly is.
const VALUES: [(&str, &[&str]); 38] = [
    (
        "image",
        &[
            "nginx",
            "\"postgres:17\"",
            "a.example:5000/b/c:1",
            "Nginx",
            "''",
            "nginx:",
            "x@sha256:00",
            "-x",
            "5",
            "a b",
            "${IMAGE:-x}",
            "x:$A",
        ],
    ),
    (
        "build",
        &[
            ".",
            "../..",
            "{context: .}",
            "{context: ../.., dockerfile: Dockerfile.dev, target: dev}",
            "{dockerfile: x}",
            "{context: ., args: {A: b, N: 1}}",
            "{context: ., dockerfile_inline: \"FROM x\\n\"}",
            "{context: ., dockerfile: x, dockerfile_inline: \"FROM x\"}",
            "https://example.org/x.git",
            "null",
            "{}",
            "\n      context: .\n      dockerfile_inline: |\n        FROM scratch\n        COPY a /b\n",
        ],
    ),
    (
        "command",
        &[
            "[sh, -c, 'exit 0']",
            "server --port 80",
            "[a, 1]",
            "\"it's\"",
            "null",
            "[]",
            "[sh, -c, \"echo $$HOME ${A:-b} $X\"]",
            "[\"${A:?no}\"]",
            "[\"${A\"]",
            "''",
            "- x",
            "\n      - server\n      - --port=80",
            "a -b c=d",
            "[a, ]",
            "[-c, --x, -1]",
            "true",
        ],
    ),
    ("entrypoint", &["[/serve]", "/serve", "''", "[]", "[1]"]),
    ("container_name", &["shop", "_x", "a b", "x", "shop-1.2_3"]),
    ("hostname", &["web", "web.example", "a_b", "5"]),
    (
        "environment",
        &[
            "{A: b}",
            "{A: 1, B_2: \"\"}",
            "[A=b, C=]",
            "[A=b, A=c]",
            "[A]",
            "{A: null}",
            "{A: true}",
            "{A: 1.5}",
            "{A: \"${X:-y}\"}",
            "{A: \"${X:?}\"}",
            "{A: \"$\"}",
            "{A: '${X-y}'}",
            "\n      A: b c d\n      URL: postgres://a:b@c:5432/d?x=y",
            "\n      - A=b\n      - B=c d",
            "[]",
            "{}",
            "null",
            "{A: [b]}",
            "{a-b: c}",
            "{A: \"a: b\", B: 'c # d'}",
            "{A: http://x:80/y}",
            "{A: \"${X:-a b}\"}",
            "{A: \"${X:-${Y}}\"}",
            "{A: $X/$Y}",
            "{A: 0}",
            "{A: 007}",
            "{A: off}",
        ],
    ),
    ("expose", &["[80]", "[\"80\", 443]", "[\"80-90\"]", "[80, 80]", "[0]", "[80, \"80\"]", "[99999]"]),
    (
        "ports",
        &[
            "[80]",
            "[\"8080:80\"]",
            "[8080:80]",
            "['127.0.0.1:8080:80/udp']",
            "[\"8000-8010:80-90\"]",
            "[\"8080:80\", \"8080:80\"]",
            "[\"8080:80\", 8080:80/tcp]",
            "[\"0:80\"]",
            "[\"08080:80\"]",
            "[\"80:0\"]",
            "[\"[::1]:80:80\"]",
            "[\"127.0.0.1::80\"]",
            "[\"999.0.0.1:80:80\"]",
            "[\"8080:80/sctp\"]",
            "[\"70000:80\"]",
            "[22:22]",
            "[59:59]",
            "\n      - 8080:80\n      - 127.0.0.1:8081:81",
            "[]",
            "null",
            "[{target: 80}]",
            "[{target: 80, published: \"8080\"}]",
            "[{target: 80, published: 8080, protocol: udp, host_ip: 127.0.0.1}]",
            "[{target: \"80\"}]",
            "[{published: 80}]",
            "[{target: 80, mode: host}]",
            "[{target: 80, published: \"8080-8090\"}]",
            "[{target: 80, app_protocol: http, published: \"80\"}]",
            "[{target: 80, host_ip: \"::1\"}]",
            "[{target: 80, x: 1}]",
            "[\"8080:80\", {target: 80, published: \"8080\"}]",
            "[80, \"80\"]",
            "[\"127.0.0.1:80:80\", \"127.0.0.2:80:80\"]",
            "['80/udp', '80/tcp', '80']",
            "[\"8080:80/TCP\"]",
            "[1]",
        ],
    ),
    (
        "volumes",
        &[
            "[data:/data]",
            "[\"./x:/x:ro\"]",
            "[\"../..:/src\"]",
            "[/a:/b:rw]",
            "[/data]",
            "[nothing:/data]",
            "[data:/data, \"./x:/data\"]",
            "[data:/data/]",
            "[data:data]",
            "[~/x:/x]",
            "[x:/y]",
            "[data:/data:z]",
            "[\".:/here\", \"..:/up\"]",
            "[{type: bind, source: ./x, target: /x}]",
            "[{type: volume, source: data, target: /d, read_only: true}]",
            "[{type: volume, target: /d}]",
            "[{type: tmpfs, target: /t}]",
            "[{type: bind, source: ./x}]",
            "[{type: other, source: x, target: /x}]",
            "[{type: bind, source: x, target: /x}]",
            "\n      - data:/var/lib/x\n      - type: bind\n        source: ./y\n        target: /y",
            "[]",
            "null",
            "[\"./a/../b:/c\"]",
            "[\"/../a//b:/c\"]",
            "[{type: bind, source: ./x/, target: /x}]",
            "[data:/a, data:/b]",
            "[{type: volume, source: ./data, target: /d}]",
            "[data:/a/./b]",
            "[\"./x:/x\", \"./x:/x\"]",
        ],
    ),
    (
        "depends_on",
        &[
            "[db]",
            "[db, db]",
            "[nobody]",
            "[web]",
            "{db: {condition: service_healthy}}",
            "{db: {condition: service_completed_successfully}}",
            "{db: {}}",
            "{db: {condition: x}}",
            "{db: {condition: service_started, required: false}}",
            "{nobody: {condition: service_started, required: false}}",
            "{db: {condition: service_started, restart: true}}",
            "\n      - db\n      - cache",
            "[]",
            "null",
            "[cache]",
            "db",
            "{db: null}",
        ],
    ),
    (
        "healthcheck",
        &[
            "{test: [CMD, true]}",
            "{test: [CMD, check]}",
            "{test: [CMD-SHELL, 'exit 0'], interval: 5s, timeout: 1m30s, retries: 3, start_period: 500ms}",
            "{test: check}",
            "{test: [NONE]}",
            "{disable: true}",
            "{test: [check]}",
            "{test: []}",
            "{test: [CMD]}",
            "{interval: 5}",
            "{interval: 5s}",
            "{test: [CMD, x], interval: 5 s}",
            "{test: [CMD, x], retries: \"3\"}",
            "{test: [CMD, x], retries: -1}",
            "{test: [CMD, x], start_interval: 1s}",
            "{test: [CMD, x], timeout: 1d}",
            "{test: ''}",
            "\n      test: [CMD-SHELL, \"pg_isready -U $$USER\"]\n      interval: 1s",
            "{test: [CMD, x], interval: 0s}",
            "{test: [CMD, x], retries: 0}",
            "{test: [CMD-SHELL, a, b]}",
            "{test: [CMD, x], interval: 1s1s}",
        ],
    ),
    ("init", &["true", "false", "yes", "\"true\"", "1"]),
    ("privileged", &["true", "null"]),
    ("read_only", &["true", "false"]),
    ("tty", &["true"]),
    ("stdin_open", &["false"]),
    (
        "labels",
        &[
            "{a: b}",
            "[a=b]",
            "{a: 1}",
            "{a.b/c: \"x y\"}",
            "[a]",
            "[a=b, a=c]",
            "{a: true}",
            "{a: null}",
            "{a: \"$X\"}",
            "[]",
            "{dev.stagecraft.route: \"http://x.localhost\"}",
            "[a=b=c]",
            "{a: 1.5}",
            "{A: 0}",
        ],
    ),
    ("mem_limit", &["64m", "1g", "64mb", "64", "\"64\"", "1.5g", "64M", "0m", "x", "512k", "100b"]),
    (
        "networks",
        &[
            "[default]",
            "[front]",
            "[nobody]",
            "{front: null}",
            "{front: {aliases: [x]}}",
            "[front, front]",
            "[]",
            "{}",
            "null",
            "[front, default]",
            "\n      front:\n      default:",
        ],
    ),
    ("pull_policy", &["never", "always", "missing", "build", "if_not_present", "daily", "Never", "every_5h"]),
    ("restart", &["always", "\"no\"", "no", "on-failure", "on-failure:3", "unless-stopped", "sometimes", "never"]),
    ("scale", &["1", "2", "0", "-1", "\"2\"", "1.5", "1000000"]),
    (
        "deploy",
        &[
            "{replicas: 2}",
            "{replicas: 0}",
            "{}",
            "{replicas: \"2\"}",
            "{mode: global}",
            "{replicas: 1, resources: {limits: {memory: 1g}}}",
            "null",
        ],
    ),
    ("stop_grace_period", &["1s", "0s", "1m30s", "5", "5000ms", "1.5s", "x", "1s1m"]),
    ("stop_signal", &["SIGINT", "SIGX", "2", "\"2\"", "INT"]),
    (
        "tmpfs",
        &["/tmp", "[/tmp]", "[/tmp, /run]", "[/tmp, /tmp]", "[\"/tmp:size=1m\"]", "tmp", "null", "/", "[\"/tmp/\"]"],
    ),
    ("user", &["\"1000\"", "1000", "app", "1000:1000", "'1000:1000'", "a b"]),
    ("working_dir", &["/app", "app", "/", "''", "/a/../b"]),
    ("env_file", &["[a.env]", "[]"]),
    ("profiles", &["[debug]", "[aa, bb]", "[a]", "[]", "aa", "[aa, aa]", "null"]),
    ("network_mode", &["host", "none", "service:db"]),
    ("extends", &["{service: db}", "db"]),
    ("platform", &["linux/amd64"]),
    ("cpus", &["0.5", "1"]),
    ("logging", &["{driver: none}"]),
    ("secrets", &["[a]"]),
    ("x-own", &["1", "{a: b}"]),
];

const TOP: [&str; 24] = [
    "volumes: {data: }",
    "volumes: {data: null}",
    "volumes: {data: {}}",
    "volumes:\n  data:",
    "volumes:\n  data:\n    driver: local",
    "volumes: {data: {external: true}}",
    "volumes: {data: {driver: x}}",
    "volumes: [data]",
    "volumes:",
    "networks: {front: {}}",
    "networks:\n  front:\n    driver: bridge",
    "networks: {front: {external: true}}",
    "networks: {front: {external: false}}",
    "networks: {front: {internal: true}}",
    "networks: {default: {}}",
    "networks: {default: {external: true}}",
    "version: '3.8'",
    "version: 3",
    "version: x",
    "name: other",
    "name: Other",
    "name: ${NAME:-x}",
    "x-a: &a {}",
    "---",
];

/// A file put together from pieces, with a service `web`, often `db`, seldom `cache`.
pub fn composed(rng: &mut Rng) -> String {
    let mut text = String::new();
    let mut tops: Vec<&str> = vec!["volumes:\n  data:", "networks: {front: {}}"];
    if rng.u8(..4) == 0 {
        tops.push(TOP[rng.usize(..TOP.len())]);
    }
    rng.shuffle(&mut tops);
    for top in tops.drain(..rng.usize(..=tops.len())) {
        text += &format!("{top}\n");
    }
    if rng.u8(..4) == 0 {
        text += "# services\n\n";
    }
    text += "services:\n";
    for (name, chance) in [("web", 1), ("db", 2), ("cache", 4)] {
        if rng.u8(..chance) != 0 {
            continue;
        }
        text += &format!("  {name}:\n");
        if rng.u8(..10) != 0 {
            text += "    image: x\n";
        }
        for _ in 0..rng.usize(..4) {
            let (key, values) = VALUES[rng.usize(..VALUES.len())];
            let value = values[rng.usize(..values.len())];
            let space = if value.starts_with('\n') { "" } else { " " };
            text += &format!("    {key}:{space}{value}\n");
        }
    }
    for top in tops {
        text += &format!("{top}\n");
    }
    text
}
