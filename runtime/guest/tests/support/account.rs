//! An account that a test holds in its hands: things with ids, names that can be there twice, and news. It speaks the lines
//! of the component `puppet`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::server::Server;

/// One thing.
#[derive(Clone, Debug)]
pub struct Thing {
    pub parent: String,
    pub kind: &'static str,
    pub name: String,
    pub seconds: i64,
    pub note: &'static str,
}

#[derive(Default)]
struct State {
    things: BTreeMap<String, Thing>,
    news: Vec<String>,
    made: u32,
    /// Answered in place of the next walk.
    walk: Option<String>,
    /// Names that are taken get a number.
    numbers: bool,
    /// How often each question was asked.
    asked: BTreeMap<String, u32>,
    running: u32,
    together: u32,
}

/// The account; clones are the same one.
#[derive(Clone, Default)]
pub struct Account(Arc<Mutex<State>>);

impl Account {
    /// An account that holds nothing but its root, `root`, at a server of its own.
    pub async fn served() -> (Account, Server) {
        let account = Account::default();
        account.put("root", "", "directory", "");
        let answering = account.clone();
        let server = Server::start(move |request| {
            let account = answering.clone();
            async move { account.answer(&request).await }
        });
        let server = server.await;
        (account, server)
    }

    /// Somebody else puts something there, or moves or renames it; no news tell of it.
    pub fn put(&self, cookie: &str, parent: &str, kind: &'static str, name: &str) {
        let thing = Thing { parent: parent.into(), kind, name: name.into(), seconds: 1, note: "" };
        self.0.lock().unwrap().things.insert(cookie.into(), thing);
    }

    pub fn change(&self, cookie: &str, change: impl FnOnce(&mut Thing)) {
        change(self.0.lock().unwrap().things.get_mut(cookie).unwrap());
    }

    pub fn remove(&self, cookie: &str) {
        self.0.lock().unwrap().things.remove(cookie);
    }

    /// What the account tells of this.
    pub fn tell(&self, cookie: &str) {
        let mut state = self.0.lock().unwrap();
        let news = match state.things.get(cookie) {
            Some(thing) => format!("updated {}", line(cookie, thing)),
            None => format!("removed {cookie}"),
        };
        state.news.push(news);
    }

    pub fn tell_line(&self, news: &str) {
        self.0.lock().unwrap().news.push(news.into());
    }

    /// The next walk shows these lines.
    pub fn walk_shows(&self, lines: &str) {
        self.0.lock().unwrap().walk = Some(lines.into());
    }

    pub fn numbers_what_is_taken(&self) {
        self.0.lock().unwrap().numbers = true;
    }

    pub fn thing(&self, cookie: &str) -> Option<Thing> {
        self.0.lock().unwrap().things.get(cookie).cloned()
    }

    pub fn names(&self, parent: &str) -> Vec<String> {
        let state = self.0.lock().unwrap();
        state.things.values().filter(|thing| thing.parent == parent).map(|thing| thing.name.clone()).collect()
    }

    pub fn asked(&self, question: &str) -> u32 {
        self.0.lock().unwrap().asked.get(question).copied().unwrap_or_default()
    }

    /// The most changes that ran at once.
    pub fn together(&self) -> u32 {
        self.0.lock().unwrap().together
    }

    async fn answer(&self, request: &str) -> String {
        let question = request.split([' ', '/']).nth(2).unwrap_or_default().to_owned();
        let body = request.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
        let arguments: Vec<&str> = body.split('\n').collect();
        let changes = ["make", "move", "remove"].contains(&question.as_str());
        if changes {
            let mut state = self.0.lock().unwrap();
            state.running += 1;
            state.together = state.together.max(state.running);
        }
        // Whoever else would come meanwhile, comes now.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let mut state = self.0.lock().unwrap();
        if changes {
            state.running -= 1;
        }
        *state.asked.entry(question.clone()).or_default() += 1;
        let body = state.lines(&question, &arguments);
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }
}

impl State {
    fn lines(&mut self, question: &str, arguments: &[&str]) -> String {
        let argument = |at: usize| arguments.get(at).copied().unwrap_or_default().to_owned();
        let lines: Vec<String> = match question {
            "look-up" => {
                if !self.things.contains_key(&argument(0)) {
                    return "not-found\n".into();
                }
                self.shown(|thing| thing.parent == argument(0) && thing.name == argument(1))
            }
            "refresh" => {
                let cookie = Some(argument(0)).filter(|cookie| !cookie.is_empty()).unwrap_or("root".into());
                self.things.get(&cookie).map(|thing| line(&cookie, thing)).into_iter().collect()
            }
            "list" => {
                if !self.things.contains_key(&argument(0)) {
                    return "not-found\n".into();
                }
                // Pages of two.
                let all = self.shown(|thing| thing.parent == argument(0));
                let from: usize = argument(1).parse().unwrap_or_default();
                let mut page: Vec<String> = all.iter().skip(from).take(2).cloned().collect();
                if from + 2 < all.len() {
                    page.push(format!("next {}", from + 2));
                }
                page
            }
            "walk" => {
                let cursor = self.news.len().to_string();
                match self.walk.take() {
                    Some(lines) => lines.lines().map(str::to_owned).chain([cursor]).collect(),
                    // Children before their parents, where ids say so.
                    None => self.things.iter().map(|(cookie, thing)| line(cookie, thing)).chain([cursor]).collect(),
                }
            }
            "changes" => {
                let from: usize = argument(0).parse().unwrap_or(self.news.len());
                let cursor = format!("cursor {}", self.news.len());
                self.news.iter().skip(from).cloned().chain([cursor]).collect()
            }
            "make" => return self.made("directory", &argument(0), &argument(1)),
            "move" => {
                let taken = self.things.iter().any(|(cookie, thing)| {
                    thing.parent == argument(1) && thing.name == argument(2) && *cookie != argument(3)
                });
                if taken && !self.numbers {
                    return "already-exists\n".into();
                }
                self.things.remove(&argument(3));
                let name = if taken { format!("{} (1)", argument(2)) } else { argument(2) };
                let Some(thing) = self.things.get_mut(&argument(0)) else { return "not-found\n".into() };
                (thing.parent, thing.name) = (argument(1), name);
                vec![line(&argument(0), thing)]
            }
            "remove" | "purge" => match self.things.remove(&argument(0)) {
                Some(_) => Vec::new(),
                None => return "not-found\n".into(),
            },
            "link" => vec![format!("https://example.com/{}?ms={}", argument(0), argument(1))],
            "versions" => vec![format!("{}-old\t\tfile\tf\t1\t", argument(0))],
            _ => Vec::new(),
        };
        lines.iter().fold("ok\n".to_owned(), |all, line| all + line + "\n")
    }

    fn made(&mut self, kind: &'static str, parent: &str, name: &str) -> String {
        let taken = self.things.values().any(|thing| thing.parent == parent && thing.name == name);
        if taken && !self.numbers {
            return "already-exists\n".into();
        }
        self.made += 1;
        let (cookie, name) = (format!("made-{}", self.made), if taken { format!("{name} (1)") } else { name.into() });
        let thing = Thing { parent: parent.into(), kind, name, seconds: 2, note: "" };
        let line = line(&cookie, &thing);
        self.things.insert(cookie, thing);
        format!("ok\n{line}\n")
    }

    fn shown(&self, wanted: impl Fn(&Thing) -> bool) -> Vec<String> {
        let shown = self.things.iter().filter(|(_, thing)| wanted(thing) && thing.note != "trashed");
        shown.map(|(cookie, thing)| line(cookie, thing)).collect()
    }
}

fn line(cookie: &str, thing: &Thing) -> String {
    let Thing { parent, kind, name, seconds, note } = thing;
    format!("{cookie}\t{parent}\t{kind}\t{name}\t{seconds}\t{note}")
}
