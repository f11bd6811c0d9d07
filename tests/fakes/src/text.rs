//! The notations of HTTP that every fake reads and writes: percent-encoding, forms, XML text, dates. No meaning, only spelling.

use jiff::Timestamp;

/// Decodes `%41` and, as forms do, `+`. What is no valid escape stays as it is; invalid UTF-8 is replaced.
pub fn decode_form(text: &str) -> String {
    decode(&text.replace('+', " "))
}

/// Decodes `%41`. What is no valid escape stays as it is; invalid UTF-8 is replaced.
pub fn decode(text: &str) -> String {
    String::from_utf8_lossy(&decode_bytes(text)).into_owned()
}

/// Decodes `%41` to bytes.
pub fn decode_bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escape = after.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match (first, escape.and_then(|pair| u8::from_str_radix(pair, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                out.push(first);
                rest = after;
            }
        }
    }
    out
}

/// Encodes everything but the unreserved characters of RFC 3986 and those in `keep`.
pub fn encode(text: &str, keep: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let character = char::from(byte);
        if byte.is_ascii_alphanumeric() || "-._~".contains(character) || (byte.is_ascii() && keep.contains(character)) {
            out.push(character);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// The pairs of `a=1&b=2`, decoded, in their order. A name without `=` has an empty value.
pub fn pairs(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode_form(name), decode_form(value))
        })
        .collect()
}

/// Text inside an XML element or attribute.
pub fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\r' => out.push_str("&#13;"),
            other => out.push(other),
        }
    }
    out
}

/// `Tue, 02 Jan 2024 03:04:05 GMT`.
pub fn http_date(time: Timestamp) -> String {
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// Reads what [`http_date`] writes.
pub fn parse_http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_round_trips_and_leaves_broken_escapes_alone() {
        let odd = "a b+%41é/\\\"";
        assert_eq!(decode(&encode(odd, "/")), odd);
        assert_eq!(encode("a b/é", "/"), "a%20b/%C3%A9");
        assert_eq!(decode("100%"), "100%");
        assert_eq!(decode("%zz%4"), "%zz%4");
        assert_eq!(
            pairs("p=%2Fa+b&reuse&x=1=2"),
            [("p".into(), "/a b".into()), ("reuse".into(), String::new()), ("x".into(), "1=2".into())]
        );
    }

    #[test]
    fn dates_of_http_round_trip() {
        let time: Timestamp = "2024-01-02T03:04:05Z".parse().unwrap();
        assert_eq!(http_date(time), "Tue, 02 Jan 2024 03:04:05 GMT");
        assert_eq!(parse_http_date(&http_date(time)), Some(time));
    }
}
