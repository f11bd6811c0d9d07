//! The threshold: what the contract generated on one side, the runtime's own types on the other.
//!
//! Nothing is decided here; a value that cannot be what it claims to be (a size that is negative, a time of 2,000,000,000
//! nanoseconds) is turned away as the component's fault.

use std::time::Duration;

use causeway_http::{request as http, transfer, uses};
use causeway_storage as storage;
use causeway_storage::{Error, ErrorKind, OptionKind, OptionMarks};

use crate::bindings::causeway::provider::{requests, secret_uses, types};
use crate::bindings::exports::causeway::provider::{reading, setup, writing};

/// The longest message of a component that reaches a user, in characters.
const MESSAGE: usize = 500;

pub(crate) fn error(error: types::Error) -> Error {
    use types::ErrorKind as Wit;
    let wait = |ms: Option<u32>| ms.map(|ms| Duration::from_millis(ms.into()));
    let kind = match error.kind {
        Wit::NotFound => ErrorKind::NotFound,
        Wit::AlreadyExists => ErrorKind::AlreadyExists,
        Wit::IsDirectory => ErrorKind::IsDirectory,
        Wit::NotADirectory => ErrorKind::NotADirectory,
        Wit::DirectoryNotEmpty => ErrorKind::DirectoryNotEmpty,
        Wit::Denied => ErrorKind::Denied,
        Wit::Unauthenticated => ErrorKind::Unauthenticated,
        Wit::Invalid => ErrorKind::Invalid,
        Wit::Unsupported => ErrorKind::Unsupported,
        Wit::PreconditionFailed => ErrorKind::PreconditionFailed,
        Wit::RateLimited(ms) => ErrorKind::RateLimited(wait(ms)),
        Wit::QuotaExceeded => ErrorKind::QuotaExceeded,
        Wit::Unavailable(ms) => ErrorKind::Unavailable(wait(ms)),
        Wit::Corrupt => ErrorKind::Corrupt,
        Wit::Internal => ErrorKind::Internal,
    };
    let short = |text: String| text.chars().take(MESSAGE).collect::<String>();
    Error::new(kind, short(error.message)).with_detail(short(error.detail))
}

pub(crate) fn wit_error(error: Error) -> types::Error {
    use types::ErrorKind as Wit;
    let ms = |wait: Option<Duration>| wait.map(|wait| u32::try_from(wait.as_millis()).unwrap_or(u32::MAX));
    let kind = match error.kind {
        ErrorKind::NotFound => Wit::NotFound,
        ErrorKind::AlreadyExists => Wit::AlreadyExists,
        ErrorKind::IsDirectory => Wit::IsDirectory,
        ErrorKind::NotADirectory => Wit::NotADirectory,
        ErrorKind::DirectoryNotEmpty => Wit::DirectoryNotEmpty,
        ErrorKind::Denied => Wit::Denied,
        ErrorKind::Unauthenticated => Wit::Unauthenticated,
        ErrorKind::Invalid => Wit::Invalid,
        ErrorKind::Unsupported => Wit::Unsupported,
        ErrorKind::PreconditionFailed => Wit::PreconditionFailed,
        ErrorKind::RateLimited(wait) => Wit::RateLimited(ms(wait)),
        ErrorKind::QuotaExceeded => Wit::QuotaExceeded,
        ErrorKind::Unavailable(wait) => Wit::Unavailable(ms(wait)),
        ErrorKind::Corrupt => Wit::Corrupt,
        ErrorKind::Internal => Wit::Internal,
    };
    // The detail is for our log, not for the component.
    types::Error { kind, message: error.message, detail: String::new() }
}

pub(crate) fn span(span: types::Span) -> storage::Span {
    storage::Span::new(span.offset, span.size)
}

pub(crate) fn wit_span(span: storage::Span) -> types::Span {
    types::Span { offset: span.offset, size: span.size }
}

pub(crate) fn time(time: types::Instant) -> Result<storage::Timestamp, Error> {
    if time.nanoseconds >= 1_000_000_000 {
        return Err(fault("a time has too many nanoseconds"));
    }
    Ok(storage::Timestamp { seconds: time.seconds, nanoseconds: time.nanoseconds })
}

pub(crate) fn wit_time(time: storage::Timestamp) -> types::Instant {
    types::Instant { seconds: time.seconds, nanoseconds: time.nanoseconds }
}

/// Something that no sound component does.
pub(crate) fn fault(what: &str) -> Error {
    Error::new(ErrorKind::Internal, "the provider's component is faulty").with_detail(what)
}

pub(crate) fn algorithm(digest: types::Digest) -> storage::Algorithm {
    use storage::Algorithm as Ours;
    use types::Digest as Wit;
    match digest {
        Wit::Md5 => Ours::Md5,
        Wit::Sha1 => Ours::Sha1,
        Wit::Sha256 => Ours::Sha256,
        Wit::Sha512 => Ours::Sha512,
        Wit::Crc32 => Ours::Crc32,
        Wit::Crc32c => Ours::Crc32c,
        Wit::Whirlpool => Ours::Whirlpool,
        Wit::Blake3 => Ours::Blake3,
        Wit::Quickxor => Ours::Quickxor,
        Wit::Dropbox => Ours::Dropbox,
        Wit::Hidrive => Ours::Hidrive,
        Wit::Mailru => Ours::Mailru,
        Wit::Gcid => Ours::Gcid,
    }
}

fn digest_value(value: types::DigestValue) -> storage::DigestValue {
    storage::DigestValue { algorithm: algorithm(value.algorithm), value: value.value }
}

pub(crate) fn kind(kind: types::Kind) -> storage::Kind {
    match kind {
        types::Kind::File => storage::Kind::File,
        types::Kind::Directory => storage::Kind::Directory,
    }
}

pub(crate) fn wit_kind(kind: storage::Kind) -> types::Kind {
    match kind {
        storage::Kind::File => types::Kind::File,
        storage::Kind::Directory => types::Kind::Directory,
    }
}

/// An entry, its name as people see it. One that no path can hold is turned away: a name never leads anywhere else.
pub(crate) fn entry(entry: types::Entry, encoding: storage::Encoding) -> Result<storage::Entry, Error> {
    let entry = root(entry, encoding)?;
    storage::Path::ROOT.child(&entry.name).map_err(|_| fault("an entry has a name that is none"))?;
    Ok(entry)
}

/// An entry whose name says nothing.
pub(crate) fn root(entry: types::Entry, encoding: storage::Encoding) -> Result<storage::Entry, Error> {
    let types::Entry { name, kind: of, cookie, size, modified, created, version, media_type, digests, notes: noted } =
        entry;
    if cookie.as_ref().is_some_and(|cookie| cookie.len() > 4096) {
        return Err(fault("a cookie is longer than 4 KiB"));
    }
    let entry = storage::Entry {
        name: encoding.to_people(&name),
        kind: kind(of),
        cookie,
        size,
        modified: modified.map(time).transpose()?,
        created: created.map(time).transpose()?,
        version: version.filter(|_| of == types::Kind::File).map(storage::Version),
        media_type,
        digests: digests.into_iter().map(digest_value).collect(),
        notes: notes(noted),
    };
    Ok(entry.with_some_version())
}

/// An entry as the component that made it sees it, without digests.
pub(crate) fn wit_entry(entry: storage::Entry, encoding: storage::Encoding) -> types::Entry {
    let storage::Entry { name, kind, cookie, size, modified, created, version, media_type, notes, digests: _ } = entry;
    types::Entry {
        name: encoding.to_provider(&name),
        kind: wit_kind(kind),
        cookie,
        size,
        modified: modified.map(wit_time),
        created: created.map(wit_time),
        version: version.map(|version| version.0).filter(|version| !version.starts_with("weak:")),
        media_type,
        digests: Vec::new(),
        notes: wit_notes(notes),
    }
}

fn wit_notes(notes: storage::Notes) -> types::Notes {
    let noted = NOTES.into_iter().filter(|(_, ours)| notes.contains(*ours));
    noted.fold(types::Notes::empty(), |noted, (theirs, _)| noted | theirs)
}

const NOTES: [(types::Notes, storage::Notes); 5] = [
    (types::Notes::INEXACT_SIZE, storage::Notes::INEXACT_SIZE),
    (types::Notes::INEXACT_MODIFIED, storage::Notes::INEXACT_MODIFIED),
    (types::Notes::WEAK_VERSION, storage::Notes::WEAK_VERSION),
    (types::Notes::READ_ONLY, storage::Notes::READ_ONLY),
    (types::Notes::TRASHED, storage::Notes::TRASHED),
];

fn notes(noted: types::Notes) -> storage::Notes {
    NOTES.into_iter().filter(|(theirs, _)| noted.contains(*theirs)).map(|(_, ours)| ours).collect()
}

pub(crate) fn request(request: requests::Request) -> Result<http::Request, Error> {
    let requests::Request { method, url, headers, body, captures, cookies, redirects, repeatable, patience_ms, http1 } =
        request;
    let header = |header: requests::Header| http::Header { name: header.name, value: pieces(header.value) };
    Ok(http::Request {
        method,
        url: pieces(url),
        headers: headers.into_iter().map(header).collect(),
        body: pieces(body),
        captures: captures.into_iter().map(capture).collect(),
        cookies,
        redirects,
        repeatable,
        patience_ms,
        http1,
    })
}

fn capture(capture: requests::Capture) -> http::Capture {
    let at = match capture.at {
        requests::Location::Header(name) => http::Location::Header(name),
        requests::Location::Json(pointer) => http::Location::Json(pointer),
        requests::Location::Xml(path) => http::Location::Xml(path),
    };
    http::Capture { at, slot: capture.slot }
}

pub(crate) fn pieces(pieces: Vec<requests::Piece>) -> Vec<http::Piece> {
    pieces.into_iter().map(piece).collect()
}

fn piece(piece: requests::Piece) -> http::Piece {
    match piece {
        requests::Piece::Text(text) => http::Piece::Text(text),
        requests::Piece::Bytes(bytes) => http::Piece::Bytes(bytes),
        requests::Piece::Secret(secret) => http::Piece::Secret(secret_ref(secret)),
        requests::Piece::Content(content) => http::Piece::Content(span(content)),
        requests::Piece::FirstByte => http::Piece::FirstByte,
        requests::Piece::LastByte => http::Piece::LastByte,
        requests::Piece::Open(of) => http::Piece::Open(wrap(of)),
        requests::Piece::Close => http::Piece::Close,
    }
}

pub(crate) fn secret_ref(secret: requests::SecretRef) -> http::SecretRef {
    http::SecretRef { name: secret.name, field: secret.field }
}

fn wrap(wrap: requests::Wrap) -> http::Wrap {
    use requests::Wrap as Wit;
    match wrap {
        Wit::Base64 => http::Wrap::Base64,
        Wit::Base64UrlUnpadded => http::Wrap::Base64UrlUnpadded,
        Wit::Hex => http::Wrap::Hex,
        Wit::FromBase64 => http::Wrap::FromBase64,
        Wit::Percent => http::Wrap::Percent,
        Wit::Form => http::Wrap::Form,
        Wit::Json => http::Wrap::Json,
        Wit::Xml => http::Wrap::Xml,
        Wit::Digest(digest) => http::Wrap::Digest(algorithm(digest)),
        Wit::AesCtr(aes) => http::Wrap::AesCtr(aes_ctr(aes)),
    }
}

fn aes_ctr(aes: requests::AesCtr) -> http::AesCtr {
    http::AesCtr { key: aes.key, counter: aes.counter }
}

pub(crate) fn response(response: http::Response) -> requests::Response {
    requests::Response { status: response.status, headers: response.headers, body: response.body.to_vec() }
}

pub(crate) fn hash(hash: secret_uses::Hash) -> uses::Hash {
    match hash {
        secret_uses::Hash::Md5 => uses::Hash::Md5,
        secret_uses::Hash::Sha1 => uses::Hash::Sha1,
        secret_uses::Hash::Sha256 => uses::Hash::Sha256,
        secret_uses::Hash::Sha512 => uses::Hash::Sha512,
    }
}

pub(crate) fn rsa(scheme: secret_uses::Rsa) -> uses::Rsa {
    match scheme {
        secret_uses::Rsa::Pkcs1 => uses::Rsa::Pkcs1,
        secret_uses::Rsa::Pss => uses::Rsa::Pss,
    }
}

fn placement(placement: secret_uses::Placement) -> uses::Placement {
    use secret_uses::Place as Wit;
    let at = match placement.at {
        Wit::Header(name) => uses::Place::Header(name),
        Wit::Query(name) => uses::Place::Query(name),
        Wit::QueryRest => uses::Place::QueryRest,
        Wit::Form(name) => uses::Place::Form(name),
        Wit::Json(pointer) => uses::Place::Json(pointer),
        Wit::Xml(path) => uses::Place::Xml(path),
        Wit::Cookie(name) => uses::Place::Cookie(name),
    };
    uses::Placement {
        field: placement.field,
        at,
        prefix: placement.prefix,
        wraps: placement.wraps.into_iter().map(wrap).collect(),
        towards: placement.towards,
    }
}

pub(crate) fn secret_use(declared: secret_uses::SecretUse) -> uses::SecretUse {
    let hmac = |declared: secret_uses::HmacUse| uses::HmacUse {
        field: declared.field,
        hash: hash(declared.hash),
        prefix: declared.prefix,
        base64: declared.base64,
        steps: declared.steps,
    };
    let rsa_use = |declared: secret_uses::RsaUse| uses::RsaUse { field: declared.field, scheme: rsa(declared.scheme) };
    uses::SecretUse {
        places: declared.places.into_iter().map(placement).collect(),
        hmac: declared.hmac.into_iter().map(hmac).collect(),
        rsa: declared.rsa.into_iter().map(rsa_use).collect(),
        reveal: declared.reveal,
        public_fields: declared.public_fields,
    }
}

/// An option as the API knows it; what may be done with a secret stays with the provider.
pub(crate) fn option_spec(spec: &setup::OptionSpec) -> storage::OptionSpec {
    use setup::OptionKind as Wit;
    let kind = match &spec.kind {
        Wit::Text => OptionKind::Text,
        Wit::Number => OptionKind::Number,
        Wit::Truth => OptionKind::Truth,
        Wit::TriState => OptionKind::TriState,
        Wit::Bytes => OptionKind::Bytes,
        Wit::Duration => OptionKind::Duration,
        Wit::Choice(choices) => OptionKind::Choice(choices.clone()),
        Wit::Several(choices) => OptionKind::Several(choices.clone()),
        Wit::Endpoint => OptionKind::Endpoint,
        Wit::EndpointAndBelow => OptionKind::EndpointAndBelow,
        Wit::Encoding => OptionKind::Encoding,
        Wit::Secret(_) => OptionKind::Secret,
        Wit::SecretFile(_) => OptionKind::SecretFile,
    };
    let pairs = [
        (setup::OptionMarks::REQUIRED, OptionMarks::REQUIRED),
        (setup::OptionMarks::ADVANCED, OptionMarks::ADVANCED),
        (setup::OptionMarks::CREDENTIAL, OptionMarks::CREDENTIAL),
        (setup::OptionMarks::IDENTITY, OptionMarks::IDENTITY),
        (setup::OptionMarks::MACHINE, OptionMarks::MACHINE),
    ];
    let marks = pairs.into_iter().filter(|(theirs, _)| spec.marks.contains(*theirs)).map(|(_, ours)| ours).collect();
    storage::OptionSpec { name: spec.name.clone(), kind, default: spec.default.clone(), marks, help: spec.help.clone() }
}

pub(crate) fn read_plan(plan: reading::ReadPlan) -> Result<transfer::ReadPlan, Error> {
    let remote = match plan {
        reading::ReadPlan::Literal(bytes) if bytes.len() > 64 * 1024 => {
            return Err(fault("literal content is longer than 64 KiB"));
        }
        reading::ReadPlan::Literal(bytes) => return Ok(transfer::ReadPlan::Literal(bytes.into())),
        reading::ReadPlan::Remote(remote) => remote,
    };
    Ok(transfer::ReadPlan::Remote(transfer::Remote {
        segments: remote.segments.into_iter().map(segment).collect::<Result<_, Error>>()?,
        size: remote.size,
        guard: remote.guard,
        reuse: match remote.reuse {
            reading::Reuse::AnyRange => transfer::Reuse::AnyRange,
            reading::Reuse::ThisRange => transfer::Reuse::ThisRange,
            reading::Reuse::Once => transfer::Reuse::Once,
        },
        valid_ms: remote.valid_ms,
        parallel: remote.parallel,
        check: remote.check.map(check),
    }))
}

fn segment(segment: reading::Segment) -> Result<transfer::Segment, Error> {
    Ok(transfer::Segment {
        offset: segment.offset,
        size: segment.size,
        request: request(segment.request)?,
        ranges: match segment.ranges {
            reading::Ranges::ByHeader => transfer::Ranges::ByHeader,
            reading::Ranges::Placed => transfer::Ranges::Placed,
            reading::Ranges::None => transfer::Ranges::Whole,
        },
        decoding: match segment.decoding {
            reading::Decoding::Plain => transfer::Decoding::Plain,
            reading::Decoding::AesCtr(aes) => transfer::Decoding::AesCtr(aes_ctr(aes)),
            reading::Decoding::Gunzip => transfer::Decoding::Gunzip,
            reading::Decoding::ByComponent(ticket) => transfer::Decoding::ByComponent(ticket),
        },
        check: segment.check.map(check),
    })
}

fn check(check: reading::Check) -> transfer::Check {
    match check {
        reading::Check::Digest(value) => transfer::Check::Digest(digest_value(value)),
        reading::Check::MegaMac(check) => {
            transfer::Check::MegaMac { mac: check.mac, key: check.key, nonce: check.nonce }
        }
    }
}

/// How a change ended, its entry as people see it.
pub(crate) fn outcome(outcome: types::Outcome, encoding: storage::Encoding) -> Result<transfer::Outcome, Error> {
    Ok(match outcome {
        types::Outcome::Done(done) => transfer::Outcome::Done(done.map(|done| entry(done, encoding)).transpose()?),
        types::Outcome::Pending(job) if job.ticket.len() > 64 * 1024 => {
            return Err(fault("a ticket is longer than 64 KiB"));
        }
        types::Outcome::Pending(job) => {
            transfer::Outcome::Pending(transfer::Job { ticket: job.ticket, after_ms: job.after_ms })
        }
    })
}

pub(crate) fn part_plan(plan: writing::PartPlan) -> Result<transfer::PartPlan, Error> {
    Ok(transfer::PartPlan { request: request(plan.request)?, valid_ms: plan.valid_ms, once: plan.once })
}

pub(crate) fn wit_part(part: &transfer::Part) -> writing::Part {
    writing::Part { number: part.number, span: wit_span(part.span), last: part.last, lane: part.lane }
}

pub(crate) fn wit_receipt(receipt: &transfer::Receipt) -> writing::Receipt {
    writing::Receipt { number: receipt.number, span: wit_span(receipt.span), receipt: receipt.receipt.clone() }
}

pub(crate) fn progress(progress: writing::Progress) -> transfer::Progress {
    transfer::Progress { offset: progress.offset, session: progress.session }
}
