//! The scenes: what a subject does in its turn, and which metrics come of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::content::{Content, PAGE, Wrong};
use crate::daemon::{Daemon, children_cpu, is_mounted};
use crate::figures::Cost;
use crate::measure::{
    backwards, download, forget_pages, random, random_http, requests, sequential, until, walk, write, write_many,
};
use crate::metrics::METRICS;
use crate::rounds::{BRANCHES, FREE, LEAF, PATIENCE, Run, Sizes, Turn, charged};
use crate::subject::Subject::{
    self, Disk, DiskSynced, Mount, Mount2, Ours, RawDirect, RawHttp, RawPassthrough, RawPlain, Rclone, Tuned, Unlent,
};
use crate::subject::{BUCKET, Mounted, Source, Stage, call, text};
use crate::{Failure, Result};

/// What is left of a file that shall not be complete.
const MISSING: u64 = 8 << 20;
/// What a measurement of random reads may take.
const RANDOM: Duration = Duration::from_secs(10);
/// Idle mounts that are weighed together.
const IDLE: usize = 20;
/// Digests that have a target or are so fast that they need all of the file; the others are compared over an eighth of it.
const LONG: [&str; 5] = ["md5", "sha256", "blake3", "crc32", "quickxor"];

/// Starts of rclone that are weighed together: the kernel's clock ticks are a quarter of one.
const STARTS: u32 = 5;

/// A scene.
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    pub(crate) measures: &'static [&'static str],
    pub(crate) subjects: &'static [&'static [Subject]],
    pub(crate) play: fn(&mut Run<'_>, Turn) -> Result<()>,
}

/// All of them, in their order.
pub(crate) const SCENES: &[Scene] = &[
    Scene {
        name: "reading",
        measures: &["M1", "M2", "M3", "M4", "M5"],
        subjects: &[ALL, &[Unlent, Disk, RawPlain, RawDirect, RawPassthrough, RawHttp]],
        play: reading,
    },
    Scene { name: "reading from afar", measures: &["M5"], subjects: &[ALL, &[RawHttp]], play: reading_far },
    Scene { name: "reading at random", measures: &["M6"], subjects: &[ALL, &[RawHttp]], play: reading_cold },
    Scene {
        name: "writing",
        measures: &["M7"],
        subjects: &[ALL, &[Disk, DiskSynced, RawPlain, RawDirect]],
        play: writing,
    },
    Scene { name: "walking", measures: &["M8"], subjects: &[ALL], play: walking },
    Scene {
        name: "walking a local folder",
        measures: &["M8"],
        subjects: &[ALL, &[Disk, RawPlain]],
        play: walking_folder,
    },
    Scene { name: "creating", measures: &["M9"], subjects: &[ALL, &[Disk, DiskSynced, RawPlain]], play: creating },
    Scene { name: "working", measures: &["M10"], subjects: &[ALL], play: working },
    Scene { name: "idling", measures: &["M10"], subjects: &[&[Ours, Rclone]], play: idling },
    Scene { name: "asking", measures: &["M11"], subjects: &[&[Ours, Rclone]], play: asking },
    Scene { name: "planning", measures: &["M12"], subjects: &[&[Ours]], play: planning },
    Scene { name: "taxing", measures: &["M13"], subjects: &[&[Ours]], play: taxing },
    Scene { name: "digesting", measures: &["M17"], subjects: &[&[Ours, Rclone]], play: digesting },
    Scene { name: "starting", measures: &["M18"], subjects: &[ALL], play: starting },
];
/// Everything that is a mount with a cache.
const ALL: &[Subject] = &[Ours, Mount, Mount2, Tuned];

/// A file is read cold, then warm in every way; another is read all but for its end, and then in every way.
fn reading(run: &mut Run<'_>, turn: Turn) -> Result<()> {
    let (subject, size) = (turn.subject, run.sizes.read);
    let mounted = run.mount(subject, Source::Near)?;
    let (big, partial) = (mounted.path.join("big"), mounted.path.join("partial"));
    if subject != Unlent {
        cold(run, turn, &mounted, "M5", "M5 first")?;
    }
    if subject == RawHttp {
        return Ok(());
    }
    let reads = if subject.is_peer() { run.sizes.peer_reads } else { run.sizes.warm_reads };
    let forget = |path: &Path| if subject == Disk { Ok(()) } else { forget_pages(path) };
    charged(&mounted, || run.content.verify(&big, size))?;

    forget(&big)?;
    let (pass, cost) = charged(&mounted, || sequential(&big, &run.content, size))?;
    run.keep(turn, "M1", per_second(size, pass.whole), cost);
    forget(&big)?;
    let (reads_made, cost) = charged(&mounted, || random(&big, &run.content, size, reads, 1, RANDOM))?;
    run.keep(turn, "M2", reads_made.rate, cost);
    run.keep(turn, "M2 p50", reads_made.times.quantile(0.5).as_secs_f64() * 1e6, FREE);
    run.keep(turn, "M2 p99", reads_made.times.quantile(0.99).as_secs_f64() * 1e6, FREE);
    if matches!(subject, Disk | RawPassthrough | Unlent) {
        return Ok(());
    }

    let size = size - MISSING;
    let before = run.stage.served("partial")?;
    match subject {
        Ours => charged(&mounted, || backwards(&partial, &run.content, size))?.0,
        // What others do does not depend on it, and this is what suits them.
        _ => charged(&mounted, || sequential(&partial, &run.content, size)).map(drop)?,
    }
    forget(&partial)?;
    let (reads_made, cost) = charged(&mounted, || random(&partial, &run.content, size, reads, 1, RANDOM))?;
    let served = run.stage.served("partial")? - before;
    if subject == Ours && served >= run.sizes.read {
        return Err(format!("{served} bytes were fetched, so the file may be complete").into());
    }
    run.keep(turn, "M4", reads_made.rate, cost);
    forget(&partial)?;
    let (pass, cost) = charged(&mounted, || sequential(&partial, &run.content, size))?;
    run.keep(turn, "M3", per_second(size, pass.whole), cost);
    Ok(())
}

fn reading_far(run: &mut Run<'_>, turn: Turn) -> Result<()> {
    let mounted = run.mount(turn.subject, Source::Far)?;
    cold(run, turn, &mounted, "M5 far", "M5 far first")
}

/// A file that nobody has read is read from its beginning to its end.
fn cold(run: &mut Run<'_>, turn: Turn, mounted: &Mounted, whole: &'static str, first: &'static str) -> Result<()> {
    let size = run.sizes.read;
    let big = mounted.path.join("big");
    let (pass, cost) = match turn.subject {
        RawHttp => {
            let (address, to) = (run.stage.address(whole == "M5 far"), run.stage.work.join("downloaded"));
            let measured = charged(mounted, || download(address, "big", size, &to))?;
            run.content.verify(&to, size)?;
            fs::remove_file(to)?;
            measured
        }
        subject if subject.is_cached() => {
            // What is in the directory is known, what is in the file is not.
            fs::metadata(&big)?;
            let measured = charged(mounted, || sequential(&big, &run.content, size))?;
            charged(mounted, || run.content.verify(&big, size))?;
            measured
        }
        _ => return Ok(()),
    };
    run.keep(turn, whole, per_second(size, pass.whole), cost);
    run.keep(turn, first, ms(pass.first), FREE);
    Ok(())
}

fn reading_cold(run: &mut Run<'_>, turn: Turn) -> Result<()> {
    let mounted = run.mount(turn.subject, Source::Near)?;
    let (size, count) = (run.sizes.read, run.sizes.cold_reads);
    for (metric, name, threads) in [("M6", "random-1", 1), ("M6 x16", "random-16", 16)] {
        let path = mounted.path.join(name);
        fs::metadata(&path)?;
        let (reads, cost) = charged(&mounted, || match turn.subject {
            RawHttp => random_http(&run.stage.origin, name, &run.content, size, count, threads),
            _ => random(&path, &run.content, size, count, threads, RANDOM),
        })?;
        run.keep(turn, metric, reads.rate, cost);
    }
    Ok(())
}

fn writing(run: &mut Run<'_>, turn: Turn) -> Result<()> {
    let mounted = run.mount(turn.subject, Source::Near)?;
    let (size, mut content) = (run.sizes.written, Content::new(2 + turn.round as u64));
    let path = mounted.path.join("written");
    let arrived = run.stage.objects().join("written");
    let (written, cost) = charged(&mounted, || write(&path, &mut content, size, turn.subject == DiskSynced))?;
    run.keep(turn, "M7", per_second(size, written.staged), cost);
    run.keep(turn, "M7 writes", per_second(size, written.writes), FREE);
    if turn.subject.is_cached() {
        let complete = || fs::metadata(&arrived).is_ok_and(|metadata| metadata.len() == size);
        let (done, cost) = charged(&mounted, || until(written.begun, PATIENCE, complete))?;
        run.keep(turn, "M7 uploaded", done.as_secs_f64(), cost);
    }
    drop(mounted);
    content.verify(&arrived, size)?;
    Ok(fs::remove_file(arrived)?)
}

fn walking(run: &mut Run<'_>, turn: Turn) -> Result<()> {
    let mounted = run.mount(turn.subject, Source::Near)?;
    walked(run, turn, &mounted, &mounted.path.join("tree"), "M8")
}

fn walking_folder(run: &mut Run<'_>, turn: Turn) -> Result<()> {
    let mounted = run.mount(turn.subject, Source::Folder)?;
    walked(run, turn, &mounted, &mounted.path, "M8 local")
}

fn walked(run: &mut Run<'_>, turn: Turn, mounted: &Mounted, root: &Path, metric: &'static str) -> Result<()> {
    let begun = Instant::now();
    let (found, cost) = charged(mounted, || walk(root))?;
    let time = begun.elapsed();
    let files = (BRANCHES * BRANCHES) as u64;
    if found != (files, files * LEAF.len() as u64) {
        return Err(format!("{} files with {} bytes", found.0, found.1).into());
    }
    run.keep(turn, metric, time.as_secs_f64(), cost);
    Ok(())
}

fn creating(run: &mut Run<'_>, turn: Turn) -> Result<()> {
    let mounted = run.mount(turn.subject, Source::Near)?;
    let (count, mut content) = (run.sizes.files, Content::new(100 + turn.round as u64));
    let arrived = run.stage.objects().join("new");
    let directory = mounted.path.join("new");
    fs::metadata(directory.join("before"))?;
    let synced = turn.subject == DiskSynced;
    let (written, cost) = charged(&mounted, || write_many(&directory, &mut content, count, synced))?;
    run.keep(turn, "M9", written.staged.as_secs_f64(), cost);
    if turn.subject.is_cached() {
        let complete = || entries(&arrived) > count;
        let (done, cost) = charged(&mounted, || until(written.begun, PATIENCE, complete))?;
        run.keep(turn, "M9 uploaded", done.as_secs_f64(), cost);
    }
    drop(mounted);
    for number in 0..count {
        let path = arrived.join(format!("file-{number:05}"));
        let read = fs::read(&path)?;
        if read.len() != PAGE {
            return Err(Box::new(Wrong::new(format!("{} has {} bytes", path.display(), read.len()))));
        }
        content.check(&read, number << 20)?;
        fs::remove_file(path)?;
    }
    Ok(())
}

/// Many mounts that nobody uses, in one program; rclone's API can do that, too.
fn idling(run: &mut Run<'_>, turn: Turn) -> Result<()> {
    let directory = Round::new(run.stage)?;
    let log = directory.0.join("log");
    let weighed = |daemon: &Daemon, mount: &dyn Fn(&str) -> Result<()>| {
        // What the first brings along is not what another one costs.
        mount("first")?;
        let before = daemon.resident()?;
        (0..IDLE).try_for_each(|number| mount(&format!("idle-{number}")))?;
        Ok::<_, Failure>((daemon.resident()? - before) / IDLE as f64)
    };
    let weight = match turn.subject {
        Ours => {
            directory.with_template(run.stage)?;
            let (daemon, address) = run.stage.start_ours(&directory.0, &log)?;
            weighed(&daemon, &|name| run.stage.make_mount(&address, Source::Near, name, false).map(drop))?
        }
        _ => {
            let (daemon, address) = run.stage.start_rcd(&directory.0, &log)?;
            weighed(&daemon, &|name| {
                let point = directory.0.join(name);
                fs::create_dir(&point)?;
                let wish = json!({
                    "fs": format!("near:{BUCKET}"), "mountPoint": text(&point), "mountType": "mount2",
                    "vfsOpt": {"CacheMode": "full"},
                });
                call(&address, "POST /mount/mount", &wish)?;
                if is_mounted(&point) { Ok(()) } else { Err("not mounted".into()) }
            })?
        }
    };
    run.keep(turn, "M10 idle", weight, FREE);
    Ok(())
}

/// The same questions to our API and to rclone's: the smallest, all backends, one, and one that goes on to the provider.
fn asking(run: &mut Run<'_>, turn: Turn) -> Result<()> {
    let directory = Round::new(run.stage)?;
    let log = directory.0.join("log");
    let (daemon, address, questions) = match turn.subject {
        Ours => {
            directory.with_template(run.stage)?;
            let (daemon, address) = run.stage.start_ours(&directory.0, &log)?;
            let one = format!("GET /api/v1/backends/{}", run.stage.connect_more(&address)?);
            let list = "GET /api/v1/backends".to_owned();
            (
                daemon,
                address,
                [("GET /api/v1/mounts".to_owned(), ""), (list, ""), (one.clone(), ""), (one + "/test", "")],
            )
        }
        _ => {
            let (daemon, address) = run.stage.start_rcd(&directory.0, &log)?;
            let asked = [("mount/listmounts", "{}"), ("config/dump", "{}"), ("config/get", r#"{"name": "near"}"#)];
            let buckets = ("operations/list", r#"{"fs": "near:", "remote": ""}"#);
            let asked = [asked[0], asked[1], asked[2], buckets];
            (daemon, address, asked.map(|(what, body)| (format!("POST /{what}"), body)))
        }
    };
    for (metric, (first, body)) in ["M11", "M11 list", "M11 one", "M11 probe"].into_iter().zip(&questions) {
        let before = daemon.cpu()?;
        let rate = requests(&address, first, body, 8, run.sizes.asking)?;
        let cost = Cost { daemon: daemon.cpu()? - before, peak: daemon.peak()?, ..FREE };
        run.keep(turn, metric, rate, cost);
    }
    Ok(())
}

/// Everything once on one mount, and what its program held at most.
fn working(run: &mut Run<'_>, turn: Turn) -> Result<()> {
    let mounted = run.mount(turn.subject, Source::Near)?;
    let Sizes { read, written, cold_reads, files, .. } = run.sizes.clone();
    let at = |name: &str| mounted.path.join(name);
    let (arrived, new) = (run.stage.objects().join("written"), run.stage.objects().join("new"));
    let ((), cost) = charged(&mounted, || {
        let mut content = Content::new(3);
        let begun = write(&at("written"), &mut content, written, false)?.begun;
        write_many(&at("new"), &mut content, files, false)?;
        sequential(&at("big"), &run.content, read)?;
        random(&at("random-16"), &run.content, read, cold_reads, 16, RANDOM)?;
        walk(&at("tree"))?;
        let complete =
            || fs::metadata(&arrived).is_ok_and(|metadata| metadata.len() == written) && entries(&new) > files;
        until(begun, PATIENCE, complete).map(drop)
    })?;
    run.keep(turn, "M10", cost.peak, cost);
    drop(mounted);
    (0..files).try_for_each(|number| fs::remove_file(new.join(format!("file-{number:05}"))))?;
    Ok(fs::remove_file(arrived)?)
}

fn entries(directory: &Path) -> u64 {
    fs::read_dir(directory).map_or(0, |entries| entries.count() as u64)
}

fn planning(run: &mut Run<'_>, turn: Turn) -> Result<()> {
    let (components, compiled) = (run.stage.components.clone(), run.stage.work.join("compiled"));
    run.within(turn, &["plans", &components, text(&compiled)]).map(drop)
}

fn taxing(run: &mut Run<'_>, turn: Turn) -> Result<()> {
    let (components, compiled) = (run.stage.components.clone(), run.stage.work.join("compiled"));
    let (origin, size) = (run.stage.origin.clone(), run.sizes.read.to_string());
    run.within(turn, &["tax", &components, text(&compiled), &origin, &size]).map(drop)
}

/// Digests of a file in the page cache, by the CPU that they take. What rclone takes for an empty file is not counted: it is its start.
fn digesting(run: &mut Run<'_>, turn: Turn) -> Result<()> {
    let empty = run.stage.work.join("empty");
    fs::write(&empty, "")?;
    let mut start = 0.0;
    if turn.subject == Rclone {
        for _ in 0..STARTS {
            start += hashsum(run, "md5", &empty)?.1 / f64::from(STARTS);
        }
    }
    for (metric, name) in METRICS.iter().filter_map(|metric| Some((metric.name, metric.name.strip_prefix("M17 ")?))) {
        let path = run.stage.objects().join(if LONG.contains(&name) { "big" } else { "part" });
        let digest = match turn.subject {
            Ours => run.within(turn, &["digest", name, text(&path)])?,
            _ => {
                let (digest, cpu) = hashsum(run, name, &path)?;
                let taken = Duration::from_secs_f64((cpu - start).max(0.001));
                let rate = per_second(fs::metadata(&path)?.len(), taken);
                run.keep(turn, metric, rate, Cost { client: taken.as_secs_f64(), ..FREE });
                digest
            }
        };
        run.agree(name, digest)?;
    }
    Ok(())
}

fn hashsum(run: &Run<'_>, name: &str, path: &Path) -> Result<(String, f64)> {
    let before = children_cpu()?;
    let output = Command::new(&run.stage.rclone)
        .args(["hashsum", name, text(path), "--config", text(&run.stage.work.join("rclone.conf"))])
        .output()?;
    let cpu = children_cpu()? - before;
    let digest = String::from_utf8(output.stdout)?.split_whitespace().next().unwrap_or_default().to_owned();
    Ok((digest, cpu))
}

/// A mount that was there comes back with its program.
fn starting(run: &mut Run<'_>, turn: Turn) -> Result<()> {
    let read = |path: &Path| {
        let begun = Instant::now();
        if fs::read(path)? != LEAF {
            return Err(Box::new(Wrong::new(path.display().to_string())) as Failure);
        }
        Ok(begun.elapsed())
    };
    let (start, first) = if turn.subject == Ours {
        let directory = Round::new(run.stage)?;
        directory.with_template(run.stage)?;
        let log = directory.0.join("log");
        let (daemon, address) = run.stage.start_ours(&directory.0, &log)?;
        let point = run.stage.make_mount(&address, Source::Near, "again", false)?["mount_path"].clone();
        let point = PathBuf::from(point.as_str().unwrap_or_default());
        drop(daemon);
        let begun = Instant::now();
        let (_daemon, _) = run.stage.start_ours(&directory.0, &log)?;
        let start = until(begun, PATIENCE, || is_mounted(&point))?;
        (start, read(&point.join(BUCKET).join("small"))?)
    } else {
        let mounted = run.mount(turn.subject, Source::Near)?;
        (mounted.after, read(&mounted.path.join("small"))?)
    };
    run.keep(turn, "M18", ms(start), FREE);
    run.keep(turn, "M18 first", ms(first), FREE);
    Ok(())
}

/// The directory of a round whose daemon is no mount's; whatever is mounted below ends with it.
struct Round(PathBuf);

impl Round {
    fn new(stage: &Stage) -> Result<Round> {
        let directory = stage.work.join("round");
        fs::create_dir_all(&directory)?;
        Ok(Round(directory))
    }

    fn with_template(&self, stage: &Stage) -> Result<()> {
        crate::subject::copy(&stage.work.join("template"), &self.0.join("data"))
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        crate::daemon::unmount_below(&self.0);
        // What cannot be removed stays in the directory of the run, which is removed at its end.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn per_second(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / 1e6 / time.as_secs_f64()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
