//! Cookie jars, by the rules of RFC 6265: which cookies an answer may set, and which go along with a request.
//!
//! A jar is a slot: kept sealed, and updated before a component sees the answer. It goes towards declared origins only, and
//! what sets cookies is blanked in what the component sees. No cookie is for a public suffix.

use std::collections::VecDeque;
use std::time::SystemTime;

use causeway_storage::{Error, Result, Secret};
use cookie::Cookie;
use serde::{Deserialize, Serialize};

use crate::origin::Target;

/// Cookies of one jar: twice what browsers keep for a site.
const MOST_COOKIES: usize = 100;

/// The longest cookie, name and value together, in bytes: what browsers take.
const LONGEST_COOKIE_BYTES: usize = 4096;

/// The cookies of one slot, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Jar(VecDeque<Kept>);

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    name: String,
    value: String,
    /// Lower case, without a leading dot.
    domain: String,
    /// Only for this very host.
    host_only: bool,
    path: String,
    secure: bool,
    /// Milliseconds since 1970; none for a cookie of the session, which here lives as long as the slot.
    expires_ms: Option<u64>,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cookie({} for {})", self.name, self.domain)
    }
}

impl Jar {
    /// The jar that a slot holds; an empty one where there is none.
    pub(crate) fn open(slot: Option<Secret>) -> Result<Jar> {
        match slot {
            None => Ok(Jar::default()),
            Some(slot) => serde_json::from_slice(slot.expose())
                .map_err(|_| Error::internal("a slot that should be a cookie jar holds something else")),
        }
    }

    /// As the slot holds it.
    pub(crate) fn close(&self) -> Result<Secret> {
        Ok(Secret::new(serde_json::to_vec(self).map_err(Error::internal)?))
    }

    /// The `Cookie` header towards a target, if any cookie goes there: longer paths first, then older ones.
    pub(crate) fn header(&self, target: &Target) -> Option<String> {
        let now = now_ms();
        let goes = |kept: &&Kept| {
            let host = if kept.host_only { target.host == kept.domain } else { is_below(&target.host, &kept.domain) };
            host && is_path_below(target.path(), &kept.path)
                && (target.https || !kept.secure)
                && kept.expires_ms.is_none_or(|at| at > now)
        };
        let mut going: Vec<&Kept> = self.0.iter().filter(goes).collect();
        going.sort_by_key(|kept| std::cmp::Reverse(kept.path.len()));
        let pairs: Vec<_> = going.iter().map(|kept| format!("{}={}", kept.name, kept.value)).collect();
        Some(pairs.join("; ")).filter(|header| !header.is_empty())
    }

    /// Takes in what an answer from a target sets. Whether anything changed.
    pub(crate) fn take<'a>(&mut self, target: &Target, set_cookie: impl Iterator<Item = &'a str>) -> bool {
        let before = self.clone();
        for line in set_cookie.filter(|line| line.len() <= 2 * LONGEST_COOKIE_BYTES) {
            if let Ok(cookie) = Cookie::parse(line)
                && let Some(kept) = Kept::of(&cookie, target)
            {
                self.put(kept);
            }
        }
        *self != before
    }

    fn put(&mut self, kept: Kept) {
        let now = now_ms();
        let same = |old: &Kept| old.name == kept.name && old.domain == kept.domain && old.path == kept.path;
        // One that replaces another keeps its place.
        let at = self.0.iter().position(same);
        let ended = kept.expires_ms.is_some_and(|at| at <= now);
        match at {
            Some(at) if ended => drop(self.0.remove(at)),
            Some(at) => {
                if let Some(old) = self.0.get_mut(at) {
                    *old = kept;
                }
            }
            None if ended => {}
            None => self.0.push_back(kept),
        }
        self.0.retain(|kept| kept.expires_ms.is_none_or(|at| at > now));
        while self.0.len() > MOST_COOKIES {
            self.0.pop_front();
        }
    }
}

impl Kept {
    /// The cookie as it is to be kept; none where this target may not set it.
    fn of(cookie: &Cookie<'_>, target: &Target) -> Option<Kept> {
        let plain = |text: &str| text.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b';');
        let (name, value) = (cookie.name(), cookie.value());
        if name.is_empty() || name.len() + value.len() > LONGEST_COOKIE_BYTES || !plain(name) || !plain(value) {
            return None;
        }
        let secure = cookie.secure().unwrap_or(false);
        if secure && !target.https {
            return None;
        }
        let asked = cookie.domain().map(|domain| domain.trim_start_matches('.').to_ascii_lowercase());
        let (domain, host_only) = match asked.filter(|domain| !domain.is_empty()) {
            None => (target.host.clone(), true),
            Some(domain) if target.address().is_some() || is_public_suffix(&domain) => {
                // An address, or a suffix that many share: for this host alone, or not at all.
                (Some(domain).filter(|domain| *domain == target.host)?, true)
            }
            Some(domain) => (Some(domain).filter(|domain| is_below(&target.host, domain))?, false),
        };
        let path =
            cookie.path().filter(|path| path.starts_with('/')).map_or_else(|| default_path(target), str::to_owned);
        let lives = cookie.max_age().map(|age| age.whole_milliseconds());
        let dated = || cookie.expires_datetime().map(|at| at.unix_timestamp().saturating_mul(1000));
        let expires_ms = match lives {
            Some(lives) => Some(i128::from(now_ms()) + lives),
            None => dated().map(i128::from),
        };
        let expires_ms = expires_ms.map(|ms| u64::try_from(ms.max(0)).unwrap_or(u64::MAX));
        Some(Kept { name: name.to_owned(), value: value.to_owned(), domain, host_only, path, secure, expires_ms })
    }
}

fn is_below(host: &str, domain: &str) -> bool {
    host == domain
        || (host.parse::<std::net::IpAddr>().is_err()
            && host.strip_suffix(domain).is_some_and(|labels| labels.ends_with('.')))
}

fn is_path_below(path: &str, of: &str) -> bool {
    path.strip_prefix(of).is_some_and(|rest| rest.is_empty() || of.ends_with('/') || rest.starts_with('/'))
}

/// Both sections of the list count here: those who rent out names below theirs do not share cookies.
fn is_public_suffix(domain: &str) -> bool {
    psl::suffix(domain.as_bytes()).is_some_and(|suffix| suffix.as_bytes() == domain.as_bytes())
}

fn default_path(target: &Target) -> String {
    match target.path().rsplit_once('/') {
        Some((directory, _)) if directory.starts_with('/') => directory.to_owned(),
        _ => "/".to_owned(),
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(url: &str) -> Target {
        Target::parse(url).unwrap()
    }

    fn jar(from: &str, lines: &[&str]) -> Jar {
        let mut jar = Jar::default();
        jar.take(&at(from), lines.iter().copied());
        jar
    }

    fn sent(jar: &Jar, to: &str) -> String {
        jar.header(&at(to)).unwrap_or_default()
    }

    #[test]
    fn a_cookie_goes_back_to_its_host_and_no_other() {
        let jar = jar("https://setup.example.com/a/b", &["one=1", "two=2; Domain=example.com; Path=/"]);
        assert_eq!(sent(&jar, "https://setup.example.com/a/c"), "one=1; two=2");
        assert_eq!(sent(&jar, "https://other.example.com/a/c"), "two=2");
        assert_eq!(sent(&jar, "https://example.com/"), "two=2");
        assert_eq!(sent(&jar, "https://notexample.com/"), "");
        assert_eq!(sent(&jar, "https://example.com.evil.net/"), "");
    }

    #[test]
    fn nobody_sets_a_cookie_for_others() {
        for line in ["a=1; Domain=other.com", "a=1; Domain=com", "a=1; Domain=a.b.example.co.uk", "a=1; Domain=co.uk"] {
            assert_eq!(jar("https://b.example.co.uk/", &[line]), Jar::default(), "{line}");
        }
        let of_address = jar("https://127.0.0.1/", &["a=1; Domain=127.0.0.1", "b=1; Domain=0.0.1"]);
        assert_eq!(sent(&of_address, "https://127.0.0.1/"), "a=1");
    }

    #[test]
    fn a_secure_cookie_neither_comes_nor_goes_without_tls() {
        let secured = jar("https://h.example.com/", &["a=1; Secure"]);
        assert_eq!(sent(&secured, "http://h.example.com/"), "");
        assert_eq!(jar("http://h.example.com/", &["a=1; Secure"]), Jar::default());
    }

    #[test]
    fn paths_hold_whole_names_and_longer_ones_come_first() {
        let jar = jar("https://h.example.com/x/y", &["a=1; Path=/", "b=2; Path=/x", "c=3"]);
        assert_eq!(sent(&jar, "https://h.example.com/x/z"), "b=2; c=3; a=1");
        assert_eq!(sent(&jar, "https://h.example.com/xy"), "a=1");
    }

    #[test]
    fn a_cookie_ends_when_it_is_told_to() {
        let past = "a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT";
        let mut one = jar("https://h.example.com/", &["a=1; Max-Age=3600"]);
        assert_eq!(sent(&one, "https://h.example.com/"), "a=1");
        assert!(one.take(&at("https://h.example.com/"), [past].into_iter()));
        assert_eq!(one, Jar::default());
        assert_eq!(jar("https://h.example.com/", &["a=1; Max-Age=0"]), Jar::default());
        let many: Vec<String> = (0..150).map(|n| format!("c{n}=1")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(jar("https://h.example.com/", &many).0.len(), MOST_COOKIES);
    }

    #[test]
    fn a_jar_is_kept_as_it_was() {
        let jar = jar("https://h.example.com/", &["a=1", "b=2; Max-Age=60; Secure"]);
        assert_eq!(Jar::open(Some(jar.close().unwrap())).unwrap(), jar);
        assert!(Jar::open(Some(Secret::new("not a jar"))).is_err());
    }
}
