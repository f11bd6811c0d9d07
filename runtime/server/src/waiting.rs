//! What waits at a volume, as the API shows it. Nothing is decided here.

use causeway_api::{Event, GivenUp, PendingChange, Progress, What};

pub(crate) fn change(change: causeway_vfs::PendingChange) -> PendingChange {
    let causeway_vfs::PendingChange { number, what, path, to, bytes, since, progress } = change;
    PendingChange {
        number,
        what: match what {
            causeway_vfs::What::Write => What::Write,
            causeway_vfs::What::Remove => What::Remove,
            causeway_vfs::What::MakeDirectory => What::MakeDirectory,
            causeway_vfs::What::RemoveDirectory => What::RemoveDirectory,
            causeway_vfs::What::Rename => What::Rename,
            causeway_vfs::What::SetModified => What::SetModified,
        },
        path: path.to_string(),
        to: to.map(|to| to.to_string()),
        bytes,
        since: since.seconds,
        progress: match progress {
            causeway_vfs::Progress::Waiting => Progress::Waiting,
            causeway_vfs::Progress::UnderWay => Progress::Uploading,
            causeway_vfs::Progress::Retrying { at, error } => Progress::Retrying { retry_at: at.seconds, error },
            causeway_vfs::Progress::Failed { at, error } => Progress::Failed { failed_at: at.seconds, error },
            causeway_vfs::Progress::Blocked { by } => Progress::Blocked { blocked_by: by },
        },
    }
}

pub(crate) fn given_up(outcome: causeway_vfs::GivenUp) -> GivenUp {
    match outcome {
        causeway_vfs::GivenUp::Gone(place) => GivenUp::Gone(place.map(|place| place.display().to_string())),
        causeway_vfs::GivenUp::Unknown => GivenUp::Unknown,
        causeway_vfs::GivenUp::UnderWay => GivenUp::UnderWay,
        causeway_vfs::GivenUp::Open => GivenUp::Open,
        causeway_vfs::GivenUp::NeededBy(numbers) => GivenUp::NeededBy(numbers),
    }
}

pub(crate) fn event(event: causeway_vfs::Event) -> Event {
    let causeway_vfs::Event { at, path, message } = event;
    Event { at: at.seconds, path: path.to_string(), message }
}
