//! `POST /api/v1/backends/{provider}`.

use serde_json::{Value, json};

use crate::stage::Stage;

/// Checks the page's answer, with the id that was really given in its place.
#[track_caller]
fn page(answer: &crate::stage::Answer, name: &str) {
    let id = answer.id();
    assert!(id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    let expected = format!(
        r#"{{"success":true,"message":"Backend connected successfully","data":{{"id":"{id}","type":"{name}","backend_type":"{name}","mount_paths":[]}}}}"#
    );
    assert_eq!(answer.text, expected);
}

#[tokio::test]
async fn the_example_of_memory() {
    let stage = Stage::new().await;
    page(&stage.post("/api/v1/backends/memory", json!({"description": "Ephemeral scratch space"})).await, "memory");
}

#[tokio::test]
async fn the_example_of_alias() {
    let stage = Stage::new().await;
    stage.post("/api/v1/backends/memory", json!({"name": "s3-prod"})).await.id();
    let body = json!({"remote": "s3-prod:backups/2025", "description": "2025 backups alias"});
    page(&stage.post("/api/v1/backends/alias", body).await, "alias");
}

#[tokio::test]
async fn the_wrong_remote_of_alias() {
    let stage = Stage::new().await;
    let answer = stage.post("/api/v1/backends/alias", json!({"remote": "s3-prod"})).await;
    answer.fails(400, "INVALID_SETTINGS", "Invalid remote specification: missing ':' separator");
}

#[tokio::test]
async fn the_wrong_time_type_of_local() {
    let stage = Stage::new().await;
    let answer = stage.post("/api/v1/backends/local", json!({"time_type": "noon"})).await;
    answer.fails(400, "INVALID_SETTINGS", "Invalid time_type: must be one of mtime, atime, btime, ctime");
}

#[tokio::test]
async fn the_example_of_s3() {
    let stage = Stage::new().await;
    let body = json!({
        "provider": "AWS",
        "access_key_id": "AKIAIOSFODNN7EXAMPLE",
        "secret_access_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "region": "us-east-1",
        "endpoint": "s3.us-east-1.amazonaws.com"
    });
    let answer = stage.post("/api/v1/backends/s3", body).await;
    let id = answer.id();
    let data = json!({"id": id, "backend_type": "s3", "type": "object_storage", "mount_paths": []});
    answer.is(201, json!({"success": true, "message": "Backend connected successfully", "data": data}));
    let shown = stage.get(&format!("/api/v1/backends/{id}")).await;
    let json = shown.json();
    // The id of a key is no user's name.
    assert_eq!((&json["backend_type"], &json["server"], &json["user"]), (&json!("s3"), &json!("s3:aws"), &json!("")));
    for hidden in ["wJalrXUtnFEMI", "AKIAIOSFODNN7EXAMPLE"] {
        assert!(!shown.text.contains(hidden), "{}", shown.text);
    }
}

#[tokio::test]
async fn s3_without_its_endpoint_is_told_so() {
    let stage = Stage::new().await;
    let answer = stage.post("/api/v1/backends/s3", json!({"provider": "AWS", "list_chunk": "many"})).await;
    assert_eq!(answer.status.as_u16(), 400);
    assert_eq!(answer.json()["fields"].as_object().unwrap().keys().collect::<Vec<_>>(), ["endpoint", "list_chunk"]);
}

#[tokio::test]
async fn the_example_of_local_stands_in_the_tenants_own_folder() {
    let stage = Stage::new().await;
    let body = json!({"description": "Local archive drive", "no_preallocate": true, "one_file_system": true});
    page(&stage.post("/api/v1/backends/local", body).await, "local");
    assert!(stage.directory.path().join("local/default").is_dir());
}

#[tokio::test]
async fn a_drive_is_called_a_backend_and_named_in_the_message() {
    let stage = Stage::new().await;
    let answer = stage.post("/api/v1/backends/safe", json!({"host": "h", "pass": "good"})).await;
    let id = answer.id();
    let data = json!({"id": id, "type": "backend", "backend_type": "the vault", "mount_paths": []});
    answer.is(201, json!({"success": true, "message": "The Vault backend connected successfully", "data": data}));
}

#[tokio::test]
async fn every_wrong_field_is_named_at_once() {
    let stage = Stage::new().await;
    let wrong = json!({"port": "many", "size": "big", "colour": "red", "key_file": "/etc/passwd", "name": "a/b"});
    let answer = stage.post("/api/v1/backends/vault", wrong).await;
    assert_eq!(answer.status.as_u16(), 400);
    let json = answer.json();
    let fields: Vec<&String> = json["fields"].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["colour", "host", "key_file", "name", "port", "size"]);
    for field in fields {
        assert!(json["error"].as_str().unwrap().contains(&format!("Invalid {field}: ")), "{field}");
    }
    assert_eq!(stage.get("/api/v1/backends").await.json()["count"], 0);
}

#[tokio::test]
async fn options_of_the_machine_are_refused_and_their_defaults_are_not() {
    let stage = Stage::new().await;
    let with = |value: Value| json!({"host": "h", "pass": "good", "key_file": value});
    let answer = stage.post("/api/v1/backends/vault", with("/etc/shadow".into())).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (400, &json!("INVALID_SETTINGS")));
    stage.post("/api/v1/backends/vault", with("".into())).await.id();
}

#[tokio::test]
async fn what_cannot_sign_in_is_not_stored() {
    let stage = Stage::new().await;
    let answer = stage.post("/api/v1/backends/vault", json!({"host": "h", "pass": "bad"})).await;
    answer.fails(400, "CONNECTION_FAILED", "The vault does not know this password");
    assert_eq!(stage.get("/api/v1/backends").await.json(), json!({"backends": [], "count": 0}));
}

#[tokio::test]
async fn a_name_belongs_to_one_backend() {
    let stage = Stage::new().await;
    stage.post("/api/v1/backends/memory", json!({"name": "scratch"})).await.id();
    let answer = stage.post("/api/v1/backends/memory", json!({"name": "scratch"})).await;
    answer.fails(409, "NAME_TAKEN", "Another backend has this name");
}

#[tokio::test]
async fn an_unknown_provider_is_not_found() {
    let stage = Stage::new().await;
    let answer = stage.post("/api/v1/backends/floppy", json!({})).await;
    answer.fails(404, "PROVIDER_NOT_FOUND", "There is no provider of this name");
}
