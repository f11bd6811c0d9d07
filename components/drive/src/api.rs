//! A function per endpoint, and what errors mean.
//!
//! What makes something new names the id that it is to have, so that asking twice makes one thing.

use causeway_sdk::prelude::*;
use causeway_sdk::state;

use crate::wire::{
    About, Changed, FOLDER, Failed, Failure, File, Files, Ids, News, Permissions, Revision, Revisions, Start, Version2,
    Written,
};
use crate::{Cookie, Drive};

const API: &str = "https://www.googleapis.com/drive/v3";
const UPLOAD: &str = "https://www.googleapis.com/upload/drive/v3/files";
const VERSION_2: &str = "https://www.googleapis.com/drive/v2/files";
const FIELDS: &str = "id,name,size,md5Checksum,sha1Checksum,sha256Checksum,headRevisionId,capabilities/canReadRevisions,\
                      trashed,modifiedTime,createdTime,mimeType,parents,webViewLink,shortcutDetails,exportLinks,resourceKey";
/// Pages of one question that are asked for: all but the last may be empty.
const MOST_PAGES: usize = 20;
/// That a user accepted the risk of a file is remembered for an hour.
const ACCEPTED_MS: u64 = 3_600_000;

impl Drive {
    /// A request to this path of the API, with the keys that this item's way needs.
    fn ask(&self, method: &'static str, path: &str, keyed: Option<&Cookie>) -> Request {
        self.signed(Request::new(method, API).path(path), keyed)
    }

    /// The same, to one item or all of them.
    fn files(&self, method: &'static str, path: &str, keyed: Option<&Cookie>) -> Request {
        self.ask(method, &format!("files{path}"), keyed).query("supportsAllDrives", "true")
    }

    /// With the token and the keys.
    fn signed(&self, request: Request, keyed: Option<&Cookie>) -> Request {
        let mut keys: Vec<String> =
            keyed.map(Cookie::keys).unwrap_or_default().iter().map(|(id, key)| format!("{id}/{key}")).collect();
        if !self.0.resource_key.is_empty() {
            keys.push(format!("{}/{}", self.0.root_alias(), self.0.resource_key));
        }
        let request = request.header_unless_empty("X-Goog-Drive-Resource-Keys", &keys.join(","));
        let request = if self.0.disable_http2 { request.http1() } else { request };
        request.bearer(&Secret::access_token())
    }

    fn fields(&self) -> String {
        let more = [
            (self.0.auth_owner_only, "owners"),
            (self.0.use_shared_date, "sharedWithMeTime"),
            (self.0.skip_checksum_gphotos, "spaces"),
            (self.0.size_as_quota, "quotaBytesUsed"),
        ];
        let more = more.into_iter().filter(|(wanted, _)| *wanted).map(|(_, name)| format!(",{name}"));
        std::iter::once(FIELDS.to_owned()).chain(more).collect()
    }

    /// Sends, and understands.
    fn call(&self, request: Request) -> Result<Answer> {
        let answer = request.send()?;
        self.accept(answer)
    }

    /// An answer that says success, or what it says otherwise.
    pub(crate) fn accept(&self, answer: Answer) -> Result<Answer> {
        if answer.is_ok() { Ok(answer) } else { Err(self.refusal(&answer)) }
    }

    pub(crate) fn about(&self) -> Request {
        self.ask("GET", "about", None).query("fields", "user,storageQuota")
    }

    pub(crate) fn usage(&self) -> Result<Usage> {
        Ok(self.call(self.about())?.json::<About>()?.storage_quota.usage())
    }

    /// The root by the name that the settings give it.
    pub(crate) fn root_request(&self) -> Request {
        match self.0.team_drive.is_empty() || self.0.root_alias() != self.0.team_drive {
            true => self.get_request(&Cookie::new(self.0.root_alias())),
            // Its root has its id.
            false => self.ask("GET", &format!("drives/{}", self.0.team_drive), None).query("fields", "id,name"),
        }
    }

    fn get_request(&self, cookie: &Cookie) -> Request {
        self.files("GET", &format!("/{}", cookie.id), Some(cookie)).query("fields", &self.fields())
    }

    /// An item; none if there is none.
    pub(crate) fn get(&self, cookie: &Cookie) -> Result<Option<File>> {
        self.found(self.get_request(cookie).send())
    }

    pub(crate) fn found(&self, answer: Result<Answer>) -> Result<Option<File>> {
        match self.accept(answer?) {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            answer => Ok(Some(answer?.json()?)),
        }
    }

    /// Several items side by side.
    pub(crate) fn get_all(&self, cookies: &[Cookie]) -> Result<Vec<Option<File>>> {
        let mut found = Vec::with_capacity(cookies.len());
        for some in cookies.chunks(32) {
            let answers = Request::send_all(some.iter().map(|cookie| self.get_request(cookie)));
            found.extend(answers.into_iter().map(|answer| self.found(answer)).collect::<Result<Vec<_>>>()?);
        }
        Ok(found)
    }

    fn list_request(&self, query: &str, keyed: &Cookie, page: Option<&str>) -> Request {
        let mut request = self
            .files("GET", "", Some(keyed))
            .query("q", query)
            .query("fields", &format!("nextPageToken,incompleteSearch,files({})", self.fields()))
            .query("includeItemsFromAllDrives", "true");
        if self.0.list_chunk > 0 {
            request = request.query("pageSize", &self.0.list_chunk.to_string());
        }
        if !self.0.team_drive.is_empty() {
            request = request.query("corpora", "drive").query("driveId", &self.0.team_drive);
        }
        if self.0.in_app_folder() {
            request = request.query("spaces", "appDataFolder");
        }
        page.into_iter().fold(request, |request, page| request.query("pageToken", page))
    }

    fn listed(&self, answer: Result<Answer>) -> Result<Files> {
        let files: Files = self.accept(answer?)?.json()?;
        match files.incomplete_search {
            true => Err(Error::unavailable("Google did not search everywhere")),
            false => Ok(files),
        }
    }

    /// One page of what a query finds in a directory.
    pub(crate) fn page(&self, query: &str, keyed: &Cookie, page: Option<&str>) -> Result<Files> {
        self.listed(self.list_request(query, keyed, page).send())
    }

    /// The same, over all pages from a first one: meant for what finds little.
    fn rest(&self, query: &str, keyed: &Cookie, first: Files) -> Result<Vec<File>> {
        let (mut files, mut next) = (first.files, first.next_page_token);
        for _ in 0..MOST_PAGES {
            let Some(token) = next else { return Ok(files) };
            let more = self.page(query, keyed, Some(&token))?;
            files.extend(more.files);
            next = more.next_page_token;
        }
        Err(Error::unavailable("Google's answer does not come to an end"))
    }

    pub(crate) fn all(&self, query: &str, keyed: &Cookie) -> Result<Vec<File>> {
        let first = self.page(query, keyed, None)?;
        self.rest(query, keyed, first)
    }

    /// Whether a query finds anything.
    pub(crate) fn any(&self, query: &str, keyed: &Cookie) -> Result<bool> {
        let mut next = None;
        for _ in 0..MOST_PAGES {
            let page = self.page(query, keyed, next.as_deref())?;
            match (page.files.is_empty(), page.next_page_token) {
                (true, Some(token)) => next = Some(token),
                (empty, _) => return Ok(!empty),
            }
        }
        Err(Error::unavailable("Google's answer does not come to an end"))
    }

    /// What a query finds, and side by side with it an id for something new.
    pub(crate) fn all_and_new_id(&self, query: &str, keyed: &Cookie) -> Result<(Vec<File>, String)> {
        let space = if self.0.in_app_folder() { "appDataFolder" } else { "drive" };
        let ids = self.ask("GET", "files/generateIds", None).query("count", "1").query("space", space);
        let mut answers = Request::send_all([self.list_request(query, keyed, None), ids]).into_iter();
        let mut next = || answers.next().unwrap_or_else(|| Err(Error::unavailable("an answer is missing")));
        let (first, ids) = (self.listed(next()), next());
        let files = self.rest(query, keyed, first?)?;
        let id = self.accept(ids?)?.json::<Ids>()?.ids.pop();
        Ok((files, id.ok_or_else(|| Error::unavailable("Google gave no id for something new"))?))
    }

    /// What a query finds, and side by side with it an item.
    pub(crate) fn all_and_get(
        &self,
        query: &str,
        keyed: &Cookie,
        cookie: &Cookie,
    ) -> Result<(Vec<File>, Option<File>)> {
        let asked = [self.list_request(query, keyed, None), self.get_request(cookie)];
        let mut answers = Request::send_all(asked).into_iter();
        let mut next = || answers.next().unwrap_or_else(|| Err(Error::unavailable("an answer is missing")));
        let (first, found) = (self.listed(next()), self.found(next()));
        Ok((self.rest(query, keyed, first?)?, found?))
    }

    /// Makes what has an id of its own; if it is there already, an earlier try made it.
    fn made(&self, id: &str, request: Request) -> Result<File> {
        match self.call(request.repeatable(true)) {
            Err(error) if error.kind == ErrorKind::AlreadyExists => {
                self.get(&Cookie::new(id))?.ok_or_else(|| Error::unavailable("Google knows an id and not what has it"))
            }
            answer => answer?.json(),
        }
    }

    pub(crate) fn make_folder(&self, id: &str, parent: &Cookie, name: &str) -> Result<File> {
        let written = Written {
            id: Some(id),
            name: Some(name),
            parents: Some([parent.content()]),
            mime_type: Some(FOLDER),
            ..Written::default()
        };
        let request = self.files("POST", "", Some(parent)).query("fields", &self.fields());
        self.made(id, request.json(&written)?)
    }

    pub(crate) fn copy(&self, source: &Cookie, from: &str, written: &Written<'_>) -> Result<File> {
        let request = self.files("POST", &format!("/{from}/copy"), Some(source)).query("fields", &self.fields());
        self.made(written.id.unwrap_or_default(), self.kept(request).json(written)?)
    }

    /// With the wish to keep revisions, if there is one.
    fn kept(&self, request: Request) -> Request {
        if self.0.keep_revision_forever { request.query("keepRevisionForever", "true") } else { request }
    }

    /// Changes what an item is called and where it lies, or when it was changed.
    pub(crate) fn update(
        &self,
        cookie: &Cookie,
        moved: Option<(&str, &str)>,
        keyed: &Cookie,
        written: &Written<'_>,
    ) -> Result<File> {
        let mut request = self.files("PATCH", &format!("/{}", cookie.id), Some(keyed)).query("fields", &self.fields());
        if let Some((from, to)) = moved {
            request = request.query("addParents", to).query("removeParents", from);
        }
        self.call(request.json(written)?.repeatable(true))?.json()
    }

    /// Removes an item, and all below it.
    pub(crate) fn remove(&self, cookie: &Cookie, to_trash: bool) -> Result<()> {
        if to_trash {
            let written = Written { trashed: Some(true), ..Written::default() };
            return self.update(cookie, None, cookie, &written).map(|_| ());
        }
        self.call(self.files("DELETE", &format!("/{}", cookie.id), Some(cookie)).repeatable(false)).map(|_| ())
    }

    pub(crate) fn empty_trash(&self) -> Result<()> {
        let request = self.ask("DELETE", "files/trash", None);
        let drive = &self.0.team_drive;
        self.call(if drive.is_empty() { request } else { request.query("driveId", drive) }).map(|_| ())
    }

    /// The content, in one revision if it is named.
    pub(crate) fn media(&self, cookie: &Cookie, revision: Option<&str>) -> Request {
        let path = match revision {
            Some(revision) => format!("/{}/revisions/{revision}", cookie.content()),
            None => format!("/{}", cookie.content()),
        };
        let request = self.files("GET", &path, Some(cookie)).query("alt", "media").redirects(2);
        match self.0.acknowledge_abuse && state::load::<bool>(&accepted(cookie)).is_some() {
            true => request.query("acknowledgeAbuse", "true"),
            false => request,
        }
    }

    /// Remembers that the risk of this file is accepted; false if that was known.
    pub(crate) fn accept_risk(&self, cookie: &Cookie) -> Result<bool> {
        let key = accepted(cookie);
        let new = state::load::<bool>(&key).is_none();
        state::store(&key, &true, Some(ACCEPTED_MS)).map(|()| new)
    }

    /// The content, where version 2 says that it is.
    pub(crate) fn media_by_version_2(&self, cookie: &Cookie) -> Result<Option<Request>> {
        let request = Request::get(VERSION_2).path(cookie.content()).query("fields", "downloadUrl");
        let answer = self.call(self.signed(request.query("supportsAllDrives", "true"), Some(cookie)))?;
        let url = answer.json::<Version2>()?.download_url;
        Ok(url.map(|url| self.signed(Request::given("GET", &url), Some(cookie)).redirects(2)))
    }

    /// A document in another format, at the address that its item gives.
    pub(crate) fn export(&self, cookie: &Cookie, url: &str) -> Request {
        self.signed(Request::given("GET", url), Some(cookie)).redirects(2)
    }

    /// The beginning of an upload: to a new item, or over an existing one.
    fn upload(&self, kind: &str, existing: Option<&str>, keyed: &Cookie) -> Request {
        let request = match existing {
            Some(id) => Request::new("PATCH", UPLOAD).path(id),
            None => Request::post(UPLOAD),
        };
        let request = request.query("uploadType", kind).query("supportsAllDrives", "true");
        self.kept(self.signed(request.query("fields", &self.fields()), Some(keyed)))
    }

    /// An upload in one request.
    pub(crate) fn upload_whole(
        &self,
        existing: Option<&str>,
        keyed: &Cookie,
        written: &Written<'_>,
        media_type: &str,
        content: Text,
    ) -> Result<Request> {
        let described = causeway_sdk::data::pack(written)?;
        let parts = [
            ("Content-Type: application/json; charset=UTF-8".to_owned(), Text::from(described)),
            (format!("Content-Type: {media_type}"), content),
        ];
        Ok(self.upload("multipart", existing, keyed).multipart("related", parts).repeatable(false))
    }

    /// Begins an upload in chunks, and answers where they go.
    pub(crate) fn begin_upload(
        &self,
        existing: Option<&str>,
        keyed: &Cookie,
        written: &Written<'_>,
        media_type: &str,
        size: u64,
    ) -> Result<String> {
        // A session more that nobody uses does no harm.
        let request = self.upload("resumable", existing, keyed).repeatable(true);
        let request =
            request.header("X-Upload-Content-Type", media_type).header("X-Upload-Content-Length", size.to_string());
        let answer = self.call(request.json(written)?)?;
        let place = answer.header("location").map(str::to_owned);
        place.ok_or_else(|| Error::unavailable("Google did not say where the content goes").seen_in(&answer))
    }

    /// A chunk; the address is the credential.
    pub(crate) fn chunk(&self, place: &str, span: Span, size: u64) -> Request {
        let range = match span.size {
            0 => format!("bytes */{size}"),
            bytes => format!("bytes {}-{}/{size}", span.offset, span.offset + bytes - 1),
        };
        let request = Request::given("PUT", place).header("Content-Range", range).body(Text::content(span));
        // Only the answer tells where to go on.
        request.repeatable(false)
    }

    /// Where an upload stands: the answer is that to a chunk.
    pub(crate) fn standing(&self, place: &str, size: u64) -> Result<Answer> {
        Request::given("PUT", place).header("Content-Range", format!("bytes */{size}")).send()
    }

    pub(crate) fn give_up(&self, place: &str) -> Result<()> {
        // Whatever the answer: an upload that nobody goes on with vanishes after a week.
        Request::given("DELETE", place).send().map(|_| ())
    }

    pub(crate) fn share(&self, cookie: &Cookie) -> Result<()> {
        let request = self.files("POST", &format!("/{}/permissions", cookie.content()), Some(cookie));
        let body = r#"{"role":"reader","type":"anyone","allowFileDiscovery":false}"#;
        // There is one permission for anyone, however often it is given.
        self.call(request.header("Content-Type", "application/json").body(body).repeatable(true)).map(|_| ())
    }

    pub(crate) fn unshare(&self, cookie: &Cookie) -> Result<()> {
        let path = format!("/{}/permissions", cookie.content());
        let request = self.files("GET", &path, Some(cookie)).query("fields", "permissions(id,type)");
        for permission in self.call(request)?.json::<Permissions>()?.permissions {
            if permission.of != "anyone" {
                continue;
            }
            match self.call(self.files("DELETE", &format!("{path}/{}", permission.id), Some(cookie))) {
                Err(error) if error.kind != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    pub(crate) fn revisions(&self, cookie: &Cookie) -> Result<Vec<Revision>> {
        let (mut all, mut next) = (Vec::new(), None::<String>);
        for _ in 0..MOST_PAGES {
            let request = self
                .files("GET", &format!("/{}/revisions", cookie.content()), Some(cookie))
                .query("fields", "nextPageToken,revisions(id,mimeType,modifiedTime,md5Checksum,size)")
                .query("pageSize", "1000");
            let request = next.iter().fold(request, |request, page| request.query("pageToken", page));
            let page: Revisions = self.call(request)?.json()?;
            all.extend(page.revisions);
            next = page.next_page_token;
            if next.is_none() {
                return Ok(all);
            }
        }
        Err(Error::unavailable("Google's list of revisions does not come to an end"))
    }

    fn changes_request(&self, path: &str) -> Request {
        let request = self.ask("GET", path, None).query("supportsAllDrives", "true");
        match self.0.team_drive.is_empty() {
            true => request,
            false => request.query("driveId", &self.0.team_drive),
        }
    }

    /// The cursor of now.
    pub(crate) fn now_in_changes(&self) -> Result<String> {
        Ok(self.call(self.changes_request("changes/startPageToken"))?.json::<Start>()?.start_page_token)
    }

    pub(crate) fn changes(&self, cursor: &str) -> Result<(Vec<Changed>, Next)> {
        let fields = format!("nextPageToken,newStartPageToken,changes(fileId,removed,file({}))", self.fields());
        let mut request = self
            .changes_request("changes")
            .query("pageToken", cursor)
            .query("pageSize", "1000")
            .query("fields", &fields)
            .query("includeItemsFromAllDrives", "true");
        if self.0.in_app_folder() {
            request = request.query("spaces", "appDataFolder");
        } else if self.0.root_alias() == "root" && !self.0.shared_with_me && !self.0.starred_only {
            request = request.query("restrictToMyDrive", "true");
        }
        let news: News = self.call(request)?.json()?;
        let more = news.next_page_token.is_some();
        let cursor = news.next_page_token.or(news.new_start_page_token);
        let cursor = cursor.ok_or_else(|| Error::unavailable("Google's news have no end and no continuation"))?;
        Ok((news.changes, Next { cursor, more }))
    }

    /// What an answer means that is not the one hoped for: its first reason says it.
    pub(crate) fn refusal(&self, answer: &Answer) -> Error {
        let failure = answer.json::<Failed>().map(|told| told.error).unwrap_or_default();
        let (kind, message) = match (reason(&failure), answer.status()) {
            // Only the words tell the limit of a day from one of a moment.
            ("userRateLimitExceeded" | "rateLimitExceeded", _)
                if self.0.stop_on_upload_limit && failure.message == "User rate limit exceeded." =>
            {
                (ErrorKind::QuotaExceeded, "the account may upload no more today")
            }
            ("userRateLimitExceeded" | "rateLimitExceeded", _) => {
                (ErrorKind::RateLimited(answer.retry_after_ms()), "Google asks for fewer requests")
            }
            ("sharingRateLimitExceeded", _) => (ErrorKind::QuotaExceeded, "the account may share no more today"),
            (
                "storageQuotaExceeded"
                | "quotaExceeded"
                | "teamDriveFileLimitExceeded"
                | "numChildrenInNonRootLimitExceeded",
                _,
            ) => (ErrorKind::QuotaExceeded, "there is no room left in the drive"),
            ("dailyLimitExceeded" | "uploadLimitExceeded" | "downloadQuotaExceeded", _) => {
                (ErrorKind::QuotaExceeded, "the account may transfer no more today")
            }
            ("cannotDownloadAbusiveFile", _) => {
                (ErrorKind::Denied, "Google takes this file for malware or spam: set `acknowledge_abuse`")
            }
            ("fileNotDownloadable", _) => (ErrorKind::Unsupported, "this document has no content to download"),
            ("exportSizeLimitExceeded", _) => (ErrorKind::Unsupported, "this document is too large to be exported"),
            ("cannotCopyFile", _) => (ErrorKind::Unsupported, "Google does not copy this"),
            ("parentNotAFolder", _) => (ErrorKind::NotADirectory, "what should hold it is not a folder"),
            ("cannotAddParent", _) => (ErrorKind::Invalid, "Google does not let it lie there"),
            ("appNotAuthorizedToFile", _) => (ErrorKind::Denied, "the application may not use this file"),
            ("insufficientPermissions", _) => (ErrorKind::Denied, "the credential is not good for this: see `scope`"),
            (_, 403) => (ErrorKind::Denied, "Google denied this"),
            (_, 408) => (ErrorKind::Unavailable(None), "Google did not answer in time"),
            _ => return Error::by_status(answer),
        };
        Error::new(kind, message).seen_in(answer)
    }

    /// Whether an answer refuses a file as malware.
    pub(crate) fn is_abusive(&self, answer: &Answer) -> bool {
        answer.json::<Failed>().is_ok_and(|told| reason(&told.error) == "cannotDownloadAbusiveFile")
    }
}

fn reason(failure: &Failure) -> &str {
    failure.errors.first().map_or("", |first| &first.reason)
}

fn accepted(cookie: &Cookie) -> String {
    format!("accepted {}", cookie.content())
}
