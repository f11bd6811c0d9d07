//! The page of what a mount promises, and the tests that show it: neither says what the other does not.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const QUOTE: &str = "// semantics: ";

/// What tests quote, each right above a test.
fn quoted(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            quoted(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let lines: Vec<&str> = text.lines().map(str::trim).collect();
            for (index, sentence) in
                lines.iter().enumerate().filter_map(|(at, line)| Some((at, line.strip_prefix(QUOTE)?)))
            {
                let below = lines[index + 1..].iter().find(|line| !line.starts_with("//")).unwrap();
                assert!(
                    below.starts_with("#[test]") || below.starts_with("#[tokio::test"),
                    "{}: {sentence}",
                    path.display()
                );
                found.insert(sentence.to_owned());
            }
        }
    }
}

#[test]
fn every_sentence_of_the_page_is_shown_by_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = fs::read_to_string(root.join("runtime/docs/semantics.md")).unwrap();
    let told: Vec<String> = page.lines().filter_map(|line| line.strip_prefix("- ")).map(str::to_owned).collect();
    let mut shown = BTreeSet::new();
    ["runtime", "tests/e2e"].iter().for_each(|directory| quoted(&root.join(directory), &mut shown));
    let once: BTreeSet<String> = told.iter().cloned().collect();
    assert_eq!(once.len(), told.len(), "a sentence stands twice");
    assert!(once.len() > 40, "the page was not read");
    let unshown: Vec<_> = once.difference(&shown).collect();
    let untold: Vec<_> = shown.difference(&once).collect();
    assert!(unshown.is_empty() && untold.is_empty(), "shown by no test: {unshown:#?}; on no page: {untold:#?}");
}
