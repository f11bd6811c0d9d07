//! A working copy, its log, and what is left of both after an end.

use super::*;

fn recover(directory: &Path, base_size: Option<u64>) -> Staged {
    let staged = Staged::recover(directory, 1, base_size, None).unwrap();
    staged.trim().unwrap();
    staged
}

#[test]
fn an_edit_shows_its_own_bytes_and_the_base_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let (staged, _file) = Staged::create(directory.path(), 1, Some(100)).unwrap();
    staged.write_at(10, b"hello").unwrap();
    let segments = staged.segments(Span::new(0, 200));
    let (own, base) = (|o, s| Segment::Own(Span::new(o, s)), |o, s| Segment::Base(Span::new(o, s)));
    assert_eq!(segments, [base(0, 10), own(10, 5), base(15, 85)]);
}

#[test]
fn a_time_that_was_set_holds_until_the_content_changes() {
    let directory = tempfile::tempdir().unwrap();
    let old = Timestamp { seconds: 5, nanoseconds: 0 };
    for base in [None, Some(100)] {
        let (staged, _file) = Staged::create(directory.path(), base.unwrap_or(0), base).unwrap();
        staged.set_modified(old).unwrap();
        assert_eq!(staged.modified(), old);
        staged.resize(3, || Ok(())).unwrap();
        assert!(staged.modified() > old);
        staged.set_modified(old).unwrap();
        staged.write_at(0, b"x").unwrap();
        assert!(staged.modified() > old);
    }
}

#[test]
fn what_was_cut_off_comes_back_as_zero() {
    let directory = tempfile::tempdir().unwrap();
    let (staged, _file) = Staged::create(directory.path(), 1, Some(100)).unwrap();
    staged.resize(40, || Ok(())).unwrap();
    staged.resize(100, || Ok(())).unwrap();
    assert_eq!(staged.holes(), [Span::new(0, 40)]);
}

#[test]
fn the_end_of_the_process_loses_no_answered_write() {
    let directory = tempfile::tempdir().unwrap();
    let (staged, _file) = Staged::create(directory.path(), 1, Some(100)).unwrap();
    (0..10).for_each(|step| staged.write_at(step * 10, b"abc").unwrap());
    staged.resize(50, || Ok(())).unwrap();
    staged.write_at(60, b"xyz").unwrap();
    let time = Timestamp { seconds: -5, nanoseconds: 7 };
    staged.set_modified(time).unwrap();
    let again = recover(directory.path(), Some(100));
    assert_eq!((again.size(), again.modified()), (63, time));
    assert_eq!(again.segments(Span::new(0, 100)), staged.segments(Span::new(0, 100)));
}

#[test]
fn a_cut_that_was_under_way_is_made_or_was_not() {
    let directory = tempfile::tempdir().unwrap();
    let (staged, file) = Staged::create(directory.path(), 1, Some(10)).unwrap();
    staged.write_at(0, b"0123456789").unwrap();
    staged.resize(4, || Ok(())).unwrap();
    // As if the process had ended between the record and the cut.
    file.write_all_at(b"456789", 4).unwrap();
    let again = recover(directory.path(), Some(10));
    again.resize(10, || Ok(())).unwrap();
    let mut bytes = [1; 10];
    again.file().unwrap().read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"0123\0\0\0\0\0\0");
}

#[test]
fn a_torn_record_is_a_write_that_was_never_answered() {
    let directory = tempfile::tempdir().unwrap();
    let (staged, _file) = Staged::create(directory.path(), 1, Some(100)).unwrap();
    staged.write_at(0, b"abc").unwrap();
    let log = log_path(&staged.path);
    let mut bytes = std::fs::read(&log).unwrap();
    bytes.extend(Record::Present(Span::new(50, 10)).encode().iter().take(20));
    std::fs::write(&log, bytes).unwrap();
    let again = recover(directory.path(), Some(100));
    assert_eq!(again.holes(), [Span::new(3, 97)]);
}

#[test]
fn a_filling_never_covers_what_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let (staged, file) = Staged::create(directory.path(), 1, Some(10)).unwrap();
    staged.write_at(3, b"NEW").unwrap();
    staged.fill(0, b"oldoldoldo").unwrap();
    let mut bytes = [0; 10];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"oldNEWoldo");
    assert!(staged.holes().is_empty());
}

#[test]
fn a_rewritten_log_says_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let (staged, _file) = Staged::create(directory.path(), 1, Some(1000)).unwrap();
    staged.resize(500, || Ok(())).unwrap();
    staged.resize(900, || Ok(())).unwrap();
    (0..40).rev().for_each(|step| staged.write_at(step * 20, b"abc").unwrap());
    staged.rewrite(&mut staged.lock()).unwrap();
    staged.write_at(950, b"end").unwrap();
    let again = recover(directory.path(), Some(1000));
    assert_eq!(again.size(), 953);
    assert_eq!(again.segments(Span::new(0, 2000)), staged.segments(Span::new(0, 2000)));
}

#[test]
fn what_lies_behind_a_damaged_record_does_not_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let (staged, _file) = Staged::create(directory.path(), 1, Some(100)).unwrap();
    [0, 20, 40].iter().for_each(|at| staged.write_at(*at, b"abc").unwrap());
    let log = OpenOptions::new().write(true).open(log_path(&staged.path)).unwrap();
    log.write_all_at(&[0xff; 32], 2 * RECORD_BYTES).unwrap();
    recover(directory.path(), Some(100)).write_at(60, b"abc").unwrap();
    let again = recover(directory.path(), Some(100));
    assert_eq!(again.holes(), [Span::new(3, 57), Span::new(63, 37)]);
}

#[test]
fn a_rewritten_log_cuts_nothing_off_a_copy_without_a_base() {
    let directory = tempfile::tempdir().unwrap();
    let (staged, _file) = Staged::create(directory.path(), 1, None).unwrap();
    staged.write_at(0, b"abc").unwrap();
    staged.rewrite(&mut staged.lock()).unwrap();
    staged.write_at(3, b"def").unwrap();
    assert_eq!(recover(directory.path(), None).size(), 6);
}

#[test]
fn a_log_that_was_rewritten_after_it_was_secured_counts_as_far_as_it_was_rewritten() {
    let directory = tempfile::tempdir().unwrap();
    let (staged, _file) = Staged::create(directory.path(), 1, Some(100)).unwrap();
    (0..4).for_each(|_| [80, 60, 40].iter().for_each(|at| staged.write_at(*at, b"abc").unwrap()));
    let first = staged.logged();
    staged.rewrite(&mut staged.lock()).unwrap();
    let rewritten = staged.holes();
    staged.write_at(20, b"abc").unwrap();
    let second = staged.logged();
    let secured = staged.holes();
    staged.write_at(0, b"abc").unwrap();
    let recover = |records| Staged::recover(directory.path(), 1, Some(100), Some(records));
    assert_eq!(recover(first).unwrap().holes(), rewritten);
    assert_eq!(recover(second).unwrap().holes(), secured);
    assert_eq!(recover(second + 2).unwrap_err().kind, ErrorKind::Corrupt);
}
