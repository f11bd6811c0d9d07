//! A backend of a component as a [`Storage`].
//!
//! Every method asks the component in one short call, or lets the transfer engines ask it several times; what it answers is
//! checked before it is believed. Passing failures are retried here, by their kind, within the bounds below; the contract
//! promises that repeating a change is harmless, and what "not found" means after a repeated removal is found out, not
//! guessed.
//!
//! Where a provider names things by cookies, the host walks to a path name by name from the root.

mod asking;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use causeway_http::transfer::{self, Outcome, PlanCache};
use causeway_storage::{
    Body, Can, Cursor, Entry, Error, ErrorKind, Features, Identity, Kind, Node, NormalForm, Notes, Page, Path, Result,
    Room, Sameness, Source, Span, Storage, Timestamp, WriteIntent, WriteLog,
};

use crate::backend::Backend;
use crate::bindings::causeway::provider::types;
use crate::component::Component;
use crate::convert;
use crate::measuring::Measuring;
use crate::planners::{Reading, Writing};
use asking::{Asking, ask};

/// Work at the provider is asked after no more often than this.
const SHORTEST_POLL: Duration = Duration::from_millis(100);

/// Work at the provider that takes longer is given up.
const LONGEST_JOB: Duration = Duration::from_secs(600);

/// Entries that one page may hold.
const PAGE: usize = 10_000;

/// One backend, spoken to through its component.
pub(crate) struct GuestStorage {
    asking: Asking,
    features: Arc<Features>,
    /// The provider names things by cookies.
    cookies: bool,
    plans: Arc<PlanCache>,
}

impl fmt::Debug for GuestStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GuestStorage({} {})", self.asking.backend.provider, self.asking.backend.id)
    }
}

impl GuestStorage {
    pub(crate) fn new(
        component: Arc<Component>,
        backend: Arc<Backend>,
        features: Features,
        cookies: bool,
    ) -> GuestStorage {
        let asking = Asking { component, backend };
        GuestStorage { asking, features: Arc::new(features), cookies, plans: Arc::new(PlanCache::new()) }
    }

    /// For measuring: what a plan of this file costs.
    pub(crate) fn measuring(&self, file: &Node) -> Measuring {
        Measuring::new(self.asking.component.clone(), self.asking.backend.clone(), self.wit_node(file), file.size)
    }

    fn exported<'a, T>(&self, indices: &'a Option<T>, what: &str) -> Result<&'a T> {
        indices.as_ref().ok_or_else(|| Error::unsupported(what))
    }

    /// A path in the provider's spelling.
    fn spelled(&self, path: &Path) -> String {
        path.names().map(|name| self.asking.backend.encoding.to_provider(name)).collect::<Vec<_>>().join("/")
    }

    fn outcome(&self, outcome: types::Outcome) -> Result<Outcome> {
        convert::outcome(outcome, self.asking.backend.encoding)
    }

    fn entry(&self, entry: types::Entry) -> Result<Entry> {
        convert::entry(entry, self.asking.backend.encoding)
    }

    fn wit_node(&self, node: &Node) -> types::Node {
        types::Node {
            kind: convert::wit_kind(node.kind),
            path: self.spelled(&node.path),
            cookie: node.cookie.clone(),
            // A version that the host made up means nothing to the provider.
            version: node
                .version
                .as_ref()
                .map(|version| version.0.clone())
                .filter(|version| !version.starts_with("weak:")),
        }
    }

    /// The node of a directory that is known by its path alone.
    async fn directory(&self, path: &Path) -> Result<types::Node> {
        let root = Node::root();
        if !self.cookies {
            return Ok(self.wit_node(&Node { path: path.clone(), ..root }));
        }
        let mut here = self.wit_node(&root);
        let placed = self.refresh(&here).await?.ok_or_else(|| Error::not_found("the root"))?;
        here.cookie = placed.cookie;
        let mut at = Path::ROOT;
        for name in path.names() {
            at = at.child(name).map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()))?;
            let entry = self.lookup(here, name).await?.ok_or_else(|| Error::not_found(&at))?;
            if entry.kind != Kind::Directory {
                return Err(Error::new(ErrorKind::NotADirectory, format!("{at} is a file")));
            }
            here = self.wit_node(&Node::of(at.clone(), &entry));
        }
        Ok(here)
    }

    /// The directory that holds a path, and the path's name there in the provider's spelling.
    async fn place(&self, path: &Path) -> Result<(types::Node, String)> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            return Err(Error::new(ErrorKind::Invalid, "the root cannot be changed"));
        };
        Ok((self.directory(&parent).await?, self.asking.backend.encoding.to_provider(name)))
    }

    /// A node as the component knows it: with its cookie, where there are cookies.
    async fn known(&self, node: &Node) -> Result<types::Node> {
        if !self.cookies || node.cookie.is_some() {
            return Ok(self.wit_node(node));
        }
        let entry = self.stat(&node.path).await?.ok_or_else(|| Error::not_found(&node.path))?;
        Ok(self.wit_node(&Node { cookie: entry.cookie, ..node.clone() }))
    }

    async fn refresh(&self, node: &types::Node) -> Result<Option<Entry>> {
        let answer = ask!(self.asking, self.asking.component.browsing, (node), |guest, store| guest
            .call_refresh(store, &node))
        .1?;
        let convert = if node.path.is_empty() { convert::root } else { convert::entry };
        answer.map(|placed| convert(placed.entry, self.asking.backend.encoding)).transpose()
    }

    /// The entry of this name. Of several, the directory keeps the name, else the newest.
    async fn lookup(&self, parent: types::Node, name: &str) -> Result<Option<Entry>> {
        let spelled = self.asking.backend.encoding.to_provider(name);
        let found = ask!(self.asking, self.asking.component.browsing, (parent, spelled), |guest, store| guest
            .call_look_up(store, &parent, &spelled))
        .1;
        let found = match found {
            // A missing parent holds nothing.
            Err(Error { kind: ErrorKind::NotFound | ErrorKind::NotADirectory, .. }) => return Ok(None),
            found => found?,
        };
        let mut entries = found.into_iter().map(|entry| self.entry(entry)).collect::<Result<Vec<_>>>()?;
        let exact = self.features.sameness == Sameness::Exact && self.features.normal_form == NormalForm::AsGiven;
        if exact && entries.iter().any(|entry| entry.name != name) {
            return Err(convert::fault("a look-up found another name"));
        }
        let chosen = entries.iter().position(|entry| entry.kind == Kind::Directory).unwrap_or(0);
        Ok((chosen < entries.len()).then(|| entries.swap_remove(chosen)))
    }

    /// Waits for work that goes on at the provider.
    async fn finish(&self, mut outcome: Outcome) -> Result<Option<Entry>> {
        let began = Instant::now();
        loop {
            let job = match outcome {
                Outcome::Done(entry) => return Ok(entry),
                Outcome::Pending(job) => job,
            };
            if began.elapsed() > LONGEST_JOB {
                return Err(Error::new(
                    ErrorKind::Unavailable(None),
                    "the provider did not finish its work in ten minutes",
                ));
            }
            tokio::time::sleep(Duration::from_millis(job.after_ms.into()).max(SHORTEST_POLL)).await;
            let jobs = self.exported(&self.asking.component.jobs, "finish what it began")?;
            let ticket = job.ticket;
            outcome =
                self.outcome(ask!(self.asking, jobs, (ticket), |guest, store| guest.call_poll(store, &ticket)).1?)?;
        }
    }

    /// The entry that a change left at a path: what the component answered, or what a look tells.
    async fn after(&self, outcome: Outcome, path: &Path) -> Result<Entry> {
        match self.finish(outcome).await? {
            Some(entry) if !entry.notes.intersects(Notes::INEXACT_SIZE | Notes::INEXACT_MODIFIED) => Ok(entry),
            _ => self.stat(path).await?.ok_or_else(|| Error::not_found(path)),
        }
    }
}

#[async_trait]
impl Storage for GuestStorage {
    fn features(&self) -> Arc<Features> {
        self.features.clone()
    }

    async fn probe(&self) -> Result<Identity> {
        let identity = ask!(self.asking, self.asking.component.setup, (), |guest, store| guest.call_probe(store)).1?;
        Ok(Identity { account: identity.account, display: identity.display })
    }

    async fn stat(&self, path: &Path) -> Result<Option<Entry>> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            if !self.cookies {
                return Ok(Some(Entry::directory("")));
            }
            let root = self.refresh(&self.wit_node(&Node::root())).await?;
            return Ok(root.map(|root| Entry { name: String::new(), ..root }));
        };
        let parent = match self.directory(&parent).await {
            Err(Error { kind: ErrorKind::NotFound | ErrorKind::NotADirectory, .. }) => return Ok(None),
            parent => parent?,
        };
        let Some(entry) = self.lookup(parent, name).await? else { return Ok(None) };
        if entry.notes.intersects(Notes::INEXACT_SIZE | Notes::INEXACT_MODIFIED) {
            return self.refresh(&self.wit_node(&Node::of(path.clone(), &entry))).await;
        }
        Ok(Some(entry))
    }

    async fn list(&self, directory: &Path, cursor: Option<&Cursor>) -> Result<Page> {
        let directory = self.directory(directory).await?;
        let cursor = cursor.map(|cursor| cursor.0.clone());
        let page = ask!(self.asking, self.asking.component.browsing, (directory, cursor), |guest, store| guest
            .call_list_directory(store, &directory, cursor.as_deref()))
        .1?;
        if page.entries.len() > PAGE {
            return Err(convert::fault("a page holds more than 10,000 entries"));
        }
        if page.next.is_some() && page.next == cursor {
            return Err(convert::fault("a list does not go on"));
        }
        // One entry that cannot be read fails the page: a list is never silently short.
        let entries = page.entries.into_iter().map(|entry| self.entry(entry)).collect::<Result<_>>()?;
        Ok(Page { entries, next: page.next.map(Cursor) })
    }

    async fn read(&self, file: &Node, span: Span) -> Result<Body> {
        if span.size == 0 {
            return Ok(causeway_storage::body_of(bytes::Bytes::new()));
        }
        let reading = Reading::new(
            self.asking.component.clone(),
            self.asking.backend.clone(),
            self.known(file).await?,
            file.size,
        );
        // Settings, credential and component are those of this storage, and so of its plans.
        let key = serde_json::json!([self.spelled(&file.path), file.cookie, file.version]).to_string();
        transfer::read(transfer::Read {
            egress: self.asking.backend.egress.clone(),
            planner: Arc::new(reading),
            plans: self.plans.clone(),
            key,
            size: file.size,
            span,
        })
        .await
    }

    async fn write(&self, intent: &WriteIntent, content: Arc<dyn Source>, log: Arc<dyn WriteLog>) -> Result<Entry> {
        self.exported(&self.asking.component.writing, "write files")?;
        let (parent, name) = self.place(&intent.path).await?;
        let existing = match &intent.existing {
            Some(node) => Some(self.known(node).await?),
            None => None,
        };
        let writing = Writing::new(
            self.asking.component.clone(),
            self.asking.backend.clone(),
            parent,
            name,
            existing,
            intent,
            content.clone(),
        )?;
        let writing = Arc::new(writing);
        let log = Arc::new(SealedLog { log, backend: self.asking.backend.clone(), path: intent.path.to_string() });
        let outcome =
            transfer::write(self.asking.backend.egress.clone(), writing.clone(), content.clone(), log).await?;
        let entry = self.after(outcome, &intent.path).await?;
        self.check_written(&entry, &*content, &writing).await?;
        Ok(entry)
    }

    async fn remove_file(&self, file: &Node) -> Result<()> {
        let removing = self.exported(&self.asking.component.removing, "remove files")?;
        let node = self.known(file).await?;
        let removed = ask!(self.asking, removing, (node), |guest, store| guest.call_remove_file(store, &node));
        match removed {
            // Gone, after a try whose answer was lost: that try did it.
            (tries, Err(Error { kind: ErrorKind::NotFound, .. })) if tries > 1 => Ok(()),
            (_, outcome) => self.finish(self.outcome(outcome?)?).await.map(|_| ()),
        }
    }

    async fn make_directory(&self, path: &Path) -> Result<Entry> {
        let directories = self.exported(&self.asking.component.directories, "make directories")?;
        let (parent, name) = self.place(path).await?;
        let made = ask!(self.asking, directories, (parent, name), |guest, store| guest
            .call_make_directory(store, &parent, &name));
        match made {
            (tries, Err(Error { kind: ErrorKind::AlreadyExists, .. })) if tries > 1 => {
                self.stat(path).await?.ok_or_else(|| Error::not_found(path))
            }
            (_, outcome) => match self.finish(self.outcome(outcome?)?).await? {
                Some(entry) => Ok(entry),
                // Where directories do not exist by themselves there is nothing to look at.
                None if !self.features.can.contains(Can::EMPTY_DIRECTORIES) => {
                    Ok(Entry::directory(path.name().unwrap_or_default()))
                }
                None => self.stat(path).await?.ok_or_else(|| Error::not_found(path)),
            },
        }
    }

    async fn remove_directory(&self, directory: &Node) -> Result<()> {
        let directories = self.exported(&self.asking.component.directories, "remove directories")?;
        let node = self.known(directory).await?;
        let removed = ask!(self.asking, directories, (node), |guest, store| guest.call_remove_directory(store, &node));
        match removed {
            (tries, Err(Error { kind: ErrorKind::NotFound, .. })) if tries > 1 => Ok(()),
            (_, outcome) => self.finish(self.outcome(outcome?)?).await.map(|_| ()),
        }
    }

    async fn move_to(&self, from: &Node, to: &Path, replaces: Option<&Node>) -> Result<Entry> {
        let moving = self.exported(&self.asking.component.moving, "move files")?;
        let (node, (parent, name)) = (self.known(from).await?, self.place(to).await?);
        let replaces = match replaces {
            Some(replaced) => Some(self.known(replaced).await?),
            None => None,
        };
        let outcome = ask!(self.asking, moving, (node, parent, name, replaces), |guest, store| guest.call_move_to(
            store,
            &node,
            &parent,
            &name,
            replaces.as_ref()
        ))
        .1?;
        self.after(self.outcome(outcome)?, to).await
    }

    async fn copy_to(&self, from: &Node, to: &Path, replaces: Option<&Node>) -> Result<Entry> {
        let copying = self.exported(&self.asking.component.copying, "copy files")?;
        let (node, (parent, name)) = (self.known(from).await?, self.place(to).await?);
        let replaces = match replaces {
            Some(replaced) => Some(self.known(replaced).await?),
            None => None,
        };
        let outcome = ask!(self.asking, copying, (node, parent, name, replaces), |guest, store| guest.call_copy_to(
            store,
            &node,
            &parent,
            &name,
            replaces.as_ref(),
            None
        ))
        .1?;
        self.after(self.outcome(outcome)?, to).await
    }

    async fn set_modified(&self, node: &Node, modified: Timestamp) -> Result<Entry> {
        let times = self.exported(&self.asking.component.times, "set modification times")?;
        let (known, modified) = (self.known(node).await?, convert::wit_time(modified));
        let outcome = ask!(self.asking, times, (known, modified), |guest, store| guest
            .call_set_modified(store, &known, modified))
        .1?;
        self.after(self.outcome(outcome)?, &node.path).await
    }

    async fn room(&self) -> Result<Room> {
        let room = self.exported(&self.asking.component.room, "tell how much room there is")?;
        let usage = ask!(self.asking, room, (), |guest, store| guest.call_measure(store)).1?;
        Ok(Room {
            total: usage.total,
            used: usage.used,
            free: usage.free,
            trashed: usage.trashed,
            objects: usage.objects,
        })
    }
}

impl GuestStorage {
    /// Believes a write only if what stands there now is what was sent: its size, and the digests that the provider shows.
    async fn check_written(&self, entry: &Entry, content: &dyn Source, writing: &Writing) -> Result<()> {
        let corrupt = |what: &str| {
            Err(Error::new(ErrorKind::Corrupt, format!("the provider stored another {what} than was sent")))
        };
        if entry.size.is_some_and(|size| size != content.size()) && !entry.notes.contains(Notes::INEXACT_SIZE) {
            return corrupt("size");
        }
        for digest in &entry.digests {
            // Only what is known already: a digest that nobody asked for would cost another pass over the content.
            if writing.known_digest(digest.algorithm).is_some_and(|sent| sent != digest.value) {
                return corrupt("content");
            }
        }
        Ok(())
    }
}

/// A write's log, sealed: sessions and receipts may hold what opens an upload to anyone.
struct SealedLog {
    log: Arc<dyn WriteLog>,
    backend: Arc<Backend>,
    path: String,
}

#[async_trait]
impl WriteLog for SealedLog {
    async fn load(&self) -> Result<Option<Vec<u8>>> {
        let Some(sealed) = self.log.load().await? else { return Ok(None) };
        let Backend { tenant, id, keeper, .. } = &*self.backend;
        // What does not open (another key, a renamed file) begins anew.
        Ok(keeper.unseal(tenant, id, &self.path, &sealed))
    }

    async fn save(&self, record: &[u8]) -> Result<()> {
        let Backend { tenant, id, keeper, .. } = &*self.backend;
        self.log.save(&keeper.seal(tenant, id, &self.path, record)?).await
    }
}
