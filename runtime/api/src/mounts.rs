//! Mounts: list, one, create, change, remove. The registry says which are wanted, the door how they are.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use causeway_registry::{BackendId, Error as RegistryError, Mount, MountId, MountsWanted, Tenant};
use causeway_storage::{Problem, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::time::Duration;
use utoipa::ToSchema;

use crate::answers::{Done, Made};
use crate::auth::Caller;
use crate::error::{ApiError, ApiResult, ErrorAnswer};
use crate::request::{Segment, Wish, object};
use crate::vfs_config::{Shown, merge};
use crate::{Api, Condition, MountError, Pending, State as MountState, Status, VfsConfig, limits};

/// A tenant's mounts.
#[derive(Serialize, ToSchema)]
pub(crate) struct MountList {
    count: usize,
    mounts: Vec<MountAnswer>,
}

/// A mount.
#[derive(Serialize, ToSchema)]
pub(crate) struct MountAnswer {
    /// `mount_` and 32 hex digits.
    id: String,
    /// 16 hex digits.
    backend_id: String,
    label: Option<String>,
    mount_path: String,
    status: MountState,
    /// Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<i64>,
    /// Why it failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// A mount with how it caches and what is not uploaded yet.
#[derive(Serialize, ToSchema)]
pub(crate) struct MountDetails {
    #[serde(flatten)]
    mount: MountAnswer,
    vfs_config: Shown,
    /// Whether the kernel reads cached files by itself; absent while the mount does not stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    passthrough: Option<bool>,
    /// Why it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    passthrough_reason: Option<String>,
    /// Whether the provider is taken for reachable; absent while the mount does not stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    reachable: Option<bool>,
    /// Unix seconds, if it cannot be reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreachable_since: Option<i64>,
    /// Uploads of the backend that are pending; absent if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<PendingHere>,
}

/// What is not uploaded yet, and on which machine's disk it lies.
#[derive(Serialize, ToSchema)]
pub(crate) struct PendingHere {
    #[serde(flatten)]
    pending: Pending,
    node: String,
}

/// A mount that goes when its uploads are done.
#[derive(Serialize, ToSchema)]
pub(crate) struct Leaving {
    id: String,
    pending: PendingHere,
}

/// Which mounts.
#[derive(Deserialize)]
pub(crate) struct Which {
    label: Option<String>,
}

/// A tenant's mounts, all or those with one label.
#[utoipa::path(
    get, path = "/api/v1/mounts", tag = "mounts", params(("label" = Option<String>, Query, description = "Only mounts with exactly this label")),
    responses((status = 200, body = MountList))
)]
pub(crate) async fn list(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Wish(which): Wish<Which>,
) -> ApiResult<Json<MountList>> {
    let wanted = which.label.as_deref().map_or(MountsWanted::All, MountsWanted::Label);
    let mounts = api.registry.mounts(&tenant, wanted).await?;
    let mounts: Vec<_> = mounts.iter().map(|mount| answer(&api, &tenant, mount)).collect();
    Ok(Json(MountList { count: mounts.len(), mounts }))
}

/// One mount.
#[utoipa::path(
    get, path = "/api/v1/mounts/{id}", tag = "mounts", params(("id" = String, Path, description = "The mount's id")),
    responses((status = 200, body = MountDetails), (status = 404, body = ErrorAnswer))
)]
pub(crate) async fn get(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Segment(id): Segment,
) -> ApiResult<Json<MountDetails>> {
    let mount = find(&api, &tenant, &id).await?;
    let config = parsed(&mount)?;
    let pending = api.backends.pending(&tenant, &mount.backend).await.map_err(ApiError::storage)?;
    let condition = api.mounts.condition(&tenant, &mount.id);
    let stands = condition.is_some();
    let Condition { no_passthrough, unreachable_since } = condition.unwrap_or_default();
    Ok(Json(MountDetails {
        mount: answer(&api, &tenant, &mount),
        vfs_config: config.show(),
        passthrough: stands.then_some(no_passthrough.is_none()),
        passthrough_reason: no_passthrough,
        reachable: stands.then_some(unreachable_since.is_none()),
        unreachable_since: unreachable_since.map(|since| since.seconds),
        pending: (!pending.is_empty()).then(|| here(&api, pending)),
    }))
}

/// Mount a backend.
#[utoipa::path(
    post, path = "/api/v1/mounts", tag = "mounts",
    request_body(content = Object, description = "`backend_id`, and optionally `label`, `mount_path`, `vfs_config`"),
    responses(
        (status = 201, body = Made<MountAnswer>), (status = 400, body = ErrorAnswer), (status = 404, body = ErrorAnswer),
        (status = 409, body = ErrorAnswer),
    )
)]
pub(crate) async fn create(
    State(api): State<Api>,
    Caller(tenant): Caller,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<(StatusCode, Json<Made<MountAnswer>>)> {
    let given = object(&headers, body, limits::CONNECT_BYTES).await?;
    let wish = Wanted::parse(given).map_err(|problems| ApiError::problems(&problems))?;
    let backend = BackendId::parse(&wish.backend).ok_or_else(ApiError::backend_not_found)?;
    if api.registry.backend(&tenant, &backend).await?.is_none() {
        return Err(ApiError::backend_not_found());
    }
    let id = MountId::random()?;
    let path = api.mounts.place(&tenant, &id, wish.path.as_deref()).map_err(refused)?;
    let created_at = Timestamp { seconds: 0, nanoseconds: 0 };
    let mount = Mount { id, backend, label: wish.label, path, config: wish.config, removing: false, created_at };
    let mount = api.registry.create_mount(&tenant, &mount).await.map_err(|error| match error {
        RegistryError::Taken => in_use("The mount path is in use by another mount"),
        RegistryError::Missing => ApiError::backend_not_found(),
        error => error.into(),
    })?;
    let status = match api.mounts.mount(&tenant, &mount, &wish.parsed).await {
        Ok(status) => status,
        Err(error) => {
            api.registry.delete_mount(&tenant, &mount.id).await?;
            return Err(refused(error));
        }
    };
    let data = MountAnswer { created_at: None, ..show(&mount, status) };
    Ok((StatusCode::CREATED, Json(Made { success: true, message: "Mount created successfully".into(), data })))
}

/// Change how a mount caches, while it stands.
#[utoipa::path(
    patch, path = "/api/v1/mounts/{id}", tag = "mounts", params(("id" = String, Path, description = "The mount's id")),
    request_body(content = Object, description = "`vfs_config`: the fields to change; null restores a default"),
    responses((status = 200, body = Done), (status = 400, body = ErrorAnswer), (status = 404, body = ErrorAnswer))
)]
pub(crate) async fn update(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Segment(id): Segment,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Json<Done>> {
    let mut given = object(&headers, body, limits::CONNECT_BYTES).await?;
    // One at a time: each is merged into what the one before it left, and takes effect after it.
    static ORDER: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _turn = ORDER.lock().await;
    let mount = find(&api, &tenant, &id).await?;
    let mut problems = Vec::new();
    let set = match given.remove("vfs_config") {
        Some(Value::Object(set)) => set,
        found => {
            problems
                .push(Problem::new("vfs_config", if found.is_some() { "must be an object" } else { "is required" }));
            Map::new()
        }
    };
    problems.extend(given.keys().map(|name| Problem::new(name, "cannot be changed")));
    // What is set now is checked before it is merged: a null must not hide that its field does not exist.
    problems.extend(VfsConfig::parse(&set).err().unwrap_or_default());
    if !problems.is_empty() {
        return Err(ApiError::problems(&problems));
    }
    let merged = merge(&mount.config, &set);
    let config = VfsConfig::parse(&merged).map_err(|problems| ApiError::problems(&problems))?;
    let fixed = fixed(&parsed(&mount)?, &config);
    if !fixed.is_empty() {
        return Err(ApiError::problems(&fixed));
    }
    if !api.registry.configure_mount(&tenant, &mount.id, &merged).await? {
        return Err(ApiError::mount_not_found());
    }
    api.mounts.configure(&tenant, &mount.id, &config).await.map_err(refused)?;
    Ok(Json(Done::new("Mount configuration updated")))
}

/// What a mount that stands cannot change: the kernel knows its owner.
fn fixed(now: &VfsConfig, wanted: &VfsConfig) -> Vec<Problem> {
    let fields = [("uid", now.uid != wanted.uid), ("gid", now.gid != wanted.gid)];
    let changed = fields.into_iter().filter(|(_, changed)| *changed);
    changed.map(|(name, _)| Problem::new(name, "cannot be changed; remove the mount and make it anew")).collect()
}

/// How to remove.
#[derive(Deserialize)]
pub(crate) struct How {
    /// Do not wait for uploads; they go on at the backend.
    #[serde(default)]
    force: bool,
}

/// Remove a mount. Waits for its uploads; what takes longer goes on, and the answer is 202.
#[utoipa::path(
    delete, path = "/api/v1/mounts/{id}", tag = "mounts",
    params(
        ("id" = String, Path, description = "The mount's id"),
        ("force" = Option<bool>, Query, description = "Do not wait for uploads; they go on at the backend"),
    ),
    responses((status = 200, body = Done), (status = 202, body = Made<Leaving>), (status = 404, body = ErrorAnswer))
)]
pub(crate) async fn delete(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Segment(id): Segment,
    Wish(how): Wish<How>,
) -> ApiResult<Response> {
    let Some(mount) = known(&api, &tenant, &id).await? else {
        let message = format!("Mount not found: {id}");
        return Err(ApiError::new(StatusCode::NOT_FOUND, "MOUNT_NOT_FOUND", message));
    };
    // Before anything is detached: a restart must not bring back what was asked to go.
    api.registry.begin_removing_mount(&tenant, &mount.id).await?;
    let wait = if how.force { Duration::ZERO } else { limits::DRAIN };
    let pending = api.mounts.unmount(&tenant, &mount, wait).await.map_err(ApiError::storage)?;
    if pending.is_empty() || how.force {
        api.registry.delete_mount(&tenant, &mount.id).await?;
        return Ok(Json(Done::new("Mount removed successfully")).into_response());
    }
    let data = Leaving { id: mount.id.to_string(), pending: here(&api, pending) };
    let message = "Mount is detached and goes when its uploads are done".into();
    Ok((StatusCode::ACCEPTED, Json(Made { success: true, message, data })).into_response())
}

/// What a mount request asks for.
struct Wanted {
    backend: String,
    label: Option<String>,
    path: Option<String>,
    config: Map<String, Value>,
    parsed: VfsConfig,
}

impl Wanted {
    fn parse(mut given: Map<String, Value>) -> Result<Wanted, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut text = |name: &str, problems: &mut Vec<Problem>| match given.remove(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if text.contains('\0') => {
                problems.push(Problem::new(name, "must not contain a NUL character"));
                None
            }
            Some(Value::String(text)) => Some(text),
            Some(_) => {
                problems.push(Problem::new(name, "must be a string"));
                None
            }
        };
        let backend = text("backend_id", &mut problems);
        let label = text("label", &mut problems);
        let path = text("mount_path", &mut problems).filter(|path| !path.is_empty());
        if backend.is_none() && !problems.iter().any(|problem| problem.option == "backend_id") {
            problems.push(Problem::new("backend_id", "is required"));
        }
        let mut config = match given.remove("vfs_config") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(config)) => config,
            Some(_) => {
                problems.push(Problem::new("vfs_config", "must be an object"));
                Map::new()
            }
        };
        problems.extend(given.keys().map(|name| Problem::new(name, "is not a field of a mount")));
        let parsed = VfsConfig::parse(&config);
        config.retain(|_, value| !value.is_null());
        match (backend, parsed) {
            (Some(backend), Ok(parsed)) if problems.is_empty() => Ok(Wanted { backend, label, path, config, parsed }),
            (_, parsed) => {
                problems.extend(parsed.err().unwrap_or_default());
                Err(problems)
            }
        }
    }
}

async fn known(api: &Api, tenant: &Tenant, id: &str) -> ApiResult<Option<Mount>> {
    match MountId::parse(id) {
        Some(id) => Ok(api.registry.mount(tenant, &id).await?),
        None => Ok(None),
    }
}

pub(crate) async fn find(api: &Api, tenant: &Tenant, id: &str) -> ApiResult<Mount> {
    known(api, tenant, id).await?.ok_or_else(ApiError::mount_not_found)
}

fn parsed(mount: &Mount) -> ApiResult<VfsConfig> {
    VfsConfig::parse(&mount.config).map_err(|problems| ApiError::internal(format!("stored vfs_config: {problems:?}")))
}

fn answer(api: &Api, tenant: &Tenant, mount: &Mount) -> MountAnswer {
    show(mount, api.mounts.status(tenant, &mount.id))
}

fn show(mount: &Mount, status: Status) -> MountAnswer {
    MountAnswer {
        id: mount.id.to_string(),
        backend_id: mount.backend.to_string(),
        label: mount.label.clone(),
        mount_path: mount.path.clone(),
        // What was asked to go is going, whatever stands at the moment.
        status: if mount.removing { MountState::Unmounting } else { status.state },
        created_at: Some(mount.created_at.seconds),
        error: status.error,
    }
}

fn here(api: &Api, pending: Pending) -> PendingHere {
    PendingHere { pending, node: api.node.to_string() }
}

fn in_use(message: impl Into<String>) -> ApiError {
    ApiError::conflict("MOUNT_PATH_IN_USE", message)
}

fn refused(error: MountError) -> ApiError {
    match error {
        MountError::Path(message) => ApiError::problems(&[Problem::new("mount_path", message)]),
        MountError::InUse(message) => in_use(message),
        MountError::Failed(error) => ApiError::storage(error),
    }
}
