//! What holds of both native storages, and the walls of the jail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::os::unix::fs::symlink;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use causeway_native::{LocalProvider, LocalStorage, MemoryProvider, MemoryStorage};
use causeway_storage::{
    Cursor, Entry, Error, ErrorKind, Kind, MemorySource, Node, Opening, Path, Provider, Remotes, Settings, Source,
    Span, Storage, Timestamp, WriteIntent, WriteLogNone, collect,
};

struct NoRemotes;

#[async_trait]
impl Remotes for NoRemotes {
    async fn resolve(&self, remote: &str) -> Result<Arc<dyn Storage>, Error> {
        Err(Error::not_found(remote))
    }
}

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn settings(json: serde_json::Value) -> Settings {
    let options = LocalProvider::new(None).descriptor().options.clone();
    Settings::parse(&options, json.as_object().unwrap()).unwrap()
}

fn local(folder: &tempfile::TempDir, json: serde_json::Value) -> Arc<dyn Storage> {
    Arc::new(LocalStorage::open(folder.path(), &Path::ROOT, &settings(json)).unwrap())
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

async fn put(storage: &dyn Storage, at: &str, content: &'static str, existing: Option<Node>) -> Result<Entry, Error> {
    let intent = WriteIntent {
        path: path(at),
        existing,
        modified: Some(Timestamp { seconds: 1_000_000_000, nanoseconds: 5 }),
        media_type: "text/plain".into(),
    };
    storage.write(&intent, Arc::new(MemorySource(Bytes::from(content))), Arc::new(WriteLogNone)).await
}

async fn node(storage: &dyn Storage, at: &str) -> Node {
    Node::of(path(at), &storage.stat(&path(at)).await.unwrap().unwrap())
}

async fn get(storage: &dyn Storage, at: &str) -> Bytes {
    let node = node(storage, at).await;
    let size = node.size.unwrap();
    collect(storage.read(&node, Span::new(0, size)).await.unwrap(), 1 << 20).await.unwrap()
}

async fn names(storage: &dyn Storage, at: &str) -> Vec<String> {
    let (mut names, mut cursor): (Vec<String>, Option<Cursor>) = (Vec::new(), None);
    loop {
        let page = storage.list(&path(at), cursor.as_ref()).await.unwrap();
        names.extend(page.entries.into_iter().map(|entry| entry.name));
        match page.next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    names.sort();
    names
}

/// Runs a case on both storages.
macro_rules! both {
    ($($(#[$doc:meta])* async fn $name:ident($storage:ident: &dyn Storage) $body:block)*) => {
        $(mod $name {
            use super::*;
            async fn case($storage: &dyn Storage) $body
            #[tokio::test]
            async fn memory() { case(&MemoryStorage::new()).await; }
            #[tokio::test]
            async fn local() { let folder = folder(); case(&*super::local(&folder, serde_json::json!({}))).await; }
        })*
    };
}

both! {
    async fn what_was_written_is_read_back_with_its_time(storage: &dyn Storage) {
        let entry = put(storage, "a", "hello", None).await.unwrap();
        assert_eq!((entry.size, entry.modified.unwrap().seconds), (Some(5), 1_000_000_000));
        assert_eq!(get(storage, "a").await, "hello");
        let span = storage.read(&node(storage, "a").await, Span::new(1, 3)).await.unwrap();
        assert_eq!(collect(span, 10).await.unwrap(), "ell");
    }

    async fn absent_is_none_and_a_missing_directory_is_an_error(storage: &dyn Storage) {
        assert_eq!(storage.stat(&path("nothing")).await.unwrap(), None);
        assert_eq!(storage.stat(&path("no/thing")).await.unwrap(), None);
        assert_eq!(storage.list(&path("nothing"), None).await.unwrap_err().kind, ErrorKind::NotFound);
        put(storage, "file", "x", None).await.unwrap();
        assert_eq!(storage.list(&path("file"), None).await.unwrap_err().kind, ErrorKind::NotADirectory);
    }

    async fn a_write_over_what_was_not_seen_is_refused(storage: &dyn Storage) {
        put(storage, "a", "one", None).await.unwrap();
        assert_eq!(put(storage, "a", "two", None).await.unwrap_err().kind, ErrorKind::PreconditionFailed);
        let seen = node(storage, "a").await;
        put(storage, "a", "three", Some(seen.clone())).await.unwrap();
        assert_eq!(put(storage, "a", "four", Some(seen)).await.unwrap_err().kind, ErrorKind::PreconditionFailed);
        assert_eq!(get(storage, "a").await, "three");
    }

    async fn a_read_of_a_version_that_is_gone_is_refused(storage: &dyn Storage) {
        put(storage, "a", "one", None).await.unwrap();
        let seen = node(storage, "a").await;
        put(storage, "a", "other", Some(seen.clone())).await.unwrap();
        let refused = match storage.read(&seen, Span::new(0, 3)).await {
            Ok(body) => collect(body, 10).await.unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(refused.kind, ErrorKind::PreconditionFailed);
    }

    async fn directories_are_made_moved_and_removed_when_empty(storage: &dyn Storage) {
        storage.make_directory(&path("d")).await.unwrap();
        assert_eq!(storage.make_directory(&path("d")).await.unwrap_err().kind, ErrorKind::AlreadyExists);
        put(storage, "d/f", "x", None).await.unwrap();
        let kind = storage.remove_directory(&node(storage, "d").await).await.unwrap_err().kind;
        assert_eq!(kind, ErrorKind::DirectoryNotEmpty);
        storage.move_to(&node(storage, "d").await, &path("e"), None).await.unwrap();
        assert_eq!(get(storage, "e/f").await, "x");
        assert_eq!(storage.stat(&path("d")).await.unwrap(), None);
        storage.remove_file(&node(storage, "e/f").await).await.unwrap();
        storage.remove_directory(&node(storage, "e").await).await.unwrap();
        assert_eq!(names(storage, "").await, Vec::<String>::new());
    }

    async fn a_move_replaces_only_what_was_seen(storage: &dyn Storage) {
        put(storage, "a", "a", None).await.unwrap();
        put(storage, "b", "b", None).await.unwrap();
        let (a, b) = (node(storage, "a").await, node(storage, "b").await);
        assert_eq!(storage.move_to(&a, &path("b"), None).await.unwrap_err().kind, ErrorKind::AlreadyExists);
        storage.move_to(&a, &path("b"), Some(&b)).await.unwrap();
        assert_eq!(names(storage, "").await, ["b"]);
        assert_eq!(get(storage, "b").await, "a");
    }

    async fn a_time_can_be_set(storage: &dyn Storage) {
        put(storage, "a", "a", None).await.unwrap();
        let time = Timestamp { seconds: 5, nanoseconds: 7 };
        storage.set_modified(&node(storage, "a").await, time).await.unwrap();
        assert_eq!(storage.stat(&path("a")).await.unwrap().unwrap().modified, Some(time));
    }

    async fn a_large_directory_lists_completely_in_pages(storage: &dyn Storage) {
        storage.make_directory(&path("d")).await.unwrap();
        put(storage, "d-other", "x", None).await.unwrap();
        for number in 0..2_500 {
            put(storage, &format!("d/{number}"), "", None).await.unwrap();
        }
        let mut wanted: Vec<_> = (0..2_500).map(|number| number.to_string()).collect();
        wanted.sort();
        assert_eq!(names(storage, "d").await, wanted);
    }
}

mod memory {
    use super::*;

    async fn open(provider: &MemoryProvider, tenant: &str, backend: &str) -> Arc<dyn Storage> {
        let (tenant, backend) = (tenant.to_owned(), backend.to_owned());
        let opening = Opening { tenant, backend, settings: Settings::default(), remotes: Arc::new(NoRemotes) };
        provider.open(opening).await.unwrap()
    }

    #[tokio::test]
    async fn a_backend_keeps_its_own_content_and_sees_no_other() {
        let provider = MemoryProvider::new();
        put(&*open(&provider, "t", "a").await, "f", "x", None).await.unwrap();
        assert_eq!(names(&*open(&provider, "t", "a").await, "").await, ["f"]);
        assert!(names(&*open(&provider, "t", "b").await, "").await.is_empty());
        assert!(names(&*open(&provider, "u", "a").await, "").await.is_empty());
        provider.forget("t", "a");
        assert!(names(&*open(&provider, "t", "a").await, "").await.is_empty());
    }
}

mod jail {
    use super::*;

    #[tokio::test]
    async fn no_link_leads_out() {
        let (outside, inside) = (folder(), folder());
        std::fs::write(outside.path().join("secret"), "secret").unwrap();
        symlink(outside.path(), inside.path().join("absolute")).unwrap();
        symlink("../../../../../../etc", inside.path().join("relative")).unwrap();
        symlink(outside.path().join("secret"), inside.path().join("file")).unwrap();
        for follow in [false, true] {
            let storage = local(&inside, serde_json::json!({ "copy_links": follow }));
            for at in ["absolute/secret", "relative/passwd", "file"] {
                let seen = storage.stat(&path(at)).await;
                assert!(!matches!(seen, Ok(Some(_))), "{at} with copy_links {follow}: {seen:?}");
                let read = Node { path: path(at), kind: Kind::File, cookie: None, version: None, size: Some(6) };
                assert!(storage.read(&read, Span::new(0, 6)).await.is_err());
            }
            assert!(put(&*storage, "absolute/new", "x", None).await.is_err());
            assert!(storage.make_directory(&path("absolute/new")).await.is_err());
        }
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn links_inside_are_followed_only_when_asked() {
        let inside = folder();
        std::fs::write(inside.path().join("target"), "x").unwrap();
        symlink("target", inside.path().join("link")).unwrap();
        assert_eq!(names(&*local(&inside, serde_json::json!({})), "").await, ["target"]);
        assert_eq!(names(&*local(&inside, serde_json::json!({"copy_links": true})), "").await, ["link", "target"]);
    }

    #[tokio::test]
    async fn a_file_is_replaced_and_never_written_through_a_link() {
        let (outside, inside) = (folder(), folder());
        let victim = outside.path().join("victim");
        std::fs::write(&victim, "untouched").unwrap();
        symlink(&victim, inside.path().join("link")).unwrap();
        let storage = local(&inside, serde_json::json!({}));
        // A link is not shown, so nothing was seen there: the write is refused and the link stays.
        assert!(put(&*storage, "link", "x", None).await.is_err());
        assert_eq!(std::fs::read_to_string(victim).unwrap(), "untouched");
    }

    /// An encoding without `Slash` turns the look-alike of a slash into a slash.
    #[tokio::test]
    async fn no_encoding_makes_a_name_into_a_way_out() {
        let outside = folder();
        let inside = outside.path().join("inside");
        std::fs::create_dir(&inside).unwrap();
        std::fs::create_dir(outside.path().join("empty")).unwrap();
        for encoding in ["None", "Raw", "Dot", "Slash", "0"] {
            let json = serde_json::json!({"encoding": encoding, "one_file_system": true});
            let storage = LocalStorage::open(&inside, &Path::ROOT, &settings(json)).unwrap();
            put(&storage, "mine", "x", None).await.unwrap();
            let mine = node(&storage, "mine").await;
            for name in ["..／new", "a／..／..／new", "..／empty", "．．", "．", "‛", "．．／empty"] {
                let path = path(name);
                let unseen =
                    Node { path: path.clone(), kind: Kind::Directory, cookie: None, version: None, size: None };
                // Under some masks it is an ordinary name, and stays inside.
                let made = storage.make_directory(&path).await;
                let moved = storage.move_to(&mine, &path, None).await;
                let written = put(&storage, name, "x", None).await;
                let removed = storage.remove_directory(&unseen).await;
                assert_eq!(made.is_ok(), removed.is_ok(), "{encoding}: {name}: {made:?}, {removed:?}");
                assert!(moved.is_err() && written.is_err(), "{encoding}: {name}");
                let there: Vec<_> =
                    std::fs::read_dir(outside.path()).unwrap().map(|item| item.unwrap().file_name()).collect();
                assert_eq!(there.len(), 2, "{encoding}: {name}: {there:?}");
            }
            storage.remove_file(&mine).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_link_that_leads_out_hides_nothing_else() {
        let (inside, outside) = (folder(), folder());
        std::fs::write(outside.path().join("secret"), "x").unwrap();
        symlink(outside.path(), inside.path().join("out")).unwrap();
        std::fs::write(inside.path().join("f"), "x").unwrap();
        symlink("f", inside.path().join("in")).unwrap();
        let storage = local(&inside, serde_json::json!({"copy_links": true}));
        assert_eq!(names(&*storage, "").await, ["f", "in"]);
    }

    #[tokio::test]
    async fn what_changes_while_content_is_copied_is_not_replaced() {
        /// Content that takes so long that somebody else writes meanwhile.
        struct Slow(std::path::PathBuf);
        impl Source for Slow {
            fn size(&self) -> u64 {
                1
            }
            fn read_exact_at(&self, _: u64, buffer: &mut [u8]) -> std::io::Result<()> {
                std::fs::write(&self.0, "of another").unwrap();
                buffer.fill(b'x');
                Ok(())
            }
        }
        let inside = folder();
        let storage = local(&inside, serde_json::json!({}));
        put(&*storage, "f", "first", None).await.unwrap();
        let existing = Some(node(&*storage, "f").await);
        let intent = WriteIntent { path: path("f"), existing, modified: None, media_type: "text/plain".into() };
        let content = Arc::new(Slow(inside.path().join("f")));
        let error = storage.write(&intent, content, Arc::new(WriteLogNone)).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::PreconditionFailed);
        assert_eq!(get(&*storage, "f").await, "of another");
        assert_eq!(std::fs::read_dir(inside.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn a_directory_goes_with_what_died_in_it_and_stays_with_what_is_written() {
        let inside = folder();
        let storage = local(&inside, serde_json::json!({}));
        storage.make_directory(&path("d")).await.unwrap();
        let left = std::fs::File::create(inside.path().join("d/.causeway-unfinished-1-0")).unwrap();
        left.lock().unwrap();
        let directory = node(&*storage, "d").await;
        let error = storage.remove_directory(&directory).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::DirectoryNotEmpty);
        drop(left);
        storage.remove_directory(&directory).await.unwrap();
    }

    #[tokio::test]
    async fn each_tenant_has_a_folder_of_its_own() {
        let root = folder();
        let provider = LocalProvider::new(Some(root.path().to_owned()));
        let open = async |tenant: &str, json: serde_json::Value| {
            let (tenant, backend) = (tenant.to_owned(), "0123456789abcdef".to_owned());
            provider.open(Opening { tenant, backend, settings: settings(json), remotes: Arc::new(NoRemotes) }).await
        };
        put(&*open("one", serde_json::json!({})).await.unwrap(), "f", "x", None).await.unwrap();
        assert!(names(&*open("two", serde_json::json!({})).await.unwrap(), "").await.is_empty());
        assert!(open("two", serde_json::json!({"path": "../one"})).await.is_err());
        assert!(open("two", serde_json::json!({"path": "/etc"})).await.is_err());
    }

    #[tokio::test]
    async fn without_a_root_no_folder_is_allowed() {
        let provider = LocalProvider::new(None);
        let (tenant, backend) = ("t".to_owned(), "0123456789abcdef".to_owned());
        let opening = Opening { tenant, backend, settings: Settings::default(), remotes: Arc::new(NoRemotes) };
        assert!(provider.open(opening).await.is_err());
    }

    #[tokio::test]
    async fn an_option_without_effect_is_refused() {
        let root = folder();
        let provider = LocalProvider::new(Some(root.path().to_owned()));
        for option in ["links", "unicode_normalization"] {
            let (tenant, backend) = ("t".to_owned(), "0123456789abcdef".to_owned());
            let settings = settings(serde_json::json!({ option: true }));
            let refused = provider.open(Opening { tenant, backend, settings, remotes: Arc::new(NoRemotes) }).await;
            assert!(matches!(refused, Err(causeway_storage::OpenError::Settings(_))), "{option}");
        }
    }

    #[tokio::test]
    async fn the_chosen_time_is_shown() {
        let inside = folder();
        put(&*local(&inside, serde_json::json!({})), "f", "x", None).await.unwrap();
        let shown =
            async |json| local(&inside, json).stat(&path("f")).await.unwrap().unwrap().modified.unwrap().seconds;
        assert_eq!(shown(serde_json::json!({})).await, 1_000_000_000);
        assert!(shown(serde_json::json!({"time_type": "ctime"})).await > 1_700_000_000);
    }

    #[tokio::test]
    async fn nothing_unfinished_is_left_or_shown() {
        let inside = folder();
        let storage = local(&inside, serde_json::json!({}));
        put(&*storage, "f", "x", None).await.unwrap();
        assert!(put(&*storage, "f", "y", None).await.is_err());
        assert_eq!(std::fs::read_dir(inside.path()).unwrap().count(), 1);
    }
}
