//! What the settings make of the host's part: signing in, pauses, and what is refused.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "the whole file is tests")]

use causeway_sdk::options::Value;
use causeway_sdk::prelude::*;
use causeway_sdk::testing::{self, Stand};
use drive::Drive;
use serde_json::Value as Json;

mod support;

use support::*;

fn signing_in(settings: &[(&str, Value)]) -> Oauth {
    let (traits, _) = with(settings, |_| said(Json::Null), |drive| drive.traits());
    let SigningIn::Oauth(oauth) = traits.signing_in else { panic!("the host signs in") };
    oauth
}

#[test]
fn the_host_signs_in_as_the_settings_say() {
    let usual = signing_in(&[]);
    assert!(matches!(usual.grant, OauthGrant::Consent));
    assert_eq!(usual.scopes, ["https://www.googleapis.com/auth/drive"]);
    assert_eq!(
        (usual.authorize_url.as_str(), usual.token_url.as_str()),
        ("https://accounts.google.com/o/oauth2/auth", "https://oauth2.googleapis.com/token")
    );
    assert!(usual.parameters.contains(&("access_type".into(), "offline".into())));
    let narrow =
        signing_in(&[text("scope", "drive.readonly, drive.appfolder"), text("token_url", "https://t.example/t")]);
    assert_eq!(narrow.scopes[1], "https://www.googleapis.com/auth/drive.appdata");
    assert_eq!(narrow.token_url, "https://t.example/t");
    assert!(matches!(signing_in(&[truth("client_credentials")]).grant, OauthGrant::ClientCredentials));
    let robot = signing_in(&[("service_account_credentials", Value::Secret), text("impersonate", "me@example.org")]);
    let OauthGrant::ServiceAccount(account) = robot.grant else { panic!("the account signs for itself") };
    assert_eq!(
        (account.key.name.as_str(), account.subject.as_deref()),
        ("service_account_credentials", Some("me@example.org"))
    );
}

#[test]
fn pauses_and_chunks_are_as_configured() {
    let pace = |settings: &[(&str, Value)]| {
        let (mut traits, _) = with(settings, |_| said(Json::Null), |drive| drive.traits());
        let pace = traits.paces.remove(0);
        (pace.interval_ms, pace.burst)
    };
    assert_eq!(pace(&[]), (100, 100));
    assert_eq!(pace(&[("pacer_min_sleep", Value::Milliseconds(7)), ("pacer_burst", Value::Number(3))]), (7, 3));
    assert_eq!(pace(&[("pacer_min_sleep", Value::Off)]), (0, 100));
}

#[test]
fn settings_that_cannot_be_used_are_named() {
    let wrong = |settings: &[(&str, Value)]| {
        let stand = settings.iter().fold(Stand::default(), |stand, (name, value)| stand.setting(name, value.clone()));
        let problems = testing::with(stand, || testing::open::<Drive>().err().unwrap_or_default());
        problems.into_iter().map(|problem| problem.option_name).collect::<Vec<_>>()
    };
    assert_eq!(wrong(&[truth("env_auth")]), ["env_auth"]);
    assert_eq!(wrong(&[("service_account_file", Value::Secret)]), ["service_account_file"]);
    for bytes in [262_143, 300_000] {
        assert_eq!(wrong(&[("chunk_size", Value::Bytes(bytes))]), ["chunk_size"]);
    }
    assert_eq!(wrong(&[text("export_formats", "docx,exe")]), ["export_formats"]);
    assert_eq!(wrong(&[text("impersonate", "me@example.org")]), ["impersonate"]);
    assert_eq!(wrong(&[truth("shared_with_me"), truth("starred_only")]), ["shared_with_me"]);
    assert_eq!(wrong(&[("list_chunk", Value::Number(1001))]), ["list_chunk"]);
}
