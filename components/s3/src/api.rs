//! A function per endpoint: where a bucket and a key are, how a request is signed, and what an answer means. No decision about files
//! and directories is taken here.

use causeway_sdk::aws::{Payload, Signer};
use causeway_sdk::prelude::*;
use causeway_sdk::text::Wrap;
use causeway_sdk::{data, time};

use crate::options::Settings;
use crate::presets::Preset;
use crate::wire::{
    BucketConfiguration, Completion, Cursor, Failure, Initiated, Listed, Listing, Parts, Reading, Stored, StoredPart,
    md5_of_etag, unquoted,
};

/// Metadata under which the modification time is kept, in decimal seconds.
const MTIME: &str = "x-amz-meta-mtime";
/// Metadata under which the MD5 of a file uploaded in parts is kept, in base64.
const MD5: &str = "x-amz-meta-md5chksum";

/// A configured account.
#[derive(Debug)]
pub struct S3 {
    pub(crate) settings: Settings,
    pub(crate) preset: Preset,
}

/// A bucket, and a key in it (empty: the bucket itself).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At<'a> {
    pub(crate) bucket: &'a str,
    pub(crate) key: &'a str,
}

impl<'a> At<'a> {
    /// The first name of a path is the bucket.
    pub(crate) fn of(path: &'a str) -> At<'a> {
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        At { bucket, key }
    }
}

/// What is written, whichever way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writing<'a> {
    pub(crate) media_type: &'a str,
    pub(crate) modified: Option<Instant>,
    pub(crate) expected: &'a Expected,
}

/// What must stand where something is written.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub(crate) enum Expected {
    Anything,
    Nothing,
    Version(String),
}

impl S3 {
    /// Whether the bucket stands in the host name. Not where that could not be resolved or certified: an address or a local name for a
    /// host, a bucket that is no plain label.
    fn is_virtual(&self, bucket: &str) -> bool {
        let host = self
            .settings
            .endpoint
            .split_once("://")
            .map_or("", |(_, rest)| rest)
            .split(['/', ':'])
            .next()
            .unwrap_or("");
        let local = host == "localhost"
            || host.starts_with('[')
            || host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let plain = bucket.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        let wanted = !self.preset.path_style() || !self.settings.force_path_style;
        wanted && plain && !local && !bucket.is_empty()
    }

    /// A request for a bucket or a key in it.
    pub(crate) fn at(&self, method: &'static str, at: At<'_>) -> Request {
        let endpoint = &*self.settings.endpoint;
        let request = match endpoint.split_once("://") {
            _ if at.bucket.is_empty() => return Request::new(method, endpoint),
            Some((scheme, host)) if self.is_virtual(at.bucket) => {
                Request::new(method, &format!("{scheme}://{}.{host}", at.bucket))
            }
            _ => Request::new(method, endpoint).path(at.bucket),
        };
        let request = if at.key.is_empty() { request } else { request.path(at.key) };
        if self.settings.requester_pays { request.header("x-amz-request-payer", "requester") } else { request }
    }

    /// Signs a request, unless there are no keys to sign with.
    pub(crate) fn sign(&self, request: Request, bucket: &str, payload: Payload) -> Result<Request> {
        let settings = &self.settings;
        if settings.access_key_id.is_empty() {
            return Ok(request);
        }
        let v2 = settings.v2_auth || settings.region == "other-v2-signature";
        let region = if settings.region.is_empty() || v2 { "us-east-1" } else { &settings.region };
        let signer = Signer {
            key_id: &settings.access_key_id,
            secret: &settings.secret_access_key,
            token: settings.session_token.if_given(),
            region,
            service: "s3",
        };
        if v2 {
            signer.sign_v2(request, self.is_virtual(bucket).then_some(bucket))
        } else {
            signer.sign(request, payload)
        }
    }

    /// Signs, sends, and understands.
    pub(crate) fn call(&self, request: Request, bucket: &str) -> Result<Answer> {
        let answer = self.sign(request, bucket, Payload::Body)?.send()?;
        self.accept(answer)
    }

    /// An answer that says success, and says it in its body, too.
    pub(crate) fn accept(&self, answer: Answer) -> Result<Answer> {
        if answer.is_ok() && Failure::in_body(answer.body()).is_none() { Ok(answer) } else { Err(meaning(&answer)) }
    }

    /// Asks for the buckets; what the answer means is not said yet.
    pub(crate) fn ask_buckets(&self, from: Option<&str>) -> Result<Answer> {
        let request = self.at("GET", At::of(""));
        let request = from.into_iter().fold(request, |request, token| request.query("continuation-token", token));
        self.sign(request, "", Payload::Body)?.send()
    }

    pub(crate) fn head_bucket(&self, bucket: &str) -> Result<()> {
        self.call(self.at("HEAD", At { bucket, key: "" }), bucket).map(|_| ())
    }

    pub(crate) fn create_bucket(&self, bucket: &str) -> Result<()> {
        let settings = &self.settings;
        let acl = if settings.bucket_acl.is_empty() { &settings.acl } else { &settings.bucket_acl };
        let mut request = self.at("PUT", At { bucket, key: "" }).header_unless_empty("x-amz-acl", acl);
        if !settings.location_constraint.is_empty() {
            let configuration = BucketConfiguration { location_constraint: &settings.location_constraint };
            request = request.body(data::to_xml("CreateBucketConfiguration", &configuration)?);
        }
        self.call(request, bucket).map(|_| ())
    }

    pub(crate) fn delete(&self, at: At<'_>) -> Result<()> {
        self.call(self.at("DELETE", at), at.bucket).map(|_| ())
    }

    /// The request for up to so many keys below a prefix, up to the next slash.
    pub(crate) fn list_request(&self, at: At<'_>, most: i64, from: Option<&Cursor>) -> Result<Request> {
        let mut request = self.at("GET", At { bucket: at.bucket, key: "" });
        if self.list_version() == 2 {
            request = request.query("list-type", "2");
        }
        request = request.query("prefix", at.key).query("delimiter", "/").query("max-keys", &most.to_string());
        if self.settings.list_url_encode.unwrap_or(self.preset.url_encodes()) {
            request = request.query("encoding-type", "url");
        }
        request = match from {
            None => request,
            Some(Cursor::Marker(marker)) => request.query("marker", marker),
            Some(Cursor::Token(token)) => request.query("continuation-token", token),
        };
        self.sign(request, at.bucket, Payload::Body)
    }

    /// What a listing answered; `at.key` is its prefix.
    pub(crate) fn listed(&self, at: At<'_>, from: Option<&Cursor>, answer: Answer) -> Result<Listed> {
        let listing: Listing = self.accept(answer)?.xml()?;
        let etag_is_md5 = self.etag_may_be_md5() && !self.preset.encrypts_silently();
        listing.read(Reading { prefix: at.key, version: self.list_version(), from, etag_is_md5 })
    }

    pub(crate) fn list(&self, at: At<'_>, most: i64, from: Option<&Cursor>) -> Result<Listed> {
        let answer = self.list_request(at, most, from)?.send()?;
        self.listed(at, from, answer)
    }

    fn list_version(&self) -> i64 {
        if self.settings.list_version == 0 { self.preset.list_version() } else { self.settings.list_version }
    }

    fn etag_may_be_md5(&self) -> bool {
        self.settings.server_side_encryption != "aws:kms" && self.settings.sse_customer_algorithm.is_empty()
    }

    pub(crate) fn head_request(&self, at: At<'_>) -> Result<Request> {
        self.sign(self.customer_key(self.at("HEAD", at), ""), at.bucket, Payload::Body)
    }

    /// The object's headers; none if there is none. A delete marker answers 405.
    pub(crate) fn headers(&self, answer: Result<Answer>) -> Result<Option<Answer>> {
        let answer = answer?;
        if matches!(answer.status(), 404 | 405) { Ok(None) } else { self.accept(answer).map(Some) }
    }

    pub(crate) fn head(&self, at: At<'_>) -> Result<Option<Answer>> {
        self.headers(self.head_request(at)?.send())
    }

    /// The file that an object's headers tell of. Its modification time is the one stored with it, else that of the upload.
    pub(crate) fn file(&self, name: &str, headers: &Answer) -> Result<Entry> {
        let etag = headers.header("etag").map(|etag| unquoted(etag).to_owned());
        let size = headers.header("content-length").and_then(|size| size.parse().ok());
        let size =
            size.ok_or_else(|| Error::unavailable("the store does not tell the size of an object").seen_in(headers))?;
        let stored = headers.header(MTIME).and_then(time::parse_decimal);
        let digest = self.digest(headers, etag.as_deref()).or_else(|| {
            let value = data_encoding::BASE64.decode(headers.header(MD5)?.as_bytes()).ok()?;
            (value.len() == 16).then_some(DigestValue { algorithm: Digest::Md5, value })
        });
        Ok(Entry {
            size: Some(size),
            modified: stored.or_else(|| headers.header("last-modified").and_then(time::parse_http_date)),
            version: etag,
            media_type: headers.header("content-type").map(str::to_owned),
            digests: digest.into_iter().collect(),
            ..Entry::file(name)
        })
    }

    /// The MD5 in an ETag, where these headers leave no doubt that it is one.
    pub(crate) fn digest(&self, headers: &Answer, etag: Option<&str>) -> Option<DigestValue> {
        let encryption = headers.header("x-amz-server-side-encryption").unwrap_or("AES256");
        let by_customer = headers.header("x-amz-server-side-encryption-customer-algorithm").is_some();
        let plain = self.etag_may_be_md5() && encryption == "AES256" && !by_customer;
        etag.filter(|_| plain).and_then(md5_of_etag)
    }

    pub(crate) fn get_request(&self, at: At<'_>, version: Option<&str>) -> Result<Request> {
        let mut request = self.customer_key(self.at("GET", at), "");
        if let Some(version) = version {
            request = request.header("If-Match", format!("\"{version}\""));
        }
        if self.settings.use_accept_encoding_gzip.unwrap_or(self.preset.accepts_gzip()) {
            request = request.header("Accept-Encoding", "gzip");
        }
        self.sign(request, at.bucket, Payload::Body)
    }

    /// PutObject with this content. The size and the MD5 guard it on the way.
    pub(crate) fn put_request(&self, at: At<'_>, writing: Writing<'_>, content: Source<'_>) -> Result<Request> {
        let request = self.stored_headers(self.at("PUT", at), writing);
        let request = self.expecting(request, writing.expected);
        self.with_content(self.customer_key(request, ""), at, content, content.whole())
    }

    fn with_content(&self, request: Request, at: At<'_>, content: Source<'_>, span: Span) -> Result<Request> {
        let md5 = data_encoding::BASE64.encode(&content.digest(Digest::Md5, span)?);
        let request = request.header("Content-MD5", md5).body(Text::content(span));
        let secure = self.settings.endpoint.starts_with("https://");
        let payload = match self.settings.use_unsigned_payload.unwrap_or(secure) {
            true => Payload::Unsigned,
            false => Payload::Sha256(content.digest(Digest::Sha256, span)?),
        };
        self.sign(request, at.bucket, payload)
    }

    /// The headers that say how an object is stored.
    fn stored_headers(&self, request: Request, writing: Writing<'_>) -> Request {
        let settings = &self.settings;
        let media_type = if writing.media_type.is_empty() { "application/octet-stream" } else { writing.media_type };
        let request = self.kept(request.header("Content-Type", media_type));
        let request = request.header_unless_empty("x-amz-storage-class", &settings.storage_class);
        match writing.modified {
            Some(modified) => request.header(MTIME, time::decimal(modified)),
            None => request,
        }
    }

    /// What a store forgets at every writing, a copy among them: who may read, and how it is encrypted.
    fn kept(&self, request: Request) -> Request {
        let settings = &self.settings;
        request
            .header_unless_empty("x-amz-acl", &settings.acl)
            .header_unless_empty("x-amz-server-side-encryption", &settings.server_side_encryption)
            .header_unless_empty("x-amz-server-side-encryption-aws-kms-key-id", &settings.sse_kms_key_id)
    }

    /// The customer's key, for an object or (by its prefix) for the source of a copy.
    fn customer_key(&self, request: Request, prefix: &str) -> Request {
        let settings = &self.settings;
        let (raw, encoded) = (settings.sse_customer_key.if_given(), settings.sse_customer_key_base64.if_given());
        let key = raw.map(|key| Text::from(key).base64()).or(encoded.map(Text::from));
        let (Some(key), false) = (key, settings.sse_customer_algorithm.is_empty()) else { return request };
        let bytes =
            raw.map(Text::from).or(encoded.map(|key| Text::from(key).wrapped(Wrap::FromBase64))).unwrap_or_default();
        let md5 = match &*settings.sse_customer_key_md5 {
            "" => bytes.wrapped(Wrap::Digest(Digest::Md5)).base64(),
            given => given.into(),
        };
        let name = |rest: &str| format!("x-amz-{prefix}server-side-encryption-customer-{rest}");
        request
            .header(&name("algorithm"), &*settings.sse_customer_algorithm)
            .header(&name("key"), key)
            .header(&name("key-MD5"), md5)
    }

    fn expecting(&self, request: Request, expected: &Expected) -> Request {
        match expected {
            Expected::Anything => request,
            Expected::Nothing => request.header("If-None-Match", "*"),
            Expected::Version(etag) if self.preset.wants_bare_conditions() => request.header("If-Match", &**etag),
            Expected::Version(etag) => request.header("If-Match", format!("\"{etag}\"")),
        }
    }

    pub(crate) fn put_empty(&self, at: At<'_>) -> Result<()> {
        let writing = Writing { media_type: "application/x-directory", modified: None, expected: &Expected::Anything };
        self.call(self.stored_headers(self.at("PUT", at), writing), at.bucket).map(|_| ())
    }

    pub(crate) fn create_upload(&self, at: At<'_>, writing: Writing<'_>, md5: Option<&[u8]>) -> Result<String> {
        let mut request = self.stored_headers(self.at("POST", at).query("uploads", ""), writing);
        if let Some(md5) = md5 {
            request = request.header(MD5, data_encoding::BASE64.encode(md5));
        }
        let initiated: Initiated = self.call(self.customer_key(request, ""), at.bucket)?.xml()?;
        Ok(initiated.upload_id)
    }

    /// Parts count from 1 here, and from 0 everywhere else.
    pub(crate) fn part_request(&self, at: At<'_>, upload: &str, part: &Part, content: Source<'_>) -> Result<Request> {
        let number = (part.number + 1).to_string();
        let request = self.at("PUT", at).query("partNumber", &number).query("uploadId", upload);
        self.with_content(self.customer_key(request, ""), at, content, part.span)
    }

    pub(crate) fn complete_upload(
        &self,
        at: At<'_>,
        upload: &str,
        parts: Vec<StoredPart>,
        expected: &Expected,
    ) -> Result<String> {
        let body = data::to_xml("CompleteMultipartUpload", &Completion { parts })?;
        let request =
            self.at("POST", at).query("uploadId", upload).header("Content-Type", "application/xml").body(body);
        let request = self.expecting(request, expected);
        let stored: Stored = self.call(request, at.bucket)?.xml()?;
        Ok(unquoted(&stored.etag).to_owned())
    }

    pub(crate) fn abort_upload(&self, at: At<'_>, upload: &str) -> Result<()> {
        self.call(self.at("DELETE", at).query("uploadId", upload), at.bucket).map(|_| ())
    }

    /// The parts of an upload that are there; none if there is no such upload.
    pub(crate) fn list_parts(&self, at: At<'_>, upload: &str) -> Result<Option<Vec<StoredPart>>> {
        let (mut parts, mut marker) = (Vec::new(), 0);
        // A page has up to 1,000 parts and an upload up to 10,000; a store that gives smaller pages may need more of them.
        for _ in 0..32 {
            let request =
                self.at("GET", at).query("uploadId", upload).query("part-number-marker", &u32::to_string(&marker));
            let page: Parts = match self.call(request, at.bucket) {
                Err(error) if error.kind == ErrorKind::NotFound => return Ok(None),
                answer => answer?.xml()?,
            };
            parts.extend(page.parts);
            match page.next_part_number_marker.filter(|next| page.is_truncated && *next > marker) {
                Some(next) => marker = next,
                None if page.is_truncated => {
                    return Err(Error::unavailable("the list of parts goes on without saying where"));
                }
                None => return Ok(Some(parts)),
            }
        }
        Err(Error::unavailable("the list of parts does not end"))
    }

    /// Copies one object. With `headers`, its metadata is written anew from them, with this modification time.
    pub(crate) fn copy(
        &self,
        from: At<'_>,
        version: Option<&str>,
        to: At<'_>,
        anew: Option<(&Answer, Instant)>,
    ) -> Result<()> {
        let source = format!("/{}/{}", from.bucket, from.key);
        let mut request = self
            .kept(self.at("PUT", to))
            .header("x-amz-copy-source", causeway_sdk::percent::encode_path(&source))
            .header("x-amz-metadata-directive", if anew.is_some() { "REPLACE" } else { "COPY" });
        if let Some(version) = version {
            request = request.header("x-amz-copy-source-if-match", format!("\"{version}\""));
        }
        if let Some((headers, modified)) = anew {
            request = metadata(request, headers).header(MTIME, time::decimal(modified));
        }
        let class =
            anew.and_then(|(headers, _)| headers.header("x-amz-storage-class")).unwrap_or(&self.settings.storage_class);
        let request = request.header_unless_empty("x-amz-storage-class", class);
        let request = self.customer_key(self.customer_key(request, ""), "copy-source-");
        self.call(request, to.bucket).map(|_| ())
    }
}

/// Everything that is stored beside the content, but for the modification time.
fn metadata(request: Request, headers: &Answer) -> Request {
    const SYSTEM: &[&str] = &[
        "content-type",
        "cache-control",
        "content-disposition",
        "content-language",
        "expires",
        "x-amz-website-redirect-location",
    ];
    let mut request = request;
    for (name, value) in headers.headers() {
        let name = name.to_ascii_lowercase();
        if SYSTEM.contains(&&*name) || (name.starts_with("x-amz-meta-") && name != MTIME) {
            request = request.header(&name, value);
        }
        // How it came over the wire is no property of the object.
        if name == "content-encoding" {
            let kept: Vec<_> = value.split(',').map(str::trim).filter(|coding| *coding != "aws-chunked").collect();
            request = request.header_unless_empty(&name, &kept.join(","));
        }
    }
    request
}

/// What an answer means: by its code where it has a body, else by its status (a HEAD has none).
pub(crate) fn meaning(answer: &Answer) -> Error {
    let failure = Failure::in_body(answer.body()).unwrap_or_default();
    let region = failure.region.as_deref().or(answer.header("x-amz-bucket-region"));
    let kind = match (&*failure.code, answer.status()) {
        (
            "AuthorizationHeaderMalformed"
            | "PermanentRedirect"
            | "TemporaryRedirect"
            | "IllegalLocationConstraintException",
            _,
        )
        | (_, 301 | 307)
            if region.is_some() || matches!(answer.status(), 301 | 307) =>
        {
            let there = region.map_or_else(|| "another region".to_owned(), |region| format!("the region \"{region}\""));
            let message = format!("the bucket is in {there}: set `region`, and `endpoint` to match");
            return Error::invalid(message).seen_in(answer);
        }
        (code, status) => by_code(code).unwrap_or_else(|| by_status(status, answer)),
    };
    let message = match (&kind, &*failure.code) {
        (_, "RequestTimeTooSkewed") => "the clock of this machine and that of the store differ too much".to_owned(),
        (_, "InvalidObjectState") => "the object is archived and must be restored before it can be read".to_owned(),
        (_, "BucketAlreadyExists" | "BucketNameUnavailable") => {
            "a bucket of this name belongs to somebody else".to_owned()
        }
        (ErrorKind::NotFound, _) => "there is no such thing in the store".to_owned(),
        (ErrorKind::Denied, _) => "the store denies this to the given keys".to_owned(),
        (ErrorKind::Unauthenticated, _) => "the store refuses the given keys".to_owned(),
        (ErrorKind::PreconditionFailed, _) => changed().message,
        (_, "") => format!("the store answers with status {}", answer.status()),
        (_, code) => format!("the store answers {code}"),
    };
    Error::new(kind, message).detail(format!("{} {}: {}", answer.status(), failure.code, failure.message))
}

/// The version seen is no longer the current one.
pub(crate) fn changed() -> Error {
    Error::new(ErrorKind::PreconditionFailed, "the object has been changed in the store")
}

fn by_code(code: &str) -> Option<ErrorKind> {
    Some(match code {
        "NoSuchKey" | "NoSuchBucket" | "NoSuchUpload" | "NoSuchVersion" | "NotFound" => ErrorKind::NotFound,
        "BucketAlreadyExists" | "BucketAlreadyOwnedByYou" | "BucketNameUnavailable" => ErrorKind::AlreadyExists,
        "BucketNotEmpty" => ErrorKind::DirectoryNotEmpty,
        "AccessDenied" | "AllAccessDisabled" | "AccountProblem" | "MethodNotAllowed" => ErrorKind::Denied,
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "RequestTimeTooSkewed"
        | "ExpiredToken"
        | "InvalidToken"
        | "TokenRefreshRequired"
        | "AuthorizationHeaderMalformed" => ErrorKind::Unauthenticated,
        "BadDigest" | "XAmzContentSHA256Mismatch" => ErrorKind::Corrupt,
        "PreconditionFailed" | "ConditionalRequestConflict" => ErrorKind::PreconditionFailed,
        "NotImplemented" | "InvalidObjectState" => ErrorKind::Unsupported,
        "QuotaExceeded" | "TooManyBuckets" => ErrorKind::QuotaExceeded,
        "SlowDown" | "TooManyRequests" => ErrorKind::RateLimited(None),
        "InternalError" | "ServiceUnavailable" | "RequestTimeout" | "OperationAborted" => ErrorKind::Unavailable(None),
        "InvalidArgument"
        | "InvalidBucketName"
        | "InvalidDigest"
        | "InvalidRequest"
        | "EntityTooSmall"
        | "EntityTooLarge"
        | "InvalidPart"
        | "InvalidPartOrder"
        | "MalformedXML"
        | "KeyTooLongError"
        | "MissingContentLength"
        | "InvalidRange" => ErrorKind::Invalid,
        _ => return None,
    })
}

/// Codes that nobody has written down go by their status.
fn by_status(status: u16, answer: &Answer) -> ErrorKind {
    match status {
        // The object behind a planned read has another ETag than the plan asks for.
        304 | 412 => ErrorKind::PreconditionFailed,
        405 => ErrorKind::Denied,
        503 => ErrorKind::RateLimited(answer.retry_after_ms()),
        _ => Error::by_status(answer).kind,
    }
}
