//! Answers that several paths share, and how rows of the registry become them. The order of fields is that of the pages.

use causeway_registry::Backend;
use causeway_storage::{Descriptor, Make, OptionKind, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

/// Something was done.
#[derive(Serialize, ToSchema)]
pub(crate) struct Done {
    /// Always true.
    success: bool,
    /// For a person.
    message: String,
}

impl Done {
    pub(crate) fn new(message: impl Into<String>) -> Done {
        Done { success: true, message: message.into() }
    }
}

/// Something was made.
#[derive(Serialize, ToSchema)]
pub(crate) struct Made<T> {
    /// Always true.
    pub(crate) success: bool,
    /// For a person.
    pub(crate) message: String,
    /// What was made.
    pub(crate) data: T,
}

/// The storages of the object page.
const OBJECT_STORAGES: [&str; 15] = [
    "azureblob",
    "azurefiles",
    "b2",
    "cloudinary",
    "google-cloud-storage",
    "imagekit",
    "internetarchive",
    "netstorage",
    "oracleobjectstorage",
    "qingstor",
    "s3",
    "sia",
    "storj",
    "swift",
    "tardigrade",
];

/// The family that a connect answer calls `type`.
pub(crate) fn family(descriptor: &Descriptor) -> &str {
    match descriptor.make {
        Make::Native | Make::Wrapper => &descriptor.name,
        Make::Guest if OBJECT_STORAGES.contains(&descriptor.name.as_str()) => "object_storage",
        Make::Guest => "backend",
    }
}

/// What a connect answer says.
pub(crate) fn connected_message(descriptor: &Descriptor) -> String {
    match family(descriptor) {
        "backend" => format!("{} backend connected successfully", descriptor.title),
        _ => "Backend connected successfully".into(),
    }
}

/// `s3:aws`: the provider's type and the flavour that was chosen.
pub(crate) fn server(descriptor: &Descriptor, backend: &Backend) -> String {
    let preset = |name: &str| matches!(descriptor.option(name).map(|option| &option.kind), Some(OptionKind::Choice(_)));
    let flavour = backend
        .settings
        .text("provider")
        .or_else(|| backend.settings.text("region").filter(|_| preset("region")))
        .map_or("generic".into(), str::to_lowercase);
    format!("{}:{flavour}", descriptor.backend_type())
}

/// The user's name at the provider, where one was given; never a key's id.
pub(crate) fn user(backend: &Backend) -> &str {
    let names = ["user", "username", "account", "apple_id"];
    names.iter().find_map(|name| backend.settings.text(name)).unwrap_or("")
}

/// ISO 8601 in whole seconds, UTC.
pub(crate) fn iso(time: Timestamp) -> String {
    jiff::Timestamp::from_second(time.seconds).map(|time| time.to_string()).unwrap_or_default()
}
