//! HTTP/1.1 as far as the instruments need it: heads, bodies, connections that stay open.
//!
//! It knows no TLS and no redirects: both ends are on this machine and one of them is ours.

use std::io::{BufRead, BufReader, Cursor, Error, ErrorKind, Read, Result, Write};
use std::net::TcpStream;

/// Longer heads are nobody's here.
const LONGEST_HEAD: usize = 64 << 10;

/// What comes before a body: of a request or of an answer.
#[derive(Debug, Default)]
pub struct Head {
    line: String,
    fields: Vec<(String, String)>,
}

impl Head {
    /// Reads one; none if the connection ended.
    pub fn read(stream: &mut impl BufRead) -> Result<Option<Head>> {
        let mut head = Head::default();
        let mut length = stream.read_line(&mut head.line)?;
        if length == 0 {
            return Ok(None);
        }
        loop {
            let mut line = String::new();
            length += stream.read_line(&mut line)?;
            let line = line.trim_end();
            if line.is_empty() {
                return Ok(Some(head));
            }
            let (name, value) = line.split_once(':').ok_or(ErrorKind::InvalidData)?;
            head.fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            if length > LONGEST_HEAD {
                return Err(ErrorKind::InvalidData.into());
            }
        }
    }

    /// A word of the first line.
    pub fn word(&self, index: usize) -> &str {
        self.line.split_ascii_whitespace().nth(index).unwrap_or_default()
    }

    /// A header, by its name in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| &**value)
    }

    /// All headers whose names, in lower case, begin like this.
    pub fn fields<'a>(&'a self, beginning: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.fields.iter().filter(move |(name, _)| name.starts_with(beginning)).map(|(name, value)| (&**name, &**value))
    }

    /// The size of the body in bytes.
    pub fn length(&self) -> u64 {
        self.field("content-length").and_then(|length| length.parse().ok()).unwrap_or(0)
    }
}

/// A client's connection.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
    host: String,
}

impl Connection {
    /// Connects to `address:port`.
    pub fn open(address: &str) -> Result<Connection> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream: BufReader::with_capacity(64 << 10, stream), host: address.to_owned() })
    }

    /// Sends a request with further header lines, each with its line end, and gives the stream of the body; a status other than
    /// 2xx is an error that tells the body.
    pub fn ask(&mut self, first: &str, headers: &str, body: &str) -> Result<impl Read + '_> {
        let head = self.exchange(first, headers, body)?;
        let mut answer: Box<dyn Read + '_> = match head.field("transfer-encoding") {
            Some("chunked") => Box::new(Cursor::new(chunks(&mut self.stream)?)),
            _ => Box::new((&mut self.stream).take(head.length())),
        };
        if head.word(1).starts_with('2') {
            return Ok(answer);
        }
        let mut text = String::new();
        answer.read_to_string(&mut text)?;
        Err(Error::other(format!("{first}: {} {text}", head.word(1))))
    }

    /// The same, and the whole body as a text.
    pub fn text(&mut self, first: &str, headers: &str, body: &str) -> Result<String> {
        let mut text = String::new();
        self.ask(first, headers, body)?.read_to_string(&mut text)?;
        Ok(text)
    }

    /// The head of an answer, whose body, if it has one, is thrown away.
    #[cfg(test)]
    pub(crate) fn head(&mut self, first: &str) -> Result<Head> {
        let head = self.exchange(first, "", "")?;
        let body = if first.starts_with("HEAD ") { 0 } else { head.length() };
        std::io::copy(&mut (&mut self.stream).take(body), &mut std::io::sink())?;
        Ok(head)
    }

    fn exchange(&mut self, first: &str, headers: &str, body: &str) -> Result<Head> {
        let request =
            format!("{first} HTTP/1.1\r\nHost: {}\r\n{headers}Content-Length: {}\r\n\r\n{body}", self.host, body.len());
        self.stream.get_mut().write_all(request.as_bytes())?;
        Ok(Head::read(&mut self.stream)?.ok_or(ErrorKind::UnexpectedEof)?)
    }
}

/// A body in pieces, whole.
fn chunks(stream: &mut impl BufRead) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let length = u64::from_str_radix(line.trim_end(), 16).map_err(Error::other)?;
        stream.take(length).read_to_end(&mut body)?;
        stream.read_line(&mut line)?;
        if length == 0 {
            return Ok(body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_in_pieces_is_put_together_and_nothing_after_it_is_taken() {
        let mut stream = Cursor::new(b"4\r\none \r\n3\r\ntwo\r\n0\r\n\r\nHTTP".to_vec());
        assert_eq!(chunks(&mut stream).unwrap(), b"one two");
        assert_eq!(&stream.get_ref()[stream.position() as usize..], b"HTTP");
    }
}
