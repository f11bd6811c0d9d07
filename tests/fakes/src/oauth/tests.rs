//! What clients rely on at a token endpoint.

use super::*;

fn post(body: &str, basic: Option<&str>) -> Request {
    let headers = basic
        .map(|pair| ("Authorization".to_owned(), format!("Basic {}", data_encoding::BASE64.encode(pair.as_bytes()))));
    Request {
        method: "POST".into(),
        body: body.to_owned().into(),
        headers: headers.into_iter().collect(),
        ..Request::default()
    }
}

fn bearing(token: &str) -> Request {
    Request { headers: vec![("authorization".into(), format!("Bearer {token}"))], ..Request::default() }
}

fn json_of(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap()
}

#[test]
fn a_rotated_refresh_token_works_once_and_a_refused_client_does_not_use_it_up() {
    let (mut server, mut world) = (TokenServer::new("id", "secret", "alice", "pw"), World::default());
    server.rotate = true;
    let (_, refresh) = server.issue("alice", &mut world);
    let form = format!("grant_type=refresh_token&refresh_token={refresh}");
    assert_eq!(server.token(&post(&form, Some("id:wrong")), &mut world).status, 401);
    server.basic = false;
    assert_eq!(server.token(&post(&form, Some("id:secret")), &mut world).status, 401);
    let with_client = format!("{form}&client_id=id&client_secret=secret");
    let renewed = server.token(&post(&with_client, None), &mut world);
    assert_eq!(renewed.status, 200);
    assert_ne!(json_of(&renewed)["refresh_token"], refresh.as_str());
    assert_eq!(json_of(&server.token(&post(&with_client, None), &mut world))["error"], "invalid_grant");
}

#[test]
fn an_access_token_expires_by_the_clock_and_the_refresh_token_brings_a_new_one() {
    let (mut server, mut world) = (TokenServer::new("id", "secret", "alice", "pw"), World::default());
    let (access, refresh) = server.issue("alice", &mut world);
    assert_eq!(server.check(&bearing(&access), &world).unwrap(), "alice");
    world.advance(std::time::Duration::from_secs(3601));
    assert_eq!(server.check(&bearing(&access), &world).unwrap_err().status, 401);
    let form = format!("grant_type=refresh_token&refresh_token={refresh}");
    let reply = json_of(&server.token(&post(&form, Some("id:secret")), &mut world));
    assert!(reply.get("refresh_token").is_none());
    assert!(server.check(&bearing(reply["access_token"].as_str().unwrap()), &world).is_ok());
    server.refuse = true;
    assert_eq!(json_of(&server.token(&post(&form, Some("id:secret")), &mut world))["error"], "invalid_grant");
}

#[test]
fn a_code_works_once_and_only_with_its_verifier() {
    let (mut server, mut world) = (TokenServer::new("id", "secret", "alice", "pw"), World::default());
    let challenge = BASE64URL_NOPAD.encode(&Sha256::digest("verifier"));
    let mut code = |server: &mut TokenServer| {
        let query = format!(
            "response_type=code&client_id=id&redirect_uri=http%3A%2F%2Fback%2Fhere&state=s&code_challenge={challenge}&code_challenge_method=S256"
        );
        let sent = server.authorize(&Request { query, ..Request::default() }, &mut world);
        let location = sent.header("location").unwrap().to_owned();
        assert!(location.starts_with("http://back/here?code=") && location.ends_with("&state=s"));
        location.split(['=', '&']).nth(1).unwrap().to_owned()
    };
    let (first, second) = (code(&mut server), code(&mut server));
    let form = |code: &str, verifier: &str| {
        let text = format!(
            "grant_type=authorization_code&code={code}&redirect_uri=http%3A%2F%2Fback%2Fhere&code_verifier={verifier}"
        );
        post(&text, Some("id:secret"))
    };
    assert_eq!(server.token(&form(&first, "wrong"), &mut world).status, 400);
    assert_eq!(server.token(&form(&first, "verifier"), &mut world).status, 400);
    assert!(json_of(&server.token(&form(&second, "verifier"), &mut world))["refresh_token"].is_string());
}

#[test]
fn an_assertion_counts_only_with_the_right_key_and_in_time() {
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
    let (mut server, mut world) = (TokenServer::new("id", "secret", "alice", "pw"), World::default());
    let (known, other) = (KeyPair::generate(KeySize::Rsa2048).unwrap(), KeyPair::generate(KeySize::Rsa2048).unwrap());
    server.signers.insert("robot".into(), (known.public_key().as_ref().to_vec(), "robot".into()));
    let now = world.now().as_second();
    let form = |key: &KeyPair| {
        let encoded = |value: Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let claims = json!({"iss": "robot", "exp": now + 60});
        let signed = format!("{}.{}", encoded(json!({"alg": "RS256", "typ": "JWT"})), encoded(claims));
        let mut signature = vec![0; key.public_modulus_len()];
        let random = aws_lc_rs::rand::SystemRandom::new();
        key.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).unwrap();
        let grant = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";
        post(&format!("grant_type={grant}&assertion={signed}.{}", BASE64URL_NOPAD.encode(&signature)), None)
    };
    assert_eq!(server.token(&form(&known), &mut world).status, 200);
    assert_eq!(server.token(&form(&other), &mut world).status, 400);
    world.advance(std::time::Duration::from_secs(61));
    assert_eq!(server.token(&form(&known), &mut world).status, 400);
}

#[test]
fn a_device_waits_for_approval() {
    let (mut server, mut world) = (TokenServer::new("id", "secret", "alice", "pw"), World::default());
    let begun = json_of(&server.device(&post("client_id=id", None), &mut world));
    let grant = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code";
    let form = format!("grant_type={grant}&device_code={}", begun["device_code"].as_str().unwrap());
    assert_eq!(json_of(&server.token(&post(&form, Some("id:secret")), &mut world))["error"], "authorization_pending");
    let body = json!({"user_code": begun["user_code"], "account": "alice"});
    server.control("oauth-approve", &body, &mut world).unwrap();
    assert_eq!(server.token(&post(&form, Some("id:secret")), &mut world).status, 200);
}
