//! A component that is signed in by what its option `way` says, at a server that the test plays: by a session of its own (it
//! asks a person where the server wants that), or by one of OAuth's grants. Its storage is the same in all cases: every
//! request carries the token, and 401 means that it was refused.
#![allow(missing_docs, reason = "the contract says what these functions are")]

use causeway::provider::requests::{Capture, Header, Location, Piece, Request, Response, SecretRef};
use causeway::provider::{assigned_hosts, http, secret_uses as uses, settings, state, types};
use exports::causeway::provider::{browsing, reading, session, setup, writing};

wit_bindgen::generate!({
    path: "../../../wit/0.1",
    inline: "
        package causeway:hostile;
        world signed-in {
            include causeway:provider/reader@0.1.0;
            import causeway:provider/assigned-hosts@0.1.0;
            import causeway:provider/content@0.1.0;
            export causeway:provider/writing@0.1.0;
            export causeway:provider/session@0.1.0;
        }
    ",
    world: "causeway:hostile/signed-in",
    generate_all,
});

struct SignedIn;

export!(SignedIn);

fn given(name: &str) -> String {
    let found = settings::given().into_iter().find(|(found, _)| found == name);
    match found {
        Some((_, settings::Value::Text(text))) => text,
        _ => String::new(),
    }
}

fn by_session() -> bool {
    given("way") == "session"
}

fn text(text: &str) -> Piece {
    Piece::Text(text.into())
}

fn secret(name: &str) -> Piece {
    Piece::Secret(SecretRef { name: name.into(), field: None })
}

fn header(name: &str, value: Vec<Piece>) -> Header {
    Header { name: name.into(), value }
}

/// A request that carries the token.
fn request(method: &str, path: &str) -> Request {
    let token = if by_session() { "session" } else { "access-token" };
    Request {
        method: method.into(),
        url: vec![text(&format!("{}{path}", given("endpoint")))],
        headers: vec![header("Authorization", vec![text("Bearer "), secret(token)])],
        body: Vec::new(),
        captures: Vec::new(),
        cookies: None,
        redirects: 0,
        repeatable: method == "GET",
        patience_ms: None,
        http1: false,
    }
}

fn error(kind: types::ErrorKind, message: &str) -> types::Error {
    types::Error { kind, message: message.into(), detail: String::new() }
}

/// What an answer means: the body of a 200, or why there is none.
fn judged(answer: Response) -> Result<String, types::Error> {
    match answer.status {
        200 => Ok(String::from_utf8_lossy(&answer.body).into_owned()),
        401 => Err(error(types::ErrorKind::Unauthenticated, "the token was refused")),
        status => Err(error(types::ErrorKind::Unavailable(None), &format!("the server said {status}"))),
    }
}

fn file(name: &str) -> types::Entry {
    types::Entry {
        name: name.into(),
        kind: types::Kind::File,
        cookie: None,
        size: Some(12),
        modified: None,
        created: None,
        version: Some("1".into()),
        media_type: None,
        digests: Vec::new(),
        notes: types::Notes::empty(),
    }
}

fn placed(at: uses::Place, prefix: &str) -> uses::SecretUse {
    let placement = uses::Placement { field: None, at, prefix: prefix.into(), wraps: Vec::new(), towards: Vec::new() };
    uses::SecretUse { places: vec![placement], ..nothing() }
}

fn nothing() -> uses::SecretUse {
    uses::SecretUse { places: Vec::new(), hmac: Vec::new(), rsa: Vec::new(), reveal: false, public_fields: Vec::new() }
}

impl setup::Guest for SignedIn {
    fn describe() -> setup::Descriptor {
        let option = |name: &str, kind| setup::OptionSpec {
            name: name.into(),
            kind,
            default: None,
            marks: setup::OptionMarks::empty(),
            help: String::new(),
        };
        let bearer = || placed(uses::Place::Header("Authorization".into()), "Bearer ");
        setup::Descriptor {
            name: "signed-in".into(),
            backend_type: None,
            aliases: Vec::new(),
            title: "Signed in".into(),
            documentation: String::new(),
            version: "0.1.0".into(),
            options: vec![
                option("way", setup::OptionKind::Text),
                option("endpoint", setup::OptionKind::Endpoint),
                option("host", setup::OptionKind::Text),
                option("user", setup::OptionKind::Text),
                option("client_id", setup::OptionKind::Text),
                option("client_secret", setup::OptionKind::Secret(nothing())),
                option("auth_url", setup::OptionKind::Text),
                option("token_url", setup::OptionKind::Text),
                option("token", setup::OptionKind::Secret(nothing())),
                option("pass", setup::OptionKind::Secret(placed(uses::Place::Form("pass".into()), ""))),
            ],
            slots: vec![
                setup::Slot { name: "session".into(), uses: bearer() },
                setup::Slot { name: "room-*".into(), uses: bearer() },
                setup::Slot { name: "jar".into(), uses: nothing() },
            ],
            origins: Vec::new(),
            machine_credentials: None,
            wasi_secret: None,
        }
    }

    fn configure() -> Result<setup::Traits, Vec<setup::Problem>> {
        let pass = || SecretRef { name: "pass".into(), field: None };
        let grant = match &*given("way") {
            "session" => None,
            "device" => Some(setup::OauthGrant::Device(format!("{}/device", given("endpoint")))),
            "client" => Some(setup::OauthGrant::ClientCredentials),
            "password" => Some(setup::OauthGrant::Password((given("user"), pass()))),
            _ => Some(setup::OauthGrant::Consent),
        };
        let oauth = |grant| setup::Oauth {
            grant,
            authorize_url: format!("{}/authorize", given("endpoint")),
            token_url: format!("{}/token", given("endpoint")),
            scopes: vec!["files".into(), "offline".into()],
            scope_separator: " ".into(),
            parameters: vec![("prompt".into(), "consent".into())],
            client_in_form: false,
            pkce: true,
            redirect_settings: vec![("hostname".into(), "host".into())],
        };
        Ok(setup::Traits {
            signing_in: grant.map_or(setup::SigningIn::Session(60_000), |grant| setup::SigningIn::Oauth(oauth(grant))),
            abilities: setup::Abilities::empty(),
            naming: setup::Naming {
                sameness: setup::Sameness::Exact,
                normal_form: setup::NormalForm::AsGiven,
                longest_bytes: None,
            },
            modified_step_ns: 0,
            digests: Vec::new(),
            early_digests: Vec::new(),
            smallest_bytes: 0,
            largest_bytes: None,
            lag_ms: 0,
            relist_ms: 0,
            paces: Vec::new(),
        })
    }

    fn probe() -> Result<setup::Identity, types::Error> {
        let account = judged(http::send(&request("GET", "/me"))?)?;
        Ok(setup::Identity { account: Some(account), display: None })
    }
}

impl session::Guest for SignedIn {
    /// The server decides: 200 with a token, 202 for a question, 401 for a refusal.
    fn sign_in(answer: Option<String>) -> Result<session::Step, types::Error> {
        let code = answer.unwrap_or_default();
        let login = Request {
            headers: vec![header("Content-Type", vec![text("application/x-www-form-urlencoded")])],
            body: vec![text("pass="), secret("pass"), text(&format!("&code={code}"))],
            captures: vec![
                Capture { at: Location::Json("/token".into()), slot: "session".into() },
                Capture { at: Location::Json("/room".into()), slot: "room-one".into() },
            ],
            cookies: Some("jar".into()),
            ..request("POST", "/login")
        };
        let answer = http::send(&login)?;
        if answer.status == 202 {
            return Ok(session::Step::Ask(session::Question { prompt: "Which code?".into(), typed: true }));
        }
        let lives = answer.headers.iter().find(|(name, _)| name == "x-lives").and_then(|(_, ms)| ms.parse().ok());
        let host = answer.headers.iter().find(|(name, _)| name == "x-host").map(|(_, url)| url.clone());
        judged(answer)?;
        if let Some(ms) = lives {
            state::expire("session", ms);
        }
        if let Some(url) = host {
            assigned_hosts::allow(&url)?;
        }
        Ok(session::Step::SignedIn)
    }

    fn sign_out() -> Result<(), types::Error> {
        judged(http::send(&request("POST", "/logout"))?)?;
        state::remove("session");
        Ok(())
    }
}

impl browsing::Guest for SignedIn {
    fn look_up(_parent: types::Node, name: String) -> Result<Vec<types::Entry>, types::Error> {
        judged(http::send(&request("GET", "/list"))?)?;
        Ok(vec![file(&name)])
    }

    fn refresh(node: types::Node) -> Result<Option<types::Placed>, types::Error> {
        let name = node.path.rsplit('/').next().unwrap_or_default();
        Ok(Some(types::Placed { entry: file(name), parent: None, path: None }))
    }

    fn list_directory(directory: types::Node, _cursor: Option<String>) -> Result<types::Page, types::Error> {
        // What a call outside of a sign-in must not do, and what only slots of earlier calls tell.
        let name = match &*directory.path {
            "assign" => {
                assigned_hosts::allow("https://other.example.com")?;
                "assigned".to_owned()
            }
            "rooms" => format!("room {}", state::sealed("room-one")),
            _ => judged(http::send(&request("GET", "/list"))?)?,
        };
        Ok(types::Page { entries: vec![file(&name)], next: None })
    }
}

impl reading::Guest for SignedIn {
    fn plan_read(
        _file: types::Node,
        size: Option<u64>,
        _range: Option<types::Span>,
    ) -> Result<reading::ReadPlan, types::Error> {
        let segment = reading::Segment {
            offset: 0,
            size,
            request: request("GET", "/content"),
            ranges: reading::Ranges::ByHeader,
            decoding: reading::Decoding::Plain,
            check: None,
        };
        Ok(reading::ReadPlan::Remote(reading::Remote {
            segments: vec![segment],
            size,
            guard: None,
            reuse: reading::Reuse::AnyRange,
            valid_ms: 60_000,
            parallel: 4,
            check: None,
        }))
    }

    fn explain(_file: types::Node, response: Response) -> reading::Verdict {
        match judged(response) {
            Ok(_) => reading::Verdict::Replan,
            Err(error) => reading::Verdict::Failed(error),
        }
    }
}

impl writing::Guest for SignedIn {
    fn begin_write(
        _intent: writing::WriteIntent,
        _content: &causeway::provider::content::Source,
    ) -> Result<writing::WritePlan, types::Error> {
        let session = judged(http::send(&request("POST", "/begin"))?)?;
        let cutting = writing::Cutting { first_bytes: 4, other_bytes: 4, parallel: 1 };
        Ok(writing::WritePlan::Upload(writing::Upload { session, cutting: Some(cutting), first: None }))
    }

    fn plan_part(
        _session: String,
        planned: writing::Part,
        _content: &causeway::provider::content::Source,
    ) -> Result<writing::PartPlan, types::Error> {
        let request = Request {
            body: vec![Piece::Content(planned.span)],
            ..request("PUT", &format!("/part/{}", planned.number))
        };
        Ok(writing::PartPlan { request, valid_ms: 60_000, once: false })
    }

    fn accept_part(
        _session: String,
        sent: writing::Part,
        response: Response,
    ) -> Result<writing::PartAnswer, types::Error> {
        judged(response)?;
        Ok(writing::PartAnswer::Stored(sent.number.to_string()))
    }

    fn finish_write(
        _session: String,
        _receipts: Vec<writing::Receipt>,
        _content: &causeway::provider::content::Source,
    ) -> Result<types::Outcome, types::Error> {
        judged(http::send(&request("POST", "/finish"))?)?;
        Ok(types::Outcome::Done(Some(file("a"))))
    }

    fn abort_write(_session: String) -> Result<(), types::Error> {
        Ok(())
    }

    fn resume_write(_session: String, _receipts: Vec<writing::Receipt>) -> Result<writing::Remains, types::Error> {
        Ok(writing::Remains::Nothing)
    }
}
