//! What a backend compiled into the runtime would be: S3's request for an object written down and signed here, for the same read
//! engine that carries out the plans of components.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use causeway_bench::Result;
use causeway_digest::digest_bytes;
use causeway_http::request::{Piece, Request, Response, SecretRef};
use causeway_http::transfer::{
    Decoding, PlanCache, Ranges, Read, ReadPlan, ReadPlanner, Remote, Reuse, Segment, Verdict, read,
};
use causeway_http::uses::{Hash, HmacUse, SecretUse};
use causeway_http::{Egress, Gate, Origin, Secrets, Way};
use causeway_storage::{Algorithm, Body, Error, ErrorKind, Node, Secret, Span};
use jiff::Timestamp;

use crate::component::{KEY_ID, REGION, SECRET};
use crate::hex;

/// The digest of no body.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// The name of the secret key.
const KEY: &str = "secret_access_key";

/// A backend.
pub(crate) struct Hardcoded {
    egress: Arc<Egress>,
    plans: Arc<PlanCache>,
    host: String,
}

impl Hardcoded {
    /// At this `address:port`.
    pub(crate) fn new(gate: &Arc<Gate>, host: &str) -> Result<Hardcoded> {
        let hmac = HmacUse { field: None, hash: Hash::Sha256, prefix: "AWS4".into(), base64: false, steps: 4 };
        let egress = gate.egress(Way {
            tenant: "bench".into(),
            backend: "fedcba9876543210".into(),
            origins: vec![Origin::of_endpoint(&format!("http://{host}"), false)?],
            uses: HashMap::from([(KEY.to_owned(), SecretUse { hmac: vec![hmac], ..SecretUse::default() })]),
            slots: vec![],
            secrets: Arc::new(Key),
            paces: vec![],
            foreign_hosts: false,
            assigned_hosts: false,
        });
        Ok(Hardcoded { egress, plans: Arc::new(PlanCache::new()), host: host.to_owned() })
    }

    /// Reads a span of an object.
    pub(crate) async fn read(&self, file: &Node, span: Span) -> causeway_storage::Result<Body> {
        let path = file.path.to_string();
        let version = file.version.as_ref().map_or(String::new(), |version| version.0.clone());
        let key = format!("{path} {version}");
        let planner = Planner { egress: self.egress.clone(), host: self.host.clone(), path, version, size: file.size };
        let (egress, plans) = (self.egress.clone(), self.plans.clone());
        read(Read { egress, planner: Arc::new(planner), plans, key, size: file.size, span }).await
    }
}

struct Planner {
    egress: Arc<Egress>,
    host: String,
    path: String,
    version: String,
    size: Option<u64>,
}

impl Planner {
    fn request(&self) -> causeway_storage::Result<Request> {
        let now = Timestamp::now();
        let (day, time) = (now.strftime("%Y%m%d").to_string(), now.strftime("%Y%m%dT%H%M%SZ").to_string());
        let (host, path, etag) = (&self.host, &self.path, format!("\"{}\"", self.version));
        let names = "host;if-match;x-amz-content-sha256;x-amz-date";
        let canonical = format!(
            "GET\n/{path}\n\nhost:{host}\nif-match:{etag}\nx-amz-content-sha256:{EMPTY}\nx-amz-date:{time}\n\n{names}\n{EMPTY}"
        );
        let scope = format!("{day}/{REGION}/s3/aws4_request");
        let digest = hex(&digest_bytes(Algorithm::Sha256, canonical.as_bytes()));
        let message = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{digest}");
        let steps = [day, REGION.to_owned(), "s3".to_owned(), "aws4_request".to_owned()];
        let key = SecretRef::whole(KEY);
        let signature = hex(&self.egress.hmac(&key, Hash::Sha256, &steps, &[Piece::text(message)])?);
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={KEY_ID}/{scope}, SignedHeaders={names}, Signature={signature}");
        Ok(Request::new("GET", format!("http://{host}/{path}"))
            .with_header("If-Match", vec![Piece::text(etag)])
            .with_header("x-amz-date", vec![Piece::text(time)])
            .with_header("x-amz-content-sha256", vec![Piece::text(EMPTY)])
            .with_header("Authorization", vec![Piece::text(authorization)]))
    }
}

#[async_trait]
impl ReadPlanner for Planner {
    async fn plan(&self, _range: Option<Span>) -> causeway_storage::Result<ReadPlan> {
        Ok(ReadPlan::Remote(Remote {
            segments: vec![Segment {
                offset: 0,
                size: self.size,
                request: self.request()?,
                ranges: Ranges::ByHeader,
                decoding: Decoding::Plain,
                check: None,
            }],
            size: self.size,
            guard: Some(("etag".into(), format!("\"{}\"", self.version))),
            reuse: Reuse::AnyRange,
            valid_ms: 600_000,
            parallel: 8,
            check: None,
        }))
    }

    async fn explain(&self, answer: Response) -> causeway_storage::Result<Verdict> {
        let message = format!("the origin answered {}", answer.status);
        Ok(Verdict::Failed(Error::new(ErrorKind::Corrupt, message)))
    }

    async fn decode(&self, _ticket: &str, _offset: u64, _received: Bytes) -> causeway_storage::Result<Bytes> {
        Err(Error::unsupported("decode"))
    }
}

/// Knows the one secret.
struct Key;

#[async_trait]
impl Secrets for Key {
    fn get(&self, name: &str) -> Option<Secret> {
        (name == KEY).then(|| Secret::new(SECRET))
    }

    fn is_sealed_by_component(&self, _name: &str) -> bool {
        false
    }

    fn all(&self) -> Vec<Secret> {
        vec![Secret::new(SECRET)]
    }

    async fn fill(&self, _slot: &str, _value: Secret) -> causeway_storage::Result<()> {
        Err(Error::unsupported("keep"))
    }
}
