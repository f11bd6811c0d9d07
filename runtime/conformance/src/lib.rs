//! What every storage promises, as cases that hold it to its word.
//!
//! One suite serves every make of storage: which cases apply follows from the features that a storage advertises, and nothing else
//! is known of it. A case is named after the function of the contract whose promise it tests (`moving.move-to/occupied`). Cases about
//! failures on the way need a [`Storm`], which the storage's gate asks about every exchange; so they run against any server.
//!
//! It is no test of the runtime above a storage: files, mounts and the API have their own.

mod cases;
mod ground;
mod report;
mod storm;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use causeway_storage::{Can, Features, Path, Result as Opened, Storage};
use futures::future::LocalBoxFuture;

pub use ground::Ground;
pub use report::{Ended, Report, Row};
pub use storm::Storm;

/// After so long a case has failed: every call of a storage ends.
const LONGEST_CASE: Duration = Duration::from_secs(300);

/// How a case ends: well, or with a sentence that says what was promised and what was seen.
pub type Outcome = Result<(), Flaw>;

/// What a storage did that it must not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw(pub String);

impl From<causeway_storage::Error> for Flaw {
    fn from(error: causeway_storage::Error) -> Flaw {
        Flaw(format!("failed, which it must not: {error:?}"))
    }
}

/// What is held to its promises, and what is known about it besides.
pub struct Subject {
    /// Opens the storage anew, as another process would: with nothing remembered but what is stored.
    pub open: Arc<dyn Open>,
    /// A directory that exists and that the suite may do with as it likes.
    pub root: Path,
    /// The size from which its settings make it cut files, to test around it.
    pub part_bytes: Option<u64>,
    /// How many entries a large directory has here.
    pub many: usize,
    /// What decides about every exchange, if the storage's gate asks it.
    pub storm: Option<Arc<Storm>>,
    /// It signs in again by itself where a credential has expired.
    pub renews: bool,
}

/// Opens the storage of a subject.
#[async_trait]
pub trait Open: Send + Sync {
    /// The storage, with nothing remembered.
    async fn open(&self) -> Opened<Arc<dyn Storage>>;
}

/// One case.
pub struct Case {
    /// The function of the contract, a slash, and what of it.
    pub name: &'static str,
    /// What the storage must be able to do for it to apply.
    needs: Can,
    /// What else must hold.
    when: fn(&Features, &Subject) -> bool,
    run: fn(Arc<Ground>) -> LocalBoxFuture<'static, Outcome>,
}

impl Case {
    /// Why it does not apply, if so.
    fn inapplicable(&self, features: &Features, subject: &Subject) -> Option<String> {
        let missing = self.needs - features.can;
        if !missing.is_empty() {
            let names: Vec<_> = missing.iter_names().map(|(name, _)| name.to_lowercase()).collect();
            return Some(format!("it does not offer {}", names.join(", ")));
        }
        (!(self.when)(features, subject)).then(|| "it does not promise this".to_owned())
    }
}

/// All cases, in the order in which they run.
pub fn cases() -> Vec<Case> {
    cases::all()
}

/// Holds a storage to its promises. `wanted` chooses cases by name; `told` hears of each as it ends.
pub async fn run(
    subject: Subject,
    wanted: impl Fn(&str) -> bool,
    mut told: impl FnMut(&Row),
) -> Result<Report, causeway_storage::Error> {
    let storage = subject.open.open().await?;
    let features = storage.features();
    let subject = Arc::new(subject);
    let mut report = Report::default();
    for case in cases().into_iter().filter(|case| wanted(case.name)) {
        let began = Instant::now();
        let ended = match case.inapplicable(&features, &subject) {
            Some(why) => Ended::Inapplicable(why),
            None => one(&case, &subject).await,
        };
        let row = Row { case: case.name, ended, took: began.elapsed() };
        told(&row);
        report.rows.push(row);
    }
    Ok(report)
}

async fn one(case: &Case, subject: &Arc<Subject>) -> Ended {
    if let Some(storm) = &subject.storm {
        storm.clear();
    }
    let ran = async {
        let ground = Arc::new(Ground::prepare(subject.clone(), case.name).await?);
        let outcome = (case.run)(ground.clone()).await;
        if let Some(storm) = &subject.storm {
            storm.clear();
        }
        // What a failed case leaves behind helps to find out why.
        if outcome.is_ok() {
            // By a client that a case has not signed out.
            ground.afresh().await?.tidy().await?;
        }
        outcome
    };
    match tokio::time::timeout(LONGEST_CASE, ran).await {
        Ok(Ok(())) => Ended::Passed,
        Ok(Err(flaw)) => Ended::Failed(flaw.0),
        Err(_) => Ended::Failed(format!("did not end within {} s", LONGEST_CASE.as_secs())),
    }
}
