//! A path inside a storage: names from the root, checked once.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The most bytes that a path may have: what the kernel accepts.
const LONGEST_BYTES: usize = 4096;

/// Where something lies in a storage: names joined by `/`, no slash at either end, empty for the root.
///
/// No name is empty, `.` or `..`, none holds a NUL or a slash, so a path can never climb out of what it is joined to.
/// Names are as people see them; a provider's own spelling is made by [`crate::Encoding`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Path(String);

/// Why a text is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A name is empty, `.` or `..`.
    #[error("a path must not contain empty names, `.` or `..`")]
    Name,
    /// There is a NUL byte in it.
    #[error("a path must not contain a NUL byte")]
    Nul,
    /// It is longer than 4,096 bytes.
    #[error("a path must not be longer than 4096 bytes")]
    TooLong,
}

impl Path {
    /// The root.
    pub const ROOT: Path = Path(String::new());

    /// Parses names joined by `/`. A slash at either end is not allowed; the empty text is the root.
    pub fn parse(text: &str) -> Result<Path, PathError> {
        if text.is_empty() {
            return Ok(Path::ROOT);
        }
        if text.len() > LONGEST_BYTES {
            return Err(PathError::TooLong);
        }
        text.split('/').try_for_each(check_name)?;
        Ok(Path(text.to_owned()))
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last name; absent for the root.
    pub fn name(&self) -> Option<&str> {
        self.names().next_back()
    }

    /// The directory that holds it; absent for the root.
    pub fn parent(&self) -> Option<Path> {
        if self.is_root() {
            return None;
        }
        Some(self.0.rsplit_once('/').map_or(Path::ROOT, |(parent, _)| Path(parent.to_owned())))
    }

    /// The names from the root.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|name| !name.is_empty())
    }

    /// What `name` in this directory is called.
    pub fn child(&self, name: &str) -> Result<Path, PathError> {
        check_name(name)?;
        if name.contains('/') {
            return Err(PathError::Name);
        }
        self.join(&Path(name.to_owned()))
    }

    /// `below`, seen from where this path is.
    pub fn join(&self, below: &Path) -> Result<Path, PathError> {
        let joined = match (self.is_root(), below.is_root()) {
            (true, _) => below.0.clone(),
            (_, true) => self.0.clone(),
            _ => format!("{}/{}", self.0, below.0),
        };
        if joined.len() > LONGEST_BYTES { Err(PathError::TooLong) } else { Ok(Path(joined)) }
    }

    /// Whether this is `ancestor` or lies below it.
    pub fn is_within(&self, ancestor: &Path) -> bool {
        self.below(ancestor).is_some()
    }

    /// Where this is once `from` is at `to`; absent where it does not lie there, or would be too long.
    pub fn moved(&self, from: &Path, to: &Path) -> Option<Path> {
        to.join(&self.below(from)?).ok()
    }

    /// This path as seen from `ancestor`; absent where it does not lie there.
    pub fn below(&self, ancestor: &Path) -> Option<Path> {
        if ancestor.is_root() {
            return Some(self.clone());
        }
        let rest = self.0.strip_prefix(&ancestor.0)?;
        match rest.strip_prefix('/') {
            Some(below) => Some(Path(below.to_owned())),
            None if rest.is_empty() => Some(Path::ROOT),
            None => None,
        }
    }
}

fn check_name(name: &str) -> Result<(), PathError> {
    match name {
        "" | "." | ".." => Err(PathError::Name),
        _ if name.contains('\0') => Err(PathError::Nul),
        _ => Ok(()),
    }
}

impl TryFrom<String> for Path {
    type Error = PathError;
    fn try_from(text: String) -> Result<Path, PathError> {
        Path::parse(&text)
    }
}

impl From<Path> for String {
    fn from(path: Path) -> String {
        path.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_climbs() {
        for text in ["..", "a/../b", "./a", "a//b", "/a", "a/", "a\0b"] {
            assert!(Path::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn parent_and_name_take_it_apart() {
        let path = Path::parse("a/b/c").unwrap();
        assert_eq!(path.name(), Some("c"));
        assert_eq!(path.parent().unwrap().child("c").unwrap(), path);
        assert_eq!(Path::ROOT.parent(), None);
    }

    #[test]
    fn a_common_beginning_is_not_an_ancestor() {
        let path = Path::parse("ab/c").unwrap();
        assert!(!path.is_within(&Path::parse("a").unwrap()));
        assert_eq!(path.below(&Path::parse("ab").unwrap()), Some(Path::parse("c").unwrap()));
    }
}
