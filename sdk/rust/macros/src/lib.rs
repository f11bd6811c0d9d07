//! The two macros of the SDK: `#[derive(Options)]` and `#[export]`. They write no logic: all that happens at run time is ordinary
//! code of the `causeway-sdk` crate, which these macros only call.

use proc_macro::TokenStream;

mod export;
mod options;

/// Makes a settings struct an option table, a parser and a set of declared uses of secrets.
///
/// Each field is an option: its name the option's name, its doc comment the help, its type the kind (`String` text, integers number,
/// `bool` truth, `Option<bool>` tri-state, `Size`, `Duration`, `Secret`, `Vec<String>`). `#[option(...)]` adds the rest:
/// `default = ...`; the marks `required, advanced, credential, identity, machine`; another kind for a text: `endpoint`,
/// `endpoint_and_below`, `encoding`, `choices("a", "b")`; and what may be done with a secret: `header("name")`,
/// `header("name", prefix = "Bearer ")`, `header("name", base64, md5)` (brackets from the outside in), `query("name")`, `form("name")`,
/// `json("/pointer")`, `query_rest`, `hmac(sha256, "AWS4", 4)` (`base64` after it where the key is configured so), `rsa(pkcs1)`, `reveal`,
/// `public("client_email")`; `secret_file` where the option names a file of the machine. Of a secret that is a document, `field = "..."`
/// inside the parentheses says of which field.
#[proc_macro_derive(Options, attributes(option))]
pub fn options(input: TokenStream) -> TokenStream {
    options::derive(syn::parse_macro_input!(input)).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Exports what an implementation offers: `#[export] impl Writing for S3 { ... }` makes the component export `writing`, and so the
/// backend writable. A provider's trait that is implemented without it does not compile.
#[proc_macro_attribute]
pub fn export(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let item = syn::parse_macro_input!(item);
    export::export(arguments.into(), item).unwrap_or_else(syn::Error::into_compile_error).into()
}
