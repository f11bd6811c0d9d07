//! The providers that exist, by name, and how the API shows their options. It does not know what a provider is made of.

use std::collections::BTreeMap;
use std::sync::Arc;

use causeway_storage::{OptionKind, OptionSpec, Provider};
use serde_json::{Value, json};

/// All providers, by the names and aliases that they answer to.
#[derive(Default)]
pub struct Catalog {
    providers: BTreeMap<String, Arc<dyn Provider>>,
    aliases: BTreeMap<String, String>,
}

impl Catalog {
    /// A catalog of these. If two claim one name, that is the error.
    pub fn new(providers: impl IntoIterator<Item = Arc<dyn Provider>>) -> Result<Catalog, String> {
        let mut catalog = Catalog::default();
        for provider in providers {
            let name = provider.descriptor().name.clone();
            for alias in &provider.descriptor().aliases {
                if catalog.aliases.insert(alias.clone(), name.clone()).is_some() {
                    return Err(format!("two providers claim the name {alias}"));
                }
            }
            if catalog.providers.insert(name.clone(), provider).is_some() {
                return Err(format!("two providers claim the name {name}"));
            }
        }
        match catalog.aliases.keys().find(|alias| catalog.providers.contains_key(*alias)) {
            Some(alias) => Err(format!("two providers claim the name {alias}")),
            None => Ok(catalog),
        }
    }

    /// The provider that answers to this name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Provider>> {
        self.providers.get(name).or_else(|| self.providers.get(self.aliases.get(name)?))
    }

    /// All, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Provider>> {
        self.providers.values()
    }
}

/// The type that the API shows for an option.
pub fn api_type(kind: &OptionKind) -> &'static str {
    match kind {
        OptionKind::Truth => "boolean",
        OptionKind::Number | OptionKind::Duration => "integer",
        OptionKind::Text
        | OptionKind::TriState
        | OptionKind::Bytes
        | OptionKind::Choice(_)
        | OptionKind::Several(_)
        | OptionKind::Endpoint
        | OptionKind::EndpointAndBelow
        | OptionKind::Encoding
        | OptionKind::Secret
        | OptionKind::SecretFile => "string",
    }
}

/// The default that the API shows for an option: a value of its type, `null` if there is none, an array where a list's
/// default is written as one.
pub fn api_default(option: &OptionSpec) -> Value {
    let Some(text) = &option.default else { return Value::Null };
    let parsed = match &option.kind {
        OptionKind::Truth => text.parse().ok().map(Value::Bool),
        OptionKind::Number | OptionKind::Duration => text.parse::<i64>().ok().map(|number| json!(number)),
        OptionKind::Several(_) => serde_json::from_str::<Vec<String>>(text).ok().map(|list| json!(list)),
        _ => None,
    };
    parsed.unwrap_or_else(|| Value::String(text.clone()))
}

#[cfg(test)]
mod tests {
    use causeway_storage::OptionMarks;

    use super::*;

    fn shown(kind: OptionKind, default: Option<&str>) -> (&'static str, Value) {
        let option = OptionSpec {
            name: "o".into(),
            default: default.map(str::to_owned),
            marks: OptionMarks::empty(),
            help: String::new(),
            kind,
        };
        (api_type(&option.kind), api_default(&option))
    }

    #[test]
    fn types_and_defaults_are_those_of_the_tables() {
        assert_eq!(shown(OptionKind::Truth, Some("true")), ("boolean", json!(true)));
        assert_eq!(shown(OptionKind::Number, Some("-1")), ("integer", json!(-1)));
        assert_eq!(shown(OptionKind::Duration, Some("60")), ("integer", json!(60)));
        assert_eq!(shown(OptionKind::Bytes, Some("5242880")), ("string", json!("5242880")));
        assert_eq!(shown(OptionKind::TriState, None), ("string", Value::Null));
        assert_eq!(shown(OptionKind::Several(vec![]), Some(r#"["md5","sha1"]"#)), ("string", json!(["md5", "sha1"])));
        assert_eq!(shown(OptionKind::Several(vec![]), Some("docx,xlsx")), ("string", json!("docx,xlsx")));
        assert_eq!(shown(OptionKind::Secret, Some("")), ("string", json!("")));
    }
}
