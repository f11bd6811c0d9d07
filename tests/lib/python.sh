#!/usr/bin/env bash
# Makes the virtual environment that holds the programs of tests/lib/requirements.txt; does nothing when it is there.
set -euo pipefail
cd "$(dirname "$0")"
cache="${CAUSEWAY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/causeway}"
environment="$cache/python"
wanted=$(sha256sum requirements.txt | cut -d' ' -f1)
[ "$(cat "$environment/installed" 2>/dev/null || true)" != "$wanted" ] || exit 0
command -v python3 >/dev/null || { echo "Python 3 is needed (on Debian: apt-get install python3 python3-venv)" >&2; exit 1; }
echo "installing the test programs into $environment" >&2
mkdir -p "$cache"
python3 -m venv "$environment" 2>/dev/null || {
    [ "$(id -u)" = 0 ] || { echo "Python's venv module is missing: apt-get install python3-venv" >&2; exit 1; }
    apt-get -qq update >&2 && apt-get -qq install -y --no-install-recommends python3-venv >&2
    python3 -m venv "$environment"
}
"$environment/bin/pip" install --quiet --disable-pip-version-check -r requirements.txt >&2
echo "$wanted" > "$environment/installed"
