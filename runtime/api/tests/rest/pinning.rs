//! Pins of mounts.

use serde_json::json;

use crate::stage::Stage;

#[tokio::test]
async fn pins_are_replaced_as_a_whole_and_shown_with_their_progress() {
    let stage = Stage::new().await;
    let backend = stage.memory().await;
    let id = stage.post("/api/v1/mounts", json!({"backend_id": backend})).await.id();
    let path = format!("/api/v1/mounts/{id}/pins");
    assert_eq!(stage.get(&path).await.text, r#"{"count":0,"pins":[]}"#);
    let answer = stage.put(&path, json!({"paths": ["docs", "/photos/2025/", "a file"]})).await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, r#"{"success":true,"message":"Pins updated"}"#));
    let first = r#"{"path":"docs","files":2,"bytes":10,"bytes_to_go":5,"error":"nobody answers"}"#;
    let others = r#"{"path":"photos/2025","files":0,"bytes":0,"bytes_to_go":0},{"path":"a file","files":0,"bytes":0,"bytes_to_go":0}"#;
    assert_eq!(stage.get(&path).await.text, format!(r#"{{"count":3,"pins":[{first},{others}]}}"#));
    stage.put(&path, json!({"paths": ["/"]})).await;
    assert_eq!(stage.get(&path).await.json()["pins"][0]["path"], "");
    stage.put(&path, json!({"paths": []})).await;
    assert_eq!(stage.get(&path).await.json()["count"], 0);
}

#[tokio::test]
async fn every_wrong_path_is_told_at_once_and_nothing_is_pinned() {
    let stage = Stage::new().await;
    let backend = stage.memory().await;
    let id = stage.post("/api/v1/mounts", json!({"backend_id": backend})).await.id();
    let path = format!("/api/v1/mounts/{id}/pins");
    let answer = stage.put(&path, json!({"paths": ["good", "../etc", 7, "a//b"], "owner": "me"})).await;
    assert_eq!(answer.status.as_u16(), 400);
    for named in ["paths[1]", "paths[2]", "paths[3]", "owner"] {
        assert!(answer.text.contains(named), "{named}: {}", answer.text);
    }
    assert!(!answer.text.contains("paths[0]"));
    for body in [json!({}), json!({"paths": "docs"}), json!({"paths": null}), json!({"paths": vec!["a"; 1001]})] {
        let answer = stage.put(&path, body).await;
        assert_eq!(answer.status.as_u16(), 400, "{}", answer.text);
    }
    assert_eq!(stage.get(&path).await.json()["count"], 0);
}

#[tokio::test]
async fn pins_of_a_mount_that_is_not_there_are_not_found() {
    let stage = Stage::new().await;
    let path = "/api/v1/mounts/mount_00000000000000000000000000000000/pins";
    stage.get(path).await.fails(404, "MOUNT_NOT_FOUND", "Mount not found");
    stage.put(path, json!({"paths": []})).await.fails(404, "MOUNT_NOT_FOUND", "Mount not found");
}
