#!/usr/bin/env bash
# What the workspace among the fixtures needs besides the engines: C libraries and tools on this machine, and an image with
# PostgreSQL, Redis and OpenSSL on both engines, made from Debian's packages since no registry can be reached. Safe to run again.
set -euo pipefail
umask 022

readonly ROOT=${STAGECRAFT_ENGINES:-/var/lib/stagecraft-engines}
readonly IMAGE=stagecraft-test:servers
readonly SERVERS=$ROOT/servers
readonly PACKAGES=(gdb librdkafka-dev libpq-dev libssl-dev openssl pkg-config postgresql redis-server tzdata)
# Debian's user `nobody`.
readonly NOBODY=65534

unset DOCKER_HOST DOCKER_CONTEXT

die() {
    printf 'setup-servers: %s\n' "$*" >&2
    exit 1
}

install_packages() {
    local package missing=()
    for package in "${PACKAGES[@]}"; do
        dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
    done
    ((${#missing[@]} > 0)) || return 0
    ((EUID == 0)) || die "install these packages: ${missing[*]}"
    printf '   Installing %s\n' "${missing[*]}"
    # No server of these packages is to run on this machine.
    { apt-get update && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${missing[@]}"; } \
        >/dev/null
}

# A program with the shared libraries that its loader finds.
copy_program() {
    local rootfs=$1 program=$2 to=$3
    install -D -m 755 "$program" "$rootfs$to"
    copy_libraries "$rootfs" "$program"
}

copy_libraries() {
    local rootfs=$1 library
    for library in $(ldd "$2" | grep -oE '/[^ ]+'); do
        [[ -e $rootfs$library ]] || install -D -m 755 "$library" "$rootfs$library"
    done
}

build_rootfs() {
    local rootfs=$1 postgres library zone
    postgres=$(dirname "$(find /usr/lib/postgresql -path '*/bin/postgres' | sort -V | tail -n 1)")
    copy_program "$rootfs" "$postgres/postgres" "$postgres/postgres"
    copy_program "$rootfs" "$postgres/psql" /usr/bin/psql
    copy_program "$rootfs" "$(readlink -f "$(command -v redis-server)")" /usr/bin/redis-server
    copy_program "$rootfs" "$(command -v openssl)" /usr/bin/openssl
    mkdir -p "$rootfs"/{bin,etc/ssl,tmp,data} "$rootfs/usr/lib/postgresql" "$rootfs/usr/share/postgresql"
    ln -s "$postgres/postgres" "$rootfs/bin/postgres"
    chmod 1777 "$rootfs/tmp"
    cp -a "${postgres%/bin}/lib" "$rootfs${postgres%/bin}/"
    # The just-in-time compiler is large, and nothing here runs for so long.
    rm -rf "$rootfs${postgres%/bin}"/lib/{bitcode,llvmjit*,pgxs}
    for library in "$rootfs${postgres%/bin}"/lib/*.so; do copy_libraries "$rootfs" "$library"; done
    cp -a "/usr/share/postgresql/$(basename "${postgres%/bin}")" "$rootfs/usr/share/postgresql/"
    : >"$rootfs/etc/ssl/openssl.cnf"
    # The time zones of the configuration and of the clients.
    for zone in Etc/UTC UTC; do install -D -m 644 "/usr/share/zoneinfo/$zone" "$rootfs/usr/share/zoneinfo/$zone"; done
    printf 'root:x:0:0::/:\nnobody:x:%s:%s::/:\n' $NOBODY $NOBODY >"$rootfs/etc/passwd"
    printf 'root:x:0:\nnogroup:x:%s:\n' $NOBODY >"$rootfs/etc/group"
    # Made here, so that a container has it at once.
    chown $NOBODY:$NOBODY "$rootfs/data"
    (cd / && TZ=Etc/UTC setpriv --reuid=$NOBODY --regid=$NOBODY --clear-groups \
        "$postgres/initdb" --pgdata="$rootfs/data/db" --username=postgres --auth=trust --encoding=UTF8 --locale=C \
        --no-sync >/dev/null)
    echo 'host all all all trust' >>"$rootfs/data/db/pg_hba.conf"
}

make_image() {
    local host=$1
    ! docker -H "$host" image inspect "$IMAGE" >/dev/null 2>&1 || return 0
    if [[ ! -e $SERVERS/rootfs.tar ]]; then
        rm -rf "$SERVERS"
        mkdir -p "$SERVERS/rootfs"
        chmod 755 "$ROOT" "$SERVERS" "$SERVERS/rootfs"
        build_rootfs "$SERVERS/rootfs"
        tar -C "$SERVERS/rootfs" --sort=name --numeric-owner -cf "$SERVERS/rootfs.tar.partial" .
        mv "$SERVERS/rootfs.tar.partial" "$SERVERS/rootfs.tar"
        rm -rf "$SERVERS/rootfs"
    fi
    docker -H "$host" import --change 'ENV PATH=/usr/bin:/bin' "$SERVERS/rootfs.tar" "$IMAGE" >/dev/null
}

install_packages
while IFS=$'\t' read -r _ host _; do make_image "$host"; done <"$ROOT/pairs"
printf '   Ready: %s on both engines\n' "$IMAGE"
