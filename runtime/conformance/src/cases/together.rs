//! Several at once on one path: the outcome is one that could have come about one after the other.

use std::sync::Arc;

use causeway_storage::{Can, ErrorKind, Node};
use futures::future::join_all;

use crate::cases::{FILES, TREES, case};
use crate::ground::{content, ensure};
use crate::{Case, Ground, Outcome};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!("together/many-files-in-one-directory", FILES, many_files),
        case!("together/one-file-written-by-many", FILES, one_file),
        case!("together/one-file-replaced-by-many", FILES, one_replaced),
        case!("together/one-directory-made-by-many", TREES, one_directory),
        case!("together/written-while-it-is-read", FILES | Can::ATOMIC_REPLACE, written_while_read),
        case!("together/removed-by-many", FILES, removed_by_many),
        case!("together/moved-by-many", FILES | Can::MOVE, moved_by_many),
    ]
}

async fn many_files(ground: &Ground) -> Outcome {
    ground.fill(24).await?;
    let names: Vec<String> = (0..24).map(Ground::nth).collect();
    ground.lists(&ground.root, &names.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    for at in [0, 11, 23] {
        ground.holds(&ground.at(&Ground::nth(at))?, &content(at as u64, 12)).await?;
    }
    Ok(())
}

/// One file, with the whole content of one who was told that it was written.
async fn one_file(ground: &Ground) -> Outcome {
    let path = ground.at("file")?;
    let writes = (0..6u64).map(|seed| {
        let path = path.clone();
        async move { (seed, ground.try_write(&path, &content(seed, 5000), None, None).await) }
    });
    let written: Vec<u64> =
        join_all(writes).await.into_iter().filter_map(|(seed, written)| written.ok().map(|_| seed)).collect();
    ensure!(!written.is_empty(), "nobody could write");
    one_of(ground, &path, &written).await
}

async fn one_of(ground: &Ground, path: &causeway_storage::Path, seeds: &[u64]) -> Outcome {
    ground
        .settled(async || {
            let node = ground.node(path).await?;
            let read = ground.read(&node).await?;
            let whose = seeds.iter().find(|seed| read == content(**seed, 5000));
            ensure!(whose.is_some(), "{path} holds what nobody was told to have written: {} bytes", read.len());
            Ok(())
        })
        .await?;
    ground.lists(&ground.root, &[path.name().unwrap_or_default()]).await
}

async fn one_replaced(ground: &Ground) -> Outcome {
    let put = ground.put("file", &content(50, 5000)).await?;
    let writes = (0..6u64).map(|seed| {
        let put = put.clone();
        async move { (seed, ground.try_write(&put.path, &content(seed, 5000), Some(put.clone()), None).await) }
    });
    let done = join_all(writes).await;
    let written: Vec<u64> = done.iter().filter(|(_, written)| written.is_ok()).map(|(seed, _)| *seed).collect();
    ensure!(!written.is_empty(), "nobody could write: {done:?}");
    if ground.can(Can::CONDITIONAL) {
        ensure!(
            written.len() == 1,
            "{} wrote over the same version, and each was told that it was the first",
            written.len()
        );
    }
    one_of(ground, &put.path, &written).await
}

async fn one_directory(ground: &Ground) -> Outcome {
    let path = ground.at("dir")?;
    let made = join_all((0..6).map(|_| ground.storage.make_directory(&path))).await;
    let first = made.iter().filter(|made| made.is_ok()).count();
    ensure!(first == 1, "{first} were told that they made the directory: {made:?}");
    let wrong = made.iter().filter_map(|made| made.as_ref().err()).find(|error| error.kind != ErrorKind::AlreadyExists);
    ensure!(wrong.is_none(), "making a directory that others make failed as {wrong:?}");
    ground.lists(&ground.root, &["dir"]).await
}

/// Whoever looks sees the old content or the new, and never less.
async fn written_while_read(ground: &Ground) -> Outcome {
    let contents: Arc<Vec<Vec<u8>>> = Arc::new((0..5).map(|seed| content(seed, 50_000)).collect());
    let first = contents.first().cloned().unwrap_or_default();
    let mut node = ground.put("file", &first).await?;
    let path = node.path.clone();
    let writing = async {
        for bytes in contents.iter().skip(1) {
            node = ground.replace(&node, bytes).await?;
        }
        Ok(())
    };
    let reading = async {
        for _ in 0..12 {
            let entry = ground.storage.stat(&path).await?;
            ensure!(entry.is_some(), "the file was gone while it was replaced");
            let Some(entry) = entry else { continue };
            match ground.read(&Node::of(path.clone(), &entry)).await {
                Ok(read) => ensure!(contents.iter().any(|bytes| read == *bytes), "what is read was never written"),
                // The version that was seen was replaced in between.
                Err(flaw) => ensure!(
                    flaw.0.contains("PreconditionFailed") || flaw.0.contains("NotFound"),
                    "reading failed: {}",
                    flaw.0
                ),
            }
        }
        Ok(())
    };
    futures::future::try_join(writing, reading).await.map(|_: ((), ())| ())
}

async fn removed_by_many(ground: &Ground) -> Outcome {
    let put = ground.put("file", &content(60, 10)).await?;
    let removed = join_all((0..4).map(|_| ground.storage.remove_file(&put))).await;
    ensure!(removed.iter().any(Result::is_ok), "nobody could remove it: {removed:?}");
    let wrong =
        removed.iter().filter_map(|removed| removed.as_ref().err()).find(|error| error.kind != ErrorKind::NotFound);
    ensure!(wrong.is_none(), "removing what others remove failed as {wrong:?}");
    ground.gone(&put.path).await?;
    ground.lists(&ground.root, &[]).await
}

/// One name in the end, and all of the content under it.
async fn moved_by_many(ground: &Ground) -> Outcome {
    let bytes = content(61, 5000);
    let put = ground.put("file", &bytes).await?;
    let targets = (0..3).map(|at| ground.at(&format!("to-{at}"))).collect::<Result<Vec<_>, _>>()?;
    let moved = join_all(targets.iter().map(|to| ground.storage.move_to(&put, to, None))).await;
    ensure!(moved.iter().any(Result::is_ok), "nobody could move it: {moved:?}");
    ground
        .settled(async || {
            let entries = ground.list(&ground.root).await?;
            let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
            ensure!(!names.is_empty(), "the file is lost");
            ensure!(!names.contains(&"file"), "the file is still at its old name: {names:?}");
            for name in names {
                ground.holds(&ground.at(name)?, &bytes).await?;
            }
            Ok(())
        })
        .await
}
