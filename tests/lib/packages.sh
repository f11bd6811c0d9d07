#!/usr/bin/env bash
# Sees to it that system packages are there: installs them where root, else says what is missing.
#   packages.sh postgres|fuse|ceph|fio|faketime ...
set -euo pipefail

need() { # PROBE PACKAGE...
    probe=$1
    shift
    eval "$probe" >/dev/null 2>&1 && return
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "missing: apt-get install --no-install-recommends $*" >&2
        exit 1
    fi
    echo "installing $*" >&2
    apt-get -qq update >&2
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >&2
}

for wanted in "$@"; do
    case $wanted in
        postgres) need "ls /usr/lib/postgresql/*/bin/initdb" postgresql ;;
        faketime) need "ls /usr/lib/*/faketime/libfaketimeMT.so.1" libfaketime ;;
        fio) need "command -v fio" fio ;;
        fuse) need "command -v fusermount3" fuse3 ;;
        ceph) need "command -v radosgw && command -v ceph-mon && command -v ceph-osd && command -v ceph" radosgw ceph-mon ceph-osd ceph-common ;;
        *) echo "unknown: $wanted" >&2; exit 2 ;;
    esac
done
