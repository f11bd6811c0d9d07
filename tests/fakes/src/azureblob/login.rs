//! The endpoints of sign-in: discovery, and tokens in the words that Microsoft's service has for refusals.

use serde_json::json;

use super::{AzureBlob, TENANT};
use crate::{Request, Response, World};

impl AzureBlob {
    /// The endpoints of sign-in.
    pub(super) fn login(&mut self, request: &Request, world: &mut World) -> Response {
        let origin = request.origin();
        let segments = request.segments();
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (request.method.as_str(), path.as_slice()) {
            ("GET", ["common", "discovery", "instance"]) => {
                let endpoint =
                    format!("https://login.microsoftonline.com/{TENANT}/v2.0/.well-known/openid-configuration");
                Response::json(
                    200,
                    &json!({"tenant_discovery_endpoint": endpoint, "api-version": "1.1", "metadata": []}),
                )
            }
            ("GET", [tenant, "v2.0", ".well-known", "openid-configuration"]) => {
                let base = format!("{origin}/{tenant}/oauth2/v2.0");
                let found = json!({"token_endpoint": format!("{base}/token"), "authorization_endpoint": format!("{base}/authorize"),
                    "issuer": format!("{origin}/{tenant}/v2.0")});
                Response::json(200, &found)
            }
            ("POST", [tenant, "oauth2", "v2.0", "token"]) => {
                let oauth = |status, error: &str, number: u32| {
                    let why = format!("AADSTS{number}: the fake refuses this.");
                    Response::json(status, &json!({"error": error, "error_description": why, "error_codes": [number]}))
                };
                if *tenant != TENANT {
                    return oauth(400, "invalid_request", 90_002);
                }
                let scope = request.field("scope").unwrap_or_default();
                if !scope.split(' ').any(|scope| scope == "https://storage.azure.com/.default") {
                    return oauth(400, "invalid_scope", 70_011);
                }
                let reply = self.tokens.token(request, world);
                match reply.status {
                    200 => reply,
                    401 => oauth(401, "invalid_client", 7_000_215),
                    _ => oauth(400, "invalid_grant", 50_126),
                }
            }
            _ => Response::empty(404),
        }
    }
}
