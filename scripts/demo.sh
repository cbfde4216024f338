#!/usr/bin/env bash
# Run the demo stack, fixtures/hello-stack, with a fresh build of cargo-stagecraft.
#
#   demo.sh [OPTION...]   in the foreground until Ctrl+C; options go to `cargo stagecraft dev`
#   demo.sh --tour        unattended: start, look, interrupt, start detached, take down, break it; each step checked
#
# HELLO_PORT is the port of the page (8080; in the tour a free one).
set -euo pipefail
shopt -s inherit_errexit # an engine that does not answer must not read as "nothing left"

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly repo
readonly stack=$repo/fixtures/hello-stack
readonly project=hello-stack images=(hello-stack-hello hello-stack-worker)

heading() { printf '==> %s\n' "$*"; }
indented() { sed 's/^/    /'; }

die() {
    printf 'demo: %s\n' "$*" >&2
    exit 1
}

# --- What both ways need ---------------------------------------------------------------------

prepare() {
    # Nothing to set up where an engine and Compose v2 answer already, on whatever system.
    if ! docker version >/dev/null 2>&1 || ! [[ $(docker compose version --short 2>/dev/null) =~ ^v?([2-9]|[1-9][0-9]) ]]; then
        heading "Setting up an engine and Compose"
        "$repo/scripts/setup-engine.sh"
    fi
    heading "Building cargo-stagecraft"
    local target
    cd "$repo"
    target=${CARGO_TARGET_DIR:-target}
    [[ $target == /* ]] || target=$repo/$target
    cargo build --release --quiet --target-dir "$target"
    PATH=$target/release:$PATH # first, so that `cargo stagecraft` is this build
    cd "$stack"
}

port_taken() { (: <>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# What the engine has of the stack, one line each; nothing when it is gone.
remains() {
    local label=label=com.docker.compose.project=$project
    docker ps --all --filter "$label" --format 'container {{.Names}}: {{.Status}}'
    docker network ls --filter "$label" --format 'network {{.Name}}'
    docker volume ls --filter "$label" --format 'volume {{.Name}}'
}

foreground() {
    export HELLO_PORT=${HELLO_PORT:-8080}
    # A stack that was left running detached holds its own port, which is no obstacle.
    local left
    left=$(remains)
    if [[ -z $left ]] && port_taken "$HELLO_PORT"; then
        die "port $HELLO_PORT is taken; choose another: HELLO_PORT=8081 scripts/demo.sh"
    fi
    heading "Running 'cargo stagecraft dev${*:+ $*}' in fixtures/hello-stack; Ctrl+C takes the stack down again"
    heading "Open http://127.0.0.1:$HELLO_PORT"
    exec cargo stagecraft dev "$@"
}

# --- The tour --------------------------------------------------------------------------------

tool= # the pid of the running tool
log=

# The whole answer to GET /, or nothing. Not by curl, which a small machine lacks.
fetch() {
    # shellcheck disable=SC2016
    timeout 5 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0" && printf "GET / HTTP/1.0\r\n\r\n" >&3 && cat <&3' \
        "$HELLO_PORT" 2>/dev/null | tr -d '\r' || true
}

show_page() {
    local tries answer
    for ((tries = 0; tries < 300; tries++)); do
        answer=$(fetch)
        if [[ $answer == "HTTP/1.1 200 "* ]]; then
            heading "http://127.0.0.1:$HELLO_PORT answers"
            sed '1,/^$/d' <<<"$answer" | indented
            return
        fi
        [[ -z $tool ]] || kill -0 "$tool" 2>/dev/null || die "the tool ended before the page answered"
        sleep 0.2
    done
    die "http://127.0.0.1:$HELLO_PORT did not answer within a minute"
}

wait_for_tool() {
    local tries code=0
    for ((tries = 0; tries < 300; tries++)); do
        if ! kill -0 "$tool" 2>/dev/null; then
            wait "$tool" || code=$?
            tool=
            return "$code"
        fi
        sleep 0.2
    done
    die "the tool (pid $tool) did not end within a minute"
}

nothing_left() {
    local left
    left=$(remains)
    [[ -z $left ]] || die "left behind: $left"
    heading "Nothing of the stack is left"
}

# broken CAUSE LAST_WORDS VARIABLE=VALUE: with this the stack does not become ready, and the reason is told.
broken() {
    local code=0
    heading "$3 cargo stagecraft dev --detach --wait"
    env "$3" cargo stagecraft dev --detach --wait </dev/null >"$log" 2>&1 || code=$?
    indented <"$log"
    ((code == 1)) || die "the tool ended with exit code $code instead of 1"
    grep -qF "$1" "$log" || die "it does not say: $1"
    grep -qF "$2" "$log" || die "it does not show: $2"
    nothing_left
}

# Whatever went wrong: show why, then leave no process and no container of ours behind.
clean_up() {
    local code=$?
    trap - EXIT
    if ((code != 0)); then
        heading "The tour failed; the tool's last output:" >&2
        indented <"$log" >&2
    fi
    if [[ $tool ]]; then
        kill -INT "$tool" 2>/dev/null || true
        (wait_for_tool) >/dev/null 2>&1 || kill -KILL "$tool" 2>/dev/null || true
    fi
    ((code == 0)) || cargo stagecraft dev down >&2 || true
    rm -f "$log"
    exit "$code"
}

tour() {
    local left
    left=$(remains)
    [[ -z $left ]] || die "the stack is there already; take it down first: cargo stagecraft dev down"
    if [[ -z ${HELLO_PORT:-} ]]; then
        HELLO_PORT=18080
        while port_taken "$HELLO_PORT"; do ((HELLO_PORT += 1)); done
    fi
    export HELLO_PORT
    log=$(mktemp)
    trap clean_up EXIT
    trap 'exit 130' INT TERM HUP

    heading "cargo stagecraft dev"
    # A background job of a shell like this one starts with SIGINT ignored, and the tool leaves ignored
    # what was ignored.
    env --default-signal=INT cargo stagecraft dev </dev/null >"$log" 2>&1 &
    tool=$!
    show_page

    heading "Interrupting it, as Ctrl+C would"
    local code=0
    kill -INT "$tool"
    wait_for_tool || code=$?
    indented <"$log"
    ((code == 130)) || die "the tool ended with exit code $code instead of 130"
    nothing_left

    heading "cargo stagecraft dev --detach --wait"
    cargo stagecraft dev --detach --wait </dev/null >"$log" 2>&1
    indented <"$log"
    show_page
    cargo stagecraft dev status | indented
    cargo stagecraft dev env | indented

    heading "cargo stagecraft dev down"
    cargo stagecraft dev down </dev/null >"$log" 2>&1
    indented <"$log"
    nothing_left

    broken "hello exited with 101: a panic in Rust" "GREETING is empty: what shall I say?" GREETING=
    broken "hello exited with 101: a panic in Rust" "LISTEN is a port: ParseIntError" LISTEN=nonsense
    broken "hello is unhealthy: nobody answers on port 8080" "listening on port 8081" LISTEN=8081

    heading "Removing the images of the stack"
    docker image rm "${images[@]}" >/dev/null
    heading "The tour is complete"
}

case ${1:-} in
--tour)
    (($# == 1)) || die "--tour takes no further options"
    prepare
    tour
    ;;
-h | --help)
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
    ;;
*)
    prepare
    foreground "$@"
    ;;
esac
