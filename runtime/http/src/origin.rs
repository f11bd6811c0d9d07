//! Origins: where requests may go, as patterns, and where one goes, as its URL says.
//!
//! URLs are taken apart here and never put together again: what follows the host is sent byte for byte as it was given.
//! Only scheme and host are understood, and strictly: no user name, no address in an odd notation, no trailing dot.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use causeway_storage::{Error, ErrorKind, Result};

/// The longest URL: what servers commonly take, with room to spare.
const LONGEST_URL_BYTES: usize = 64 * 1024;

/// Origins that requests may go to: one, or with a star or an endpoint's widening, many.
#[derive(Clone, PartialEq, Eq)]
pub struct Origin {
    https: bool,
    host: String,
    port: u16,
    cover: Cover,
}

/// Which hosts a pattern covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cover {
    /// The host itself.
    Host,
    /// Any labels left of it.
    Below,
    /// It, and one label below it.
    HostAndOneBelow,
}

impl Origin {
    /// Parses an origin such as `https://*.backblazeb2.com` or `https://{account}.blob.core.windows.net`. A brace becomes
    /// one DNS label: what `setting` says for that option. `None` where it says nothing: such an origin is not in use.
    pub fn parse(template: &str, setting: impl Fn(&str) -> Option<String>) -> Result<Option<Origin>> {
        let Some(filled) = fill_braces(template, setting)? else { return Ok(None) };
        let (cover, url) = match filled.split_once("://*.") {
            Some((scheme, rest)) => (Cover::Below, format!("{scheme}://{rest}")),
            None => (Cover::Host, filled),
        };
        let target = Target::parse(&url)?;
        let origin = Origin { https: target.https, host: target.host, port: target.port, cover };
        if cover == Cover::Below && !may_be_starred(&origin.host) {
            return Err(Error::new(
                ErrorKind::Denied,
                format!(
                    "the origin \"{template}\" would cover a whole public suffix; a star needs a registrable domain"
                ),
            ));
        }
        Ok(Some(origin))
    }

    /// The origin of an endpoint option's value (a URL); `and_below` covers hosts one label below it, too.
    pub fn of_endpoint(url: &str, and_below: bool) -> Result<Origin> {
        let target = Target::parse(url)?;
        let literal = target.address().is_some();
        let cover = if and_below && !literal { Cover::HostAndOneBelow } else { Cover::Host };
        Ok(Origin { https: target.https, host: target.host, port: target.port, cover })
    }

    /// Whether a request to this target goes there.
    pub(crate) fn covers(&self, target: &Target) -> bool {
        self.https == target.https && self.port == target.port && self.covers_host(&target.host)
    }

    fn covers_host(&self, host: &str) -> bool {
        let below = || host.strip_suffix(&self.host)?.strip_suffix('.').filter(|labels| !labels.is_empty());
        match self.cover {
            Cover::Host => host == self.host,
            Cover::Below => below().is_some(),
            Cover::HostAndOneBelow => host == self.host || below().is_some_and(|labels| !labels.contains('.')),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.cover == Cover::Below { "*." } else { "" };
        write!(f, "{}://{star}{}:{}", if self.https { "https" } else { "http" }, self.host, self.port)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Replaces each `{option}` with its value, which must be one DNS label; `None` where one is not set.
fn fill_braces(template: &str, setting: impl Fn(&str) -> Option<String>) -> Result<Option<String>> {
    let mut filled = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) =
            after.split_once('}').ok_or_else(|| wrong_url("an origin has a brace that is not closed"))?;
        let Some(value) = setting(name) else { return Ok(None) };
        if !is_label(&value) {
            let message = format!("the option \"{name}\" must be one part of a host name: letters, digits and hyphens");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        filled.push_str(before);
        filled.push_str(&value.to_ascii_lowercase());
        rest = after;
    }
    filled.push_str(rest);
    Ok(Some(filled))
}

fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// A star may stand left of a registrable domain or below one. The private section of the list of public suffixes does
/// not count: it holds the suffixes of cloud vendors, which their own providers may star.
fn may_be_starred(host: &str) -> bool {
    if host.parse::<IpAddr>().is_ok() || !host.contains('.') {
        return false;
    }
    match psl::suffix(host.as_bytes()) {
        Some(suffix) => suffix.typ() == Some(psl::Type::Private) || suffix.as_bytes() != host.as_bytes(),
        None => false,
    }
}

/// Where one request goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub(crate) https: bool,
    /// Lower case; IPv6 without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Everything from the host on, as given; begins with a slash.
    pub(crate) path_and_query: String,
}

impl Target {
    /// Takes an absolute URL apart.
    pub(crate) fn parse(url: &str) -> Result<Target> {
        if url.len() > LONGEST_URL_BYTES {
            return Err(wrong_url("the URL is longer than 64 KiB"));
        }
        let (https, rest) = match url.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            _ => return Err(wrong_url("the URL does not begin with https:// or http://")),
        };
        let authority_bytes = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(authority_bytes);
        let (host, port) = split_port(authority)?;
        let host = parse_host(host)?;
        let path_and_query = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
        if path_and_query.bytes().any(|b| b <= b' ' || b >= 0x7f || b == b'#') {
            return Err(wrong_url(
                "the URL holds a space, a control character, a fragment or a character beyond ASCII",
            ));
        }
        Ok(Target { https, host, port: port.unwrap_or(if https { 443 } else { 80 }), path_and_query })
    }

    /// The address that stands in place of a host name.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// The host as it stands in a URL.
    pub(crate) fn bracketed_host(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }

    /// As in a `Host` header: the port only where it is not the scheme's own.
    pub(crate) fn authority(&self) -> String {
        let host = self.bracketed_host();
        if self.port == if self.https { 443 } else { 80 } { host } else { format!("{host}:{}", self.port) }
    }

    /// Scheme, host and port, for people and as a key.
    pub(crate) fn origin(&self) -> String {
        format!("{}://{}", if self.https { "https" } else { "http" }, self.authority())
    }

    /// Whether both have the same scheme, host and port.
    pub(crate) fn same_origin(&self, other: &Target) -> bool {
        self.https == other.https && self.port == other.port && self.host == other.host
    }

    /// The path without the query.
    pub(crate) fn path(&self) -> &str {
        self.path_and_query.split('?').next().unwrap_or("/")
    }

    /// The query as it stands.
    pub(crate) fn query(&self) -> Option<&str> {
        self.path_and_query.split_once('?').map(|(_, query)| query)
    }

    /// What a redirect's `Location` means, seen from here (RFC 3986, section 5, without normalisation).
    pub(crate) fn follow(&self, location: &str) -> Result<Target> {
        let location = location.split('#').next().unwrap_or("");
        let scheme = if self.https { "https" } else { "http" };
        let origin = format!("{scheme}://{}", self.authority());
        let absolute =
            location.split_once("://").is_some_and(|(scheme, _)| scheme.bytes().all(|b| b.is_ascii_alphanumeric()));
        if absolute {
            return Target::parse(location);
        }
        let url = if let Some(rest) = location.strip_prefix("//") {
            format!("{scheme}://{rest}")
        } else if location.starts_with('/') {
            format!("{origin}{location}")
        } else if location.starts_with('?') {
            format!("{origin}{}{location}", self.path())
        } else {
            let directory = self.path().rsplit_once('/').map_or("", |(directory, _)| directory);
            format!("{origin}{directory}/{location}")
        };
        Target::parse(&url)
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>)> {
    if authority.contains('@') {
        return Err(wrong_url("the URL names a user; credentials do not belong there"));
    }
    let bare = authority.rfind(']').map_or(authority, |end| authority.get(end..).unwrap_or(""));
    let Some((_, port)) = bare.rsplit_once(':') else { return Ok((authority, None)) };
    let host = authority.get(..authority.len() - port.len() - 1).unwrap_or("");
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    match port.parse() {
        Ok(number) if digits && number != 0 => Ok((host, Some(number))),
        _ => Err(wrong_url("the URL's port is not a number from 1 to 65535")),
    }
}

fn parse_host(host: &str) -> Result<String> {
    if let Some(v6) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        let address: Ipv6Addr = v6.parse().map_err(|_| wrong_url("the URL's host is not an IPv6 address"))?;
        return Ok(address.to_string());
    }
    let labels_sound = host.split('.').all(|label| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    });
    if host.len() > 253 || !labels_sound {
        return Err(wrong_url("the URL's host is not a host name"));
    }
    // Resolvers read 2130706433, 0x7f.1 and 0177.0.0.1 as addresses: whatever ends in a number must be one plainly.
    let last = host.rsplit('.').next().unwrap_or("");
    let numeric = last.bytes().all(|b| b.is_ascii_digit()) || last.to_ascii_lowercase().starts_with("0x");
    if numeric && host.parse::<Ipv4Addr>().is_err() {
        return Err(wrong_url("the URL's host is an address in an unusual notation; write it as four decimal numbers"));
    }
    Ok(host.to_ascii_lowercase())
}

fn wrong_url(message: &str) -> Error {
    Error::new(ErrorKind::Denied, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(template: &str) -> Origin {
        Origin::parse(template, |_| None).unwrap().unwrap()
    }

    fn covers(origin: &Origin, url: &str) -> bool {
        origin.covers(&Target::parse(url).unwrap())
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let api = origin("https://api.example.com");
        assert!(covers(&api, "https://API.example.com/x"));
        assert!(covers(&api, "https://api.example.com:443"));
        for other in [
            "http://api.example.com",
            "https://api.example.com:8443",
            "https://a.api.example.com",
            "https://example.com",
        ] {
            assert!(!covers(&api, other), "{other}");
        }
    }

    #[test]
    fn a_star_covers_labels_but_not_the_domain_or_look_alikes() {
        let star = origin("https://*.example.com");
        assert!(covers(&star, "https://a.example.com"));
        assert!(covers(&star, "https://a.b.example.com"));
        assert!(!covers(&star, "https://example.com"));
        assert!(!covers(&star, "https://notexample.com"));
        assert!(!covers(&star, "https://a.example.com.evil.net"));
    }

    #[test]
    fn a_star_over_a_public_suffix_is_refused_and_over_a_vendors_own_is_not() {
        for refused in ["https://*.com", "https://*.co.uk", "https://*.local", "https://*.127.0.0.1", "https://*.*.com"]
        {
            assert!(Origin::parse(refused, |_| None).is_err(), "{refused}");
        }
        for fine in ["https://*.s3.eu-west-1.amazonaws.com", "https://*.example.co.uk", "https://*.backblazeb2.com"] {
            assert!(Origin::parse(fine, |_| None).is_ok(), "{fine}");
        }
    }

    #[test]
    fn a_brace_becomes_one_label_and_nothing_else() {
        let with = |value: &'static str| {
            Origin::parse("https://{account}.blob.example.net", move |name| {
                (name == "account").then(|| value.to_owned())
            })
        };
        assert!(covers(&with("Mine").unwrap().unwrap(), "https://mine.blob.example.net/c"));
        for hostile in ["evil.com/", "evil.com#", "a.b", "a@b", "", "-a", "a:1", "a/b", "*", "{account}", "ä"] {
            assert!(with(hostile).is_err(), "{hostile}");
        }
        assert_eq!(Origin::parse("https://{account}.blob.example.net", |_| None).unwrap(), None);
    }

    #[test]
    fn an_endpoint_and_below_covers_one_label() {
        let endpoint = Origin::of_endpoint("http://s3.example.com:9000/x", true).unwrap();
        assert!(covers(&endpoint, "http://s3.example.com:9000/y"));
        assert!(covers(&endpoint, "http://bucket.s3.example.com:9000/"));
        assert!(!covers(&endpoint, "http://a.b.s3.example.com:9000/"));
        assert!(!covers(&endpoint, "https://s3.example.com:9000/"));
    }

    #[test]
    fn addresses_in_odd_notations_and_users_are_refused() {
        for url in [
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://127.1/",
            "http://127.0.0.01/",
            "http://a@b/",
            "http://good.example@evil.example/",
            "http://host./",
            "http:///x",
            "http://a b/",
            "http://ex\u{e4}mple.com/",
            "http://h:0/",
            "http://h:99999/",
            "http://h:+80/",
            "http://[::1/",
            "http://evil.example\\@good.example/",
            "ftp://h/",
            "//h/",
            "http://h/a b",
            "http://h/#f",
            "http://h/\r\nX: y",
        ] {
            assert!(Target::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn what_follows_the_host_stays_as_it_stands() {
        let target = Target::parse("https://h//a/../b/%2e%2F;x|y?a=%20&b=+{}").unwrap();
        assert_eq!(target.path_and_query, "//a/../b/%2e%2F;x|y?a=%20&b=+{}");
        assert_eq!(Target::parse("https://h?x").unwrap().path_and_query, "/?x");
        assert_eq!(Target::parse("http://[::1]:9/").unwrap().authority(), "[::1]:9");
    }

    #[test]
    fn a_location_is_followed_from_where_it_was_given() {
        let from = Target::parse("https://h:8/a/b?c").unwrap();
        let follow = |location: &str| {
            let target = from.follow(location).unwrap();
            target.origin() + &target.path_and_query
        };
        assert_eq!(follow("https://o/x"), "https://o/x");
        assert_eq!(follow("//o/x"), "https://o/x");
        assert_eq!(follow("/x?u=http://y"), "https://h:8/x?u=http://y");
        assert_eq!(follow("x#f"), "https://h:8/a/x");
        assert_eq!(follow("?d"), "https://h:8/a/b?d");
    }
}
