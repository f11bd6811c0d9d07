//! HMAC with keys that stay here. It gives out a result only where the secret declares this hash with this number of
//! steps, so that no key in between is ever seen; prefix and base64 come from the declaration, so the component cannot
//! vary the key.

use std::collections::HashMap;

use causeway_storage::{Error, ErrorKind, Result};
use hmac::{Hmac, Mac};
use zeroize::Zeroizing;

use crate::render::{Filling, Tree, from_base64};
use crate::request::{Piece, SecretRef};
use crate::secrets::{Secrets, declared, resolve};
use crate::uses::{Hash, HmacUse, SecretUse};

/// The HMAC of a message under the key that these steps make of the secret.
pub(crate) fn hmac(
    uses: &HashMap<String, SecretUse>,
    secrets: &dyn Secrets,
    key: &SecretRef,
    hash: Hash,
    steps: &[String],
    message: &[Piece],
) -> Result<Vec<u8>> {
    let declaration = find_use(uses, key, hash, steps.len())?;
    let message = Tree::parse(message)?;
    check_message(uses, secrets, key, &message)?;
    let message = Zeroizing::new(message.render(&Filling { secrets, range: None, source: None })?);
    let secret = resolve(secrets, key)?;
    let secret = match declaration.base64 {
        true => from_base64(secret.expose()).map(Zeroizing::new).ok_or_else(|| wrong_key(key))?,
        false => Zeroizing::new(secret.expose().to_vec()),
    };
    let mut current = Zeroizing::new(declaration.prefix.as_bytes().to_vec());
    current.extend_from_slice(&secret);
    for step in steps {
        current = Zeroizing::new(once(hash, &current, step.as_bytes())?);
    }
    once(hash, &current, &message)
}

fn find_use<'a>(
    uses: &'a HashMap<String, SecretUse>,
    key: &SecretRef,
    hash: Hash,
    steps: usize,
) -> Result<&'a HmacUse> {
    let declared = declared(uses, &key.name).map_or(&[][..], |uses| uses.hmac.as_slice());
    let fits = |one: &&HmacUse| one.field == key.field && one.hash == hash && usize::from(one.steps) == steps;
    declared.iter().find(fits).ok_or_else(|| {
        let message = format!("the secret \"{}\" is not declared to sign with this hash and {steps} steps", key.name);
        Error::new(ErrorKind::Denied, message)
    })
}

/// A message may hold a secret that may be placed somewhere, but not under a key that the component knows: with such a
/// key, guesses could be tried at leisure.
pub(crate) fn check_message(
    uses: &HashMap<String, SecretUse>,
    secrets: &dyn Secrets,
    key: &SecretRef,
    message: &Tree,
) -> Result<()> {
    let held = message.secrets();
    if !held.is_empty() && secrets.is_sealed_by_component(&key.name) {
        let message = format!("the component knows the key \"{}\": it signs no message that holds a secret", key.name);
        return Err(Error::new(ErrorKind::Denied, message));
    }
    for secret in held {
        let places = declared(uses, &secret.name).map_or(&[][..], |uses| uses.places.as_slice());
        let placed = places.iter().any(|placement| placement.field == secret.field);
        if !placed && secret.name != "access-token" {
            let message =
                format!("the secret \"{}\" has no place in requests, so it has none in what is signed", secret.name);
            return Err(Error::new(ErrorKind::Denied, message));
        }
    }
    Ok(())
}

fn once(hash: Hash, key: &[u8], message: &[u8]) -> Result<Vec<u8>> {
    fn run<M: Mac + hmac::digest::KeyInit>(key: &[u8], message: &[u8]) -> Result<Vec<u8>> {
        let mut mac = <M as Mac>::new_from_slice(key).map_err(Error::internal)?;
        mac.update(message);
        Ok(mac.finalize().into_bytes().to_vec())
    }
    match hash {
        Hash::Md5 => run::<Hmac<md5::Md5>>(key, message),
        Hash::Sha1 => run::<Hmac<sha1::Sha1>>(key, message),
        Hash::Sha256 => run::<Hmac<sha2::Sha256>>(key, message),
        Hash::Sha512 => run::<Hmac<sha2::Sha512>>(key, message),
    }
}

fn wrong_key(key: &SecretRef) -> Error {
    Error::new(ErrorKind::Unauthenticated, format!("the secret \"{}\" is not base64", key.name))
}
