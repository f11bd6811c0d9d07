//! Mounts as they are wanted: which backend, where, and how cached. Whether one stands at the moment is not known here.

use causeway_storage::Timestamp;
use serde_json::{Map, Value as Json};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::database::{now_ms, timestamp};
use crate::{BackendId, Error, MountId, Registry, Result, Tenant};

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Its id.
    pub id: MountId,
    /// What is mounted.
    pub backend: BackendId,
    /// What the tenant calls it.
    pub label: Option<String>,
    /// The mount point, absolute.
    pub path: String,
    /// What was set, as it was given: defaults are not filled in.
    pub config: Map<String, Json>,
    /// It was asked to go, and goes when its last write is uploaded; it is not mounted again.
    pub removing: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Which mounts.
#[derive(Clone, Copy, Debug)]
pub enum MountsWanted<'a> {
    /// All of a tenant's.
    All,
    /// Those with this label.
    Label(&'a str),
    /// Those of this backend.
    Backend(&'a BackendId),
}

/// A statement over the columns that make a [`Mount`].
macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT id, backend, label, path, config, removing, created_at FROM mounts WHERE tenant = $1 ", $rest)
    };
}

impl Registry {
    /// Stores a mount. `Taken` if another mount of this tenant has the path, `Missing` if there is no such backend. The
    /// time in `mount` is replaced by now.
    pub async fn create_mount(&self, tenant: &Tenant, mount: &Mount) -> Result<Mount> {
        let created_ms = now_ms();
        let mut transaction = self.begin(tenant).await?;
        // Takes the backend's row: one that is just changing its account has changed it, or does not any more.
        sqlx::query("UPDATE backends SET changes = changes WHERE tenant = $1 AND id = $2")
            .bind(tenant.name())
            .bind(mount.backend.as_str())
            .execute(&mut *transaction)
            .await?;
        sqlx::query(
            "INSERT INTO mounts (tenant, id, backend, label, path, config, removing, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(tenant.name())
        .bind(mount.id.as_str())
        .bind(mount.backend.as_str())
        .bind(&mount.label)
        .bind(&mount.path)
        .bind(Json::Object(mount.config.clone()).to_string())
        .bind(i64::from(mount.removing))
        .bind(created_ms)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Mount { created_at: timestamp(created_ms), ..mount.clone() })
    }

    /// The mount of this id.
    pub async fn mount(&self, tenant: &Tenant, id: &MountId) -> Result<Option<Mount>> {
        let mut transaction = self.begin(tenant).await?;
        let query = sqlx::query(select!("AND id = $2")).bind(tenant.name()).bind(id.as_str());
        let row = query.fetch_optional(&mut *transaction).await?;
        transaction.commit().await?;
        row.as_ref().map(read_mount).transpose()
    }

    /// A tenant's mounts, oldest first.
    pub async fn mounts(&self, tenant: &Tenant, wanted: MountsWanted<'_>) -> Result<Vec<Mount>> {
        let mut transaction = self.begin(tenant).await?;
        let query = match wanted {
            MountsWanted::All => sqlx::query(select!("ORDER BY created_at, id")).bind(tenant.name()),
            MountsWanted::Label(label) => sqlx::query(select!("AND label = $2 ORDER BY created_at, id"))
                .bind(tenant.name())
                .bind(label.to_owned()),
            MountsWanted::Backend(backend) => sqlx::query(select!("AND backend = $2 ORDER BY created_at, id"))
                .bind(tenant.name())
                .bind(backend.as_str().to_owned()),
        };
        let rows = query.fetch_all(&mut *transaction).await?;
        transaction.commit().await?;
        rows.iter().map(read_mount).collect()
    }

    /// Replaces what was set. Whether there is such a mount.
    pub async fn configure_mount(&self, tenant: &Tenant, id: &MountId, config: &Map<String, Json>) -> Result<bool> {
        let mut transaction = self.begin(tenant).await?;
        let done = sqlx::query("UPDATE mounts SET config = $3 WHERE tenant = $1 AND id = $2")
            .bind(tenant.name())
            .bind(id.as_str())
            .bind(Json::Object(config.clone()).to_string())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    /// Notes that a mount was asked to go. Whether there is such a mount.
    pub async fn begin_removing_mount(&self, tenant: &Tenant, id: &MountId) -> Result<bool> {
        let mut transaction = self.begin(tenant).await?;
        let done = sqlx::query("UPDATE mounts SET removing = 1 WHERE tenant = $1 AND id = $2")
            .bind(tenant.name())
            .bind(id.as_str())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    /// Removes a mount. Whether there was one.
    pub async fn delete_mount(&self, tenant: &Tenant, id: &MountId) -> Result<bool> {
        let mut transaction = self.begin(tenant).await?;
        let done = sqlx::query("DELETE FROM mounts WHERE tenant = $1 AND id = $2")
            .bind(tenant.name())
            .bind(id.as_str())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(done.rows_affected() > 0)
    }
}

fn read_mount(row: &AnyRow) -> Result<Mount> {
    let damaged = || Error::Damaged("a mount".into());
    Ok(Mount {
        id: MountId::parse(&row.try_get::<String, _>("id")?).ok_or_else(damaged)?,
        backend: BackendId::parse(&row.try_get::<String, _>("backend")?).ok_or_else(damaged)?,
        label: row.try_get("label")?,
        path: row.try_get("path")?,
        config: serde_json::from_str(&row.try_get::<String, _>("config")?).map_err(|_| damaged())?,
        removing: row.try_get::<i64, _>("removing")? != 0,
        created_at: timestamp(row.try_get("created_at")?),
    })
}
