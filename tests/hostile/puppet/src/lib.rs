//! A component that knows nothing: every question goes to the server that its option `endpoint` names, as `POST /question`
//! with the arguments on lines, and the answer is read from lines, too. So a test is the provider, with cookies, duplicates
//! and news, and can do to it what it likes.
//!
//! An answer begins with `ok`, or with the kind of an error. An entry is `cookie parent kind name seconds note`, separated
//! by tabs. With the feature `walking` the whole is walked and cannot be browsed.
#![allow(missing_docs, reason = "the contract says what these functions are")]

use causeway::provider::{http, requests, settings, types};
use exports::causeway::provider as exported;

#[cfg(not(feature = "walking"))]
wit_bindgen::generate!({
    path: "../../../wit/0.1",
    inline: "
        package causeway:puppet;
        world puppet {
            include causeway:provider/reader@0.1.0;
            export causeway:provider/removing@0.1.0;
            export causeway:provider/directories@0.1.0;
            export causeway:provider/moving@0.1.0;
            export causeway:provider/changes@0.1.0;
            export causeway:provider/purging@0.1.0;
            export causeway:provider/links@0.1.0;
            export causeway:provider/versions@0.1.0;
            export causeway:provider/cleaning@0.1.0;
        }
    ",
    world: "causeway:puppet/puppet",
    generate_all,
});

#[cfg(feature = "walking")]
wit_bindgen::generate!({
    path: "../../../wit/0.1",
    inline: "
        package causeway:puppet;
        world walker {
            include causeway:provider/core@0.1.0;
            import causeway:provider/gathering@0.1.0;
            export causeway:provider/walking@0.1.0;
            export causeway:provider/removing@0.1.0;
            export causeway:provider/directories@0.1.0;
            export causeway:provider/moving@0.1.0;
            export causeway:provider/changes@0.1.0;
        }
    ",
    world: "causeway:puppet/walker",
    generate_all,
});

struct Puppet;

export!(Puppet);

fn error(kind: types::ErrorKind, message: &str) -> types::Error {
    types::Error { kind, message: message.into(), detail: String::new() }
}

fn endpoint() -> String {
    let mut given = settings::given().into_iter();
    let found = given.find_map(|(name, value)| match value {
        settings::Value::Text(text) if name == "endpoint" => Some(text),
        _ => None,
    });
    found.unwrap_or_default()
}

/// The lines of the answer.
fn asked(question: &str, arguments: &[&str]) -> Result<Vec<String>, types::Error> {
    let request = requests::Request {
        method: "POST".into(),
        url: vec![requests::Piece::Text(format!("{}/{question}", endpoint()))],
        headers: Vec::new(),
        body: vec![requests::Piece::Text(arguments.join("\n"))],
        captures: Vec::new(),
        cookies: None,
        redirects: 0,
        repeatable: true,
        patience_ms: None,
        http1: false,
    };
    let body = String::from_utf8(http::send(&request)?.body).unwrap_or_default();
    let mut lines = body.lines().map(str::to_owned);
    match lines.next().as_deref() {
        Some("ok") => Ok(lines.collect()),
        Some("not-found") => Err(error(types::ErrorKind::NotFound, "the server says so")),
        Some("already-exists") => Err(error(types::ErrorKind::AlreadyExists, "the server says so")),
        _ => Err(error(types::ErrorKind::Internal, "the server says nothing that is known")),
    }
}

fn placed(line: &str) -> types::Placed {
    let mut fields = line.split('\t');
    let mut field = || fields.next().filter(|field| !field.is_empty()).map(str::to_owned);
    let (cookie, parent) = (field(), field());
    let (kind, name) = (field(), field());
    let (seconds, note) = (field().and_then(|seconds| seconds.parse().ok()), field());
    let entry = types::Entry {
        name: name.unwrap_or_default(),
        kind: if kind.as_deref() == Some("directory") { types::Kind::Directory } else { types::Kind::File },
        version: cookie.clone(),
        cookie,
        size: Some(1),
        modified: seconds.map(|seconds| types::Instant { seconds, nanoseconds: 0 }),
        created: None,
        media_type: None,
        digests: Vec::new(),
        notes: if note.as_deref() == Some("trashed") { types::Notes::TRASHED } else { types::Notes::empty() },
    };
    types::Placed { entry, parent, path: None }
}

fn entries(lines: &[String]) -> Vec<types::Entry> {
    lines.iter().map(|line| placed(line).entry).collect()
}

/// What stands for a node: its cookie, or nothing for a root that is not known yet.
fn cookie(node: &types::Node) -> &str {
    node.cookie.as_deref().unwrap_or_default()
}

fn done(lines: Vec<String>) -> Result<types::Outcome, types::Error> {
    Ok(types::Outcome::Done(entries(&lines).into_iter().next()))
}

impl exported::setup::Guest for Puppet {
    fn describe() -> exported::setup::Descriptor {
        use exported::setup::{OptionKind, OptionMarks, OptionSpec};
        let option = |name: &str, kind| OptionSpec {
            name: name.into(),
            kind,
            default: None,
            marks: OptionMarks::empty(),
            help: String::new(),
        };
        exported::setup::Descriptor {
            name: "puppet".into(),
            backend_type: None,
            aliases: Vec::new(),
            title: "Puppet".into(),
            documentation: String::new(),
            version: "0.1.0".into(),
            options: vec![option("endpoint", OptionKind::Endpoint)],
            slots: Vec::new(),
            origins: Vec::new(),
            machine_credentials: None,
            wasi_secret: None,
        }
    }

    fn configure() -> Result<exported::setup::Traits, Vec<exported::setup::Problem>> {
        use exported::setup::{Abilities, Naming, NormalForm, Sameness, SigningIn, Traits};
        let naming = Naming { sameness: Sameness::Exact, normal_form: NormalForm::AsGiven, longest_bytes: None };
        Ok(Traits {
            signing_in: SigningIn::Configured,
            abilities: Abilities::COOKIES
                | Abilities::DUPLICATES
                | Abilities::EMPTY_DIRECTORIES
                | Abilities::MOVE_DIRECTORIES,
            naming,
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

    fn probe() -> Result<exported::setup::Identity, types::Error> {
        Ok(exported::setup::Identity { account: None, display: None })
    }
}

impl exported::reading::Guest for Puppet {
    fn plan_read(
        file: types::Node,
        _size: Option<u64>,
        _range: Option<types::Span>,
    ) -> Result<exported::reading::ReadPlan, types::Error> {
        // One byte: the first of what it is called by.
        Ok(exported::reading::ReadPlan::Literal(cookie(&file).bytes().take(1).collect()))
    }

    fn explain(_file: types::Node, _response: requests::Response) -> exported::reading::Verdict {
        exported::reading::Verdict::Replan
    }
}

#[cfg(not(feature = "walking"))]
mod browsed {
    use super::*;

    impl exported::browsing::Guest for Puppet {
        fn look_up(parent: types::Node, name: String) -> Result<Vec<types::Entry>, types::Error> {
            asked("look-up", &[cookie(&parent), &name]).map(|lines| entries(&lines))
        }

        fn refresh(node: types::Node) -> Result<Option<types::Placed>, types::Error> {
            asked("refresh", &[cookie(&node)]).map(|lines| lines.first().map(|line| placed(line)))
        }

        fn list_directory(directory: types::Node, cursor: Option<String>) -> Result<types::Page, types::Error> {
            let mut lines = asked("list", &[cookie(&directory), cursor.as_deref().unwrap_or_default()])?;
            let next =
                lines.iter().position(|line| line.starts_with("next ")).map(|at| lines.remove(at)[5..].to_owned());
            Ok(types::Page { entries: entries(&lines), next })
        }
    }

    impl exported::purging::Guest for Puppet {
        fn purge(directory: types::Node) -> Result<types::Outcome, types::Error> {
            asked("purge", &[cookie(&directory)]).and_then(done)
        }
    }

    impl exported::links::Guest for Puppet {
        fn link(node: types::Node, lives_ms: Option<u64>) -> Result<Vec<requests::Piece>, types::Error> {
            let lives = lives_ms.map(|ms| ms.to_string()).unwrap_or_default();
            let lines = asked("link", &[cookie(&node), &lives])?;
            Ok(lines.into_iter().map(requests::Piece::Text).collect())
        }

        fn unlink(node: types::Node) -> Result<(), types::Error> {
            asked("unlink", &[cookie(&node)]).map(|_| ())
        }
    }

    impl exported::versions::Guest for Puppet {
        fn versions_of(file: types::Node, _cursor: Option<String>) -> Result<types::Page, types::Error> {
            let lines = asked("versions", &[cookie(&file)])?;
            Ok(types::Page { entries: entries(&lines), next: None })
        }
    }

    impl exported::cleaning::Guest for Puppet {
        fn clean(directory: types::Node) -> Result<types::Outcome, types::Error> {
            asked("clean", &[cookie(&directory)]).and_then(done)
        }
    }
}

#[cfg(feature = "walking")]
mod walked {
    use super::*;
    use causeway::provider::gathering::Sink;

    impl exported::walking::Guest for Puppet {
        fn walk(_directory: types::Node, into: &Sink) -> Result<Option<String>, types::Error> {
            let mut lines = asked("walk", &[])?;
            let cursor = lines.pop();
            if lines.first().is_some_and(|line| line == "flood") {
                flood(into)?;
            }
            // Whoever is told to `go on` does not listen to the host.
            let deaf = lines.first().is_some_and(|line| line == "go on");
            for line in lines.iter().filter(|line| line.contains('\t')) {
                match into.push(&[placed(line)]) {
                    Err(error) if !deaf => return Err(error),
                    _ => {}
                }
            }
            Ok(cursor)
        }
    }

    fn flood(into: &Sink) -> Result<(), types::Error> {
        for start in (0..u32::MAX).step_by(1_000) {
            let line = |at: u32| placed(&format!("{at}\troot\tfile\t{}", "n".repeat(2_000)));
            into.push(&(start..start + 1_000).map(line).collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

impl exported::removing::Guest for Puppet {
    fn remove_file(file: types::Node) -> Result<types::Outcome, types::Error> {
        asked("remove", &[cookie(&file)]).and_then(done)
    }
}

impl exported::directories::Guest for Puppet {
    fn make_directory(parent: types::Node, name: String) -> Result<types::Outcome, types::Error> {
        asked("make", &[cookie(&parent), &name]).and_then(done)
    }

    fn remove_directory(directory: types::Node) -> Result<types::Outcome, types::Error> {
        asked("remove", &[cookie(&directory)]).and_then(done)
    }
}

impl exported::moving::Guest for Puppet {
    fn move_to(
        node: types::Node,
        parent: types::Node,
        name: String,
        replaces: Option<types::Node>,
    ) -> Result<types::Outcome, types::Error> {
        let replaces = replaces.as_ref().map(cookie).unwrap_or_default();
        asked("move", &[cookie(&node), cookie(&parent), &name, replaces]).and_then(done)
    }
}

impl exported::changes::Guest for Puppet {
    fn changes_since(cursor: Option<String>) -> Result<exported::changes::News, types::Error> {
        use exported::changes::Change;
        let lines = asked("changes", &[cursor.as_deref().unwrap_or_default()])?;
        let (mut changes, mut next) = (Vec::new(), String::new());
        for line in lines {
            match line.split_once(' ') {
                Some(("updated", entry)) => changes.push(Change::Updated(placed(entry))),
                Some(("removed", cookie)) => changes.push(Change::Removed(types::Node {
                    kind: types::Kind::File,
                    path: String::new(),
                    cookie: Some(cookie.to_owned()),
                    version: None,
                })),
                Some(("everything", _)) => changes.push(Change::Everything),
                Some(("cursor", cursor)) => next = cursor.to_owned(),
                _ => {}
            }
        }
        Ok(exported::changes::News { changes, cursor: next, more: false, wait: None })
    }
}
