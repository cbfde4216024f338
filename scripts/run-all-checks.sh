#!/usr/bin/env bash
# Everything that must pass before a change lands, on a fresh machine too. What it needs, it sets up.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# With the seconds since the start, to see what takes long.
step() { printf '\n==> %s (%d s)\n' "$*" "$SECONDS"; }

# run_tests PROFILE ARGUMENT...: nextest where it is installed, since it gives each test a process and the output is
# clearer. Its profile e2e plays more scenarios at once than there are cores: they mostly wait for engines.
run_tests() {
    local profile=$1
    shift
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --locked --no-fail-fast --profile "$profile" "$@"
    else
        cargo test --locked --no-fail-fast "$@"
    fi
}

step "Engines"
scripts/setup-engine.sh
scripts/clear-engines.sh

step "Formatting and lints"
cargo fmt --all --check
cargo clippy --locked --all-targets --features e2e -- -D warnings
# The scripts are looked at by shellcheck; curl is what the README's quick start fetches a page with; the tests complete in
# the shells and read the manual.
is_there() {
    case $1 in
    man-db) command -v man ;;
    bash-completion) ls /usr/share/bash-completion/bash_completion ;;
    *) command -v "$1" ;;
    esac >/dev/null 2>&1
}
for tool in shellcheck curl bash-completion zsh fish elvish man-db mandoc; do
    if ! is_there "$tool" && ((EUID == 0)) && command -v apt-get >/dev/null; then
        { apt-get update && apt-get install --yes --no-install-recommends "$tool"; } >/dev/null
    fi
    is_there "$tool" || { echo "install $tool to run the checks" >&2 && exit 1; }
done
shellcheck scripts/*.sh .ci/run completions/*.bash

step "Documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items

step "Unit and command-line tests"
# With the feature that the others need, so that everything is compiled once.
cargo build --locked --features e2e --examples
run_tests default --features e2e --lib --bins --test it

step "End-to-end tests on both engines"
run_tests e2e --features e2e --test e2e
run_tests e2e --features e2e --test e2e_leftovers

step "A large workspace on both engines"
scripts/setup-servers.sh
run_tests default --features e2e --test workspace

step "Random faults on both engines"
cargo test --locked --features e2e --test campaign -- --trials 40

step "The tour"
scripts/demo.sh --tour

step "The package, installed and run"
run_tests default --features e2e --test package

step "All checks passed"
