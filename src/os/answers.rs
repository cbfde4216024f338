//! What macOS answers, read; apart from the asking, so that tests on other systems read it too.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What `lsof -F pcn` says: a line for each process, for its name, and for each of its sockets.
pub(super) fn holder_in(lsof: &str, is_it: impl Fn(&SocketAddr) -> bool) -> Option<(String, i32)> {
    let (mut pid, mut name) = (None, "");
    for line in lsof.lines() {
        let (field, value) = line.split_at_checked(1)?;
        match field {
            "p" => pid = value.parse().ok(),
            "c" => name = value,
            "n" if address(value).is_some_and(|address| is_it(&address)) => return Some((name.to_string(), pid?)),
            _ => {}
        }
    }
    None
}

/// As in `*:8080`, `127.0.0.1:8080` and `[::1]:53->[::1]:60000`.
fn address(name: &str) -> Option<SocketAddr> {
    let (host, port) = name.split("->").next()?.rsplit_once(':')?;
    let ip = match host {
        "*" => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        host => host.trim_start_matches('[').trim_end_matches(']').parse().ok()?,
    };
    Some(SocketAddr::new(ip, port.parse().ok()?))
}

/// What a process was started with.
#[derive(Debug, PartialEq)]
pub(super) struct Words<'a> {
    pub(super) argv: Vec<&'a [u8]>,
    pub(super) env: Vec<&'a [u8]>,
}

/// What `KERN_PROCARGS2` says of a process. First comes the number of arguments, then the path of the program, filled up with
/// zeroes, then arguments and variables with a zero after each.
pub(super) fn words_in(answer: &[u8]) -> Option<Words<'_>> {
    let (count, rest) = answer.split_first_chunk()?;
    let count = usize::try_from(i32::from_ne_bytes(*count)).ok()?;
    let path = rest.iter().position(|byte| *byte == 0)?;
    let filling = rest[path..].iter().position(|byte| *byte != 0)?;
    let mut words = rest[path + filling..].split(|byte| *byte == 0);
    let argv: Vec<&[u8]> = words.by_ref().take(count).collect();
    // An empty one is the end; what comes then is the kernel's own.
    let env = words.take_while(|word| !word.is_empty()).collect();
    (argv.len() == count).then_some(Words { argv, env })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_is_the_process_above_the_address() {
        let lsof = "p412\nccom.docker.backend\nf10\nn*:8080\nf11\nn[::1]:631\np77\ncapi\nf3\nn127.0.0.1:9000\n\
                    p78\ncdns\nf4\nn10.0.0.1:53->10.0.0.9:60000\n";
        let at = |wanted: &str| {
            let wanted: SocketAddr = wanted.parse().unwrap();
            holder_in(lsof, |address| *address == wanted)
        };
        for (address, name, pid) in [
            ("0.0.0.0:8080", "com.docker.backend", 412),
            ("[::1]:631", "com.docker.backend", 412),
            ("127.0.0.1:9000", "api", 77),
            ("10.0.0.1:53", "dns", 78),
        ] {
            assert_eq!(at(address), Some((name.to_string(), pid)), "{address}");
        }
        assert_eq!(at("10.0.0.9:60000"), None);
        assert_eq!(holder_in("", |_| true), None);
        assert_eq!(holder_in("\u{e9}\nn*:1\n", |_| true), None, "no process, and no panic");
    }

    #[test]
    fn arguments_and_variables_are_separated_by_their_number() {
        let mut answer = 3i32.to_ne_bytes().to_vec();
        answer.extend_from_slice(b"/usr/local/bin/docker\0\0\0\0docker\0\0up\0A=1\0B=x y\0\0ptr_munge=\0");
        let Words { argv, env } = words_in(&answer).unwrap();
        assert_eq!(argv, [&b"docker"[..], b"", b"up"]);
        assert_eq!(env, [&b"A=1"[..], b"B=x y"]);
        for broken in [&b""[..], b"\x01\0\0", &answer[..10], &answer[..20]] {
            assert_eq!(words_in(broken), None);
        }
        let nothing = i32::MAX.to_ne_bytes();
        assert_eq!(words_in(&[&nothing[..], b"/p\0\0a\0"].concat()), None);
    }
}
