//! MEGA: everything is enciphered before it leaves, names and keys included.
//!
//! The provider tells all that there is at once, and then the news: the host keeps the tree, and nothing here looks anything up.
//! The password opens the master key while signing in, and that opens every node; both must be revealed to this component.
//!
//! `api.rs` has a function per command and the meaning of errors, `wire.rs` the shapes of answers, `crypto.rs` the ciphers, `tree.rs`
//! what becomes of a node, `signing.rs` and `writes.rs` the two conversations that take several steps, `changes.rs` all other changes.

use causeway_sdk::plan::MegaMac;
use causeway_sdk::prelude::*;
use serde_json::json;

mod api;
mod changes;
mod crypto;
mod signing;
mod tree;
mod wire;
mod writes;

use crypto::NodeKey;
use tree::Keys;
use wire::{Event, Node as Told};

/// How long an address of transfers is taken to be good; the provider says itself when it is no longer.
const URL_VALID_MS: u32 = 3_600_000;
/// Nodes of shared folders whose keys may come after them in one tree.
const MOST_WAITING: usize = 10_000;

/// The settings of one backend.
#[derive(Debug, Options)]
pub struct Settings {
    /// Say more in the log.
    #[option(advanced)]
    #[expect(dead_code)]
    debug: bool,
    /// What this backend is, for people.
    #[option(advanced)]
    #[expect(dead_code)]
    description: String,
    /// Which characters are replaced in names.
    #[option(advanced, encoding, default = "50331650")]
    #[expect(dead_code, reason = "the host does it")]
    encoding: String,
    /// Remove for good instead of moving to the rubbish bin.
    #[option(advanced)]
    hard_delete: bool,
    /// The password.
    #[option(required, credential, reveal)]
    pass: Secret,
    /// Transfer contents over TLS, too.
    #[option(advanced)]
    #[expect(dead_code)]
    use_https: bool,
    /// The e-mail address of the account.
    #[option(required, identity)]
    user: String,
}

/// One backend.
#[derive(Debug)]
pub struct Mega(Settings);

#[export]
impl Provider for Mega {
    type Options = Settings;

    const ABOUT: About = About {
        name: "mega",
        title: "MEGA",
        documentation: "https://mega.io/developers",
        version: env!("CARGO_PKG_VERSION"),
        origins: &["https://g.api.mega.co.nz", "https://*.userstorage.mega.co.nz"],
        ..About::UNKNOWN
    };

    fn slots() -> Vec<Slot> {
        let query = Place::Query("sid".to_owned());
        vec![
            Slot::new(api::SID, Uses::new().place(query, "", Vec::new(), Vec::new())),
            Slot::new(api::KEYS, Uses::new().reveal()),
        ]
    }

    fn open(settings: Settings) -> std::result::Result<Mega, Vec<Problem>> {
        match settings.user.contains('@') {
            true => Ok(Mega(settings)),
            false => Err(vec![Problem::new("user", "must be an e-mail address")]),
        }
    }

    fn traits(&self) -> Traits {
        Traits {
            signing_in: SigningIn::Session(0),
            abilities: Abilities::COOKIES
                | Abilities::EMPTY_DIRECTORIES
                | Abilities::DUPLICATES
                | Abilities::ATOMIC_REPLACE
                | Abilities::MOVE_DIRECTORIES,
            modified_step_ns: 1_000_000_000,
            // The news are asked for once a second.
            lag_ms: 1_000,
            paces: vec![Pace { origins: vec![api::HOST.to_owned()], interval_ms: 10, burst: 1, parallel: 1 }],
            ..Traits::default()
        }
    }

    fn probe(&self) -> Result<Identity> {
        let who: wire::Whoami = api::ask(json!({"a": "ug"}))?;
        Ok(Identity { account: Some(who.u), display: who.email })
    }

    /// The address is good for any range, which stands in its path; the content itself is always the same.
    fn read(&self, file: &Node, size: Option<u64>, _range: Option<Span>) -> Result<Plan> {
        let (handle, key) = (handle(file)?, self.key(file)?);
        let (nonce, mac) = key.nonce_and_mac().ok_or_else(|| Error::not_found("there is no such file"))?;
        let told = api::download(handle)?;
        let range = Text::from("/").and(Text::first_byte()).and("-").and(Text::last_byte());
        let request = Request::given("GET", &api::over_tls(&told.g)).path_text(range);
        let mut counter = [0; 16];
        counter.iter_mut().zip(nonce).for_each(|(byte, nonce)| *byte = nonce);
        let content = key.cipher_key();
        let plan = Plan::get(request)
            .ranges(Ranges::Placed)
            .decode(Decode::AesCtr { key: content, counter })
            .size(size.or(told.s))
            .reuse(Reuse::AnyRange, URL_VALID_MS)
            .of_one_version()
            .check_mega_mac(MegaMac { mac: mac.to_vec(), key: content.to_vec(), nonce: nonce.to_vec() });
        Ok(plan.into())
    }

    fn meaning(&self, answer: &Answer) -> Error {
        api::meaning(answer)
    }

    /// An address that has had its time is not found.
    fn explain(&self, _file: &Node, answer: &Answer) -> Verdict {
        match answer.status() {
            403 | 404 => Verdict::Replan,
            _ => Verdict::Failed(api::meaning(answer)),
        }
    }
}

/// The handle of a node that was shown.
fn handle(node: &Node) -> Result<&str> {
    node.cookie.as_deref().ok_or_else(|| Error::not_found("the provider has shown no such thing"))
}

impl Mega {
    /// The key of a node that was shown.
    fn key(&self, node: &Node) -> Result<NodeKey> {
        let version = match &node.version {
            Some(version) => Some(version.clone()),
            None => causeway_sdk::known(handle(node)?).and_then(|placed| placed.entry.version),
        };
        let key = version.and_then(|version| Keys::load().map(|keys| keys.unwrap(&version)).transpose());
        key.unwrap_or_else(|| Err(Error::not_found("the provider has shown no such thing")))
    }
}

#[export]
impl Walking for Mega {
    fn walk(&self, _directory: &Node, into: &mut Sink<'_>) -> Result<Option<String>> {
        let mut walk = Walk { keys: Keys::load()?, into, waiting: Vec::new(), rooted: false, bin: None };
        let cursor = match wire::tree(api::tree()?, &mut walk)? {
            wire::Told::Whole(cursor) => cursor,
            wire::Told::Refused(number) => return Err(api::refused(number)),
        };
        let Walk { keys, into, waiting, rooted, bin } = walk;
        if !rooted {
            return Err(Error::unavailable("the provider's list of all that is there has no beginning"));
        }
        let mut unreadable = 0;
        for node in waiting {
            match keys.entry(&node) {
                Some(entry) => into.push(entry)?,
                None => unreadable += 1,
            }
        }
        if unreadable > 0 {
            causeway_sdk::warn(&format!("{unreadable} nodes cannot be deciphered and are not shown"));
        }
        keys.store()?;
        if let Some(bin) = bin {
            causeway_sdk::state::store(tree::BIN, &bin, None)?;
        }
        Ok(Some(cursor))
    }
}

/// A walk under way.
struct Walk<'a, 'b> {
    keys: Keys,
    into: &'a mut Sink<'b>,
    /// What could not be deciphered when it came.
    waiting: Vec<Told>,
    rooted: bool,
    bin: Option<String>,
}

impl wire::Gathering for Walk<'_, '_> {
    fn node(&mut self, node: Told) -> Result<()> {
        self.rooted |= node.t == wire::ROOT;
        if let Some(entry) = self.keys.entry(&node) {
            return self.into.push(entry);
        }
        match node.t {
            wire::BIN => self.bin = Some(node.h),
            wire::FILE | wire::FOLDER if self.waiting.len() < MOST_WAITING => self.waiting.push(node),
            _ => {}
        }
        Ok(())
    }

    fn share(&mut self, share: wire::ShareKey) -> Result<()> {
        self.keys.learn(share);
        Ok(())
    }
}

#[export]
impl Changes for Mega {
    fn changes_since(&self, cursor: Option<&str>) -> Result<(Vec<Change>, Next, Option<Request>)> {
        let Some(cursor) = cursor else {
            // Only the whole tree tells where the news are.
            let next = self.walk(&root(), &mut Sink::new(&mut |_| Ok(())))?.unwrap_or_default();
            return Ok((Vec::new(), Next { cursor: next, more: false }, None));
        };
        let same = || Next { cursor: cursor.to_owned(), more: false };
        let Some(news) = api::news(cursor)? else { return Ok((vec![Change::Everything], same(), None)) };
        if let Some(wait) = news.w {
            return Ok((Vec::new(), same(), Some(Request::given("GET", &wait))));
        }
        let keys = Keys::load()?;
        let more = news.ir != 0;
        let events: Vec<Event> =
            news.a.into_iter().map(|event| serde_json::from_value(event).unwrap_or(Event::Other)).collect();
        let mut changes = Vec::new();
        for (at, event) in events.iter().enumerate() {
            match event {
                Event::Nodes { t } => {
                    changes.extend(t.f.iter().filter_map(|node| keys.entry(node)).map(Change::Updated))
                }
                Event::Gone { n, m } => {
                    let comes =
                        |event: &Event| matches!(event, Event::Nodes { t } if t.f.iter().any(|node| node.h == *n));
                    let elsewhere = *m != 0 && events.iter().skip(at).any(comes);
                    if !elsewhere {
                        changes.push(if *m != 0 && more { Change::Everything } else { removed(n) });
                    }
                }
                Event::Attributes { n, at } => changes.extend(
                    causeway_sdk::known(n)
                        .map(|known| keys.renamed(known, at).map_or(Change::Everything, Change::Updated)),
                ),
                Event::Other => {}
            }
        }
        let next = Next { cursor: news.sn.unwrap_or_else(|| cursor.to_owned()), more };
        Ok((changes, next, None))
    }
}

fn root() -> Node {
    Node { kind: Kind::Directory, path: String::new(), cookie: None, version: None }
}

fn removed(handle: &str) -> Change {
    Change::Removed(Node { cookie: Some(handle.to_owned()), ..root() })
}
