//! The transfer engines ask, the component answers: one short call for each question.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use causeway_http::request::Response;
use causeway_http::transfer::{
    Cutting, Outcome, Part, PartAnswer, PartPlan, ReadPlan, ReadPlanner, Receipt, Remains, Upload, Verdict, WritePlan,
    WritePlanner,
};
use causeway_storage::{Algorithm, Error, ErrorKind, Result, Source, Span, WriteIntent};
use wasmtime::component::Resource;

use crate::backend::Backend;
use crate::bindings::causeway::provider::types;
use crate::bindings::exports::causeway::provider::{reading, writing};
use crate::component::Component;
use crate::convert;
use crate::host::{Content, Digests};
use crate::signing;

/// The longest session of a write, in bytes.
const SESSION: usize = 64 * 1024;

/// The longest receipt of a part, in bytes.
const RECEIPT: usize = 1024;

/// The sign-in as one transfer sees it: made sure of before each question, renewed when an answer says that it was refused.
/// How often that may be is decided where it is renewed.
struct Credential {
    component: Arc<Component>,
    backend: Arc<Backend>,
    /// The generation that the last request may have gone out with.
    seen: AtomicU64,
}

impl Credential {
    fn new(component: &Arc<Component>, backend: &Arc<Backend>) -> Credential {
        let seen = AtomicU64::new(backend.signing.generation());
        Credential { component: component.clone(), backend: backend.clone(), seen }
    }

    async fn ready(&self) -> Result<()> {
        let seen = signing::ready(&self.component, &self.backend).await?;
        self.seen.store(seen, Ordering::Release);
        Ok(())
    }

    /// Renews after this error, if it is a refusal of the credential; else, or if that fails, there is an error.
    async fn renewed(&self, error: Error) -> Result<()> {
        if error.kind != ErrorKind::Unauthenticated {
            return Err(error);
        }
        let seen = self.seen.load(Ordering::Acquire);
        let renewed = signing::renew(&self.component, &self.backend, seen, error).await?;
        self.seen.store(renewed, Ordering::Release);
        Ok(())
    }

    fn worked(&self) {
        self.backend.signing.worked();
    }
}

/// Reading of one file.
pub(crate) struct Reading {
    component: Arc<Component>,
    backend: Arc<Backend>,
    credential: Credential,
    file: types::Node,
    size: Option<u64>,
}

impl Reading {
    pub(crate) fn new(
        component: Arc<Component>,
        backend: Arc<Backend>,
        file: types::Node,
        size: Option<u64>,
    ) -> Reading {
        Reading { credential: Credential::new(&component, &backend), component, backend, file, size }
    }
}

impl Reading {
    async fn plan_once(&self, range: Option<Span>) -> Result<ReadPlan> {
        let (indices, file, size) = (self.component.reading.clone(), self.file.clone(), self.size);
        let plan = self
            .component
            .call(Some(self.backend.clone()), move |store, instance| {
                Box::pin(async move {
                    let guest = indices.load(&mut *store, instance)?;
                    guest.call_plan_read(store, &file, size, range.map(convert::wit_span)).await
                })
            })
            .await?;
        convert::read_plan(plan.map_err(convert::error)?)
    }
}

#[async_trait]
impl ReadPlanner for Reading {
    async fn plan(&self, range: Option<Span>) -> Result<ReadPlan> {
        self.credential.ready().await?;
        match self.plan_once(range).await {
            Err(error) => {
                self.credential.renewed(error).await?;
                self.plan_once(range).await
            }
            planned => planned,
        }
    }

    async fn explain(&self, answer: Response) -> Result<Verdict> {
        let (indices, file) = (self.component.reading.clone(), self.file.clone());
        let verdict = self
            .component
            .call(Some(self.backend.clone()), move |store, instance| {
                Box::pin(async move {
                    let guest = indices.load(&mut *store, instance)?;
                    guest.call_explain(store, &file, &convert::response(answer)).await
                })
            })
            .await?;
        Ok(match verdict {
            reading::Verdict::Replan => Verdict::Replan,
            reading::Verdict::Failed(error) => match self.credential.renewed(convert::error(error)).await {
                // The plan names the credential and does not hold it, but it may be as old.
                Ok(()) => Verdict::Replan,
                Err(error) => Verdict::Failed(error),
            },
        })
    }

    async fn decode(&self, ticket: &str, offset: u64, received: bytes::Bytes) -> Result<bytes::Bytes> {
        let Some(indices) = self.component.decoding.clone() else {
            return Err(convert::fault("a plan wants to be decoded by a component that does not export `decoding`"));
        };
        let ticket = ticket.to_owned();
        let decoded = self
            .component
            .call(Some(self.backend.clone()), move |store, instance| {
                Box::pin(async move {
                    let guest = indices.load(&mut *store, instance)?;
                    guest.call_decode(store, &ticket, offset, &received).await
                })
            })
            .await?;
        decoded.map(bytes::Bytes::from).map_err(convert::error)
    }
}

/// Writing of one file.
pub(crate) struct Writing {
    credential: Credential,
    component: Arc<Component>,
    indices: writing::GuestIndices,
    backend: Arc<Backend>,
    intent: writing::WriteIntent,
    content: Arc<dyn Source>,
    digests: Arc<Digests>,
}

impl Writing {
    pub(crate) fn new(
        component: Arc<Component>,
        backend: Arc<Backend>,
        parent: types::Node,
        name: String,
        existing: Option<types::Node>,
        intent: &WriteIntent,
        content: Arc<dyn Source>,
    ) -> Result<Writing> {
        let indices = component.writing.clone().ok_or_else(|| Error::unsupported("write files"))?;
        let intent = writing::WriteIntent {
            parent,
            name,
            existing,
            modified: intent.modified.map(convert::wit_time),
            created: None,
            media_type: intent.media_type.clone(),
        };
        let credential = Credential::new(&component, &backend);
        Ok(Writing { credential, component, indices, backend, intent, content, digests: Arc::default() })
    }

    /// The digest of the whole content, if the component asked for it.
    pub(crate) fn known_digest(&self, algorithm: Algorithm) -> Option<Vec<u8>> {
        self.digests.whole(algorithm)
    }

    fn outcome(&self, outcome: types::Outcome) -> Result<Outcome> {
        convert::outcome(outcome, self.backend.encoding)
    }

    fn content(&self) -> Content {
        Content { source: self.content.clone(), digests: self.digests.clone() }
    }
}

/// Calls a function of `writing` once; `$content` is the borrowed content inside.
macro_rules! ask_once {
    ($self:ident, |$guest:ident, $store:ident, $content:ident| $call:expr) => {{
        let (indices, content) = ($self.indices.clone(), $self.content());
        $self
            .component
            .call(Some($self.backend.clone()), move |store, instance| {
                Box::pin(async move {
                    let $guest = indices.load(&mut *store, instance)?;
                    let owned = store.data_mut().table.push(content)?;
                    #[allow(unused_variables)]
                    let $content = Resource::<Content>::new_borrow(owned.rep());
                    let $store = store;
                    $call.await
                })
            })
            .await?
            .map_err(convert::error)
    }};
}

/// The same, signed in, and once more if the credential was refused. What stands in the parentheses is cloned for each call.
macro_rules! ask {
    ($self:ident, ($($captured:ident),*), |$guest:ident, $store:ident, $content:ident| $call:expr) => {{
        $self.credential.ready().await?;
        let mut renewed = false;
        loop {
            let answered = {
                $(let $captured = $captured.clone();)*
                ask_once!($self, |$guest, $store, $content| $call)
            };
            match answered {
                Err(error) if !renewed => {
                    $self.credential.renewed(error).await?;
                    renewed = true;
                }
                Err(error) => return Err(error),
                Ok(answer) => {
                    $self.credential.worked();
                    break answer;
                }
            }
        }
    }};
}

fn session(session: String) -> Result<String> {
    if session.len() > SESSION { Err(convert::fault("a session is longer than 64 KiB")) } else { Ok(session) }
}

#[async_trait]
impl WritePlanner for Writing {
    async fn begin(&self) -> Result<WritePlan> {
        let intent = self.intent.clone();
        let plan = ask!(self, (intent), |guest, store, content| guest.call_begin_write(store, &intent, content));
        Ok(match plan {
            writing::WritePlan::Complete(done) => WritePlan::Complete(self.outcome(done)?),
            writing::WritePlan::Upload(upload) => WritePlan::Upload(Upload {
                session: session(upload.session)?,
                cutting: upload.cutting.map(|cutting| Cutting {
                    first_bytes: cutting.first_bytes,
                    other_bytes: cutting.other_bytes,
                    parallel: cutting.parallel,
                }),
                first: upload.first.map(convert::part_plan).transpose()?,
            }),
        })
    }

    async fn plan_part(&self, session: &str, part: &Part) -> Result<PartPlan> {
        let (session, part) = (session.to_owned(), convert::wit_part(part));
        let plan =
            ask!(self, (session, part), |guest, store, content| guest.call_plan_part(store, &session, part, content));
        convert::part_plan(plan)
    }

    async fn accept_part(&self, sent: &str, part: &Part, answer: Response) -> Result<PartAnswer> {
        let (sent, part) = (sent.to_owned(), convert::wit_part(part));
        let answer = convert::response(answer);
        let judged = ask_once!(self, |guest, store, content| guest.call_accept_part(store, &sent, part, &answer));
        let judged = match judged {
            // Refused before it was taken: the part goes out again.
            Err(error) => return self.credential.renewed(error).await.map(|()| PartAnswer::Again(0)),
            Ok(judged) => judged,
        };
        self.credential.worked();
        Ok(match judged {
            writing::PartAnswer::Stored(receipt) if receipt.len() > RECEIPT => {
                return Err(convert::fault("a receipt is longer than 1 KiB"));
            }
            writing::PartAnswer::Stored(receipt) => PartAnswer::Stored(receipt),
            writing::PartAnswer::At(progress) => PartAnswer::At(convert::progress(progress)),
            writing::PartAnswer::Complete(done) => PartAnswer::Complete(self.outcome(done)?),
            writing::PartAnswer::Again(ms) => PartAnswer::Again(ms),
            writing::PartAnswer::Restart => PartAnswer::Restart,
        })
    }

    async fn finish(&self, session: &str, receipts: &[Receipt]) -> Result<Outcome> {
        let (session, receipts) = (session.to_owned(), receipts.iter().map(convert::wit_receipt).collect::<Vec<_>>());
        let finished = ask!(self, (session, receipts), |guest, store, content| guest
            .call_finish_write(store, &session, &receipts, content));
        self.outcome(finished)
    }

    async fn abort(&self, session: &str) -> Result<()> {
        let session = session.to_owned();
        ask!(self, (session), |guest, store, content| guest.call_abort_write(store, &session));
        Ok(())
    }

    async fn resume(&self, session: &str, receipts: &[Receipt]) -> Result<Remains> {
        let (session, receipts) = (session.to_owned(), receipts.iter().map(convert::wit_receipt).collect::<Vec<_>>());
        let remains = ask!(self, (session, receipts), |guest, store, content| guest
            .call_resume_write(store, &session, &receipts));
        Ok(match remains {
            writing::Remains::At(progress) => Remains::At(convert::progress(progress)),
            writing::Remains::Parts(parts) => Remains::Parts(parts),
            writing::Remains::Complete(done) => Remains::Complete(self.outcome(done)?),
            writing::Remains::Nothing => Remains::Nothing,
        })
    }
}
