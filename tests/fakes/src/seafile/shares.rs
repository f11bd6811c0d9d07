//! Public links: made and found through the API, followed by anyone.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::api::iso;
use super::library::{absolute, split};
use super::{Failure, Seafile};
use crate::{Request, Response, World};

/// A public link.
#[derive(Debug, Clone)]
pub(super) struct Share {
    token: String,
    user: String,
    library: String,
    path: String,
    is_dir: bool,
    password: Option<String>,
    until: Option<Timestamp>,
}

impl Share {
    fn told(&self, origin: &str, now: Timestamp) -> Value {
        let kind = if self.is_dir { 'd' } else { 'f' };
        json!({"username": self.user, "repo_id": self.library, "path": self.path, "obj_name": split(&self.path).1, "is_dir": self.is_dir,
            "token": self.token, "link": format!("{origin}/{kind}/{}/", self.token), "view_cnt": 0,
            "expire_date": self.until.map(iso).unwrap_or_default(), "is_expired": self.until.is_some_and(|until| until <= now)})
    }
}

impl Seafile {
    /// Everything below `api/v2.1/share-links/`.
    pub(super) fn share_links(
        &mut self,
        user: &str,
        rest: &[&str],
        request: &Request,
        world: &mut World,
    ) -> Result<Response, Failure> {
        let (origin, now) = (request.origin(), world.now());
        match (request.method.as_str(), rest) {
            ("GET", []) => {
                let (library, path) =
                    (request.param("repo_id"), request.param("path").and_then(|path| absolute(&path)));
                let wanted = |share: &&Share| {
                    share.user == user
                        && library.as_ref().is_none_or(|library| *library == share.library)
                        && path.as_ref().is_none_or(|path| *path == share.path)
                };
                let told: Vec<Value> =
                    self.shares.iter().filter(wanted).map(|share| share.told(&origin, now)).collect();
                Ok(Response::json(200, &json!(told)))
            }
            ("POST", []) => {
                let share = self.new_share(user, request, world)?;
                let told = share.told(&origin, now);
                self.shares.push(share);
                Ok(Response::json(200, &told))
            }
            ("DELETE", [token]) => {
                self.shares.retain(|share| share.token != *token || share.user != user);
                Ok(Response::json(200, &json!({"success": true})))
            }
            _ => Err(Failure::new(405, "Method not allowed.")),
        }
    }

    fn new_share(&mut self, user: &str, request: &Request, world: &mut World) -> Result<Share, Failure> {
        let json = request.json().unwrap_or(Value::Null);
        let given = |name: &str| {
            let value = json.get(name).map(|value| value.as_str().map_or(value.to_string(), str::to_owned));
            value.or_else(|| request.field(name)).filter(|value| !value.is_empty())
        };
        let id = given("repo_id").ok_or_else(|| Failure::invalid("repo_id invalid."))?;
        let path = given("path").and_then(|path| absolute(&path)).ok_or_else(|| Failure::invalid("path invalid."))?;
        let library = self.library(user, &id)?;
        if library.key.is_some() {
            return Err(Failure::new(403, "Permission denied."));
        }
        let is_dir = library.is_dir(&path);
        if !is_dir && library.file(&path).is_none() {
            return Err(Failure::no_file(&path));
        }
        let days = match given("expire_days") {
            Some(days) => Some(days.parse::<i64>().map_err(|_| Failure::invalid("expire_days invalid."))?),
            None => None,
        };
        let now = world.now();
        let live = |share: &Share| share.until.is_none_or(|until| until > now);
        if self
            .shares
            .iter()
            .any(|share| share.user == user && share.library == id && share.path == path && live(share))
        {
            return Err(Failure::invalid(format!("Share link {path} already exists.")));
        }
        let until = days.and_then(|days| now.saturating_add(SignedDuration::from_hours(24 * days)).ok());
        let token = world.hex(20);
        Ok(Share { token, user: user.into(), library: id, path, is_dir, password: given("password"), until })
    }

    /// What anyone sees who follows a link: a file is downloaded, a directory shows its names.
    pub(super) fn shared_page(
        &mut self,
        token: &str,
        request: &Request,
        world: &mut World,
    ) -> Result<Response, Failure> {
        let now = world.now();
        let found =
            self.shares.iter().find(|share| share.token == token && share.until.is_none_or(|until| until > now));
        let share = found.cloned().ok_or_else(|| Failure::new(404, "Link does not exist."))?;
        if share.password.is_some() && share.password != request.field("password") {
            return Ok(Response::of(200, "text/html", "<form method=post><input name=password></form>"));
        }
        if share.is_dir {
            let library = self.library(&share.user, &share.library)?;
            let names: Vec<&str> =
                library.list(&share.path, false).into_iter().map(|(path, _)| split(path).1).collect();
            return Ok(Response::of(200, "text/html", format!("<ul><li>{}</ul>", names.join("<li>"))));
        }
        let url = self.file_url(&share.user, &share.library, &share.path, true, request, world);
        Ok(Response::empty(302).with("Location", url))
    }
}
