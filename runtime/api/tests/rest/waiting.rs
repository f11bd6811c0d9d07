//! Changes that wait for the provider, and what went otherwise than was asked for.

use causeway_api::{Event, GivenUp, PendingChange, Progress, What};
use serde_json::json;

use crate::stage::Stage;

fn change(number: u64, progress: Progress) -> PendingChange {
    PendingChange {
        number,
        what: What::Write,
        path: format!("d/f{number}"),
        to: None,
        bytes: Some(3),
        since: 100,
        progress,
    }
}

#[tokio::test]
async fn every_state_of_a_change_says_what_it_waits_for() {
    let stage = Stage::new().await;
    let backend = stage.memory().await;
    let pending = format!("/api/v1/backends/{backend}/pending");
    stage.get(&pending).await.is(200, json!({"count": 0, "changes": [], "node": "node-1"}));
    let rename = PendingChange {
        what: What::Rename,
        to: Some("g".into()),
        bytes: None,
        ..change(5, Progress::Blocked { blocked_by: 4 })
    };
    stage.doors.seen.lock().unwrap().changes = vec![
        change(1, Progress::Uploading),
        change(2, Progress::Retrying { retry_at: 130, error: "nobody answers".into() }),
        change(3, Progress::Failed { failed_at: 110, error: "not allowed".into() }),
        change(4, Progress::Waiting),
        rename,
    ];
    let write = |number: u64, state: &str| json!({"number": number, "what": "write", "path": format!("d/f{number}"), "bytes": 3, "since": 100, "state": state});
    let mut expected = vec![write(1, "uploading"), write(2, "retrying"), write(3, "failed"), write(4, "waiting")];
    expected[1]["retry_at"] = json!(130);
    expected[1]["error"] = json!("nobody answers");
    expected[2]["failed_at"] = json!(110);
    expected[2]["error"] = json!("not allowed");
    expected.push(json!({"number": 5, "what": "rename", "path": "d/f5", "to": "g", "since": 100, "state": "blocked", "blocked_by": 4}));
    stage.get(&pending).await.is(200, json!({"count": 5, "changes": expected, "node": "node-1"}));
    let page = stage.get(&format!("{pending}?limit=2")).await.json();
    assert_eq!((&page["count"], &page["next"]), (&json!(2), &json!(2)));
    let page = stage.get(&format!("{pending}?limit=3&after=2")).await.json();
    assert_eq!((&page["count"], &page["changes"][0]["number"], page.get("next")), (&json!(3), &json!(3), None));
}

#[tokio::test]
async fn a_page_that_cannot_be_is_refused_with_all_that_is_wrong() {
    let stage = Stage::new().await;
    let backend = stage.memory().await;
    for limit in ["0", "1001", "-1", "x", "", "99999999999999999999"] {
        let answer = stage.get(&format!("/api/v1/backends/{backend}/pending?limit={limit}&after=-2")).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (400, &json!("INVALID_SETTINGS")), "{limit}");
        assert!(answer.text.contains(r#""limit":"#) && answer.text.contains(r#""after":"#), "{}", answer.text);
    }
    for limit in ["1", "1000"] {
        let path = format!("/api/v1/backends/{backend}/pending?limit={limit}&after=18446744073709551615");
        assert_eq!(stage.get(&path).await.status.as_u16(), 200);
    }
}

#[tokio::test]
async fn one_change_or_all_are_tried_again() {
    let stage = Stage::new().await;
    let backend = stage.memory().await;
    let pending = format!("/api/v1/backends/{backend}/pending");
    stage.doors.seen.lock().unwrap().changes = vec![change(7, Progress::Waiting)];
    let answer = stage.post(&format!("{pending}/7/retry"), json!({})).await;
    answer.is(200, json!({"success": true, "message": "The change is tried again"}));
    let answer = stage.post(&format!("{pending}/retry"), json!({})).await;
    answer.is(200, json!({"success": true, "message": "Pending changes are tried again"}));
    assert_eq!(stage.doors.seen.lock().unwrap().retried, [Some(7), None]);
}

#[tokio::test]
async fn a_number_that_names_no_change_is_not_found() {
    let stage = Stage::new().await;
    let backend = stage.memory().await;
    for number in ["8", "x", "-1", "99999999999999999999", "%00"] {
        let change = format!("/api/v1/backends/{backend}/pending/{number}");
        stage.delete(&change).await.fails(404, "CHANGE_NOT_FOUND", "Pending change not found");
        let answer = stage.post(&format!("{change}/retry"), json!({})).await;
        answer.fails(404, "CHANGE_NOT_FOUND", "Pending change not found");
    }
}

#[tokio::test]
async fn a_change_that_is_given_up_says_where_its_content_lies_or_why_it_stays() {
    let stage = Stage::new().await;
    let backend = stage.memory().await;
    let path = format!("/api/v1/backends/{backend}/pending/7");
    let set = |outcome| stage.doors.seen.lock().unwrap().given_up = Some(outcome);
    set(GivenUp::Gone(Some("lost+found/f".into())));
    let message = "The change was given up; what was written lies in lost+found/f";
    stage.delete(&path).await.is(200, json!({"success": true, "message": message, "lost_and_found": "lost+found/f"}));
    set(GivenUp::Gone(None));
    stage.delete(&path).await.is(200, json!({"success": true, "message": "The change was given up"}));
    set(GivenUp::UnderWay);
    stage.delete(&path).await.fails(409, "CHANGE_UNDER_WAY", "The change is being carried out");
    set(GivenUp::Open);
    let message = "A file that the change is about is open; close it first";
    stage.delete(&path).await.fails(409, "FILE_OPEN", message);
    set(GivenUp::NeededBy(vec![8, 9]));
    let message = "Later changes depend on this one; give them up first: 8, 9";
    stage.delete(&path).await.fails(409, "CHANGE_NEEDED", message);
}

#[tokio::test]
async fn what_went_otherwise_than_asked_for_is_told() {
    let stage = Stage::new().await;
    let backend = stage.memory().await;
    let path = format!("/api/v1/backends/{backend}/events");
    stage.get(&path).await.is(200, json!({"count": 0, "events": []}));
    let event = Event { at: 100, path: "d/f".into(), message: "the file was not removed".into() };
    stage.doors.seen.lock().unwrap().events = vec![event];
    let event = json!({"at": 100, "path": "d/f", "message": "the file was not removed"});
    stage.get(&path).await.is(200, json!({"count": 1, "events": [event]}));
}
