//! Tests of content of versions that is replaced, lost or not written down: what is here is what is written down and counted.

use causeway_storage::Span;

use super::*;
use crate::Quotas;
use crate::cache::tests::{fetch, is_here, key, open, surveyed, write};

/// Bytes that count, as long as they are fewer than 4,096.
fn counted(scope: &Scope) -> u64 {
    let fits = |bytes: u64| {
        scope.set_limits(Limits { max_bytes: bytes, ..Limits::default() });
        // More than what is left to balance what went too often.
        scope.place.add_clean(1 << 20);
        let fits = scope.try_admit(0);
        scope.place.add_clean(-(1 << 20));
        fits
    };
    let most = (0..4096).collect::<Vec<u64>>().partition_point(|bytes| !fits((1 << 20) + bytes));
    scope.set_limits(Limits::default());
    most as u64
}

fn record(scope: &Scope, name: &str) -> Option<ObjectRecord> {
    let value = scope.cache.index.get(Table::Objects, &key(name).record_key(&scope.place.prefix)).unwrap();
    value.map(|value| serde_json::from_slice(&value).unwrap())
}

fn files(scope: &Scope) -> Vec<String> {
    let files = std::fs::read_dir(&scope.cache.content).unwrap();
    let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A file that was made and uploaded, and became content of a version.
fn upload(scope: &Scope, name: &str, size: u64) -> String {
    let staged = write(scope, name, size);
    let sealed = scope.seal(&staged).unwrap();
    let (leaving, commit) = scope
        .journal()
        .change(|batch| {
            let intent = batch.log().write_of(staged.id()).unwrap().id;
            batch.delete(intent);
            scope.keep(batch, &staged, sealed, &key(name))
        })
        .unwrap();
    let former = leaving.made();
    commit.wait_blocking().unwrap();
    scope.kept(&staged, former.as_deref());
    staged.file_name()
}

#[test]
fn what_is_uploaded_again_as_the_same_version_is_here_and_counts_once() {
    let directory = tempfile::tempdir().unwrap();
    let scope = open(&directory, Quotas::default()).scope("tenant", "backend", 1).unwrap();
    upload(&scope, "f", 5);
    let last = upload(&scope, "f", 5);
    assert_eq!(files(&scope), [last.as_str()]);
    assert_eq!(counted(&scope), 5);
    assert!(is_here(&scope, "f", 5));
}

#[test]
fn what_is_uploaded_takes_the_place_of_what_is_in_use_of_the_same_version() {
    let directory = tempfile::tempdir().unwrap();
    let scope = open(&directory, Quotas::default()).scope("tenant", "backend", 1).unwrap();
    for saved in [true, false] {
        let reading = scope.object(&key("f"), 5).unwrap();
        reading.write_at(0, b"hel").unwrap();
        reading.mark(Span::new(0, 3), reading.epoch());
        if saved {
            scope.save(&reading).unwrap();
        }
        let last = upload(&scope, "f", 5);
        reading.write_at(3, b"lo").unwrap();
        reading.mark(Span::new(3, 2), reading.epoch());
        scope.save(&reading).unwrap();
        assert_eq!(record(&scope, "f").unwrap().file, last, "saved: {saved}");
        scope.forget(reading).unwrap();
        assert_eq!(files(&scope), [last.as_str()], "saved: {saved}");
        assert_eq!(counted(&scope), 5, "saved: {saved}");
        scope.forget(scope.object(&key("f"), 5).unwrap()).unwrap();
        assert_eq!((files(&scope), counted(&scope)), (vec![], 0), "saved: {saved}");
    }
}

#[test]
fn small_content_that_a_power_loss_emptied_or_cut_is_fetched_again() {
    let directory = tempfile::tempdir().unwrap();
    let scope = open(&directory, Quotas::default()).scope("tenant", "backend", 1).unwrap();
    for (size, left) in [(5, 0), (5, 3), (7, 5)] {
        drop(fetch(&scope, "f", 5));
        let file = scope.cache.content.join(record(&scope, "f").unwrap().file);
        OpenOptions::new().write(true).open(file).unwrap().set_len(left).unwrap();
        assert!(!is_here(&scope, "f", size), "{left} of {size}");
        assert_eq!((record(&scope, "f"), counted(&scope)), (None, 0));
    }
}

#[test]
fn what_could_not_be_written_down_goes_and_counts_for_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let scope = open(&directory, Quotas::default()).scope("tenant", "backend", 1).unwrap();
    let object = scope.object(&key("f"), 5).unwrap();
    object.mark(Span::new(0, 5), object.epoch());
    OpenOptions::new().write(true).open(&object.path).unwrap().set_len(0).unwrap();
    scope.save(&object).unwrap_err();
    assert_eq!((record(&scope, "f"), counted(&scope)), (None, 5));
    drop(object);
    assert_eq!((files(&scope), counted(&scope)), (vec![], 0));
}

#[test]
fn content_stays_in_use_where_the_change_that_takes_it_fails() {
    let directory = tempfile::tempdir().unwrap();
    let scope = open(&directory, Quotas::default()).scope("tenant", "backend", 1).unwrap();
    let object = fetch(&scope, "f", 5);
    let refused = scope.journal().change(|batch| {
        let leaving = scope.let_go(batch, &object);
        Err::<Leaving<'_>, _>(Error::internal("there is no room")).inspect_err(|_| drop(leaving))
    });
    assert!(refused.is_err());
    assert!(Arc::ptr_eq(&object, &scope.object(&key("f"), 5).unwrap()));
    assert_eq!(counted(&scope), 5);
    let taken = scope.journal().change(|batch| Ok(scope.let_go(batch, &object)));
    taken.unwrap().0.made();
    assert_eq!((record(&scope, "f"), counted(&scope)), (None, 0));
}

#[test]
fn what_is_taken_back_is_not_written_down_as_here() {
    let directory = tempfile::tempdir().unwrap();
    let scope = open(&directory, Quotas::default()).scope("tenant", "backend", 1).unwrap();
    let object = fetch(&scope, "f", 5);
    object.unmark(Span::new(1, 2));
    scope.correct(&object).unwrap();
    assert_eq!(record(&scope, "f").unwrap().present.missing(Span::new(0, 5)), [Span::new(1, 2)]);
    // Nothing is kept for that alone.
    let other = scope.object(&key("g"), 5).unwrap();
    other.mark(Span::new(0, 5), other.epoch());
    other.unmark(Span::new(1, 2));
    scope.correct(&other).unwrap();
    assert_eq!(record(&scope, "g"), None);
}

#[test]
fn what_changes_while_it_is_written_down_is_written_down_again() {
    let directory = tempfile::tempdir().unwrap();
    let scope = open(&directory, Quotas::default()).scope("tenant", "backend", 1).unwrap();
    let object = scope.object(&key("f"), 5).unwrap();
    object.write_at(0, b"hello").unwrap();
    object.mark(Span::new(0, 5), object.epoch());
    let sums_before = sums(&File::open(&object.path).unwrap(), 5).unwrap();
    object
        .save(7, |record, _| {
            assert_eq!(record.sums, sums_before);
            object.unmark(Span::new(0, 5));
            object.write_at(0, b"HELLO").unwrap();
            object.mark(Span::new(0, 5), object.epoch());
            Ok(true)
        })
        .unwrap();
    let mut written = None;
    object.save(8, |record, _| Ok(written.replace(record.sums.clone()).is_none())).unwrap();
    assert_eq!(written, Some(sums(&File::open(&object.path).unwrap(), 5).unwrap()));
}

#[test]
fn what_makes_room_for_itself_is_not_written_down_as_here() {
    let directory = tempfile::tempdir().unwrap();
    let scope = open(&directory, Quotas::default()).scope("tenant", "backend", 1).unwrap();
    let object = fetch(&scope, "f", 5);
    scope.set_limits(Limits { max_bytes: 6, ..Limits::default() });
    scope.admit_fetch(&object, 5).unwrap();
    assert_eq!(record(&scope, "f"), None);
    object.write_at(0, b"hello").unwrap();
    object.mark(Span::new(0, 5), object.epoch());
    scope.save(&object).unwrap();
    assert_eq!(counted(&scope), 5);
    drop((object, surveyed(&scope.cache)));
    assert!(is_here(&scope, "f", 5));
}

#[test]
fn a_record_without_a_file_counts_for_nothing_and_goes() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(&directory, Quotas::default());
    let scope = cache.scope("tenant", "backend", 1).unwrap();
    drop((fetch(&scope, "f", 5), fetch(&scope, "g", 7)));
    std::fs::remove_file(cache.content.join(record(&scope, "f").unwrap().file)).unwrap();
    drop((scope, cache));
    let cache = open(&directory, Quotas::default());
    surveyed(&cache);
    let scope = cache.scope("tenant", "backend", 1).unwrap();
    assert_eq!((record(&scope, "f"), counted(&scope)), (None, 7));
    std::fs::remove_file(cache.content.join(record(&scope, "g").unwrap().file)).unwrap();
    scope.set_limits(Limits { max_bytes: 6, ..Limits::default() });
    scope.evict().unwrap();
    assert_eq!((record(&scope, "g"), counted(&scope)), (None, 0));
}
