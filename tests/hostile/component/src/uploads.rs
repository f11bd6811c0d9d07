//! What reads and writes do.

use crate::causeway::provider::{content, requests, types};
use crate::exports::causeway::provider::{reading, writing};
use crate::{Hostile, error, file, given, request, secret, text};

pub(crate) fn plan_read(attack: &str) -> Result<reading::ReadPlan, types::Error> {
    match attack {
        "literal" => Ok(reading::ReadPlan::Literal(vec![b'x'; (64 << 10) + 1])),
        "uncovered" => Ok(reading::ReadPlan::Remote(reading::Remote {
            segments: Vec::new(),
            size: None,
            guard: None,
            reuse: reading::Reuse::AnyRange,
            valid_ms: 60_000,
            parallel: 1,
            check: None,
        })),
        _ => Ok(reading::ReadPlan::Literal(vec![b'x'])),
    }
}

/// A part with the content, and what else the attack puts there.
fn part(part: &writing::Part) -> writing::PartPlan {
    let mut body = vec![requests::Piece::Content(part.span)];
    if given("attack") == "beside-content" {
        body.extend([text("&password="), secret()]);
    }
    writing::PartPlan {
        request: requests::Request { body, ..request("PUT", &given("endpoint")) },
        valid_ms: 60_000,
        once: false,
    }
}

impl writing::Guest for Hostile {
    fn begin_write(
        _intent: writing::WriteIntent,
        content: &content::Source,
    ) -> Result<writing::WritePlan, types::Error> {
        let all = types::Span { offset: 0, size: content.size() };
        if given("attack") == "digest" {
            content.digest(types::Digest::Sha256, &vec![all; 100_000])?;
        }
        let cut = |bytes| Some(writing::Cutting { first_bytes: bytes, other_bytes: bytes, parallel: 4 });
        let (session, cutting) = match &*given("attack") {
            "session" => ("s".repeat(100 << 10), None),
            "nothing-at-a-time" => (String::new(), cut(0)),
            "a-byte-at-a-time" => (String::new(), cut(1)),
            _ => (String::new(), cut(all.size.max(2) / 2)),
        };
        Ok(writing::WritePlan::Upload(writing::Upload { session, cutting, first: None }))
    }

    fn plan_part(
        _session: String,
        planned: writing::Part,
        _content: &content::Source,
    ) -> Result<writing::PartPlan, types::Error> {
        Ok(part(&planned))
    }

    fn accept_part(
        _session: String,
        _part: writing::Part,
        _response: requests::Response,
    ) -> Result<writing::PartAnswer, types::Error> {
        Ok(match &*given("attack") {
            "receipt" => writing::PartAnswer::Stored("r".repeat(2 << 10)),
            "again" => writing::PartAnswer::Again(0),
            "restart" => writing::PartAnswer::Restart,
            _ => writing::PartAnswer::Stored(String::new()),
        })
    }

    fn finish_write(
        _session: String,
        _receipts: Vec<writing::Receipt>,
        content: &content::Source,
    ) -> Result<types::Outcome, types::Error> {
        let size = Some(content.size() + u64::from(given("attack") == "another-size"));
        Ok(types::Outcome::Done(Some(types::Entry { size, ..file("a") })))
    }

    fn abort_write(_session: String) -> Result<(), types::Error> {
        Ok(())
    }

    fn resume_write(_session: String, _receipts: Vec<writing::Receipt>) -> Result<writing::Remains, types::Error> {
        Err(error(types::ErrorKind::Invalid, "nothing is remembered"))
    }
}
