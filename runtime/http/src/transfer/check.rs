//! Bytes held against what the provider says of them, while they pass. It knows nothing of where they come from.

use causeway_digest::{Digester, MegaMac};
use causeway_storage::{DigestValue, Error, ErrorKind, Result};

use super::plan::Check;

/// A check under way.
pub(crate) enum Checking {
    Digest(DigestValue, Digester),
    MegaMac(Vec<u8>, Box<MegaMac>),
}

impl Checking {
    /// Before the first byte.
    pub(crate) fn begin(check: &Check) -> Result<Checking> {
        Ok(match check {
            Check::Digest(digest) => Checking::Digest(digest.clone(), Digester::new(&[digest.algorithm])),
            Check::MegaMac { mac, key, nonce } => {
                let wrong = || Error::internal("a meta-MAC needs a key of 16 bytes and a nonce of eight");
                Checking::MegaMac(mac.clone(), Box::new(MegaMac::new(key, nonce).ok_or_else(wrong)?))
            }
        })
    }

    /// The next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Checking::Digest(_, digester) => digester.update(bytes),
            Checking::MegaMac(_, mac) => mac.update(bytes),
        }
    }

    /// After the last byte.
    pub(crate) fn finish(self, what: &str) -> Result<()> {
        let fits = match self {
            Checking::Digest(told, digester) => digester.finish().contains(&told),
            Checking::MegaMac(told, mac) => mac.finish().as_slice() == told,
        };
        if fits {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Corrupt, format!("{what} does not have the digest that the provider told")))
    }
}
