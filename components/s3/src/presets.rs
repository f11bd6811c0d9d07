//! The stores that speak S3, and where each differs. Only data: what a difference means is said at the code that asks.

/// Bucket names go into the path; without it, into the host name.
const PATH: u8 = 1;
/// Listings by version 1.
const LIST1: u8 = 1 << 1;
/// Keys in listings cannot be url-encoded.
const PLAIN: u8 = 1 << 2;
/// That a bucket already exists may mean that it is one's own.
const OWN: u8 = 1 << 3;
/// `If-Match` and `If-None-Match` are honoured when an object is put. Only where that is documented, or was seen: AWS and Minio
/// document both, also for the completion of multipart uploads; Ceph honours both on single puts.
const CONDITIONAL: u8 = 1 << 4;
/// The owner that ListBuckets names is the account, and not the same for everyone.
const OWNER: u8 = 1 << 5;
/// Objects stored gzipped are inflated on the way unless gzip is accepted.
const GZIP: u8 = 1 << 6;
/// Keys of the store's own may encrypt an object without anyone asking, and then an ETag in a listing is no MD5 though it looks like one.
const SILENT_KMS: u8 = 1 << 7;

const PRESETS: &[(&str, u8)] = &[
    ("AWS", CONDITIONAL | OWNER | SILENT_KMS),
    ("Alibaba", 0),
    ("ArvanCloud", PATH | LIST1 | PLAIN | OWN),
    ("Ceph", PATH | LIST1 | PLAIN | OWN | CONDITIONAL | OWNER),
    ("ChinaMobile", PATH | LIST1 | PLAIN | OWN),
    ("Cloudflare", PATH),
    ("DigitalOcean", PLAIN | OWN),
    ("Dreamhost", PLAIN | OWN),
    ("GCS", GZIP),
    ("HuaweiOBS", LIST1 | PLAIN | OWN),
    ("IBMCOS", PATH | LIST1 | PLAIN | OWN),
    ("IDrive", PATH | OWN),
    ("IONOS", PATH | PLAIN | OWN),
    ("LyveCloud", OWN),
    ("Leviia", OWN),
    ("Liara", PATH | PLAIN | OWN),
    ("Linode", 0),
    ("Magalu", PATH | LIST1 | PLAIN | OWN),
    ("Minio", PATH | CONDITIONAL),
    ("Netease", LIST1 | PLAIN | OWN),
    ("Outscale", PATH),
    ("Petabox", OWN),
    ("RackCorp", OWN),
    ("Hoody-VFS", PATH | OWN),
    ("Scaleway", 0),
    ("SeaweedFS", PATH | LIST1 | PLAIN | OWN),
    ("Selectel", PLAIN),
    ("StackPath", PATH | LIST1 | PLAIN | OWN),
    ("Storj", OWN),
    ("Synology", OWN),
    ("TencentCOS", LIST1 | OWN),
    ("Wasabi", 0),
    ("Qiniu", PATH | PLAIN | OWN),
    OTHER,
];

/// What holds for a store that nobody named: the least that all of them do.
const OTHER: (&str, u8) = ("Other", PATH | LIST1 | PLAIN | OWN);

/// How one store differs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Preset {
    name: &'static str,
    flags: u8,
}

impl Preset {
    /// The preset of this name; none is named by an empty one.
    pub(crate) fn of(name: &str) -> Preset {
        let (name, flags) = PRESETS.iter().find(|(known, _)| *known == name).copied().unwrap_or(OTHER);
        Preset { name, flags }
    }

    pub(crate) fn path_style(self) -> bool {
        self.flags & PATH != 0
    }

    pub(crate) fn list_version(self) -> i64 {
        if self.flags & LIST1 == 0 { 2 } else { 1 }
    }

    pub(crate) fn url_encodes(self) -> bool {
        self.flags & PLAIN == 0
    }

    pub(crate) fn trusts_already_exists(self) -> bool {
        self.flags & OWN == 0
    }

    pub(crate) fn conditional(self) -> bool {
        self.flags & CONDITIONAL != 0
    }

    /// Whether `If-Match` must name an ETag without its quotes when an object is put. Ceph (seen in 16.2) compares the bytes, and
    /// so finds no quoted one to match; where it reads, it takes both.
    pub(crate) fn wants_bare_conditions(self) -> bool {
        self.name == "Ceph"
    }

    pub(crate) fn names_owner(self) -> bool {
        self.flags & OWNER != 0
    }

    pub(crate) fn accepts_gzip(self) -> bool {
        self.flags & GZIP != 0
    }

    pub(crate) fn encrypts_silently(self) -> bool {
        self.flags & SILENT_KMS != 0
    }

    /// The most parts that one upload may have.
    pub(crate) fn most_parts(self) -> u64 {
        if self.name == "Scaleway" { 1000 } else { 10_000 }
    }

    /// The smallest part, but for the last.
    pub(crate) fn least_part_bytes(self) -> u64 {
        if self.name == "Storj" { 64 << 20 } else { 5 << 20 }
    }
}
