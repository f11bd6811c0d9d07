//! Formats that documents come in: what an extension stands for, and the small files that lead to a document in a browser.

/// Extensions and their media types; of two types with one extension the first is what is meant.
const FORMATS: &[(&str, &str)] = &[
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    ("doc", "application/msword"),
    ("xls", "application/vnd.ms-excel"),
    ("ppt", "application/vnd.ms-powerpoint"),
    ("odt", "application/vnd.oasis.opendocument.text"),
    ("ods", "application/vnd.oasis.opendocument.spreadsheet"),
    ("ods", "application/x-vnd.oasis.opendocument.spreadsheet"),
    ("odp", "application/vnd.oasis.opendocument.presentation"),
    ("pdf", "application/pdf"),
    ("rtf", "application/rtf"),
    ("txt", "text/plain"),
    ("md", "text/markdown"),
    ("html", "text/html"),
    ("zip", "application/zip"),
    ("epub", "application/epub+zip"),
    ("csv", "text/csv"),
    ("tsv", "text/tab-separated-values"),
    ("svg", "image/svg+xml"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("bmp", "image/bmp"),
    ("gif", "image/gif"),
    ("json", "application/vnd.google-apps.script+json"),
    ("url", "application/x-mswinurl"),
    ("desktop", "application/x-desktop"),
    ("link.html", "text/x-link-html"),
    ("webloc", "application/x-webloc"),
];

/// What files of an extension become when they are imported.
const IMPORTS: &[(&[&str], &str)] = &[
    (&["docx", "doc", "odt", "rtf", "txt", "md", "html"], "application/vnd.google-apps.document"),
    (&["xlsx", "xls", "ods", "csv", "tsv"], "application/vnd.google-apps.spreadsheet"),
    (&["pptx", "ppt", "odp"], "application/vnd.google-apps.presentation"),
];

/// The type that an extension stands for.
pub(crate) fn media_type(extension: &str) -> Option<&'static str> {
    FORMATS.iter().find(|(known, _)| *known == extension).map(|(_, kind)| *kind)
}

/// Whether this type is what the extension stands for, by any of its names.
pub(crate) fn is_of(extension: &str, media_type: &str) -> bool {
    FORMATS.contains(&(extension, media_type))
}

/// Whether a document in this format is nothing but a link to it, which is written here.
pub(crate) fn is_link(extension: &str) -> bool {
    matches!(extension, "url" | "desktop" | "link.html" | "webloc")
}

/// What a file of this extension becomes when it is imported.
pub(crate) fn document_of(extension: &str) -> Option<&'static str> {
    IMPORTS.iter().find(|(extensions, _)| extensions.contains(&extension)).map(|(_, kind)| *kind)
}

/// A file that leads to this address.
pub(crate) fn link(extension: &str, name: &str, url: &str) -> String {
    let xml = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    // A line break in a name would begin a line of its own.
    let line = name.replace(['\r', '\n'], " ");
    match extension {
        "url" => format!("[InternetShortcut]\r\nURL={url}\r\n"),
        "desktop" => {
            format!("[Desktop Entry]\nEncoding=UTF-8\nName={line}\nURL={url}\nIcon=text-html\nType=Link\n")
        }
        "link.html" => format!(
            "<html>\n<head>\n<meta http-equiv=\"refresh\" content=\"0; url={0}\" />\n<title>{1}</title>\n</head>\n<body>\nLoading <a href=\"{0}\">{1}</a>\n</body>\n</html>\n",
            xml(url),
            xml(name)
        ),
        _ => format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<plist version=\"1.0\">\n<dict>\n<key>URL</key>\n<string>{}</string>\n</dict>\n</plist>\n",
            xml(url)
        ),
    }
}
