//! What can be set for Google Drive: every option of its table, in the order in which users see it, and what does not go together.
//!
//! What an option is meant to do and does not do is listed in `options-without-effect.txt`; such a field is read by nobody, and the
//! compiler says so when that changes.

use causeway_sdk::prelude::*;

/// What ids, scopes and settings call the folder of the application's own data.
const APP_FOLDER: &str = "appDataFolder";
/// Scopes are given by what follows this.
const SCOPE: &str = "https://www.googleapis.com/auth/";
/// Chunks of an upload are multiples of it.
const ALIGNMENT: u64 = 256 << 10;

/// The settings of one backend.
#[derive(Debug, Options)]
pub struct Settings {
    /// Download files that Google calls malware or spam.
    #[option(advanced)]
    pub(crate) acknowledge_abuse: bool,
    /// Convert a file on upload even where the document will be shown with another extension than it came with.
    #[option(advanced)]
    pub(crate) allow_import_name_change: bool,
    /// Export documents by other URLs.
    #[option(advanced)]
    #[expect(dead_code)]
    alternate_export: bool,
    /// Show only what the account itself owns.
    #[option(advanced)]
    pub(crate) auth_owner_only: bool,
    /// Where people consent, instead of Google's own page.
    #[option(advanced, endpoint)]
    pub(crate) auth_url: String,
    /// The size of the chunks of an upload: a power of 2, at least 256 KiB.
    #[option(advanced, default = 8_388_608)]
    pub(crate) chunk_size: Size,
    /// Sign in as the client itself.
    #[option(advanced, credential)]
    pub(crate) client_credentials: bool,
    /// The id of an OAuth client of one's own.
    #[option(credential)]
    #[expect(dead_code, reason = "the host uses it")]
    client_id: String,
    /// The secret of the OAuth client.
    #[option(credential)]
    #[expect(dead_code, reason = "the host uses it")]
    client_secret: Secret,
    /// Copy what a shortcut leads to, instead of the shortcut.
    #[option(advanced)]
    pub(crate) copy_shortcut_content: bool,
    /// Description of the remote.
    #[expect(dead_code)]
    description: String,
    /// Speak HTTP/1.1 only.
    #[option(advanced, default = true)]
    pub(crate) disable_http2: bool,
    /// How names are encoded.
    #[option(advanced, encoding, default = "16777216")]
    #[expect(dead_code, reason = "the host applies it")]
    encoding: String,
    /// Get the credential from the machine.
    #[option(advanced, machine, credential)]
    pub(crate) env_auth: bool,
    /// Extensions that documents are exported with, the preferred one first.
    #[option(advanced, default = "docx,xlsx,pptx,svg")]
    pub(crate) export_formats: String,
    /// Ask again where a listing of many directories at once comes back empty.
    #[option(advanced, default = true)]
    #[expect(dead_code)]
    fast_list_bug_fix: bool,
    /// The old name of `export_formats`.
    #[option(advanced)]
    pub(crate) formats: String,
    /// The user on whose behalf a service account acts.
    #[option(advanced, identity)]
    pub(crate) impersonate: String,
    /// Extensions of files that become documents when they are uploaded.
    #[option(advanced)]
    pub(crate) import_formats: String,
    /// Keep every revision of a file for ever.
    #[option(advanced)]
    pub(crate) keep_revision_forever: bool,
    /// How many entries one page of a listing may have; 0 leaves it to Google.
    #[option(advanced, default = 1000)]
    pub(crate) list_chunk: i64,
    /// Whether labels are read and written as metadata.
    #[option(advanced, default = "0")]
    #[expect(dead_code)]
    metadata_labels: String,
    /// Whether owners are read and written as metadata.
    #[option(advanced, default = "1")]
    #[expect(dead_code)]
    metadata_owner: String,
    /// Whether permissions are read and written as metadata.
    #[option(advanced, default = "0")]
    #[expect(dead_code)]
    metadata_permissions: String,
    /// How many requests may go out without a pause.
    #[option(advanced, default = 100)]
    pub(crate) pacer_burst: i64,
    /// The pause between two requests after that: 0 stands for Google's usual 100 ms.
    #[option(advanced, default = 0)]
    pub(crate) pacer_min_sleep: Duration,
    /// The resource key of the root folder, where it is shared by a link.
    #[option(advanced)]
    pub(crate) resource_key: String,
    /// The id of the folder to begin in.
    #[option(advanced, identity)]
    pub(crate) root_folder_id: String,
    /// What the credential is to be good for: drive, drive.readonly, drive.file, drive.appfolder, drive.metadata.readonly.
    #[option(identity)]
    pub(crate) scope: String,
    /// Copy at the provider between two backends.
    #[option(advanced)]
    #[expect(dead_code)]
    server_side_across_configs: bool,
    /// The JSON document of a service account.
    #[option(credential)]
    pub(crate) service_account_credentials: Secret,
    /// A file with the JSON document of a service account.
    #[option(credential, secret_file)]
    pub(crate) service_account_file: Secret,
    /// Show what others shared with the account.
    #[option(advanced, identity)]
    pub(crate) shared_with_me: bool,
    /// Show documents that cannot be exported, too.
    #[option(advanced)]
    pub(crate) show_all_gdocs: bool,
    /// List files with the room that they take instead of their size.
    #[option(advanced)]
    pub(crate) size_as_quota: bool,
    /// Show no digests of photos and videos, which can be wrong.
    #[option(advanced)]
    pub(crate) skip_checksum_gphotos: bool,
    /// Do not show shortcuts whose target is gone.
    #[option(advanced)]
    pub(crate) skip_dangling_shortcuts: bool,
    /// Do not show documents.
    #[option(advanced)]
    pub(crate) skip_gdocs: bool,
    /// Do not show shortcuts.
    #[option(advanced)]
    pub(crate) skip_shortcuts: bool,
    /// Show what is starred.
    #[option(advanced, identity)]
    pub(crate) starred_only: bool,
    /// Give up when the account may download no more today.
    #[option(advanced)]
    #[expect(dead_code)]
    stop_on_download_limit: bool,
    /// Give up when the account may upload no more today.
    #[option(advanced)]
    pub(crate) stop_on_upload_limit: bool,
    /// The id of a shared drive.
    #[option(advanced, identity)]
    pub(crate) team_drive: String,
    /// A token that another program obtained, as JSON.
    #[option(advanced, credential)]
    #[expect(dead_code, reason = "the host uses it")]
    token: Secret,
    /// Where tokens are obtained, instead of Google's own server.
    #[option(advanced, endpoint)]
    pub(crate) token_url: String,
    /// Show what is in the trash.
    #[option(advanced, identity)]
    pub(crate) trashed_only: bool,
    /// Files of this size and more are uploaded in chunks.
    #[option(advanced, default = 8_388_608)]
    pub(crate) upload_cutoff: Size,
    /// Show when files were created instead of when they were changed.
    #[option(advanced)]
    pub(crate) use_created_date: bool,
    /// Show when files were shared instead of when they were changed.
    #[option(advanced)]
    pub(crate) use_shared_date: bool,
    /// Remove to the trash.
    #[option(advanced, default = true)]
    pub(crate) use_trash: bool,
    /// Read files of this size and more by version 2 of the API; -1 never.
    #[option(advanced, default = "-1")]
    pub(crate) v2_download_min_size: Size,
}

impl Settings {
    /// What cannot be used.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut must = |holds: bool, option: &str, message: &str| {
            if !holds {
                problems.push(Problem::new(option, message));
            }
        };
        must(!self.env_auth, "env_auth", "is not supported: give a service account's document");
        let chunk = self.chunk_size.0.unwrap_or(0);
        must(chunk >= ALIGNMENT && chunk.is_power_of_two(), "chunk_size", "must be a power of 2, 256 KiB at least");
        must((0..=1000).contains(&self.list_chunk), "list_chunk", "must be 0 to 1000");
        must(self.pacer_burst >= 0, "pacer_burst", "must not be negative");
        let (exports, imports): (Vec<_>, Vec<_>) = (self.exports().collect(), self.imports().collect());
        for (option, formats) in [("export_formats", exports), ("import_formats", imports)] {
            for format in formats.into_iter().filter(|format| crate::formats::media_type(format).is_none()) {
                must(false, option, &format!("names `{format}`, which is no format of documents"));
            }
        }
        must(
            !self.service_account_file.is_given(),
            "service_account_file",
            "is not supported: give the document itself",
        );
        let robot = self.service_account_credentials.is_given();
        must(robot || self.impersonate.is_empty(), "impersonate", "needs a service account");
        must(!(robot && self.client_credentials), "client_credentials", "and a service account exclude each other");
        let roots = [
            !self.root_folder_id.is_empty() || !self.team_drive.is_empty(),
            self.shared_with_me,
            self.starred_only,
            self.in_app_folder(),
        ];
        let roots = roots.into_iter().filter(|root| *root).count();
        must(roots < 2, "shared_with_me", "`starred_only`, an application's folder and a root exclude each other");
        problems
    }

    /// Extensions that documents are exported with.
    pub(crate) fn exports(&self) -> impl Iterator<Item = &str> {
        list(if self.formats.is_empty() { &self.export_formats } else { &self.formats })
    }

    /// Extensions that become documents.
    pub(crate) fn imports(&self) -> impl Iterator<Item = &str> {
        list(&self.import_formats)
    }

    /// Where everything begins, as far as the settings tell.
    pub(crate) fn root_alias(&self) -> &str {
        match () {
            () if !self.root_folder_id.is_empty() => &self.root_folder_id,
            () if !self.team_drive.is_empty() => &self.team_drive,
            () if self.in_app_folder() => APP_FOLDER,
            () => "root",
        }
    }

    /// Only the application's own folder can be seen.
    pub(crate) fn in_app_folder(&self) -> bool {
        self.root_folder_id == APP_FOLDER
            || list(&self.scope).any(|scope| matches!(scope, "drive.appfolder" | "drive.appdata"))
    }

    fn scopes(&self) -> Vec<String> {
        let given: Vec<&str> = list(&self.scope).collect();
        let given = if given.is_empty() { vec!["drive"] } else { given };
        // The API calls it by another name than the option.
        let own = |scope: &str| if scope == "drive.appfolder" { "drive.appdata".to_owned() } else { scope.to_owned() };
        given.into_iter().map(|scope| format!("{SCOPE}{}", own(scope))).collect()
    }

    /// How a token is obtained: by consent, as the client, or as a service account.
    pub(crate) fn signing_in(&self) -> SigningIn {
        let or = |given: &str, usual: &str| if given.is_empty() { usual.to_owned() } else { given.to_owned() };
        let grant = match self.service_account_credentials.if_given() {
            Some(key) => OauthGrant::ServiceAccount(ServiceAccount {
                key: key.into(),
                subject: Some(self.impersonate.clone()).filter(|subject| !subject.is_empty()),
            }),
            None if self.client_credentials => OauthGrant::ClientCredentials,
            None => OauthGrant::Consent,
        };
        let parameter = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        SigningIn::Oauth(Oauth {
            grant,
            scopes: self.scopes(),
            parameters: vec![parameter("access_type", "offline"), parameter("prompt", "consent")],
            client_in_form: true,
            ..Oauth::new(
                or(&self.auth_url, "https://accounts.google.com/o/oauth2/auth"),
                or(&self.token_url, "https://oauth2.googleapis.com/token"),
            )
        })
    }

    /// The time between two requests.
    pub(crate) fn interval_ms(&self) -> u32 {
        match self.pacer_min_sleep.0 {
            Some(0) => 100,
            sleep => u32::try_from(sleep.unwrap_or(0)).unwrap_or(u32::MAX),
        }
    }
}

/// What is between the commas.
fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(|one| one.trim().trim_start_matches('.')).filter(|one| !one.is_empty())
}
