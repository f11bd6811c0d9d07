//! When two names are one, and which names a provider made up by itself. It spells nothing for a provider: that is the
//! encoding's.

use std::borrow::Cow;

use causeway_storage::{Features, NormalForm, Sameness};
use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// How a provider compares names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    sameness: Sameness,
    normal_form: NormalForm,
}

impl Names {
    pub(super) fn of(features: &Features) -> Names {
        Names { sameness: features.sameness, normal_form: features.normal_form }
    }

    /// Byte for byte.
    #[cfg(test)]
    pub(super) fn exact() -> Names {
        Names { sameness: Sameness::Exact, normal_form: NormalForm::AsGiven }
    }

    /// Two names are one if these are equal.
    pub(super) fn folded(self, name: &str) -> Cow<'_, str> {
        let formed: Cow<'_, str> = match self.normal_form {
            _ if name.is_ascii() => name.into(),
            NormalForm::AsGiven => name.into(),
            NormalForm::Nfc => name.nfc().collect::<String>().into(),
            NormalForm::Nfkc => name.nfkc().collect::<String>().into(),
        };
        match self.sameness {
            Sameness::Exact => formed,
            Sameness::IgnoresCase => formed.to_lowercase().into(),
            Sameness::IgnoresCaseAndAccents => {
                let bare: String = formed.nfd().filter(|c| !is_combining_mark(*c)).collect();
                bare.to_lowercase().into()
            }
        }
    }

    pub(super) fn same(self, one: &str, other: &str) -> bool {
        one == other || self.folded(one) == self.folded(other)
    }
}

/// A name and its extension with the dot; a dot at the beginning begins none.
fn split(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(at) if at > 0 => name.split_at(at),
        _ => (name, ""),
    }
}

/// Whether a provider that was asked for one name made a numbered copy of it: `a (1).txt`, `a 1.txt`, `a_1.txt`, `a-1.txt`.
pub(super) fn is_numbered(made: &str, asked: &str) -> bool {
    let ((made, made_extension), (asked, asked_extension)) = (split(made), split(asked));
    let Some(rest) = made.strip_prefix(asked).filter(|_| made_extension == asked_extension) else { return false };
    let Some(number) = rest.strip_prefix([' ', '_', '-']).or_else(|| rest.starts_with('(').then_some(rest)) else {
        return false;
    };
    let number = number.strip_prefix('(').and_then(|inside| inside.strip_suffix(')')).unwrap_or(number);
    (1..=4).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// Eight hex digits that stand for a cookie.
pub(super) fn mark(cookie: &str) -> String {
    data_encoding::HEXLOWER.encode(Sha256::digest(cookie).get(..4).unwrap_or_default())
}

/// The name under which one of several entries of this name is shown: `report {1a2b3c4d}.pdf`.
pub(super) fn marked(name: &str, cookie: &str) -> String {
    let (stem, extension) = split(name);
    format!("{stem} {{{}}}{extension}", mark(cookie))
}

/// The name and the mark that such a name was made of.
pub(super) fn unmarked(shown: &str) -> Option<(String, &str)> {
    let open = shown.rfind(" {")?;
    let (stem, rest) = (shown.get(..open)?, shown.get(open + 2..)?);
    let (mark, extension) = rest.split_once('}')?;
    let is_mark = mark.len() == 8 && mark.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let name = format!("{stem}{extension}");
    let made = is_mark && split(&name).0 == stem;
    made.then_some((name, mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(sameness: Sameness, normal_form: NormalForm) -> Names {
        Names { sameness, normal_form }
    }

    #[test]
    fn names_are_one_as_the_provider_says() {
        assert!(!Names::exact().same("a", "A"));
        assert!(names(Sameness::IgnoresCase, NormalForm::AsGiven).same("Ä", "ä"));
        assert!(!names(Sameness::IgnoresCase, NormalForm::AsGiven).same("a", "ä"));
        assert!(names(Sameness::IgnoresCaseAndAccents, NormalForm::AsGiven).same("Ä", "a"));
        assert!(names(Sameness::Exact, NormalForm::Nfc).same("a\u{308}", "ä"));
        assert!(!names(Sameness::Exact, NormalForm::AsGiven).same("a\u{308}", "ä"));
        assert!(names(Sameness::Exact, NormalForm::Nfkc).same("ﬁ", "fi"));
    }

    #[test]
    fn a_numbered_copy_is_told_from_another_name() {
        for made in ["a (1).txt", "a(2).txt", "a 1.txt", "a_12.txt", "a-3.txt"] {
            assert!(is_numbered(made, "a.txt"), "{made}");
        }
        for made in ["a.txt", "b (1).txt", "a (1).pdf", "a (x).txt", "ab.txt", "a1.txt", "a 12345.txt", "a ().txt"] {
            assert!(!is_numbered(made, "a.txt"), "{made}");
        }
        assert!(is_numbered("folder (1)", "folder"));
    }

    #[test]
    fn a_marked_name_tells_what_it_was_made_of() {
        for name in ["report.pdf", "report", ".profile", "a.tar.gz", "x {y}.z", "ä ö"] {
            let shown = marked(name, "the cookie");
            assert_eq!(unmarked(&shown), Some((name.to_owned(), mark("the cookie").as_str())), "{shown}");
        }
        for name in ["report", "a {12345678", "a{12345678}", "a {1234567}", "a {1234567G}.txt"] {
            assert_eq!(unmarked(name), None, "{name}");
        }
    }
}
