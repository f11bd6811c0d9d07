//! Signatures of the AWS family, version 4 and version 2, made with a key that stays with the host.
//!
//! What is signed is a text like any other: it may name the session token, which the host fills in before it hashes. So nothing is
//! hashed here at all; the component writes down what is to be hashed, and the host answers the signature.

use data_encoding::{BASE64, HEXLOWER};

use crate::nouns::{Digest, Instant};
use crate::options::{Hash, Secret};
use crate::request::Request;
use crate::text::{Text, Wrap};
use crate::{Result, host, percent, time};

/// The longest life of a presigned URL that the family allows: seven days.
pub const LONGEST_LIFE_S: u64 = 604_800;

const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Query parameters that are part of the resource in version 2; all others go unsigned.
const SUBRESOURCES: &[&str] = &[
    "acl",
    "delete",
    "lifecycle",
    "location",
    "logging",
    "notification",
    "partNumber",
    "policy",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];

/// A key pair and what it signs for.
#[derive(Clone, Copy, Debug)]
pub struct Signer<'a> {
    /// The key's id, which is no secret.
    pub key_id: &'a str,
    /// The key. Declares `hmac(sha256, "AWS4", 4)`, and `hmac(sha1, "", 0)` for version 2.
    pub secret: &'a Secret,
    /// The token of temporary keys. Declares `header("x-amz-security-token")`.
    pub token: Option<&'a Secret>,
    /// `us-east-1`.
    pub region: &'a str,
    /// `s3`.
    pub service: &'a str,
}

/// What is said of a request's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// The body that the request has; none counts as an empty one.
    Body,
    /// Nothing: the connection itself protects it.
    Unsigned,
    /// Its SHA-256, known already.
    Sha256(Vec<u8>),
}

impl Signer<'_> {
    /// Signs by version 4, in headers.
    pub fn sign(&self, request: Request, payload: Payload) -> Result<Request> {
        let now = host::now();
        let payload = match payload {
            Payload::Unsigned => Text::from("UNSIGNED-PAYLOAD"),
            Payload::Sha256(digest) => HEXLOWER.encode(&digest).into(),
            Payload::Body if request.body.is_empty() => EMPTY_SHA256.into(),
            Payload::Body => request.body.clone().hex_digest(Digest::Sha256),
        };
        let mut request =
            request.header("x-amz-date", time::basic(now)).header("x-amz-content-sha256", payload.clone());
        if let Some(token) = self.token {
            request = request.header("x-amz-security-token", token);
        }
        let headers = signed_headers(&request);
        let names = names(&headers);
        let signature = self.signature(&request, &headers, payload, now)?;
        let (key_id, scope) = (self.key_id, self.scope(now));
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={key_id}/{scope}, SignedHeaders={names}, Signature={signature}");
        Ok(request.header("Authorization", authorization))
    }

    /// Signs by version 4, in the query: a URL that anyone may use for so many seconds. A session token needs the placement
    /// `query("X-Amz-Security-Token")`.
    pub fn presign(&self, request: Request, lives_s: u64) -> Result<Request> {
        let now = host::now();
        let mut request = request
            .query("X-Amz-Algorithm", "AWS4-HMAC-SHA256")
            .query("X-Amz-Credential", &format!("{}/{}", self.key_id, self.scope(now)))
            .query("X-Amz-Date", &time::basic(now))
            .query("X-Amz-Expires", &lives_s.min(LONGEST_LIFE_S).to_string());
        if let Some(token) = self.token {
            request = request.query_secret("X-Amz-Security-Token", token);
        }
        let headers = signed_headers(&request);
        let request = request.query("X-Amz-SignedHeaders", &names(&headers));
        let signature = self.signature(&request, &headers, "UNSIGNED-PAYLOAD".into(), now)?;
        Ok(request.query("X-Amz-Signature", &signature))
    }

    /// Signs by version 2. `bucket` is the bucket where it stands in the host name.
    pub fn sign_v2(&self, request: Request, bucket: Option<&str>) -> Result<Request> {
        let mut request = request.header("Date", time::http_date(host::now()));
        if let Some(token) = self.token {
            request = request.header("x-amz-security-token", token);
        }
        let mut message = Text::from(format!("{}\n", request.method));
        for name in ["content-md5", "content-type", "date"] {
            message = message.and(header(&request, name)).and("\n");
        }
        for (name, value) in lowercase_headers(&request).into_iter().filter(|(name, _)| name.starts_with("x-amz-")) {
            message = message.and(format!("{name}:")).and(value).and("\n");
        }
        let message = message.and(resource(&request, bucket));
        let signature = host::hmac(&self.secret.reference(), Hash::Sha1, &[], &message.0)?;
        let authorization = format!("AWS {}:{}", self.key_id, BASE64.encode(&signature));
        Ok(request.header("Authorization", authorization))
    }

    fn signature(&self, request: &Request, headers: &[(String, Text)], payload: Text, now: Instant) -> Result<String> {
        let canonical = canonical(request, headers, payload);
        let message = Text::from(format!("AWS4-HMAC-SHA256\n{}\n{}\n", time::basic(now), self.scope(now)))
            .and(canonical.wrapped(Wrap::Digest(Digest::Sha256)).wrapped(Wrap::Hex));
        let steps = [day(now), self.region.to_owned(), self.service.to_owned(), "aws4_request".to_owned()];
        let signature = host::hmac(&self.secret.reference(), Hash::Sha256, &steps, &message.0)?;
        Ok(HEXLOWER.encode(&signature))
    }

    fn scope(&self, now: Instant) -> String {
        format!("{}/{}/{}/aws4_request", day(now), self.region, self.service)
    }
}

/// What version 4 hashes: the request in one spelling.
fn canonical(request: &Request, headers: &[(String, Text)], payload: Text) -> Text {
    let path = if request.path.is_empty() { "/" } else { &request.path };
    let mut canonical = Text::from(format!("{}\n{path}\n", request.method));
    let mut query: Vec<_> = request.query.iter().collect();
    query.sort_by(|(a, a_value), (b, b_value)| (a, a_value.plain()).cmp(&(b, b_value.plain())));
    for (at, (name, value)) in query.into_iter().enumerate() {
        let separator = if at == 0 { "" } else { "&" };
        canonical = canonical.and(format!("{separator}{name}=")).and(value.clone());
    }
    canonical = canonical.and("\n");
    for (name, value) in headers {
        canonical = canonical.and(format!("{name}:")).and(value.clone()).and("\n");
    }
    canonical.and(format!("\n{}\n", names(headers))).and(payload)
}

/// The headers that version 4 signs: all that say what is stored or asked for. Others may change on the way.
fn signed_headers(request: &Request) -> Vec<(String, Text)> {
    let mut headers = lowercase_headers(request);
    headers
        .retain(|(name, _)| name.starts_with("x-amz-") || matches!(&**name, "content-md5" | "content-type" | "range"));
    let authority = request.origin.split_once("://").map_or(&*request.origin, |(_, authority)| authority);
    headers.push(("host".to_owned(), authority.to_ascii_lowercase().into()));
    headers.sort_by(|(a, _), (b, _)| a.cmp(b));
    headers
}

fn names(headers: &[(String, Text)]) -> String {
    headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";")
}

fn lowercase_headers(request: &Request) -> Vec<(String, Text)> {
    let trimmed = |value: &Text| value.plain().map_or_else(|| value.clone(), |plain| plain.trim().into());
    let mut headers: Vec<_> =
        request.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), trimmed(value))).collect();
    headers.sort_by(|(a, _), (b, _)| a.cmp(b));
    headers
}

fn header(request: &Request, name: &str) -> Text {
    let found = request.headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.clone()).unwrap_or_default()
}

/// What version 2 calls the resource: bucket, path and the parameters that name a part of an object. Values are decoded, and none of
/// these is ever a secret.
fn resource(request: &Request, bucket: Option<&str>) -> String {
    let mut resource = bucket.map(|bucket| format!("/{bucket}")).unwrap_or_default();
    resource.push_str(if request.path.is_empty() { "/" } else { &request.path });
    let mut parameters: Vec<_> =
        request.query.iter().filter(|(name, _)| SUBRESOURCES.contains(&name.as_str())).collect();
    parameters.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (at, (name, value)) in parameters.into_iter().enumerate() {
        resource.push(if at == 0 { '?' } else { '&' });
        resource.push_str(name);
        if let Some(value) = value.plain().filter(|value| !value.is_empty()) {
            resource.push('=');
            // A plus cannot occur: it was encoded.
            resource.push_str(percent::decode_form(value).as_deref().unwrap_or(value));
        }
    }
    resource
}

fn day(now: Instant) -> String {
    time::basic(now).chars().take(8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Stand};

    const KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

    fn signer<'a>(secret: &'a Secret, token: Option<&'a Secret>) -> Signer<'a> {
        Signer { key_id: "AKIAIOSFODNN7EXAMPLE", secret, token, region: "us-east-1", service: "s3" }
    }

    fn stand() -> Stand {
        Stand::default().secret("key", KEY).secret("token", "a/token+=").now(1_369_353_600)
    }

    #[test]
    fn the_published_example_of_version_4() {
        testing::with(stand(), || {
            let secret = Secret::slot("key");
            let request =
                Request::get("https://examplebucket.s3.amazonaws.com").path("test.txt").header("Range", "bytes=0-9");
            let request = signer(&secret, None).sign(request, Payload::Body).unwrap();
            assert_eq!(
                header(&request, "authorization").plain().unwrap(),
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
                 SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, \
                 Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
            );
        });
    }

    #[test]
    fn the_published_example_of_a_presigned_url() {
        testing::with(stand(), || {
            let secret = Secret::slot("key");
            let request = Request::get("https://examplebucket.s3.amazonaws.com").path("test.txt");
            let url = signer(&secret, None).presign(request, 86_400).unwrap().url();
            let signature = "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
            assert!(url.plain().unwrap().ends_with(&format!("&X-Amz-Signature={signature}")), "{url:?}");
        });
    }

    #[test]
    fn the_published_example_of_version_2() {
        // Its date is written with an offset, which the resource and the signature cover as they stand.
        testing::with(stand(), || {
            let secret = Secret::slot("key");
            let message = "GET\n\n\nTue, 27 Mar 2007 19:36:42 +0000\n/awsexamplebucket1/photos/puppy.jpg";
            let signature = host::hmac(&secret.reference(), Hash::Sha1, &[], &Text::from(message).0).unwrap();
            assert_eq!(BASE64.encode(&signature), "qgk2+6Sv9/oM7G3qLEjTH1a1l1g=");
        });
    }

    #[test]
    fn version_2_signs_bucket_path_and_subresources() {
        let request = Request::get("https://b.example.com").path("a b").query("uploadId", "u+1").query("prefix", "x");
        assert_eq!(resource(&request, Some("b")), "/b/a%20b?uploadId=u+1");
        let request = Request::get("https://example.com").path("b/k").query("uploads", "");
        assert_eq!(resource(&request, None), "/b/k?uploads");
    }

    #[test]
    fn the_token_is_signed_and_never_seen() {
        testing::with(stand(), || {
            let (secret, token) = (Secret::slot("key"), Secret::slot("token"));
            let request = signer(&secret, Some(&token)).sign(Request::get("https://h/b"), Payload::Unsigned).unwrap();
            assert_eq!(header(&request, "x-amz-security-token"), Text::from(&token));
            assert!(header(&request, "authorization").plain().unwrap().contains(";x-amz-security-token,"));
        });
    }
}
