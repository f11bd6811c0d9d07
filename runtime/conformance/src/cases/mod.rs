//! The cases, by what they are about.

mod browsing;
mod changing;
mod extras;
mod failing;
mod names;
mod reading;
mod together;
mod writing;

use causeway_storage::{Can, Features};

use crate::{Case, Subject};

/// A case from a function of its name: `case!("reading.plan-read/whole", WRITE, whole)`.
macro_rules! case {
    ($name:literal, $needs:expr, $run:path) => {
        $crate::cases::case!($name, $needs, |_, _| true, $run)
    };
    ($name:literal, $needs:expr, $when:expr, $run:path) => {
        $crate::Case {
            name: $name,
            needs: $needs,
            when: $when,
            run: |ground| Box::pin(async move { $run(&ground).await }),
        }
    };
}
pub(crate) use case;

pub(crate) fn all() -> Vec<Case> {
    [
        browsing::cases(),
        names::cases(),
        reading::cases(),
        writing::cases(),
        changing::cases(),
        extras::cases(),
        together::cases(),
        failing::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Whether empty files can be stored.
fn stores_empty(features: &Features, _: &Subject) -> bool {
    features.smallest_bytes == 0
}

/// What most cases need: files that can be written, and taken away afterwards.
const FILES: Can = Can::WRITE.union(Can::REMOVE);

/// What cases about directories need.
const TREES: Can = FILES.union(Can::DIRECTORIES).union(Can::EMPTY_DIRECTORIES);
