//! What the operator may do: make and revoke tenants, and make, list and revoke their tokens. And the one thing that
//! needs no tenant because it yields one: looking up whose a token is.

use causeway_storage::Timestamp;
use sqlx::Row;

use crate::database::{now_ms, timestamp};
use crate::ids::random_hex;
use crate::{Error, Registry, Result, Tenant, Token};

/// The operator's view. Not reachable from the API.
#[derive(Clone, Copy, Debug)]
pub struct Operator<'a> {
    registry: &'a Registry,
}

/// A tenant as the operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantRow {
    /// Who.
    pub tenant: Tenant,
    /// Since when.
    pub created_at: Timestamp,
    /// Since when its tokens open nothing, if so.
    pub revoked_at: Option<Timestamp>,
}

/// A token as the operator sees it: all but the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRow {
    /// To name it by.
    pub id: String,
    /// What the operator calls it.
    pub label: String,
    /// Since when.
    pub created_at: Timestamp,
    /// Since when it opens nothing, if so.
    pub revoked_at: Option<Timestamp>,
}

impl Registry {
    /// Whose token this is; none for one that is unknown or revoked, or whose tenant is.
    pub async fn authenticate(&self, token: &Token) -> Result<Option<Tenant>> {
        let hash = token.hash();
        let mut transaction = self.begin_nameless().await?;
        self.name(&mut transaction, "causeway.token", &hash).await?;
        let row = sqlx::query("SELECT tenant FROM tokens WHERE hash = $1 AND revoked_at IS NULL")
            .bind(&hash)
            .fetch_optional(&mut *transaction)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let tenant = Tenant::parse(&row.try_get::<String, _>("tenant")?)?;
        self.name(&mut transaction, "causeway.tenant", tenant.name()).await?;
        let valid = sqlx::query("SELECT 1 AS one FROM tenants WHERE name = $1 AND revoked_at IS NULL")
            .bind(tenant.name())
            .fetch_optional(&mut *transaction)
            .await?
            .is_some();
        transaction.commit().await?;
        Ok(valid.then_some(tenant))
    }
}

impl<'a> Operator<'a> {
    pub(crate) fn new(registry: &'a Registry) -> Operator<'a> {
        Operator { registry }
    }

    /// Makes a tenant; `Taken` if there is (or was) one of this name.
    pub async fn create_tenant(&self, name: &str) -> Result<Tenant> {
        let tenant = Tenant::parse(name)?;
        sqlx::query("INSERT INTO tenants (name, created_at) VALUES ($1, $2)")
            .bind(tenant.name())
            .bind(now_ms())
            .execute(self.registry.operator_pool())
            .await?;
        Ok(tenant)
    }

    /// The tenant of this name, revoked or not.
    pub async fn tenant(&self, name: &str) -> Result<Option<Tenant>> {
        Ok(self.tenants().await?.into_iter().find(|row| row.tenant.name() == name).map(|row| row.tenant))
    }

    /// All tenants, by name.
    pub async fn tenants(&self) -> Result<Vec<TenantRow>> {
        let rows = sqlx::query("SELECT name, created_at, revoked_at FROM tenants ORDER BY name")
            .fetch_all(self.registry.operator_pool())
            .await?;
        rows.iter()
            .map(|row| {
                Ok(TenantRow {
                    tenant: Tenant::parse(&row.try_get::<String, _>("name")?)?,
                    created_at: timestamp(row.try_get("created_at")?),
                    revoked_at: row.try_get::<Option<i64>, _>("revoked_at")?.map(timestamp),
                })
            })
            .collect()
    }

    /// Closes the API to a tenant. Its backends and data stay. Whether there was such a tenant, not yet revoked.
    pub async fn revoke_tenant(&self, tenant: &Tenant) -> Result<bool> {
        let done = sqlx::query("UPDATE tenants SET revoked_at = $2 WHERE name = $1 AND revoked_at IS NULL")
            .bind(tenant.name())
            .bind(now_ms())
            .execute(self.registry.operator_pool())
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Makes a token. It is shown here once and cannot be had again.
    pub async fn create_token(&self, tenant: &Tenant, label: &str) -> Result<(String, Token)> {
        let token = Token::random()?;
        let id = self.insert_token(tenant, &token, label).await?;
        Ok((id, token))
    }

    /// Makes a token that the operator chose valid for a tenant, if it is not already; `Taken` if it is another tenant's,
    /// or was revoked.
    pub async fn admit_token(&self, tenant: &Tenant, token: &Token, label: &str) -> Result<()> {
        match self.registry.authenticate(token).await? {
            Some(owner) if owner == *tenant => Ok(()),
            Some(_) => Err(Error::Taken),
            None => self.insert_token(tenant, token, label).await.map(|_| ()),
        }
    }

    /// A tenant's tokens, oldest first.
    pub async fn tokens(&self, tenant: &Tenant) -> Result<Vec<TokenRow>> {
        let mut transaction = self.registry.begin(tenant).await?;
        let rows = sqlx::query(
            "SELECT id, label, created_at, revoked_at FROM tokens WHERE tenant = $1 ORDER BY created_at, id",
        )
        .bind(tenant.name())
        .fetch_all(&mut *transaction)
        .await?;
        transaction.commit().await?;
        rows.iter()
            .map(|row| {
                Ok(TokenRow {
                    id: row.try_get("id")?,
                    label: row.try_get("label")?,
                    created_at: timestamp(row.try_get("created_at")?),
                    revoked_at: row.try_get::<Option<i64>, _>("revoked_at")?.map(timestamp),
                })
            })
            .collect()
    }

    /// Revokes a token of this tenant. Whether there was one, not yet revoked.
    pub async fn revoke_token(&self, tenant: &Tenant, id: &str) -> Result<bool> {
        let mut transaction = self.registry.begin(tenant).await?;
        let done =
            sqlx::query("UPDATE tokens SET revoked_at = $3 WHERE tenant = $1 AND id = $2 AND revoked_at IS NULL")
                .bind(tenant.name())
                .bind(id)
                .bind(now_ms())
                .execute(&mut *transaction)
                .await?;
        transaction.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    async fn insert_token(&self, tenant: &Tenant, token: &Token, label: &str) -> Result<String> {
        let id = random_hex::<6>()?;
        let mut transaction = self.registry.begin(tenant).await?;
        sqlx::query("INSERT INTO tokens (id, tenant, hash, label, created_at) VALUES ($1, $2, $3, $4, $5)")
            .bind(&id)
            .bind(tenant.name())
            .bind(token.hash())
            .bind(label)
            .bind(now_ms())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(id)
    }
}
