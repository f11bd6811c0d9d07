//! How a backend is signed in, and how that is kept up: from its settings alone, by OAuth, or by a session of the
//! component's own.
//!
//! Before every call it is made sure that the sign-in still holds ([`ready`]); after a call that the provider refused, it is
//! renewed ([`renew`]) and the call repeated once. Renewals are one at a time: within a process by a lock, between processes
//! by a lease; whoever waited looks first whether it was done meanwhile. *Generation* counts what was seen of this: a call
//! that was refused says with which generation it went out, and a later one answers it without another renewal.
//!
//! **No loops.** A renewal after a refusal comes no sooner than 10 s after the one before, and twice as late with each that
//! brought nothing, up to 15 minutes. What takes a person is not tried again until that person acted.
//!
//! A renewal runs to its end even if nobody waits for it any more: a token that was rotated must be stored.

pub(crate) mod oauth;
pub(crate) mod session;
pub(crate) mod way;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use causeway_storage::{Act, Error, ErrorKind, Result, SignIn};

use crate::backend::{Backend, State};
use crate::component::Component;
use oauth::OauthWay;
use session::SessionWay;

/// The lease under which a backend's sign-in is renewed.
const LEASE: &str = "sign-in";

/// How long a renewal may take at most: a call of the component may last 120 s.
const LEASE_LIFE: Duration = Duration::from_secs(130);

/// How long another process' renewal is waited for.
const OTHERS: Duration = Duration::from_secs(60);

/// The pauses between two looks whether another process is done: the first, and the longest.
const LOOK: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// The shortest time between two renewals that a refusal asked for, and the longest that it grows to.
const AGAIN: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(900));

/// A sign-in that ends soon is not renewed again before this, however short it lives.
const SOONEST: Duration = Duration::from_secs(30);

/// As `AGAIN`, where the provider could not be reached: callers try again by themselves.
const AFTER_FAILURE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Where the credential of requests comes from.
pub(crate) enum Way {
    /// From the settings alone.
    Configured,
    /// From a token that the host obtains.
    Oauth(Box<OauthWay>),
    /// From slots that the component fills.
    Session(SessionWay),
}

/// How one backend is signed in.
pub(crate) struct Signing {
    way: Way,
    host: Arc<dyn State>,
    one: tokio::sync::Mutex<()>,
    generation: AtomicU64,
    damper: Mutex<Damper>,
}

/// What keeps renewals from following each other for ever.
#[derive(Default)]
struct Damper {
    /// When the last renewal ended.
    last: Option<Instant>,
    /// When the last one ended that a refusal asked for.
    refused: Option<Instant>,
    /// Renewals that failed or that a refusal asked for, after which nothing has worked.
    streak: u32,
    /// Why the last one failed, if it did.
    failure: Option<Error>,
}

/// What a sign-in is like at a glance.
pub(crate) enum Look {
    /// It holds.
    Holds,
    /// It holds, and ends soon.
    EndsSoon,
    /// There is none, or it has ended.
    Missing,
    /// A person must act: why.
    Waits(Error),
}

/// Why a renewal is wished for.
#[derive(Clone, Copy)]
enum Wish {
    /// The sign-in is missing or ends soon.
    Due,
    /// A call that went out with this generation was refused.
    Refused(u64),
}

impl Signing {
    pub(crate) fn new(way: Way, host: Arc<dyn State>) -> Signing {
        Signing { way, host, one: Default::default(), generation: AtomicU64::new(1), damper: Mutex::default() }
    }

    pub(crate) fn way(&self) -> &Way {
        &self.way
    }

    pub(crate) fn host(&self) -> &dyn State {
        &*self.host
    }

    /// The generation of what is in use.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Something went well with the present sign-in.
    pub(crate) fn worked(&self) {
        self.damper().streak = 0;
    }

    /// A person acted: what failed before may be tried at once.
    pub(crate) fn forget_failures(&self) {
        *self.damper() = Damper::default();
    }

    fn look(&self, backend: &Backend) -> Look {
        match &self.way {
            Way::Configured => Look::Holds,
            Way::Oauth(way) => way.look(),
            Way::Session(way) => way.look(backend),
        }
    }

    /// Reads what is stored. Whether that is another sign-in than the one in use, and one that can be used.
    pub(crate) async fn reload(&self, backend: &Backend) -> Result<bool> {
        let changed = match &self.way {
            Way::Configured => false,
            Way::Oauth(way) => way.reload(&*self.host, backend).await?,
            Way::Session(way) => way.reload(&*self.host, backend).await?,
        };
        if changed {
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
        Ok(changed && matches!(self.look(backend), Look::Holds | Look::EndsSoon))
    }

    async fn renew(
        &self,
        component: &Arc<Component>,
        backend: &Arc<Backend>,
        wish: Wish,
        answer: Option<String>,
    ) -> Result<()> {
        let renewed = match &self.way {
            Way::Configured => return Ok(()),
            Way::Oauth(way) => way.renew(&*self.host, backend).await,
            Way::Session(way) => way.renew(&*self.host, component, backend, answer).await,
        };
        let mut damper = self.damper();
        let refused = matches!(wish, Wish::Refused(_));
        damper.last = Some(Instant::now());
        if refused {
            damper.refused = damper.last;
        }
        damper.streak = damper.streak.saturating_add(u32::from(refused || renewed.is_err()));
        damper.failure = renewed.as_ref().err().cloned();
        self.generation.fetch_add(1, Ordering::AcqRel);
        renewed
    }

    /// Whether another renewal may come now.
    fn check_pace(&self, wish: Wish) -> Result<()> {
        let damper = self.damper();
        let (since, (shortest, longest)) = match (&damper.failure, wish) {
            (Some(failure), _) if failure.is_passing() => (damper.last, AFTER_FAILURE),
            (Some(_), _) => (damper.last, AGAIN),
            (None, Wish::Refused(_)) => (damper.refused, AGAIN),
            (None, Wish::Due) => return Ok(()),
        };
        let pause = shortest.saturating_mul(1 << damper.streak.saturating_sub(1).min(16)).min(longest);
        if since.is_none_or(|since| since.elapsed() >= pause) {
            return Ok(());
        }
        Err(damper.failure.clone().unwrap_or_else(|| {
            Error::new(ErrorKind::Unauthenticated, "the provider refuses the sign-in that it has just given")
        }))
    }

    fn damper(&self) -> MutexGuard<'_, Damper> {
        // What is under this lock is changed in single steps.
        self.damper.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes sure that a call can go out: the generation that it will go out with.
pub(crate) async fn ready(component: &Arc<Component>, backend: &Arc<Backend>) -> Result<u64> {
    let signing = &backend.signing;
    match signing.look(backend) {
        Look::Holds => {}
        Look::EndsSoon if signing.damper().last.is_some_and(|last| last.elapsed() < SOONEST) => {}
        Look::EndsSoon => {
            // It still holds: what goes wrong now will be seen again when it has ended.
            if let Err(error) = one_at_a_time(component, backend, Wish::Due, None).await {
                tracing::info!(?error, backend = %backend.id, "a sign-in that ends soon could not be renewed");
            }
        }
        Look::Missing => one_at_a_time(component, backend, Wish::Due, None).await?,
        Look::Waits(error) => {
            // The person may have acted towards another process.
            if !signing.reload(backend).await? {
                return Err(error);
            }
        }
    }
    Ok(signing.generation())
}

/// Renews the sign-in after a call that went out with this generation was refused. The refusal comes back as the error where
/// there is nothing to renew.
pub(crate) async fn renew(
    component: &Arc<Component>,
    backend: &Arc<Backend>,
    seen: u64,
    refusal: Error,
) -> Result<u64> {
    if matches!(backend.signing.way, Way::Configured) {
        return Err(refusal);
    }
    one_at_a_time(component, backend, Wish::Refused(seen), None).await?;
    Ok(backend.signing.generation())
}

/// Goes on signing in with what a person answered.
pub(crate) async fn answered(component: &Arc<Component>, backend: &Arc<Backend>, answer: Option<String>) -> Result<()> {
    backend.signing.forget_failures();
    one_at_a_time(component, backend, Wish::Due, Some(answer)).await
}

/// Where the sign-in stands; with `begin`, after it went as far as it goes without a person.
pub(crate) async fn standing(component: &Arc<Component>, backend: &Arc<Backend>, act: &Act) -> Result<SignIn> {
    let begin = matches!(act, Act::Try);
    let signing = &backend.signing;
    match &signing.way {
        Way::Configured => Ok(SignIn::Ready),
        Way::Oauth(way) => {
            if let Some(wanted) = way.wanted(&*signing.host, backend).await? {
                return Ok(wanted);
            }
            match begin {
                true => ready(component, backend).await.map(|_| SignIn::Ready),
                false => Ok(SignIn::Ready),
            }
        }
        Way::Session(way) => {
            let made = match begin && way.question().is_none() {
                true => ready(component, backend).await.map(|_| ()),
                false => Ok(()),
            };
            match way.question() {
                Some(question) => Ok(question),
                None => made.map(|()| SignIn::Ready),
            }
        }
    }
}

/// Renews, unless that was done while this waited for its turn. `answer` is there when a person acted.
async fn one_at_a_time(
    component: &Arc<Component>,
    backend: &Arc<Backend>,
    wish: Wish,
    answer: Option<Option<String>>,
) -> Result<()> {
    let (component, backend) = (component.clone(), backend.clone());
    let io = backend.io.clone();
    io.to_the_end(async move {
        let signing = backend.signing.clone();
        let _one = signing.one.lock().await;
        let done = || match wish {
            Wish::Refused(seen) => signing.generation() > seen,
            Wish::Due => matches!(signing.look(&backend), Look::Holds),
        };
        if answer.is_none() && done() {
            return Ok(());
        }
        if let Err(error) = signing.check_pace(wish) {
            // Another process, or a person, may have done better.
            return if signing.reload(&backend).await? && done() { Ok(()) } else { Err(error) };
        }
        let Some(fence) = lease(&signing, &backend, answer.is_some()).await? else { return Ok(()) };
        let renewed = match signing.reload(&backend).await {
            Ok(true) if answer.is_none() && done() => Ok(()),
            Ok(_) => signing.renew(&component, &backend, wish, answer.flatten()).await,
            Err(error) => Err(error),
        };
        if let Err(error) = signing.host.end_lease(LEASE, fence).await {
            tracing::warn!(?error, backend = %backend.id, "a lease could not be ended; it ends by itself");
        }
        renewed
    })
    .await
}

/// Takes the lease; none if another process signed in while this waited for it.
async fn lease(signing: &Signing, backend: &Backend, in_any_case: bool) -> Result<Option<u64>> {
    let began = Instant::now();
    let mut pause = LOOK.0;
    loop {
        if let Some(fence) = signing.host.take_lease(LEASE, LEASE_LIFE).await? {
            return Ok(Some(fence));
        }
        if began.elapsed() > OTHERS {
            let message = "another process has been signing in for a minute";
            return Err(Error::new(ErrorKind::Unavailable(None), message));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LOOK.1);
        if signing.reload(backend).await? && !in_any_case {
            return Ok(None);
        }
    }
}
