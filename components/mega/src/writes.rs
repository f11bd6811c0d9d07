//! Writing: a file gets a key of its own, its content goes out enciphered to an address that takes it in order, and what that answers
//! at the end is made a file. The last step has a number, chosen at the beginning: however often it is sent, there is one file.

use causeway_sdk::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::crypto::{self, Attributes, NodeKey};
use crate::tree::Keys;
use crate::{Mega, api, wire};

/// The first eight chunks together, which grow from 128 KiB to 1 MiB.
const FIRST_PART_BYTES: u64 = 36 << 17;
/// Whole chunks: all further ones have 1 MiB.
const PART_BYTES: u64 = 8 << 20;
/// How long an address is taken to be good; it says itself when it is no longer.
const VALID_MS: u32 = 3_600_000;

/// A write under way.
#[derive(Debug, Deserialize, Serialize)]
pub struct Upload {
    url: String,
    /// Key and nonce of the content.
    key: [u8; 16],
    nonce: [u8; 8],
    parent: String,
    attributes: String,
    /// The node's key, wrapped.
    wrapped: String,
    /// What goes when the new file is there.
    replaced: Option<String>,
    /// Of the request that makes it a file.
    number: u32,
}

#[export]
impl Writing for Mega {
    type Session = Upload;

    fn begin(&self, intent: &WriteIntent, content: Source<'_>) -> Result<Begun<Upload>> {
        let keys = Keys::load()?;
        let key = crypto::random()?;
        let nonce = crypto::random()?;
        // Of nothing there is no meta-MAC.
        let mac = if content.size() == 0 { Vec::new() } else { content.mega_mac(&key, &nonce)? };
        let node = NodeKey::of_file(&key, &nonce, &mac.try_into().unwrap_or_default());
        let attributes = Attributes::from_iter([("n".to_owned(), intent.name.clone().into())]);
        let told: wire::Upload = api::ask(json!({"a": "u", "s": content.size(), "ssl": 2}))?;
        let session = Upload {
            url: api::over_tls(&told.p),
            key,
            nonce,
            parent: crate::handle(&intent.parent)?.to_owned(),
            attributes: node.seal_attributes(&attributes)?,
            wrapped: keys.wrap(&node),
            replaced: intent.existing.as_ref().map(|node| crate::handle(node).map(str::to_owned)).transpose()?,
            number: api::number(),
        };
        let cutting = Cutting { first_bytes: FIRST_PART_BYTES, other_bytes: PART_BYTES, parallel: 1 };
        Ok(Begun::Upload { session, cutting: Some(cutting), first: None })
    }

    fn plan_part(&self, session: &Upload, part: &Part, _content: Source<'_>) -> Result<PartPlan> {
        let mut counter = [0; 16];
        counter.iter_mut().zip(session.nonce).for_each(|(byte, nonce)| *byte = nonce);
        let request = Request::given("POST", &format!("{}/{}", session.url, part.span.offset))
            .header("Content-Type", "application/octet-stream")
            .body(Text::content(part.span).aes_ctr(&session.key, &counter));
        Ok(PartPlan::new(request).valid_ms(VALID_MS))
    }

    /// Nothing for a part that is not the last; for that, what stands for the whole content. Or a number that says what went wrong.
    fn accept_part(&self, _session: &Upload, part: &Part, answer: &Answer) -> Result<PartAnswer> {
        match answer.status() {
            200 => {}
            403 | 404 => return Ok(PartAnswer::Restart),
            _ => return Err(api::meaning(answer)),
        }
        let told = String::from_utf8_lossy(answer.body()).into_owned();
        match told.parse::<i64>() {
            // Out of order, or too late: all of it has to be sent again.
            Ok(-4 | -8) => Ok(PartAnswer::Restart),
            Ok(-14) => Ok(PartAnswer::Again(0)),
            Ok(number) if number < 0 => Err(api::refused(number)),
            _ if part.last && told.is_empty() => Ok(PartAnswer::Restart),
            _ => Ok(PartAnswer::Stored(told)),
        }
    }

    fn finish(&self, session: &Upload, receipts: &[Receipt], _content: Source<'_>) -> Result<Outcome> {
        let token = receipts.iter().max_by_key(|receipt| receipt.number).map(|receipt| &receipt.receipt);
        let token = token.ok_or_else(|| Error::unavailable("the provider never said that it has all"))?;
        let node = json!({"h": token, "t": wire::FILE, "a": session.attributes, "k": session.wrapped});
        let made = self.made(api::ask_as(session.number, &json!({"a": "p", "t": session.parent, "n": [node]}))?)?;
        // Not in one request with that: one command of several can fail alone, and then the old file must stay.
        session.replaced.as_deref().map_or(Ok(()), |replaced| self.replace(replaced))?;
        Ok(Outcome::Done(Some(made)))
    }

    /// What was not made a file goes by itself.
    fn abort(&self, _session: &Upload) -> Result<()> {
        Ok(())
    }

    /// What was answered is there, and what is in doubt can be sent again.
    fn resume(&self, _session: &Upload, receipts: &[Receipt]) -> Result<Remains> {
        Ok(Remains::Parts(receipts.iter().map(|receipt| receipt.number).collect()))
    }
}
