//! The rounds: for every scene, each subject once, in random order, on a new daemon and an empty cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::content::{Content, Numbers, PAGE, Wrong};
use crate::daemon::{Daemon, cpu, is_mounted, within};
use crate::figures::Sample;
use crate::measure::{
    backwards, download, forget_pages, random, random_http, requests, sequential, until, walk, write, write_many,
};
use crate::subject::Subject::{
    self, Disk, DiskSynced, Mount, Mount2, Ours, RawDirect, RawHttp, RawPassthrough, RawPlain, Tuned,
};
use crate::subject::{BUCKET, Mounted, Source, Stage, call, text};
use crate::{Failure, Result};

/// What is left of a file that shall not be complete.
const MISSING: u64 = 8 << 20;
/// The small files of the tree: so many directories with as many files each.
const BRANCHES: usize = 100;
/// Bytes in each of them.
const LEAF: &[u8] = b"a small file, of which there are many in this tree of files here";
/// What one subject may take for one scene.
const PATIENCE: Duration = Duration::from_secs(240);
/// What a measurement of random reads may take.
const RANDOM: Duration = Duration::from_secs(10);
/// Idle mounts that are weighed together.
const IDLE: usize = 20;

/// How much is done.
#[derive(Clone, Debug)]
pub struct Sizes {
    /// Rounds.
    pub rounds: usize,
    /// Bytes of the files that are read.
    pub read: u64,
    /// Bytes of the file that is written.
    pub written: u64,
    /// Random reads of what is there, for ours and the limits.
    pub warm_reads: u64,
    /// The same for peers, which need longer for each.
    pub peer_reads: u64,
    /// Random reads of what is not there.
    pub cold_reads: u64,
    /// Small files that are written.
    pub files: u64,
    /// How long an API is asked.
    pub asking: Duration,
    /// The peers.
    pub peers: &'static [Subject],
}

impl Sizes {
    /// Everything.
    pub const FULL: Sizes = Sizes {
        rounds: 5,
        read: 1 << 30,
        written: 512 << 20,
        warm_reads: 20_000,
        peer_reads: 1_500,
        cold_reads: 2_000,
        files: 1_000,
        asking: Duration::from_secs(3),
        peers: &[Mount, Mount2, Tuned],
    };
    /// The same in less than five minutes; of rclone's two mounts the faster.
    pub const QUICK: Sizes = Sizes {
        rounds: 3,
        read: 256 << 20,
        written: 128 << 20,
        warm_reads: 20_000,
        peer_reads: 500,
        cold_reads: 500,
        files: 200,
        asking: Duration::from_secs(1),
        peers: &[Mount2, Tuned],
    };
}

/// What was measured so far.
pub struct Run<'a> {
    /// Where.
    pub stage: &'a Stage,
    /// How much.
    pub sizes: Sizes,
    /// The values.
    pub samples: Vec<Sample>,
    /// What went wrong.
    pub failures: Vec<String>,
    /// Whether any content was wrong.
    pub wrong: bool,
    numbers: Numbers,
    content: Content,
}

/// A subject's turn.
#[derive(Clone, Copy)]
struct Turn {
    subject: Subject,
    round: usize,
}

struct Scene {
    name: &'static str,
    measures: &'static [&'static str],
    subjects: &'static [&'static [Subject]],
    play: fn(&mut Run<'_>, Turn) -> Result<()>,
}

const SCENES: &[Scene] = &[
    Scene {
        name: "reading",
        measures: &["M1", "M2", "M3", "M4", "M5", "M10"],
        subjects: &[ALL, &[Disk, RawPlain, RawDirect, RawPassthrough, RawHttp]],
        play: reading,
    },
    Scene { name: "reading from afar", measures: &["M5"], subjects: &[ALL, &[RawHttp]], play: reading_far },
    Scene { name: "reading at random", measures: &["M6"], subjects: &[ALL, &[RawHttp]], play: reading_cold },
    Scene {
        name: "writing",
        measures: &["M7", "M10"],
        subjects: &[ALL, &[Disk, DiskSynced, RawPlain, RawDirect]],
        play: writing,
    },
    Scene { name: "walking", measures: &["M8", "M10"], subjects: &[ALL], play: walking },
    Scene {
        name: "walking a local folder",
        measures: &["M8"],
        subjects: &[ALL, &[Disk, RawPlain]],
        play: walking_folder,
    },
    Scene {
        name: "creating",
        measures: &["M9", "M10"],
        subjects: &[ALL, &[Disk, DiskSynced, RawPlain]],
        play: creating,
    },
    Scene { name: "idling", measures: &["M10"], subjects: &[&[Ours, Mount2]], play: idling },
    Scene { name: "asking", measures: &["M11"], subjects: &[&[Ours, Mount2]], play: asking },
    Scene { name: "starting", measures: &["M18"], subjects: &[ALL], play: starting },
];
/// Everything that is a mount with a cache.
const ALL: &[Subject] = &[Ours, Mount, Mount2, Tuned];

impl Run<'_> {
    /// Prepares what is read.
    pub fn new(stage: &Stage, sizes: Sizes) -> Result<Run<'_>> {
        let mut content = Content::new(1);
        let objects = stage.objects();
        content.make(&objects.join("big"), sizes.read)?;
        // The same bytes under other names: to everyone but the disk these are files of their own.
        for name in ["partial", "random-1", "random-16"] {
            fs::hard_link(objects.join("big"), objects.join(name))?;
        }
        fs::create_dir(objects.join("new"))?;
        fs::write(objects.join("new/before"), LEAF)?;
        fs::write(objects.join("small"), LEAF)?;
        for root in [objects.join("tree"), stage.folder()] {
            for branch in 0..BRANCHES {
                let branch = root.join(format!("branch-{branch:02}"));
                fs::create_dir_all(&branch)?;
                for leaf in 0..BRANCHES {
                    fs::write(branch.join(format!("leaf-{leaf:02}")), LEAF)?;
                }
            }
        }
        Ok(Run { stage, sizes, samples: vec![], failures: vec![], wrong: false, numbers: Numbers(7), content })
    }

    /// Measures what is wanted, or everything if that is empty.
    pub fn all(&mut self, wanted: &[String]) {
        let is_wanted =
            |scene: &&Scene| wanted.is_empty() || wanted.iter().any(|name| scene.measures.contains(&name.as_str()));
        for Scene { name, subjects, play, .. } in SCENES.iter().filter(is_wanted) {
            for round in 0..self.sizes.rounds {
                let mut subjects = subjects.concat();
                subjects.retain(|subject| !subject.is_peer() || self.sizes.peers.contains(subject));
                self.numbers.shuffle(&mut subjects);
                for subject in subjects {
                    let begun = Instant::now();
                    let result = play(self, Turn { subject, round });
                    eprintln!(
                        "{name}, round {}: {}, {:.1} s",
                        round + 1,
                        subject.name(),
                        begun.elapsed().as_secs_f64()
                    );
                    if let Err(error) = result {
                        self.wrong |= error.is::<Wrong>();
                        let failure = format!("{name}, round {}: {}: {error}", round + 1, subject.name());
                        eprintln!("{failure}");
                        self.failures.push(failure);
                    }
                }
            }
        }
    }

    fn keep(&mut self, turn: Turn, metric: &'static str, value: f64, cpu: (f64, f64)) {
        let Turn { subject, round } = turn;
        self.samples.push(Sample { metric, subject, round, value, client: cpu.0, daemon: cpu.1 });
    }

    fn keep_peak(&mut self, turn: Turn, metric: &'static str, mounted: &Mounted) -> Result<()> {
        if let Some(daemon) = mounted.daemon.as_ref().filter(|_| turn.subject.is_cached()) {
            self.keep(turn, metric, daemon.peak()?, (0.0, 0.0));
        }
        Ok(())
    }

    /// Mounts, with everything before it on the disk, so that nobody pays for others.
    fn mount(&self, subject: Subject, source: Source) -> Result<Mounted> {
        rustix::fs::syncfs(fs::File::open(&self.stage.work)?)?;
        self.stage.mount(subject, source)
    }
}

/// What a step cost in CPU: the client's seconds and the daemon's.
fn charged<T>(mounted: &Mounted, step: impl FnOnce() -> Result<T>) -> Result<(T, (f64, f64))> {
    let used = || Ok::<_, Failure>((cpu("self")?, mounted.daemon.as_ref().map_or(Ok(0.0), Daemon::cpu)?));
    let before = used()?;
    let done = match &mounted.daemon {
        Some(daemon) => within(PATIENCE, daemon.id(), step)?,
        None => step()?,
    };
    let after = used()?;
    Ok((done, (after.0 - before.0, after.1 - before.1)))
}

fn per_second(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / 1e6 / time.as_secs_f64()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A file is read cold, then warm in every way; another is read all but for its end, and then in every way.
fn reading(run: &mut Run<'_>, turn: Turn) -> Result<()> {
    let (subject, size) = (turn.subject, run.sizes.read);
    let mounted = run.mount(subject, Source::Near)?;
    let (big, partial) = (mounted.path.join("big"), mounted.path.join("partial"));
    cold(run, turn, &mounted, "M5", "M5 first")?;
    if subject == RawHttp {
        return Ok(());
    }
    let reads = if subject.is_peer() { run.sizes.peer_reads } else { run.sizes.warm_reads };
    let forget = |path: &Path| if subject == Disk { Ok(()) } else { forget_pages(path) };
    charged(&mounted, || run.content.verify(&big, size))?;

    forget(&big)?;
    let (pass, cpu) = charged(&mounted, || sequential(&big, &run.content, size))?;
    run.keep(turn, "M1", per_second(size, pass.whole), cpu);
    forget(&big)?;
    let (reads_made, cpu) = charged(&mounted, || random(&big, &run.content, size, reads, 1, RANDOM))?;
    run.keep(turn, "M2", reads_made.rate, cpu);
    run.keep(turn, "M2 p50", reads_made.times.quantile(0.5).as_secs_f64() * 1e6, (0.0, 0.0));
    run.keep(turn, "M2 p99", reads_made.times.quantile(0.99).as_secs_f64() * 1e6, (0.0, 0.0));
    if matches!(subject, Disk | RawPassthrough) {
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
    let (reads_made, cpu) = charged(&mounted, || random(&partial, &run.content, size, reads, 1, RANDOM))?;
    let served = run.stage.served("partial")? - before;
    if subject == Ours && served >= run.sizes.read {
        return Err(format!("{served} bytes were fetched, so the file may be complete").into());
    }
    run.keep(turn, "M4", reads_made.rate, cpu);
    forget(&partial)?;
    let (pass, cpu) = charged(&mounted, || sequential(&partial, &run.content, size))?;
    run.keep(turn, "M3", per_second(size, pass.whole), cpu);
    run.keep_peak(turn, "M10 reading", &mounted)
}

fn reading_far(run: &mut Run<'_>, turn: Turn) -> Result<()> {
    let mounted = run.mount(turn.subject, Source::Far)?;
    cold(run, turn, &mounted, "M5 far", "M5 far first")
}

/// A file that nobody has read is read from its beginning to its end.
fn cold(run: &mut Run<'_>, turn: Turn, mounted: &Mounted, whole: &'static str, first: &'static str) -> Result<()> {
    let size = run.sizes.read;
    let big = mounted.path.join("big");
    let (pass, cpu) = match turn.subject {
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
    run.keep(turn, whole, per_second(size, pass.whole), cpu);
    run.keep(turn, first, ms(pass.first), (0.0, 0.0));
    Ok(())
}

fn reading_cold(run: &mut Run<'_>, turn: Turn) -> Result<()> {
    let mounted = run.mount(turn.subject, Source::Near)?;
    let (size, count) = (run.sizes.read, run.sizes.cold_reads);
    for (metric, name, threads) in [("M6", "random-1", 1), ("M6 x16", "random-16", 16)] {
        let path = mounted.path.join(name);
        fs::metadata(&path)?;
        let (reads, cpu) = charged(&mounted, || match turn.subject {
            RawHttp => random_http(&run.stage.origin, name, &run.content, size, count, threads),
            _ => random(&path, &run.content, size, count, threads, RANDOM),
        })?;
        run.keep(turn, metric, reads.rate, cpu);
    }
    Ok(())
}

fn writing(run: &mut Run<'_>, turn: Turn) -> Result<()> {
    let mounted = run.mount(turn.subject, Source::Near)?;
    let (size, mut content) = (run.sizes.written, Content::new(2 + turn.round as u64));
    let path = mounted.path.join("written");
    let arrived = run.stage.objects().join("written");
    let (written, cpu) = charged(&mounted, || write(&path, &mut content, size, turn.subject == DiskSynced))?;
    run.keep(turn, "M7", per_second(size, written.staged), cpu);
    run.keep(turn, "M7 writes", per_second(size, written.writes), (0.0, 0.0));
    if turn.subject.is_cached() {
        let complete = || fs::metadata(&arrived).is_ok_and(|metadata| metadata.len() == size);
        let (done, cpu) = charged(&mounted, || until(written.begun, PATIENCE, complete))?;
        run.keep(turn, "M7 uploaded", done.as_secs_f64(), cpu);
        run.keep_peak(turn, "M10 writing", &mounted)?;
    }
    drop(mounted);
    content.verify(&arrived, size)?;
    Ok(fs::remove_file(arrived)?)
}

fn walking(run: &mut Run<'_>, turn: Turn) -> Result<()> {
    let mounted = run.mount(turn.subject, Source::Near)?;
    walked(run, turn, &mounted, &mounted.path.join("tree"), "M8")?;
    run.keep_peak(turn, "M10 walking", &mounted)
}

fn walking_folder(run: &mut Run<'_>, turn: Turn) -> Result<()> {
    let mounted = run.mount(turn.subject, Source::Folder)?;
    walked(run, turn, &mounted, &mounted.path, "M8 local")
}

fn walked(run: &mut Run<'_>, turn: Turn, mounted: &Mounted, root: &Path, metric: &'static str) -> Result<()> {
    let begun = Instant::now();
    let (found, cpu) = charged(mounted, || walk(root))?;
    let time = begun.elapsed();
    let files = (BRANCHES * BRANCHES) as u64;
    if found != (files, files * LEAF.len() as u64) {
        return Err(format!("{} files with {} bytes", found.0, found.1).into());
    }
    run.keep(turn, metric, time.as_secs_f64(), cpu);
    Ok(())
}

fn creating(run: &mut Run<'_>, turn: Turn) -> Result<()> {
    let mounted = run.mount(turn.subject, Source::Near)?;
    let (count, mut content) = (run.sizes.files, Content::new(100 + turn.round as u64));
    let arrived = run.stage.objects().join("new");
    let directory = mounted.path.join("new");
    fs::metadata(directory.join("before"))?;
    let synced = turn.subject == DiskSynced;
    let (written, cpu) = charged(&mounted, || write_many(&directory, &mut content, count, synced))?;
    run.keep(turn, "M9", written.staged.as_secs_f64(), cpu);
    if turn.subject.is_cached() {
        let complete = || fs::read_dir(&arrived).is_ok_and(|entries| entries.count() as u64 > count);
        let (done, cpu) = charged(&mounted, || until(written.begun, PATIENCE, complete))?;
        run.keep(turn, "M9 uploaded", done.as_secs_f64(), cpu);
        run.keep_peak(turn, "M10 creating", &mounted)?;
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
            weighed(&daemon, &|name| run.stage.make_mount(&address, Source::Near, name).map(drop))?
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
    run.keep(turn, "M10 idle", weight, (0.0, 0.0));
    Ok(())
}

fn asking(run: &mut Run<'_>, turn: Turn) -> Result<()> {
    let directory = Round::new(run.stage)?;
    let log = directory.0.join("log");
    let ((daemon, address), first, body) = match turn.subject {
        Ours => {
            directory.with_template(run.stage)?;
            (run.stage.start_ours(&directory.0, &log)?, "GET /api/v1/mounts", "")
        }
        _ => (run.stage.start_rcd(&directory.0, &log)?, "POST /mount/listmounts", "{}"),
    };
    let before = daemon.cpu()?;
    let rate = requests(&address, first, body, 8, run.sizes.asking)?;
    run.keep(turn, "M11", rate, (0.0, daemon.cpu()? - before));
    Ok(())
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
        let point = run.stage.make_mount(&address, Source::Near, "again")?["mount_path"].clone();
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
    run.keep(turn, "M18", ms(start), (0.0, 0.0));
    run.keep(turn, "M18 first", ms(first), (0.0, 0.0));
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
