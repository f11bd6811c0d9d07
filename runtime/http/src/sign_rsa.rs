//! RSA signatures with keys that stay here, and the certificates that come with them. A result comes out only where the
//! secret declares the scheme.
//!
//! Keys come as PEM (PKCS #1 or PKCS #8, the latter encrypted or not) or as PFX in base64 or raw. Keys encrypted in the
//! way of old OpenSSL (`Proc-Type: 4,ENCRYPTED`) are refused with a word about how to convert them.

use std::collections::HashMap;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256};
use causeway_storage::{Error, ErrorKind, Result, Secret};
use p12_keystore::{KeyStore, Pkcs12ImportPolicy};
use pkcs8::EncryptedPrivateKeyInfoRef;
use zeroize::Zeroizing;

use crate::render::{Filling, Tree, from_base64};
use crate::request::{Piece, SecretRef};
use crate::secrets::{Secrets, declared, resolve};
use crate::sign::check_message;
use crate::uses::{Rsa, SecretUse};

/// A private key with the certificates that came with it.
pub(crate) struct PrivateKey {
    pair: KeyPair,
    /// DER, own first.
    certificates: Vec<Vec<u8>>,
}

/// The signature of a message with the key that a secret holds.
pub(crate) fn sign(
    uses: &HashMap<String, SecretUse>,
    secrets: &dyn Secrets,
    key: &SecretRef,
    passphrase: Option<&SecretRef>,
    scheme: Rsa,
    message: &[Piece],
) -> Result<Vec<u8>> {
    let declares = declared(uses, &key.name).map_or(&[][..], |uses| uses.rsa.as_slice());
    if !declares.iter().any(|one| one.field == key.field && one.scheme == scheme) {
        let message = format!("the secret \"{}\" is not declared to sign with RSA in this way", key.name);
        return Err(Error::new(ErrorKind::Denied, message));
    }
    let message = Tree::parse(message)?;
    check_message(uses, secrets, key, &message)?;
    let message = Zeroizing::new(message.render(&Filling { secrets, range: None, source: None })?);
    private_key(secrets, key, passphrase)?.sign(scheme, &message)
}

/// The certificates that come with the key that a secret holds: DER, own first.
pub(crate) fn certificates(
    uses: &HashMap<String, SecretUse>,
    secrets: &dyn Secrets,
    key: &SecretRef,
    passphrase: Option<&SecretRef>,
) -> Result<Vec<Vec<u8>>> {
    let declares = declared(uses, &key.name).map_or(&[][..], |uses| uses.rsa.as_slice());
    if !declares.iter().any(|one| one.field == key.field) {
        let message = format!("the secret \"{}\" is not declared as a private key", key.name);
        return Err(Error::new(ErrorKind::Denied, message));
    }
    Ok(private_key(secrets, key, passphrase)?.certificates)
}

fn private_key(secrets: &dyn Secrets, key: &SecretRef, passphrase: Option<&SecretRef>) -> Result<PrivateKey> {
    let passphrase = match passphrase {
        // An option that was left empty is no passphrase.
        Some(wanted) if secrets.get(&wanted.name).is_some() => Some(resolve(secrets, wanted)?),
        _ => None,
    };
    PrivateKey::parse(resolve(secrets, key)?.expose(), passphrase.as_ref())
}

impl PrivateKey {
    /// Reads a key in any of the forms above.
    pub(crate) fn parse(bytes: &[u8], passphrase: Option<&Secret>) -> Result<PrivateKey> {
        match std::str::from_utf8(bytes) {
            Ok(text) if text.contains("-----BEGIN ") => PrivateKey::from_pem(text, passphrase),
            Ok(text) => {
                let spaceless: String = text.split_whitespace().collect();
                let pfx = from_base64(spaceless.as_bytes()).map(Zeroizing::new).ok_or_else(unreadable)?;
                PrivateKey::from_pfx(&pfx, passphrase)
            }
            Err(_) => PrivateKey::from_pfx(bytes, passphrase),
        }
    }

    /// The signature of a message.
    pub(crate) fn sign(&self, scheme: Rsa, message: &[u8]) -> Result<Vec<u8>> {
        let padding: &dyn aws_lc_rs::signature::RsaEncoding = match scheme {
            Rsa::Pkcs1 => &RSA_PKCS1_SHA256,
            Rsa::Pss => &RSA_PSS_SHA256,
        };
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let signed = self.pair.sign(padding, &SystemRandom::new(), message, &mut signature);
        signed.map_err(|_| Error::internal("an RSA signature could not be made"))?;
        Ok(signature)
    }

    fn from_pem(text: &str, passphrase: Option<&Secret>) -> Result<PrivateKey> {
        let blocks = pem::parse_many(text).map_err(|_| unreadable())?;
        let certificates = blocks.iter().filter(|block| block.tag() == "CERTIFICATE");
        let certificates = certificates.map(|block| block.contents().to_vec()).collect();
        let key = blocks.iter().find(|block| block.tag().ends_with("PRIVATE KEY")).ok_or_else(unreadable)?;
        if key.headers().get("Proc-Type").is_some() {
            let message = "the private key is encrypted in an old way; convert it with `openssl pkcs8 -topk8`";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let pair = match key.tag() {
            "RSA PRIVATE KEY" => KeyPair::from_der(key.contents()).map_err(|_| unreadable())?,
            "PRIVATE KEY" => KeyPair::from_pkcs8(key.contents()).map_err(|_| unreadable())?,
            "ENCRYPTED PRIVATE KEY" => {
                let sealed = EncryptedPrivateKeyInfoRef::try_from(key.contents()).map_err(|_| unreadable())?;
                let passphrase = passphrase.ok_or_else(wrong_passphrase)?;
                let opened = sealed.decrypt(passphrase.expose()).map_err(|_| wrong_passphrase())?;
                KeyPair::from_pkcs8(opened.as_bytes()).map_err(|_| unreadable())?
            }
            _ => return Err(Error::new(ErrorKind::Unsupported, "the private key is none of RSA")),
        };
        Ok(PrivateKey { pair, certificates })
    }

    fn from_pfx(bytes: &[u8], passphrase: Option<&Secret>) -> Result<PrivateKey> {
        let passphrase = passphrase.map_or(Ok(""), |secret| std::str::from_utf8(secret.expose()));
        let passphrase = passphrase.map_err(|_| wrong_passphrase())?;
        let store = KeyStore::from_pkcs12(bytes, passphrase, Pkcs12ImportPolicy::Relaxed).map_err(|_| {
            Error::new(
                ErrorKind::Unauthenticated,
                "the private key cannot be opened: it is no PFX, or its passphrase is wrong",
            )
        })?;
        let (_, chain) = store.private_key_chain().ok_or_else(unreadable)?;
        let pair = KeyPair::from_pkcs8(chain.key().as_der()).map_err(|_| unreadable())?;
        let certificates = chain.certs().iter().map(|certificate| certificate.as_der().to_vec()).collect();
        Ok(PrivateKey { pair, certificates })
    }
}

fn unreadable() -> Error {
    Error::new(ErrorKind::Invalid, "the private key cannot be read: it must be an RSA key in PEM or PFX")
}

fn wrong_passphrase() -> Error {
    Error::new(ErrorKind::Unauthenticated, "the private key is encrypted and its passphrase is missing or wrong")
}
