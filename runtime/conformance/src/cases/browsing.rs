//! What is there, and what is not: look-ups, refreshes, lists.

use causeway_storage::{Can, ErrorKind, Kind, Node, Path, Sameness};

use crate::cases::{FILES, TREES, case};
use crate::ground::{content, ensure, list, refused};
use crate::{Case, Ground, Outcome};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!("setup.probe/works", Can::empty(), probe),
        case!("setup.probe/names-one-account", Can::empty(), one_account),
        case!("setup.configure/promises-fit-together", Can::empty(), promises),
        case!("browsing.look-up/root", Can::empty(), root),
        case!("browsing.look-up/file", FILES, file),
        case!("browsing.look-up/absent", FILES, absent),
        case!("browsing.look-up/absent-parent", FILES, absent_parent),
        case!("browsing.look-up/below-a-file", FILES, below_a_file),
        case!("browsing.look-up/directory", TREES, directory),
        case!("browsing.look-up/other-case", FILES, other_case),
        case!("browsing.look-up/another-client-sees-it", FILES, another_client),
        case!("browsing.refresh/sees-what-another-changed", FILES, another_changed),
        case!("browsing.refresh/stale-parent", TREES | Can::MOVE_DIRECTORIES, stale_parent),
        case!("browsing.refresh/stale-parent-of-a-new-file", TREES | Can::MOVE_DIRECTORIES, stale_parent_of_new),
        case!("browsing.list-directory/empty", TREES, empty),
        case!("browsing.list-directory/missing", TREES, missing),
        case!("browsing.list-directory/of-a-file", FILES, of_a_file),
        case!("browsing.list-directory/files-and-directories", FILES | Can::DIRECTORIES, files_and_directories),
        case!("browsing.list-directory/each-level", FILES | Can::DIRECTORIES, each_level),
        case!("browsing.list-directory/after-removal", FILES, after_removal),
        case!("browsing.list-directory/agrees-with-look-up", FILES, agrees),
        case!("browsing.list-directory/pages", FILES, pages),
        case!("browsing.list-directory/page-boundaries", FILES, page_boundaries),
        case!("browsing.list-directory/given-up-half-way", FILES, given_up),
    ]
}

async fn probe(ground: &Ground) -> Outcome {
    ground.storage.probe().await?;
    Ok(())
}

async fn one_account(ground: &Ground) -> Outcome {
    let first = ground.storage.probe().await?;
    let second = ground.another().await?.probe().await?;
    ensure!(first.account == second.account, "one account has two ids: {:?}, {:?}", first.account, second.account);
    Ok(())
}

async fn promises(ground: &Ground) -> Outcome {
    let features = &ground.features;
    let keeps = features.can.intersects(Can::KEEPS_MODIFIED | Can::SET_MODIFIED);
    ensure!(!keeps || features.modified_step_ns > 0, "it keeps times and says that there are none");
    ensure!(features.smallest_bytes <= 1, "the smallest file has {} bytes", features.smallest_bytes);
    ensure!(features.largest_bytes != Some(0), "no file can be stored");
    ensure!(
        features.early_digests.len() <= 4,
        "{} digests are to be computed of every file that arrives",
        features.early_digests.len()
    );
    Ok(())
}

async fn root(ground: &Ground) -> Outcome {
    let root = ground.stat(&Path::ROOT).await?;
    ensure!(root.kind == Kind::Directory && root.name.is_empty(), "the root is {root:?}");
    Ok(())
}

async fn file(ground: &Ground) -> Outcome {
    let bytes = content(1, 100);
    let put = ground.put("file name.txt", &bytes).await?;
    let entry = ground.stat(&put.path).await?;
    ensure!(entry.name == "file name.txt" && entry.kind == Kind::File, "it is shown as {entry:?}");
    ensure!(entry.size == Some(100), "it is shown with {:?} bytes", entry.size);
    ensure!(entry.version == put.version, "writing said {:?}, looking up says {:?}", put.version, entry.version);
    ensure!(entry.cookie == put.cookie, "writing said {:?}, looking up says {:?}", put.cookie, entry.cookie);
    ground.holds(&put.path, &bytes).await
}

async fn absent(ground: &Ground) -> Outcome {
    ground.put("here", &content(2, 10)).await?;
    for name in ["there", "her", "here2", "here.txt", "h"] {
        ground.gone(&ground.at(name)?).await?;
    }
    Ok(())
}

async fn absent_parent(ground: &Ground) -> Outcome {
    ground.gone(&ground.at("no/such/directory/file")?).await
}

async fn below_a_file(ground: &Ground) -> Outcome {
    ground.put("file", &content(3, 10)).await?;
    ground.gone(&ground.at("file/below")?).await
}

async fn directory(ground: &Ground) -> Outcome {
    let path = ground.directory("dir").await?;
    let entry = ground.stat(&path).await?;
    ensure!(entry.kind == Kind::Directory && entry.name == "dir", "it is shown as {entry:?}");
    Ok(())
}

/// Whether another case is another name is what the storage says it is.
async fn other_case(ground: &Ground) -> Outcome {
    ground.put("Mixed.txt", &content(4, 10)).await?;
    let other = ground.at("mIXED.TXT")?;
    let found = ground.storage.stat(&other).await?;
    match ground.features.sameness {
        Sameness::Exact => ensure!(found.is_none(), "\"mIXED.TXT\" found {found:?}"),
        _ => ensure!(found.is_some(), "\"mIXED.TXT\" is the same name as \"Mixed.txt\" here, and was not found"),
    }
    Ok(())
}

async fn another_client(ground: &Ground) -> Outcome {
    let put = ground.put("shared", &content(5, 33)).await?;
    let other = ground.another().await?;
    ground
        .settled(async || {
            let seen = other.stat(&put.path).await?;
            let seen = seen.map(|entry| (entry.size, entry.version, entry.cookie));
            let wanted = Some((Some(33), put.version.clone(), put.cookie.clone()));
            ensure!(seen == wanted, "another client sees {seen:?} instead of {wanted:?}");
            Ok(())
        })
        .await
}

/// What is remembered must not hide what another client did.
async fn another_changed(ground: &Ground) -> Outcome {
    let put = ground.put("file", &content(6, 10)).await?;
    ground.stat(&put.path).await?;
    let another = Ground { storage: ground.another().await?, ..ground.same() };
    let changed = another.replace(&put, &content(7, 20)).await?;
    ground
        .settled(async || {
            let seen = ground.stat(&put.path).await?;
            ensure!(seen.version == changed.version && seen.size == Some(20), "it still shows {seen:?}");
            Ok(())
        })
        .await?;
    another.storage.remove_file(&changed).await?;
    ground.gone(&put.path).await
}

/// In a directory that another client renamed nothing is changed under its old name, and whoever was told so finds the new.
async fn stale_parent(ground: &Ground) -> Outcome {
    let directory = ground.directory("old").await?;
    let put = ground.put("old/file", &content(8, 10)).await?;
    ground.stat(&put.path).await?;
    renamed_elsewhere(ground, &directory).await?;
    ground.outlast_a_way(&put).await;
    refused("removing under an old name", ground.storage.remove_file(&put).await, &[ErrorKind::NotFound])?;
    ground.gone(&put.path).await?;
    ground.holds(&ground.at("new/file")?, &content(8, 10)).await
}

async fn renamed_elsewhere(ground: &Ground, directory: &causeway_storage::Path) -> Outcome {
    let other = ground.another().await?;
    let entry = other.stat(directory).await?;
    let entry = entry.ok_or_else(|| crate::Flaw("another client does not see the directory".into()))?;
    other.move_to(&Node::of(directory.clone(), &entry), &ground.at("new")?, None).await?;
    Ok(())
}

/// Nothing is created in a directory that is gone: the file would be lost where nobody looks for it.
async fn stale_parent_of_new(ground: &Ground) -> Outcome {
    let directory = ground.directory("old").await?;
    let put = ground.put("old/first", &content(9, 10)).await?;
    renamed_elsewhere(ground, &directory).await?;
    ground.outlast_a_way(&put).await;
    // The look that comes before a file is created.
    ground.gone(&ground.at("old/second")?).await?;
    let made = ground.try_write(&ground.at("old/second")?, &content(10, 10), None, None).await;
    match made {
        // The directory came into being anew, where files bring their directories along.
        Ok(_) => ground.holds(&ground.at("old/second")?, &content(10, 10)).await?,
        Err(error) => refused("writing into a directory that is gone", Err::<(), _>(error), &[ErrorKind::NotFound])?,
    }
    ground.gone(&ground.at("new/second")?).await
}

async fn empty(ground: &Ground) -> Outcome {
    let path = ground.directory("empty").await?;
    ground.lists(&path, &[]).await
}

async fn missing(ground: &Ground) -> Outcome {
    refused("listing what is not there", ground.storage.list(&ground.at("no")?, None).await, &[ErrorKind::NotFound])?;
    let deeper = ground.storage.list(&ground.at("no/such")?, None).await;
    refused("listing below what is not there", deeper, &[ErrorKind::NotFound])
}

async fn of_a_file(ground: &Ground) -> Outcome {
    let put = ground.put("file", &content(11, 10)).await?;
    let listed = ground.storage.list(&put.path, None).await;
    // A store of keys sees that nothing lies below.
    refused("listing a file", listed, &[ErrorKind::NotADirectory, ErrorKind::NotFound])
}

async fn files_and_directories(ground: &Ground) -> Outcome {
    ground.put("b.txt", &content(12, 10)).await?;
    ground.directory("a").await?;
    ground.put("a/inside", &content(13, 10)).await?;
    ground.put("c", &content(14, 10)).await?;
    ground.lists(&ground.root, &["a", "b.txt", "c"]).await?;
    let entries = ground.list(&ground.root).await?;
    for entry in entries {
        let kind = if entry.name == "a" { Kind::Directory } else { Kind::File };
        ensure!(entry.kind == kind, "it is listed as {entry:?}");
    }
    ground.lists(&ground.at("a")?, &["inside"]).await
}

async fn each_level(ground: &Ground) -> Outcome {
    for below in ["one", "one/two", "one/two/three"] {
        ground.directory(below).await?;
    }
    ground.put("one/two/three/z.txt", &content(15, 10)).await?;
    ground.lists(&ground.root, &["one"]).await?;
    ground.lists(&ground.at("one")?, &["two"]).await?;
    ground.lists(&ground.at("one/two")?, &["three"]).await?;
    ground.lists(&ground.at("one/two/three")?, &["z.txt"]).await
}

async fn after_removal(ground: &Ground) -> Outcome {
    let first = ground.put("first", &content(16, 10)).await?;
    ground.put("second", &content(17, 10)).await?;
    ground.lists(&ground.root, &["first", "second"]).await?;
    ground.storage.remove_file(&first).await?;
    ground.lists(&ground.root, &["second"]).await
}

/// A list and a look at one of its names tell the same.
async fn agrees(ground: &Ground) -> Outcome {
    for (at, name) in ["a", "b", "c"].into_iter().enumerate() {
        ground.put(name, &content(18 + at as u64, 10 * (at + 1))).await?;
    }
    ground.lists(&ground.root, &["a", "b", "c"]).await?;
    for listed in ground.list(&ground.root).await? {
        let seen = ground.stat(&ground.at(&listed.name)?).await?;
        let (listed, seen) = ((listed.size, listed.version, listed.cookie), (seen.size, seen.version, seen.cookie));
        ensure!(listed == seen, "the list says {listed:?}, a look says {seen:?}");
    }
    Ok(())
}

/// A directory of many, made side by side and listed whole.
async fn pages(ground: &Ground) -> Outcome {
    ground.fill(ground.subject.many).await?;
    let names: Vec<String> = (0..ground.subject.many).map(Ground::nth).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    ground.lists(&ground.root, &names).await
}

/// Around the sizes that pages usually have, none is lost and none comes twice.
async fn page_boundaries(ground: &Ground) -> Outcome {
    let many = 102.min(ground.subject.many);
    ground.fill(many).await?;
    for left in [many, many - 1, many - 2, many - 3] {
        let names: Vec<String> = (0..left).map(Ground::nth).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        ground.lists(&ground.root, &names).await?;
        let last = ground.node(&ground.at(&Ground::nth(left - 1))?).await?;
        ground.storage.remove_file(&last).await?;
    }
    Ok(())
}

/// Whoever stops listing half-way leaves nothing behind that disturbs the next.
async fn given_up(ground: &Ground) -> Outcome {
    ground.fill(20).await?;
    for _ in 0..3 {
        // Dropped as soon as it was asked for.
        let listing = list(&*ground.storage, &ground.root);
        let _ = tokio::time::timeout(std::time::Duration::from_micros(200), listing).await;
    }
    let names: Vec<String> = (0..20).map(Ground::nth).collect();
    ground.lists(&ground.root, &names.iter().map(String::as_str).collect::<Vec<_>>()).await
}
