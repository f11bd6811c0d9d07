//! The rounds: for every scene, each subject once, in random order, on a new daemon and an empty cache.

use std::collections::HashMap;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::content::{Content, Numbers, Wrong};
use crate::daemon::{Daemon, cpu, within};
use crate::figures::{Cost, Sample};
use crate::scenes::{SCENES, Scene};
use crate::subject::Subject::{self, Mount};
use crate::subject::{Mounted, Source, Stage};
use crate::{Failure, Result};

/// The small files of the tree: so many directories with as many files each.
pub(crate) const BRANCHES: usize = 100;
/// Bytes in each of them.
pub(crate) const LEAF: &[u8] = b"a small file, of which there are many in this tree of files here";
/// What one subject may take for one scene.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);
/// What costs nothing, or is charged elsewhere.
pub(crate) const FREE: Cost = Cost { client: 0.0, daemon: 0.0, peak: 0.0 };

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
    /// Who takes no part.
    pub left_out: &'static [Subject],
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
        left_out: &[],
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
        asking: Duration::from_millis(500),
        left_out: &[Mount],
    };

    /// In words.
    pub fn told(&self) -> String {
        let Sizes { rounds, read, written, files, .. } = self;
        let (read, written) = (read >> 20, written >> 20);
        format!("{rounds} rounds; files of {read} MiB read and of {written} MiB written, {files} small files created")
    }
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
    pub(crate) content: Content,
    /// What digests came to, by their names: the same whoever made them.
    digests: HashMap<String, String>,
    numbers: Numbers,
}

/// A subject's turn.
#[derive(Clone, Copy)]
pub(crate) struct Turn {
    pub(crate) subject: Subject,
    pub(crate) round: usize,
}

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
        content.make(&objects.join("part"), sizes.read / 8)?;
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
        let (samples, failures, digests) = (vec![], vec![], HashMap::new());
        Ok(Run { stage, sizes, samples, failures, wrong: false, content, digests, numbers: Numbers(7) })
    }

    /// Measures what is wanted, or everything if that is empty.
    pub fn all(&mut self, wanted: &[String]) {
        let is_wanted =
            |scene: &&Scene| wanted.is_empty() || wanted.iter().any(|name| scene.measures.contains(&name.as_str()));
        for Scene { name, subjects, play, .. } in SCENES.iter().filter(is_wanted) {
            for round in 0..self.sizes.rounds {
                let mut subjects = subjects.concat();
                subjects.retain(|subject| !self.sizes.left_out.contains(subject));
                self.numbers.shuffle(&mut subjects);
                for subject in subjects {
                    let begun = Instant::now();
                    let result = play(self, Turn { subject, round });
                    let turn = format!("{name}, round {}: {}", round + 1, subject.name());
                    eprintln!("{turn}, {:.1} s", begun.elapsed().as_secs_f64());
                    if let Err(error) = result {
                        self.wrong |= error.is::<Wrong>();
                        self.failures.push(format!("{turn}: {error}"));
                        eprintln!("{turn}: {error}");
                    }
                }
            }
        }
    }

    pub(crate) fn keep(&mut self, turn: Turn, metric: &str, value: f64, cost: Cost) {
        let Turn { subject, round } = turn;
        self.samples.push(Sample { metric: metric.to_owned(), subject, round, value, cost });
    }

    /// Lets the program that links the runtime measure, and gives what it said beside its samples.
    pub(crate) fn within(&mut self, turn: Turn, arguments: &[&str]) -> Result<String> {
        let program = std::env::current_exe()?.with_file_name("causeway-bench-within");
        let output = Command::new(program).args(arguments).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        let mut rest = String::new();
        for line in String::from_utf8(output.stdout)?.lines() {
            match serde_json::from_str::<Value>(line).ok().and_then(|told| Sample::from_json(&told)) {
                Some(sample) => {
                    // The first round of each start is the turn's own, further ones come after all turns.
                    let round = turn.round + sample.round * self.sizes.rounds;
                    self.samples.push(Sample { round, ..sample });
                }
                None => rest += line,
            }
        }
        Ok(rest)
    }

    /// Fails unless everyone came to the same.
    pub(crate) fn agree(&mut self, name: &str, digest: String) -> Result<()> {
        let first = self.digests.entry(name.to_owned()).or_insert_with(|| digest.clone());
        if *first == digest { Ok(()) } else { Err(Wrong::new(format!("{name} is {digest} and {first}")).into()) }
    }

    /// Mounts, with everything before it on the disk, so that nobody pays for others.
    pub(crate) fn mount(&self, subject: Subject, source: Source) -> Result<Mounted> {
        rustix::fs::syncfs(fs::File::open(&self.stage.work)?)?;
        self.stage.mount(subject, source)
    }
}

/// What a step cost: the client's seconds of CPU, and the daemon's and its memory.
pub(crate) fn charged<T>(mounted: &Mounted, step: impl FnOnce() -> Result<T>) -> Result<(T, Cost)> {
    let used = || Ok::<_, Failure>((cpu("self")?, mounted.daemon.as_ref().map_or(Ok(0.0), Daemon::cpu)?));
    let before = used()?;
    let done = match &mounted.daemon {
        Some(daemon) => within(PATIENCE, daemon.id(), step)?,
        None => step()?,
    };
    let (after, peak) = (used()?, mounted.daemon.as_ref().map_or(Ok(0.0), Daemon::peak)?);
    Ok((done, Cost { client: after.0 - before.0, daemon: after.1 - before.1, peak }))
}
