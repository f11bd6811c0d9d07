//! Uploads in parts.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Result, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{Answer, Origin, Request, UNFINISHED, lock, metadata, xml};

/// Between parts whose place in the object is not known.
const ASIDE: u64 = 64 << 30;

/// A multipart upload. Parts are written where they will stand in the object, if all but the last are as large as the first.
#[derive(Clone, Default)]
pub(super) struct Upload {
    metadata: String,
    /// The size of the first part, once it is known.
    stride: u64,
    /// By number: where a part is, and its size.
    parts: BTreeMap<u64, (u64, u64)>,
}

impl Origin {
    pub(super) fn begin(&self, request: &Request) -> Result<Answer> {
        let path = self.unfinished();
        File::create(&path)?;
        let id = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        lock(&self.uploads).insert(id.clone(), Upload { metadata: metadata(&request.head), ..Upload::default() });
        let (bucket, key) = (xml(&request.bucket), xml(&request.key));
        Ok(Answer::xml(&format!(
            "<InitiateMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{key}</Key><UploadId>{id}</UploadId>\
             </InitiateMultipartUploadResult>"
        )))
    }

    pub(super) fn put_part(&self, request: &Request, content: &mut impl Read) -> Result<Answer> {
        let id = &request.query["uploadId"];
        let number: u64 = request.query.get("partNumber").and_then(|number| number.parse().ok()).unwrap_or(1);
        let offset = {
            let mut uploads = lock(&self.uploads);
            let Some(upload) = uploads.get_mut(id) else { return Ok(Answer::error(404, "NoSuchUpload")) };
            let length = request.head.length();
            if number == 1 {
                upload.stride = length;
            }
            // Where the place is not known yet or would be too small, far behind everything until the end.
            let known = upload.stride > 0 && length <= upload.stride;
            if known { upload.stride * (number - 1) } else { number * ASIDE }
        };
        let mut file = OpenOptions::new().write(true).open(self.root.join(UNFINISHED).join(id))?;
        file.seek(SeekFrom::Start(offset))?;
        let length = std::io::copy(content, &mut file)?;
        let mut uploads = lock(&self.uploads);
        let upload = uploads.get_mut(id).ok_or(ErrorKind::NotFound)?;
        upload.parts.insert(number, (offset, length));
        Ok(Answer::new(200, format!("ETag: \"{id}-{number}-{length}\"\r\n")))
    }

    pub(super) fn list_parts(&self, request: &Request) -> Answer {
        let id = &request.query["uploadId"];
        let Some(upload) = lock(&self.uploads).get(id).cloned() else { return Answer::error(404, "NoSuchUpload") };
        let part = |(number, (_, length)): (&u64, &(u64, u64))| {
            format!(
                "<Part><PartNumber>{number}</PartNumber><ETag>&quot;{id}-{number}-{length}&quot;</ETag>\
                 <Size>{length}</Size></Part>"
            )
        };
        let parts: String = upload.parts.iter().map(part).collect();
        Answer::xml(&format!("<ListPartsResult><IsTruncated>false</IsTruncated>{parts}</ListPartsResult>"))
    }

    pub(super) fn complete(&self, request: &Request, path: &Path, content: &mut impl Read) -> Result<Answer> {
        let mut wanted = String::new();
        content.read_to_string(&mut wanted)?;
        let numbers = wanted.split("<PartNumber>").skip(1).filter_map(|rest| rest.split('<').next()?.parse().ok());
        let numbers: Vec<u64> = numbers.collect();
        let id = &request.query["uploadId"];
        let Some(upload) = lock(&self.uploads).get(id).cloned() else {
            return Ok(Answer::error(404, "NoSuchUpload"));
        };
        let unfinished = self.root.join(UNFINISHED).join(id);
        let file = OpenOptions::new().read(true).write(true).open(&unfinished)?;
        let mut end = 0;
        for number in numbers {
            let Some(&(offset, length)) = upload.parts.get(&number) else {
                return Ok(Answer::error(400, "InvalidPart"));
            };
            if offset != end {
                let mut part = vec![0; length as usize];
                file.read_exact_at(&mut part, offset)?;
                file.write_all_at(&part, end)?;
            }
            end += length;
        }
        file.set_len(end)?;
        lock(&self.uploads).remove(id);
        self.finish(&request.head, &upload.metadata, &unfinished, path, "CompleteMultipartUploadResult")
    }
}
