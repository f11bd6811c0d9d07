//! Mounts.

use causeway_api::{CacheMode, Condition, Pending};
use causeway_storage::Timestamp;
use serde_json::json;

use crate::stage::Stage;

#[tokio::test]
async fn the_example_of_create() {
    let stage = Stage::new().await;
    let backend = stage.memory().await;
    let body = json!({"backend_id": format!("bnd_{backend}"), "label": "Photos", "vfs_config": {"cache_mode": "full", "cache_max_size": "20G"}});
    let answer = stage.post("/api/v1/mounts", body).await;
    let id = answer.id();
    let expected = format!(
        r#"{{"success":true,"message":"Mount created successfully","data":{{"id":"{id}","backend_id":"{backend}","label":"Photos","mount_path":"/hoody/mounts/{id}","status":"active"}}}}"#
    );
    assert_eq!(answer.text, expected);
    let seen = stage.doors.seen.lock().unwrap();
    assert_eq!((seen.mounted[&id].cache_mode, seen.mounted[&id].cache_max_size), (CacheMode::Full, Some(20 << 30)));
}

#[tokio::test]
async fn the_shape_of_one_with_its_defaults() {
    let stage = Stage::new().await;
    let backend = stage.memory().await;
    let id = stage.post("/api/v1/mounts", json!({"backend_id": backend, "label": "Photos"})).await.id();
    let answer = stage.get(&format!("/api/v1/mounts/{id}")).await;
    let created = answer.json()["created_at"].as_i64().unwrap();
    let config = r#"{"cache_max_age":3600,"cache_max_size":10737418240,"cache_mode":"writes","dir_cache_time":300,"#;
    let start = format!(
        r#"{{"id":"{id}","backend_id":"{backend}","label":"Photos","mount_path":"/hoody/mounts/{id}","status":"active","created_at":{created},"vfs_config":{config}"#
    );
    assert!(answer.text.starts_with(&start), "{}", answer.text);
}

#[tokio::test]
async fn the_list_is_filtered_by_label() {
    let stage = Stage::new().await;
    let backend = stage.memory().await;
    let id = stage.post("/api/v1/mounts", json!({"backend_id": backend, "label": "Photos"})).await.id();
    stage.post("/api/v1/mounts", json!({"backend_id": backend, "label": "Work Documents"})).await.id();
    stage.post("/api/v1/mounts", json!({"backend_id": backend})).await.id();
    let answer = stage.get("/api/v1/mounts?label=Photos").await;
    let created = answer.json()["mounts"][0]["created_at"].as_i64().unwrap();
    let expected = format!(
        r#"{{"count":1,"mounts":[{{"id":"{id}","backend_id":"{backend}","label":"Photos","mount_path":"/hoody/mounts/{id}","status":"active","created_at":{created}}}]}}"#
    );
    assert_eq!(answer.text, expected);
    assert_eq!(stage.get("/api/v1/mounts").await.json()["count"], 3);
    assert_eq!(stage.get("/api/v1/mounts?label=photo").await.json(), json!({"count": 0, "mounts": []}));
}

#[tokio::test]
async fn a_backend_shows_where_it_is_mounted() {
    let stage = Stage::new().await;
    let backend = stage.memory().await;
    stage.post("/api/v1/mounts", json!({"backend_id": backend, "mount_path": "photos"})).await.id();
    assert_eq!(
        stage.get(&format!("/api/v1/backends/{backend}")).await.json()["mount_paths"],
        json!(["/hoody/mounts/photos"])
    );
}

#[tokio::test]
async fn a_mount_that_stands_tells_how_it_reads_and_since_when_it_cannot() {
    let stage = Stage::new().await;
    let backend = stage.memory().await;
    let id = stage.post("/api/v1/mounts", json!({"backend_id": backend})).await.id();
    let fields = ["passthrough", "passthrough_reason", "reachable", "unreachable_since"];
    let told = async |condition| {
        stage.doors.seen.lock().unwrap().condition = condition;
        let mount = stage.get(&format!("/api/v1/mounts/{id}")).await.json();
        fields.map(|field| mount.get(field).cloned())
    };
    assert_eq!(told(None).await, [None, None, None, None], "it does not stand");
    let reads = told(Some(Condition::default())).await;
    assert_eq!(reads, [Some(json!(true)), None, Some(json!(true)), None]);
    let condition = Condition {
        no_passthrough: Some("the kernel cannot".into()),
        unreachable_since: Some(Timestamp { seconds: 100, nanoseconds: 5 }),
    };
    let reads = told(Some(condition)).await;
    assert_eq!(reads, [Some(json!(false)), Some(json!("the kernel cannot")), Some(json!(false)), Some(json!(100))]);
}

#[tokio::test]
async fn the_examples_of_update() {
    let stage = Stage::new().await;
    let backend = stage.memory().await;
    let id = stage.post("/api/v1/mounts", json!({"backend_id": backend})).await.id();
    let path = format!("/api/v1/mounts/{id}");
    let body = json!({"vfs_config": {"cache_mode": "full", "cache_max_size": "50G"}});
    stage.patch(&path, body.clone()).await.is(200, json!({"success": true, "message": "Mount configuration updated"}));
    let config = stage.get(&path).await.json()["vfs_config"].clone();
    assert_eq!((&config["cache_mode"], &config["cache_max_size"]), (&json!("full"), &json!(53687091200u64)));
    let answer = stage.patch(&path, json!({"vfs_config": {"cache_mode": "most"}})).await;
    answer.fails(400, "INVALID_SETTINGS", "Invalid cache_mode: must be one of off, minimal, writes, full");
    let missing = "/api/v1/mounts/mount_550e8400e29b41d4a716446655440000";
    stage.patch(missing, body).await.fails(404, "MOUNT_NOT_FOUND", "Mount not found");
}

#[tokio::test]
async fn an_update_merges_and_null_restores_a_default() {
    let stage = Stage::new().await;
    let backend = stage.memory().await;
    let id =
        stage.post("/api/v1/mounts", json!({"backend_id": backend, "vfs_config": {"cache_mode": "full"}})).await.id();
    let path = format!("/api/v1/mounts/{id}");
    assert_eq!(stage.patch(&path, json!({"vfs_config": {"dir_cache_time": "1h"}})).await.status.as_u16(), 200);
    let config = stage.get(&path).await.json()["vfs_config"].clone();
    assert_eq!((&config["cache_mode"], &config["dir_cache_time"]), (&json!("full"), &json!(3600)));
    assert_eq!(stage.patch(&path, json!({"vfs_config": {"cache_mode": null}})).await.status.as_u16(), 200);
    assert_eq!(stage.get(&path).await.json()["vfs_config"]["cache_mode"], "writes");
    assert_eq!(stage.doors.seen.lock().unwrap().mounted[&id].cache_mode, CacheMode::Writes);
}

#[tokio::test]
async fn the_owner_of_what_stands_does_not_change() {
    let stage = Stage::new().await;
    let backend = stage.memory().await;
    let id = stage.post("/api/v1/mounts", json!({"backend_id": backend, "vfs_config": {"uid": 1000}})).await.id();
    let path = format!("/api/v1/mounts/{id}");
    let answer = stage.patch(&path, json!({"vfs_config": {"uid": null, "gid": 5}})).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (400, &json!("INVALID_SETTINGS")));
    assert_eq!(answer.json()["fields"].as_object().unwrap().keys().collect::<Vec<_>>(), ["gid", "uid"]);
    let same = stage.patch(&path, json!({"vfs_config": {"uid": 1000, "read_only": true}})).await;
    assert_eq!(same.status.as_u16(), 200, "{}", same.text);
}

#[tokio::test]
async fn attributes_and_the_window_of_a_reader_are_settings() {
    let stage = Stage::new().await;
    let backend = stage.memory().await;
    let wrong = json!({"attributes": "xattr", "read_ahead_max": "much"});
    let answer = stage.post("/api/v1/mounts", json!({"backend_id": backend, "vfs_config": wrong})).await;
    assert_eq!(answer.status.as_u16(), 400);
    let named = answer.json()["fields"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(named, ["attributes", "read_ahead_max"]);
    assert_eq!(stage.get("/api/v1/mounts").await.json()["count"], 0);
    let id = stage.post("/api/v1/mounts", json!({"backend_id": backend})).await.id();
    let path = format!("/api/v1/mounts/{id}");
    let config = stage.get(&path).await.json()["vfs_config"].clone();
    assert_eq!((&config["attributes"], &config["read_ahead_max"]), (&json!("off"), &json!(64 << 20)));
    let right = json!({"attributes": "sidecar", "read_ahead_max": "8Mi"});
    assert_eq!(stage.patch(&path, json!({"vfs_config": right})).await.status.as_u16(), 200);
    let config = stage.get(&path).await.json()["vfs_config"].clone();
    assert_eq!((&config["attributes"], &config["read_ahead_max"]), (&json!("sidecar"), &json!(8 << 20)));
}

#[tokio::test]
async fn every_wrong_field_is_named_at_once() {
    let stage = Stage::new().await;
    let wrong = json!({"label": 1, "mount_path": [], "colour": "red", "vfs_config": {"cache_mode": "x", "uid": "x", "fast": true}});
    let answer = stage.post("/api/v1/mounts", wrong).await;
    assert_eq!(answer.status.as_u16(), 400);
    let fields = answer.json()["fields"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields, ["backend_id", "cache_mode", "colour", "fast", "label", "mount_path", "uid"]);
}

#[tokio::test]
async fn a_path_is_used_once_and_must_be_allowed() {
    let stage = Stage::new().await;
    let backend = stage.memory().await;
    let body = json!({"backend_id": backend, "mount_path": "photos"});
    stage.post("/api/v1/mounts", body.clone()).await.id();
    let answer = stage.post("/api/v1/mounts", body).await;
    answer.fails(409, "MOUNT_PATH_IN_USE", "The mount path is in use by another mount");
    stage.doors.seen.lock().unwrap().paths.insert("/hoody/mounts/taken".into());
    let answer = stage.post("/api/v1/mounts", json!({"backend_id": backend, "mount_path": "taken"})).await;
    answer.fails(409, "MOUNT_PATH_IN_USE", "The mount point is not empty");
    let answer = stage.post("/api/v1/mounts", json!({"backend_id": backend, "mount_path": "/etc"})).await;
    answer.fails(400, "INVALID_SETTINGS", "Invalid mount_path: must be relative");
    assert_eq!(stage.get("/api/v1/mounts").await.json()["count"], 1);
}

#[tokio::test]
async fn a_removed_mount_is_gone() {
    let stage = Stage::new().await;
    let backend = stage.memory().await;
    let id = stage.post("/api/v1/mounts", json!({"backend_id": backend})).await.id();
    let path = format!("/api/v1/mounts/{id}");
    stage.delete(&path).await.is(200, json!({"success": true, "message": "Mount removed successfully"}));
    stage.delete(&path).await.fails(404, "MOUNT_NOT_FOUND", &format!("Mount not found: {id}"));
    stage.get(&path).await.fails(404, "MOUNT_NOT_FOUND", "Mount not found");
}

#[tokio::test]
async fn a_mount_with_uploads_goes_when_they_are_done() {
    let stage = Stage::new().await;
    let backend = stage.memory().await;
    let id = stage.post("/api/v1/mounts", json!({"backend_id": backend})).await.id();
    stage.doors.seen.lock().unwrap().pending =
        Pending { files: 1, bytes: 5, oldest: Some(7), last_error: Some("offline".into()) };
    let answer = stage.delete(&format!("/api/v1/mounts/{id}")).await;
    assert_eq!(answer.status.as_u16(), 202);
    let pending = json!({"files": 1, "bytes": 5, "oldest": 7, "last_error": "offline", "node": "node-1"});
    assert_eq!(answer.json()["data"], json!({"id": id, "pending": pending}));
    let found = stage.get(&format!("/api/v1/mounts/{id}")).await.json();
    assert_eq!((&found["status"], &found["pending"]), (&json!("unmounting"), &pending));
}

#[tokio::test]
async fn force_does_not_wait() {
    let stage = Stage::new().await;
    let backend = stage.memory().await;
    let id = stage.post("/api/v1/mounts", json!({"backend_id": backend})).await.id();
    stage.doors.seen.lock().unwrap().pending = Pending { files: 1, bytes: 5, ..Pending::default() };
    assert_eq!(stage.delete(&format!("/api/v1/mounts/{id}?force=true")).await.status.as_u16(), 200);
    assert_eq!(stage.doors.seen.lock().unwrap().waited, [std::time::Duration::ZERO]);
    assert_eq!(stage.get("/api/v1/mounts").await.json()["count"], 0);
}
