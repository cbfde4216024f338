//! An engine that can go away or stop answering: a socket in front of the real one, which only the program under test uses.
//!
//! The engines are shared by every scenario that runs, so none of them may be restarted. From a client's side this is an
//! engine that is stopped and started again while its containers live on.

use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};

/// Passes on what is said to it, for as long as it is there.
pub struct Proxy {
    path: PathBuf,
    engine: PathBuf,
    connections: Arc<Mutex<Vec<Weak<Connection>>>>,
    /// Whether nothing is passed on any more.
    silent: Arc<AtomicBool>,
    /// Accepts connections; none while the engine is away.
    door: Mutex<Option<JoinHandle<()>>>,
}

impl Proxy {
    /// In front of the engine at `host`, on a socket in `folder`.
    pub fn before(host: &str, folder: &Path) -> Proxy {
        let engine = host.strip_prefix("unix://").expect("an engine on a unix socket").into();
        let path = folder.join("engine.sock");
        let proxy = Proxy { path, engine, connections: Arc::default(), silent: Arc::default(), door: Mutex::default() };
        proxy.come_back();
        proxy
    }

    /// What to set DOCKER_HOST to.
    pub fn host(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    fn door(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.door.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on nobody answers, and who was being talked to is cut off. The engine itself notices nothing but that.
    pub fn go_away(&self) {
        let Some(door) = self.door().take() else { return };
        // Its end is what the thread behind the door waits for: one last caller, whom it recognises by the missing path.
        let last = self.path.with_extension("closing");
        fs::rename(&self.path, &last).expect("the socket can be moved");
        let _ = UnixStream::connect(&last);
        door.join().expect("the thread that accepts");
        fs::remove_file(&last).expect("the socket can be removed");
        for connection in lock(&self.connections).drain(..) {
            connection.upgrade().iter().for_each(|connection| connection.cut());
        }
    }

    /// From now on connections are accepted and kept open, and nothing is answered.
    pub fn fall_silent(&self) {
        self.silent.store(true, Ordering::SeqCst);
    }

    /// Answers again after a silence, as an engine that was restarted: what was asked meanwhile is cut off.
    pub fn speak_again(&self) {
        self.go_away();
        self.silent.store(false, Ordering::SeqCst);
        self.come_back();
    }

    /// Answers again.
    pub fn come_back(&self) {
        let mut door = self.door();
        assert!(door.is_none(), "it is there already");
        let listener = UnixListener::bind(&self.path).expect("a socket");
        let (path, engine, connections) = (self.path.clone(), self.engine.clone(), Arc::clone(&self.connections));
        let silent = Arc::clone(&self.silent);
        *door = Some(thread::spawn(move || {
            for client in listener.incoming() {
                if !path.exists() {
                    return;
                }
                // An engine that does not answer is for the client to notice.
                let (Ok(client), Ok(engine)) = (client, UnixStream::connect(&engine)) else { continue };
                let connection = Arc::new(Connection { client, engine, silent: Arc::clone(&silent) });
                let mut connections = lock(&connections);
                connections.retain(|connection| connection.strong_count() > 0);
                connections.push(Arc::downgrade(&connection));
                connection.serve();
            }
        }));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.go_away();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One client's talk with the engine, closed when both directions are over.
struct Connection {
    client: UnixStream,
    engine: UnixStream,
    silent: Arc<AtomicBool>,
}

impl Connection {
    fn serve(self: Arc<Connection>) {
        let other = Arc::clone(&self);
        thread::spawn(move || other.pass_on(&other.client, &other.engine));
        thread::spawn(move || self.pass_on(&self.engine, &self.client));
    }

    /// Until one side has said all: the other may still have something to say (`docker attach` and `exec` talk like
    /// that), so it is told of the end and no more. Where nobody listens, all is over.
    fn pass_on(&self, mut from: &UnixStream, mut to: &UnixStream) {
        let mut buffer = [0; 8192];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => return drop(to.shutdown(Shutdown::Write)),
                // Swallowed, so that neither side notices anything.
                Ok(_) if self.silent.load(Ordering::SeqCst) => {}
                Ok(read) if to.write_all(&buffer[..read]).is_ok() => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => return self.cut(),
            }
        }
    }

    fn cut(&self) {
        // An error means that it is closed already.
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.engine.shutdown(Shutdown::Both);
    }
}
