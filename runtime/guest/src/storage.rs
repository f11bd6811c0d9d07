//! A backend of a component as a [`Storage`].
//!
//! Every method asks the component in one short call, or lets the transfer engines ask it several times; what it answers is
//! checked before it is believed. Passing failures are retried, by their kind (`asking`); the contract promises that
//! repeating a change is harmless, and what "not found" means after a repeated removal is found out, not guessed.
//!
//! What is there is asked in `looking`, or looked up in the tree of a walk (`walked`, `tree`); where a provider names things
//! by cookies, `ways` remembers how to get to a directory. Changes are in `changing` and `written`, news in `news`.

mod asking;
mod changing;
mod locks;
mod looking;
mod names;
mod news;
mod tree;
mod walked;
mod ways;
mod written;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use causeway_http::transfer::{self, Outcome, PlanCache};
use causeway_storage::{
    Body, Can, Cursor, Entry, Error, ErrorKind, Features, Identity, News, Node, Notes, Page, Path, Result, Room,
    Source, Span, Storage, Timestamp, WriteIntent, WriteLog,
};

use crate::backend::{Backend, KnownTree};
use crate::bindings::causeway::provider::types;
use crate::component::Component;
use crate::convert;
use crate::measuring::Measuring;
use crate::planners::Reading;
use asking::{Asking, ask};
use locks::Locks;
use looking::{Found, Gatherings};
use names::Names;
use news::Places;
use walked::Walked;
use ways::Ways;

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
    names: Names,
    /// The provider names things by cookies.
    cookies: bool,
    plans: Arc<PlanCache>,
    ways: Ways,
    locks: Locks,
    gatherings: Gatherings,
    places: Places,
    /// The tree, where the component walks and cannot be browsed.
    walked: Option<Arc<Walked>>,
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
        let names = Names::of(&features);
        let only_walked = component.browsing.is_none();
        let asking = Asking { component, backend, before: None };
        let walked = only_walked.then(|| Arc::new(Walked::new(asking.clone(), names, cookies, features.relist_ms)));
        if let Some(walked) = &walked {
            let known: Arc<dyn KnownTree> = walked.clone();
            // Each storage is opened with a backend of its own.
            let _first = asking.backend.tree.set(Arc::downgrade(&known));
        }
        GuestStorage {
            asking,
            features: Arc::new(features),
            names,
            cookies,
            plans: Arc::new(PlanCache::new()),
            ways: Ways::new(),
            locks: Locks::default(),
            gatherings: Gatherings::new(),
            places: Places::new(),
            walked,
        }
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

    /// What is shown at a path; none if the provider said so, over a way that is young.
    async fn stat_found(&self, path: &Path) -> Result<Option<Found>> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else { return self.root().await };
        let found = self.found(&parent, name).await?;
        if found.is_some() || !self.is_old(&parent) {
            return Ok(found);
        }
        // Whoever hears "none" may create something there, so the way must be right.
        match self.hold_against_provider(&parent).await? {
            true => Ok(None),
            false => self.found(&parent, name).await,
        }
    }

    async fn root(&self) -> Result<Option<Found>> {
        let own_name = String::new();
        if !self.cookies {
            return Ok(Some(Found { entry: Entry::directory(""), own_name }));
        }
        let root = self.refresh(&self.wit_node(&Node::root())).await?;
        Ok(root.map(|root| Found { entry: Entry { name: String::new(), ..root.entry }, own_name }))
    }

    async fn found(&self, parent: &Path, name: &str) -> Result<Option<Found>> {
        // A missing parent holds nothing.
        let none = |error: &Error| matches!(error.kind, ErrorKind::NotFound | ErrorKind::NotADirectory);
        let directory = match self.directory(parent).await {
            Err(error) if none(&error) => return Ok(None),
            directory => directory?,
        };
        let found = match self.find(&directory, name).await {
            Err(error) if none(&error) => None,
            found => found?,
        };
        if let Some(found) = &found {
            self.note(parent, std::slice::from_ref(&found.entry));
        }
        Ok(found)
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
        let Some(Found { entry, .. }) = self.stat_found(path).await? else { return Ok(None) };
        if path.is_root() || !entry.notes.intersects(Notes::INEXACT_SIZE | Notes::INEXACT_MODIFIED) {
            return Ok(Some(entry));
        }
        let exact = self.refresh(&self.wit_node(&Node::of(path.clone(), &entry))).await?;
        Ok(exact.map(|exact| Entry { name: entry.name, ..exact.entry }))
    }

    async fn list(&self, directory: &Path, cursor: Option<&Cursor>) -> Result<Page> {
        if self.features.can.contains(Can::DUPLICATES) {
            return self.gathered(directory, cursor).await;
        }
        self.list_page(directory, cursor.map(|cursor| cursor.0.as_str())).await
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
        self.written(intent, content, log).await
    }

    async fn remove_file(&self, file: &Node) -> Result<()> {
        self.removed_file(file).await
    }

    async fn make_directory(&self, path: &Path) -> Result<Entry> {
        self.made_directory(path).await
    }

    async fn remove_directory(&self, directory: &Node) -> Result<()> {
        self.removed_directory(directory).await
    }

    async fn move_to(&self, from: &Node, to: &Path, replaces: Option<&Node>) -> Result<Entry> {
        self.moved(from, to, replaces).await
    }

    async fn copy_to(&self, from: &Node, to: &Path, replaces: Option<&Node>) -> Result<Entry> {
        self.copied(from, to, replaces).await
    }

    async fn set_modified(&self, node: &Node, modified: Timestamp) -> Result<Entry> {
        self.timed(node, modified).await
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

    async fn purge(&self, directory: &Node) -> Result<()> {
        self.purged(directory).await
    }

    async fn link(&self, node: &Node, lives: Option<Duration>) -> Result<String> {
        let links = self.exported(&self.asking.component.links, "make links for the public")?;
        let node = self.known(node).await?;
        let ms = lives.map(|lives| u64::try_from(lives.as_millis()).unwrap_or(u64::MAX));
        let pieces = ask!(self.asking, links, (node, ms), |guest, store| guest.call_link(store, &node, ms)).1?;
        self.asking.backend.egress.link(&convert::pieces(pieces))
    }

    async fn unlink(&self, node: &Node) -> Result<()> {
        let links = self.exported(&self.asking.component.links, "take links back")?;
        let node = self.known(node).await?;
        ask!(self.asking, links, (node), |guest, store| guest.call_unlink(store, &node)).1
    }

    async fn clean(&self, directory: &Node) -> Result<()> {
        self.cleaned(directory).await
    }

    async fn versions(&self, file: &Node, cursor: Option<&Cursor>) -> Result<Page> {
        let versions = self.exported(&self.asking.component.versions, "list old versions")?;
        let (file, cursor) = (self.known(file).await?, cursor.map(|cursor| cursor.0.clone()));
        let page = ask!(self.asking, versions, (file, cursor), |guest, store| guest.call_versions_of(
            store,
            &file,
            cursor.as_deref()
        ))
        .1?;
        self.page(page, cursor.as_deref())
    }

    async fn changes(&self, cursor: Option<&Cursor>) -> Result<News> {
        self.news(cursor).await
    }
}
