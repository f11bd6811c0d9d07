//! MEGA: a server that stores ciphertext. Sign-in of both versions really verified, with a session that only the right key opens;
//! the tree in one answer; transfers by path; the feed of changes with its waiting.
//!
//! What tests may do to it stands in [`control`]. Three accounts: of version 2, of version 1, and one with a second factor.
mod account;
mod commands;
mod control;
mod crypto;
mod feed;
mod hashcash;
mod keys;
mod nodes;
#[cfg(test)]
mod tests;
mod transfer;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{Fake, Reply, Request, Response, World};
use account::Account;
use control::Tricks;
use hashcash::Challenge;
use keys::KeyPair;
use transfer::{Download, Upload};

/// An error of MEGA, a negative number.
type Code = i64;

const WRONG_ARGUMENTS: Code = -2;
const AGAIN: Code = -3;
const OUT_OF_RANGE: Code = -7;
const EXPIRED: Code = -8;
const NOT_FOUND: Code = -9;
const CIRCULAR: Code = -10;
const NO_ACCESS: Code = -11;
const WRONG_KEY: Code = -14;
const NO_SESSION: Code = -15;
const BLOCKED: Code = -16;
const OVER_QUOTA: Code = -17;
const SECOND_FACTOR: Code = -26;
const TOO_MANY: Code = -6;
const RATE: Code = -4;

/// The server.
#[derive(Debug)]
pub struct Mega {
    accounts: Vec<Account>,
    pair: KeyPair,
    /// Answers by session and request id, for repetitions.
    answers: BTreeMap<(String, String), Value>,
    uploads: BTreeMap<String, Upload>,
    downloads: BTreeMap<String, Download>,
    /// What a waiting request waits behind: account and place in the feed.
    waits: BTreeMap<String, (usize, usize)>,
    challenge: Option<Challenge>,
    tricks: Tricks,
}

impl Default for Mega {
    fn default() -> Mega {
        let mut world = World::default();
        let accounts = vec![
            Account::new("alice@example.com", "hunter2", 2, None, &mut world),
            Account::new("old@example.com", "hunter2-long-password", 1, None, &mut world),
            Account::new("careful@example.com", "pässword with blanks ", 2, Some("123456"), &mut world),
        ];
        Mega {
            accounts,
            pair: KeyPair::fixed(),
            answers: BTreeMap::new(),
            uploads: BTreeMap::new(),
            downloads: BTreeMap::new(),
            waits: BTreeMap::new(),
            challenge: None,
            tricks: Tricks::default(),
        }
    }
}

impl Fake for Mega {
    fn name(&self) -> &'static str {
        "mega"
    }

    fn hosts(&self) -> Vec<String> {
        ["g.api.mega.co.nz", "g.api.mega.nz", "*.userstorage.mega.co.nz"].map(str::to_owned).to_vec()
    }

    fn owns_path(&self, path: &str) -> bool {
        ["/cs", "/sc", "/wsc"].contains(&path)
    }

    fn answer(&mut self, request: &Request, world: &mut World) -> Reply {
        if request.host.ends_with(".userstorage.mega.co.nz") {
            return Reply::Now(self.transfer(request, world));
        }
        match request.path.as_str() {
            "/cs" if request.method == "POST" => Reply::Now(self.commands(request, world)),
            "/sc" | "/wsc" => Reply::Now(self.feed(request, world)),
            path => match path.strip_prefix("/wait/") {
                Some(token) => self.wait(token, request),
                None => Reply::Now(Response::empty(404)),
            },
        }
    }

    fn control(&mut self, verb: &str, body: &Value, world: &mut World) -> Value {
        self.trick(verb, body, world)
    }

    fn accounts(&self, _origin: &str) -> Value {
        let show = |account: &Account| json!({ "user": account.email, "pass": account.password, "version": account.version, "2fa": account.second_factor });
        let named = ["v2", "v1", "mfa"].into_iter().zip(&self.accounts);
        named.map(|(name, account)| (name.to_owned(), show(account))).collect()
    }
}

impl Mega {
    /// Whose session a request names.
    fn session(&self, request: &Request) -> Option<usize> {
        let sid = request.param("sid")?;
        self.accounts.iter().position(|account| account.sessions.contains(&sid))
    }
}
