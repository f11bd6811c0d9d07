//! What a person must do before a backend can be used, and `POST /api/v1/backends/{id}/authorize`, where they say that
//! they did.
//!
//! A consent is taken only here, with the tenant's own token: what the provider sends back to the browser grants nothing by
//! itself (`callback`). What came of it is tried before it is stored: another account is refused, and what worked goes on
//! working.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use causeway_registry::{Backend, BackendId, NewCredentials, Tenant};
use causeway_storage::{
    Act, ConsentRequest, Error, ErrorKind, Make, OpenError, Problem, Provider, Secret, Settings, SignIn,
};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::answers::{Made, connected_message};
use crate::auth::Caller;
use crate::backends::find;
use crate::callback::redirect_uri;
use crate::connect::{Connected, connection_failed};
use crate::credentials::{changed_meanwhile, check_same_account, provider_of};
use crate::error::{ApiError, ApiResult, ErrorAnswer};
use crate::request::{Segment, object};
use crate::{Api, Trial, limits};

/// What a person must do.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Asked {
    /// Why the backend cannot be used, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Where to consent, in a browser; works once, for ten minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    authorize_url: Option<String>,
    /// What to type on another device.
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<Device>,
    /// What to answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    question: Option<Question>,
}

/// A code to be typed on another device.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Device {
    /// Where.
    url: String,
    /// The code.
    code: String,
    /// For how many seconds it can be typed.
    expires_in: u64,
}

/// A question to be answered.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Question {
    /// For a person.
    prompt: String,
    /// Whether an answer is typed in, or given elsewhere.
    typed: bool,
}

impl Asked {
    /// Nothing is asked, but this is why it does not work.
    pub(crate) fn failed(error: &Error) -> Asked {
        Asked { reason: Some(error.message.clone()), ..Asked::default() }
    }
}

/// What a person must do, as the answer says it; none if nothing. A consent is begun for it.
pub(crate) async fn asked(
    api: &Api,
    tenant: &Tenant,
    id: &BackendId,
    trial: &dyn Trial,
    wanted: &SignIn,
) -> ApiResult<Option<Asked>> {
    Ok(Some(match wanted {
        SignIn::Ready | SignIn::ReadyWith(_) => return Ok(None),
        SignIn::Consent { reason, issuer } => {
            let redirect_uri = redirect_uri(api)?;
            let begun = api.registry.begin_consent(tenant, id, issuer).await?;
            let request = ConsentRequest {
                redirect_uri,
                state: begun.state.to_string(),
                verifier: Secret::new(begun.verifier.as_bytes()),
            };
            let url = trial.consent_url(request).await.map_err(refused)?;
            Asked { reason: Some(reason.clone()), authorize_url: Some(url), ..Asked::default() }
        }
        SignIn::Device { url, code, expires_s } => {
            let device = Device { url: url.clone(), code: code.clone(), expires_in: *expires_s };
            Asked { device: Some(device), ..Asked::default() }
        }
        SignIn::Question { prompt, typed } => {
            Asked { question: Some(Question { prompt: prompt.clone(), typed: *typed }), ..Asked::default() }
        }
    }))
}

/// What is asked of a stored backend that does not work, as far as that can be told soon.
pub(crate) async fn asked_of_stored(api: &Api, tenant: &Tenant, backend: &Backend) -> Asked {
    let Some(provider) = api.catalog.get(&backend.provider).filter(|one| one.descriptor().make == Make::Guest) else {
        return Asked::default();
    };
    let trial = api.backends.trial(tenant, &backend.id, provider, backend.settings.clone());
    let looking = async {
        let wanted = trial.sign_in(Act::Look).await.map_err(refused)?;
        let asked = asked(api, tenant, &backend.id, trial.as_ref(), &wanted).await?;
        // A code that was asked for, or the answer to one, must not be lost.
        trial.keep().await.map_err(ApiError::storage)?;
        Ok::<_, ApiError>(asked)
    };
    match tokio::time::timeout(limits::LOOK, looking).await {
        Ok(Ok(asked)) => asked.unwrap_or_default(),
        Ok(Err(error)) => Asked { reason: Some(error.message().to_owned()), ..Asked::default() },
        Err(_) => Asked::failed(&Error::new(ErrorKind::Unavailable(None), "the provider does not answer")),
    }
}

/// Tells the provider that a backend leaves, at most for a few seconds. Nothing depends on it.
pub(crate) async fn leave(api: &Api, tenant: &Tenant, backend: &Backend) {
    let Some(provider) = api.catalog.get(&backend.provider).filter(|one| one.descriptor().make == Make::Guest) else {
        return;
    };
    let trial = api.backends.trial(tenant, &backend.id, provider, backend.settings.clone());
    match tokio::time::timeout(limits::LEAVE, trial.sign_in(Act::Leave)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::info!(?error, backend = %backend.id, "a session could not be ended"),
        Err(_) => tracing::info!(backend = %backend.id, "a session was not ended in time"),
    }
}

/// Say that a person consented (`state` and `code`, as the page after the consent shows them), answered (`answer`), or did
/// elsewhere what was asked (an empty object).
#[utoipa::path(
    post, path = "/api/v1/backends/{id}/authorize", tag = "backends",
    params(("id" = String, Path, description = "The backend's id")),
    request_body(content = Object, description = "`state` and `code` (and `parameters`), or `answer`, or nothing"),
    responses(
        (status = 200, body = Made<Connected>), (status = 400, body = ErrorAnswer), (status = 404, body = ErrorAnswer),
        (status = 409, body = ErrorAnswer), (status = 413, body = ErrorAnswer), (status = 422, body = ErrorAnswer),
    )
)]
pub(crate) async fn authorize(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Segment(id): Segment,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Json<Made<Connected>>> {
    let backend = find(&api, &tenant, &id).await?;
    let provider = provider_of(&api, &backend)?;
    let given = parse(&object(&headers, body, limits::CREDENTIAL_BYTES).await?)?;
    let act = act(&api, &tenant, &backend.id, given).await?;
    let mut trial = api.backends.trial(&tenant, &backend.id, provider, backend.settings.clone());
    let wanted = tokio::time::timeout(limits::PROBE, trial.sign_in(act)).await.map_err(|_| late())?;
    let wanted = wanted.map_err(refused)?;
    let asked = asked(&api, &tenant, &backend.id, trial.as_ref(), &wanted).await?;
    if let Some(asked) = asked {
        trial.keep().await.map_err(ApiError::storage)?;
        return Ok(answer(provider, &backend, Some(asked)));
    }
    let settings = match wanted {
        SignIn::ReadyWith(settings) => settings,
        _ => backend.settings.clone(),
    };
    trial.set_settings(settings.clone());
    take_over(&api, &tenant, &backend, trial, settings).await?;
    Ok(answer(provider, &backend, None))
}

/// Tries what a person brought about, and stores it.
async fn take_over(
    api: &Api,
    tenant: &Tenant,
    backend: &Backend,
    trial: Box<dyn Trial>,
    settings: Settings,
) -> ApiResult<()> {
    let probing = async {
        let storage = trial.open().await.map_err(refused)?;
        storage.probe().await.map_err(connection_failed)
    };
    let identity = tokio::time::timeout(limits::PROBE, probing).await.map_err(|_| late())??;
    check_same_account(backend, &identity)?;
    // The grant first: it cannot be had again.
    trial.keep().await.map_err(ApiError::storage)?;
    let new = NewCredentials {
        settings,
        account: identity.account.or_else(|| backend.account.clone()),
        another_account: None,
        based_on: backend.credential_generation,
    };
    if !api.registry.change_credentials(tenant, &backend.id, &new).await? {
        return Err(changed_meanwhile(api, tenant, backend).await?);
    }
    api.backends.changed(tenant, &backend.id).await;
    Ok(())
}

fn answer(provider: &Arc<dyn Provider>, backend: &Backend, asked: Option<Asked>) -> Json<Made<Connected>> {
    let descriptor = provider.descriptor();
    let message = match &asked {
        None => connected_message(descriptor),
        Some(_) => "Backend waits for a person".to_owned(),
    };
    Json(Made { success: true, message, data: Connected::after_sign_in(descriptor, &backend.id, asked) })
}

/// What a client said.
enum Given {
    Code { state: String, code: String, parameters: Vec<(String, String)> },
    Answer(Option<String>),
}

/// The longest text in an answer, in bytes: codes of some providers are long.
const TEXT_BYTES: usize = 8 << 10;

/// Parses a body; every wrong field at once.
fn parse(given: &Map<String, Value>) -> ApiResult<Given> {
    let mut problems = Vec::new();
    let mut text = |name: &'static str| match given.get(name) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if !text.is_empty() && text.len() <= TEXT_BYTES => Some(text.clone()),
        Some(_) => {
            problems.push(Problem::new(name, "must be a string of 1 to 8192 bytes"));
            None
        }
    };
    let (state, code, answer) = (text("state"), text("code"), text("answer"));
    let mut parameters = Vec::new();
    match given.get("parameters") {
        None | Some(Value::Null) => {}
        Some(Value::Object(object)) if object.values().all(Value::is_string) => {
            let texts = object.iter().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
            parameters.extend(texts);
        }
        Some(_) => problems.push(Problem::new("parameters", "must be an object of strings")),
    }
    for name in given.keys().filter(|name| !["state", "code", "parameters", "answer"].contains(&name.as_str())) {
        problems.push(Problem::new(name, "is not expected here"));
    }
    let there = |name: &str| given.get(name).is_some_and(|value| !value.is_null());
    for (name, other) in [("state", "code"), ("code", "state")] {
        if there(other) && !there(name) {
            problems.push(Problem::new(name, format!("is required with {other}")));
        }
    }
    if there("answer") && (there("state") || there("code")) {
        problems.push(Problem::new("answer", "does not go together with state and code"));
    }
    if !problems.is_empty() {
        return Err(ApiError::problems(&problems));
    }
    Ok(match (state, code) {
        (Some(state), Some(code)) => Given::Code { state, code, parameters },
        _ => Given::Answer(answer),
    })
}

async fn act(api: &Api, tenant: &Tenant, id: &BackendId, given: Given) -> ApiResult<Act> {
    let (state, code, parameters) = match given {
        Given::Answer(answer) => return Ok(Act::Answer(answer.map(Secret::new))),
        Given::Code { state, code, parameters } => (state, code, parameters),
    };
    let redirect_uri = redirect_uri(api)?;
    let consent = api.registry.take_consent(tenant, id, &state).await?.ok_or_else(|| {
        let message = "This consent is unknown, was taken before, or is older than ten minutes; begin anew";
        ApiError::invalid("CONSENT_INVALID", message)
    })?;
    let verifier = Secret::new(consent.verifier.as_bytes());
    Ok(Act::Code { code: Secret::new(code), parameters, redirect_uri, verifier, issuer: consent.issuer })
}

fn refused(error: OpenError) -> ApiError {
    match error {
        OpenError::Settings(problems) => ApiError::problems(&problems),
        OpenError::Failed(error) => match error.kind {
            ErrorKind::PreconditionFailed => ApiError::invalid("CONSENT_INVALID", error.message),
            ErrorKind::Unauthenticated | ErrorKind::Denied | ErrorKind::Invalid => {
                tracing::info!(?error, "signing in was refused");
                ApiError::invalid("SIGN_IN_REFUSED", error.message)
            }
            _ => connection_failed(error),
        },
    }
}

fn late() -> ApiError {
    let message = format!("The provider did not answer within {} s", limits::PROBE.as_secs());
    ApiError::invalid("CONNECTION_FAILED", message)
}
