//! What a component keeps between its calls: small values by key, and slots that hold secrets. Sealed alike.
//!
//! Every change takes the next number of its backend's counter, so that a number never returns, not even after a key was
//! removed and set again: who swaps on a number swaps on that very change. The counter's row also makes writers of one
//! backend wait for each other, which keeps the count of keys exact. What has expired is as good as removed, and goes with
//! the next change.

use sqlx::any::Any;
use sqlx::{Row, Transaction};
use zeroize::Zeroizing;

use crate::database::now_ms;
use crate::seal::Place;
use crate::{BackendId, Error, Registry, Result, Tenant};

/// Keys of one backend and space: a component that needs more should ask its provider.
pub const STATE_KEYS: usize = 1000;
/// The longest key in bytes.
pub const STATE_KEY_BYTES: usize = 256;
/// The largest value in bytes.
pub const STATE_VALUE_BYTES: usize = 64 << 10;

/// Which of a backend's sets of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    /// What the component may read.
    State,
    /// Secrets that it may only use.
    Slot,
    /// What the runtime itself notes for the backend; no component reads or fills it.
    Host,
}

impl Space {
    fn name(self) -> &'static str {
        match self {
            Space::State => "state",
            Space::Slot => "slot",
            Space::Host => "host",
        }
    }
}

/// A value that is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Held {
    /// The value.
    pub value: Zeroizing<Vec<u8>>,
    /// The number of its last change.
    pub change: u64,
    /// How long it still lives, in milliseconds; absent if until it is removed.
    pub lives_ms: Option<u64>,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<kept value, change {}>", self.change)
    }
}

impl Registry {
    /// Seals bytes that only this backend may open again, and only as `what` they are. For what the caller keeps itself.
    pub fn seal(&self, tenant: &Tenant, backend: &BackendId, what: &str, bytes: &[u8]) -> Result<Vec<u8>> {
        self.key().seal(Place { table: "kept elsewhere", ..place(tenant, backend, what) }, bytes)
    }

    /// Opens what [`Registry::seal`] sealed; none if it was for another backend, as something else, or with another key.
    pub fn unseal(
        &self,
        tenant: &Tenant,
        backend: &BackendId,
        what: &str,
        sealed: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        self.key().open(Place { table: "kept elsewhere", ..place(tenant, backend, what) }, sealed)
    }

    /// The value of a key, if there is one that has not expired.
    pub async fn held(&self, tenant: &Tenant, backend: &BackendId, space: Space, key: &str) -> Result<Option<Held>> {
        let now = now_ms();
        let mut transaction = self.begin(tenant).await?;
        let row = sqlx::query(
            "SELECT sealed, change, expires_at FROM backend_state WHERE tenant = $1 AND backend = $2 AND space = $3 \
             AND key = $4 AND (expires_at IS NULL OR expires_at > $5)",
        )
        .bind(tenant.name())
        .bind(backend.as_str())
        .bind(space.name())
        .bind(key)
        .bind(now)
        .fetch_optional(&mut *transaction)
        .await?;
        transaction.commit().await?;
        let Some(row) = row else { return Ok(None) };
        let sealed: Vec<u8> = row.try_get("sealed")?;
        let field = field(space, key);
        let value = self.key().open(place(tenant, backend, &field), &sealed);
        Ok(Some(Held {
            value: value.ok_or_else(|| Error::Damaged(format!("a kept value of backend {backend} does not open")))?,
            change: row.try_get::<i64, _>("change")? as u64,
            lives_ms: row.try_get::<Option<i64>, _>("expires_at")?.map(|at| u64::try_from(at - now).unwrap_or(0)),
        }))
    }

    /// Keeps a value for so many milliseconds (absent: until removed), whatever was there. The number of this change.
    pub async fn hold(
        &self,
        tenant: &Tenant,
        backend: &BackendId,
        space: Space,
        key: &str,
        value: &[u8],
        lives_ms: Option<u64>,
    ) -> Result<u64> {
        let mut transaction = self.begin(tenant).await?;
        let change = self.next_change(&mut transaction, tenant, backend).await?;
        self.put(&mut transaction, tenant, backend, space, key, value, lives_ms, change).await?;
        transaction.commit().await?;
        Ok(change)
    }

    /// Keeps a value if the last change of the key is still `expected` (absent: if there is no value). The number of this
    /// change; none, and nothing changed, if another was faster.
    #[allow(clippy::too_many_arguments)]
    pub async fn swap(
        &self,
        tenant: &Tenant,
        backend: &BackendId,
        space: Space,
        key: &str,
        value: &[u8],
        lives_ms: Option<u64>,
        expected: Option<u64>,
    ) -> Result<Option<u64>> {
        let mut transaction = self.begin(tenant).await?;
        let change = self.next_change(&mut transaction, tenant, backend).await?;
        let row = sqlx::query(
            "SELECT change FROM backend_state WHERE tenant = $1 AND backend = $2 AND space = $3 AND key = $4",
        )
        .bind(tenant.name())
        .bind(backend.as_str())
        .bind(space.name())
        .bind(key)
        .fetch_optional(&mut *transaction)
        .await?;
        let found = row.map(|row| row.try_get::<i64, _>("change")).transpose()?.map(|change| change as u64);
        if found != expected {
            return Ok(None);
        }
        self.put(&mut transaction, tenant, backend, space, key, value, lives_ms, change).await?;
        transaction.commit().await?;
        Ok(Some(change))
    }

    /// Says how long the value of a key still lives. Whether there is one.
    pub async fn expire(
        &self,
        tenant: &Tenant,
        backend: &BackendId,
        space: Space,
        key: &str,
        lives_ms: u64,
    ) -> Result<bool> {
        let mut transaction = self.begin(tenant).await?;
        self.next_change(&mut transaction, tenant, backend).await?;
        let done = sqlx::query(
            "UPDATE backend_state SET expires_at = $5 WHERE tenant = $1 AND backend = $2 AND space = $3 AND key = $4",
        )
        .bind(tenant.name())
        .bind(backend.as_str())
        .bind(space.name())
        .bind(key)
        .bind(later(lives_ms))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    /// Forgets a key. Whether there was a value.
    pub async fn drop_held(&self, tenant: &Tenant, backend: &BackendId, space: Space, key: &str) -> Result<bool> {
        let mut transaction = self.begin(tenant).await?;
        let done =
            sqlx::query("DELETE FROM backend_state WHERE tenant = $1 AND backend = $2 AND space = $3 AND key = $4")
                .bind(tenant.name())
                .bind(backend.as_str())
                .bind(space.name())
                .bind(key)
                .execute(&mut *transaction)
                .await?;
        transaction.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    /// Takes the next number and drops what has expired. `Missing` if there is no such backend.
    async fn next_change(
        &self,
        transaction: &mut Transaction<'static, Any>,
        tenant: &Tenant,
        backend: &BackendId,
    ) -> Result<u64> {
        let row =
            sqlx::query("UPDATE backends SET changes = changes + 1 WHERE tenant = $1 AND id = $2 RETURNING changes")
                .bind(tenant.name())
                .bind(backend.as_str())
                .fetch_optional(&mut **transaction)
                .await?
                .ok_or(Error::Missing)?;
        sqlx::query("DELETE FROM backend_state WHERE tenant = $1 AND backend = $2 AND expires_at <= $3")
            .bind(tenant.name())
            .bind(backend.as_str())
            .bind(now_ms())
            .execute(&mut **transaction)
            .await?;
        Ok(row.try_get::<i64, _>("changes")? as u64)
    }

    #[allow(clippy::too_many_arguments)]
    async fn put(
        &self,
        transaction: &mut Transaction<'static, Any>,
        tenant: &Tenant,
        backend: &BackendId,
        space: Space,
        key: &str,
        value: &[u8],
        lives_ms: Option<u64>,
        change: u64,
    ) -> Result<()> {
        if key.is_empty() || key.len() > STATE_KEY_BYTES || key.contains('\0') {
            return Err(Error::Limit("a key has 1 to 256 bytes"));
        }
        if value.len() > STATE_VALUE_BYTES {
            return Err(Error::Limit("a value has at most 64 KiB"));
        }
        let sealed = self.key().seal(place(tenant, backend, &field(space, key)), value)?;
        sqlx::query(
            "INSERT INTO backend_state (tenant, backend, space, key, sealed, change, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant, backend, space, key) \
             DO UPDATE SET sealed = excluded.sealed, change = excluded.change, expires_at = excluded.expires_at",
        )
        .bind(tenant.name())
        .bind(backend.as_str())
        .bind(space.name())
        .bind(key)
        .bind(sealed)
        .bind(change as i64)
        .bind(lives_ms.map(later))
        .execute(&mut **transaction)
        .await?;
        let row =
            sqlx::query("SELECT COUNT(*) AS keys FROM backend_state WHERE tenant = $1 AND backend = $2 AND space = $3")
                .bind(tenant.name())
                .bind(backend.as_str())
                .bind(space.name())
                .fetch_one(&mut **transaction)
                .await?;
        if row.try_get::<i64, _>("keys")? > STATE_KEYS as i64 {
            return Err(Error::Limit("a backend keeps at most 1,000 keys"));
        }
        Ok(())
    }
}

fn later(lives_ms: u64) -> i64 {
    i64::try_from(lives_ms).ok().and_then(|lives| now_ms().checked_add(lives)).unwrap_or(i64::MAX)
}

fn field(space: Space, key: &str) -> String {
    format!("{}/{key}", space.name())
}

fn place<'a>(tenant: &'a Tenant, backend: &'a BackendId, field: &'a str) -> Place<'a> {
    Place { table: "backend_state", tenant: tenant.name(), backend: backend.as_str(), field }
}
