//! A function per endpoint: where libraries and what is in them are, how an encrypted library is opened, and what an answer means. No
//! decision about files and directories is taken here.

use std::io::BufReader;

use causeway_sdk::prelude::*;
use causeway_sdk::{allow_foreign, percent, state};
use serde::Serialize;
use serde::de::DeserializeSeed as _;

use crate::Seafile;
use crate::wire::{Account, Changed, Created, Failure, Item, Library, Server, Share, Slice, Sliced};

/// The slot of the token that signing in gives.
pub(crate) const TOKEN: &str = "token";
/// For so long a library is remembered by its name.
const LIBRARY_LIVES_MS: u64 = 300_000;
/// Servers forget the key of a library after an hour.
const KEY_LIVES_MS: u64 = 45 * 60_000;
const SERVER_LIVES_MS: u64 = 86_400_000;
/// Directories are moved, and listed by the newer endpoint, since this version.
const NEWER_SERVER: u32 = 7;

/// Where something is: a library, and a path in it that begins with a slash.
#[derive(Clone, Debug)]
pub(crate) struct At {
    pub(crate) library: Library,
    pub(crate) path: String,
}

impl At {
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// The directory that holds it.
    pub(crate) fn parent(&self) -> At {
        let parent = self.path.rsplit_once('/').map_or("", |(parent, _)| parent);
        At { path: if parent.is_empty() { "/".to_owned() } else { parent.to_owned() }, ..self.clone() }
    }

    /// What has this name in this directory.
    pub(crate) fn child(&self, name: &str) -> At {
        At { path: format!("{}/{name}", self.path.trim_end_matches('/')), ..self.clone() }
    }

    pub(crate) fn is_root(&self) -> bool {
        self.path == "/"
    }

    pub(crate) fn is_in(&self, other: &At) -> bool {
        self.library.id == other.library.id && self.path == other.path
    }
}

#[derive(Serialize)]
struct Operation<'a> {
    operation: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    newname: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dst_repo: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dst_dir: Option<&'a str>,
}

#[derive(Serialize)]
struct BatchMove<'a> {
    src_repo_id: &'a str,
    src_parent_dir: &'a str,
    src_dirents: [&'a str; 1],
    dst_repo_id: &'a str,
    dst_parent_dir: &'a str,
}

#[derive(Serialize)]
struct NewShare<'a> {
    repo_id: &'a str,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expire_days: Option<u64>,
}

impl Seafile {
    /// A request to the server's interface; the path is that of an endpoint, with its slash at the end.
    fn at(&self, method: &'static str, endpoint: &str) -> Request {
        let token = self.0.auth_token.if_given().cloned().unwrap_or_else(|| Secret::slot(TOKEN));
        self.bare(method, endpoint).header("Authorization", Text::from("Token ").and(&token))
    }

    fn bare(&self, method: &'static str, endpoint: &str) -> Request {
        Request::new(method, &self.0.url).path(endpoint).header("Accept", "application/json")
    }

    /// Signs in; the token goes into its slot.
    pub(crate) fn login(&self, code: Option<&str>) -> Result<Answer> {
        let fields = [("username", Text::from(self.0.user.as_str())), ("password", Text::from(&self.0.pass))];
        let request = self.bare("POST", "api2/auth-token/").json_strings(fields).capture_json("/token", TOKEN);
        code.into_iter().fold(request, |request, code| request.header("X-SEAFILE-OTP", code)).send()
    }

    pub(crate) fn account(&self) -> Result<Account> {
        accept(self.at("GET", "api2/account/info/").send()?)?.json()
    }

    /// Whether the server is of version 7 or later; asked once a day.
    pub(crate) fn is_newer(&self) -> Result<bool> {
        let major = match state::load("server") {
            Some(major) => major,
            None => {
                let major = accept(self.bare("GET", "api2/server-info/").send()?)?.json::<Server>()?.major();
                remember("server", &major, SERVER_LIVES_MS);
                major
            }
        };
        Ok(major >= NEWER_SERVER)
    }

    /// The libraries that can be used, in the server's order. An encrypted one cannot be without a key.
    pub(crate) fn libraries(&self) -> Result<Vec<Library>> {
        let mut libraries: Vec<Library> = accept(self.at("GET", "api2/repos/").send()?)?.json()?;
        let usable = !self.0.library.is_empty() || self.0.library_key.is_given();
        libraries.retain(|library| usable || !library.encrypted);
        Ok(libraries)
    }

    /// The first library of this name.
    pub(crate) fn library(&self, name: &str) -> Result<Option<Library>> {
        let key = remembered(name);
        if let Some(library) = state::load(&key) {
            return Ok(Some(library));
        }
        let found = self.libraries()?.into_iter().find(|library| library.name == name);
        found.iter().for_each(|library| remember(&key, library, LIBRARY_LIVES_MS));
        Ok(found)
    }

    pub(crate) fn create_library(&self, name: &str) -> Result<Library> {
        let mut fields = vec![("name", Text::from(name)), ("desc", Text::new())];
        fields.extend(self.0.library_key.if_given().map(|key| ("passwd", Text::from(key))));
        let created: Created = accept(self.at("POST", "api2/repos/").json_strings(fields).send()?)?.json()?;
        state::remove(&remembered(name));
        Ok(Library {
            id: created.repo_id,
            name: name.to_owned(),
            encrypted: self.0.library_key.is_given(),
            mtime: None,
        })
    }

    pub(crate) fn delete_library(&self, library: &Library) -> Result<()> {
        state::remove(&remembered(&library.name));
        let request = self.at("DELETE", &format!("api2/repos/{}/", library.id));
        accept(request.repeatable(false).send()?).map(|_| ())
    }

    pub(crate) fn empty_trash(&self, library: &Library) -> Result<()> {
        self.call(library, self.at("DELETE", &format!("api/v2.1/repos/{}/trash/", library.id))).map(|_| ())
    }

    /// Opens an encrypted library on the server, unless that was done a while ago; `anew`: whatever is remembered.
    fn unlock(&self, library: &Library, anew: bool) -> Result<()> {
        let key = unlocked(library);
        if !library.encrypted || (!anew && state::load::<bool>(&key).is_some()) {
            return Ok(());
        }
        let Some(password) = self.0.library_key.if_given() else {
            return Err(Error::new(ErrorKind::Denied, "the library is encrypted: `library_key` must be given"));
        };
        let request = self.at("POST", &format!("api2/repos/{}/", library.id)).form([("password", password.into())]);
        let answer = request.repeatable(true).send()?;
        match answer.status() {
            400 => Err(Error::new(ErrorKind::Denied, "`library_key` does not open the library").seen_in(&answer)),
            // It is not encrypted after all.
            409 => Ok(()),
            _ => accept(answer).map(|_| remember(&key, &true, KEY_LIVES_MS)),
        }
    }

    /// Forgets that a library was opened: the server has.
    pub(crate) fn forget_key(&self, path: &str) {
        let name = self.split(path).0;
        if let Some(library) = state::load::<Library>(&remembered(name)).filter(|library| library.encrypted) {
            state::remove(&unlocked(&library));
        }
    }

    /// Sends requests about one library side by side; where the server has forgotten its key, opens it and sends them again.
    fn call_all(&self, library: &Library, requests: Vec<Request>) -> Result<Vec<Result<Answer>>> {
        self.unlock(library, false)?;
        let mut answers = Request::send_all(requests.clone());
        let locked = |answer: &Result<Answer>| answer.as_ref().is_ok_and(|answer| answer.status() == 440);
        if library.encrypted && answers.iter().any(locked) {
            self.unlock(library, true)?;
            answers = Request::send_all(requests);
        }
        Ok(answers.into_iter().map(|answer| accept_in(library, answer?)).collect())
    }

    fn call(&self, library: &Library, request: Request) -> Result<Answer> {
        let answer = self.call_all(library, vec![request])?.pop();
        answer.unwrap_or_else(|| Err(Error::unavailable("an answer is missing")))
    }

    /// A request about what is in a library: `dir` or `file` of the older interface.
    fn on(&self, method: &'static str, at: &At, what: &str) -> Request {
        self.at(method, &format!("api2/repos/{}/{what}/", at.library.id)).query("p", &at.path)
    }

    fn detail(&self, at: &At, kind: Kind) -> Request {
        match kind {
            Kind::File => self.on("GET", at, "file/detail"),
            Kind::Directory => {
                let endpoint = format!("api/v2.1/repos/{}/dir/detail/", at.library.id);
                self.at("GET", &endpoint).query("path", &at.path)
            }
        }
    }

    /// What is there, of this kind or of any.
    pub(crate) fn look(&self, at: &At, kind: Option<Kind>) -> Result<Option<Entry>> {
        let kinds = kind.map_or(vec![Kind::File, Kind::Directory], |kind| vec![kind]);
        let requests = kinds.iter().map(|kind| self.detail(at, *kind)).collect();
        let mut found = None;
        for answer in self.call_all(&at.library, requests)? {
            if let Some(answer) = none_if_missing(answer)? {
                found = Some(answer.json::<Item>()?.entry());
            }
        }
        Ok(found)
    }

    /// The items of a directory after this name, as many as are wanted at once.
    pub(crate) fn listing(&self, at: &At, slice: &Slice<'_>) -> Result<Sliced> {
        let request = match self.is_newer()? {
            true => {
                let endpoint = format!("api/v2.1/repos/{}/dir/", at.library.id);
                self.at("GET", &endpoint).query("p", &at.path).query("recursive", "0")
            }
            false => self.on("GET", at, "dir"),
        };
        self.unlock(&at.library, false)?;
        let (mut answer, mut body) = request.clone().open()?;
        if at.library.encrypted && answer.status() == 440 {
            self.unlock(&at.library, true)?;
            (answer, body) = request.open()?;
        }
        if answer.status() == 404 && at.is_root() {
            return Err(gone(&at.library, &answer));
        }
        accept(answer)?;
        let mut read = serde_json::Deserializer::from_reader(BufReader::with_capacity(65_536, body));
        let broken = |error: serde_json::Error| {
            Error::unavailable("the server's list cannot be understood, or broke off").detail(error.to_string())
        };
        slice.deserialize(&mut read).and_then(|sliced| read.end().map(|()| sliced)).map_err(broken)
    }

    /// Makes a directory; the name that the server gave it, where it tells.
    pub(crate) fn mkdir(&self, at: &At) -> Result<Option<String>> {
        let answer = self.call(&at.library, self.on("POST", at, "dir").form([("operation", "mkdir".into())]))?;
        let made = |location: &str| {
            let path = percent::decode_form(location.split_once("?p=")?.1)?;
            path.trim_end_matches('/').rsplit('/').next().map(str::to_owned)
        };
        Ok(answer.header("location").and_then(made))
    }

    /// Gives another name in the same directory; the file as it is then.
    pub(crate) fn rename(&self, at: &At, kind: Kind, name: &str) -> Result<Option<Entry>> {
        if kind == Kind::Directory {
            let form = [("operation", "rename".into()), ("newname", name.into())];
            return self.call(&at.library, self.on("POST", at, "dir").form(form)).map(|_| None);
        }
        let rename = Operation { operation: "rename", newname: Some(name), dst_repo: None, dst_dir: None };
        self.change_file(at, &rename).map(Some)
    }

    /// Moves to another directory under the same name, or one that the server makes of it.
    pub(crate) fn move_into(&self, at: &At, kind: Kind, to: &At) -> Result<Option<Entry>> {
        if kind == Kind::File {
            return self.transfer("move", at, to).map(Some);
        }
        if !self.is_newer()? {
            return Err(Error::unsupported("servers before 7.0 move no directories"));
        }
        let parent = at.parent();
        let moved = BatchMove {
            src_repo_id: &at.library.id,
            src_parent_dir: &parent.path,
            src_dirents: [at.name()],
            dst_repo_id: &to.library.id,
            dst_parent_dir: &to.path,
        };
        self.unlock(&to.library, false)?;
        let request = self.at("POST", "api/v2.1/repos/sync-batch-move-item/").json(&moved)?;
        self.call(&at.library, request).map(|_| None)
    }

    /// Copies a file to another directory, as `move_into` moves.
    pub(crate) fn copy_into(&self, at: &At, to: &At) -> Result<Entry> {
        self.transfer("copy", at, to)
    }

    fn transfer(&self, operation: &str, at: &At, to: &At) -> Result<Entry> {
        self.unlock(&to.library, false)?;
        let (dst_repo, dst_dir) = (Some(to.library.id.as_str()), Some(to.path.as_str()));
        self.change_file(at, &Operation { operation, newname: None, dst_repo, dst_dir })
    }

    fn change_file(&self, at: &At, operation: &Operation<'_>) -> Result<Entry> {
        let request = self.at("POST", &format!("api/v2.1/repos/{}/file/", at.library.id)).query("p", &at.path);
        Ok(self.call(&at.library, request.json(operation)?)?.json::<Changed>()?.entry())
    }

    /// Removes a file, or a directory with all that is in it, to the library's trash. Sent twice, it would say that nothing was there.
    pub(crate) fn delete(&self, at: &At, kind: Kind) -> Result<()> {
        let what = if kind == Kind::File { "file" } else { "dir" };
        self.call(&at.library, self.on("DELETE", at, what).repeatable(false)).map(|_| ())
    }

    /// A URL that the file can be read by, again and again for about an hour; and the version it was made for, where the server tells.
    pub(crate) fn download_link(&self, at: &At) -> Result<(String, Option<String>)> {
        let answer = self.call(&at.library, self.on("GET", at, "file").query("reuse", "1"))?;
        Ok((self.link(&answer)?, answer.header("oid").map(str::to_owned)))
    }

    /// A URL that takes one upload into this directory.
    pub(crate) fn upload_link(&self, directory: &At) -> Result<String> {
        let answer = self.call(&directory.library, self.on("GET", directory, "upload-link"))?;
        self.link(&answer)
    }

    /// The URL that an answer is: a JSON string, or from older servers the bare text, possibly without a host.
    fn link(&self, answer: &Answer) -> Result<String> {
        let bare = || String::from_utf8_lossy(answer.body()).trim().to_owned();
        let link = answer.json::<String>().unwrap_or_else(|_| bare());
        let own = origin(&self.0.url);
        if link.starts_with('/') {
            return Ok(format!("{own}{link}"));
        }
        if !link.starts_with("https://") && !link.starts_with("http://") {
            return Err(Error::unavailable("the server gives no URL for files").seen_in(answer));
        }
        if !origin(&link).eq_ignore_ascii_case(own) {
            allow_foreign(&link)?;
        }
        Ok(link)
    }

    pub(crate) fn shares(&self, at: &At) -> Result<Vec<Share>> {
        let request = self.at("GET", "api/v2.1/share-links/").query("repo_id", &at.library.id).query("path", &at.path);
        self.call(&at.library, request)?.json()
    }

    pub(crate) fn share(&self, at: &At, expire_days: Option<u64>) -> Result<Share> {
        let share = NewShare { repo_id: &at.library.id, path: &at.path, expire_days };
        self.call(&at.library, self.at("POST", "api/v2.1/share-links/").json(&share)?)?.json()
    }

    pub(crate) fn unshare(&self, at: &At, share: &Share) -> Result<()> {
        self.call(&at.library, self.at("DELETE", &format!("api/v2.1/share-links/{}/", share.token))).map(|_| ())
    }
}

/// Scheme and host of a URL.
fn origin(url: &str) -> &str {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let path_at = url.get(after_scheme..).and_then(|rest| rest.find(['/', '?']));
    path_at.and_then(|at| url.get(..after_scheme + at)).unwrap_or(url)
}

fn remembered(name: &str) -> String {
    format!("library {name}")
}

fn unlocked(library: &Library) -> String {
    format!("unlocked {}", library.id)
}

/// Keeps what can be asked for again; that there is no room for it costs a request.
fn remember(key: &str, value: &impl Serialize, lives_ms: u64) {
    drop(state::store(key, value, Some(lives_ms)));
}

/// An answer that something is missing, as an absence.
pub(crate) fn none_if_missing<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        answer => answer.map(Some),
    }
}

/// An answer that says success, or what it says otherwise.
fn accept(answer: Answer) -> Result<Answer> {
    if answer.is_ok() { Ok(answer) } else { Err(meaning(&answer)) }
}

/// The same, about a library: one that is gone may be there under another id by now, which nothing is known of.
fn accept_in(library: &Library, answer: Answer) -> Result<Answer> {
    if matches!(answer.status(), 404 | 444) && failure(&answer).error_msg.starts_with("Library ") {
        return Err(gone(library, &answer));
    }
    accept(answer)
}

fn gone(library: &Library, answer: &Answer) -> Error {
    state::remove(&remembered(&library.name));
    Error::unavailable("the library is not what it was a while ago").seen_in(answer)
}

pub(crate) fn failure(answer: &Answer) -> Failure {
    answer.json().unwrap_or_default()
}

/// What an answer means that is not the one hoped for.
pub(crate) fn meaning(answer: &Answer) -> Error {
    let (kind, message) = match answer.status() {
        413 | 442 => (ErrorKind::Invalid, "the file is larger than the server takes"),
        416 => (ErrorKind::PreconditionFailed, "the file is not what it was"),
        423 => (ErrorKind::Denied, "somebody else has locked the file"),
        429 => {
            let wait = answer.retry_after_ms().map(|ms| ms.max(1000));
            (ErrorKind::RateLimited(wait), "the server asks for fewer requests")
        }
        440 => (ErrorKind::Denied, "the library is locked"),
        441 => (ErrorKind::AlreadyExists, "there is already something on the server"),
        443 => (ErrorKind::QuotaExceeded, "there is no room left on the server"),
        444 => (ErrorKind::NotFound, "there is no such library"),
        445 | 446 => (ErrorKind::Corrupt, "the server holds a damaged file"),
        447 => (ErrorKind::Invalid, "the library takes no more files"),
        408 => (ErrorKind::Unavailable(answer.retry_after_ms()), "the server cannot answer now"),
        _ => return Error::by_status(answer),
    };
    let Failure { error_msg, detail, error, .. } = failure(answer);
    let told = [error_msg, detail, error].into_iter().find(|told| !told.is_empty());
    let message = told.map_or_else(|| message.to_owned(), |told| format!("{message} ({told})"));
    Error::new(kind, message).seen_in(answer)
}
