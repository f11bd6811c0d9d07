//! Google Drive: with a token, with one that has expired, and as a service account.

use causeway_fakes::{Logged, Running};
use serde_json::{Value, json};

use crate::client::Client;
use crate::{Row, nothing_refused};

/// Small chunks, so that a large upload has several, and no pauses between requests.
const FLAGS: &[&str] = &[
    "--drive-chunk-size",
    "4M",
    "--drive-upload-cutoff",
    "1M",
    "--drive-pacer-min-sleep",
    "1ms",
    "--drive-use-trash=false",
];

pub(crate) fn rows() -> [Row; 3] {
    let row = |name, config, log| Row {
        name,
        fakes: &["drive"],
        config,
        proxy: true,
        flags: FLAGS,
        root: "X:box",
        exceptions: &[],
        log,
    };
    [
        row("drive", by_token, in_chunks),
        row("drive (expired)", by_refresh, refreshed),
        row("drive (service)", by_assertion, refreshed),
    ]
}

fn remote(accounts: &Value, access: &Value, expiry: &str) -> String {
    let of = |name: &str| accounts[name].as_str().unwrap();
    let token = json!({
        "access_token": access, "token_type": "Bearer", "refresh_token": accounts["refresh_token"], "expiry": expiry,
    });
    let (id, secret) = (of("client_id"), of("client_secret"));
    format!("type = drive\nscope = drive\nclient_id = {id}\nclient_secret = {secret}\ntoken = {token}")
}

fn by_token(_: &Running, accounts: &Value, _: &Client) -> String {
    remote(accounts, &accounts["access_token"], "2099-01-01T00:00:00Z")
}

fn by_refresh(_: &Running, accounts: &Value, _: &Client) -> String {
    remote(accounts, &json!("expired"), "2020-01-01T00:00:00Z")
}

fn by_assertion(_: &Running, accounts: &Value, _: &Client) -> String {
    format!("type = drive\nscope = drive\nservice_account_credentials = {}", accounts["service_account"])
}

/// The large upload resumed chunk by chunk.
fn in_chunks(log: &[Logged]) -> Result<(), String> {
    nothing_refused(log)?;
    let chunks = log.iter().filter(|entry| entry.query.contains("upload_id=") && entry.status == Some(308)).count();
    if chunks >= 4 { Ok(()) } else { Err(format!("{chunks} chunks")) }
}

/// The token was asked for at the token endpoint, and what came from there was accepted.
fn refreshed(log: &[Logged]) -> Result<(), String> {
    in_chunks(log)?;
    let asked = log.iter().any(|entry| entry.host == "oauth2.googleapis.com" && entry.status == Some(200));
    if asked { Ok(()) } else { Err("no token was asked for".into()) }
}
