//! Who asks: a bearer token becomes a tenant, or the request ends here.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use causeway_registry::{Tenant, Token};

use crate::Api;
use crate::error::{ApiError, ApiResult};

/// The tenant of a request, put there by [`require_token`].
#[derive(Clone)]
pub(crate) struct Caller(pub(crate) Tenant);

/// Lets through what carries a valid token. Runs before any path, body or id is looked at, so that nothing can be learned
/// without one.
pub(crate) async fn require_token(State(api): State<Api>, mut request: Request, next: Next) -> ApiResult<Response> {
    let token = shown(request.headers()).ok_or_else(ApiError::unauthorized)?;
    let tenant = api.registry.authenticate(&token).await?.ok_or_else(ApiError::unauthorized)?;
    tracing::Span::current().record("tenant", tenant.name());
    request.extensions_mut().insert(Caller(tenant));
    Ok(next.run(request).await)
}

fn shown(headers: &HeaderMap) -> Option<Token> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| Token::shown(token))
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Caller, ApiError> {
        parts.extensions.get::<Caller>().cloned().ok_or_else(ApiError::unauthorized)
    }
}
