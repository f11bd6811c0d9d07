//! `POST /api/v1/backends/{provider}`: connects a backend. Nothing is stored before the provider has answered a probe, or
//! said that a person must act first.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use causeway_registry::{BackendId, BackendName, Error as RegistryError, NewBackend, Tenant};
use causeway_storage::{Act, Descriptor, ErrorKind, OpenError, OptionMarks, Problem, Provider, Settings, SignIn};
use serde::Serialize;
use serde_json::{Map, Value};
use std::sync::Arc;
use utoipa::ToSchema;

use crate::answers::{Made, connected_message, family};
use crate::auth::Caller;
use crate::callback::redirect_uri;
use crate::error::{ApiError, ApiResult, ErrorAnswer};
use crate::request::{Segment, object};
use crate::sign_in::{Asked, asked};
use crate::{Api, api_default, limits};

/// A connected backend.
#[derive(Serialize, ToSchema)]
pub(crate) struct Connected {
    /// 16 hex digits.
    id: String,
    /// The provider's own name, `object_storage` or `backend`.
    #[serde(rename = "type")]
    family: String,
    backend_type: String,
    mount_paths: Vec<String>,
    /// Absent if it is at once; false if a person must act first.
    #[serde(skip_serializing_if = "Option::is_none")]
    connected: Option<bool>,
    #[serde(flatten)]
    asked: Asked,
}

impl Connected {
    fn new(descriptor: &Descriptor, id: &BackendId, asked: Option<Asked>) -> Connected {
        Connected {
            id: id.to_string(),
            family: family(descriptor).to_owned(),
            backend_type: descriptor.backend_type().to_owned(),
            mount_paths: Vec::new(),
            connected: asked.as_ref().map(|_| false),
            asked: asked.unwrap_or_default(),
        }
    }

    /// What a step of signing in answers, which always says whether it was the last.
    pub(crate) fn after_sign_in(descriptor: &Descriptor, id: &BackendId, asked: Option<Asked>) -> Connected {
        Connected { connected: Some(asked.is_none()), ..Connected::new(descriptor, id, asked) }
    }
}

/// Connect a backend. The body holds the provider's options as `GET /api/v1/providers` lists them, and optionally `name`.
#[utoipa::path(
    post, path = "/api/v1/backends/{id}", tag = "backends",
    params(("id" = String, Path, description = "The provider's name, as in GET /api/v1/providers")),
    request_body(content = Object, description = "The provider's options, and optionally `name`"),
    responses(
        (status = 201, body = Made<Connected>), (status = 400, body = ErrorAnswer), (status = 404, body = ErrorAnswer),
        (status = 409, body = ErrorAnswer), (status = 413, body = ErrorAnswer), (status = 415, body = ErrorAnswer),
    )
)]
pub(crate) async fn connect(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Segment(provider): Segment,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<(StatusCode, Json<Made<Connected>>)> {
    let provider = api.catalog.get(&provider).ok_or_else(|| {
        ApiError::new(StatusCode::NOT_FOUND, "PROVIDER_NOT_FOUND", "There is no provider of this name")
    })?;
    let descriptor = provider.descriptor();
    let given = object(&headers, body, limits::CONNECT_BYTES).await?;
    let (name, settings) = parse(descriptor, given).map_err(|problems| ApiError::problems(&problems))?;
    if let Some(name) = &name
        && api.registry.backend_by_name(&tenant, name).await?.is_some()
    {
        return Err(name_taken());
    }
    let id = BackendId::random()?;
    let new = NewBackend { id, provider: descriptor.name.clone(), name, settings, account: None, connected: true };
    let stored = try_and_store(&api, &tenant, provider, new.clone()).await;
    if stored.is_err() {
        api.backends.forget(&tenant, &new.id).await;
    }
    let asked = stored?;
    let message = match &asked {
        None => connected_message(descriptor),
        Some(_) => "Backend stored; a person must act before it is connected".to_owned(),
    };
    let data = Connected::new(descriptor, &new.id, asked);
    Ok((StatusCode::CREATED, Json(Made { success: true, message, data })))
}

/// Stores a backend that works, or one that will when a person has done what is asked.
async fn try_and_store(
    api: &Api,
    tenant: &Tenant,
    provider: &Arc<dyn Provider>,
    mut new: NewBackend,
) -> ApiResult<Option<Asked>> {
    let trial = api.backends.trial(tenant, &new.id, provider, new.settings.clone());
    let trying = async {
        let wanted = trial.sign_in(Act::Try).await.map_err(not_opened)?;
        if !matches!(wanted, SignIn::Ready | SignIn::ReadyWith(_)) {
            return Ok::<_, ApiError>((wanted, None));
        }
        let storage = trial.open().await.map_err(not_opened)?;
        Ok((wanted, Some(storage.probe().await.map_err(connection_failed)?)))
    };
    let (wanted, identity) = tokio::time::timeout(limits::PROBE, trying).await.map_err(|_| {
        ApiError::invalid(
            "CONNECTION_FAILED",
            format!("The provider did not answer within {} s", limits::PROBE.as_secs()),
        )
    })??;
    if matches!(wanted, SignIn::Consent { .. }) {
        // Before anything is stored: without it there is no way to go on.
        redirect_uri(api)?;
    }
    new.connected = identity.is_some();
    new.account = identity.and_then(|identity| identity.account);
    match api.registry.create_backend(tenant, &new).await {
        Ok(_) => {}
        Err(RegistryError::Taken) => return Err(name_taken()),
        Err(error) => return Err(error.into()),
    }
    let kept = match trial.keep().await {
        Ok(()) => asked(api, tenant, &new.id, trial.as_ref(), &wanted).await,
        Err(error) => Err(ApiError::storage(error)),
    };
    if kept.is_err() {
        api.registry.delete_backend(tenant, &new.id).await?;
    }
    kept
}

/// What cannot be opened is the client's to mend.
pub(crate) fn not_opened(error: OpenError) -> ApiError {
    match error {
        OpenError::Settings(problems) => ApiError::problems(&problems),
        OpenError::Failed(error) => connection_failed(error),
    }
}

pub(crate) fn connection_failed(error: causeway_storage::Error) -> ApiError {
    match error.kind {
        ErrorKind::Internal => ApiError::internal(format!("{error:?}")),
        _ => {
            tracing::info!(?error, "a backend could not be connected");
            ApiError::invalid("CONNECTION_FAILED", error.message)
        }
    }
}

fn name_taken() -> ApiError {
    ApiError::conflict("NAME_TAKEN", "Another backend has this name")
}

/// Parses a connect body: `name`, which every provider takes, and the provider's options. Every wrong field at once.
fn parse(
    descriptor: &Descriptor,
    mut given: Map<String, Value>,
) -> Result<(Option<BackendName>, Settings), Vec<Problem>> {
    let mut problems = Vec::new();
    let name = match given.remove("name") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if text.is_empty() => None,
        Some(value) => {
            let name = value.as_str().and_then(BackendName::parse);
            if name.is_none() {
                problems.push(Problem::new(
                    "name",
                    "must be 1 to 63 letters, digits and _ . + @ - or spaces, begin with a letter or digit, and not be 16 hex digits",
                ));
            }
            name
        }
    };
    for option in descriptor.options.iter().filter(|option| option.marks.contains(OptionMarks::MACHINE)) {
        let harmless = |value: &Value| value.is_null() || *value == "" || *value == api_default(option);
        if given.get(&option.name).is_some_and(|value| !harmless(value)) {
            problems.push(Problem::new(
                &option.name,
                "is not allowed: it names files or the identity of the server, not of the account",
            ));
        }
    }
    match Settings::parse(&descriptor.options, &given) {
        Ok(settings) if problems.is_empty() => Ok((name, settings)),
        Ok(_) => Err(problems),
        Err(mut more) => {
            problems.append(&mut more);
            Err(problems)
        }
    }
}
