//! The JSON shapes of answers and news, and the reading of a tree that is too large to hold.

use std::cell::RefCell;
use std::io::Read;
use std::marker::PhantomData;

use causeway_sdk::prelude::*;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// What a node is: its type's number.
pub(crate) const FILE: u8 = 0;
pub(crate) const FOLDER: u8 = 1;
pub(crate) const ROOT: u8 = 2;
pub(crate) const BIN: u8 = 4;

/// A node as the provider tells it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Node {
    pub(crate) h: String,
    #[serde(default)]
    pub(crate) p: String,
    pub(crate) t: u8,
    /// Attributes, enciphered.
    #[serde(default)]
    pub(crate) a: String,
    /// Its key, for each who may have it.
    #[serde(default)]
    pub(crate) k: String,
    pub(crate) s: Option<u64>,
    #[serde(default)]
    pub(crate) ts: i64,
}

/// The key of a shared folder.
#[derive(Debug, Deserialize)]
pub(crate) struct ShareKey {
    pub(crate) h: String,
    pub(crate) k: String,
}

/// How a password is to be proven.
#[derive(Debug, Deserialize)]
pub(crate) struct Prelude {
    pub(crate) v: u32,
    #[serde(default)]
    pub(crate) s: String,
}

/// A sign-in that was accepted.
#[derive(Debug, Deserialize)]
pub(crate) struct SignedIn {
    pub(crate) k: String,
    pub(crate) u: String,
    pub(crate) csid: Option<String>,
    pub(crate) privk: Option<String>,
}

/// Whom a session is of.
#[derive(Debug, Deserialize)]
pub(crate) struct Whoami {
    pub(crate) u: String,
    pub(crate) email: Option<String>,
}

/// Where a file can be read, or why not.
#[derive(Debug, Deserialize)]
pub(crate) struct Download {
    #[serde(default)]
    pub(crate) g: String,
    pub(crate) s: Option<u64>,
    #[serde(default)]
    pub(crate) at: String,
    pub(crate) e: Option<i64>,
    /// Seconds until more may be read.
    #[serde(default)]
    pub(crate) tl: u32,
    /// It was taken down.
    pub(crate) d: Option<IgnoredAny>,
}

/// Where a file can be sent.
#[derive(Debug, Deserialize)]
pub(crate) struct Upload {
    pub(crate) p: String,
}

/// Nodes that a command made.
#[derive(Debug, Deserialize)]
pub(crate) struct Made {
    #[serde(default)]
    pub(crate) f: Vec<Node>,
}

/// How much room there is.
#[derive(Debug, Deserialize)]
pub(crate) struct Quota {
    pub(crate) mstrg: Option<u64>,
    pub(crate) cstrg: Option<u64>,
}

/// News: events and where they go on, or where to wait for some.
#[derive(Debug, Deserialize)]
pub(crate) struct News {
    #[serde(default)]
    pub(crate) a: Vec<Value>,
    pub(crate) sn: Option<String>,
    pub(crate) w: Option<String>,
    /// More is waiting.
    #[serde(default)]
    pub(crate) ir: u8,
}

/// One event; others than these three say nothing of what is seen here.
#[derive(Debug, Deserialize)]
#[serde(tag = "a")]
pub(crate) enum Event {
    /// Nodes came, or came elsewhere.
    #[serde(rename = "t")]
    Nodes { t: Made },
    /// A node went; `m` says that it came elsewhere.
    #[serde(rename = "d")]
    Gone {
        n: String,
        #[serde(default)]
        m: u8,
    },
    /// A node has other attributes.
    #[serde(rename = "u")]
    Attributes { n: String, at: String },
    #[serde(other)]
    Other,
}

/// What is done with each piece of a tree as it comes.
pub(crate) trait Gathering {
    fn node(&mut self, node: Node) -> Result<()>;
    fn share(&mut self, share: ShareKey) -> Result<()>;
}

/// What ended the reading of a tree.
pub(crate) enum Told {
    /// All of it was seen; where the news go on.
    Whole(String),
    /// The provider refused, with this number.
    Refused(i64),
}

/// Reads a tree to its end, bit by bit.
pub(crate) fn tree(body: impl Read, into: &mut impl Gathering) -> Result<Told> {
    let failed = RefCell::new(None);
    let mut reading = serde_json::Deserializer::from_reader(std::io::BufReader::with_capacity(1 << 16, body));
    let read =
        Document { into, failed: &failed }.deserialize(&mut reading).and_then(|read| reading.end().map(|()| read));
    match (failed.into_inner(), read) {
        (Some(error), _) => Err(error),
        (None, Ok(read)) => Ok(read),
        (None, Err(error)) => {
            Err(Error::unavailable("the provider's list of all that is there broke off").detail(error.to_string()))
        }
    }
}

/// The whole answer: an array of one tree, or a number.
struct Document<'a, G> {
    into: &'a mut G,
    failed: &'a RefCell<Option<Error>>,
}

impl<'de, G: Gathering> DeserializeSeed<'de> for Document<'_, G> {
    type Value = Told;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Told, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, G: Gathering> Visitor<'de> for Document<'_, G> {
    type Value = Told;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a tree or a number")
    }

    fn visit_i64<E>(self, number: i64) -> std::result::Result<Told, E> {
        Ok(Told::Refused(number))
    }

    fn visit_u64<E>(self, _number: u64) -> std::result::Result<Told, E> {
        Ok(Told::Refused(0))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut answers: A) -> std::result::Result<Told, A::Error> {
        let Document { into, failed } = self;
        let read = answers.next_element_seed(Document { into, failed })?;
        let read = read.ok_or_else(|| A::Error::custom("an empty answer"))?;
        match answers.next_element::<IgnoredAny>()? {
            None => Ok(read),
            Some(_) => Err(A::Error::custom("several answers to one question")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> std::result::Result<Told, A::Error> {
        let Document { into, failed } = self;
        let mut news = None;
        while let Some(name) = fields.next_key::<String>()? {
            match name.as_str() {
                "f" => fields.next_value_seed(Each(|node| into.node(node), failed, PhantomData))?,
                "ok" => fields.next_value_seed(Each(|share| into.share(share), failed, PhantomData))?,
                "sn" => news = Some(fields.next_value()?),
                _ => {
                    fields.next_value::<IgnoredAny>()?;
                }
            }
        }
        news.map(Told::Whole).ok_or_else(|| A::Error::custom("a tree without a place in the news"))
    }
}

/// Every element of an array, one after the other.
struct Each<'a, T, F>(F, &'a RefCell<Option<Error>>, PhantomData<T>);

impl<'de, T: Deserialize<'de>, F: FnMut(T) -> Result<()>> DeserializeSeed<'de> for Each<'_, T, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: Deserialize<'de>, F: FnMut(T) -> Result<()>> Visitor<'de> for Each<'_, T, F> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> std::result::Result<(), A::Error> {
        while let Some(element) = elements.next_element()? {
            if let Err(error) = (self.0)(element) {
                self.1.replace(Some(error));
                return Err(A::Error::custom("given up"));
            }
        }
        Ok(())
    }
}
