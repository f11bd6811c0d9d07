//! What a write remembers across a crash: one record in the write log, as JSON with a number for its format.

use causeway_storage::{Error, ErrorKind, Result, WriteLog};
use serde::{Deserialize, Serialize};

use super::plan::{Cutting, Job, Progress, Receipt};

/// Rises when an older record would be misread.
const FORMAT: u32 = 1;

/// The most that a write log keeps.
const MOST_RECORD_BYTES: usize = 16 * 1024 * 1024;

/// The most that a session may have.
const MOST_SESSION_BYTES: usize = 64 * 1024;

/// How far a write has come.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    format: u32,
    /// Of the whole content.
    pub(super) size: u64,
    pub(super) session: String,
    pub(super) cutting: Option<Cutting>,
    pub(super) receipts: Vec<Receipt>,
    /// All was sent, and the provider goes on by itself: nothing is left but to ask how that stands.
    #[serde(default)]
    pub(super) pending: Option<Job>,
}

impl Record {
    /// A write that begins.
    pub(super) fn new(size: u64, session: String, cutting: Option<Cutting>) -> Result<Record> {
        check_session(&session)?;
        Ok(Record { format: FORMAT, size, session, cutting, receipts: Vec::new(), pending: None })
    }

    /// The record of a write that was interrupted; none if there is none, or none that fits this content.
    pub(super) async fn load(log: &dyn WriteLog, size: u64) -> Result<Option<Record>> {
        let Some(bytes) = log.load().await?.filter(|bytes| !bytes.is_empty()) else { return Ok(None) };
        match serde_json::from_slice::<Record>(&bytes) {
            Ok(record) if record.format == FORMAT && record.size == size => Ok(Some(record)),
            Ok(_) => Ok(None),
            Err(error) => {
                tracing::warn!(%error, "the record of an upload cannot be read: the upload begins anew");
                Ok(None)
            }
        }
    }

    /// As it is saved.
    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        let bytes = serde_json::to_vec(self).map_err(Error::internal)?;
        if bytes.len() > MOST_RECORD_BYTES {
            return Err(Error::new(ErrorKind::Internal, "the record of an upload is larger than 16 MiB"));
        }
        Ok(bytes)
    }

    /// Saves it.
    pub(super) async fn save(&self, log: &dyn WriteLog) -> Result<()> {
        log.save(&self.encode()?).await
    }

    /// Saves that nothing is left but to wait, in place of what was saved before.
    pub(super) async fn save_pending(log: &dyn WriteLog, size: u64, job: &Job) -> Result<()> {
        let waiting = Record { pending: Some(job.clone()), ..Record::new(size, String::new(), None)? };
        waiting.save(log).await
    }

    /// Removes what was saved.
    pub(super) async fn clear(log: &dyn WriteLog) -> Result<()> {
        log.save(&[]).await
    }

    /// Notes where a write in order goes on.
    pub(super) fn take(&mut self, progress: Progress) -> Result<u64> {
        if progress.offset > self.size {
            return Err(Error::internal("the component says that more was stored than there is"));
        }
        if let Some(session) = progress.session {
            check_session(&session)?;
            self.session = session;
        }
        Ok(progress.offset)
    }

    /// Notes a stored part; receipts stay in the order of the parts.
    pub(super) fn store(&mut self, receipt: Receipt) -> Result<()> {
        match self.receipts.binary_search_by_key(&receipt.number, |held| held.number) {
            Ok(_) => Err(Error::internal("a part was stored twice")),
            Err(at) => {
                self.receipts.insert(at, receipt);
                Ok(())
            }
        }
    }
}

fn check_session(session: &str) -> Result<()> {
    if session.len() > MOST_SESSION_BYTES {
        return Err(Error::internal("the session of an upload is larger than 64 KiB"));
    }
    Ok(())
}
