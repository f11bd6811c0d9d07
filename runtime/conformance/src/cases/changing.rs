//! Changes of other kinds: removing, directories, moves, copies, times.

use causeway_storage::{Can, ErrorKind, Node, Timestamp};

use crate::cases::{FILES, TREES, case};
use crate::ground::{content, ensure, refused};
use crate::{Case, Ground, Outcome};

const MOVES: Can = FILES.union(Can::MOVE);
const COPIES: Can = FILES.union(Can::COPY);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!("removing.remove-file/removes", FILES, removes),
        case!("removing.remove-file/missing", FILES, remove_missing),
        case!("removing.remove-file/directory", TREES, remove_a_directory),
        case!("removing.remove-file/another-version", FILES | Can::CONDITIONAL, remove_another_version),
        case!("directories.make-directory/makes", TREES, makes),
        case!("directories.make-directory/exists", TREES, make_existing),
        case!("directories.make-directory/a-file-stands-there", TREES, make_over_file),
        case!("directories.make-directory/missing-parent", TREES, make_in_missing),
        case!("directories.remove-directory/empty", TREES, remove_empty),
        case!("directories.remove-directory/full", FILES | Can::DIRECTORIES, remove_full),
        case!("directories.remove-directory/missing", TREES, remove_missing_directory),
        case!("directories.remove-directory/file", TREES, remove_file_as_directory),
        case!("moving.move-to/renames", MOVES, renames),
        case!("moving.move-to/other-directory", MOVES | TREES, moves),
        case!("moving.move-to/other-directory-and-name", MOVES | TREES, moves_and_renames),
        case!("moving.move-to/replaces", MOVES, move_replaces),
        case!("moving.move-to/occupied", MOVES, move_occupied),
        case!("moving.move-to/missing", MOVES, move_missing),
        case!("moving.move-to/case-only", MOVES, move_case_only),
        case!("moving.move-to/there-and-back", MOVES, there_and_back),
        case!("moving.move-to/keeps-the-time", MOVES | Can::KEEPS_MODIFIED, move_keeps_time),
        case!("moving.move-to/directory", MOVES | TREES | Can::MOVE_DIRECTORIES, move_directory),
        case!("moving.move-to/directory-below-itself", MOVES | TREES | Can::MOVE_DIRECTORIES, move_below_itself),
        case!("moving.move-to/directory-occupied", MOVES | TREES | Can::MOVE_DIRECTORIES, move_directory_occupied),
        case!("copying.copy-to/copies", COPIES, copies),
        case!("copying.copy-to/replaces", COPIES, copy_replaces),
        case!("copying.copy-to/occupied", COPIES, copy_occupied),
        case!("copying.copy-to/missing", COPIES, copy_missing),
        case!("copying.copy-to/apart-from-its-source", COPIES, copy_apart),
        case!("copying.copy-to/large", COPIES, |_, subject| subject.part_bytes.is_some(), copy_large),
        case!("times.set-modified/sets", FILES | Can::SET_MODIFIED, sets_time),
        case!("times.set-modified/missing", FILES | Can::SET_MODIFIED, set_time_missing),
    ]
}

async fn removes(ground: &Ground) -> Outcome {
    let first = ground.put("first", &content(70, 10)).await?;
    let second = ground.put("second", &content(71, 10)).await?;
    ground.storage.remove_file(&first).await?;
    ground.gone(&first.path).await?;
    ground.holds(&second.path, &content(71, 10)).await
}

async fn remove_missing(ground: &Ground) -> Outcome {
    let put = ground.put("file", &content(72, 10)).await?;
    ground.storage.remove_file(&put).await?;
    ground.gone(&put.path).await?;
    refused("removing what is gone", ground.storage.remove_file(&put).await, &[ErrorKind::NotFound])
}

async fn remove_a_directory(ground: &Ground) -> Outcome {
    let directory = ground.directory("dir").await?;
    let node = ground.node(&directory).await?;
    refused("removing a directory as a file", ground.storage.remove_file(&node).await, &[ErrorKind::IsDirectory])?;
    ground.lists(&ground.root, &["dir"]).await
}

async fn remove_another_version(ground: &Ground) -> Outcome {
    let first = ground.put("file", &content(73, 10)).await?;
    let bytes = content(74, 20);
    ground.replace(&first, &bytes).await?;
    let removed = ground.storage.remove_file(&first).await;
    refused("removing a version that nobody saw", removed, &[ErrorKind::PreconditionFailed])?;
    ground.holds(&first.path, &bytes).await
}

async fn makes(ground: &Ground) -> Outcome {
    ground.directory("one").await?;
    let two = ground.directory("one/two").await?;
    ground.lists(&ground.root, &["one"]).await?;
    ground.lists(&ground.at("one")?, &["two"]).await?;
    ground.lists(&two, &[]).await
}

async fn make_existing(ground: &Ground) -> Outcome {
    let path = ground.directory("dir").await?;
    ground.put("dir/inside", &content(75, 10)).await?;
    refused("making a directory twice", ground.storage.make_directory(&path).await, &[ErrorKind::AlreadyExists])?;
    ground.lists(&ground.root, &["dir"]).await?;
    ground.lists(&path, &["inside"]).await
}

async fn make_over_file(ground: &Ground) -> Outcome {
    let put = ground.put("file", &content(76, 10)).await?;
    let made = ground.storage.make_directory(&put.path).await;
    refused("making a directory where a file stands", made, &[ErrorKind::AlreadyExists, ErrorKind::NotADirectory])?;
    ground.holds(&put.path, &content(76, 10)).await
}

async fn make_in_missing(ground: &Ground) -> Outcome {
    let made = ground.storage.make_directory(&ground.at("no/such")?).await;
    refused("making a directory in a missing one", made, &[ErrorKind::NotFound])?;
    ground.gone(&ground.at("no")?).await
}

async fn remove_empty(ground: &Ground) -> Outcome {
    let path = ground.directory("dir").await?;
    ground.storage.remove_directory(&ground.node(&path).await?).await?;
    ground.gone(&path).await?;
    ground.lists(&ground.root, &[]).await
}

async fn remove_full(ground: &Ground) -> Outcome {
    let path = ground.directory("dir").await?;
    let put = ground.put("dir/inside", &content(77, 10)).await?;
    let removed = ground.storage.remove_directory(&ground.node(&path).await?).await;
    refused("removing a directory with a file in it", removed, &[ErrorKind::DirectoryNotEmpty])?;
    ground.holds(&put.path, &content(77, 10)).await
}

async fn remove_missing_directory(ground: &Ground) -> Outcome {
    let path = ground.directory("dir").await?;
    let node = ground.node(&path).await?;
    ground.storage.remove_directory(&node).await?;
    ground.gone(&path).await?;
    refused("removing a directory twice", ground.storage.remove_directory(&node).await, &[ErrorKind::NotFound])
}

async fn remove_file_as_directory(ground: &Ground) -> Outcome {
    let put = ground.put("file", &content(78, 10)).await?;
    let removed = ground.storage.remove_directory(&put).await;
    refused("removing a file as a directory", removed, &[ErrorKind::NotADirectory])?;
    ground.holds(&put.path, &content(78, 10)).await
}

/// Moves, and checks what is where afterwards.
async fn move_checked(
    ground: &Ground,
    from: &Node,
    to: &str,
    bytes: &[u8],
    replaces: Option<&Node>,
) -> Result<Node, crate::Flaw> {
    let path = ground.at(to)?;
    let entry = ground.storage.move_to(from, &path, replaces).await?;
    ensure!(Some(entry.name.as_str()) == path.name(), "what was moved to {path} is called \"{}\"", entry.name);
    ground.check_entry(&entry, bytes, &path)?;
    ground.gone(&from.path).await?;
    ground.holds(&path, bytes).await?;
    Ok(Node::of(path, &entry))
}

async fn renames(ground: &Ground) -> Outcome {
    let bytes = content(79, 100);
    let put = ground.put("before", &bytes).await?;
    move_checked(ground, &put, "after", &bytes, None).await?;
    ground.lists(&ground.root, &["after"]).await
}

async fn moves(ground: &Ground) -> Outcome {
    ground.directory("a").await?;
    ground.directory("b").await?;
    let bytes = content(80, 100);
    let put = ground.put("a/file", &bytes).await?;
    move_checked(ground, &put, "b/file", &bytes, None).await?;
    ground.lists(&ground.at("a")?, &[]).await?;
    ground.lists(&ground.at("b")?, &["file"]).await
}

/// A name that is taken in the old directory, or in the new one, does not get in the way.
async fn moves_and_renames(ground: &Ground) -> Outcome {
    ground.directory("a").await?;
    ground.directory("b").await?;
    let bytes = content(81, 100);
    let put = ground.put("a/file", &bytes).await?;
    ground.put("a/other", &content(82, 10)).await?;
    ground.put("b/file", &content(83, 10)).await?;
    move_checked(ground, &put, "b/other", &bytes, None).await?;
    ground.holds(&ground.at("a/other")?, &content(82, 10)).await?;
    ground.holds(&ground.at("b/file")?, &content(83, 10)).await?;
    ground.lists(&ground.at("b")?, &["file", "other"]).await
}

/// As an editor saves: the new file takes the old one's place.
async fn move_replaces(ground: &Ground) -> Outcome {
    let bytes = content(84, 100);
    let old = ground.put("file", &content(85, 50)).await?;
    let new = ground.put("file.new", &bytes).await?;
    move_checked(ground, &new, "file", &bytes, Some(&old)).await?;
    ground.lists(&ground.root, &["file"]).await
}

async fn move_occupied(ground: &Ground) -> Outcome {
    let from = ground.put("from", &content(86, 10)).await?;
    let there = ground.put("to", &content(87, 20)).await?;
    let moved = ground.storage.move_to(&from, &there.path, None).await;
    let kinds = [ErrorKind::AlreadyExists, ErrorKind::PreconditionFailed];
    refused("moving onto a file that nobody saw", moved, &kinds)?;
    ground.holds(&from.path, &content(86, 10)).await?;
    ground.holds(&there.path, &content(87, 20)).await
}

async fn move_missing(ground: &Ground) -> Outcome {
    let put = ground.put("file", &content(88, 10)).await?;
    ground.storage.remove_file(&put).await?;
    ground.gone(&put.path).await?;
    let moved = ground.storage.move_to(&put, &ground.at("to")?, None).await;
    refused("moving what is gone", moved, &[ErrorKind::NotFound])?;
    ground.gone(&ground.at("to")?).await
}

async fn move_case_only(ground: &Ground) -> Outcome {
    let bytes = content(89, 10);
    let put = ground.put("name.txt", &bytes).await?;
    let to = ground.at("NAME.txt")?;
    ground.storage.move_to(&put, &to, None).await?;
    ground.lists(&ground.root, &["NAME.txt"]).await?;
    ground.holds(&to, &bytes).await
}

async fn there_and_back(ground: &Ground) -> Outcome {
    let bytes = content(90, 10);
    let put = ground.put("here", &bytes).await?;
    let there = move_checked(ground, &put, "there", &bytes, None).await?;
    let here = move_checked(ground, &there, "here", &bytes, None).await?;
    move_checked(ground, &here, "there", &bytes, None).await?;
    ground.lists(&ground.root, &["there"]).await
}

async fn move_keeps_time(ground: &Ground) -> Outcome {
    let time = Timestamp { seconds: 981_173_106, nanoseconds: 0 };
    let path = ground.at("file")?;
    let entry = ground.write(&path, &content(91, 10), None, Some(time)).await?;
    let to = ground.at("moved")?;
    ground.storage.move_to(&Node::of(path, &entry), &to, None).await?;
    ground
        .settled(async || {
            let seen = ground.stat(&to).await?.modified.map(|seen| seen.truncated(ground.features.modified_step_ns));
            ensure!(seen == Some(time), "the move changed the time to {seen:?}");
            Ok(())
        })
        .await
}

async fn move_directory(ground: &Ground) -> Outcome {
    for below in ["from", "from/deep", "to"] {
        ground.directory(below).await?;
    }
    let bytes = content(92, 10);
    ground.put("from/deep/file", &bytes).await?;
    let node = ground.node(&ground.at("from")?).await?;
    let to = ground.at("to/moved")?;
    let entry = ground.storage.move_to(&node, &to, None).await?;
    ensure!(entry.name == "moved", "it is called \"{}\"", entry.name);
    ground.gone(&node.path).await?;
    ground.gone(&ground.at("from/deep/file")?).await?;
    ground.holds(&ground.at("to/moved/deep/file")?, &bytes).await?;
    // And in the same directory.
    ground.storage.move_to(&Node::of(to, &entry), &ground.at("to/again")?, None).await?;
    ground.lists(&ground.at("to")?, &["again"]).await?;
    ground.holds(&ground.at("to/again/deep/file")?, &bytes).await
}

async fn move_below_itself(ground: &Ground) -> Outcome {
    ground.directory("dir").await?;
    let bytes = content(93, 10);
    ground.put("dir/file", &bytes).await?;
    let node = ground.node(&ground.at("dir")?).await?;
    let moved = ground.storage.move_to(&node, &ground.at("dir/below")?, None).await;
    refused("moving a directory below itself", moved, &[ErrorKind::Invalid])?;
    ground.holds(&ground.at("dir/file")?, &bytes).await?;
    ground.lists(&ground.at("dir")?, &["file"]).await
}

async fn move_directory_occupied(ground: &Ground) -> Outcome {
    for below in ["one", "two"] {
        ground.directory(below).await?;
        ground.put(&format!("{below}/{below}"), &content(94, 10)).await?;
    }
    let node = ground.node(&ground.at("one")?).await?;
    let moved = ground.storage.move_to(&node, &ground.at("two")?, None).await;
    let kinds = [ErrorKind::AlreadyExists, ErrorKind::DirectoryNotEmpty, ErrorKind::PreconditionFailed];
    refused("moving a directory onto another", moved, &kinds)?;
    ground.lists(&ground.root, &["one", "two"]).await?;
    ground.lists(&ground.at("two")?, &["two"]).await
}

async fn copies(ground: &Ground) -> Outcome {
    let bytes = content(95, 100);
    let put = ground.put("it's the \"source\" 100%", &bytes).await?;
    let to = ground.at("copy ünïcode + ?")?;
    let entry = ground.storage.copy_to(&put, &to, None).await?;
    ground.check_entry(&entry, &bytes, &to)?;
    ground.holds(&to, &bytes).await?;
    ground.holds(&put.path, &bytes).await?;
    ground.lists(&ground.root, &["it's the \"source\" 100%", "copy ünïcode + ?"]).await
}

async fn copy_replaces(ground: &Ground) -> Outcome {
    let bytes = content(96, 100);
    let from = ground.put("from", &bytes).await?;
    let there = ground.put("to", &content(97, 50)).await?;
    ground.storage.copy_to(&from, &there.path, Some(&there)).await?;
    ground.holds(&there.path, &bytes).await?;
    ground.lists(&ground.root, &["from", "to"]).await
}

async fn copy_occupied(ground: &Ground) -> Outcome {
    let from = ground.put("from", &content(98, 10)).await?;
    let there = ground.put("to", &content(99, 20)).await?;
    let copied = ground.storage.copy_to(&from, &there.path, None).await;
    let kinds = [ErrorKind::AlreadyExists, ErrorKind::PreconditionFailed];
    refused("copying onto a file that nobody saw", copied, &kinds)?;
    ground.holds(&there.path, &content(99, 20)).await
}

async fn copy_missing(ground: &Ground) -> Outcome {
    let put = ground.put("file", &content(100, 10)).await?;
    ground.storage.remove_file(&put).await?;
    ground.gone(&put.path).await?;
    let copied = ground.storage.copy_to(&put, &ground.at("to")?, None).await;
    match copied {
        // By its id, what lies in a trash can still be copied.
        Ok(_) if put.cookie.is_some() => ground.holds(&ground.at("to")?, &content(100, 10)).await,
        copied => {
            refused("copying what is gone", copied, &[ErrorKind::NotFound])?;
            ground.gone(&ground.at("to")?).await
        }
    }
}

async fn copy_apart(ground: &Ground) -> Outcome {
    let bytes = content(101, 100);
    let from = ground.put("from", &bytes).await?;
    let to = ground.at("to")?;
    let entry = ground.storage.copy_to(&from, &to, None).await?;
    ground.replace(&Node::of(to.clone(), &entry), &content(102, 50)).await?;
    ground.holds(&from.path, &bytes).await?;
    ground.storage.remove_file(&ground.node(&to).await?).await?;
    ground.holds(&from.path, &bytes).await
}

async fn copy_large(ground: &Ground) -> Outcome {
    let part = ground.subject.part_bytes.unwrap_or(1);
    for size in [part, part + 1, 2 * part + 1] {
        let bytes = content(size, size as usize);
        let put = ground.put(&format!("from-{size}"), &bytes).await?;
        let to = ground.at(&format!("to-{size}"))?;
        ground.storage.copy_to(&put, &to, None).await?;
        ground.holds(&to, &bytes).await?;
    }
    Ok(())
}

/// The time, and nothing else.
async fn sets_time(ground: &Ground) -> Outcome {
    let bytes = content(103, 100);
    let put = ground.put("file", &bytes).await?;
    let time = Timestamp { seconds: 1_600_000_000, nanoseconds: 123_456_789 };
    ground.storage.set_modified(&put, time).await?;
    let wanted = time.truncated(ground.features.modified_step_ns);
    ground
        .settled(async || {
            let seen = ground.stat(&put.path).await?.modified;
            let seen = seen.map(|seen| seen.truncated(ground.features.modified_step_ns));
            ensure!(seen == Some(wanted), "{wanted:?} was set and {seen:?} is shown");
            Ok(())
        })
        .await?;
    ground.holds(&put.path, &bytes).await?;
    ground.lists(&ground.root, &["file"]).await
}

async fn set_time_missing(ground: &Ground) -> Outcome {
    let put = ground.put("file", &content(104, 10)).await?;
    ground.storage.remove_file(&put).await?;
    ground.gone(&put.path).await?;
    let set = ground.storage.set_modified(&put, Timestamp { seconds: 1, nanoseconds: 0 }).await;
    refused("setting the time of what is gone", set, &[ErrorKind::NotFound])?;
    ground.gone(&put.path).await
}
