//! Sign-in: Google's own ways around the shared token endpoint. A refresh token only comes with `access_type=offline`, replies
//! name their scope, and a service account's assertion must be for this endpoint, for an hour at most, and name a scope.
use std::collections::BTreeSet;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde_json::{Value, json};

use super::failure::Failure;
use super::model::ME;
use crate::oauth::TokenServer;
use crate::{Request, Response, World};

const CLIENT: &str = "fake-client.apps.googleusercontent.com";
const SECRET: &str = "fake-client-secret";
const ROBOT: &str = "robot@fake-project.iam.gserviceaccount.com";
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
const SCOPE: &str = "https://www.googleapis.com/auth/drive";
const LONGEST_ASSERTION_SECONDS: i64 = 3600;

/// The endpoints of sign-in.
#[derive(Debug)]
pub(super) struct SignIn {
    /// The token endpoint.
    pub(super) tokens: TokenServer,
    /// Codes of authorizations that did not ask for a refresh token.
    online: BTreeSet<String>,
    access: String,
    refresh: String,
    /// The private key of the service account, PEM.
    robot: String,
}

impl Default for SignIn {
    fn default() -> SignIn {
        let mut tokens = TokenServer::new(CLIENT, SECRET, ME, "fake-password");
        // The first pair has a prefix of its own, since the ids of the world at hand are given out again by the shared one.
        tokens.prefix = "ya29.first-".into();
        let (access, refresh) = tokens.issue(ME, &mut World::default());
        tokens.prefix = "ya29.".into();
        let mut robot = String::new();
        if let Ok(pair) = KeyPair::generate(KeySize::Rsa2048) {
            tokens.signers.insert(ROBOT.into(), (pair.public_key().as_ref().to_vec(), ROBOT.into()));
            let der: Result<Pkcs8V1Der<'_>, _> = pair.as_der();
            robot = der.map(|der| pem(der.as_ref())).unwrap_or_default();
        }
        SignIn { tokens, online: BTreeSet::new(), access, refresh, robot }
    }
}

fn pem(der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
}

impl SignIn {
    /// Whether a request bears a token that counts.
    pub(super) fn check(&self, request: &Request, world: &World) -> Result<(), Failure> {
        let message = "Request had invalid authentication credentials.".to_owned();
        let wrong = |_| Failure { status: 401, reason: "authError".into(), message };
        self.tokens.check(request, world).map(|_| ()).map_err(wrong)
    }

    /// The consent page and the token endpoint.
    pub(super) fn answer(&mut self, request: &Request, world: &mut World) -> Response {
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/o/oauth2/auth" | "/o/oauth2/v2/auth") => self.consent(request, world),
            ("POST", "/token" | "/o/oauth2/token") => self.token(request, world),
            ("POST", "/revoke") => {
                self.tokens.control("oauth-revoke", &Value::Null, world);
                self.tokens.control("oauth-expire-refresh", &Value::Null, world);
                Response::json(200, &json!({}))
            }
            _ => Response::empty(404),
        }
    }

    fn consent(&mut self, request: &Request, world: &mut World) -> Response {
        let scope = request.param("scope").unwrap_or_default();
        if scope.is_empty() || !scope.split(' ').all(|one| one.starts_with("https://www.googleapis.com/auth/drive")) {
            return Response::text(400, "Error 400: invalid_scope");
        }
        let answer = self.tokens.authorize(request, world);
        if request.param("access_type").as_deref() != Some("offline") {
            let location = answer.header("location").unwrap_or_default();
            let code = location.split(['?', '&']).find_map(|pair| pair.strip_prefix("code="));
            self.online.extend(code.map(str::to_owned));
        }
        answer
    }

    fn token(&mut self, request: &Request, world: &mut World) -> Response {
        let refusal = |why: &str| Response::json(400, &json!({ "error": "invalid_grant", "error_description": why }));
        if let Some(why) = request.field("assertion").and_then(|assertion| wrong_claims(&assertion)) {
            return refusal(why);
        }
        let answer = self.tokens.token(request, world);
        let Ok(Value::Object(mut reply)) = serde_json::from_slice(&answer.body) else { return answer };
        if answer.status != 200 {
            return answer;
        }
        if request.field("code").is_some_and(|code| self.online.remove(&code)) {
            reply.remove("refresh_token");
        }
        reply.insert("scope".into(), json!(SCOPE));
        Response::json(200, &Value::Object(reply)).with("Cache-Control", "no-store")
    }

    /// What clients are configured with.
    pub(super) fn accounts(&self) -> Value {
        json!({
            "client_id": CLIENT, "client_secret": SECRET, "access_token": self.access, "refresh_token": self.refresh,
            "user": ME,
            "service_account": {
                "type": "service_account", "project_id": "fake-project", "private_key_id": "fake-key-1",
                "private_key": self.robot, "client_email": ROBOT, "client_id": "100000000000000000001",
                "auth_uri": "https://accounts.google.com/o/oauth2/auth", "token_uri": TOKEN_URI,
            },
        })
    }
}

/// What Google refuses in an assertion, besides its signature.
fn wrong_claims(assertion: &str) -> Option<&'static str> {
    let claims = assertion.split('.').nth(1).and_then(|part| BASE64URL_NOPAD.decode(part.as_bytes()).ok());
    let Some(claims) = claims.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok()) else {
        return Some("no JWT");
    };
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    let number = |name: &str| claims.get(name).and_then(Value::as_i64);
    let (Some(issued), Some(expires)) = (number("iat"), number("exp")) else { return Some("iat and exp are required") };
    match () {
        () if text("aud") != TOKEN_URI => Some("the audience is another"),
        () if expires - issued > LONGEST_ASSERTION_SECONDS => Some("the assertion is valid for too long"),
        () if !text("scope").contains("/auth/drive") => Some("the scope is missing"),
        () => None,
    }
}
