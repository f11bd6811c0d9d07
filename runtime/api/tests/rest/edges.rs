//! What the framework would answer, in our shape; health, ids and measures.

use axum::body::Body;
use axum::http::Request;
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

#[tokio::test]
async fn a_body_must_be_a_json_object_and_say_so() {
    let stage = Stage::new().await;
    let path = "/api/v1/backends/memory";
    for kind in [None, Some("text/plain"), Some("application/x-www-form-urlencoded")] {
        let answer = stage.raw("POST", path, kind, "{}").await;
        assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (415, &json!("UNSUPPORTED_MEDIA_TYPE")));
    }
    for body in ["", "{", "[]", "1", "{\"description\": secret}"] {
        let answer = stage.raw("POST", path, Some("application/json"), body).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (400, &json!("INVALID_JSON")), "{body}");
        assert!(!answer.text.contains("secret"), "the text around an error may be a secret");
    }
    assert_eq!(stage.raw("POST", path, Some("application/json; charset=utf-8"), "{}").await.status.as_u16(), 201);
}

#[tokio::test]
async fn a_body_above_its_limit_is_refused() {
    let stage = Stage::new().await;
    let body = json!({"description": "x".repeat(257 << 10)}).to_string();
    let answer = stage.raw("POST", "/api/v1/backends/memory", Some("application/json"), body.clone()).await;
    answer.fails(413, "BODY_TOO_LARGE", "Request body exceeds 256 KB limit");
    // Also when it does not say its size.
    let pieces: Vec<Result<Vec<u8>, std::io::Error>> =
        body.as_bytes().chunks(10_000).map(|piece| Ok(piece.to_vec())).collect();
    let pieces = Body::from_stream(futures::stream::iter(pieces));
    let answer = stage.raw("POST", "/api/v1/backends/memory", Some("application/json"), pieces).await;
    answer.fails(413, "BODY_TOO_LARGE", "Request body exceeds 256 KB limit");
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
