# What one does with this repository. `./just --list` shows the recipes; every one of them installs what it needs.

set shell := ["bash", "-euo", "pipefail", "-c"]

cache := env("CAUSEWAY_CACHE", env("XDG_CACHE_HOME", env("HOME") / ".cache") / "causeway")
target := env("CARGO_TARGET_DIR", cache / "target")
export CAUSEWAY_CACHE := cache
export CARGO_TARGET_DIR := target
export PATH := cache / "python/bin:" + cache / "tools/bin:" + env("PATH")
# Where the tests find components.
export CAUSEWAY_COMPONENTS := target / "components"

_default:
    @just --list --unsorted

# Show the main job: an S3 account connected through REST, mounted, written to and read back.
demo: build _python
    @tests/lib/packages.sh fuse
    @python tests/demo.py "{{ target }}/release/causeway" "$CAUSEWAY_COMPONENTS"

# Run every check and every test.
test: check build _hostile _python _postgres
    @tests/lib/packages.sh fuse
    CAUSEWAY_BINARY="{{ target }}/release/causeway" cargo test --release --workspace
    cargo test --release --manifest-path sdk/rust/Cargo.toml --workspace
    cargo test --release --manifest-path components/Cargo.toml --workspace

# Run the cases that take minutes: gigabytes through a mount, hundreds of deaths.
soak: build _python
    @tests/lib/packages.sh fuse
    CAUSEWAY_SOAK=1 CAUSEWAY_BINARY="{{ target }}/release/causeway" cargo test --release -p causeway-e2e -p causeway-server --test e2e -- soak::

# See how far a mount is a POSIX file system, and write the page that says so.
posix: build _python
    #!/usr/bin/env bash
    set -euo pipefail
    tests/lib/packages.sh fuse
    version=0.2.2
    if [ "$(pjdfstest --version 2>/dev/null)" != "pjdfstest $version" ]; then
        echo "installing pjdfstest $version"
        cargo install --quiet --locked --root "{{ cache }}/tools" --version "$version" pjdfstest
    fi
    python tests/posix.py "{{ target }}/release/causeway" "$CAUSEWAY_COMPONENTS" tests/posix.toml runtime/docs/posix.md

# Formatting, lints, licences and bans.
check: deny
    cargo fmt --all --check
    cargo fmt --manifest-path sdk/rust/Cargo.toml --all --check
    cargo fmt --manifest-path components/Cargo.toml --all --check
    cargo clippy --release --workspace --all-targets -- -D warnings
    cargo clippy --release --manifest-path sdk/rust/Cargo.toml --workspace --all-targets -- -D warnings
    cargo fmt --manifest-path tests/hostile/Cargo.toml --all --check
    cargo clippy --release --manifest-path components/Cargo.toml --workspace --all-targets -- -D warnings

# Build the program and the components.
build: components
    cargo build --release -p causeway-server
    @echo "binary: {{ target }}/release/causeway"
    @echo "components: $CAUSEWAY_COMPONENTS"

# Build the provider components.
components:
    @components/build.sh "$CAUSEWAY_COMPONENTS"

# Measure, as ratios within one run, beside rclone and the limits: everything, or with `quick` in less than five minutes.
bench *arguments: build _python
    @tests/lib/packages.sh fuse
    cargo build --release -p causeway-bench -p causeway-server
    "{{ target }}/release/causeway-bench" {{ arguments }}

# Licences, bans and sources; advisories where their database can be had.
deny:
    #!/usr/bin/env bash
    set -euo pipefail
    version=0.20.2
    if [ "$(cargo-deny --version 2>/dev/null)" != "cargo-deny $version" ]; then
        echo "installing cargo-deny $version"
        cargo install --quiet --locked --debug --root "{{ cache }}/tools" --version "$version" cargo-deny
    fi
    for tree in . sdk/rust components tests/hostile; do
        echo "licences, bans and sources of $tree:"
        cargo fetch --quiet --locked --manifest-path "$tree/Cargo.toml"
        cargo-deny --offline --log-level error --manifest-path "$tree/Cargo.toml" --config deny.toml check licenses bans sources
    done
    if timeout 60 cargo-deny --log-level off fetch db >/dev/null 2>&1; then
        cargo-deny --log-level error check advisories
    else
        echo "advisories: not checked (their database cannot be reached from here)"
    fi

# Run a private PostgreSQL cluster until interrupted, for trying the runtime on it.
db: _postgres
    @tests/lib/postgres.sh run

# Begin a new provider from the one shape that all of them have.
new-provider name:
    @components/new-provider "{{ name }}"

# Components that misbehave, never put beside the real ones.
_hostile:
    @components/build.sh "{{ target }}/hostile" tests/hostile

_python:
    @tests/lib/python.sh

_postgres:
    @tests/lib/packages.sh postgres
