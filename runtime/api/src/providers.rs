//! `GET /api/v1/providers`: what can be connected, and with which options.

use axum::Json;
use axum::extract::State;
use causeway_storage::{Make, OptionKind, OptionMarks, OptionSpec};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{Api, api_default, api_type};

/// All providers.
#[derive(Serialize, ToSchema)]
pub(crate) struct Providers {
    providers: Vec<ProviderAnswer>,
    count: usize,
}

/// A provider.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProviderAnswer {
    /// In paths and remotes.
    name: String,
    /// For people.
    title: String,
    /// `native`, `wrapper` or `guest`.
    kind: &'static str,
    /// In the order in which they are shown.
    options: Vec<OptionAnswer>,
    /// What it may use of the host.
    imports: Vec<String>,
}

/// An option of a provider.
#[derive(Serialize, ToSchema)]
pub(crate) struct OptionAnswer {
    name: String,
    /// `boolean`, `integer` or `string`.
    #[serde(rename = "type")]
    kind: &'static str,
    required: bool,
    /// What holds when nothing is given.
    default: Value,
    /// Stored sealed and never shown again.
    secret: bool,
    /// May be changed by `PUT /api/v1/backends/{id}`.
    credential: bool,
    /// What may be given; empty if anything.
    choices: Vec<String>,
    help: String,
}

/// What can be connected.
#[utoipa::path(get, path = "/api/v1/providers", tag = "providers", responses((status = 200, body = Providers)))]
pub(crate) async fn list(State(api): State<Api>) -> Json<Providers> {
    let providers: Vec<ProviderAnswer> = api
        .catalog
        .iter()
        .map(|provider| {
            let descriptor = provider.descriptor();
            ProviderAnswer {
                name: descriptor.name.clone(),
                title: descriptor.title.clone(),
                kind: match descriptor.make {
                    Make::Native => "native",
                    Make::Wrapper => "wrapper",
                    Make::Guest => "guest",
                },
                options: descriptor.options.iter().map(option).collect(),
                imports: descriptor.imports.clone(),
            }
        })
        .collect();
    Json(Providers { count: providers.len(), providers })
}

fn option(spec: &OptionSpec) -> OptionAnswer {
    OptionAnswer {
        name: spec.name.clone(),
        kind: api_type(&spec.kind),
        required: spec.marks.contains(OptionMarks::REQUIRED),
        default: api_default(spec),
        secret: spec.is_secret(),
        credential: spec.marks.contains(OptionMarks::CREDENTIAL),
        choices: match &spec.kind {
            OptionKind::Choice(choices) | OptionKind::Several(choices) => choices.clone(),
            _ => Vec::new(),
        },
        help: spec.help.clone(),
    }
}
