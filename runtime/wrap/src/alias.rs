//! `alias`: another name for a place in another backend. It adds nothing to a call but the path.

use std::sync::Arc;

use async_trait::async_trait;
use causeway_storage::{
    Descriptor, Make, OpenError, Opening, OptionKind, OptionMarks, OptionSpec, Problem, Provider, Storage,
};

/// The provider `alias`.
#[derive(Debug)]
pub struct AliasProvider {
    descriptor: Descriptor,
}

impl AliasProvider {
    /// The provider.
    pub fn new() -> AliasProvider {
        let option = |name: &str, marks, help: &str| OptionSpec {
            name: name.into(),
            kind: OptionKind::Text,
            default: Some(String::new()),
            marks,
            help: help.into(),
        };
        AliasProvider {
            descriptor: Descriptor {
                name: "alias".into(),
                backend_type: None,
                aliases: Vec::new(),
                title: "Alias".into(),
                make: Make::Wrapper,
                version: env!("CARGO_PKG_VERSION").into(),
                options: vec![
                    option(
                        "remote",
                        OptionMarks::REQUIRED.union(OptionMarks::IDENTITY),
                        "The place to stand for: a backend's id or name, a colon and a path, as in `photos:2025/summer`.",
                    ),
                    option("description", OptionMarks::empty(), "Human-readable description of the remote."),
                ],
                imports: Vec::new(),
            },
        }
    }
}

impl Default for AliasProvider {
    fn default() -> AliasProvider {
        AliasProvider::new()
    }
}

#[async_trait]
impl Provider for AliasProvider {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    async fn open(&self, opening: Opening) -> Result<Arc<dyn Storage>, OpenError> {
        let remote = opening.settings.text("remote").unwrap_or_default();
        if !remote.contains(':') {
            let message = "Invalid remote specification: missing ':' separator";
            return Err(OpenError::Settings(vec![Problem::new("remote", message)]));
        }
        Ok(opening.remotes.resolve(remote).await?)
    }
}
