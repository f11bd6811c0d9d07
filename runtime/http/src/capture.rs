//! Taking secrets out of an answer before a component sees it: found, stored durably, then blanked.
//!
//! Besides its own place, every other copy of a captured value in the same answer is blanked, if it is long enough to be
//! no accident (8 bytes).

use bytes::Bytes;
use causeway_storage::{Error, ErrorKind, Result, Secret};

use crate::documents;
use crate::request::{Capture, Location, Response};
use crate::secrets::Secrets;

const SHORTEST_COPY_BYTES: usize = 8;

/// Takes every capture that is there out of the answer.
pub(crate) async fn take(
    captures: &[Capture],
    slots: &[String],
    secrets: &dyn Secrets,
    response: &mut Response,
) -> Result<()> {
    let mut taken = Vec::new();
    for capture in captures {
        check_slot(&capture.slot, slots)?;
        if let Some(value) = blank(&capture.at, response)?.filter(|value| !value.is_empty()) {
            secrets.fill(&capture.slot, Secret::new(value.as_bytes())).await?;
            taken.push(value);
        }
    }
    for value in taken.iter().filter(|value| value.len() >= SHORTEST_COPY_BYTES) {
        for (_, header) in &mut response.headers {
            *header = header.replace(value, "");
        }
        let body = String::from_utf8_lossy(&response.body);
        if body.contains(value) {
            response.body = Bytes::from(body.replace(value, ""));
        }
    }
    Ok(())
}

/// Whether captures may fill this slot.
pub(crate) fn check_slot(slot: &str, slots: &[String]) -> Result<()> {
    let declares = |declared: &String| match declared.strip_suffix('*') {
        Some(begin) => slot.len() > begin.len() && slot.starts_with(begin),
        None => slot == declared,
    };
    if slots.iter().any(declares) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Denied, format!("the slot \"{slot}\" is not declared: nothing can be captured into it")))
}

fn blank(at: &Location, response: &mut Response) -> Result<Option<String>> {
    let found = match at {
        Location::Header(name) => {
            let mut named = response.headers.iter_mut().filter(|(found, _)| found.eq_ignore_ascii_case(name));
            return Ok(named.next().map(|(_, value)| std::mem::take(value)));
        }
        Location::Json(pointer) => body(response)
            .and_then(|body| documents::json_at(body, pointer))
            .map(|(range, value)| (range, value, "\"\"")),
        Location::Xml(path) => match body(response).map(|body| documents::xml_at(body, path)) {
            // An answer of another kind holds nothing to capture.
            None | Some(Err(_)) => None,
            Some(Ok(found)) => found.into_iter().next().map(|(range, value)| (range, value, "")),
        },
    };
    let Some((range, value, instead)) = found else { return Ok(None) };
    let mut blanked = response.body.to_vec();
    blanked.splice(range, instead.bytes());
    response.body = Bytes::from(blanked);
    Ok(Some(value))
}

fn body(response: &Response) -> Option<&str> {
    std::str::from_utf8(&response.body).ok()
}
