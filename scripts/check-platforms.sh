#!/usr/bin/env bash
# usage: scripts/check-platforms.sh [TARGET...]
#
# Compiles and lints the program for the systems that it is not developed on, without a Rust toolchain for them: the standard
# library is built from its sources, and neither check nor clippy needs a linker. For Windows there is one, so the program
# is built there and its unit tests and tests/windows are played under Wine. spec/dev/platforms.md says what that is worth.
#
# For root on a Debian machine, with some 4 GB to spare and half an hour the first time. Debian unstable, which has the sources,
# goes into a folder of its own: $STAGECRAFT_PLATFORMS, or target/platforms. Remove that to be rid of everything.
set -euo pipefail
((EUID == 0)) || { echo "only root can set up another system in a folder" >&2 && exit 1; }
# What is mounted below is seen by nobody else, and gone at the end.
[[ -n ${MOUNTS_ARE_OURS:-} ]] || MOUNTS_ARE_OURS=1 exec unshare --mount -- "$0" "$@"
cd "$(dirname "${BASH_SOURCE[0]}")/.."

root=${STAGECRAFT_PLATFORMS:-$PWD/target/platforms}
windows=x86_64-pc-windows-gnu
targets=(x86_64-apple-darwin aarch64-apple-darwin x86_64-unknown-linux-musl aarch64-unknown-linux-gnu "$windows")

step() { printf '\n==> %s\n' "$*"; }

inside() { chroot "$root" env HOME=/root DEBIAN_FRONTEND=noninteractive "$@"; }

# cargo_for TARGET COMMAND...: with the standard library from its sources, which is a matter of nightly toolchains; at a
# terminal, since Wine has a console only there.
cargo_for() {
    local target=$1
    shift
    inside env --chdir=/src RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=/target CARGO_INCREMENTAL=0 \
        CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER=wine WINEDEBUG=-all \
        script --quiet --return --command "cargo $1 --locked -Zbuild-std=std,panic_unwind --target $target ${*:2}" /dev/null
}

if [[ ! -e $root/set-up ]]; then
    step "Debian unstable in $root"
    command -v debootstrap >/dev/null || { apt-get update && apt-get install --yes --no-install-recommends debootstrap; } >/dev/null
    # From where this machine gets its own packages.
    mirror=$(apt-get indextargets --format "\$(ORIGIN)|\$(LABEL)|\$(COMPONENT)|\$(REPO_URI)" 'Created-By: Packages' |
        awk -F'|' '$1 == "Debian" && $2 == "Debian" && $3 == "main" { print $4; exit }')
    debootstrap --variant=minbase --include=ca-certificates sid "$root" "$mirror" >/dev/null
    inside apt-get install --quiet --quiet --yes --no-install-recommends \
        cargo rust-clippy rust-src libc6-dev gcc-mingw-w64-x86-64-win32 wine wine64 >/dev/null
    touch "$root/set-up"
fi
# Names are resolved, and crates fetched, as on this machine.
cp --dereference /etc/resolv.conf "$root/etc/resolv.conf"
cp --dereference /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"

rm -rf "$root/src" && mkdir "$root/src"
git ls-files -z --cached --others --exclude-standard | tar --create --null --files-from=- | tar --extract --directory="$root/src"

# Wine finds its own files through /proc, and goes on for a while when the last program has ended.
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
trap 'inside sh -c "/usr/lib/*/wine/wineserver --kill" || true' EXIT

(($#)) || set -- "${targets[@]}"
for target in "$@"; do
    step "$target: lints"
    cargo_for "$target" clippy --lib --bins --tests -- -D warnings
    if [[ $target == "$windows" ]]; then
        step "$target: unit tests and scenarios under $(inside wine --version)"
        cargo_for "$target" test --no-fail-fast --lib
        cargo_for "$target" test --features e2e --test windows
    fi
done

step "All platforms checked"
