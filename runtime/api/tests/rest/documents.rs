//! The list of providers and the OpenAPI document.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::stage::Stage;

#[tokio::test]
async fn types_and_defaults_are_those_of_the_tables() {
    let stage = Stage::new().await;
    let tables: Value = serde_json::from_str(include_str!("../../../../tests/fixtures/options.json")).unwrap();
    let answer = stage.get("/api/v1/providers").await.json();
    assert_eq!(answer["count"], 6);
    let mut compared = 0;
    for provider in answer["providers"].as_array().unwrap() {
        let name = provider["name"].as_str().unwrap();
        let Some(table) = tables[name].as_array() else { continue };
        for expected in table {
            let options = provider["options"].as_array().unwrap();
            let shown = options.iter().find(|option| option["name"] == expected["name"]);
            let shown = shown.unwrap_or_else(|| panic!("{name} lacks {expected}"));
            for field in ["type", "required", "default"] {
                assert_eq!(shown[field], expected[field], "{name} {}", expected["name"]);
            }
            compared += 1;
        }
    }
    assert_eq!(compared, 1 + 2 + 17 + 59, "memory, alias, local and s3");
}

#[tokio::test]
async fn a_provider_is_shown_as_it_describes_itself() {
    let stage = Stage::new().await;
    let answer = stage.get("/api/v1/providers").await.json();
    let vault = answer["providers"].as_array().unwrap().iter().find(|provider| provider["name"] == "vault").unwrap();
    assert_eq!((&vault["title"], &vault["kind"]), (&json!("The Vault"), &json!("guest")));
    assert_eq!(vault["imports"], json!(["causeway:provider/http@0.1.0"]));
    let pass = json!({"name": "pass", "type": "string", "required": false, "default": "", "secret": true, "credential": true, "choices": [], "help": ""});
    assert_eq!(vault["options"][2], pass);
}

/// To write it anew: `UPDATE_OPENAPI=1 cargo test -p causeway-api openapi`.
#[tokio::test]
async fn the_openapi_document_is_the_one_checked_in() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let generated = causeway_api::document().unwrap() + "\n";
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(file, &generated).unwrap();
    }
    let checked_in = std::fs::read_to_string(file).unwrap();
    assert!(checked_in == generated, "openapi.json is not what the code says; write it anew with UPDATE_OPENAPI=1");
    let document: Value = serde_json::from_str(&generated).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let stage = Stage::new().await;
    let served = stage.send(Request::get("/api/v1/openapi.json").body(Body::empty()).unwrap()).await;
    assert_eq!(served.json(), document);
}
