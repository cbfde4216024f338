//! Random stacks, with words that YAML, Compose and shells take for something else.

use super::*;

/// What one reader or another of YAML takes for something else than a string, or for more than one.
const NASTY: [&str; 92] = [
    "",
    " ",
    "  a  ",
    "~",
    "null",
    "Null",
    "NULL",
    "true",
    "True",
    "FALSE",
    "yes",
    "No",
    "on",
    "OFF",
    "y",
    "N",
    "0",
    "-0",
    "1",
    "007",
    "0755",
    "08",
    "0o17",
    "0x1F",
    "0b101",
    "0B1",
    "1_000",
    "+1",
    "-1",
    "1.",
    ".5",
    "1.5",
    "1e3",
    "1E-3",
    "1.0e+21",
    "9223372036854775808",
    "18446744073709551616",
    ".inf",
    "-.Inf",
    "+.INF",
    ".nan",
    ".NaN",
    "inf",
    "NaN",
    "1979-05-27",
    "2024-02-30",
    "2001-1-1",
    "1979-05-27T07:32:00Z",
    "2001-12-14 21:59:43.10 -5",
    "07:32:00",
    "190:20:30",
    "22:22",
    "=",
    "<<",
    "-",
    "- a",
    "?",
    "? a",
    ":",
    ": a",
    "a:",
    "a: b",
    "a :b",
    "a #b",
    "#a",
    "&a",
    "*a",
    "!a",
    "!!int 1",
    "|",
    "|-\n a",
    ">",
    "%YAML 1.2",
    "@a",
    "`a`",
    "'",
    "''a''",
    "\"",
    "\\",
    "\\n",
    "{",
    "{a: b}",
    "}",
    "[",
    "[a]",
    "]",
    ",",
    "---",
    "...",
    "--- a",
    "$${A} $$a",
    "a\nb",
];

/// What is nastier still, or none: lines, and signs that YAML has no literal form for.
const NASTIER: [&str; 32] = [
    "\n",
    "\n\n",
    "a\n",
    "a\n\n",
    "a\n\n\n",
    "\na",
    "\n\na\n",
    " a\nb",
    "  a\n b\n",
    "a\n  b",
    "a \nb ",
    "a\n \nb",
    "a\n\t\nb\n",
    "\ta",
    "a\t",
    "\t",
    "a\r\nb\r\n",
    "\r",
    "a\rb",
    "---\na",
    "a\n---\nb",
    "a\n...\nb\n",
    "# a\n# b\n",
    "\u{0}",
    "\u{1b}[0m",
    "\u{7f}",
    "\u{85}",
    "\u{a0}",
    "\u{2028}a\u{2029}",
    "\u{feff}a",
    "\u{fffe}\u{ffff}",
    "\u{e000}\u{10ffff}",
];

/// A string that may be anything. Boxed as all of these are: they are nested, and a test has 2 MB of stack.
fn text() -> BoxedStrategy<String> {
    let pieces = || prop_oneof![select(&NASTY[..]), select(&NASTIER[..])].prop_map(str::to_string);
    prop_oneof![
        4 => pieces(),
        1 => (pieces(), pieces()).prop_map(|(a, b)| a + &b),
        1 => (pieces(), pieces()).prop_map(|(a, b)| format!("{a} {b}")),
        1 => "[a-z]{60,100}( [a-z#:]{1,30}){0,12}",
        2 => vec(any::<char>(), 0..12).prop_map(String::from_iter),
    ]
    .boxed()
}

/// A key that has something of all of that.
fn key() -> BoxedStrategy<String> {
    // Lists give key and value with this sign between them.
    text().prop_map(|text| text.replace('=', "")).prop_filter("a key has a name", |key| !key.trim().is_empty()).boxed()
}

fn strings() -> BoxedStrategy<Value> {
    vec(text(), 0..6).prop_map(|all| json!(all)).boxed()
}

fn numbers() -> BoxedStrategy<Value> {
    let whole = prop_oneof![any::<i64>(), -1000..1000i64].prop_map(|number| json!(number));
    let extreme = select(vec![0.0, -0.0, 1.0, 0.1, 1e-7, 1e21, 1.5e300, 5e-324, 123_456_789.123]);
    let broken = prop_oneof![extreme, proptest::num::f64::NORMAL].prop_map(|number| json!(number));
    prop_oneof![whole, broken].boxed()
}

fn scalars() -> BoxedStrategy<Value> {
    prop_oneof![
        4 => text().prop_map(|text| json!(text)),
        2 => numbers(),
        1 => any::<bool>().prop_map(|flag| json!(flag)),
        1 => Just(Value::Null),
    ]
    .boxed()
}

/// A table of what are strings in the end, or the same as a list.
fn pairs() -> BoxedStrategy<Value> {
    prop_oneof![
        3 => btree_map(key(), scalars(), 0..8).prop_map(|table| json!(table)),
        1 => btree_map(key(), text(), 0..6).prop_map(|table| {
            json!(table.iter().map(|(key, value)| format!("{key}={value}")).collect::<BTreeSet<_>>())
        }),
    ]
    .boxed()
}

/// Any value, for keys that begin with `x-`.
fn anything() -> BoxedStrategy<Value> {
    scalars()
        .prop_recursive(3, 24, 5, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..5).prop_map(Value::Array),
                btree_map(text(), inner, 0..5).prop_map(|table| json!(table)),
            ]
        })
        .boxed()
}

fn times() -> BoxedStrategy<Value> {
    select(vec!["1s", "0s", "1m30s", "100ms", "2h", "90s"]).prop_map(|time| json!(time)).boxed()
}

fn bytes() -> BoxedStrategy<Value> {
    prop_oneof![
        select(vec!["512m", "1gb", "64", "300k", "1.5g"]).prop_map(|size| json!(size)),
        (1..i64::from(i32::MAX)).prop_map(|size| json!(size)),
    ]
    .boxed()
}

fn ports() -> BoxedStrategy<Value> {
    let port = prop_oneof![
        select(vec![
            "80",
            "8080:80",
            "127.0.0.1:8080:80",
            "127.0.0.1::80",
            "3000-3005",
            "9090-9091:8080-8081",
            "6060:6060/udp",
            "22:22",
            "[::1]:90:90",
            "0:1",
            "10:10",
            "56:56",
        ])
        .prop_map(|port| json!(port)),
        (1..65536).prop_map(|port| json!(port)),
        (1..65536u32, 1..65536u32, any::<bool>()).prop_map(|(target, published, is_text)| {
            let published = if is_text { json!(published.to_string()) } else { json!(published) };
            json!({"target": target, "published": published, "host_ip": "127.0.0.1", "protocol": "tcp", "mode": "host"})
        }),
    ];
    vec(port, 0..4).prop_map(Value::Array).boxed()
}

fn healthchecks() -> BoxedStrategy<Value> {
    let test = prop_oneof![
        text().prop_map(|line| json!(line)),
        vec(text(), 1..4).prop_map(|words| json!([vec!["CMD".to_string()], words].concat())),
        text().prop_map(|line| json!(["CMD-SHELL", line])),
        Just(json!(["NONE"])),
    ];
    (test, option::of(times()), option::of(times()), option::of(1..20))
        .prop_map(|(test, interval, start, retries)| {
            table([
                ("test", Some(test)),
                ("interval", interval),
                ("start_period", start),
                ("retries", retries.map(|retries| json!(retries))),
            ])
        })
        .boxed()
}

fn table<'k>(entries: impl IntoIterator<Item = (&'k str, Option<Value>)>) -> Value {
    let entries = entries.into_iter().filter_map(|(key, value)| Some((key.to_string(), value?)));
    Value::Object(entries.collect())
}

fn networks() -> BoxedStrategy<Value> {
    prop_oneof![
        subsequence(vec!["default", "no", "n1"], 0..=3).prop_map(|names| json!(names)),
        (subsequence(vec!["default", "no", "n1"], 1..=3), vec(text(), 0..3), any::<bool>()).prop_map(
            |(names, aliases, is_null)| {
                let aliases: BTreeSet<String> = aliases.into_iter().collect();
                let of = |name: &str| match (name, is_null) {
                    ("n1", _) => json!({"aliases": aliases, "priority": 10}),
                    (_, true) => Value::Null,
                    (_, false) => json!({}),
                };
                Value::Object(names.into_iter().map(|name| (name.to_string(), of(name))).collect())
            }
        ),
    ]
    .boxed()
}

fn mounts() -> BoxedStrategy<Value> {
    // Each by a target of its own: two mounts on one are refused.
    let mount = |at: usize| {
        prop_oneof![
            Just(json!(format!("data:/m/{at}"))),
            Just(json!(format!("null:/m/{at}:ro"))),
            Just(json!(format!("./x #{at}:/m/{at}:ro"))).boxed(),
            Just(json!(format!("/m/{at}"))).boxed(),
            Just(json!({"type": "volume", "source": "data", "target": format!("/m/{at}"), "volume": {"nocopy": true}}))
                .boxed(),
            Just(json!({"type": "tmpfs", "target": format!("/m/{at}"), "tmpfs": {"size": "10m", "mode": 0o1777}}))
                .boxed(),
            text()
                .prop_filter("a path", |path| !path.is_empty() && !path.starts_with('~') && !path.contains('\0'))
                .prop_map(
                    move |path| json!({"type": "bind", "source": format!("./{path}"), "target": format!("/m/{at}")})
                )
                .boxed(),
        ]
    };
    (mount(0), mount(1), mount(2), 0..4usize).prop_map(|(a, b, c, count)| json!([a, b, c][..count.min(3)])).boxed()
}

/// What waits for whom: each for some of those before it, so that nobody waits for itself.
fn dependencies() -> BoxedStrategy<(Vec<Index>, bool)> {
    (vec(any::<Index>(), 0..3), any::<bool>()).boxed()
}

fn depends_on(before: &[String], (chosen, as_list): &(Vec<Index>, bool)) -> Option<Value> {
    if before.is_empty() {
        return None;
    }
    let names: BTreeSet<&String> = chosen.iter().map(|index| index.get(before)).collect();
    if *as_list {
        return Some(json!(names));
    }
    let condition = json!({"condition": "service_started", "required": false, "restart": true});
    Some(Value::Object(names.into_iter().map(|name| (name.clone(), condition.clone())).collect()))
}

/// What stands in a service, but for `depends_on`.
fn services() -> BoxedStrategy<BTreeMap<String, Value>> {
    let words = || {
        prop_oneof![
            3 => strings(),
            // Compose takes a line apart as a shell does, so its quotes have to match.
            1 => select(vec!["echo 'a: b' # c", "\"no\"", "yes", "1.0", "sh -c \"echo \\\"$$HOME\\\"\"", "- a", "<<", ""])
                .prop_map(|line| json!(line)),
        ]
    };
    let first = (
        option::of(words()),
        option::of(words()),
        option::of(pairs()),
        option::of(pairs()),
        option::of(ports()),
        option::of(healthchecks()),
        option::of(networks()),
        option::of(mounts()),
    );
    let second = (
        option::of(text()),
        option::of(text()),
        option::of(text()),
        option::of(select(vec!["no", "always", "on-failure:3", "unless-stopped"])),
        option::of(btree_set(select(vec!["no", "1.0", "debug", "2024-01-01"]), 0..3)),
        option::of(prop_oneof![Just(json!(0.5)), Just(json!("1.50")), Just(json!(2))]),
        option::of(bytes()),
        option::of(times()),
    );
    let third = (
        option::of(anything()),
        option::of(btree_map("[a-z]{1,6}", prop_oneof![text().prop_map(|text| json!(text)), numbers()], 0..4)),
        option::of(pairs()),
        option::of(any::<bool>()),
        option::of(btree_set(select(vec!["3000", "4000-4005", "53/udp"]), 0..3)),
        option::of(1..65536),
    );
    (first, second, third)
        .prop_map(|(first, second, third)| {
            let (command, entrypoint, environment, labels, ports, healthcheck, networks, volumes) = first;
            let (user, working_dir, hostname, restart, profiles, cpus, memory, grace) = second;
            let (others, logging, arguments, tty, expose, nofile) = third;
            let build = arguments.map(|arguments| {
            json!({"context": ".", "dockerfile_inline": "FROM scratch\nLABEL a=\"b\"\n\n# c\n", "args": arguments})
        });
            let entries = [
                ("image", Some(json!("busybox"))),
                ("command", command),
                ("entrypoint", entrypoint),
                ("environment", environment),
                ("labels", labels),
                ("ports", ports),
                ("healthcheck", healthcheck),
                ("networks", networks),
                ("volumes", volumes),
                ("user", user.map(Value::from)),
                ("working_dir", working_dir.map(Value::from)),
                ("hostname", hostname.map(Value::from)),
                ("restart", restart.map(Value::from)),
                ("profiles", profiles.map(|profiles| json!(profiles))),
                ("cpus", cpus),
                ("mem_limit", memory),
                ("stop_grace_period", grace),
                ("x-others", others),
                ("logging", logging.map(|options| json!({"driver": "json-file", "options": options}))),
                ("build", build),
                ("tty", tty.map(Value::from)),
                ("expose", expose.map(|expose| json!(expose))),
                ("ulimits", nofile.map(|limit| json!({"nofile": limit, "nproc": {"soft": limit, "hard": limit}}))),
            ];
            entries.into_iter().filter_map(|(key, value)| Some((key.to_string(), value?))).collect()
        })
        .boxed()
}

/// A service's name is a key of the file, so it is also to be one that YAML takes for something else.
fn names() -> BoxedStrategy<String> {
    prop_oneof![
        select(vec![
            "no",
            "Yes",
            "null",
            "true",
            "1",
            "1.5",
            "0x1F",
            "1e3",
            "2024-01-01",
            "y",
            "on",
            "-",
            "---",
            "...",
            ".inf",
            "007"
        ])
        .prop_map(str::to_string),
        "[a-zA-Z0-9._-]{1,12}",
    ]
    .boxed()
}

pub(super) fn topologies() -> BoxedStrategy<Topology> {
    let resource = || option::of(pairs()).prop_map(|labels| table([("labels", labels)]));
    let resources =
        (resource(), resource(), resource(), text(), resource()).prop_map(|(data, null, first, content, second)| {
            BTreeMap::from([
                ("volumes", BTreeMap::from([("data".to_string(), data), ("null".to_string(), null)])),
                ("networks", BTreeMap::from([("no".to_string(), first), ("n1".to_string(), second)])),
                // An empty content is none, and a config is one or the other.
                ("configs", BTreeMap::from([("yes".to_string(), json!({"content": format!("a{content}")}))])),
                ("secrets", BTreeMap::from([("1".to_string(), json!({"environment": "NO"}))])),
            ])
        });
    // Many in one go: Compose takes its time for each call and hardly any for a service.
    let services = btree_map(names(), (services(), dependencies()), 4..12);
    (services, resources)
        .prop_map(|(services, resources)| {
            let mut topology = Topology { resources, ..Topology::default() };
            let mut before = Vec::new();
            for (name, (mut keys, dependencies)) in services {
                if let Some(depends_on) = depends_on(&before, &dependencies) {
                    keys.insert("depends_on".to_string(), depends_on);
                }
                before.push(name.clone());
                topology.services.insert(name, keys);
            }
            topology
        })
        .boxed()
}
