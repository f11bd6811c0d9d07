//! Amazon S3 and the stores that speak its language: the first name of a path is a bucket, the rest a key.
//!
//! Directories are what keys have in common up to a slash. They need no object of their own, so an empty one exists only where a
//! marker was stored for it (`directory_markers`). A version is an ETag: it is what both listings and headers tell, and what
//! conditions compare; version ids are not used, since listings lack them.
//!
//! `api.rs` has a function per endpoint and the table of errors, `wire.rs` the XML, `options.rs` and `presets.rs` are tables.

use causeway_sdk::data;
use causeway_sdk::prelude::*;

mod api;
mod options;
mod presets;
mod wire;
mod writes;

pub use api::S3;
use api::{At, meaning};
pub use options::Settings;
use presets::Preset;
use wire::Cursor;

/// No single request may store or copy more.
const LARGEST_PUT_BYTES: u64 = 5 << 30;
/// What clones keep, and AWS had for long: 10,000 parts do not reach it everywhere.
const LARGEST_OBJECT_BYTES: u64 = 5 << 40;

#[export]
impl Provider for S3 {
    type Options = Settings;

    const ABOUT: About = About {
        name: "s3",
        title: "S3 and S3-compatible storage",
        documentation: "https://docs.aws.amazon.com/AmazonS3/latest/API/Welcome.html",
        version: env!("CARGO_PKG_VERSION"),
        machine_credentials: Some("aws"),
        ..About::UNKNOWN
    };

    fn open(settings: Settings) -> std::result::Result<S3, Vec<Problem>> {
        let problems = problems(&settings);
        let preset = Preset::of(&settings.provider);
        if problems.is_empty() { Ok(S3 { settings, preset }) } else { Err(problems) }
    }

    fn traits(&self) -> Traits {
        let mut abilities = Abilities::ATOMIC_REPLACE | Abilities::KEEPS_MODIFIED;
        abilities.set(Abilities::EMPTY_DIRECTORIES, self.settings.directory_markers);
        abilities.set(Abilities::CONDITIONAL, self.preset.conditional());
        Traits {
            abilities,
            naming: Naming { longest_bytes: Some(1024), ..Traits::default().naming },
            modified_step_ns: 1,
            digests: vec![Digest::Md5],
            early_digests: vec![Digest::Md5],
            largest_bytes: Some(LARGEST_OBJECT_BYTES),
            ..Traits::default()
        }
    }

    /// Asks for the buckets. Keys that may not list them work all the same: the store has accepted them.
    fn probe(&self) -> Result<Identity> {
        // That no answer came is meant, also where the host denies the way.
        let answer = self.ask_buckets(None)?;
        match self.accept(answer).and_then(|answer| answer.xml::<wire::BucketList>()) {
            Ok(list) if self.preset.names_owner() => {
                Ok(Identity { account: list.owner.id, display: list.owner.display_name })
            }
            Ok(_) => Ok(Identity { account: None, display: None }),
            Err(error) if error.kind == ErrorKind::Denied => Ok(Identity { account: None, display: None }),
            // Without keys, stores send people elsewhere: to a page that sells the service.
            Err(error) if self.settings.access_key_id.is_empty() && error.kind == ErrorKind::Invalid => {
                Ok(Identity { account: None, display: None })
            }
            Err(error) => Err(error),
        }
    }

    fn read(&self, file: &Node, size: Option<u64>, _range: Option<Span>) -> Result<Plan> {
        let version = file.version.as_deref();
        let plan = Plan::get(self.get_request(At::of(&file.path), version)?).size(size);
        Ok(match version {
            Some(version) => plan.guard("etag", format!("\"{version}\"")).into(),
            None => plan.into(),
        })
    }

    fn meaning(&self, answer: &Answer) -> Error {
        meaning(answer)
    }

    /// A store that does not know `If-Match` sends whatever stands there now.
    fn explain(&self, file: &Node, answer: &Answer) -> Verdict {
        let seen = answer.header("etag").map(wire::unquoted);
        if answer.is_ok() && seen.is_some() && file.version.is_some() && seen != file.version.as_deref() {
            return Verdict::Failed(api::changed());
        }
        Verdict::Failed(meaning(answer))
    }
}

/// What cannot be used together, or at all.
fn problems(settings: &Settings) -> Vec<Problem> {
    let mut problems = Vec::new();
    let keys = (!settings.access_key_id.is_empty(), settings.secret_access_key.is_given());
    match keys {
        (true, false) => problems.push(Problem::new("secret_access_key", "is missing: `access_key_id` is given")),
        (false, true) => problems.push(Problem::new("access_key_id", "is missing: `secret_access_key` is given")),
        (false, false) if settings.session_token.is_given() => {
            problems.push(Problem::new("session_token", "belongs to keys, and none are given"));
        }
        _ => {}
    }
    if !settings.sts_endpoint.is_empty() {
        problems.push(Problem::new("sts_endpoint", "is not supported: give the temporary keys themselves"));
    }
    if settings.sse_customer_key.is_given() && settings.sse_customer_key_base64.is_given() {
        problems.push(Problem::new("sse_customer_key_base64", "and `sse_customer_key` exclude each other"));
    }
    let customer_key = settings.sse_customer_key.is_given() || settings.sse_customer_key_base64.is_given();
    if customer_key && settings.sse_customer_algorithm.is_empty() {
        problems.push(Problem::new("sse_customer_algorithm", "is missing: a customer's key is given"));
    }
    if customer_key && settings.endpoint.starts_with("http://") {
        problems.push(Problem::new("endpoint", "must be https where a customer's key is sent"));
    }
    let mut within = |name: &str, value: i64, least: i64, most: i64| {
        if !(least..=most).contains(&value) {
            problems.push(Problem::new(name, format!("must be from {least} to {most}")));
        }
    };
    within("list_version", settings.list_version, 0, 2);
    within("list_chunk", settings.list_chunk, 1, 1000);
    within("max_upload_parts", settings.max_upload_parts, 1, 10_000);
    within("upload_concurrency", settings.upload_concurrency, 1, 64);
    if settings.upload_cutoff.0.is_some_and(|bytes| bytes > LARGEST_PUT_BYTES) {
        problems.push(Problem::new("upload_cutoff", "must be at most 5Gi"));
    }
    if settings.chunk_size.0.is_none_or(|bytes| !(5 << 20..=LARGEST_PUT_BYTES).contains(&bytes)) {
        problems.push(Problem::new("chunk_size", "must be from 5Mi to 5Gi"));
    }
    problems
}

/// The prefix of all that stands in a directory.
fn prefix(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!("{key}/") }
}

#[export]
impl Paths for S3 {
    /// Where nothing is known yet, asks for the object and for one key below it side by side: a directory keeps a name that both have.
    fn stat(&self, path: &str, kind: Option<Kind>) -> Result<Option<Entry>> {
        let at = At::of(path);
        if at.key.is_empty() {
            return match self.head_bucket(at.bucket) {
                Ok(()) => Ok(Some(Entry::directory(at.bucket))),
                Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            };
        }
        let name = path.rsplit('/').next().unwrap_or(path);
        let below = prefix(at.key);
        let below = At { key: &below, ..at };
        let file = |answer| self.headers(answer)?.map(|headers| self.file(name, &headers)).transpose();
        let directory = |answer: Result<Answer>| {
            let listed = self.listed(below, None, answer?)?;
            Ok((listed.below > 0 || listed.marked).then(|| Entry::directory(name)))
        };
        match kind {
            Some(Kind::File) => file(self.head_request(at)?.send()),
            Some(Kind::Directory) => directory(self.list_request(below, 1, None)?.send()),
            None => {
                let mut answers =
                    Request::send_all([self.head_request(at)?, self.list_request(below, 1, None)?]).into_iter();
                let mut next = || answers.next().unwrap_or_else(|| Err(Error::unavailable("an answer is missing")));
                let (found, beneath) = (file(next()), directory(next()));
                match (found, beneath) {
                    // Of the two answers only that to the listing has a body, which tells why keys are refused.
                    (Err(_), Err(refused)) if refused.kind == ErrorKind::Unauthenticated => Err(refused),
                    (Err(error), _) => Err(error),
                    (_, Ok(Some(directory))) => Ok(Some(directory)),
                    // Not to be allowed to list must not hide a file that can be read.
                    (Ok(Some(file)), _) => Ok(Some(file)),
                    (Ok(None), beneath) => beneath,
                }
            }
        }
    }

    fn list(&self, directory: &Node, cursor: Option<&str>) -> Result<Page> {
        let at = At::of(&directory.path);
        if at.bucket.is_empty() {
            let answer = self.ask_buckets(cursor)?;
            let accepted = self.accept(answer).map_err(|error| match error.kind {
                ErrorKind::Denied => {
                    Error { message: "the given keys may not list buckets: mount one by its name".into(), ..error }
                }
                _ => error,
            });
            return Ok(accepted?.xml::<wire::BucketList>()?.page());
        }
        let from: Option<Cursor> = cursor.map(data::unpack).transpose()?;
        let below = prefix(at.key);
        let listed = self.list(At { key: &below, ..at }, self.settings.list_chunk, from.as_ref())?;
        let empty = listed.below == 0 && !listed.marked && listed.next.is_none();
        if empty && from.is_none() && !at.key.is_empty() {
            return Err(Error::not_found("there is no such directory in the store"));
        }
        Ok(Page { entries: listed.entries, next: listed.next.as_ref().map(data::pack).transpose()? })
    }
}

#[export]
impl Removing for S3 {
    /// Deleting says yes whether there was something or not, so this looks first. What another client does in between is not seen; where
    /// the store knows conditions, they guard it.
    fn remove_file(&self, file: &Node) -> Result<Outcome> {
        let at = At::of(&file.path);
        let Some(headers) = self.head(at)? else {
            return Err(Error::not_found("there is no such file in the store"));
        };
        let now = headers.header("etag").map(wire::unquoted);
        if self.preset.conditional() && file.version.is_some() && file.version.as_deref() != now {
            return Err(Error::new(ErrorKind::PreconditionFailed, "the file has been changed in the store"));
        }
        self.delete(at)?;
        Ok(Outcome::Done(None))
    }
}

#[export]
impl Directories for S3 {
    /// A bucket, or a marker. Without markers there is nothing to store: the directory exists once something is in it.
    fn make_directory(&self, parent: &Node, name: &str) -> Result<Outcome> {
        let path = parent.child(name);
        let at = At::of(&path);
        if at.key.is_empty() {
            return self.make_bucket(at.bucket);
        }
        if self.settings.directory_markers {
            if self.stat(&path, None)?.is_some() {
                return Err(Error::new(ErrorKind::AlreadyExists, "there is already something of this name"));
            }
            self.put_empty(At { key: &prefix(at.key), ..at })?;
        }
        Ok(Outcome::Done(Some(Entry::directory(name))))
    }

    fn remove_directory(&self, directory: &Node) -> Result<Outcome> {
        let at = At::of(&directory.path);
        if at.key.is_empty() {
            self.delete(at)?;
            return Ok(Outcome::Done(None));
        }
        // Two keys tell whether there is anything besides the marker.
        let below = prefix(at.key);
        let listed = self.list(At { key: &below, ..at }, 2, None)?;
        match (listed.below, listed.marked) {
            (0, true) => self.delete(At { key: &below, ..at }).map(|()| Outcome::Done(None)),
            (0, false) if listed.next.is_none() => Err(Error::not_found("there is no such directory in the store")),
            _ => Err(Error::new(ErrorKind::DirectoryNotEmpty, "there is something in the directory")),
        }
    }
}

impl S3 {
    /// Making one's own bucket again is a success at some stores, so this looks first; one that may not be looked at is tried.
    fn make_bucket(&self, bucket: &str) -> Result<Outcome> {
        let mine = |error| Error { message: "there is already a bucket of this name".into(), ..error };
        if self.head_bucket(bucket).is_ok() {
            return Err(mine(Error::new(ErrorKind::AlreadyExists, "")));
        }
        let told = self.settings.use_already_exists.unwrap_or(self.preset.trusts_already_exists());
        match self.create_bucket(bucket) {
            Ok(()) => Ok(Outcome::Done(Some(Entry::directory(bucket)))),
            // Some stores call one's own bucket somebody else's.
            Err(error) if error.kind == ErrorKind::AlreadyExists && !told => Err(mine(error)),
            Err(error) => Err(error),
        }
    }
}

#[export]
impl Copying for S3 {
    /// The store copies metadata along, and with it the modification time; one that is not in there yet is written anew.
    fn copy_to(
        &self,
        node: &Node,
        parent: &Node,
        name: &str,
        replaces: Option<&Node>,
        modified: Option<Instant>,
    ) -> Result<Outcome> {
        if node.kind == Kind::Directory {
            return Err(Error::unsupported("the store copies no directories"));
        }
        let path = parent.child(name);
        let (from, to) = (At::of(&node.path), At::of(&path));
        let answers = Request::send_all([self.head_request(from)?, self.head_request(to)?]);
        let [source, target] = <[_; 2]>::try_from(answers).map_err(|_| Error::unavailable("an answer is missing"))?;
        let source = self.headers(source)?.ok_or_else(|| Error::not_found("there is no such file in the store"))?;
        match (self.headers(target)?, replaces) {
            (Some(_), None) => {
                return Err(Error::new(ErrorKind::AlreadyExists, "there is already a file of this name"));
            }
            (Some(target), Some(seen))
                if seen.version.is_some() && seen.version.as_deref() != target.header("etag").map(wire::unquoted) =>
            {
                return Err(Error::new(ErrorKind::PreconditionFailed, "the file to be replaced has been changed"));
            }
            _ => {}
        }
        let file = self.file(name, &source)?;
        refuse_large(&file)?;
        let anew =
            modified.filter(|modified| file.modified != Some(*modified) || source.header("x-amz-meta-mtime").is_none());
        let version = node.version.as_deref().or(file.version.as_deref());
        self.copy(from, version, to, anew.map(|modified| (&source, modified)))?;
        Ok(Outcome::Done(None))
    }
}

#[export]
impl Times for S3 {
    /// Copies the object onto itself with all that it had and another time.
    fn set_modified(&self, node: &Node, modified: Instant) -> Result<Outcome> {
        if node.kind == Kind::Directory {
            return Err(Error::unsupported("directories have no times in the store"));
        }
        let at = At::of(&node.path);
        let headers = self.head(at)?.ok_or_else(|| Error::not_found("there is no such file in the store"))?;
        let file = self.file(node.name(), &headers)?;
        refuse_large(&file)?;
        self.copy(at, node.version.as_deref().or(file.version.as_deref()), at, Some((&headers, modified)))?;
        Ok(Outcome::Done(None))
    }
}

/// What one copy request cannot do.
fn refuse_large(file: &Entry) -> Result<()> {
    if file.size.is_some_and(|size| size > LARGEST_PUT_BYTES) {
        return Err(Error::unsupported("the store copies objects over 5 GiB only in parts"));
    }
    Ok(())
}
