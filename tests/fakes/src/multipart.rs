//! Reading `multipart/form-data` and `multipart/related` bodies: parts in their order, with their headers. It does not
//! decode transfer encodings, which HTTP does not use.

use bytes::Bytes;

/// One part.
#[derive(Debug, Clone)]
pub struct Part {
    /// Names and values as sent.
    pub headers: Vec<(String, String)>,
    /// Its content.
    pub body: Bytes,
}

impl Part {
    /// The first header of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The form field's name.
    pub fn name(&self) -> Option<String> {
        self.disposition("name")
    }

    /// The file's name, when the part is a file.
    pub fn file_name(&self) -> Option<String> {
        self.disposition("filename")
    }

    /// The content as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn disposition(&self, wanted: &str) -> Option<String> {
        parameter(self.header("content-disposition")?, wanted)
    }
}

/// A parameter of a header value such as `form-data; name="a;b"`, unquoted.
pub fn parameter(value: &str, wanted: &str) -> Option<String> {
    let mut rest = value.split_once(';')?.1;
    loop {
        let (name, after) = rest.split_once('=')?;
        let (found, next) = quoted_or_plain(after.trim_start());
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(found);
        }
        rest = next;
    }
}

fn quoted_or_plain(text: &str) -> (String, &str) {
    let Some(inside) = text.strip_prefix('"') else {
        let (value, rest) = text.split_once(';').unwrap_or((text, ""));
        return (value.trim().to_owned(), rest);
    };
    let mut value = String::new();
    let mut characters = inside.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, inside.get(at + 1..).unwrap_or_default().trim_start().trim_start_matches(';')),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

/// The parts of a body, or `None` when the type names no boundary or the body does not keep to it.
pub fn parse(content_type: &str, body: &Bytes) -> Option<Vec<Part>> {
    if !content_type.to_ascii_lowercase().starts_with("multipart/") {
        return None;
    }
    let delimiter = format!("--{}", parameter(content_type, "boundary")?);
    let later = format!("\r\n{delimiter}");
    let mut at = boundary(body, delimiter.as_bytes(), 0)? + delimiter.len();
    let mut parts = Vec::new();
    loop {
        if body.get(at..at + 2)? == b"--" {
            return Some(parts);
        }
        let start = at + 2;
        let end = boundary(body, later.as_bytes(), at)?;
        parts.push(part(body, start, end)?);
        at = end + later.len();
    }
}

/// Where a delimiter stands that is one: followed by the end of the line, or by the two dashes that close the body.
fn boundary(body: &[u8], delimiter: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at = find(body, delimiter, at)?;
        let after = body.get(at + delimiter.len()..).unwrap_or_default();
        if after.starts_with(b"\r\n") || after.starts_with(b"--") {
            return Some(at);
        }
        at += 1;
    }
}

fn part(body: &Bytes, start: usize, end: usize) -> Option<Part> {
    // A part without headers begins with the empty line itself.
    if body.get(start..start + 2)? == b"\r\n" {
        return Some(Part { headers: Vec::new(), body: body.slice(start + 2..end.max(start + 2)) });
    }
    let head = find(body, b"\r\n\r\n", start)?;
    let text = String::from_utf8_lossy(body.get(start..head)?).into_owned();
    let headers = text.split("\r\n").filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect();
    (head + 4 <= end).then(|| Part { headers, body: body.slice(head + 4..end) })
}

fn find(body: &[u8], wanted: &[u8], from: usize) -> Option<usize> {
    let (first, rest) = wanted.split_first()?;
    let mut at = from;
    loop {
        at += body.get(at..)?.iter().position(|byte| byte == first)?;
        if body.get(at + 1..)?.starts_with(rest) {
            return Some(at);
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_in_order_with_names_and_exact_content() {
        let body = "--b\r\nContent-Disposition: form-data; name=\"parent_dir\"\r\n\r\n/\r\n\
            --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\\\"; é.txt\"\r\nContent-Type: text/plain\r\n\r\n\
            line\r\n--bx\r\n\r\n--b--\r\n";
        let parts = parse("multipart/form-data; boundary=\"b\"", &Bytes::from(body)).unwrap();
        assert_eq!(parts.len(), 2);
        assert_eq!((parts[0].name().unwrap(), parts[0].text()), ("parent_dir".into(), "/".into()));
        assert_eq!(parts[1].file_name().unwrap(), "a\"; é.txt");
    }

    #[test]
    fn an_empty_file_is_a_part_and_a_missing_end_is_an_error() {
        let whole = "--b\r\nContent-Disposition: form-data; name=f; filename=e\r\n\r\n\r\n--b--";
        let parts = parse("multipart/form-data; boundary=b", &Bytes::from(whole)).unwrap();
        assert_eq!((parts[0].name().unwrap().as_str(), parts[0].body.len()), ("f", 0));
        assert!(parse("multipart/form-data; boundary=b", &Bytes::from(&whole[..whole.len() - 5])).is_none());
        assert!(parse("text/plain; boundary=b", &Bytes::from(whole)).is_none());
    }
}
