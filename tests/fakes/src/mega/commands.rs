//! `/cs`: arrays of commands, answered by arrays. A request id that was answered before is answered the same again, and nothing is
//! done twice. Here are the commands about accounts; those about nodes are in `nodes`.
use serde_json::{Value, json};

use super::account::{Account, Kind, Node};
use super::crypto::{decode, encode, encrypt_block, padded};
use super::feed::number;
use super::{AGAIN, BLOCKED, Code, Mega, NO_SESSION, NOT_FOUND, SECOND_FACTOR, WRONG_ARGUMENTS};
use crate::{Request, Response, World};

/// What a command answers: a value, or an error's number.
pub(super) type Done = Result<Value, Code>;

const SESSION_BYTES: usize = 43;
const SESSION_PADDING_BYTES: usize = 211;

/// One command.
#[derive(Debug, Clone, Copy)]
pub(super) struct Command<'a>(pub(super) &'a Value);

impl<'a> Command<'a> {
    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).and_then(Value::as_str)
    }

    pub(super) fn need(&self, name: &str) -> Result<&'a str, Code> {
        self.text(name).ok_or(WRONG_ARGUMENTS)
    }

    pub(super) fn number(&self, name: &str) -> Option<i64> {
        self.0.get(name).and_then(Value::as_i64)
    }

    pub(super) fn list(&self, name: &str) -> &'a [Value] {
        self.0.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }
}

impl Mega {
    pub(super) fn commands(&mut self, request: &Request, world: &mut World) -> Response {
        if let Some(challenge) = self.challenge.take_if(|challenge| !challenge.is_solved(request)) {
            let posed = challenge.pose();
            self.challenge = Some(challenge);
            return posed;
        }
        self.challenge = None;
        if let Some(code) = self.tricks.fail() {
            return number(code);
        }
        let Some(id) = request.param("id").filter(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()))
        else {
            return number(WRONG_ARGUMENTS);
        };
        let key = (request.param("sid").unwrap_or_default(), id);
        if let Some(answer) = self.answers.get(&key) {
            return Response::json(200, answer);
        }
        let Some(Value::Array(commands)) = request.json() else { return number(WRONG_ARGUMENTS) };
        let session = self.session(request);
        let open = |command: &Value| match Command(command).text("a") {
            Some("us0" | "us") => true,
            Some("g") => Command(command).text("p").is_some(),
            _ => false,
        };
        // A session that is named must be one, also where none is needed.
        if session.is_none() && (request.param("sid").is_some() || !commands.iter().all(open)) {
            return number(NO_SESSION);
        }
        let answers: Vec<Value> =
            commands.iter().map(|command| self.command(Command(command), session, request, world)).collect();
        let answer = if answers.is_empty() { json!(WRONG_ARGUMENTS) } else { Value::Array(answers) };
        if answer != json!([AGAIN]) {
            self.answers.insert(key, answer.clone());
        }
        Response::json(200, &answer)
    }

    fn command(&mut self, command: Command<'_>, session: Option<usize>, request: &Request, world: &mut World) -> Value {
        if let Some(code) = self.tricks.fail_command(command.text("a").unwrap_or_default()) {
            return json!(code);
        }
        let done = match (command.text("a"), session) {
            (Some("us0"), _) => self.prelogin(command),
            (Some("us"), _) => self.login(command, world),
            (Some("g"), _) => self.get(command, session, world),
            (Some(verb), Some(index)) => self.command_of(verb, command, index, request, world),
            _ => Err(WRONG_ARGUMENTS),
        };
        done.unwrap_or_else(|code| json!(code))
    }

    fn command_of(
        &mut self,
        verb: &str,
        command: Command<'_>,
        index: usize,
        request: &Request,
        world: &mut World,
    ) -> Done {
        if verb == "u" {
            return self.put(command, index, world);
        }
        if verb == "p" {
            return self.put_nodes(command, index, world);
        }
        let pair = self.pair.clone();
        let account = self.accounts.get_mut(index).ok_or(NO_SESSION)?;
        match verb {
            "sml" => {
                account.sessions.remove(&request.param("sid").unwrap_or_default());
                Ok(json!(0))
            }
            "ug" => Ok(json!({
                "u": account.user, "email": account.email, "name": "Fake", "k": account.wrapped_master(), "pubk": pair.public(),
                "privk": account.private_key(&pair), "s": 1, "c": 1, "ts": encode(&world.now().as_second().to_be_bytes()),
            })),
            "f" => account.tree(),
            "uq" => Ok(account.quota()),
            "m" => account.relocate(command),
            "a" => account.set_attributes(command, world),
            "d" => account.delete(command),
            "l" => account.link(command, world),
            "s2" => account.share(command),
            _ => Err(WRONG_ARGUMENTS),
        }
    }

    fn prelogin(&self, command: Command<'_>) -> Done {
        let email = command.need("user")?;
        // Whether an address is known is not told.
        let account = self.accounts.iter().find(|account| account.email == email);
        Ok(
            match account
                .map_or((2, encode(&padded(email.as_bytes()))), |account| (account.version, encode(&account.salt)))
            {
                (1, _) => json!({ "v": 1 }),
                (version, salt) => json!({ "v": version, "s": salt }),
            },
        )
    }

    fn login(&mut self, command: Command<'_>, world: &mut World) -> Done {
        if let Some(code) = self.tricks.refuse_login() {
            return Err(code);
        }
        let (email, proof) = (command.need("user")?, command.need("uh")?);
        if command.text("sek").is_some_and(|key| decode(key).is_none_or(|key| key.len() != 16)) {
            return Err(WRONG_ARGUMENTS);
        }
        let account = self.accounts.iter_mut().find(|account| account.email == email).ok_or(NOT_FOUND)?;
        if account.proof() != proof.trim_end_matches('=') {
            return Err(NOT_FOUND);
        }
        if account.second_factor.is_some() && account.second_factor.as_deref() != command.text("mfa") {
            return Err(SECOND_FACTOR);
        }
        if self.tricks.blocked {
            return Err(BLOCKED);
        }
        if self.tricks.keyless {
            return Ok(keyless(account, world));
        }
        let session = session(account, self.tricks.zero_session, world);
        account.sessions.insert(encode(&session));
        let mut answer = json!({
            "k": account.wrapped_master(), "u": account.user, "privk": account.private_key(&self.pair), "ach": 1,
            "csid": self.pair.encrypt_session(&session, &world.bytes(SESSION_PADDING_BYTES)),
        });
        if let (Some(key), Some(object)) = (command.text("sek"), answer.as_object_mut()) {
            object.insert("sek".into(), json!(key));
        }
        Ok(answer)
    }
}

/// The answer of an account without RSA keys: its session ends with its own beginning, encrypted.
fn keyless(account: &mut Account, world: &mut World) -> Value {
    let (beginning, middle) = (padded(&world.bytes(16)), world.bytes(11));
    let session = [beginning.as_slice(), &middle, &encrypt_block(&account.master, &beginning)].concat();
    account.sessions.insert(encode(&session));
    json!({ "k": account.wrapped_master(), "u": account.user, "tsid": encode(&session) })
}

/// A new session id: random bytes around the user's handle.
fn session(account: &Account, zero: bool, world: &mut World) -> Vec<u8> {
    let mut session = world.bytes(16);
    if let (true, Some(first)) = (zero, session.first_mut()) {
        *first = 0;
    }
    session.extend(account.user.bytes());
    session.extend(world.bytes(SESSION_BYTES.saturating_sub(session.len())));
    session
}

impl Account {
    /// `f`: every node, children before their parents, since clients may rely on no order.
    fn tree(&self) -> Done {
        let mut nodes: Vec<_> = self.nodes.values().map(|node| (self.depth(&node.handle), node)).collect();
        nodes.sort_by_key(|(depth, node)| (std::cmp::Reverse(*depth), node.handle.clone()));
        let links: Vec<Value> = self
            .nodes
            .values()
            .filter_map(|node| Some(json!({ "h": node.handle, "ph": node.link.as_ref()?, "ts": node.time })))
            .collect();
        let shares = self
            .shares
            .iter()
            .map(|(handle, share)| json!({ "h": handle, "ha": share.get("ha"), "k": share.get("ok") }));
        Ok(json!({
            "f": nodes.into_iter().map(|(_, node)| self.show(node)).collect::<Vec<_>>(), "ok": shares.collect::<Vec<_>>(),
            "ph": links, "s": [], "u": [{ "u": self.user, "c": 2, "m": self.email }], "sn": self.sequence(),
        }))
    }

    fn depth(&self, handle: &str) -> usize {
        let mut at = self.nodes.get(handle);
        let mut depth = 0;
        while let Some(node) = at.filter(|_| depth <= self.nodes.len()) {
            depth += 1;
            at = self.nodes.get(&node.parent);
        }
        depth
    }

    fn quota(&self) -> Value {
        let root = self.root(Kind::Root);
        let above = root.as_str();
        let within = |kind: Kind| {
            self.nodes.values().filter(move |node| node.kind == kind && self.is_within(&node.handle, above))
        };
        let is_version = |parent: &str| self.nodes.get(parent).is_some_and(|above| above.kind == Kind::File);
        let (versions, files): (Vec<_>, Vec<_>) = within(Kind::File).partition(|node| is_version(&node.parent));
        let sum = |nodes: &[&Node]| nodes.iter().map(|node| node.content.len()).sum::<usize>();
        let mut below = serde_json::Map::new();
        let counts = json!([sum(&files), files.len(), within(Kind::Folder).count(), sum(&versions), versions.len()]);
        below.insert(root, counts);
        json!({ "mstrg": self.limit_bytes, "cstrg": self.used_bytes(), "cstrgn": below })
    }
}
