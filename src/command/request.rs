//! Questions to a server behind a socket of this machine, as data.
//!
//! Our own instead of an HTTP library: ureq, the small blocking one, has no Unix sockets.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::os;

/// What a server of HTTP behind a socket is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    socket: PathBuf,
    method: Method,
    path: String,
    /// How long the answer may take to come.
    limit: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Method {
    Get,
    Post,
    /// With an archive of one file.
    Put(Archive),
}

/// An archive of one file, which is read when it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// What comes before the file.
    pub head: Vec<u8>,
    /// The file, and how long it is.
    pub file: PathBuf,
    /// Its length.
    pub length: u64,
    /// How many zeros come after it.
    pub zeros: u64,
}

impl Request {
    /// The question for this path, percent-encoded where it has to be.
    pub fn new(socket: &Path, path: &str) -> Request {
        Request { socket: socket.to_owned(), method: Method::Get, path: path.to_string(), limit: None }
    }

    /// As [`Request::new`], for something to be done.
    pub(crate) fn post(socket: &Path, path: &str) -> Request {
        Request { method: Method::Post, ..Request::new(socket, path) }
    }

    /// As [`Request::new`], for an archive to be taken.
    pub(crate) fn put(socket: &Path, path: &str, archive: Archive) -> Request {
        Request { method: Method::Put(archive), ..Request::new(socket, path) }
    }

    /// The same question, which is given up with [`io::ErrorKind::TimedOut`] if the answer takes longer.
    #[must_use]
    pub(super) fn within(self, limit: Duration) -> Request {
        Request { limit: Some(limit), ..self }
    }

    /// What would ask the same; it is never run.
    pub fn curl(&self) -> Command {
        let mut curl = Command::new("curl");
        match self.method {
            Method::Get => {}
            Method::Post => drop(curl.args(["-X", "POST"])),
            Method::Put(_) => drop(curl.args(["-T", "-"])),
        }
        curl.arg("--unix-socket").arg(&self.socket).arg(format!("http://localhost{}", self.path));
        curl
    }

    /// What makes the archive that curl is to send.
    pub(super) fn tar(&self) -> Option<Command> {
        let Method::Put(Archive { file, .. }) = &self.method else { return None };
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(file.parent()?).arg("-c").arg(file.file_name()?);
        Some(tar)
    }

    /// The body of the answer, all of it.
    ///
    /// # Errors
    /// If there is none, or its status is another than 200 or 204.
    pub(super) fn answer(&self) -> io::Result<Vec<u8>> {
        // With version 1.0 the answer comes in one piece and ends with the connection.
        let (method, length) = match &self.method {
            Method::Get => ("GET", None),
            Method::Post => ("POST", Some(0)),
            Method::Put(archive) => ("PUT", Some(archive.head.len() as u64 + archive.length + archive.zeros)),
        };
        let length = length.map(|length| format!("Content-Length: {length}\r\n")).unwrap_or_default();
        let head = format!("{method} {} HTTP/1.0\r\nHost: localhost\r\n{length}\r\n", self.path);
        let answer = match &self.method {
            Method::Get | Method::Post => os::request(&self.socket, &mut head.as_bytes(), self.limit)?,
            Method::Put(Archive { head: beginning, file, length, zeros }) => {
                let body = beginning.chain(File::open(file)?.take(*length)).chain(io::repeat(0).take(*zeros));
                os::request(&self.socket, &mut head.as_bytes().chain(body), self.limit)?
            }
        };
        body(&answer).map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

/// The body of an answer with status 200, or 204, which has none. None of one in which something of it is missing, as far as it says how long it is.
fn body(answer: &[u8]) -> Option<&[u8]> {
    const END: &[u8] = b"\r\n\r\n";
    let head = answer.windows(END.len()).position(|window| window == END)?;
    let (head, body) = (str::from_utf8(&answer[..head]).ok()?, &answer[head + END.len()..]);
    let mut lines = head.split("\r\n");
    if !["200", "204"].contains(&lines.next()?.split(' ').nth(1)?) {
        return None;
    }
    let headers = lines.filter_map(|line| line.split_once(':'));
    for (name, value) in headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim())) {
        match name.as_str() {
            "content-length" if value.parse() != Ok(body.len()) => return None,
            // Nobody has asked for it.
            "content-encoding" | "transfer-encoding" if value != "identity" => return None,
            _ => {}
        }
    }
    Some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_answer_is_one() {
        let body = |answer: &str| body(answer.as_bytes()).map(|body| String::from_utf8_lossy(body).into_owned());
        for (answer, expected) in [
            ("HTTP/1.0 200 OK\r\n\r\n[]", Some("[]")),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer: x\r\n\r\n[]", Some("[]")),
            ("HTTP/1.0 200 OK\r\n\r\n", Some("")),
            ("HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\n[]", None),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n", None),
            ("HTTP/1.0 404 Not Found\r\n\r\n{}", None),
            ("HTTP/1.0 200 OK\r\n", None),
            ("SSH-2.0\r\n\r\n", None),
            ("", None),
        ] {
            assert_eq!(body(answer).as_deref(), expected, "{answer:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_request_gets_an_answer_or_an_error() {
        use std::io::{Read as _, Write as _};
        let temp = tempfile::tempdir().unwrap();
        let socket = temp.path().join("socket");
        let request = Request::new(&socket, "/x");
        assert!(request.answer().is_err());
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut question = vec![0; "GET /x HTTP/1.0\r\nHost: localhost\r\n\r\n".len()];
            stream.read_exact(&mut question).unwrap();
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n[1]").unwrap();
            String::from_utf8(question).unwrap()
        });
        assert_eq!(request.answer().unwrap(), b"[1]");
        assert_eq!(server.join().unwrap(), "GET /x HTTP/1.0\r\nHost: localhost\r\n\r\n");
    }

    #[cfg(unix)]
    #[test]
    fn a_server_that_accepts_and_does_not_answer_is_given_up() {
        let temp = tempfile::tempdir().unwrap();
        let socket = temp.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let answer = Request::new(&socket, "/x").within(Duration::from_millis(1)).answer();
        assert_eq!(answer.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
