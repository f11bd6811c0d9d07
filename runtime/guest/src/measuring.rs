//! A door for measuring what one plan costs: a fresh instance, the plan, and all of it dropped. Nothing is sent, and nothing
//! of the product comes through here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use causeway_storage::{Node, OpenError, Opening, Result};

use crate::backend::Backend;
use crate::bindings::causeway::provider::types;
use crate::component::Component;
use crate::convert;
use crate::meter::Meter;
use crate::provider::GuestProvider;

/// What one round cost.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// What the component's thread computed, from making the instance to dropping it.
    pub computing: Duration,
    /// What the caller waited, the ways to that thread and back included.
    pub wall: Duration,
}

/// One file of one backend, whose reading is planned again and again.
#[doc(hidden)]
#[derive(Clone)]
pub struct Measuring {
    component: Arc<Component>,
    backend: Arc<Backend>,
    file: types::Node,
    size: Option<u64>,
}

impl std::fmt::Debug for Measuring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Measuring")
    }
}

impl GuestProvider {
    /// Opens a backend for measuring.
    #[doc(hidden)]
    pub async fn measuring(&self, opening: Opening, file: &Node) -> Result<Measuring, OpenError> {
        Ok(self.open_guest(opening).await?.measuring(file))
    }
}

impl Measuring {
    pub(crate) fn new(
        component: Arc<Component>,
        backend: Arc<Backend>,
        file: types::Node,
        size: Option<u64>,
    ) -> Measuring {
        Measuring { component, backend, file, size }
    }

    /// Plans once.
    pub async fn plan(&self) -> Result<Measured> {
        let (indices, file, size) = (self.component.reading.clone(), self.file.clone(), self.size);
        let (meter, began) = (Arc::new(Meter::default()), Instant::now());
        let planned = self.component.call_metered(Some(self.backend.clone()), meter.clone(), move |store, instance| {
            Box::pin(async move {
                let guest = indices.load(&mut *store, instance)?;
                guest.call_plan_read(store, &file, size, None).await
            })
        });
        convert::read_plan(planned.await?.map_err(convert::error)?)?;
        Ok(Measured { computing: meter.total(), wall: began.elapsed() })
    }

    /// Makes an instance and drops it: the limit that no plan can be below.
    pub async fn instance(&self) -> Result<Measured> {
        let (meter, began) = (Arc::new(Meter::default()), Instant::now());
        let made =
            self.component.call_metered(Some(self.backend.clone()), meter.clone(), |_, _| Box::pin(async { Ok(()) }));
        made.await?;
        Ok(Measured { computing: meter.total(), wall: began.elapsed() })
    }
}
