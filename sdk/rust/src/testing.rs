//! A stand-in for the host, so that a provider can be tested natively: settings, secrets, a clock that stands still, and a server that
//! is a closure. It renders and signs as the host does; what it does not have is the host's gate, so a test here does not prove that
//! a secret may stand where it was put.

use std::cell::RefCell;
use std::collections::BTreeMap;

use sha2::Digest as _;

use crate::bindings::causeway::provider::requests::{Piece, Response, SecretRef, Wrap};
use crate::bindings::exports::causeway::provider::reading::ReadPlan;
use crate::nouns::{Digest, ErrorKind, Instant, Placed, Problem, Span};
use crate::options::{Given, Options as _, Value};
use crate::plan::{PartPlan, Plan};
use crate::provider::Provider;
use crate::request::Answer;
use crate::{Error, Result};

type Server = Box<dyn FnMut(&Sent) -> Result<(u16, Vec<(String, String)>, Vec<u8>)>>;

/// What stands in for the host.
#[derive(Default)]
pub struct Stand {
    settings: Vec<(String, Value)>,
    secrets: BTreeMap<String, String>,
    base64_keys: Vec<String>,
    state: BTreeMap<String, Vec<u8>>,
    tree: Vec<Placed>,
    now_seconds: i64,
    server: Option<Server>,
}

impl std::fmt::Debug for Stand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stand").finish_non_exhaustive()
    }
}

/// A request as it would have gone out, secrets filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The method.
    pub method: String,
    /// The whole URL.
    pub url: String,
    /// Its headers, in order.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Sent {
    /// The first header of this name, in whatever case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

impl Stand {
    /// Gives a setting.
    #[must_use]
    pub fn setting(mut self, name: &str, value: Value) -> Stand {
        self.settings.push((name.to_owned(), value));
        self
    }

    /// Gives a text setting.
    #[must_use]
    pub fn text(self, name: &str, value: &str) -> Stand {
        self.setting(name, Value::Text(value.to_owned()))
    }

    /// Gives a secret, as a setting or a slot.
    #[must_use]
    pub fn secret(mut self, name: &str, value: &str) -> Stand {
        self.secrets.insert(name.to_owned(), value.to_owned());
        self.setting(name, Value::Secret)
    }

    /// Gives a secret that is a key configured in base64.
    #[must_use]
    pub fn base64_key(mut self, name: &str, value: &str) -> Stand {
        self.base64_keys.push(name.to_owned());
        self.secret(name, value)
    }

    /// Lets the host have this in its tree.
    #[must_use]
    pub fn in_tree(mut self, placed: Placed) -> Stand {
        self.tree.push(placed);
        self
    }

    /// Sets the clock to so many seconds since 1970.
    #[must_use]
    pub fn now(mut self, seconds: i64) -> Stand {
        self.now_seconds = seconds;
        self
    }

    /// Answers every request: status, headers, body.
    #[must_use]
    pub fn server(
        mut self,
        server: impl FnMut(&Sent) -> Result<(u16, Vec<(String, String)>, Vec<u8>)> + 'static,
    ) -> Stand {
        self.server = Some(Box::new(server));
        self
    }
}

thread_local! {
    static STAND: RefCell<Stand> = RefCell::default();
}

/// Does something with this stand-in in the host's place, on this thread.
pub fn with<T>(stand: Stand, run: impl FnOnce() -> T) -> T {
    let before = STAND.replace(stand);
    let result = run();
    STAND.set(before);
    result
}

/// The provider, opened with the stand-in's settings.
pub fn open<T: Provider>() -> std::result::Result<T, Vec<Problem>> {
    T::open(T::Options::read(&Given(settings::given())))
}

/// What the plan of a part would send, with this content.
pub fn rendered_part(plan: PartPlan, content: &[u8]) -> Result<Sent> {
    render_request(&plan.into_wire().request, content)
}

/// What the plan of a read would send, before a range is added; none for a literal.
pub fn rendered_plan(plan: Plan) -> Result<Option<Sent>> {
    match plan.into_wire() {
        ReadPlan::Literal(_) => Ok(None),
        ReadPlan::Remote(remote) => {
            remote.segments.first().map(|segment| render_request(&segment.request, &[])).transpose()
        }
    }
}

/// An answer for a test.
pub fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Answer(Response { status, headers, body: body.to_vec() })
}

/// What a planned request would send, with this content.
pub fn rendered(request: crate::request::Request, content: &[u8]) -> Result<Sent> {
    render_request(&request.into_wire(), content)
}

fn render_request(request: &crate::bindings::causeway::provider::requests::Request, content: &[u8]) -> Result<Sent> {
    let text = |pieces: &[Piece]| {
        let bytes = render(pieces, content)?;
        String::from_utf8(bytes).map_err(|_| Error::invalid("a header or a URL is not text"))
    };
    let headers = request.headers.iter().map(|header| Ok((header.name.clone(), text(&header.value)?)));
    Ok(Sent {
        method: request.method.clone(),
        url: text(&request.url)?,
        headers: headers.collect::<Result<_>>()?,
        body: render(&request.body, content)?,
    })
}

/// Pieces as bytes.
fn render(pieces: &[Piece], content: &[u8]) -> Result<Vec<u8>> {
    let mut open: Vec<(Option<&Wrap>, Vec<u8>)> = vec![(None, Vec::new())];
    for piece in pieces {
        let bytes = match piece {
            Piece::Open(wrap) => {
                open.push((Some(wrap), Vec::new()));
                continue;
            }
            Piece::Close => match open.pop() {
                Some((Some(wrap), inside)) => wrapped(wrap, &inside)?,
                _ => return Err(Error::invalid("a bracket closes that was never opened")),
            },
            Piece::Text(text) => text.clone().into_bytes(),
            Piece::Bytes(bytes) => bytes.clone(),
            Piece::Secret(secret) => secret_value(secret)?.into_bytes(),
            Piece::Content(span) => slice(content, *span)?.to_vec(),
            // There is no range here: only where it would stand can be seen.
            Piece::FirstByte => b"{first}".to_vec(),
            Piece::LastByte => b"{last}".to_vec(),
        };
        if let Some((_, inside)) = open.last_mut() {
            inside.extend(bytes);
        }
    }
    match open.pop() {
        Some((None, bytes)) => Ok(bytes),
        _ => Err(Error::invalid("a bracket stays open")),
    }
}

fn wrapped(wrap: &Wrap, inside: &[u8]) -> Result<Vec<u8>> {
    let text = || std::str::from_utf8(inside).map_err(|_| Error::invalid("only text can be percent-encoded"));
    Ok(match wrap {
        Wrap::Base64 => data_encoding::BASE64.encode(inside).into_bytes(),
        Wrap::Hex => data_encoding::HEXLOWER.encode(inside).into_bytes(),
        Wrap::FromBase64 => data_encoding::BASE64.decode(inside).map_err(|error| Error::invalid(error.to_string()))?,
        Wrap::Percent => crate::percent::encode(text()?).into_bytes(),
        Wrap::Form => crate::percent::encode(text()?).replace("%20", "+").into_bytes(),
        Wrap::Json => {
            let quoted = crate::data::pack(&text()?)?;
            quoted.get(1..quoted.len() - 1).unwrap_or_default().as_bytes().to_vec()
        }
        Wrap::Digest(algorithm) => digest(*algorithm, inside)?,
        _ => return Err(Error::unsupported("the stand-in does not know this bracket")),
    })
}

fn digest(algorithm: Digest, bytes: &[u8]) -> Result<Vec<u8>> {
    Ok(match algorithm {
        Digest::Md5 => md5::Md5::digest(bytes).to_vec(),
        Digest::Sha1 => sha1::Sha1::digest(bytes).to_vec(),
        Digest::Sha256 => sha2::Sha256::digest(bytes).to_vec(),
        Digest::Sha512 => sha2::Sha512::digest(bytes).to_vec(),
        _ => return Err(Error::unsupported("the stand-in does not know this digest")),
    })
}

pub(crate) fn digest_of_span(algorithm: Digest, content: &[u8], span: Span) -> Result<Vec<u8>> {
    digest(algorithm, slice(content, span)?)
}

pub(crate) fn slice(content: &[u8], span: Span) -> Result<&[u8]> {
    let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
    let end = span.offset.saturating_add(span.size);
    content.get(at(span.offset)..at(end)).ok_or_else(|| Error::invalid("there is not so much content"))
}

fn secret_value(secret: &SecretRef) -> Result<String> {
    let value = STAND.with_borrow(|stand| stand.secrets.get(&secret.name).cloned());
    let value = match &secret.field {
        None => value,
        Some(field) => value.and_then(|document| document_field(&document, field)),
    };
    value.ok_or_else(|| Error::new(ErrorKind::Denied, format!("there is no secret {}", secret.name)))
}

/// A field of a JSON document, of `key=value;` pairs, or of a URL.
fn document_field(document: &str, field: &str) -> Option<String> {
    if let Ok(json) = serde_json::from_str::<serde_json::Value>(document) {
        let found = if field.starts_with('/') { json.pointer(field) } else { json.get(field) };
        return found.and_then(serde_json::Value::as_str).map(str::to_owned);
    }
    if let Some((_, rest)) = document.split_once("://") {
        let (before, query) = document.split_once('?').unwrap_or((document, ""));
        let path_at = rest.find(['/', '?']).unwrap_or(rest.len()) + document.len() - rest.len();
        return Some(match field {
            "origin" => document.get(..path_at)?.to_owned(),
            "path" => before.get(path_at..)?.to_owned(),
            _ => query.to_owned(),
        });
    }
    document
        .split(';')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == field)
        .map(|(_, value)| value.to_owned())
}

fn send(request: &crate::bindings::causeway::provider::requests::Request) -> Result<Response> {
    let sent = render_request(request, &[])?;
    // The server is taken out meanwhile, so that it may look at the clock.
    let server = STAND.with_borrow_mut(|stand| stand.server.take());
    let mut server = server.ok_or_else(|| Error::unavailable("nobody answers"))?;
    let answer = server(&sent);
    STAND.with_borrow_mut(|stand| stand.server = Some(server));
    answer.map(|(status, headers, body)| Response { status, headers, body })
}

pub(crate) mod settings {
    pub(crate) fn given() -> Vec<(String, super::Value)> {
        super::STAND.with_borrow(|stand| stand.settings.clone())
    }

    pub(crate) fn public_field(secret: &super::SecretRef) -> Option<String> {
        super::secret_value(secret).ok()
    }
}

pub(crate) mod state {
    use crate::Result;
    use crate::host::Held;

    pub(crate) fn get(key: &str) -> Option<Held> {
        super::STAND.with_borrow(|stand| stand.state.get(key).map(|value| Held { value: value.clone(), change: 1 }))
    }

    pub(crate) fn set(key: &str, value: &[u8], _lives_ms: Option<u64>) -> Result<()> {
        super::STAND.with_borrow_mut(|stand| stand.state.insert(key.to_owned(), value.to_vec()));
        Ok(())
    }

    pub(crate) fn swap(key: &str, value: &[u8], lives_ms: Option<u64>, expected: Option<u64>) -> Result<bool> {
        let fits = get(key).map(|held| held.change) == expected;
        if fits {
            set(key, value, lives_ms)?;
        }
        Ok(fits)
    }

    pub(crate) fn remove(key: &str) {
        super::STAND.with_borrow_mut(|stand| {
            stand.state.remove(key);
            stand.secrets.remove(key);
        });
    }

    pub(crate) fn seal(slot: &str, value: &[u8]) -> Result<()> {
        let text = String::from_utf8_lossy(value).into_owned();
        super::STAND.with_borrow_mut(|stand| stand.secrets.insert(slot.to_owned(), text));
        Ok(())
    }

    pub(crate) fn expire(_slot: &str, _lives_ms: u64) {}

    pub(crate) fn sealed(slot: &str) -> bool {
        super::STAND.with_borrow(|stand| stand.secrets.contains_key(slot))
    }
}

pub(crate) mod gathering {
    use crate::nouns::Placed;

    pub(crate) fn known(cookie: &str) -> Option<Placed> {
        super::STAND.with_borrow(|stand| {
            stand.tree.iter().find(|placed| placed.entry.cookie.as_deref() == Some(cookie)).cloned()
        })
    }

    /// All at once, so that nothing is behind any.
    pub(crate) fn below(cookie: &str, after: Option<&str>) -> Vec<Placed> {
        let lies = |placed: &&Placed| after.is_none() && placed.parent.as_deref() == Some(cookie);
        super::STAND.with_borrow(|stand| stand.tree.iter().filter(lies).cloned().collect())
    }
}

pub(crate) mod random {
    /// The same every time, so that a test can compare.
    pub(crate) fn bytes(count: u32) -> Vec<u8> {
        (0..count).map(|at| u8::try_from(at % 251).unwrap_or(0)).collect()
    }
}

pub(crate) mod reveal {
    pub(crate) fn reveal(secret: &super::SecretRef) -> crate::Result<Vec<u8>> {
        super::secret_value(secret).map(String::into_bytes)
    }
}

/// Every host may be reached: what may be is the real host's to say.
pub(crate) mod foreign_hosts {
    pub(crate) fn allow(_url: &str) -> crate::Result<()> {
        Ok(())
    }
}

pub(crate) use foreign_hosts as assigned_hosts;

pub(crate) mod http {
    use super::{Response, Result};
    use crate::bindings::causeway::provider::requests::Request;

    pub(crate) fn send(request: &Request) -> Result<Response> {
        super::send(request)
    }

    pub(crate) fn open(request: &Request) -> Result<(Response, Vec<u8>)> {
        let mut response = super::send(request)?;
        let body = std::mem::take(&mut response.body);
        Ok((response, body))
    }

    pub(crate) fn send_all(requests: &[Request]) -> Vec<Result<Response>> {
        requests.iter().map(super::send).collect()
    }
}

pub(crate) mod clock {
    pub(crate) fn now() -> super::Instant {
        let seconds = super::STAND.with_borrow(|stand| stand.now_seconds);
        super::Instant { seconds, nanoseconds: 0 }
    }
}

pub(crate) mod crypto {
    use hmac::{Hmac, Mac};

    use super::{Error, Piece, Result, SecretRef};
    use crate::bindings::causeway::provider::crypto::PrivateKey;
    use crate::options::{Hash, Rsa};

    pub(crate) fn rsa_sign(_key: &PrivateKey, _scheme: Rsa, _message: &[Piece]) -> Result<Vec<u8>> {
        Err(Error::unsupported("the stand-in has no RSA keys"))
    }

    /// As AWS declares its keys (with steps), or as they are configured.
    pub(crate) fn hmac(key: &SecretRef, hash: Hash, steps: &[String], message: &[Piece]) -> Result<Vec<u8>> {
        let secret = super::secret_value(key)?;
        let base64 = super::STAND.with_borrow(|stand| stand.base64_keys.contains(&key.name));
        let prefix = if steps.is_empty() { "" } else { "AWS4" };
        let mut key = match base64 {
            true => data_encoding::BASE64
                .decode(secret.as_bytes())
                .map_err(|error| Error::invalid(format!("the key is not base64: {error}")))?,
            false => format!("{prefix}{secret}").into_bytes(),
        };
        for step in steps {
            key = once(hash, &key, step.as_bytes())?;
        }
        once(hash, &key, &super::render(message, &[])?)
    }

    fn once(hash: Hash, key: &[u8], message: &[u8]) -> Result<Vec<u8>> {
        let told = |error: hmac::digest::InvalidLength| Error::invalid(error.to_string());
        Ok(match hash {
            Hash::Sha256 => Hmac::<sha2::Sha256>::new_from_slice(key)
                .map_err(told)?
                .chain_update(message)
                .finalize()
                .into_bytes()
                .to_vec(),
            Hash::Sha1 => Hmac::<sha1::Sha1>::new_from_slice(key)
                .map_err(told)?
                .chain_update(message)
                .finalize()
                .into_bytes()
                .to_vec(),
            _ => return Err(Error::unsupported("the stand-in does not know this hash")),
        })
    }
}

pub(crate) mod log {
    pub(crate) use crate::bindings::causeway::provider::log::Level;

    /// A test has no operator: what would be told is told to whoever runs it.
    pub(crate) fn write(level: Level, message: &str) {
        eprintln!("{level:?}: {message}");
    }
}
