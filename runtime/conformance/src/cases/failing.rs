//! Failures on the way: each exchange of each operation fails in each way, and afterwards nothing is lost, nothing doubled, nothing
//! short. What ends with an error may be asked for again, and is then done.

use std::time::{Duration, Instant};

use causeway_http::Sky;
use causeway_storage::{Can, Error, ErrorKind, Features, Node, Path, Timestamp};
use futures::future::LocalBoxFuture;

use crate::cases::{FILES, TREES, case};
use crate::ground::{child, content, ensure, refused};
use crate::storm::answer;
use crate::{Case, Flaw, Ground, Outcome, Subject};

/// Whether the weather can be made.
fn stormy(_: &Features, subject: &Subject) -> bool {
    subject.storm.is_some()
}

fn stormy_parts(features: &Features, subject: &Subject) -> bool {
    stormy(features, subject) && subject.part_bytes.is_some()
}

fn renewing(features: &Features, subject: &Subject) -> bool {
    stormy(features, subject) && subject.renews
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!("failing/look-up", FILES, stormy, look_up),
        case!("failing/list", FILES, stormy, listing),
        case!("failing/list-on-page-two", FILES, stormy, page_two),
        case!("failing/read", FILES, stormy, read),
        case!("failing/write-new", FILES, stormy, write_new),
        case!("failing/write-over", FILES, stormy, write_over),
        case!("failing/write-parts", FILES, stormy_parts, write_parts),
        case!("failing/remove-file", FILES, stormy, remove_file),
        case!("failing/make-directory", TREES, stormy, make_directory),
        case!("failing/remove-directory", TREES, stormy, remove_directory),
        case!("failing/purge", TREES | Can::PURGE, stormy, purge),
        case!("failing/rename", FILES | Can::MOVE, stormy, rename),
        case!("failing/move-over", FILES | Can::MOVE, stormy, move_over),
        case!("failing/move-directory", TREES | Can::MOVE | Can::MOVE_DIRECTORIES, stormy, move_directory),
        case!("failing/copy", FILES | Can::COPY, stormy, copy),
        case!("failing/set-modified", FILES | Can::SET_MODIFIED, stormy, set_modified),
        case!("failing/body-cut-short", FILES, stormy, cut_short),
        case!("failing/too-fast-once", FILES, stormy, too_fast_once),
        case!("failing/too-fast-for-good", FILES, stormy, too_fast),
        case!("failing/down-for-good", FILES, stormy, down),
        case!("session.sign-in/expired-in-the-middle", FILES, renewing, expired),
        case!(
            "session.sign-in/expired-in-the-middle-of-parts",
            FILES,
            |f, s| renewing(f, s) && stormy_parts(f, s),
            expired_parts
        ),
        case!("session.sign-in/refused-for-good", FILES, stormy, refused_for_good),
    ]
}

/// In which ways an exchange fails.
fn skies() -> Vec<(&'static str, Sky)> {
    vec![
        ("the connection breaks", Sky::Broken),
        ("the answer is lost", Sky::LostAnswer),
        ("the answer is 503", answer(503, &[])),
        ("the answer is cut off", Sky::Cut(1)),
    ]
}

type Step<'a, T> = LocalBoxFuture<'a, Result<T, Error>>;

/// Does something with each of its exchanges failing in each way, in a directory of its own each time.
///
/// `prepare` makes what is needed, `act` is done in the storm, and again in good weather where it failed; `after` must hold in the end.
/// `act` must answer what it would have answered without the storm.
async fn in_every_storm<P, T>(
    ground: &Ground,
    prepare: impl for<'a> Fn(&'a Ground) -> LocalBoxFuture<'a, Result<P, Flaw>>,
    act: impl for<'a> Fn(&'a Ground, &'a P) -> Step<'a, T>,
    after: impl for<'a> Fn(&'a Ground, &'a P) -> LocalBoxFuture<'a, Outcome>,
) -> Outcome {
    let storm = ground.storm()?;
    let own = subground(ground, "calm").await?;
    let prepared = prepare(&own).await?;
    storm.clear();
    act(&own, &prepared).await?;
    let exchanges = storm.seen();
    storm.clear();
    after(&own, &prepared).await?;
    for (way, sky) in skies() {
        for nth in 0..exchanges.min(MOST_EXCHANGES) {
            let own = subground(ground, &format!("{}-{nth}", way.replace(' ', "-"))).await?;
            let prepared = prepare(&own).await?;
            storm.befall(nth, 1, sky.clone());
            let acted = act(&own, &prepared).await;
            storm.clear();
            let told = |flaw: Flaw| Flaw(format!("{way} at exchange {nth} of {exchanges}: {}", flaw.0));
            if let Err(error) = acted {
                let passing = error.is_passing() || error.kind == ErrorKind::Internal;
                ensure!(passing, "{way} at exchange {nth} of {exchanges}: failed for good: {error:?}");
                again(&own, &prepared, &act).await.map_err(told)?;
            }
            after(&own, &prepared).await.map_err(told)?;
        }
    }
    Ok(())
}

/// Exchanges of one operation that are tried; beyond that they repeat themselves.
const MOST_EXCHANGES: usize = 12;

/// What ended with an error is asked for again. It may have been done: then it is there already, or gone already.
async fn again<P, T>(
    ground: &Ground,
    prepared: &P,
    act: &impl for<'a> Fn(&'a Ground, &'a P) -> Step<'a, T>,
) -> Outcome {
    match act(ground, prepared).await {
        Ok(_) => Ok(()),
        Err(error)
            if matches!(error.kind, ErrorKind::AlreadyExists | ErrorKind::NotFound | ErrorKind::PreconditionFailed) =>
        {
            Ok(())
        }
        Err(error) => Err(Flaw(format!("in good weather again it fails: {error:?}"))),
    }
}

async fn subground(ground: &Ground, name: &str) -> Result<Ground, Flaw> {
    let root = child(&ground.root, name)?;
    if ground.can(Can::DIRECTORIES) {
        ground.storage.make_directory(&root).await?;
    }
    Ok(Ground { root, ..ground.same() })
}

/// A file with this content.
async fn some_file(ground: &Ground, seed: u64) -> Result<Node, Flaw> {
    ground.put("file", &content(seed, 1000)).await
}

fn nothing(_: &Ground) -> LocalBoxFuture<'_, Result<(), Flaw>> {
    Box::pin(async { Ok(()) })
}

async fn look_up(ground: &Ground) -> Outcome {
    in_every_storm(
        ground,
        |ground| Box::pin(some_file(ground, 1)),
        |ground, node| Box::pin(async move { ground.storage.stat(&node.path).await.map(|found| found.is_some()) }),
        |ground, node| Box::pin(async move { ground.holds(&node.path, &content(1, 1000)).await }),
    )
    .await?;
    // A look-up that failed never says that nothing is there.
    let storm = ground.storm()?;
    let node = ground.put("here", &content(2, 10)).await?;
    for (way, sky) in skies() {
        storm.befall(0, usize::MAX, sky);
        let found = ground.storage.stat(&node.path).await;
        storm.clear();
        ensure!(!matches!(found, Ok(None)), "where {way} each time, a file that is there is said not to be");
    }
    Ok(())
}

async fn listing(ground: &Ground) -> Outcome {
    in_every_storm(
        ground,
        |ground| Box::pin(async move { ground.fill(3).await }),
        |ground, ()| Box::pin(async move { crate::ground::list(&*ground.storage, &ground.root).await.map(|_| ()) }),
        |ground, ()| {
            Box::pin(async move {
                let names: Vec<String> = (0..3).map(Ground::nth).collect();
                ground.lists(&ground.root, &names.iter().map(String::as_str).collect::<Vec<_>>()).await
            })
        },
    )
    .await
}

/// A list that could not be finished is an error, or all of it; never a part.
async fn page_two(ground: &Ground) -> Outcome {
    let many = ground.subject.many;
    ground.fill(many).await?;
    let storm = ground.storm()?;
    for nth in 1..4 {
        storm.befall(nth, usize::MAX, answer(500, &[]));
        let listed = crate::ground::list(&*ground.storage, &ground.root).await;
        storm.clear();
        if let Ok(entries) = listed {
            ensure!(entries.len() == many, "a list that broke off shows {} of {many} entries", entries.len());
        }
    }
    Ok(())
}

async fn read(ground: &Ground) -> Outcome {
    in_every_storm(
        ground,
        |ground| Box::pin(some_file(ground, 3)),
        |ground, node| {
            Box::pin(async move {
                let read = ground.read_span(node, causeway_storage::Span::new(0, 1000)).await?;
                if read == content(3, 1000) { Ok(()) } else { Err(Error::new(ErrorKind::Corrupt, "other bytes came")) }
            })
        },
        |ground, node| Box::pin(async move { ground.holds(&node.path, &content(3, 1000)).await }),
    )
    .await
}

async fn write_in_every_storm(ground: &Ground, size: usize, over: bool) -> Outcome {
    in_every_storm(
        ground,
        |ground| Box::pin(async move { if over { some_file(ground, 4).await.map(Some) } else { Ok(None) } }),
        |ground, existing| {
            Box::pin(async move {
                let path = ground.at("file").map_err(|flaw| Error::internal(flaw.0))?;
                let entry = ground.try_write(&path, &content(5, size), existing.clone(), None).await?;
                ground
                    .check_entry(&entry, &content(5, size), &path)
                    .map_err(|flaw| Error::new(ErrorKind::Corrupt, flaw.0))
            })
        },
        |ground, _| {
            Box::pin(async move {
                ground.holds(&ground.at("file")?, &content(5, size)).await?;
                ground.lists(&ground.root, &["file"]).await
            })
        },
    )
    .await
}

async fn write_new(ground: &Ground) -> Outcome {
    write_in_every_storm(ground, 1000, false).await
}

async fn write_over(ground: &Ground) -> Outcome {
    write_in_every_storm(ground, 2000, true).await
}

async fn write_parts(ground: &Ground) -> Outcome {
    write_in_every_storm(ground, (ground.subject.part_bytes.unwrap_or(1) * 2 + 9) as usize, false).await
}

async fn remove_file(ground: &Ground) -> Outcome {
    in_every_storm(
        ground,
        |ground| Box::pin(some_file(ground, 6)),
        |ground, node| Box::pin(ground.storage.remove_file(node)),
        |ground, node| {
            Box::pin(async move {
                ground.gone(&node.path).await?;
                ground.lists(&ground.root, &[]).await
            })
        },
    )
    .await
}

async fn make_directory(ground: &Ground) -> Outcome {
    in_every_storm(
        ground,
        nothing,
        |ground, ()| {
            Box::pin(async move {
                let path = ground.at("dir").map_err(|flaw| Error::internal(flaw.0))?;
                ground.storage.make_directory(&path).await
            })
        },
        |ground, ()| Box::pin(async move { ground.lists(&ground.root, &["dir"]).await }),
    )
    .await
}

async fn remove_directory(ground: &Ground) -> Outcome {
    in_every_storm(
        ground,
        |ground| Box::pin(async move { ground.node(&ground.directory("dir").await?).await }),
        |ground, node| Box::pin(ground.storage.remove_directory(node)),
        |ground, node| Box::pin(async move { ground.gone(&node.path).await }),
    )
    .await
}

async fn purge(ground: &Ground) -> Outcome {
    in_every_storm(
        ground,
        |ground| {
            Box::pin(async move {
                ground.directory("dir").await?;
                ground.put("dir/file", &content(7, 10)).await?;
                ground.node(&ground.at("dir")?).await
            })
        },
        |ground, node| Box::pin(ground.storage.purge(node)),
        |ground, node| Box::pin(async move { ground.gone(&node.path).await }),
    )
    .await
}

/// The way of a move, as `in_every_storm` wants it.
fn moving<'a>(ground: &'a Ground, node: &'a Node, replaces: Option<&'a Node>) -> Step<'a, ()> {
    Box::pin(async move {
        let to = ground.at("moved").map_err(|flaw| Error::internal(flaw.0))?;
        ground.storage.move_to(node, &to, replaces).await.map(|_| ())
    })
}

async fn rename(ground: &Ground) -> Outcome {
    in_every_storm(
        ground,
        |ground| Box::pin(some_file(ground, 8)),
        |ground, node| moving(ground, node, None),
        |ground, _| {
            Box::pin(async move {
                ground.holds(&ground.at("moved")?, &content(8, 1000)).await?;
                ground.lists(&ground.root, &["moved"]).await
            })
        },
    )
    .await
}

async fn move_over(ground: &Ground) -> Outcome {
    in_every_storm(
        ground,
        |ground| {
            Box::pin(async move { Ok((some_file(ground, 9).await?, ground.put("moved", &content(10, 10)).await?)) })
        },
        |ground, (node, there)| moving(ground, node, Some(there)),
        |ground, _| {
            Box::pin(async move {
                ground.holds(&ground.at("moved")?, &content(9, 1000)).await?;
                ground.lists(&ground.root, &["moved"]).await
            })
        },
    )
    .await
}

async fn move_directory(ground: &Ground) -> Outcome {
    in_every_storm(
        ground,
        |ground| {
            Box::pin(async move {
                ground.directory("dir").await?;
                ground.put("dir/file", &content(11, 10)).await?;
                ground.node(&ground.at("dir")?).await
            })
        },
        |ground, node| moving(ground, node, None),
        |ground, _| {
            Box::pin(async move {
                ground.holds(&ground.at("moved/file")?, &content(11, 10)).await?;
                ground.lists(&ground.root, &["moved"]).await
            })
        },
    )
    .await
}

async fn copy(ground: &Ground) -> Outcome {
    in_every_storm(
        ground,
        |ground| Box::pin(some_file(ground, 12)),
        |ground, node| {
            Box::pin(async move {
                let to = ground.at("copy").map_err(|flaw| Error::internal(flaw.0))?;
                ground.storage.copy_to(node, &to, None).await
            })
        },
        |ground, _| {
            Box::pin(async move {
                ground.holds(&ground.at("copy")?, &content(12, 1000)).await?;
                ground.lists(&ground.root, &["copy", "file"]).await
            })
        },
    )
    .await
}

async fn set_modified(ground: &Ground) -> Outcome {
    let time = Timestamp { seconds: 1_600_000_000, nanoseconds: 0 };
    in_every_storm(
        ground,
        |ground| Box::pin(some_file(ground, 13)),
        move |ground, node| Box::pin(ground.storage.set_modified(node, time)),
        move |ground, node| {
            Box::pin(async move {
                let seen = ground.stat(&node.path).await?.modified;
                let seen = seen.map(|seen| seen.truncated(ground.features.modified_step_ns));
                ensure!(seen == Some(time.truncated(ground.features.modified_step_ns)), "the time is {seen:?}");
                ground.holds(&node.path, &content(13, 1000)).await
            })
        },
    )
    .await
}

/// However often a transfer breaks off, what arrives is whole.
async fn cut_short(ground: &Ground) -> Outcome {
    let bytes = content(14, 500_000);
    let node = ground.put("file", &bytes).await?;
    let storm = ground.storm()?;
    for after in [1, 100, 200_000, 499_999] {
        for nth in 0..3 {
            storm.befall(nth, 1, Sky::Cut(after));
            let read = ground.read_span(&node, causeway_storage::Span::new(0, 500_000)).await;
            storm.clear();
            ensure!(read? == bytes, "a transfer that broke off after {after} bytes gave other bytes");
        }
    }
    Ok(())
}

/// The provider says how long to wait, and it is waited for.
async fn too_fast_once(ground: &Ground) -> Outcome {
    let storm = ground.storm()?;
    let node = some_file(ground, 15).await?;
    storm.befall(0, 1, answer(429, &[("retry-after", "1")]));
    let began = Instant::now();
    let written = ground.try_write(&node.path, &content(16, 1000), Some(node.clone()), None).await;
    let waited = began.elapsed();
    storm.clear();
    written?;
    ensure!(waited >= Duration::from_millis(950), "it was to wait for 1 s and went on after {waited:?}");
    ground.holds(&node.path, &content(16, 1000)).await
}

/// Under a storm that does not end, a call does, within the time that is promised.
async fn ends(ground: &Ground, sky: Sky, kinds: &[ErrorKind]) -> Outcome {
    let storm = ground.storm()?;
    let node = some_file(ground, 17).await?;
    let path: Path = node.path.clone();
    ground.outlast_what_was_heard().await;
    for what in ["look-up", "list", "write", "remove"] {
        storm.befall(0, usize::MAX, sky.clone());
        let began = Instant::now();
        let failed: Result<(), Error> = match what {
            "look-up" => ground.storage.stat(&path).await.map(|_| ()),
            "list" => ground.storage.list(&ground.root, None).await.map(|_| ()),
            "write" => ground.try_write(&path, &content(18, 1000), Some(node.clone()), None).await.map(|_| ()),
            _ => ground.storage.remove_file(&node).await,
        };
        storm.clear();
        refused(what, failed, kinds)?;
        ensure!(began.elapsed() < Duration::from_secs(60), "{what} ended after {:?}", began.elapsed());
    }
    ground.holds(&path, &content(17, 1000)).await
}

async fn too_fast(ground: &Ground) -> Outcome {
    ends(ground, answer(429, &[]), &[ErrorKind::RateLimited(None), ErrorKind::Unavailable(None)]).await
}

async fn down(ground: &Ground) -> Outcome {
    ends(ground, answer(503, &[]), &[ErrorKind::Unavailable(None), ErrorKind::RateLimited(None)]).await
}

/// A credential that expired is renewed once, and what was under way goes on. Each time in a storage opened anew: one whose
/// credential expires again and again may wait before it signs in again.
async fn expired_with(ground: &Ground, size: usize) -> Outcome {
    let storm = ground.storm()?;
    let own = ground.afresh().await?;
    let calm = ground.at("calm")?;
    storm.clear();
    own.write(&calm, &content(19, size), None, None).await?;
    let exchanges = storm.seen();
    for nth in 0..exchanges.min(MOST_EXCHANGES) {
        let own = ground.afresh().await?;
        let path = ground.at(&format!("file-{nth}"))?;
        storm.befall(nth, 1, answer(401, &[]));
        let written = own.try_write(&path, &content(19, size), None, None).await;
        storm.clear();
        written.map_err(|error| Flaw(format!("401 at exchange {nth} of {exchanges}: {error:?}")))?;
        own.holds(&path, &content(19, size)).await?;
    }
    Ok(())
}

async fn expired(ground: &Ground) -> Outcome {
    expired_with(ground, 1000).await
}

async fn expired_parts(ground: &Ground) -> Outcome {
    expired_with(ground, (ground.subject.part_bytes.unwrap_or(1) * 2 + 9) as usize).await
}

/// A credential that is refused for good ends in an error that says so, soon, and without a storm of sign-ins.
async fn refused_for_good(ground: &Ground) -> Outcome {
    let storm = ground.storm()?;
    let node = some_file(ground, 20).await?;
    // Where the sign-in is obtained is not where it is refused: who cannot even renew it has lost it for good.
    ground.outlast_what_was_heard().await;
    storm.clear();
    ground.stat(&node.path).await?;
    ground.outlast_what_was_heard().await;
    storm.befall_there(0, usize::MAX, answer(401, &[]));
    let seen = ground.storage.stat(&node.path).await;
    let asked = storm.seen();
    storm.clear();
    ensure!(seen.is_err(), "a refused credential found {seen:?}");
    ensure!(asked <= 24, "a refused credential was tried in {asked} exchanges");
    Ok(())
}
