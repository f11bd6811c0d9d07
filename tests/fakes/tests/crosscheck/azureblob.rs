//! Azure Blob Storage: by key, by account signature, and by a token from the sign-in endpoint.

use causeway_fakes::{Logged, Running};
use data_encoding::BASE64;
use hmac::{Hmac, Mac};
use serde_json::Value;

use crate::client::Client;
use crate::{Row, nothing_refused};

/// Small blocks, so that a large upload has several.
const FLAGS: &[&str] = &["--azureblob-chunk-size", "4M", "--azureblob-upload-concurrency", "2"];
const NO_FOLDERS: (&str, &str) = ("mkdir", "a folder is only a prefix of names");
const NO_LINK: (&str, &str) = ("link", "the client makes none");
const NO_ABOUT: (&str, &str) = ("about", "the provider has no quota");

pub(crate) fn rows() -> [Row; 3] {
    let row = |name, config| Row {
        name,
        fakes: &["azureblob"],
        config,
        proxy: false,
        flags: FLAGS,
        root: "X:box",
        exceptions: &[NO_FOLDERS, NO_LINK, NO_ABOUT],
        log: all_ways_taken,
    };
    [
        Row { log: all_signed, ..row("azureblob", by_key) },
        row("azureblob (SAS)", by_signature),
        Row { proxy: true, ..row("azureblob (Entra)", by_token) },
    ]
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}

fn by_key(_: &Running, accounts: &Value, _: &Client) -> String {
    let account = &accounts["accounts"]["fakeaccount"];
    let (key, endpoint) = (text(account, "key"), text(account, "endpoint"));
    format!("type = azureblob\naccount = fakeaccount\nkey = {key}\nendpoint = {endpoint}")
}

/// A signature for everything in the account, computed here by the published recipe.
fn by_signature(front: &Running, accounts: &Value, _: &Client) -> String {
    let account = &accounts["accounts"]["fakeaccount"];
    let fields = ["fakeaccount", "rwdlac", "b", "sco", "", "2099-01-01T00:00:00Z", "", "", "2021-12-02", "", ""];
    let key = BASE64.decode(text(account, "key").as_bytes()).unwrap();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
    mac.update(fields.join("\n").as_bytes());
    let signature = causeway_fakes::text::encode(&BASE64.encode(&mac.finalize().into_bytes()), "");
    let query = format!("sv=2021-12-02&ss=b&srt=sco&sp=rwdlac&se=2099-01-01T00:00:00Z&sig={signature}");
    format!("type = azureblob\nsas_url = {}/fakeaccount?{query}", front.origin())
}

fn by_token(_: &Running, accounts: &Value, _: &Client) -> String {
    let of = |name| text(accounts, name);
    format!(
        "type = azureblob\naccount = fakeaccount\ntenant = {}\nclient_id = {}\nclient_secret = {}",
        of("tenant"),
        of("client_id"),
        of("client_secret")
    )
}

/// The large upload went by blocks, listings went on at markers, and nothing was refused.
fn all_ways_taken(log: &[Logged]) -> Result<(), String> {
    nothing_refused(log)?;
    for part in ["comp=blocklist", "marker=1", "marker=2"] {
        if !log.iter().any(|entry| entry.query.contains(part)) {
            return Err(format!("no request had {part}"));
        }
    }
    Ok(())
}

/// Besides, every request carried a signature.
fn all_signed(log: &[Logged]) -> Result<(), String> {
    all_ways_taken(log)?;
    let signed = |entry: &&Logged| {
        entry.headers.iter().any(|(name, value)| name == "Authorization" && value.starts_with("SharedKey fakeaccount:"))
    };
    match log.iter().find(|entry| !signed(entry)) {
        Some(entry) => Err(format!("not signed: {entry:?}")),
        None => Ok(()),
    }
}
