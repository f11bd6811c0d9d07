//! The names of things: tenants, tokens, backends, mounts. Parsed at the door, made here, never guessed.

use std::fmt;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use rand::TryRngCore;
use rand::rngs::OsRng;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::{Error, Result};

/// Whose a request is. Made only by the registry, so that whoever holds one has shown a token or is the operator.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tenant(String);

impl Tenant {
    /// The longest name in bytes: it is part of paths.
    const LONGEST_BYTES: usize = 63;

    pub(crate) fn parse(name: &str) -> Result<Tenant> {
        let sound = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        let starts = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        if !starts || name.len() > Tenant::LONGEST_BYTES || !name.chars().all(sound) {
            return Err(Error::Invalid(format!(
                "a tenant's name has 1 to {} lower-case letters, digits, - and _, and begins with a letter or a digit",
                Tenant::LONGEST_BYTES
            )));
        }
        Ok(Tenant(name.to_owned()))
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What opens the API for a tenant. Never stored, never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// The shortest that the operator may choose, in characters: what is made here has 52.
    const SHORTEST: usize = 16;

    /// A new one of 256 random bits.
    pub(crate) fn random() -> Result<Token> {
        let mut bytes = Zeroizing::new([0u8; 32]);
        fill_random(&mut *bytes)?;
        Ok(Token(Zeroizing::new(format!("causeway_{}", BASE64URL_NOPAD.encode(&*bytes)))))
    }

    /// What a client showed.
    pub fn shown(text: &str) -> Token {
        Token(Zeroizing::new(text.to_owned()))
    }

    /// One that the operator chose.
    pub fn chosen(text: &str) -> Result<Token> {
        let graphic = text.chars().all(|c| c.is_ascii_graphic());
        if text.len() < Token::SHORTEST || !graphic {
            return Err(Error::Invalid(format!(
                "a token has at least {} characters, all printable ASCII without spaces",
                Token::SHORTEST
            )));
        }
        Ok(Token::shown(text))
    }

    /// The token itself, to be shown once.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored in its place. A fast hash is right: there is nothing to guess in 256 random bits.
    pub(crate) fn hash(&self) -> String {
        HEXLOWER.encode(&Sha256::digest(self.0.as_bytes()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<token>")
    }
}

/// A backend's id: 16 lower-case hex digits, random, unique in the whole registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendId(String);

impl BackendId {
    /// A new one.
    pub fn random() -> Result<BackendId> {
        Ok(BackendId(random_hex::<8>()?))
    }

    /// What a client wrote: a prefix `bnd_` or `bck_`, also with the provider's name (`bnd_drive_`), is ignored.
    pub fn parse(text: &str) -> Option<BackendId> {
        let id = match text.strip_prefix("bnd").or_else(|| text.strip_prefix("bck")) {
            None => text,
            Some(rest) => {
                let (labels, id) = rest.rsplit_once('_')?;
                let sound = |label: &str| {
                    !label.is_empty() && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
                };
                if !labels.is_empty() && !labels.strip_prefix('_')?.split('_').all(sound) {
                    return None;
                }
                id
            }
        };
        is_hex(id, 16).then(|| BackendId(id.to_owned()))
    }

    /// The 16 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BackendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A mount's id: `mount_` and a random UUID (version 4) as 32 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MountId(String);

impl MountId {
    /// A new one.
    pub fn random() -> Result<MountId> {
        let mut bytes = [0u8; 16];
        fill_random(&mut bytes)?;
        let uuid = (u128::from_be_bytes(bytes) & !(0xF << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
        Ok(MountId(format!("mount_{uuid:032x}")))
    }

    /// What a client wrote.
    pub fn parse(text: &str) -> Option<MountId> {
        is_hex(text.strip_prefix("mount_")?, 32).then(|| MountId(text.to_owned()))
    }

    /// With its prefix.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(crate) fn random_hex<const BYTES: usize>() -> Result<String> {
    let mut bytes = [0u8; BYTES];
    fill_random(&mut bytes)?;
    Ok(HEXLOWER.encode(&bytes))
}

pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<()> {
    OsRng.try_fill_bytes(bytes).map_err(|error| Error::Key(format!("the system gives no random bytes: {error}")))
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_id_is_taken_with_any_prefix_of_the_pages() {
        for text in [
            "a1b2c3d4e5f67890",
            "bnd_a1b2c3d4e5f67890",
            "bck_a1b2c3d4e5f67890",
            "bnd_drive_a1b2c3d4e5f67890",
            "bnd_google_photos_a1b2c3d4e5f67890",
        ] {
            assert_eq!(BackendId::parse(text).map(|id| id.to_string()).as_deref(), Some("a1b2c3d4e5f67890"), "{text}");
        }
        for text in [
            "",
            "bnd_",
            "xyz_a1b2c3d4e5f67890",
            "bnda1b2c3d4e5f67890",
            "bnd__a1b2c3d4e5f67890",
            "A1B2C3D4E5F67890",
            "bnd_Drive_a1b2c3d4e5f67890",
            "bndx_a1b2c3d4e5f67890",
        ] {
            assert_eq!(BackendId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_mount_id_holds_a_version_4_uuid() {
        for _ in 0..100 {
            let id = MountId::random().unwrap();
            let digits = id.as_str().strip_prefix("mount_").unwrap();
            assert_eq!(&digits[12..13], "4", "{id}");
            assert!("89ab".contains(&digits[16..17]), "{id}");
            assert_eq!(MountId::parse(id.as_str()), Some(id));
        }
    }

    #[test]
    fn a_token_does_not_show_itself() {
        let token = Token::random().unwrap();
        assert_eq!(token.expose().len(), 52);
        assert_eq!(format!("{token:?}"), "<token>");
    }

    #[test]
    fn a_tenant_is_a_plain_name() {
        for name in ["default", "a", "team-1", "0_x"] {
            assert!(Tenant::parse(name).is_ok(), "{name}");
        }
        for name in ["", "-a", "A", "a b", "a/b", "..", &"a".repeat(64)] {
            assert!(Tenant::parse(name).is_err(), "{name}");
        }
    }
}
