//! `PUT /api/v1/backends/{id}`: the checks, in their order.

use causeway_api::Pending;
use serde_json::{Value, json};

use crate::stage::Stage;

const UPDATED: &str = r#"{"success":true,"message":"Backend credentials updated"}"#;

#[tokio::test]
async fn a_working_credential_of_the_account_replaces_the_old_one() {
    let stage = Stage::new().await;
    let id = stage.vault("good:ada").await;
    assert_eq!(stage.put(&format!("/api/v1/backends/{id}"), json!({"pass": "good-2:ada"})).await.text, UPDATED);
    assert_eq!(stage.doors.seen.lock().unwrap().changed, std::slice::from_ref(&id));
    let tenant = stage.registry.operator().tenant("default").await.unwrap().unwrap();
    let backend =
        stage.registry.backend(&tenant, &causeway_registry::BackendId::parse(&id).unwrap()).await.unwrap().unwrap();
    assert_eq!(backend.settings.secret("pass").unwrap().expose(), b"good-2:ada");
    assert_eq!((backend.generation, backend.credential_generation), (1, 2));
}

#[tokio::test]
async fn a_body_above_its_limit_is_refused_before_it_is_read() {
    let stage = Stage::new().await;
    let id = stage.vault("good").await;
    let large = json!({"host": "wrong too", "pass": "x".repeat(17 << 10)});
    let answer = stage.put(&format!("/api/v1/backends/{id}"), large.clone()).await;
    answer.fails(413, "BODY_TOO_LARGE", "Request body exceeds 16 KB limit");
    stage.put("/api/v1/backends/0123456789abcdef", large).await.fails(404, "BACKEND_NOT_FOUND", "Backend not found");
}

#[tokio::test]
async fn only_credentials_may_change_and_every_wrong_one_is_named() {
    let stage = Stage::new().await;
    let id = stage.vault("good").await;
    stage.post("/api/v1/mounts", json!({"backend_id": id})).await.id();
    let answer = stage.put(&format!("/api/v1/backends/{id}"), json!({"host": "x", "port": 1, "pass": 7})).await;
    answer.fails(400, "INVALID_REQUEST", "Invalid request: only credential fields are allowed");
    assert_eq!(answer.json()["fields"].as_object().unwrap().keys().collect::<Vec<_>>(), ["host", "pass", "port"]);
    let answer = stage.put(&format!("/api/v1/backends/{id}"), json!({"pass": 7})).await;
    answer.fails(400, "INVALID_SETTINGS", "Invalid pass: must be a string or null");
}

#[tokio::test]
async fn what_changes_nothing_succeeds_even_while_mounted() {
    let stage = Stage::new().await;
    let id = stage.vault("good").await;
    stage.post("/api/v1/mounts", json!({"backend_id": id})).await.id();
    assert_eq!(stage.put(&format!("/api/v1/backends/{id}"), json!({"pass": "good"})).await.text, UPDATED);
    assert_eq!(stage.put(&format!("/api/v1/backends/{id}"), json!({})).await.text, UPDATED);
    assert!(stage.doors.seen.lock().unwrap().changed.is_empty());
}

#[tokio::test]
async fn a_mounted_backend_keeps_its_credential_unless_it_shall_change_live() {
    let stage = Stage::new().await;
    let id = stage.vault("good:ada").await;
    stage.post("/api/v1/mounts", json!({"backend_id": id})).await.id();
    let answer = stage.put(&format!("/api/v1/backends/{id}"), json!({"pass": "bad"})).await;
    answer.fails(409, "ACTIVE_MOUNTS", "Backend has active mounts; unmount first");
    assert_eq!(
        stage.put(&format!("/api/v1/backends/{id}?live=true"), json!({"pass": "good-2:ada"})).await.text,
        UPDATED
    );
}

#[tokio::test]
async fn a_refused_credential_changes_nothing() {
    let stage = Stage::new().await;
    let id = stage.vault("good").await;
    for wrong in [json!("bad"), Value::Null] {
        let answer = stage.put(&format!("/api/v1/backends/{id}"), json!({"pass": wrong})).await;
        answer.fails(422, "CREDENTIALS_REJECTED", "Credential validation failed against the remote backend");
    }
    assert_eq!(stage.get(&format!("/api/v1/backends/{id}/test")).await.json()["success"], true);
}

#[tokio::test]
async fn another_account_is_refused() {
    let stage = Stage::new().await;
    let id = stage.vault("good:ada").await;
    let answer = stage.put(&format!("/api/v1/backends/{id}"), json!({"pass": "good:eve"})).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (422, &json!("ANOTHER_ACCOUNT")));
}

#[tokio::test]
async fn an_account_without_an_id_waits_for_its_uploads() {
    let stage = Stage::new().await;
    let id = stage.vault("good").await;
    stage.doors.seen.lock().unwrap().pending = Pending { files: 1, bytes: 1, ..Pending::default() };
    let answer = stage.put(&format!("/api/v1/backends/{id}"), json!({"pass": "good-2"})).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (409, &json!("PENDING_UPLOADS")));
    stage.doors.seen.lock().unwrap().pending = Pending::default();
    assert_eq!(stage.put(&format!("/api/v1/backends/{id}"), json!({"pass": "good-2"})).await.text, UPDATED);
    let tenant = stage.registry.operator().tenant("default").await.unwrap().unwrap();
    let backend =
        stage.registry.backend(&tenant, &causeway_registry::BackendId::parse(&id).unwrap()).await.unwrap().unwrap();
    assert_eq!(backend.generation, 2, "nothing cached before is used");
}

#[tokio::test]
async fn an_account_without_an_id_does_not_change_live() {
    let stage = Stage::new().await;
    let id = stage.vault("good").await;
    stage.post("/api/v1/mounts", json!({"backend_id": id})).await.id();
    let answer = stage.put(&format!("/api/v1/backends/{id}?live=true"), json!({"pass": "good-2"})).await;
    let message = "The provider does not tell whether the new credential is of the same account; unmount first";
    answer.fails(409, "ACTIVE_MOUNTS", message);
}

#[tokio::test]
async fn without_an_account_id_the_refusal_comes_before_the_provider_is_asked() {
    let stage = Stage::new().await;
    let id = stage.vault("good").await;
    stage.post("/api/v1/mounts", json!({"backend_id": id})).await.id();
    let answer = stage.put(&format!("/api/v1/backends/{id}?live=true"), json!({"pass": "bad"})).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (409, &json!("ACTIVE_MOUNTS")));
}

#[tokio::test]
async fn a_credential_that_hides_its_account_does_not_change_live() {
    let stage = Stage::new().await;
    let id = stage.vault("good:ada").await;
    stage.post("/api/v1/mounts", json!({"backend_id": id})).await.id();
    let answer = stage.put(&format!("/api/v1/backends/{id}?live=true"), json!({"pass": "good"})).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (409, &json!("ACTIVE_MOUNTS")));
    assert!(stage.doors.seen.lock().unwrap().changed.is_empty());
}

#[tokio::test]
async fn a_wrapper_over_a_backend_counts_like_it() {
    let stage = Stage::new().await;
    let id = stage.vault("good").await;
    let alias = stage.post("/api/v1/backends/alias", json!({"remote": format!("{id}:photos")})).await.id();
    let second = stage.post("/api/v1/backends/alias", json!({"remote": format!("{alias}:2025")})).await.id();
    let mount = stage.post("/api/v1/mounts", json!({"backend_id": second})).await.id();
    let path = format!("/api/v1/backends/{id}");
    let answer = stage.put(&path, json!({"pass": "good-2"})).await;
    answer.fails(409, "ACTIVE_MOUNTS", "Backend has active mounts; unmount first");
    assert_eq!(stage.delete(&format!("/api/v1/mounts/{mount}")).await.status.as_u16(), 200);
    assert_eq!(stage.put(&path, json!({"pass": "good-2"})).await.text, UPDATED);
    assert_eq!(stage.doors.seen.lock().unwrap().changed, [id.clone(), alias.clone(), second.clone()]);
    let tenant = stage.registry.operator().tenant("default").await.unwrap().unwrap();
    for id in [id, alias, second] {
        let id = causeway_registry::BackendId::parse(&id).unwrap();
        assert_eq!(stage.registry.backend(&tenant, &id).await.unwrap().unwrap().generation, 2);
    }
}
