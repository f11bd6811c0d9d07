//! `GET /api/v1/oauth/callback`: where a provider sends a person back to. It grants nothing, looks nothing up and keeps
//! nothing: it shows what came, so that whoever began the consent takes it with their own token. Whoever was lured here
//! with somebody else's code gives nothing away and gains nothing.
//!
//! No script, no link and no picture is in the page, and it tells nobody where it was: not by a referrer, not in a cache, not
//! in the log, which holds no query.

use axum::extract::RawQuery;
use axum::http::{HeaderName, header};
use axum::response::{Html, IntoResponse, Response};
use serde_json::{Map, Value};

use crate::Api;
use crate::error::{ApiError, ApiResult};

/// The path of this page.
pub(crate) const PATH: &str = "/api/v1/oauth/callback";

/// The longest query that is shown, in bytes.
const QUERY_BYTES: usize = 16 << 10;

/// Parameters besides `state` and `code` that are shown, at most.
const PARAMETERS: usize = 16;

const HEADERS: [(HeaderName, &str); 5] = [
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

/// Where a person comes back to: from the configuration, never from what a request says.
pub(crate) fn redirect_uri(api: &Api) -> ApiResult<String> {
    match &api.public_url {
        Some(url) => Ok(format!("{url}{PATH}")),
        None => Err(ApiError::invalid(
            "PUBLIC_URL_MISSING",
            "This provider asks for consent in a browser, and the server does not know its own address: the operator must \
             set public-url",
        )),
    }
}

/// Where a provider sends a person after the consent. Shows what is to be given to `POST /api/v1/backends/{id}/authorize`.
#[utoipa::path(
    get, path = "/api/v1/oauth/callback", tag = "backends", security(()),
    responses((status = 200, description = "A page with what is to be posted", content_type = "text/html", body = String))
)]
pub(crate) async fn callback(RawQuery(query): RawQuery) -> Response {
    let query = query.filter(|query| query.len() <= QUERY_BYTES).unwrap_or_default();
    let pairs: Vec<(String, String)> = query.split('&').filter_map(pair).collect();
    let of = |wanted: &str| pairs.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let text = match (of("state"), of("code")) {
        (Some(state), Some(code)) => {
            let shown = shown(state, code, &pairs);
            format!(
                "<p>The provider has sent you back. Whoever began this takes the consent once, within ten minutes, with</p>\
                 <pre>POST /api/v1/backends/&lt;id&gt;/authorize\n{}</pre><p>and their own token. Give it to nobody else.</p>",
                escape(&shown)
            )
        }
        _ => {
            let reason = of("error")
                .map(|error| format!(" ({})", escape(error.get(..100).unwrap_or(error))))
                .unwrap_or_default();
            format!("<p>The provider has sent you back without a consent{reason}. Nothing has changed.</p>")
        }
    };
    let page = format!("<!doctype html><meta charset=\"utf-8\"><title>Causeway</title><h1>Causeway</h1>{text}");
    (HEADERS, Html(page)).into_response()
}

/// What is to be posted.
fn shown(state: &str, code: &str, pairs: &[(String, String)]) -> String {
    let plain = |name: &str| {
        let sound = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        (1..=64).contains(&name.len()) && name.bytes().all(sound)
    };
    let more = pairs.iter().filter(|(name, _)| !["state", "code"].contains(&name.as_str()) && plain(name));
    let more: Map<String, Value> =
        more.take(PARAMETERS).map(|(name, value)| (name.clone(), value.clone().into())).collect();
    let mut body = Map::from_iter([("state".to_owned(), state.into()), ("code".to_owned(), code.into())]);
    if !more.is_empty() {
        body.insert("parameters".to_owned(), more.into());
    }
    Value::Object(body).to_string()
}

fn pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    Some((decode(name)?, decode(value)?))
}

/// Percent-encoding and `+` undone; none if that is no text.
fn decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok()
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() && c != '\n' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
