//! Seafile: a library of its own, all libraries at once, an encrypted one, and a token that was got with a one-time code.

use causeway_fakes::Running;
use serde_json::Value;

use crate::client::Client;
use crate::{Row, nothing_refused};

const NO_TIME: (&str, &str) = ("time", "times are the server's");

pub(crate) fn rows() -> [Row; 3] {
    let row = |name, config, root| Row {
        name,
        fakes: &["seafile"],
        config,
        proxy: false,
        flags: &[],
        root,
        exceptions: &[NO_TIME],
        log: nothing_refused,
    };
    [
        row("seafile", one_library, "X:box"),
        row("seafile (all)", all_libraries, "X:Docs/box"),
        Row {
            exceptions: &[NO_TIME, ("link", "an encrypted library has none")],
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

fn encrypted(_: &Running, accounts: &Value, client: &Client) -> String {
    format!("{}\nlibrary = Secret\nlibrary_key = {}", account(accounts, client), client.obscure("librarykey"))
}
