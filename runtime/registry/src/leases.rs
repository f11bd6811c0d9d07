//! Leases: what only one process at a time may do for a backend (renew its sign-in), with an end of its own, so that a
//! process that died holds up nobody for long.
//!
//! Each lease that is given has a higher number than all before it. Whoever held an earlier one and comes back late can
//! neither end the present one, nor be taken for its holder.

use sqlx::Row;

use crate::database::now_ms;
use crate::{BackendId, Registry, Result, Tenant};

impl Registry {
    /// Takes a lease for so many milliseconds: its number, or none while another holds it. `Missing` if there is no such
    /// backend.
    pub async fn take_lease(
        &self,
        tenant: &Tenant,
        backend: &BackendId,
        name: &str,
        lives_ms: u64,
    ) -> Result<Option<u64>> {
        let now = now_ms();
        let mut transaction = self.begin(tenant).await?;
        let row = sqlx::query(
            "INSERT INTO leases (tenant, backend, name, fence, expires_at) VALUES ($1, $2, $3, 1, $4) \
             ON CONFLICT (tenant, backend, name) DO UPDATE SET fence = leases.fence + 1, expires_at = excluded.expires_at \
             WHERE leases.expires_at <= $5 RETURNING fence",
        )
        .bind(tenant.name())
        .bind(backend.as_str())
        .bind(name)
        .bind(now.saturating_add(i64::try_from(lives_ms).unwrap_or(i64::MAX)))
        .bind(now)
        .fetch_optional(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(row.map(|row| row.try_get::<i64, _>("fence")).transpose()?.map(|fence| fence as u64))
    }

    /// Ends a lease before its time. Whether it was still this one's.
    pub async fn end_lease(&self, tenant: &Tenant, backend: &BackendId, name: &str, fence: u64) -> Result<bool> {
        let now = now_ms();
        let mut transaction = self.begin(tenant).await?;
        let done = sqlx::query(
            "UPDATE leases SET expires_at = 0 WHERE tenant = $1 AND backend = $2 AND name = $3 AND fence = $4 \
             AND expires_at > $5",
        )
        .bind(tenant.name())
        .bind(backend.as_str())
        .bind(name)
        .bind(fence as i64)
        .bind(now)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(done.rows_affected() > 0)
    }
}
