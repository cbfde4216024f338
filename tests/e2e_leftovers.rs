//! What the end-to-end scenarios leave on the engines: nothing. To be run after them; while any of them plays, in
//! whatever process, it waits.

#[allow(dead_code)]
#[path = "e2e/engine.rs"]
mod engine;

use rustix::fs::{FlockOperation, flock};

#[test]
fn nothing_is_left_on_the_engines() {
    let lock = engine::lock_file();
    flock(&lock, FlockOperation::LockExclusive).expect("a lock");
    for pair in engine::all() {
        let engine = engine::get(&pair.name);
        let left = engine.leftovers().into_iter().filter(|thing| !engine.has_lost(thing));
        let left: Vec<_> = left.collect();
        assert!(left.is_empty(), "left on the {} engine ({}): {left:#?}", engine.name, engine.host);
    }
}
