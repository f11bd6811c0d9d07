//! An independent client, rclone, against every fake: it limits how wrong our reading of a provider's documentation can be. Each provider is
//! a [`Row`]; every row does the same operations, except those that it says why it cannot do. What they did is printed as a table.
//!
//! The client is the one that the development tools bring (`CAUSEWAY_CACHE/python/bin/rclone`); without it these tests fail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod azureblob;
mod client;
mod drive;
mod mega;
mod operations;
mod seafile;
mod special;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use causeway_fakes::{Front, Logged, Running};
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;

use crate::client::Client;
use crate::operations::{OPERATIONS, Scene};

/// One provider and how the client is set up for it.
pub(crate) struct Row {
    /// What the row is called: the provider, and what is special.
    pub(crate) name: &'static str,
    /// Which fakes run; the first one is the provider's.
    pub(crate) fakes: &'static [&'static str],
    /// The configuration of the remote `X`, from the front and what the fake says of its accounts.
    pub(crate) config: fn(&Running, &Value, &Client) -> String,
    /// Whether requests go through the front as a proxy; needed where the client has fixed host names.
    pub(crate) proxy: bool,
    /// Options for every command.
    pub(crate) flags: &'static [&'static str],
    /// Where the operations work, as `X:...`; it exists or is made by the first upload.
    pub(crate) root: &'static str,
    /// Operations that are left out, and why.
    pub(crate) exceptions: &'static [(&'static str, &'static str)],
    /// What the requests must look like in the end.
    pub(crate) log: fn(&[Logged]) -> Result<(), String>,
}

/// Row, then operation, then how it went.
type Table = Arc<Mutex<BTreeMap<&'static str, BTreeMap<&'static str, String>>>>;

fn main() {
    let rows: Vec<Row> =
        azureblob::rows().into_iter().chain(drive::rows()).chain(mega::rows()).chain(seafile::rows()).collect();
    let table = Table::default();
    let notes: Vec<String> = rows
        .iter()
        .flat_map(|row| row.exceptions.iter().map(|(operation, why)| format!("{}, {operation}: {why}", row.name)))
        .collect();
    let trials = rows.into_iter().map(|row| {
        let table = table.clone();
        Trial::test(row.name, move || run(&row, &table).map_err(Failed::from))
    });
    let mut arguments = Arguments::from_args();
    // The client mostly waits: it paces itself.
    arguments.test_threads = arguments.test_threads.or(Some(8));
    let conclusion = libtest_mimic::run(&arguments, trials.chain(special::trials()).collect());
    print(&table.lock().unwrap(), &notes);
    conclusion.exit();
}

fn run(row: &Row, table: &Table) -> Result<(), String> {
    let names: Vec<String> = row.fakes.iter().map(|name| (*name).to_owned()).collect();
    let front = Front::start(causeway_fakes::fakes(&names).expect("fakes of these names")).expect("a front");
    let client = Client::new(&front, row);
    let accounts = front.accounts();
    client.configure(&(row.config)(&front, &accounts[row.fakes[0]], &client));
    let mut failures = Vec::new();
    for (operation, perform) in OPERATIONS {
        let excepted = row.exceptions.iter().any(|(name, _)| name == operation);
        let went = if excepted {
            "-".to_owned()
        } else {
            match perform(&Scene { client: &client, front: &front, root: row.root }) {
                Ok(()) => "yes".to_owned(),
                Err(why) => {
                    failures.push(format!("{operation}: {why}"));
                    "NO".to_owned()
                }
            }
        };
        table.lock().unwrap().entry(row.name).or_default().insert(operation, went);
    }
    let log = front.log();
    if log.is_empty() {
        failures.push("the fake saw no request".to_owned());
    }
    (row.log)(&log).unwrap_or_else(|why| failures.push(format!("log: {why}")));
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

/// No request was refused for who sent it, and none found nobody to answer.
pub(crate) fn nothing_refused(log: &[Logged]) -> Result<(), String> {
    let refused = log.iter().find(|entry| matches!(entry.status, None | Some(401 | 403 | 502 | 504)));
    refused.map_or(Ok(()), |entry| Err(format!("{entry:?}")))
}

fn print(table: &BTreeMap<&'static str, BTreeMap<&'static str, String>>, notes: &[String]) {
    if table.is_empty() {
        return;
    }
    let head: Vec<String> = OPERATIONS.iter().map(|(name, _)| format!("{name:>9}")).collect();
    println!("{:<22}{}", "", head.concat());
    for (row, went) in table {
        let cells: Vec<String> =
            OPERATIONS.iter().map(|(name, _)| format!("{:>9}", went.get(name).map_or("", String::as_str))).collect();
        println!("{row:<22}{}", cells.concat());
    }
    for note in notes {
        println!("- {note}");
    }
}
