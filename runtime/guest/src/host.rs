//! What a running call may use: the imports of the contract, for one backend and for as long as the call lasts.
//!
//! A call sees its backend's settings, state and way out, and nothing of any other. Each import is one small function; what
//! it promises stands in the contract. Limits are counted here, per call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use causeway_http::CallBudget;
use causeway_storage::{self as storage, Algorithm, Body, Error, ErrorKind, Source, Span, Value};
use futures::StreamExt;
use wasmtime::component::{HasSelf, Linker, Resource, ResourceTable};
use wasmtime::{StoreLimits, StoreLimitsBuilder};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::backend::{Backend, KnownTree};
use crate::bindings::causeway::provider as wit;
use crate::convert;
use crate::engine::{LARGE_MEMORY_BYTES, SMALL_MEMORY_BYTES};

/// Lines that one call may log; that there were more is said once, and the rest is dropped.
const LOG_LINES: u32 = 64;

/// The longest line, in characters.
const LOG_LINE: usize = 1000;

/// Random bytes that one request for them may ask.
const RANDOM_BYTES: u32 = 4096;

/// Bytes of content, or of an answer, that a component may hold at once.
const BULK_BYTES: u64 = 8 << 20;

/// Requests that may be on their way side by side.
const SIDE_BY_SIDE: usize = 32;

/// Resources (bodies, contents) that one call may hold.
const RESOURCES: usize = 256;

/// Everything that belongs to one call.
pub(crate) struct Call {
    pub(crate) backend: Option<Arc<Backend>>,
    budget: Arc<CallBudget>,
    pub(crate) table: ResourceTable,
    pub(crate) limits: StoreLimits,
    logged: u32,
    wasi: Option<WasiCtx>,
}

impl Call {
    /// A call for a backend; without one, only what is pure can be called.
    pub(crate) fn new(backend: Option<Arc<Backend>>, large: bool) -> Call {
        let memory = if large { LARGE_MEMORY_BYTES } else { SMALL_MEMORY_BYTES };
        let limits = StoreLimitsBuilder::new()
            .memory_size(memory)
            .table_elements(20_000)
            .instances(8)
            .tables(4)
            .memories(1)
            .trap_on_grow_failure(false)
            .build();
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES);
        Call { backend, budget: Arc::new(CallBudget::new()), table, limits, logged: 0, wasi: None }
    }

    fn backend(&self) -> wasmtime::Result<Arc<Backend>> {
        self.backend.clone().ok_or_else(|| wasmtime::Error::msg("`describe` must not use any import"))
    }

    /// The tree that is kept of the component's walk, if any is.
    pub(crate) fn tree(&self) -> wasmtime::Result<Option<Arc<dyn KnownTree>>> {
        Ok(self.backend()?.tree.get().and_then(std::sync::Weak::upgrade))
    }
}

impl WasiView for Call {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        // Nothing granted: no file, no argument, no variable, no socket; what is written to its output is dropped.
        WasiCtxView { ctx: self.wasi.get_or_insert_with(|| WasiCtx::builder().build()), table: &mut self.table }
    }
}

/// The interfaces that a component may import, besides those that only hold types.
pub(crate) fn link(linker: &mut Linker<Call>) -> wasmtime::Result<()> {
    wit::settings::add_to_linker::<_, HasSelf<Call>>(linker, |call| call)?;
    wit::http::add_to_linker::<_, HasSelf<Call>>(linker, |call| call)?;
    wit::state::add_to_linker::<_, HasSelf<Call>>(linker, |call| call)?;
    wit::clock::add_to_linker::<_, HasSelf<Call>>(linker, |call| call)?;
    wit::random::add_to_linker::<_, HasSelf<Call>>(linker, |call| call)?;
    wit::log::add_to_linker::<_, HasSelf<Call>>(linker, |call| call)?;
    wit::content::add_to_linker::<_, HasSelf<Call>>(linker, |call| call)?;
    wit::gathering::add_to_linker::<_, HasSelf<Call>>(linker, |call| call)?;
    wit::crypto::add_to_linker::<_, HasSelf<Call>>(linker, |call| call)?;
    wit::reveal::add_to_linker::<_, HasSelf<Call>>(linker, |call| call)?;
    wit::foreign_hosts::add_to_linker::<_, HasSelf<Call>>(linker, |call| call)?;
    wit::assigned_hosts::add_to_linker::<_, HasSelf<Call>>(linker, |call| call)?;
    Ok(())
}

type Answer<T> = wasmtime::Result<Result<T, wit::types::Error>>;

fn answer<T>(result: Result<T, Error>) -> Answer<T> {
    Ok(result.map_err(convert::wit_error))
}

impl wit::types::Host for Call {}
impl wit::requests::Host for Call {}
impl wit::secret_uses::Host for Call {}

impl wit::settings::Host for Call {
    fn given(&mut self) -> wasmtime::Result<Vec<(String, wit::settings::Value)>> {
        use wit::settings::Value as Wit;
        let backend = self.backend()?;
        let value = |value: &Value| match value {
            Value::Text(text) => Wit::Text(text.clone()),
            Value::Number(number) => Wit::Number(*number),
            Value::Truth(truth) => Wit::Truth(*truth),
            Value::Bytes(bytes) => Wit::Bytes(*bytes),
            Value::Milliseconds(ms) => Wit::Milliseconds(*ms),
            Value::Several(several) => Wit::Several(several.clone()),
            Value::Off => Wit::Off,
            Value::Secret(_) => Wit::Secret,
        };
        Ok(backend.settings.iter().map(|(name, given)| (name.to_owned(), value(given))).collect())
    }

    fn public_field(&mut self, secret: wit::requests::SecretRef) -> wasmtime::Result<Option<String>> {
        let backend = self.backend()?;
        Ok(backend.public_field(&convert::secret_ref(secret)))
    }
}

/// An answer that is read bit by bit.
#[allow(unreachable_pub, reason = "what is generated shows it again")]
pub struct OpenBody {
    body: Body,
    /// What came and was not asked for yet.
    rest: bytes::Bytes,
}

impl wit::http::Host for Call {
    async fn send(&mut self, request: wit::requests::Request) -> Answer<wit::requests::Response> {
        let (backend, budget) = (self.backend()?, self.budget.clone());
        answer(send(backend, budget, request).await)
    }

    async fn send_all(
        &mut self,
        requests: Vec<wit::requests::Request>,
    ) -> wasmtime::Result<Vec<Result<wit::requests::Response, wit::types::Error>>> {
        let backend = self.backend()?;
        if requests.len() > SIDE_BY_SIDE {
            return Err(wasmtime::Error::msg("more than 32 requests at once"));
        }
        let send = |request| send(backend.clone(), self.budget.clone(), request);
        let answers = futures::future::join_all(requests.into_iter().map(send)).await;
        Ok(answers.into_iter().map(|sent| sent.map_err(convert::wit_error)).collect())
    }

    async fn open(&mut self, request: wit::requests::Request) -> Answer<(wit::requests::Response, Resource<OpenBody>)> {
        let (backend, budget) = (self.backend()?, self.budget.clone());
        let io = backend.io.clone();
        let opened = io.run(async move { backend.egress.open(&convert::request(request)?, &budget).await });
        match opened.await {
            Ok((response, body)) => {
                let body = self.table.push(OpenBody { body, rest: bytes::Bytes::new() })?;
                Ok(Ok((convert::response(response), body)))
            }
            Err(error) => answer(Err(error)),
        }
    }
}

/// Sends a request, on the threads that have sockets.
async fn send(
    backend: Arc<Backend>,
    budget: Arc<CallBudget>,
    request: wit::requests::Request,
) -> Result<wit::requests::Response, Error> {
    let io = backend.io.clone();
    io.run(async move { backend.egress.send(&convert::request(request)?, &budget).await.map(convert::response) }).await
}

impl wit::http::HostBody for Call {
    async fn read(&mut self, body: Resource<OpenBody>, most: u32) -> Answer<Vec<u8>> {
        let body = self.table.get_mut(&body)?;
        while body.rest.is_empty() {
            match body.body.next().await {
                None => return Ok(Ok(Vec::new())),
                Some(Ok(piece)) => body.rest = piece,
                Some(Err(error)) => return answer(Err(error)),
            }
        }
        let most = most.min(BULK_BYTES as u32) as usize;
        Ok(Ok(body.rest.split_to(most.min(body.rest.len())).to_vec()))
    }

    async fn drop(&mut self, body: Resource<OpenBody>) -> wasmtime::Result<()> {
        self.table.delete(body)?;
        Ok(())
    }
}

impl wit::state::Host for Call {
    async fn get(&mut self, key: String) -> wasmtime::Result<Option<wit::state::Held>> {
        let backend = self.backend()?;
        let io = backend.io.clone();
        let held = io.run(async move { backend.state.get(&key).await }).await.map_err(trap)?;
        Ok(held.map(|held| wit::state::Held { value: held.value, change: held.change }))
    }

    async fn set(&mut self, key: String, value: Vec<u8>, lives_ms: Option<u64>) -> Answer<()> {
        let backend = self.backend()?;
        let io = backend.io.clone();
        answer(io.run(async move { backend.state.set(&key, &value, lives(lives_ms)).await }).await)
    }

    async fn swap(
        &mut self,
        key: String,
        value: Vec<u8>,
        lives_ms: Option<u64>,
        expected: Option<u64>,
    ) -> Answer<bool> {
        let backend = self.backend()?;
        let io = backend.io.clone();
        answer(io.run(async move { backend.state.swap(&key, &value, lives(lives_ms), expected).await }).await)
    }

    async fn remove(&mut self, key: String) -> wasmtime::Result<()> {
        let backend = self.backend()?;
        let io = backend.io.clone();
        let removed = io.run(async move {
            backend.slots.empty(&key).await?;
            backend.state.remove(&key).await
        });
        removed.await.map_err(trap)
    }

    async fn seal(&mut self, slot: String, value: Vec<u8>) -> Answer<()> {
        let backend = self.backend()?;
        let io = backend.io.clone();
        answer(io.run(async move { backend.slots.seal(&slot, value).await }).await)
    }

    async fn expire(&mut self, slot: String, lives_ms: u64) -> wasmtime::Result<()> {
        let backend = self.backend()?;
        let io = backend.io.clone();
        let lives = Duration::from_millis(lives_ms);
        io.run(async move { backend.slots.expire(&slot, lives).await }).await.map_err(trap)
    }

    async fn sealed(&mut self, slot: String) -> wasmtime::Result<bool> {
        Ok(self.backend()?.slots.is_filled(&slot))
    }
}

fn lives(ms: Option<u64>) -> Option<Duration> {
    ms.map(Duration::from_millis)
}

/// For imports that cannot answer an error: the call ends.
fn trap(error: Error) -> wasmtime::Error {
    wasmtime::Error::msg(format!("{error:?}"))
}

impl wit::clock::Host for Call {
    fn now(&mut self) -> wasmtime::Result<wit::types::Instant> {
        self.backend()?;
        Ok(convert::wit_time(storage::Timestamp::now()))
    }
}

impl wit::random::Host for Call {
    fn bytes(&mut self, count: u32) -> wasmtime::Result<Vec<u8>> {
        self.backend()?;
        if count > RANDOM_BYTES {
            return Err(wasmtime::Error::msg("more than 4,096 random bytes at once"));
        }
        let mut bytes = vec![0; count as usize];
        rand::RngCore::fill_bytes(&mut rand::rng(), &mut bytes);
        Ok(bytes)
    }
}

impl wit::log::Host for Call {
    fn write(&mut self, level: wit::log::Level, message: String) -> wasmtime::Result<()> {
        let backend = self.backend()?;
        self.logged += 1;
        if self.logged > LOG_LINES {
            if self.logged == LOG_LINES + 1 {
                tracing::warn!(provider = %backend.provider, "a call writes more than {LOG_LINES} lines; the rest is dropped");
            }
            return Ok(());
        }
        let message: String = backend.egress.strike(&message).chars().take(LOG_LINE).collect();
        let (provider, id) = (&backend.provider, &backend.id);
        match level {
            wit::log::Level::Debug => tracing::debug!(target: "component", %provider, backend = %id, "{message}"),
            wit::log::Level::Info => tracing::info!(target: "component", %provider, backend = %id, "{message}"),
            wit::log::Level::Warning => tracing::warn!(target: "component", %provider, backend = %id, "{message}"),
            wit::log::Level::Error => tracing::error!(target: "component", %provider, backend = %id, "{message}"),
        }
        Ok(())
    }
}

/// Content being written, and the digests of it that were asked for: a question that comes again is answered from here.
#[allow(unreachable_pub, reason = "what is generated shows it again")]
pub struct Content {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) digests: Arc<Digests>,
}

/// Digests of one content, by algorithm and spans.
#[derive(Default)]
pub(crate) struct Digests(Mutex<HashMap<DigestKey, Vec<u8>>>);

type DigestKey = (Algorithm, Vec<Span>);

/// Digests kept for one write; beyond that they are computed anew.
const DIGESTS: usize = 20_000;

impl Digests {
    /// The digest of the whole content, if it was asked for.
    pub(crate) fn whole(&self, algorithm: Algorithm) -> Option<Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&(algorithm, Vec::new())).cloned()
    }
}

impl Content {
    async fn digest(&self, algorithm: Algorithm, spans: Vec<Span>) -> Result<Vec<u8>, Error> {
        if spans.iter().any(|span| span.end() > self.source.size()) {
            return Err(convert::fault("a digest was asked of more than there is"));
        }
        // Spans that overlap would make a short question cost any amount of time.
        if spans.iter().map(|span| span.size).fold(0, u64::saturating_add) > self.source.size() {
            return Err(convert::fault("a digest was asked of more than the whole content"));
        }
        let key = (algorithm, spans.clone());
        let known = self.digests.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let source = self.source.clone();
        let compute = move || causeway_digest::digest_source(&*source, algorithm, &spans);
        let value = tokio::task::spawn_blocking(compute).await.map_err(Error::internal)??;
        let mut digests = self.digests.0.lock().unwrap_or_else(PoisonError::into_inner);
        if digests.len() < DIGESTS {
            digests.insert(key, value.clone());
        }
        Ok(value)
    }

    async fn mega_mac(&self, key: &[u8], nonce: &[u8]) -> Result<Vec<u8>, Error> {
        let wrong = || convert::fault("a meta-MAC needs a key of 16 bytes and a nonce of eight");
        let mac = causeway_digest::MegaMac::new(key, nonce).ok_or_else(wrong)?;
        let source = self.source.clone();
        let compute = move || causeway_digest::mega_mac_source(&*source, mac);
        Ok(tokio::task::spawn_blocking(compute).await.map_err(Error::internal)??.to_vec())
    }

    async fn read(&self, span: Span) -> Result<Vec<u8>, Error> {
        if span.size > BULK_BYTES || span.end() > self.source.size() {
            return Err(Error::new(ErrorKind::Invalid, "at most 8 MiB of the content can be read at once"));
        }
        let source = self.source.clone();
        let read = move || {
            let mut bytes = vec![0; span.size as usize];
            source.read_exact_at(span.offset, &mut bytes).map(|()| bytes)
        };
        Ok(tokio::task::spawn_blocking(read).await.map_err(Error::internal)??)
    }
}

impl wit::content::Host for Call {}

impl wit::content::HostSource for Call {
    async fn size(&mut self, content: Resource<Content>) -> wasmtime::Result<u64> {
        Ok(self.table.get(&content)?.source.size())
    }

    async fn digest(
        &mut self,
        content: Resource<Content>,
        digest: wit::types::Digest,
        spans: Vec<wit::types::Span>,
    ) -> Answer<Vec<u8>> {
        let spans = spans.into_iter().map(convert::span).collect();
        answer(self.table.get(&content)?.digest(convert::algorithm(digest), spans).await)
    }

    async fn mega_mac(&mut self, content: Resource<Content>, key: Vec<u8>, nonce: Vec<u8>) -> Answer<Vec<u8>> {
        answer(self.table.get(&content)?.mega_mac(&key, &nonce).await)
    }

    async fn read(&mut self, content: Resource<Content>, span: wit::types::Span) -> Answer<Vec<u8>> {
        answer(self.table.get(&content)?.read(convert::span(span)).await)
    }

    async fn drop(&mut self, content: Resource<Content>) -> wasmtime::Result<()> {
        self.table.delete(content)?;
        Ok(())
    }
}

impl wit::crypto::Host for Call {
    fn hmac(
        &mut self,
        key: wit::requests::SecretRef,
        hash: wit::secret_uses::Hash,
        steps: Vec<String>,
        message: Vec<wit::requests::Piece>,
    ) -> Answer<Vec<u8>> {
        let backend = self.backend()?;
        answer(backend.egress.hmac(&convert::secret_ref(key), convert::hash(hash), &steps, &convert::pieces(message)))
    }

    fn rsa_sign(
        &mut self,
        key: wit::crypto::PrivateKey,
        scheme: wit::secret_uses::Rsa,
        message: Vec<wit::requests::Piece>,
    ) -> Answer<Vec<u8>> {
        let backend = self.backend()?;
        let (key, passphrase) = (convert::secret_ref(key.key), key.passphrase.map(convert::secret_ref));
        let (scheme, message) = (convert::rsa(scheme), convert::pieces(message));
        answer(backend.egress.rsa_sign(&key, passphrase.as_ref(), scheme, &message))
    }

    fn certificates(&mut self, key: wit::crypto::PrivateKey) -> Answer<Vec<Vec<u8>>> {
        let backend = self.backend()?;
        let (key, passphrase) = (convert::secret_ref(key.key), key.passphrase.map(convert::secret_ref));
        answer(backend.egress.certificates(&key, passphrase.as_ref()))
    }
}

impl wit::reveal::Host for Call {
    fn reveal(&mut self, secret: wit::requests::SecretRef) -> Answer<Vec<u8>> {
        let backend = self.backend()?;
        answer(backend.reveal(&convert::secret_ref(secret)).map(|secret| secret.expose().to_vec()))
    }
}

impl wit::foreign_hosts::Host for Call {
    fn allow(&mut self, url: String) -> Answer<()> {
        let backend = self.backend()?;
        answer(backend.egress.allow_foreign(&url, &self.budget))
    }
}

impl wit::assigned_hosts::Host for Call {
    fn allow(&mut self, url: String) -> Answer<()> {
        let backend = self.backend()?;
        if !backend.signs_in {
            let message = "hosts are assigned while signing in, and at no other time";
            return answer(Err(Error::new(ErrorKind::Denied, message)));
        }
        answer(backend.egress.allow_assigned(&url, &self.budget))
    }
}
