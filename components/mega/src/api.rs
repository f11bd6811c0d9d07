//! A function per command: how it is asked, and what the numbers mean that are answered instead.

use std::io::Read;

use causeway_sdk::data;
use causeway_sdk::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::crypto::{self, Cipher};
use crate::wire;

/// Where all commands go.
pub(crate) const HOST: &str = "https://g.api.mega.co.nz";
/// The slot of the session id.
pub(crate) const SID: &str = "sid";
/// The slot of the user's handle and the master key.
pub(crate) const KEYS: &str = "keys";

/// A number for a request: a repeated one is answered as before, whatever came in between.
pub(crate) fn number() -> u32 {
    causeway_sdk::random(4).into_iter().fold(0, |number, byte| number << 8 | u32::from(byte))
}

/// The request for these commands, under this number. Sending it twice does no harm.
fn request(number: u32, commands: &impl Serialize, signed_in: bool) -> Result<Request> {
    let request = Request::post(HOST).path("cs").query("id", &number.to_string());
    let request = if signed_in { request.query_secret("sid", &Secret::slot(SID)) } else { request };
    Ok(request.json(commands)?.repeatable(true))
}

/// The answers to these commands, one for each; a refusal of one is its number.
pub(crate) fn ask_all(number: u32, commands: &[Value]) -> Result<Vec<Value>> {
    let answers = answers(&request(number, &commands, true)?.send()?)?;
    match answers.as_slice() {
        [one] if commands.len() > 1 => Err(refused(one.as_i64().unwrap_or(RETRY))),
        _ => Ok(answers),
    }
}

/// The answer to a command.
pub(crate) fn ask<T: DeserializeOwned>(command: Value) -> Result<T> {
    ask_as(number(), &command)
}

/// The same, under this number.
pub(crate) fn ask_as<T: DeserializeOwned>(number: u32, command: &Value) -> Result<T> {
    only(ask_all(number, std::slice::from_ref(command))?)
}

/// The answer to a command of those who are not signed in yet; a refusal is its number.
pub(crate) fn ask_signed_out(command: Value) -> Result<Value> {
    let answers = answers(&request(number(), &[command], false)?.send()?)?;
    answers.into_iter().next().ok_or_else(not_understood)
}

fn answers(answer: &Answer) -> Result<Vec<Value>> {
    match accepted(answer)? {
        Value::Array(answers) => Ok(answers),
        _ => Err(not_understood().seen_in(answer)),
    }
}

/// The body of an answer that is one, and no number.
fn accepted(answer: &Answer) -> Result<Value> {
    if answer.status() != 200 {
        return Err(meaning(answer));
    }
    let body: Value = answer.json()?;
    match body.as_i64().or_else(|| body.as_array().filter(|answers| answers.len() == 1)?.first()?.as_i64()) {
        Some(number) if number < 0 && (body.is_number() || number == RETRY || number == NO_SESSION) => {
            Err(refused(number))
        }
        _ => Ok(body),
    }
}

fn only<T: DeserializeOwned>(answers: Vec<Value>) -> Result<T> {
    let [answer] = <[Value; 1]>::try_from(answers).map_err(|_| not_understood())?;
    understood(answer)
}

/// An answer as what it should be.
pub(crate) fn understood<T: DeserializeOwned>(answer: Value) -> Result<T> {
    if let Some(number) = answer.as_i64().filter(|number| *number < 0) {
        return Err(refused(number));
    }
    serde_json::from_value(answer).map_err(|error| not_understood().detail(error.to_string()))
}

/// Nothing is told when it was done.
pub(crate) fn done(answer: Value) -> Result<()> {
    understood::<serde::de::IgnoredAny>(answer).map(|_| ())
}

fn not_understood() -> Error {
    Error::unavailable("the provider's answer cannot be understood")
}

/// The whole tree, to be read bit by bit.
pub(crate) fn tree() -> Result<impl Read> {
    let (answer, body) = request(number(), &json!([{"a": "f", "c": 1, "r": 1}]), true)?.open()?;
    if answer.status() == 200 { Ok(body) } else { Err(meaning(&answer)) }
}

/// What happened since a place in the news; none where that place counts no more.
pub(crate) fn news(since: &str) -> Result<Option<wire::News>> {
    let request = Request::post(HOST).path("sc").query("sn", since).query_secret("sid", &Secret::slot(SID));
    let answer = request.repeatable(true).send()?;
    if answer.status() != 200 {
        return Err(meaning(&answer));
    }
    let told: Value = answer.json()?;
    match told.as_i64().or_else(|| told.as_array()?.first()?.as_i64()) {
        Some(number @ (RETRY | -4 | -18 | -19 | NO_SESSION | BLOCKED)) => Err(refused(number)),
        Some(_) => Ok(None),
        None => serde_json::from_value(told).map(Some).map_err(|error| not_understood().detail(error.to_string())),
    }
}

/// Where a file can be read.
pub(crate) fn download(handle: &str) -> Result<wire::Download> {
    let told: wire::Download = ask(json!({"a": "g", "g": 1, "n": handle, "ssl": 2}))?;
    match told.e {
        _ if told.d.is_some() => Err(refused(BLOCKED)),
        Some(OVER_QUOTA) if told.tl > 0 => {
            Err(Error::new(ErrorKind::QuotaExceeded, format!("more may be read in {} s", told.tl)))
        }
        Some(number) => Err(refused(number)),
        None => Ok(told),
    }
}

/// An address of transfers; it is always asked over TLS.
pub(crate) fn over_tls(url: &str) -> String {
    url.strip_prefix("http://").map_or_else(|| url.to_owned(), |rest| format!("https://{rest}"))
}

/// The user's handle and the master key, as the sign-in left them.
pub(crate) fn keys() -> Result<(String, Cipher)> {
    let lost = || Error::new(ErrorKind::Unauthenticated, "there is no session");
    let slot = Secret::slot(KEYS);
    if !slot.is_sealed() {
        return Err(lost());
    }
    let (user, master): (String, String) = data::json(&slot.reveal()?).map_err(|_: Error| lost())?;
    let master = crypto::decode(&master).and_then(|master| master.try_into().ok()).ok_or_else(lost)?;
    Ok((user, Cipher::new(&master)))
}

const RETRY: i64 = -3;
const NO_SESSION: i64 = -15;
const BLOCKED: i64 = -16;
const OVER_QUOTA: i64 = -17;
/// Signing in: the second factor is missing, or wrong.
pub(crate) const SECOND_FACTOR: i64 = -26;
/// Signing in: the account was never confirmed.
pub(crate) const UNCONFIRMED: i64 = -13;
/// There is no such thing; signing in: the password is wrong.
pub(crate) const ABSENT: i64 = -9;

/// What a number means.
pub(crate) fn refused(number: i64) -> Error {
    let (kind, message) = match number {
        ABSENT => (ErrorKind::NotFound, "there is no such thing at the provider"),
        -11 | -27 | -30 => (ErrorKind::Denied, "the provider denied this"),
        BLOCKED => (ErrorKind::Denied, "the provider has blocked this account, or taken this file down"),
        -12 => (ErrorKind::AlreadyExists, "there is already something at the provider"),
        -10 => (ErrorKind::Invalid, "a directory cannot lie in itself"),
        -2 | -7 => (ErrorKind::Invalid, "the provider refused the request"),
        NO_SESSION | SECOND_FACTOR | UNCONFIRMED => (ErrorKind::Unauthenticated, "the provider ended the session"),
        OVER_QUOTA | -24 | -29 => (ErrorKind::QuotaExceeded, "the account has used up what it may store or transfer"),
        -14 | -20 | -21 => (ErrorKind::Corrupt, "the content is damaged"),
        -4 | -6 | -19 => (ErrorKind::RateLimited(None), "the provider asks for fewer requests"),
        _ => (ErrorKind::Unavailable(None), "the provider cannot answer now"),
    };
    Error::new(kind, message).detail(format!("error {number}"))
}

/// What an answer means that is none: of commands and of transfers.
pub(crate) fn meaning(answer: &Answer) -> Error {
    match answer.status() {
        402 => Error::new(ErrorKind::RateLimited(None), "the provider wants a proof of work").seen_in(answer),
        509 => Error::new(ErrorKind::QuotaExceeded, "the account may transfer no more for now").seen_in(answer),
        _ => Error::by_status(answer),
    }
}
