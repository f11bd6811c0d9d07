//! Whether the secrets of a request stand where their declarations say. It sends nothing and fills in nothing.
//!
//! What can be stored at the provider can be read back, so "somewhere in the body" is not enough. The request is rendered
//! with a random mark for each secret (`render`) and the result is parsed as the provider would parse it. Each mark must
//! stand in a value that a placement of each of its secrets names, after its prefix, in its brackets, and towards its
//! origins. Then the request is rendered for real and parsed again: the same value must be the same text with the marks
//! replaced, so that a secret with a quote or an ampersand in it cannot break out of its place.
//!
//! Brackets are compared by construction: the one that a place demands by itself (percent in a query, JSON in a JSON
//! string) is set aside, and the rest must equal the declaration.

use std::collections::HashMap;

use causeway_storage::{Error, ErrorKind, Result};

use crate::documents;
use crate::origin::Target;
use crate::render::Mark;
use crate::request::{SecretRef, Wrap, find_header};
use crate::secrets::declared;
use crate::uses::{Place, Placement, SecretUse};

/// The token of OAuth, which needs no placement after `Bearer `.
const ACCESS_TOKEN: &str = "access-token";

/// A rendered request, as far as the check looks at it.
pub(crate) struct Rendered {
    pub(crate) target: Target,
    pub(crate) headers: Vec<(String, String)>,
    /// None where the body also holds content: there, no secret may stand.
    pub(crate) body: Option<Vec<u8>>,
}

impl Rendered {
    /// Whether a mark stands in a header or the body.
    pub(crate) fn holds(&self, word: &str) -> bool {
        count(self, word) > 0
    }
}

/// Checks every mark of a request; `real` is the same request with the secrets in it.
pub(crate) fn check(
    marked: &Rendered,
    real: &Rendered,
    marks: &[Mark],
    uses: &HashMap<String, SecretUse>,
) -> Result<()> {
    if marked.target.origin() != real.target.origin() || marked.target.path() != real.target.path() {
        return Err(denied("a secret must not stand in a host or a path"));
    }
    for mark in marks {
        if count(marked, &mark.word) != 1 {
            return Err(denied("a secret stands where none may: in a path, in a header's name or beside content"));
        }
        for (secret, brackets) in &mark.secrets {
            check_one(marked, real, marks, mark, secret, brackets, uses)?;
        }
    }
    Ok(())
}

fn check_one(
    marked: &Rendered,
    real: &Rendered,
    marks: &[Mark],
    mark: &Mark,
    secret: &SecretRef,
    brackets: &[Wrap],
    uses: &HashMap<String, SecretUse>,
) -> Result<()> {
    let bearer = Placement {
        field: None,
        at: Place::Header("authorization".into()),
        prefix: "Bearer ".into(),
        wraps: Vec::new(),
        towards: Vec::new(),
    };
    let is_bearer = secret.name == ACCESS_TOKEN && secret.field.is_none();
    let places = declared(uses, &secret.name).map_or(&[][..], |uses| uses.places.as_slice());
    let stands = |placement: &&Placement| {
        placement.field == secret.field
            && stands_at(marked, real, marks, mark, brackets, placement)
            && goes_towards(&marked.target, &placement.towards)
    };
    if places.iter().chain(is_bearer.then_some(&bearer)).any(|placement| stands(&placement)) {
        return Ok(());
    }
    Err(denied(format!("the secret \"{}\" stands where the provider does not declare it", secret.name)))
}

fn stands_at(
    marked: &Rendered,
    real: &Rendered,
    marks: &[Mark],
    mark: &Mark,
    brackets: &[Wrap],
    placement: &Placement,
) -> bool {
    let demanded = demanded_escape(&placement.at);
    let rest = match brackets.split_first() {
        Some((outer, rest)) if demanded.contains(outer) => rest,
        _ => brackets,
    };
    if rest != placement.wraps {
        return false;
    }
    let Some(value) = value_at(marked, &placement.at, &mark.word) else { return false };
    let Some(after_prefix) = value.strip_prefix(placement.prefix.as_str()) else { return false };
    if !after_prefix.contains(&mark.word) {
        return false;
    }
    // Held against the real request, so that nothing in a secret moves where its value ends.
    let mut expected = value.clone().into_bytes();
    for mark in marks {
        expected = replace(&expected, mark.word.as_bytes(), &mark.real);
    }
    String::from_utf8(expected).is_ok_and(|expected| values_at(real, &placement.at).contains(&expected))
}

/// The escaping that a place demands by itself.
fn demanded_escape(place: &Place) -> &'static [Wrap] {
    match place {
        Place::Query(_) | Place::Form(_) => &[Wrap::Percent, Wrap::Form],
        Place::Cookie(_) => &[Wrap::Percent],
        Place::Json(_) => &[Wrap::Json],
        Place::Xml(_) => &[Wrap::Xml],
        Place::Header(_) | Place::QueryRest => &[],
    }
}

/// The value of a place that holds the mark.
fn value_at(rendered: &Rendered, place: &Place, mark: &str) -> Option<String> {
    values_at(rendered, place).into_iter().find(|value| value.contains(mark))
}

/// Every value that stands at a place.
fn values_at(rendered: &Rendered, place: &Place) -> Vec<String> {
    let body = || rendered.body.as_deref().and_then(|body| std::str::from_utf8(body).ok());
    match place {
        Place::Header(name) => {
            let named = rendered.headers.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name));
            named.map(|(_, value)| value.clone()).collect()
        }
        Place::Cookie(name) => {
            let cookies = rendered.headers.iter().filter(|(found, _)| found.eq_ignore_ascii_case("cookie"));
            let pairs = cookies.flat_map(|(_, value)| value.split(';'));
            let pairs = pairs.filter_map(|pair| pair.split_once('='));
            pairs.filter(|(found, _)| found.trim() == name).map(|(_, value)| value.trim().to_owned()).collect()
        }
        Place::Query(name) => documents::pairs(rendered.target.query().unwrap_or(""), name),
        // Every way to read the query from some parameter on to its end.
        Place::QueryRest => {
            let query = rendered.target.query().unwrap_or("");
            let starts = std::iter::once(0).chain(query.match_indices('&').map(|(at, _)| at + 1));
            starts.filter_map(|at| query.get(at..)).filter(|rest| !rest.is_empty()).map(str::to_owned).collect()
        }
        Place::Form(name) => match (body(), content_type(rendered)) {
            (Some(body), Some(media)) if media.starts_with("multipart/form-data") => {
                documents::multipart(body, media, name)
            }
            (Some(body), Some(media)) if media.starts_with("application/x-www-form-urlencoded") => {
                documents::pairs(body, name)
            }
            _ => Vec::new(),
        },
        Place::Json(pointer) => {
            let json = rendered.body.as_deref().and_then(|body| serde_json::from_slice::<serde_json::Value>(body).ok());
            let found = json.as_ref().and_then(|json| json.pointer(pointer)).and_then(|value| value.as_str());
            found.map(str::to_owned).into_iter().collect()
        }
        Place::Xml(path) => body().and_then(|body| documents::xml_texts(body, path).ok()).unwrap_or_default(),
    }
}

fn content_type(rendered: &Rendered) -> Option<&str> {
    find_header(&rendered.headers, "content-type")
}

/// How often a word stands in a place that may hold secrets at all: the query, a header's value, the body.
fn count(rendered: &Rendered, word: &str) -> usize {
    let query = rendered.target.query().map_or(0, |query| query.matches(word).count());
    let headers: usize = rendered.headers.iter().map(|(_, value)| value.matches(word).count()).sum();
    let body = rendered.body.as_deref().map_or(0, |body| String::from_utf8_lossy(body).matches(word).count());
    query + headers + body
}

/// Whether a request goes towards one of these origins or beginnings of URLs; towards any, where there is none.
fn goes_towards(target: &Target, towards: &[String]) -> bool {
    towards.is_empty() || towards.iter().any(|beginning| begins(target, beginning))
}

fn begins(target: &Target, beginning: &str) -> bool {
    let Ok(wanted) = Target::parse(beginning) else { return false };
    if !wanted.same_origin(target) {
        return false;
    }
    let beginning = wanted.path_and_query.as_str();
    if beginning == "/" {
        return true;
    }
    // `/token/../other` begins with `/token` and may end elsewhere.
    let climbs = |path: &str| {
        path.to_ascii_lowercase().replace("%2e", ".").split(['/', '\\']).any(|name| name == ".." || name == ".")
    };
    match target.path_and_query.strip_prefix(beginning) {
        Some(rest) => {
            let whole_name = rest.is_empty() || rest.starts_with(['/', '?', '&']) || beginning.ends_with(['/', '?']);
            whole_name && !climbs(target.path())
        }
        None => false,
    }
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    match bytes.windows(from.len()).position(|window| window == from) {
        Some(at) => {
            let (before, rest) = bytes.split_at(at);
            let mut replaced = before.to_vec();
            replaced.extend_from_slice(to);
            replaced.extend_from_slice(rest.get(from.len()..).unwrap_or(&[]));
            replaced
        }
        None => bytes.to_vec(),
    }
}

fn denied(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Denied, message)
}
