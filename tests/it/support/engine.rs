//! The simulated engine: it records the calls of the fake docker and answers them.

use super::*;

pub(super) struct State {
    pub(super) calls: Vec<Call>,
    pub(super) replies: BTreeMap<usize, Reply>,
    pub(super) connections: Vec<UnixStream>,
    /// Of each call, where it reads what to print.
    pub(super) writers: BTreeMap<usize, UnixStream>,
    pub(super) world: World,
    pub(super) hooks: Vec<(Verb, Hook)>,
    pub(super) held: HashSet<Verb>,
    pub(super) over: bool,
}

/// The other end of every fake docker: records the calls and answers them, by default as Compose and an engine would.
pub struct FakeEngine {
    pub(super) shared: Arc<Shared>,
    pub(super) socket: PathBuf,
    pub(super) listener: Option<JoinHandle<()>>,
}

pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    pub(super) changed: Condvar,
}

impl FakeEngine {
    pub(super) fn listen(socket: &Path) -> FakeEngine {
        let listener = UnixListener::bind(socket).expect("a socket in the temporary folder");
        let state = State {
            calls: Vec::new(),
            replies: BTreeMap::new(),
            connections: Vec::new(),
            writers: BTreeMap::new(),
            world: World::new(),
            hooks: Vec::new(),
            held: HashSet::new(),
            over: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let serving = Arc::clone(&shared);
        let listener = thread::spawn(move || {
            for connection in listener.incoming() {
                let connection = connection.expect("a connection of a fake docker");
                let mut state = serving.lock();
                if state.over {
                    return;
                }
                state.connections.push(connection.try_clone().expect("a socket can be shared"));
                drop(state);
                let serving = Arc::clone(&serving);
                thread::spawn(move || serving.serve(connection));
            }
        });
        FakeEngine { shared, socket: socket.to_owned(), listener: Some(listener) }
    }

    /// Changes what is on the engine, or reads it.
    pub fn world<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let answer = change(&mut self.shared.lock().world);
        self.shared.changed.notify_all();
        answer
    }

    /// Answers every such call with this instead.
    pub fn answer(&self, verb: Verb, reply: Reply) {
        self.on(verb, move |_, _| Some(reply.clone()));
    }

    /// Asks `hook` first at every such call; where it gives no reply, the call does what it always does.
    pub fn on(&self, verb: Verb, hook: impl FnMut(&Call, &mut World) -> Option<Reply> + Send + 'static) {
        self.shared.lock().hooks.push((verb, Box::new(hook)));
    }

    /// From now on every call does what it always does.
    pub fn forget_answers(&self) {
        self.shared.lock().hooks.clear();
    }

    /// Makes such calls stand still before they do anything.
    pub fn hold(&self, verb: Verb) {
        self.shared.lock().held.insert(verb);
    }

    /// Lets them go on.
    pub fn release(&self, verb: Verb) {
        self.shared.lock().held.remove(&verb);
        self.shared.changed.notify_all();
    }

    /// Ends the newest such call with this reply, whatever it was doing.
    pub fn end(&self, verb: Verb, reply: Reply) {
        let mut state = self.shared.lock();
        let newest = state.calls.iter().rposition(|call| call.verb == verb && !call.gone).expect("such a call runs");
        state.replies.insert(newest, reply);
        self.shared.changed.notify_all();
    }

    /// Tells whoever listens to what happens that this has happened to a service's container.
    #[track_caller]
    pub fn happens(&self, service: &str, action: &str, exit_code: &str) {
        self.wait_called(Verb::Starts, 1);
        let state = self.shared.lock();
        let newest = state.calls.iter().rposition(|call| call.verb == Verb::Starts && !call.gone).expect("a listener");
        let container = state.world.containers.iter().find(|container| container.service == service);
        let id = container.map_or("gone", |container| &container.id);
        let signal = if action == "kill" { "15" } else { "" };
        let event = json!({
            "action": action, "id": id, "service": service, "exit_code": exit_code, "signal": signal, "time": nanoseconds(),
        });
        let line = json!({ "stdout": format!("{event}\n") });
        // It may have been killed this very moment.
        let _ = (&state.writers[&newest]).write_all(format!("{line}\n").as_bytes());
    }

    /// Every call so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.lock().calls.clone()
    }

    /// Every call of one kind, in order.
    pub fn calls_of(&self, verb: Verb) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.verb == verb).collect()
    }

    /// The one call of a kind, after its end.
    #[track_caller]
    pub fn only(&self, verb: Verb) -> Call {
        self.wait_gone(verb);
        let calls = self.calls_of(verb);
        assert_eq!(calls.len(), 1, "calls of {verb:?}; {}", self.story());
        calls.into_iter().next().expect("there is one")
    }

    /// The lines of every call that changes anything, in order.
    pub fn changes(&self) -> Vec<String> {
        let changing = [Verb::Up, Verb::Down, Verb::Stop, Verb::Other];
        self.calls().iter().filter(|call| changing.contains(&call.verb)).map(Call::line).collect()
    }

    /// Waits until an `up` has made its containers, or another call is about to be answered.
    #[track_caller]
    pub fn wait_running(&self, verb: Verb) -> Call {
        self.wait_for(&format!("{verb:?} to run"), move |calls| {
            calls.iter().find(|call| call.verb == verb && call.running).cloned()
        })
    }

    /// Waits until docker has been called that often for this.
    #[track_caller]
    pub fn wait_called(&self, verb: Verb, times: usize) {
        self.wait_for(&format!("call {times} of {verb:?}"), move |calls| {
            (calls.iter().filter(|call| call.verb == verb).count() >= times).then_some(())
        });
    }

    /// Waits until the first such call has ended, and returns what became of it.
    #[track_caller]
    pub fn wait_gone(&self, verb: Verb) -> Call {
        self.wait_for(&format!("the end of {verb:?}"), move |calls| {
            calls.iter().find(|call| call.verb == verb && call.gone).cloned()
        })
    }

    #[track_caller]
    pub(super) fn wait_for<T>(&self, what: &str, found: impl Fn(&[Call]) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        let mut state = self.shared.lock();
        loop {
            if let Some(found) = found(&state.calls) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(state);
                panic!("waited in vain for {what}; {}", self.story());
            }
            state = self.shared.changed.wait_timeout(state, left).expect("nobody panics with it").0;
        }
    }

    /// What has happened, for the message of a failed test.
    pub(super) fn story(&self) -> String {
        let state = self.shared.lock();
        let mut story = String::from("docker was called like this:\n");
        for call in &state.calls {
            let end = match (call.gone, call.exit) {
                (true, Some(code)) => format!("exit {code}"),
                (true, None) => "killed".to_string(),
                (false, _) => "still there".to_string(),
            };
            let _ = writeln!(story, "  {} → {end}, signals {:?}", call.line(), call.signals);
        }
        let _ = write!(story, "on the engine: {:?}", state.world);
        story
    }
}

impl Drop for FakeEngine {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.over = true;
        for connection in &state.connections {
            let _ = connection.shutdown(Shutdown::Both);
        }
        drop(state);
        self.shared.changed.notify_all();
        // So that the listener looks up.
        if UnixStream::connect(&self.socket).is_ok()
            && let Some(listener) = self.listener.take()
        {
            let _ = listener.join();
        }
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // A test that failed with the lock held still has to clean up.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Reads what one fake docker says, from its first line to its end.
    pub(super) fn serve(self: Arc<Shared>, connection: UnixStream) {
        let reading = connection.try_clone().expect("a socket can be shared");
        let mut lines = BufReader::new(reading).lines().map_while(Result::ok);
        let Some(hello) = lines.next() else { return };
        let mut state = self.lock();
        let id = state.calls.len();
        state.calls.push(call_from(&hello));
        state.writers.insert(id, connection.try_clone().expect("a socket can be shared"));
        drop(state);
        self.changed.notify_all();
        let answering = Arc::clone(&self);
        thread::spawn(move || answering.answer(id, connection));
        for line in lines {
            let said: Value = serde_json::from_str(&line).expect("a fake docker speaks JSON");
            let number = |key: &str| said[key].as_i64().and_then(|number| i32::try_from(number).ok());
            let mut state = self.lock();
            let call = &mut state.calls[id];
            call.signals.extend(number("signal"));
            call.exit = call.exit.or(number("done"));
            drop(state);
            self.changed.notify_all();
        }
        self.lock().calls[id].gone = true;
        self.changed.notify_all();
    }

    pub(super) fn answer(&self, id: usize, mut connection: UnixStream) {
        let mut state = self.lock();
        let reply = loop {
            if state.calls[id].gone || state.over {
                return;
            }
            let before = state.calls[id].running;
            if let Some(reply) = state.answer(id) {
                break reply;
            }
            if state.calls[id].running != before {
                self.changed.notify_all();
            }
            state = self.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        };
        drop(state);
        // What an `up` was waiting for may be what this call has done.
        self.changed.notify_all();
        let Reply { stdout, stderr, exit } = reply;
        let line = json!({ "stdout": stdout, "stderr": stderr, "exit": exit });
        // It may have been killed this very moment.
        let _ = connection.write_all(format!("{line}\n").as_bytes());
    }
}

impl State {
    /// The answer to a call, or none as long as it has to wait.
    pub(super) fn answer(&mut self, id: usize) -> Option<Reply> {
        if let Some(reply) = self.replies.remove(&id) {
            return Some(reply);
        }
        let call = self.calls[id].clone();
        if !call.running {
            if self.held.contains(&call.verb) {
                return None;
            }
            self.calls[id].running = true;
            let world = &mut self.world;
            let hooks = self.hooks.iter_mut().filter(|(verb, _)| *verb == call.verb);
            let hooked = hooks.filter_map(|(_, hook)| hook(&call, world)).next();
            return hooked.or_else(|| self.world.begin(&call));
        }
        if call.verb == Verb::Starts {
            return self.world.begin(&call);
        }
        // Only an `up` takes its time: as long as one of its containers lives.
        let over = !self.world.is_up(&call.project().unwrap_or_default());
        (over && self.world.up_ends != UpEnds::Never).then(Reply::default)
    }
}

pub(super) fn call_from(hello: &str) -> Call {
    #[derive(Deserialize)]
    struct Hello {
        argv: Vec<Vec<u8>>,
        env: Vec<(Vec<u8>, Vec<u8>)>,
        cwd: Vec<u8>,
        stdin: String,
        pid: i32,
        pgid: i32,
        tty: [bool; 3],
        null: [bool; 3],
    }
    let hello: Hello = serde_json::from_str(hello).expect("a fake docker introduces itself");
    let args: Vec<OsString> = hello.argv.into_iter().map(OsString::from_vec).collect();
    let env = hello.env.into_iter().map(|(key, value)| (OsString::from_vec(key), OsString::from_vec(value)));
    Call {
        verb: verb_of(&args),
        args,
        env: env.collect(),
        cwd: OsString::from_vec(hello.cwd).into(),
        pid: hello.pid,
        pgid: hello.pgid,
        stdin: hello.stdin,
        tty: hello.tty,
        null: hello.null,
        signals: Vec::new(),
        running: false,
        exit: None,
        gone: false,
    }
}
