//! What the end-to-end scenarios leave on the engines: nothing. To be run after them; while any of them plays, in
//! whatever process, it waits.

#[path = "support/mod.rs"]
mod support;

use rustix::fs::{FlockOperation, flock};

#[test]
fn nothing_is_left_on_the_engines() {
    let lock = support::engine::lock_file();
    flock(&lock, FlockOperation::LockExclusive).expect("a lock");
    for pair in support::engine::all() {
        let engine = support::engine::get(&pair.name);
        let left = engine.leftovers().into_iter().filter(|thing| !engine.has_lost(thing));
        let left: Vec<_> = left.collect();
        assert!(left.is_empty(), "left on the {} engine ({}): {left:#?}", engine.name, engine.host);
    }
}
