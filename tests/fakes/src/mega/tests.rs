//! Requests as a client sends them, and what the server makes of them.
use serde_json::{Value, json};

use super::Mega;
use super::account::Kind;
use super::crypto::{FileKey, decode, ecb_encrypt, encode, open_attributes, seal_attributes};
use super::keys::{Credentials, version_1, version_2};
use crate::{Fake, Reply, Request, Response, World};

struct Stage {
    mega: Mega,
    world: World,
    sid: String,
    next: u32,
}

impl Stage {
    /// Signed in to the first account.
    fn new() -> Stage {
        let mut stage = Stage { mega: Mega::default(), world: World::default(), sid: String::new(), next: 1 };
        let proof = stage.mega.accounts[0].proof().to_owned();
        let answer = stage.command(&json!({ "a": "us", "user": "alice@example.com", "uh": proof }));
        assert!(answer["csid"].is_string() && answer["privk"].is_string(), "{answer}");
        stage.sid = stage.mega.accounts[0].sessions.first().unwrap().clone();
        stage
    }

    fn raw(&mut self, request: &Request) -> Response {
        match self.mega.answer(request, &mut self.world) {
            Reply::Now(response) => response,
            Reply::Wait => Response::text(0, "waiting"),
        }
    }

    fn post(&mut self, id: u32, headers: &[(&str, &str)], body: &Value) -> Response {
        let sid = if self.sid.is_empty() { String::new() } else { format!("&sid={}", self.sid) };
        let address = format!("https://g.api.mega.co.nz/cs?id={id}{sid}");
        self.raw(&request("POST", &address, headers, body.to_string().as_bytes()))
    }

    fn commands(&mut self, commands: &Value) -> Value {
        self.next += 1;
        json_of(&self.post(self.next, &[], commands))
    }

    fn command(&mut self, command: &Value) -> Value {
        let answer = self.commands(&json!([command]));
        answer.get(0).cloned().unwrap_or(answer)
    }

    fn control(&mut self, verb: &str, body: Value) -> Value {
        let answer = self.mega.control(verb, &body, &mut self.world);
        assert!(answer.get("error").is_none() && !answer.is_null(), "{verb}: {answer}");
        answer
    }

    fn root(&self) -> String {
        self.mega.accounts[0].root(Kind::Root)
    }

    /// Asks for an address and sends chunks; the last answer.
    fn upload(&mut self, size: usize, chunks: &[(u64, &[u8])]) -> Response {
        let address = self.command(&json!({ "a": "u", "s": size }))["p"].as_str().unwrap().to_owned();
        let answers: Vec<_> = chunks
            .iter()
            .map(|(at, chunk)| self.raw(&request("POST", &format!("{address}/{at}"), &[], chunk)))
            .collect();
        answers.last().unwrap().clone()
    }

    fn feed(&mut self, sn: &str) -> Value {
        let address = format!("https://g.api.mega.co.nz/sc?sn={sn}&sid={}", self.sid);
        json_of(&self.raw(&request("POST", &address, &[], b"")))
    }
}

fn request(method: &str, address: &str, headers: &[(&str, &str)], body: &[u8]) -> Request {
    let (scheme, rest) = address.split_once("://").unwrap();
    let (host, target) = rest.split_at(rest.find('/').unwrap());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Request {
        method: method.into(),
        https: scheme == "https",
        host: host.into(),
        authority: host.into(),
        path: path.into(),
        query: query.into(),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        body: body.to_vec().into(),
        ..Request::default()
    }
}

fn json_of(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap_or_default()
}

#[test]
fn signing_in_wants_the_proof_of_the_accounts_version_and_the_second_factor() {
    let mut stage = Stage { mega: Mega::default(), world: World::default(), sid: String::new(), next: 1 };
    let login = |stage: &mut Stage, user: &str, Credentials { proof, .. }: Credentials, code: Value| {
        stage.command(&json!({ "a": "us", "user": user, "uh": proof, "mfa": code }))
    };
    let salt = |stage: &mut Stage, user: &str| {
        let answer = stage.command(&json!({ "a": "us0", "user": user }));
        assert_eq!(answer["v"], 2);
        decode(answer["s"].as_str().unwrap()).unwrap()
    };
    let alice = salt(&mut stage, "alice@example.com");
    assert_eq!(login(&mut stage, "alice@example.com", version_2("wrong", &alice), Value::Null), json!(-9));
    assert!(login(&mut stage, "alice@example.com", version_2("hunter2", &alice), Value::Null)["k"].is_string());
    assert_eq!(stage.command(&json!({ "a": "us0", "user": "old@example.com" })), json!({ "v": 1 }));
    let old = |password| version_1(password, "old@example.com");
    assert_eq!(login(&mut stage, "old@example.com", old("hunter2"), Value::Null), json!(-9));
    assert!(login(&mut stage, "old@example.com", old("hunter2-long-password"), Value::Null)["k"].is_string());
    let careful = salt(&mut stage, "careful@example.com");
    let right = || version_2("pässword with blanks ", &careful);
    assert_eq!(login(&mut stage, "careful@example.com", right(), Value::Null), json!(-26));
    assert_eq!(login(&mut stage, "careful@example.com", right(), json!("000000")), json!(-26));
    assert!(login(&mut stage, "careful@example.com", right(), json!("123456"))["k"].is_string());
}

#[test]
fn an_account_without_keys_is_told_its_session_in_the_clear() {
    let mut stage = Stage::new();
    stage.control("keyless", json!({ "on": true }));
    let (proof, master) = (stage.mega.accounts[0].proof().to_owned(), stage.mega.accounts[0].master);
    let answer = stage.command(&json!({ "a": "us", "user": "alice@example.com", "uh": proof }));
    assert!(answer.get("csid").is_none() && answer.get("privk").is_none());
    stage.sid = answer["tsid"].as_str().unwrap().to_owned();
    let session = decode(&stage.sid).unwrap();
    assert_eq!(ecb_encrypt(&master, &session[..16]), session[27..43]);
    assert_eq!(stage.command(&json!({ "a": "ug" }))["email"], "alice@example.com");
}

#[test]
fn a_request_without_a_session_or_of_another_shape_is_refused_as_a_whole() {
    let mut stage = Stage::new();
    assert_eq!(stage.commands(&json!({ "a": "ug" })), json!(-2));
    let sid = std::mem::take(&mut stage.sid);
    assert_eq!(stage.commands(&json!([{ "a": "ug" }])), json!(-15));
    stage.sid = "wrong".into();
    assert_eq!(stage.commands(&json!([{ "a": "ug" }])), json!(-15));
    stage.sid = sid;
    assert_eq!(stage.commands(&json!([{ "a": "ug" }, { "a": "unheard of" }]))[1], json!(-2));
    assert_eq!(stage.command(&json!({ "a": "sml" })), json!(0));
    assert_eq!(stage.commands(&json!([{ "a": "ug" }])), json!(-15));
}

#[test]
fn a_repeated_id_is_answered_the_same_and_done_once() {
    let mut stage = Stage::new();
    let key = [9; 16];
    let node = json!({ "h": "xxxxxxxx", "t": 1, "k": encode(&key), "a": seal_attributes(&key, &json!({ "n": "d" })) });
    let body = json!([{ "a": "p", "t": stage.root(), "n": [node] }]);
    let before = stage.mega.accounts[0].nodes.len();
    let first = stage.post(500, &[], &body);
    assert_eq!(stage.post(500, &[], &body), first);
    assert_eq!(stage.mega.accounts[0].nodes.len(), before + 1);
    assert_ne!(stage.post(501, &[], &body), first);
    assert_eq!(stage.mega.accounts[0].nodes.len(), before + 2);
}

#[test]
fn an_injected_failure_is_not_remembered() {
    let mut stage = Stage::new();
    stage.control("fail", json!({ "times": 1 }));
    let body = json!([{ "a": "uq", "xfer": 1, "strg": 1 }]);
    assert_eq!(json_of(&stage.post(600, &[], &body)), json!(-3));
    assert!(json_of(&stage.post(600, &[], &body))[0]["mstrg"].is_u64());
    stage.control("fail", json!({ "times": 1, "command": "uq" }));
    assert_eq!(json_of(&stage.post(601, &[], &body)), json!([-3]));
    assert!(json_of(&stage.post(601, &[], &body))[0]["mstrg"].is_u64());
}

#[test]
fn an_upload_comes_in_whole_chunks_and_its_token_makes_one_node() {
    let mut stage = Stage::new();
    let plain: Vec<u8> = (0..500_000_u32).map(|at| (at % 253) as u8).collect();
    let file = FileKey::of([3; 16], [4; 8], &plain);
    let sealed = file.cipher(&plain);
    let [first, second, third] = [&sealed[..131_072], &sealed[131_072..393_216], &sealed[393_216..]];
    assert_eq!(stage.upload(sealed.len(), &[(0, &sealed[..100_000])]).body, "-7");
    assert_eq!(stage.upload(sealed.len(), &[(16, &sealed[16..131_072])]).body, "-7");
    assert_eq!(stage.upload(sealed.len() - 1, &[(0, &sealed)]).body, "-7");
    let missing = stage.upload(sealed.len(), &[(393_216, third), (0, first)]);
    assert_eq!((missing.status, missing.body.len()), (200, 0));
    let done = stage.upload(sealed.len(), &[(393_216, third), (0, first), (131_072, second)]);
    let token = String::from_utf8(done.body.to_vec()).unwrap();
    assert_eq!(token.len(), 36);
    let master = stage.mega.accounts[0].master;
    let node =
        |key: &str| json!({ "h": token, "t": 0, "a": seal_attributes(&file.key, &json!({ "n": "new" })), "k": key });
    let key = encode(&ecb_encrypt(&master, &file.pack()));
    let command = |key: &str, root: &str| json!({ "a": "p", "t": root, "n": [node(key)], "i": "abcdefghij" });
    let root = stage.root();
    assert_eq!(stage.command(&command(&key[..22], &root)), json!(-2));
    let made = stage.command(&command(&key, &root));
    assert_eq!(made["f"][0]["s"], 500_000);
    assert_eq!(stage.command(&command(&key, &root)), json!(-8));
    let tree = stage.control("tree", json!({}));
    let found = tree["nodes"].as_array().unwrap().iter().find(|node| node["path"] == "new").unwrap();
    assert_eq!((&found["mac_fits"], &found["size"]), (&json!(true), &json!(500_000)));
}

#[test]
fn a_digest_of_a_chunk_is_checked_and_changes_the_token() {
    let mut stage = Stage::new();
    let sealed = [5_u8; 30];
    let address = stage.command(&json!({ "a": "u", "s": 30, "ssl": 2 }))["p"].as_str().unwrap().to_owned();
    assert!(address.starts_with("https://"));
    let wrong = stage.raw(&request("POST", &format!("{address}/0?d={}", encode(&[1; 12])), &[], &sealed));
    assert_eq!(wrong.body, "-14");
    let fold: Vec<u8> = (0..12).map(|slot| if slot < 6 { 5 } else { 0 }).collect();
    let done = stage.raw(&request("POST", &format!("{address}/0?d={}", encode(&fold)), &[], &sealed));
    assert_eq!((done.status, done.body.len()), (200, 36));
    assert!(stage.mega.uploaded(&encode(&done.body), 0).is_some());
    let empty = stage.upload(0, &[(0, b"")]);
    assert_eq!(empty.body.len(), 36);
}

#[test]
fn a_download_takes_its_range_from_the_path_until_its_address_expires() {
    let mut stage = Stage::new();
    let handle = stage.control("create", json!({ "path": "a", "text": "0123456789" }))["h"].clone();
    let command = json!({ "a": "g", "g": 1, "n": handle });
    let address = stage.command(&command)["g"].as_str().unwrap().to_owned();
    assert!(address.starts_with("http://"));
    let node = stage.mega.accounts[0].nodes[handle.as_str().unwrap()].clone();
    let part = stage.raw(&request("GET", &format!("{address}/2-4"), &[("range", "bytes=0-0")], b""));
    assert_eq!((part.status, &part.body[..]), (200, &node.content[2..5]));
    assert_eq!(stage.raw(&request("GET", &address, &[], b"")).body, node.content);
    stage.control("expire-urls", json!({}));
    assert_eq!(stage.raw(&request("GET", &address, &[], b"")).status, 403);
    let again = stage.command(&command)["g"].as_str().unwrap().to_owned();
    stage.control("transfer-quota", json!({ "seconds": 60 }));
    let refused = stage.raw(&request("GET", &again, &[], b""));
    assert!(refused.status == 509 && refused.header("x-mega-time-left").is_some());
    assert_eq!(stage.command(&command)["e"], -17);
    stage.world.advance(std::time::Duration::from_secs(61));
    assert_eq!(stage.raw(&request("GET", &again, &[], b"")).status, 200);
}

#[test]
fn the_tree_holds_what_clients_must_cope_with() {
    let mut stage = Stage::new();
    let tree = stage.command(&json!({ "a": "f", "c": 1, "r": 1 }));
    let nodes = tree["f"].as_array().unwrap();
    let at = |handle: &Value| nodes.iter().position(|node| node["h"] == *handle);
    let child_first = |node: &&Value| node["p"] != "" && at(&node["h"]) < at(&node["p"]);
    assert_eq!(nodes.iter().filter(child_first).count(), nodes.iter().filter(|node| node["p"] != "").count());
    let version = |node: &&Value| at(&node["p"]).is_some_and(|parent| nodes[parent]["t"] == 0);
    assert_eq!(nodes.iter().filter(version).count(), 1);
    let foreign =
        |node: &&Value| node["t"] == 0 && !node["k"].as_str().unwrap().starts_with(node["u"].as_str().unwrap());
    assert_eq!(nodes.iter().filter(foreign).count(), 1);
    let kinds: Vec<_> = nodes.iter().filter_map(|node| node["t"].as_u64()).filter(|kind| *kind > 1).collect();
    assert_eq!(kinds.len(), 3);
}

#[test]
fn the_feed_waits_and_then_tells_what_others_did() {
    let mut stage = Stage::new();
    let sn = stage.command(&json!({ "a": "f", "c": 1 }))["sn"].as_str().unwrap().to_owned();
    let wait = stage.feed(&sn)["w"].as_str().unwrap().to_owned();
    assert_eq!(stage.raw(&request("GET", &wait, &[], b"")).status, 0);
    let last = Request { last_call: true, ..request("GET", &wait, &[], b"") };
    assert_eq!(stage.raw(&last).status, 200);
    let handle = stage.control("create", json!({ "path": "a", "text": "x" }))["h"].clone();
    stage.control("mkdir", json!({ "path": "d" }));
    stage.control("rename", json!({ "path": "a", "name": "b" }));
    stage.control("move", json!({ "path": "b", "to": "d" }));
    stage.control("remove", json!({ "path": "d/b" }));
    assert_eq!(stage.raw(&request("GET", &wait, &[], b"")).status, 200);
    let told = stage.feed(&sn);
    let events: Vec<_> =
        told["a"].as_array().unwrap().iter().map(|event| (event["a"].as_str().unwrap(), event["m"] == 1)).collect();
    assert_eq!(events, [("t", false), ("t", false), ("u", false), ("d", true), ("t", false), ("d", false)]);
    assert_eq!(told["a"][0]["t"]["f"][0]["h"], handle);
    let account = &stage.mega.accounts[0];
    assert!(!account.nodes.contains_key(handle.as_str().unwrap()));
    assert!(stage.feed(told["sn"].as_str().unwrap())["w"].is_string());
    stage.world.page_size = Some(4);
    let page = stage.feed(&sn);
    assert_eq!((page["a"].as_array().unwrap().len(), &page["ir"]), (4, &json!(1)));
    stage.control("lose-feed", json!({}));
    assert_eq!(stage.feed(&sn), json!(-6));
    stage.control("revoke-sessions", json!({}));
    assert_eq!(stage.feed(&sn), json!(-15));
}

#[test]
fn renaming_and_moving_keep_to_what_can_be() {
    let mut stage = Stage::new();
    let outer = stage.control("mkdir", json!({ "path": "outer" }))["h"].clone();
    let inner = stage.control("mkdir", json!({ "path": "outer/inner" }))["h"].clone();
    let file = stage.control("create", json!({ "path": "a", "text": "x" }))["h"].clone();
    assert_eq!(stage.command(&json!({ "a": "m", "n": outer, "t": inner })), json!(-10));
    assert_eq!(stage.command(&json!({ "a": "m", "n": outer, "t": file })), json!(-2));
    assert_eq!(stage.command(&json!({ "a": "m", "n": stage.root(), "t": outer })), json!(-11));
    assert_eq!(stage.command(&json!({ "a": "m", "n": file, "t": inner })), json!(0));
    assert_eq!(stage.command(&json!({ "a": "a", "n": file, "at": "abc" })), json!(-2));
    let account = &stage.mega.accounts[0];
    let key = account.attribute_key(&account.nodes[file.as_str().unwrap()]).unwrap();
    let sealed = seal_attributes(&key, &json!({ "n": "b" }));
    let wrong_key = json!({ "a": "a", "n": file, "attr": sealed, "key": encode(&[1; 32]) });
    assert_eq!(stage.command(&wrong_key), json!(-2));
    assert_eq!(stage.command(&json!({ "a": "a", "n": file, "at": sealed })), json!(0));
    let node = &stage.mega.accounts[0].nodes[file.as_str().unwrap()];
    assert_eq!(open_attributes(&key, &node.attributes), Some(json!({ "n": "b" })));
    assert_eq!(stage.command(&json!({ "a": "d", "n": outer })), json!(0));
    assert_eq!(stage.command(&json!({ "a": "g", "g": 1, "n": file })), json!(-9));
}

#[test]
fn a_folder_is_shared_before_it_has_a_link() {
    let mut stage = Stage::new();
    let file = stage.control("create", json!({ "path": "a", "text": "hello" }))["h"].clone();
    let link = stage.command(&json!({ "a": "l", "n": file }));
    let sid = std::mem::take(&mut stage.sid);
    assert_eq!(stage.command(&json!({ "a": "g", "g": 1, "p": link }))["s"], 5);
    stage.sid = sid;
    assert_eq!(stage.command(&json!({ "a": "l", "n": file, "d": 1 })), json!(0));
    let folder = stage.control("mkdir", json!({ "path": "d" }))["h"].clone();
    let within = stage.control("create", json!({ "path": "d/x", "text": "x" }))["h"].clone();
    assert_eq!(stage.command(&json!({ "a": "l", "n": folder })), json!(-11));
    let key = encode(&[1; 16]);
    let share = |nodes: Value| json!({ "a": "s2", "n": folder, "s": [{ "u": "EXP", "r": 0 }], "ok": key, "ha": key, "cr": [[folder], nodes, []] });
    assert_eq!(stage.command(&share(json!([folder]))), json!(-2));
    assert_eq!(stage.command(&share(json!([folder, within]))), json!({ "r": [0] }));
    assert_eq!(stage.command(&json!({ "a": "l", "n": folder })).as_str().unwrap().len(), 8);
}

#[test]
fn a_new_version_takes_the_place_of_the_old_one() {
    let mut stage = Stage::new();
    let old = stage.control("create", json!({ "path": "a", "text": "old" }))["h"].clone();
    let new = stage.control("version", json!({ "path": "a", "text": "new" }))["h"].clone();
    let parent = |stage: &Stage, handle: &Value| stage.mega.accounts[0].nodes[handle.as_str().unwrap()].parent.clone();
    assert_eq!(parent(&stage, &old), new.as_str().unwrap());
    assert_eq!(parent(&stage, &new), stage.root());
    assert_eq!(stage.command(&json!({ "a": "d", "n": new, "v": 1 })), json!(0));
    assert_eq!(parent(&stage, &old), stage.root());
}

#[test]
fn a_challenge_stands_until_it_is_solved_once() {
    let mut stage = Stage::new();
    stage.control("hashcash", json!({}));
    let body = json!([{ "a": "ug" }]);
    let posed = stage.post(700, &[], &body);
    let header = posed.header("x-hashcash").unwrap().to_owned();
    assert_eq!((posed.status, posed.body.len()), (402, 0));
    let token = header.rsplit(':').next().unwrap();
    let solve = |nonce: u32| format!("1:{token}:{}", encode(&nonce.to_be_bytes()));
    let solved = (0..64).find(|nonce| stage.post(700, &[("x-hashcash", &solve(*nonce))], &body).status == 200);
    assert!(solved.is_some());
    assert_eq!(stage.post(701, &[], &body).status, 200);
}
