//! The OpenAPI 3.1 document, generated from the handlers. `openapi.json` beside the sources is the same document, and a
//! test fails when the two differ.

use axum::response::{IntoResponse, Response};
use axum::{Json, http::header};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

#[derive(OpenApi)]
#[openapi(
    info(title = "Causeway", description = "Connect storage providers and mount them as file systems."),
    paths(
        crate::backends::list, crate::backends::get, crate::backends::test, crate::backends::delete,
        crate::connect::connect, crate::credentials::update, crate::sign_in::authorize, crate::callback::callback,
        crate::events::list, crate::pending::list, crate::pending::retry_all, crate::pending::retry, crate::pending::give_up,
        crate::mounts::list, crate::mounts::get, crate::mounts::create, crate::mounts::update, crate::mounts::delete,
        crate::pins::list, crate::pins::replace, crate::providers::list,
    ),
    modifiers(&Bearer),
    security(("bearer" = [])),
)]
struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_with(Default::default);
        components.add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
}

/// The document as JSON text.
pub fn document() -> Result<String, String> {
    Document::openapi().to_pretty_json().map_err(|error| error.to_string())
}

/// The document. Public: it tells nothing of any tenant.
pub(crate) async fn serve() -> Response {
    ([(header::CACHE_CONTROL, "public, max-age=300")], Json(Document::openapi())).into_response()
}
