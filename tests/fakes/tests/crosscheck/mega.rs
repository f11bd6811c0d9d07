//! MEGA: signing in by both versions of key derivation and with a second factor, and transfers over plain HTTP and over TLS.

use causeway_fakes::{Logged, Running};
use serde_json::Value;

use crate::client::Client;
use crate::{Row, nothing_refused};

const FLAGS: &[&str] = &["--mega-hard-delete"];
const EXCEPTIONS: &[(&str, &str)] = &[("copy", "the client makes none"), ("time", "the client writes none")];

pub(crate) fn rows() -> [Row; 4] {
    let row = |name, flags, config| Row {
        name,
        fakes: &["mega"],
        config,
        proxy: true,
        flags,
        root: "X:box",
        exceptions: EXCEPTIONS,
        log: nothing_refused,
    };
    [
        Row { log: plain_transfers, ..row("mega (v2)", FLAGS, version_2) },
        row("mega (v1)", FLAGS, version_1),
        row("mega (2FA)", FLAGS, second_factor),
        Row { log: secure_transfers, ..row("mega (TLS, bin)", &["--mega-use-https"], version_2) },
    ]
}

fn remote(account: &Value, client: &Client) -> String {
    let of = |name: &str| account[name].as_str().unwrap();
    format!("type = mega\nuser = {}\npass = {}", of("user"), client.obscure(of("pass")))
}

fn version_2(_: &Running, accounts: &Value, client: &Client) -> String {
    remote(&accounts["v2"], client)
}

fn version_1(_: &Running, accounts: &Value, client: &Client) -> String {
    remote(&accounts["v1"], client)
}

fn second_factor(_: &Running, accounts: &Value, client: &Client) -> String {
    let account = &accounts["mfa"];
    format!("{}\n2fa = {}", remote(account, client), account["2fa"].as_str().unwrap())
}

fn transfers(log: &[Logged], https: bool) -> Result<(), String> {
    nothing_refused(log)?;
    let mut transfers = log.iter().filter(|entry| entry.host.ends_with(".userstorage.mega.co.nz")).peekable();
    match transfers.peek() {
        None => Err("no transfer".into()),
        Some(_) => transfers.find(|entry| entry.https != https).map_or(Ok(()), |entry| Err(format!("{entry:?}"))),
    }
}

fn plain_transfers(log: &[Logged]) -> Result<(), String> {
    transfers(log, false)
}

fn secure_transfers(log: &[Logged]) -> Result<(), String> {
    transfers(log, true)
}
