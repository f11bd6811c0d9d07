//! What the provider's side answers to token requests: tokens, codes for devices, and errors, also those that come with a
//! status of 200.

use std::time::{Duration, SystemTime};

use causeway_storage::{Error, ErrorKind, Result, Secret};
use serde_json::{Value, json};

use crate::request::Response;

/// The shortest pause between two questions whether a device's code was typed.
const DEVICE_INTERVAL_S: u64 = 5;

/// The longest lifetime that is believed, in seconds: a year.
const LONGEST_LIFE_S: u64 = 366 * 86_400;

/// Tokens, as they were given.
#[derive(Clone, PartialEq, Eq)]
pub struct Tokens {
    /// What requests carry.
    pub access: Secret,
    /// What renews it, where there is such a thing.
    pub refresh: Option<Secret>,
    /// When the access token ends, in milliseconds since 1970, if it was told.
    pub expires_ms: Option<u64>,
    /// `Bearer`, nearly always.
    pub token_type: String,
    /// What was granted, if it was told.
    pub scope: Option<String>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(..)")
    }
}

impl Tokens {
    /// Reads tokens from JSON: an answer, what [`Tokens::to_json`] made, or what another program kept (`expiry` as a date).
    pub fn from_json(bytes: &[u8]) -> Option<Tokens> {
        Tokens::of(&serde_json::from_slice(bytes).ok()?)
    }

    /// As JSON, to be kept sealed.
    pub fn to_json(&self) -> Value {
        let shown = |secret: &Secret| String::from_utf8_lossy(secret.expose()).into_owned();
        json!({
            "access_token": shown(&self.access),
            "refresh_token": self.refresh.as_ref().map(shown),
            "expires_ms": self.expires_ms,
            "token_type": self.token_type,
            "scope": self.scope,
        })
    }

    /// How long the access token still lives; none if nobody told.
    pub fn lives(&self) -> Option<Duration> {
        self.expires_ms.map(|at| Duration::from_millis(at.saturating_sub(now_ms())))
    }

    /// With the refresh token (and scope) of the tokens before, where the answer brought none.
    pub(super) fn or_refresh_of(mut self, before: &Tokens) -> Tokens {
        self.refresh = self.refresh.or_else(|| before.refresh.clone());
        self.scope = self.scope.or_else(|| before.scope.clone());
        self
    }

    fn of(json: &Value) -> Option<Tokens> {
        let text = |name: &str| json.get(name)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let refresh = text("refresh_token").map(Secret::new);
        // What another program kept may hold nothing but a refresh token: then the access token has ended already.
        let access = match text("access_token") {
            Some(access) => access,
            None if refresh.is_some() => String::new(),
            None => return None,
        };
        let ended = access.is_empty().then_some(0);
        let seconds = json.get("expires_in").and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
        let lives = seconds.filter(|seconds| *seconds > 0).map(|s| now_ms() + s.min(LONGEST_LIFE_S) * 1000);
        let kept = json.get("expires_ms").and_then(Value::as_u64);
        let date = || text("expiry").and_then(|date| date.parse::<jiff::Timestamp>().ok());
        // Some programs write the year 1 for "never".
        let date = || date().map(|at| at.as_millisecond()).and_then(|ms| u64::try_from(ms).ok());
        Some(Tokens {
            access: Secret::new(access),
            refresh,
            expires_ms: ended.or(kept).or_else(date).or(lives),
            token_type: text("token_type").unwrap_or_else(|| "Bearer".to_owned()),
            scope: text("scope"),
        })
    }
}

/// A code for a person to type.
#[derive(Clone)]
pub struct DeviceCode {
    /// Where to type it.
    pub url: String,
    /// What to type.
    pub user_code: String,
    /// What asks whether it was typed.
    pub code: Secret,
    /// How long it can be typed.
    pub lives: Duration,
    /// How long to wait between two questions.
    pub interval: Duration,
}

impl std::fmt::Debug for DeviceCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DeviceCode({})", self.url)
    }
}

/// Whether the code was typed.
#[derive(Debug)]
pub enum Polled {
    /// It was.
    Given(Tokens),
    /// Not yet.
    NotYet,
    /// Not yet, and the questions come too fast.
    SlowDown,
}

/// The tokens of an answer.
pub(super) fn tokens(answer: &Response, what: &str) -> Result<Tokens> {
    let json = parsed(answer);
    match json.as_ref().and_then(Tokens::of) {
        Some(tokens) if is_success(answer) && !tokens.access.expose().is_empty() => Ok(tokens),
        _ => Err(refusal(answer, json.as_ref(), what)),
    }
}

/// The code of an answer.
pub(super) fn device_code(answer: &Response) -> Result<DeviceCode> {
    let json = parsed(answer);
    let read = |json: &Value| {
        let text = |name: &str| json.get(name)?.as_str().map(str::to_owned);
        let number = |name: &str| json.get(name).and_then(Value::as_u64);
        let url = text("verification_uri").or_else(|| text("verification_url"))?;
        let shown = url.starts_with("https://") || url.starts_with("http://");
        Some(DeviceCode {
            url: Some(url).filter(|_| shown)?,
            user_code: text("user_code")?,
            code: Secret::new(text("device_code")?),
            lives: Duration::from_secs(number("expires_in").unwrap_or(600).min(86_400)),
            interval: Duration::from_secs(number("interval").unwrap_or(DEVICE_INTERVAL_S).clamp(1, 60)),
        })
    };
    let code = json.as_ref().and_then(read).filter(|_| is_success(answer));
    code.ok_or_else(|| refusal(answer, json.as_ref(), "give a code"))
}

/// What the answer to a poll says.
pub(super) fn polled(answer: &Response) -> Result<Polled> {
    let json = parsed(answer);
    match json.as_ref().and_then(code) {
        Some("authorization_pending") => Ok(Polled::NotYet),
        Some("slow_down") => Ok(Polled::SlowDown),
        _ => tokens(answer, "sign in").map(Polled::Given),
    }
}

fn parsed(answer: &Response) -> Option<Value> {
    serde_json::from_slice(&answer.body).ok()
}

fn is_success(answer: &Response) -> bool {
    (200..300).contains(&answer.status)
}

/// The error's code, where it is one: a plain word.
fn code(json: &Value) -> Option<&str> {
    let error = json.get("error")?;
    let code = error.as_str().or_else(|| error.get("code")?.as_str()).or_else(|| error.get("type")?.as_str())?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    Some(code).filter(|code| (1..=64).contains(&code.len()) && code.bytes().all(plain))
}

/// Why there are no tokens. A code decides before the status: some answer errors with 200.
fn refusal(answer: &Response, json: Option<&Value>, what: &str) -> Error {
    let hint = answer.header("retry-after").and_then(|seconds| seconds.trim().parse().ok()).map(Duration::from_secs);
    let code = json.and_then(code);
    let kind = match (code, answer.status) {
        (Some("temporarily_unavailable" | "server_error"), _) => ErrorKind::Unavailable(hint),
        (_, 429) | (Some("slow_down"), _) => ErrorKind::RateLimited(hint),
        (_, 408 | 500..) => ErrorKind::Unavailable(hint),
        (Some("invalid_scope" | "invalid_request" | "unsupported_grant_type"), _) => ErrorKind::Invalid,
        (Some(_), _) | (None, 400 | 401 | 403) => ErrorKind::Unauthenticated,
        // Neither tokens nor an error: whoever answered is not the one that was meant, or is out of order.
        (None, _) => match json.is_some_and(|json| json.get("error").is_some()) {
            true => ErrorKind::Unauthenticated,
            false => ErrorKind::Unavailable(hint),
        },
    };
    let reason = code.map_or_else(|| format!("status {}", answer.status), str::to_owned);
    let message = match (kind, code) {
        (ErrorKind::Unauthenticated, Some("invalid_client" | "unauthorized_client")) => {
            format!("the provider does not accept the OAuth client ({reason}): check client_id and client_secret")
        }
        (ErrorKind::Unauthenticated, _) => format!("the provider refused to {what} ({reason})"),
        (ErrorKind::Invalid, _) => format!("the provider cannot {what} as it was asked to ({reason})"),
        _ => format!("the provider could not {what} ({reason})"),
    };
    Error::new(kind, message)
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Response {
        Response { status, headers: Vec::new(), body: body.to_owned().into() }
    }

    fn kind(status: u16, body: &str) -> ErrorKind {
        tokens(&answer(status, body), "sign in").unwrap_err().kind
    }

    #[test]
    fn an_error_is_one_whatever_its_status() {
        for status in [200, 400, 401] {
            assert_eq!(kind(status, r#"{"error":"invalid_grant"}"#), ErrorKind::Unauthenticated, "{status}");
        }
        assert_eq!(kind(200, r#"{"result":1000,"error":"Log in failed."}"#), ErrorKind::Unauthenticated);
        assert_eq!(kind(400, r#"{"error":"temporarily_unavailable"}"#), ErrorKind::Unavailable(None));
        assert_eq!(kind(400, r#"{"error":"invalid_scope"}"#), ErrorKind::Invalid);
        assert_eq!(kind(503, r#"{"error":"invalid_grant"}"#), ErrorKind::Unavailable(None));
        assert_eq!(kind(200, "<html>out of order</html>"), ErrorKind::Unavailable(None));
        assert_eq!(kind(429, ""), ErrorKind::RateLimited(None));
    }

    #[test]
    fn what_an_error_tells_is_shown_only_where_it_is_a_plain_word() {
        let error = tokens(&answer(400, r#"{"error":"<b>token=abc</b>"}"#), "sign in").unwrap_err();
        assert_eq!(error.message, "the provider refused to sign in (status 400)");
    }

    #[test]
    fn lifetimes_are_read_in_every_way_they_are_written() {
        let read = |json: Value| Tokens::of(&json).unwrap().expires_ms;
        assert_eq!(
            read(json!({"access_token": "a", "expiry": "2025-01-02T03:04:05.678901+02:00"})),
            Some(1735779845678)
        );
        assert_eq!(read(json!({"access_token": "a", "expiry": "0001-01-01T00:00:00Z"})), None);
        assert_eq!(read(json!({"access_token": "a"})), None);
        assert_eq!(read(json!({"access_token": "", "refresh_token": "r"})), Some(0));
        let soon = read(json!({"access_token": "a", "expires_in": "3600"})).unwrap() - now_ms();
        assert!((3_590_000..=3_600_000).contains(&soon), "{soon}");
        let kept = Tokens::of(&json!({"access_token": "a", "refresh_token": "r", "expires_in": 5})).unwrap();
        assert_eq!(Tokens::of(&kept.to_json()), Some(kept));
    }

    #[test]
    fn a_poll_goes_on_until_there_is_an_end() {
        assert!(matches!(polled(&answer(400, r#"{"error":"authorization_pending"}"#)), Ok(Polled::NotYet)));
        assert!(matches!(polled(&answer(428, r#"{"error":"slow_down"}"#)), Ok(Polled::SlowDown)));
        assert!(matches!(polled(&answer(200, r#"{"access_token":"a"}"#)), Ok(Polled::Given(_))));
        assert_eq!(polled(&answer(400, r#"{"error":"expired_token"}"#)).unwrap_err().kind, ErrorKind::Unauthenticated);
    }
}
