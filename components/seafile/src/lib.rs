//! Seafile: libraries of files on a server of one's own, or at cloud.seafile.com.
//!
//! Everything is found by its path in a library. Where no library is set, the first name of a path is that of a library. The server
//! refuses no name that is taken but numbers what it makes (`a (1).txt`): so whatever makes something looks first, and a new file is
//! never uploaded over another. A version is the id of a file's content.
//!
//! `api.rs` has a function per endpoint and the meaning of errors, `wire.rs` the settings and the JSON, `moves.rs` what takes several steps.

use causeway_sdk::now;
use causeway_sdk::prelude::*;
use serde::{Deserialize, Serialize};

mod api;
mod moves;
mod wire;

use api::{At, none_if_missing};
pub use wire::Settings;
use wire::{Library, Slice, Uploaded};

/// A page of a listing; the host takes no more at once.
const PAGE: usize = 10_000;
/// A download link serves for about an hour.
const LINK_LIVES_MS: u32 = 45 * 60_000;
const DAY_MS: u64 = 86_400_000;

/// An account's libraries, or one of them.
#[derive(Debug)]
pub struct Seafile(Settings);

#[export]
impl Provider for Seafile {
    type Options = Settings;

    const ABOUT: About = About {
        name: "seafile",
        title: "Seafile",
        documentation: "https://download.seafile.com/published/web-api/v2.1/",
        version: env!("CARGO_PKG_VERSION"),
        ..About::UNKNOWN
    };

    fn slots() -> Vec<Slot> {
        let header = Place::Header("Authorization".to_owned());
        vec![Slot::new(api::TOKEN, Uses::new().place(header, "Token ", Vec::new(), Vec::new()))]
    }

    fn open(settings: Settings) -> std::result::Result<Seafile, Vec<Problem>> {
        if settings.auth_token.is_given() || settings.pass.is_given() {
            return Ok(Seafile(settings));
        }
        Err(vec![Problem::new("pass", "is missing, and so is `auth_token`")])
    }

    fn traits(&self) -> Traits {
        Traits {
            // A token has no end; it dies when the password is changed.
            signing_in: if self.0.auth_token.is_given() { SigningIn::Configured } else { SigningIn::Session(0) },
            abilities: Abilities::EMPTY_DIRECTORIES | Abilities::ATOMIC_REPLACE | Abilities::MOVE_DIRECTORIES,
            naming: Naming { longest_bytes: Some(255), ..Traits::default().naming },
            modified_step_ns: 1_000_000_000,
            paces: vec![Pace { origins: vec![self.0.url.clone()], interval_ms: 0, burst: 1, parallel: 10 }],
            ..Traits::default()
        }
    }

    fn probe(&self) -> Result<Identity> {
        let account = self.account()?;
        if !self.0.library.is_empty() {
            match self.place("") {
                // Opens it, where it is encrypted.
                Ok(at) => self.listing(&at, &Slice { after: None, most: 1 }).map(|_| ())?,
                Err(error) if error.kind == ErrorKind::NotFound && self.0.create_library => {}
                Err(error) => return Err(error),
            }
        }
        let display = if account.name.is_empty() { account.email.clone() } else { account.name };
        Ok(Identity { account: Some(account.email), display: Some(display) })
    }

    /// Servers make a link for a file's content and tell its id. Where they do not, what the link gives may be of any version: it serves
    /// once, and the version is looked at before each request.
    fn read(&self, file: &Node, size: Option<u64>, _range: Option<Span>) -> Result<Plan> {
        let at = self.place(&file.path)?;
        let (url, made_for) = self.download_link(&at)?;
        let found = match (&file.version, &made_for) {
            (Some(_), None) => {
                let entry = self.look(&at, Some(Kind::File))?;
                entry.ok_or_else(|| Error::not_found("there is no such file in the library"))?.version
            }
            _ => made_for.clone(),
        };
        if file.version.is_some() && found != file.version {
            return Err(Error::new(ErrorKind::PreconditionFailed, "the file has been changed on the server"));
        }
        let reuse = if made_for.is_some() { Reuse::AnyRange } else { Reuse::Once };
        let mut plan = Plan::get(Request::given("GET", &url)).size(size).reuse(reuse, LINK_LIVES_MS);
        if found.is_some() {
            plan = plan.of_one_version();
        }
        Ok(if at.library.encrypted { plan.ranges(Ranges::None).into() } else { plan.into() })
    }

    fn meaning(&self, answer: &Answer) -> Error {
        api::meaning(answer)
    }

    /// A link that was used up or has ended looks like a file that is missing; a new one will tell.
    fn explain(&self, file: &Node, answer: &Answer) -> Verdict {
        if !matches!(answer.status(), 400 | 403 | 404 | 440) {
            return Verdict::Failed(api::meaning(answer));
        }
        self.forget_key(&file.path);
        Verdict::Replan
    }
}

impl Seafile {
    /// The name of the library that a path is in, and the path in it.
    fn split<'a>(&'a self, path: &'a str) -> (&'a str, String) {
        let (library, inside) = match self.0.library.as_str() {
            "" => path.split_once('/').unwrap_or((path, "")),
            library => (library, path),
        };
        (library, format!("/{inside}"))
    }

    fn place(&self, path: &str) -> Result<At> {
        let (name, path) = self.split(path);
        let library = self.library(name)?.ok_or_else(|| Error::not_found(format!("there is no library \"{name}\"")))?;
        Ok(At { library, path })
    }

    /// The same, where something is to be made: so may be the library that is set.
    fn place_to_fill(&self, path: &str) -> Result<At> {
        match self.place(path) {
            Err(error) if error.kind == ErrorKind::NotFound && self.0.create_library && !self.0.library.is_empty() => {
                Ok(At { library: self.create_library(&self.0.library)?, path: self.split(path).1 })
            }
            placed => placed,
        }
    }

    /// Whether this path is a library's, among others.
    fn is_library(&self, path: &str) -> bool {
        self.0.library.is_empty() && !path.contains('/')
    }

    fn items(&self, at: &At, slice: &Slice<'_>) -> Result<wire::Sliced> {
        match self.listing(at, slice) {
            Err(error) if error.kind == ErrorKind::NotFound && self.look(at, Some(Kind::File))?.is_some() => {
                Err(Error::new(ErrorKind::NotADirectory, "this is a file, not a directory"))
            }
            listed => listed,
        }
    }

    fn refuse_occupied(&self, at: &At) -> Result<()> {
        match self.look(at, None)? {
            Some(_) => Err(Error::new(ErrorKind::AlreadyExists, "there is already something of this name")),
            None => Ok(()),
        }
    }

    /// Removes a file or an empty directory.
    fn remove(&self, at: &At, kind: Kind) -> Result<()> {
        match kind {
            Kind::File if self.look(at, Some(kind))?.is_none() => {
                return Err(Error::not_found("there is no such file in the library"));
            }
            Kind::Directory if !self.items(at, &Slice { after: None, most: 1 })?.items.is_empty() => {
                return Err(Error::new(ErrorKind::DirectoryNotEmpty, "there is something in the directory"));
            }
            _ => {}
        }
        self.delete(at, kind)
    }
}

fn entry_of(library: &Library) -> Entry {
    let modified = library.mtime.as_ref().and_then(wire::Moment::instant);
    Entry { modified, ..Entry::directory(library.name.as_str()) }
}

#[export]
impl Paths for Seafile {
    fn stat(&self, path: &str, kind: Option<Kind>) -> Result<Option<Entry>> {
        if self.is_library(path) {
            return Ok(self.libraries()?.iter().find(|library| library.name == path).map(entry_of));
        }
        match none_if_missing(self.place(path))? {
            Some(at) => self.look(&at, kind),
            None => Ok(None),
        }
    }

    /// Of several libraries of one name the first is shown, and used.
    fn list(&self, directory: &Node, cursor: Option<&str>) -> Result<Page> {
        if self.0.library.is_empty() && directory.path.is_empty() {
            let mut shown = std::collections::BTreeSet::new();
            let mut libraries = self.libraries()?;
            libraries.retain(|library| shown.insert(library.name.clone()));
            return Ok(Page::last(libraries.iter().map(entry_of).collect()));
        }
        let at = match self.place(&directory.path) {
            Err(error) if error.kind == ErrorKind::NotFound && directory.path.is_empty() && self.0.create_library => {
                return Ok(Page::last(Vec::new()));
            }
            placed => placed?,
        };
        let sliced = self.items(&at, &Slice { after: cursor, most: PAGE })?;
        let last = sliced.items.keys().next_back().cloned();
        let entries = sliced.items.into_values().map(wire::Item::entry).collect();
        Ok(Page { entries, next: last.filter(|_| sliced.more) })
    }
}

/// What every later call of a write needs.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Upload {
    path: String,
    size: u64,
    /// Whether a file stands there that is to be replaced.
    replaces: bool,
}

#[export]
impl Writing for Seafile {
    type Session = Upload;

    fn begin(&self, intent: &WriteIntent, content: Source<'_>) -> Result<Begun<Upload>> {
        let path = intent.parent.child(&intent.name);
        if self.is_library(&path) {
            return Err(Error::invalid("there are only libraries here: a file needs one to be in"));
        }
        let at = self.place_to_fill(&path)?;
        let session = Upload { path, size: content.size(), replaces: intent.existing.is_some() };
        let first = self.upload(&at, &session, content.whole())?;
        Ok(Begun::Upload { session, cutting: None, first: Some(first) })
    }

    fn plan_part(&self, session: &Upload, part: &Part, _content: Source<'_>) -> Result<PartPlan> {
        self.upload(&self.place(&session.path)?, session, part.span)
    }

    /// Without leave to replace, the server numbers what it stores where something stands. If that is the very same content, an earlier
    /// try had stored it and its answer was lost.
    fn accept_part(&self, session: &Upload, _part: &Part, answer: &Answer) -> Result<PartAnswer> {
        match answer.status() {
            200 => {}
            // The link was used up or has ended.
            400 | 403 => return Ok(PartAnswer::Again(500)),
            // The same status says that the key of an encrypted library was forgotten; only the words differ.
            440 if api::failure(answer).error.contains("password") => {
                self.forget_key(&session.path);
                return Ok(PartAnswer::Again(0));
            }
            440 => return Err(Error::invalid("the server takes no file of this name").seen_in(answer)),
            _ => return Err(api::meaning(answer)),
        }
        let uploaded = answer.json::<Vec<Uploaded>>()?.pop();
        let Some(mut uploaded) = uploaded else {
            return Err(Error::unavailable("the server does not say what it stored").seen_in(answer));
        };
        let at = self.place(&session.path)?;
        if is_numbered(&uploaded.name, at.name()) {
            let there = self.look(&at, Some(Kind::File))?;
            if there.is_some_and(|there| there.version.as_ref() == Some(&uploaded.id)) {
                if let Err(error) = self.delete(&at.parent().child(&uploaded.name), Kind::File) {
                    // Another try would only make one more.
                    causeway_sdk::warn(&format!("\"{}\" was stored twice: {}", uploaded.name, error.message));
                }
                uploaded.name = at.name().to_owned();
            }
        }
        // Where the name is another one, a look would find what stands in the way.
        let notes = if uploaded.name == at.name() { Notes::INEXACT_MODIFIED } else { Notes::empty() };
        let entry =
            Entry { size: Some(uploaded.size), version: Some(uploaded.id), notes, ..Entry::file(uploaded.name) };
        Ok(PartAnswer::Complete(Outcome::Done(Some(entry))))
    }

    fn finish(&self, _session: &Upload, _receipts: &[Receipt], _content: Source<'_>) -> Result<Outcome> {
        Err(Error::unavailable("the upload was never answered"))
    }

    /// What did not come whole was never stored.
    fn abort(&self, _session: &Upload) -> Result<()> {
        Ok(())
    }

    /// Sent again, the same content shows by its id that it was stored.
    fn resume(&self, _session: &Upload, _receipts: &[Receipt]) -> Result<Remains> {
        Ok(Remains::Nothing)
    }
}

impl Seafile {
    /// A form with the file in it, to a link that takes it once.
    fn upload(&self, at: &At, session: &Upload, span: Span) -> Result<PartPlan> {
        let directory = at.parent();
        let link = self.upload_link(&directory)?;
        let field =
            |name: &str, value: &str| (format!("Content-Disposition: form-data; name=\"{name}\""), Text::from(value));
        let name = at.name().replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A");
        let file = format!(
            "Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: application/octet-stream"
        );
        let parts = [
            field("parent_dir", &directory.path),
            field("relative_path", ""),
            field("replace", if session.replaces { "1" } else { "0" }),
            field("need_idx_progress", "true"),
            (file, Text::content(span)),
        ];
        Ok(PartPlan::new(Request::given("POST", &link).query("ret-json", "1").multipart("form-data", parts)).once())
    }
}

/// Whether the server numbered this name: `a (1).txt` for `a.txt`.
fn is_numbered(made: &str, wanted: &str) -> bool {
    let split = |name: &str| name.rfind('.').filter(|at| *at > 0).unwrap_or(name.len());
    let ((stem, extension), (wanted_stem, wanted_extension)) =
        (made.split_at(split(made)), wanted.split_at(split(wanted)));
    let number = stem.strip_prefix(wanted_stem).and_then(|rest| rest.strip_prefix(" (")?.strip_suffix(')'));
    let digits = |number: &str| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    extension == wanted_extension && number.is_some_and(digits)
}

#[export]
impl Removing for Seafile {
    fn remove_file(&self, file: &Node) -> Result<Outcome> {
        self.remove(&self.place(&file.path)?, Kind::File).map(|()| Outcome::Done(None))
    }
}

#[export]
impl Directories for Seafile {
    fn make_directory(&self, parent: &Node, name: &str) -> Result<Outcome> {
        let path = parent.child(name);
        if !self.is_library(&path) {
            let at = self.place_to_fill(&path)?;
            self.refuse_occupied(&at)?;
            return Ok(Outcome::Done(self.mkdir(&at)?.map(Entry::directory)));
        }
        if self.stat(&path, None)?.is_some() {
            return Err(Error::new(ErrorKind::AlreadyExists, "there is already a library of this name"));
        }
        if !self.0.create_library {
            return Err(Error::new(ErrorKind::Denied, "libraries are made only where `create_library` is set"));
        }
        self.create_library(name).map(|library| Outcome::Done(Some(entry_of(&library))))
    }

    fn remove_directory(&self, directory: &Node) -> Result<Outcome> {
        let at = self.removable(&directory.path)?;
        match at.is_root() {
            false => self.remove(&at, Kind::Directory)?,
            true if self.items(&at, &Slice { after: None, most: 1 })?.items.is_empty() => {
                self.delete_library(&at.library)?;
            }
            true => return Err(Error::new(ErrorKind::DirectoryNotEmpty, "there is something in the library")),
        }
        Ok(Outcome::Done(None))
    }
}

impl Seafile {
    /// The place of a directory that is to go; never the library that is set.
    fn removable(&self, path: &str) -> Result<At> {
        if path.is_empty() {
            return Err(Error::invalid("the root cannot be removed"));
        }
        self.place(path)
    }
}

#[export]
impl Purging for Seafile {
    fn purge(&self, directory: &Node) -> Result<Outcome> {
        let at = self.removable(&directory.path)?;
        if at.is_root() {
            self.delete_library(&at.library)?;
        } else {
            // The server would remove a file of this name just so.
            if self.look(&at, Some(Kind::Directory))?.is_none() {
                return Err(Error::not_found("there is no such directory in the library"));
            }
            self.delete(&at, Kind::Directory)?;
        }
        Ok(Outcome::Done(None))
    }
}

#[export]
impl Room for Seafile {
    fn measure(&self) -> Result<Usage> {
        let account = self.account()?;
        let total = account.total.and_then(|total| u64::try_from(total).ok()).filter(|total| *total > 0);
        let free = total.zip(account.usage).map(|(total, used)| total.saturating_sub(used));
        Ok(Usage { total, used: account.usage, free, trashed: None, objects: None })
    }
}

#[export]
impl Links for Seafile {
    /// Links end after whole days, so never later than asked for.
    fn link(&self, node: &Node, lives_ms: Option<u64>) -> Result<Text> {
        let at = self.sharable(node)?;
        let days = lives_ms.map(|lives_ms| lives_ms / DAY_MS);
        if days == Some(0) {
            return Err(Error::unsupported("a link lives for a day at least"));
        }
        let until = days.map(|days| {
            let lives_s = i64::try_from(days.saturating_mul(DAY_MS / 1000)).unwrap_or(i64::MAX);
            Instant { seconds: now().seconds.saturating_add(lives_s), nanoseconds: 0 }
        });
        let shares = self.shares(&at)?;
        Ok(match shares.into_iter().find(|share| share.serves_until(until)) {
            Some(share) => share.link.into(),
            None => self.share(&at, days)?.link.into(),
        })
    }

    fn unlink(&self, node: &Node) -> Result<()> {
        let at = self.sharable(node)?;
        for share in self.shares(&at)? {
            none_if_missing(self.unshare(&at, &share))?;
        }
        Ok(())
    }
}

impl Seafile {
    fn sharable(&self, node: &Node) -> Result<At> {
        let at = self.place(&node.path)?;
        match at.library.encrypted {
            true => Err(Error::unsupported("what is in an encrypted library has no links")),
            false => Ok(at),
        }
    }
}

#[export]
impl Cleaning for Seafile {
    /// A library's trash is one.
    fn clean(&self, directory: &Node) -> Result<Outcome> {
        let libraries = match self.0.library.is_empty() && directory.path.is_empty() {
            true => self.libraries()?,
            false => vec![self.place(&directory.path)?.library],
        };
        libraries.iter().try_for_each(|library| self.empty_trash(library))?;
        Ok(Outcome::Done(None))
    }
}

#[export]
impl Session for Seafile {
    fn sign_in(&self, answer: Option<&str>) -> Result<Step> {
        let ask = |prompt: &str| Ok(Step::Ask(Question { prompt: prompt.to_owned(), typed: true }));
        if self.0.two_factor && answer.is_none() {
            return ask("Enter the code from your authenticator");
        }
        let told = self.login(answer.map(str::trim))?;
        let wants_code = told.header("x-seafile-otp").is_some_and(|wanted| wanted.eq_ignore_ascii_case("required"));
        let refused = api::failure(&told).non_field_errors.join(" ");
        match told.status() {
            200 => Ok(Step::SignedIn),
            400 if answer.is_some() && (wants_code || refused.starts_with("Two factor")) => {
                ask("The code was not accepted: enter the one that your authenticator shows now")
            }
            400 if wants_code => ask("Enter the code from your authenticator"),
            400 => {
                Err(Error::new(ErrorKind::Unauthenticated, "the server refused user name or password").seen_in(&told))
            }
            _ => Err(api::meaning(&told)),
        }
    }

    /// The server has no call for it.
    fn sign_out(&self) -> Result<()> {
        Secret::slot(api::TOKEN).empty();
        Ok(())
    }
}
