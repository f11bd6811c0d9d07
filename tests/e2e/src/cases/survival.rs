//! The process dies at any moment of any work, again and again: whatever was answered is there afterwards, and what was
//! under way is done or not done. In the end the provider has the same.
//!
//! `CAUSEWAY_SEED` repeats the work of a run that failed; the moments of the deaths are chance all the same.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::scene::Scene;
use crate::api::Mount;
use crate::content::digest;
use crate::program::{Program, Settings};
use crate::proxy::{Act, Proxy};
use crate::servers::rgw;
use crate::stage::{Stage, eventually};
use crate::workload::{Random, Tree, Worker, difference, read_tree};

/// Programs that work at the same time.
const WORKERS: u64 = 3;
/// Deaths in each case of the gate; the rest of a round is a restart.
const A_FEW: usize = 7;
/// The seed of the gate.
const SEED: u64 = 4;
/// A death that no request brings about comes by then.
const LONGEST: Duration = Duration::from_millis(1500);

pub(crate) fn of_a_local_folder() {
    over_a_local_folder(SEED, A_FEW);
}

pub(crate) fn of_s3() {
    over_s3(SEED, A_FEW);
}

/// Without any death: what is done shows at once and all the time, whatever of it is carried out at this moment.
pub(crate) fn everything_shows_while_it_is_carried_out() {
    let seed = chosen(SEED);
    let stage = Stage::new();
    let folder = stage.directory("local/default/folder");
    let flags = vec!["--local-root".to_owned(), stage.path().join("local").display().to_string()];
    let program = Program::start_with(&stage, Settings { flags, ..Settings::default() });
    let mount = program.api.mount(&program.api.connect("local", &json!({"path": "folder"})), json!({}));
    let mut work = Work::begin(&mount, "", seed);
    work.of_everybody(|ended| {
        // Nothing is waited for: this is how long they work.
        thread::sleep(Duration::from_secs(8));
        ended.store(true, Ordering::SeqCst);
    });
    work.drain(&program, &mount);
    assert_eq!(difference(&work.tree(), &read_tree(&folder).unwrap()), None, "the folder, seed {seed}");
    program.stop(&[]);
}

fn chosen(seed: u64) -> u64 {
    std::env::var("CAUSEWAY_SEED").map_or(seed, |seed| seed.parse().unwrap())
}

/// So many deaths over a local folder.
pub(crate) fn over_a_local_folder(seed: u64, deaths: usize) {
    let seed = chosen(seed);
    let stage = Stage::new();
    let folder = stage.directory("local/default/folder");
    let flags = vec!["--local-root".to_owned(), stage.path().join("local").display().to_string()];
    let mut program = Program::start_with(&stage, Settings { flags, long: deaths > A_FEW, ..Settings::default() });
    let backend = program.api.connect("local", &json!({"path": "folder"}));
    let mount = program.api.mount(&backend, json!({}));
    let mut work = Work::begin(&mount, "", seed);
    for _ in 0..deaths {
        let moment = Moment::After(work.random.below(600));
        work.until(&mut program, moment, None);
        work.recover(&mut program, &mount);
    }
    work.drain(&program, &mount);
    let (unfinished, stored): (Tree, Tree) =
        read_tree(&folder).unwrap().into_iter().partition(|(path, _)| path.contains("/.causeway-unfinished-"));
    assert_eq!(difference(&work.tree(), &stored), None, "the folder, seed {seed}");
    assert_eq!(difference(&Tree::new(), &unfinished), None, "left behind in the folder, seed {seed}");
    program.stop(&[]);
}

/// So many deaths over S3, half of them brought about by a request.
pub(crate) fn over_s3(seed: u64, deaths: usize) {
    let seed = chosen(seed);
    let mut scene = Scene::with(rgw(), Settings { long: deaths > A_FEW, ..Settings::default() });
    let mount = scene.program.api.mount(&scene.connect(json!({})), json!({}));
    let mut work = Work::begin(&mount, &scene.bucket, seed);
    for death in 0..deaths {
        let moment = match death % 2 {
            0 => Moment::After(work.random.below(1000)),
            _ => Moment::AtRequest(1 + work.random.below(40)),
        };
        work.until(&mut scene.program, moment, Some(&scene.proxy));
        scene.proxy.pass();
        work.recover(&mut scene.program, &mount);
    }
    work.drain(&scene.program, &mount);
    let mut stored = scene.server.client.digests(&scene.bucket);
    stored.retain(|key, _| !key.ends_with('/'));
    let files = work.tree().into_iter().filter_map(|(path, content)| Some((path, digest(&content?).into())));
    let wanted: Map<String, Value> = files.collect();
    assert_eq!(stored, wanted, "the bucket, seed {seed}");
    assert_eq!(scene.server.client.uploads(&scene.bucket), Vec::<String>::new(), "parts are left behind, seed {seed}");
    scene.end();
}

/// When the process dies.
enum Moment {
    /// After so many milliseconds.
    After(usize),
    /// When the provider is asked for the so manieth time: before it hears it, while it answers, or with its answer lost.
    AtRequest(usize),
}

/// Several programs at work on one mount.
struct Work {
    seed: u64,
    random: Random,
    workers: Vec<(String, Worker)>,
    death: usize,
}

impl Work {
    fn begin(mount: &Mount, below: &str, seed: u64) -> Work {
        let worker = |number: u64| {
            let name = format!("worker {number}");
            let root = mount.path.join(below).join(&name);
            std::fs::create_dir(&root).unwrap();
            (name, Worker::new(root, seed.wrapping_mul(1000) + number))
        };
        Work { seed, random: Random::new(seed), workers: (0..WORKERS).map(worker).collect(), death: 0 }
    }

    /// Everybody works until the process dies.
    fn until(&mut self, program: &mut Program, moment: Moment, proxy: Option<&Proxy>) {
        self.death += 1;
        let (say, heard) = channel();
        let wait = match moment {
            Moment::After(milliseconds) => Duration::from_millis(milliseconds as u64),
            Moment::AtRequest(_) => LONGEST,
        };
        if let (Moment::AtRequest(wanted), Some(proxy)) = (&moment, proxy) {
            let (wanted, met) = (*wanted, AtomicUsize::new(0));
            let last = [Act::Pass, Act::Hang, Act::LoseAnswer][self.random.below(3)].clone();
            proxy.rule(move |_| match met.fetch_add(1, Ordering::SeqCst) + 1 {
                number if number < wanted => Act::Pass,
                number if number == wanted => {
                    // It may have died already.
                    let _ = say.send(());
                    last.clone()
                }
                _ => Act::Hang,
            });
        }
        self.of_everybody(|ended| {
            // Only the passing of the time, or the request, ends this wait.
            let _ = heard.recv_timeout(wait);
            ended.store(true, Ordering::SeqCst);
            program.kill();
        });
    }

    /// Everybody works until this has set its end.
    fn of_everybody(&mut self, end: impl FnOnce(&AtomicBool)) {
        let ended = &AtomicBool::new(false);
        let failed: Vec<String> = thread::scope(|scope| {
            let work = |(_, worker): &'_ mut (String, Worker)| worker.work(ended);
            let works: Vec<_> = self.workers.iter_mut().map(|worker| scope.spawn(move || work(worker))).collect();
            end(ended);
            works.into_iter().filter_map(|work| work.join().unwrap().err()).collect()
        });
        assert!(failed.is_empty(), "seed {}, before death {}: {}", self.seed, self.death, failed.join("\n"));
    }

    /// Starts the process again, and sees that everything is there.
    fn recover(&mut self, program: &mut Program, mount: &Mount) {
        program.restart();
        eventually(Duration::from_secs(20), "the mount stands again", || {
            let details = program.api.get(&format!("/api/v1/mounts/{}", mount.id)).expect(200);
            if details["status"] == "active" { Ok(()) } else { Err(details.to_string()) }
        });
        let wrong = self.settle();
        if wrong.is_empty() {
            return;
        }
        // Whether it was lost, or only shown wrongly for a while, is the first thing that one wants to know.
        program.api.uploaded(mount);
        let later = self.settle();
        let later = if later.is_empty() { "nothing is wrong any more".to_owned() } else { later };
        panic!("seed {}, after death {}: {wrong}\nonce everything is uploaded: {later}", self.seed, self.death);
    }

    /// What is wrong in the eyes of those who worked.
    fn settle(&mut self) -> String {
        let wrong: Vec<String> = self.workers.iter_mut().filter_map(|(_, worker)| worker.settle().err()).collect();
        wrong.join("\n")
    }

    /// Waits until the provider has everything.
    fn drain(&mut self, program: &Program, mount: &Mount) {
        // They close what they have open: it waits for that.
        let wrong = self.settle();
        assert!(wrong.is_empty(), "seed {}, in the end: {wrong}", self.seed);
        let begun = Instant::now();
        program.api.uploaded(mount);
        let steps: usize = self.workers.iter().map(|(_, worker)| worker.steps).sum();
        eprintln!("{steps} steps, {} deaths, drained in {:.1?}", self.death, begun.elapsed());
        let wrong = self.settle();
        assert!(wrong.is_empty(), "seed {}, once everything is uploaded: {wrong}", self.seed);
        program.api.unmount(mount);
    }

    /// What everybody's directories must show.
    fn tree(&self) -> Tree {
        let mut tree = Tree::new();
        for (name, worker) in &self.workers {
            tree.insert(name.clone(), None);
            let below = worker.tree().iter().map(|(path, content)| (format!("{name}/{path}"), content.clone()));
            tree.extend(below);
        }
        tree
    }
}
