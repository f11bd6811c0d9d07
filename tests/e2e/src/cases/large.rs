//! Much of it: many objects, large files, and little memory.

use std::fs;
use std::time::Instant;

use serde_json::json;

use super::scene::Scene;
use crate::content::{digest_of, write_large};
use crate::program::Settings;
use crate::proxy::Kind;
use crate::servers::rclone;

/// What the program may hold at its peak, whatever passes through.
const PEAK_MIB: u64 = 200;
const OBJECTS: usize = 100_000;

pub(crate) fn a_hundred_thousand_objects_list_completely() {
    let server = rclone();
    // The server reads its whole directory for every page.
    let scene = Scene::with(server, Settings { long: true, ..Settings::default() });
    let directory = server.files.as_ref().unwrap().join(&scene.bucket).join("many");
    fs::create_dir(&directory).unwrap();
    for number in 0..OBJECTS {
        fs::File::create(directory.join(format!("object-{number:06}"))).unwrap();
    }
    let mount = scene.program.api.mount(&scene.connect(json!({})), json!({}));
    let many = mount.path.join(&scene.bucket).join("many");

    // One name first, while nothing is known: it must not cost the list of the others.
    assert!(fs::metadata(many.join("object-077777")).unwrap().is_file());
    let lists = scene.proxy.take_seen().into_iter().filter(|request| request.kind == Kind::List);
    for list in lists {
        let most: u32 = list.query("max-keys").map_or(1000, |most| most.parse().unwrap());
        assert!(most <= 2, "a stat listed: {}", list.target);
    }

    let begun = Instant::now();
    let mut seen = vec![false; OBJECTS];
    for entry in fs::read_dir(&many).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let number: usize = name.strip_prefix("object-").unwrap().parse().unwrap();
        assert!(!std::mem::replace(&mut seen[number], true), "{name} is listed twice");
    }
    let took = begun.elapsed();
    assert_eq!(seen.iter().filter(|seen| **seen).count(), OBJECTS);
    let (pages, peak) = (scene.proxy.count(Kind::List), scene.program.peak_mib());
    eprintln!("{OBJECTS} objects listed in {took:.1?}, {pages} pages, peak memory {peak} MiB");
    assert!(pages >= OBJECTS / 1000, "{pages} pages");
    assert!(peak < PEAK_MIB, "peak memory {peak} MiB");
    fs::remove_dir_all(&directory).unwrap();
    scene.end();
}

pub(crate) fn half_a_gigabyte_goes_there_and_back() {
    there_and_back(512 << 20, Settings::default());
}

pub(crate) fn five_gigabytes_go_there_and_back() {
    there_and_back(5 << 30, Settings { long: true, ..Settings::default() });
}

fn there_and_back(size: u64, settings: Settings) {
    let server = rclone();
    let scene = Scene::with(server, settings);
    let api = &scene.program.api;
    let backend = api.connect("s3", &super::scene::merged(server.settings(), json!({"chunk_size": "16Mi"})));
    let mount = api.mount(&backend, json!({}));
    let begun = Instant::now();
    let written = write_large(&mount.path.join(&scene.bucket).join("large"), 5, size).unwrap();
    let wrote = begun.elapsed();
    api.uploaded(&mount);
    let uploaded = begun.elapsed();
    api.unmount(&mount);
    assert_eq!(
        digest_of(&server.files.as_ref().unwrap().join(&scene.bucket).join("large")).unwrap(),
        (size, written.clone())
    );

    // Read through another program, which has none of it.
    let peak = scene.program.peak_mib();
    let (bucket, stage) = (scene.bucket.clone(), scene.stage.directory("reader"));
    let reader = crate::program::Program::start_in(&stage, scene.program.settings());
    let mount = reader.api.mount(&reader.api.connect("s3", &server.settings()), json!({}));
    let begun = Instant::now();
    assert_eq!(digest_of(&mount.path.join(&bucket).join("large")).unwrap(), (size, written));
    let (read, reader_peak) = (begun.elapsed(), reader.peak_mib());
    eprintln!(
        "{} MiB: written in {wrote:.1?}, uploaded after {uploaded:.1?}, read in {read:.1?}, peak memory {peak} and {reader_peak} MiB",
        size >> 20
    );
    assert!(peak < PEAK_MIB && reader_peak < PEAK_MIB, "peak memory {peak} and {reader_peak} MiB");
    reader.api.unmount(&mount);
    reader.stop(&[]);
    fs::remove_dir_all(server.files.as_ref().unwrap().join(&bucket)).unwrap();
    // Gigabytes are not searched for the secret: they are ours.
    scene.program.stop(&[]);
}
