#!/bin/sh
# Builds every component of this folder (or of another one that is laid out alike) into a directory and prints `components: DIR`.
#
#   components/build.sh OUT_DIR [FOLDER]
#
# A component is linked for wasm32-unknown-unknown and imports nothing but what the contract says. The compiler is rustup's where
# it has that target or can add it, else Debian's (rustc-web, cargo-web, rust-web-src), which builds the standard library itself.
# The linker is rustup's in both cases. All components share one target directory, kept between runs:
# ${CARGO_TARGET_DIR:-$HOME/.cache/causeway/target}-components. Built once, it needs no network.
set -eu

[ $# -eq 1 ] || [ $# -eq 2 ] || { echo "usage: $0 OUT_DIR [FOLDER]" >&2; exit 2; }
mkdir -p "$1"
out=$(cd "$1" && pwd)
here=$(cd "${2:-$(dirname "$0")}" && pwd)
cd "$here"

target=wasm32-unknown-unknown
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$HOME/.cache/causeway/target}-components"
mkdir -p "$CARGO_TARGET_DIR"

host=$(rustc -vV | sed -n 's/^host: //p')
tools=$(rustc --print sysroot)/lib/rustlib/$host/bin
if [ ! -x "$tools/wasm-component-ld" ]; then
    echo "components: no wasm-component-ld in $tools: install Rust with rustup" >&2
    exit 1
fi
export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="$tools/wasm-component-ld"
# 256 KiB of stack: a call parses documents and recurses nowhere. Every page that is not there need not be made for each call.
export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS="-Clink-arg=--wasm-ld-path=$tools/gcc-ld/wasm-ld -Clink-arg=-zstack-size=262144"

# Whether rustup has the target. Adding it is tried once: where it failed, a note is left and nobody waits for it again.
has_target() { [ -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ]; }
tried="$CARGO_TARGET_DIR/.rustup-target-tried"
if ! has_target && [ ! -e "$tried" ] && command -v rustup > /dev/null; then
    timeout 60 rustup target add $target > /dev/null 2>&1 || : > "$tried"
fi

if has_target; then
    echo "components: building with rustup's $target"
    cargo=cargo
    std=
else
    packages="rustc-web cargo-web rust-web-src"
    missing=
    for package in $packages; do
        dpkg-query -W -f='${Status}' "$package" 2> /dev/null | grep -q '^install ok installed' || missing="$missing $package"
    done
    if [ -n "$missing" ] && [ "$(id -u)" -eq 0 ] && command -v apt-get > /dev/null; then
        echo "components: installing$missing"
        # shellcheck disable=SC2086
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing > /dev/null || {
            apt-get update -qq > /dev/null
            DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing > /dev/null
        }
        missing=
    fi
    if [ -n "$missing" ]; then
        echo "components: no $target here: run 'rustup target add $target', or as root 'apt-get install$missing'" >&2
        exit 1
    fi
    echo "components: building with Debian's compiler ($(/usr/bin/rustc --version | cut -d' ' -f1,2)), standard library included"
    cargo=/usr/bin/cargo
    std="-Z build-std=std,panic_abort"
    # The variables only unlock build-std, which a stable compiler otherwise refuses.
    export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
fi

build() {
    # shellcheck disable=SC2086
    "$cargo" build --locked --quiet --release --target $target $std --lib --workspace "$@"
}
# Without a network what is in the cache has to do, and with one it usually does: so the cache comes first.
build --offline 2> /dev/null || build

for manifest in */Cargo.toml; do
    provider=${manifest%/Cargo.toml}
    built="$CARGO_TARGET_DIR/$target/release/$(printf %s "$provider" | tr - _).wasm"
    cmp -s "$built" "$out/$provider.wasm" || cp "$built" "$out/$provider.wasm"
done
echo "components: $out"
