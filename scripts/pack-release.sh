#!/usr/bin/env bash
# Pack a built cargo-stagecraft into the archive that cargo-binstall looks for, and print its path.
#
#   pack-release.sh TARGET FOLDER OUT   TARGET is the triple it was built for, FOLDER holds the binary, OUT gets the archive
set -euo pipefail

(($# == 3)) || { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" >&2 && exit 2; }
target=$1 folder=$2 out=$3
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

version=$(cargo pkgid --manifest-path "$repo/Cargo.toml" | sed 's/.*[#@]//')
name=cargo-stagecraft-$target-v$version
binary=cargo-stagecraft
[[ $target != *-windows-* ]] || binary+=.exe

mkdir -p "$out"
staging=$(mktemp -d "$out/packing.XXXXXX")
trap 'rm -rf "$staging"' EXIT
mkdir "$staging/$name"
cp -r "$folder/$binary" "$repo"/{README.md,CHANGELOG.md,LICENSE-MIT,LICENSE-APACHE,man,completions} "$staging/$name"
tar -C "$staging" -czf "$out/$name.tgz" "$name"
printf '%s\n' "$out/$name.tgz"
