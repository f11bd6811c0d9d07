//! `POST /api/v1/backends/{provider}`: connects a backend. Nothing is stored before the provider has answered a probe.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use causeway_registry::{BackendId, BackendName, Error as RegistryError, NewBackend, Tenant};
use causeway_storage::{Descriptor, ErrorKind, OpenError, OptionMarks, Problem, Provider, Settings, Storage};
use serde::Serialize;
use serde_json::{Map, Value};
use std::sync::Arc;
use utoipa::ToSchema;

use crate::answers::{Made, connected_message, family};
use crate::auth::Caller;
use crate::error::{ApiError, ApiResult, ErrorAnswer};
use crate::request::{Segment, object};
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
    let stored = probe_and_store(&api, &tenant, provider, new.clone()).await;
    if stored.is_err() {
        api.backends.forget(&tenant, &new.id).await;
    }
    stored?;
    let data = Connected {
        id: new.id.to_string(),
        family: family(descriptor).to_owned(),
        backend_type: descriptor.backend_type().to_owned(),
        mount_paths: Vec::new(),
    };
    Ok((StatusCode::CREATED, Json(Made { success: true, message: connected_message(descriptor), data })))
}

async fn probe_and_store(
    api: &Api,
    tenant: &Tenant,
    provider: &Arc<dyn Provider>,
    mut new: NewBackend,
) -> ApiResult<()> {
    let trial = async {
        let storage = open(api, tenant, &new.id, provider, new.settings.clone()).await?;
        storage.probe().await.map_err(connection_failed)
    };
    let identity = tokio::time::timeout(limits::PROBE, trial).await.map_err(|_| {
        ApiError::invalid(
            "CONNECTION_FAILED",
            format!("The provider did not answer within {} s", limits::PROBE.as_secs()),
        )
    })??;
    new.account = identity.account;
    match api.registry.create_backend(tenant, &new).await {
        Ok(_) => Ok(()),
        Err(RegistryError::Taken) => Err(name_taken()),
        Err(error) => Err(error.into()),
    }
}

/// Opens settings on trial; what cannot be opened is the client's to mend.
pub(crate) async fn open(
    api: &Api,
    tenant: &Tenant,
    id: &BackendId,
    provider: &Arc<dyn Provider>,
    settings: Settings,
) -> ApiResult<Arc<dyn Storage>> {
    api.backends.try_open(tenant, id, provider, settings).await.map_err(|error| match error {
        OpenError::Settings(problems) => ApiError::problems(&problems),
        OpenError::Failed(error) => connection_failed(error),
    })
}

fn connection_failed(error: causeway_storage::Error) -> ApiError {
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
