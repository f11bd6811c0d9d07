//! What the framework would answer, in our shape; health, ids and measures.

use axum::body::{Body, to_bytes};
use axum::http::Request;
use causeway_api::{Metrics, admin_router};
use serde_json::json;
use tower::ServiceExt;

use crate::stage::Stage;

impl Stage {
    async fn raw(&self, method: &str, path: &str, kind: Option<&str>, body: impl Into<Body>) -> crate::stage::Answer {
        let mut request =
            Request::builder().method(method).uri(path).header("authorization", format!("Bearer {}", self.token));
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        self.send(request.body(body.into()).unwrap()).await
    }
}

#[tokio::test]
async fn an_unknown_path_and_a_wrong_method_have_our_shape() {
    let stage = Stage::new().await;
    for path in ["/nothing", "/api/v1", "/api/v1/nothing", "/api/v2/backends"] {
        stage.get(path).await.fails(404, "NOT_FOUND", "There is nothing at this path");
    }
    let wrong = stage.raw("PATCH", "/api/v1/backends", None, "").await;
    wrong.fails(405, "METHOD_NOT_ALLOWED", "This path does not answer to this method");
    assert_eq!(stage.raw("POST", "/healthz", None, "").await.status.as_u16(), 405);
}

/// Every path that takes a body, with the most that it may have in KiB.
async fn bodies(stage: &Stage) -> Vec<(&'static str, String, usize)> {
    let backend = stage.vault("good").await;
    let mount = stage.post("/api/v1/mounts", json!({"backend_id": backend})).await.id();
    vec![
        ("POST", "/api/v1/backends/memory".into(), 256),
        ("PUT", format!("/api/v1/backends/{backend}"), 16),
        ("POST", "/api/v1/mounts".into(), 256),
        ("PATCH", format!("/api/v1/mounts/{mount}"), 256),
        ("PUT", format!("/api/v1/mounts/{mount}/pins"), 256),
    ]
}

#[tokio::test]
async fn a_body_must_be_a_json_object_and_say_so() {
    let stage = Stage::new().await;
    for (method, path, _) in bodies(&stage).await {
        for kind in [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("json")] {
            let answer = stage.raw(method, &path, kind, "{}").await;
            assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (415, &json!("UNSUPPORTED_MEDIA_TYPE")));
        }
        for body in ["", "{", "[]", "1", "{\"description\": secret}"] {
            let answer = stage.raw(method, &path, Some("application/json"), body).await;
            assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (400, &json!("INVALID_JSON")), "{body}");
            assert!(!answer.text.contains("secret"), "the text around an error may be a secret");
        }
    }
    let kind = Some("application/json; charset=utf-8");
    assert_eq!(stage.raw("POST", "/api/v1/backends/memory", kind, "{}").await.status.as_u16(), 201);
}

#[tokio::test]
async fn a_body_above_its_limit_is_refused() {
    let stage = Stage::new().await;
    for (method, path, limit_kib) in bodies(&stage).await {
        let message = format!("Request body exceeds {limit_kib} KB limit");
        let body = json!({"description": "x".repeat(limit_kib << 10)}).to_string();
        let answer = stage.raw(method, &path, Some("application/json"), body.clone()).await;
        answer.fails(413, "BODY_TOO_LARGE", &message);
        // Also when it does not say its size.
        let pieces: Vec<Result<Vec<u8>, std::io::Error>> =
            body.as_bytes().chunks(10_000).map(|piece| Ok(piece.to_vec())).collect();
        let pieces = Body::from_stream(futures::stream::iter(pieces));
        let answer = stage.raw(method, &path, Some("application/json"), pieces).await;
        answer.fails(413, "BODY_TOO_LARGE", &message);
    }
}

#[tokio::test]
async fn unknown_fields_are_all_named() {
    let stage = Stage::new().await;
    for (method, path, _) in bodies(&stage).await {
        let answer = stage.raw(method, &path, Some("application/json"), r#"{"colour":1,"taste":2}"#).await;
        assert_eq!(answer.status.as_u16(), 400, "{method} {path}");
        let fields = answer.json()["fields"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert!(["colour", "taste"].iter().all(|field| fields.iter().any(|found| found == field)), "{fields:?}");
    }
    let mount = bodies(&stage).await.remove(3).1;
    let answer = stage.patch(&mount, json!({"vfs_config": {"colour": null, "taste": 2}})).await;
    assert_eq!(answer.json()["fields"].as_object().unwrap().keys().collect::<Vec<_>>(), ["colour", "taste"]);
}

/// What the whole router lets in at once. Each of the others holds its place until its body comes, or breaks off.
#[tokio::test]
async fn a_request_beyond_the_limit_is_turned_away() {
    let stage = Stage::new().await;
    let (asked, mut at_work) = tokio::sync::mpsc::unbounded_channel();
    let (hang_up, gone) = tokio::sync::watch::channel(false);
    let slow = || {
        let (asked, mut gone) = (asked.clone(), gone.clone());
        let body = futures::stream::once(async move {
            asked.send(()).unwrap();
            gone.wait_for(|gone| *gone).await.unwrap();
            Err::<Vec<u8>, _>(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
        });
        let request = Request::post("/api/v1/backends/memory")
            .header("authorization", format!("Bearer {}", stage.token))
            .header("content-type", "application/json")
            .body(Body::from_stream(body));
        tokio::spawn(stage.router.clone().oneshot(request.unwrap()))
    };
    let slow: Vec<_> = (0..causeway_api::limits::REQUESTS).map(|_| slow()).collect();
    for _ in &slow {
        at_work.recv().await.unwrap();
    }
    let message = "Too many requests are at work; try again soon";
    stage.get("/api/v1/backends").await.fails(503, "OVERLOADED", message);
    hang_up.send(true).unwrap();
    for request in slow {
        assert_eq!(request.await.unwrap().unwrap().status().as_u16(), 400);
    }
    assert_eq!(stage.get("/api/v1/backends").await.status.as_u16(), 200);
}

#[tokio::test]
async fn measures_are_the_operators_and_name_no_tenants_path() {
    let stage = Stage::new().await;
    let metrics = Metrics::install();
    let id = stage.memory().await;
    stage.get(&format!("/api/v1/backends/{id}")).await;
    stage.get("/metrics").await.fails(404, "NOT_FOUND", "There is nothing at this path");
    let admin = admin_router(stage.api.clone(), metrics);
    let answer = admin.oneshot(Request::get("/metrics").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4");
    let text = String::from_utf8(to_bytes(answer.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap();
    for line in [
        "# TYPE causeway_http_requests_total counter",
        "# HELP causeway_http_requests_total ",
        "# HELP causeway_http_request_seconds ",
        r#"causeway_http_requests_total{method="GET",route="/api/v1/backends/{id}",status="200"} "#,
        r#"causeway_http_request_seconds_count{method="GET",route="/api/v1/backends/{id}"} "#,
    ] {
        assert!(text.lines().any(|found| found.starts_with(line)), "{line} in\n{text}");
    }
    assert!(!text.contains(&id));
}

#[tokio::test]
async fn a_wrong_query_has_our_shape() {
    let stage = Stage::new().await;
    let id = stage.memory().await;
    let answer = stage.delete(&format!("/api/v1/backends/{id}?discard_pending=perhaps")).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (400, &json!("INVALID_QUERY")));
}

#[tokio::test]
async fn health_is_public_and_tells_nothing_but_its_status() {
    let stage = Stage::new().await;
    for (path, text) in [("/healthz", r#"{"status":"ok"}"#), ("/readyz", r#"{"status":"ready"}"#)] {
        let answer = stage.send(Request::get(path).body(Body::empty()).unwrap()).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, text));
    }
    stage.registry.close().await;
    let answer = stage.send(Request::get("/readyz").body(Body::empty()).unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (503, r#"{"status":"unready"}"#));
}

#[tokio::test]
async fn a_fault_of_ours_tells_nothing_of_its_cause() {
    let stage = Stage::new().await;
    stage.registry.close().await;
    stage
        .get("/api/v1/backends")
        .await
        .is(500, json!({"success": false, "error": "Internal server error", "code": "INTERNAL"}));
}

#[tokio::test]
async fn every_answer_carries_its_request_id() {
    let stage = Stage::new().await;
    let id_of = async |given: Option<&str>| {
        let request = Request::get("/healthz");
        let request = given.map_or(Request::get("/healthz"), |given| request.header("x-request-id", given));
        let response = stage.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        response.headers()["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(id_of(Some("abc-123")).await, "abc-123");
    for wrong in [None, Some("a b"), Some(&*"x".repeat(65))] {
        let id = id_of(wrong).await;
        assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    }
}
