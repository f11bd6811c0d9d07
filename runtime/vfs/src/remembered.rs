//! What is known, kept over a restart: written down a while after it was learnt, read back when it is asked for.
//!
//! Nobody waits for it to be written, and nothing of it is read when a volume is opened but one small record: what is known
//! of a path is looked for on the disk the first time that memory has nothing of it. A record carries the wall-clock time
//! at which its answer was asked for; one from the future was written under another clock, and is in doubt like everything
//! of which a feed said that anything may have changed. What was changed by this volume is deleted in the same step of the
//! journal in which the change leaves it, so that no crash brings back what stood there before.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use causeway_cache::Scope;
use causeway_storage::{Cursor, DigestValue, Entry, Error, Kind, Notes, Path, Result, Timestamp, Version};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::file::blocking;
use crate::known::{Age, Fact, Item, Listed, Void};
use crate::volume::Volume;

/// What is learnt is written down after so long, together with what was learnt meanwhile.
const LATER: Duration = Duration::from_secs(5);

/// Records written in one step: few enough that nobody who has to write something waits long.
const AT_ONCE: usize = 256;

/// What a backend may keep on disk: some half a million entries.
const MOST_BYTES: u64 = 64 << 20;

/// What is left once the oldest went: so that not every further record means to look through all.
const LEFT_BYTES: u64 = 48 << 20;

/// The time of the last contact is written down so often, in milliseconds: it decides about hours.
const CONTACT_MS: i64 = 60_000;

/// The form of the records. Those of another form are as if they were not there.
const FORM: u8 = 1;

/// The record that says how the others are to be read.
const HEAD: &str = "head";

/// What begins every other record.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Front {
    form: u8,
    /// Milliseconds since 1970.
    asked_ms: i64,
    doubted: bool,
    epoch: u64,
}

#[derive(Serialize, Deserialize)]
struct KeptEntry {
    name: String,
    kind: Kind,
    cookie: Option<String>,
    size: Option<u64>,
    modified: Option<Timestamp>,
    created: Option<Timestamp>,
    version: Option<Version>,
    media_type: Option<String>,
    digests: Vec<DigestValue>,
    notes: u8,
}

/// What is true of all that is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    form: u8,
    pub(crate) epoch: u64,
    /// When the provider answered last, in milliseconds since 1970.
    pub(crate) contact_ms: Option<i64>,
    /// From where a feed goes on, and since when it told everything.
    feed: Option<(String, i64)>,
}

impl Head {
    /// Whether it says enough that another one did not: that the provider still answers is worth no write of its own.
    fn is_news_to(&self, written: &Head) -> bool {
        let contact_ms = |head: &Head| head.contact_ms.unwrap_or(i64::MIN);
        let age = contact_ms(self).saturating_sub(contact_ms(written));
        age > CONTACT_MS || Head { contact_ms: None, ..self.clone() } != Head { contact_ms: None, ..written.clone() }
    }
}

/// Where a feed goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) cursor: Cursor,
    /// It told all that happened since.
    pub(crate) since: Instant,
}

/// What was read back.
enum Recalled {
    Fact(Fact),
    Listing(Listed),
}

/// Two clocks at one moment: the monotonic one by which this process measures, and that of the wall, which a restart
/// leaves as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    now: Instant,
    wall_ms: i64,
}

impl Clocks {
    pub(crate) fn now() -> Clocks {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Clocks { now: Instant::now(), wall_ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX) }
    }

    pub(crate) fn wall(self, at: Instant) -> i64 {
        let age = self.now.saturating_duration_since(at).as_millis();
        self.wall_ms.saturating_sub(i64::try_from(age).unwrap_or(i64::MAX))
    }

    /// None for a time in the future, and for one that this clock cannot express.
    pub(crate) fn instant(self, wall_ms: i64) -> Option<Instant> {
        let age = u64::try_from(self.wall_ms.checked_sub(wall_ms)?).ok()?;
        self.now.checked_sub(Duration::from_millis(age))
    }
}

/// Writes down what is learnt until it is aborted.
pub(crate) async fn run(volume: Arc<Volume>) {
    loop {
        volume.learnt.notified().await;
        tokio::time::sleep(LATER).await;
        volume.remember().await;
    }
}

impl Volume {
    /// Reads back what memory lacks of a path, and of the directory that holds it.
    pub(crate) async fn recall(&self, path: &Path) {
        let lacks = self.state().known.lacks(path);
        self.recall_items(lacks).await;
    }

    /// Reads back what is in a directory, if memory lacks it.
    pub(crate) async fn recall_listing(&self, directory: &Path) {
        let lacks = self.state().known.last_listing(directory).is_none();
        self.recall_items(lacks.then(|| Item::Listing(directory.clone())).into_iter().collect()).await;
    }

    async fn recall_items(&self, items: Vec<Item>) {
        if items.is_empty() {
            return;
        }
        let (began, epoch) = {
            let state = self.state();
            (state.known.asking(), state.known.epoch())
        };
        let scope = self.scope.clone();
        let read = blocking(move || {
            let clocks = Clocks::now();
            let read = |item: Item| Some((decode(&scope.known(&key(&item)).ok()??, &item, epoch, clocks)?, item));
            Ok(items.into_iter().filter_map(read).collect::<Vec<_>>())
        });
        // What cannot be read is not known.
        let Ok(read) = read.await else { return };
        let mut state = self.state();
        for (recalled, item) in read {
            match (recalled, item) {
                (Recalled::Fact(fact), Item::Fact(path)) => state.known.recall_fact(path, began, fact),
                (Recalled::Listing(listed), Item::Listing(path)) => state.known.recall_listing(path, began, listed),
                _ => {}
            }
        }
    }

    /// Writes down all that was learnt.
    pub(crate) async fn remember(&self) {
        let mut remembering = self.remembering.lock().await;
        let place = self.place();
        while self.state().known.is_unwritten() {
            match self.write_some().await {
                Ok(bytes) => remembering.bytes = remembering.bytes.map(|all| all + bytes),
                Err(error) => {
                    tracing::warn!(?error, "what is known of the provider could not be written down");
                    return;
                }
            }
        }
        // Only now: a feed must not go on from behind something that it told and that was not written down.
        let head = self.head(place);
        if remembering.head.as_ref().is_none_or(|written| head.is_news_to(written)) && self.write_head(&head).is_ok() {
            remembering.head = Some(head);
        }
        if remembering.bytes.is_none_or(|bytes| bytes > MOST_BYTES) {
            let scope = self.scope.clone();
            remembering.bytes = blocking(move || Ok(trim(&scope)?)).await.ok();
        }
    }

    async fn write_some(&self) -> Result<u64> {
        let (void, since, epoch, kept) = {
            let mut state = self.state();
            let void = state.known.unwritten(AT_ONCE);
            let kept: Vec<(Item, Option<Kept>)> =
                void.items.iter().map(|item| (item.clone(), Kept::of(&state.known, item))).collect();
            (void, state.known.asking(), state.known.epoch(), kept)
        };
        let (scope, within) = (self.scope.clone(), void.clone());
        let encoded = blocking(move || {
            let clocks = Clocks::now();
            let gone = keys_within(&scope, &within.within)?.into_iter().map(|key| (key, None));
            let records = kept.into_iter().map(|(item, kept)| {
                let record = kept.and_then(|kept| kept.encode(epoch, clocks));
                (item, record)
            });
            Ok((gone.collect::<Vec<_>>(), records.collect::<Vec<_>>()))
        });
        let (mut changes, records) = match encoded.await {
            Ok(encoded) => encoded,
            Err(error) => {
                self.state().known.not_written(&void);
                return Err(crate::upload::from_vfs(error));
            }
        };
        let mut bytes = 0;
        let mut state = self.state();
        // What changed while it was encoded is written the next time.
        for (item, record) in records.into_iter().filter(|(item, _)| state.known.is_unchanged(item, since, &void)) {
            bytes += record.as_ref().map_or(0, |record| record.len() as u64);
            changes.push((key(&item), record));
        }
        // Under the lock, so that no change gets in between.
        let written = self.scope.set_known(changes);
        match &written {
            Ok(()) => state.known.written(&void),
            Err(_) => state.known.not_written(&void),
        }
        written.map(|()| bytes)
    }

    /// From where the feed goes on.
    pub(crate) fn place(&self) -> Option<Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_place(&self, place: Option<Place>) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = place;
        self.learnt.notify_one();
    }

    fn head(&self, place: Option<Place>) -> Head {
        let clocks = Clocks::now();
        let contact_ms = self.circuit.last_contact().map(|at| clocks.wall(at));
        let feed = place.map(|place| (place.cursor.0, clocks.wall(place.since)));
        Head { form: FORM, epoch: self.state().known.epoch(), contact_ms, feed }
    }

    fn write_head(&self, head: &Head) -> Result<()> {
        let record = postcard::to_allocvec(head).map_err(Error::internal)?;
        self.scope.set_known(vec![(HEAD.into(), Some(record))])
    }
}

/// What the one that writes down has in mind.
#[derive(Debug, Default)]
pub(crate) struct Remembering {
    /// As it was written last.
    head: Option<Head>,
    /// What all records take, about; none while nobody counted.
    bytes: Option<u64>,
}

/// What an earlier process left.
#[derive(Debug, Default)]
pub(crate) struct Left {
    pub(crate) epoch: u64,
    pub(crate) place: Option<Place>,
    /// When the provider answered last.
    pub(crate) contact: Option<Instant>,
}

impl Left {
    /// Blocking.
    pub(crate) fn load(scope: &Scope) -> Left {
        let head = scope.known(HEAD).ok().flatten().and_then(|record| postcard::from_bytes::<Head>(&record).ok());
        let head = head.filter(|head| head.form == FORM).unwrap_or_default();
        let clocks = Clocks::now();
        let place = head
            .feed
            .clone()
            .and_then(|(cursor, since)| Some(Place { cursor: Cursor(cursor), since: clocks.instant(since)? }));
        // A contact in the future was one under another clock: it was not later than now.
        let contact = head.contact_ms.and_then(|at| clocks.instant(at.min(clocks.wall_ms)));
        Left { epoch: head.epoch, place, contact }
    }
}

impl Void {
    /// The keys of what was written down of all this. Blocking where it names whole directories, and then as long as there
    /// is something in them.
    pub(crate) fn keys(&self, scope: &Scope) -> Result<Vec<String>> {
        let mut keys: Vec<String> = self.items.iter().map(key).collect();
        keys.extend(keys_within(scope, &self.within)?);
        Ok(keys)
    }
}

fn keys_within(scope: &Scope, paths: &[Path]) -> Result<Vec<String>> {
    let mut keys = Vec::new();
    for path in paths {
        for kind in ["F", "L"] {
            let at = format!("{kind}{path}");
            let below = if path.is_root() { at.clone() } else { format!("{at}/") };
            keys.push(at);
            scope.each_known(&below, |key, _| keys.push(key.to_owned()))?;
        }
    }
    Ok(keys)
}

/// What is written down of single entries of a directory. Blocking.
pub(crate) fn facts_in(scope: &Scope, directory: &Path) -> Result<Vec<Item>> {
    let below = if directory.is_root() { "F".to_owned() } else { format!("F{directory}/") };
    let mut facts = Vec::new();
    scope.each_known(&below, |key, _| {
        let path = key.get(1..).and_then(|path| Path::parse(path).ok());
        facts.extend(path.filter(|path| path.parent().as_ref() == Some(directory)).map(Item::Fact));
    })?;
    Ok(facts)
}

/// Deletes the oldest records if all together are too much, and says how much is left.
fn trim(scope: &Scope) -> Result<u64> {
    let mut records = Vec::new();
    scope.each_known("", |key, record| {
        if key != HEAD {
            // What nobody can read goes first.
            let asked = postcard::take_from_bytes::<Front>(record).map_or(i64::MIN, |(front, _)| front.asked_ms);
            records.push((asked, key.to_owned(), (key.len() + record.len()) as u64));
        }
    })?;
    let mut bytes: u64 = records.iter().map(|(.., bytes)| bytes).sum();
    if bytes <= MOST_BYTES {
        return Ok(bytes);
    }
    records.sort_unstable();
    let mut gone = Vec::new();
    for (_, key, size) in records {
        if bytes <= LEFT_BYTES {
            break;
        }
        bytes -= size;
        gone.push((key, None));
    }
    for some in gone.chunks(AT_ONCE) {
        scope.set_known(some.to_vec())?;
    }
    Ok(bytes)
}

fn key(item: &Item) -> String {
    match item {
        Item::Fact(path) => format!("F{path}"),
        Item::Listing(path) => format!("L{path}"),
    }
}

/// What is to be written of an item.
enum Kept {
    Fact(Box<Fact>),
    Listing(Arc<Listed>),
}

impl Kept {
    fn of(known: &crate::known::Known, item: &Item) -> Option<Kept> {
        match item {
            // A listing that is as new says it as well.
            Item::Fact(path) => {
                known.last_fact(path).filter(|fact| !known.is_listed(path, fact)).cloned().map(Box::new).map(Kept::Fact)
            }
            Item::Listing(path) => known.last_listing(path).cloned().map(Kept::Listing),
        }
    }

    fn encode(&self, epoch: u64, clocks: Clocks) -> Option<Vec<u8>> {
        let front = |age: Age| Front { form: FORM, asked_ms: clocks.wall(age.asked), doubted: age.doubted, epoch };
        match self {
            Kept::Fact(fact) => postcard::to_allocvec(&(front(fact.age), fact.entry.as_ref().map(KeptEntry::of))),
            Kept::Listing(listed) => {
                let entries: Vec<KeptEntry> = listed.entries.iter().map(KeptEntry::of).collect();
                postcard::to_allocvec(&(front(listed.age), entries))
            }
        }
        .ok()
    }
}

/// None if it cannot be understood.
fn decode(record: &[u8], item: &Item, epoch: u64, clocks: Clocks) -> Option<Recalled> {
    let (front, rest) = postcard::take_from_bytes::<Front>(record).ok()?;
    if front.form != FORM {
        return None;
    }
    let asked = clocks.instant(front.asked_ms);
    let doubted = front.doubted || front.epoch != epoch || asked.is_none();
    let age = Age { asked: asked.unwrap_or(clocks.now), doubted };
    match item {
        Item::Fact(_) => {
            let entry = postcard::from_bytes::<Option<KeptEntry>>(rest).ok()?;
            Some(Recalled::Fact(Fact { entry: entry.map(KeptEntry::entry), age }))
        }
        Item::Listing(_) => {
            let entries = postcard::from_bytes::<Vec<KeptEntry>>(rest).ok()?;
            let mut entries: Vec<Entry> = entries.into_iter().map(KeptEntry::entry).collect();
            entries.sort_by(|one, other| one.name.cmp(&other.name));
            Some(Recalled::Listing(Listed { entries, age }))
        }
    }
}

impl KeptEntry {
    fn of(entry: &Entry) -> KeptEntry {
        let Entry { name, kind, cookie, size, modified, created, version, media_type, digests, notes } = entry.clone();
        KeptEntry { name, kind, cookie, size, modified, created, version, media_type, digests, notes: notes.bits() }
    }

    fn entry(self) -> Entry {
        let KeptEntry { name, kind, cookie, size, modified, created, version, media_type, digests, notes } = self;
        let notes = Notes::from_bits_truncate(notes);
        Entry { name, kind, cookie, size, modified, created, version, media_type, digests, notes }
    }
}
