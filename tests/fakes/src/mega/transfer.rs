//! Transfers: the commands that ask for addresses, and the hosts behind them. An address is its own credential and expires.
//!
//! Downloads take their range from the path; a `Range` header means nothing here. Uploads come in whole chunks, in nearly any order;
//! the request that completes a file is answered with a token, which makes one node.
use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::account::Kind;
use super::commands::{Command, Done};
use super::crypto::{chunks, decode, encode};
use super::{Mega, NO_SESSION, NOT_FOUND, OUT_OF_RANGE, OVER_QUOTA, RATE, WRONG_ARGUMENTS, WRONG_KEY};
use crate::{Request, Response, World};

const DOWNLOAD_LIFE: SignedDuration = SignedDuration::from_hours(6);
const UPLOAD_LIFE: SignedDuration = SignedDuration::from_hours(24);
const ASCII_TOKEN_BYTES: usize = 27;
const RAW_TOKEN_BYTES: usize = 36;
/// How far ahead of the first gap a chunk may lie.
const WINDOW_BYTES: u64 = 32 << 20;

/// An address to upload to.
#[derive(Debug)]
pub(super) struct Upload {
    account: usize,
    size: u64,
    until: Timestamp,
    /// By where they begin.
    chunks: BTreeMap<u64, Bytes>,
    token: Vec<u8>,
    done: bool,
}

/// An address to download from.
#[derive(Debug)]
pub(super) struct Download {
    content: Bytes,
    until: Timestamp,
}

impl Upload {
    /// What a token is called in `p`: as text if it was answered as text.
    fn is_called(&self, token: &str) -> bool {
        let text = self.token.get(..ASCII_TOKEN_BYTES).map(encode);
        text.as_deref() == Some(token) || decode(token).as_deref() == Some(self.token.as_slice())
    }

    /// As if its time were over.
    pub(super) fn expire(&mut self) {
        self.until = Timestamp::MIN;
    }

    /// Where the first chunk is missing.
    fn gap(&self) -> u64 {
        chunks(self.size).find(|(start, _)| !self.chunks.contains_key(start)).map_or(self.size, |(start, _)| start)
    }
}

impl Download {
    /// As if its time were over.
    pub(super) fn expire(&mut self) {
        self.until = Timestamp::MIN;
    }
}

impl Mega {
    /// `g`: where a file can be read; by public handle without a session.
    pub(super) fn get(&mut self, command: Command<'_>, session: Option<usize>, world: &mut World) -> Done {
        let node = match (command.text("p"), session) {
            (Some(link), _) => {
                let nodes = self.accounts.iter().flat_map(|account| account.nodes.values());
                nodes.into_iter().find(|node| node.link.as_deref() == Some(link)).cloned()
            }
            (None, Some(index)) => {
                let account = self.accounts.get(index).ok_or(NO_SESSION)?;
                account.nodes.get(command.need("n")?).cloned()
            }
            (None, None) => return Err(NO_SESSION),
        };
        let node = node.filter(|node| node.kind == Kind::File).ok_or(NOT_FOUND)?;
        if self.tricks.taken_down.contains(&node.handle) {
            return Ok(json!({ "s": node.content.len(), "at": node.attributes, "d": 1, "e": super::BLOCKED }));
        }
        if let Some(seconds) = self.tricks.quota_seconds(world.now()) {
            return Ok(json!({ "e": OVER_QUOTA, "tl": seconds }));
        }
        let token = world.word(44);
        let until = world.now().saturating_add(DOWNLOAD_LIFE).unwrap_or(Timestamp::MAX);
        let address = address(command, "dl", &token);
        let (size, attributes) = (node.content.len(), node.attributes);
        self.downloads.insert(token, Download { content: node.content, until });
        Ok(json!({ "s": size, "at": attributes, "g": address, "msd": 1, "tl": 0 }))
    }

    /// `u`: where so many bytes can be written.
    pub(super) fn put(&mut self, command: Command<'_>, index: usize, world: &mut World) -> Done {
        let size = command.number("s").and_then(|size| u64::try_from(size).ok()).ok_or(WRONG_ARGUMENTS)?;
        let account = self.accounts.get(index).ok_or(NO_SESSION)?;
        if account.used_bytes() + size > account.limit_bytes {
            return Err(OVER_QUOTA);
        }
        let token = world.word(44);
        let until = world.now().saturating_add(UPLOAD_LIFE).unwrap_or(Timestamp::MAX);
        let address = address(command, "ul", &token);
        let upload = Upload {
            account: index,
            size,
            until,
            chunks: BTreeMap::new(),
            token: world.bytes(RAW_TOKEN_BYTES),
            done: false,
        };
        self.uploads.insert(token, upload);
        Ok(json!({ "p": address }))
    }

    /// The content behind a completion token.
    pub(super) fn uploaded(&self, token: &str, account: usize) -> Option<Bytes> {
        let upload =
            self.uploads.values().find(|upload| upload.done && upload.account == account && upload.is_called(token))?;
        Some(upload.chunks.values().flat_map(|chunk| chunk.iter().copied()).collect())
    }

    /// A token makes one node.
    pub(super) fn used_up(&mut self, token: &str) {
        self.uploads.retain(|_, upload| !(upload.done && upload.is_called(token)));
    }

    /// The hosts of transfers.
    pub(super) fn transfer(&mut self, request: &Request, world: &World) -> Response {
        let segments = request.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (request.method.as_str(), segments.as_slice()) {
            ("GET" | "POST", ["dl", token, rest @ ..]) => self.download(token, rest, world),
            ("POST", ["ul", token, rest @ ..]) => self.accept(token, rest, request, world),
            ("OPTIONS", _) => Response::empty(200),
            _ => Response::empty(404),
        }
    }

    fn download(&self, token: &str, rest: &[&str], world: &World) -> Response {
        let Some(download) = self.downloads.get(token) else { return Response::empty(404) };
        if download.until <= world.now() {
            return Response::empty(403);
        }
        if let Some(seconds) = self.tricks.quota_seconds(world.now()) {
            return Response::empty(509).with("X-MEGA-Time-Left", seconds.to_string());
        }
        let size = download.content.len();
        let part = match rest {
            [] => Some(download.content.clone()),
            [range] => range.split_once('-').and_then(|(first, last)| {
                let first: usize = first.parse().ok()?;
                let last = if last.is_empty() { size } else { last.parse::<usize>().ok()?.checked_add(1)? };
                (first < last && first < size).then(|| download.content.slice(first..last.min(size)))
            }),
            _ => None,
        };
        match part {
            Some(part) => Response::of(200, "application/octet-stream", part),
            None => Response::empty(400),
        }
    }

    /// Whole chunks of an upload. Errors are numbers in the body.
    fn accept(&mut self, token: &str, rest: &[&str], request: &Request, world: &World) -> Response {
        let number = |code: i64| Response::text(200, code.to_string());
        let Some(upload) = self.uploads.get_mut(token) else { return Response::empty(404) };
        if upload.until <= world.now() {
            return Response::empty(403);
        }
        let [start] = rest else { return number(OUT_OF_RANGE) };
        let Ok(start) = start.parse::<u64>() else { return number(OUT_OF_RANGE) };
        let folded = request.param("d");
        if folded.as_deref().is_some_and(|told| decode(told).as_deref() != Some(&fold(&request.body))) {
            return number(WRONG_KEY);
        }
        let end = start.saturating_add(request.body.len() as u64);
        let covered: Vec<_> = chunks(upload.size).filter(|(from, to)| *from >= start && *to <= end).collect();
        let fits =
            covered.first().is_some_and(|(from, _)| *from == start) && covered.last().is_some_and(|(_, to)| *to == end);
        let nothing = upload.size == 0 && start == 0 && end == 0;
        if !fits && !nothing {
            return number(OUT_OF_RANGE);
        }
        if folded.is_some() && start > upload.gap().saturating_add(WINDOW_BYTES) {
            return number(RATE);
        }
        let mut rest = request.body.clone();
        for (from, to) in covered {
            let length = usize::try_from(to - from).unwrap_or_default().min(rest.len());
            upload.chunks.insert(from, rest.split_to(length));
        }
        upload.done = upload.gap() == upload.size;
        match (upload.done, folded.is_some()) {
            (false, false) => Response::empty(200),
            (false, true) => Response::text(200, "0"),
            (true, true) => Response::of(200, "application/octet-stream", upload.token.clone()),
            (true, false) => Response::text(200, upload.token.get(..ASCII_TOKEN_BYTES).map(encode).unwrap_or_default()),
        }
    }
}

/// With `ssl` at 2 an https address, else plain http.
fn address(command: Command<'_>, kind: &str, token: &str) -> String {
    let scheme = if command.number("ssl") == Some(2) { "https" } else { "http" };
    format!("{scheme}://gfs270n114.userstorage.mega.co.nz/{kind}/{token}")
}

/// Twelve bytes that every byte went into.
fn fold(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 12];
    for chunk in bytes.chunks(12) {
        for (to, from) in out.iter_mut().zip(chunk) {
            *to ^= from;
        }
    }
    out
}
