//! `causeway-bench [quick] [--busy] [--write-docs] [M1 M2 ...]`: measures a built `causeway` from outside, beside its peers and its
//! limits. `causeway-bench docs RESULTS.json`: writes the page about it once more, from results that it kept.
//!
//! The same program is, started by itself, the instruments that must be processes of their own: the origin, the delay before it
//! and the raw FUSE file system.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use causeway_bench::figures::{Sample, lines, table, told};
use causeway_bench::metrics::ABSENT;
use causeway_bench::raw::{self, Mode};
use causeway_bench::rounds::{Run, Sizes};
use causeway_bench::subject::{FAR, Stage};
use causeway_bench::{Result, alone, delay, docs, load, load_average, origin};
use serde_json::{Value, json};

/// Above this load of the last minute, a measurement would be one of something else.
const QUIET: f64 = 1.5;
/// How long a run waits for a quiet machine.
const WAIT: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["origin", root] => serve(|listener| Ok(origin::serve(listener, Path::new(root))?)),
        ["delay", upstream] => serve(|listener| Ok(delay::serve(listener, upstream, FAR)?)),
        ["docs", results] => write_docs(Path::new(results)).map(|()| true),
        ["raw", source, point, mode] => match Mode::named(mode) {
            Some(mode) => raw::serve(Path::new(source), Path::new(point), mode).map(|()| true).map_err(Into::into),
            None => Err(format!("{mode} is no mode").into()),
        },
        _ => bench(&words),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(server: impl FnOnce(&TcpListener) -> Result<()>) -> Result<bool> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("listening at {}", listener.local_addr()?);
    server(&listener).map(|()| true)
}

/// Gives whether everything could be measured and nothing was wrong.
fn bench(words: &[&str]) -> Result<bool> {
    let (flags, metrics): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| !word.starts_with('M'));
    if let Some(unknown) = flags.iter().find(|flag| !["quick", "--busy", "--write-docs"].contains(flag)) {
        return Err(
            format!("{unknown} is unknown; usage: causeway-bench [quick] [--busy] [--write-docs] [M1 M2 ...]").into()
        );
    }
    let sizes = if flags.contains(&"quick") { Sizes::QUICK } else { Sizes::FULL };
    let _alone = alone()?;
    if !flags.contains(&"--busy") {
        quiet()?;
    }
    let before = load()?;
    let cache = cache();
    let directory = cache.join("bench");
    std::fs::create_dir_all(&directory)?;
    let work = tempfile::Builder::new().prefix("run-").tempdir_in(&directory)?;
    let beside = std::env::current_exe()?.with_file_name("causeway");
    let causeway = std::env::var_os("CAUSEWAY_BINARY").map_or(beside, PathBuf::from);
    let components = causeway.with_file_name("../components");
    let components = std::env::var_os("CAUSEWAY_COMPONENTS").map_or(components, PathBuf::from);
    let inside = cache.join("python/bin/rclone");
    let rclone = if inside.exists() { inside } else { "rclone".into() };
    let stage = Stage::set(work.path(), &causeway, &rclone, &components)?;
    let begun = Instant::now();
    let mut run = Run::new(&stage, sizes)?;
    run.all(&metrics.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());

    let lines = lines(&run.samples);
    println!("\n{}", table(&lines));
    ABSENT.iter().for_each(|(what, why)| println!("Not measured: {what}: {why}."));
    println!("Before: {before}; after: {}; {:.0} s.", load()?, begun.elapsed().as_secs_f64());
    for failure in &run.failures {
        println!("Failed: {failure}");
    }
    let kept = directory.join(format!("{}.json", jiff::Timestamp::now().strftime("%Y-%m-%dT%H%M%S")));
    let results = json!({
        "versions": versions(&stage)?, "sizes": run.sizes.told(), "load": before, "failures": run.failures,
        "lines": told(&lines), "samples": run.samples.iter().map(Sample::to_json).collect::<Vec<_>>(),
    });
    std::fs::write(&kept, results.to_string())?;
    println!("{}", kept.display());
    if flags.contains(&"--write-docs") {
        write_docs(&kept)?;
    }
    Ok(run.failures.is_empty() && !run.wrong)
}

/// Writes the page in the repository that this is started in.
fn write_docs(results: &Path) -> Result<()> {
    let directory = Path::new("runtime/docs");
    if !Path::new("runtime/README.md").exists() {
        return Err("documentation is written from the root of the repository".into());
    }
    std::fs::create_dir_all(directory)?;
    docs::write(directory, &serde_json::from_str(&std::fs::read_to_string(results)?)?)
}

/// What was measured on what.
fn versions(stage: &Stage) -> Result<Value> {
    let first = |program: &Path, arguments: &[&str]| {
        let output = std::process::Command::new(program).args(arguments).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok::<_, std::io::Error>(text.lines().next().unwrap_or_default().to_owned())
    };
    Ok(json!({
        "causeway": first(&stage.causeway, &["--version"])?,
        "commit": first(Path::new("git"), &["describe", "--always", "--dirty"])?,
        "rclone": first(&stage.rclone, &["version"])?,
        "kernel": first(Path::new("uname"), &["-srm"])?,
        "machine": format!(
            "{}, {} cores, {} GiB of memory",
            told_by("/proc/cpuinfo", "model name")?,
            std::thread::available_parallelism()?,
            told_by("/proc/meminfo", "MemTotal")?.trim_end_matches(" kB").parse::<u64>()? >> 20,
        ),
    }))
}

/// What a file of `name: value` says of a name first.
fn told_by(path: &str, name: &str) -> Result<String> {
    let text = std::fs::read_to_string(path)?;
    let mut values = text.lines().filter_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'));
    Ok(values.next().unwrap_or_default().trim().to_owned())
}

fn quiet() -> Result<()> {
    let begun = Instant::now();
    while load_average()? > QUIET {
        if begun.elapsed() > WAIT {
            return Err(format!("{}, and that for {WAIT:?}: with --busy it is measured nevertheless", load()?).into());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}

/// Where the recipes keep what they build and install.
fn cache() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    variable("CAUSEWAY_CACHE").unwrap_or_else(|| {
        let home = || variable("HOME").unwrap_or_default().join(".cache");
        variable("XDG_CACHE_HOME").unwrap_or_else(home).join("causeway")
    })
}
