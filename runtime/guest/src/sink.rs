//! Where a walk puts what it finds, and what was made of it: the import `gathering`. What becomes of the entries is not known here.

use causeway_storage::{Error, Result};
use wasmtime::component::Resource;

use crate::bindings::causeway::provider as wit;
use crate::convert;
use crate::host::Call;

/// Entries that one push may hold.
pub(crate) const PUSHED: usize = 1_000;

/// A sink that a walk was given.
#[allow(unreachable_pub, reason = "what is generated shows it again")]
pub struct Sink {
    take: Box<dyn FnMut(Vec<wit::types::Placed>) -> Result<()> + Send>,
}

impl Sink {
    pub(crate) fn new(take: impl FnMut(Vec<wit::types::Placed>) -> Result<()> + Send + 'static) -> Sink {
        Sink { take: Box::new(take) }
    }
}

impl wit::gathering::Host for Call {
    fn known(&mut self, cookie: String) -> wasmtime::Result<Option<wit::types::Placed>> {
        Ok(self.tree()?.and_then(|tree| tree.known(&cookie)))
    }

    fn below(&mut self, cookie: String, after: Option<String>) -> wasmtime::Result<Vec<wit::types::Placed>> {
        Ok(self.tree()?.map(|tree| tree.below(&cookie, after.as_deref())).unwrap_or_default())
    }
}

impl wit::gathering::HostSink for Call {
    fn push(
        &mut self,
        sink: Resource<Sink>,
        entries: Vec<wit::types::Placed>,
    ) -> wasmtime::Result<Result<(), wit::types::Error>> {
        let sink = self.table.get_mut(&sink)?;
        let taken = if entries.len() > PUSHED {
            Err(Error::new(causeway_storage::ErrorKind::Invalid, "more than 1,000 entries are pushed at once"))
        } else {
            (sink.take)(entries)
        };
        Ok(taken.map_err(convert::wit_error))
    }

    fn drop(&mut self, sink: Resource<Sink>) -> wasmtime::Result<()> {
        self.table.delete(sink)?;
        Ok(())
    }
}
