//! What one plan of the S3 component costs: a fresh instance, the plan of a read with its signature, and all of it dropped,
//! beside the limit, which is the instance alone. No network, no bytes.
//!
//! There is no plan by an instance that was used before: a call is a fresh instance, always.

use std::sync::Arc;
use std::time::{Duration, Instant};

use causeway_bench::subject::Subject::{self, Instance, Ours};
use causeway_bench::{Result, Times};
use causeway_guest::{Measured, Measuring};
use causeway_storage::{Kind, Node, Path, Version};

use crate::component::Components;
use crate::tell;

/// Rounds before measuring begins: every page and every cache line has been touched by then.
const WARM_UP: usize = 500;
/// Rounds measured; 20 of them lie above the 99th percentile.
const ROUNDS: usize = 2_000;
/// How many callers plan side by side.
const CALLERS: usize = 2;

pub(crate) async fn measure(components: &Components) -> Result<()> {
    let (provider, opening) = components.s3("http://127.0.0.1:9").await?;
    let file = Node {
        path: Path::parse("photos/2024/summer/IMG_0001.jpg")?,
        kind: Kind::File,
        cookie: None,
        version: Some(Version("9b2cf535f27731c974343645a3985328".into())),
        size: Some(4_000_000),
    };
    let measuring = provider.measuring(opening, &file).await.map_err(|error| format!("{error:?}"))?;
    told(Instance, &rounds(|| measuring.instance()).await?);
    told(Ours, &rounds(|| measuring.plan()).await?);
    tell("M12 rate", Ours, 0, side_by_side(measuring).await?, 0.0);
    Ok(())
}

async fn rounds<F: Future<Output = causeway_storage::Result<Measured>>>(
    round: impl Fn() -> F,
) -> Result<Vec<Measured>> {
    let mut measured = Vec::new();
    for _ in 0..WARM_UP + ROUNDS {
        measured.push(round().await?);
    }
    Ok(measured.split_off(WARM_UP))
}

fn told(subject: Subject, rounds: &[Measured]) {
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    let times = |figure: fn(&Measured) -> Duration| Times::new(rounds.iter().map(figure).collect());
    let (computing, wall) = (times(|round| round.computing), times(|round| round.wall));
    tell("M12", subject, 0, us(computing.quantile(0.5)), 0.0);
    tell("M12 p99", subject, 0, us(computing.quantile(0.99)), 0.0);
    tell("M12 wall", subject, 0, us(wall.quantile(0.5)), 0.0);
}

/// Plans per second.
async fn side_by_side(measuring: Measuring) -> Result<f64> {
    let (measuring, begun) = (Arc::new(measuring), Instant::now());
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let measuring = measuring.clone();
            tokio::spawn(async move {
                for _ in 0..ROUNDS {
                    measuring.plan().await?;
                }
                Ok::<_, causeway_storage::Error>(())
            })
        })
        .collect();
    for caller in callers {
        caller.await??;
    }
    Ok((CALLERS * ROUNDS) as f64 / begun.elapsed().as_secs_f64())
}
