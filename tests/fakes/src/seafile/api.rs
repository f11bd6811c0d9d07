//! The web server's API about libraries and what is in them.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::library::{Library, Node, absolute, join, split, valid_name};
use super::{Failure, Seafile};
use crate::{Request, Response, World};

/// The server forgets a library's key after this.
const KEY: SignedDuration = SignedDuration::from_hours(1);

impl Seafile {
    /// Everything below `api2/` and `api/v2.1/` but signing in.
    pub(super) fn api(&mut self, request: &Request, path: &[&str], world: &mut World) -> Result<Response, Failure> {
        match path {
            ["api2", "ping"] => return Ok(Response::json(200, &json!("pong"))),
            ["api2", "server-info"] => return Ok(self.server_info()),
            _ => {}
        }
        let user = self.user(request)?;
        let now = world.now();
        match (request.method.as_str(), path) {
            ("GET", ["api2", "auth", "ping"]) => Ok(Response::json(200, &json!("pong"))),
            ("GET", ["api2", "account", "info"]) => Ok(self.account_info(&user)),
            ("GET", ["api2", "repos"]) => Ok(self.repos(&user)),
            ("POST", ["api2", "repos"]) => self.create(&user, request, world),
            ("POST", ["api2", "repos", id]) => self.unlock(&user, id, request, now),
            ("DELETE", ["api2", "repos", id]) => {
                let id = self.library(&user, id)?.id.clone();
                self.libraries.retain(|library| library.id != id);
                Ok(success())
            }
            ("GET", ["api", "v2.1", "repos", id, "dir"]) if self.is_modern() => self.list(&user, id, request, now),
            ("GET", ["api2", "repos", id, "dir"]) => {
                let dir = absolute(&request.param("p").unwrap_or("/".into()))
                    .ok_or_else(|| Failure::invalid("p is invalid."))?;
                let library = self.open(&user, id, now)?;
                let list = dirents(library, &dir, false).ok_or_else(|| Failure::no_folder(&dir))?;
                Ok(Response::json(200, &json!(list)).with("oid", "0".repeat(40)))
            }
            ("GET", ["api2", "repos", id, "file", "detail"]) => {
                let path = required_path(request, "p")?;
                let library = self.open(&user, id, now)?;
                let node = library.file(&path).ok_or_else(|| Failure::no_file(&path))?;
                let mut told = dirent(library, &path, node);
                if let Some(members) = told.as_object_mut() {
                    members.insert("last_modified".into(), iso(node.mtime()).into());
                }
                Ok(Response::json(200, &told))
            }
            ("GET", ["api", "v2.1", "repos", id, "dir", "detail"]) => {
                let path = required_path(request, "path")?;
                if path == "/" {
                    return Err(Failure::invalid("path invalid."));
                }
                let library = self.open(&user, id, now)?;
                let node = library.node(&path).filter(|node| node.is_dir()).ok_or_else(|| Failure::no_folder(&path))?;
                let told = json!({"repo_id": library.id, "path": format!("{path}/"), "name": split(&path).1,
                    "mtime": iso(node.mtime()), "permission": library.permission});
                Ok(Response::json(200, &told))
            }
            ("GET", ["api2", "repos", id, "file"]) => self.download_link(&user, id, request, world),
            ("GET", ["api2", "repos", id, kind @ ("upload-link" | "update-link")]) => {
                self.upload_link(&user, id, kind, request, world)
            }
            ("GET", ["api", "v2.1", "repos", id, "file-uploaded-bytes"]) => {
                self.uploaded_bytes(&user, id, request, now)
            }
            ("POST", ["api2", "repos", id, "dir"]) => self.change_dir(&user, id, request, now),
            ("POST", ["api", "v2.1", "repos", id, "file"]) => self.change_file(&user, id, request, now),
            ("POST", ["api", "v2.1", "repos", what @ ("sync-batch-move-item" | "sync-batch-copy-item")])
                if self.is_modern() =>
            {
                self.batch(&user, *what == "sync-batch-move-item", request, now)
            }
            ("DELETE", ["api2", "repos", id, kind @ ("file" | "dir")]) => {
                let path = required_path(request, "p")?;
                let library = self.open_to_write(&user, id, now)?;
                let right = library.node(&path).filter(|node| node.is_dir() == (*kind == "dir"));
                right
                    .ok_or_else(|| if *kind == "dir" { Failure::no_folder(&path) } else { Failure::no_file(&path) })?;
                unlocked(library, &path)?;
                library.remove(&path, now);
                Ok(success())
            }
            ("GET", ["api", "v2.1", "repos", id, "trash"]) => {
                let library = self.library(&user, id)?;
                let told = library.trash.iter().map(|(path, node, since)| {
                    json!({"obj_name": split(path).1, "parent_dir": split(path).0, "deleted_time": iso(*since), "is_dir": node.is_dir(),
                        "size": node.size_bytes(), "obj_id": node.id()})
                });
                Ok(Response::json(200, &json!({"data": told.collect::<Vec<_>>(), "more": false})))
            }
            ("DELETE", ["api", "v2.1", "repos", id, "trash"]) => {
                let days = request.field("keep_days").and_then(|days| days.parse().ok()).unwrap_or(0);
                let kept = SignedDuration::from_hours(24 * days);
                let library = self.library(&user, id)?;
                library.trash.retain(|(_, _, since)| now.duration_since(*since) < kept);
                Ok(Response::json(200, &json!({"success": true})))
            }
            (_, ["api", "v2.1", "share-links", rest @ ..]) => self.share_links(&user, rest, request, world),
            _ => Err(Failure::new(404, "Not found.")),
        }
    }

    fn create(&mut self, user: &str, request: &Request, world: &mut World) -> Result<Response, Failure> {
        let json = request.json().unwrap_or(Value::Null);
        let given =
            |name: &str| json.get(name).and_then(Value::as_str).map(str::to_owned).or_else(|| request.field(name));
        let name = given("name").filter(|name| valid_name(name)).ok_or_else(|| Failure::invalid("name invalid."))?;
        let key = given("passwd").filter(|key| !key.is_empty());
        let library = Library::new(world.uuid(), &name, user, key, world.now());
        let told = json!({"repo_id": library.id, "repo_name": library.name, "encrypted": library.key.is_some()});
        self.libraries.push(library);
        Ok(Response::json(200, &told))
    }

    fn unlock(&mut self, user: &str, id: &str, request: &Request, now: Timestamp) -> Result<Response, Failure> {
        let given = request
            .field("password")
            .filter(|_| is_form(request))
            .ok_or_else(|| Failure::invalid("password invalid."))?;
        let library = self.library(user, id)?;
        match &library.key {
            None => Err(Failure::new(409, "Library is not encrypted.")),
            Some(key) if *key != given => Err(Failure::invalid("Incorrect password")),
            Some(_) => {
                library.unlocked_until = now.saturating_add(KEY).ok();
                Ok(success())
            }
        }
    }

    fn list(&mut self, user: &str, id: &str, request: &Request, now: Timestamp) -> Result<Response, Failure> {
        let dir = absolute(&request.param("p").unwrap_or("/".into())).ok_or_else(|| Failure::invalid("p invalid."))?;
        let recursive = match request.param("recursive").as_deref() {
            None | Some("0") => false,
            Some("1") => true,
            Some(_) => {
                return Err(Failure::invalid(
                    "If you want to get recursive dir entries, you should set 'recursive' argument as '1'.",
                ));
            }
        };
        let kind = match request.param("t").as_deref() {
            None => None,
            Some("f") => Some("file"),
            Some("d") => Some("dir"),
            Some(_) => return Err(Failure::invalid("'t'(type) should be 'f' or 'd'.")),
        };
        let library = self.open(user, id, now)?;
        let list = dirents(library, &dir, recursive).ok_or_else(|| Failure::no_folder(&dir))?;
        let kept: Vec<Value> =
            list.into_iter().filter(|entry| kind.is_none_or(|kind| entry.get("type") == Some(&json!(kind)))).collect();
        let told = if recursive {
            json!({"dirent_list": kept})
        } else {
            json!({"user_perm": library.permission, "dir_id": "0".repeat(40), "dirent_list": kept})
        };
        Ok(Response::json(200, &told))
    }

    /// Makes or renames a directory.
    fn change_dir(&mut self, user: &str, id: &str, request: &Request, now: Timestamp) -> Result<Response, Failure> {
        if !is_form(request) {
            return Err(Failure::invalid("Operation not supported."));
        }
        let path = required_path(request, "p")?;
        let (dir, name) = split(&path);
        if path == "/" || !valid_name(name) {
            return Err(Failure::invalid("Path invalid."));
        }
        let operation = request.field("operation").unwrap_or_default();
        let origin = request.origin();
        let library = self.open_to_write(user, id, now)?;
        match operation.as_str() {
            "mkdir" => {
                if !library.is_dir(dir) {
                    return Err(Failure::no_folder(dir));
                }
                let made = join(dir, &library.free_name(dir, name));
                library.put(&made, Node::Dir { mtime: now }, now);
                let location = format!("{origin}/api2/repos/{id}/dir/?p={}", crate::text::encode(&made, "/"));
                Ok(Response::json(201, &json!("success")).with("Location", location))
            }
            "rename" => {
                let new = request.field("newname").unwrap_or_default();
                if !library.is_dir(&path) {
                    return Err(Failure::no_folder(&path));
                }
                renamed(library, &path, &new, now)?;
                Ok(success())
            }
            _ => Err(Failure::invalid("Operation not supported.")),
        }
    }

    /// Renames, moves or copies a file.
    fn change_file(&mut self, user: &str, id: &str, request: &Request, now: Timestamp) -> Result<Response, Failure> {
        let path = required_path(request, "p")?;
        let json = request.json().ok_or_else(|| Failure::invalid("operation invalid."))?;
        let given = |name: &str| json.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let operation = given("operation");
        let library = match operation.as_str() {
            "copy" => self.open(user, id, now)?,
            _ => self.open_to_write(user, id, now)?,
        };
        if library.file(&path).is_none() {
            return Err(Failure::no_file(&path));
        }
        match operation.as_str() {
            "rename" => {
                let path = renamed(library, &path, &given("newname"), now)?;
                file_info(library, &path)
            }
            "move" | "copy" => {
                let (to, dir) = (given("dst_repo"), given("dst_dir"));
                let dir = absolute(&dir).ok_or_else(|| Failure::invalid("dst_dir invalid."))?;
                let placed = self.transfer(user, operation == "move", (id, &path), (&to, &dir), now)?;
                file_info(self.open(user, &to, now)?, &placed)
            }
            _ => Err(Failure::invalid("operation can only be 'create', 'rename', 'move', 'copy'.")),
        }
    }

    /// Moves or copies several entries of one directory.
    fn batch(&mut self, user: &str, moving: bool, request: &Request, now: Timestamp) -> Result<Response, Failure> {
        let json = request.json().ok_or_else(|| Failure::invalid("src_repo_id invalid."))?;
        let given = |name: &str| json.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let names = json.get("src_dirents").and_then(Value::as_array).cloned().unwrap_or_default();
        let names: Vec<String> = names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect();
        let from = absolute(&given("src_parent_dir")).ok_or_else(|| Failure::invalid("src_parent_dir invalid."))?;
        let to = absolute(&given("dst_parent_dir")).ok_or_else(|| Failure::invalid("dst_parent_dir invalid."))?;
        if names.is_empty() {
            return Err(Failure::invalid("src_dirents invalid."));
        }
        let (source, target) = (given("src_repo_id"), given("dst_repo_id"));
        for name in names {
            self.transfer(user, moving, (&source, &join(&from, &name)), (&target, &to), now)?;
        }
        Ok(Response::json(200, &json!({"success": true})))
    }

    /// Moves or copies an entry into a directory; answers where it is now.
    fn transfer(
        &mut self,
        user: &str,
        moving: bool,
        (source, path): (&str, &str),
        (target, dir): (&str, &str),
        now: Timestamp,
    ) -> Result<String, Failure> {
        if !self.open_to_write(user, target, now)?.is_dir(dir) {
            return Err(Failure::no_folder(dir));
        }
        let library = if moving { self.open_to_write(user, source, now)? } else { self.open(user, source, now)? };
        if library.node(path).is_none() {
            return Err(Failure::no_folder(path));
        }
        let (parent, name) = split(path);
        if source == target && parent == dir {
            return Ok(path.to_owned());
        }
        if source == target && (dir == path || dir.starts_with(&format!("{path}/"))) {
            return Err(Failure::invalid("Can not move or copy a folder to its subfolder."));
        }
        let taken = if moving {
            unlocked(library, path)?;
            library.take(path, now)
        } else {
            library.copy_of(path)
        };
        let library = self.open_to_write(user, target, now)?;
        let placed = join(dir, &library.free_name(dir, name));
        library.place(&placed, taken, now);
        Ok(placed)
    }
}

fn success() -> Response {
    Response::json(200, &json!("success"))
}

/// Whether the body is a form of either make.
fn is_form(request: &Request) -> bool {
    matches!(request.media_type().as_str(), "application/x-www-form-urlencoded" | "multipart/form-data")
}

fn required_path(request: &Request, name: &str) -> Result<String, Failure> {
    request.param(name).and_then(|path| absolute(&path)).ok_or_else(|| Failure::invalid(format!("{name} invalid.")))
}

fn unlocked(library: &Library, path: &str) -> Result<(), Failure> {
    if library.is_locked(path) { Err(Failure::new(423, "File is locked.")) } else { Ok(()) }
}

fn renamed(library: &mut Library, path: &str, new: &str, now: Timestamp) -> Result<String, Failure> {
    let (dir, old) = split(path);
    if !valid_name(new) || new == old {
        return Err(Failure::invalid("newname invalid."));
    }
    unlocked(library, path)?;
    let target = join(dir, &library.free_name(dir, new));
    let taken = library.take(path, now);
    library.place(&target, taken, now);
    Ok(target)
}

/// What is in a directory, `None` where there is none.
fn dirents(library: &Library, dir: &str, recursive: bool) -> Option<Vec<Value>> {
    library
        .is_dir(dir)
        .then(|| library.list(dir, recursive).into_iter().map(|(path, node)| dirent(library, path, node)).collect())
}

fn dirent(library: &Library, path: &str, node: &Node) -> Value {
    let (dir, name) = split(path);
    let parent = if dir == "/" { "/".to_owned() } else { format!("{dir}/") };
    let mut told = json!({"type": if node.is_dir() { "dir" } else { "file" }, "id": node.id(), "name": name,
        "mtime": node.mtime().as_second(), "permission": library.permission, "parent_dir": parent});
    if let (Node::File { content, locked, .. }, Some(members)) = (node, told.as_object_mut()) {
        members.insert("size".into(), content.len().into());
        members.insert("modifier_email".into(), library.owner.clone().into());
        members.insert("is_locked".into(), (*locked).into());
        members.insert("starred".into(), false.into());
    }
    told
}

fn file_info(library: &Library, path: &str) -> Result<Response, Failure> {
    let node = library.file(path).ok_or_else(|| Failure::no_file(path))?;
    let (dir, name) = split(path);
    let dir = if dir == "/" { "/".to_owned() } else { format!("{dir}/") };
    let told = json!({"type": "file", "repo_id": library.id, "parent_dir": dir, "obj_name": name, "obj_id": node.id(),
        "size": node.size_bytes(), "mtime": iso(node.mtime()), "is_locked": false});
    Ok(Response::json(200, &told))
}

/// `2024-05-01T10:00:00+00:00`.
pub(super) fn iso(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}
