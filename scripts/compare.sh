#!/usr/bin/env bash
# Compares two builds of the program: what a user waits for, with each in turn, in one run, on both pairs of engines. Prints Markdown: medians
# in milliseconds, and the median of the ratios of the rounds.
#
#   scripts/compare.sh BEFORE AFTER [ROUNDS]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

before=$(realpath "$1") after=$(realpath "$2") rounds=${3:-15}
scripts/setup-engine.sh >&2

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root/compare-builds/src" "$root/compare-builds/.stagecraft/dev"
cd "$root/compare-builds"
printf '[package]\nname = "compare-builds"\nversion = "0.1.0"\nedition = "2024"\n' >Cargo.toml
touch src/lib.rs
{
    printf 'services:\n'
    for service in a b c d e; do
        printf '  %s:\n    image: stagecraft-test\n    pull_policy: never\n    init: true\n    command: [sleep, "1000"]\n' "$service"
    done
} >.stagecraft/dev/compose.yaml

# timed PROGRAM ARGUMENT...: milliseconds.
timed() {
    local begin end
    begin=$(date +%s%N)
    "$@" >/dev/null 2>&1
    end=$(date +%s%N)
    echo $(((end - begin) / 1000000))
}

median() { sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

# measure NAME ARGUMENT...: one row; what makes the rounds alike is run by `prepare` before each.
measure() {
    local name=$1
    shift
    local -a ours=() theirs=()
    for ((round = 0; round < rounds; round++)); do
        # Neither is always the first.
        if ((round % 2)); then
            prepare && theirs+=("$(timed "$before" stagecraft "$@")")
            prepare && ours+=("$(timed "$after" stagecraft "$@")")
        else
            prepare && ours+=("$(timed "$after" stagecraft "$@")")
            prepare && theirs+=("$(timed "$before" stagecraft "$@")")
        fi
    done
    local ratio
    ratio=$(for ((i = 0; i < rounds; i++)); do awk -v a="${ours[i]}" -v b="${theirs[i]}" 'BEGIN { print a / (b ? b : 1) }'; done | median)
    printf '| %s | %s | %s ms | %s ms | %.2f |\n' "$name" "$pair" "$(printf '%s\n' "${theirs[@]}" | median)" \
        "$(printf '%s\n' "${ours[@]}" | median)" "$ratio"
}

use_pair() {
    case $1 in
    old) export DOCKER_HOST=unix:///var/run/docker.sock ;;
    new) export DOCKER_HOST=unix:///var/lib/stagecraft-engines/new/docker.sock ;;
    esac
    export DOCKER_CONFIG=/var/lib/stagecraft-engines/$1/docker-config
}

folder() { [[ $1 == "$before" ]] && echo "$root/edit-before" || echo "$root/edit-after"; }

# workspace PROGRAM MEGABYTES
workspace() {
    local folder
    folder=$(folder "$1")
    mkdir -p "$folder/src"
    printf '[package]\nname = "edited"\nversion = "0.1.0"\nedition = "2024"\n[package.metadata.stagecraft.dev]\n' >"$folder/Cargo.toml"
    head -c "$((($2 - 1) * 1000000))" /dev/urandom >"$folder/src/data"
    edit "$1" 0
}

# edit PROGRAM NUMBER
edit() {
    cat >"$(folder "$1")/src/main.rs" <<EOF
static DATA: &[u8] = include_bytes!("data");
fn main() {
    println!("{} $2", DATA[std::process::id() as usize]);
    loop {
        std::thread::park();
    }
}
EOF
}

# measure_edit NAME: one row.
measure_edit() {
    local -a times_before=() times_after=()
    for ((round = 1; round <= rounds; round++)); do
        local order=("$before" "$after")
        ((round % 2)) && order=("$after" "$before")
        for program in "${order[@]}"; do
            edit "$program" "$round"
            cd "$(folder "$program")"
            local time
            time=$(timed "$program" stagecraft dev --detach)
            if [[ $program == "$before" ]]; then times_before+=("$time"); else times_after+=("$time"); fi
        done
    done
    local ratio
    ratio=$(for ((i = 0; i < rounds; i++)); do awk -v a="${times_after[i]}" -v b="${times_before[i]}" 'BEGIN { print a / b }'; done | median)
    printf '| %s | %s | %s ms | %s ms | %.2f |\n' "$1" "$pair" "$(printf '%s\n' "${times_before[@]}" | median)" \
        "$(printf '%s\n' "${times_after[@]}" | median)" "$ratio"
}

echo '| what | pair | before | after | ratio |'
echo '|---|---|--:|--:|--:|'
for pair in old new; do
    use_pair "$pair"
    up() { "$after" stagecraft dev --detach >/dev/null 2>&1; }
    down() { "$after" stagecraft dev down >/dev/null 2>&1; }
    prepare() { :; }
    measure 'dry run' dev --dry-run
    prepare() { down; }
    measure 'detached start from nothing, 5 services' dev --detach
    up
    prepare() { :; }
    measure 'detached start, already running' dev --detach
    measure 'status' dev status
    prepare() { up; }
    measure 'down' dev down
done

# One line of a crate is edited, with some MB of data in its binary. Each program builds in its own way, in a workspace of its own.
for pair in old new; do
    use_pair "$pair"
    for size in 2 50 190; do
        for program in "$before" "$after"; do
            workspace "$program" "$size"
            (cd "$(folder "$program")" && "$program" stagecraft dev --detach >/dev/null 2>&1)
        done
        measure_edit "edit to the started container, $size MB"
        for program in "$before" "$after"; do
            (cd "$(folder "$program")" && "$program" stagecraft dev down >/dev/null 2>&1)
            docker image rm --force "$(basename "$(folder "$program")")-edited" >/dev/null 2>&1 || true
            rm -rf "$(folder "$program")"
        done
    done
done
