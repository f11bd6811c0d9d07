//! Google Drive: files by id in folders, several of one name allowed; documents without bytes, shown as what they are exported to;
//! shortcuts, shown as what they lead to.
//!
//! Of a file with bytes the version is its head revision, and it is read by that revision where Google lets it: so no two ranges
//! come from two versions. Google has no conditional requests: the version is compared before a file is replaced, which finds most
//! lost updates and cannot find all.
//!
//! `options.rs` has the settings, `api.rs` a function per endpoint and the meaning of errors, `wire.rs` the JSON and the cookies,
//! `formats.rs` the formats of documents, `writes.rs` the life of a write. Five files instead of three: 51 options are a table of
//! their own, and documents are.

use causeway_sdk::prelude::*;
use serde::{Deserialize, Serialize};

mod api;
mod formats;
mod options;
mod wire;
mod writes;

pub use options::Settings;
use wire::{Changed, Cookie, FOLDER, File, SHORTCUT, Written, written_time};
pub use writes::Session;

/// Files have at most 5 TB.
const LARGEST_BYTES: u64 = 5_000_000_000_000;
/// Listings usually show a change at once.
const LAG_MS: u32 = 5000;
/// Requests at once; Google counts them by the minute.
const PARALLEL: u32 = 16;
/// Targets of shortcuts that one listing looks up: a call may send 64 requests.
const MOST_TARGETS: usize = 56;
/// Shortcuts that a way goes through: one that leads to a folder above it has no end.
const MOST_SHORTCUTS: usize = 8;
/// A document's time is lost if it is set before its copy is made.
const COPYING_MS: u32 = 2500;

/// One drive, or what the settings show of it.
#[derive(Debug)]
pub struct Drive(Settings);

#[export]
impl Provider for Drive {
    type Options = Settings;

    const ABOUT: About = About {
        name: "drive",
        title: "Google Drive",
        documentation: "https://developers.google.com/drive/api/reference/rest/v3",
        version: env!("CARGO_PKG_VERSION"),
        origins: &[
            "https://www.googleapis.com",
            "https://oauth2.googleapis.com",
            "https://accounts.google.com",
            "https://docs.google.com",
            "https://drive.google.com",
            "https://*.googleusercontent.com",
        ],
        machine_credentials: Some("google"),
        ..About::UNKNOWN
    };

    fn open(settings: Settings) -> std::result::Result<Drive, Vec<Problem>> {
        let problems = settings.problems();
        if problems.is_empty() { Ok(Drive(settings)) } else { Err(problems) }
    }

    fn traits(&self) -> Traits {
        let mut abilities = Abilities::COOKIES
            | Abilities::EMPTY_DIRECTORIES
            | Abilities::DUPLICATES
            | Abilities::ATOMIC_REPLACE
            | Abilities::KEEPS_MODIFIED
            | Abilities::MOVE_DIRECTORIES
            | Abilities::ATOMIC_MOVE;
        abilities.set(Abilities::KEEPS_MODIFIED, self.shows_modified());
        Traits {
            signing_in: self.0.signing_in(),
            abilities,
            modified_step_ns: 1_000_000,
            digests: vec![Digest::Md5, Digest::Sha1, Digest::Sha256],
            early_digests: vec![Digest::Md5],
            largest_bytes: Some(LARGEST_BYTES),
            lag_ms: LAG_MS,
            paces: vec![Pace {
                origins: vec!["https://www.googleapis.com".to_owned()],
                interval_ms: self.0.interval_ms(),
                burst: u32::try_from(self.0.pacer_burst).unwrap_or(0).max(1),
                parallel: PARALLEL,
            }],
            ..Traits::default()
        }
    }

    fn probe(&self) -> Result<Identity> {
        let mut answers = Request::send_all([self.about(), self.root_request()]).into_iter();
        let mut next = || answers.next().unwrap_or_else(|| Err(Error::unavailable("an answer is missing")));
        let user = self.accept(next()?)?.json::<wire::About>()?.user;
        match self.accept(next()?) {
            // Under a narrow scope the root is nobody's to see, and its name is good all the same.
            Err(error) if error.kind == ErrorKind::NotFound && self.0.root_alias() == "root" => {}
            root => root.map(|_| ())?,
        }
        Ok(Identity { account: user.permission_id, display: user.email_address })
    }

    fn read(&self, file: &Node, size: Option<u64>, _range: Option<Span>) -> Result<Plan> {
        let cookie = self.cookie(file);
        let Some(version) = &file.version else { return self.read_document(file, &cookie) };
        let by_version_2 = self.0.v2_download_min_size.0.zip(size).is_some_and(|(least, size)| size >= least);
        let elsewhere = if by_version_2 { self.media_by_version_2(&cookie)? } else { None };
        let request = elsewhere.unwrap_or_else(|| self.media(&cookie, revision(&cookie, version)));
        Ok(Plan::get(request).size(size).check(wire::digest_in_version(version)).into())
    }

    fn meaning(&self, answer: &Answer) -> Error {
        self.refusal(answer)
    }

    fn explain(&self, file: &Node, answer: &Answer) -> Verdict {
        let cookie = self.cookie(file);
        if self.0.acknowledge_abuse && self.is_abusive(answer) && self.accept_risk(&cookie).unwrap_or(false) {
            return Verdict::Replan;
        }
        let error = self.refusal(answer);
        let by_revision = file.version.as_deref().and_then(|version| revision(&cookie, version)).is_some();
        Verdict::Failed(match error.kind {
            ErrorKind::NotFound if by_revision => Error { kind: ErrorKind::PreconditionFailed, ..error },
            _ => error,
        })
    }
}

/// The revision to read, if there is one that may be read by itself.
fn revision<'a>(cookie: &'a Cookie, version: &'a str) -> Option<&'a str> {
    let of_version = version.split('/').next().filter(|revision| !revision.is_empty());
    cookie.revision.as_deref().or(of_version)
}

impl Drive {
    /// Whether the time that is shown is the one that can be set.
    fn shows_modified(&self) -> bool {
        !self.0.use_created_date && !self.0.use_shared_date
    }

    /// A node's cookie; that of the root before it was asked for is its name.
    pub(crate) fn cookie(&self, node: &Node) -> Cookie {
        node.cookie.as_deref().map_or_else(|| Cookie::new(self.0.root_alias()), Cookie::parse)
    }

    /// The root shows what is scattered elsewhere.
    fn is_scattered(&self, directory: &Cookie) -> bool {
        (self.0.shared_with_me || self.0.starred_only) && directory.id == self.0.root_alias()
    }

    /// The directory that is to hold something new.
    pub(crate) fn holder(&self, directory: &Node) -> Result<Cookie> {
        let cookie = self.cookie(directory);
        match self.is_scattered(&cookie) {
            true => Err(Error::unsupported("nothing can be put where only what was shared or starred is shown")),
            false => Ok(cookie),
        }
    }

    /// The query for what a directory shows, and what else must hold of it.
    fn children(&self, directory: &Cookie, and: &str) -> String {
        let trashed = match self.0.trashed_only {
            true => format!("(mimeType='{FOLDER}' or trashed=true)"),
            false => "trashed=false".to_owned(),
        };
        let within = match (self.is_scattered(directory), self.0.shared_with_me) {
            (false, _) => format!("({} in parents)", quoted(directory.content())),
            (true, true) => "sharedWithMe=true".to_owned(),
            (true, false) => "starred=true".to_owned(),
        };
        format!("{trashed} and {within}{and}")
    }

    /// Children that can have this name: the name itself, or that of a document without its extension.
    pub(crate) fn named(&self, directory: &Cookie, name: &str) -> String {
        let own = std::iter::once(name).chain(self.without_extension(name));
        let names: Vec<String> = own.map(|name| format!("name={}", quoted(name))).collect();
        self.children(directory, &format!(" and ({})", names.join(" or ")))
    }

    /// What a document of this name may be called.
    fn without_extension<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.exports().filter_map(move |extension| name.strip_suffix(extension)?.strip_suffix('.'))
    }

    /// The extension that a document is shown with: the first that it can be exported to.
    fn extension(&self, file: &File) -> Option<&str> {
        let offered = |extension: &&str| {
            (formats::is_link(extension) && file.web_view_link.is_some())
                || file.export_links.keys().any(|kind| formats::is_of(extension, kind))
        };
        self.0.exports().find(offered)
    }

    /// Items of a directory as they are shown; where shortcuts lead is looked up, as far as a call can.
    pub(crate) fn shown_in(&self, directory: &Cookie, files: Vec<File>) -> Result<Vec<Entry>> {
        let cookies: Vec<Cookie> = files.iter().map(|file| self.cookie_in(directory, file)).collect();
        let wanted = |(file, cookie): (&File, &Cookie)| self.target_to_ask(file, cookie);
        let targets: Vec<Cookie> = files.iter().zip(&cookies).filter_map(wanted).take(MOST_TARGETS).collect();
        let mut found = self.get_all(&targets)?.into_iter();
        let mut entries = Vec::with_capacity(files.len());
        for (file, cookie) in files.iter().zip(&cookies) {
            let target = match self.target_to_ask(file, cookie) {
                None => Target::None,
                Some(_) => match found.next() {
                    Some(Some(target)) => Target::Is(Box::new(target)),
                    Some(None) => Target::Gone,
                    None => Target::Unknown,
                },
            };
            entries.extend(self.shown(file, cookie, &target));
        }
        Ok(entries)
    }

    /// What a shortcut to a file leads to, which must be looked up.
    fn target_to_ask(&self, file: &File, cookie: &Cookie) -> Option<Cookie> {
        let shortcut = file.shortcut_details.as_ref().filter(|_| file.mime_type == SHORTCUT)?;
        let asked = !self.0.skip_shortcuts && (shortcut.target_mime_type != FOLDER || self.0.skip_dangling_shortcuts);
        asked.then(|| Cookie { id: shortcut.target_id.clone(), target: None, ..cookie.clone() })
    }

    /// The cookie of an item that is seen in a directory.
    fn cookie_in(&self, directory: &Cookie, file: &File) -> Cookie {
        let seen = file.parents.iter().any(|parent| parent == directory.content());
        let elsewhere = || file.parents.first().cloned().unwrap_or_default();
        Cookie { shown_from: (!seen).then(elsewhere), way: directory.way_below(), ..self.own_cookie(file) }
    }

    fn own_cookie(&self, file: &File) -> Cookie {
        let shortcut = file.shortcut_details.as_ref().filter(|_| file.mime_type == SHORTCUT);
        Cookie {
            target: shortcut.map(|shortcut| shortcut.target_id.clone()),
            key: shortcut.map_or(file.resource_key.clone(), |shortcut| shortcut.target_resource_key.clone()),
            ..Cookie::new(&file.id)
        }
    }

    /// An item as it is shown; none where the settings hide it.
    fn shown(&self, file: &File, cookie: &Cookie, target: &Target) -> Option<Entry> {
        let is_shortcut = file.mime_type == SHORTCUT;
        let content = if let Target::Is(target) = target { target } else { file };
        if is_shortcut && (self.0.skip_shortcuts || cookie.depth() >= MOST_SHORTCUTS)
            || content.is_document() && self.0.skip_gdocs
            || self.0.auth_owner_only && !file.is_mine()
        {
            return None;
        }
        let name = file.name.clone();
        let mut entry = match (is_shortcut, target) {
            (true, Target::None) => Entry { kind: Kind::Directory, ..file.entry(&self.0, name) },
            (true, Target::Is(target)) if target.is_folder() => target.entry(&self.0, name),
            (true, Target::Gone) if self.0.skip_dangling_shortcuts => return None,
            (true, Target::Gone) => Entry { notes: Notes::READ_ONLY, size: None, ..file.entry(&self.0, name) },
            (true, Target::Unknown) => {
                let notes = Notes::INEXACT_SIZE | Notes::INEXACT_MODIFIED;
                Entry { notes, size: None, ..file.entry(&self.0, name) }
            }
            _ if content.is_document() => self.document(content, name)?,
            _ => content.entry(&self.0, name),
        };
        if entry.kind == Kind::Directory {
            (entry.size, entry.version, entry.media_type) = (None, None, None);
        }
        entry.cookie = Some(cookie.to_string());
        entry.notes.set(Notes::TRASHED, file.trashed && !self.0.trashed_only);
        Some(entry)
    }

    /// A document, under the name and in the format that it is exported to.
    fn document(&self, file: &File, name: String) -> Option<Entry> {
        let extension = match self.extension(file) {
            Some(extension) => extension,
            None if self.0.show_all_gdocs => {
                return Some(Entry { notes: Notes::READ_ONLY, ..file.entry(&self.0, name) });
            }
            None => return None,
        };
        let link = self.link_file(extension, file);
        let shown = format!("{name}.{extension}");
        let mut entry = Entry { size: link.map(|link| link.len() as u64), ..file.entry(&self.0, shown) };
        entry.media_type = formats::media_type(extension).map(str::to_owned);
        entry.notes.set(Notes::READ_ONLY, !self.0.imports().any(|import| import == extension));
        Some(entry)
    }

    /// The file that leads to a document, where that is the format.
    fn link_file(&self, extension: &str, file: &File) -> Option<String> {
        let url = file.web_view_link.as_deref().filter(|_| formats::is_link(extension))?;
        Some(formats::link(extension, &file.name, url))
    }

    /// Where a document is read: what is told of it now says in which format, and at which address.
    fn read_document(&self, file: &Node, cookie: &Cookie) -> Result<Plan> {
        let asked = Cookie { id: cookie.content().to_owned(), target: None, ..cookie.clone() };
        let item = self.get(&asked)?.ok_or_else(|| gone(file))?;
        if !item.is_document() {
            return Ok(Plan::get(self.media(cookie, None)).into());
        }
        let extension = self.extension(&item).ok_or_else(|| Error::unsupported("this document cannot be exported"))?;
        if let Some(link) = self.link_file(extension, &item) {
            return Ok(Plan::Literal(link.into_bytes()));
        }
        let url = item.export_links.iter().find(|(kind, _)| formats::is_of(extension, kind)).map(|(_, url)| url);
        let url = url.ok_or_else(|| Error::unsupported("this document cannot be exported"))?;
        Ok(Plan::get(self.export(cookie, url)).ranges(Ranges::None).into())
    }

    /// An item as it is shown where its cookie says, and the directory that holds it.
    fn placed(&self, file: &File, before: &Cookie) -> Result<Option<Placed>> {
        let first = file.parents.first().map(String::as_str);
        let as_shown = before.shown_from.as_deref() == Some(first.unwrap_or_default());
        let cookie = Cookie {
            shown_from: before.shown_from.clone().filter(|_| as_shown),
            way: before.way.clone(),
            ..self.own_cookie(file)
        };
        let way = before.way.as_deref();
        let through = way.filter(|way| file.parents.iter().any(|parent| parent == way.content()));
        let parent = match (as_shown, through, first) {
            (true, _, _) => Some(self.0.root_alias().to_owned()),
            (_, Some(way), _) => Some(way.to_string()),
            (_, None, first) => first.map(|id| Cookie { way: before.way.clone(), ..Cookie::new(id) }.to_string()),
        };
        let target = match self.target_to_ask(file, &cookie) {
            None => Target::None,
            Some(target) => self.get(&target)?.map_or(Target::Gone, |target| Target::Is(Box::new(target))),
        };
        Ok(self.shown(file, &cookie, &target).map(|entry| Placed { entry, parent, path: None }))
    }

    /// The entry of what was just made or changed in a directory.
    pub(crate) fn entry_in(&self, directory: &Cookie, file: File) -> Result<Outcome> {
        Ok(Outcome::Done(self.shown_in(directory, vec![file])?.pop()))
    }

    /// What stands under a name, besides these ids.
    pub(crate) fn others(&self, directory: &Cookie, files: Vec<File>, name: &str, but: &[&str]) -> Result<Vec<Entry>> {
        let files = files.into_iter().filter(|file| !but.contains(&file.id.as_str())).collect();
        let entries = self.shown_in(directory, files)?;
        Ok(entries.into_iter().filter(|entry| entry.name == name).collect())
    }

    /// The name that is stored for the one that is shown: a document's without the extension, which cannot change.
    fn stored_name<'a>(&self, file: &File, name: &'a str) -> Result<&'a str> {
        let Some(extension) = self.extension(file).filter(|_| file.is_document()) else { return Ok(name) };
        let stored = name.strip_suffix(extension).and_then(|name| name.strip_suffix('.'));
        stored.ok_or_else(|| Error::invalid(format!("this document is always shown with the extension {extension}")))
    }
}

/// Where a shortcut leads.
enum Target {
    /// It is no shortcut, or one to a directory that need not be looked up.
    None,
    Is(Box<File>),
    Gone,
    Unknown,
}

/// A string in a query.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn gone(node: &Node) -> Error {
    Error::not_found(format!("{} is not in the drive any more", node.path))
}

/// An item that is there, or what is missing.
fn there(node: &Node, found: Option<File>) -> Result<File> {
    found.filter(|file| !file.trashed).ok_or_else(|| gone(node))
}

fn taken(name: &str) -> Error {
    Error::new(ErrorKind::AlreadyExists, format!("there is already something called {name}"))
}

#[export]
impl Browsing for Drive {
    fn look_up(&self, parent: &Node, name: &str) -> Result<Vec<Entry>> {
        let directory = self.cookie(parent);
        let files = self.all(&self.named(&directory, name), &directory)?;
        let mut found = self.others(&directory, files, name, &[])?;
        found.sort_by_key(|entry| std::cmp::Reverse(entry.modified.map(|time| (time.seconds, time.nanoseconds))));
        Ok(found)
    }

    fn refresh(&self, node: &Node) -> Result<Option<Placed>> {
        if node.path.is_empty() {
            return self.root().map(Some);
        }
        let cookie = self.cookie(node);
        match self.get(&cookie)? {
            Some(file) => self.placed(&file, &cookie),
            None => Ok(None),
        }
    }

    fn list(&self, directory: &Node, cursor: Option<&str>) -> Result<Page> {
        let cookie = self.cookie(directory);
        let page = self.page(&self.children(&cookie, ""), &cookie, cursor)?;
        if page.files.is_empty() && cursor.is_none() && page.next_page_token.is_none() && !directory.path.is_empty() {
            // Nothing lies in what is not there, either.
            let content = Cookie { id: cookie.content().to_owned(), target: None, ..cookie.clone() };
            there(directory, self.get(&content)?)?;
        }
        let mut entries = self.shown_in(&cookie, page.files.clone())?;
        if self.0.size_as_quota {
            let room = |entry: &Entry| {
                let id = entry.cookie.as_deref().map(Cookie::parse)?.id;
                page.files.iter().find(|file| file.id == id)?.quota_bytes()
            };
            for entry in entries.iter_mut().filter(|entry| entry.size.is_some()) {
                // It is not what a read gives.
                (entry.size, entry.notes) = (room(entry), entry.notes | Notes::INEXACT_SIZE);
            }
        }
        Ok(Page { entries, next: page.next_page_token })
    }
}

impl Drive {
    /// The root by its own id where items name it so, else by the name of the settings.
    fn root(&self) -> Result<Placed> {
        let alias = self.0.root_alias();
        let found = if self.is_scattered(&Cookie::new(alias)) { None } else { self.get(&Cookie::new(alias))? };
        let id = match found {
            Some(root) if !root.is_folder() => {
                return Err(Error::new(ErrorKind::NotADirectory, "`root_folder_id` names a file"));
            }
            Some(root) if !self.0.in_app_folder() => root.id,
            None if self.0.root_folder_id.is_empty() && self.0.team_drive.is_empty() => alias.to_owned(),
            None => return Err(Error::not_found("the root folder is not there")),
            Some(_) => alias.to_owned(),
        };
        let entry = Entry { cookie: Some(id), ..Entry::directory("") };
        Ok(Placed { entry, parent: None, path: None })
    }
}

#[export]
impl Removing for Drive {
    fn remove_file(&self, file: &Node) -> Result<Outcome> {
        self.removed(file, false)
    }
}

#[export]
impl Purging for Drive {
    fn purge(&self, directory: &Node) -> Result<Outcome> {
        self.removed(directory, false)
    }
}

#[export]
impl Directories for Drive {
    fn make_directory(&self, parent: &Node, name: &str) -> Result<Outcome> {
        let holder = self.holder(parent)?;
        let (files, id) = self.all_and_new_id(&self.named(&holder, name), &holder)?;
        if !self.others(&holder, files, name, &[])?.is_empty() {
            return Err(taken(name));
        }
        let made = self.make_folder(&id, &holder, name)?;
        self.entry_in(&holder, made)
    }

    /// What is hidden or in the trash is not lost: it goes to the trash with its directory, or stays there.
    fn remove_directory(&self, directory: &Node) -> Result<Outcome> {
        let cookie = self.cookie(directory);
        if cookie.target.is_some() {
            // A shortcut goes alone.
            return self.removed(directory, false);
        }
        let within = format!("({} in parents)", quoted(&cookie.id));
        if self.any(&format!("trashed=false and {within}"), &cookie)? {
            return Err(Error::new(ErrorKind::DirectoryNotEmpty, "there is something in the directory"));
        }
        let keeps = !self.0.use_trash && self.any(&format!("trashed=true and {within}"), &cookie)?;
        self.removed(directory, keeps)
    }
}

impl Drive {
    /// Removes what something else has taken the place of; a try whose answer was lost may have done it.
    pub(crate) fn displaced(&self, replaced: &Cookie) -> Result<()> {
        match self.remove(replaced, self.0.use_trash) {
            Err(error) if error.kind != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes an item itself: of a shortcut not what it leads to.
    fn removed(&self, node: &Node, to_trash: bool) -> Result<Outcome> {
        let cookie = self.cookie(node);
        let file = self.get(&cookie)?.filter(|file| !file.trashed || self.0.trashed_only);
        let file = file.ok_or_else(|| gone(node))?;
        if file.parents.len() > 1 {
            return Err(Error::unsupported("it lies in several folders, and would be gone from all of them"));
        }
        self.remove(&cookie, to_trash || (self.0.use_trash && !self.0.trashed_only))?;
        Ok(Outcome::Done(None))
    }
}

#[export]
impl Moving for Drive {
    fn move_to(&self, node: &Node, parent: &Node, name: &str, replaces: Option<&Node>) -> Result<Outcome> {
        let (cookie, holder) = (self.cookie(node), self.holder(parent)?);
        let (files, found) = self.all_and_get(&self.named(&holder, name), &holder, &cookie)?;
        let file = there(node, found)?;
        let replaced = replaces.map(|node| self.cookie(node));
        let but: Vec<&str> = replaced.iter().map(|cookie| cookie.id.as_str()).chain([file.id.as_str()]).collect();
        if !self.others(&holder, files, name, &but)?.is_empty() {
            return Err(taken(name));
        }
        let stored = self.stored_name(&file, name)?;
        let from = file.parents.join(",");
        let moved =
            (!file.parents.iter().any(|id| id == holder.content())).then_some((from.as_str(), holder.content()));
        // Without it some kinds of item get the time of the move.
        let modified_time = file.modified_time.clone();
        let written = Written { name: Some(stored), modified_time, ..Written::default() };
        let keyed = Cookie { way: Some(Box::new(holder.clone())), ..cookie.clone() };
        let moved = self.update(&cookie, moved, &keyed, &written)?;
        if let Some(replaced) = replaced.filter(|replaced| replaced.id != file.id) {
            self.displaced(&replaced)?;
        }
        self.entry_in(&holder, moved)
    }
}

#[export]
impl Copying for Drive {
    fn copy_to(
        &self,
        node: &Node,
        parent: &Node,
        name: &str,
        replaces: Option<&Node>,
        modified: Option<Instant>,
    ) -> Result<Outcome> {
        if node.kind == Kind::Directory {
            return Err(Error::unsupported("Google copies no folders"));
        }
        let (source, holder) = (self.cookie(node), self.holder(parent)?);
        let (files, id) = self.all_and_new_id(&self.named(&holder, name), &holder)?;
        let replaced = replaces.map(|node| self.cookie(node));
        let but: Vec<&str> = replaced.iter().map(|cookie| cookie.id.as_str()).collect();
        if !self.others(&holder, files, name, &but)?.is_empty() {
            return Err(taken(name));
        }
        let from = if self.0.copy_shortcut_content { source.content() } else { &source.id };
        // Documents and shortcuts are given no ids beforehand; a document's name has an extension that it does not have itself.
        let (file, is_plain) = match &node.version {
            Some(_) => (None, source.target.is_none() || self.0.copy_shortcut_content),
            None => (self.get(&Cookie { id: from.to_owned(), target: None, ..source.clone() })?, false),
        };
        let stored = file.as_ref().map_or(Ok(name), |file| self.stored_name(file, name))?;
        let keyed = Cookie { way: Some(Box::new(holder.clone())), ..source.clone() };
        let written = Written {
            id: is_plain.then_some(id.as_str()),
            name: Some(stored),
            parents: Some([holder.content()]),
            modified_time: modified.map(written_time),
            ..Written::default()
        };
        let copied = self.copy(&keyed, from, &written)?;
        if let Some(replaced) = replaced.filter(|replaced| replaced.id != copied.id) {
            self.displaced(&replaced)?;
        }
        if let Some(modified) = modified.filter(|_| copied.is_document()) {
            let cookie = self.cookie_in(&holder, &copied).to_string();
            let ticket = Ticket { cookie, seconds: modified.seconds, nanoseconds: modified.nanoseconds };
            return Ok(Outcome::Pending(Job::new(&ticket, COPYING_MS)?));
        }
        self.entry_in(&holder, copied)
    }
}

/// A copy of a document whose time is still to be set.
#[derive(Debug, Deserialize, Serialize)]
pub struct Ticket {
    cookie: String,
    seconds: i64,
    nanoseconds: u32,
}

#[export]
impl Jobs for Drive {
    type Ticket = Ticket;

    fn poll(&self, ticket: &Ticket) -> Result<Outcome> {
        let modified = Instant { seconds: ticket.seconds, nanoseconds: ticket.nanoseconds };
        self.timed(&Cookie::parse(&ticket.cookie), modified)
    }

    /// The copy is there; only its time is not set.
    fn cancel(&self, _ticket: &Ticket) -> Result<()> {
        Ok(())
    }
}

#[export]
impl Times for Drive {
    fn set_modified(&self, node: &Node, modified: Instant) -> Result<Outcome> {
        if !self.shows_modified() {
            return Err(Error::unsupported("the time that is shown is not one that can be set"));
        }
        self.timed(&self.cookie(node), modified)
    }
}

impl Drive {
    fn timed(&self, cookie: &Cookie, modified: Instant) -> Result<Outcome> {
        let written = Written { modified_time: Some(written_time(modified)), ..Written::default() };
        // A shortcut shows what it leads to, and so does its time.
        let target = Cookie { id: cookie.content().to_owned(), target: None, ..cookie.clone() };
        let file = self.update(&target, None, cookie, &written)?;
        if file.trashed && !self.0.trashed_only {
            return Err(Error::not_found("it is in the trash"));
        }
        if cookie.target.is_some() {
            return Ok(Outcome::Done(None));
        }
        Ok(Outcome::Done(self.placed(&file, cookie)?.map(|placed| placed.entry)))
    }
}

#[export]
impl Room for Drive {
    fn measure(&self) -> Result<Usage> {
        if !self.0.team_drive.is_empty() {
            return Ok(Usage { total: None, used: None, free: None, trashed: None, objects: None });
        }
        self.usage()
    }
}

#[export]
impl Links for Drive {
    fn link(&self, node: &Node, lives_ms: Option<u64>) -> Result<Text> {
        if lives_ms.is_some() {
            return Err(Error::unsupported("Google's links for everyone do not end by themselves"));
        }
        let cookie = self.cookie(node);
        self.share(&cookie)?;
        Request::get("https://drive.google.com/open").query("id", cookie.content()).plain_url().map(Text::from)
    }

    fn unlink(&self, node: &Node) -> Result<()> {
        self.unshare(&self.cookie(node))
    }
}

#[export]
impl Cleaning for Drive {
    /// There is one trash for all of a drive.
    fn clean(&self, _directory: &Node) -> Result<Outcome> {
        self.empty_trash().map(|()| Outcome::Done(None))
    }
}

#[export]
impl Versions for Drive {
    fn versions_of(&self, file: &Node, _cursor: Option<&str>) -> Result<Page> {
        let cookie = self.cookie(file);
        let entries = self.revisions(&cookie)?.into_iter().rev().filter_map(|revision| {
            let of_revision = Cookie { revision: Some(revision.id.clone()), ..cookie.clone() };
            Some(Entry { cookie: Some(of_revision.to_string()), ..revision.entry(file.name())? })
        });
        Ok(Page::last(entries.collect()))
    }
}

#[export]
impl Changes for Drive {
    fn changes_since(&self, cursor: Option<&str>) -> Result<(Vec<Change>, Next, Option<Request>)> {
        let Some(cursor) = cursor else {
            return Ok((Vec::new(), Next { cursor: self.now_in_changes()?, more: false }, None));
        };
        let (changed, next) = self.changes(cursor)?;
        if changed.is_empty() {
            return Ok((Vec::new(), next, None));
        }
        // Where the root does not show its own children, nobody can tell what a change means there.
        let news = match self.0.shared_with_me || self.0.starred_only || self.0.in_app_folder() {
            true => vec![Change::Everything],
            false => changed.iter().map(|changed| self.news(changed)).collect::<Result<Vec<_>>>()?.concat(),
        };
        Ok((news, next, None))
    }
}

impl Drive {
    fn news(&self, changed: &Changed) -> Result<Vec<Change>> {
        let removed = |cookie: Cookie| {
            let cookie = Some(cookie.to_string());
            vec![Change::Removed(Node { kind: Kind::File, path: String::new(), cookie, version: None })]
        };
        Ok(match (&changed.file, &changed.file_id) {
            (Some(file), _) if !changed.removed && !file.id.is_empty() => {
                let cookie = self.own_cookie(file);
                // A shortcut's target need not be looked up to tell that something changed.
                let target = if self.target_to_ask(file, &cookie).is_some() { Target::Unknown } else { Target::None };
                match self.shown(file, &cookie, &target) {
                    Some(_) if file.trashed => removed(cookie),
                    Some(entry) => {
                        let parent = file.parents.first().cloned();
                        vec![Change::Updated(Placed { entry, parent, path: None })]
                    }
                    None => Vec::new(),
                }
            }
            (_, Some(id)) => removed(Cookie::new(id)),
            // A change of a shared drive itself.
            _ => Vec::new(),
        })
    }
}
