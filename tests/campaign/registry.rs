//! A registry that listens and never says a word: a pull from it hangs until somebody gives up.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Listens on a loopback address, which an engine trusts without TLS, until it is dropped.
pub struct Registry {
    pub address: SocketAddr,
    closed: Arc<AtomicBool>,
}

impl Registry {
    pub fn open() -> Registry {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its number");
        let closed = Arc::new(AtomicBool::new(false));
        let flag = closed.clone();
        thread::spawn(move || {
            // Held open, since the end of a connection would be an answer.
            let mut callers = Vec::new();
            while !flag.load(Ordering::SeqCst) {
                callers.push(listener.accept());
            }
        });
        Registry { address, closed }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
        // Somebody has to call for it to notice.
        let _ = TcpStream::connect(self.address);
    }
}
