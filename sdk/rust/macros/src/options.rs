//! `#[derive(Options)]`: reads a settings struct and writes its table and its parser as calls into `causeway_sdk::options`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::ParseStream;
use syn::{Attribute, Data, DeriveInput, Error, Expr, ExprLit, Field, Fields, Ident, Lit, LitStr, Meta, Result, Token};

pub(crate) fn derive(input: DeriveInput) -> Result<TokenStream> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(&input.ident, "options are the fields of a struct"));
    };
    let Fields::Named(fields) = &data.fields else {
        return Err(Error::new_spanned(&input.ident, "options have names: use named fields"));
    };
    let options = fields.named.iter().map(Declared::parse).collect::<Result<Vec<_>>>()?;
    let specs = options.iter().map(Declared::spec);
    let values = options.iter().map(Declared::value);
    let (name, count) = (&input.ident, options.len());
    Ok(quote! {
        impl ::causeway_sdk::options::Options for #name {
            fn specs() -> ::std::vec::Vec<::causeway_sdk::options::OptionSpec> {
                let mut specs = ::std::vec::Vec::with_capacity(#count);
                #(specs.push(#specs);)*
                specs
            }

            fn read(given: &::causeway_sdk::options::Given) -> Self {
                Self { #(#values),* }
            }
        }
    })
}

/// One field, understood.
struct Declared<'a> {
    field: &'a Ident,
    name: String,
    kind_of: &'a syn::Type,
    help: String,
    default: Option<String>,
    marks: Vec<Ident>,
    kind: Option<TokenStream>,
    uses: Vec<TokenStream>,
    is_file: bool,
}

impl<'a> Declared<'a> {
    fn parse(field: &'a Field) -> Result<Declared<'a>> {
        let ident = field.ident.as_ref().ok_or_else(|| Error::new_spanned(field, "options have names"))?;
        let help = help(&field.attrs)?;
        if help.is_empty() {
            return Err(Error::new_spanned(field, "an option needs a doc comment: it is the help that users read"));
        }
        let name = ident.to_string().trim_start_matches("r#").to_owned();
        let mut declared = Declared {
            field: ident,
            name,
            kind_of: &field.ty,
            help,
            default: None,
            marks: Vec::new(),
            kind: None,
            uses: Vec::new(),
            is_file: false,
        };
        for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("option")) {
            attribute.parse_args_with(|input: ParseStream<'_>| declared.attribute(input))?;
        }
        Ok(declared)
    }

    /// The inside of `#[option(...)]`.
    fn attribute(&mut self, input: ParseStream<'_>) -> Result<()> {
        while !input.is_empty() {
            let word: Ident = input.parse()?;
            self.word(&word, input)?;
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(())
    }

    fn word(&mut self, word: &Ident, input: ParseStream<'_>) -> Result<()> {
        match word.to_string().as_str() {
            "default" => {
                input.parse::<Token![=]>()?;
                self.default = Some(literal(&input.parse()?)?);
            }
            // Where the option's name is no name of Rust's: `2fa`.
            "name" => self.name = named(input)?.value(),
            "required" | "advanced" | "credential" | "identity" | "machine" => {
                self.marks.push(Ident::new(&word.to_string().to_uppercase(), word.span()));
            }
            "endpoint" => self.kind = Some(quote!(::causeway_sdk::options::OptionKind::Endpoint)),
            "endpoint_and_below" => self.kind = Some(quote!(::causeway_sdk::options::OptionKind::EndpointAndBelow)),
            "encoding" => self.kind = Some(quote!(::causeway_sdk::options::OptionKind::Encoding)),
            "choices" => {
                let choices = strings(input)?;
                self.kind =
                    Some(quote!(::causeway_sdk::options::OptionKind::Choice(::std::vec![#(#choices.to_owned()),*])));
            }
            "header" | "query" | "query_rest" | "form" | "json" | "xml" | "cookie" => {
                self.uses.push(placement(word, input)?);
            }
            "hmac" => self.uses.push(hmac(input)?),
            "rsa" => self.uses.push(rsa(input)?),
            "public" => {
                let fields = strings(input)?;
                self.uses.push(quote!(#(uses = uses.public_field(#fields);)*));
            }
            // A secret in a file of the machine: always the operator's to allow.
            "secret_file" => {
                self.is_file = true;
                self.marks.push(Ident::new("MACHINE", word.span()));
            }
            "reveal" => self.uses.push(quote!(uses = uses.reveal();)),
            _ => return Err(Error::new_spanned(word, "is not something that can be said of an option")),
        }
        Ok(())
    }

    fn spec(&self) -> TokenStream {
        let Declared { name, kind_of, help, marks, uses, .. } = self;
        let default = match &self.default {
            Some(default) => quote!(::std::option::Option::Some(#default)),
            None => quote!(<#kind_of as ::causeway_sdk::options::Setting>::DEFAULT),
        };
        let kind = match (&self.kind, uses.is_empty()) {
            (Some(kind), _) => kind.clone(),
            (None, _) if self.is_file => quote!({
                #[allow(unused_mut)]
                let mut uses = ::causeway_sdk::options::Uses::new();
                #(#uses)*
                ::causeway_sdk::options::OptionKind::SecretFile(uses.into())
            }),
            (None, true) => quote!(<#kind_of as ::causeway_sdk::options::Setting>::kind()),
            (None, false) => quote!({
                let mut uses = ::causeway_sdk::options::Uses::new();
                #(#uses)*
                <#kind_of as ::causeway_sdk::options::SecretSetting>::kind(uses)
            }),
        };
        let marks = marks.iter().map(|mark| quote!(| ::causeway_sdk::options::OptionMarks::#mark));
        quote!(::causeway_sdk::options::spec(
            #name, #kind, #default, ::causeway_sdk::options::OptionMarks::empty() #(#marks)*, #help
        ))
    }

    fn value(&self) -> TokenStream {
        let Declared { field, name, kind_of, .. } = self;
        let default = match &self.default {
            Some(default) => quote!(::std::option::Option::Some(#default)),
            None => quote!(<#kind_of as ::causeway_sdk::options::Setting>::DEFAULT),
        };
        quote!(#field: <#kind_of as ::causeway_sdk::options::Setting>::read(#name, given.get(#name), #default))
    }
}

/// `header("name", prefix = "Bearer ", base64, md5, field = "/token", towards("https://..."))`; `query_rest(field = "query")`.
fn placement(word: &Ident, input: ParseStream<'_>) -> Result<TokenStream> {
    let inside;
    syn::parenthesized!(inside in input);
    let rest = word == "query_rest";
    let at: Option<LitStr> = if rest { None } else { Some(inside.parse()?) };
    let mut prefix = LitStr::new("", word.span());
    let (mut wraps, mut towards, mut field) = (Vec::new(), Vec::new(), None);
    while !inside.is_empty() {
        if at.is_some() || !wraps.is_empty() || !towards.is_empty() || field.is_some() {
            inside.parse::<Token![,]>()?;
        }
        let word: Ident = inside.parse()?;
        match word.to_string().as_str() {
            "prefix" => {
                inside.parse::<Token![=]>()?;
                prefix = inside.parse()?;
            }
            "field" => field = Some(named(&inside)?),
            "towards" => towards = strings(&inside)?,
            "base64" => wraps.push(quote!(::causeway_sdk::text::Wrap::Base64)),
            "from_base64" => wraps.push(quote!(::causeway_sdk::text::Wrap::FromBase64)),
            "hex" => wraps.push(quote!(::causeway_sdk::text::Wrap::Hex)),
            "md5" => wraps.push(quote!(::causeway_sdk::text::Wrap::Digest(::causeway_sdk::Digest::Md5))),
            "sha256" => wraps.push(quote!(::causeway_sdk::text::Wrap::Digest(::causeway_sdk::Digest::Sha256))),
            _ => return Err(Error::new_spanned(word, "is not something that can be said of a placement")),
        }
    }
    let place = match at {
        None => quote!(::causeway_sdk::options::Place::QueryRest),
        Some(at) => {
            let place = Ident::new(&capitalised(&word.to_string()), word.span());
            quote!(::causeway_sdk::options::Place::#place(#at.to_owned()))
        }
    };
    let of_field = of_field("Place", field);
    Ok(quote!(uses = uses.place(
        #place, #prefix, ::std::vec![#(#wraps),*], ::std::vec![#(#towards.to_owned()),*],
    )#of_field;))
}

/// `= "name"`.
fn named(input: ParseStream<'_>) -> Result<LitStr> {
    input.parse::<Token![=]>()?;
    input.parse()
}

fn of_field(used: &str, field: Option<LitStr>) -> Option<TokenStream> {
    let used = Ident::new(used, proc_macro2::Span::call_site());
    field.map(|field| quote!(.of_field(::causeway_sdk::options::Used::#used, #field)))
}

/// `rsa(pkcs1)`, `rsa(pkcs1, field = "/private_key")`.
fn rsa(input: ParseStream<'_>) -> Result<TokenStream> {
    let inside;
    syn::parenthesized!(inside in input);
    let scheme: Ident = inside.parse()?;
    let scheme = Ident::new(&capitalised(&scheme.to_string()), scheme.span());
    let mut field = None;
    while !inside.is_empty() {
        inside.parse::<Token![,]>()?;
        let word: Ident = inside.parse()?;
        match word.to_string().as_str() {
            "field" => field = Some(named(&inside)?),
            _ => return Err(Error::new_spanned(word, "is not something that can be said of a key")),
        }
    }
    let of_field = of_field("Rsa", field);
    Ok(quote!(uses = uses.rsa(::causeway_sdk::options::Rsa::#scheme)#of_field;))
}

/// `hmac(sha256, "AWS4", 4)`: the hash, what stands before the secret, how many steps; then `base64` where the key is configured so,
/// and `field = "AccountKey"`.
fn hmac(input: ParseStream<'_>) -> Result<TokenStream> {
    let inside;
    syn::parenthesized!(inside in input);
    let hash: Ident = inside.parse()?;
    let hash = Ident::new(&capitalised(&hash.to_string()), hash.span());
    inside.parse::<Token![,]>()?;
    let prefix: LitStr = inside.parse()?;
    inside.parse::<Token![,]>()?;
    let steps: syn::LitInt = inside.parse()?;
    let (mut base64, mut field) = (false, None);
    while !inside.is_empty() {
        inside.parse::<Token![,]>()?;
        let word: Ident = inside.parse()?;
        match word.to_string().as_str() {
            "base64" => base64 = true,
            "field" => field = Some(named(&inside)?),
            _ => return Err(Error::new_spanned(word, "is not something that can be said of a key")),
        }
    }
    let of_field = of_field("Hmac", field);
    Ok(quote!(uses = uses.hmac(::causeway_sdk::options::Hash::#hash, #prefix, #steps, #base64)#of_field;))
}

/// `("a", "b")`.
fn strings(input: ParseStream<'_>) -> Result<Vec<LitStr>> {
    let inside;
    syn::parenthesized!(inside in input);
    Ok(inside.parse_terminated(<LitStr as syn::parse::Parse>::parse, Token![,])?.into_iter().collect())
}

/// A default as the text that the API shows.
fn literal(expression: &Expr) -> Result<String> {
    match expression {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Ok(text.value()),
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => Ok(number.base10_digits().to_owned()),
        Expr::Lit(ExprLit { lit: Lit::Bool(truth), .. }) => Ok(truth.value.to_string()),
        _ => Err(Error::new_spanned(expression, "a default is a string, a number or a truth")),
    }
}

/// The doc comment, its lines joined.
fn help(attributes: &[Attribute]) -> Result<String> {
    let mut lines = Vec::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("doc")) {
        if let Meta::NameValue(pair) = &attribute.meta {
            lines.push(literal(&pair.value)?.trim().to_owned());
        }
    }
    Ok(lines.join(" ").trim().to_owned())
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}
