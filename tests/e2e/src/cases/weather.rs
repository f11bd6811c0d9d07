//! Bad weather between the program and its provider: what passes is waited out, what is wrong is told, and nothing becomes
//! a wrong file.
//!
//! What fails is written into the names: the proxy reads there which of a file's requests it shall disturb, and how. So
//! all of it happens at the same time.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::scene::Scene;
use crate::content::{bytes, digest};
use crate::proxy::{Act, Forge, Kind, Request};
use crate::servers::rgw;
use crate::stage::{NOTICED, eventually};

/// Two parts.
const LARGE: usize = 6 * 1024 * 1024;

fn weathers() -> Vec<(&'static str, Act)> {
    let status = |status: u16, after: Option<&str>| {
        let after = after.map(|after| ("Retry-After".to_owned(), after.to_owned()));
        let code = if status == 500 { "InternalError" } else { "SlowDown" };
        let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>Later.</Message></Error>");
        Act::Answer(status, after.into_iter().collect(), body)
    };
    vec![
        ("w500", status(500, None)),
        ("w503", status(503, None)),
        ("w503after", status(503, Some("1"))),
        ("w429", status(429, None)),
        ("w429after", status(429, Some("1"))),
        ("wclosed", Act::Close),
        ("wlost", Act::LoseAnswer),
    ]
}

/// What is disturbed, by the word in the name.
const DISTURBED: [(&str, Kind); 9] = [
    ("get", Kind::Get),
    ("head", Kind::Head),
    ("list", Kind::List),
    ("put", Kind::Put),
    ("begin", Kind::Begin),
    ("part", Kind::Part),
    ("complete", Kind::Complete),
    ("copy", Kind::Copy),
    ("delete", Kind::Delete),
];

/// Disturbs the first request of the kind that a name asks for.
fn disturb(request: &Request, met: &Mutex<HashMap<String, usize>>) -> Act {
    for (weather, act) in weathers() {
        for (word, kind) in DISTURBED {
            let name = format!("{weather}-{word}-");
            if request.kind == kind && request.target.contains(&name) {
                let mut met = met.lock().unwrap();
                let met = met.entry(name).or_default();
                *met += 1;
                return if *met == 1 { act } else { Act::Pass };
            }
        }
    }
    Act::Pass
}

pub(crate) fn what_passes_is_waited_out() {
    let scene = Scene::new(rgw());
    let names = |word: &'static str| weathers().into_iter().map(move |(weather, _)| format!("{weather}-{word}-file"));
    let mut theirs = Map::new();
    for name in ["get", "head", "copy", "delete"].into_iter().flat_map(names) {
        theirs.insert(name.clone(), format!("content of {name}").into());
    }
    for (weather, _) in weathers() {
        for number in 0..3 {
            theirs.insert(format!("{weather}-list-directory/{number}"), "listed".into());
        }
    }
    scene.server.client.put_all(&scene.bucket, &Value::from(theirs.clone()));
    let mount = scene.program.api.mount(&scene.connect(json!({})), json!({}));
    let root = &mount.path.join(&scene.bucket);
    let met = Mutex::default();
    scene.proxy.rule(move |request| disturb(request, &met));

    thread::scope(|scope| {
        for (weather, _) in weathers() {
            scope.spawn(move || {
                let at = |word: &str| root.join(format!("{weather}-{word}-file"));
                assert_eq!(
                    fs::metadata(at("head")).unwrap().len(),
                    format!("content of {weather}-head-file").len() as u64
                );
                assert_eq!(fs::read_to_string(at("get")).unwrap(), format!("content of {weather}-get-file"));
                assert_eq!(fs::read_dir(root.join(format!("{weather}-list-directory"))).unwrap().count(), 3);
                fs::write(at("put"), weather).unwrap();
                for word in ["begin", "part", "complete"] {
                    fs::write(at(word), bytes(1, LARGE)).unwrap();
                }
                fs::rename(at("copy"), at("copied")).unwrap();
                fs::remove_file(at("delete")).unwrap();
            });
        }
    });
    let begun = Instant::now();
    scene.program.api.uploaded(&mount);
    eprintln!("waited out in {:.1?}", begun.elapsed());

    let mut wanted: BTreeMap<String, String> = theirs
        .iter()
        .filter(|(name, _)| !name.contains("-copy-") && !name.contains("-delete-"))
        .map(|(name, text)| (name.clone(), digest(text.as_str().unwrap().as_bytes())))
        .collect();
    for (weather, _) in weathers() {
        let name = |word: &str| format!("{weather}-{word}-file");
        wanted.insert(name("put"), digest(weather.as_bytes()));
        for word in ["begin", "part", "complete"] {
            wanted.insert(name(word), digest(&bytes(1, LARGE)));
        }
        wanted.insert(name("copied"), digest(format!("content of {}", name("copy")).as_bytes()));
    }
    let stored = scene.server.client.digests(&scene.bucket);
    let stored: BTreeMap<String, String> =
        stored.into_iter().map(|(key, digest)| (key, digest.as_str().unwrap().to_owned())).collect();
    assert_eq!(stored, wanted);
    let left = scene.server.client.uploads(&scene.bucket);
    assert_eq!(left, Vec::<String>::new(), "parts of uploads are left behind");
    scene.end();
}

pub(crate) fn a_read_that_stalls_ends_in_time_and_holds_nobody_else() {
    let scene = Scene::new(rgw());
    scene.server.client.put(&scene.bucket, "stalls", &bytes(1, LARGE));
    scene.server.client.put(&scene.bucket, "flows", &bytes(2, LARGE));
    let mount = scene.program.api.mount(&scene.connect(json!({})), json!({}));
    let root = mount.path.join(&scene.bucket);
    assert_eq!(fs::read_dir(&root).unwrap().count(), 2);
    scene.proxy.rule(|request| match request.kind {
        Kind::Get if request.target.contains("stalls") => Act::Stall(1_000),
        Kind::Put if request.target.contains("ours") => Act::Stall(0),
        _ => Act::Pass,
    });
    // More than are served at a time. Each reads in one request: past the kernel's cache, which asks a second time.
    let readers: Vec<_> = (1..41)
        .map(|number| {
            let path = root.join("stalls");
            thread::spawn(move || {
                let begun = Instant::now();
                let direct = i32::try_from(rustix::fs::OFlags::DIRECT.bits()).unwrap();
                let file = File::options().read(true).custom_flags(direct).open(path)?;
                let error = file.read_at(&mut [0; 4096], number << 17).unwrap_err();
                Ok::<_, std::io::Error>((error.raw_os_error(), begun.elapsed()))
            })
        })
        .collect();
    fs::write(root.join("ours"), b"taken all the same").unwrap();
    while readers.iter().any(|reader| !reader.is_finished()) {
        let begun = Instant::now();
        assert_eq!(fs::metadata(root.join("flows")).unwrap().len(), LARGE as u64);
        assert_eq!(digest(&fs::read(root.join("flows")).unwrap()), digest(&bytes(2, LARGE)));
        fs::write(root.join("beside"), bytes(3, 10_000)).unwrap();
        assert_eq!(fs::read_dir(&root).unwrap().count(), 4);
        assert!(begun.elapsed() < Duration::from_secs(5), "others waited for {:?}", begun.elapsed());
        thread::sleep(Duration::from_millis(500));
    }
    for reader in readers {
        let (number, took) = reader.join().unwrap().unwrap();
        assert_eq!(number, Some(5), "EIO");
        // A minute without a byte, and what a busy machine adds.
        assert!(took < Duration::from_secs(75), "a read took {took:?}");
    }
    scene.proxy.pass();
    let read = eventually(NOTICED, "it is noticed that the server is back", || {
        fs::read(root.join("stalls")).map_err(|error| error.to_string())
    });
    assert_eq!(digest(&read), digest(&bytes(1, LARGE)));
    scene.end();
}

/// An answer's head with one field changed.
fn with_field(head: &str, name: &str, change: impl Fn(&str) -> String) -> String {
    let lines = head.split_inclusive("\r\n").map(|line| match line.split_once(':') {
        Some((field, value)) if field.eq_ignore_ascii_case(name) => format!("{field}: {}\r\n", change(value.trim())),
        _ => line.to_owned(),
    });
    lines.collect()
}

pub(crate) fn an_answer_about_other_bytes_is_never_content() {
    let scene = Scene::new(rgw());
    let forged: [(&str, Forge); 7] = [
        ("longer", |head| with_field(head, "content-length", |size| (size.parse::<u64>().unwrap() + 10).to_string())),
        ("shorter", |head| with_field(head, "content-length", |size| (size.parse::<u64>().unwrap() - 10).to_string())),
        ("elsewhere", |head| with_field(head, "content-range", |range| range.replacen("bytes 0-", "bytes 1-", 1))),
        ("of another size", |head| {
            with_field(head, "content-range", |range| format!("{}/77", range.split('/').next().unwrap()))
        }),
        ("of another version", |head| with_field(head, "etag", |_| "\"00000000000000000000000000000000\"".to_owned())),
        ("whole", |head| head.replacen("206 Partial Content", "200 OK", 1)),
        ("nothing", |head| head.replacen("206 Partial Content", "204 No Content", 1)),
    ];
    for (name, _) in forged {
        scene.server.client.put(&scene.bucket, name, &bytes(7, LARGE));
    }
    let mount = scene.program.api.mount(&scene.connect(json!({})), json!({}));
    let root = mount.path.join(&scene.bucket);
    for (name, forge) in forged {
        scene.proxy.always(Kind::Get, Act::Forge(forge));
        if let Ok(read) = fs::read(root.join(name)) {
            assert_eq!(digest(&read), digest(&bytes(7, LARGE)), "{name}: {} bytes", read.len());
        }
        scene.proxy.pass();
        assert_eq!(digest(&fs::read(root.join(name)).unwrap()), digest(&bytes(7, LARGE)), "{name}, told rightly");
    }
    scene.end();
}

pub(crate) fn a_file_that_changes_while_it_is_read_is_never_a_mixture() {
    let scene = Scene::new(rgw());
    let (old, new) = (bytes(1, 2 * LARGE), bytes(2, 2 * LARGE));
    scene.server.client.put(&scene.bucket, "file", &old);
    let mount = scene.program.api.mount(&scene.connect(json!({})), json!({"dir_cache_time": "1s"}));
    let path = mount.path.join(&scene.bucket).join("file");
    let open = File::open(&path).unwrap();
    let mut piece = vec![0; 4096];
    open.read_exact_at(&mut piece, 0).unwrap();
    assert_eq!(piece, old[..4096]);
    scene.server.client.put(&scene.bucket, "file", &new);
    // Backwards, so that nothing was read ahead.
    for at in (0..old.len() / 4096).rev().step_by(64) {
        let at = at * 4096;
        match open.read_exact_at(&mut piece, at as u64) {
            Ok(()) => assert_eq!(piece, old[at..at + 4096], "a byte of another version at {at}"),
            Err(error) => assert!([5, 116].contains(&error.raw_os_error().unwrap()), "{error}"),
        }
    }
    eventually(Duration::from_secs(10), "the new version shows", || {
        let read = fs::read(&path).map_err(|error| error.to_string())?;
        match digest(&read) {
            now if now == digest(&new) => Ok(()),
            now if now == digest(&old) => Err("it is the old one".into()),
            _ => panic!("a mixture of both"),
        }
    });
    scene.end();
}

pub(crate) fn credentials_that_expire_for_a_while_cost_nothing() {
    let scene = Scene::new(rgw());
    scene.server.client.put(&scene.bucket, "theirs", &bytes(1, LARGE));
    let mount = scene.program.api.mount(&scene.connect(json!({})), json!({}));
    let root = mount.path.join(&scene.bucket);
    assert_eq!(fs::read_dir(&root).unwrap().count(), 1);
    for (status, code) in [(403, "InvalidAccessKeyId"), (400, "ExpiredToken"), (401, "AccessDenied")] {
        let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>No.</Message></Error>");
        // The first part goes through: it expires in the middle.
        let parts = std::sync::atomic::AtomicUsize::new(0);
        scene.proxy.rule(move |request| match request.kind {
            Kind::Begin => Act::Pass,
            Kind::Part if parts.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 => Act::Pass,
            _ => Act::Answer(status, vec![("Content-Type".into(), "application/xml".into())], body.clone()),
        });
        let (small, large) = (root.join(format!("small {status}")), root.join(format!("large {status}")));
        fs::write(&large, bytes(3, LARGE)).unwrap();
        fs::write(&small, code).unwrap();
        let error = fs::read(root.join("theirs")).unwrap_err();
        assert!([5, 13].contains(&error.raw_os_error().unwrap()), "{error}");
        eventually(Duration::from_secs(20), "the uploads were refused", || {
            let seen = scene.proxy.count(Kind::Put);
            if seen > 0 { Ok(()) } else { Err("not asked".into()) }
        });
        // What was written is there, and is shown as pending.
        assert_eq!(fs::read_to_string(&small).unwrap(), code);
        assert_eq!(digest(&fs::read(&large).unwrap()), digest(&bytes(3, LARGE)));
        let details = scene.program.api.get(&format!("/api/v1/mounts/{}", mount.id)).expect(200);
        assert!(details["pending"]["files"].as_u64().unwrap() >= 1, "{details}");
        scene.proxy.take_seen();
        scene.proxy.pass();
        scene.program.api.uploaded(&mount);
        assert_eq!(
            scene.server.client.get(&scene.bucket, &format!("small {status}"))["sha256"],
            digest(code.as_bytes())
        );
        assert_eq!(
            scene.server.client.get(&scene.bucket, &format!("large {status}"))["sha256"],
            digest(&bytes(3, LARGE))
        );
    }
    assert_eq!(digest(&fs::read(root.join("theirs")).unwrap()), digest(&bytes(1, LARGE)));
    scene.end();
}

/// Files written while the provider is away.
const MANY: usize = 2000;

pub(crate) fn what_is_written_while_the_provider_is_away_arrives_once() {
    let scene = Scene::new(rgw());
    scene.server.client.put(&scene.bucket, "many/theirs", b"theirs");
    let mount = scene.program.api.mount(&scene.connect(json!({})), json!({}));
    let root = mount.path.join(&scene.bucket);
    // A name can only be created where it is known that nothing stands there.
    assert_eq!(fs::read_dir(root.join("many")).unwrap().count(), 1);
    scene.proxy.rule(|_| Act::Close);
    let text = |number: usize| format!("file {number}");
    let begun = Instant::now();
    for number in 0..MANY {
        fs::write(root.join(format!("many/{number:04}")), text(number)).unwrap();
    }
    let wrote = begun.elapsed();
    let details = scene.program.api.get(&format!("/api/v1/mounts/{}", mount.id)).expect(200);
    assert_eq!(details["pending"]["files"], MANY, "{details}");
    assert_eq!(fs::read_to_string(root.join("many/1234")).unwrap(), text(1234));
    scene.proxy.take_seen();
    scene.proxy.pass();
    let begun = Instant::now();
    eventually(Duration::from_secs(120), "everything is uploaded", || {
        let details = scene.program.api.get(&format!("/api/v1/mounts/{}", mount.id)).expect(200);
        details.get("pending").map_or(Ok(()), |pending| Err(pending.to_string()))
    });
    eprintln!("{MANY} files written in {wrote:.1?} without a provider, uploaded in {:.1?}", begun.elapsed());
    let mut puts: HashMap<String, usize> = HashMap::new();
    for request in scene.proxy.take_seen().into_iter().filter(|request| request.kind == Kind::Put) {
        *puts.entry(request.target).or_default() += 1;
    }
    let more: Vec<_> = puts.iter().filter(|(_, count)| **count > 1).collect();
    assert!(more.is_empty(), "uploaded more than once: {more:?}");
    let mut stored = scene.server.client.digests(&scene.bucket);
    assert_eq!(stored.remove("many/theirs").unwrap(), digest(b"theirs"));
    let wanted: Map<String, Value> =
        (0..MANY).map(|number| (format!("many/{number:04}"), digest(text(number).as_bytes()).into())).collect();
    assert!(stored == wanted, "{} objects instead of {MANY}", stored.len());
    scene.end();
}

pub(crate) fn what_changes_during_its_upload_leaves_no_parts_after_a_death() {
    let mut scene = Scene::new(rgw());
    let mount = scene.program.api.mount(&scene.connect(json!({"upload_concurrency": 1})), json!({}));
    let root = mount.path.join(&scene.bucket);
    let mut left = Vec::new();
    for change in ["removed", "renamed", "rewritten", "replaced"] {
        let name = change.to_owned();
        let parts = std::sync::atomic::AtomicUsize::new(0);
        scene.proxy.rule(move |request| match request.kind {
            Kind::Part if parts.fetch_add(1, std::sync::atomic::Ordering::SeqCst) > 0 => Act::Hang,
            _ => Act::Pass,
        });
        scene.proxy.take_seen();
        fs::write(root.join(&name), bytes(1, LARGE)).unwrap();
        eventually(Duration::from_secs(20), "an upload is under way", || {
            if scene.proxy.count(Kind::Part) > 1 { Ok(()) } else { Err(name.clone()) }
        });
        match change {
            "removed" => fs::remove_file(root.join(&name)).unwrap(),
            "renamed" => fs::rename(root.join(&name), root.join(format!("{name} later"))).unwrap(),
            "rewritten" => fs::write(root.join(&name), bytes(2, LARGE)).unwrap(),
            _ => {
                fs::write(root.join("new"), bytes(2, LARGE)).unwrap();
                fs::rename(root.join("new"), root.join(&name)).unwrap();
            }
        }
        scene.program.kill();
        scene.proxy.pass();
        scene.program.restart();
        scene.program.api.uploaded(&mount);
        let uploads = scene.server.client.uploads(&scene.bucket);
        if uploads.iter().any(|key| key.contains(&name)) {
            left.push((name, uploads));
        }
    }
    assert!(left.is_empty(), "parts of uploads are left behind: {left:?}");
    scene.end();
}
