#!/usr/bin/env bash
# Two real engines on one Debian machine, without a container registry.
#
#   old   the machine's own daemon on its default socket, with the Compose of Debian 13
#   new   a second, private daemon on a socket of its own, with the engine and Compose of Debian unstable
#
# Compose changed its signal handling and its exit codes between those two, so what we promise is
# tested on both. All of it lives under $STAGECRAFT_ENGINES; its file `pairs` says how to use it,
# one line a pair: name <TAB> DOCKER_HOST <TAB> DOCKER_CONFIG. Its file `compose-spec.json` is the
# official schema of Compose files, as Debian unstable has it.
#
#   setup-engine.sh            install and start what is missing; safe to run again, or twice at once
#   setup-engine.sh --check    exit 0 when all is ready, else 1 and one line per missing thing
#   setup-engine.sh --remove   stop the second daemon and delete what this script made
set -euo pipefail
umask 022

readonly ROOT=${STAGECRAFT_ENGINES:-/var/lib/stagecraft-engines}
readonly OLD=$ROOT/old NEW=$ROOT/new LOG=$ROOT/setup.log
readonly OLD_HOST=unix:///var/run/docker.sock NEW_HOST=unix://$NEW/docker.sock
readonly OLD_SUITE=trixie NEW_SUITE=sid
readonly BRIDGE=stagecraft0 BRIDGE_ADDRESS=10.213.128.1/24 POOL=10.213.0.0/17 SUBNETS=10.213.0.0/16
readonly IMAGE=stagecraft-test:latest
readonly SCHEMA=$ROOT/compose-spec.json
readonly PLUGIN=cli-plugins/docker-compose
readonly SYSTEM_PLUGIN=/usr/local/lib/docker/$PLUGIN
readonly LOCK=/run/lock/stagecraft-engines.lock

# The caller's own choice of an engine must not decide which daemon we look at.
unset DOCKER_HOST DOCKER_CONTEXT

say() { printf '   %s\n' "$*"; }

die() {
    printf 'setup-engine: %s\n' "$*" >&2
    exit 1
}

# Run a noisy command: its output goes to the log and is shown only when it fails.
logged() {
    local start
    mkdir -p "$ROOT"
    printf '\n$ %s\n' "$*" >>"$LOG"
    start=$(wc -l <"$LOG")
    "$@" >>"$LOG" 2>&1 </dev/null && return
    tail -n "+$start" "$LOG" | tail -n 40 >&2
    die "failed: $* (all of it: $LOG)"
}

# --- What is there ---------------------------------------------------------------------------

# Both ask the daemon, not the file system: a socket file outlives its daemon.
engine_version() { docker -H "$1" version --format '{{.Server.Version}}' 2>/dev/null; }
engine_up() { engine_version "$1" >/dev/null; }

compose_version() { DOCKER_CONFIG=$1/docker-config docker compose version --short 2>/dev/null; }

# The one plain `docker compose` finds. An answer of 1.x would be the Python tool, which is no plugin.
user_compose_works() { [[ $(docker compose version --short 2>/dev/null) =~ ^v?([2-9]|[1-9][0-9]) ]]; }

# Traffic within the second engine's networks may pass, whatever the machine's own daemon forbids.
firewall() { iptables -w "$1" FORWARD -s "$SUBNETS" -d "$SUBNETS" -j ACCEPT 2>/dev/null; }
wired() { [[ -e /sys/class/net/$BRIDGE ]] && firewall -C; }

has_image() { docker -H "$1" image inspect "$IMAGE" >/dev/null 2>&1; }

pairs() { printf '%s\t%s\t%s\n' old "$OLD_HOST" "$OLD/docker-config" new "$NEW_HOST" "$NEW/docker-config"; }

# The pid of the second daemon. Pids are reused: the file counts only while it names our own binary.
new_pid() {
    local pid
    pid=$(cat "$NEW/dockerd.pid" 2>/dev/null) || return 1
    [[ $(readlink "/proc/$pid/exe") == "$NEW/engine/usr/sbin/dockerd"* ]] && echo "$pid"
}

# One line per missing thing.
missing() {
    command -v docker >/dev/null || { echo "the docker command" && return; }
    engine_up "$OLD_HOST" || echo "the machine's engine ($OLD_HOST)"
    [[ -x $OLD/docker-config/$PLUGIN ]] || echo "compose for the old pair"
    [[ -x $NEW/docker-config/$PLUGIN ]] || echo "compose for the new pair"
    [[ -s $SCHEMA ]] || echo "the schema of Compose files ($SCHEMA)"
    user_compose_works || echo "compose v2 for plain 'docker compose'"
    engine_up "$NEW_HOST" || echo "the second engine ($NEW_HOST)"
    wired || echo "the second engine's bridge and firewall rule"
    has_image "$OLD_HOST" || echo "the image $IMAGE on the old engine"
    has_image "$NEW_HOST" || echo "the image $IMAGE on the new engine"
    [[ $(cat "$ROOT/pairs" 2>/dev/null) == "$(pairs)" ]] || echo "the list of pairs ($ROOT/pairs)"
}

# --- Packages --------------------------------------------------------------------------------

require_debian_root() {
    local id=
    # shellcheck source=/dev/null
    id=$(. /etc/os-release 2>/dev/null && echo "${ID:-}") || true
    [[ $id == debian && $EUID == 0 ]] || die "this script sets up Debian, as root. Elsewhere install Docker Engine 20.10 or newer with the Compose plugin 2.26 or newer, and start the engine."
    # The kernel's limit for the path of a unix socket; containerd's below exec/ is the longest.
    ((${#NEW} < 70)) || die "STAGECRAFT_ENGINES is too long for the sockets below it: $ROOT"
}

# "URI component" of the machine's own Debian archive. apt is asked instead of its files: it reads
# one-line and deb822 sources alike, and knows which of them is Debian's.
debian_source() {
    apt-get indextargets --format "\$(ORIGIN)|\$(LABEL)|\$(COMPONENT)|\$(REPO_URI)" 'Created-By: Packages' |
        awk -F'|' '$1 == "Debian" && $2 == "Debian" && $3 == "main" { print $4; exit }'
}

UPDATED= # the suites whose lists this run has brought up to date
update_lists() {
    [[ $UPDATED == *" own "* ]] || logged apt-get -o DPkg::Lock::Timeout=120 update
    UPDATED+=" own "
}

install_packages() {
    say "Installing $*"
    update_lists
    logged env DEBIAN_FRONTEND=noninteractive \
        apt-get -o DPkg::Lock::Timeout=120 install -y --no-install-recommends "$@"
}

# unpack_from SUITE PACKAGE DIR: unpack a package of another suite without installing it. Source,
# lists and caches are private, so the machine's own apt never hears of that suite.
unpack_from() {
    local suite=$1 package=$2 dir=$3 uri keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    local apt=$ROOT/apt/$suite
    local options=(-o "Dir::Etc::sourcelist=$apt/debian.sources" -o Dir::Etc::sourceparts=/dev/null
        -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null
        -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o APT::Default-Release=)
    if [[ $UPDATED != *" $suite "* ]]; then
        uri=$(debian_source)
        [[ $uri ]] || { update_lists && uri=$(debian_source); }
        [[ $uri ]] || die "this machine has no apt source of Debian's own archive to derive '$suite' from"
        mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
        printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\n' "$uri" "$suite" >"$apt/debian.sources"
        [[ ! -e $keyring ]] || echo "Signed-By: $keyring" >>"$apt/debian.sources"
        logged apt-get "${options[@]}" update
        UPDATED+=" $suite "
    fi
    rm -rf "$apt/download" "$dir"
    mkdir -p "$apt/download" "$dir"
    cd "$apt/download"
    logged apt-get "${options[@]}" download "$package"
    logged dpkg-deb -x "$apt/download/${package}"_*.deb "$dir"
    cd /
    rm -rf "$apt/download"
}

# --- Steps -----------------------------------------------------------------------------------

wait_for_engine() {
    local host=$1 log=$2 tries
    for ((tries = 0; tries < 150; tries++)); do
        engine_up "$host" && return
        sleep 0.2
    done
    tail -n 20 "$log" >&2 2>/dev/null || true
    die "the engine at $host did not answer within 30 seconds (log: $log)"
}

# A daemon that outlives this script. `setsid --fork` instead of `&`: a background job of a shell
# without job control would start with SIGINT ignored. No descriptor of ours stays open in it: not
# the lock, and no stdout whose reader would wait for it to end.
daemon() {
    local log=$1
    shift
    cd /
    setsid --fork "$@" </dev/null >>"$log" 2>&1 9>&-
}

old_engine() {
    local packages=()
    if ! command -v docker >/dev/null || ! command -v dockerd >/dev/null; then
        update_lists
        packages+=(docker.io)
        # The client is a package of its own from Debian 13 on.
        ! apt-cache show docker-cli >/dev/null 2>&1 || packages+=(docker-cli)
    fi
    command -v ip >/dev/null || packages+=(iproute2)
    command -v iptables >/dev/null || packages+=(iptables)
    ((${#packages[@]} == 0)) || install_packages "${packages[@]}"
    ! engine_up "$OLD_HOST" || return 0
    say "Starting the machine's engine"
    mkdir -p "$OLD"
    if [[ -d /run/systemd/system ]]; then
        logged systemctl start docker
    else
        daemon "$OLD/dockerd.log" dockerd
    fi
    wait_for_engine "$OLD_HOST" "$OLD/dockerd.log"
}

# install_compose NAME SUITE MAJOR.MINOR: the plugin of one pair, in a DOCKER_CONFIG of its own.
install_compose() {
    local name=$1 suite=$2 expected=$3 plugin=$ROOT/$1/docker-config/$PLUGIN version
    [[ ! -x $plugin ]] || return 0
    unpack_from "$suite" docker-compose "$ROOT/unpacked"
    mkdir -p "${plugin%/*}"
    mv "$(find "$ROOT/unpacked" -path "*/$PLUGIN" -type f)" "$plugin"
    rm -rf "$ROOT/unpacked"
    version=$(compose_version "$ROOT/$name") || die "the Compose of Debian $suite does not run here: $plugin"
    say "Installed compose $version for the $name pair"
    [[ $version == "$expected".* ]] || say "note: Debian $suite has moved on from compose $expected"
}

# The library that Compose reads its files with has the schema; nothing else of it is kept.
install_schema() {
    local schema
    [[ ! -s $SCHEMA ]] || return 0
    unpack_from "$NEW_SUITE" golang-github-compose-spec-compose-go-dev "$ROOT/unpacked"
    schema=$(find "$ROOT/unpacked" -path "*/schema/${SCHEMA##*/}" -type f)
    [[ $schema ]] || die "the compose-go of Debian $NEW_SUITE has no ${SCHEMA##*/}"
    mv "$schema" "$SCHEMA"
    rm -rf "$ROOT/unpacked"
    say "Installed $SCHEMA"
}

# Only where plain `docker compose` does not work. The marker tells --remove that this one is ours.
user_compose() {
    ! user_compose_works || return 0
    say "Installing $SYSTEM_PLUGIN for plain 'docker compose'"
    mkdir -p "${SYSTEM_PLUGIN%/*}"
    install -m 755 "$NEW/docker-config/$PLUGIN" "$SYSTEM_PLUGIN"
    touch "$ROOT/system-plugin"
    user_compose_works || die "'docker compose' finds another plugin first that does not work; see 'docker info'"
}

install_new_engine() {
    local version
    [[ ! -x $NEW/engine/usr/sbin/dockerd ]] || return 0
    unpack_from "$NEW_SUITE" docker.io "$NEW/engine.partial"
    version=$("$NEW/engine.partial/usr/sbin/dockerd" --version) ||
        die "the engine of Debian $NEW_SUITE does not run here: $NEW/engine.partial/usr/sbin/dockerd"
    mv "$NEW/engine.partial" "$NEW/engine"
    version=${version#Docker version }
    say "Installed engine ${version%%[+,]*} for the new pair"
    [[ $version == 28.5.* ]] || say "note: Debian $NEW_SUITE has moved on from engine 28.5"
}

# The second daemon has to keep its hands off the network set-up that the machine's daemon relies on.
# With iptables support it would flush the DOCKER chains, and with `--bridge none` delete docker0; so
# it gets a bridge of its own and none of the firewall. It publishes ports through docker-proxy, and
# one rule of ours lets its containers talk (between its networks too: it isolates none).
wire() {
    ! wired || return 0
    say "Setting up the second engine's bridge and firewall rule"
    if [[ ! -e /sys/class/net/$BRIDGE ]]; then
        logged ip link add "$BRIDGE" type bridge
        logged ip address add "$BRIDGE_ADDRESS" dev "$BRIDGE"
        logged ip link set "$BRIDGE" up
    fi
    firewall -C || firewall -I || die "iptables refuses a rule for $SUBNETS"
}

start_new_engine() {
    ! engine_up "$NEW_HOST" || return 0
    if ! new_pid >/dev/null; then
        say "Starting the second engine"
        rm -f "$NEW/dockerd.pid" # stale, and its number may be another process's by now
        # Apart from the machine's daemon in all they could share: the configuration file, the network
        # (see `wire`), and the containerd namespaces; where a system-wide containerd runs both use
        # it, and would delete each other's containers as unknown. Not for its containers' sake but
        # for docker0's: a daemon with address pools of its own deletes docker0 when it is started
        # again, unless it is to restore what was live.
        echo '{}' >"$NEW/daemon.json"
        daemon "$NEW/dockerd.log" env "PATH=$NEW/engine/usr/sbin:$NEW/engine/usr/bin:$PATH" \
            "$NEW/engine/usr/sbin/dockerd" --config-file "$NEW/daemon.json" \
            --host "$NEW_HOST" --pidfile "$NEW/dockerd.pid" \
            --data-root "$NEW/data" --exec-root "$NEW/exec" \
            --containerd-namespace stagecraft --containerd-plugins-namespace stagecraft-plugins \
            --bridge "$BRIDGE" --iptables=false --ip6tables=false \
            --default-address-pool "base=$POOL,size=24" --live-restore
    fi
    wait_for_engine "$NEW_HOST" "$NEW/dockerd.log"
}

# A root file system of one static binary: Debian's busybox with a link for each of its applets.
build_rootfs() {
    local rootfs=$1 package=$ROOT/unpacked applet
    # Unpacked, not installed: the package conflicts with plain `busybox`, which somebody may need.
    cd "$ROOT"
    rm -rf "$package" busybox-static_*.deb
    apt-cache show busybox-static >/dev/null 2>&1 || update_lists
    logged apt-get download busybox-static
    logged dpkg-deb -x busybox-static_*.deb "$package"
    rm -f busybox-static_*.deb
    mkdir -p "$rootfs"/{bin,etc,root,tmp}
    chmod 1777 "$rootfs/tmp"
    install -m 755 "$(find "$package" -path '*/bin/busybox')" "$rootfs/bin/busybox"
    for applet in $("$rootfs/bin/busybox" --list); do
        [[ -e $rootfs/bin/$applet ]] || ln -s busybox "$rootfs/bin/$applet"
    done
    echo 'root:x:0:0:root:/root:/bin/sh' >"$rootfs/etc/passwd"
    echo 'root:x:0:' >"$rootfs/etc/group"
    rm -rf "$package"
}

test_image() {
    local name=$1 host=$2
    ! has_image "$host" || return 0
    if [[ ! -e $ROOT/rootfs.tar ]]; then
        rm -rf "$ROOT/rootfs"
        build_rootfs "$ROOT/rootfs"
        # Same bytes whoever packs it, so both engines hold the same layer.
        tar -C "$ROOT/rootfs" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner \
            -cf "$ROOT/rootfs.tar.partial" .
        mv "$ROOT/rootfs.tar.partial" "$ROOT/rootfs.tar"
        rm -rf "$ROOT/rootfs"
    fi
    say "Importing $IMAGE into the $name engine"
    logged docker -H "$host" import "$ROOT/rootfs.tar" "$IMAGE"
}

write_pairs() {
    [[ $(cat "$ROOT/pairs" 2>/dev/null) != "$(pairs)" ]] || return 0
    pairs >"$ROOT/pairs.partial"
    mv "$ROOT/pairs.partial" "$ROOT/pairs"
}

report() {
    local name host config
    while IFS=$'\t' read -r name host config; do
        say "Ready: $name = engine $(engine_version "$host"), compose $(compose_version "${config%/*}")" \
            "(DOCKER_HOST=$host DOCKER_CONFIG=$config)"
    done <"$ROOT/pairs"
}

# --- Verbs -----------------------------------------------------------------------------------

set_up() {
    mkdir -p "$OLD" "$NEW"
    old_engine
    install_compose old "$OLD_SUITE" 2.26
    install_compose new "$NEW_SUITE" 2.40
    install_schema
    user_compose
    install_new_engine
    wire
    start_new_engine
    test_image old "$OLD_HOST"
    test_image new "$NEW_HOST"
    write_pairs
    report
}

check() {
    local lines
    lines=$(missing)
    [[ $lines ]] || return 0
    while read -r line; do say "missing: $line"; done <<<"$lines"
    return 1
}

stop_new_engine() {
    local pid tries
    # Killed earlier, it may have left containers running; only a daemon can find and end them.
    if [[ -x $NEW/engine/usr/sbin/dockerd ]] && ! engine_up "$NEW_HOST"; then
        wire
        start_new_engine
    fi
    pid=$(new_pid) || return 0
    say "Stopping the second engine"
    # Containers and networks first: the bridges would outlive the daemon.
    docker -H "$NEW_HOST" ps -aq | xargs -r docker -H "$NEW_HOST" rm -f >/dev/null
    docker -H "$NEW_HOST" network prune -f >/dev/null
    kill -TERM "$pid"
    for ((tries = 0; tries < 150; tries++)); do
        [[ -e /proc/$pid ]] || return 0
        sleep 0.2
    done
    die "the second engine (pid $pid) did not stop within 30 seconds (log: $NEW/dockerd.log)"
}

remove() {
    local path
    stop_new_engine
    ! firewall -C || firewall -D
    [[ ! -e /sys/class/net/$BRIDGE ]] || ip link delete "$BRIDGE"
    if command -v docker >/dev/null && has_image "$OLD_HOST"; then
        say "Removing $IMAGE from the old engine"
        docker -H "$OLD_HOST" image rm --force "$IMAGE" >/dev/null
    fi
    [[ ! -e $ROOT/system-plugin ]] || rm -f "$SYSTEM_PLUGIN"
    # Deepest first; an unmount that fails leaves a directory that rm then names.
    awk -v root="$ROOT/" 'index($2, root) == 1 { print $2 }' /proc/self/mounts | sort -r |
        while read -r path; do umount -l "$path"; done
    say "Removing $ROOT"
    rm -rf "$ROOT"
}

case ${1:-} in
--check)
    check
    ;;
'' | --remove)
    require_debian_root
    mkdir -p "${LOCK%/*}"
    exec 9>"$LOCK"
    flock 9
    if [[ ${1:-} ]]; then remove; else set_up; fi
    ;;
*)
    die "usage: setup-engine.sh [--check | --remove]"
    ;;
esac
