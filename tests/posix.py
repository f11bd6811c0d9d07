"""pjdfstest on a mount: what POSIX promises, case by case, and why each case that fails does.

A folder is connected and mounted; `pjdfstest` works in the mount; what came of it is printed per group and written to the
page that people read. `tests/posix.toml` gives the reason for every case that may fail. A case that fails without a reason
fails this, and so does a reason that no case needs any more: the list only shrinks.
"""

import collections
import contextlib
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.request

# What the mount is asked for.
CONFIG = {"uid": 0, "gid": 0, "attributes": "sidecar"}
# What Linux has: with it, ext4 passes everything.
SUITE = """
[features]
posix_fallocate = {}
utime_now = {}
utimensat = {}
[settings]
naptime = 0.01
[dummy_auth]
entries = [["nobody", "nogroup"], ["daemon", "daemon"]]
"""
OUTCOMES = ("ok", "FAILED", "skipped")


def main(binary, components, reasons, page):
    # A short path: the suite binds sockets, whose names may have 107 bytes.
    work = pathlib.Path(tempfile.mkdtemp(prefix="p", dir="/tmp"))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        text = run(stack, work, binary, components)
    outcomes = dict(re.findall(rf"^(\S+::\S+)\s+({'|'.join(OUTCOMES)})$", text, re.MULTILINE))
    if not outcomes:
        sys.exit(f"the suite told nothing:\n{text}")
    explained, unexplained, unneeded = explain(outcomes, tomllib.loads(pathlib.Path(reasons).read_text()))
    told = tell(outcomes, explained)
    print(told)
    for name in unexplained:
        print(f"fails without a reason: {name}: {message(text, name)}")
    for pattern in unneeded:
        print(f"passes, its reason is not needed any more: {pattern}")
    if unexplained or unneeded:
        sys.exit(1)
    pathlib.Path(page).write_text(told)


def run(stack, work, binary, components):
    """What the suite prints, the program having been started for it and stopped after it."""
    (work / "local/default/folder").mkdir(parents=True)
    token, ports = os.urandom(32).hex(), [free_port(), free_port()]
    serve = [binary, "serve", "--listen", f"127.0.0.1:{ports[0]}", "--admin-listen", f"127.0.0.1:{ports[1]}"]
    serve += ["--data-dir", work / "data", "--mount-root", work / "m", "--local-root", work / "local"]
    serve += ["--components", components]
    log = (work / "log").open("wb")
    environment = {**os.environ, "CAUSEWAY_BOOTSTRAP_TOKEN": token}
    process = subprocess.Popen(serve, stdout=log, stderr=subprocess.STDOUT, env=environment)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    url = f"http://127.0.0.1:{ports[0]}"

    def call(path, body):
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        request = urllib.request.Request(url + path, json.dumps(body).encode(), headers, method="POST")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["data"]

    for _ in range(600):
        if process.poll() is not None:
            sys.exit((work / "log").read_text())
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{url}/readyz", timeout=2)
            break
        time.sleep(0.1)
    backend = call("/api/v1/backends/local", {"path": "folder"})["id"]
    wish = {"backend_id": backend, "label": "posix", "mount_path": "m", "vfs_config": CONFIG}
    place = pathlib.Path(call("/api/v1/mounts", wish)["mount_path"])
    stack.callback(subprocess.run, ["umount", "--lazy", "--quiet", place], stderr=subprocess.DEVNULL)
    # Other users walk through here.
    for directory in [work, *place.relative_to(work).parents]:
        (work / directory).chmod(0o755)
    place.chmod(0o755)
    (work / "suite.toml").write_text(SUITE)
    suite = ["pjdfstest", "--configuration-file", work / "suite.toml", "--path", place]
    done = subprocess.run(suite, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600)
    return re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)


def explain(outcomes, reasons):
    """What fails by its reason; what fails without one; the patterns that nothing needs."""
    explained, unneeded = collections.defaultdict(list), []
    unexplained = {name for name, outcome in outcomes.items() if outcome == "FAILED"}
    for reason in reasons["reason"]:
        for pattern in reason["cases"]:
            names = sorted(name for name in unexplained if re.fullmatch(pattern, name))
            explained[reason["why"]] += names
            unexplained.difference_update(names)
            if not names:
                unneeded.append(pattern)
    return {why: names for why, names in explained.items() if names}, sorted(unexplained), unneeded


def tell(outcomes, explained):
    groups = collections.defaultdict(collections.Counter)
    for name, outcome in outcomes.items():
        groups[name.split("::")[0]][outcome] += 1
    total = sum(groups.values(), collections.Counter())
    row = lambda name, counts: f"| {name} | " + " | ".join(str(counts[outcome]) for outcome in OUTCOMES) + " |"
    lines = [
        "# POSIX", "",
        "What `./just posix` finds: [pjdfstest](https://crates.io/crates/pjdfstest) 0.2.2 on a mount of a local folder with a sidecar",
        '(`attributes: "sidecar"`). It writes this page.', "",
        "| group | passed | failed | skipped |", "|---|---|---|---|",
        *(row(name, groups[name]) for name in sorted(groups)), row("**all**", total), "",
        "Skipped is what this kind of system does not have (file flags, ACLs of NFS, times of birth) or what the recipe does not",
        "give (a second file system, a remount).", "",
        "## What fails, and why", "",
    ]
    for why, names in explained.items():
        lines += [f"- **{len(names)}**: {why}", *(f"  - `{name}`" for name in names)]
    return "\n".join(lines) + "\n"


def message(text, name):
    """What the suite says of a case that failed."""
    after = text.split(f"\n{name} ", 1)[-1].split("\n")[1:]
    said = [line.strip() for line in after[:4]]
    return " ".join(line for line in said if line and "::" not in line.split(" ")[0])


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


main(*sys.argv[1:])
