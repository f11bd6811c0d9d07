//! How content is written: one PUT for what is small, a multipart upload for what is not. The session is all that survives between
//! two calls; the receipts are the ETags of the parts.

use causeway_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use crate::api::{At, Expected, S3, Writing as Stored};
use crate::wire::{StoredPart, unquoted};
use crate::{LARGEST_OBJECT_BYTES, LARGEST_PUT_BYTES};

const MIB: u64 = 1 << 20;

/// What every later call needs.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Session {
    path: String,
    name: String,
    size: u64,
    media_type: String,
    /// Seconds and nanoseconds.
    modified: Option<(i64, u32)>,
    expected: Expected,
    /// Of the whole content, in hexadecimal digits; absent where nobody may ask for it.
    md5: Option<String>,
    /// The upload's id; absent for a single PUT.
    upload: Option<String>,
}

impl Session {
    fn at(&self) -> At<'_> {
        At::of(&self.path)
    }

    fn modified(&self) -> Option<Instant> {
        self.modified.map(|(seconds, nanoseconds)| Instant { seconds, nanoseconds })
    }

    fn stored(&self) -> Stored<'_> {
        Stored { media_type: &self.media_type, modified: self.modified(), expected: &self.expected }
    }

    /// The file that now exists, as the answer to its writing tells.
    fn entry(&self, etag: &str, digest: Option<DigestValue>) -> Outcome {
        let entry = Entry {
            size: Some(self.size),
            modified: self.modified(),
            version: Some(etag.to_owned()),
            media_type: Some(self.media_type.clone()),
            digests: digest.into_iter().collect(),
            ..Entry::file(&*self.name)
        };
        // Without a time of its own it has that of the upload, which only the store knows.
        Outcome::Done(self.modified.is_some().then_some(entry))
    }

    fn upload(&self) -> Result<&str> {
        self.upload.as_deref().ok_or_else(|| Error::new(ErrorKind::Internal, "this write has no parts"))
    }
}

#[export]
impl Writing for S3 {
    type Session = Session;

    fn begin(&self, intent: &WriteIntent, content: Source<'_>) -> Result<Begun<Session>> {
        let size = content.size();
        if size > LARGEST_OBJECT_BYTES {
            return Err(Error::invalid("the file is larger than the store can hold"));
        }
        let path = intent.parent.child(&intent.name);
        let at = At::of(&path);
        if at.key.is_empty() {
            return Err(Error::invalid("there are only buckets here: a file needs one to be in"));
        }
        let large = self.is_large(size);
        let md5 = if large && self.settings.disable_checksum {
            None
        } else {
            Some(content.digest(Digest::Md5, content.whole())?)
        };
        let mut session = Session {
            path: path.clone(),
            name: intent.name.clone(),
            size,
            media_type: intent.media_type.clone(),
            modified: intent.modified.map(|modified| (modified.seconds, modified.nanoseconds)),
            expected: self.expected(intent.existing.as_ref()),
            md5: md5.as_deref().map(|md5| data_encoding::HEXLOWER.encode(md5)),
            upload: None,
        };
        if !large {
            let first = PartPlan::new(self.put_request(at, session.stored(), content)?);
            return Ok(Begun::Upload { session, cutting: None, first: Some(first) });
        }
        session.upload = Some(self.create_upload(at, session.stored(), md5.as_deref())?);
        let part_bytes = self.part_bytes(size);
        let parallel = u32::try_from(self.settings.upload_concurrency).unwrap_or(1);
        let cutting = Cutting { first_bytes: part_bytes, other_bytes: part_bytes, parallel };
        Ok(Begun::Upload { session, cutting: Some(cutting), first: None })
    }

    fn plan_part(&self, session: &Session, part: &Part, content: Source<'_>) -> Result<PartPlan> {
        let request = match &session.upload {
            Some(upload) => self.part_request(session.at(), upload, part, content)?,
            None => self.put_request(session.at(), session.stored(), content)?,
        };
        Ok(PartPlan::new(request))
    }

    fn accept_part(&self, session: &Session, _part: &Part, answer: &Answer) -> Result<PartAnswer> {
        let answer = match self.accept(answer.clone()) {
            Ok(answer) => answer,
            Err(error) if session.upload.is_some() && error.kind == ErrorKind::NotFound => {
                return Ok(PartAnswer::Restart);
            }
            Err(error) => return Err(error),
        };
        let etag = answer.header("etag").map(unquoted).filter(|etag| !etag.is_empty());
        let etag = etag
            .ok_or_else(|| Error::unavailable("the store stored something and does not say what").seen_in(&answer))?;
        Ok(match session.upload {
            Some(_) => PartAnswer::Stored(etag.to_owned()),
            None => PartAnswer::Complete(session.entry(etag, self.digest(&answer, Some(etag)))),
        })
    }

    fn finish(&self, session: &Session, receipts: &[Receipt], _content: Source<'_>) -> Result<Outcome> {
        self.check_expected(session)?;
        let mut parts: Vec<_> = receipts
            .iter()
            .map(|receipt| StoredPart { part_number: receipt.number + 1, etag: format!("\"{}\"", receipt.receipt) })
            .collect();
        parts.sort_by_key(|part| part.part_number);
        match self.complete_upload(session.at(), session.upload()?, parts, &session.expected) {
            // Some stores tell another ETag here than later; what was written is known by its MD5.
            Ok(etag) => Ok(self.written(session)?.unwrap_or_else(|| session.entry(&etag, None))),
            // Asked for the second time, the upload is gone because it has become the file.
            Err(error) if error.kind == ErrorKind::NotFound => self.written(session)?.ok_or(error),
            Err(error) => Err(error),
        }
    }

    fn abort(&self, session: &Session) -> Result<()> {
        let Some(upload) = session.upload.as_deref().filter(|_| !self.settings.leave_parts_on_error) else {
            return Ok(());
        };
        match self.abort_upload(session.at(), upload) {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    fn resume(&self, session: &Session, receipts: &[Receipt]) -> Result<Remains> {
        if let Some(outcome) = self.written(session)? {
            return Ok(Remains::Complete(outcome));
        }
        let Some(upload) = &session.upload else { return Ok(Remains::Nothing) };
        let Some(parts) = self.list_parts(session.at(), upload)? else { return Ok(Remains::Nothing) };
        let there = |receipt: &&Receipt| {
            parts.iter().any(|part| part.part_number == receipt.number + 1 && unquoted(&part.etag) == receipt.receipt)
        };
        Ok(Remains::Parts(receipts.iter().filter(there).map(|receipt| receipt.number).collect()))
    }
}

impl S3 {
    /// Whether a file goes up in parts: from the cutoff on, and always where one request could not hold it.
    fn is_large(&self, size: u64) -> bool {
        let wanted = self.settings.use_multipart_uploads.unwrap_or(true);
        let cutoff = self.settings.upload_cutoff.0.filter(|_| wanted).unwrap_or(LARGEST_PUT_BYTES + 1);
        (size >= cutoff && size > 0) || size > LARGEST_PUT_BYTES
    }

    /// The size of a part: as configured, or as many MiB more as keep their number within what the store takes.
    fn part_bytes(&self, size: u64) -> u64 {
        let most = u64::try_from(self.settings.max_upload_parts).unwrap_or(1).clamp(1, self.preset.most_parts());
        let chunk = self.settings.chunk_size.0.unwrap_or(0).max(self.preset.least_part_bytes());
        if size.div_ceil(chunk) <= most { chunk } else { size.div_ceil(most).div_ceil(MIB) * MIB }
    }

    /// What the store shall insist on, where it can.
    fn expected(&self, existing: Option<&Node>) -> Expected {
        match existing {
            _ if !self.preset.conditional() => Expected::Anything,
            None => Expected::Nothing,
            Some(Node { version: Some(version), .. }) => Expected::Version(version.clone()),
            Some(_) => Expected::Anything,
        }
    }

    /// Not every store that knows conditions knows them when an upload is completed, so this looks first.
    fn check_expected(&self, session: &Session) -> Result<()> {
        if session.expected == Expected::Anything {
            return Ok(());
        }
        let headers = self.head(session.at())?;
        let now = headers.as_ref().and_then(|headers| headers.header("etag")).map(unquoted);
        let same = match (&session.expected, now) {
            (Expected::Nothing, now) => now.is_none(),
            (Expected::Version(version), now) => now == Some(version),
            (Expected::Anything, _) => true,
        };
        if same || self.written(session)?.is_some() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::PreconditionFailed, "the file has been changed in the store"))
    }

    /// The file, if what stands there is what was to be written: by its size and its MD5.
    fn written(&self, session: &Session) -> Result<Option<Outcome>> {
        let (Some(md5), Some(headers)) = (&session.md5, self.head(session.at())?) else { return Ok(None) };
        let file = self.file(&session.name, &headers)?;
        let same = |digest: &DigestValue| data_encoding::HEXLOWER.encode(&digest.value) == *md5;
        let written = file.size == Some(session.size) && file.digests.iter().any(same);
        Ok(written.then_some(Outcome::Done(Some(file))))
    }
}
