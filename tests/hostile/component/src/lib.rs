//! A component that misbehaves in the way that its option `attack` names; without an attack it behaves.
//!
//! It is written against the contract alone: an author's tools would keep some of this from happening. `attacks.rs` has
//! what listings do, `uploads.rs` what reads and writes do. With the feature `impure` its description uses an import; with
//! `revealing` it asks for the secrets themselves.
#![allow(missing_docs, reason = "the contract says what these functions are")]

use causeway::provider::{requests, settings, types};
use exports::causeway::provider::{browsing, reading, setup};

mod attacks;
mod uploads;

wit_bindgen::generate!({
    path: "../../../wit/0.1",
    inline: "
        package causeway:hostile;
        world hostile {
            include causeway:provider/reader@0.1.0;
            import causeway:provider/crypto@0.1.0;
            import causeway:provider/reveal@0.1.0;
            import causeway:provider/content@0.1.0;
            export causeway:provider/writing@0.1.0;
        }
    ",
    world: "causeway:hostile/hostile",
    generate_all,
});

struct Hostile;

export!(Hostile);

/// A text that was given, or nothing.
fn given(name: &str) -> String {
    let mut given = settings::given().into_iter();
    given
        .find_map(|(found, value)| match value {
            settings::Value::Text(text) if found == name => Some(text),
            _ => None,
        })
        .unwrap_or_default()
}

fn error(kind: types::ErrorKind, message: &str) -> types::Error {
    types::Error { kind, message: message.into(), detail: String::new() }
}

fn file(name: &str) -> types::Entry {
    types::Entry {
        name: name.into(),
        kind: types::Kind::File,
        cookie: None,
        size: Some(1),
        modified: None,
        created: None,
        version: Some("1".into()),
        media_type: None,
        digests: Vec::new(),
        notes: types::Notes::empty(),
    }
}

fn text(text: &str) -> requests::Piece {
    requests::Piece::Text(text.into())
}

fn secret() -> requests::Piece {
    requests::Piece::Secret(requests::SecretRef { name: "secret".into(), field: None })
}

fn request(method: &str, url: &str) -> requests::Request {
    requests::Request {
        method: method.into(),
        url: vec![text(url)],
        headers: Vec::new(),
        body: Vec::new(),
        captures: Vec::new(),
        cookies: None,
        redirects: 0,
        repeatable: false,
        patience_ms: None,
        http1: false,
    }
}

impl setup::Guest for Hostile {
    fn describe() -> setup::Descriptor {
        use causeway::provider::secret_uses as uses;
        if cfg!(feature = "impure") {
            causeway::provider::clock::now();
        }
        let secret = uses::SecretUse {
            places: vec![uses::Placement {
                field: None,
                at: uses::Place::Header("authorization".into()),
                prefix: "Bearer ".into(),
                wraps: Vec::new(),
                towards: Vec::new(),
            }],
            hmac: vec![uses::HmacUse {
                field: None,
                hash: uses::Hash::Sha256,
                prefix: "AWS4".into(),
                base64: false,
                steps: 4,
            }],
            rsa: Vec::new(),
            reveal: cfg!(feature = "revealing"),
            public_fields: Vec::new(),
        };
        let option = |name: &str, kind| setup::OptionSpec {
            name: name.into(),
            kind,
            default: None,
            marks: setup::OptionMarks::empty(),
            help: String::new(),
        };
        setup::Descriptor {
            name: "hostile".into(),
            backend_type: None,
            aliases: Vec::new(),
            title: "Hostile".into(),
            documentation: String::new(),
            version: "0.1.0".into(),
            options: vec![
                option("attack", setup::OptionKind::Text),
                option("endpoint", setup::OptionKind::Endpoint),
                option("other", setup::OptionKind::Endpoint),
                option("target", setup::OptionKind::Text),
                option("inverted", setup::OptionKind::Text),
                option("secret", setup::OptionKind::Secret(secret)),
            ],
            slots: Vec::new(),
            origins: Vec::new(),
            machine_credentials: None,
            wasi_secret: None,
        }
    }

    fn configure() -> Result<setup::Traits, Vec<setup::Problem>> {
        if given("attack") == "configure-loops" {
            attacks::loop_for_ever();
        }
        Ok(setup::Traits {
            signing_in: setup::SigningIn::Configured,
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
        Ok(setup::Identity { account: None, display: None })
    }
}

impl browsing::Guest for Hostile {
    fn look_up(_parent: types::Node, name: String) -> Result<Vec<types::Entry>, types::Error> {
        Ok(vec![file(if given("attack") == "another-name" { "another" } else { &name })])
    }

    fn refresh(node: types::Node) -> Result<Option<types::Placed>, types::Error> {
        let name = node.path.rsplit('/').next().unwrap_or_default();
        Ok(Some(types::Placed { entry: file(name), parent: None, path: None }))
    }

    fn list_directory(_directory: types::Node, cursor: Option<String>) -> Result<types::Page, types::Error> {
        attacks::list(&given("attack"), cursor)
    }
}

impl reading::Guest for Hostile {
    fn plan_read(
        _file: types::Node,
        _size: Option<u64>,
        _range: Option<types::Span>,
    ) -> Result<reading::ReadPlan, types::Error> {
        uploads::plan_read(&given("attack"))
    }

    fn explain(_file: types::Node, _response: requests::Response) -> reading::Verdict {
        reading::Verdict::Replan
    }
}
