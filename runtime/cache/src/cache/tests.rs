//! Tests of a whole cache: how it opens, what it sets aside, and what it holds.

use std::time::{Duration, Instant};

use causeway_storage::{ErrorKind, Kind, Path, Timestamp, Version};

use super::*;
use crate::index::Op;
use crate::object::ObjectRecord;
use crate::{Action, Limits, Object, ObjectKey, Ranges, Seen, Staged};

const MIB: u64 = 1 << 20;

pub(crate) fn open(directory: &tempfile::TempDir, quotas: Quotas) -> Arc<Cache> {
    Cache::open(directory.path(), quotas).unwrap()
}

pub(crate) fn surveyed(cache: &Cache) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !cache.is_surveyed() {
        assert!(Instant::now() < deadline, "it does not end");
        std::thread::yield_now();
    }
}

pub(crate) fn key(name: &str) -> ObjectKey {
    let version = Some(Version("1".into()));
    let path = Path::parse(name).unwrap();
    let seen = Seen { path, kind: Kind::File, cookie: None, version, size: None, modified: None, weak: false };
    ObjectKey::of(&seen).unwrap()
}

/// Fetches content of so many bytes.
pub(crate) fn fetch(scope: &Scope, name: &str, size: u64) -> Arc<Object> {
    let object = scope.object(&key(name), size).unwrap();
    object.write_at(0, &vec![1; size as usize]).unwrap();
    object.mark(causeway_storage::Span::new(0, size), object.epoch());
    scope.save(&object).unwrap();
    object
}

/// A file that was made and waits.
pub(crate) fn write(scope: &Scope, name: &str, size: u64) -> Arc<Staged> {
    let (staged, _file) = scope.stage(None).unwrap();
    let path = Path::parse(name).unwrap();
    let change = scope.journal().change(|batch| {
        batch.append(Action::Write { path, staged: staged.id(), existing: None, base: None });
        Ok(())
    });
    change.unwrap().1.leave();
    for at in 0..size.div_ceil(MIB) {
        let bytes = vec![1; (size - at * MIB).min(MIB) as usize];
        scope.admit(bytes.len() as u64).unwrap();
        staged.write_at(at * MIB, &bytes).unwrap();
    }
    staged
}

pub(crate) fn is_here(scope: &Scope, name: &str, size: u64) -> bool {
    scope.object(&key(name), size).unwrap().is_complete()
}

/// How long opening takes with 100,000 records that `record` makes.
fn open_with_many(what: &str, table: Table, record: impl Fn(&Scope, u64) -> (String, Vec<u8>)) {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(&directory, Quotas::default());
    let scope = cache.scope("tenant", "backend", 1).unwrap();
    for step in 0..10 {
        let ops = (step * 10_000..(step + 1) * 10_000).map(|number| {
            let (key, value) = record(&scope, number);
            Op::put(table, key, value)
        });
        cache.index.commit(ops.collect(), false).unwrap();
    }
    drop((scope, cache));
    let began = Instant::now();
    let cache = open(&directory, Quotas::default());
    let scope = cache.scope("tenant", "backend", 1).unwrap();
    let took = began.elapsed();
    println!("a cache of 100,000 {what} opens in {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    drop(scope);
    surveyed(&cache);
    assert_eq!(cache.quarantined(), Vec::<String>::new());
}

#[test]
fn a_hundred_thousand_objects_open_at_once() {
    open_with_many("objects", Table::Objects, |scope, number| {
        let (size, used) = (4096, 1);
        let file = format!("o-{number:016x}");
        let record = ObjectRecord { file, size, present: Ranges::whole(size), used, sums: vec![number] };
        let key = key(&format!("directory/file {number}")).record_key(&scope.place.prefix);
        (key, serde_json::to_vec(&record).unwrap())
    });
}

#[test]
fn a_hundred_thousand_pending_changes_open_at_once() {
    open_with_many("pending changes", Table::Intents, |scope, id| {
        let path = Path::parse(&format!("directory/file {id}")).unwrap();
        let action = Action::Write { path, staged: id, existing: None, base: None };
        let intent = Intent { id, action, since: Timestamp::now(), started: false, failure: None };
        (scope.journal().key(id), serde_json::to_vec(&intent).unwrap())
    });
}

#[test]
fn damaged_records_of_every_kind_are_set_aside_with_their_data() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(&directory, Quotas::default());
    let scope = cache.scope("tenant", "backend", 1).unwrap();
    let (torn, newer, sound) = (write(&scope, "torn", 3), write(&scope, "newer", 3), write(&scope, "sound", 3));
    drop(fetch(&scope, "object", 5));
    let prefix = scope.place.prefix.clone();
    let intents: Vec<u64> = scope.journal().read(|intents, _| intents.keys().copied().collect());
    let newer_intent = format!("{{\"id\":{},\"action\":{{\"Link\":{{\"staged\":{}}}}}}}", intents[1], newer.id());
    let damaged = [
        (Table::Intents, scope.journal().key(intents[0]), "{\"id\":1,\"act"),
        (Table::Intents, scope.journal().key(intents[1]), newer_intent.as_str()),
        (Table::Objects, key("object").record_key(&prefix), "{}"),
        (Table::Directories, format!("{prefix}a//b"), ""),
        (Table::Times, format!("{prefix}directory"), "yesterday"),
    ];
    let ops = damaged.iter().map(|(table, key, value)| Op::put(*table, key.as_str(), value.as_bytes()));
    cache.index.commit(ops.collect(), false).unwrap();
    drop((scope, cache));
    let cache = open(&directory, Quotas::default());
    let scope = cache.scope("tenant", "backend", 1).unwrap();
    surveyed(&cache);
    let told = cache.quarantined();
    assert_eq!(told.len(), damaged.len() + 2, "{told:?}");
    for (table, key, value) in &damaged {
        assert_eq!(cache.index.get(*table, key).unwrap(), None);
        let kept = cache.index.get(Table::Quarantine, &format!("{} {key}", table.name())).unwrap();
        assert_eq!(kept.as_deref(), Some(value.as_bytes()));
    }
    for copy in [&torn, &newer] {
        assert!(told.contains(&format!("the file {}", copy.file_name())), "{told:?}");
        assert!(!cache.content.join(copy.file_name()).exists());
    }
    assert_eq!(std::fs::read_dir(directory.path().join("quarantine")).unwrap().count(), 2);
    assert_eq!(scope.recover().unwrap().copies.into_keys().collect::<Vec<_>>(), [sound.id()]);
    assert!(!is_here(&scope, "object", 5));
}

#[test]
fn files_without_records_are_looked_for_and_none_of_those_made_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(&directory, Quotas::default());
    let scope = cache.scope("tenant", "backend", 1).unwrap();
    let (orphan, _file) = scope.stage(None).unwrap();
    orphan.write_at(0, b"somebody's").unwrap();
    let (_empty, _file) = scope.stage(None).unwrap();
    let fetched = scope.cache.number().unwrap();
    std::fs::write(cache.content.join(format!("o-{fetched:016x}")), b"fetched").unwrap();
    drop((scope, cache));
    let cache = open(&directory, Quotas::default());
    let scope = cache.scope("tenant", "backend", 1).unwrap();
    let (fresh, _file) = scope.stage(None).unwrap();
    let object = scope.object(&key("fresh"), 5).unwrap();
    surveyed(&cache);
    assert_eq!(cache.quarantined(), [format!("the file {}", orphan.file_name())]);
    let mut left: Vec<_> = std::fs::read_dir(&cache.content).unwrap().map(|file| file.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [object.file_name.as_str(), &fresh.file_name()]);
}

#[test]
fn edits_without_records_are_set_aside_with_what_tells_their_bytes_from_those_of_the_base() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(&directory, Quotas::default());
    let scope = cache.scope("tenant", "backend", 1).unwrap();
    // So many that both orders of a file and its log come up.
    let edits: Vec<_> = (0..16).map(|_| scope.stage(Some(10)).unwrap().0).collect();
    edits.iter().for_each(|edit| edit.write_at(0, b"somebody's").unwrap());
    drop((scope, cache));
    let cache = open(&directory, Quotas::default());
    surveyed(&cache);
    let told = cache.quarantined();
    for edit in &edits {
        let name = edit.file_name();
        assert!(
            told.contains(&format!("the file {name}")) && told.contains(&format!("the file {name}.log")),
            "{told:?}"
        );
    }
    assert_eq!(std::fs::read_dir(&cache.content).unwrap().count(), 0);
}

#[test]
fn numbers_are_never_given_out_twice() {
    let directory = tempfile::tempdir().unwrap();
    let mut last = 0;
    for _ in 0..3 {
        let number = open(&directory, Quotas::default()).number().unwrap();
        assert!(number > last);
        last = number;
    }
}

#[test]
fn no_number_can_be_taken_before_the_mark_above_it_survives_a_power_loss() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(&directory, Quotas::default());
    let stored = Numbers::stored(&cache.index).unwrap().unwrap();
    assert!(cache.index.is_durable());
    assert!(cache.number().unwrap() < stored);
    assert!(cache.index.is_durable());
}

#[test]
fn where_the_machine_is_full_what_was_used_least_goes_whosever_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let quotas = Quotas { machine_bytes: 8 * MIB, ..Quotas::default() };
    let cache = open(&directory, quotas);
    let (one, other) = (cache.scope("one", "b", 1).unwrap(), cache.scope("other", "b", 1).unwrap());
    for (scope, name, used) in [(&one, "old", 1), (&other, "older", 0), (&one, "new", 2)] {
        drop(fetch(scope, name, 2 * MIB));
        set_used(scope, name, 100 + used);
    }
    let held = fetch(&other, "held", MIB);
    let _waits = write(&one, "f", 2 * MIB);
    assert!(!is_here(&other, "older", 2 * MIB) && is_here(&one, "old", 2 * MIB) && is_here(&one, "new", 2 * MIB));
    assert!(held.is_complete());
    let refused = one.admit(8 * MIB).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::QuotaExceeded);
}

fn set_used(scope: &Scope, name: &str, used: i64) {
    let key = key(name).record_key(&scope.place.prefix);
    let value = scope.cache.index.get(Table::Objects, &key).unwrap().unwrap();
    let record = ObjectRecord { used, ..serde_json::from_slice(&value).unwrap() };
    scope.cache.index.commit(vec![Op::put(Table::Objects, key, serde_json::to_vec(&record).unwrap())], false).unwrap();
}

#[test]
fn a_tenant_that_is_full_costs_no_other_tenant_anything() {
    let directory = tempfile::tempdir().unwrap();
    let quotas = Quotas { tenant_bytes: 4 * MIB, ..Quotas::default() };
    let cache = open(&directory, quotas);
    let (here, there) = (cache.scope("one", "here", 1).unwrap(), cache.scope("one", "there", 1).unwrap());
    let other = cache.scope("other", "b", 1).unwrap();
    drop(fetch(&other, "f", 2 * MIB));
    drop(fetch(&there, "f", 2 * MIB));
    let _waits = write(&here, "f", 3 * MIB);
    assert!(!is_here(&there, "f", 2 * MIB) && is_here(&other, "f", 2 * MIB));
    assert_eq!(here.admit(2 * MIB).unwrap_err().kind, ErrorKind::QuotaExceeded);
    other.admit(2 * MIB).unwrap();
}

#[test]
fn what_is_there_counts_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(&directory, Quotas::default());
    let scope = cache.scope("one", "b", 1).unwrap();
    drop(fetch(&scope, "f", 2 * MIB));
    write(&scope, "g", 3 * MIB);
    drop((scope, cache));
    let cache = open(&directory, Quotas { tenant_bytes: 6 * MIB, ..Quotas::default() });
    let scope = cache.scope("one", "b", 1).unwrap();
    surveyed(&cache);
    let _copies = scope.recover().unwrap();
    assert!(scope.try_admit(MIB));
    assert!(!scope.try_admit(2 * MIB));
    scope.admit(2 * MIB).unwrap();
    assert!(!is_here(&scope, "f", 2 * MIB));
}

#[test]
fn a_file_without_a_name_counts_until_it_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(&directory, Quotas { tenant_bytes: 6 * MIB, ..Quotas::default() });
    let scope = cache.scope("one", "b", 1).unwrap();
    let (staged, file) = scope.stage(None).unwrap();
    staged.write_at(0, &vec![1; 2 * MIB as usize]).unwrap();
    scope.discard(&staged);
    staged.write_at(2 * MIB, &vec![1; 2 * MIB as usize]).unwrap();
    assert!(scope.try_admit(MIB) && !scope.try_admit(3 * MIB));
    drop((staged, file));
    assert!(scope.try_admit(3 * MIB));
}

#[test]
fn what_is_too_old_goes() {
    let directory = tempfile::tempdir().unwrap();
    let scope = open(&directory, Quotas::default()).scope("one", "b", 1).unwrap();
    drop((fetch(&scope, "old", 5), fetch(&scope, "new", 5)));
    set_used(&scope, "old", 1_000);
    scope.set_limits(Limits { max_age_s: 3_600, ..Limits::default() });
    scope.evict().unwrap();
    assert!(!is_here(&scope, "old", 5) && is_here(&scope, "new", 5));
}

#[test]
fn what_is_written_over_counts_once() {
    let directory = tempfile::tempdir().unwrap();
    let scope = open(&directory, Quotas::default()).scope("one", "b", 1).unwrap();
    scope.set_limits(Limits { max_bytes: 24 * MIB, ..Limits::default() });
    let staged = write(&scope, "f", MIB);
    for _ in 0..100 {
        scope.admit(MIB).unwrap();
        staged.write_at(0, &vec![1; MIB as usize]).unwrap();
    }
}

#[tokio::test]
async fn a_writer_waits_for_an_upload_to_make_room_and_not_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let scope = open(&directory, Quotas::default()).scope("one", "b", 1).unwrap();
    scope.set_limits(Limits { max_bytes: 4 * MIB, ..Limits::default() });
    let staged = write(&scope, "f", 4 * MIB);
    let refused = scope.admit_within(MIB, Duration::from_millis(100)).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::QuotaExceeded);
    let waiting = tokio::spawn({
        let scope = scope.clone();
        async move { scope.admit_within(MIB, Duration::from_secs(60)).await }
    });
    assert!(!waiting.is_finished());
    scope.discard(&staged);
    waiting.await.unwrap().unwrap();
    // Nothing waits that could make room.
    let began = Instant::now();
    scope.admit_within(5 * MIB, Duration::from_secs(60)).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[test]
fn content_that_the_disk_changed_is_set_aside_and_the_rest_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(&directory, Quotas::default());
    let scope = cache.scope("one", "b", 1).unwrap();
    let size = 9 * MIB;
    let (sound, damaged) = (fetch(&scope, "sound", size), fetch(&scope, "damaged", size));
    drop(fetch(&scope, "small", 5));
    std::os::unix::fs::FileExt::write_all_at(
        &std::fs::OpenOptions::new().write(true).open(&damaged.path).unwrap(),
        b"x",
        8 * MIB + 7,
    )
    .unwrap();
    let mut read = 0;
    loop {
        match cache.scrub_step().unwrap() {
            0 => break,
            bytes => read += bytes,
        }
    }
    assert_eq!(read, 2 * size + 5);
    assert_eq!(cache.quarantined(), [format!("the file {}", damaged.file_name)]);
    drop((sound, damaged));
    assert!(is_here(&scope, "sound", size) && is_here(&scope, "small", 5) && !is_here(&scope, "damaged", size));
    drop((scope, cache));
    let cache = open(&directory, Quotas::default());
    surveyed(&cache);
    assert!(is_here(&cache.scope("one", "b", 1).unwrap(), "sound", size));
}
