//! From what a component's traits and a tenant's settings say to a way of signing in.
//!
//! The OAuth client is the tenant's own (`client_id`, `client_secret`), else the operator's. Other addresses (`auth_url`,
//! `token_url`) count only together with the tenant's own client: with the operator's, its secret would go wherever a tenant
//! likes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use causeway_http::oauth::{Authority, Client, Grant, Oauth, Tokens};
use causeway_http::request::SecretRef;
use causeway_http::{Gate, Origin, Secrets, document_field};
use causeway_storage::{Error, ErrorKind, OpenError, Problem, Secret, Settings, Value};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::Way;
use super::oauth::OauthWay;
use super::session::SessionWay;
use crate::backend::Backend;
use crate::bindings::exports::causeway::provider::setup;
use crate::convert;

/// An OAuth client that the operator registered with a provider.
#[derive(Clone, Debug)]
pub struct OauthClient {
    /// Its public id.
    pub id: String,
    /// Its secret, where it has one.
    pub secret: Option<Secret>,
}

/// The operator's clients by the provider's name.
pub type OauthClients = BTreeMap<String, OauthClient>;

/// The addresses that a tenant may set, with an OAuth client of its own.
pub(crate) const ADDRESSES: [&str; 2] = ["auth_url", "token_url"];

/// What a way is made for.
pub(crate) struct Making<'a> {
    pub(crate) backend: &'a Backend,
    pub(crate) gate: &'a Arc<Gate>,
    pub(crate) origins: Vec<Origin>,
    /// The operator's client for this provider.
    pub(crate) operators: Option<&'a OauthClient>,
}

impl Making<'_> {
    /// The way that a configured backend asks for.
    pub(crate) fn way(self, traits: &setup::Traits) -> Result<Way, OpenError> {
        Ok(match &traits.signing_in {
            setup::SigningIn::Configured => Way::Configured,
            setup::SigningIn::Session(ms) => {
                let settings = fingerprint(&self.backend.settings);
                Way::Session(SessionWay::new(Duration::from_millis(u64::from(*ms)), settings))
            }
            setup::SigningIn::Oauth(asked) => Way::Oauth(Box::new(self.oauth(asked)?)),
        })
    }

    fn oauth(self, asked: &setup::Oauth) -> Result<OauthWay, OpenError> {
        let (client, own) = self.client(&asked.grant)?;
        let mut origins = self.origins.clone();
        let mut address = |name: &str, theirs: &str| -> Result<String, OpenError> {
            let given = given_text(&self.backend.settings, name).filter(|url| !url.is_empty());
            let Some(url) = given else { return Ok(theirs.to_owned()) };
            if !own {
                let message = "counts only together with an OAuth client of your own: give client_id, too";
                return Err(OpenError::Settings(vec![Problem::new(name, message)]));
            }
            let origin = Origin::of_endpoint(&url, false);
            origins.push(origin.map_err(|error| OpenError::Settings(vec![Problem::new(name, error.message)]))?);
            Ok(url)
        };
        let authorize_url = address("auth_url", &asked.authorize_url)?;
        let token_url = address("token_url", &asked.token_url)?;
        let oauth = Oauth {
            grant: self.grant(&asked.grant)?,
            client: client.clone(),
            authorize_url,
            token_url,
            scopes: asked.scopes.clone(),
            scope_separator: asked.scope_separator.clone(),
            parameters: asked.parameters.clone(),
            client_in_form: asked.client_in_form,
            pkce: asked.pkce,
        };
        let brought = self.backend.settings.secret("token");
        let tokens = brought.map(|kept| {
            let wrong = "is not a token as other programs keep it: JSON with access_token, refresh_token and expiry";
            Tokens::from_json(kept.expose()).ok_or_else(|| OpenError::Settings(vec![Problem::new("token", wrong)]))
        });
        let brought_bytes = brought.map_or(&b""[..], Secret::expose);
        let secret = client.secret.as_ref().map_or(&b""[..], Secret::expose);
        let Backend { tenant, id, .. } = self.backend;
        Ok(OauthWay {
            origin: hash(&[client.id.as_bytes(), brought_bytes]),
            client: hash(&[client.id.as_bytes(), secret]),
            authority: Authority::new(self.gate, tenant, id, origins, oauth)?,
            brought: tokens.transpose()?,
            current: Default::default(),
        })
    }

    /// The client, and whether it is the tenant's own.
    fn client(&self, grant: &setup::OauthGrant) -> Result<(Client, bool), OpenError> {
        let settings = &self.backend.settings;
        if let Some(id) = given_text(settings, "client_id").filter(|id| !id.is_empty()) {
            let secret = given_text(settings, "client_secret").filter(|secret| !secret.is_empty()).map(Secret::new);
            return Ok((Client { id, secret }, true));
        }
        match (self.operators, grant) {
            (Some(client), _) => Ok((Client { id: client.id.clone(), secret: client.secret.clone() }, false)),
            // It signs for itself.
            (None, setup::OauthGrant::ServiceAccount(_)) => Ok((Client { id: String::new(), secret: None }, false)),
            (None, _) => {
                let message = format!(
                    "is missing: give client_id and client_secret of an OAuth client of your own, or let the operator set \
                     client_id and client_secret in [oauth.{}] of the server's configuration",
                    self.backend.provider
                );
                Err(OpenError::Settings(vec![Problem::new("client_id", message)]))
            }
        }
    }

    fn grant(&self, asked: &setup::OauthGrant) -> Result<Grant, OpenError> {
        Ok(match asked {
            setup::OauthGrant::Consent => Grant::Consent,
            setup::OauthGrant::Device(url) => Grant::Device(url.clone()),
            setup::OauthGrant::ClientCredentials => Grant::ClientCredentials,
            setup::OauthGrant::ServiceAccount(account) => Grant::ServiceAccount {
                key: self.secret(&convert::secret_ref(account.key.clone()))?,
                subject: account.subject.clone(),
            },
            setup::OauthGrant::Password((user, password)) => {
                Grant::Password { user: user.clone(), password: self.secret(&convert::secret_ref(password.clone()))? }
            }
        })
    }

    fn secret(&self, wanted: &SecretRef) -> Result<Secret, OpenError> {
        let whole = self.backend.slots.get(&wanted.name);
        let found = match &wanted.field {
            None => whole,
            Some(field) => whole.and_then(|whole| document_field(&whole, field)),
        };
        found.ok_or_else(|| OpenError::Settings(vec![Problem::new(&wanted.name, "is needed to sign in")]))
    }
}

/// A text that was given, secret or not.
fn given_text(settings: &Settings, name: &str) -> Option<String> {
    match settings.get(name)? {
        Value::Text(text) => Some(text.clone()),
        Value::Secret(secret) => String::from_utf8(secret.expose().to_vec()).ok(),
        _ => None,
    }
}

/// Names settings without telling them.
fn fingerprint(settings: &Settings) -> String {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    for (name, value) in settings.iter() {
        parts.push(name.as_bytes().to_vec());
        parts.push(match value {
            Value::Secret(secret) => secret.expose().to_vec(),
            // Nothing else hides what it is.
            other => format!("{other:?}").into_bytes(),
        });
    }
    hash(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// Of all parts, each with its length, so that none can pass for another.
fn hash(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    HEXLOWER.encode(&hasher.finalize())
}

/// A code that came back for a consent that was begun towards someone else.
pub(crate) fn another_issuer() -> Error {
    let message = "the consent was begun with another client or other addresses; begin anew";
    Error::new(ErrorKind::PreconditionFailed, message)
}
