//! Writing: as a whole or not at all, over what was seen and nothing else.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use causeway_storage::{Can, ErrorKind, Source, Timestamp, WriteIntent, WriteLog};

use crate::cases::{FILES, case, stores_empty};
use crate::ground::{Kept, content, ensure, refused};
use crate::{Case, Flaw, Ground, Outcome};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!("writing.begin-write/new", FILES, new),
        case!("writing.begin-write/empty", FILES, stores_empty, empty),
        case!("writing.begin-write/replaces", FILES, replaces),
        case!("writing.begin-write/replaces-by-empty", FILES, stores_empty, replaces_by_empty),
        case!("writing.begin-write/keeps-the-time", FILES | Can::KEEPS_MODIFIED, keeps_time),
        case!("writing.begin-write/another-version-stands-there", FILES | Can::CONDITIONAL, another_version),
        case!("writing.begin-write/something-stands-there", FILES | Can::CONDITIONAL, something_there),
        case!("writing.begin-write/nothing-stands-there", FILES | Can::CONDITIONAL, nothing_there),
        case!("writing.begin-write/missing-parent", FILES | Can::EMPTY_DIRECTORIES, missing_parent),
        case!(
            "writing.begin-write/a-directory-stands-there",
            FILES | Can::DIRECTORIES | Can::EMPTY_DIRECTORIES,
            directory_there
        ),
        case!("writing.plan-part/around-parts", FILES, |_, subject| subject.part_bytes.is_some(), around_parts),
        case!("writing.accept-part/many-parts", FILES, |_, subject| subject.part_bytes.is_some(), many_parts),
        case!(
            "writing.finish-write/replaces-by-parts",
            FILES,
            |_, subject| subject.part_bytes.is_some(),
            replaces_by_parts
        ),
        case!("writing.abort-write/content-fails", FILES, content_fails),
        case!("writing.abort-write/content-fails-over-a-file", FILES, content_fails_over),
        case!("writing.resume-write/given-up-half-way", FILES, |_, subject| subject.part_bytes.is_some(), resumed),
        case!(
            "writing.resume-write/by-another-process",
            FILES,
            |_, subject| subject.part_bytes.is_some(),
            resumed_elsewhere
        ),
        case!("writing.resume-write/done-already", FILES, done_already),
        case!("writing.resume-write/a-record-of-nothing", FILES, garbage),
        case!("content.source/digests", FILES, digests),
    ]
}

async fn new(ground: &Ground) -> Outcome {
    let bytes = content(40, 100);
    let put = ground.put("new", &bytes).await?;
    ground.holds(&put.path, &bytes).await?;
    ground.lists(&ground.root, &["new"]).await
}

async fn empty(ground: &Ground) -> Outcome {
    let put = ground.put("empty", &[]).await?;
    ground.holds(&put.path, &[]).await
}

async fn replaces(ground: &Ground) -> Outcome {
    let mut node = ground.put("file", &content(41, 100)).await?;
    for (seed, size) in [(42, 200), (43, 50), (44, 50)] {
        let bytes = content(seed, size);
        let replaced = ground.replace(&node, &bytes).await?;
        ensure!(replaced.version != node.version || is_weak(&node), "another content has the same version");
        ground.holds(&node.path, &bytes).await?;
        node = replaced;
    }
    ground.lists(&ground.root, &["file"]).await
}

fn is_weak(node: &causeway_storage::Node) -> bool {
    node.version.as_ref().is_some_and(|version| version.0.starts_with("weak:"))
}

async fn replaces_by_empty(ground: &Ground) -> Outcome {
    let node = ground.put("file", &content(45, 100)).await?;
    ground.replace(&node, &[]).await?;
    ground.holds(&node.path, &[]).await?;
    ground.lists(&ground.root, &["file"]).await
}

/// Times are kept to the step that is promised, before 1970 excepted.
async fn keeps_time(ground: &Ground) -> Outcome {
    for (at, seconds) in [981_173_106, 0, 4_102_444_800].into_iter().enumerate() {
        let wanted = Timestamp { seconds, nanoseconds: 499_999_999 };
        let path = ground.at(&format!("file-{at}"))?;
        ground.write(&path, &content(46, 10), None, Some(wanted)).await?;
        let wanted = wanted.truncated(ground.features.modified_step_ns);
        ground
            .settled(async || {
                let seen = ground.stat(&path).await?.modified;
                let seen = seen.map(|time| time.truncated(ground.features.modified_step_ns));
                ensure!(seen == Some(wanted), "{wanted:?} was to be kept and {seen:?} is shown");
                Ok(())
            })
            .await?;
    }
    Ok(())
}

/// A lost update is refused.
async fn another_version(ground: &Ground) -> Outcome {
    let first = ground.put("file", &content(47, 10)).await?;
    let theirs = content(48, 20);
    ground.replace(&first, &theirs).await?;
    let ours = ground.try_write(&first.path, &content(49, 30), Some(first.clone()), None).await;
    refused("writing over a version that nobody saw", ours, &[ErrorKind::PreconditionFailed])?;
    ground.holds(&first.path, &theirs).await
}

async fn something_there(ground: &Ground) -> Outcome {
    let bytes = content(50, 10);
    let put = ground.put("file", &bytes).await?;
    let written = ground.try_write(&put.path, &content(51, 20), None, None).await;
    let kinds = [ErrorKind::PreconditionFailed, ErrorKind::AlreadyExists];
    refused("creating a file where one stands", written, &kinds)?;
    ground.holds(&put.path, &bytes).await
}

async fn nothing_there(ground: &Ground) -> Outcome {
    let put = ground.put("file", &content(52, 10)).await?;
    ground.storage.remove_file(&put).await?;
    ground.gone(&put.path).await?;
    let written = ground.try_write(&put.path, &content(53, 20), Some(put.clone()), None).await;
    refused("replacing a file that is gone", written, &[ErrorKind::PreconditionFailed, ErrorKind::NotFound])?;
    ground.gone(&put.path).await
}

async fn missing_parent(ground: &Ground) -> Outcome {
    let path = ground.at("no/file")?;
    match ground.try_write(&path, &content(54, 10), None, None).await {
        // Some bring the directory into being.
        Ok(_) => ground.holds(&path, &content(54, 10)).await,
        Err(error) => refused("writing into a directory that is missing", Err::<(), _>(error), &[ErrorKind::NotFound]),
    }
}

async fn directory_there(ground: &Ground) -> Outcome {
    ground.directory("dir").await?;
    ground.put("dir/inside", &content(55, 10)).await?;
    let written = ground.try_write(&ground.at("dir")?, &content(56, 10), None, None).await;
    // Where a key may be both, the directory keeps the name: what is in it stays.
    if written.is_err() {
        let kinds = [ErrorKind::IsDirectory, ErrorKind::AlreadyExists, ErrorKind::PreconditionFailed];
        refused("writing over a directory", written, &kinds)?;
    }
    ground.holds(&ground.at("dir/inside")?, &content(55, 10)).await
}

/// Sizes at which files begin to be cut, and one to each side.
async fn around_parts(ground: &Ground) -> Outcome {
    let part = ground.subject.part_bytes.unwrap_or(1);
    for size in [part - 1, part, part + 1, 2 * part - 1, 2 * part, 2 * part + 1] {
        let bytes = content(size, size as usize);
        let put = ground.put(&format!("size-{size}"), &bytes).await?;
        ground.holds(&put.path, &bytes).await?;
    }
    Ok(())
}

async fn many_parts(ground: &Ground) -> Outcome {
    let part = ground.subject.part_bytes.unwrap_or(1);
    let bytes = content(57, (part * 5 + part / 3) as usize);
    let put = ground.put("file", &bytes).await?;
    ground.holds(&put.path, &bytes).await
}

async fn replaces_by_parts(ground: &Ground) -> Outcome {
    let part = ground.subject.part_bytes.unwrap_or(1);
    let node = ground.put("file", &content(58, 10)).await?;
    let bytes = content(59, (part * 2 + 7) as usize);
    let node = ground.replace(&node, &bytes).await?;
    ground.holds(&node.path, &bytes).await?;
    ground.replace(&node, &content(60, 10)).await?;
    ground.holds(&node.path, &content(60, 10)).await?;
    ground.lists(&ground.root, &["file"]).await
}

/// Content that cannot be read to its end, as on a failing disk.
struct Failing {
    bytes: Vec<u8>,
    readable: u64,
}

impl Source for Failing {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset + buffer.len() as u64;
        if end > self.readable {
            return Err(io::Error::other("the disk fails here"));
        }
        buffer.copy_from_slice(self.bytes.get(offset as usize..end as usize).unwrap_or_default());
        Ok(())
    }
}

async fn write_failing(ground: &Ground, existing: Option<causeway_storage::Node>) -> Outcome {
    let size = ground.subject.part_bytes.unwrap_or(5000) * 2;
    let source = Failing { bytes: content(61, size as usize), readable: size / 2 };
    let path = ground.at("file")?;
    let intent = WriteIntent { path, existing, modified: None, media_type: "application/octet-stream".into() };
    let written = ground.storage.write(&intent, Arc::new(source), Arc::new(Kept::default())).await;
    ensure!(written.is_err(), "half of a file was written as a whole: {written:?}");
    Ok(())
}

async fn content_fails(ground: &Ground) -> Outcome {
    write_failing(ground, None).await?;
    ground.gone(&ground.at("file")?).await?;
    ground.lists(&ground.root, &[]).await
}

async fn content_fails_over(ground: &Ground) -> Outcome {
    let bytes = content(62, 100);
    let put = ground.put("file", &bytes).await?;
    write_failing(ground, Some(put.clone())).await?;
    ground.holds(&put.path, &bytes).await?;
    ground.lists(&ground.root, &["file"]).await
}

/// Content that tells how much of it was read, and says when half of it was.
struct Watched {
    bytes: Vec<u8>,
    read: AtomicU64,
    half: tokio::sync::Notify,
}

impl Watched {
    fn new(bytes: Vec<u8>) -> Arc<Watched> {
        Arc::new(Watched { bytes, read: AtomicU64::new(0), half: tokio::sync::Notify::new() })
    }
}

impl Source for Watched {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset as usize + buffer.len();
        let bytes = self.bytes.get(offset as usize..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        let read = self.read.fetch_add(buffer.len() as u64, Ordering::Relaxed) + buffer.len() as u64;
        if read > self.size() / 2 {
            self.half.notify_one();
        }
        Ok(())
    }
}

/// Begins a write and drops it when half of the content was read; the log is what was kept of it.
async fn interrupted(ground: &Ground, bytes: &[u8]) -> Result<Arc<Kept>, Flaw> {
    let source = Watched::new(bytes.to_vec());
    let log = Arc::new(Kept::default());
    let path = ground.at("file")?;
    let intent = WriteIntent { path, existing: None, modified: None, media_type: "application/octet-stream".into() };
    let writing = ground.storage.write(&intent, source.clone(), log.clone());
    tokio::select! {
        written = writing => written.map(|_| ())?,
        () = source.half.notified() => {}
    }
    Ok(log)
}

async fn go_on(ground: &Ground, bytes: &[u8], log: Arc<Kept>) -> Outcome {
    let path = ground.at("file")?;
    let source = Arc::new(causeway_storage::MemorySource(bytes::Bytes::copy_from_slice(bytes)));
    let intent = WriteIntent {
        path: path.clone(),
        existing: None,
        modified: None,
        media_type: "application/octet-stream".into(),
    };
    let entry = ground.storage.write(&intent, source, log).await?;
    ground.check_entry(&entry, bytes, &path)?;
    ground.holds(&path, bytes).await?;
    ground.lists(&ground.root, &["file"]).await
}

async fn resumed(ground: &Ground) -> Outcome {
    let bytes = content(63, (ground.subject.part_bytes.unwrap_or(1) * 4 + 5) as usize);
    let log = interrupted(ground, &bytes).await?;
    go_on(ground, &bytes, log).await
}

/// What the log holds is all that is needed.
async fn resumed_elsewhere(ground: &Ground) -> Outcome {
    let bytes = content(64, (ground.subject.part_bytes.unwrap_or(1) * 4 + 5) as usize);
    let log = interrupted(ground, &bytes).await?;
    let record = log.load().await?;
    let log = Arc::new(record.map_or_else(Kept::default, |record| Kept::holding(&record)));
    let elsewhere = Ground { storage: ground.another().await?, ..ground.same() };
    go_on(&elsewhere, &bytes, log).await
}

/// A write whose end was not noted is not made twice: it is done, or what stands there is said to be in the way.
async fn done_already(ground: &Ground) -> Outcome {
    let size = ground.subject.part_bytes.map_or(1000, |part| part * 2 + 5);
    let bytes = content(65, size as usize);
    let source = Arc::new(causeway_storage::MemorySource(bytes::Bytes::copy_from_slice(&bytes)));
    let log = Arc::new(Kept::default());
    let path = ground.at("file")?;
    let intent = WriteIntent { path, existing: None, modified: None, media_type: "application/octet-stream".into() };
    ground.storage.write(&intent, source.clone(), log.clone()).await?;
    match ground.storage.write(&intent, source, log).await {
        Ok(entry) => ground.check_entry(&entry, &bytes, &intent.path)?,
        Err(error) => {
            let kinds = [ErrorKind::PreconditionFailed, ErrorKind::AlreadyExists];
            refused("writing what is written", Err::<(), _>(error), &kinds)?;
        }
    }
    ground.holds(&intent.path, &bytes).await?;
    ground.lists(&ground.root, &["file"]).await
}

async fn garbage(ground: &Ground) -> Outcome {
    let bytes = content(66, 1000);
    go_on(ground, &bytes, Arc::new(Kept::holding(b"{\"what\":\"is this\"}"))).await
}

/// Every digest that entries carry is right: `holds` has looked at each.
async fn digests(ground: &Ground) -> Outcome {
    let bytes = content(67, 70_000);
    let put = ground.put("file", &bytes).await?;
    ground.holds(&put.path, &bytes).await?;
    let carried = ground.stat(&put.path).await?.digests.len();
    let promised = ground.features.digests.len();
    ensure!(promised == 0 || carried > 0, "{promised} digests are promised and none is carried");
    Ok(())
}
