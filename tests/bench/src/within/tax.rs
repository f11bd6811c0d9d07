//! What the sandbox costs a read: the same engine, the same origin and the same checks, once with plans of the component and once with
//! a plan that stands in the program. No mount and no disk, so the tax is not diluted by what both would pay.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use causeway_bench::Result;
use causeway_bench::content::{BLOCK, Content};
use causeway_bench::subject::BUCKET;
use causeway_bench::subject::Subject::{self, Hardcoded as Native, Ours};
use causeway_storage::{Body, Node, Path, Provider, Span, Storage};
use futures::StreamExt;
use rustix::time::{ClockId, clock_gettime};

use crate::component::Components;
use crate::hardcoded::Hardcoded;
use crate::tell;

/// What is asked for at once, and how many of those side by side, as for the raw client.
const RANGE: u64 = 8 << 20;
const RANGES: usize = 4;
/// Rounds of one start.
const ROUNDS: usize = 5;
/// Directories of small files per round, each of 100.
const DIRECTORIES: usize = 2;

/// Both ways to the same objects.
struct Ways {
    component: Arc<dyn Storage>,
    hardcoded: Hardcoded,
}

impl Ways {
    async fn read(&self, subject: Subject, file: &Node, span: Span) -> causeway_storage::Result<Body> {
        match subject {
            Ours => self.component.read(file, span).await,
            _ => self.hardcoded.read(file, span).await,
        }
    }
}

pub(crate) async fn measure(components: &Components, origin: &str, size: u64) -> Result<()> {
    let (provider, opening) = components.s3(&format!("http://{origin}")).await?;
    let component = provider.open(opening).await.map_err(|error| format!("{error:?}"))?;
    let ways = Arc::new(Ways { component, hardcoded: Hardcoded::new(&components.gate, origin)? });
    let path = Path::parse(&format!("{BUCKET}/big"))?;
    let entry = ways.component.stat(&path).await?.ok_or("the object is missing")?;
    let big = Arc::new(Node::of(path, &entry));
    let content = Arc::new(Content::new(1));
    for subject in [Ours, Native] {
        whole(&ways, subject, &big, &content, size).await?;
    }
    for round in 0..ROUNDS {
        let order = if round % 2 == 0 { [Ours, Native] } else { [Native, Ours] };
        for subject in order {
            let (begun, before) = (Instant::now(), cpu());
            whole(&ways, subject, &big, &content, size).await?;
            let (elapsed, used) = (begun.elapsed().as_secs_f64(), (cpu() - before).as_secs_f64());
            tell("M13", subject, round, size as f64 / 1e6 / elapsed, used);
            tell("M13 CPU", subject, round, used / (size as f64 / 1e9), 0.0);
        }
        let small = small(&ways, round).await?;
        for subject in order {
            let (begun, before) = (Instant::now(), cpu());
            for file in &small {
                let size = file.size.unwrap_or(0);
                let mut body = ways.read(subject, file, Span::new(0, size)).await?;
                let mut read = 0;
                while let Some(bytes) = body.next().await {
                    read += bytes?.len() as u64;
                }
                if read != size {
                    return Err(format!("{read} bytes of {size}").into());
                }
            }
            let used = (cpu() - before).as_secs_f64();
            tell("M13 small", subject, round, small.len() as f64 / begun.elapsed().as_secs_f64(), used);
        }
    }
    Ok(())
}

/// Files that were not read before.
async fn small(ways: &Ways, round: usize) -> Result<Vec<Node>> {
    let mut files = Vec::new();
    for number in 0..DIRECTORIES {
        let directory = Path::parse(&format!("{BUCKET}/tree/branch-{:02}", round * DIRECTORIES + number))?;
        for entry in ways.component.list(&directory, None).await?.entries {
            files.push(Node::of(directory.child(&entry.name)?, &entry));
        }
    }
    Ok(files)
}

/// Reads all of an object, ranges side by side.
async fn whole(ways: &Arc<Ways>, subject: Subject, file: &Arc<Node>, content: &Arc<Content>, size: u64) -> Result<()> {
    let next = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = (0..RANGES)
        .map(|_| {
            let (ways, file, content, next) = (ways.clone(), file.clone(), content.clone(), next.clone());
            tokio::spawn(async move {
                let mut block = Vec::with_capacity(BLOCK);
                loop {
                    let mut offset = next.fetch_add(RANGE, Ordering::Relaxed);
                    if offset >= size {
                        return Ok::<_, causeway_bench::Failure>(());
                    }
                    let mut body = ways.read(subject, &file, Span::new(offset, RANGE.min(size - offset))).await?;
                    while let Some(bytes) = body.next().await {
                        let mut rest = &bytes?[..];
                        while !rest.is_empty() {
                            let (now, later) = rest.split_at(rest.len().min(BLOCK - block.len()));
                            block.extend_from_slice(now);
                            rest = later;
                            if block.len() == BLOCK {
                                content.glance(&block, offset)?;
                                offset += BLOCK as u64;
                                block.clear();
                            }
                        }
                    }
                }
            })
        })
        .collect();
    for reader in readers {
        reader.await??;
    }
    Ok(())
}

/// What this process has computed so far.
pub(crate) fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
