//! The components at hand: read, checked, compiled and described, once.
//!
//! What a component imports is what it may do, so the imports are read off the file before anything is compiled. They are
//! held against what the operator grants, and a component that asks for more is refused by name. Its exports are its
//! features. Then it is compiled (or its compiled form loaded), and asked once, in an instance that has nothing, to
//! describe itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use causeway_http::Gate;
use causeway_storage::{Descriptor, Error, ErrorKind, Make, Result};
use sha2::{Digest, Sha256};

use crate::backend::Keeper;
use crate::bindings::exports::causeway::provider::setup;
use crate::compiled::CompiledCache;
use crate::component::Component;
use crate::convert;
use crate::engine::Engine;
use crate::provider::GuestProvider;
use crate::signing::way::OauthClients;

/// The package of the contract, and the version that this runtime speaks.
const PACKAGE: &str = "causeway:provider/";
const VERSION: &str = "@0.1.";

/// Interfaces that hold nothing but types.
const TYPES: [&str; 3] = ["types", "requests", "secret-uses"];

/// What every component may use.
const ALWAYS: [&str; 9] = ["settings", "http", "state", "clock", "random", "log", "content", "crypto", "gathering"];

/// What a component may use if the operator grants it by name.
pub const GRANTABLE: [&str; 3] = ["reveal", "foreign-hosts", "assigned-hosts"];

/// What every component must export; where it exports `walking`, the host needs no `browsing`.
const REQUIRED: [&str; 3] = ["setup", "browsing", "reading"];

/// The largest component, in bytes: languages that bring their runtime along need about 20 MB.
const LARGEST_BYTES: u64 = 64 << 20;

/// What the operator grants beyond the usual: provider name to interfaces.
pub type Grants = BTreeMap<String, BTreeSet<String>>;

/// What can be read off a component's file without running it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// SHA-256 of the file, in hex.
    pub digest: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Interfaces of the contract that it imports, types aside: its permissions.
    pub imports: Vec<String>,
    /// Interfaces that it exports: its features.
    pub exports: Vec<String>,
    /// It imports WASI, and is given nothing through it.
    pub wasi: bool,
}

/// Reads a component's imports and exports. Refuses what is no component, speaks another version of the contract, or
/// imports what no host offers.
pub fn inspect(wasm: &[u8]) -> Result<Inspection> {
    let invalid = |message: String| Error::new(ErrorKind::Invalid, message);
    let mut inspection = Inspection {
        digest: data_encoding::HEXLOWER.encode(&Sha256::digest(wasm)),
        size_bytes: wasm.len() as u64,
        imports: Vec::new(),
        exports: Vec::new(),
        wasi: false,
    };
    if !wasmparser::Parser::is_component(wasm) {
        return Err(invalid("the file is not a WebAssembly component".into()));
    }
    let (imports, exports) =
        names(wasm).map_err(|error| invalid("the file is not a WebAssembly component".into()).with_detail(error))?;
    let mut unknown = Vec::new();
    for name in imports {
        if name.starts_with("wasi:") {
            inspection.wasi = true;
            continue;
        }
        match interface(&name)? {
            Some(interface) if TYPES.contains(&interface) => {}
            Some(interface) if ALWAYS.contains(&interface) || GRANTABLE.contains(&interface) => {
                inspection.imports.push(interface.to_owned());
            }
            _ => unknown.push(name),
        }
    }
    if !unknown.is_empty() {
        return Err(invalid(format!("the component imports what this runtime does not offer: {}", unknown.join(", "))));
    }
    for name in exports {
        if let Some(interface) = interface(&name)? {
            inspection.exports.push(interface.to_owned());
        }
    }
    let exports = |name: &str| inspection.exports.iter().any(|export| export == name);
    let missing: Vec<_> =
        REQUIRED.into_iter().filter(|name| !(exports(name) || *name == "browsing" && exports("walking"))).collect();
    if !missing.is_empty() {
        return Err(invalid(format!("the component does not export what every provider must: {}", missing.join(", "))));
    }
    Ok(inspection)
}

/// The interface of the contract that a name stands for.
fn interface(name: &str) -> Result<Option<&str>> {
    let Some(rest) = name.strip_prefix(PACKAGE) else { return Ok(None) };
    match rest.split_once('@') {
        Some((interface, _)) if rest.contains(VERSION) => Ok(Some(interface)),
        version => {
            let version = version.map_or("none", |(_, version)| version);
            let message = format!("the component speaks version {version} of the contract; this runtime speaks 0.1");
            Err(Error::new(ErrorKind::Invalid, message))
        }
    }
}

/// The outermost imports and exports of a component.
fn names(wasm: &[u8]) -> Result<(Vec<String>, Vec<String>), wasmparser::BinaryReaderError> {
    use wasmparser::{Parser, Payload};
    let (mut imports, mut exports, mut depth) = (Vec::new(), Vec::new(), 0u32);
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    exports.push(export?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok((imports, exports))
}

/// A component that cannot be used, and why.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub error: Error,
}

/// What the host gives to every guest.
#[derive(Clone)]
pub struct Surroundings {
    /// The way out.
    pub gate: Arc<Gate>,
    /// What outlives a call.
    pub keeper: Arc<dyn Keeper>,
}

/// Compiles, checks and describes components.
pub struct Catalog {
    engine: Arc<Engine>,
    compiled: CompiledCache,
    grants: Grants,
    surroundings: Surroundings,
    oauth_clients: OauthClients,
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Catalog")
    }
}

impl Catalog {
    /// A catalog that keeps compiled code in this cache.
    pub fn new(engine: Arc<Engine>, compiled: CompiledCache, grants: Grants, surroundings: Surroundings) -> Catalog {
        Catalog { engine, compiled, grants, surroundings, oauth_clients: OauthClients::new() }
    }

    /// With OAuth clients of the operator.
    pub fn with_oauth_clients(self, oauth_clients: OauthClients) -> Catalog {
        Catalog { oauth_clients, ..self }
    }

    /// The providers of all `*.wasm` files in a directory, and those files that cannot be used. `progress` hears of each
    /// file before work on it begins.
    pub async fn load(
        &self,
        directory: &Path,
        mut progress: impl FnMut(&Path),
    ) -> Result<(Vec<Arc<GuestProvider>>, Vec<Refused>)> {
        let mut paths = Vec::new();
        for item in std::fs::read_dir(directory)? {
            let path = item?.path();
            if path.extension().is_some_and(|extension| extension == "wasm") {
                paths.push(path);
            }
        }
        paths.sort();
        let (mut providers, mut refused): (Vec<Arc<GuestProvider>>, Vec<Refused>) = (Vec::new(), Vec::new());
        for path in paths {
            progress(&path);
            match self.open(&path).await {
                Ok(provider) => providers.push(provider),
                Err(error) => refused.push(Refused { path, error }),
            }
        }
        Ok((providers, refused))
    }

    /// The provider of one file.
    pub async fn open(&self, path: &Path) -> Result<Arc<GuestProvider>> {
        let size = std::fs::metadata(path)?.len();
        if size > LARGEST_BYTES {
            return Err(Error::new(ErrorKind::Invalid, "the component is larger than 64 MiB"));
        }
        self.provider(&std::fs::read(path)?).await
    }

    /// The provider of one component.
    pub async fn provider(&self, wasm: &[u8]) -> Result<Arc<GuestProvider>> {
        let inspection = inspect(wasm)?;
        let (component, described) = self.ask(wasm, &inspection).await?;
        self.check_grants(&described.name, &inspection)?;
        let descriptor = descriptor(&described, &inspection);
        let client = self.oauth_clients.get(&descriptor.name).cloned();
        let surroundings = self.surroundings.clone();
        Ok(Arc::new(GuestProvider::new(component, descriptor, described, inspection, surroundings, client)))
    }

    /// What a component says of itself, granted or not: it cannot be used through this.
    pub async fn describe(&self, wasm: &[u8]) -> Result<Descriptor> {
        let inspection = inspect(wasm)?;
        let (_, described) = self.ask(wasm, &inspection).await?;
        Ok(descriptor(&described, &inspection))
    }

    async fn ask(&self, wasm: &[u8], inspection: &Inspection) -> Result<(Arc<Component>, setup::Descriptor)> {
        let (compiled, _) = tokio::task::block_in_place(|| self.compiled.load(&self.engine.wasmtime, wasm))?;
        let component = Arc::new(Component::link(&self.engine, &compiled, inspection.wasi)?);
        let described = describe(&component).await?;
        Ok((component, described))
    }

    fn check_grants(&self, name: &str, inspection: &Inspection) -> Result<()> {
        let granted = self.grants.get(name);
        let wanted: Vec<_> = inspection
            .imports
            .iter()
            .filter(|import| GRANTABLE.contains(&import.as_str()))
            .filter(|import| !granted.is_some_and(|granted| granted.contains(*import)))
            .cloned()
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let message = format!("the provider {name} asks for what it was not granted: {}", wanted.join(", "));
        Err(Error::new(ErrorKind::Denied, message))
    }
}

/// Asks a component to describe itself, in an instance without a backend: whatever import it uses ends the call.
async fn describe(component: &Arc<Component>) -> Result<setup::Descriptor> {
    let indices = component.setup.clone();
    let described = component
        .call(None, move |store, instance| {
            Box::pin(async move {
                let setup = indices.load(&mut *store, instance)?;
                setup.call_describe(store).await
            })
        })
        .await?;
    check_descriptor(&described)?;
    Ok(described)
}

fn check_descriptor(described: &setup::Descriptor) -> Result<()> {
    let sound = |name: &str| {
        !name.is_empty()
            && name.len() <= 64
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let faulty =
        |what: String| Err(Error::new(ErrorKind::Invalid, format!("the component's descriptor is faulty: {what}")));
    if let Some(name) = std::iter::once(&described.name).chain(&described.aliases).find(|name| !sound(name)) {
        return faulty(format!("`{name}` is no name (lower case letters, digits and dashes)"));
    }
    let mut seen = BTreeSet::new();
    let options = described.options.iter().map(|option| option.name.as_str());
    let slots = described.slots.iter().map(|slot| slot.name.as_str());
    for name in options.chain(slots) {
        if name.is_empty() || name.len() > 64 || !seen.insert(name) {
            return faulty(format!("the option or slot `{name}` is empty, too long or there twice"));
        }
    }
    Ok(())
}

fn descriptor(described: &setup::Descriptor, inspection: &Inspection) -> Descriptor {
    Descriptor {
        name: described.name.clone(),
        backend_type: described.backend_type.clone(),
        aliases: described.aliases.clone(),
        title: described.title.clone(),
        make: Make::Guest,
        version: described.version.clone(),
        options: described.options.iter().map(convert::option_spec).collect(),
        imports: inspection.imports.clone(),
    }
}
