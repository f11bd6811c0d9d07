#!/usr/bin/env bash
# A Ceph RGW (S3 with strict signatures) on loopback, its data in memory.
#   rgw.sh start DIR PORT   prints `endpoint access-key secret-key`; DIR must be empty
#   rgw.sh stop DIR
#   rgw.sh run DIR PORT     the same from start to stop, which comes when its input ends
set -euo pipefail

start() {
    "$(dirname "$0")/packages.sh" ceph
    dir=$(realpath -m "$1") port=$2
    # The monitor's own port lies above, so that two clusters do not meet.
    monitor=$((port + 1))
    mkdir -p "$dir"/{mon,osd0,rgw}
    cluster=$(cat /proc/sys/kernel/random/uuid) osd=$(cat /proc/sys/kernel/random/uuid)
    cat > "$dir/ceph.conf" <<EOF
[global]
fsid = $cluster
mon host = 127.0.0.1:$monitor
public network = 127.0.0.0/8
auth cluster required = none
auth service required = none
auth client required = none
# Without authentication there are no keys to encrypt with.
ms mon client mode = crc
ms mon cluster mode = crc
ms mon service mode = crc
mon allow pool size one = true
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd crush chooseleaf type = 0
osd objectstore = memstore
memstore device bytes = ${CAUSEWAY_RGW_BYTES:-4294967296}
mon data = $dir/mon
osd data = $dir/osd0
run dir = $dir
admin socket = $dir/\$name.asok
log file = $dir/\$name.log
mon cluster log file = $dir/cluster.log
crash dir = $dir
rgw frontends = beast endpoint=127.0.0.1:$port
rgw data = $dir/rgw
[mon.a]
mon addr = 127.0.0.1:$monitor
EOF
    ceph="timeout 60 ceph -c $dir/ceph.conf"
    monmaptool --create --add a 127.0.0.1:$monitor --fsid "$cluster" "$dir/monmap" >/dev/null
    ceph-mon -c "$dir/ceph.conf" --mkfs -i a --monmap "$dir/monmap" >/dev/null 2>&1
    setsid ceph-mon -f -c "$dir/ceph.conf" -i a >/dev/null 2>&1 </dev/null & echo $! > "$dir/mon.pid"
    $ceph osd new "$osd" >/dev/null 2>&1
    ceph-osd -c "$dir/ceph.conf" -i 0 --mkfs --osd-uuid "$osd" >/dev/null 2>&1
    setsid ceph-osd -f -c "$dir/ceph.conf" -i 0 >/dev/null 2>&1 </dev/null & echo $! > "$dir/osd.pid"
    setsid radosgw -f -c "$dir/ceph.conf" -n client.admin >/dev/null 2>&1 </dev/null & echo $! > "$dir/rgw.pid"
    for try in $(seq 300); do
        curl -sf "http://127.0.0.1:$port/" >/dev/null && break
        [ "$try" -lt 300 ] || { echo "radosgw does not answer; its log:" >&2; tail -n 20 "$dir/client.admin.log" >&2; exit 1; }
        kill -0 "$(cat "$dir/rgw.pid")" 2>/dev/null || { echo "radosgw ended; its log:" >&2; tail -n 20 "$dir/client.admin.log" >&2; exit 1; }
        sleep .2
    done
    radosgw-admin -c "$dir/ceph.conf" user create --uid=t --display-name=T --access-key=AKTEST --secret=SKTEST-only-for-tests >/dev/null 2>&1
    echo "http://127.0.0.1:$port AKTEST SKTEST-only-for-tests"
}

stop() {
    # The object store may wait for a monitor that is gone, so it is not asked twice.
    for part in rgw osd mon; do
        [ -f "$1/$part.pid" ] && kill -9 "$(cat "$1/$part.pid")" 2>/dev/null || true
    done
}

run() {
    trap 'stop "$dir"' EXIT
    start "$@"
    cat >/dev/null
}

action=$1
shift
"$action" "$@"
