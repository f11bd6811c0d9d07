//! What becomes of working copies that an earlier process left.
//!
//! It decides from the index alone, and uploads nothing. As long as the machine ran on, a file holds all that was answered.
//! After the machine started anew, the file may have lost anything that was not secured. So then: content that rode along
//! is put into its file again where that differs; a file that was synced must be there, and its log counts as far as it
//! was synced with it; and a copy that never was secured goes, with its intent, since nobody was promised that it survives.
//! Files that go, or that are not what they must be, are kept in the quarantine, each with its log.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, PoisonError};

use causeway_storage::{Error, ErrorKind, Path, Result};

use crate::index::{Op, Table};
use crate::journal::{Action, Base, Intent, Journal};
use crate::secured::Secured;
use crate::{Cache, Scope, Staged};

/// A file is compared with what was secured in pieces of 256 KiB, however large it is.
const PIECE_BYTES: usize = 256 << 10;

/// Whether the machine started anew since the copies of a scope were looked over last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Boot {
    Same,
    Other,
    /// Written by a version that secured nothing, and synced every file.
    Unknown,
}

/// The working copies of a scope.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Those that are here, by number.
    pub copies: HashMap<u64, Arc<Staged>>,
    /// Those that must be here and are not, and why: their intents stay.
    pub missing: Vec<(u64, Error)>,
    /// Where files were written that nobody was told would survive, and that did not.
    pub dropped: Vec<Path>,
}

/// Looks whether copies of a scope may have lost something; without any, nothing can be lost from before.
pub(crate) fn begin(cache: &Cache, prefix: &str, journal: &Journal) -> Result<Boot> {
    let before = cache.index.get(Table::Meta, &boot_key(prefix))?;
    let is_empty = journal.read(|intents, _| intents.is_empty());
    Ok(match before {
        Some(before) if before == cache.boot.as_bytes() => Boot::Same,
        _ if is_empty => {
            note(cache, prefix, Vec::new())?;
            Boot::Same
        }
        Some(_) => Boot::Other,
        None => Boot::Unknown,
    })
}

impl Scope {
    /// The working copies that intents of an earlier process name. Blocking.
    pub fn recover(&self) -> Result<Recovered> {
        let mut boot = self.boot.lock().unwrap_or_else(PoisonError::into_inner);
        let intents: Vec<Intent> = self
            .journal
            .read(|intents, _| intents.values().filter(|intent| intent.action.staged().is_some()).cloned().collect());
        let mut recovered = Recovered::default();
        let mut dropped = Vec::new();
        let mut synced = Vec::new();
        for intent in &intents {
            let Action::Write { path, staged: id, base, .. } = &intent.action else { continue };
            match self.recover_one(*boot, *id, base.as_ref().map(Base::size)) {
                Ok(Some(copy)) => {
                    copy.weigh(&self.place)?;
                    if *boot == Boot::Unknown {
                        let secured = Secured::File { size: 0, records: copy.logged() };
                        synced.push(Op::put(Table::Secured, self.journal.key(*id), secured.encode()));
                    }
                    recovered.copies.insert(*id, copy);
                }
                Ok(None) => {
                    tracing::warn!(%path, copy = id, "a file that was never closed did not survive the machine's end");
                    dropped.push(intent.id);
                    recovered.dropped.push(path.clone());
                }
                Err(error) => {
                    tracing::error!(?error, %path, copy = id, "the content of a pending write is not here");
                    recovered.missing.push((*id, error));
                }
            }
        }
        if !dropped.is_empty() {
            let (_, commit) = self.journal.change(|batch| {
                dropped.iter().for_each(|id| batch.delete(*id));
                Ok(())
            })?;
            commit.wait_blocking()?;
        }
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = recovered.copies.values().cloned().collect();
        if *boot != Boot::Same {
            note(&self.cache, &self.place.prefix, synced)?;
            *boot = Boot::Same;
        }
        Ok(recovered)
    }

    /// Secures what an earlier process left: it may have been in the middle of writing, also to what it had secured before.
    /// Costs nothing when called again. Blocking.
    pub fn secure_left(&self) -> Result<()> {
        let left = std::mem::take(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner));
        let mut outcome = Ok(());
        for copy in left.into_iter().filter(|copy| !copy.is_secured()) {
            match self.secure(&copy) {
                Ok(commit) => commit.leave(),
                // It was uploaded or removed meanwhile.
                Err(error) if error.kind == ErrorKind::NotFound => {}
                Err(error) => {
                    outcome = Err(error);
                    self.left.lock().unwrap_or_else(PoisonError::into_inner).push(copy);
                }
            }
        }
        outcome
    }

    fn recover_one(&self, boot: Boot, id: u64, base_size: Option<u64>) -> Result<Option<Arc<Staged>>> {
        let (content, quarantine) = (&self.cache.content, &self.cache.quarantine);
        if boot != Boot::Other {
            match Staged::recover(content, id, base_size, None) {
                Err(error) if error.kind == ErrorKind::NotFound => {}
                found => return trimmed(found?),
            }
        }
        let name = Staged::name(id);
        let key = self.journal.key(id);
        let Some(record) = self.cache.index.get(Table::Secured, &key)? else {
            if boot != Boot::Other {
                return Err(Error::new(ErrorKind::Corrupt, "the content of a pending write is missing"));
            }
            quarantine.take_copy(&name)?;
            return Ok(None);
        };
        match Secured::decode(&record) {
            None => {
                // Else the next process would take the file for whole.
                quarantine.take_copy(&name)?;
                quarantine.take_record(&self.cache.index, Table::Secured, &key, &record)?;
                Err(Error::new(ErrorKind::Corrupt, "what is known of a pending write is damaged"))
            }
            Some(Secured::Content { modified, bytes }) => {
                self.restore(&name, &bytes)?;
                let copy = Staged::recover(content, id, base_size, None)?;
                copy.set_modified(modified)?;
                trimmed(copy)
            }
            Some(Secured::File { size, records }) => {
                let synced = Staged::recover(content, id, base_size, Some(records)).and_then(|copy| {
                    match copy.file()?.metadata()?.len() < size {
                        true => Err(Error::new(ErrorKind::Corrupt, "the content of a pending write is not complete")),
                        false => Ok(copy),
                    }
                });
                if synced.as_ref().is_err_and(|error| error.kind == ErrorKind::Corrupt) {
                    quarantine.take_copy(&name)?;
                }
                trimmed(synced?)
            }
        }
    }

    /// Makes a file hold these bytes. Others that it held are set aside: who wrote them was answered, if not promised more.
    fn restore(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.cache.content.join(name);
        match File::open(&path) {
            Ok(held) if holds_exactly(&held, bytes)? => return Ok(()),
            Ok(held) if holds_more_than(&held, bytes)? => self.cache.quarantine.take_file(name)?,
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let mut file = File::create(&path)?;
        Ok(file.write_all(bytes)?)
    }
}

fn holds_exactly(file: &File, bytes: &[u8]) -> Result<bool> {
    let mut held = Vec::new();
    file.take(bytes.len() as u64 + 1).read_to_end(&mut held)?;
    Ok(held == bytes)
}

/// Whether a file holds anything that these bytes do not say: what was lost reads as zero, or is not there at all. It may
/// have grown to any size since they were secured, so it is read in pieces, and where it has holes not at all.
fn holds_more_than(file: &File, bytes: &[u8]) -> Result<bool> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut at = 0;
    loop {
        at = match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(at)) {
            Ok(data) => data,
            // Nothing but holes from here on.
            Err(rustix::io::Errno::NXIO) => return Ok(false),
            Err(error) => return Err(std::io::Error::from(error).into()),
        };
        let read = file.read_at(&mut piece, at)?;
        let secured = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
        let held = piece.get(..read).unwrap_or_default();
        if held.iter().enumerate().any(|(at, byte)| *byte != 0 && secured.get(at) != Some(byte)) {
            return Ok(true);
        }
        if read == 0 {
            return Ok(false);
        }
        at += read as u64;
    }
}

fn trimmed(copy: Staged) -> Result<Option<Arc<Staged>>> {
    copy.trim()?;
    Ok(Some(Arc::new(copy)))
}

fn note(cache: &Cache, prefix: &str, mut ops: Vec<Op>) -> Result<()> {
    ops.push(Op::put(Table::Meta, boot_key(prefix), cache.boot.as_bytes()));
    cache.index.commit(ops, false).map(drop)
}

fn boot_key(prefix: &str) -> String {
    format!("boot {prefix}")
}

#[cfg(test)]
mod tests {
    use causeway_storage::{Span, Timestamp};

    use super::*;
    use crate::{Quotas, Staged};

    /// A cache, and what becomes of it.
    struct Machine {
        directory: tempfile::TempDir,
        scope: Option<Arc<Scope>>,
        runs: u32,
    }

    impl Machine {
        fn new() -> Machine {
            let mut machine = Machine { directory: tempfile::tempdir().unwrap(), scope: None, runs: 0 };
            machine.begin_process();
            machine
        }

        fn begin_process(&mut self) {
            self.scope = None;
            let cache =
                Cache::open_in(self.directory.path(), Quotas::default(), &format!("run {}", self.runs)).unwrap();
            self.scope = Some(cache.scope("tenant", "backend", 1).unwrap());
        }

        fn scope(&self) -> &Scope {
            self.scope.as_ref().unwrap()
        }

        /// The machine ends; what `lose` does to the content files was not synced.
        fn lose_power(&mut self, lose: impl Fn(&std::path::Path)) -> Recovered {
            self.scope = None;
            lose(&self.directory.path().join("content"));
            self.runs += 1;
            self.begin_process();
            self.scope().recover().unwrap()
        }

        fn quarantined(&self) -> Vec<Vec<u8>> {
            let files = std::fs::read_dir(self.directory.path().join("quarantine")).unwrap();
            files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
        }

        /// A file that was made and written, and perhaps closed.
        fn write(&self, base_size: Option<u64>, bytes: &[u8]) -> Arc<Staged> {
            let (staged, _file) = self.scope().stage(base_size).unwrap();
            let path = Path::parse(&format!("file {}", staged.id())).unwrap();
            let base = base_size.map(|size| Base::Staged { id: 0, size });
            let change = self.scope().journal().change(|batch| {
                batch.append(Action::Write { path, staged: staged.id(), existing: None, base });
                Ok(())
            });
            change.unwrap().1.leave();
            staged.write_at(0, bytes).unwrap();
            staged
        }

        fn close(&self, staged: &Staged) {
            self.scope().secure(staged).unwrap().wait_blocking().unwrap();
        }

        fn intents(&self) -> usize {
            self.scope().journal().read(|intents, _| intents.len())
        }
    }

    fn content(staged: &Staged) -> Vec<u8> {
        let mut bytes = vec![0; staged.size() as usize];
        std::os::unix::fs::FileExt::read_exact_at(&*staged.file().unwrap(), &mut bytes, 0).unwrap();
        bytes
    }

    // semantics: A file that was closed survives a loss of power.
    #[test]
    fn a_small_file_that_was_closed_survives_although_its_file_is_gone_empty_or_torn() {
        for lost in [None, Some(&b""[..]), Some(b"hel"), Some(b"\0\0\0\0\0"), Some(b"\0\0\0\0\0\0\0")] {
            let mut machine = Machine::new();
            let staged = machine.write(None, b"hello");
            let time = Timestamp { seconds: 7, nanoseconds: 9 };
            staged.set_modified(time).unwrap();
            machine.close(&staged);
            let recovered = machine.lose_power(|content| match lost {
                Some(bytes) => std::fs::write(content.join(staged.file_name()), bytes).unwrap(),
                None => std::fs::remove_file(content.join(staged.file_name())).unwrap(),
            });
            let copy = &recovered.copies[&staged.id()];
            assert_eq!((content(copy), copy.modified()), (b"hello".to_vec(), time));
            assert!(machine.quarantined().is_empty());
        }
    }

    #[test]
    fn a_file_that_grew_without_measure_after_it_was_closed_is_not_read_as_a_whole() {
        for (added, set_aside) in [(&b""[..], 0), (b"far behind", 1)] {
            let mut machine = Machine::new();
            let staged = machine.write(None, b"hello");
            machine.close(&staged);
            // More than any memory, of which the disk keeps nothing.
            let size = 4 << 40;
            machine.scope().resize(&staged, size).unwrap();
            staged.write_at(size, added).unwrap();
            let recovered = machine.lose_power(|_| {});
            assert_eq!(content(&recovered.copies[&staged.id()]), b"hello");
            assert_eq!(machine.scope().cache.quarantined().len(), set_aside);
        }
    }

    // semantics: What was written and not closed survives the end of the process, and may be lost when the machine ends.
    #[test]
    fn what_was_written_after_the_last_close_survives_the_process_and_is_set_aside_after_a_power_loss() {
        let mut machine = Machine::new();
        let staged = machine.write(None, b"closed");
        machine.close(&staged);
        staged.write_at(0, b"opened again").unwrap();
        machine.begin_process();
        let recovered = machine.scope().recover().unwrap();
        assert_eq!(content(&recovered.copies[&staged.id()]), b"opened again");
        let recovered = machine.lose_power(|_| {});
        assert_eq!(content(&recovered.copies[&staged.id()]), b"closed");
        assert_eq!(machine.quarantined(), [b"opened again"]);
    }

    #[test]
    fn a_file_that_was_never_closed_is_dropped_after_a_power_loss_and_only_then() {
        let mut machine = Machine::new();
        let staged = machine.write(None, b"half of it");
        machine.begin_process();
        let recovered = machine.scope().recover().unwrap();
        assert_eq!(content(&recovered.copies[&staged.id()]), b"half of it");
        let recovered = machine.lose_power(|_| {});
        assert_eq!((recovered.dropped.len(), machine.intents()), (1, 0));
        assert_eq!(machine.quarantined(), [b"half of it"]);
    }

    #[test]
    fn what_the_end_of_a_process_left_open_is_secured_by_the_next() {
        let mut machine = Machine::new();
        let staged = machine.write(None, b"half of it");
        machine.begin_process();
        drop(machine.scope().recover().unwrap());
        machine.scope().secure_left().unwrap();
        let recovered = machine.lose_power(|content| std::fs::write(content.join(staged.file_name()), b"").unwrap());
        assert_eq!(content(&recovered.copies[&staged.id()]), b"half of it");
    }

    #[test]
    fn what_was_written_after_the_last_close_is_secured_by_the_next_process_too() {
        let tidied = |scope: &Scope, _: &[Arc<Staged>]| scope.secure_left().unwrap();
        let stopped = |scope: &Scope, copies: &[Arc<Staged>]| scope.secure_all(copies).unwrap();
        for secure in [&tidied as &dyn Fn(&Scope, &[Arc<Staged>]), &stopped] {
            let mut machine = Machine::new();
            let staged = machine.write(None, b"closed");
            machine.close(&staged);
            staged.write_at(0, b"opened again").unwrap();
            machine.begin_process();
            let copies: Vec<_> = machine.scope().recover().unwrap().copies.into_values().collect();
            secure(machine.scope(), &copies);
            drop(copies);
            let recovered = machine.lose_power(|_| {});
            assert_eq!(content(&recovered.copies[&staged.id()]), b"opened again");
        }
    }

    #[test]
    fn a_large_file_that_was_closed_must_be_there() {
        let mut machine = Machine::new();
        let large = vec![1; 100_000];
        let (kept, short, gone) =
            (machine.write(None, &large), machine.write(None, &large), machine.write(Some(10), b"edit"));
        [&kept, &short, &gone].iter().for_each(|staged| machine.close(staged));
        let recovered = machine.lose_power(|content| {
            std::fs::write(content.join(short.file_name()), b"short").unwrap();
            std::fs::remove_file(content.join(gone.file_name())).unwrap();
        });
        assert_eq!(recovered.copies.keys().collect::<Vec<_>>(), [&kept.id()]);
        assert_eq!(recovered.missing.len(), 2);
        assert_eq!(machine.intents(), 3, "they stay, and say so");
        machine.begin_process();
        assert_eq!(machine.scope().recover().unwrap().missing.len(), 2, "the next process believes them no more");
        assert!(machine.quarantined().contains(&b"short".to_vec()));
    }

    #[test]
    fn what_is_in_the_log_of_an_edit_beyond_the_last_close_is_not_believed_after_a_power_loss() {
        let mut machine = Machine::new();
        let staged = machine.write(Some(100), b"abc");
        machine.close(&staged);
        let secured = staged.segments(Span::new(0, 100));
        // Right behind what was closed, and elsewhere.
        [3, 50].iter().for_each(|at| staged.write_at(*at, b"lost").unwrap());
        let recovered = machine.lose_power(|content| {
            let file = File::options().write(true).open(content.join(staged.file_name())).unwrap();
            [3, 50].iter().for_each(|at| file.write_all_at(b"\0\0\0\0", *at).unwrap());
        });
        assert_eq!(recovered.copies[&staged.id()].segments(Span::new(0, 100)), secured);
    }

    #[test]
    fn a_large_file_that_was_cut_after_it_was_closed_is_as_short_as_it_was_cut() {
        let mut machine = Machine::new();
        let large = vec![1; 100_000];
        let (new, edited) = (machine.write(None, &large), machine.write(Some(100_000), &large));
        for staged in [&new, &edited] {
            machine.close(staged);
            machine.scope().resize(staged, 10).unwrap();
        }
        let recovered = machine.lose_power(|_| {});
        assert!(recovered.missing.is_empty());
        for staged in [&new, &edited] {
            assert_eq!(content(&recovered.copies[&staged.id()]), [1; 10]);
        }
    }

    #[test]
    fn an_edit_that_cannot_be_understood_is_set_aside_as_it_was() {
        let mut machine = Machine::new();
        let staged = machine.write(Some(5), b"0123456789");
        machine.close(&staged);
        let recovered = machine.lose_power(|content| {
            let log = content.join(format!("{}.log", staged.file_name()));
            File::options().write(true).open(log).unwrap().set_len(0).unwrap();
        });
        assert_eq!(recovered.missing.len(), 1);
        let mut quarantined = machine.quarantined();
        quarantined.sort();
        assert_eq!(quarantined, [&b""[..], b"0123456789"]);
    }

    #[test]
    fn what_was_secured_goes_with_the_last_intent_that_names_the_copy() {
        let machine = Machine::new();
        let staged = machine.write(None, b"hello");
        machine.close(&staged);
        let key = machine.scope().journal.key(staged.id());
        let secured = || machine.scope().cache.index.get(Table::Secured, &key).unwrap().is_some();
        let first = machine.scope().journal().read(|intents, _| *intents.keys().next().unwrap());
        let renamed = |batch: &mut crate::Batch<'_>| {
            batch.delete(first);
            let path = Path::parse("renamed").unwrap();
            Ok(batch.append(Action::Write { path, staged: staged.id(), existing: None, base: None }))
        };
        let (second, commit) = machine.scope().journal().change(renamed).unwrap();
        commit.leave();
        assert!(secured());
        let removed = machine.scope().journal().change(|batch| {
            batch.delete(second);
            Ok(())
        });
        removed.unwrap().1.leave();
        assert!(!secured());
        staged.write_at(0, b"nobody's").unwrap();
        machine.close(&staged);
        assert!(!secured());
    }

    #[test]
    fn what_a_version_that_secured_nothing_left_is_believed() {
        let mut machine = Machine::new();
        let staged = machine.write(None, b"from before");
        let forget = Op::delete(Table::Meta, boot_key(&machine.scope().place.prefix));
        machine.scope().cache.index.commit(vec![forget], false).unwrap();
        for _ in 0..2 {
            let recovered = machine.lose_power(|_| {});
            assert_eq!(content(&recovered.copies[&staged.id()]), b"from before");
        }
    }

    #[test]
    fn cached_content_that_was_never_synced_is_not_believed_after_a_power_loss() {
        let mut machine = Machine::new();
        let staged = machine.write(None, b"hello");
        machine.close(&staged);
        let sealed = machine.scope().seal(&staged).unwrap();
        let seen = crate::Seen {
            path: Path::parse("file").unwrap(),
            kind: causeway_storage::Kind::File,
            cookie: None,
            version: Some(causeway_storage::Version("1".into())),
            size: Some(5),
            modified: None,
            weak: false,
        };
        let key = crate::ObjectKey::of(&seen).unwrap();
        let kept = machine.scope().journal().change(|batch| {
            batch.intents().keys().for_each(|id| batch.delete(*id));
            drop(machine.scope().keep(batch, &staged, sealed, &key)?);
            Ok(())
        });
        kept.unwrap().1.leave();
        assert!(machine.scope().object(&key, 5).unwrap().is_complete());
        machine.lose_power(|content| std::fs::write(content.join(staged.file_name()), b"\0\0\0\0\0").unwrap());
        assert!(!machine.scope().object(&key, 5).unwrap().is_complete());
    }
}
