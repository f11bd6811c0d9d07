//! OAuth towards a server that the test plays, cookies, and RSA: what goes out, where it may go, and what comes of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use causeway_http::oauth::{Authority, Client, Grant, Oauth, Tokens};
use causeway_http::request::{Piece, Request, SecretRef};
use causeway_http::uses::{Rsa, RsaUse, SecretUse};
use causeway_http::{CallBudget, Egress, Gate, Origin, Policy};
use causeway_storage::{ErrorKind, Secret};
use data_encoding::BASE64URL_NOPAD;
use pkcs8::EncryptedPrivateKeyInfoRef;
use serde_json::{Value, json};
use support::{Keeper, Server, egress_with, open_policy, reply, text, way};

fn oauth(server: &Server, grant: Grant) -> Oauth {
    Oauth {
        client: Client { id: "a client".into(), secret: Some(Secret::new("p&ss:word")) },
        grant,
        authorize_url: server.url("/authorize"),
        token_url: server.url("/token"),
        scopes: vec!["one".into()],
        scope_separator: " ".into(),
        parameters: vec![("state".into(), "theirs".into()), ("access_type".into(), "offline".into())],
        client_in_form: false,
        pkce: true,
    }
}

fn authority(server: &Server, oauth: Oauth) -> Authority {
    let origins = vec![Origin::of_endpoint(&server.url(""), false).unwrap()];
    Authority::new(&Gate::new(open_policy()).unwrap(), "tenant", "backend", origins, oauth).unwrap()
}

fn body(request: &support::Seen) -> String {
    String::from_utf8(request.body.clone()).unwrap()
}

async fn giving() -> Server {
    Server::start(|_| reply(200, &[], br#"{"access_token":"new","token_type":"bearer","expires_in":60}"#)).await
}

fn kept() -> Tokens {
    Tokens::from_json(br#"{"access_token":"old","refresh_token":"the refresh"}"#).unwrap()
}

#[tokio::test]
async fn a_refresh_names_the_client_as_the_provider_wants_it_and_keeps_the_refresh_token() {
    let server = giving().await;
    let renewed = authority(&server, oauth(&server, Grant::Consent)).refresh(&kept()).await.unwrap();
    assert_eq!((renewed.access, renewed.refresh), (Secret::new("new"), Some(Secret::new("the refresh"))));
    let in_form = Oauth { client_in_form: true, ..oauth(&server, Grant::Consent) };
    authority(&server, in_form).refresh(&kept()).await.unwrap();
    let [basic, form] = server.seen().try_into().unwrap();
    // Id and secret are escaped before they are joined (RFC 6749, 2.3.1).
    assert_eq!(basic.header("authorization"), Some("Basic YStjbGllbnQ6cCUyNnNzJTNBd29yZA=="));
    assert_eq!(body(&basic), "grant_type=refresh_token&refresh_token=the+refresh");
    assert_eq!(form.header("authorization"), None);
    assert!(body(&form).ends_with("&client_id=a+client&client_secret=p%26ss%3Aword"), "{}", body(&form));
}

#[tokio::test]
async fn a_sign_in_elsewhere_than_declared_is_refused_before_anything_is_sent() {
    let server = giving().await;
    let origins = || vec![Origin::of_endpoint(&server.url(""), false).unwrap()];
    let gate = Gate::new(open_policy()).unwrap();
    for wrong in [
        Oauth { token_url: "https://evil.example.com/token".into(), ..oauth(&server, Grant::Consent) },
        Oauth { authorize_url: "https://evil.example.com/a".into(), ..oauth(&server, Grant::Consent) },
        oauth(&server, Grant::Device("https://evil.example.com/device".into())),
    ] {
        let refused = Authority::new(&gate, "tenant", "backend", origins(), wrong).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Denied);
    }
    // Private addresses are as closed to it as to any request.
    let closed = Gate::new(Policy::default()).unwrap();
    let authority =
        Authority::new(&closed, "tenant", "backend", origins(), oauth(&server, Grant::ClientCredentials)).unwrap();
    assert_eq!(authority.obtain().await.unwrap_err().kind, ErrorKind::Denied);
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_redirected_token_request_is_not_followed() {
    let server = Server::start(|_| reply(307, &[("Location", "https://evil.example.com/")], b"")).await;
    let refused = authority(&server, oauth(&server, Grant::Consent)).refresh(&kept()).await.unwrap_err();
    assert!(matches!(refused.kind, ErrorKind::Unavailable(_)), "{refused:?}");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn what_the_runtime_sets_in_a_consent_cannot_be_set_by_the_provider() {
    let server = giving().await;
    let url = authority(&server, oauth(&server, Grant::Consent)).authorization_url("https://b/", "ours", "verifier");
    assert!(url.contains("&state=ours&") && !url.contains("theirs") && url.ends_with("&access_type=offline"), "{url}");
    // RFC 7636, appendix B.
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let url = authority(&server, oauth(&server, Grant::Consent)).authorization_url("https://b/", "s", verifier);
    assert!(url.contains("code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&"), "{url}");
}

/// A key, and what proves its signatures.
fn key() -> (Vec<u8>, Vec<u8>) {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    (der.as_ref().to_vec(), pair.public_key().as_ref().to_vec())
}

fn pem(tag: &str, bytes: &[u8]) -> String {
    pem::encode(&pem::Pem::new(tag, bytes)).replace("\r\n", "\n")
}

#[tokio::test]
async fn a_service_account_signs_for_itself() {
    let server = giving().await;
    let (der, public) = key();
    let document = json!({
        "client_email": "robot@example.com", "private_key_id": "k1", "private_key": pem("PRIVATE KEY", &der),
        "token_uri": "https://aud.example.com/token",
    });
    let key = Secret::new(document.to_string());
    let grant = Grant::ServiceAccount { key, subject: Some("ada@example.com".into()) };
    authority(&server, oauth(&server, grant)).obtain().await.unwrap();
    let body = body(&server.seen()[0]);
    let assertion = body.split("assertion=").nth(1).unwrap();
    assert!(body.starts_with("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&"), "{body}");
    let (message, signature) = assertion.rsplit_once('.').unwrap();
    let decoded = |part: &str| BASE64URL_NOPAD.decode(part.as_bytes()).unwrap();
    let verifier = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &public);
    verifier.verify(message.as_bytes(), &decoded(signature)).unwrap();
    let (header, claims) = message.split_once('.').unwrap();
    let parsed = |part: &str| serde_json::from_slice::<Value>(&decoded(part)).unwrap();
    assert_eq!(parsed(header), json!({"alg": "RS256", "typ": "JWT", "kid": "k1"}));
    let claims = parsed(claims);
    assert_eq!((&claims["iss"], &claims["sub"]), (&json!("robot@example.com"), &json!("ada@example.com")));
    assert_eq!((&claims["aud"], &claims["scope"]), (&json!("https://aud.example.com/token"), &json!("one")));
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 3600);
}

async fn signer(secret: &str, scheme: Rsa) -> Arc<Egress> {
    let server = giving().await;
    let uses = SecretUse { rsa: vec![RsaUse { field: None, scheme }], ..SecretUse::default() };
    egress_with(&server, Keeper::with(&[("key", secret), ("phrase", "open sesame")]), &[("key", uses)])
}

#[tokio::test]
async fn rsa_signs_as_declared_with_keys_in_every_shape() {
    let (der, public) = key();
    let sealed = {
        let mut salt = [7u8; 16];
        salt[0] = 1;
        let parameters =
            pkcs8::pkcs5::pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(2048, &salt, [3u8; 16]).unwrap();
        let plain = pkcs8::PrivateKeyInfoRef::try_from(der.as_slice()).unwrap();
        plain.encrypt_with_params(parameters, b"open sesame").unwrap()
    };
    assert!(EncryptedPrivateKeyInfoRef::try_from(sealed.as_bytes()).is_ok());
    let (plain, sealed) = (pem("PRIVATE KEY", &der), pem("ENCRYPTED PRIVATE KEY", sealed.as_bytes()));
    let (key, phrase) = (SecretRef::whole("key"), SecretRef::whole("phrase"));
    let message = [text("to be "), text("signed")];
    let pkcs1 = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &public);
    let pss = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, &public);
    let egress = signer(&plain, Rsa::Pkcs1).await;
    pkcs1.verify(b"to be signed", &egress.rsa_sign(&key, None, Rsa::Pkcs1, &message).unwrap()).unwrap();
    assert_eq!(egress.rsa_sign(&key, None, Rsa::Pss, &message).unwrap_err().kind, ErrorKind::Denied, "not declared");
    let egress = signer(&sealed, Rsa::Pss).await;
    pss.verify(b"to be signed", &egress.rsa_sign(&key, Some(&phrase), Rsa::Pss, &message).unwrap()).unwrap();
    for wrong in [None, Some(&key)] {
        let refused = egress.rsa_sign(&key, wrong, Rsa::Pss, &message).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Unauthenticated, "{refused:?}");
        assert!(!format!("{refused:?}").contains("BEGIN"), "{refused:?}");
    }
    let old = plain.replacen("-----\n", "-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n", 1);
    let old = signer(&old, Rsa::Pkcs1).await.rsa_sign(&key, None, Rsa::Pkcs1, &message).unwrap_err();
    assert_eq!(old.kind, ErrorKind::Unsupported, "{old:?}");
    let nonsense = signer("nonsense", Rsa::Pkcs1).await.rsa_sign(&key, None, Rsa::Pkcs1, &message);
    assert!(nonsense.is_err());
}

#[tokio::test]
async fn certificates_come_with_their_key_own_first() {
    let (der, _) = key();
    let made = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap().cert.der().to_vec();
    let (own, parent) = (made("own.example.com"), made("parent.example.com"));
    let bundle = [pem("CERTIFICATE", &own), pem("PRIVATE KEY", &der), pem("CERTIFICATE", &parent)].concat();
    let egress = signer(&bundle, Rsa::Pkcs1).await;
    assert_eq!(egress.certificates(&SecretRef::whole("key"), None).unwrap(), [own, parent]);
    assert_eq!(egress.certificates(&SecretRef::whole("phrase"), None).unwrap_err().kind, ErrorKind::Denied);
}

#[tokio::test]
async fn cookies_stay_with_those_who_set_them_and_out_of_sight() {
    let away = Server::start(|_| reply(200, &[("Set-Cookie", "planted=1")], b"")).await;
    let elsewhere = away.url("/away");
    let server = Server::start(move |seen| match seen.target() {
        "/go" => reply(302, &[("Location", "/here"), ("Set-Cookie", "hop=1; Path=/")], b""),
        "/leave" => reply(302, &[("Location", &elsewhere)], b""),
        _ => reply(200, &[("Set-Cookie", "last=2; Path=/")], b"fine"),
    })
    .await;
    let keeper = Arc::new(Keeper::default());
    // Both are on one address; only the ports differ, which cookies do not tell apart: the second is not declared.
    let egress = Gate::new(open_policy()).unwrap().egress(way(&[&server.url("")], keeper.clone(), &[]));
    let with_jar =
        |path: &str| Request { cookies: Some("session".into()), redirects: 1, ..Request::new("GET", server.url(path)) };
    let answer = egress.send(&with_jar("/go"), &CallBudget::new()).await.unwrap();
    assert_eq!((answer.status, answer.header("set-cookie")), (200, Some("")), "blanked");
    assert_eq!(server.seen()[1].header("cookie"), Some("hop=1"), "a redirect's cookie goes along at once");
    egress.send(&with_jar("/again"), &CallBudget::new()).await.unwrap();
    assert_eq!(server.seen()[2].header("cookie"), Some("hop=1; last=2"));
    assert!(keeper.text("session").unwrap().contains("last"), "kept in the slot");
    let refused = egress.send(&with_jar("/leave"), &CallBudget::new()).await.unwrap_err();
    assert_eq!((refused.kind, away.seen().len()), (ErrorKind::Denied, 0));
    let own = with_jar("/again").with_header("Cookie", vec![Piece::text("mine=1")]);
    assert_eq!(egress.send(&own, &CallBudget::new()).await.unwrap_err().kind, ErrorKind::Invalid);
    let other = Request { cookies: Some("undeclared".into()), ..Request::new("GET", server.url("/again")) };
    assert_eq!(egress.send(&other, &CallBudget::new()).await.unwrap_err().kind, ErrorKind::Denied);
}
