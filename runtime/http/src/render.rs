//! Pieces made into bytes. It knows nothing of what is allowed: `placement` decides that, with the marks made here.
//!
//! A list of pieces is first read as a tree, because brackets nest. The tree renders in two ways. *Plainly*, with every
//! secret filled in. *Marked*, with a random word in place of every secret, or in place of the outermost bracket around it
//! that would change it beyond recognition (base64, a digest); the word survives escaping, so that it can be found again
//! in the parsed result, and the mark remembers what it stands for. Content streams, and so a body renders to parts; only
//! inside a digest bracket is content read here, which blocks.

use causeway_digest::digest_source;
use causeway_storage::{Algorithm, Error, ErrorKind, Result, Source, Span};
use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER};

use crate::request::{AesCtr, MOST_DEPTH, MOST_PIECES, Piece, SecretRef, Wrap};
use crate::secrets::{Secrets, resolve};

/// The most bytes that a rendered list may have besides streamed content: what a component can hold in its memory anyway.
const MOST_RENDERED_BYTES: usize = 64 * 1024 * 1024;

/// A list of pieces, its brackets matched.
#[derive(Debug)]
pub(crate) struct Tree(Vec<Node>);

#[derive(Debug)]
enum Node {
    Bytes(Vec<u8>),
    Secret(SecretRef),
    Content(Span),
    Range { last: bool },
    Bracket(Wrap, Vec<Node>),
}

/// What is filled in.
#[derive(Clone, Copy)]
pub(crate) struct Filling<'a> {
    pub(crate) secrets: &'a dyn Secrets,
    /// First and last byte of the range being read.
    pub(crate) range: Option<(u64, u64)>,
    /// The content being written.
    pub(crate) source: Option<&'a dyn Source>,
}

/// A part of a body.
#[derive(Clone, Debug)]
pub(crate) enum BodyPart {
    Bytes(Vec<u8>),
    Content(Span, Option<AesCtr>),
}

/// A random word that stood for something secret.
pub(crate) struct Mark {
    pub(crate) word: String,
    /// What it stood for, before any bracket further out.
    pub(crate) real: Vec<u8>,
    /// The secrets in it, each with the brackets around it from the outside in.
    pub(crate) secrets: Vec<(SecretRef, Vec<Wrap>)>,
}

impl Tree {
    /// Matches the brackets and checks what holds for every list.
    pub(crate) fn parse(pieces: &[Piece]) -> Result<Tree> {
        if pieces.len() > MOST_PIECES {
            return Err(wrong(format!("a list has more than {MOST_PIECES} pieces")));
        }
        let mut levels: Vec<(Option<Wrap>, Vec<Node>)> = vec![(None, Vec::new())];
        for piece in pieces {
            let node = match piece {
                Piece::Text(text) => Node::Bytes(text.as_bytes().to_vec()),
                Piece::Bytes(bytes) => Node::Bytes(bytes.clone()),
                Piece::Secret(secret) => Node::Secret(secret.clone()),
                Piece::Content(span) => Node::Content(*span),
                Piece::FirstByte => Node::Range { last: false },
                Piece::LastByte => Node::Range { last: true },
                Piece::Open(wrap) => {
                    if levels.len() > MOST_DEPTH {
                        return Err(wrong(format!("brackets nest more than {MOST_DEPTH} deep")));
                    }
                    levels.push((Some(wrap.clone()), Vec::new()));
                    continue;
                }
                Piece::Close => match levels.pop() {
                    Some((Some(wrap), inside)) => Node::Bracket(wrap, inside),
                    _ => return Err(wrong("a bracket is closed that was not opened")),
                },
            };
            match levels.last_mut() {
                Some((_, nodes)) => nodes.push(node),
                None => return Err(wrong("a bracket is closed that was not opened")),
            }
        }
        match (levels.pop(), levels.is_empty()) {
            (Some((None, nodes)), true) => {
                nodes.iter().try_for_each(check)?;
                Ok(Tree(nodes))
            }
            _ => Err(wrong("a bracket is not closed")),
        }
    }

    /// Whether there is a secret in it.
    pub(crate) fn has_secret(&self) -> bool {
        any(&self.0, &|node| matches!(node, Node::Secret(_)))
    }

    /// Whether there is content in it.
    pub(crate) fn has_content(&self) -> bool {
        any(&self.0, &|node| matches!(node, Node::Content(_)))
    }

    /// Every secret in it.
    pub(crate) fn secrets(&self) -> Vec<&SecretRef> {
        let mut found = Vec::new();
        gather_secrets(&self.0, &mut found);
        found
    }

    /// All of it. Content may only stand inside digests.
    pub(crate) fn render(&self, filling: &Filling<'_>) -> Result<Vec<u8>> {
        render(&self.0, filling)
    }

    /// All of it, with marks for what is secret.
    pub(crate) fn render_marked(&self, filling: &Filling<'_>, marks: &mut Vec<Mark>) -> Result<Vec<u8>> {
        render_marked(&self.0, filling, &mut Vec::new(), marks)
    }

    /// As a body: content is not read but named.
    pub(crate) fn parts(&self, filling: &Filling<'_>) -> Result<Vec<BodyPart>> {
        let mut parts = Vec::new();
        let mut bytes = Vec::new();
        for node in &self.0 {
            let content = match node {
                Node::Content(span) => Some((vec![*span], None)),
                Node::Bracket(Wrap::AesCtr(cipher), inside) => Some((content_alone(inside)?, Some(cipher))),
                _ => None,
            };
            match content {
                Some((spans, cipher)) => {
                    if !bytes.is_empty() {
                        parts.push(BodyPart::Bytes(std::mem::take(&mut bytes)));
                    }
                    parts.extend(spans.into_iter().map(|span| BodyPart::Content(span, cipher.cloned())));
                }
                None => bytes.extend(render(std::slice::from_ref(node), filling)?),
            }
            check_size(bytes.len())?;
        }
        if !bytes.is_empty() {
            parts.push(BodyPart::Bytes(bytes));
        }
        Ok(parts)
    }
}

/// What holds wherever a list stands: ciphers hold content alone, and a digest of a secret is that of the secret alone (with
/// known bytes around it, a component could have guesses confirmed).
fn check(node: &Node) -> Result<()> {
    let Node::Bracket(wrap, inside) = node else { return Ok(()) };
    inside.iter().try_for_each(check)?;
    let secret = any(inside, &|node| matches!(node, Node::Secret(_)));
    match wrap {
        Wrap::AesCtr(_) if secret => Err(denied("a secret must not stand inside aes-ctr")),
        Wrap::AesCtr(_) => content_alone(inside).map(|_| ()),
        Wrap::Digest(_) if secret && !is_alone(inside) => {
            Err(denied("a digest of a secret must hold that secret alone"))
        }
        _ => Ok(()),
    }
}

fn is_alone(nodes: &[Node]) -> bool {
    match nodes {
        [Node::Secret(_)] => true,
        [Node::Bracket(_, inside)] => is_alone(inside),
        _ => false,
    }
}

fn content_alone(nodes: &[Node]) -> Result<Vec<Span>> {
    nodes
        .iter()
        .map(|node| match node {
            Node::Content(span) => Ok(*span),
            _ => Err(wrong("only content can stand inside aes-ctr")),
        })
        .collect()
}

fn any(nodes: &[Node], found: &dyn Fn(&Node) -> bool) -> bool {
    nodes.iter().any(|node| {
        found(node)
            || match node {
                Node::Bracket(_, inside) => any(inside, found),
                _ => false,
            }
    })
}

fn gather_secrets<'a>(nodes: &'a [Node], found: &mut Vec<&'a SecretRef>) {
    for node in nodes {
        match node {
            Node::Secret(secret) => found.push(secret),
            Node::Bracket(_, inside) => gather_secrets(inside, found),
            _ => {}
        }
    }
}

fn render(nodes: &[Node], filling: &Filling<'_>) -> Result<Vec<u8>> {
    let mut rendered = Vec::new();
    for node in nodes {
        match node {
            Node::Bytes(bytes) => rendered.extend_from_slice(bytes),
            Node::Secret(secret) => rendered.extend_from_slice(resolve(filling.secrets, secret)?.expose()),
            Node::Content(_) => return Err(misplaced_content()),
            Node::Range { last } => rendered.extend_from_slice(range(filling, *last)?.as_bytes()),
            Node::Bracket(Wrap::Digest(algorithm), inside) => rendered.extend(digest(*algorithm, inside, filling)?),
            Node::Bracket(wrap, inside) => rendered.extend(apply(wrap, &render(inside, filling)?)?),
        }
        check_size(rendered.len())?;
    }
    Ok(rendered)
}

fn render_marked(
    nodes: &[Node],
    filling: &Filling<'_>,
    around: &mut Vec<Wrap>,
    marks: &mut Vec<Mark>,
) -> Result<Vec<u8>> {
    let mut rendered = Vec::new();
    for node in nodes {
        match node {
            Node::Bracket(wrap, inside) if is_escape(wrap) => {
                around.push(wrap.clone());
                let inner = render_marked(inside, filling, around, marks)?;
                around.pop();
                rendered.extend(apply(wrap, &inner)?);
            }
            Node::Secret(_) | Node::Bracket(..)
                if any(std::slice::from_ref(node), &|n| matches!(n, Node::Secret(_))) =>
            {
                let unit = std::slice::from_ref(node);
                let mut secrets = Vec::new();
                with_brackets(unit, around, &mut secrets);
                let mark = Mark { word: random_word(), real: render(unit, filling)?, secrets };
                rendered.extend_from_slice(mark.word.as_bytes());
                marks.push(mark);
            }
            _ => rendered.extend(render(std::slice::from_ref(node), filling)?),
        }
        check_size(rendered.len())?;
    }
    Ok(rendered)
}

fn with_brackets(nodes: &[Node], around: &mut Vec<Wrap>, found: &mut Vec<(SecretRef, Vec<Wrap>)>) {
    for node in nodes {
        match node {
            Node::Secret(secret) => found.push((secret.clone(), around.clone())),
            Node::Bracket(wrap, inside) => {
                around.push(wrap.clone());
                with_brackets(inside, around, found);
                around.pop();
            }
            _ => {}
        }
    }
}

/// Whether a bracket escapes: letters and digits inside it stay as they are.
pub(crate) fn is_escape(wrap: &Wrap) -> bool {
    matches!(wrap, Wrap::Percent | Wrap::Form | Wrap::Json | Wrap::Xml)
}

/// A word that no escaping changes and that nobody can guess.
fn random_word() -> String {
    let random: u128 = rand::random();
    format!("m{random:032x}")
}

fn range(filling: &Filling<'_>, last: bool) -> Result<String> {
    let (first_byte, last_byte) = filling.range.ok_or_else(|| wrong("a range stands where none is being read"))?;
    Ok(if last { last_byte } else { first_byte }.to_string())
}

/// A digest over bytes, or over content alone: what is hashed natively and in one pass is a list of spans.
fn digest(algorithm: Algorithm, inside: &[Node], filling: &Filling<'_>) -> Result<Vec<u8>> {
    if !any(inside, &|node| matches!(node, Node::Content(_))) {
        return Ok(causeway_digest::digest_bytes(algorithm, &render(inside, filling)?));
    }
    let source = filling.source.ok_or_else(misplaced_content)?;
    let spans: Vec<Span> = inside
        .iter()
        .map(|node| match node {
            Node::Content(span) => Ok(*span),
            _ => Err(wrong("a digest holds either content or other bytes")),
        })
        .collect::<Result<_>>()?;
    Ok(digest_source(source, algorithm, &spans)?)
}

fn apply(wrap: &Wrap, inside: &[u8]) -> Result<Vec<u8>> {
    Ok(match wrap {
        Wrap::Base64 => BASE64.encode(inside).into_bytes(),
        Wrap::Base64UrlUnpadded => BASE64URL_NOPAD.encode(inside).into_bytes(),
        Wrap::Hex => HEXLOWER.encode(inside).into_bytes(),
        Wrap::FromBase64 => from_base64(inside).ok_or_else(|| wrong("a value that should be base64 is not"))?,
        Wrap::Percent => percent(inside, false),
        Wrap::Form => percent(inside, true),
        Wrap::Json => json(inside)?,
        Wrap::Xml => xml(inside),
        Wrap::Digest(algorithm) => causeway_digest::digest_bytes(*algorithm, inside),
        Wrap::AesCtr(_) => return Err(misplaced_content()),
    })
}

/// Base64 as people configure it: padded or not, with space around it.
pub(crate) fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.trim_ascii();
    let bare = text.iter().rposition(|b| *b != b'=').map_or(&[][..], |at| text.get(..=at).unwrap_or(text));
    BASE64_NOPAD.decode(bare).ok()
}

pub(crate) fn percent(bytes: &[u8], form: bool) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(*byte),
            b' ' if form => escaped.push(b'+'),
            _ => escaped.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    escaped
}

fn json(bytes: &[u8]) -> Result<Vec<u8>> {
    let text = std::str::from_utf8(bytes).map_err(|_| wrong("what stands in a JSON string is not UTF-8"))?;
    let quoted = serde_json::to_string(text).map_err(Error::internal)?;
    Ok(quoted.get(1..quoted.len() - 1).unwrap_or("").as_bytes().to_vec())
}

fn xml(bytes: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'&' => escaped.extend_from_slice(b"&amp;"),
            b'<' => escaped.extend_from_slice(b"&lt;"),
            b'>' => escaped.extend_from_slice(b"&gt;"),
            b'"' => escaped.extend_from_slice(b"&quot;"),
            b'\'' => escaped.extend_from_slice(b"&apos;"),
            _ => escaped.push(*byte),
        }
    }
    escaped
}

fn check_size(bytes: usize) -> Result<()> {
    if bytes > MOST_RENDERED_BYTES { Err(wrong("a request is larger than 64 MiB besides its content")) } else { Ok(()) }
}

fn misplaced_content() -> Error {
    wrong("content can only stand in the body of a part's request, plainly, in aes-ctr or in a digest")
}

fn wrong(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

fn denied(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Denied, message)
}
