#!/usr/bin/env bash
# What the program costs beyond what it runs, beside raw Compose, just and cargo-make, in one run: the figures of
# spec/performance.md as Markdown. Takes the arguments of the measurement: --pair NAME, --rounds N.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup-engine.sh >&2
tools=$PWD/target/bench-tools
for tool in just cargo-make; do
    [[ -x $tools/bin/$tool ]] || cargo install --locked --quiet --root "$tools" "$tool" >&2
done
PATH=$tools/bin:$PATH exec cargo test --quiet --locked --release --features e2e --test measure -- speed "$@"
