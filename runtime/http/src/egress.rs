//! The way out of one backend: requests written down go in, answers come out.
//!
//! It holds what the backend may do (origins, uses of secrets, paces) and brings the parts together: `prepare` renders and
//! checks, `pace` lets wait, `wire` exchanges, `capture` takes secrets out of answers. What a status means is not its
//! business. Retries: a request that is `repeatable` goes out up to three times when no answer comes, 100 ms apart,
//! doubling; any other goes out again only while nothing of it was taken by a connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use causeway_storage::{Body, Error, ErrorKind, Result, Source};
use tokio::time::{Instant, timeout};

use crate::call::CallBudget;
use crate::capture;
use crate::gate::Gate;
use crate::jar::Jar;
use crate::origin::{Origin, Target};
use crate::outbody;
use crate::pace::{Lane, Pace, turns};
use crate::prepare::{Making, Prepared, Standing};
use crate::render::{Filling, Tree};
use crate::request::{Location, Piece, Request, Response, SecretRef, find_header};
use crate::secrets::{Secrets, strike_error};
use crate::uses::{Hash, Rsa, SecretUse};
use crate::wire::{Incoming1, exchange};
use crate::{sign, sign_rsa};

/// The largest answer that is handed over whole.
pub const MOST_ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// Further tries of a repeatable request.
const MOST_RETRIES: u32 = 2;

/// For the whole body of an answer that is handed over whole: 8 MiB at the slowest line worth using.
const WHOLE_ANSWER: Duration = Duration::from_secs(300);

/// How long a host that an answer named may be used.
const FOREIGN_LIFE: Duration = Duration::from_secs(3600);

/// Hosts that answers named, at most; the oldest go first.
const MOST_LEARNED: usize = 256;

/// What one backend may do.
pub struct Way {
    /// Whose backend it is.
    pub tenant: String,
    /// Its id.
    pub backend: String,
    /// Declared origins, and those of endpoint options.
    pub origins: Vec<Origin>,
    /// The declared uses of secret options and slots; a name that ends in `*` stands for all that begin so.
    pub uses: HashMap<String, SecretUse>,
    /// The declared slots, with the same stars: what captures may fill.
    pub slots: Vec<String>,
    /// Whoever keeps the secrets.
    pub secrets: Arc<dyn Secrets>,
    /// Rates to be kept.
    pub paces: Vec<Pace>,
    /// Whether hosts that answers name may be used.
    pub foreign_hosts: bool,
    /// Whether sign-in may assign hosts.
    pub assigned_hosts: bool,
}

/// The way out of one backend.
pub struct Egress {
    gate: Arc<Gate>,
    way: Way,
    lanes: Vec<Lane>,
    learned: Mutex<Learned>,
    /// Jars change one answer at a time.
    jars: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Learned {
    foreign: Vec<(Target, Instant)>,
    assigned: Vec<Target>,
    /// Those of a sign-in that goes on.
    assigning: Vec<Target>,
}

/// An answer whose body is still to come.
pub struct Answer {
    /// The status.
    pub status: u16,
    /// In order; names in lower case.
    pub headers: Vec<(String, String)>,
    /// Whether the body's end can be told from a broken connection.
    pub is_framed: bool,
    incoming: Incoming1,
}

impl Answer {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        find_header(&self.headers, name)
    }

    /// The body. It ends with an error where the transfer breaks.
    pub fn into_body(self) -> Body {
        self.incoming.into_body()
    }

    /// As a response with as much of the body as fits.
    pub(crate) async fn cut(mut self, most_bytes: usize) -> Result<Response> {
        let body = self.incoming.at_most(most_bytes).await?;
        Ok(Response { status: self.status, headers: self.headers, body })
    }

    /// The next bytes of the body; none at its end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        self.incoming.next().await
    }
}

impl Egress {
    pub(crate) fn new(gate: Arc<Gate>, mut way: Way) -> Arc<Egress> {
        let lanes = std::mem::take(&mut way.paces).into_iter().map(Lane::new).collect();
        Arc::new(Egress { gate, way, lanes, learned: Mutex::default(), jars: tokio::sync::Mutex::default() })
    }

    /// Sends a request and returns the whole answer, at most 8 MiB, captures taken out.
    pub async fn send(&self, request: &Request, call: &CallBudget) -> Result<Response> {
        let sent = async {
            call.take_request()?;
            let mut tries = 0;
            loop {
                let prepared = self.prepare(request, None, None)?;
                let result = match self.deliver(prepared, request).await {
                    Ok(incoming) => whole(incoming).await,
                    Err(error) => Err((error, false)),
                };
                match result {
                    Ok(response) => return self.hand_over(request, response, Some(call)).await,
                    // The head had come, the body broke.
                    Err((error, true)) if request.repeatable && error.is_passing() && tries < MOST_RETRIES => {
                        tries += 1;
                        back_off(tries).await;
                    }
                    Err((error, _)) => return Err(error),
                }
            }
        };
        sent.await.map_err(|error| self.struck(error))
    }

    /// Sends a request whose answer is too large to hold; the response comes without its body.
    pub async fn open(&self, request: &Request, call: &CallBudget) -> Result<(Response, Body)> {
        let opened = async {
            call.take_request()?;
            refuse_body_captures(request)?;
            let prepared = self.prepare(request, None, None)?;
            let incoming = self.deliver(prepared, request).await?;
            let head = Response { status: incoming.status, headers: incoming.headers.clone(), body: Bytes::new() };
            let head = self.hand_over(request, head, Some(call)).await?;
            Ok((head, incoming.into_body()))
        };
        opened.await.map_err(|error| self.struck(error))
    }

    /// Sends the request of a read plan. The range's last byte may be open; a request that places the range itself gets
    /// no `Range` header.
    pub async fn fetch(&self, request: &Request, range: Option<(u64, Option<u64>)>) -> Result<Answer> {
        let fetched = async {
            refuse_body_captures(request)?;
            let prepared = self.prepare(request, range, None)?;
            let incoming = self.deliver(prepared, request).await?;
            let head = Response { status: incoming.status, headers: incoming.headers.clone(), body: Bytes::new() };
            let head = self.hand_over(request, head, None).await?;
            Ok(Answer { status: head.status, headers: head.headers, is_framed: incoming.framed, incoming })
        };
        fetched.await.map_err(|error| self.struck(error))
    }

    /// Sends the request of a part. Content streams from the source; an answer that comes before all of it was sent is
    /// taken.
    pub async fn upload(self: &Arc<Egress>, request: &Request, content: &Arc<dyn Source>) -> Result<Response> {
        let sent = async {
            let (this, wanted, source) = (self.clone(), request.clone(), content.clone());
            // Digests over content read all of it.
            let prepared = tokio::task::spawn_blocking(move || this.prepare(&wanted, None, Some(&source)));
            let prepared = prepared.await.map_err(Error::internal)??;
            let incoming = self.deliver(prepared, request).await?;
            let response = whole(incoming).await.map_err(|(error, _)| error)?;
            self.hand_over(request, response, None).await
        };
        sent.await.map_err(|error| self.struck(error))
    }

    /// The HMAC of a message, where the secret declares this hash with this number of steps.
    pub fn hmac(&self, key: &SecretRef, hash: Hash, steps: &[String], message: &[Piece]) -> Result<Vec<u8>> {
        sign::hmac(&self.way.uses, self.way.secrets.as_ref(), key, hash, steps, message)
            .map_err(|error| self.struck(error))
    }

    /// The RSA signature of a message, where the key declares the scheme.
    pub fn rsa_sign(
        &self,
        key: &SecretRef,
        passphrase: Option<&SecretRef>,
        scheme: Rsa,
        message: &[Piece],
    ) -> Result<Vec<u8>> {
        sign_rsa::sign(&self.way.uses, self.way.secrets.as_ref(), key, passphrase, scheme, message)
            .map_err(|error| self.struck(error))
    }

    /// The certificates that come with a private key: DER, own first.
    pub fn certificates(&self, key: &SecretRef, passphrase: Option<&SecretRef>) -> Result<Vec<Vec<u8>>> {
        sign_rsa::certificates(&self.way.uses, self.way.secrets.as_ref(), key, passphrase)
            .map_err(|error| self.struck(error))
    }

    /// A link for the user, who may go anywhere. With a secret in it, it is checked as a request would be: a declared origin, and
    /// a placement in the query.
    pub fn link(&self, pieces: &[Piece]) -> Result<String> {
        let tree = Tree::parse(pieces)?;
        if tree.has_secret() {
            let request = Request { url: pieces.to_vec(), ..Request::new("GET", "") };
            self.prepare(&request, None, None).map_err(|error| self.struck(error))?;
        }
        let filling = Filling { secrets: self.way.secrets.as_ref(), range: None, source: None };
        String::from_utf8(tree.render(&filling)?).map_err(|_| Error::internal("a link that is not text"))
    }

    /// Lets requests without secrets go to this URL's origin for an hour, if an answer that the call saw named its host.
    pub fn allow_foreign(&self, url: &str, call: &CallBudget) -> Result<()> {
        if !self.way.foreign_hosts {
            return Err(denied("hosts that only answers name are not granted to this provider"));
        }
        let target = self.check_learned(url, call)?;
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        learned.foreign.retain(|(known, since)| !known.same_origin(&target) && since.elapsed() < FOREIGN_LIFE);
        if learned.foreign.len() >= MOST_LEARNED {
            learned.foreign.remove(0);
        }
        learned.foreign.push((target, Instant::now()));
        Ok(())
    }

    /// Lets requests, with secrets too, go to this URL's origin until the next sign-in. Only to be called during one.
    pub fn allow_assigned(&self, url: &str, call: &CallBudget) -> Result<()> {
        if !self.way.assigned_hosts {
            return Err(denied("hosts that a sign-in assigns are not granted to this provider"));
        }
        let target = self.check_learned(url, call)?;
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        learned.assigning.retain(|known| !known.same_origin(&target));
        if learned.assigning.len() >= MOST_LEARNED {
            learned.assigning.remove(0);
        }
        learned.assigning.push(target);
        Ok(())
    }

    /// A sign-in begins anew: the hosts that it assigns will take the place of those before. Until it has ended both may be
    /// reached, so that what is under way can end.
    pub fn begin_assigning(&self) {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner).assigning.clear();
    }

    /// The sign-in has ended well: the origins that it assigned, to be remembered.
    pub fn assigned(&self) -> Vec<String> {
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        learned.assigned = learned.assigning.clone();
        learned.assigned.iter().map(Target::origin).collect()
    }

    /// Lets requests go to origins that an earlier sign-in assigned; what was assigned before is forgotten.
    pub fn assign(&self, origins: &[String]) {
        let targets = origins.iter().take(MOST_LEARNED).filter_map(|origin| Target::parse(origin).ok());
        let targets: Vec<Target> = targets.filter(|target| self.way.assigned_hosts && target.https).collect();
        self.learned.lock().unwrap_or_else(PoisonError::into_inner).assigned = targets;
    }

    /// A text without any secret of this backend.
    pub fn strike(&self, text: &str) -> String {
        crate::secrets::strike(self.way.secrets.as_ref(), text)
    }

    fn check_learned(&self, url: &str, call: &CallBudget) -> Result<Target> {
        let target = Target::parse(url)?;
        if !target.https {
            return Err(denied("a host that an answer named must be reached by https"));
        }
        if !call.has_seen(&target.host) {
            return Err(denied(format!("no answer that this call saw named the host {}", target.host)));
        }
        Ok(target)
    }

    fn prepare(
        &self,
        request: &Request,
        range: Option<(u64, Option<u64>)>,
        source: Option<&Arc<dyn Source>>,
    ) -> Result<Prepared> {
        if let Some(jar) = &request.cookies {
            capture::check_slot(jar, &self.way.slots)?;
            if request.headers.iter().any(|header| header.name.eq_ignore_ascii_case("cookie")) {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    "a request with a cookie jar has a Cookie header of its own",
                ));
            }
        }
        for capture in &request.captures {
            capture::check_slot(&capture.slot, &self.way.slots)?;
        }
        let making = Making { uses: &self.way.uses, secrets: self.way.secrets.as_ref(), range, source };
        making.prepare(request, |target| self.standing(target))
    }

    /// Whether and how an origin is allowed.
    fn standing(&self, target: &Target) -> Result<Standing> {
        if self.way.origins.iter().any(|origin| origin.covers(target)) {
            return Ok(Standing::Trusted);
        }
        let learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        let assigned = learned.assigned.iter().chain(&learned.assigning);
        if assigned.into_iter().any(|known| known.same_origin(target)) {
            return Ok(Standing::Trusted);
        }
        let fresh = |(known, since): &(Target, Instant)| known.same_origin(target) && since.elapsed() < FOREIGN_LIFE;
        if learned.foreign.iter().any(fresh) {
            return Ok(Standing::Foreign);
        }
        Err(denied(format!("the provider does not declare the origin {}", target.origin())))
    }

    /// Sends a request, follows redirects, and returns the answer's head.
    async fn deliver(&self, mut prepared: Prepared, request: &Request) -> Result<Incoming1> {
        let mut left = request.redirects;
        loop {
            if let Some(jar) = &request.cookies {
                prepared.put_cookies(Jar::open(self.way.secrets.get(jar))?.header(&prepared.outgoing.target))?;
            }
            let mut incoming = self.try_out(&prepared).await?;
            if let Some(jar) = &request.cookies {
                self.take_cookies(jar, &prepared, &mut incoming).await?;
            }
            let location = find_header(&incoming.headers, "location").filter(|_| is_redirect(incoming.status));
            let Some(location) = location.filter(|_| left > 0) else { return Ok(incoming) };
            left -= 1;
            let target = prepared.outgoing.target.follow(location)?;
            let standing = self.standing_of_redirect(&prepared.outgoing.target, &target)?;
            prepared = prepared.redirected(incoming.status, target, standing, &self.way.uses)?;
        }
    }

    /// Cookies that an answer sets go into the jar, durably, before anyone sees the answer; and out of the answer.
    async fn take_cookies(&self, slot: &str, prepared: &Prepared, incoming: &mut Incoming1) -> Result<()> {
        // A host that only an answer named neither gets cookies nor sets any.
        if !prepared.outgoing.public_only {
            let sets = incoming.headers.iter().filter(|(name, _)| name == "set-cookie").map(|(_, line)| line.as_str());
            let _one = self.jars.lock().await;
            let mut jar = Jar::open(self.way.secrets.get(slot))?;
            if jar.take(&prepared.outgoing.target, sets) {
                self.way.secrets.fill_jar(slot, jar.close()?).await?;
            }
        }
        for (_, line) in incoming.headers.iter_mut().filter(|(name, _)| name == "set-cookie") {
            line.clear();
        }
        Ok(())
    }

    fn standing_of_redirect(&self, from: &Target, to: &Target) -> Result<Standing> {
        if from.https && !to.https {
            return Err(denied(format!("a redirect leads from https to http at {}", to.host)));
        }
        match self.standing(to) {
            Err(_) if self.way.foreign_hosts && to.https => Ok(Standing::Foreign),
            standing => standing,
        }
    }

    async fn try_out(&self, prepared: &Prepared) -> Result<Incoming1> {
        let mut tries = 0;
        loop {
            let permits = turns(&self.lanes, &prepared.outgoing.target).await;
            let body = |progress| outbody::make(prepared, progress);
            match exchange(&self.gate, &self.way.tenant, &prepared.outgoing, permits, body).await {
                Ok(incoming) => return Ok(incoming),
                Err(failure) if failure.error.is_passing() && prepared.repeatable && tries < MOST_RETRIES => {
                    tries += 1;
                    back_off(tries).await;
                }
                Err(failure) => return Err(failure.error),
            }
        }
    }

    async fn hand_over(
        &self,
        request: &Request,
        mut response: Response,
        call: Option<&CallBudget>,
    ) -> Result<Response> {
        capture::take(&request.captures, &self.way.slots, self.way.secrets.as_ref(), &mut response).await?;
        if let Some(call) = call.filter(|_| self.way.foreign_hosts || self.way.assigned_hosts) {
            call.saw(response.body.clone());
            let headers: Vec<&str> = response.headers.iter().map(|(_, value)| value.as_str()).collect();
            call.saw(Bytes::from(headers.join("\n")));
        }
        Ok(response)
    }

    fn struck(&self, error: Error) -> Error {
        strike_error(self.way.secrets.as_ref(), error)
    }
}

impl std::fmt::Debug for Egress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Egress")
            .field("backend", &self.way.backend)
            .field("origins", &self.way.origins)
            .finish_non_exhaustive()
    }
}

/// Waits before the `tries`th further try: 100 ms, 200 ms, 400 ms, ... at most 10 s, each by chance up to half longer.
pub(crate) async fn back_off(tries: u32) {
    let wait = 100u64.saturating_mul(1 << tries.saturating_sub(1).min(10)).min(10_000);
    tokio::time::sleep(Duration::from_millis(wait + rand::random_range(0..=wait / 2))).await;
}

/// The whole answer; the error says whether the answer's head had come.
async fn whole(mut incoming: Incoming1) -> Result<Response, (Error, bool)> {
    let body = match timeout(WHOLE_ANSWER, incoming.at_most(MOST_ANSWER_BYTES + 1)).await {
        Ok(body) => body.map_err(|error| (error, true))?,
        Err(_) => return Err((Error::new(ErrorKind::Unavailable(None), "an answer took longer than 300 s"), false)),
    };
    if body.len() > MOST_ANSWER_BYTES {
        let error = Error::new(ErrorKind::Unavailable(None), "an answer is larger than 8 MiB");
        return Err((error, false));
    }
    Ok(Response { status: incoming.status, headers: incoming.headers, body })
}

fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// A body that streams is not searched.
fn refuse_body_captures(request: &Request) -> Result<()> {
    if request.captures.iter().any(|capture| !matches!(capture.at, Location::Header(_))) {
        let message = "only headers of an answer that streams can be captured";
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    Ok(())
}

fn denied(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Denied, message)
}
