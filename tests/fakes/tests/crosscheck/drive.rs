//! Google Drive: with a token, with one that has expired, and as a service account; in a shared drive, with the bin, and in the folder
//! that only an application sees.

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

const NO_LINK: &[(&str, &str)] = &[("link", "what only an application sees cannot be shared")];
const NO_ABOUT: &[(&str, &str)] = &[("about", "a shared drive has no quota")];
/// As the flags above, but removed items go to the bin.
const BIN: &[&str] = &["--drive-chunk-size", "4M", "--drive-upload-cutoff", "1M", "--drive-pacer-min-sleep", "1ms"];

pub(crate) fn rows() -> [Row; 6] {
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
        row("drive (assertion)", by_assertion, refreshed),
        Row { exceptions: NO_ABOUT, ..row("drive (shared)", in_shared_drive, in_chunks) },
        Row { flags: BIN, ..row("drive (bin)", by_token, nothing_deleted) },
        Row { exceptions: NO_LINK, ..row("drive (app folder)", in_app_folder, in_chunks) },
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

fn in_shared_drive(front: &Running, accounts: &Value, client: &Client) -> String {
    let drive = front.control("drive", "shared-drive", &json!({ "name": "team" }));
    format!("{}\nteam_drive = {}", by_token(front, accounts, client), drive["id"].as_str().unwrap())
}

fn in_app_folder(front: &Running, accounts: &Value, client: &Client) -> String {
    by_token(front, accounts, client).replace("scope = drive\n", "scope = drive.appfolder\n")
}

/// The large upload resumed chunk by chunk.
fn in_chunks(log: &[Logged]) -> Result<(), String> {
    nothing_refused(log)?;
    let chunks = log.iter().filter(|entry| entry.query.contains("upload_id=") && entry.status == Some(308)).count();
    if chunks >= 4 { Ok(()) } else { Err(format!("{chunks} chunks")) }
}

/// Nothing was removed for good.
fn nothing_deleted(log: &[Logged]) -> Result<(), String> {
    in_chunks(log)?;
    log.iter().find(|entry| entry.method == "DELETE").map_or(Ok(()), |entry| Err(format!("{entry:?}")))
}

/// The token was asked for at the token endpoint, and what came from there was accepted.
fn refreshed(log: &[Logged]) -> Result<(), String> {
    in_chunks(log)?;
    let asked = log.iter().any(|entry| entry.host == "oauth2.googleapis.com" && entry.status == Some(200));
    if asked { Ok(()) } else { Err("no token was asked for".into()) }
}
