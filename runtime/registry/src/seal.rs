//! Sealing at rest: XChaCha20-Poly1305 with a random nonce, bound to the exact place where the value stands.
//!
//! It is not a keyring: one key, in a file that only its owner may read. A sealed value begins with a format byte, the
//! key's id and the nonce. The place (table, tenant, backend, field) and the key's id are associated data, so that a value
//! copied into another row, or another tenant's, does not open. Every part is preceded by its length: no two places spell
//! the same.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key as CipherKey, XChaCha20Poly1305, XNonce};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::ids::fill_random;
use crate::{Error, Result};

/// Where a sealed value stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) table: &'a str,
    pub(crate) tenant: &'a str,
    pub(crate) backend: &'a str,
    pub(crate) field: &'a str,
}

/// The key that everything in one registry is sealed with.
pub(crate) struct Key {
    cipher: XChaCha20Poly1305,
    id: [u8; ID_BYTES],
}

const FORMAT: u8 = 1;
const ID_BYTES: usize = 4;
const NONCE_BYTES: usize = 24;
const KEY_BYTES: usize = 32;

impl Key {
    /// Reads the key from its file, or makes one there if the file is missing and `may_make` says that nothing was sealed
    /// yet. A file that others can read is refused.
    pub(crate) fn load(file: &Path, may_make: bool) -> Result<Key> {
        match read_file(file) {
            Ok(text) => Key::parse(&text).ok_or_else(|| {
                Error::Key(format!("the key file {} must hold 64 hex digits and nothing else", file.display()))
            }),
            Err(error) if error.kind() == ErrorKind::NotFound && may_make => make_file(file),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::Key(format!(
                "the key file {} is missing, and the registry holds values sealed with it: put the key back",
                file.display()
            ))),
            Err(error) => Err(Error::Key(format!("the key file {} cannot be used: {error}", file.display()))),
        }
    }

    fn parse(text: &str) -> Option<Key> {
        let bytes = Zeroizing::new(HEXLOWER.decode(text.trim_end().as_bytes()).ok()?);
        (bytes.len() == KEY_BYTES).then(|| Key::new(&bytes))
    }

    fn new(bytes: &[u8]) -> Key {
        let mut id = [0u8; ID_BYTES];
        let digest = Sha256::new().chain_update(b"causeway key id\0").chain_update(bytes).finalize();
        id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Key { cipher: XChaCha20Poly1305::new(CipherKey::from_slice(bytes)), id }
    }

    /// The id, for people.
    pub(crate) fn id(&self) -> String {
        HEXLOWER.encode(&self.id)
    }

    /// The id of the key that a value was sealed with.
    pub(crate) fn id_in(sealed: &[u8]) -> Option<String> {
        sealed.get(1..1 + ID_BYTES).map(|id| HEXLOWER.encode(id))
    }

    /// Seals a value for one place.
    pub(crate) fn seal(&self, place: Place<'_>, value: &[u8]) -> Result<Vec<u8>> {
        let mut nonce = [0u8; NONCE_BYTES];
        fill_random(&mut nonce)?;
        let payload = Payload { msg: value, aad: &self.associated(place) };
        let text = self
            .cipher
            .encrypt(XNonce::from_slice(&nonce), payload)
            .map_err(|_| Error::Limit("a value is too large to be sealed"))?;
        let mut sealed = Vec::with_capacity(1 + ID_BYTES + NONCE_BYTES + text.len());
        sealed.push(FORMAT);
        sealed.extend_from_slice(&self.id);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&text);
        Ok(sealed)
    }

    /// Opens a value that was sealed for this place with this key; none for any other.
    pub(crate) fn open(&self, place: Place<'_>, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (format, rest) = sealed.split_first()?;
        let (id, rest) = rest.split_at_checked(ID_BYTES)?;
        let (nonce, text) = rest.split_at_checked(NONCE_BYTES)?;
        if *format != FORMAT || id != self.id {
            return None;
        }
        let payload = Payload { msg: text, aad: &self.associated(place) };
        self.cipher.decrypt(XNonce::from_slice(nonce), payload).ok().map(Zeroizing::new)
    }

    fn associated(&self, place: Place<'_>) -> Vec<u8> {
        let mut data = Vec::new();
        for part in [
            place.table.as_bytes(),
            place.tenant.as_bytes(),
            place.backend.as_bytes(),
            place.field.as_bytes(),
            &self.id,
        ] {
            data.extend_from_slice(&(part.len() as u64).to_be_bytes());
            data.extend_from_slice(part);
        }
        data
    }
}

fn read_file(file: &Path) -> std::io::Result<Zeroizing<String>> {
    let handle = std::fs::File::open(file)?;
    if handle.metadata()?.mode() & 0o077 != 0 {
        return Err(std::io::Error::new(ErrorKind::PermissionDenied, "others may read it; its mode must be 0600"));
    }
    let mut text = Zeroizing::new(String::with_capacity(1024));
    // More than this is no key, and must not be read into memory.
    handle.take(1024).read_to_string(&mut text)?;
    Ok(text)
}

/// Makes a key under a temporary name, durable, and links it into place, so that no start ever sees half a key and two
/// starts at once agree on one.
fn make_file(file: &Path) -> Result<Key> {
    let failed = |error: std::io::Error| Error::Key(format!("the key file {} cannot be made: {error}", file.display()));
    let mut bytes = Zeroizing::new([0u8; KEY_BYTES]);
    fill_random(&mut *bytes)?;
    let text = Zeroizing::new(HEXLOWER.encode(&*bytes));
    let temporary = file.with_extension(format!("new-{}", crate::ids::random_hex::<8>()?));
    let written = (|| {
        let mut handle = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        handle.write_all(text.as_bytes())?;
        handle.write_all(b"\n")?;
        handle.sync_all()?;
        match std::fs::hard_link(&temporary, file) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => match file.parent() {
                Some(directory) if !directory.as_os_str().is_empty() => std::fs::File::open(directory)?.sync_all(),
                _ => Ok(()),
            },
        }
    })();
    let removed = std::fs::remove_file(&temporary);
    written.and(removed).map_err(failed)?;
    Key::load(file, false)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const PLACE: Place<'_> = Place { table: "t", tenant: "a", backend: "b", field: "f" };

    #[test]
    fn a_value_opens_in_its_own_place_only() {
        let key = Key::new(&[7; 32]);
        let sealed = key.seal(PLACE, b"value").unwrap();
        assert_eq!(key.open(PLACE, &sealed).unwrap().as_slice(), b"value");
        for other in [
            Place { table: "u", ..PLACE },
            Place { tenant: "ab", backend: "", ..PLACE },
            Place { backend: "c", ..PLACE },
            Place { field: "g", ..PLACE },
        ] {
            assert!(key.open(other, &sealed).is_none(), "{other:?}");
        }
        assert!(Key::new(&[8; 32]).open(PLACE, &sealed).is_none());
    }

    #[test]
    fn a_changed_bit_or_a_missing_end_does_not_open() {
        let key = Key::new(&[7; 32]);
        let sealed = key.seal(PLACE, b"value").unwrap();
        for position in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[position] ^= 1;
            assert!(key.open(PLACE, &changed).is_none(), "{position}");
            assert!(key.open(PLACE, &sealed[..position]).is_none(), "{position}");
        }
    }

    #[test]
    fn a_key_file_is_made_once_and_private() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        let id = Key::load(&file, true).unwrap().id();
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(Key::load(&file, true).unwrap().id(), id);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_open_or_damaged_key_file_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        assert!(matches!(Key::load(&file, false), Err(Error::Key(text)) if text.contains("missing")));
        std::fs::write(&file, "00".repeat(32)).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Key::load(&file, false), Err(Error::Key(text)) if text.contains("0600")));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(Key::load(&file, false).is_ok());
        std::fs::write(&file, "not a key").unwrap();
        assert!(matches!(Key::load(&file, true), Err(Error::Key(text)) if text.contains("64 hex digits")));
    }
}
