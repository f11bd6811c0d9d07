//! Google Drive: files by id in folders, several of one name allowed; documents without bytes, shown as what they are exported to;
//! shortcuts, shown as what they lead to.
//!
//! Of a file with bytes the version is its head revision, and it is read by that revision where Google lets it: so no two ranges
//! come from two versions. Google has no conditional requests: the version is compared before a file is replaced, which finds most
//! lost updates and cannot find all.
//!
//! `api.rs` has a function per endpoint and the meaning of errors, `wire.rs` the JSON. More than three files, since Drive is large:
//! `options.rs` (51 of them) and `formats.rs` are tables, `cookies.rs` and `shown.rs` make directories and files of what Drive has,
//! `changing.rs` has the changes and `writes.rs` the life of a write.

use causeway_sdk::prelude::*;

mod api;
mod changing;
mod cookies;
mod formats;
mod options;
mod shown;
mod wire;
mod writes;

pub use changing::Ticket;
use cookies::Cookie;
pub use options::Settings;
use shown::Target;
use wire::{Changed, File};
pub use writes::Session;

/// Files have at most 5 TB.
const LARGEST_BYTES: u64 = 5_000_000_000_000;
/// Listings usually show a change at once.
const LAG_MS: u32 = 5000;
/// Requests at once; Google counts them by the minute.
const PARALLEL: u32 = 16;

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
        let pinned = revision(&cookie, version).filter(|_| elsewhere.is_none());
        let request = elsewhere.unwrap_or_else(|| self.media(&cookie, pinned));
        let plan = Plan::get(request).size(size).check(wire::digest_in_version(version));
        Ok(if pinned.is_some() { plan.of_one_version() } else { plan }.into())
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
                    // The root is a folder in nothing: what became of it says nothing of one entry.
                    Some(_) if file.parents.is_empty() && file.is_folder() => vec![Change::Everything],
                    Some(entry) if file.parents.is_empty() || entry.notes.contains(Notes::TRASHED) => removed(cookie),
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
