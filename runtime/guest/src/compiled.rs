//! Compiled components, kept between starts.
//!
//! Compiling costs tenths of seconds, loading what was compiled tens of microseconds; but loading means running machine
//! code from a file, so a file is believed only if this node made it. Its name is the SHA-256 of everything that the code
//! depends on, it begins with an HMAC under a key that never leaves this node, it lies in a directory that only this user
//! may enter, and it is opened once, checked in memory, and loaded from that same memory.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use causeway_storage::{Error, Result};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

/// Bytes of an HMAC-SHA-256.
const TAG: usize = 32;

/// The directory of compiled components.
#[derive(Debug)]
pub struct CompiledCache {
    directory: PathBuf,
    key: [u8; 32],
}

impl CompiledCache {
    /// Opens or makes the directory and this node's key.
    pub fn open(directory: &Path) -> Result<CompiledCache> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        fs::set_permissions(directory, Permissions::from_mode(0o700))?;
        let path = directory.join("node.key");
        let mut key = [0; 32];
        match fs::File::open(&path) {
            Ok(mut file) => file.read_exact(&mut key)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                rand::RngCore::fill_bytes(&mut rand::rng(), &mut key);
                write_new(&path, &[&key])?;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(CompiledCache { directory: directory.to_owned(), key })
    }

    /// The compiled form of a component: from the directory if it is there and sound, else compiled now and kept. The second
    /// value tells whether it had to be compiled.
    pub fn load(&self, engine: &Engine, wasm: &[u8]) -> Result<(Component, bool)> {
        let path = self.directory.join(name_of(engine, wasm));
        if let Ok(stored) = fs::read(&path) {
            match self.believed(&path, &stored) {
                // SAFETY: the bytes carry an HMAC under this node's own key over exactly this code and the name that stands
                // for component, engine version, configuration and processor; so this node's compiler made them for this
                // engine, and they are loaded from the memory that was checked.
                #[allow(unsafe_code)]
                Some(code) => match unsafe { Component::deserialize(engine, code) } {
                    Ok(component) => return Ok((component, false)),
                    Err(error) => tracing::warn!(%error, "compiled code did not load; compiling again"),
                },
                None => tracing::warn!(path = %path.display(), "compiled code has a wrong seal; compiling again"),
            }
        }
        let component = Component::new(engine, wasm).map_err(|error| {
            Error::new(causeway_storage::ErrorKind::Invalid, "the file is not a component that can be compiled")
                .with_detail(error)
        })?;
        let code = component.serialize().map_err(Error::internal)?;
        let tag = self.tag(&path, &code).finalize().into_bytes();
        if let Err(error) = write_new(&path, &[&tag, &code]) {
            tracing::warn!(%error, "compiled code could not be kept");
        }
        Ok((component, true))
    }

    fn believed<'a>(&self, path: &Path, stored: &'a [u8]) -> Option<&'a [u8]> {
        let (tag, code) = stored.split_at_checked(TAG)?;
        self.tag(path, code).verify_slice(tag).ok().map(|()| code)
    }

    fn tag(&self, path: &Path, code: &[u8]) -> Hmac<Sha256> {
        // A key of any length will do for HMAC.
        let mut tag = <Hmac<Sha256> as Mac>::new_from_slice(&self.key).unwrap_or_else(|_| unreachable!());
        tag.update(path.file_name().unwrap_or_default().as_encoded_bytes());
        tag.update(code);
        tag
    }
}

/// The name stands for everything that the code depends on.
fn name_of(engine: &Engine, wasm: &[u8]) -> String {
    use std::hash::Hash;
    // What the engine itself compares before it loads code: its version, its settings, the processor's features.
    let mut settings = Sha256Hasher(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut settings);
    let mut name = Sha256::new();
    name.update(b"causeway compiled component 1\0");
    name.update(Sha256::digest(wasm));
    name.update(settings.0.finalize());
    data_encoding::HEXLOWER.encode(&name.finalize())
}

/// Collects what is hashed, so that nothing of it is lost to a short hash.
struct Sha256Hasher(Sha256);

impl std::hash::Hasher for Sha256Hasher {
    fn finish(&self) -> u64 {
        0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

/// Writes a file whole or not at all, for this user alone.
fn write_new(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let unfinished = path.with_extension(format!("{}.unfinished", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    parts.iter().try_for_each(|part| file.write_all(part))?;
    file.sync_all()?;
    fs::rename(&unfinished, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &[u8] = b"(component)";

    fn opened() -> (tempfile::TempDir, CompiledCache, Engine) {
        let directory = tempfile::tempdir().unwrap();
        let cache = CompiledCache::open(&directory.path().join("compiled")).unwrap();
        (directory, cache, Engine::new(&crate::engine::config()).unwrap())
    }

    #[test]
    fn what_was_compiled_is_not_compiled_again() {
        let (directory, cache, engine) = opened();
        assert!(cache.load(&engine, EMPTY).unwrap().1);
        let again = CompiledCache::open(&directory.path().join("compiled")).unwrap();
        assert!(!again.load(&engine, EMPTY).unwrap().1);
    }

    #[test]
    fn code_that_this_node_did_not_seal_is_not_loaded() {
        let (_directory, cache, engine) = opened();
        cache.load(&engine, EMPTY).unwrap();
        let path = cache.directory.join(name_of(&engine, EMPTY));
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert!(cache.load(&engine, EMPTY).unwrap().1);
    }

    #[test]
    fn code_of_one_component_is_not_taken_for_another() {
        let (_directory, cache, engine) = opened();
        cache.load(&engine, EMPTY).unwrap();
        let other = b"(component (core module))";
        fs::copy(cache.directory.join(name_of(&engine, EMPTY)), cache.directory.join(name_of(&engine, other))).unwrap();
        assert!(cache.load(&engine, other).unwrap().1);
    }

    #[test]
    fn only_this_user_may_look_into_the_directory() {
        let (_directory, cache, _engine) = opened();
        assert_eq!(fs::metadata(&cache.directory).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(cache.directory.join("node.key")).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
