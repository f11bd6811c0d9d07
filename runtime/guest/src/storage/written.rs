//! Writing a file: the transfer engine carries the component's plans out; here stands what comes before and after.

use std::sync::Arc;

use async_trait::async_trait;
use causeway_http::transfer::{self, Outcome};
use causeway_storage::{Can, Entry, Error, ErrorKind, Notes, Result, Source, WriteIntent, WriteLog};

use super::GuestStorage;
use crate::backend::Backend;
use crate::planners::Writing;

impl GuestStorage {
    pub(super) async fn written(
        &self,
        intent: &WriteIntent,
        content: Arc<dyn Source>,
        log: Arc<dyn WriteLog>,
    ) -> Result<Entry> {
        self.exported(&self.asking.component.writing, "write files")?;
        // Of two writes of one new file the second must see the first: without exclusive creation there would be two.
        let _alone = self.locks.changing(vec![intent.path.clone()]).await;
        let place = self.place(&intent.path, intent.existing.as_ref()).await?;
        let existing = self.sure_maybe(intent.existing.as_ref()).await?;
        let writing = Writing::new(
            self.asking.component.clone(),
            self.asking.backend.clone(),
            place.parent.clone(),
            place.name.clone(),
            existing.clone(),
            intent,
            content.clone(),
        )?;
        let writing = Arc::new(writing);
        let log: Arc<dyn WriteLog> =
            Arc::new(SealedLog { log, backend: self.asking.backend.clone(), path: intent.path.to_string() });
        // A write that was begun before may itself have made what stands there.
        if let Some(walked) = self.walked.as_ref().filter(|_| self.features.can.contains(Can::DUPLICATES))
            && log.load().await?.is_none_or(|record| record.is_empty())
        {
            walked.up_to_now().await?;
            let name = self.asking.backend.encoding.to_people(&place.name);
            walked.is_free(&place.parent, &name, &[existing.as_ref()])?;
        }
        let outcome =
            transfer::write(self.asking.backend.egress.clone(), writing.clone(), content.clone(), log.clone()).await?;
        if let (Some(walked), Some(replaced)) = (&self.walked, &existing) {
            // What stands there now, if it is the same node, is put there again.
            walked.removed(replaced);
        }
        let pending = matches!(outcome, Outcome::Pending(_));
        let done = self.after(outcome, &place, &intent.path).await;
        if pending && done.as_ref().err().is_none_or(|error| !error.is_passing()) {
            // The log held the ticket, so that a restart would go on waiting instead of writing again.
            log.save(&[]).await?;
        }
        let entry = done?;
        self.check_written(&entry, &*content, &writing)?;
        self.settled(entry, &place, &intent.path).await
    }

    /// Believes a write only if what stands there now is what was sent: its size, and the digests that the provider shows.
    fn check_written(&self, entry: &Entry, content: &dyn Source, writing: &Writing) -> Result<()> {
        let corrupt = |what: &str| {
            Err(Error::new(ErrorKind::Corrupt, format!("the provider stored another {what} than was sent")))
        };
        if entry.size.is_some_and(|size| size != content.size()) && !entry.notes.contains(Notes::INEXACT_SIZE) {
            return corrupt("size");
        }
        for digest in &entry.digests {
            // Only what is known already: a digest that nobody asked for would cost another pass over the content.
            if writing.known_digest(digest.algorithm).is_some_and(|sent| sent != digest.value) {
                return corrupt("content");
            }
        }
        Ok(())
    }
}

/// A write's log, sealed: sessions and receipts may hold what opens an upload to anyone.
struct SealedLog {
    log: Arc<dyn WriteLog>,
    backend: Arc<Backend>,
    path: String,
}

#[async_trait]
impl WriteLog for SealedLog {
    async fn load(&self) -> Result<Option<Vec<u8>>> {
        let Some(sealed) = self.log.load().await? else { return Ok(None) };
        let Backend { tenant, id, keeper, .. } = &*self.backend;
        // What does not open (another key, a renamed file) begins anew.
        Ok(keeper.unseal(tenant, id, &self.path, &sealed))
    }

    async fn save(&self, record: &[u8]) -> Result<()> {
        let Backend { tenant, id, keeper, .. } = &*self.backend;
        self.log.save(&keeper.seal(tenant, id, &self.path, record)?).await
    }
}
