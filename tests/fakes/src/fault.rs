//! Faults that tests set, independent of any provider: which requests, how often, and what goes wrong.
//!
//! As JSON: `{"method":"PUT","host":"a.test","path":"comp=block","skip":1,"times":2,"what":{"status":{"status":503,
//! "headers":[["Retry-After","1"]],"body":"busy"}}}`; other values of `what`: `{"cut":{"bytes":10}}`, `"lose-answer"`,
//! `{"delay":{"ms":200}}`, `"refuse"`. What is left out matches everything, skips nothing, and happens once.

use serde::Deserialize;

use crate::{Request, Response};

/// One rule. The first rule that matches a request and has something left to do decides.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The method, exactly.
    pub method: Option<String>,
    /// The host, exactly, without port.
    pub host: Option<String>,
    /// A part of `path?query` as sent.
    pub path: Option<String>,
    /// How many matching requests pass unharmed first.
    #[serde(default)]
    pub skip: u32,
    /// How many are harmed then.
    #[serde(default = "once")]
    pub times: u32,
    /// What happens to them.
    pub what: Harm,
}

fn once() -> u32 {
    1
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Harm {
    /// This answer instead of the fake's; the fake sees nothing.
    Status {
        /// The status code.
        status: u16,
        /// Headers as pairs.
        #[serde(default)]
        headers: Vec<(String, String)>,
        /// The body.
        #[serde(default)]
        body: String,
    },
    /// The fake answers, and the connection breaks after so many bytes of the body.
    Cut {
        /// Of the body, before the break.
        bytes: usize,
    },
    /// The fake carries the request out, and the connection closes without an answer.
    LoseAnswer,
    /// The fake answers later.
    Delay {
        /// For so long the request waits before it is handled.
        ms: u64,
    },
    /// The connection closes; the fake sees nothing.
    Refuse,
}

impl Harm {
    /// The answer of [`Harm::Status`].
    pub fn response(status: u16, headers: &[(String, String)], body: &str) -> Response {
        Response { status, headers: headers.to_vec(), body: body.to_owned().into() }
    }
}

impl Fault {
    /// A rule for one request whose `path?query` contains `path`.
    pub fn once(path: &str, what: Harm) -> Fault {
        Fault { method: None, host: None, path: Some(path.to_owned()), skip: 0, times: 1, what }
    }

    fn matches(&self, request: &Request) -> bool {
        let whole = format!("{}?{}", request.path, request.query);
        self.method.as_ref().is_none_or(|method| *method == request.method)
            && self.host.as_ref().is_none_or(|host| *host == request.host)
            && self.path.as_ref().is_none_or(|path| whole.contains(path.as_str()))
    }
}

/// What the rules say about a request. Counts it.
pub(crate) fn judge(rules: &mut [Fault], request: &Request) -> Option<Harm> {
    for rule in rules.iter_mut().filter(|rule| rule.times > 0 && rule.matches(request)) {
        if rule.skip > 0 {
            rule.skip -= 1;
            continue;
        }
        rule.times -= 1;
        return Some(rule.what.clone());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_skips_then_harms_then_is_used_up() {
        let text = r#"[{"method":"PUT","path":"comp=block","skip":1,"times":2,"what":{"status":{"status":503}}},
            {"what":"lose-answer","times":1}]"#;
        let mut rules: Vec<Fault> = serde_json::from_str(text).unwrap();
        let put =
            Request { method: "PUT".into(), path: "/c/b".into(), query: "comp=block".into(), ..Request::default() };
        let busy = Harm::Status { status: 503, headers: Vec::new(), body: String::new() };
        assert_eq!(judge(&mut rules, &put), Some(Harm::LoseAnswer));
        assert_eq!(judge(&mut rules, &put), Some(busy.clone()));
        assert_eq!(judge(&mut rules, &put), Some(busy));
        assert_eq!(judge(&mut rules, &put), None);
    }
}
