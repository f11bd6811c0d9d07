//! `GET` and `DELETE` of backends, and their test.

use axum::Json;
use axum::extract::State;
use causeway_registry::{Backend, BackendId, Error as RegistryError, Mount, MountsWanted, Tenant};
use causeway_storage::{Make, Value as Setting};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answers::{Done, iso, server, user};
use crate::auth::Caller;
use crate::error::{ApiError, ApiResult, ErrorAnswer};
use crate::request::{Segment, Wish};
use crate::sign_in::{Asked, asked_of_stored, leave};
use crate::{Api, State as MountState, limits};

/// All backends of a tenant.
#[derive(Serialize, ToSchema)]
pub(crate) struct BackendList {
    backends: Vec<BackendAnswer>,
    count: usize,
}

/// A backend.
#[derive(Serialize, ToSchema)]
pub(crate) struct BackendAnswer {
    /// 16 hex digits.
    id: String,
    backend_type: String,
    /// The type and its flavour: `s3:aws`, `s3:generic`.
    server: String,
    /// The user's name at the provider, if one was given.
    user: String,
    /// Whether the last use or probe succeeded.
    connected: bool,
    /// Where it is mounted at the moment.
    mount_paths: Vec<String>,
    /// ISO 8601.
    created_at: String,
    /// ISO 8601; appears after the first use.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used: Option<String>,
    /// What remotes may call it, if it was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// What a person must do, if it is not connected for want of that; not in the list.
    #[serde(flatten)]
    asked: Asked,
}

/// How a test went.
#[derive(Serialize, ToSchema)]
pub(crate) struct Tested {
    success: bool,
    message: String,
}

/// All backends.
#[utoipa::path(get, path = "/api/v1/backends", tag = "backends", responses((status = 200, body = BackendList)))]
pub(crate) async fn list(State(api): State<Api>, Caller(tenant): Caller) -> ApiResult<Json<BackendList>> {
    let mounts = api.registry.mounts(&tenant, MountsWanted::All).await?;
    let backends = api.registry.backends(&tenant).await?;
    let backends: Vec<_> = backends
        .into_iter()
        // The list never shows when something was last used; the page of one does.
        .map(|backend| BackendAnswer { last_used: None, ..answer(&api, &tenant, backend, &mounts) })
        .collect();
    Ok(Json(BackendList { count: backends.len(), backends }))
}

/// One backend.
#[utoipa::path(
    get, path = "/api/v1/backends/{id}", tag = "backends", params(("id" = String, Path, description = "The backend's id")),
    responses((status = 200, body = BackendAnswer), (status = 404, body = ErrorAnswer))
)]
pub(crate) async fn get(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Segment(id): Segment,
) -> ApiResult<Json<BackendAnswer>> {
    let backend = find(&api, &tenant, &id).await?;
    let mounts = api.registry.mounts(&tenant, MountsWanted::Backend(&backend.id)).await?;
    let shown = answer(&api, &tenant, backend.clone(), &mounts);
    let asked = match shown.connected {
        true => Asked::default(),
        false => asked_of_stored(&api, &tenant, &backend).await,
    };
    Ok(Json(BackendAnswer { asked, ..shown }))
}

/// Probe a backend. The answer is 200 whether or not the probe succeeds.
#[utoipa::path(
    get, path = "/api/v1/backends/{id}/test", tag = "backends", params(("id" = String, Path, description = "The backend's id")),
    responses((status = 200, body = Tested), (status = 404, body = ErrorAnswer))
)]
pub(crate) async fn test(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Segment(id): Segment,
) -> ApiResult<Json<Tested>> {
    let backend = find(&api, &tenant, &id).await?;
    let probed = tokio::time::timeout(limits::PROBE, api.backends.probe(&tenant, &backend.id)).await;
    let tested = match probed {
        Ok(Ok(_)) => Tested { success: true, message: "Connection successful".into() },
        Ok(Err(error)) => {
            tracing::info!(?error, backend = %backend.id, "a probe failed");
            Tested { success: false, message: format!("Connection failed: {}", error.message) }
        }
        Err(_) => {
            let message =
                format!("Connection failed: the provider did not answer within {} s", limits::PROBE.as_secs());
            Tested { success: false, message }
        }
    };
    Ok(Json(tested))
}

/// How to disconnect.
#[derive(Deserialize)]
pub(crate) struct How {
    /// Move what is not uploaded yet to `lost+found` and disconnect.
    #[serde(default)]
    discard_pending: bool,
}

/// Disconnect a backend.
#[utoipa::path(
    delete, path = "/api/v1/backends/{id}", tag = "backends",
    params(
        ("id" = String, Path, description = "The backend's id"),
        ("discard_pending" = Option<bool>, Query, description = "Move what is not uploaded yet to lost+found and disconnect"),
    ),
    responses((status = 200, body = Done), (status = 404, body = ErrorAnswer), (status = 409, body = ErrorAnswer))
)]
pub(crate) async fn delete(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Segment(id): Segment,
    Wish(how): Wish<How>,
) -> ApiResult<Json<Done>> {
    let backend = find(&api, &tenant, &id).await?;
    let mounts = api.registry.mounts(&tenant, MountsWanted::Backend(&backend.id)).await?;
    if mounts.iter().any(|mount| !mount.removing) {
        return Err(ApiError::conflict("ACTIVE_MOUNTS", "Backend has active mounts; unmount first"));
    }
    if let Some(other) = wrappers(&api, &tenant, &backend).await?.first() {
        let message = format!("Backend {} stands on this one; disconnect that first", other.id);
        return Err(ApiError::conflict("BACKEND_IN_USE", message));
    }
    let pending = api.backends.pending(&tenant, &backend.id).await.map_err(ApiError::storage)?;
    let mut message = "Backend disconnected".to_owned();
    if !pending.is_empty() {
        if !how.discard_pending {
            let message = format!(
                "Backend has {} uploads pending ({} bytes); wait for them, or repeat with discard_pending=true",
                pending.files, pending.bytes
            );
            return Err(ApiError::conflict("PENDING_UPLOADS", message));
        }
        let place = api.backends.discard(&tenant, &backend.id).await.map_err(ApiError::storage)?;
        message = format!("Backend disconnected; what was not uploaded lies in {place}");
    }
    leave(&api, &tenant, &backend).await;
    for mount in mounts {
        api.registry.delete_mount(&tenant, &mount.id).await?;
    }
    match api.registry.delete_backend(&tenant, &backend.id).await {
        Ok(true) => {}
        Ok(false) => return Err(ApiError::backend_not_found()),
        Err(RegistryError::InUse) => {
            return Err(ApiError::conflict("ACTIVE_MOUNTS", "Backend has active mounts; unmount first"));
        }
        Err(error) => return Err(error.into()),
    }
    api.backends.forget(&tenant, &backend.id).await;
    Ok(Json(Done::new(message)))
}

/// The tenant's backend of this id. What is no id, what is not there and what is another's are one answer.
pub(crate) async fn find(api: &Api, tenant: &Tenant, id: &str) -> ApiResult<Backend> {
    let id = BackendId::parse(id).ok_or_else(ApiError::backend_not_found)?;
    api.registry.backend(tenant, &id).await?.ok_or_else(ApiError::backend_not_found)
}

fn answer(api: &Api, tenant: &Tenant, backend: Backend, mounts: &[Mount]) -> BackendAnswer {
    let descriptor = api.catalog.get(&backend.provider).map(|provider| provider.descriptor());
    let active = |mount: &&Mount| {
        mount.backend == backend.id && api.mounts.status(tenant, &mount.id).state == MountState::Active
    };
    let live = api.backends.last_use(tenant, &backend.id);
    let last_used = live.and_then(|live| live.at).max(backend.last_used);
    BackendAnswer {
        id: backend.id.to_string(),
        backend_type: descriptor.map_or(backend.provider.as_str(), |descriptor| descriptor.backend_type()).to_owned(),
        server: descriptor
            .map_or_else(|| format!("{}:generic", backend.provider), |descriptor| server(descriptor, &backend)),
        user: user(&backend).to_owned(),
        connected: live.map_or(backend.connected, |live| live.succeeded) && descriptor.is_some(),
        mount_paths: mounts.iter().filter(active).map(|mount| mount.path.clone()).collect(),
        created_at: iso(backend.created_at),
        last_used: last_used.map(iso),
        name: backend.name.map(|name| name.as_str().to_owned()),
        asked: Asked::default(),
    }
}

/// The wrappers of this tenant over a backend, directly or over others of them.
pub(crate) async fn wrappers(api: &Api, tenant: &Tenant, backend: &Backend) -> ApiResult<Vec<Backend>> {
    let mut others = api.registry.backends(tenant).await?;
    others.retain(|other| {
        let provider = api.catalog.get(&other.provider);
        other.id != backend.id && provider.is_none_or(|provider| provider.descriptor().make == Make::Wrapper)
    });
    let mut over: Vec<Backend> = Vec::new();
    let mut looked_at = 0;
    let mut below = Some(backend.clone());
    while let Some(one) = below {
        let (found, rest) = others.into_iter().partition(|other| stands_on(other, &one));
        others = rest;
        let found: Vec<Backend> = found;
        over.extend(found);
        below = over.get(looked_at).cloned();
        looked_at += 1;
    }
    Ok(over)
}

/// Whether a wrapper names a backend in one of its settings.
fn stands_on(wrapper: &Backend, backend: &Backend) -> bool {
    wrapper.settings.iter().any(|(_, value)| match value {
        Setting::Text(text) => names(text, backend),
        Setting::Several(texts) => texts.iter().any(|text| names(text, backend)),
        _ => false,
    })
}

/// Whether a setting holds a remote of this backend: its id or name before a colon, at the start of a word. A setting may
/// list several remotes, with names before them, quoted; when in doubt it does.
fn names(text: &str, backend: &Backend) -> bool {
    text.match_indices(':').any(|(colon, _)| {
        let before = text.get(..colon).unwrap_or_default();
        let ends_with = |name: &str| {
            before
                .strip_suffix(name)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with([' ', '=', '"', '\'', ',', '\t', '\n', '_']))
        };
        ends_with(backend.id.as_str()) || backend.name.as_ref().is_some_and(|name| ends_with(name.as_str()))
    })
}
