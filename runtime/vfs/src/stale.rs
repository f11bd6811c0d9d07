//! What a mount showed and must not trust any more.
//!
//! A kernel that is told to trust names and attributes for minutes has to be told when they change otherwise than by its
//! own doing: at the provider, through another mount of the same volume, or by an upload. It is no journal and no feed:
//! it may repeat itself and tell too broadly, but what changed is told after it changed and never left out. Who listens
//! too slowly hears that anything may have changed.

use causeway_storage::Path;
use tokio::sync::broadcast;

/// Told and not yet heard, for each listener: more than one answer of a provider's feed brings.
const UNHEARD: usize = 4096;

/// Something that is not as it was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stale {
    /// The attributes of what stands at this path, and nothing else of it.
    Attributes(Path),
    /// What stands at this path, if anything: the name itself, its attributes and its content.
    Entry(Path),
    /// This path and everything below it.
    Below(Path),
}

/// Tells all mounts of a volume.
#[derive(Debug)]
pub(crate) struct Announcer(broadcast::Sender<Stale>);

/// Hears what is told from now on.
#[derive(Debug)]
pub struct Listener(broadcast::Receiver<Stale>);

impl Announcer {
    pub(crate) fn new() -> Announcer {
        Announcer(broadcast::Sender::new(UNHEARD))
    }

    /// Tells everyone who listens. Call it when the change can be seen.
    pub(crate) fn tell(&self, stale: Stale) {
        // Nobody may be listening.
        let _ = self.0.send(stale);
    }

    pub(crate) fn listen(&self) -> Listener {
        Listener(self.0.subscribe())
    }

    /// Whether anyone listens.
    pub(crate) fn is_heard(&self) -> bool {
        self.0.receiver_count() > 0
    }
}

impl Listener {
    /// Waits for the next; none once the volume is gone.
    pub async fn next(&mut self) -> Option<Stale> {
        match self.0.recv().await {
            Ok(stale) => Some(stale),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Stale::Below(Path::ROOT)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_listens_too_slowly_hears_that_anything_may_have_changed() {
        let announcer = Announcer::new();
        let mut listener = announcer.listen();
        let path = Path::parse("a").unwrap();
        (0..=UNHEARD).for_each(|_| announcer.tell(Stale::Entry(path.clone())));
        assert_eq!(listener.next().await, Some(Stale::Below(Path::ROOT)));
        assert_eq!(listener.next().await, Some(Stale::Entry(path)));
    }
}
