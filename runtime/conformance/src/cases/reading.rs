//! Reading: exactly the bytes that were asked for, all of one version.

use causeway_storage::{ErrorKind, Span};
use futures::StreamExt;

use crate::cases::{FILES, case, stores_empty};
use crate::ground::{content, ensure};
use crate::{Case, Flaw, Ground, Outcome};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!("reading.plan-read/whole", FILES, whole),
        case!("reading.plan-read/empty", FILES, stores_empty, empty),
        case!("reading.plan-read/ranges", FILES, ranges),
        case!("reading.plan-read/around-parts", FILES, |_, subject| subject.part_bytes.is_some(), around_parts),
        case!("reading.plan-read/side-by-side", FILES, side_by_side),
        case!("reading.plan-read/again-and-again", FILES, again),
        case!("reading.plan-read/leaves-the-version", FILES, leaves_version),
        case!("reading.plan-read/given-up-half-way", FILES, given_up),
        case!("reading.plan-read/never-a-mixture", FILES, mixture),
        case!("reading.explain/gone", FILES, gone),
    ]
}

async fn whole(ground: &Ground) -> Outcome {
    for (seed, size) in [1, 2, 15, 16, 17, 100, 4095, 65_536, 131_073, 1_000_003].into_iter().enumerate() {
        let bytes = content(seed as u64, size);
        let put = ground.put(&format!("size-{size}"), &bytes).await?;
        ensure!(ground.read(&put).await? == bytes, "a file of {size} bytes comes back different");
    }
    Ok(())
}

async fn empty(ground: &Ground) -> Outcome {
    let put = ground.put("empty", &[]).await?;
    ensure!(ground.read(&put).await?.is_empty(), "there is something in an empty file");
    ground.holds(&put.path, &[]).await
}

async fn ranges(ground: &Ground) -> Outcome {
    let bytes = content(20, 300_000);
    let put = ground.put("file", &bytes).await?;
    let spans = [
        (0, 1),
        (5, 11),
        (299_999, 1),
        (0, 300_000),
        (80, 299_920),
        (131_071, 2),
        (131_072, 131_072),
        (17, 199),
        (299_980, 20),
    ];
    for (offset, size) in spans {
        check_span(ground, &put, &bytes, Span::new(offset, size)).await?;
    }
    Ok(())
}

async fn check_span(ground: &Ground, node: &causeway_storage::Node, bytes: &[u8], span: Span) -> Outcome {
    let read = ground.read_span(node, span).await?;
    let wanted = bytes.get(span.offset as usize..span.end() as usize).unwrap_or_default();
    ensure!(read == wanted, "the {} bytes from {} are not those that were written", span.size, span.offset);
    Ok(())
}

/// Spans that begin and end where uploaded parts do.
async fn around_parts(ground: &Ground) -> Outcome {
    let part = ground.subject.part_bytes.unwrap_or(1);
    let size = part * 2 + 1;
    let bytes = content(21, size as usize);
    let put = ground.put("file", &bytes).await?;
    for (offset, end) in
        [(0, part), (part - 1, part + 1), (part, 2 * part), (part * 2 - 1, size), (part * 2, size), (1, size)]
    {
        check_span(ground, &put, &bytes, Span::new(offset, end - offset)).await?;
    }
    Ok(())
}

async fn side_by_side(ground: &Ground) -> Outcome {
    let bytes = content(22, 1_000_000);
    let put = ground.put("file", &bytes).await?;
    let reads = (0..16).map(|at| check_span(ground, &put, &bytes, Span::new(at * 60_000, 70_000)));
    futures::future::try_join_all(reads).await.map(|_| ())
}

async fn again(ground: &Ground) -> Outcome {
    let bytes = content(23, 5000);
    let put = ground.put("file", &bytes).await?;
    for _ in 0..5 {
        ensure!(ground.read(&put).await? == bytes, "it comes back different");
    }
    Ok(())
}

async fn leaves_version(ground: &Ground) -> Outcome {
    let put = ground.put("file", &content(24, 5000)).await?;
    ground.read(&put).await?;
    let after = ground.stat(&put.path).await?;
    ensure!(after.version == put.version, "reading changed the version from {:?} to {:?}", put.version, after.version);
    Ok(())
}

async fn given_up(ground: &Ground) -> Outcome {
    let bytes = content(25, 2_000_000);
    let put = ground.put("file", &bytes).await?;
    for _ in 0..3 {
        let mut body = ground.storage.read(&put, Span::new(0, 2_000_000)).await?;
        let first = body.next().await.ok_or_else(|| Flaw("nothing came".into()))??;
        ensure!(!first.is_empty(), "an empty piece came");
    }
    ensure!(ground.read(&put).await? == bytes, "it comes back different");
    Ok(())
}

/// Of a version that was replaced come its own bytes, or an error; never those of the next.
async fn mixture(ground: &Ground) -> Outcome {
    let (old, new) = (content(26, 200_000), content(27, 200_000));
    let first = ground.put("file", &old).await?;
    ensure!(ground.read(&first).await? == old, "it comes back different");
    ground.replace(&first, &new).await?;
    match ground.read_span(&first, Span::new(0, 200_000)).await {
        Ok(read) => ensure!(read == old || !tells_versions(&first), "the old version reads as the new one"),
        Err(error) => ensure!(
            matches!(error.kind, ErrorKind::PreconditionFailed | ErrorKind::NotFound),
            "reading a version that is gone failed as {error:?}"
        ),
    }
    ground.holds(&first.path, &new).await
}

/// A version made of size and time says too little to hold a storage to it.
fn tells_versions(node: &causeway_storage::Node) -> bool {
    node.version.as_ref().is_some_and(|version| !version.0.starts_with("weak:"))
}

async fn gone(ground: &Ground) -> Outcome {
    let put = ground.put("file", &content(28, 5000)).await?;
    ground.read(&put).await?;
    ground.storage.remove_file(&put).await?;
    ground
        .settled(async || match ground.read_span(&put, Span::new(0, 5000)).await {
            // What lies in a trash can still be read by its id.
            Ok(read) => {
                ensure!(put.cookie.is_some() && read == content(28, 5000), "a file that was removed can be read");
                Ok(())
            }
            Err(error) => {
                let right = matches!(error.kind, ErrorKind::NotFound | ErrorKind::PreconditionFailed);
                ensure!(right, "reading a file that was removed failed as {error:?}");
                Ok(())
            }
        })
        .await
}
