//! What the contract looks like in Rust, as generated from `wit/0.1`. Nothing here is for authors: the nouns that are plain enough
//! are shown again by `nouns.rs`, and everything else has a builder.

#![allow(
    missing_docs,
    unsafe_code,
    unreachable_pub,
    clippy::all,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

wit_bindgen::generate!({
    path: "../../wit/0.1",
    world: "everything",
    pub_export_macro: true,
    additional_derives: [PartialEq],
});
