//! How content is read, and what refusals mean.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "the whole file is tests")]

use causeway_sdk::options::Value;
use causeway_sdk::prelude::*;
use causeway_sdk::testing::{self, Sent, Stand};
use serde_json::{Value as Json, json};

mod support;

use support::*;

fn read(settings: &[(&str, Value)], node: Node, item: Json) -> (Plan, Vec<Sent>) {
    with(
        settings,
        move |_| said(item.clone()),
        move |drive| drive.read(&node, node.version.as_ref().map(|_| 4), None).unwrap(),
    )
}

fn rendered(plan: Plan) -> Sent {
    testing::with(Stand::default().secret("access-token", "AT"), || testing::rendered_plan(plan)).unwrap().unwrap()
}

#[test]
fn a_document_is_read_whole_where_its_item_says() {
    let (plan, _) = read(&[], node("Plan.docx", "1", None), document("1", "Plan"));
    let rendered =
        testing::with(Stand::default().secret("access-token", "AT"), || testing::rendered_plan(plan.clone()))
            .unwrap()
            .unwrap();
    assert_eq!(rendered.url, "https://docs.google.com/export?f=docx&id=1");
    assert_eq!(rendered.header("authorization"), Some("Bearer AT"));
    let (link, _) = read(&[text("export_formats", "url")], node("Plan.url", "1", None), document("1", "Plan"));
    let Plan::Literal(bytes) = link else { panic!("a link needs no request") };
    assert_eq!(bytes, b"[InternetShortcut]\r\nURL=https://docs.google.com/d/1?a=1&b=2\r\n");
}

#[test]
fn a_file_is_read_by_its_revision_where_google_lets_it() {
    let url = |version: &str| {
        let (plan, asked) = read(&[], node("a", "1a", Some(version)), Json::Null);
        assert!(asked.is_empty());
        rendered(plan).url
    };
    let by_revision = url(&format!("r1/{MD5}"));
    assert_eq!(
        by_revision,
        "https://www.googleapis.com/drive/v3/files/1a/revisions/r1?supportsAllDrives=true&alt=media"
    );
    let by_id = url(&format!("/{MD5}"));
    assert_eq!(by_id, "https://www.googleapis.com/drive/v3/files/1a?supportsAllDrives=true&alt=media");
}

#[test]
fn large_files_are_read_by_version_2_where_that_is_wanted() {
    let said = json!({"downloadUrl": "https://www.googleapis.com/drive/v2/files/1a?alt=media&source=downloadUrl"});
    let wanted = [("v2_download_min_size", Value::Bytes(4))];
    let (plan, asked) = read(&wanted, node("a", "1a", Some("r1/0")), said.clone());
    assert_eq!(path(&asked[0]), "/drive/v2/files/1a");
    assert_eq!(rendered(plan).url, "https://www.googleapis.com/drive/v2/files/1a?alt=media&source=downloadUrl");
    let (_, asked) = read(&[("v2_download_min_size", Value::Bytes(5))], node("a", "1a", Some("r1/0")), said);
    assert!(asked.is_empty());
}

#[test]
fn malware_is_read_only_by_who_accepts_it() {
    let malware =
        testing::answer(403, &[], br#"{"error":{"message":"","errors":[{"reason":"cannotDownloadAbusiveFile"}]}}"#);
    let bad = node("a", "1a", Some("r1/0"));
    let (verdict, _) = with(&[], |_| said(Json::Null), |drive| drive.explain(&bad, &malware));
    assert!(matches!(verdict, Verdict::Failed(error) if error.kind == ErrorKind::Denied));
    let ((first, plan, second), _) = with(
        &[truth("acknowledge_abuse")],
        |_| said(Json::Null),
        |drive| {
            (drive.explain(&bad, &malware), drive.read(&bad, Some(4), None).unwrap(), drive.explain(&bad, &malware))
        },
    );
    assert!(matches!(first, Verdict::Replan));
    assert!(rendered(plan).url.ends_with("&acknowledgeAbuse=true"));
    assert!(matches!(second, Verdict::Failed(_)), "it is accepted once");
}

#[test]
fn reasons_say_what_went_wrong() {
    let kind = |settings: &[(&str, Value)], status: u16, reason: &str, message: &str| {
        let body = json!({"error": {"code": status, "message": message, "errors": [{"reason": reason}]}}).to_string();
        with(settings, |_| said(Json::Null), |drive| drive.meaning(&testing::answer(status, &[], body.as_bytes())).kind)
            .0
    };
    let usual = |status, reason| kind(&[], status, reason, "No.");
    for (status, reason, wanted) in [
        (404, "notFound", ErrorKind::NotFound),
        (401, "authError", ErrorKind::Unauthenticated),
        (403, "insufficientFilePermissions", ErrorKind::Denied),
        (403, "appNotAuthorizedToFile", ErrorKind::Denied),
        (403, "fileNotDownloadable", ErrorKind::Unsupported),
        (403, "userRateLimitExceeded", ErrorKind::RateLimited(None)),
        (429, "rateLimitExceeded", ErrorKind::RateLimited(None)),
        (403, "storageQuotaExceeded", ErrorKind::QuotaExceeded),
        (403, "dailyLimitExceeded", ErrorKind::QuotaExceeded),
        (403, "downloadQuotaExceeded", ErrorKind::QuotaExceeded),
        (400, "invalid", ErrorKind::Invalid),
        (400, "parentNotAFolder", ErrorKind::NotADirectory),
        (409, "fileIdInUse", ErrorKind::AlreadyExists),
        (412, "conditionNotMet", ErrorKind::PreconditionFailed),
        (500, "backendError", ErrorKind::Unavailable(None)),
    ] {
        assert_eq!(usual(status, reason), wanted, "{status} {reason}");
    }
    let day = "User rate limit exceeded.";
    assert_eq!(kind(&[], 403, "userRateLimitExceeded", day), ErrorKind::RateLimited(None));
    assert_eq!(kind(&[truth("stop_on_upload_limit")], 403, "userRateLimitExceeded", day), ErrorKind::QuotaExceeded);
}
