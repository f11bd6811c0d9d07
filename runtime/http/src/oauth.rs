//! OAuth 2 as its client: where consent is asked for, and how codes, devices, keys and passwords become tokens.
//!
//! Token requests pass the same gate as every request: their URLs lie in origins that the provider declares, or in those
//! that come with the tenant's own client. It keeps nothing and decides nothing about when to renew. No answer, code or
//! token appears in an error: of what the other side says, only the error's code, where it is a plain word.

mod answer;
mod assertion;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use causeway_storage::{Error, ErrorKind, Result, Secret};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use sha2::{Digest, Sha256};

use crate::call::CallBudget;
use crate::egress::{Egress, Way};
use crate::gate::Gate;
use crate::origin::{Origin, Target};
use crate::render;
use crate::request::{Piece, Request, Response};
use crate::secrets::Secrets;

pub use answer::{DeviceCode, Polled, Tokens};

/// A token request must have ended by then: whoever waits has a deadline of half a minute.
const TOKEN_REQUEST: Duration = Duration::from_secs(25);

/// The client that this runtime is towards the provider.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its public id.
    pub id: String,
    /// Its secret, where it has one.
    pub secret: Option<Secret>,
}

/// How the first token is obtained.
#[derive(Clone, Debug)]
pub enum Grant {
    /// A person consents in a browser.
    Consent,
    /// A person types a code on another device; the URL that gives the codes.
    Device(String),
    /// The client itself.
    ClientCredentials,
    /// A service account signs for itself: Google's JSON document, and on whose behalf.
    ServiceAccount {
        /// The document.
        key: Secret,
        /// On whose behalf.
        subject: Option<String>,
    },
    /// A user's name and password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: Secret,
    },
}

impl Grant {
    /// Whether a token can be had without a person.
    pub fn is_unattended(&self) -> bool {
        match self {
            Grant::Consent | Grant::Device(_) => false,
            Grant::ClientCredentials | Grant::ServiceAccount { .. } | Grant::Password { .. } => true,
        }
    }
}

/// All that a provider says about its OAuth.
#[derive(Clone, Debug)]
pub struct Oauth {
    /// The client.
    pub client: Client,
    /// How the first token is obtained.
    pub grant: Grant,
    /// Where a person consents.
    pub authorize_url: String,
    /// Where tokens are given.
    pub token_url: String,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// What stands between two scopes.
    pub scope_separator: String,
    /// Further query parameters of the consent page.
    pub parameters: Vec<(String, String)>,
    /// Client id and secret go into the form, not into a Basic header.
    pub client_in_form: bool,
    /// Whether the provider takes PKCE.
    pub pkce: bool,
}

/// The provider's side of OAuth, for one backend.
pub struct Authority {
    egress: Arc<Egress>,
    oauth: Oauth,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authority({})", self.oauth.token_url)
    }
}

impl Authority {
    /// An authority whose URLs lie in these origins; refused if one does not.
    pub fn new(gate: &Arc<Gate>, tenant: &str, backend: &str, origins: Vec<Origin>, oauth: Oauth) -> Result<Authority> {
        let device = match &oauth.grant {
            Grant::Device(url) => Some(url),
            _ => None,
        };
        let authorize = Some(&oauth.authorize_url).filter(|_| matches!(oauth.grant, Grant::Consent));
        for url in [Some(&oauth.token_url), authorize, device].into_iter().flatten() {
            let target = Target::parse(url)?;
            if !origins.iter().any(|origin| origin.covers(&target)) {
                let message = format!("the provider does not declare the origin {} of its sign-in", target.origin());
                return Err(Error::new(ErrorKind::Denied, message));
            }
        }
        let way = Way {
            tenant: tenant.to_owned(),
            backend: backend.to_owned(),
            origins,
            uses: Default::default(),
            slots: Vec::new(),
            secrets: Arc::new(NoSecrets),
            paces: Vec::new(),
            foreign_hosts: false,
            assigned_hosts: false,
        };
        Ok(Authority { egress: gate.egress(way), oauth })
    }

    /// What it is the authority for.
    pub fn oauth(&self) -> &Oauth {
        &self.oauth
    }

    /// Where a person consents. `verifier` is what the code will be exchanged with.
    pub fn authorization_url(&self, redirect_uri: &str, state: &str, verifier: &str) -> String {
        let oauth = &self.oauth;
        let mut query = vec![
            ("response_type", "code".to_owned()),
            ("client_id", oauth.client.id.clone()),
            ("redirect_uri", redirect_uri.to_owned()),
            ("state", state.to_owned()),
        ];
        if !oauth.scopes.is_empty() {
            query.push(("scope", self.scope()));
        }
        if oauth.pkce {
            query.push(("code_challenge", BASE64URL_NOPAD.encode(&Sha256::digest(verifier.as_bytes()))));
            query.push(("code_challenge_method", "S256".to_owned()));
        }
        // What this runtime sets cannot be set otherwise.
        let ours: Vec<&str> = query.iter().map(|(name, _)| *name).collect();
        let more = oauth.parameters.iter().filter(|(name, _)| !ours.contains(&name.as_str()));
        let more: Vec<_> = more.map(|(name, value)| (name.as_str(), value.clone())).collect();
        query.extend(more);
        let separator = if oauth.authorize_url.contains('?') { '&' } else { '?' };
        format!("{}{separator}{}", oauth.authorize_url, form(&query, false))
    }

    /// Exchanges the code that a consent gave.
    pub async fn exchange(&self, code: &str, redirect_uri: &str, verifier: &str) -> Result<Tokens> {
        let mut fields = vec![
            ("grant_type", "authorization_code".to_owned()),
            ("code", code.to_owned()),
            ("redirect_uri", redirect_uri.to_owned()),
        ];
        if self.oauth.pkce {
            fields.push(("code_verifier", verifier.to_owned()));
        }
        self.token(fields, "exchange the code").await
    }

    /// A new access token; the refresh token may be replaced, too.
    pub async fn refresh(&self, tokens: &Tokens) -> Result<Tokens> {
        let Some(refresh) = &tokens.refresh else {
            return Err(Error::new(ErrorKind::Unauthenticated, "the sign-in has ended and cannot be renewed"));
        };
        let fields = vec![("grant_type", "refresh_token".to_owned()), ("refresh_token", text(refresh)?)];
        let renewed = self.token(fields, "renew the sign-in").await?;
        Ok(renewed.or_refresh_of(tokens))
    }

    /// A token that takes no person.
    pub async fn obtain(&self) -> Result<Tokens> {
        let mut fields = match &self.oauth.grant {
            Grant::Consent | Grant::Device(_) => return Err(Error::internal("this grant takes a person")),
            Grant::ClientCredentials => vec![("grant_type", "client_credentials".to_owned())],
            Grant::Password { user, password } => {
                vec![("grant_type", "password".to_owned()), ("username", user.clone()), ("password", text(password)?)]
            }
            Grant::ServiceAccount { key, subject } => {
                let assertion = assertion::of(key, subject.as_deref(), &self.scope(), &self.oauth.token_url)?;
                let fields = [
                    ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned()),
                    ("assertion", assertion),
                ];
                return answer::tokens(&self.post(&self.oauth.token_url, &fields, false).await?, "sign in");
            }
        };
        if !self.oauth.scopes.is_empty() {
            fields.push(("scope", self.scope()));
        }
        self.token(fields, "sign in").await
    }

    /// Asks for a code that a person can type on another device.
    pub async fn device_code(&self) -> Result<DeviceCode> {
        let Grant::Device(url) = &self.oauth.grant else {
            return Err(Error::internal("this grant knows no devices"));
        };
        let mut fields = Vec::new();
        if !self.oauth.scopes.is_empty() {
            fields.push(("scope", self.scope()));
        }
        answer::device_code(&self.post(url, &fields, true).await?)
    }

    /// Asks whether the person has typed the code.
    pub async fn poll_device(&self, code: &Secret) -> Result<Polled> {
        let fields =
            [("grant_type", "urn:ietf:params:oauth:grant-type:device_code".to_owned()), ("device_code", text(code)?)];
        answer::polled(&self.post(&self.oauth.token_url, &fields, true).await?)
    }

    fn scope(&self) -> String {
        self.oauth.scopes.join(&self.oauth.scope_separator)
    }

    async fn token(&self, fields: Vec<(&str, String)>, what: &str) -> Result<Tokens> {
        answer::tokens(&self.post(&self.oauth.token_url, &fields, true).await?, what)
    }

    async fn post(&self, url: &str, fields: &[(&str, String)], with_client: bool) -> Result<Response> {
        let client = &self.oauth.client;
        let mut fields = fields.to_vec();
        let mut request = Request::new("POST", url)
            .with_header("Content-Type", vec![Piece::text("application/x-www-form-urlencoded")])
            .with_header("Accept", vec![Piece::text("application/json")]);
        match &client.secret {
            _ if !with_client => {}
            Some(secret) if !self.oauth.client_in_form => {
                let pair = format!("{}:{}", escaped(&client.id, true), escaped(&text(secret)?, true));
                let basic = format!("Basic {}", BASE64.encode(pair.as_bytes()));
                request = request.with_header("Authorization", vec![Piece::Text(basic)]);
            }
            secret => {
                fields.push(("client_id", client.id.clone()));
                if let Some(secret) = secret {
                    fields.push(("client_secret", text(secret)?));
                }
            }
        }
        let request = request.with_body(vec![Piece::Text(form(&fields, true))]);
        let budget = CallBudget::new();
        let sent = tokio::time::timeout(TOKEN_REQUEST, self.egress.send(&request, &budget)).await;
        sent.map_err(|_| Error::new(ErrorKind::Unavailable(None), "the provider's sign-in did not answer in time"))?
    }
}

fn form(fields: &[(&str, String)], plus: bool) -> String {
    let pairs = fields.iter().map(|(name, value)| format!("{}={}", escaped(name, plus), escaped(value, plus)));
    pairs.collect::<Vec<_>>().join("&")
}

/// Percent-encoded; a space becomes `+` in forms.
fn escaped(text: &str, plus: bool) -> String {
    String::from_utf8_lossy(&render::percent(text.as_bytes(), plus)).into_owned()
}

fn text(secret: &Secret) -> Result<String> {
    let text = String::from_utf8(secret.expose().to_vec());
    text.map_err(|_| Error::new(ErrorKind::Invalid, "a secret of the sign-in is not text"))
}

/// Token requests are written here, with their secrets in them: nothing else is filled in.
struct NoSecrets;

#[async_trait]
impl Secrets for NoSecrets {
    fn get(&self, _name: &str) -> Option<Secret> {
        None
    }

    fn is_sealed_by_component(&self, _name: &str) -> bool {
        false
    }

    fn all(&self) -> Vec<Secret> {
        Vec::new()
    }

    async fn fill(&self, slot: &str, _value: Secret) -> Result<()> {
        Err(Error::internal(format!("a token request fills no slot ({slot})")))
    }
}
