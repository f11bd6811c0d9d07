//! A fake of Seafile: the API of its web server (`api2/` and `api/v2.1/`) and its file server (`/seafhttp/`) on one host. It speaks to
//! whoever asks for `seafile.test`, `cloud.seafile.com`, or the loopback address.
//!
//! Two users: `alice@fake.test`, and `olga@fake.test` whose sign-in wants a one-time code. Alice sees two libraries named `Docs`, her own
//! first, and the encrypted `Secret`.
//!
//! Control verbs: `token {"user"}` (what its sign-in gives), `otp {"user","on"}`, `revoke-tokens`, `password {"user","password"}`, `version {"version"}`, `quota {"bytes"}`,
//! `max-size {"bytes"}`, `permission {"library","permission"}`, `lock`/`unlock {"library","path"}`, `forget-keys` (encrypted libraries
//! are locked again), `expire-links`, `strict {"on"}` (`/seafhttp/` refuses requests that carry an `Authorization`),
//! `loose-types {"on"}` (`encrypted` is told as `""`, `0` or `1`), `put {"library","path","text"}`, `mkdir` and `remove {"library","path"}` (behind the client's back), `holds {"library"}` (all paths),
//! `trash {"library"}` (what lies in it). A library is named by its name (the first of that name) or id.

mod api;
mod files;
mod library;
mod login;
mod shares;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use self::files::{Link, Parts};
use self::library::{Library, Node};
use self::shares::Share;
use crate::text::decode;
use crate::{Fake, Reply, Request, Response, World};

/// The first user, and what libraries are hers.
const ALICE: &str = "alice@fake.test";
const OLGA: &str = "olga@fake.test";

/// The fake.
#[derive(Debug)]
pub struct Seafile {
    users: Vec<User>,
    libraries: Vec<Library>,
    /// Users by their tokens.
    tokens: BTreeMap<String, String>,
    links: BTreeMap<String, Link>,
    parts: BTreeMap<(String, String), Parts>,
    shares: Vec<Share>,
    version: String,
    quota_bytes: Option<u64>,
    file_max_bytes: Option<u64>,
    strict: bool,
    loose_types: bool,
}

#[derive(Debug)]
struct User {
    email: &'static str,
    password: String,
    one_time_code: Option<&'static str>,
}

/// An error answer: the status and what it says.
#[derive(Debug)]
struct Failure(u16, String);

/// The one code that is right.
const CODE: &str = "123456";

impl Failure {
    fn new(status: u16, text: impl Into<String>) -> Failure {
        Failure(status, text.into())
    }

    fn invalid(text: impl Into<String>) -> Failure {
        Failure(400, text.into())
    }

    fn no_folder(path: &str) -> Failure {
        Failure(404, format!("Folder {path} not found."))
    }

    fn no_file(path: &str) -> Failure {
        Failure(404, format!("File {path} not found."))
    }
}

impl Default for Seafile {
    fn default() -> Seafile {
        Seafile::new()
    }
}

impl Seafile {
    /// The users and libraries of the module's description.
    pub fn new() -> Seafile {
        let now = Timestamp::now();
        let id =
            |digit: char| format!("{}-0000-4000-8000-{}", digit.to_string().repeat(8), digit.to_string().repeat(12));
        let mut shared = Library::new(id('b'), "Docs", OLGA, None, now);
        shared.shared_with.push(ALICE.into());
        let user = |email, password: &str, one_time_code| User { email, password: password.into(), one_time_code };
        Seafile {
            users: vec![user(ALICE, "alicepassword", None), user(OLGA, "olgapassword", Some(CODE))],
            libraries: vec![
                Library::new(id('a'), "Docs", ALICE, None, now),
                shared,
                Library::new(id('c'), "Secret", ALICE, Some("librarykey".into()), now),
            ],
            tokens: BTreeMap::new(),
            links: BTreeMap::new(),
            parts: BTreeMap::new(),
            shares: Vec::new(),
            version: "10.0.1".into(),
            quota_bytes: None,
            file_max_bytes: None,
            strict: false,
            loose_types: false,
        }
    }

    /// Whether the server is of version 7 or newer.
    fn is_modern(&self) -> bool {
        let major = self.version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        major.is_some_and(|major| major >= 7)
    }

    fn used_bytes(&self, user: &str) -> u64 {
        self.libraries.iter().filter(|library| library.owner == user).map(|library| library.size_bytes() as u64).sum()
    }

    /// A library that a user sees.
    fn library(&mut self, user: &str, id: &str) -> Result<&mut Library, Failure> {
        let sees = |library: &Library| library.owner == user || library.shared_with.iter().any(|other| other == user);
        let found = self.libraries.iter_mut().find(|library| library.id == id && sees(library));
        found.ok_or_else(|| Failure::new(404, format!("Library {id} not found.")))
    }

    /// A library whose content may be looked at: an encrypted one only with its key.
    fn open(&mut self, user: &str, id: &str, now: Timestamp) -> Result<&mut Library, Failure> {
        let library = self.library(user, id)?;
        if library.key.is_some() && library.unlocked_until.is_none_or(|until| until <= now) {
            return Err(Failure::new(440, "Library password is needed."));
        }
        Ok(library)
    }

    /// A library whose content may be changed.
    fn open_to_write(&mut self, user: &str, id: &str, now: Timestamp) -> Result<&mut Library, Failure> {
        let library = self.open(user, id, now)?;
        if library.permission == "r" {
            return Err(Failure::new(403, "Permission denied."));
        }
        Ok(library)
    }

    fn controlled(&mut self, verb: &str, body: &Value, world: &mut World) -> Option<Value> {
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let on = body.get("on").and_then(Value::as_bool).unwrap_or(true);
        let bytes = body.get("bytes").and_then(Value::as_u64);
        let now = world.now();
        match verb {
            "token" => {
                let token = world.hex(40);
                self.tokens.insert(token.clone(), text("user"));
                return Some(json!({"token": token}));
            }
            "otp" => self.users.iter_mut().find(|user| user.email == text("user"))?.one_time_code = on.then_some(CODE),
            "password" => {
                self.users.iter_mut().find(|user| user.email == text("user"))?.password = text("password");
                self.tokens.retain(|_, user| *user != text("user"));
            }
            "revoke-tokens" => self.tokens.clear(),
            "version" => self.version = text("version"),
            "quota" => self.quota_bytes = bytes,
            "max-size" => self.file_max_bytes = bytes,
            "strict" => self.strict = on,
            "loose-types" => self.loose_types = on,
            "expire-links" => self.links.clear(),
            "forget-keys" => self.libraries.iter_mut().for_each(|library| library.unlocked_until = None),
            "permission" | "lock" | "unlock" | "put" | "mkdir" | "remove" | "holds" | "trash" => {
                let wanted = text("library");
                let named = |library: &&mut Library| library.name == wanted || library.id == wanted;
                let library = self.libraries.iter_mut().find(named)?;
                return in_library(library, verb, &text("path"), &text("text"), &text("permission"), now);
            }
            _ => return None,
        }
        Some(json!({}))
    }
}

/// The verbs of the control that are about one library.
fn in_library(
    library: &mut Library,
    verb: &str,
    path: &str,
    text: &str,
    permission: &str,
    now: Timestamp,
) -> Option<Value> {
    match verb {
        "permission" => library.permission = permission.to_owned(),
        "lock" | "unlock" => library.lock(path, verb == "lock"),
        "put" => {
            library.make_dirs(library::split(path).0, now);
            library.put(path, Node::File { content: text.to_owned().into(), mtime: now, locked: false }, now);
        }
        "mkdir" => library.make_dirs(path, now),
        "remove" => drop(library.take(path, now)),
        "holds" => return Some(library.list("/", true).into_iter().map(|(path, _)| path).collect()),
        "trash" => return Some(library.trash.iter().map(|(path, ..)| path.as_str()).collect()),
        _ => return None,
    }
    Some(json!({}))
}

impl Fake for Seafile {
    fn name(&self) -> &'static str {
        "seafile"
    }

    fn hosts(&self) -> Vec<String> {
        vec!["seafile.test".into(), "cloud.seafile.com".into()]
    }

    fn owns_path(&self, path: &str) -> bool {
        ["/api2/", "/api/v2.1/", "/seafhttp/", "/f/", "/d/"].iter().any(|prefix| path.starts_with(prefix))
    }

    fn answer(&mut self, request: &Request, world: &mut World) -> Reply {
        let segments: Vec<String> = request.path.split('/').filter(|part| !part.is_empty()).map(decode).collect();
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        if let ["seafhttp", rest @ ..] = path.as_slice() {
            let answer = self.file_server(request, rest, world);
            return answer
                .unwrap_or_else(|Failure(status, text)| Response::json(status, &json!({"error": text})))
                .into();
        }
        if !request.path.ends_with('/') {
            // The framework adds the slash where it can, which is not where a body would be lost.
            return match request.method.as_str() {
                "GET" | "HEAD" => {
                    let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
                    Response::empty(301).with("Location", format!("{}/{query}", request.path)).into()
                }
                _ => Response::text(500, "the URL does not end in a slash").into(),
            };
        }
        let answer = match path.as_slice() {
            ["f" | "d", token] => self.shared_page(token, request, world),
            ["api2", "auth-token"] => self.sign_in(request, world),
            _ => self.api(request, &path, world),
        };
        let failed = |Failure(status, text)| {
            let member = if status == 401 || status == 405 { "detail" } else { "error_msg" };
            Response::json(status, &json!({ member: text }))
        };
        answer.unwrap_or_else(failed).into()
    }

    fn control(&mut self, verb: &str, body: &Value, world: &mut World) -> Value {
        self.controlled(verb, body, world).unwrap_or(Value::Null)
    }

    fn accounts(&self, origin: &str) -> Value {
        let users: Vec<Value> = self
            .users
            .iter()
            .map(|user| json!({"user": user.email, "password": user.password, "one_time_code": user.one_time_code}))
            .collect();
        let libraries: Vec<Value> = self
            .libraries
            .iter()
            .map(|library| json!({"id": library.id, "name": library.name, "owner": library.owner, "key": library.key}))
            .collect();
        json!({"url": format!("{origin}/"), "user": ALICE, "password": "alicepassword", "library": "Docs", "users": users,
            "libraries": libraries})
    }
}
