//! What tests do to fakes over HTTP, at the host `control.test` or below `/control/` on the loopback address:
//!
//! | request | body | what it does |
//! |---|---|---|
//! | `POST /control/faults` | a list of [`Fault`] | replaces the faults |
//! | `GET /control/log` | | the requests so far, oldest first |
//! | `DELETE /control/log` | | forgets them |
//! | `POST /control/clock` | `{"advance_ms":n}` | moves the clock |
//! | `POST /control/page-size` | `{"entries":n}` or `{}` | sets or lifts the longest page |
//! | `GET /control/accounts` | | what clients are to be configured with |
//! | `POST /control/PROVIDER/VERB` | JSON | what that fake offers |

use std::time::Duration;

use serde_json::{Value, json};

use crate::fault::Fault;
use crate::front::{State, is_loopback};
use crate::{Request, Response};

/// The control's own host name.
pub(crate) const HOST: &str = "control.test";

/// Whether a request is for the control.
pub(crate) fn is_for(request: &Request) -> bool {
    request.host == HOST || (is_loopback(&request.host) && request.path.starts_with("/control/"))
}

pub(crate) fn answer(request: &Request, state: &mut State) -> Response {
    let path = request.path.strip_prefix("/control").unwrap_or(&request.path);
    let body = if request.body.is_empty() { Some(json!({})) } else { request.json() };
    let Some(body) = body else { return Response::json(400, &json!({"error": "the body is not JSON"})) };
    let done = match (request.method.as_str(), path) {
        ("GET", "/log") => json!(state.log),
        ("DELETE", "/log") => {
            state.log.clear();
            json!({})
        }
        ("GET", "/accounts") => {
            let origin = request.origin();
            state.fakes.iter().map(|fake| (fake.name().to_owned(), fake.accounts(&origin))).collect()
        }
        ("POST", "/faults") => match serde_json::from_value::<Vec<Fault>>(body) {
            Ok(faults) => {
                state.faults = faults;
                json!({})
            }
            Err(error) => json!({"error": error.to_string()}),
        },
        ("POST", "/clock") => match body.get("advance_ms").and_then(Value::as_u64) {
            Some(ms) => {
                state.world.advance(Duration::from_millis(ms));
                json!({"now": state.world.now().to_string()})
            }
            None => json!({"error": "advance_ms is missing"}),
        },
        ("POST", "/page-size") => {
            let entries = body.get("entries").and_then(Value::as_u64);
            state.world.page_size = entries.and_then(|entries| usize::try_from(entries).ok());
            json!({})
        }
        ("POST", other) => match other.trim_start_matches('/').split_once('/') {
            Some((name, verb)) => provider(state, name, verb, &body),
            None => Value::Null,
        },
        _ => Value::Null,
    };
    let status = match &done {
        Value::Null => 404,
        Value::Object(members) if members.contains_key("error") => 400,
        _ => 200,
    };
    Response::json(status, &done)
}

/// Hands a verb to a fake.
pub(crate) fn provider(state: &mut State, name: &str, verb: &str, body: &Value) -> Value {
    match state.fakes.iter_mut().find(|fake| fake.name() == name) {
        Some(fake) => fake.control(verb, body, &mut state.world),
        None => Value::Null,
    }
}
