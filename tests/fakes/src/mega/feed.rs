//! The feed of changes: `/sc` answers what happened since a place, or where to wait for it.
use serde_json::{Value, json};

use super::account::{place, sequence};
use super::{Mega, NO_SESSION, TOO_MANY, WRONG_ARGUMENTS};
use crate::{Reply, Request, Response, World};

const LARGEST_PAGE: usize = 1000;

impl Mega {
    pub(super) fn feed(&mut self, request: &Request, world: &mut World) -> Response {
        let Some(index) = self.session(request) else { return number(NO_SESSION) };
        let Some(account) = self.accounts.get(index) else { return number(NO_SESSION) };
        let from = request.param("sn").and_then(|sn| place(&sn)).filter(|from| *from <= account.events.len());
        let Some(from) = from else { return number(WRONG_ARGUMENTS) };
        if from < self.tricks.feed_begins {
            return number(TOO_MANY);
        }
        let events = account.events.get(from..).unwrap_or_default();
        if events.is_empty() {
            let token = world.word(24);
            let address = format!("{}/wait/{token}", request.origin());
            self.waits.insert(token, (index, from));
            return Response::json(200, &json!({ "w": address }));
        }
        let page: Vec<&Value> = events.iter().take(world.page(None, LARGEST_PAGE)).collect();
        let mut answer = json!({ "a": page, "sn": sequence(from + page.len()) });
        if let (true, Some(object)) = (page.len() < events.len(), answer.as_object_mut()) {
            object.insert("ir".into(), json!(1));
        }
        Response::json(200, &answer)
    }

    /// Answers when something happened, or after the front's patience. What it says means nothing.
    pub(super) fn wait(&self, token: &str, request: &Request) -> Reply {
        let Some((index, from)) = self.waits.get(token) else { return Response::empty(404).into() };
        let account = self.accounts.get(*index);
        let due = account.is_none_or(|account| account.events.len() > *from || account.sessions.is_empty());
        if due || request.last_call { Response::text(200, "0").into() } else { Reply::Wait }
    }
}

/// A bare number.
pub(super) fn number(code: i64) -> Response {
    Response::json(200, &json!(code))
}
