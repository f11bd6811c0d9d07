//! Consents, codes and questions: what a person does, and what nobody else can do in their place.

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::stage::Stage;

const CONNECT: &str = "/api/v1/backends/porch";

/// A backend that waits for a consent: its id, and the state that was sent along.
async fn waiting(stage: &Stage) -> (String, String) {
    let answer = stage.post(CONNECT, json!({"account": "ada"})).await;
    let url = answer.json()["data"]["authorize_url"].as_str().unwrap().to_owned();
    (answer.id(), state(&url))
}

fn state(url: &str) -> String {
    url.split("state=").nth(1).unwrap().to_owned()
}

async fn authorize(stage: &Stage, id: &str, body: Value) -> crate::stage::Answer {
    stage.post(&format!("/api/v1/backends/{id}/authorize"), body).await
}

#[tokio::test]
async fn a_backend_is_stored_and_connected_by_the_consent() {
    let stage = Stage::new().await;
    let answer = stage.post(CONNECT, json!({"account": "ada"})).await;
    let id = answer.id();
    let data = &answer.json()["data"];
    assert_eq!((&data["connected"], &data["type"]), (&json!(false), &json!("backend")));
    let url = data["authorize_url"].as_str().unwrap();
    assert!(
        url.starts_with("https://issuer.example/?back=https://files.example.com/api/v1/oauth/callback&state="),
        "{url}"
    );
    let shown = stage.get(&format!("/api/v1/backends/{id}")).await.json();
    assert_eq!((&shown["connected"], &shown["reason"]), (&json!(false), &json!("nobody has consented")));
    assert_ne!(state(shown["authorize_url"].as_str().unwrap()), state(url), "each time afresh");
    let answer = authorize(&stage, &id, json!({"state": state(url), "code": "ada"})).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["data"]["connected"]), (200, &json!(true)), "{}", answer.text);
    let shown = stage.get(&format!("/api/v1/backends/{id}")).await.json();
    assert_eq!((&shown["connected"], shown.get("authorize_url")), (&json!(true), None));
    assert_eq!(stage.doors.seen.lock().unwrap().changed, [id]);
}

#[tokio::test]
async fn a_state_works_once_for_its_backend_and_not_when_guessed() {
    let stage = Stage::new().await;
    let (id, state) = waiting(&stage).await;
    let (other, _) = waiting(&stage).await;
    let refused = "This consent is unknown, was taken before, or is older than ten minutes; begin anew";
    let body = json!({"state": state, "code": "ada"});
    authorize(&stage, &other, body.clone()).await.fails(400, "CONSENT_INVALID", refused);
    authorize(&stage, &id, json!({"state": "guess", "code": "ada"})).await.fails(400, "CONSENT_INVALID", refused);
    assert_eq!(authorize(&stage, &id, body.clone()).await.status.as_u16(), 200);
    authorize(&stage, &id, body).await.fails(400, "CONSENT_INVALID", refused);
}

#[tokio::test]
async fn a_state_that_is_stolen_is_worth_nothing_with_another_token() {
    let stage = Stage::new().await;
    let (id, state) = waiting(&stage).await;
    let path = format!("/api/v1/backends/{id}/authorize");
    let body = json!({"state": state, "code": "ada"});
    let theirs = stage.ask_as(&stage.other_token, "POST", &path, Some(body.clone())).await;
    theirs.fails(404, "BACKEND_NOT_FOUND", "Backend not found");
    let other = stage.ask_as(&stage.other_token, "POST", CONNECT, Some(json!({"account": "ada"}))).await.id();
    let path = format!("/api/v1/backends/{other}/authorize");
    assert_eq!(
        stage.ask_as(&stage.other_token, "POST", &path, Some(body.clone())).await.json()["code"],
        "CONSENT_INVALID"
    );
    let bare = Request::post(path).header("content-type", "application/json").body(Body::from(body.to_string()));
    assert_eq!(stage.send(bare.unwrap()).await.status.as_u16(), 401);
    assert_eq!(authorize(&stage, &id, body).await.status.as_u16(), 200, "the owner's is still good");
}

#[tokio::test]
async fn a_code_is_not_exchanged_with_another_issuer_than_the_one_that_was_asked() {
    let stage = Stage::new().await;
    let (id, state) = waiting(&stage).await;
    stage.doors.seen.lock().unwrap().issuer = "another".into();
    let answer = authorize(&stage, &id, json!({"state": state, "code": "ada"})).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (400, &json!("CONSENT_INVALID")));
}

#[tokio::test]
async fn a_refused_code_is_told_and_stores_nothing() {
    let stage = Stage::new().await;
    let (id, state) = waiting(&stage).await;
    let answer = authorize(&stage, &id, json!({"state": state, "code": "refused"})).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (400, &json!("SIGN_IN_REFUSED")));
    assert_eq!(stage.get(&format!("/api/v1/backends/{id}")).await.json()["connected"], false);
}

#[tokio::test]
async fn consenting_again_with_another_account_is_refused() {
    let stage = Stage::new().await;
    let (id, first) = waiting(&stage).await;
    assert_eq!(authorize(&stage, &id, json!({"state": first, "code": "ada"})).await.status.as_u16(), 200);
    stage.doors.seen.lock().unwrap().consented.clear();
    assert_eq!(stage.get(&format!("/api/v1/backends/{id}/test")).await.json()["success"], false);
    let shown = stage.get(&format!("/api/v1/backends/{id}")).await.json();
    let again = state(shown["authorize_url"].as_str().unwrap());
    let answer = authorize(&stage, &id, json!({"state": again, "code": "bob"})).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (422, &json!("ANOTHER_ACCOUNT")));
    assert!(stage.doors.seen.lock().unwrap().consented.is_empty(), "what bob gave is not kept");
}

#[tokio::test]
async fn every_wrong_field_of_an_answer_is_named() {
    let stage = Stage::new().await;
    let (id, _) = waiting(&stage).await;
    let answer = authorize(&stage, &id, json!({"state": 1, "parameters": [], "colour": "red"})).await;
    assert_eq!(answer.status.as_u16(), 400);
    assert_eq!(
        answer.json()["fields"].as_object().unwrap().keys().collect::<Vec<_>>(),
        ["code", "colour", "parameters", "state"]
    );
    let answer = authorize(&stage, &id, json!({"state": "s", "code": "c", "answer": "a"})).await;
    assert_eq!(answer.json()["fields"].as_object().unwrap().keys().collect::<Vec<_>>(), ["answer"]);
}

#[tokio::test]
async fn a_question_is_asked_and_answered() {
    let stage = Stage::new().await;
    let answer = stage.post(CONNECT, json!({"account": "quiz"})).await;
    let id = answer.id();
    let question = json!({"prompt": "Which code?", "typed": true});
    assert_eq!((&answer.json()["data"]["connected"], &answer.json()["data"]["question"]), (&json!(false), &question));
    assert_eq!(stage.get(&format!("/api/v1/backends/{id}")).await.json()["question"], question);
    let wrong = authorize(&stage, &id, json!({"answer": "321"})).await;
    assert_eq!((wrong.status.as_u16(), &wrong.json()["code"]), (400, &json!("SIGN_IN_REFUSED")));
    assert_eq!(authorize(&stage, &id, json!({"answer": "123"})).await.json()["data"]["connected"], true);
}

#[tokio::test]
async fn a_device_is_told_its_code() {
    let stage = Stage::new().await;
    let data = stage.post(CONNECT, json!({"account": "device"})).await.json();
    assert_eq!(data["data"]["device"], json!({"url": "https://where.example/", "code": "ABCD", "expires_in": 60}));
}

#[tokio::test]
async fn without_a_public_url_nothing_is_stored() {
    let stage = Stage::without_public_url().await;
    let answer = stage.post(CONNECT, json!({"account": "ada"})).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (400, &json!("PUBLIC_URL_MISSING")));
    assert_eq!(stage.get("/api/v1/backends").await.json()["count"], 0);
}

#[tokio::test]
async fn a_host_header_moves_no_one() {
    let stage = Stage::new().await;
    let request = Request::post(CONNECT)
        .header("authorization", format!("Bearer {}", stage.token))
        .header("host", "evil.example")
        .header("x-forwarded-host", "evil.example")
        .header("content-type", "application/json")
        .body(Body::from(json!({"account": "ada"}).to_string()));
    let answer = stage.send(request.unwrap()).await;
    assert!(!answer.text.contains("evil.example"), "{}", answer.text);
    assert!(answer.text.contains("https://files.example.com/"), "{}", answer.text);
}

/// The page that a browser shows: its headers by name, and its text.
async fn page(stage: &Stage, query: &str) -> (u16, Vec<(String, String)>, String) {
    let request = Request::get(format!("/api/v1/oauth/callback?{query}")).body(Body::empty()).unwrap();
    let answer = stage.router.clone().oneshot(request).await.unwrap();
    let headers = answer.headers().iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    let (status, headers) = (answer.status().as_u16(), headers.collect());
    let text = answer.into_body().collect().await.unwrap().to_bytes();
    (status, headers, String::from_utf8(text.to_vec()).unwrap())
}

#[tokio::test]
async fn the_page_shows_what_came_and_tells_nobody() {
    let stage = Stage::new().await;
    let (id, state) = waiting(&stage).await;
    let (status, headers, text) = page(&stage, &format!("state={state}&code=a%2Fda&hostname=eu.example.com")).await;
    assert_eq!(status, 200);
    assert!(text.contains(&format!("&quot;state&quot;:&quot;{state}&quot;")), "{text}");
    assert!(text.contains("&quot;code&quot;:&quot;a/da&quot;") && text.contains("eu.example.com"), "{text}");
    let header = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    assert_eq!(header("referrer-policy"), Some("no-referrer"));
    assert_eq!(header("cache-control"), Some("no-store"));
    assert!(header("content-security-policy").unwrap().contains("default-src 'none'"));
    assert!(header("location").is_none());
    assert_eq!(stage.get(&format!("/api/v1/backends/{id}")).await.json()["connected"], false, "it grants nothing");
    assert_eq!(authorize(&stage, &id, json!({"state": state, "code": "ada"})).await.status.as_u16(), 200, "nor takes");
}

#[tokio::test]
async fn the_page_runs_and_follows_nothing_that_came() {
    let stage = Stage::new().await;
    for query in [
        "state=%3Cscript%3Ealert(1)%3C/script%3E&code=%22%3E%3Cimg%20src=x%3E",
        "error=%3Cscript%3E&redirect_uri=https://evil.example",
        "state=s&code=c&%3Cb%3E=1&next=javascript:alert(1)",
        "%",
        "",
    ] {
        let (status, headers, text) = page(&stage, query).await;
        assert_eq!(status, 200, "{query}");
        assert!(
            !text.contains("<script") && !text.contains("<img") && !text.contains("<b>") && !text.contains("href"),
            "{text}"
        );
        assert!(headers.iter().all(|(name, _)| name != "location"), "{query}");
    }
}
