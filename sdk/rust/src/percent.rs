//! Percent-encoding, done once: whoever builds a request gives plain text, and what comes out is what is sent and signed.

use std::fmt::Write as _;

/// Everything but unreserved characters (`A-Z a-z 0-9 - . _ ~`) encoded, with upper-case digits.
pub fn encode(text: &str) -> String {
    encode_but(text, b"")
}

/// The same, leaving slashes: each segment encoded by itself.
pub fn encode_path(path: &str) -> String {
    encode_but(path, b"/")
}

fn encode_but(text: &str, kept: &[u8]) -> String {
    let mut encoded = String::with_capacity(text.len() + text.len() / 4);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || kept.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing into a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Back from a form's encoding, where `+` is a space; absent if it is not one, or not UTF-8.
pub fn decode_form(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => hex(rest.next()?)? * 16 + hex(rest.next()?)?,
            _ => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unreserved_characters_stay() {
        assert_eq!(encode("a b+c/ü~"), "a%20b%2Bc%2F%C3%BC~");
        assert_eq!(encode_path("a b/../c%"), "a%20b/../c%25");
    }

    #[test]
    fn a_form_comes_back_or_is_refused() {
        assert_eq!(decode_form("a+b%2Bc%C3%BC").as_deref(), Some("a b+cü"));
        for wrong in ["%", "%4", "%zz", "%FF"] {
            assert_eq!(decode_form(wrong), None, "{wrong}");
        }
    }
}
