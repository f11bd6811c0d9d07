//! A backend that is signed in by its component: `sign-in` fills slots, and may ask a person on the way.
//!
//! What came of it is noted beside the slots: whether they are filled, what is asked, which hosts were assigned. The note
//! belongs to the settings that the sign-in was made with; with others, slots and note count for nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use causeway_storage::{Error, ErrorKind, Result, SignIn};
use serde::{Deserialize, Serialize};

use super::{Look, SOONEST};
use crate::backend::{Backend, State};
use crate::bindings::exports::causeway::provider::session;
use crate::component::Component;
use crate::convert;

/// Where the note is kept.
const NOTE: &str = "session";

/// How often it is looked whether a person has approved elsewhere.
const APPROVAL: Duration = Duration::from_secs(10);

/// The longest prompt, in characters.
const PROMPT: usize = 500;

/// What a backend's session takes.
pub(crate) struct SessionWay {
    /// A slot with less than this left makes the session be renewed.
    renew: Duration,
    /// Names the settings, without telling them.
    settings: String,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    note: Note,
    change: Option<u64>,
    /// When this process last signed in, or asked whether a person has approved.
    tried: Option<Instant>,
}

/// What came of signing in.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Note {
    settings: String,
    signed_in: bool,
    question: Option<Question>,
    /// Origins.
    assigned: Vec<String>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Question {
    prompt: String,
    typed: bool,
}

impl SessionWay {
    pub(crate) fn new(renew: Duration, settings: String) -> SessionWay {
        SessionWay { renew, settings, current: Mutex::default() }
    }

    /// What a person is asked, if anything.
    pub(super) fn question(&self) -> Option<SignIn> {
        let question = self.current().note.question.clone()?;
        Some(SignIn::Question { prompt: question.prompt, typed: question.typed })
    }

    pub(super) fn look(&self, backend: &Backend) -> Look {
        let current = self.current();
        let tried = |pause: Duration| current.tried.is_some_and(|tried| tried.elapsed() < pause);
        match &current.note {
            Note { question: Some(question), .. } if question.typed || tried(APPROVAL) => {
                let message = format!("signing in waits for a person: {}", question.prompt);
                Look::Waits(Error::new(ErrorKind::Unauthenticated, message))
            }
            Note { signed_in: true, question: None, .. } => match backend.slots.shortest_life() {
                // One that was signed in a moment ago goes out as it is.
                Some(lives) if lives.is_zero() && tried(SOONEST) => Look::Holds,
                Some(lives) if lives.is_zero() => Look::Missing,
                Some(lives) if lives <= self.renew => Look::EndsSoon,
                _ => Look::Holds,
            },
            _ => Look::Missing,
        }
    }

    /// Reads note and slots. Whether they are of another sign-in than the one in use.
    pub(super) async fn reload(&self, host: &dyn State, backend: &Backend) -> Result<bool> {
        let held = host.get(NOTE).await?;
        let change = held.as_ref().map(|held| held.change);
        let note = held.and_then(|held| serde_json::from_slice::<Note>(&held.value).ok());
        let Some(note) = note.filter(|note| note.settings == self.settings) else {
            backend.slots.disregard();
            let mut current = self.current();
            (current.note, current.change) = (Note::default(), change);
            return Ok(false);
        };
        let other_slots = backend.slots.reload().await?;
        let mut current = self.current();
        let other_note = current.change != change;
        if other_note {
            backend.egress.assign(&note.assigned);
        }
        (current.note, current.change) = (note, change);
        Ok(other_slots || other_note)
    }

    /// Lets the component sign in, and notes what came of it.
    pub(super) async fn renew(
        &self,
        host: &dyn State,
        component: &Arc<Component>,
        backend: &Arc<Backend>,
        answer: Option<String>,
    ) -> Result<()> {
        let Some(indices) = component.session.clone() else {
            return Err(convert::fault("a component that wants a session does not export `session`"));
        };
        self.current().tried = Some(Instant::now());
        if self.current().note.question.is_none() {
            backend.egress.begin_assigning();
        }
        let inside = Arc::new(Backend { signs_in: true, ..(**backend).clone() });
        let stepped = component
            .call_sign_in(inside, move |store, instance| {
                Box::pin(async move {
                    let guest = indices.load(&mut *store, instance)?;
                    guest.call_sign_in(store, answer.as_deref()).await
                })
            })
            .await?;
        let note = match stepped {
            Ok(session::Step::SignedIn) => {
                Note { signed_in: true, assigned: backend.egress.assigned(), ..Note::default() }
            }
            Ok(session::Step::Ask(question)) => {
                let prompt = backend.egress.strike(&question.prompt).chars().take(PROMPT).collect();
                Note { question: Some(Question { prompt, typed: question.typed }), ..Note::default() }
            }
            Err(error) => {
                let error = convert::error(error);
                // A refusal ends what was asked, too: the next sign-in begins anew.
                if !error.is_passing() {
                    self.note(host, Note::default()).await?;
                }
                return Err(error);
            }
        };
        self.note(host, note.clone()).await?;
        match &note.question {
            None => Ok(()),
            Some(question) => {
                let message = format!("signing in waits for a person: {}", question.prompt);
                Err(Error::new(ErrorKind::Unauthenticated, message))
            }
        }
    }

    /// Tells the provider that the session ends.
    pub(crate) async fn leave(
        &self,
        host: &dyn State,
        component: &Arc<Component>,
        backend: &Arc<Backend>,
    ) -> Result<()> {
        let Some(indices) = component.session.clone() else { return Ok(()) };
        self.reload(host, backend).await?;
        if !self.current().note.signed_in {
            return Ok(());
        }
        let left = component.call(Some(backend.clone()), move |store, instance| {
            Box::pin(async move {
                let guest = indices.load(&mut *store, instance)?;
                guest.call_sign_out(store).await
            })
        });
        left.await?.map_err(convert::error)
    }

    async fn note(&self, host: &dyn State, note: Note) -> Result<()> {
        let note = Note { settings: self.settings.clone(), ..note };
        host.set(NOTE, &serde_json::to_vec(&note).map_err(Error::internal)?, None).await?;
        let change = host.get(NOTE).await?.map(|held| held.change);
        let mut current = self.current();
        (current.note, current.change) = (note, change);
        Ok(())
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        // What is under this lock is changed in single steps.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
