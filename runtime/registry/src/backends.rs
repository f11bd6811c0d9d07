//! Backends: a tenant's connected accounts, with their settings. Nothing here opens one.

use std::collections::HashMap;

use causeway_storage::{Secret, Settings, Timestamp, Value};
use sqlx::any::{Any, AnyRow};
use sqlx::{Row, Transaction};

use crate::database::{now_ms, timestamp};
use crate::seal::Place;
use crate::settings::{from_plain_json, plain_json};
use crate::{BackendId, Error, MountId, Registry, Result, Tenant};

/// A backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Its id.
    pub id: BackendId,
    /// The provider's name.
    pub provider: String,
    /// What the tenant calls it in remotes.
    pub name: Option<BackendName>,
    /// All that was given, secrets included.
    pub settings: Settings,
    /// The account's id at the provider, where it has one.
    pub account: Option<String>,
    /// Whether the last use or probe succeeded.
    pub connected: bool,
    /// When it was connected.
    pub created_at: Timestamp,
    /// When it was last used; absent until then.
    pub last_used: Option<Timestamp>,
    /// Rises with another account: nothing cached before is used.
    pub generation: u64,
    /// Rises with every change of the credential.
    pub credential_generation: u64,
}

/// A backend to be stored.
#[derive(Clone, Debug)]
pub struct NewBackend {
    /// Chosen by the caller, who opened it under this id.
    pub id: BackendId,
    /// The provider's name.
    pub provider: String,
    /// What the tenant calls it.
    pub name: Option<BackendName>,
    /// All that was given.
    pub settings: Settings,
    /// The account's id, where it is known.
    pub account: Option<String>,
    /// Whether a probe succeeded.
    pub connected: bool,
}

/// New settings for a backend whose credential changed.
#[derive(Clone, Debug)]
pub struct NewCredentials {
    /// All settings, changed and unchanged.
    pub settings: Settings,
    /// The account's id, where it is known.
    pub account: Option<String>,
    /// Set if what was cached may belong to another account.
    pub another_account: Option<AnotherAccount>,
    /// The credential generation that the change is based on.
    pub based_on: u64,
}

/// What goes along when a backend may come to stand for another account.
#[derive(Clone, Debug, Default)]
pub struct AnotherAccount {
    /// Wrappers over the backend: what was cached for them is not used any more, either.
    pub wrappers: Vec<BackendId>,
    /// Mounts that may stay, because they do not stand. Any other refuses the change.
    pub failed_mounts: Vec<MountId>,
}

/// A name for remotes: 1 to 63 characters, a letter or digit first, then also `_.+@ -`, and not 16 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BackendName(String);

impl BackendName {
    /// Parses what a client wrote.
    pub fn parse(text: &str) -> Option<BackendName> {
        let sound = |c: char| c.is_ascii_alphanumeric() || "_.+@ -".contains(c);
        let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        let like_an_id = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        (starts && text.len() <= 63 && text.chars().all(sound) && !like_an_id).then(|| BackendName(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A statement over the columns that make a [`Backend`].
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, provider, name, settings, account, connected, created_at, last_used, generation, ",
            "credential_generation FROM backends WHERE tenant = $1 ",
            $rest
        )
    };
}

impl Registry {
    /// Stores a backend. `Taken` if the tenant has another of this name.
    pub async fn create_backend(&self, tenant: &Tenant, new: &NewBackend) -> Result<Backend> {
        let created_ms = now_ms();
        let mut transaction = self.begin(tenant).await?;
        sqlx::query(
            "INSERT INTO backends (tenant, id, provider, name, settings, account, connected, created_at, generation, \
             credential_generation, changes) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1, 1, 0)",
        )
        .bind(tenant.name())
        .bind(new.id.as_str())
        .bind(&new.provider)
        .bind(new.name.as_ref().map(|name| name.as_str().to_owned()))
        .bind(plain_json(&new.settings))
        .bind(&new.account)
        .bind(i64::from(new.connected))
        .bind(created_ms)
        .execute(&mut *transaction)
        .await?;
        self.write_secrets(&mut transaction, tenant, &new.id, &new.settings).await?;
        transaction.commit().await?;
        Ok(Backend {
            id: new.id.clone(),
            provider: new.provider.clone(),
            name: new.name.clone(),
            settings: new.settings.clone(),
            account: new.account.clone(),
            connected: new.connected,
            created_at: timestamp(created_ms),
            last_used: None,
            generation: 1,
            credential_generation: 1,
        })
    }

    /// The backend of this id.
    pub async fn backend(&self, tenant: &Tenant, id: &BackendId) -> Result<Option<Backend>> {
        let mut transaction = self.begin(tenant).await?;
        let sql = select!("AND id = $2");
        let row = sqlx::query(sql).bind(tenant.name()).bind(id.as_str()).fetch_optional(&mut *transaction).await?;
        self.only(transaction, tenant, row).await
    }

    /// The backend of this name.
    pub async fn backend_by_name(&self, tenant: &Tenant, name: &BackendName) -> Result<Option<Backend>> {
        let mut transaction = self.begin(tenant).await?;
        let sql = select!("AND name = $2");
        let row = sqlx::query(sql).bind(tenant.name()).bind(name.as_str()).fetch_optional(&mut *transaction).await?;
        self.only(transaction, tenant, row).await
    }

    /// All of a tenant's backends, oldest first.
    pub async fn backends(&self, tenant: &Tenant) -> Result<Vec<Backend>> {
        let mut transaction = self.begin(tenant).await?;
        let sql = select!("ORDER BY created_at, id");
        let rows = sqlx::query(sql).bind(tenant.name()).fetch_all(&mut *transaction).await?;
        let mut backends = rows.iter().map(read_backend).collect::<Result<Vec<_>>>()?;
        // One statement for all of them: a list is as many round trips as one backend is.
        let secrets = sqlx::query("SELECT backend, field, sealed FROM backend_secrets WHERE tenant = $1")
            .bind(tenant.name())
            .fetch_all(&mut *transaction)
            .await?;
        transaction.commit().await?;
        let mut by_id: HashMap<_, _> = backends.iter_mut().map(|backend| (backend.id.to_string(), backend)).collect();
        for secret in &secrets {
            // One that was connected between the two statements is not in the list.
            let Some(backend) = by_id.get_mut(secret.try_get::<&str, _>("backend")?) else { continue };
            self.open_secret(tenant, backend, secret)?;
        }
        Ok(backends)
    }

    /// Stores a changed credential, if it is based on the one that stands there. Otherwise, or if there is no such
    /// backend, nothing changes and the answer is false. `InUse`, and nothing changes, if the account may be another while
    /// the backend or a wrapper over it is mounted.
    pub async fn change_credentials(&self, tenant: &Tenant, id: &BackendId, new: &NewCredentials) -> Result<bool> {
        let mut transaction = self.begin(tenant).await?;
        let done = sqlx::query(
            "UPDATE backends SET settings = $3, account = $4, generation = generation + $5, connected = 1, \
             credential_generation = credential_generation + 1 \
             WHERE tenant = $1 AND id = $2 AND credential_generation = $6",
        )
        .bind(tenant.name())
        .bind(id.as_str())
        .bind(plain_json(&new.settings))
        .bind(&new.account)
        .bind(i64::from(new.another_account.is_some()))
        .bind(new.based_on as i64)
        .execute(&mut *transaction)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        if let Some(another) = &new.another_account {
            raise_generations(&mut transaction, tenant, id, another).await?;
        }
        sqlx::query("DELETE FROM backend_secrets WHERE tenant = $1 AND backend = $2")
            .bind(tenant.name())
            .bind(id.as_str())
            .execute(&mut *transaction)
            .await?;
        self.write_secrets(&mut transaction, tenant, id, &new.settings).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Notes how a use or a probe of a backend went; a success is its last use. Whether there is such a backend.
    pub async fn note_use(&self, tenant: &Tenant, id: &BackendId, succeeded: bool) -> Result<bool> {
        let mut transaction = self.begin(tenant).await?;
        let done = sqlx::query(
            "UPDATE backends SET connected = $3, last_used = CASE WHEN $3 = 1 THEN $4 ELSE last_used END \
             WHERE tenant = $1 AND id = $2",
        )
        .bind(tenant.name())
        .bind(id.as_str())
        .bind(i64::from(succeeded))
        .bind(now_ms())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    /// Removes a backend with its secrets and state. `InUse` while it has mounts. Whether there was one.
    pub async fn delete_backend(&self, tenant: &Tenant, id: &BackendId) -> Result<bool> {
        let mut transaction = self.begin(tenant).await?;
        let done = sqlx::query("DELETE FROM backends WHERE tenant = $1 AND id = $2")
            .bind(tenant.name())
            .bind(id.as_str())
            .execute(&mut *transaction)
            .await
            .map_err(|error| match Error::from(error) {
                Error::Missing => Error::InUse,
                other => other,
            })?;
        transaction.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    async fn only(
        &self,
        mut transaction: Transaction<'static, Any>,
        tenant: &Tenant,
        row: Option<AnyRow>,
    ) -> Result<Option<Backend>> {
        let mut backend = row.as_ref().map(read_backend).transpose()?;
        if let Some(backend) = &mut backend {
            let secrets = sqlx::query("SELECT field, sealed FROM backend_secrets WHERE tenant = $1 AND backend = $2")
                .bind(tenant.name())
                .bind(backend.id.as_str())
                .fetch_all(&mut *transaction)
                .await?;
            for secret in &secrets {
                self.open_secret(tenant, backend, secret)?;
            }
        }
        transaction.commit().await?;
        Ok(backend)
    }

    async fn write_secrets(
        &self,
        transaction: &mut Transaction<'static, Any>,
        tenant: &Tenant,
        id: &BackendId,
        settings: &Settings,
    ) -> Result<()> {
        for (field, value) in settings.iter() {
            let Value::Secret(secret) = value else { continue };
            let sealed = self.key().seal(place(tenant, id, field), secret.expose())?;
            sqlx::query("INSERT INTO backend_secrets (tenant, backend, field, sealed) VALUES ($1, $2, $3, $4)")
                .bind(tenant.name())
                .bind(id.as_str())
                .bind(field)
                .bind(sealed)
                .execute(&mut **transaction)
                .await?;
        }
        Ok(())
    }

    fn open_secret(&self, tenant: &Tenant, backend: &mut Backend, row: &AnyRow) -> Result<()> {
        let field: String = row.try_get("field")?;
        let sealed: Vec<u8> = row.try_get("sealed")?;
        let value = self.key().open(place(tenant, &backend.id, &field), &sealed).ok_or_else(|| {
            Error::Damaged(format!("the sealed setting {field} of backend {} does not open", backend.id))
        })?;
        backend.settings.set(field, Value::Secret(Secret::new(value.as_slice())));
        Ok(())
    }
}

/// All of a backend but its secrets.
fn read_backend(row: &AnyRow) -> Result<Backend> {
    let damaged = || Error::Damaged("a backend".into());
    let name = match row.try_get::<Option<String>, _>("name")? {
        Some(name) => Some(BackendName::parse(&name).ok_or_else(damaged)?),
        None => None,
    };
    Ok(Backend {
        id: BackendId::parse(&row.try_get::<String, _>("id")?).ok_or_else(damaged)?,
        provider: row.try_get("provider")?,
        name,
        settings: from_plain_json(&row.try_get::<String, _>("settings")?)?,
        account: row.try_get("account")?,
        connected: row.try_get::<i64, _>("connected")? != 0,
        created_at: timestamp(row.try_get("created_at")?),
        last_used: row.try_get::<Option<i64>, _>("last_used")?.map(timestamp),
        generation: u64::try_from(row.try_get::<i64, _>("generation")?).map_err(|_| damaged())?,
        credential_generation: u64::try_from(row.try_get::<i64, _>("credential_generation")?).map_err(|_| damaged())?,
    })
}

/// Leaves behind what was cached for wrappers, too, and makes sure that nothing of all that is mounted. A mount that is being
/// made meanwhile waits for these rows, and then sees the new generation.
async fn raise_generations(
    transaction: &mut Transaction<'static, Any>,
    tenant: &Tenant,
    id: &BackendId,
    another: &AnotherAccount,
) -> Result<()> {
    for wrapper in &another.wrappers {
        sqlx::query("UPDATE backends SET generation = generation + 1 WHERE tenant = $1 AND id = $2")
            .bind(tenant.name())
            .bind(wrapper.as_str())
            .execute(&mut **transaction)
            .await?;
    }
    for backend in another.wrappers.iter().chain([id]) {
        let rows = sqlx::query("SELECT id FROM mounts WHERE tenant = $1 AND backend = $2")
            .bind(tenant.name())
            .bind(backend.as_str())
            .fetch_all(&mut **transaction)
            .await?;
        for row in rows {
            let mount: String = row.try_get("id")?;
            if !another.failed_mounts.iter().any(|failed| failed.as_str() == mount) {
                return Err(Error::InUse);
            }
        }
    }
    Ok(())
}

fn place<'a>(tenant: &'a Tenant, id: &'a BackendId, field: &'a str) -> Place<'a> {
    Place { table: "backend_secrets", tenant: tenant.name(), backend: id.as_str(), field }
}
