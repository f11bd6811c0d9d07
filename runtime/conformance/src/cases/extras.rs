//! What only some offer: whole directories at once, room, links, the trash, old versions, news.

use causeway_storage::{Can, Change, Cursor, ErrorKind, Kind, News, Node, Path, Span};

use crate::cases::{FILES, TREES, case};
use crate::ground::{content, ensure, list, refused};
use crate::{Case, Flaw, Ground, Outcome};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!("purging.purge/everything-below", TREES | Can::PURGE, purge),
        case!("purging.purge/missing", TREES | Can::PURGE, purge_missing),
        case!("purging.purge/file", TREES | Can::PURGE, purge_file),
        case!("copying.copy-to/directory", TREES | Can::COPY | Can::COPY_DIRECTORIES, copy_directory),
        case!("room.measure/adds-up", Can::ROOM, room),
        case!("links.link/file", FILES | Can::LINKS, link),
        case!("links.link/missing", FILES | Can::LINKS, link_missing),
        case!("links.unlink/takes-back", FILES | Can::LINKS, unlink),
        case!("cleaning.clean/leaves-what-is-there", FILES | Can::CLEAN, clean),
        case!("versions.versions-of/newest-first", FILES | Can::VERSIONS, versions),
        case!("changes.changes-since/nothing-yet", Can::CHANGES, no_news),
        case!("changes.changes-since/another-client", FILES | Can::CHANGES, news),
        case!("changes.changes-since/directories", TREES | Can::CHANGES, news_of_directories),
        case!("walking.walk/another-client-sees-the-same", TREES, same_tree),
        case!("directories.make-directory/never-a-second", TREES | Can::DUPLICATES, duplicates_do_not_come_about),
    ]
}

async fn tree(ground: &Ground) -> Outcome {
    for below in ["dir", "dir/deep", "beside"] {
        ground.directory(below).await?;
    }
    for (at, below) in ["dir/file", "dir/deep/file", "beside/file"].into_iter().enumerate() {
        ground.put(below, &content(120 + at as u64, 10)).await?;
    }
    Ok(())
}

async fn purge(ground: &Ground) -> Outcome {
    tree(ground).await?;
    ground.storage.purge(&ground.node(&ground.at("dir")?).await?).await?;
    ground.gone(&ground.at("dir")?).await?;
    ground.gone(&ground.at("dir/deep/file")?).await?;
    ground.lists(&ground.root, &["beside"]).await?;
    ground.holds(&ground.at("beside/file")?, &content(122, 10)).await
}

async fn purge_missing(ground: &Ground) -> Outcome {
    ground.directory("dir").await?;
    let node = ground.node(&ground.at("dir")?).await?;
    ground.storage.purge(&node).await?;
    ground.gone(&node.path).await?;
    refused("purging what is gone", ground.storage.purge(&node).await, &[ErrorKind::NotFound])
}

async fn purge_file(ground: &Ground) -> Outcome {
    let put = ground.put("file", &content(123, 10)).await?;
    refused("purging a file", ground.storage.purge(&put).await, &[ErrorKind::NotADirectory])?;
    ground.holds(&put.path, &content(123, 10)).await
}

async fn copy_directory(ground: &Ground) -> Outcome {
    tree(ground).await?;
    let node = ground.node(&ground.at("dir")?).await?;
    ground.storage.copy_to(&node, &ground.at("copy")?, None).await?;
    ground.lists(&ground.at("copy")?, &["deep", "file"]).await?;
    ground.holds(&ground.at("copy/deep/file")?, &content(121, 10)).await?;
    ground.holds(&ground.at("dir/deep/file")?, &content(121, 10)).await
}

async fn room(ground: &Ground) -> Outcome {
    let room = ground.storage.room().await?;
    if let (Some(total), Some(used)) = (room.total, room.used) {
        ensure!(used <= total || room.free == Some(0), "{used} of {total} bytes are used");
    }
    if let (Some(total), Some(free)) = (room.total, room.free) {
        ensure!(free <= total, "{free} of {total} bytes are free");
    }
    Ok(())
}

async fn link(ground: &Ground) -> Outcome {
    let one = ground.put("one", &content(124, 10)).await?;
    let two = ground.put("two", &content(125, 10)).await?;
    let first = ground.storage.link(&one, None).await?;
    let second = ground.storage.link(&two, None).await?;
    ensure!(first.contains("://") && second.contains("://"), "\"{first}\" and \"{second}\" should be URLs");
    ensure!(first != second, "two files have one link: {first}");
    ground.storage.link(&one, None).await?;
    Ok(())
}

async fn link_missing(ground: &Ground) -> Outcome {
    let put = ground.put("file", &content(126, 10)).await?;
    ground.storage.remove_file(&put).await?;
    ground.gone(&put.path).await?;
    match ground.storage.link(&put, None).await {
        // A link that is only signed, or to what lies in a trash, says nothing of the file.
        Ok(_) => Ok(()),
        linked => refused("linking what is gone", linked, &[ErrorKind::NotFound]),
    }
}

async fn unlink(ground: &Ground) -> Outcome {
    let put = ground.put("file", &content(127, 10)).await?;
    ground.storage.link(&put, None).await?;
    match ground.storage.unlink(&put).await {
        Ok(()) => ground.holds(&put.path, &content(127, 10)).await,
        unlinked => refused("taking a link back", unlinked, &[ErrorKind::Unsupported]),
    }
}

async fn clean(ground: &Ground) -> Outcome {
    tree(ground).await?;
    let gone = ground.put("gone", &content(128, 10)).await?;
    ground.storage.remove_file(&gone).await?;
    ground.storage.clean(&Node::of(ground.root.clone(), &ground.stat(&ground.root).await?)).await?;
    ground.lists(&ground.root, &["beside", "dir"]).await?;
    ground.holds(&ground.at("dir/deep/file")?, &content(121, 10)).await
}

async fn versions(ground: &Ground) -> Outcome {
    let mut node = ground.put("file", &content(129, 10)).await?;
    for (seed, size) in [(130, 20), (131, 30)] {
        node = ground.replace(&node, &content(seed, size)).await?;
    }
    let page = ground.storage.versions(&node, None).await?;
    let newest = page.entries.first().ok_or_else(|| Flaw("there are no versions".into()))?;
    ensure!(newest.size == Some(30), "the newest version is shown as {newest:?}");
    for entry in &page.entries {
        let (seed, size) = match entry.size {
            Some(10) => (129, 10),
            Some(20) => (130, 20),
            Some(30) => (131, 30),
            other => return Err(Flaw(format!("a version has {other:?} bytes"))),
        };
        let read = ground.read_span(&Node::of(node.path.clone(), entry), Span::new(0, size)).await?;
        ensure!(read == content(seed, size as usize), "the version of {size} bytes reads as another");
    }
    Ok(())
}

/// All news since a cursor, and the cursor after them.
async fn all_news(ground: &Ground, mut cursor: Option<Cursor>) -> Result<(Vec<Change>, Cursor), Flaw> {
    let mut all = Vec::new();
    loop {
        let News { changes, cursor: next, more } = ground.storage.changes(cursor.as_ref()).await?;
        all.extend(changes);
        if !more {
            return Ok((all, next));
        }
        cursor = Some(next);
    }
}

async fn no_news(ground: &Ground) -> Outcome {
    let (news, cursor) = all_news(ground, None).await?;
    ensure!(news.is_empty(), "without a cursor there were {} news", news.len());
    all_news(ground, Some(cursor)).await.map(|_| ())
}

/// Whether the news say that something at this path, or in its directory, is no longer as it was.
fn tells_of(news: &[Change], path: &Path) -> bool {
    news.iter().any(|change| match change {
        Change::Updated { path: told, .. } | Change::Removed(told) => told == path,
        Change::Stale(told) => path.is_within(told),
        Change::Everything => true,
    })
}

/// Waits until the news since a cursor tell of these paths; what was told once need not be told again.
async fn hears_of(ground: &Ground, cursor: &Cursor, paths: &[&Path]) -> Outcome {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let (mut heard, mut cursor) = (Vec::new(), cursor.clone());
    loop {
        let (news, next) = all_news(ground, Some(cursor)).await?;
        heard.extend(news);
        cursor = next;
        let Some(missing) = paths.iter().find(|path| !tells_of(&heard, path)) else { return Ok(()) };
        ensure!(std::time::Instant::now() < until, "there was no news of {missing} within 20 s: {heard:?}");
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
}

async fn news(ground: &Ground) -> Outcome {
    ground.lists(&ground.root, &[]).await?;
    let (_, cursor) = all_news(ground, None).await?;
    let another = Ground { storage: ground.another().await?, ..ground.same() };
    let put = another.put("file", &content(132, 10)).await?;
    hears_of(ground, &cursor, &[&put.path]).await?;
    ground.stat(&put.path).await?;
    let (_, cursor) = all_news(ground, Some(cursor)).await?;
    let put = another.replace(&put, &content(133, 20)).await?;
    hears_of(ground, &cursor, &[&put.path]).await?;
    let (_, cursor) = all_news(ground, Some(cursor)).await?;
    another.storage.remove_file(&put).await?;
    hears_of(ground, &cursor, &[&put.path]).await
}

async fn news_of_directories(ground: &Ground) -> Outcome {
    ground.lists(&ground.root, &[]).await?;
    let (_, cursor) = all_news(ground, None).await?;
    let another = Ground { storage: ground.another().await?, ..ground.same() };
    let made = another.directory("dir").await?;
    hears_of(ground, &cursor, &[&made]).await?;
    ground.stat(&made).await?;
    if !ground.can(Can::MOVE | Can::MOVE_DIRECTORIES) {
        return Ok(());
    }
    let (_, cursor) = all_news(ground, Some(cursor)).await?;
    let node = another.node(&made).await?;
    another.storage.move_to(&node, &another.at("renamed")?, None).await?;
    hears_of(ground, &cursor, &[&ground.at("renamed")?, &made]).await
}

/// A client that begins anew sees the tree that this one made, and nothing else.
async fn same_tree(ground: &Ground) -> Outcome {
    tree(ground).await?;
    let other = ground.another().await?;
    ground
        .settled(async || {
            let mut seen = Vec::new();
            walk(&*other, &ground.root, &mut seen).await?;
            seen.sort();
            let wanted = ["beside", "beside/file", "dir", "dir/deep", "dir/deep/file", "dir/file"];
            let wanted: Vec<String> = wanted.map(|below| format!("{}/{below}", ground.root)).into();
            ensure!(seen == wanted, "another client sees {seen:?} instead of {wanted:?}");
            Ok(())
        })
        .await
}

async fn walk(storage: &dyn causeway_storage::Storage, directory: &Path, seen: &mut Vec<String>) -> Outcome {
    for entry in list(storage, directory).await? {
        let path = crate::ground::child(directory, &entry.name)?;
        seen.push(path.to_string());
        if entry.kind == Kind::Directory {
            Box::pin(walk(storage, &path, seen)).await?;
        }
    }
    Ok(())
}

/// Where a provider could hold two of one name, nothing that is done here makes a second.
async fn duplicates_do_not_come_about(ground: &Ground) -> Outcome {
    ground.directory("name").await?;
    let made = ground.storage.make_directory(&ground.at("name")?).await;
    refused("making a directory twice", made, &[ErrorKind::AlreadyExists])?;
    let put = ground.put("file", &content(134, 10)).await?;
    ground.replace(&put, &content(135, 20)).await?;
    ground.lists(&ground.root, &["file", "name"]).await
}
