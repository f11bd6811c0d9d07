//! The engines that carry plans out: [`read`] and [`write`].
//!
//! They hold no provider's knowledge: what an answer means is asked of the component through [`ReadPlanner`] and
//! [`WritePlanner`]. Everything that can be retried, cut, resumed or verified without that knowledge happens here.

mod check;
mod decode;
mod part;
mod plan;
mod plans;
mod read;
mod record;
mod write;

pub use plan::{
    Check, Cutting, Decoding, Job, Outcome, Part, PartAnswer, PartPlan, Progress, Ranges, ReadPlan, ReadPlanner,
    Receipt, Remains, Remote, Reuse, Segment, Upload, Verdict, WritePlan, WritePlanner,
};
pub use plans::PlanCache;
pub use read::{Read, read};
pub use write::write;
