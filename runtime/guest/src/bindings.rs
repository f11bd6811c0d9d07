//! What the contract generates. Its types go no further than this crate; `convert` turns them into the runtime's own.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing
)]

wasmtime::component::bindgen!({
    path: "../../wit/0.1",
    world: "everything",
    imports: {
        "causeway:provider/http": async | trappable,
        "causeway:provider/state": async | trappable,
        "causeway:provider/content": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    with: {
        "causeway:provider/http.body": crate::host::OpenBody,
        "causeway:provider/content.source": crate::host::Content,
        "causeway:provider/gathering.sink": crate::sink::Sink,
    },
    require_store_data_send: true,
});
