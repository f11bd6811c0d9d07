//! The S3 provider as it is shipped, in the host as it is run, against a server that knows neither.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use causeway_storage::{
    Can, Entry, ErrorKind, Kind, MemorySource, Node, OpenError, Result, Span, Storage, Timestamp, WriteIntent,
    WriteLog, WriteLogNone, collect,
};
use serde_json::json;
use support::rclone::{KEY, Rclone, SECRET};
use support::server::{Server, answer};
use support::{House, kind, open, path};

const TIME: Timestamp = Timestamp { seconds: 1_600_000_000, nanoseconds: 123_456_789 };

async fn connected(buckets: &[&str]) -> (Rclone, House, Arc<dyn Storage>) {
    let server = Rclone::start(buckets);
    let house = House::new();
    let provider = house.provider("s3").await;
    let storage = open(&provider, server.settings()).await.unwrap();
    (server, house, storage)
}

fn intent(name: &str) -> WriteIntent {
    WriteIntent {
        path: path(name),
        existing: None,
        modified: Some(TIME),
        media_type: "application/octet-stream".into(),
    }
}

async fn put(storage: &dyn Storage, name: &str, content: &[u8]) -> Result<Entry> {
    let content = Arc::new(MemorySource(Bytes::copy_from_slice(content)));
    storage.write(&intent(name), content, Arc::new(WriteLogNone)).await
}

async fn get(storage: &dyn Storage, name: &str, offset: u64, size: u64) -> Result<Bytes> {
    let entry = storage.stat(&path(name)).await?.expect("there is no such file");
    let body = storage.read(&Node::of(path(name), &entry), Span::new(offset, size)).await?;
    collect(body, 64 << 20).await
}

/// Bytes that repeat nowhere.
fn content(size: usize) -> Vec<u8> {
    (0..size as u64 / 8 + 1).flat_map(|at| at.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes()).take(size).collect()
}

async fn names(storage: &dyn Storage, directory: &str) -> Result<Vec<String>> {
    let (mut names, mut cursor) = (Vec::new(), None);
    loop {
        let page = storage.list(&path(directory), cursor.as_ref()).await?;
        names.extend(page.entries.into_iter().map(|entry| entry.name));
        cursor = page.next;
        if cursor.is_none() {
            names.sort();
            return Ok(names);
        }
    }
}

mod catalog {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn permissions_and_features_are_read_off_the_file() {
        let inspection = causeway_guest::inspect(&std::fs::read(support::component("s3")).unwrap()).unwrap();
        let mut imports = inspection.imports.clone();
        imports.sort();
        assert_eq!(imports, ["clock", "content", "crypto", "http", "log", "settings"]);
        for export in ["setup", "browsing", "reading", "writing", "removing", "directories", "copying", "times"] {
            assert!(inspection.exports.iter().any(|name| name == export), "{export} in {:?}", inspection.exports);
        }
        assert!(!inspection.wasi);
        assert_eq!(inspection.digest.len(), 64);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_component_of_the_directory_is_loaded() {
        let powers = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let grants = [("seafile".to_owned(), powers(&["foreign-hosts"])), ("mega".to_owned(), powers(&["reveal"]))];
        let house = House::with(causeway_http::Policy::default(), grants.into());
        let directory = support::component("s3").parent().unwrap().to_owned();
        let mut heard = Vec::new();
        let (providers, refused) = house.catalog.load(&directory, |path| heard.push(path.to_owned())).await.unwrap();
        assert!(refused.is_empty(), "{refused:?}");
        assert_eq!(providers.len(), heard.len());
        assert!(providers.iter().any(|provider| causeway_storage::Provider::descriptor(&**provider).name == "s3"));
    }
}

mod open {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn every_wrong_setting_is_named() {
        let house = House::new();
        let provider = house.provider("s3").await;
        let given = json!({
            "endpoint": "https://example.com", "access_key_id": "a", "chunk_size": "1M", "list_chunk": 5000,
            "upload_concurrency": 0,
        });
        let Err(OpenError::Settings(problems)) = support::open(&provider, given).await else {
            panic!("these settings must not open");
        };
        let mut named: Vec<_> = problems.into_iter().map(|problem| problem.option).collect();
        named.sort();
        assert_eq!(named, ["chunk_size", "list_chunk", "secret_access_key", "upload_concurrency"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_endpoint_that_is_no_url_is_named() {
        let house = House::new();
        let provider = house.provider("s3").await;
        let given = json!({"endpoint": "ftp://example.com"});
        let Err(OpenError::Settings(problems)) = support::open(&provider, given).await else {
            panic!("these settings must not open");
        };
        assert_eq!(problems.iter().map(|problem| problem.option.as_str()).collect::<Vec<_>>(), ["endpoint"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn features_follow_from_exports_and_traits() {
        let (_server, _house, storage) = connected(&[]).await;
        let can = storage.features().can;
        assert!(can.contains(Can::WRITE | Can::REMOVE | Can::DIRECTORIES | Can::COPY | Can::SET_MODIFIED));
        assert!(can.contains(Can::KEEPS_MODIFIED | Can::ATOMIC_REPLACE));
        assert!(!can.intersects(Can::MOVE | Can::ROOM | Can::DUPLICATES | Can::CONDITIONAL));
    }
}

mod probe {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn right_keys_are_accepted() {
        let (_server, _house, storage) = connected(&["photos"]).await;
        storage.probe().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn wrong_keys_are_unauthenticated_and_not_shown() {
        let server = Rclone::start(&["photos"]);
        let house = House::new();
        let provider = house.provider("s3").await;
        let wrong = server.settings_but(json!({"secret_access_key": "not-the-secret-of-this-key"}));
        let storage = open(&provider, wrong).await.unwrap();
        let error = storage.probe().await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unauthenticated, "{error:?}");
        assert!(!format!("{error:?}").contains("not-the-secret"), "{error:?}");
        assert_eq!(kind(storage.stat(&path("photos/a")).await), ErrorKind::Unauthenticated);
        assert_eq!(kind(put(&*storage, "photos/a", b"x").await), ErrorKind::Unauthenticated);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn private_addresses_are_refused_unless_allowed() {
        let server = Rclone::start(&["photos"]);
        let keeper = Arc::new(support::Memory::default());
        let gate = causeway_http::Gate::new(causeway_http::Policy::default()).unwrap();
        let surroundings = causeway_guest::Surroundings { gate, keeper };
        let cache = tempfile::tempdir().unwrap();
        let catalog = causeway_guest::Catalog::new(
            causeway_guest::Engine::new().unwrap(),
            causeway_guest::CompiledCache::open(cache.path()).unwrap(),
            causeway_guest::Grants::new(),
            surroundings,
        );
        let provider = catalog.open(&support::component("s3")).await.unwrap();
        let storage = open(&provider, server.settings()).await.unwrap();
        let error = storage.probe().await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Denied, "{error:?}");
        assert!(error.message.contains("--allow-private-networks"), "{error:?}");
    }
}

mod list {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_root_holds_the_buckets() {
        let (_server, _house, storage) = connected(&["music", "photos"]).await;
        assert_eq!(names(&*storage, "").await.unwrap(), ["music", "photos"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn pages_add_up_to_everything() {
        let server = Rclone::start(&["photos"]);
        let expected: Vec<_> = (0..25).map(|at| format!("f{at:02} é+%&.txt")).collect();
        for name in &expected {
            std::fs::write(server.directory.path().join("photos").join(name), name).unwrap();
        }
        std::fs::create_dir_all(server.directory.path().join("photos/below/deep")).unwrap();
        std::fs::write(server.directory.path().join("photos/below/deep/x"), "x").unwrap();
        let house = House::new();
        let provider = house.provider("s3").await;
        let storage = open(&provider, server.settings_but(json!({"list_chunk": 10}))).await.unwrap();
        let mut all = expected.clone();
        all.insert(0, "below".into());
        assert_eq!(names(&*storage, "photos").await.unwrap(), all);
        assert_eq!(names(&*storage, "photos/below/deep").await.unwrap(), ["x"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn missing_bucket_is_not_found() {
        let (_server, _house, storage) = connected(&["photos"]).await;
        assert_eq!(kind(storage.list(&path("nowhere"), None).await), ErrorKind::NotFound);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn missing_directory_is_not_found() {
        let (_server, _house, storage) = connected(&["photos"]).await;
        assert_eq!(kind(storage.list(&path("photos/nowhere"), None).await), ErrorKind::NotFound);
    }
}

mod stat {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_missing_is_none_and_no_error() {
        let (_server, _house, storage) = connected(&["photos"]).await;
        for name in ["photos/a", "photos/a/b", "nowhere", "nowhere/a"] {
            assert_eq!(storage.stat(&path(name)).await.unwrap(), None, "{name}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn root_buckets_and_prefixes_are_directories() {
        let (_server, _house, storage) = connected(&["photos"]).await;
        put(&*storage, "photos/2024/a.jpg", b"a").await.unwrap();
        for name in ["", "photos", "photos/2024"] {
            let entry = storage.stat(&path(name)).await.unwrap().unwrap();
            assert_eq!(entry.kind, Kind::Directory, "{name}");
            assert_eq!(entry.name, path(name).name().unwrap_or_default());
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_unreachable_server_is_an_error_and_not_an_absence() {
        let (server, _house, storage) = connected(&["photos"]).await;
        drop(server);
        assert!(matches!(kind(storage.stat(&path("photos/a")).await), ErrorKind::Unavailable(_)));
    }
}

mod write {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_small_file_arrives_whole_with_its_time() {
        let (server, _house, storage) = connected(&["photos"]).await;
        let entry = put(&*storage, "photos/a/hello world.txt", b"hello").await.unwrap();
        assert_eq!((entry.name.as_str(), entry.size), ("hello world.txt", Some(5)));
        assert_eq!(entry.modified, Some(TIME));
        assert_eq!(server.bytes("photos/a/hello world.txt"), b"hello");
        let seen = storage.stat(&path("photos/a/hello world.txt")).await.unwrap().unwrap();
        assert_eq!(seen, entry);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_empty_file_is_a_file() {
        let (server, _house, storage) = connected(&["photos"]).await;
        let entry = put(&*storage, "photos/empty", b"").await.unwrap();
        assert_eq!((entry.kind, entry.size), (Kind::File, Some(0)));
        assert_eq!(server.bytes("photos/empty"), b"");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_large_file_is_uploaded_in_parts() {
        let server = Rclone::start(&["photos"]);
        let house = House::new();
        let provider = house.provider("s3").await;
        let small = json!({"chunk_size": "5M", "upload_cutoff": "5M", "upload_concurrency": 3});
        let storage = open(&provider, server.settings_but(small)).await.unwrap();
        let content = content((17 << 20) + 3);
        let log = Arc::new(Remembered::default());
        let source = Arc::new(MemorySource(Bytes::from(content.clone())));
        let entry = storage.write(&intent("photos/big"), source, log.clone()).await.unwrap();
        assert_eq!(entry.size, Some(content.len() as u64));
        assert!(server.bytes("photos/big") == content);
        assert!(get(&*storage, "photos/big", 0, content.len() as u64).await.unwrap() == content);
        // What is written down on the way is sealed for this backend and this file.
        let saved = log.0.lock().unwrap().clone();
        assert!(saved.len() > 1, "a multipart upload is written down");
        assert!(saved.iter().all(|record| record.starts_with(b"sealed acme 0123456789abcdef photos/big:")));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn missing_bucket_is_not_found() {
        let (_server, _house, storage) = connected(&["photos"]).await;
        assert_eq!(kind(put(&*storage, "nowhere/a", b"x").await), ErrorKind::NotFound);
    }

    #[derive(Default)]
    struct Remembered(Mutex<Vec<Vec<u8>>>);

    #[async_trait]
    impl WriteLog for Remembered {
        async fn load(&self) -> Result<Option<Vec<u8>>> {
            Ok(self.0.lock().unwrap().last().cloned())
        }

        async fn save(&self, record: &[u8]) -> Result<()> {
            self.0.lock().unwrap().push(record.to_vec());
            Ok(())
        }
    }
}

mod read {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn any_range_is_exactly_that_range() {
        let (_server, _house, storage) = connected(&["photos"]).await;
        let content = content(300_000);
        put(&*storage, "photos/f", &content).await.unwrap();
        for (offset, size) in [(0, 1), (0, 300_000), (299_999, 1), (65_536, 65_536), (123_456, 100_000)] {
            let got = get(&*storage, "photos/f", offset, size).await.unwrap();
            assert!(got == content[offset as usize..(offset + size) as usize], "{offset}+{size}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn another_version_is_a_failed_precondition() {
        let (_server, _house, storage) = connected(&["photos"]).await;
        let old = put(&*storage, "photos/f", b"old content").await.unwrap();
        let old = Node::of(path("photos/f"), &old);
        put(&*storage, "photos/f", b"new content").await.unwrap();
        let read = match storage.read(&old, Span::new(0, 11)).await {
            Ok(body) => collect(body, 100).await,
            Err(error) => Err(error),
        };
        assert_eq!(kind(read), ErrorKind::PreconditionFailed);
    }
}

mod change {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_copy_is_equal_and_the_original_stays() {
        let (server, _house, storage) = connected(&["photos"]).await;
        let entry = put(&*storage, "photos/f", b"content").await.unwrap();
        let copy = storage.copy_to(&Node::of(path("photos/f"), &entry), &path("photos/g"), None).await.unwrap();
        assert_eq!((copy.name.as_str(), copy.size, copy.modified), ("g", Some(7), Some(TIME)));
        assert_eq!((server.bytes("photos/f"), server.bytes("photos/g")), (b"content".to_vec(), b"content".to_vec()));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_copy_onto_something_unseen_is_refused() {
        let (_server, _house, storage) = connected(&["photos"]).await;
        let entry = put(&*storage, "photos/f", b"content").await.unwrap();
        put(&*storage, "photos/g", b"precious").await.unwrap();
        let copied = storage.copy_to(&Node::of(path("photos/f"), &entry), &path("photos/g"), None).await;
        assert_eq!(kind(copied), ErrorKind::AlreadyExists);
        assert_eq!(get(&*storage, "photos/g", 0, 8).await.unwrap(), "precious");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_time_is_set_and_the_content_stays() {
        let (_server, _house, storage) = connected(&["photos"]).await;
        let entry = put(&*storage, "photos/f", b"content").await.unwrap();
        let later = Timestamp { seconds: TIME.seconds + 86_400, nanoseconds: 5 };
        let entry = storage.set_modified(&Node::of(path("photos/f"), &entry), later).await.unwrap();
        assert_eq!(entry.modified, Some(later));
        assert_eq!(get(&*storage, "photos/f", 0, 7).await.unwrap(), "content");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_removed_is_gone_and_not_there_to_be_removed_again() {
        let (_server, _house, storage) = connected(&["photos"]).await;
        let entry = put(&*storage, "photos/f", b"content").await.unwrap();
        let node = Node::of(path("photos/f"), &entry);
        storage.remove_file(&node).await.unwrap();
        assert_eq!(storage.stat(&path("photos/f")).await.unwrap(), None);
        assert_eq!(kind(storage.remove_file(&node).await), ErrorKind::NotFound);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_bucket_is_made_once_and_removed_when_empty() {
        let (_server, _house, storage) = connected(&[]).await;
        storage.make_directory(&path("photos")).await.unwrap();
        assert_eq!(kind(storage.make_directory(&path("photos")).await), ErrorKind::AlreadyExists);
        put(&*storage, "photos/f", b"x").await.unwrap();
        let bucket = storage.stat(&path("photos")).await.unwrap().unwrap();
        let bucket = Node::of(path("photos"), &bucket);
        assert_eq!(kind(storage.remove_directory(&bucket).await), ErrorKind::DirectoryNotEmpty);
        let file = storage.stat(&path("photos/f")).await.unwrap().unwrap();
        storage.remove_file(&Node::of(path("photos/f"), &file)).await.unwrap();
        storage.remove_directory(&bucket).await.unwrap();
        assert_eq!(names(&*storage, "").await.unwrap(), Vec::<String>::new());
    }
}

mod secrets {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn nothing_that_can_be_printed_or_was_stored_holds_the_key() {
        let (_server, house, storage) = connected(&["photos"]).await;
        put(&*storage, "photos/f", b"x").await.unwrap();
        assert!(!format!("{storage:?}").contains(SECRET));
        assert!(!contains(&house.keeper.all(), SECRET));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_key_is_nowhere_in_the_components_memory() {
        // The server looks while the component waits for its answer: the request has been signed by then.
        let seen = Arc::new(Mutex::new(Vec::new()));
        let looked = seen.clone();
        let server = Server::start(move |_| {
            looked.lock().unwrap().extend(memories());
            async { answer(404, "") }
        })
        .await;
        let house = House::new();
        let provider = house.provider("s3").await;
        let given = json!({"endpoint": server.url(), "access_key_id": KEY, "secret_access_key": SECRET});
        let storage = support::open(&provider, given).await.unwrap();
        assert_eq!(storage.stat(&path("photos/a")).await.unwrap(), None);
        let signed = server.seen();
        assert!(signed.iter().all(|request| request.contains(&format!("Credential={KEY}/"))), "{signed:?}");
        let memories = seen.lock().unwrap();
        assert!(memories.iter().any(|memory| contains(memory, KEY)), "the component knows the key's name");
        assert!(!memories.iter().any(|memory| contains(memory, SECRET)), "and not the key");
    }

    fn contains(bytes: &[u8], text: &str) -> bool {
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    }

    /// The memories of all components in this process: the mappings that begin as an image of initial memory, and what lies
    /// right before and behind them.
    fn memories() -> Vec<Vec<u8>> {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let mappings: Vec<_> = maps.lines().filter_map(mapping).collect();
        let mut memories: Vec<(u64, u64, bool)> = Vec::new();
        for (start, end, image) in mappings {
            match memories.last_mut() {
                Some(last) if last.1 == start => (last.1, last.2) = (end, last.2 || image),
                _ => memories.push((start, end, image)),
            }
        }
        let memory = std::fs::File::open("/proc/self/mem").unwrap();
        let read = |(start, end, _): (u64, u64, bool)| {
            let mut bytes = vec![0; (end - start) as usize];
            // One that is gone by now belonged to another test.
            memory.read_exact_at(&mut bytes, start).ok().map(|()| bytes)
        };
        memories.into_iter().filter(|(_, _, image)| *image).filter_map(read).collect()
    }

    /// Where a mapping that can be written begins and ends, and whether it is an image of a component's initial memory.
    fn mapping(line: &str) -> Option<(u64, u64, bool)> {
        let mut fields = line.split_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let address = |text| u64::from_str_radix(text, 16).unwrap();
        fields.next()?.starts_with("rw").then(|| (address(start), address(end), line.contains("wasm-memory-image")))
    }
}
