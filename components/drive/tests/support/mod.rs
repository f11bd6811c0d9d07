//! A scripted drive: what it is asked is kept, what it answers is a closure.

#![allow(dead_code, reason = "no test file needs all of it")]

use std::cell::RefCell;
use std::rc::Rc;

use causeway_sdk::options::Value;
use causeway_sdk::percent::decode_form;
use causeway_sdk::prelude::*;
use causeway_sdk::testing::{self, Sent, Stand};
use drive::Drive;
use serde_json::{Value as Json, json};

pub(crate) const FOLDER: &str = "application/vnd.google-apps.folder";

pub(crate) const SHORTCUT: &str = "application/vnd.google-apps.shortcut";

pub(crate) const DOCUMENT: &str = "application/vnd.google-apps.document";

pub(crate) const DOCX: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";

pub(crate) const MD5: &str = "9a0364b9e99bb480dd25e1f0284c8555";

/// What an answer is: status, headers, body.
pub(crate) type Said = (u16, Vec<(&'static str, String)>, Json);

pub(crate) fn said(body: Json) -> Said {
    (200, Vec::new(), body)
}

pub(crate) fn refused(status: u16, reason: &str) -> Said {
    let error = json!({"error": {"code": status, "message": "No.", "errors": [{"reason": reason}]}});
    (status, Vec::new(), error)
}

/// What was asked, in order.
pub(crate) type Asked = Rc<RefCell<Vec<Sent>>>;

/// Does something with a drive of these settings that answers so, and tells what it was asked.
pub(crate) fn with<T>(
    settings: &[(&str, Value)],
    answer: impl Fn(&Sent) -> Said + 'static,
    run: impl FnOnce(&Drive) -> T,
) -> (T, Vec<Sent>) {
    let asked = Asked::default();
    let kept = asked.clone();
    let stand = settings.iter().fold(Stand::default(), |stand, (name, value)| stand.setting(name, value.clone()));
    let stand = stand.secret("access-token", "AT").server(move |sent| {
        kept.borrow_mut().push(sent.clone());
        let (status, headers, body) = answer(sent);
        let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Ok((status, headers, if body.is_null() { Vec::new() } else { body.to_string().into_bytes() }))
    });
    let result = testing::with(stand, || run(&testing::open::<Drive>().unwrap()));
    (result, asked.take())
}

pub(crate) fn truth(name: &'static str) -> (&'static str, Value) {
    (name, Value::Truth(true))
}

pub(crate) fn text(name: &'static str, value: &str) -> (&'static str, Value) {
    (name, Value::Text(value.to_owned()))
}

pub(crate) fn query(sent: &Sent, name: &str) -> Option<String> {
    let (_, query) = sent.url.split_once('?')?;
    let pair = query.split('&').find_map(|pair| pair.split_once('=').filter(|(have, _)| *have == name));
    pair.and_then(|(_, value)| decode_form(value))
}

pub(crate) fn path(sent: &Sent) -> &str {
    sent.url.strip_prefix("https://www.googleapis.com").unwrap_or(&sent.url).split('?').next().unwrap()
}

pub(crate) fn body(sent: &Sent) -> Json {
    serde_json::from_slice(&sent.body).unwrap()
}

pub(crate) fn directory(path: &str, cookie: &str) -> Node {
    Node { kind: Kind::Directory, path: path.into(), cookie: Some(cookie.into()), version: None }
}

pub(crate) fn node(path: &str, cookie: &str, version: Option<&str>) -> Node {
    Node { kind: Kind::File, version: version.map(str::to_owned), ..directory(path, cookie) }
}

pub(crate) fn file(id: &str, name: &str) -> Json {
    json!({
        "id": id, "name": name, "mimeType": "text/plain", "size": "4", "md5Checksum": MD5, "headRevisionId": "r1",
        "capabilities": {"canReadRevisions": true}, "parents": ["0R"], "modifiedTime": "2025-01-02T03:04:05.678Z",
        "trashed": false,
    })
}

pub(crate) fn also(mut item: Json, more: Json) -> Json {
    item.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    item
}

pub(crate) fn document(id: &str, name: &str) -> Json {
    json!({
        "id": id, "name": name, "mimeType": DOCUMENT, "size": "1", "parents": ["0R"],
        "webViewLink": "https://docs.google.com/d/1?a=1&b=2",
        "exportLinks": {
            "application/pdf": "https://docs.google.com/export?f=pdf&id=1",
            DOCX: "https://docs.google.com/export?f=docx&id=1",
        },
    })
}

pub(crate) fn shortcut(id: &str, name: &str, target: &str, kind: &str) -> Json {
    let details = json!({"targetId": target, "targetMimeType": kind});
    json!({"id": id, "name": name, "mimeType": SHORTCUT, "parents": ["0R"], "shortcutDetails": details})
}
