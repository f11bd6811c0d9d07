//! Seafile: a library of its own, all libraries at once, an encrypted one, and a token that was got with a one-time code.

use std::io::{Read, Write};
use std::net::TcpStream;

use causeway_fakes::Running;
use serde_json::{Value, json};

use crate::client::Client;
use crate::{Row, nothing_refused};

const NO_TIME: (&str, &str) = ("time", "times are the server's");
const NO_PAGES: (&str, &str) = ("pages", "a listing is one answer, however long");

pub(crate) fn rows() -> [Row; 4] {
    let row = |name, config, root| Row {
        name,
        fakes: &["seafile"],
        config,
        proxy: false,
        flags: &[],
        root,
        exceptions: &[NO_TIME, NO_PAGES],
        log: nothing_refused,
    };
    [
        row("seafile", one_library, "X:box"),
        row("seafile (all)", all_libraries, "X:Docs/box"),
        row("seafile (2FA)", by_token, "X:box"),
        Row {
            exceptions: &[NO_TIME, NO_PAGES, ("link", "an encrypted library has none")],
            ..row("seafile (encrypted)", encrypted, "X:box")
        },
    ]
}

fn account(accounts: &Value, client: &Client) -> String {
    let of = |name: &str| accounts[name].as_str().unwrap();
    format!("type = seafile\nurl = {}\nuser = {}\npass = {}", of("url"), of("user"), client.obscure(of("password")))
}

fn one_library(_: &Running, accounts: &Value, client: &Client) -> String {
    format!("{}\nlibrary = Docs", account(accounts, client))
}

fn all_libraries(_: &Running, accounts: &Value, client: &Client) -> String {
    account(accounts, client)
}

/// Signs in as the user who needs a one-time code; the client is only given the token.
fn by_token(front: &Running, accounts: &Value, _: &Client) -> String {
    let user = &accounts["users"][1];
    let of = |name: &str| user[name].as_str().unwrap();
    let body = json!({"username": of("user"), "password": of("password")}).to_string();
    let mut stream = TcpStream::connect(front.address).unwrap();
    let head =
        "POST /api2/auth-token/ HTTP/1.1\r\nHost: seafile.test\r\nContent-Type: application/json\r\nConnection: close";
    write!(stream, "{head}\r\nX-SEAFILE-OTP: {}\r\nContent-Length: {}\r\n\r\n{body}", of("one_time_code"), body.len())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let told: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let (url, token) = (accounts["url"].as_str().unwrap(), told["token"].as_str().unwrap());
    format!("type = seafile\nurl = {url}\nuser = {}\n2fa = true\nauth_token = {token}\nlibrary = Docs", of("user"))
}

fn encrypted(_: &Running, accounts: &Value, client: &Client) -> String {
    format!("{}\nlibrary = Secret\nlibrary_key = {}", account(accounts, client), client.obscure("librarykey"))
}
