//! What takes minutes or hours: the same as other cases, with more of it. `./just soak` runs these alone.

use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) use super::large::five_gigabytes_go_there_and_back;
use super::{survival, verified};
use crate::program::Settings;

/// Each takes a restart.
const DEATHS: usize = 200;

pub(crate) fn a_local_folder_survives_hundreds_of_deaths() {
    survival::over_a_local_folder(now(), DEATHS);
}

pub(crate) fn s3_survives_hundreds_of_deaths() {
    survival::over_s3(now(), DEATHS);
}

pub(crate) fn every_block_of_large_files_is_where_it_was_written() {
    verified::write_and_verify(256, Settings { long: true, ..Settings::default() });
}

/// Another seed every time: it is told when something fails.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
