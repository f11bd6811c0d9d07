//! The memory that a component can take from the host. One test in a process of its own: it measures the whole process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use causeway_storage::ErrorKind;
use serde_json::json;
use support::{House, hostile, kind, open, path};

/// What a small instance may have, twice: its own memory, and what the host copies of it. The rest is what a test needs.
const MOST_MIB: u64 = 16 + 32 + 32;

#[tokio::test(flavor = "multi_thread")]
async fn the_hosts_memory_stays_bounded_whatever_a_component_does() {
    let house = House::new();
    let provider = house.catalog.open(&hostile("component")).await.unwrap();
    // Compiling took more than any call may: the peak begins anew.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak_mib();
    for attack in ["allocate", "amplify", "many", "log"] {
        let storage = open(&provider, json!({"attack": attack})).await.unwrap();
        for _ in 0..4 {
            let listed = storage.list(&path(""), None).await;
            // Words are dropped, everything else is a fault.
            assert!(attack == "log" || kind(listed) == ErrorKind::Internal, "{attack}");
        }
    }
    let more = peak_mib() - before;
    assert!(more < MOST_MIB, "{more} MiB more than before");
}

/// The most memory that this process has had at once since the peak began.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() >> 10
}
