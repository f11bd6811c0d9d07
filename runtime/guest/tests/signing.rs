//! Signing in, by OAuth and by sessions: once for all who ask, again when it is lost, and never in a loop. The provider is a
//! component of `tests/hostile`, the server a script that counts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use causeway_guest::{Grants, GuestProvider};
use causeway_http::Policy;
use causeway_storage::{
    Act, ConsentRequest, Error, ErrorKind, MemorySource, Node, OpenError, Opening, Provider, Remotes, Result, Secret,
    Settings, SignIn, Span, Storage, WriteIntent, WriteLogNone, collect,
};
use serde_json::{Value as Json, json};
use support::server::Server;
use support::{House, Memory, hostile, kind, open, path};

const PASSWORD: &str = "the-password-4711";

/// What the server has in mind.
#[derive(Default)]
struct Mind {
    /// Tokens that are taken.
    valid: BTreeSet<String>,
    /// The refresh token that is taken; it changes with each use.
    refresh: String,
    /// How many tokens were given.
    given: usize,
    /// What `/login` and `/token` say instead of giving a token, while there is something.
    refuses: Option<(u16, &'static str)>,
    /// The code that `/login` asks for.
    code: Option<&'static str>,
    /// Headers of what `/login` and `/token` answer.
    headers: &'static str,
    /// Seconds that a token of OAuth lives.
    lives: u64,
    /// Paths that refuse whatever token once.
    stumbles: BTreeSet<&'static str>,
    /// What a refresh token must be stored as before the access token that came with it is used.
    keeper: Option<Arc<Memory>>,
    /// What was used before it was stored.
    unstored: usize,
}

#[derive(Clone)]
struct Stage {
    server: Arc<Server>,
    mind: Arc<Mutex<Mind>>,
}

impl Stage {
    async fn new() -> Stage {
        let mind = Arc::new(Mutex::new(Mind { refresh: "refresh-0".into(), lives: 3600, ..Mind::default() }));
        let inside = mind.clone();
        let server = Server::start(move |request| {
            let mind = inside.clone();
            async move { answer(&mut mind.lock().unwrap(), &request) }
        });
        Stage { server: Arc::new(server.await), mind }
    }

    /// How often a path was asked for.
    fn asked(&self, path: &str) -> usize {
        self.server.seen().iter().filter(|request| target(request) == path).count()
    }

    fn mind(&self) -> std::sync::MutexGuard<'_, Mind> {
        self.mind.lock().unwrap()
    }

    /// All tokens that were given are refused from now on.
    fn lose(&self) {
        self.mind().valid.clear();
    }

    fn settings(&self, way: &str, more: Json) -> Json {
        let mut settings = json!({"way": way, "endpoint": self.server.url(), "pass": PASSWORD});
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        settings
    }

    fn oauth(&self, way: &str) -> Json {
        self.settings(way, json!({"client_id": "client", "client_secret": "client-secret"}))
    }
}

fn target(request: &str) -> &str {
    request.split(' ').nth(1).unwrap()
}

fn answer(mind: &mut Mind, request: &str) -> String {
    let said = |status: u16, headers: &str, body: &str| {
        format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len())
    };
    let body = request.split_once("\r\n\r\n").unwrap().1;
    let field = |name: &str| body.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
    match target(request) {
        "/login" if field("pass") != Some(PASSWORD) => said(401, "", ""),
        "/login" if mind.code.is_some() && field("code") != mind.code => {
            // A wrong answer is refused; none asks.
            said(if field("code") == Some("") { 202 } else { 401 }, "", "")
        }
        "/login" | "/token" => {
            if let Some((status, body)) = mind.refuses {
                return said(status, "", body);
            }
            if field("grant_type") == Some("refresh_token") && field("refresh_token") != Some(&mind.refresh) {
                return said(400, "", r#"{"error":"invalid_grant"}"#);
            }
            mind.given += 1;
            let token = format!("token-{}", mind.given);
            mind.refresh = format!("refresh-{}", mind.given);
            mind.valid.insert(token.clone());
            let tokens = match target(request) {
                "/login" => json!({"token": token, "room": "room-secret"}),
                _ => json!({"access_token": token, "refresh_token": mind.refresh, "expires_in": mind.lives}),
            };
            said(200, mind.headers, &tokens.to_string())
        }
        "/device" => said(
            200,
            "",
            r#"{"device_code":"dc","user_code":"ABCD","verification_uri":"https://where.example/","expires_in":60,"interval":1}"#,
        ),
        path => {
            let token = request.lines().find_map(|line| line.strip_prefix("Authorization: Bearer "));
            let newest = token == Some(&format!("token-{}", mind.given));
            let stored = |keeper: &Arc<Memory>| String::from_utf8_lossy(&keeper.all()).contains(&mind.refresh);
            if newest && mind.keeper.as_ref().is_some_and(|keeper| !stored(keeper)) {
                mind.unstored += 1;
            }
            if !token.is_some_and(|token| mind.valid.contains(token)) || mind.stumbles.remove(path) {
                return said(401, "", "");
            }
            match path {
                "/me" => said(200, "", "ada"),
                "/content" if request.contains("ange: bytes=") => {
                    said(206, "Content-Range: bytes 0-11/12\r\n", "twelve bytes")
                }
                "/content" => said(200, "", "twelve bytes"),
                _ => said(200, "", "listed"),
            }
        }
    }
}

async fn provider(house: &House) -> Arc<GuestProvider> {
    house.catalog.open(&hostile("session")).await.unwrap()
}

fn grants() -> Grants {
    Grants::from([("signed-in".to_owned(), BTreeSet::from(["assigned-hosts".to_owned()]))])
}

fn house() -> House {
    House::with(Policy::default(), grants())
}

/// Another process on the same registry.
fn beside(house: &House) -> House {
    House::on(house.keeper.clone(), Policy::default(), grants())
}

async fn storage(house: &House, settings: &Json) -> Arc<dyn Storage> {
    open(&*provider(house).await, settings.clone()).await.unwrap()
}

async fn list(storage: &Arc<dyn Storage>) -> Result<String> {
    storage.list(&path(""), None).await.map(|mut page| page.entries.remove(0).name)
}

/// Many calls at once.
async fn crowd(storages: &[&Arc<dyn Storage>]) -> Vec<Result<String>> {
    let calls = (0..24).map(|n| {
        let storage = storages[n % storages.len()].clone();
        tokio::spawn(async move { list(&storage).await })
    });
    let calls: Vec<_> = calls.collect();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap());
    }
    answers
}

struct NoRemotes;

#[async_trait::async_trait]
impl Remotes for NoRemotes {
    async fn resolve(&self, remote: &str) -> Result<Arc<dyn Storage>> {
        Err(Error::not_found(remote))
    }
}

fn opening(provider: &GuestProvider, settings: &Json) -> Opening {
    let settings = Settings::parse(&provider.descriptor().options, settings.as_object().unwrap()).unwrap();
    let (tenant, backend) = ("acme".to_owned(), "0123456789abcdef".to_owned());
    Opening { tenant, backend, settings, remotes: Arc::new(NoRemotes) }
}

async fn act(house: &House, settings: &Json, act: Act) -> Result<SignIn, OpenError> {
    let provider = provider(house).await;
    provider.sign_in(opening(&provider, settings), act).await
}

fn failed(result: Result<SignIn, OpenError>) -> Error {
    match result {
        Err(OpenError::Failed(error)) => error,
        other => panic!("{other:?}"),
    }
}

mod session {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn one_sign_in_serves_all_who_ask_in_two_processes() {
        let stage = Stage::new().await;
        let settings = stage.settings("session", json!({}));
        let house = house();
        let (here, there) = (storage(&house, &settings).await, storage(&beside(&house), &settings).await);
        for answer in crowd(&[&here, &there]).await {
            assert_eq!(answer.unwrap(), "listed");
        }
        assert_eq!(stage.asked("/login"), 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_lost_session_is_renewed_once_and_every_call_repeated() {
        let stage = Stage::new().await;
        let settings = stage.settings("session", json!({}));
        let house = house();
        let (here, there) = (storage(&house, &settings).await, storage(&beside(&house), &settings).await);
        list(&here).await.unwrap();
        list(&there).await.unwrap();
        stage.lose();
        for answer in crowd(&[&here, &there]).await {
            assert_eq!(answer.unwrap(), "listed");
        }
        assert_eq!(stage.asked("/login"), 2);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_always_refuses_is_not_signed_in_to_for_ever() {
        let stage = Stage::new().await;
        let storage = storage(&house(), &stage.settings("session", json!({}))).await;
        list(&storage).await.unwrap();
        for _ in 0..5 {
            stage.lose();
            stage.mind().stumbles.insert("/list");
            assert_eq!(kind(list(&storage).await), ErrorKind::Unauthenticated);
            stage.lose();
            for answer in crowd(&[&storage]).await {
                assert_eq!(kind(answer), ErrorKind::Unauthenticated);
            }
        }
        assert_eq!(stage.asked("/login"), 2, "the first, and one renewal");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_refused_password_is_not_tried_again_at_once() {
        let stage = Stage::new().await;
        let storage = storage(&house(), &stage.settings("session", json!({"pass": "wrong"}))).await;
        for answer in crowd(&[&storage]).await {
            assert_eq!(kind(answer), ErrorKind::Unauthenticated);
        }
        assert_eq!((stage.asked("/login"), stage.asked("/list")), (1, 0));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_question_waits_for_its_answer_and_nothing_else_is_tried() {
        let stage = Stage::new().await;
        stage.mind().code = Some("123");
        let (house, settings) = (house(), stage.settings("session", json!({})));
        let storage = storage(&house, &settings).await;
        for answer in crowd(&[&storage]).await {
            let error = answer.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Unauthenticated);
            assert!(error.message.contains("Which code?"), "{error:?}");
        }
        assert_eq!(stage.asked("/login"), 1);
        let question = SignIn::Question { prompt: "Which code?".into(), typed: true };
        assert_eq!(act(&house, &settings, Act::Look).await.unwrap(), question);
        assert_eq!(act(&house, &settings, Act::Try).await.unwrap(), question);
        assert_eq!(stage.asked("/login"), 1, "looking signs nobody in");
        let answered = act(&beside(&house), &settings, Act::Answer(Some(Secret::new("123")))).await;
        assert_eq!(answered.unwrap(), SignIn::Ready);
        assert_eq!(list(&storage).await.unwrap(), "listed", "what another process was answered counts here");
        assert_eq!(stage.asked("/login"), 2);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_wrong_answer_is_told() {
        let stage = Stage::new().await;
        stage.mind().code = Some("123");
        let (house, settings) = (house(), stage.settings("session", json!({})));
        assert!(matches!(act(&house, &settings, Act::Try).await, Ok(SignIn::Question { .. })));
        let wrong = act(&house, &settings, Act::Answer(Some(Secret::new("321")))).await;
        assert_eq!(failed(wrong).kind, ErrorKind::Unauthenticated);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_session_outlives_the_process_with_all_its_slots() {
        let stage = Stage::new().await;
        let (first, settings) = (house(), stage.settings("session", json!({})));
        list(&storage(&first, &settings).await).await.unwrap();
        let again = storage(&beside(&first), &settings).await;
        assert_eq!(list(&again).await.unwrap(), "listed");
        let rooms = again.list(&path("rooms"), None).await.unwrap();
        assert_eq!(rooms.entries[0].name, "room true", "a slot that a star stands for is found again");
        assert_eq!(stage.asked("/login"), 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn another_password_has_nothing_of_the_session_before() {
        let stage = Stage::new().await;
        let house = house();
        list(&storage(&house, &stage.settings("session", json!({}))).await).await.unwrap();
        let wrong = storage(&house, &stage.settings("session", json!({"pass": "wrong"}))).await;
        assert_eq!(kind(list(&wrong).await), ErrorKind::Unauthenticated);
        assert_eq!(stage.asked("/list"), 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_slot_that_ends_soon_is_renewed_before_and_one_that_is_always_short_makes_no_loop() {
        let stage = Stage::new().await;
        stage.mind().headers = "X-Lives: 30000\r\n";
        let storage = storage(&house(), &stage.settings("session", json!({}))).await;
        for _ in 0..5 {
            assert_eq!(list(&storage).await.unwrap(), "listed");
        }
        assert_eq!(stage.asked("/login"), 1, "30 s are less than the 60 s asked for, but it has just signed in");
        stage.mind().headers = "X-Lives: 0\r\n";
        stage.lose();
        list(&storage).await.unwrap_err();
        assert!(stage.asked("/login") <= 2);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn hosts_are_assigned_while_signing_in_and_at_no_other_time() {
        let stage = Stage::new().await;
        stage.mind().headers = "X-Host: https://assigned.example.com/files\r\n";
        let house = house();
        let storage = storage(&house, &stage.settings("session", json!({}))).await;
        list(&storage).await.unwrap();
        assert!(String::from_utf8_lossy(&house.keeper.all()).contains("https://assigned.example.com"), "remembered");
        assert_eq!(kind(storage.list(&path("assign"), None).await), ErrorKind::Denied);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn leaving_tells_the_provider_and_only_where_there_is_a_session() {
        let stage = Stage::new().await;
        let (house, settings) = (house(), stage.settings("session", json!({})));
        act(&house, &settings, Act::Leave).await.unwrap();
        assert_eq!(stage.asked("/logout"), 0);
        list(&storage(&house, &settings).await).await.unwrap();
        act(&house, &settings, Act::Leave).await.unwrap();
        assert_eq!((stage.asked("/logout"), stage.asked("/login")), (1, 1));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn cookies_come_back_to_the_next_sign_in_and_the_component_does_not_see_them() {
        let stage = Stage::new().await;
        stage.mind().headers = "Set-Cookie: trust=this-device; Path=/\r\n";
        let storage = storage(&house(), &stage.settings("session", json!({}))).await;
        list(&storage).await.unwrap();
        stage.lose();
        list(&storage).await.unwrap();
        let logins: Vec<_> = stage.server.seen().into_iter().filter(|request| target(request) == "/login").collect();
        assert!(!logins[0].contains("trust=") && logins[1].contains("trust=this-device"), "{logins:?}");
    }
}

mod transfers {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn an_upload_goes_on_where_the_token_was_refused() {
        let stage = Stage::new().await;
        let storage = storage(&house(), &stage.settings("session", json!({}))).await;
        stage.mind().stumbles.insert("/part/1");
        let intent = WriteIntent { path: path("a"), existing: None, modified: None, media_type: "text/plain".into() };
        let content = Arc::new(MemorySource(Bytes::from_static(b"twelve bytes")));
        storage.write(&intent, content, Arc::new(WriteLogNone)).await.unwrap();
        let asked = ["/begin", "/part/0", "/part/1", "/part/2", "/finish", "/login"].map(|path| stage.asked(path));
        assert_eq!(asked, [1, 1, 2, 1, 1, 2]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn beginning_and_finishing_are_repeated_once() {
        for path_refused in ["/begin", "/finish"] {
            let stage = Stage::new().await;
            let storage = storage(&house(), &stage.settings("session", json!({}))).await;
            stage.mind().stumbles.insert(path_refused);
            let intent =
                WriteIntent { path: path("a"), existing: None, modified: None, media_type: "text/plain".into() };
            let content = Arc::new(MemorySource(Bytes::from_static(b"twelve bytes")));
            storage.write(&intent, content, Arc::new(WriteLogNone)).await.unwrap();
            assert_eq!((stage.asked(path_refused), stage.asked("/login")), (2, 2), "{path_refused}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_read_goes_on_with_a_new_token() {
        let stage = Stage::new().await;
        let storage = storage(&house(), &stage.settings("session", json!({}))).await;
        let entry = storage.stat(&path("a")).await.unwrap().unwrap();
        stage.lose();
        let body = storage.read(&Node::of(path("a"), &entry), Span::new(0, 12)).await.unwrap();
        assert_eq!(collect(body, 64).await.unwrap(), "twelve bytes");
        assert_eq!((stage.asked("/content"), stage.asked("/login")), (2, 2));
    }
}

mod oauth {
    use super::*;

    const BACK: &str = "https://files.example.com/api/v1/oauth/callback";

    fn code(issuer: &str) -> Act {
        Act::Code {
            code: Secret::new("the-code"),
            parameters: vec![("hostname".into(), "eu.example.com".into()), ("user".into(), "mallory".into())],
            redirect_uri: BACK.into(),
            verifier: Secret::new("the-verifier"),
            issuer: issuer.into(),
        }
    }

    async fn issuer(house: &House, settings: &Json) -> String {
        match act(house, settings, Act::Look).await.unwrap() {
            SignIn::Consent { issuer, .. } => issuer,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_consent_is_asked_for_exchanged_and_serves_who_waited() {
        let stage = Stage::new().await;
        let (house, settings) = (house(), stage.oauth("consent"));
        let waiting = storage(&house, &settings).await;
        assert_eq!(kind(list(&waiting).await), ErrorKind::Unauthenticated);
        let issuer = issuer(&house, &settings).await;
        assert_eq!(stage.server.seen().len(), 0, "nothing is asked before there is a consent");
        let provider = provider(&house).await;
        let (state, verifier) = ("the-state".to_owned(), Secret::new("the-verifier"));
        let request = ConsentRequest { redirect_uri: BACK.into(), state, verifier };
        let url = provider.consent_url(opening(&provider, &settings), request).await.unwrap();
        let challenge = |url: &str| url.split("code_challenge=").nth(1).unwrap().split('&').next().unwrap().len();
        assert_eq!(challenge(&url), 43);
        let before = "/authorize?response_type=code&client_id=client&redirect_uri=https%3A%2F%2Ffiles.example.com%2Fapi%2Fv1%2F\
            oauth%2Fcallback&state=the-state&scope=files%20offline&code_challenge=";
        assert!(url.starts_with(&(stage.server.url() + before)), "{url}");
        assert!(url.ends_with("&code_challenge_method=S256&prompt=consent"), "{url}");
        let SignIn::ReadyWith(changed) = act(&house, &settings, code(&issuer)).await.unwrap() else {
            panic!("what came back is a setting")
        };
        assert_eq!(changed.text("host"), Some("eu.example.com"));
        assert_eq!(changed.text("user"), None, "only what the provider says is one");
        let request = stage.server.seen().remove(0);
        for part in
            ["grant_type=authorization_code", "code=the-code", "code_verifier=the-verifier", "uri=https%3A%2F%2Ffiles"]
        {
            assert!(request.contains(part), "{part}: {request}");
        }
        assert!(request.contains("Authorization: Basic Y2xpZW50OmNsaWVudC1zZWNyZXQ="), "{request}");
        assert_eq!(list(&waiting).await.unwrap(), "listed");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_code_for_another_issuer_is_not_sent_anywhere() {
        let stage = Stage::new().await;
        let (house, settings) = (house(), stage.oauth("consent"));
        let theirs = issuer(&house, &settings).await;
        let mut moved = settings.clone();
        moved["token_url"] = json!("http://127.0.0.1:1/token");
        assert_eq!(failed(act(&house, &moved, code(&theirs)).await).kind, ErrorKind::PreconditionFailed);
        assert_eq!(stage.server.seen().len(), 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_brought_token_is_renewed_once_before_it_is_used_and_stored_before_that() {
        let stage = Stage::new().await;
        let house = house();
        stage.mind().keeper = Some(house.keeper.clone());
        let mut settings = stage.oauth("consent");
        settings["token"] =
            json!(r#"{"access_token":"old","refresh_token":"refresh-0","expiry":"2020-01-01T00:00:00Z"}"#);
        let (here, there) = (storage(&house, &settings).await, storage(&beside(&house), &settings).await);
        for answer in crowd(&[&here, &there]).await {
            assert_eq!(answer.unwrap(), "listed");
        }
        assert_eq!(stage.asked("/token"), 1);
        // A token that ends before its time.
        stage.lose();
        for answer in crowd(&[&here, &there]).await {
            assert_eq!(answer.unwrap(), "listed");
        }
        assert_eq!((stage.asked("/token"), stage.mind().unstored), (2, 0));
        // And after a restart with what was stored, not with what was brought along.
        let again = storage(&beside(&house), &settings).await;
        assert_eq!(list(&again).await.unwrap(), "listed");
        assert_eq!(stage.asked("/token"), 2);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_ended_grant_waits_for_a_new_consent_without_asking_again() {
        let stage = Stage::new().await;
        let (house, mut settings) = (house(), stage.oauth("consent"));
        settings["token"] = json!(r#"{"access_token":"old","refresh_token":"revoked","expires_in":3600}"#);
        let storage = storage(&house, &settings).await;
        for answer in crowd(&[&storage]).await {
            assert_eq!(kind(answer), ErrorKind::Unauthenticated);
        }
        assert_eq!(kind(list(&super::storage(&beside(&house), &settings).await).await), ErrorKind::Unauthenticated);
        assert_eq!(stage.asked("/token"), 1);
        let SignIn::Consent { reason, issuer } = act(&house, &settings, Act::Look).await.unwrap() else { panic!() };
        assert!(reason.contains("invalid_grant"), "{reason}");
        act(&house, &settings, code(&issuer)).await.unwrap();
        assert_eq!(list(&storage).await.unwrap(), "listed");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_that_is_down_ends_no_grant() {
        let stage = Stage::new().await;
        let (house, mut settings) = (house(), stage.oauth("consent"));
        settings["token"] =
            json!(r#"{"access_token":"old","refresh_token":"refresh-0","expiry":"2020-01-01T00:00:00Z"}"#);
        stage.mind().refuses = Some((503, "{}"));
        let probe = act(&house, &settings, Act::Try).await;
        assert!(matches!(failed(probe).kind, ErrorKind::Unavailable(_)));
        stage.mind().refuses = None;
        assert_eq!(act(&house, &settings, Act::Try).await.unwrap(), SignIn::Ready);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn clients_and_passwords_take_no_person() {
        for (way, grant) in [("client", "client_credentials"), ("password", "password")] {
            let stage = Stage::new().await;
            let mut settings = stage.oauth(way);
            settings["user"] = json!("ada");
            let storage = storage(&house(), &settings).await;
            assert_eq!(list(&storage).await.unwrap(), "listed");
            let request = stage.server.seen().remove(0);
            assert!(request.contains(&format!("grant_type={grant}&")), "{request}");
            assert_eq!(request.contains(PASSWORD), way == "password");
            stage.mind().refresh = "revoked".into();
            stage.lose();
            assert_eq!(list(&storage).await.unwrap(), "listed", "a lost refresh token is no loss");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_device_shows_its_code_until_it_was_typed() {
        let stage = Stage::new().await;
        let (house, settings) = (house(), stage.oauth("device"));
        stage.mind().refuses = Some((400, r#"{"error":"authorization_pending"}"#));
        let shown = act(&house, &settings, Act::Try).await.unwrap();
        assert!(
            matches!(&shown, SignIn::Device { url, code, .. } if url == "https://where.example/" && code == "ABCD")
        );
        assert!(matches!(act(&house, &settings, Act::Look).await.unwrap(), SignIn::Device { .. }));
        assert_eq!((stage.asked("/device"), stage.asked("/token")), (1, 0), "neither asked anew nor too early");
        stage.mind().refuses = None;
        // The interval of a second passes.
        let mut standing = act(&house, &settings, Act::Look).await.unwrap();
        for _ in 0..200 {
            if standing == SignIn::Ready {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
            standing = act(&house, &settings, Act::Look).await.unwrap();
        }
        assert_eq!((standing, stage.asked("/token")), (SignIn::Ready, 1));
        assert_eq!(list(&storage(&house, &settings).await).await.unwrap(), "listed");
    }

    async fn problem(settings: Json) -> (String, String) {
        match open(&*provider(&house()).await, settings).await {
            Err(OpenError::Settings(mut problems)) => {
                let problem = problems.remove(0);
                (problem.option, problem.message)
            }
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn without_a_client_both_ways_to_have_one_are_named() {
        let stage = Stage::new().await;
        let (option, message) = problem(stage.settings("consent", json!({}))).await;
        assert_eq!(option, "client_id");
        assert!(message.contains("of your own") && message.contains("[oauth.signed-in]"), "{message}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_operators_client_goes_to_the_providers_addresses_alone() {
        let stage = Stage::new().await;
        let house = house();
        let client = causeway_guest::OauthClient { id: "operators".into(), secret: Some(Secret::new("hush")) };
        let clients = [("signed-in".to_owned(), client)].into();
        let catalog = House::on(house.keeper.clone(), Policy::default(), grants()).catalog.with_oauth_clients(clients);
        let provider = catalog.open(&hostile("session")).await.unwrap();
        let elsewhere = stage.settings("client", json!({"token_url": "https://evil.example.com/token"}));
        assert!(
            matches!(open(&provider, elsewhere).await, Err(OpenError::Settings(problems)) if problems[0].option == "token_url")
        );
        let storage = open(&provider, stage.settings("client", json!({}))).await.unwrap();
        assert_eq!(list(&storage).await.unwrap(), "listed");
        assert!(stage.server.seen()[0].contains("Authorization: Basic b3BlcmF0b3JzOmh1c2g="));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nothing_of_a_sign_in_is_logged_or_told() {
        let stage = Stage::new().await;
        let mut settings = stage.oauth("consent");
        settings["token"] = json!(r#"{"access_token":"old-access","refresh_token":"refresh-0","expires_in":1}"#);
        let lines = support::logged(async {
            let storage = storage(&house(), &settings).await;
            list(&storage).await.unwrap();
            stage.mind().refuses =
                Some((400, r#"{"error":"invalid_grant","error_description":"refresh-1 is revoked"}"#));
            stage.lose();
            let error = list(&storage).await.unwrap_err();
            assert!(!format!("{error:?}").contains("refresh-1"), "{error:?}");
        })
        .await;
        for secret in ["old-access", "refresh-0", "refresh-1", "token-1", "client-secret"] {
            assert!(!lines.iter().any(|line| line.contains(secret)), "{secret}");
        }
    }
}
