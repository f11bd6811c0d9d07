//! What can be set, the JSON shapes of answers, and what becomes of them.

use std::collections::BTreeMap;
use std::fmt;

use causeway_sdk::prelude::*;
use causeway_sdk::time;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// The settings of one backend.
#[derive(Debug, Options)]
pub struct Settings {
    /// The account wants a one-time code: nobody signs in without a person who types it.
    #[option(name = "2fa")]
    pub(crate) two_factor: bool,
    /// A token of the account, used instead of signing in.
    #[option(credential, header("Authorization", prefix = "Token "))]
    pub(crate) auth_token: Secret,
    /// Make a library that is missing.
    #[option(advanced)]
    pub(crate) create_library: bool,
    /// Description of the remote.
    #[expect(dead_code)]
    description: String,
    /// How names are encoded.
    #[option(advanced, encoding, default = "16850954")]
    #[expect(dead_code, reason = "the host applies it")]
    encoding: String,
    /// Name of the library; where it is empty, the first name of a path is that of a library.
    #[option(identity)]
    pub(crate) library: String,
    /// Password of an encrypted library.
    #[option(credential, form("password"), json("/passwd"))]
    pub(crate) library_key: Secret,
    /// Password.
    #[option(credential, json("/password", towards("{url}/api2/auth-token/")))]
    pub(crate) pass: Secret,
    /// URL of the server, such as https://cloud.seafile.com/.
    #[option(required, identity, endpoint)]
    pub(crate) url: String,
    /// User name, usually an e-mail address.
    #[option(required, identity)]
    pub(crate) user: String,
}

/// A library: what the server calls a repository.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Library {
    pub(crate) id: String,
    pub(crate) name: String,
    #[serde(default, deserialize_with = "truth")]
    pub(crate) encrypted: bool,
    #[serde(default)]
    pub(crate) mtime: Option<Moment>,
}

/// What servers write for a truth: a boolean, a number, or nothing at all.
fn truth<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Told {
        Truth(bool),
        Number(i64),
        Text(String),
    }
    Ok(match Option::<Told>::deserialize(deserializer)? {
        Some(Told::Truth(truth)) => truth,
        Some(Told::Number(number)) => number != 0,
        Some(Told::Text(text)) => !matches!(text.as_str(), "" | "0" | "false"),
        None => false,
    })
}

/// A time: Unix seconds at some endpoints, a date at others.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub(crate) enum Moment {
    Seconds(i64),
    Date(String),
}

impl Moment {
    pub(crate) fn instant(&self) -> Option<Instant> {
        match self {
            Moment::Seconds(seconds) => Some(Instant { seconds: *seconds, nanoseconds: 0 }),
            Moment::Date(date) => time::parse_rfc3339(date),
        }
    }
}

/// A file or directory, in a list or by itself.
#[derive(Debug, Deserialize)]
pub(crate) struct Item {
    /// Missing where a directory tells of itself.
    #[serde(default, rename = "type")]
    kind: String,
    /// Of a file's content: it changes with it.
    #[serde(default)]
    id: String,
    pub(crate) name: String,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    mtime: Option<Moment>,
    #[serde(default)]
    permission: String,
}

impl Item {
    /// This item as an entry; `name` is what the list says, or what was asked for.
    pub(crate) fn entry(self) -> Entry {
        let modified = self.mtime.as_ref().and_then(Moment::instant);
        if self.kind != "file" {
            return Entry { modified, ..Entry::directory(self.name) };
        }
        let read_only = matches!(self.permission.as_str(), "r" | "preview");
        Entry {
            size: self.size,
            modified,
            version: Some(self.id).filter(|id| !id.is_empty()),
            notes: if read_only { Notes::READ_ONLY } else { Notes::empty() },
            ..Entry::file(self.name)
        }
    }
}

/// What a rename, a move or a copy made of a file.
#[derive(Deserialize)]
pub(crate) struct Changed {
    pub(crate) obj_name: String,
    #[serde(default)]
    obj_id: String,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    mtime: Option<Moment>,
}

impl Changed {
    pub(crate) fn entry(self) -> Entry {
        Entry {
            size: self.size,
            modified: self.mtime.as_ref().and_then(Moment::instant),
            version: Some(self.obj_id).filter(|id| !id.is_empty()),
            ..Entry::file(self.obj_name)
        }
    }
}

/// A file as the answer to its upload tells.
#[derive(Deserialize)]
pub(crate) struct Uploaded {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) size: u64,
}

#[derive(Deserialize)]
pub(crate) struct Account {
    pub(crate) email: String,
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) usage: Option<u64>,
    /// Not above 0 where there is no limit.
    #[serde(default)]
    pub(crate) total: Option<i64>,
}

#[derive(Deserialize)]
pub(crate) struct Server {
    version: String,
}

impl Server {
    /// The first number of its version; one that cannot be read is a new one.
    pub(crate) fn major(&self) -> u32 {
        self.version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(u32::MAX)
    }
}

#[derive(Deserialize)]
pub(crate) struct Created {
    pub(crate) repo_id: String,
}

#[derive(Deserialize)]
pub(crate) struct Share {
    pub(crate) token: String,
    pub(crate) link: String,
    #[serde(default)]
    is_expired: bool,
    #[serde(default)]
    expire_date: Option<String>,
}

impl Share {
    /// Whether it ends at this time, or less than a day before: links live for whole days. None is never.
    pub(crate) fn serves_until(&self, until: Option<Instant>) -> bool {
        let ends = self.expire_date.as_deref().filter(|date| !date.is_empty());
        let fits = match (ends.map(time::parse_rfc3339), until) {
            (None, None) => true,
            (Some(Some(ends)), Some(until)) => (0..86_400).contains(&(until.seconds - ends.seconds)),
            _ => false,
        };
        fits && !self.is_expired
    }
}

/// What an error says, wherever it says it.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Failure {
    pub(crate) error_msg: String,
    pub(crate) detail: String,
    pub(crate) error: String,
    pub(crate) non_field_errors: Vec<String>,
}

/// So much of a directory is kept while its list streams by: the list comes whole, however long it is.
pub(crate) struct Slice<'a> {
    /// Names up to this one were shown before.
    pub(crate) after: Option<&'a str>,
    pub(crate) most: usize,
}

/// The first items after a name, and whether there are more.
#[derive(Debug, Default)]
pub(crate) struct Sliced {
    pub(crate) items: BTreeMap<String, Item>,
    pub(crate) more: bool,
}

impl Slice<'_> {
    fn take(&self, sliced: &mut Sliced, item: Item) {
        if self.after.is_some_and(|after| item.name.as_str() <= after) {
            return;
        }
        sliced.items.insert(item.name.clone(), item);
        if sliced.items.len() > self.most {
            sliced.items.pop_last();
            sliced.more = true;
        }
    }
}

impl<'de> DeserializeSeed<'de> for &Slice<'_> {
    type Value = Sliced;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Sliced, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &Slice<'_> {
    type Value = Sliced;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a directory's items")
    }

    /// As servers before 7.0 answer.
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> std::result::Result<Sliced, A::Error> {
        let mut sliced = Sliced::default();
        while let Some(item) = items.next_element()? {
            self.take(&mut sliced, item);
        }
        Ok(sliced)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> std::result::Result<Sliced, A::Error> {
        let mut sliced = None;
        while let Some(member) = members.next_key::<String>()? {
            match member.as_str() {
                "dirent_list" => sliced = Some(members.next_value_seed(self)?),
                _ => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        sliced.ok_or_else(|| serde::de::Error::missing_field("dirent_list"))
    }
}
