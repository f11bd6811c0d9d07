//! What can be set for S3: every option of its table, in the order in which users see it.
//!
//! What an option is meant to do and does not do yet is listed in `options-without-effect.txt`; such a field is read by nobody, and the
//! compiler says so when that changes.

use causeway_sdk::prelude::*;

/// The settings of one backend.
#[derive(Debug, Options)]
pub struct Settings {
    /// AWS Access Key ID.
    #[option(credential)]
    pub(crate) access_key_id: String,
    /// Canned ACL for new objects.
    #[option(
        advanced,
        choices(
            "default",
            "private",
            "public-read",
            "public-read-write",
            "authenticated-read",
            "bucket-owner-read",
            "bucket-owner-full-control"
        )
    )]
    pub(crate) acl: String,
    /// Canned ACL for new buckets; that for objects where this is empty.
    #[option(advanced, choices("private", "public-read", "public-read-write", "authenticated-read"))]
    pub(crate) bucket_acl: String,
    /// The size of the parts of a multipart upload, at least 5 MiB; it grows where a file would have too many.
    #[option(advanced, default = 5_242_880)]
    pub(crate) chunk_size: Size,
    /// The size from which an object is copied in parts, which are of this size.
    #[option(advanced, default = 4_999_610_368)]
    #[expect(dead_code)]
    copy_cutoff: Size,
    /// Decompress gzip-encoded objects on download.
    #[option(advanced)]
    #[expect(dead_code)]
    decompress: bool,
    /// Description of the remote.
    #[expect(dead_code)]
    description: String,
    /// Use AWS directory buckets.
    #[option(advanced)]
    #[expect(dead_code)]
    directory_bucket: bool,
    /// Keep empty directories as marker objects, whose keys end with a slash.
    #[option(advanced)]
    pub(crate) directory_markers: bool,
    /// Do not store the MD5 of files that are uploaded in parts.
    #[option(advanced)]
    pub(crate) disable_checksum: bool,
    /// Disable HTTP/2.
    #[option(advanced)]
    #[expect(dead_code)]
    disable_http2: bool,
    /// Custom endpoint for downloads.
    #[option(advanced, endpoint)]
    #[expect(dead_code)]
    download_url: String,
    /// How names are encoded.
    #[option(advanced, encoding, default = "50331650")]
    #[expect(dead_code, reason = "the host applies it")]
    encoding: String,
    /// S3 API endpoint, such as `s3.us-east-1.amazonaws.com`.
    #[option(required, identity, endpoint_and_below)]
    pub(crate) endpoint: String,
    /// Get AWS credentials from the machine, where no keys are given.
    #[option(machine, credential)]
    #[expect(dead_code)]
    env_auth: bool,
    /// Use path-style addresses; stores that want the bucket in the host name get it there all the same.
    #[option(advanced, default = true)]
    pub(crate) force_path_style: bool,
    /// Leave uploaded parts after a failure.
    #[option(advanced)]
    pub(crate) leave_parts_on_error: bool,
    /// How many keys one page of a listing may have.
    #[option(advanced, default = 1000)]
    pub(crate) list_chunk: i64,
    /// Whether keys in listings are url-encoded; the store's usual way where left open.
    #[option(advanced)]
    pub(crate) list_url_encode: Option<bool>,
    /// Version of ListObjects: 1, 2, or 0 for the store's usual one.
    #[option(advanced, default = 0)]
    pub(crate) list_version: i64,
    /// Where new buckets are made; must match the region.
    pub(crate) location_constraint: String,
    /// The most parts that one upload may have.
    #[option(advanced, default = 10_000)]
    pub(crate) max_upload_parts: i64,
    /// Deprecated: there is no such pool.
    #[option(advanced, default = 60)]
    #[expect(dead_code)]
    memory_pool_flush_time: Duration,
    /// Deprecated: there is no such pool.
    #[option(advanced)]
    #[expect(dead_code)]
    memory_pool_use_mmap: bool,
    /// Whether the store may gzip objects on its own.
    #[option(advanced)]
    #[expect(dead_code)]
    might_gzip: Option<bool>,
    /// Do not check or make the bucket.
    #[option(advanced)]
    #[expect(dead_code)]
    no_check_bucket: bool,
    /// Do not verify uploads by a further request.
    #[option(advanced)]
    #[expect(dead_code)]
    no_head: bool,
    /// Do not ask for an object's headers before reading it.
    #[option(advanced)]
    #[expect(dead_code)]
    no_head_object: bool,
    /// Neither set nor read system metadata.
    #[option(advanced)]
    #[expect(dead_code)]
    no_system_metadata: bool,
    /// Profile in the machine's shared credentials file.
    #[option(advanced, machine, credential)]
    #[expect(dead_code)]
    profile: String,
    /// The kind of store.
    #[option(choices(
        "AWS",
        "Alibaba",
        "ArvanCloud",
        "Ceph",
        "ChinaMobile",
        "Cloudflare",
        "DigitalOcean",
        "Dreamhost",
        "GCS",
        "HuaweiOBS",
        "IBMCOS",
        "IDrive",
        "IONOS",
        "LyveCloud",
        "Leviia",
        "Liara",
        "Linode",
        "Magalu",
        "Minio",
        "Netease",
        "Outscale",
        "Petabox",
        "RackCorp",
        "Hoody-VFS",
        "Scaleway",
        "SeaweedFS",
        "Selectel",
        "StackPath",
        "Storj",
        "Synology",
        "TencentCOS",
        "Wasabi",
        "Qiniu",
        "Other"
    ))]
    pub(crate) provider: String,
    /// Region to sign for; `other-v2-signature` for stores that know only version 2 signatures.
    pub(crate) region: String,
    /// Pay for requests to buckets of others.
    #[option(advanced)]
    pub(crate) requester_pays: bool,
    /// What an SDK would log.
    #[option(advanced, default = "0")]
    #[expect(dead_code)]
    sdk_log_mode: String,
    /// AWS Secret Access Key.
    #[option(credential, hmac(sha256, "AWS4", 4), hmac(sha1, "", 0))]
    pub(crate) secret_access_key: Secret,
    /// How the store encrypts new objects.
    #[option(advanced, choices("AES256", "aws:kms"))]
    pub(crate) server_side_encryption: String,
    /// AWS session token, which belongs to temporary keys.
    #[option(advanced, credential, header("x-amz-security-token"))]
    pub(crate) session_token: Secret,
    /// The machine's shared credentials file.
    #[option(advanced, machine, credential)]
    #[expect(dead_code)]
    shared_credentials_file: String,
    /// How the store encrypts with a key that the customer holds.
    #[option(advanced, choices("AES256"))]
    pub(crate) sse_customer_algorithm: String,
    /// That key, as it is.
    #[option(
        advanced,
        header("x-amz-server-side-encryption-customer-key", base64),
        header("x-amz-copy-source-server-side-encryption-customer-key", base64),
        header("x-amz-server-side-encryption-customer-key-MD5", base64, md5),
        header("x-amz-copy-source-server-side-encryption-customer-key-MD5", base64, md5)
    )]
    pub(crate) sse_customer_key: Secret,
    /// That key in base64.
    #[option(
        advanced,
        header("x-amz-server-side-encryption-customer-key"),
        header("x-amz-copy-source-server-side-encryption-customer-key"),
        header("x-amz-server-side-encryption-customer-key-MD5", base64, md5, from_base64),
        header("x-amz-copy-source-server-side-encryption-customer-key-MD5", base64, md5, from_base64)
    )]
    pub(crate) sse_customer_key_base64: Secret,
    /// The MD5 of that key in base64; made from the key where empty.
    #[option(advanced)]
    pub(crate) sse_customer_key_md5: String,
    /// The ARN of the KMS key.
    #[option(advanced)]
    pub(crate) sse_kms_key_id: String,
    /// Storage class of new objects, such as `STANDARD` or `GLACIER`.
    #[option(advanced)]
    pub(crate) storage_class: String,
    /// Deprecated: an STS endpoint; must be empty.
    #[option(advanced)]
    pub(crate) sts_endpoint: String,
    /// How many parts of one file are uploaded at once.
    #[option(advanced, default = 4)]
    pub(crate) upload_concurrency: i64,
    /// The size from which files are uploaded in parts, at most 5 GiB.
    #[option(advanced, default = 209_715_200)]
    pub(crate) upload_cutoff: Size,
    /// Use AWS Transfer Acceleration.
    #[option(advanced)]
    #[expect(dead_code)]
    use_accelerate_endpoint: bool,
    /// Whether to accept gzip when reading; the store's usual way where left open.
    #[option(advanced)]
    pub(crate) use_accept_encoding_gzip: Option<bool>,
    /// Whether `BucketAlreadyExists` says that the bucket is somebody else's; the store's usual way where left open.
    #[option(advanced)]
    pub(crate) use_already_exists: Option<bool>,
    /// Use the dual-stack endpoint.
    #[option(advanced)]
    #[expect(dead_code)]
    use_dual_stack: bool,
    /// Whether to verify the ETag of files uploaded in parts.
    #[option(advanced)]
    #[expect(dead_code)]
    use_multipart_etag: Option<bool>,
    /// Whether to upload in parts at all.
    #[option(advanced)]
    pub(crate) use_multipart_uploads: Option<bool>,
    /// Upload small files by presigned URLs.
    #[option(advanced)]
    #[expect(dead_code)]
    use_presigned_request: bool,
    /// Whether uploads go unsigned; over https unless said otherwise.
    #[option(advanced)]
    pub(crate) use_unsigned_payload: Option<bool>,
    /// Sign by version 2.
    #[option(advanced)]
    pub(crate) v2_auth: bool,
    /// Show files as they were at this time.
    #[option(advanced, default = "0001-01-01T00:00:00Z")]
    #[expect(dead_code)]
    version_at: String,
    /// Show deleted files among old versions.
    #[option(advanced)]
    #[expect(dead_code)]
    version_deleted: bool,
    /// Show old versions in listings.
    #[option(advanced)]
    #[expect(dead_code)]
    versions: bool,
}
