//! A token endpoint as a reusable part: authorization codes with PKCE, refresh tokens with or without rotation, client
//! credentials, passwords, devices, signed assertions. A fake owns one, routes its paths to it and asks [`TokenServer::check`].
//!
//! What a client relies on is kept: the client is authenticated before any grant is looked at, so a refused attempt uses up nothing;
//! codes, and refresh tokens under rotation, work once; access tokens expire by the fakes' clock.
//!
//! Control verbs that a fake may hand over (see [`TokenServer::control`]): `oauth-refuse {"on":bool}` (every grant is
//! `invalid_grant`), `oauth-rotate {"on":bool}`, `oauth-revoke` (all access tokens), `oauth-expire-refresh` (all refresh tokens),
//! `oauth-approve {"user_code":"...","account":"..."}`, `oauth-issue {"account":"..."}` (a token pair), `oauth-lifetime {"seconds":n}`, `oauth-signer {"issuer","public_key","account"}`
//! (who may sign assertions; the key is an `RSAPublicKey` in base64).

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::text::{decode_form, encode};
use crate::{Request, Response, World};

/// An application that is known to the provider.
#[derive(Debug, Clone)]
pub struct Client {
    /// `client_id`.
    pub id: String,
    /// `client_secret`; a public client has none and needs PKCE.
    pub secret: Option<String>,
}

/// A person.
#[derive(Debug, Clone)]
pub struct Account {
    /// What it signs in with, and what [`TokenServer::check`] answers.
    pub name: String,
    /// For the password grant.
    pub password: String,
}

/// The endpoint and its memory. All fields may be changed at any time.
#[derive(Debug)]
pub struct TokenServer {
    /// The applications.
    pub clients: Vec<Client>,
    /// The people. The first one consents to every authorization.
    pub accounts: Vec<Account>,
    /// Public keys (PKCS#1 `RSAPublicKey`, DER) of who may sign assertions, by issuer, with the account they act for.
    pub signers: HashMap<String, (Vec<u8>, String)>,
    /// `token_type` of the replies, and the scheme that [`TokenServer::check`] wants.
    pub token_type: String,
    /// How long an access token lives.
    pub lifetime_seconds: i64,
    /// Whether a refresh answers with a new refresh token and ends the old one.
    pub rotate: bool,
    /// Whether HTTP Basic is accepted for the client.
    pub basic: bool,
    /// Whether every grant is refused.
    pub refuse: bool,
    /// What access tokens begin with.
    pub prefix: String,
    codes: HashMap<String, Code>,
    refreshes: HashMap<String, Grant>,
    tokens: HashMap<String, (String, Timestamp)>,
    devices: HashMap<String, Device>,
}

#[derive(Debug)]
struct Code {
    grant: Grant,
    redirect: String,
    challenge: Option<String>,
}

#[derive(Debug, Clone)]
struct Grant {
    client: String,
    account: String,
}

#[derive(Debug)]
struct Device {
    client: String,
    user_code: String,
    account: Option<String>,
}

/// A refusal in the words of RFC 6749.
struct Refusal(u16, &'static str, &'static str);

impl TokenServer {
    /// One client, one account, bearer tokens of an hour, no rotation.
    pub fn new(client_id: &str, client_secret: &str, account: &str, password: &str) -> TokenServer {
        TokenServer {
            clients: vec![Client { id: client_id.into(), secret: Some(client_secret.into()) }],
            accounts: vec![Account { name: account.into(), password: password.into() }],
            signers: HashMap::new(),
            token_type: "Bearer".into(),
            lifetime_seconds: 3600,
            rotate: false,
            basic: true,
            refuse: false,
            prefix: "at-".into(),
            codes: HashMap::new(),
            refreshes: HashMap::new(),
            tokens: HashMap::new(),
            devices: HashMap::new(),
        }
    }

    /// The consent page: the first account agrees at once, and the browser is sent back with `code` and `state`.
    pub fn authorize(&mut self, request: &Request, world: &mut World) -> Response {
        let param = |name: &str| request.param(name);
        let Some(client) = param("client_id").filter(|id| self.clients.iter().any(|client| client.id == *id)) else {
            return Response::text(400, "unknown client_id");
        };
        let (Some(redirect), Some("code")) = (param("redirect_uri"), param("response_type").as_deref()) else {
            return Response::text(400, "redirect_uri and response_type=code are required");
        };
        if param("code_challenge").is_some() && param("code_challenge_method").as_deref() != Some("S256") {
            return Response::text(400, "code_challenge_method must be S256");
        }
        let account = self.accounts.first().map(|account| account.name.clone()).unwrap_or_default();
        let code = format!("code-{}", world.word(24));
        let mut target = format!("{redirect}{}code={code}", if redirect.contains('?') { '&' } else { '?' });
        if let Some(state) = param("state") {
            target.push_str(&format!("&state={}", encode(&state, "")));
        }
        let grant = Grant { client, account };
        self.codes.insert(code, Code { grant, redirect, challenge: param("code_challenge") });
        Response::empty(302).with("Location", target)
    }

    /// Begins a device's authorization (RFC 8628).
    pub fn device(&mut self, request: &Request, world: &mut World) -> Response {
        let client = request.field("client_id").unwrap_or_default();
        if !self.clients.iter().any(|known| known.id == client) {
            return refused(&Refusal(400, "invalid_client", "unknown client_id"));
        }
        let (code, user_code) = (world.word(40), world.hex(8).to_uppercase());
        let reply = json!({"device_code": code, "user_code": user_code, "verification_uri": format!("{}/device", request.origin()),
            "expires_in": 900, "interval": 1});
        self.devices.insert(code, Device { client, user_code, account: None });
        Response::json(200, &reply)
    }

    /// The token endpoint.
    pub fn token(&mut self, request: &Request, world: &mut World) -> Response {
        match self.granted(request, world) {
            Ok((grant, refresh)) => {
                let reply = self.reply(&grant, refresh, world);
                Response::json(200, &reply).with("Cache-Control", "no-store")
            }
            Err(refusal) => refused(&refusal),
        }
    }

    /// Whose request it is, or a plain 401 to send.
    pub fn check(&self, request: &Request, world: &World) -> Result<String, Response> {
        let header = request.header("authorization").unwrap_or_default();
        let token = header.strip_prefix(self.token_type.as_str()).map(str::trim).unwrap_or_default();
        match self.tokens.get(token) {
            Some((account, until)) if *until > world.now() => Ok(account.clone()),
            _ => Err(Response::json(401, &json!({"error": "invalid_token"}))
                .with("WWW-Authenticate", format!("{} error=\"invalid_token\"", self.token_type))),
        }
    }

    /// A token pair for an account, as if it had consented: `(access, refresh)`.
    pub fn issue(&mut self, account: &str, world: &mut World) -> (String, String) {
        let client = self.clients.first().map(|client| client.id.clone()).unwrap_or_default();
        let reply = self.reply(&Grant { client, account: account.into() }, Refresh::New, world);
        let text = |name: &str| reply.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        (text("access_token"), text("refresh_token"))
    }

    /// The verbs of the module's description; `None` for others.
    pub fn control(&mut self, verb: &str, body: &Value, world: &mut World) -> Option<Value> {
        let on = body.get("on").and_then(Value::as_bool).unwrap_or(true);
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        match verb {
            "oauth-refuse" => self.refuse = on,
            "oauth-rotate" => self.rotate = on,
            "oauth-revoke" => self.tokens.clear(),
            "oauth-expire-refresh" => self.refreshes.clear(),
            "oauth-lifetime" => self.lifetime_seconds = body.get("seconds").and_then(Value::as_i64).unwrap_or(3600),
            "oauth-approve" => {
                let wanted = text("user_code");
                let Some(device) = self.devices.values_mut().find(|device| device.user_code == wanted) else {
                    return Some(json!({"error": "no such user_code"}));
                };
                device.account = Some(text("account"));
            }
            "oauth-signer" => {
                let Ok(key) = BASE64.decode(text("public_key").as_bytes()) else {
                    return Some(json!({"error": "public_key is not base64"}));
                };
                self.signers.insert(text("issuer"), (key, text("account")));
            }
            "oauth-issue" => {
                let (access, refresh) = self.issue(&text("account"), world);
                return Some(json!({"access_token": access, "refresh_token": refresh}));
            }
            _ => return None,
        }
        Some(json!({}))
    }

    fn granted(&mut self, request: &Request, world: &World) -> Result<(Grant, Refresh), Refusal> {
        let field = |name: &str| request.field(name).unwrap_or_default();
        let kind = field("grant_type");
        if kind == "urn:ietf:params:oauth:grant-type:jwt-bearer" {
            let account = self.asserted(&field("assertion"), None, world)?;
            return self.unless_refused(Grant { client: String::new(), account }, Refresh::None);
        }
        let client = self.client(request, world)?;
        let (account, refresh) = match kind.as_str() {
            "authorization_code" => (self.code(&client, request)?, Refresh::New),
            "refresh_token" => {
                let token = field("refresh_token");
                let known = self.refreshes.get(&token).filter(|grant| grant.client == client);
                let Some(grant) = known.filter(|_| !self.refuse).cloned() else {
                    return Err(Refusal(400, "invalid_grant", "the refresh token is not valid"));
                };
                if self.rotate {
                    self.refreshes.remove(&token);
                }
                (grant.account, if self.rotate { Refresh::New } else { Refresh::None })
            }
            "client_credentials" => (client.clone(), Refresh::None),
            "password" => {
                let (name, password) = (field("username"), field("password"));
                let known = self.accounts.iter().any(|account| account.name == name && account.password == password);
                if !known {
                    return Err(Refusal(400, "invalid_grant", "wrong user name or password"));
                }
                (name, Refresh::New)
            }
            "urn:ietf:params:oauth:grant-type:device_code" => {
                let code = field("device_code");
                let Some(device) = self.devices.get(&code).filter(|device| device.client == client) else {
                    return Err(Refusal(400, "invalid_grant", "unknown device_code"));
                };
                let Some(account) = device.account.clone() else {
                    return Err(Refusal(400, "authorization_pending", "not approved yet"));
                };
                self.devices.remove(&code);
                (account, Refresh::New)
            }
            _ => return Err(Refusal(400, "unsupported_grant_type", "unknown grant_type")),
        };
        self.unless_refused(Grant { client, account }, refresh)
    }

    fn unless_refused(&self, grant: Grant, refresh: Refresh) -> Result<(Grant, Refresh), Refusal> {
        if self.refuse { Err(Refusal(400, "invalid_grant", "refused")) } else { Ok((grant, refresh)) }
    }

    /// The client that authenticated itself: by Basic, by fields, by an assertion, or not at all where it has no secret.
    fn client(&self, request: &Request, world: &World) -> Result<String, Refusal> {
        let wrong = || Refusal(401, "invalid_client", "the client is unknown or its secret is wrong");
        if let Some((id, secret)) = request.basic() {
            let (id, secret) = (decode_form(&id), decode_form(&secret));
            let right = self.clients.iter().any(|client| client.id == id && client.secret.as_deref() == Some(&secret));
            return if self.basic && right { Ok(id) } else { Err(wrong()) };
        }
        let id = request.field("client_id").ok_or_else(wrong)?;
        let client = self.clients.iter().find(|client| client.id == id).ok_or_else(wrong)?;
        if let Some(assertion) = request.field("client_assertion") {
            let kind = request.field("client_assertion_type").unwrap_or_default();
            if kind != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
                return Err(wrong());
            }
            let audience = format!("{}{}", request.origin(), request.path);
            return self.asserted(&assertion, Some(&audience), world).map(|_| id);
        }
        if client.secret == request.field("client_secret").filter(|secret| !secret.is_empty()) {
            Ok(id)
        } else {
            Err(wrong())
        }
    }

    fn code(&mut self, client: &str, request: &Request) -> Result<String, Refusal> {
        let wrong = Refusal(400, "invalid_grant", "the code, its redirect_uri or its verifier is wrong");
        let given = request.field("code").unwrap_or_default();
        // Codes work once, whether or not the rest is right.
        let Some(code) = self.codes.remove(&given) else { return Err(wrong) };
        let verifier = request.field("code_verifier").unwrap_or_default();
        let hashed = BASE64URL_NOPAD.encode(&Sha256::digest(verifier));
        let proven = code.challenge.is_none_or(|challenge| challenge == hashed);
        let same = request.field("redirect_uri").is_some_and(|redirect| redirect == code.redirect);
        if code.grant.client == client && proven && same { Ok(code.grant.account) } else { Err(wrong) }
    }

    /// The account that a signed assertion acts for. `exp` is checked, and `aud` where it is known.
    fn asserted(&self, assertion: &str, audience: Option<&str>, world: &World) -> Result<String, Refusal> {
        let wrong = |why| Refusal(400, "invalid_grant", why);
        let (signed, signature) = assertion.rsplit_once('.').ok_or(wrong("no JWT"))?;
        let (header, claims) = signed.split_once('.').ok_or(wrong("no JWT"))?;
        let part = |text: &str| {
            let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
            serde_json::from_slice::<Value>(&bytes).ok()
        };
        let (Some(header), Some(claims)) = (part(header), part(claims)) else { return Err(wrong("no JWT")) };
        let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (key, account) = self.signers.get(&text(&claims, "iss")).ok_or(wrong("unknown issuer"))?;
        let algorithm = match text(&header, "alg").as_str() {
            "RS256" => &RSA_PKCS1_2048_8192_SHA256,
            "PS256" => &RSA_PSS_2048_8192_SHA256,
            _ => return Err(wrong("unknown algorithm")),
        };
        let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).map_err(|_| wrong("no JWT"))?;
        let key = UnparsedPublicKey::new(algorithm, key);
        key.verify(signed.as_bytes(), &signature).map_err(|_| wrong("the signature is wrong"))?;
        let expires = claims.get("exp").and_then(Value::as_i64).unwrap_or_default();
        if expires <= world.now().as_second() {
            return Err(wrong("the assertion has expired"));
        }
        if audience.is_some_and(|audience| text(&claims, "aud") != audience) {
            return Err(wrong("the audience is another"));
        }
        // An application that may act for others says for whom.
        Ok(Some(text(&claims, "sub")).filter(|sub| !sub.is_empty() && audience.is_none()).unwrap_or(account.clone()))
    }

    fn reply(&mut self, grant: &Grant, refresh: Refresh, world: &mut World) -> Value {
        let access = format!("{}{}", self.prefix, world.word(32));
        let until =
            world.now().saturating_add(SignedDuration::from_secs(self.lifetime_seconds)).unwrap_or(Timestamp::MAX);
        self.tokens.insert(access.clone(), (grant.account.clone(), until));
        let mut reply =
            json!({"access_token": access, "token_type": self.token_type, "expires_in": self.lifetime_seconds});
        if let (Refresh::New, Some(members)) = (refresh, reply.as_object_mut()) {
            let token = format!("rt-{}", world.word(32));
            self.refreshes.insert(token.clone(), grant.clone());
            members.insert("refresh_token".into(), token.into());
        }
        reply
    }
}

#[derive(Debug, Clone, Copy)]
enum Refresh {
    New,
    None,
}

fn refused(Refusal(status, error, why): &Refusal) -> Response {
    Response::json(*status, &json!({"error": error, "error_description": why})).with("Cache-Control", "no-store")
}
