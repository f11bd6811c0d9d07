//! A backend that is signed in by OAuth: its grant is kept sealed, renewed before it ends, and stored before it is used.
//!
//! A grant belongs to a client and to what the tenant brought along (a `token` of another program): with others of these it
//! counts for nothing. One that the provider ended stays as a note of why, so that nobody asks again until a person acts or
//! the client changes.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use causeway_http::oauth::{Authority, DeviceCode, Grant, Polled, Tokens};
use causeway_storage::{Error, ErrorKind, Result, Secret, SignIn};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::Look;
use crate::backend::{Backend, Held, State};
use crate::slots::now_ms;

/// Where the grant is kept.
const GRANT: &str = "oauth";

/// Where a code that a person is typing is kept.
const DEVICE: &str = "oauth-device";

/// A token with less than this left is renewed before it is used.
const ENDS_SOON: Duration = Duration::from_secs(60);

const CONSENT: &str = "the owner of the account must consent";

/// What a backend's OAuth takes.
pub(crate) struct OauthWay {
    pub(crate) authority: Authority,
    /// Names the client and what the tenant brought along, without telling either.
    pub(crate) origin: String,
    /// Names the client with its secret.
    pub(crate) client: String,
    /// What the tenant brought along.
    pub(crate) brought: Option<Tokens>,
    pub(crate) current: Mutex<Current>,
}

/// The grant in use, as it was read.
#[derive(Default)]
pub(crate) struct Current {
    tokens: Option<Tokens>,
    ended: Option<String>,
    /// The number of the record's last change; none if there is none.
    change: Option<u64>,
}

/// A grant as it is kept.
#[derive(Serialize, Deserialize)]
struct Record {
    origin: String,
    tokens: Json,
    ended: Option<Ended>,
}

/// Why the provider gives no more tokens, and to which client it said so.
#[derive(Serialize, Deserialize)]
struct Ended {
    reason: String,
    client: String,
}

/// A code on its way, as it is kept.
#[derive(Serialize, Deserialize)]
struct Device {
    origin: String,
    url: String,
    user_code: String,
    code: String,
    expires_ms: u64,
    interval_ms: u64,
    next_ms: u64,
}

impl OauthWay {
    /// Towards whom a person consents: client and addresses.
    pub(crate) fn issuer(&self) -> String {
        let oauth = self.authority.oauth();
        format!("{} {} {}", oauth.client.id, oauth.authorize_url, oauth.token_url)
    }

    pub(super) fn look(&self) -> Look {
        let current = self.current();
        if let Some(reason) = &current.ended {
            return Look::Waits(Error::new(ErrorKind::Unauthenticated, reason.clone()));
        }
        match current.tokens.as_ref().map(Tokens::lives) {
            Some(None) => Look::Holds,
            Some(Some(lives)) if lives >= ENDS_SOON => Look::Holds,
            Some(Some(lives)) if !lives.is_zero() => Look::EndsSoon,
            _ if self.takes_a_person(&current) => Look::Waits(Error::new(ErrorKind::Unauthenticated, CONSENT)),
            _ => Look::Missing,
        }
    }

    /// Whether nothing but a consent helps.
    fn takes_a_person(&self, current: &Current) -> bool {
        let renewable = current.tokens.as_ref().is_some_and(|tokens| tokens.refresh.is_some());
        !renewable && matches!(self.authority.oauth().grant, Grant::Consent)
    }

    /// Reads the grant. Whether it is another one than was in use.
    pub(super) async fn reload(&self, host: &dyn State, backend: &Backend) -> Result<bool> {
        let held = host.get(GRANT).await?;
        if held.as_ref().map(|held| held.change) == self.current().change && held.is_some() {
            return Ok(false);
        }
        let change = held.as_ref().map(|held| held.change);
        let (tokens, ended) = match held.and_then(|held| self.read(&held)) {
            Some((tokens, ended)) => (Some(tokens), ended),
            None => (self.brought.clone(), None),
        };
        let before = self.current().tokens.as_ref().map(|tokens| tokens.access.clone());
        let changed = tokens.as_ref().map(|tokens| &tokens.access) != before.as_ref();
        self.adopt(backend, Current { tokens, ended, change });
        Ok(changed)
    }

    /// Obtains a token: with the refresh token, else without a person where the grant allows it.
    pub(super) async fn renew(&self, host: &dyn State, backend: &Backend) -> Result<()> {
        let tokens = self.current().tokens.clone();
        let unattended = self.authority.oauth().grant.is_unattended();
        let renewed = match &tokens {
            Some(tokens) if tokens.refresh.is_some() => self.authority.refresh(tokens).await,
            _ if unattended => self.authority.obtain().await,
            _ => self.poll(host).await,
        };
        let renewed = match renewed {
            Err(error) if error.kind == ErrorKind::Unauthenticated && unattended && tokens.is_some() => {
                self.authority.obtain().await
            }
            renewed => renewed,
        };
        match renewed {
            Ok(tokens) => self.store(host, backend, tokens, None).await,
            Err(error) if error.kind == ErrorKind::Unauthenticated && !unattended => {
                if let Some(tokens) = tokens {
                    self.store(host, backend, tokens, Some(error.message.clone())).await?;
                }
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes in what a consent gave.
    pub(crate) async fn exchange(
        &self,
        host: &dyn State,
        backend: &Backend,
        code: &str,
        redirect_uri: &str,
        verifier: &str,
    ) -> Result<()> {
        let tokens = self.authority.exchange(code, redirect_uri, verifier).await?;
        self.reload(host, backend).await?;
        self.store(host, backend, tokens, None).await
    }

    /// What a person must do, if anything.
    pub(super) async fn wanted(&self, host: &dyn State, backend: &Backend) -> Result<Option<SignIn>> {
        self.reload(host, backend).await?;
        let (usable, reason) = {
            let current = self.current();
            let usable = current
                .tokens
                .as_ref()
                .is_some_and(|tokens| tokens.refresh.is_some() || tokens.lives().is_none_or(|lives| !lives.is_zero()));
            (usable && current.ended.is_none(), current.ended.clone())
        };
        if usable || self.authority.oauth().grant.is_unattended() {
            return Ok(None);
        }
        match &self.authority.oauth().grant {
            Grant::Device(_) => match self.poll(host).await {
                Ok(tokens) => {
                    self.store(host, backend, tokens, None).await?;
                    Ok(None)
                }
                Err(_) => self.device(host).await.map(Some),
            },
            _ => {
                let reason = reason.unwrap_or_else(|| CONSENT.to_owned());
                Ok(Some(SignIn::Consent { reason, issuer: self.issuer() }))
            }
        }
    }

    /// Stores tokens, or why they are of no use any more, and only then uses them.
    async fn store(&self, host: &dyn State, backend: &Backend, tokens: Tokens, ended: Option<String>) -> Result<()> {
        let told = ended.clone().map(|reason| Ended { reason, client: self.client.clone() });
        let record = Record { origin: self.origin.clone(), tokens: tokens.to_json(), ended: told };
        let bytes = serde_json::to_vec(&record).map_err(Error::internal)?;
        let expected = self.current().change;
        if !host.swap(GRANT, &bytes, None, expected).await? {
            // Someone stored another one without holding the lease, or after theirs had ended. A consent is newer than any
            // renewal, and a renewal newer than what it renewed: what stands there is at least as new.
            self.reload(host, backend).await?;
            return Ok(());
        }
        let change = host.get(GRANT).await?.map(|held| held.change);
        self.adopt(backend, Current { tokens: Some(tokens), ended, change });
        Ok(())
    }

    fn adopt(&self, backend: &Backend, current: Current) {
        let access = current.tokens.as_ref().map(|tokens| tokens.access.clone());
        let hidden = current.tokens.iter().filter_map(|tokens| tokens.refresh.clone());
        let hidden = hidden.chain(self.authority.oauth().client.secret.clone()).collect();
        let usable = access.filter(|access| current.ended.is_none() && !access.expose().is_empty());
        backend.slots.grant(usable, hidden);
        *self.current() = current;
    }

    /// A record's tokens and why they are of no use, where it is about this client.
    fn read(&self, held: &Held) -> Option<(Tokens, Option<String>)> {
        let record: Record = serde_json::from_slice(&held.value).ok()?;
        let tokens = serde_json::to_vec(&record.tokens).ok().and_then(|bytes| Tokens::from_json(&bytes))?;
        let ended = record.ended.filter(|ended| ended.client == self.client).map(|ended| ended.reason);
        (record.origin == self.origin).then_some((tokens, ended))
    }

    /// Asks whether the code was typed, if there is one and it is time.
    async fn poll(&self, host: &dyn State) -> Result<Tokens> {
        let waits = || Error::new(ErrorKind::Unauthenticated, "a person must sign in first");
        let Some(mut device) = self.pending(host).await?.filter(|device| device.next_ms <= now_ms()) else {
            return Err(waits());
        };
        let polled = self.authority.poll_device(&Secret::new(device.code.as_str())).await;
        match polled {
            Ok(Polled::Given(tokens)) => {
                host.remove(DEVICE).await?;
                Ok(tokens)
            }
            Ok(polled) => {
                // Each "slow down" means 5 s more (RFC 8628).
                if matches!(polled, Polled::SlowDown) {
                    device.interval_ms += 5000;
                }
                device.next_ms = now_ms() + device.interval_ms;
                self.keep(host, &device).await?;
                Err(waits())
            }
            Err(error) if error.kind == ErrorKind::Unauthenticated => {
                host.remove(DEVICE).await?;
                Err(error)
            }
            Err(error) => {
                device.next_ms = now_ms() + device.interval_ms;
                self.keep(host, &device).await?;
                Err(error)
            }
        }
    }

    /// The code that is to be typed; a new one if there is none (any more).
    async fn device(&self, host: &dyn State) -> Result<SignIn> {
        let device = match self.pending(host).await? {
            Some(device) => device,
            None => {
                let DeviceCode { url, user_code, code, lives, interval } = self.authority.device_code().await?;
                let (lives_ms, interval_ms) = (lives.as_millis() as u64, interval.as_millis() as u64);
                let device = Device {
                    origin: self.origin.clone(),
                    url,
                    user_code,
                    code: String::from_utf8_lossy(code.expose()).into_owned(),
                    expires_ms: now_ms() + lives_ms,
                    interval_ms,
                    next_ms: now_ms() + interval_ms,
                };
                self.keep(host, &device).await?;
                device
            }
        };
        let expires_s = device.expires_ms.saturating_sub(now_ms()) / 1000;
        Ok(SignIn::Device { url: device.url, code: device.user_code, expires_s })
    }

    async fn pending(&self, host: &dyn State) -> Result<Option<Device>> {
        let held = host.get(DEVICE).await?;
        let device = held.and_then(|held| serde_json::from_slice::<Device>(&held.value).ok());
        Ok(device.filter(|device| device.origin == self.origin && device.expires_ms > now_ms()))
    }

    async fn keep(&self, host: &dyn State, device: &Device) -> Result<()> {
        let lives = Duration::from_millis(device.expires_ms.saturating_sub(now_ms()));
        host.set(DEVICE, &serde_json::to_vec(device).map_err(Error::internal)?, Some(lives)).await
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        // What is under this lock is changed in single steps.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
