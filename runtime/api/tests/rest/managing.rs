//! List, inspect, test and disconnect backends.

use causeway_api::Pending;
use serde_json::json;

use crate::stage::Stage;

#[tokio::test]
async fn the_shape_of_the_list() {
    let stage = Stage::new().await;
    let (memory, vault) = (stage.memory().await, stage.vault("good").await);
    let answer = stage.get("/api/v1/backends").await;
    let created = answer.json()["backends"][0]["created_at"].as_str().unwrap().to_owned();
    let text = answer.text.replace(answer.json()["backends"][1]["created_at"].as_str().unwrap(), &created);
    assert!(created.len() == 20 && created.ends_with('Z') && created.as_bytes()[10] == b'T', "{created}");
    assert_eq!(
        text,
        format!(
            r#"{{"backends":[{{"id":"{memory}","backend_type":"memory","server":"memory:generic","user":"","connected":true,"mount_paths":[],"created_at":"{created}"}},{{"id":"{vault}","backend_type":"the vault","server":"the vault:generic","user":"deploy","connected":true,"mount_paths":[],"created_at":"{created}"}}],"count":2}}"#
        )
    );
}

#[tokio::test]
async fn one_is_found_by_id_with_any_prefix_and_shows_its_last_use() {
    let stage = Stage::new().await;
    let id = stage.memory().await;
    assert!(stage.get(&format!("/api/v1/backends/{id}")).await.json().get("last_used").is_none());
    stage
        .get(&format!("/api/v1/backends/bnd_{id}/test"))
        .await
        .is(200, json!({"success": true, "message": "Connection successful"}));
    let answer = stage.get(&format!("/api/v1/backends/bck_memory_{id}")).await.json();
    assert_eq!((&answer["id"], &answer["connected"]), (&json!(id), &json!(true)));
    assert!(answer["last_used"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn a_missing_backend_is_not_found_everywhere() {
    let stage = Stage::new().await;
    for id in ["0123456789abcdef", "nonsense", "%F0%9F"] {
        let path = format!("/api/v1/backends/{id}");
        let answers = [
            stage.get(&path).await,
            stage.get(&format!("{path}/test")).await,
            stage.delete(&path).await,
            stage.put(&path, json!({"pass": "x"})).await,
        ];
        for answer in answers {
            match id {
                "%F0%9F" => assert_eq!(answer.status.as_u16(), 400),
                _ => answer.fails(404, "BACKEND_NOT_FOUND", "Backend not found"),
            }
        }
    }
}

#[tokio::test]
async fn a_removed_backend_is_gone() {
    let stage = Stage::new().await;
    let id = stage.memory().await;
    stage
        .delete(&format!("/api/v1/backends/{id}"))
        .await
        .is(200, json!({"success": true, "message": "Backend disconnected"}));
    stage.get(&format!("/api/v1/backends/{id}")).await.fails(404, "BACKEND_NOT_FOUND", "Backend not found");
    assert_eq!(stage.get("/api/v1/backends").await.json()["count"], 0);
}

#[tokio::test]
async fn a_mounted_backend_stays() {
    let stage = Stage::new().await;
    let id = stage.memory().await;
    stage.post("/api/v1/mounts", json!({"backend_id": id})).await.id();
    let answer = stage.delete(&format!("/api/v1/backends/{id}")).await;
    answer.fails(409, "ACTIVE_MOUNTS", "Backend has active mounts; unmount first");
}

#[tokio::test]
async fn a_backend_that_others_stand_on_stays() {
    let stage = Stage::new().await;
    let id = stage.post("/api/v1/backends/memory", json!({"name": "base"})).await.id();
    let by_name = stage.post("/api/v1/backends/alias", json!({"remote": "base:x"})).await.id();
    let by_id = stage.post("/api/v1/backends/alias", json!({"remote": format!("bnd_{id}:x")})).await.id();
    for other in [by_name, by_id] {
        let answer = stage.delete(&format!("/api/v1/backends/{id}")).await;
        answer.fails(409, "BACKEND_IN_USE", &format!("Backend {other} stands on this one; disconnect that first"));
        assert_eq!(stage.delete(&format!("/api/v1/backends/{other}")).await.status.as_u16(), 200);
    }
    assert_eq!(stage.delete(&format!("/api/v1/backends/{id}")).await.status.as_u16(), 200);
}

#[tokio::test]
async fn pending_uploads_are_not_lost_with_their_backend() {
    let stage = Stage::new().await;
    let id = stage.memory().await;
    stage.doors.seen.lock().unwrap().pending = Pending { files: 2, bytes: 10, ..Pending::default() };
    let answer = stage.delete(&format!("/api/v1/backends/{id}")).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (409, &json!("PENDING_UPLOADS")));
    let answer = stage.delete(&format!("/api/v1/backends/{id}?discard_pending=true")).await;
    assert_eq!(answer.status.as_u16(), 200);
    assert!(answer.json()["message"].as_str().unwrap().contains(&format!("lost+found/default/{id}")));
}
