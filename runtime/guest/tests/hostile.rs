//! Components that misbehave, in the host as it is run. Each test is a promise to whoever lets somebody else's code in.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use causeway_guest::{Grants, GuestProvider, inspect};
use causeway_http::Policy;
use causeway_storage::{
    Cursor, ErrorKind, MemorySource, Node, OpenError, Page, Result, Span, Storage, WriteIntent, WriteLogNone, collect,
};
use serde_json::{Value as Json, json};
use support::server::{Server, answer};
use support::{House, hostile, kind, open, open_as, path};

const SECRET: &str = "the-secret-that-nobody-may-see-4711";

/// A backend of the hostile component.
struct Backend {
    house: House,
    storage: Arc<dyn Storage>,
}

impl Backend {
    async fn of(attack: &str, others: Json) -> Backend {
        let house = House::new();
        let storage = open(&*provider(&house).await, settings(attack, others)).await.unwrap();
        Backend { house, storage }
    }

    async fn list(&self) -> Result<Page> {
        self.storage.list(&path(""), None).await
    }

    /// The name that a listing shows: what the component found.
    async fn found(&self) -> Result<String> {
        Ok(self.list().await?.entries.remove(0).name)
    }

    async fn write(&self, content: &'static [u8]) -> Result<()> {
        let content = Arc::new(MemorySource(Bytes::from_static(content)));
        let intent = WriteIntent {
            path: path("a"),
            existing: None,
            modified: None,
            media_type: "application/octet-stream".into(),
        };
        self.storage.write(&intent, content, Arc::new(WriteLogNone)).await.map(|_| ())
    }
}

async fn provider(house: &House) -> Arc<GuestProvider> {
    house.catalog.open(&hostile("component")).await.unwrap()
}

fn settings(attack: &str, others: Json) -> Json {
    let mut settings = json!({"attack": attack, "secret": SECRET});
    settings.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
    settings
}

/// A backend whose endpoint answers everything with an empty 200.
async fn at_server(attack: &str) -> (Server, Backend) {
    let server = Server::obliging().await;
    let backend = Backend::of(attack, json!({"endpoint": server.url()})).await;
    (server, backend)
}

/// The attack fails, and nothing at all was sent.
async fn sends_nothing(attack: &str) {
    let (server, backend) = at_server(attack).await;
    let error = backend.list().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied, "{attack}: {error:?}");
    assert!(!format!("{error:?}").contains(SECRET), "{error:?}");
    assert_eq!(server.seen(), Vec::<String>::new(), "{attack}");
}

mod imports {
    use super::*;

    fn refused(text: &str) -> String {
        let error = inspect(&wat::parse_str(text).unwrap()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        error.message
    }

    #[test]
    fn an_unknown_interface_is_refused_by_name() {
        let message = refused(
            r#"(component (import "causeway:provider/teleport@0.1.0" (instance)) (import "evil:tools/shell@1.0.0" (instance)))"#,
        );
        assert!(message.contains("causeway:provider/teleport@0.1.0"), "{message}");
        assert!(message.contains("evil:tools/shell@1.0.0"), "{message}");
    }

    #[test]
    fn another_version_of_the_contract_is_refused_naming_both() {
        let message = refused(r#"(component (import "causeway:provider/http@0.2.0" (instance)))"#);
        assert!(message.contains("0.2.0") && message.contains("0.1"), "{message}");
        let message = refused(r#"(component (import "causeway:provider/http" (instance)))"#);
        assert!(message.contains("none"), "{message}");
    }

    #[test]
    fn a_component_without_what_every_provider_exports_is_refused_naming_it() {
        let message = refused("(component)");
        assert!(message.contains("setup, browsing, reading"), "{message}");
    }

    #[test]
    fn what_is_no_component_is_refused() {
        for bytes in [&b""[..], b"#!/bin/sh", &wat::parse_str("(module)").unwrap()] {
            assert_eq!(kind(inspect(bytes)), ErrorKind::Invalid);
        }
        let mut cut = std::fs::read(hostile("component")).unwrap();
        cut.truncate(cut.len() / 2);
        assert_eq!(kind(inspect(&cut)), ErrorKind::Invalid);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_permission_that_was_not_granted_is_refused_by_name() {
        let error = House::new().catalog.open(&hostile("revealing")).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Denied);
        assert!(error.message.contains("hostile") && error.message.contains("reveal"), "{error:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_grant_of_another_name_grants_nothing() {
        let grants = Grants::from([("other".into(), ["reveal".to_owned()].into())]);
        let error = House::with(Policy::default(), grants).catalog.open(&hostile("revealing")).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Denied);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_granted_permission_is_there() {
        let grants = Grants::from([("hostile".into(), ["reveal".to_owned()].into())]);
        let house = House::with(Policy::default(), grants);
        let provider = house.catalog.open(&hostile("revealing")).await.unwrap();
        let storage = open(&provider, settings("reveal", json!({}))).await.unwrap();
        let page = storage.list(&path(""), None).await.unwrap();
        assert_eq!(page.entries[0].name, SECRET.len().to_string());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_description_that_uses_an_import_is_refused() {
        let error = House::new().catalog.open(&hostile("impure")).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Internal);
        assert!(error.detail.contains("must not use any import"), "{error:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_directory_with_bad_files_loads_the_good_ones() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::copy(hostile("component"), directory.path().join("good.wasm")).unwrap();
        std::fs::copy(hostile("impure"), directory.path().join("impure.wasm")).unwrap();
        std::fs::write(directory.path().join("text.wasm"), "no component").unwrap();
        std::fs::write(directory.path().join("notes.txt"), "not looked at").unwrap();
        let (providers, refused) = House::new().catalog.load(directory.path(), |_| {}).await.unwrap();
        assert_eq!(providers.len(), 1);
        let refused: Vec<_> = refused.iter().map(|refused| refused.path.file_name().unwrap()).collect();
        assert_eq!(refused, ["impure.wasm", "text.wasm"]);
    }
}

mod time {
    use super::*;

    /// The time that a call got, on a machine that may be busy: generous beside the 50 ms that it is allowed.
    const ENDED: Duration = Duration::from_secs(5);

    #[tokio::test(flavor = "multi_thread")]
    async fn a_loop_is_ended() {
        let backend = Backend::of("loop", json!({})).await;
        let began = Instant::now();
        let error = backend.list().await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Internal);
        assert!(error.detail.contains("50 ms"), "{error:?}");
        assert!(!error.message.contains("wasm"), "{error:?}");
        assert!(began.elapsed() < ENDED);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_loop_in_configure_is_ended() {
        let house = House::new();
        let Err(OpenError::Failed(error)) =
            open(&*provider(&house).await, settings("configure-loops", json!({}))).await
        else {
            panic!("a loop must not open");
        };
        assert_eq!(error.kind, ErrorKind::Internal);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn others_go_on_while_some_loop() {
        let house = House::new();
        let provider = provider(&house).await;
        let good = open(&provider, settings("", json!({}))).await.unwrap();
        let mut loops = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let bad = open_as(&provider, "other", settings("loop", json!({}))).await.unwrap();
            loops.spawn(async move { bad.list(&path(""), None).await });
        }
        let mut done = 0;
        while !loops.is_empty() {
            let listed = good.list(&path(""), None).await.unwrap();
            assert_eq!(listed.entries[0].name, "fine");
            done += 1;
            while let Some(ended) = loops.try_join_next() {
                assert_eq!(kind(ended.unwrap()), ErrorKind::Internal);
            }
        }
        // Eight loops take 400 ms of the component threads. Had each call waited for them, there would be one.
        assert!(done >= 4, "only {done} calls came through");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn waiting_does_not_count_as_computing() {
        let slow = Server::start(|_| async {
            tokio::time::sleep(Duration::from_millis(3)).await;
            answer(200, "")
        })
        .await;
        let backend = Backend::of("wait", json!({"endpoint": slow.url()})).await;
        assert_eq!(backend.found().await.unwrap(), "60");
    }
}

mod faults {
    use super::*;

    /// The call fails as the component's fault, and the next call is as good as ever.
    async fn costs_one_call(attack: &str) {
        let house = House::new();
        let provider = provider(&house).await;
        let bad = open(&provider, settings(attack, json!({}))).await.unwrap();
        let error = bad.list(&path(""), None).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Internal, "{error:?}");
        let good = open(&provider, settings("", json!({}))).await.unwrap();
        assert_eq!(good.list(&path(""), None).await.unwrap().entries[0].name, "fine");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_trap_costs_one_call() {
        costs_one_call("trap").await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn deep_recursion_costs_one_call() {
        costs_one_call("recurse").await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn memory_without_end_costs_one_call() {
        costs_one_call("allocate").await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn too_many_random_bytes_cost_the_call() {
        costs_one_call("random").await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nothing_is_remembered_from_call_to_call() {
        let backend = Backend::of("remember", json!({})).await;
        for _ in 0..3 {
            assert_eq!(backend.found().await.unwrap(), "1");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn state_of_one_tenant_is_not_seen_by_another() {
        let house = House::new();
        let provider = provider(&house).await;
        for (tenant, expected) in [("acme", "0"), ("acme", "1"), ("other", "0"), ("acme", "2")] {
            let storage = open_as(&provider, tenant, settings("state", json!({}))).await.unwrap();
            let page = storage.list(&path(""), None).await.unwrap();
            assert_eq!(page.entries[0].name, expected, "{tenant}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_undeclared_slot_cannot_be_filled() {
        let backend = Backend::of("slot", json!({})).await;
        assert_eq!(kind(backend.list().await), ErrorKind::Denied);
        assert_eq!(backend.house.keeper.all(), b"");
    }
}

mod answers {
    use super::*;

    async fn is_a_fault(attack: &str, detail: &str) {
        let error = Backend::of(attack, json!({})).await.list().await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Internal, "{error:?}");
        assert!(error.detail.contains(detail), "{error:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_cursor_that_never_moves_is_a_fault() {
        let backend = Backend::of("same-cursor", json!({})).await;
        let page = backend.list().await.unwrap();
        assert_eq!(page.next, Some(Cursor("here".into())));
        assert_eq!(kind(backend.storage.list(&path(""), page.next.as_ref()).await), ErrorKind::Internal);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_name_leads_anywhere_else() {
        for name in ["..", ".", "a/b", "/etc/passwd", "../../etc/passwd", "/"] {
            let shown = Backend::of("named", json!({"target": name})).await.found().await.unwrap();
            assert!(path("").child(&shown).is_ok(), "{name} is shown as {shown}");
        }
        for attack in ["nul", "nameless"] {
            let shown = Backend::of(attack, json!({})).await.found().await.unwrap();
            assert!(path("").child(&shown).is_ok(), "{attack} is shown as {shown}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_name_that_no_path_can_hold_is_a_fault() {
        let named = Backend::of("named", json!({"target": "n".repeat(5_000)})).await;
        assert_eq!(kind(named.list().await), ErrorKind::Internal);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_page_of_20_000_entries_is_a_fault() {
        is_a_fault("many", "10,000 entries").await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_cookie_of_5_kib_is_a_fault() {
        is_a_fault("cookie", "cookie").await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_time_that_is_none_is_a_fault() {
        is_a_fault("nanoseconds", "nanoseconds").await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_look_up_that_finds_another_name_is_a_fault() {
        let backend = Backend::of("another-name", json!({})).await;
        assert_eq!(kind(backend.storage.stat(&path("a")).await), ErrorKind::Internal);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn literal_content_over_64_kib_is_a_fault() {
        read_is_a_fault("literal").await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_plan_that_covers_nothing_is_a_fault() {
        read_is_a_fault("uncovered").await;
    }

    async fn read_is_a_fault(attack: &str) {
        let backend = Backend::of(attack, json!({})).await;
        let entry = backend.storage.stat(&path("a")).await.unwrap().unwrap();
        let read = match backend.storage.read(&Node::of(path("a"), &entry), Span::new(0, 1)).await {
            Ok(body) => collect(body, 100).await,
            Err(error) => Err(error),
        };
        assert_eq!(kind(read), ErrorKind::Internal);
    }
}

mod writes {
    use super::*;

    async fn fails_as(attack: &str, expected: ErrorKind) -> Server {
        let (server, backend) = at_server(attack).await;
        let error = backend.write(&[7; 200_000]).await.unwrap_err();
        assert_eq!(error.kind, expected, "{attack}: {error:?}");
        server
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_component_that_behaves_can_write() {
        let (server, backend) = at_server("").await;
        backend.write(&[7; 200_000]).await.unwrap();
        assert_eq!(server.seen().len(), 2);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_session_of_100_kib_is_a_fault() {
        fails_as("session", ErrorKind::Internal).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_receipt_of_2_kib_is_a_fault() {
        fails_as("receipt", ErrorKind::Internal).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn parts_of_no_bytes_are_a_fault() {
        let server = fails_as("nothing-at-a-time", ErrorKind::Internal).await;
        assert!(server.seen().is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn more_than_100_000_parts_are_a_fault() {
        let server = fails_as("a-byte-at-a-time", ErrorKind::Internal).await;
        assert!(server.seen().is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_digest_of_more_than_the_content_is_a_fault() {
        fails_as("digest", ErrorKind::Internal).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_write_that_is_begun_anew_for_ever_is_given_up() {
        fails_as("restart", ErrorKind::Unavailable(None)).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_part_that_is_asked_for_again_for_ever_is_given_up() {
        let server = fails_as("again", ErrorKind::Unavailable(None)).await;
        assert!(server.seen().len() < 1_000, "{} requests", server.seen().len());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_of_another_size_is_not_believed() {
        fails_as("another-size", ErrorKind::Corrupt).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_secret_beside_content_is_refused() {
        let server = fails_as("beside-content", ErrorKind::Denied).await;
        assert!(server.seen().is_empty());
    }
}

mod floods {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_65th_request_of_a_call_is_refused() {
        let (server, backend) = at_server("requests").await;
        let error = backend.list().await.unwrap_err();
        assert!(error.message.starts_with("after 64: "), "{error:?}");
        assert_eq!(server.seen().len(), 64);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn more_than_32_requests_side_by_side_cost_the_call() {
        let (server, backend) = at_server("side-by-side").await;
        assert_eq!(kind(backend.list().await), ErrorKind::Internal);
        assert!(server.seen().is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_flood_of_words_is_cut() {
        let lines = support::logged(async {
            let backend = Backend::of("log", json!({})).await;
            // A call that used up its time writing has been ended; either will do.
            let _ = backend.found().await;
        })
        .await;
        let of_component: Vec<_> = lines.iter().filter(|line| line.contains("xxxx")).collect();
        assert_eq!(of_component.len(), 64);
        assert!(of_component.iter().all(|line| line.len() < 1_500));
    }
}

mod secrets {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn where_it_is_declared_it_arrives() {
        let (server, backend) = at_server("right").await;
        assert_eq!(backend.found().await.unwrap(), "200");
        assert!(server.seen()[0].contains(&format!("Bearer {SECRET}\r\n")), "{:?}", server.seen());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn in_an_undeclared_header_it_is_refused() {
        sends_nothing("header").await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn in_an_undeclared_wrap_it_is_refused() {
        sends_nothing("wrapped").await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn in_a_path_it_is_refused() {
        sends_nothing("path").await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn in_a_query_it_is_refused() {
        sends_nothing("query").await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn in_a_body_it_is_refused() {
        sends_nothing("body").await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn in_a_host_name_it_is_refused() {
        let error = Backend::of("host", json!({})).await.list().await.unwrap_err();
        assert!(matches!(error.kind, ErrorKind::Denied | ErrorKind::Invalid), "{error:?}");
        assert!(!format!("{error:?}").contains(SECRET), "{error:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn with_another_number_of_steps_it_signs_nothing() {
        let error = Backend::of("steps", json!({})).await.list().await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Denied, "{error:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn it_is_nowhere_in_the_memory_of_who_uses_it() {
        // The component knows what to look for with its lowest bits turned, so that looking does not put it there.
        let inverted: String = SECRET.bytes().map(|byte| char::from(byte ^ 1)).collect();
        let server = Server::obliging().await;
        let backend = Backend::of("memory", json!({"endpoint": server.url(), "inverted": inverted})).await;
        assert_eq!(backend.found().await.unwrap(), "0 true");
        assert!(server.seen()[0].contains(SECRET));
    }
}

mod egress {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn an_undeclared_origin_is_refused() {
        let (declared, other) = (Server::obliging().await, Server::obliging().await);
        let settings = json!({"endpoint": declared.url(), "target": other.url()});
        let error = Backend::of("elsewhere", settings).await.list().await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Denied, "{error:?}");
        assert!(other.seen().is_empty() && declared.seen().is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn metadata_addresses_are_never_reached_even_if_all_is_allowed() {
        let policy = Policy { allow_private: vec!["0.0.0.0/0".parse().unwrap()], ..Policy::default() };
        let house = House::with(policy, Grants::new());
        let provider = provider(&house).await;
        for endpoint in ["http://169.254.169.254", "http://[::ffff:169.254.169.254]", "http://2852039166"] {
            let storage = match open(&provider, settings("right", json!({"endpoint": endpoint}))).await {
                Ok(storage) => storage,
                Err(OpenError::Settings(problems)) => {
                    assert_eq!(problems[0].option, "endpoint");
                    continue;
                }
                Err(OpenError::Failed(error)) => panic!("{error:?}"),
            };
            let error = storage.list(&path(""), None).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Denied, "{endpoint}: {error:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_runtimes_own_listeners_are_never_reached() {
        let own = Server::obliging().await;
        let house = House::with(Policy { closed: vec![own.address], ..Policy::default() }, Grants::new());
        let storage = open(&*provider(&house).await, settings("right", json!({"endpoint": own.url()}))).await.unwrap();
        assert_eq!(kind(storage.list(&path(""), None).await), ErrorKind::Denied);
        assert!(own.seen().is_empty());
    }

    async fn redirecting(to: &Server) -> Server {
        let location = format!("Location: {}/landed\r\n", to.url());
        Server::start(move |_| {
            let answer = answer(307, &location);
            async { answer }
        })
        .await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_redirect_to_an_undeclared_host_is_not_followed() {
        let other = Server::obliging().await;
        let server = redirecting(&other).await;
        let backend = Backend::of("redirect", json!({"endpoint": server.url()})).await;
        assert_eq!(kind(backend.list().await), ErrorKind::Denied);
        assert!(other.seen().is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_redirect_to_another_declared_host_carries_no_secret() {
        let other = Server::obliging().await;
        let server = redirecting(&other).await;
        let backend = Backend::of("redirect", json!({"endpoint": server.url(), "other": other.url()})).await;
        assert_eq!(backend.found().await.unwrap(), "200");
        assert!(server.seen()[0].contains(SECRET));
        assert!(!other.seen()[0].contains(SECRET) && !other.seen()[0].to_lowercase().contains("authorization"));
    }
}
