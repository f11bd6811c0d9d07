//! Names as a provider can hold them: characters that it cannot are replaced by look-alikes, reversibly.
//!
//! The masks, the replacements and the quoting are those of the option tables, so that what others wrote under the same
//! mask is found under the same name. A mask is a sum of bits; each replaces some characters wherever they stand, or at
//! the left or right end of a name. Printable ASCII becomes its full-width form, a control character its picture, and a
//! character that already is such a replacement is preceded by [`QUOTE`].
//!
//! People's names cannot hold `/` or NUL, nor be `.` or `..`, whatever the provider allows: [`show`] replaces those alone,
//! and quotes only where that could be mistaken, so that every name that people give comes back as it was. Names are text:
//! `InvalidUtf8` has nothing to do.

/// Stands before a character that looks like a replacement and is none.
const QUOTE: char = '\u{201B}';

const RAW: u32 = 1;
const SLASH: u32 = 1 << 1;
const CR_LF: u32 = 1 << 14;
const DEL: u32 = 1 << 15;
const CTL: u32 = 1 << 16;
const LEFT: [(u32, &str); 4] = [(1 << 17, " "), (1 << 18, "."), (1 << 19, "~"), (1 << 20, "\r\n\t\x0B")];
const RIGHT: [(u32, &str); 3] = [(1 << 21, " "), (1 << 22, "."), (1 << 23, "\r\n\t\x0B")];
const DOT: u32 = 1 << 25;

/// The bits that replace printable characters anywhere.
const PRINTABLE: [(u32, &str); 17] = [
    (SLASH, "/"),
    (1 << 2, "<>"),
    (1 << 3, "\""),
    (1 << 4, "'"),
    (1 << 5, "`"),
    (1 << 6, "$"),
    (1 << 7, ":"),
    (1 << 8, "?"),
    (1 << 9, "*"),
    (1 << 10, "|"),
    (1 << 11, "#"),
    (1 << 12, "%"),
    (1 << 13, "\\"),
    (1 << 26, "[]"),
    (1 << 27, ";"),
    (1 << 28, "!"),
    (RAW, ""),
];

/// The names of the bits, lowest first.
const NAMES: [&str; 29] = [
    "Raw",
    "Slash",
    "LtGt",
    "DoubleQuote",
    "SingleQuote",
    "BackQuote",
    "Dollar",
    "Colon",
    "Question",
    "Asterisk",
    "Pipe",
    "Hash",
    "Percent",
    "BackSlash",
    "CrLf",
    "Del",
    "Ctl",
    "LeftSpace",
    "LeftPeriod",
    "LeftTilde",
    "LeftCrLfHtVt",
    "RightSpace",
    "RightPeriod",
    "RightCrLfHtVt",
    "InvalidUtf8",
    "Dot",
    "SquareBracket",
    "Semicolon",
    "Exclamation",
];

/// A mask of characters that a provider cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Encoding(u32);

impl Encoding {
    /// Parses a mask: a number, or names joined by commas (`Slash,Dot`, `None`).
    pub fn parse(text: &str) -> Option<Encoding> {
        let known = (1u32 << NAMES.len()) - 1;
        if let Ok(mask) = text.trim().parse::<u32>() {
            return (mask & !known == 0).then_some(Encoding(mask));
        }
        let mut mask = 0;
        for name in text.split(',').map(str::trim) {
            if name != "None" {
                mask |= 1 << NAMES.iter().position(|known| *known == name)?;
            }
        }
        Some(Encoding(mask))
    }

    /// A name of people's in the provider's spelling.
    pub fn to_provider(self, name: &str) -> String {
        encode(self.0, &unshow(name))
    }

    /// A provider's name as people see it.
    pub fn to_people(self, name: &str) -> String {
        show(&decode(self.0, name))
    }
}

/// A name as people can use it: one to one. Where keys may hold `//` there are names without a character; they are shown
/// as a lone quote, and names that are quotes alone with one more.
fn show(name: &str) -> String {
    match name.trim_start_matches(QUOTE) {
        "" => return format!("{QUOTE}{name}"),
        "." if name == "." => return "．".into(),
        ".." if name == ".." => return "．．".into(),
        "．" | "．．" => return format!("{QUOTE}{name}"),
        _ => {}
    }
    let mut shown = String::with_capacity(name.len());
    let mut quotes = 0;
    for c in name.chars() {
        let double = match c {
            '/' | '\0' => quotes,
            '／' | '␀' => quotes + 1,
            _ => 0,
        };
        shown.extend(std::iter::repeat_n(QUOTE, double));
        shown.push(match c {
            '/' => '／',
            '\0' => '␀',
            _ => c,
        });
        quotes = if c == QUOTE { quotes + 1 } else { 0 };
    }
    shown
}

/// The name that was shown like this.
fn unshow(name: &str) -> String {
    match (name.strip_prefix(QUOTE), name.trim_start_matches(QUOTE)) {
        (Some(rest), "") => return rest.into(),
        (None, "．") => return ".".into(),
        (None, "．．") => return "..".into(),
        (Some(rest), "．" | "．．") => return rest.into(),
        _ => {}
    }
    let mut meant = String::with_capacity(name.len());
    let mut quotes = 0;
    for c in name.chars() {
        if c == QUOTE {
            quotes += 1;
            continue;
        }
        let special = matches!(c, '／' | '␀');
        meant.extend(std::iter::repeat_n(QUOTE, if special { quotes / 2 } else { quotes }));
        meant.push(match c {
            '／' if quotes % 2 == 0 => '/',
            '␀' if quotes % 2 == 0 => '\0',
            _ => c,
        });
        quotes = 0;
    }
    meant.extend(std::iter::repeat_n(QUOTE, quotes));
    meant
}

/// What a character becomes where it stands, if it is replaced there.
fn replacement(mask: u32, c: char, first: bool, last: bool) -> Option<char> {
    let has = |bit: u32| mask & bit != 0;
    let full_width = |c: char| char::from_u32(c as u32 + 0xFEE0);
    let picture = |c: char| char::from_u32(c as u32 + 0x2400);
    match c {
        '\0' => return picture(c),
        '\r' | '\n' if has(CR_LF) => return picture(c),
        '\x7F' if has(DEL) => return Some('\u{2421}'),
        '\x01'..='\x1F' if has(CTL) => return picture(c),
        _ => {}
    }
    if PRINTABLE.iter().any(|(bit, characters)| has(*bit) && characters.contains(c)) {
        return full_width(c);
    }
    let at_end = |rules: &[(u32, &str)]| rules.iter().any(|(bit, characters)| has(*bit) && characters.contains(c));
    if (first && at_end(&LEFT)) || (last && at_end(&RIGHT)) {
        return if c <= ' ' { picture(c) } else { full_width(c) };
    }
    None
}

/// The character that this one replaces, if it is a replacement where it stands.
fn original(mask: u32, c: char, first: bool, last: bool) -> Option<char> {
    let code = c as u32;
    let candidate = match code {
        0x2421 => '\x7F',
        0x2400..=0x2420 => char::from_u32(code - 0x2400)?,
        0xFF01..=0xFF5E => char::from_u32(code - 0xFEE0)?,
        _ => return None,
    };
    (replacement(mask, candidate, first, last) == Some(c)).then_some(candidate)
}

fn encode(mask: u32, name: &str) -> String {
    if mask == RAW {
        return name.to_owned();
    }
    if mask & DOT != 0 {
        match name {
            "." => return "．".into(),
            ".." => return "．．".into(),
            "．" => return format!("{QUOTE}．"),
            "．．" => return format!("{QUOTE}．{QUOTE}．"),
            _ => {}
        }
    }
    let mut encoded = String::with_capacity(name.len());
    let mut characters = name.chars().peekable();
    let mut first = true;
    while let Some(c) = characters.next() {
        let last = characters.peek().is_none();
        if c == QUOTE || original(mask, c, first, last).is_some() {
            encoded.push(QUOTE);
        }
        encoded.push(replacement(mask, c, first, last).unwrap_or(c));
        first = false;
    }
    encoded
}

fn decode(mask: u32, name: &str) -> String {
    if mask == RAW {
        return name.to_owned();
    }
    if mask & DOT != 0 {
        match name {
            "．" => return ".".into(),
            "．．" => return "..".into(),
            _ if name == format!("{QUOTE}．") => return "．".into(),
            _ if name == format!("{QUOTE}．{QUOTE}．") => return "．．".into(),
            _ => {}
        }
    }
    let mut decoded = String::with_capacity(name.len());
    let mut characters = name.chars().peekable();
    let mut first = true;
    while let Some(c) = characters.next() {
        if c == QUOTE
            && let Some(quoted) = characters.next_if(|next| {
                // Quoted in either position, so that what was quoted at an end is found there.
                *next == QUOTE || original(mask, *next, true, true).is_some()
            })
        {
            decoded.push(quoted);
        } else {
            decoded.push(original(mask, c, first, characters.peek().is_none()).unwrap_or(c));
        }
        first = false;
    }
    decoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mask(text: &str) -> Encoding {
        Encoding::parse(text).unwrap()
    }

    #[test]
    fn masks_are_numbers_or_names() {
        assert_eq!(mask("Slash,InvalidUtf8,Dot"), mask("50331650"));
        assert_eq!(mask("None"), mask("0"));
        assert_eq!(Encoding::parse("Slash,Nonsense"), None);
        assert_eq!(Encoding::parse("536870912"), None);
    }

    #[test]
    fn what_a_provider_cannot_hold_is_replaced() {
        assert_eq!(mask("Colon").to_provider("a:b"), "a：b");
        assert_eq!(mask("Colon").to_people("a：b"), "a:b");
        assert_eq!(mask("RightSpace,LeftPeriod").to_provider(".x "), "．x␠");
        assert_eq!(mask("Ctl").to_provider("a\x01"), "a␁");
    }

    #[test]
    fn a_replacement_that_people_wrote_is_quoted() {
        assert_eq!(mask("Colon").to_provider("a：b"), "a‛：b");
        assert_eq!(mask("Colon").to_people("a‛：b"), "a：b");
    }

    #[test]
    fn names_that_no_file_system_can_hold_are_shown_replaced() {
        let none = mask("None");
        assert_eq!(none.to_people("a/b"), "a／b");
        assert_eq!(none.to_provider("a／b"), "a/b");
        assert_eq!(none.to_people(".."), "．．");
        assert_eq!(none.to_provider("．．"), "..");
    }

    proptest! {
        #[test]
        fn every_name_comes_back(bits in 0u32..(1 << 29), name in "[ -~／：．‛␁␠～!]{1,12}") {
            prop_assume!(name != "." && name != ".." && !name.contains('/') && bits != RAW);
            let encoding = Encoding(bits);
            prop_assert_eq!(encoding.to_people(&encoding.to_provider(&name)), name);
        }

        #[test]
        fn every_stored_name_can_be_asked_for(name in "[ab./／．‛␀]{0,8}") {
            let encoding = Encoding(0);
            prop_assert!(crate::Path::ROOT.child(&encoding.to_people(&name)).is_ok());
            let stored = encoding.to_provider(&encoding.to_people(&name));
            prop_assert_eq!(encoding.to_people(&stored), encoding.to_people(&name));
            prop_assert!(!encoding.to_people(&name).contains('/'));
        }
    }
}
