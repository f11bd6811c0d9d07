//! The life of a write: at once, or in chunks to an address that Google gives.
//!
//! A new file has its id before it is sent, so that a second sending cannot make a second file; what replaces a file keeps that
//! file's id. A file that takes a shortcut's place is new, and the shortcut goes when it stands.

use causeway_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use crate::wire::{File, SHORTCUT, Written, written_time};
use crate::{Cookie, Drive, formats, taken};

/// What every later call of a write needs.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Session {
    /// The id of the file; empty for a document, which gets one when it is made.
    id: String,
    is_new: bool,
    /// The cookie of the directory.
    directory: String,
    /// As it is stored.
    name: String,
    media_type: String,
    /// The type of document that it becomes.
    document: Option<String>,
    modified: Option<String>,
    created: Option<String>,
    size: u64,
    md5: String,
    /// The shortcut that stood there.
    shortcut: Option<String>,
    /// Where chunks go; absent where all goes at once.
    place: Option<String>,
}

impl Session {
    fn holder(&self) -> Cookie {
        Cookie::parse(&self.directory)
    }

    fn existing(&self) -> Option<&str> {
        (!self.is_new).then_some(self.id.as_str())
    }

    /// What is said of the file. One that is replaced keeps name and place.
    fn written<'a>(&'a self, holder: &'a Cookie) -> Written<'a> {
        let media_type = self.document.as_deref().unwrap_or(&self.media_type);
        let written = Written {
            mime_type: Some(media_type).filter(|kind| !kind.is_empty()),
            modified_time: self.modified.clone(),
            ..Written::default()
        };
        match self.is_new {
            false => written,
            true => Written {
                id: Some(self.id.as_str()).filter(|id| !id.is_empty()),
                name: Some(&self.name),
                parents: Some([holder.content()]),
                created_time: self.created.clone(),
                ..written
            },
        }
    }
}

#[export]
impl Writing for Drive {
    type Session = Session;

    fn begin(&self, intent: &WriteIntent, content: Source<'_>) -> Result<Begun<Session>> {
        let holder = self.holder(&intent.parent)?;
        let existing = intent.existing.as_ref().map(|node| (node, self.cookie(node)));
        let (shortcut, existing) = match existing {
            Some((_, cookie)) if cookie.target.is_some() => (Some(cookie), None),
            existing => (None, existing),
        };
        let mut session = Session {
            id: String::new(),
            is_new: existing.is_none(),
            directory: holder.to_string(),
            name: intent.name.clone(),
            media_type: intent.media_type.clone(),
            document: None,
            modified: intent.modified.map(written_time),
            created: intent.created.map(written_time),
            size: content.size(),
            md5: data_encoding::HEXLOWER.encode(&content.digest(Digest::Md5, content.whole())?),
            shortcut: shortcut.as_ref().map(Cookie::to_string),
            place: None,
        };
        match existing {
            Some((node, cookie)) => self.replace(&mut session, node, &cookie)?,
            None => self.create(&mut session, &holder, shortcut.as_ref())?,
        }
        if session.size == 0 || self.0.upload_cutoff.0.is_none_or(|cutoff| session.size < cutoff) {
            let first = self.whole(&session, content)?;
            return Ok(Begun::Upload { session, cutting: None, first: Some(first) });
        }
        let place = self.begin_upload(
            session.existing(),
            &holder,
            &session.written(&holder),
            &session.media_type,
            session.size,
        )?;
        session.place = Some(place);
        let chunk = self.0.chunk_size.0.unwrap_or(8 << 20);
        let cutting = Cutting { first_bytes: chunk, other_bytes: chunk, parallel: 1 };
        Ok(Begun::Upload { session, cutting: Some(cutting), first: None })
    }

    fn plan_part(&self, session: &Session, part: &Part, content: Source<'_>) -> Result<PartPlan> {
        match &session.place {
            Some(place) => Ok(PartPlan::new(self.chunk(place, part.span, session.size))),
            None => self.whole(session, content),
        }
    }

    fn accept_part(&self, session: &Session, _part: &Part, answer: &Answer) -> Result<PartAnswer> {
        match &session.place {
            Some(place) => {
                let stands = match answer.status() {
                    // It may have been stored all the same.
                    500..=599 => self.standing(place, session.size)?,
                    _ => answer.clone(),
                };
                self.judged(session, &stands)
            }
            // An earlier sending made it.
            None if session.is_new && answer.status() == 409 => match self.resume(session, &[])? {
                Remains::Complete(outcome) => Ok(PartAnswer::Complete(outcome)),
                _ => Err(Error::unavailable("Google knows an id and not what has it").seen_in(answer)),
            },
            None => Ok(PartAnswer::Complete(self.ended(session, self.accept(answer.clone())?.json()?)?)),
        }
    }

    /// The last chunk ends a write; where that answer was lost, Google is asked again.
    fn finish(&self, session: &Session, receipts: &[Receipt], _content: Source<'_>) -> Result<Outcome> {
        match self.resume(session, receipts)? {
            Remains::Complete(outcome) => Ok(outcome),
            _ => Err(Error::unavailable("Google has not taken all of the content yet")),
        }
    }

    fn abort(&self, session: &Session) -> Result<()> {
        session.place.as_ref().map_or(Ok(()), |place| self.give_up(place))
    }

    fn resume(&self, session: &Session, _receipts: &[Receipt]) -> Result<Remains> {
        if let Some(place) = &session.place {
            let answer = self.standing(place, session.size)?;
            return Ok(match self.judged(session, &answer)? {
                PartAnswer::Complete(outcome) => Remains::Complete(outcome),
                PartAnswer::At(progress) => Remains::At(progress),
                _ => Remains::Nothing,
            });
        }
        let found = match session.id.is_empty() {
            false => self.get(&Cookie { id: session.id.clone(), ..below(&session.holder()) })?,
            // What became a document has neither our id nor our digest.
            true => self.all(&self.named(&session.holder(), &session.name), &session.holder())?.pop(),
        };
        let written = |file: &File| {
            let same = file.md5_checksum.as_ref() == Some(&session.md5)
                && session.modified.as_ref().is_none_or(|modified| same_time(file, modified));
            session.is_new || same
        };
        match found.filter(written) {
            Some(file) => Ok(Remains::Complete(self.ended(session, file)?)),
            None => Ok(Remains::Parts(Vec::new())),
        }
    }
}

/// What is seen in a directory, as yet without an id.
fn below(directory: &Cookie) -> Cookie {
    Cookie { way: directory.way_below(), ..Cookie::default() }
}

fn same_time(file: &File, modified: &str) -> bool {
    let parsed = causeway_sdk::time::parse_rfc3339;
    file.modified_time.as_deref().and_then(parsed) == parsed(modified)
}

impl Drive {
    /// Prepares a new file: nothing of its name may stand there but the shortcut that it replaces.
    fn create(&self, session: &mut Session, holder: &Cookie, shortcut: Option<&Cookie>) -> Result<()> {
        let (files, id) = self.all_and_new_id(&self.named(holder, &session.name), holder)?;
        let but: Vec<&str> = shortcut.iter().map(|cookie| cookie.id.as_str()).collect();
        if !self.others(holder, files, &session.name, &but)?.is_empty() {
            return Err(taken(&session.name));
        }
        match self.imported(&session.name)? {
            Some((stem, document)) => (session.name, session.document) = (stem, Some(document)),
            None => session.id = id,
        }
        Ok(())
    }

    /// Prepares the replacing of a file that must be as it was seen.
    fn replace(&self, session: &mut Session, node: &Node, cookie: &Cookie) -> Result<()> {
        let changed = |message: &str| Error::new(ErrorKind::PreconditionFailed, message);
        let file = self.get(cookie)?.filter(|file| !file.trashed);
        let file = file.ok_or_else(|| changed("the file to be replaced has been removed"))?;
        if node.version.is_some() && node.version != file.version() {
            return Err(changed("the file to be replaced has been changed"));
        }
        session.id.clone_from(&file.id);
        if file.is_document() {
            let imported = self.imported(&session.name)?.filter(|(_, document)| *document == file.mime_type);
            let (_, document) =
                imported.ok_or_else(|| Error::unsupported("see `import_formats` to write documents"))?;
            session.document = Some(document);
        } else if file.is_folder() || file.mime_type == SHORTCUT {
            return Err(Error::new(ErrorKind::IsDirectory, "a folder cannot be written"));
        }
        Ok(())
    }

    /// What a file of this name becomes, if it is to be converted: name and type.
    fn imported(&self, name: &str) -> Result<Option<(String, String)>> {
        let of = |extension: &&str| name.strip_suffix(extension).is_some_and(|stem| stem.ends_with('.'));
        let Some(extension) = self.0.imports().find(of) else { return Ok(None) };
        let Some(document) = formats::document_of(extension) else { return Ok(None) };
        let stem = name.strip_suffix(extension).and_then(|stem| stem.strip_suffix('.')).unwrap_or(name);
        let shown_as = self.0.exports().find(|export| formats::document_of(export) == Some(document));
        if !self.0.allow_import_name_change && shown_as != Some(extension) {
            let message = "the document would be shown with another extension: see `allow_import_name_change`";
            return Err(Error::invalid(message));
        }
        Ok(Some((stem.to_owned(), document.to_owned())))
    }

    fn whole(&self, session: &Session, content: Source<'_>) -> Result<PartPlan> {
        let holder = session.holder();
        let bytes = Text::content(content.whole());
        let written = session.written(&holder);
        self.upload_whole(session.existing(), &holder, &written, &session.media_type, bytes).map(PartPlan::new)
    }

    /// Where an upload in chunks stands.
    fn judged(&self, session: &Session, answer: &Answer) -> Result<PartAnswer> {
        match answer.status() {
            308 => {
                let last = answer.header("range").and_then(|range| range.rsplit('-').next()?.parse::<u64>().ok());
                Ok(PartAnswer::At(Progress { offset: last.map_or(0, |last| last + 1), session: None }))
            }
            404 | 410 => Ok(PartAnswer::Restart),
            _ => Ok(PartAnswer::Complete(self.ended(session, self.accept(answer.clone())?.json()?)?)),
        }
    }

    /// The file stands: what it replaced goes.
    fn ended(&self, session: &Session, file: File) -> Result<Outcome> {
        if let Some(shortcut) = session.shortcut.as_deref().map(Cookie::parse) {
            self.displaced(&shortcut)?;
        }
        self.entry_in(&session.holder(), file)
    }
}
