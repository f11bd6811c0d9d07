//! Cookies: what identifies an item, and how it was come by.

/// What identifies an item, and how it was come by.
///
/// Written `id`, then what applies of `>target` (a shortcut), `!key` (shared by a link), `^parent` (shown in the root although its
/// parent, which may be none, is another), `#revision`, and `@cookie`: the innermost directory on the way to it that is not found
/// by an item's parent alone. Through that one a child knows its directory's own cookie, whatever way led there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cookie {
    pub(crate) id: String,
    pub(crate) target: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) shown_from: Option<String>,
    pub(crate) revision: Option<String>,
    pub(crate) way: Option<Box<Cookie>>,
}

impl Cookie {
    pub(crate) fn new(id: &str) -> Cookie {
        Cookie { id: id.to_owned(), ..Cookie::default() }
    }

    pub(crate) fn parse(text: &str) -> Cookie {
        let (own, way) = text.split_once('@').map_or((text, None), |(own, way)| (own, Some(way)));
        let mut cookie = Cookie { way: way.map(|way| Box::new(Cookie::parse(way))), ..Cookie::default() };
        let marks = ['>', '!', '^', '#'];
        let mut rest = own;
        let end = rest.find(marks).unwrap_or(rest.len());
        cookie.id = rest.get(..end).unwrap_or_default().to_owned();
        rest = rest.get(end..).unwrap_or_default();
        while let Some(mark) = rest.chars().next() {
            let after = rest.get(1..).unwrap_or_default();
            let end = after.find(marks).unwrap_or(after.len());
            let value = Some(after.get(..end).unwrap_or_default().to_owned());
            match mark {
                '>' => cookie.target = value,
                '!' => cookie.key = value,
                '^' => cookie.shown_from = value,
                _ => cookie.revision = value,
            }
            rest = after.get(end..).unwrap_or_default();
        }
        cookie
    }

    /// What has the content, or holds the children.
    pub(crate) fn content(&self) -> &str {
        self.target.as_deref().unwrap_or(&self.id)
    }

    /// Whether children cannot name it by its id alone.
    fn is_special(&self) -> bool {
        self.target.is_some() || self.key.is_some() || self.shown_from.is_some()
    }

    /// What this directory's children have as their way.
    pub(crate) fn way_below(&self) -> Option<Box<Cookie>> {
        if self.is_special() { Some(Box::new(self.clone())) } else { self.way.clone() }
    }

    /// How often the way goes through shortcuts and the like.
    pub(crate) fn depth(&self) -> usize {
        std::iter::successors(self.way.as_deref(), |cookie| cookie.way.as_deref()).count()
    }

    /// The ids on the way that need a key, with it.
    pub(crate) fn keys(&self) -> Vec<(&str, &str)> {
        let all = std::iter::successors(Some(self), |cookie| cookie.way.as_deref());
        all.filter_map(|cookie| Some((cookie.content(), cookie.key.as_deref()?))).collect()
    }
}

impl std::fmt::Display for Cookie {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.id)?;
        for (mark, value) in [('>', &self.target), ('!', &self.key), ('^', &self.shown_from), ('#', &self.revision)] {
            if let Some(value) = value {
                write!(f, "{mark}{value}")?;
            }
        }
        self.way.as_ref().map_or(Ok(()), |way| write!(f, "@{way}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_what_was_written() {
        for text in ["1a", "1a>2b", "1a>2b!0-k^0R", "1a^", "1a#3", "1a@2b>3c!k@4d^"] {
            assert_eq!(Cookie::parse(text).to_string(), text);
        }
        let keyed = Cookie::parse("1a!k@2b>3c!l@4d!m");
        assert_eq!(keyed.keys(), [("1a", "k"), ("3c", "l"), ("4d", "m")]);
        assert_eq!(keyed.depth(), 2);
    }
}
