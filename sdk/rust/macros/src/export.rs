//! `#[export]`: writes the exported functions of one interface, and the section that tells the linker about them.
//!
//! A core module becomes a component by the sections named `component-type...` in it: each holds a world, and the linker merges them
//! all. The SDK's bindings carry one with every import (those that are not used vanish) and no export. Each `#[export]` adds one more,
//! with the interfaces of its trait as the only exports: so a component exports exactly what its author implements. The section's
//! name must be its own, since sections of one name are joined byte by byte.

use proc_macro2::{Ident, Literal, TokenStream};
use quote::{format_ident, quote};
use syn::{Error, ItemImpl, Result};
use wit_component::StringEncoding;
use wit_parser::Resolve;

/// The trait that an author implements, and the interfaces that it gives.
const TRAITS: &[(&str, &[&str])] = &[
    ("Provider", &["setup", "reading"]),
    ("Paths", &["browsing"]),
    ("Browsing", &["browsing"]),
    ("Walking", &["walking"]),
    ("Decoding", &["decoding"]),
    ("Writing", &["writing"]),
    ("Removing", &["removing"]),
    ("Directories", &["directories"]),
    ("Purging", &["purging"]),
    ("Moving", &["moving"]),
    ("Copying", &["copying"]),
    ("Times", &["times"]),
    ("Jobs", &["jobs"]),
    ("Room", &["room"]),
    ("Links", &["links"]),
    ("Cleaning", &["cleaning"]),
    ("Versions", &["versions"]),
    ("Changes", &["changes"]),
    ("Session", &["session"]),
];

/// The contract, as it stands when the SDK is built.
const CONTRACT: &[&str] = &[
    include_str!("../../../../wit/0.1/browsing.wit"),
    include_str!("../../../../wit/0.1/changing.wit"),
    include_str!("../../../../wit/0.1/extras.wit"),
    include_str!("../../../../wit/0.1/host.wit"),
    include_str!("../../../../wit/0.1/powers.wit"),
    include_str!("../../../../wit/0.1/reading.wit"),
    include_str!("../../../../wit/0.1/requests.wit"),
    include_str!("../../../../wit/0.1/secrets.wit"),
    include_str!("../../../../wit/0.1/session.wit"),
    include_str!("../../../../wit/0.1/setup.wit"),
    include_str!("../../../../wit/0.1/types.wit"),
    include_str!("../../../../wit/0.1/watching.wit"),
    include_str!("../../../../wit/0.1/writing.wit"),
];

pub(crate) fn export(arguments: TokenStream, mut item: ItemImpl) -> Result<TokenStream> {
    if !arguments.is_empty() {
        return Err(Error::new_spanned(arguments, "takes no arguments"));
    }
    let wrong = |place: &dyn quote::ToTokens| {
        let names: Vec<_> = TRAITS.iter().map(|(name, _)| *name).collect();
        Error::new_spanned(place, format!("must stand above an implementation of one of {}", names.join(", ")))
    };
    let name = match &item.trait_ {
        Some((None, path, _)) => path.segments.last().map(|segment| segment.ident.clone()),
        _ => None,
    };
    let name = name.ok_or_else(|| wrong(&item.self_ty))?;
    let (_, interfaces) = TRAITS.iter().find(|(known, _)| name == known).ok_or_else(|| wrong(&name))?;
    // Its absence is what keeps a trait from being implemented and not exported.
    item.items.push(syn::parse_quote!(
        #[doc(hidden)]
        const EXPORTED: () = ();
    ));
    let exports = interfaces.iter().map(|interface| one(&name, &item, interface)).collect::<Result<TokenStream>>()?;
    Ok(quote! { #item #exports })
}

/// The exported functions and the section of one interface.
fn one(name: &Ident, item: &ItemImpl, interface: &str) -> Result<TokenStream> {
    let section = section(interface).map_err(|error| Error::new_spanned(name, error))?;
    let length = section.len();
    let section = Literal::byte_string(&section);
    let section_name = format!("component-type:causeway:{interface}");
    let export = format_ident!("__export_causeway_provider_{interface}_0_1_0_cabi");
    let interface = format_ident!("{interface}");
    let provider = &item.self_ty;
    Ok(quote! {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Exported = ::causeway_sdk::exported::#name<#provider>;
            ::causeway_sdk::#export!(Exported with_types_in ::causeway_sdk::exported::#interface);
            #[used]
            // What the linker is told of: the section holds types, no code.
            #[allow(unsafe_code)]
            #[unsafe(link_section = #section_name)]
            static SECTION: [u8; #length] = *#section;
        };
    })
}

/// A world that exports this interface and nothing else, as the linker reads it.
fn section(interface: &str) -> std::result::Result<Vec<u8>, String> {
    let told = |error: &dyn std::fmt::Display| format!("the contract cannot be read: {error:#}");
    let mut resolve = Resolve::default();
    let contract: String = CONTRACT.iter().enumerate().map(|(at, text)| without_package_line(text, at == 0)).collect();
    resolve.push_str("contract.wit", &contract).map_err(|error| told(&error))?;
    let package = resolve.push_str("export.wit", &world(interface)).map_err(|error| told(&error))?;
    let world = resolve.select_world(&[package], None).map_err(|error| told(&error))?;
    wit_component::metadata::encode(&resolve, world, StringEncoding::UTF8, None).map_err(|error| told(&error))
}

fn world(interface: &str) -> String {
    format!(
        "package causeway:exporting-{interface};\nworld exporting {{ export causeway:provider/{interface}@0.1.0; }}\n"
    )
}

/// The files become one text, which has one package line.
fn without_package_line(text: &str, first: bool) -> String {
    let keep = |line: &&str| first || !line.starts_with("package ");
    text.lines().filter(keep).flat_map(|line| [line, "\n"]).collect()
}
