//! `PUT /api/v1/backends/{id}`: exchanges a credential for another of the same account.
//!
//! The checks stand in one order, so that a client meets the same refusal whatever else is wrong: 404, 413, 400 with every
//! wrong field, nothing changed (200 without asking the provider), 409, the probe (422), and only then the row changes.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use causeway_registry::{
    AnotherAccount, Backend, BackendId, Error as RegistryError, MountId, MountsWanted, NewCredentials, Tenant,
};
use causeway_storage::{Descriptor, ErrorKind, Identity, OptionMarks, OptionSpec, Problem, Provider, Settings};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::answers::Done;
use crate::auth::Caller;
use crate::backends::{find, wrappers};
use crate::connect::not_opened;
use crate::error::{ApiError, ApiResult, ErrorAnswer};
use crate::request::{Segment, Wish, object};
use crate::{Api, State as MountState, limits};

/// How to exchange it.
#[derive(Deserialize)]
pub(crate) struct How {
    /// Also while it is mounted: new requests use the new credential at once.
    #[serde(default)]
    live: bool,
}

/// Exchange a credential. Values are strings, or null to remove one.
#[utoipa::path(
    put, path = "/api/v1/backends/{id}", tag = "backends",
    params(
        ("id" = String, Path, description = "The backend's id"),
        ("live" = Option<bool>, Query, description = "Also while it is mounted"),
    ),
    request_body(content = Object, description = "The credential options to change"),
    responses(
        (status = 200, body = Done), (status = 400, body = ErrorAnswer), (status = 404, body = ErrorAnswer),
        (status = 409, body = ErrorAnswer), (status = 413, body = ErrorAnswer), (status = 422, body = ErrorAnswer),
    )
)]
pub(crate) async fn update(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Segment(id): Segment,
    Wish(how): Wish<How>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Json<Done>> {
    let backend = find(&api, &tenant, &id).await?;
    let provider = provider_of(&api, &backend)?;
    let given = object(&headers, body, limits::CREDENTIAL_BYTES).await?;
    let settings = merged(provider.descriptor(), &backend.settings, &given)?;
    if settings != backend.settings {
        let concerned = Concerned::by(&api, &tenant, &backend).await?;
        if concerned.mounted && !how.live {
            return Err(mounted());
        }
        if backend.account.is_none() {
            concerned.check_idle(&api, &tenant).await?;
        }
        exchange(&api, &tenant, &backend, provider, settings, concerned).await?;
    }
    Ok(Json(Done::new("Backend credentials updated")))
}

/// The provider of a stored backend. It may be missing when a component was taken away.
pub(crate) fn provider_of<'a>(api: &'a Api, backend: &Backend) -> ApiResult<&'a Arc<dyn Provider>> {
    api.catalog.get(&backend.provider).ok_or_else(|| {
        let message = format!("The provider {} is not installed at the moment", backend.provider);
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "PROVIDER_MISSING", message)
    })
}

/// Whom a changed credential concerns: the backend and the wrappers over it, with their mounts.
struct Concerned {
    wrappers: Vec<BackendId>,
    all: Vec<BackendId>,
    mounted: bool,
    failed_mounts: Vec<MountId>,
}

impl Concerned {
    async fn by(api: &Api, tenant: &Tenant, backend: &Backend) -> ApiResult<Concerned> {
        let wrappers: Vec<_> = wrappers(api, tenant, backend).await?.into_iter().map(|wrapper| wrapper.id).collect();
        let all = std::iter::once(&backend.id).chain(&wrappers).cloned().collect();
        let mut concerned = Concerned { wrappers, all, mounted: false, failed_mounts: Vec::new() };
        for mount in api.registry.mounts(tenant, MountsWanted::All).await? {
            if !concerned.all.contains(&mount.backend) {
                continue;
            }
            match api.mounts.status(tenant, &mount.id).state {
                MountState::Mounting | MountState::Active | MountState::Degraded | MountState::Unmounting => {
                    concerned.mounted = true;
                }
                MountState::Failed => concerned.failed_mounts.push(mount.id),
            }
        }
        Ok(concerned)
    }

    /// That the account may become another.
    async fn check_idle(&self, api: &Api, tenant: &Tenant) -> ApiResult<()> {
        if self.mounted {
            let message = "The provider does not tell whether the new credential is of the same account; unmount first";
            return Err(ApiError::conflict("ACTIVE_MOUNTS", message));
        }
        for backend in &self.all {
            if !api.backends.pending(tenant, backend).await.map_err(ApiError::storage)?.is_empty() {
                return Err(ApiError::conflict(
                    "PENDING_UPLOADS",
                    "Backend has uploads pending, and the provider does not tell whether the new credential is of the same account",
                ));
            }
        }
        Ok(())
    }
}

async fn exchange(
    api: &Api,
    tenant: &Tenant,
    backend: &Backend,
    provider: &Arc<dyn Provider>,
    settings: Settings,
    concerned: Concerned,
) -> ApiResult<()> {
    let trial = api.backends.trial(tenant, &backend.id, provider, settings.clone());
    let trying = async {
        let storage = trial.open().await.map_err(not_opened)?;
        storage.probe().await.map_err(rejected)
    };
    let identity = tokio::time::timeout(limits::PROBE, trying).await.map_err(|_| credential_refused())??;
    let mut another = None;
    if another_account(backend, &identity)? {
        // Again: something may have been written while the provider was asked.
        concerned.check_idle(api, tenant).await?;
        another = Some(AnotherAccount { wrappers: concerned.wrappers, failed_mounts: concerned.failed_mounts });
    }
    let new = NewCredentials {
        settings,
        account: identity.account,
        another_account: another,
        based_on: backend.credential_generation,
    };
    match api.registry.change_credentials(tenant, &backend.id, &new).await {
        Ok(true) => {}
        Ok(false) => return Err(changed_meanwhile(api, tenant, backend).await?),
        // Mounted while the provider was asked.
        Err(RegistryError::InUse) => return Err(mounted()),
        Err(error) => return Err(error.into()),
    }
    trial.keep().await.map_err(ApiError::storage)?;
    for concerned in &concerned.all {
        api.backends.changed(tenant, concerned).await;
    }
    Ok(())
}

pub(crate) async fn changed_meanwhile(api: &Api, tenant: &Tenant, backend: &Backend) -> ApiResult<ApiError> {
    Ok(match api.registry.backend(tenant, &backend.id).await? {
        Some(_) => ApiError::conflict("CHANGED_MEANWHILE", "The credential was changed by another request meanwhile"),
        None => ApiError::backend_not_found(),
    })
}

fn mounted() -> ApiError {
    ApiError::conflict("ACTIVE_MOUNTS", "Backend has active mounts; unmount first")
}

/// Refuses what certainly belongs to another account. Where the provider tells none, whoever consents answers for it: what is
/// pending could not be uploaded otherwise.
pub(crate) fn check_same_account(backend: &Backend, identity: &Identity) -> ApiResult<()> {
    another_account(backend, identity).map(|_| ())
}

/// Whether what was cached may belong to another account than the credential's; an error if it certainly does.
fn another_account(backend: &Backend, identity: &Identity) -> ApiResult<bool> {
    match (&backend.account, &identity.account) {
        (Some(stored), Some(shown)) if stored == shown => Ok(false),
        (Some(_), Some(_)) => Err(ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "ANOTHER_ACCOUNT",
            "The credential belongs to another account; disconnect and connect anew to change accounts",
        )),
        _ => Ok(true),
    }
}

fn rejected(error: causeway_storage::Error) -> ApiError {
    match error.kind {
        ErrorKind::Internal => ApiError::internal(format!("{error:?}")),
        _ => {
            tracing::info!(?error, "a new credential was not accepted");
            credential_refused()
        }
    }
}

fn credential_refused() -> ApiError {
    let message = "Credential validation failed against the remote backend";
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "CREDENTIALS_REJECTED", message)
}

/// The stored settings with the given credentials in their place.
fn merged(descriptor: &Descriptor, stored: &Settings, given: &Map<String, Value>) -> ApiResult<Settings> {
    let credential =
        |name: &str| descriptor.option(name).filter(|option| option.marks.contains(OptionMarks::CREDENTIAL));
    let foreign: Vec<Problem> = given
        .keys()
        .filter(|name| credential(name).is_none())
        .map(|name| Problem::new(name, "is not a credential of this provider"))
        .collect();
    let mut problems: Vec<Problem> = given
        .iter()
        .filter(|(_, value)| !value.is_null() && !value.is_string())
        .map(|(name, _)| Problem::new(name, "must be a string or null"))
        .collect();
    let specs: Vec<OptionSpec> = given.keys().filter_map(|name| credential(name)).cloned().collect();
    let known =
        given.iter().filter(|(name, value)| credential(name).is_some() && (value.is_null() || value.is_string()));
    let known: Map<String, Value> = known.map(|(name, value)| (name.clone(), value.clone())).collect();
    let specs: Vec<OptionSpec> = specs.into_iter().filter(|spec| known.contains_key(&spec.name)).collect();
    let parsed = Settings::parse(&specs, &known).unwrap_or_else(|mut more| {
        problems.append(&mut more);
        Settings::default()
    });
    if !foreign.is_empty() {
        problems.extend(foreign);
        let message = "Invalid request: only credential fields are allowed";
        return Err(ApiError::invalid("INVALID_REQUEST", message).with_fields(&problems));
    }
    if !problems.is_empty() {
        return Err(ApiError::problems(&problems));
    }
    let mut settings = stored.clone();
    for name in known.keys() {
        match parsed.get(name) {
            Some(value) => settings.set(name.clone(), value.clone()),
            None => {
                settings.remove(name);
            }
        }
    }
    Ok(settings)
}
