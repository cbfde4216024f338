#!/usr/bin/env bash
# Remove what test runs that were killed have left on the test engines: the containers, networks and volumes of projects whose
# names begin with `e2e-`. Waits until no end-to-end scenario plays, in any process. Run scripts/setup-engine.sh first.
set -euo pipefail

readonly PAIRS=${STAGECRAFT_ENGINES:-/var/lib/stagecraft-engines}/pairs
readonly LABEL=com.docker.compose.project

# The lock of tests/support/engine.rs.
exec 9>"${TMPDIR:-/tmp}/cargo-stagecraft-e2e.lock"
flock --wait 600 9 || { echo "clear-engines: end-to-end tests are still running" >&2 && exit 1; }

# ours FIELD COMMAND...: what `docker COMMAND...` lists of test projects, by this field.
ours() {
    local field=$1
    shift
    docker "$@" --filter "label=$LABEL" --format "{{.Label \"$LABEL\"}} {{.$field}}" | sed -n 's/^e2e-[^ ]* //p'
}

while IFS=$'\t' read -r pair host config; do
    export DOCKER_HOST=$host DOCKER_CONFIG=$config
    ours Names ps --all | while read -r name; do
        printf '   Removing container %s from the %s engine\n' "$name" "$pair"
        docker rm --force --volumes "$name" >/dev/null
    done
    for kind in network volume; do
        ours Name "$kind" ls | while read -r name; do
            printf '   Removing %s %s from the %s engine\n' "$kind" "$name" "$pair"
            # Engine 20.10 refuses to remove a network that it has lost track of; the tests know such networks.
            docker "$kind" rm "$name" >/dev/null || true
        done
    done
done <"$PAIRS"
