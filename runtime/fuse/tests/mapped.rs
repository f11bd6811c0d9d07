//! Files in memory: mapped, mapped by several, cut while mapped, and read and written past the page cache; and locks.
//!
//! Each test is a small program of its own: who serves a mount must not wait for its pages while it changes its own
//! memory, and locks are between processes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod ground;
use ground::alike_in_python;

#[test]
fn a_mapped_file_shows_what_is_in_it() {
    alike_in_python(
        r#"
import mmap, hashlib
content = bytes(range(256)) * 5000 + b"odd tail"
open("f", "wb").write(content)
with open("f", "rb") as f:
    private = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE)
    shared = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ, flags=mmap.MAP_SHARED)
print(hashlib.sha256(private).hexdigest(), hashlib.sha256(shared).hexdigest(), shared[700000], shared[-8:])
"#,
    );
}

// semantics: A mapping shows what is in the file, and what is written into it is in the file.
#[test]
fn what_is_written_into_a_mapping_is_in_the_file() {
    alike_in_python(
        r#"
import mmap, os
open("f", "wb").write(b"a" * 100_000)
f = open("f", "r+b")
m = mmap.mmap(f.fileno(), 0)
m[10:16] = b"mapped"
m[50_000:50_005] = b"later"
print(open("f", "rb").read()[8:20], os.pread(f.fileno(), 7, 49_999))
m.flush()
print(open("f", "rb").read()[8:20], os.pread(f.fileno(), 7, 49_999))
"#,
    );
}

#[test]
fn a_mapping_outlives_its_handle_and_needs_no_flush() {
    alike_in_python(
        r#"
import mmap
open("f", "wb").write(b"a" * 100_000)
with open("f", "r+b") as f:
    m = mmap.mmap(f.fileno(), 0)
m[99_990:] = b"0123456789"
m[0:5] = b"begin"
m.close()
content = open("f", "rb").read()
print(len(content), content[:8], content[-12:])
"#,
    );
}

#[test]
fn a_private_mapping_changes_nothing() {
    alike_in_python(
        r#"
import mmap
open("f", "wb").write(b"a" * 10_000)
with open("f", "r+b") as f:
    m = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_COPY)
m[0:4] = b"mine"
print(m[:6], open("f", "rb").read(6))
"#,
    );
}

#[test]
fn a_mapping_shows_what_is_written_beside_it() {
    alike_in_python(
        r#"
import mmap, os
open("f", "wb").write(b"a" * 20_000)
f = open("f", "r+b")
m = mmap.mmap(f.fileno(), 0)
print(m[0:4], m[12_000:12_004])
os.pwrite(f.fileno(), b"beside", 12_000)
with open("f", "r+b") as other:
    other.write(b"other")
print(m[0:6], m[12_000:12_007])
m[100:104] = b"back"
print(os.pread(f.fileno(), 6, 99))
"#,
    );
}

// semantics: Processes that map the same file share it.
#[test]
fn two_processes_share_a_mapping() {
    alike_in_python(
        r#"
import mmap, os
open("f", "wb").write(bytes(8192))
f = open("f", "r+b")
m = mmap.mmap(f.fileno(), 0)
child = os.fork()
if child == 0:
    g = open("f", "r+b")
    n = mmap.mmap(g.fileno(), 0)
    n[5000:5005] = b"child"
    while n[0] != 1:
        pass
    os._exit(0)
while m[5000:5005] != b"child":
    pass
m[0] = 1
print(os.waitpid(child, 0)[1], m[5000:5005])
"#,
    );
}

#[test]
fn a_mapping_of_a_file_that_is_cut_ends_with_it() {
    alike_in_python(
        r#"
import mmap, os, signal
open("f", "wb").write(b"a" * 20_000)
f = open("f", "r+b")
m = mmap.mmap(f.fileno(), 0)
m[19_000:19_004] = b"tail"
os.ftruncate(f.fileno(), 5_000)
print(m[4_990:5_010])
child = os.fork()
if child == 0:
    m[15_000]
    os._exit(0)
status = os.waitpid(child, 0)[1]
print(os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGBUS)
os.ftruncate(f.fileno(), 20_000)
print(m[4_990:5_010], m[18_998:19_006])
m[10_000:10_004] = b"back"
m.flush()
print(open("f", "rb").read()[9_998:10_006])
"#,
    );
}

#[test]
fn a_mapping_of_an_unlinked_file_goes_on() {
    alike_in_python(
        r#"
import mmap, os
open("f", "wb").write(b"a" * 200_000)
f = open("f", "r+b")
m = mmap.mmap(f.fileno(), 0)
os.unlink("f")
f.close()
m[150_000:150_004] = b"mine"
print(m[149_998:150_006], m[0:3], os.path.exists("f"))
m.close()
"#,
    );
}

#[test]
fn direct_reads_and_writes_meet_those_through_the_page_cache() {
    alike_in_python(
        r#"
import mmap, os
page = mmap.mmap(-1, 4096)
direct = os.open("f", os.O_RDWR | os.O_CREAT | os.O_DIRECT, 0o600)
page.write(b"d" * 4096)
print(os.pwritev(direct, [page], 0), os.pwritev(direct, [page], 8192))
cached = os.open("f", os.O_RDWR)
print(os.fstat(cached).st_size, os.pread(cached, 4, 0), os.pread(cached, 4, 4096), os.pread(cached, 4, 8192))
os.pwrite(cached, b"cached", 4094)
page.seek(0)
print(os.preadv(direct, [page], 4096), page[:6])
print(os.preadv(direct, [page], 12288), os.preadv(direct, [page], 0), page[-4:])
page.seek(0)
page.write(b"again")
os.pwritev(direct, [page], 4096)
print(os.pread(cached, 7, 4094))
"#,
    );
}

// semantics: Locks hold between the processes of this machine, and are told to no provider.
#[test]
fn a_lock_keeps_another_process_out_until_it_is_let_go() {
    alike_in_python(
        r#"
import fcntl, os, struct
open("f", "wb").write(b"0123456789")

def attempt(act):
    r, w = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with open("f", "r+b") as f:
                act(f)
            os.write(w, b"got it")
        except OSError as error:
            os.write(w, b"errno %d" % error.errno)
        os._exit(0)
    os.close(w)
    os.waitpid(child, 0)
    return os.read(r, 100)

exclusive = lambda f: fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
shared = lambda f: fcntl.flock(f, fcntl.LOCK_SH | fcntl.LOCK_NB)
whole = lambda f: fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
first = lambda f: fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 3, 0)
last = lambda f: fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 3, 7)

f = open("f", "r+b")
shared(f)
print(attempt(shared), attempt(exclusive))
exclusive(f)
print(attempt(shared), attempt(exclusive))
fcntl.flock(f, fcntl.LOCK_UN)
print(attempt(exclusive))
first(f)
print(attempt(first), attempt(last), attempt(whole))
# Any close of the file lets go of this process's record locks.
open("f").close()
print(attempt(whole))
exclusive(f)
f.close()
print(attempt(exclusive))
"#,
    );
}

#[test]
fn a_waiting_lock_is_given_when_its_holder_dies() {
    alike_in_python(
        r#"
import fcntl, os, signal
open("f", "wb").close()
r, w = os.pipe()
child = os.fork()
if child == 0:
    f = open("f", "r+b")
    fcntl.lockf(f, fcntl.LOCK_EX)
    os.write(w, b"x")
    signal.pause()
os.read(r, 1)
f = open("f", "r+b")
try:
    fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
    print("taken twice")
except OSError as error:
    print(error.errno)
os.kill(child, signal.SIGKILL)
fcntl.lockf(f, fcntl.LOCK_EX)
print("given", os.waitpid(child, 0)[1])
"#,
    );
}
