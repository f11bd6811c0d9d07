"""The main job, done for real and told in a page.

An S3 server starts; the runtime starts on its embedded registry; the S3 account is connected through REST, and served by
a sandboxed component; the backend is mounted; files are written and read through the mount; and boto3, which knows
nothing of the runtime, finds the same bytes. Nothing is left behind.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import boto3
from botocore.config import Config

BUCKET = "demo-bucket"
BIG = 64 << 20


def main(binary, components):
    work = pathlib.Path(tempfile.mkdtemp(prefix="causeway-demo-"))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        demo(stack, work, binary, components)
    say("nothing left behind", f"{work} is gone, no mount, no process")


def demo(stack, work, binary, components):
    access, secret, token = "AKDEMO" + secrets.token_hex(6).upper(), secrets.token_hex(20), secrets.token_hex(32)

    (work / "s3" / BUCKET).mkdir(parents=True)
    s3_url = f"http://127.0.0.1:{free_port()}"
    rclone = [shutil.which("rclone") or "rclone", "serve", "s3", "--config", "/dev/null", "--addr", s3_url.removeprefix("http://")]
    start(stack, [*rclone, "--auth-key", f"{access},{secret}", str(work / "s3")], work / "s3.log")
    wait(s3_url, lambda: socket.create_connection(tuple_of(s3_url), 1).close(), work / "s3.log")
    say("S3 server", f"rclone serve s3 at {s3_url}")

    inspect = subprocess.run([binary, "provider", "inspect", f"{components}/s3.wasm"], check=True, capture_output=True, text=True)
    for line in inspect.stdout.splitlines():
        if line.split(":")[0] in ("digest", "imports", "exports", "size"):
            say(f"component {line.split(':')[0]}", line.split(":", 1)[1].strip())

    url = f"http://127.0.0.1:{free_port()}"
    begun = time.monotonic()
    serve = [binary, "serve", "--listen", url.removeprefix("http://"), "--admin-listen", f"127.0.0.1:{free_port()}"]
    serve += ["--data-dir", str(work / "data"), "--mount-root", str(work / "mounts"), "--components", components]
    environment = {**os.environ, "CAUSEWAY_BOOTSTRAP_TOKEN": token, "CAUSEWAY_ALLOW_PRIVATE_NETWORKS": "127.0.0.0/8"}
    process = start(stack, serve, work / "causeway.log", environment)
    wait(url, lambda: get(f"{url}/readyz"), work / "causeway.log", process)
    say("runtime", f"ready at {url} after {time.monotonic() - begun:.2f} s, registry: SQLite in {work}/data")

    api = Api(url, token)
    settings = {"provider": "Other", "endpoint": s3_url, "access_key_id": access, "secret_access_key": secret, "name": "photos"}
    backend = api("POST", "/api/v1/backends/s3", settings)["data"]
    say("connected", f"backend {backend['id']} ({backend['type']}, {backend['backend_type']})")
    mount = api("POST", "/api/v1/mounts", {"backend_id": backend["id"], "label": "Photos"})["data"]
    place = pathlib.Path(mount["mount_path"])
    say("mounted", f"{place} ({mount['status']})")

    bucket = place / BUCKET
    files = {"hello.txt": b"Hello from the other side of the causeway.\n", "album/big.bin": os.urandom(BIG)}
    (bucket / "album").mkdir()
    for name, content in files.items():
        begun = time.monotonic()
        (bucket / name).write_bytes(content)
        say("wrote", f"{name}: {len(content):,} bytes in {time.monotonic() - begun:.2f} s, sha256 {digest(content)}")
    (bucket / "hello.txt").rename(bucket / "album/greeting.txt")
    files["album/greeting.txt"] = files.pop("hello.txt")
    say("renamed", "hello.txt to album/greeting.txt")
    for name, content in files.items():
        begun = time.monotonic()
        read = (bucket / name).read_bytes()
        same(name, read, content)
        say("read", f"{name}: {len(read):,} bytes in {time.monotonic() - begun:.2f} s, sha256 {digest(read)}")

    answer = api("DELETE", f"/api/v1/mounts/{mount['id']}")
    say("unmounted", answer["message"])
    s3 = boto3.client(
        "s3", endpoint_url=s3_url, aws_access_key_id=access, aws_secret_access_key=secret, region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, response_checksum_validation="when_required"),
    )
    keys = sorted(item["Key"] for item in s3.list_objects_v2(Bucket=BUCKET).get("Contents", []))
    if keys != sorted(files):
        sys.exit(f"boto3 sees {keys}, not {sorted(files)}")
    for name, content in sorted(files.items()):
        seen = s3.get_object(Bucket=BUCKET, Key=name)["Body"].read()
        same(name, seen, content)
        say("boto3 sees", f"{name}: {len(seen):,} bytes, sha256 {digest(seen)}")
    say("disconnected", api("DELETE", f"/api/v1/backends/{backend['id']}")["message"])

    process.terminate()
    if process.wait(20) != 0:
        sys.exit(f"the runtime ended with {process.returncode}\n" + tail(work / "causeway.log"))
    if str(work) in pathlib.Path("/proc/mounts").read_text():
        sys.exit("a mount was left behind")
    for path in [work / "causeway.log", *(work / "data").rglob("*")]:
        if path.is_file() and secret.encode() in path.read_bytes():
            sys.exit(f"the secret key stands in {path}")
    say("secret key", "neither in the runtime's log nor anywhere in its data directory")


class Api:
    """The runtime's REST API, as one tenant."""

    def __init__(self, url, token):
        self.url, self.token = url, token

    def __call__(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            sys.exit(f"{method} {path}: {error.code} {error.read().decode()}")


def start(stack, command, log, environment=None):
    """Starts a program that is ended with the demo, whatever happens."""
    process = subprocess.Popen(command, stdout=log.open("wb"), stderr=subprocess.STDOUT, env=environment)

    def end():
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    stack.callback(end)
    return process


def wait(what, probe, log, process=None):
    """Asks until there is an answer; at most a minute, which a first start may need to compile the components."""
    for _ in range(600):
        if process is not None and process.poll() is not None:
            break
        with contextlib.suppress(OSError):
            return probe()
        time.sleep(0.1)
    sys.exit(f"{what} does not answer\n" + tail(log))


def get(url):
    with urllib.request.urlopen(url, timeout=2) as answer:
        return answer.read()


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def tuple_of(url):
    host, port = url.removeprefix("http://").split(":")
    return host, int(port)


def digest(content):
    return hashlib.sha256(content).hexdigest()


def same(name, found, wanted):
    if found != wanted:
        sys.exit(f"{name} is not what was written: {len(found)} bytes, sha256 {digest(found)}")


def tail(log):
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])


def say(what, text):
    print(f"{what:>20}  {text}", flush=True)


main(*sys.argv[1:])
