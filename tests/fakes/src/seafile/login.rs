//! Signing in, and what does not concern a library.

use serde_json::{Value, json};

use super::{Failure, Seafile};
use crate::{Request, Response, World};

impl Seafile {
    /// `POST api2/auth-token/`.
    pub(super) fn sign_in(&mut self, request: &Request, world: &mut World) -> Result<Response, Failure> {
        if request.method != "POST" {
            return Err(Failure::new(405, "Method not allowed."));
        }
        let given = |name: &str| match request.media_type().as_str() {
            "application/json" => request.json().and_then(|json| Some(json.get(name)?.as_str()?.to_owned())),
            "multipart/form-data" => request
                .multipart()?
                .into_iter()
                .find(|part| part.name().as_deref() == Some(name))
                .map(|part| part.text()),
            _ => request.field(name),
        };
        let refused = |why: &str| Response::json(400, &json!({"non_field_errors": [why]}));
        let (name, password) = (given("username").unwrap_or_default(), given("password").unwrap_or_default());
        let Some(user) = self.users.iter().find(|user| user.email == name && user.password == password) else {
            return Ok(refused("Unable to login with provided credentials."));
        };
        if let Some(code) = user.one_time_code {
            match request.header("x-seafile-otp") {
                None => {
                    let refusal = refused("Two factor auth token is missing.");
                    return Ok(refusal.with("X-Seafile-OTP", "required"));
                }
                Some(given) if given != code => return Ok(refused("Two factor auth token is invalid.")),
                Some(_) => {}
            }
        }
        let token = match self.tokens.iter().find(|(_, user)| **user == name) {
            Some((token, _)) => token.clone(),
            None => world.hex(40),
        };
        self.tokens.insert(token.clone(), name);
        Ok(Response::json(200, &json!({"token": token})))
    }

    /// Whose request it is.
    pub(super) fn user(&self, request: &Request) -> Result<String, Failure> {
        let missing = || Failure::new(401, "Authentication credentials were not provided.");
        let header = request.header("authorization").ok_or_else(missing)?;
        let token = header.strip_prefix("Token ").or_else(|| header.strip_prefix("Bearer ")).ok_or_else(missing)?;
        self.tokens.get(token.trim()).cloned().ok_or_else(|| Failure::new(401, "Invalid token"))
    }

    /// `GET api2/server-info/`.
    pub(super) fn server_info(&self) -> Response {
        let features = ["seafile-basic", "seafile-pro"];
        Response::json(200, &json!({"version": self.version, "features": features, "encrypted_library_version": 2}))
    }

    /// `GET api2/account/info/`.
    pub(super) fn account_info(&self, user: &str) -> Response {
        let total = self.quota_bytes.map_or(json!(-2), |bytes| json!(bytes));
        let told = json!({"email": user, "name": user.split('@').next(), "usage": self.used_bytes(user), "total": total, "login_id": ""});
        Response::json(200, &told)
    }

    /// `GET api2/repos/`: her own first.
    pub(super) fn repos(&self, user: &str) -> Response {
        let sees = |name: &String| name == user;
        let visible =
            self.libraries.iter().filter(|library| library.owner == user || library.shared_with.iter().any(sees));
        let list: Vec<Value> = visible
            .map(|library| {
                let own = library.owner == user;
                // Some versions tell whether it is encrypted in other types than a truth value.
                let encrypted = match (library.key.is_some(), self.loose_types) {
                    (true, true) => json!(1),
                    (false, true) if own => json!(0),
                    (false, true) => json!(""),
                    (encrypted, false) => json!(encrypted),
                };
                json!({"type": if own { "repo" } else { "srepo" }, "id": library.id, "name": library.name, "encrypted": encrypted,
                    "owner": library.owner, "size": library.size_bytes(), "mtime": library.mtime.as_second(),
                    "permission": library.permission, "root": "", "virtual": false})
            })
            .collect();
        Response::json(200, &json!(list))
    }
}
