//! A request made ready to go out: rendered, its origin known, its secrets checked.
//!
//! It sends nothing. It blocks where digests over content are wanted, so uploads prepare where blocking is allowed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use causeway_storage::{Error, ErrorKind, Result, Source};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, header};

use crate::origin::Target;
use crate::placement::{self, Rendered};
use crate::render::{BodyPart, Filling, Mark, Tree};
use crate::request::Request;
use crate::secrets::Secrets;
use crate::uses::SecretUse;
use crate::wire::Outgoing;

/// How long an answer may take to begin where the request says nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the host itself says, or what would change how the request is read.
const NOT_FOR_COMPONENTS: [&str; 13] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "proxy-authorization",
    "proxy-connection",
    "proxy-authenticate",
    "http2-settings",
];

/// How a URL's origin came to be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Declared, from an endpoint option, or assigned by a sign-in: secrets may go there.
    Trusted,
    /// Named by an answer: https, public, and never with a secret.
    Foreign,
}

/// A request ready to go out.
pub(crate) struct Prepared {
    pub(crate) outgoing: Outgoing,
    pub(crate) parts: Arc<Vec<BodyPart>>,
    pub(crate) body_bytes: u64,
    pub(crate) source: Option<Arc<dyn Source>>,
    pub(crate) repeatable: bool,
    /// Where secrets stand; absent where there are none.
    pub(crate) checked: Option<Checked>,
}

/// The request as it was checked, to be checked again when a redirect leads elsewhere.
pub(crate) struct Checked {
    marked: Rendered,
    real: Rendered,
    marks: Vec<Mark>,
    /// Headers that hold a secret.
    headers: Vec<HeaderName>,
    in_body: bool,
}

/// What a request is made ready with.
pub(crate) struct Making<'a> {
    pub(crate) uses: &'a HashMap<String, SecretUse>,
    pub(crate) secrets: &'a dyn Secrets,
    pub(crate) range: Option<(u64, Option<u64>)>,
    pub(crate) source: Option<&'a Arc<dyn Source>>,
}

/// The trees of a request.
struct Trees {
    url: Tree,
    headers: Vec<(String, Tree)>,
    body: Tree,
}

impl Making<'_> {
    /// Renders and checks a request. `standing` tells whether and how its origin is allowed.
    pub(crate) fn prepare(
        &self,
        request: &Request,
        standing: impl Fn(&Target) -> Result<Standing>,
    ) -> Result<Prepared> {
        let trees = Trees::parse(request)?;
        let filling = self.filling(request)?;
        let url = text(trees.url.render(&filling)?, "a URL")?;
        let target = Target::parse(&url)?;
        self.check_first_piece(request, &target)?;
        let standing = standing(&target)?;
        let checked = if trees.has_secret() {
            if standing == Standing::Foreign {
                let message = format!("no secret goes to {}: only an answer named it", target.host);
                return Err(denied(message));
            }
            Some(self.check(&trees, &filling, &target)?)
        } else {
            None
        };
        let parts = trees.body.parts(&filling)?;
        self.check_content(&parts)?;
        let body_bytes = parts.iter().map(part_bytes).sum();
        let mut headers = self.headers(request, &trees, &filling, body_bytes)?;
        let host = HeaderValue::from_str(&target.authority()).map_err(Error::internal)?;
        headers.insert(header::HOST, host);
        let method = Method::from_bytes(request.method.as_bytes()).map_err(|_| wrong("the method is not a word"))?;
        if method == Method::CONNECT {
            return Err(denied("CONNECT is not a request for a provider"));
        }
        let patience = request.patience_ms.map_or(PATIENCE, |ms| Duration::from_millis(u64::from(ms)));
        let public_only = standing == Standing::Foreign;
        let outgoing = Outgoing { method, target, headers, http1: request.http1, public_only, patience };
        let source = self.source.cloned();
        Ok(Prepared { outgoing, parts: Arc::new(parts), body_bytes, source, repeatable: request.repeatable, checked })
    }

    /// Content stands only in uploads, and only what there is of it.
    fn check_content(&self, parts: &[BodyPart]) -> Result<()> {
        let size = self.source.map(|source| source.size());
        let missing = |part: &BodyPart| match part {
            BodyPart::Bytes(_) => false,
            BodyPart::Content(span, _) => {
                let end = span.offset.checked_add(span.size);
                size.is_none_or(|size| end.is_none_or(|end| end > size))
            }
        };
        if parts.iter().any(missing) {
            return Err(wrong("a body names content that is not there"));
        }
        Ok(())
    }

    fn filling(&self, request: &Request) -> Result<Filling<'_>> {
        let places = request.places_range();
        let range = match self.range {
            Some((first, Some(last))) => Some((first, last)),
            Some((_, None)) if places => return Err(wrong("the request places a last byte, and the range has none")),
            _ => None,
        };
        Ok(Filling { secrets: self.secrets, range, source: self.source.map(|source| source.as_ref()) })
    }

    /// Scheme and host must stand in the first piece, so that no other piece can move them.
    fn check_first_piece(&self, request: &Request, target: &Target) -> Result<()> {
        let first = match request.url.first() {
            Some(crate::request::Piece::Text(text)) => text.as_str(),
            _ => "",
        };
        let after_scheme = first.split_once("://").map_or("", |(_, rest)| rest);
        let whole = request.url.len() == 1 || after_scheme.contains(['/', '?']);
        match Target::parse(first) {
            Ok(alone) if whole && alone.same_origin(target) => Ok(()),
            _ => Err(denied("scheme and host must stand whole in the first piece of a URL, with what ends them")),
        }
    }

    fn check(&self, trees: &Trees, filling: &Filling<'_>, target: &Target) -> Result<Checked> {
        let mut marks = Vec::new();
        let url = text(trees.url.render_marked(filling, &mut marks)?, "a URL")?;
        let mut headers = Vec::new();
        let mut marked_headers = Vec::new();
        let mut real_headers = Vec::new();
        for (name, tree) in &trees.headers {
            if tree.has_secret() {
                headers.push(header_name(name)?);
            }
            marked_headers.push((name.clone(), text(tree.render_marked(filling, &mut marks)?, "a header")?));
            real_headers.push((name.clone(), text(tree.render(filling)?, "a header")?));
        }
        let in_body = trees.body.has_secret();
        if in_body && trees.body.has_content() {
            return Err(denied("a secret must not stand in a body that also holds content"));
        }
        let body = match in_body {
            true => (Some(trees.body.render_marked(filling, &mut marks)?), Some(trees.body.render(filling)?)),
            false => (None, None),
        };
        let marked = Rendered { target: Target::parse(&url)?, headers: marked_headers, body: body.0 };
        let real = Rendered { target: target.clone(), headers: real_headers, body: body.1 };
        placement::check(&marked, &real, &marks, self.uses)?;
        Ok(Checked { marked, real, marks, headers, in_body })
    }

    fn headers(&self, request: &Request, trees: &Trees, filling: &Filling<'_>, body_bytes: u64) -> Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        for (name, tree) in &trees.headers {
            let name = header_name(name)?;
            if NOT_FOR_COMPONENTS.contains(&name.as_str()) {
                return Err(wrong(format!("the header {name} is the host's to set")));
            }
            // Refuses line breaks and other control characters.
            let value = HeaderValue::from_bytes(&tree.render(filling)?);
            let mut value = value.map_err(|_| {
                denied(format!("the value of the header {name} holds a line break or a control character"))
            })?;
            // Neither shown when debugging nor kept in HTTP/2's table of headers.
            value.set_sensitive(tree.has_secret());
            headers.append(name, value);
        }
        if let Some((first, last)) = self.range.filter(|_| !request.places_range()) {
            let last = last.map(|last| last.to_string()).unwrap_or_default();
            let range = HeaderValue::from_str(&format!("bytes={first}-{last}")).map_err(Error::internal)?;
            if headers.insert(header::RANGE, range).is_some() {
                return Err(wrong("the request has a Range header where the host adds one"));
            }
        }
        if !headers.contains_key(header::USER_AGENT) {
            headers.insert(header::USER_AGENT, HeaderValue::from_static("causeway/0.1"));
        }
        if body_bytes > 0 || matches!(request.method.as_str(), "POST" | "PUT" | "PATCH") {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body_bytes));
        }
        Ok(headers)
    }
}

impl Prepared {
    /// Sets what goes along from a cookie jar, in place of what did before; nothing goes to a host that only an answer named.
    pub(crate) fn put_cookies(&mut self, cookies: Option<String>) -> Result<()> {
        self.outgoing.headers.remove(header::COOKIE);
        if let Some(cookies) = cookies.filter(|_| !self.outgoing.public_only) {
            let mut value = HeaderValue::from_str(&cookies).map_err(Error::internal)?;
            value.set_sensitive(true);
            self.outgoing.headers.insert(header::COOKIE, value);
        }
        Ok(())
    }

    /// This request towards where a redirect leads. Secrets stay behind when the origin changes, and where their
    /// placements do not reach.
    pub(crate) fn redirected(
        mut self,
        status: u16,
        target: Target,
        standing: Standing,
        uses: &HashMap<String, SecretUse>,
    ) -> Result<Prepared> {
        let same = self.outgoing.target.same_origin(&target);
        let becomes_get = status == 303 || (matches!(status, 301 | 302) && self.outgoing.method == Method::POST);
        if becomes_get {
            let method = if self.outgoing.method == Method::HEAD { Method::HEAD } else { Method::GET };
            self.outgoing.method = method;
            self.parts = Arc::new(Vec::new());
            self.body_bytes = 0;
            self.outgoing.headers.remove(header::CONTENT_LENGTH);
            self.outgoing.headers.remove(header::CONTENT_TYPE);
        }
        if let Some(mut checked) = self.checked.take() {
            checked.marked.target = target.clone();
            checked.real.target = target.clone();
            if becomes_get {
                checked.marked.body = None;
                checked.in_body = false;
            }
            let Checked { marked, real, marks, .. } = &mut checked;
            marks.retain(|mark| marked.holds(&mark.word));
            let may_come_along = same && placement::check(marked, real, marks, uses).is_ok();
            if may_come_along {
                self.checked = Some(checked);
            } else if checked.in_body {
                return Err(denied("a redirect leads a request with a secret in its body to where it may not go"));
            } else {
                checked.headers.iter().for_each(|name| drop(self.outgoing.headers.remove(name)));
            }
        }
        let host = HeaderValue::from_str(&target.authority()).map_err(Error::internal)?;
        self.outgoing.headers.insert(header::HOST, host);
        self.outgoing.target = target;
        self.outgoing.public_only = standing == Standing::Foreign;
        Ok(self)
    }

    /// The body where it holds no content.
    pub(crate) fn bytes(&self) -> Option<Bytes> {
        match self.parts.as_slice() {
            [] => Some(Bytes::new()),
            [BodyPart::Bytes(bytes)] => Some(Bytes::copy_from_slice(bytes)),
            _ => None,
        }
    }
}

impl Trees {
    fn parse(request: &Request) -> Result<Trees> {
        let headers = request.headers.iter().map(|header| Ok((header.name.clone(), Tree::parse(&header.value)?)));
        Ok(Trees {
            url: Tree::parse(&request.url)?,
            headers: headers.collect::<Result<_>>()?,
            body: Tree::parse(&request.body)?,
        })
    }

    fn has_secret(&self) -> bool {
        self.url.has_secret() || self.body.has_secret() || self.headers.iter().any(|(_, tree)| tree.has_secret())
    }
}

/// Bytes that a part will have.
pub(crate) fn part_bytes(part: &BodyPart) -> u64 {
    match part {
        BodyPart::Bytes(bytes) => bytes.len() as u64,
        BodyPart::Content(span, _) => span.size,
    }
}

fn header_name(name: &str) -> Result<HeaderName> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("the name of a header is not a word"))
}

fn text(bytes: Vec<u8>, what: &str) -> Result<String> {
    String::from_utf8(bytes).map_err(|_| wrong(format!("{what} is not text")))
}

fn wrong(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

fn denied(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Denied, message)
}
