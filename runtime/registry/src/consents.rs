//! Consents on their way: a person was sent to the provider, and will come back with a code.
//!
//! What is sent along (`state`) is 256 random bits that work once, within ten minutes, for one backend of one tenant and
//! towards one issuer. Only its hash is stored; the verifier of PKCE is sealed.

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use sha2::{Digest, Sha256};
use sqlx::Row;
use zeroize::Zeroizing;

use crate::database::now_ms;
use crate::ids::fill_random;
use crate::seal::Place;
use crate::{BackendId, Error, Registry, Result, Tenant};

/// How long a person may take, in milliseconds.
pub const CONSENT_MS: u64 = 600_000;

/// Consents on their way for one backend; the oldest go first.
const MOST: i64 = 16;

/// A consent that was begun.
#[derive(Clone)]
pub struct Begun {
    /// What goes along to the provider and comes back.
    pub state: Zeroizing<String>,
    /// What the code will be exchanged with.
    pub verifier: Zeroizing<String>,
}

/// A consent that came back.
#[derive(Clone)]
pub struct Consent {
    /// What the code is to be exchanged with.
    pub verifier: Zeroizing<String>,
    /// Towards whom it was begun.
    pub issuer: String,
}

impl std::fmt::Debug for Begun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<consent begun>")
    }
}

impl std::fmt::Debug for Consent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<consent of {}>", self.issuer)
    }
}

impl Registry {
    /// Begins a consent towards an issuer. `Missing` if there is no such backend.
    pub async fn begin_consent(&self, tenant: &Tenant, backend: &BackendId, issuer: &str) -> Result<Begun> {
        let begun = Begun { state: random_text()?, verifier: random_text()? };
        let hash = hash(&begun.state);
        let sealed = self.key().seal(place(tenant, backend, &hash), begun.verifier.as_bytes())?;
        let now = now_ms();
        let mut transaction = self.begin(tenant).await?;
        sqlx::query(
            "DELETE FROM consents WHERE tenant = $1 AND backend = $2 AND (expires_at <= $3 OR hash NOT IN \
             (SELECT hash FROM consents WHERE tenant = $1 AND backend = $2 ORDER BY expires_at DESC LIMIT $4))",
        )
        .bind(tenant.name())
        .bind(backend.as_str())
        .bind(now)
        .bind(MOST - 1)
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "INSERT INTO consents (tenant, backend, hash, verifier, issuer, expires_at) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(tenant.name())
        .bind(backend.as_str())
        .bind(&hash)
        .bind(sealed)
        .bind(issuer)
        .bind(now + CONSENT_MS as i64)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(begun)
    }

    /// Takes a consent, so that nobody can take it again. None if this backend has none of this state, or it came too late.
    pub async fn take_consent(&self, tenant: &Tenant, backend: &BackendId, state: &str) -> Result<Option<Consent>> {
        let hash = hash(state);
        let mut transaction = self.begin(tenant).await?;
        let row = sqlx::query(
            "DELETE FROM consents WHERE tenant = $1 AND backend = $2 AND hash = $3 RETURNING verifier, issuer, expires_at",
        )
        .bind(tenant.name())
        .bind(backend.as_str())
        .bind(&hash)
        .fetch_optional(&mut *transaction)
        .await?;
        transaction.commit().await?;
        let Some(row) = row else { return Ok(None) };
        if row.try_get::<i64, _>("expires_at")? <= now_ms() {
            return Ok(None);
        }
        let sealed: Vec<u8> = row.try_get("verifier")?;
        let verifier = self.key().open(place(tenant, backend, &hash), &sealed);
        let verifier = verifier.and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
        let verifier =
            verifier.ok_or_else(|| Error::Damaged(format!("a consent of backend {backend} does not open")))?;
        Ok(Some(Consent { verifier: Zeroizing::new(verifier), issuer: row.try_get("issuer")? }))
    }
}

/// 256 random bits: 43 characters, which is also what PKCE asks of a verifier.
fn random_text() -> Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new([0u8; 32]);
    fill_random(&mut *bytes)?;
    Ok(Zeroizing::new(BASE64URL_NOPAD.encode(&*bytes)))
}

fn hash(state: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(state.as_bytes()))
}

fn place<'a>(tenant: &'a Tenant, backend: &'a BackendId, hash: &'a str) -> Place<'a> {
    Place { table: "consents", tenant: tenant.name(), backend: backend.as_str(), field: hash }
}
