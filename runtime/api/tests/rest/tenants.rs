//! Whose it is.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::stage::Stage;

/// Every request that names something, with an id for each kind.
fn requests(backend: &str, mount: &str) -> Vec<(&'static str, String, Option<Value>)> {
    vec![
        ("GET", format!("/api/v1/backends/{backend}"), None),
        ("GET", format!("/api/v1/backends/{backend}/test"), None),
        ("PUT", format!("/api/v1/backends/{backend}"), Some(json!({"pass": "good"}))),
        ("PUT", format!("/api/v1/backends/{backend}"), Some(json!({"host": 1}))),
        ("POST", format!("/api/v1/backends/{backend}/authorize"), Some(json!({"state": "s", "code": "c"}))),
        ("POST", format!("/api/v1/backends/{backend}/authorize"), Some(json!({}))),
        ("DELETE", format!("/api/v1/backends/{backend}"), None),
        ("DELETE", format!("/api/v1/backends/{backend}?discard_pending=true"), None),
        ("GET", format!("/api/v1/backends/{backend}/events"), None),
        ("GET", format!("/api/v1/backends/{backend}/pending"), None),
        ("GET", format!("/api/v1/backends/{backend}/pending?limit=0"), None),
        ("POST", format!("/api/v1/backends/{backend}/pending/retry"), None),
        ("POST", format!("/api/v1/backends/{backend}/pending/1/retry"), None),
        ("DELETE", format!("/api/v1/backends/{backend}/pending/1"), None),
        ("POST", "/api/v1/mounts".into(), Some(json!({"backend_id": backend, "mount_path": "mine"}))),
        ("GET", format!("/api/v1/mounts/{mount}"), None),
        ("PATCH", format!("/api/v1/mounts/{mount}"), Some(json!({"vfs_config": {"cache_mode": "off"}}))),
        ("PATCH", format!("/api/v1/mounts/{mount}"), Some(json!({"vfs_config": 1}))),
        ("GET", format!("/api/v1/mounts/{mount}/pins"), None),
        ("PUT", format!("/api/v1/mounts/{mount}/pins"), Some(json!({"paths": ["a"]}))),
        ("PUT", format!("/api/v1/mounts/{mount}/pins"), Some(json!({"paths": 1}))),
        ("DELETE", format!("/api/v1/mounts/{mount}"), None),
        ("DELETE", format!("/api/v1/mounts/{mount}?force=true"), None),
    ]
}

#[test]
fn no_path_that_names_something_is_forgotten() {
    let document: Value = serde_json::from_str(&causeway_api::document().unwrap()).unwrap();
    let mut named: Vec<(String, String)> = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let methods = methods.as_object().unwrap().keys().map(|method| method.to_uppercase());
        named.extend(methods.filter(|_| path.contains("{id}")).map(|method| (method, path.clone())));
    }
    // It names a provider, which is nobody's.
    named.retain(|(method, path)| (method.as_str(), path.as_str()) != ("POST", "/api/v1/backends/{id}"));
    assert!(named.len() >= 7, "{named:?}");
    for (method, path) in named {
        let path = path.replace("{number}", "1");
        let tested = requests("{id}", "{id}");
        assert!(tested.iter().any(|(asked, tested, _)| *asked == method && *tested == path), "{method} {path}");
    }
}

#[tokio::test]
async fn another_tenants_ids_answer_byte_for_byte_as_missing_ones() {
    let stage = Stage::new().await;
    let backend = stage.vault("good").await;
    let mount = stage.post("/api/v1/mounts", json!({"backend_id": backend, "label": "Photos"})).await.id();
    let before = [stage.get("/api/v1/backends").await, stage.get("/api/v1/mounts").await];
    let missing_mount = "mount_550e8400e29b41d4a716446655440000";
    let theirs = requests(&backend, &mount);
    let missing = requests("0123456789abcdef", missing_mount);
    for ((method, theirs, body), (_, missing, _)) in theirs.into_iter().zip(missing) {
        let named = stage.ask_as(&stage.other_token, method, &theirs, body.clone()).await;
        let absent = stage.ask_as(&stage.other_token, method, &missing, body).await;
        assert_eq!(named.status, absent.status, "{method} {theirs}");
        // An answer repeats the id that was asked for, and nothing else.
        assert_eq!(named.text.replace(&mount, missing_mount), absent.text, "{method} {theirs}");
        assert_eq!(named.status.as_u16(), 404, "{method} {theirs}");
    }
    for path in ["/api/v1/backends", "/api/v1/mounts", "/api/v1/mounts?label=Photos"] {
        assert_eq!(stage.ask_as(&stage.other_token, "GET", path, None).await.json()["count"], 0);
    }
    assert_eq!([stage.get("/api/v1/backends").await, stage.get("/api/v1/mounts").await], before);
}

#[tokio::test]
async fn a_name_is_free_whatever_others_call_theirs() {
    let stage = Stage::new().await;
    stage.post("/api/v1/backends/memory", json!({"name": "scratch"})).await.id();
    stage.ask_as(&stage.other_token, "POST", "/api/v1/backends/memory", Some(json!({"name": "scratch"}))).await.id();
}

#[tokio::test]
async fn remotes_do_not_reach_another_tenants_backends() {
    let stage = Stage::new().await;
    let id = stage.post("/api/v1/backends/memory", json!({"name": "theirs"})).await.id();
    for remote in [format!("{id}:"), "theirs:".into()] {
        let answer =
            stage.ask_as(&stage.other_token, "POST", "/api/v1/backends/alias", Some(json!({"remote": remote}))).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (400, &json!("CONNECTION_FAILED")));
    }
}

#[tokio::test]
async fn nothing_is_said_without_a_token() {
    let stage = Stage::new().await;
    let backend = stage.memory().await;
    let tokens = [None, Some("Bearer"), Some("Bearer "), Some("Bearer wrong"), Some("Basic dXNlcjpwYXNz")];
    let mut answers = Vec::new();
    for (method, path, _) in requests(&backend, "mount_550e8400e29b41d4a716446655440000").into_iter().chain([
        ("GET", "/api/v1/providers".to_owned(), None),
        ("GET", "/api/v1/nothing/here".to_owned(), None),
        ("PATCH", "/api/v1/backends".to_owned(), None),
        ("POST", "/api/v1/backends/floppy".to_owned(), None),
    ]) {
        for token in tokens {
            let request = Request::builder().method(method).uri(&path);
            let request = token
                .map_or(Request::builder().method(method).uri(&path), |token| request.header("authorization", token));
            let answer = stage.send(request.body(Body::empty()).unwrap()).await;
            answer.fails(401, "UNAUTHORIZED", "A valid bearer token is required");
            answers.push(answer);
        }
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
}

#[tokio::test]
async fn a_revoked_token_opens_nothing() {
    let stage = Stage::new().await;
    let operator = stage.registry.operator();
    let tenant = operator.tenant("default").await.unwrap().unwrap();
    assert_eq!(stage.get("/api/v1/backends").await.status.as_u16(), 200);
    let id = operator.tokens(&tenant).await.unwrap()[0].id.clone();
    assert!(operator.revoke_token(&tenant, &id).await.unwrap());
    assert_eq!(stage.get("/api/v1/backends").await.status.as_u16(), 401);
}
