//! One part on its way: planned, sent, judged, and sent again within limits. It keeps no record; `write` does.

use std::sync::Arc;
use std::time::Duration;

use causeway_storage::{Error, ErrorKind, Result, Source};
use tokio::time::Instant;

use super::plan::{Outcome, Part, PartAnswer, PartPlan, Progress, Receipt, WritePlanner};
use super::write::receipt_of;
use crate::egress::{Egress, back_off};
use crate::request::Response;

/// Times that one part is sent again because the component, or the provider's state, asks for it.
const MOST_AGAINS: u32 = 10;

/// Times that one part is sent again because its answer was lost.
const MOST_LOSSES: u32 = 3;

/// The longest that a component can make a part wait.
const LONGEST_AGAIN: Duration = Duration::from_secs(60);

/// As much of an answer as the component is shown.
const MOST_JUDGED_BYTES: usize = 64 * 1024;

/// What came of a part.
pub(super) enum Sent {
    Stored(Receipt),
    At(Progress),
    Complete(Outcome),
    Restart,
    /// It may be there or not; only the component can find out.
    Lost,
}

/// What sends parts of one session.
pub(super) struct Sender {
    pub(super) egress: Arc<Egress>,
    pub(super) planner: Arc<dyn WritePlanner>,
    pub(super) source: Arc<dyn Source>,
    pub(super) session: String,
    /// A part can simply be sent again.
    pub(super) any_order: bool,
}

impl Sender {
    /// Sends one part until it is judged.
    pub(super) async fn send(&self, part: Part, first: Option<PartPlan>) -> Result<Sent> {
        let mut ready = first.map(|plan| (plan, Instant::now()));
        let mut agains = 0;
        let mut losses = 0;
        loop {
            let plan = match ready.take().filter(|(plan, since)| is_valid(plan, *since)) {
                Some((plan, _)) => plan,
                None => self.plan(&part).await?,
            };
            let answer = match self.egress.upload(&plan.request, &self.source).await {
                Ok(answer) => answer,
                Err(error) if !error.is_passing() => return Err(error),
                Err(error) => {
                    losses += 1;
                    if losses > MOST_LOSSES {
                        return Err(error);
                    }
                    if !(self.any_order || plan.request.repeatable) {
                        return Ok(Sent::Lost);
                    }
                    back_off(losses).await;
                    continue;
                }
            };
            let judged = self.planner.accept_part(&self.session, &part, shown(answer)).await;
            let wait = match judged {
                Ok(PartAnswer::Stored(receipt)) if receipt.len() <= 1024 => {
                    return Ok(Sent::Stored(receipt_of(&part, receipt)));
                }
                Ok(PartAnswer::Stored(_)) => return Err(Error::internal("the receipt of a part is larger than 1 KiB")),
                Ok(PartAnswer::At(progress)) => return Ok(Sent::At(progress)),
                Ok(PartAnswer::Complete(outcome)) => return Ok(Sent::Complete(outcome)),
                Ok(PartAnswer::Restart) => return Ok(Sent::Restart),
                Ok(PartAnswer::Again(ms)) => Some(Duration::from_millis(u64::from(ms))),
                Err(error) => match error.kind {
                    ErrorKind::RateLimited(hint) | ErrorKind::Unavailable(hint) if agains < MOST_AGAINS => hint,
                    _ => return Err(error),
                },
            };
            agains += 1;
            if agains > MOST_AGAINS {
                let message = "the provider did not take a part of the upload, however often it was sent";
                return Err(Error::new(ErrorKind::Unavailable(None), message));
            }
            match wait {
                Some(wait) => tokio::time::sleep(wait.min(LONGEST_AGAIN)).await,
                None => back_off(agains).await,
            }
        }
    }

    async fn plan(&self, part: &Part) -> Result<PartPlan> {
        let mut tries = 0;
        loop {
            match self.planner.plan_part(&self.session, part).await {
                Err(error) if error.is_passing() && tries < MOST_LOSSES => {
                    tries += 1;
                    back_off(tries).await;
                }
                planned => return planned,
            }
        }
    }
}

fn is_valid(plan: &PartPlan, since: Instant) -> bool {
    since.elapsed() < Duration::from_millis(u64::from(plan.valid_ms))
}

fn shown(mut answer: Response) -> Response {
    answer.body.truncate(MOST_JUDGED_BYTES);
    answer
}
