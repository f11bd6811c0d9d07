//! What is shown of items: under which name, with which cookie, as what; and the queries that find them.

use causeway_sdk::prelude::*;

use crate::wire::{FOLDER, File, SHORTCUT};
use crate::{Cookie, Drive, formats, gone};

/// Targets of shortcuts that one listing looks up: a call may send 64 requests.
const MOST_TARGETS: usize = 56;
/// Shortcuts that a way goes through: one that leads to a folder above it has no end.
const MOST_SHORTCUTS: usize = 8;

impl Drive {
    /// A node's cookie; that of the root before it was asked for is its name.
    pub(crate) fn cookie(&self, node: &Node) -> Cookie {
        node.cookie.as_deref().map_or_else(|| Cookie::new(self.0.root_alias()), Cookie::parse)
    }

    /// The root shows what is scattered elsewhere.
    pub(crate) fn is_scattered(&self, directory: &Cookie) -> bool {
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
    pub(crate) fn children(&self, directory: &Cookie, and: &str) -> String {
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
    pub(crate) fn target_to_ask(&self, file: &File, cookie: &Cookie) -> Option<Cookie> {
        let shortcut = file.shortcut_details.as_ref().filter(|_| file.mime_type == SHORTCUT)?;
        let asked = !self.0.skip_shortcuts && (shortcut.target_mime_type != FOLDER || self.0.skip_dangling_shortcuts);
        asked.then(|| Cookie { id: shortcut.target_id.clone(), target: None, ..cookie.clone() })
    }

    /// The cookie of an item that is seen in a directory.
    pub(crate) fn cookie_in(&self, directory: &Cookie, file: &File) -> Cookie {
        let seen = file.parents.iter().any(|parent| parent == directory.content());
        let elsewhere = || file.parents.first().cloned().unwrap_or_default();
        Cookie { shown_from: (!seen).then(elsewhere), way: directory.way_below(), ..self.own_cookie(file) }
    }

    pub(crate) fn own_cookie(&self, file: &File) -> Cookie {
        let shortcut = file.shortcut_details.as_ref().filter(|_| file.mime_type == SHORTCUT);
        Cookie {
            target: shortcut.map(|shortcut| shortcut.target_id.clone()),
            key: shortcut.map_or(file.resource_key.clone(), |shortcut| shortcut.target_resource_key.clone()),
            ..Cookie::new(&file.id)
        }
    }

    /// An item as it is shown; none where the settings hide it.
    pub(crate) fn shown(&self, file: &File, cookie: &Cookie, target: &Target) -> Option<Entry> {
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
    pub(crate) fn read_document(&self, file: &Node, cookie: &Cookie) -> Result<Plan> {
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
    pub(crate) fn placed(&self, file: &File, before: &Cookie) -> Result<Option<Placed>> {
        let first = file.parents.first().map(String::as_str);
        let as_shown = before.shown_from.as_deref() == Some(first.unwrap_or_default());
        let cookie = Cookie {
            shown_from: before.shown_from.clone().filter(|_| as_shown),
            way: before.way.clone(),
            ..self.own_cookie(file)
        };
        let way = before.way.as_deref();
        if first.is_none() && !as_shown {
            // It lies nowhere in what is shown here: the drive's own root, or what others keep.
            return Ok(None);
        }
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
    pub(crate) fn stored_name<'a>(&self, file: &File, name: &'a str) -> Result<&'a str> {
        let Some(extension) = self.extension(file).filter(|_| file.is_document()) else { return Ok(name) };
        let stored = name.strip_suffix(extension).and_then(|name| name.strip_suffix('.'));
        stored.ok_or_else(|| Error::invalid(format!("this document is always shown with the extension {extension}")))
    }
}

/// Where a shortcut leads.
pub(crate) enum Target {
    /// It is no shortcut, or one to a directory that need not be looked up.
    None,
    Is(Box<File>),
    Gone,
    Unknown,
}

/// A string in a query.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
