//! What only one provider has, or only happens when a test makes it happen: the independent client copes, so the fake does it the
//! way that clients know.

use causeway_fakes::{Front, Running};
use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};

use crate::client::Client;
use crate::{Row, drive, mega};

type Outcome = Result<(), String>;

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name: &str, rows: fn() -> Vec<Row>, perform: fn(&Stage) -> Outcome| {
        Trial::test(name, move || perform(&Stage::new(&rows()[0])).map_err(Failed::from))
    };
    let drive = || drive::rows().into_iter().collect();
    let mega = || mega::rows().into_iter().collect();
    vec![
        trial("drive: documents, shortcuts and duplicates", drive, drive_items),
        trial("drive: what others shared, and the bin", drive, drive_views),
        trial("drive: content from elsewhere and harmful content", drive, drive_content),
        trial("drive: listings that are odd", drive, drive_listings),
        trial("mega: a proof of work, and a failure that passes", mega, mega_retries),
        trial("mega: what another client did, and a session that ended", mega, mega_others),
    ]
}

struct Stage {
    front: Running,
    client: Client,
    provider: &'static str,
}

impl Stage {
    fn new(row: &Row) -> Stage {
        let provider = row.fakes[0];
        let front = Front::start(causeway_fakes::fakes(&[provider.to_owned()]).expect("a fake")).expect("a front");
        let client = Client::new(&front, row);
        client.configure(&(row.config)(&front, &front.accounts()[provider], &client));
        Stage { front, client, provider }
    }

    fn control(&self, verb: &str, body: Value) -> Value {
        let answer = self.front.control(self.provider, verb, &body);
        assert!(answer.is_object() && answer.get("error").is_none(), "{verb}: {answer}");
        answer
    }

    /// What a command prints.
    fn prints(&self, arguments: &[&str], wanted: &str) -> Outcome {
        let printed = self.client.run(arguments)?;
        if printed == wanted { Ok(()) } else { Err(format!("{arguments:?} printed {printed:?}, wanted {wanted:?}")) }
    }

    /// That a command fails, and what it complains about.
    fn fails(&self, arguments: &[&str], wanted: &str) -> Outcome {
        match self.client.run(arguments) {
            Err(why) if why.contains(wanted) => Ok(()),
            other => Err(format!("{arguments:?}: {other:?}, wanted a failure with {wanted:?}")),
        }
    }
}

fn drive_items(stage: &Stage) -> Outcome {
    let target = stage.control("create", json!({ "path": "target.txt", "text": "the target" }));
    stage.control("shortcut", json!({ "path": "short.txt", "target": target["id"] }));
    stage.control("shortcut", json!({ "path": "dangling", "target": "gone" }));
    stage.control("document", json!({ "path": "doc", "text": "exported" }));
    stage.control("document", json!({ "path": "form", "kind": "form" }));
    stage.control("create", json!({ "path": "twice", "text": "older", "modified": "2024-01-01T00:00:00Z" }));
    stage.control("create", json!({ "path": "twice", "text": "newer" }));
    stage.prints(&["cat", "X:short.txt"], "the target")?;
    stage.prints(&["cat", "X:doc.docx"], "exported")?;
    let skipped = "--drive-skip-dangling-shortcuts";
    let listed = stage.client.run(&["lsf", skipped, "X:"])?;
    let mut names: Vec<&str> = listed.lines().collect();
    names.sort_unstable();
    if names != ["doc.docx", "short.txt", "target.txt", "twice", "twice"] {
        return Err(listed);
    }
    stage.client.run(&["dedupe", "--dedupe-mode", "newest", "X:"])?;
    stage.prints(&["cat", "X:twice"], "newer")
}

fn drive_views(stage: &Stage) -> Outcome {
    stage.control("share", json!({ "path": "theirs.txt", "text": "theirs" }));
    stage.prints(&["lsf", "X:"], "")?;
    stage.prints(&["cat", "--drive-shared-with-me", "X:theirs.txt"], "theirs")?;
    stage.control("create", json!({ "path": "starred", "text": "x" }));
    stage.control("create", json!({ "path": "gone", "text": "x" }));
    stage.control("mark", json!({ "path": "starred", "starred": true }));
    stage.control("trash", json!({ "path": "gone" }));
    stage.prints(&["lsf", "--drive-starred-only", "X:"], "starred\n")?;
    stage.prints(&["lsf", "--drive-trashed-only", "X:"], "gone\n")?;
    stage.client.run(&["cleanup", "X:"])?;
    stage.prints(&["lsf", "--drive-trashed-only", "X:"], "")?;
    stage.prints(&["lsf", "X:"], "starred\n")
}

fn drive_content(stage: &Stage) -> Outcome {
    stage.control("create", json!({ "path": "a", "text": "the content" }));
    stage.prints(&["cat", "--drive-v2-download-min-size", "0", "X:a"], "the content")?;
    stage.control("redirect-media", json!({ "on": true }));
    stage.prints(&["cat", "--offset", "4", "X:a"], "content")?;
    stage.control("redirect-media", json!({ "on": false }));
    stage.control("mark", json!({ "path": "a", "abusive": true }));
    stage.fails(&["cat", "X:a"], "cannotDownloadAbusiveFile")?;
    stage.prints(&["cat", "--drive-acknowledge-abuse", "X:a"], "the content")?;
    stage.control("quota", json!({ "bytes": 12 }));
    let file = stage.client.file("large", b"too much");
    stage.fails(&["copyto", &file.to_string_lossy(), "X:large"], "storageQuotaExceeded")
}

fn drive_listings(stage: &Stage) -> Outcome {
    for path in ["one", "one/two", "three"] {
        stage.control("mkdir", json!({ "path": path }));
    }
    stage.control("create", json!({ "path": "one/two/a", "text": "x" }));
    stage.control("create", json!({ "path": "three/b", "text": "x" }));
    let whole = "three/b\none/two/a\n";
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    for trick in ["empty-pages", "no-several-parents"] {
        stage.control(trick, json!({ "on": true }));
        let listed = stage.client.run(&["lsf", "-R", "--files-only", "--fast-list", "X:"])?;
        stage.control(trick, json!({ "on": false }));
        if sorted(&listed) != sorted(whole) {
            return Err(format!("{trick}: {listed}"));
        }
    }
    stage.control("rate-limit", json!({ "times": 1000 }));
    stage.fails(&["lsf", "X:"], "userRateLimitExceeded")
}

fn mega_retries(stage: &Stage) -> Outcome {
    stage.control("hashcash", json!({}));
    stage.prints(&["lsf", "X:"], "seeded/\n")?;
    let log = stage.front.log();
    if !log.iter().any(|entry| entry.status == Some(402)) {
        return Err("no proof of work was wanted".into());
    }
    stage.front.clear_log();
    stage.control("fail", json!({ "times": 1 }));
    stage.prints(&["lsf", "X:"], "seeded/\n")?;
    let log = stage.front.log();
    let queries: Vec<&str> = log.iter().filter(|entry| entry.path == "/cs").map(|entry| entry.query.as_str()).collect();
    if queries.windows(2).any(|pair| pair[0] == pair[1]) { Ok(()) } else { Err(format!("no repetition: {queries:?}")) }
}

fn mega_others(stage: &Stage) -> Outcome {
    stage.control("mkdir", json!({ "path": "d" }));
    stage.control("create", json!({ "path": "d/a", "text": "by another client" }));
    stage.prints(&["cat", "X:d/a"], "by another client")?;
    stage.control("rename", json!({ "path": "d/a", "name": "b" }));
    stage.prints(&["lsf", "X:d"], "b\n")?;
    stage.prints(&["cat", "X:seeded/versioned.txt"], "the present version")?;
    stage.control("revoke-sessions", json!({}));
    stage.fails(&["lsf", "X:d"], "please relogin")
}
