//! Errors of cargo.

use super::*;

#[test]
fn an_invalid_manifest_is_reported_by_cargo() {
    let sandbox = Sandbox::new();
    sandbox.write("Cargo.toml", "[workspace\n");
    let finished = sandbox.run(["dev", "--detach"]).exits(3).says("unclosed table");
    finished.does_not_say("run this inside a Cargo workspace");
    let finished = sandbox.stagecraft(["dev", "--detach"]).cwd(sandbox.outside()).run().exits(3);
    finished.says("run this inside a Cargo workspace");
}
