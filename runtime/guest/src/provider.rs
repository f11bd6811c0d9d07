//! A component as a provider: settings become a configured backend, and that a storage.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use causeway_http::uses::SecretUse;
use causeway_http::{Origin, Pace, Way};
use causeway_storage::{
    Act, Can, ConsentRequest, Descriptor, Encoding, Error, ErrorKind, Features, NormalForm, OpenError, Opening,
    OptionKind, Problem, Provider, Result, Sameness, Secret, Settings, SignIn, Storage, Value,
};

use crate::backend::{Backend, Space};
use crate::bindings::exports::causeway::provider::setup;
use crate::catalog::{Inspection, Surroundings};
use crate::component::Component;
use crate::convert;
use crate::signing::way::{ADDRESSES, Making, OauthClient, another_issuer};
use crate::signing::{self, Signing, Way as SigningWay};
use crate::slots::Slots;
use crate::storage::GuestStorage;

/// A provider whose code is a component.
pub struct GuestProvider {
    component: Arc<Component>,
    descriptor: Descriptor,
    described: setup::Descriptor,
    inspection: Inspection,
    uses: Arc<HashMap<String, SecretUse>>,
    surroundings: Surroundings,
    /// The operator's OAuth client.
    oauth_client: Option<OauthClient>,
}

impl std::fmt::Debug for GuestProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GuestProvider({})", self.descriptor.name)
    }
}

impl GuestProvider {
    pub(crate) fn new(
        component: Arc<Component>,
        descriptor: Descriptor,
        described: setup::Descriptor,
        inspection: Inspection,
        surroundings: Surroundings,
        oauth_client: Option<OauthClient>,
    ) -> GuestProvider {
        let of_options = described.options.iter().filter_map(|option| match &option.kind {
            setup::OptionKind::Secret(uses) | setup::OptionKind::SecretFile(uses) => Some((option.name.clone(), uses)),
            _ => None,
        });
        let of_slots = described.slots.iter().map(|slot| (slot.name.clone(), &slot.uses));
        let uses = of_options.chain(of_slots).map(|(name, uses)| (name, convert::secret_use(uses.clone()))).collect();
        GuestProvider { component, descriptor, described, inspection, uses: Arc::new(uses), surroundings, oauth_client }
    }

    /// What can be read off the component's file.
    pub fn inspection(&self) -> &Inspection {
        &self.inspection
    }

    /// Origins that may be reached under these settings: the declared ones, and those of endpoint options.
    fn origins(&self, settings: &Settings) -> Result<Vec<Origin>, Vec<Problem>> {
        let mut origins = Vec::new();
        let mut problems = Vec::new();
        let lookup = |name: &str| settings.text(name).map(str::to_owned).or_else(|| self.default_of(name));
        for template in &self.described.origins {
            match Origin::parse(template, lookup) {
                Ok(origin) => origins.extend(origin),
                Err(error) => problems.push(Problem::new("", error.message)),
            }
        }
        for option in &self.descriptor.options {
            let below = match option.kind {
                OptionKind::Endpoint => false,
                OptionKind::EndpointAndBelow => true,
                _ => continue,
            };
            // Where tokens are given gets no secret but the client's.
            if ADDRESSES.contains(&option.name.as_str()) {
                continue;
            }
            let Some(url) = lookup(&option.name).filter(|url| !url.is_empty()) else { continue };
            match Origin::of_endpoint(&url, below) {
                Ok(origin) => origins.push(origin),
                Err(error) => problems.push(Problem::new(&option.name, error.message)),
            }
        }
        for (name, url) in self.public_urls(settings) {
            match Origin::of_endpoint(&url, false) {
                Ok(origin) => origins.push(origin),
                Err(error) => problems.push(Problem::new(name, error.message)),
            }
        }
        if problems.is_empty() { Ok(origins) } else { Err(problems) }
    }

    /// The URLs that stand in secrets, in fields that are declared public.
    fn public_urls(&self, settings: &Settings) -> Vec<(String, String)> {
        let mut urls = Vec::new();
        for (name, uses) in self.uses.iter() {
            let Some(Value::Secret(document)) = settings.get(name) else { continue };
            let fields = uses.public_fields.iter().filter_map(|field| causeway_http::document_field(document, field));
            let texts = fields.filter_map(|field| String::from_utf8(field.expose().to_vec()).ok());
            let found = texts.filter(|text| text.starts_with("https://") || text.starts_with("http://"));
            urls.extend(found.map(|url| (name.clone(), url)));
        }
        urls
    }

    /// What may be done with each secret under these settings: where a placement names an endpoint option, that endpoint.
    fn uses_under(&self, settings: &Settings) -> HashMap<String, SecretUse> {
        let mut uses = (*self.uses).clone();
        for placement in uses.values_mut().flat_map(|uses| &mut uses.places) {
            for beginning in &mut placement.towards {
                let named = beginning.strip_prefix('{').and_then(|rest| rest.split_once('}'));
                let Some((name, rest)) = named else { continue };
                // An endpoint that is not set leads nowhere, and so does the placement.
                if let Some(url) = settings.text(name).map(str::to_owned).or_else(|| self.default_of(name)) {
                    *beginning = format!("{url}{rest}");
                }
            }
        }
        uses
    }

    fn imports(&self, interface: &str) -> bool {
        self.inspection.imports.iter().any(|import| import == interface)
    }

    fn default_of(&self, name: &str) -> Option<String> {
        self.descriptor.option(name).and_then(|option| option.default.clone()).filter(|text| !text.is_empty())
    }

    fn encoding(&self, settings: &Settings) -> Encoding {
        let option = self.descriptor.options.iter().find(|option| option.kind == OptionKind::Encoding);
        let given = option.and_then(|option| settings.text(&option.name).or(option.default.as_deref()));
        given.and_then(Encoding::parse).unwrap_or_default()
    }

    async fn configure(&self, backend: &Arc<Backend>) -> Result<setup::Traits, OpenError> {
        let indices = self.component.setup.clone();
        let configured = self
            .component
            .call(Some(backend.clone()), move |store, instance| {
                Box::pin(async move {
                    let setup = indices.load(&mut *store, instance)?;
                    setup.call_configure(store).await
                })
            })
            .await?;
        configured.map_err(|problems| {
            OpenError::Settings(
                problems.into_iter().map(|problem| Problem::new(problem.option_name, problem.message)).collect(),
            )
        })
    }

    /// The rates that the traits ask for, towards origins that are written as the declared ones are.
    fn paces(&self, traits: &setup::Traits, settings: &Settings) -> Result<Vec<Pace>> {
        let lookup = |name: &str| settings.text(name).map(str::to_owned).or_else(|| self.default_of(name));
        let pace = |pace: &setup::Pace| {
            let origins = pace.origins.iter().filter_map(|template| Origin::parse(template, lookup).transpose());
            Ok(Pace {
                origins: origins.collect::<Result<_>>()?,
                interval_ms: pace.interval_ms,
                burst: pace.burst,
                parallel: pace.parallel,
            })
        };
        traits.paces.iter().map(pace).collect()
    }

    fn backend(
        &self,
        opening: &Opening,
        settings: Arc<Settings>,
        slots: Arc<Slots>,
        paces: Vec<Pace>,
    ) -> Result<Backend, OpenError> {
        let way = Way {
            tenant: opening.tenant.clone(),
            backend: opening.backend.clone(),
            origins: self.origins(&settings).map_err(OpenError::Settings)?,
            uses: self.uses_under(&settings),
            slots: self.described.slots.iter().map(|slot| slot.name.clone()).collect(),
            secrets: slots.clone(),
            paces,
            foreign_hosts: self.imports("foreign-hosts"),
            assigned_hosts: self.imports("assigned-hosts"),
        };
        let host = self.surroundings.keeper.state(&opening.tenant, &opening.backend, Space::Host);
        Ok(Backend {
            tenant: opening.tenant.clone(),
            id: opening.backend.clone(),
            provider: self.descriptor.name.clone(),
            encoding: self.encoding(&settings),
            settings,
            state: self.surroundings.keeper.state(&opening.tenant, &opening.backend, Space::State),
            keeper: self.surroundings.keeper.clone(),
            slots,
            uses: self.uses.clone(),
            io: self.component.io(),
            egress: self.surroundings.gate.egress(way),
            signing: Arc::new(Signing::new(SigningWay::Configured, host)),
            signs_in: false,
            tree: Arc::default(),
        })
    }
}

#[async_trait]
impl Provider for GuestProvider {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    async fn open(&self, opening: Opening) -> Result<Arc<dyn Storage>, OpenError> {
        Ok(Arc::new(self.open_guest(opening).await?))
    }

    async fn sign_in(&self, opening: Opening, act: Act) -> Result<SignIn, OpenError> {
        match act {
            Act::Code { code, parameters, redirect_uri, verifier, issuer } => {
                let back = CameBack { code, parameters, redirect_uri, verifier, issuer };
                self.exchange(opening, back).await
            }
            Act::Answer(answer) => {
                let (backend, _) = self.open_backend(&opening).await?;
                let answer = answer.map(|answer| text(&answer, "the answer")).transpose()?;
                if matches!(backend.signing.way(), SigningWay::Session(_)) {
                    let answered = signing::answered(&self.component, &backend, answer).await;
                    let standing = signing::standing(&self.component, &backend, &Act::Look).await?;
                    // What a person is asked next is no failure.
                    return match standing {
                        SignIn::Ready => answered.map(|()| SignIn::Ready).map_err(OpenError::from),
                        asked => Ok(asked),
                    };
                }
                Ok(signing::standing(&self.component, &backend, &Act::Look).await?)
            }
            Act::Leave => {
                let (backend, _) = self.open_backend(&opening).await?;
                if let SigningWay::Session(way) = backend.signing.way() {
                    way.leave(backend.signing.host(), &self.component, &backend).await?;
                }
                Ok(SignIn::Ready)
            }
            Act::Look | Act::Try => {
                let (backend, _) = self.open_backend(&opening).await?;
                Ok(signing::standing(&self.component, &backend, &act).await?)
            }
        }
    }

    async fn consent_url(&self, opening: Opening, request: ConsentRequest) -> Result<String, OpenError> {
        let (backend, _) = self.open_backend(&opening).await?;
        let SigningWay::Oauth(way) = backend.signing.way() else {
            return Err(Error::unsupported("ask for consent").into());
        };
        let verifier = text(&request.verifier, "the verifier")?;
        Ok(way.authority.authorization_url(&request.redirect_uri, &request.state, &verifier))
    }
}

/// What a person came back with from the consent page.
struct CameBack {
    code: Secret,
    parameters: Vec<(String, String)>,
    redirect_uri: String,
    verifier: Secret,
    issuer: String,
}

impl GuestProvider {
    pub(crate) async fn open_guest(&self, opening: Opening) -> Result<GuestStorage, OpenError> {
        let (backend, traits) = self.open_backend(&opening).await?;
        let features = features(&traits, &self.component);
        Ok(GuestStorage::new(self.component.clone(), backend, features, cookies(&traits)))
    }

    /// A configured backend with its sign-in as it is stored.
    async fn open_backend(&self, opening: &Opening) -> Result<(Arc<Backend>, setup::Traits), OpenError> {
        let settings = Arc::new(opening.settings.clone());
        let state = self.surroundings.keeper.state(&opening.tenant, &opening.backend, Space::Slot);
        let declared = self.described.slots.iter().map(|slot| slot.name.clone()).collect();
        let slots = Arc::new(Slots::new(settings.clone(), declared, state));
        slots.reload().await?;
        // The component is asked what these settings mean before anything is sent; what it answers sets the pace.
        let first = Arc::new(self.backend(opening, settings.clone(), slots.clone(), Vec::new())?);
        let traits = self.configure(&first).await?;
        let paces = self.paces(&traits, &settings)?;
        let mut backend = self.backend(opening, settings.clone(), slots, paces)?;
        let making = Making {
            backend: &backend,
            gate: &self.surroundings.gate,
            origins: self.origins(&settings).map_err(OpenError::Settings)?,
            operators: self.oauth_client.as_ref(),
        };
        let host = self.surroundings.keeper.state(&opening.tenant, &opening.backend, Space::Host);
        backend.signing = Arc::new(Signing::new(making.way(&traits)?, host));
        backend.signing.reload(&backend).await?;
        Ok((Arc::new(backend), traits))
    }

    /// Takes in a consent. What came back beside the code may be settings, which count from the exchange on.
    async fn exchange(&self, mut opening: Opening, back: CameBack) -> Result<SignIn, OpenError> {
        let (mut backend, traits) = self.open_backend(&opening).await?;
        let changed = self.settings_of_redirect(&traits, &back.parameters, &mut opening.settings)?;
        check_issuer(&backend, &back.issuer)?;
        if changed {
            backend = self.open_backend(&opening).await?.0;
        }
        let SigningWay::Oauth(way) = backend.signing.way() else {
            return Err(Error::unsupported("take a consent").into());
        };
        let (code, verifier) = (text(&back.code, "the code")?, text(&back.verifier, "the verifier")?);
        way.exchange(backend.signing.host(), &backend, &code, &back.redirect_uri, &verifier).await?;
        Ok(if changed { SignIn::ReadyWith(opening.settings) } else { SignIn::Ready })
    }

    /// Puts what came back into the settings that the provider says it is for. Whether anything changed.
    fn settings_of_redirect(
        &self,
        traits: &setup::Traits,
        parameters: &[(String, String)],
        settings: &mut Settings,
    ) -> Result<bool, OpenError> {
        let setup::SigningIn::Oauth(oauth) = &traits.signing_in else { return Ok(false) };
        let mut changed = false;
        for (parameter, option) in &oauth.redirect_settings {
            let Some((_, value)) = parameters.iter().find(|(name, _)| name == parameter) else { continue };
            let spec = self.descriptor.option(option).ok_or_else(|| {
                convert::fault("a parameter of the redirect becomes a setting that the component does not declare")
            })?;
            let given = serde_json::Map::from_iter([(option.clone(), value.clone().into())]);
            let parsed = Settings::parse(std::slice::from_ref(spec), &given).map_err(OpenError::Settings)?;
            if let Some(value) = parsed.get(option).filter(|value| settings.get(option) != Some(value)) {
                settings.set(option.clone(), value.clone());
                changed = true;
            }
        }
        Ok(changed)
    }
}

fn check_issuer(backend: &Backend, issuer: &str) -> Result<()> {
    match backend.signing.way() {
        SigningWay::Oauth(way) if way.issuer() == issuer => Ok(()),
        _ => Err(another_issuer()),
    }
}

fn text(secret: &Secret, what: &str) -> Result<String> {
    let text = String::from_utf8(secret.expose().to_vec());
    text.map_err(|_| Error::new(ErrorKind::Invalid, format!("{what} is not text")))
}

fn cookies(traits: &setup::Traits) -> bool {
    traits.abilities.contains(setup::Abilities::COOKIES)
}

/// What the traits promise, as far as the component exports what it takes.
fn features(traits: &setup::Traits, component: &Component) -> Features {
    let abilities = [
        (setup::Abilities::EMPTY_DIRECTORIES, Can::EMPTY_DIRECTORIES),
        (setup::Abilities::DUPLICATES, Can::DUPLICATES),
        (setup::Abilities::ATOMIC_REPLACE, Can::ATOMIC_REPLACE),
        (setup::Abilities::CONDITIONAL, Can::CONDITIONAL),
        (setup::Abilities::KEEPS_MODIFIED, Can::KEEPS_MODIFIED),
    ];
    let exports = [
        (component.writing.is_some(), Can::WRITE),
        (component.removing.is_some(), Can::REMOVE),
        (component.directories.is_some(), Can::DIRECTORIES),
        (component.moving.is_some(), Can::MOVE),
        (
            component.moving.is_some() && traits.abilities.contains(setup::Abilities::MOVE_DIRECTORIES),
            Can::MOVE_DIRECTORIES,
        ),
        (component.copying.is_some(), Can::COPY),
        (component.times.is_some(), Can::SET_MODIFIED),
        (component.room.is_some(), Can::ROOM),
        (
            component.copying.is_some() && traits.abilities.contains(setup::Abilities::COPY_DIRECTORIES),
            Can::COPY_DIRECTORIES,
        ),
        (component.purging.is_some(), Can::PURGE),
        (component.links.is_some(), Can::LINKS),
        (component.cleaning.is_some(), Can::CLEAN),
        (component.versions.is_some(), Can::VERSIONS),
        (component.changes.is_some(), Can::CHANGES),
    ];
    let promised = abilities.into_iter().filter(|(theirs, _)| traits.abilities.contains(*theirs)).map(|(_, ours)| ours);
    let exported = exports.into_iter().filter(|(there, _)| *there).map(|(_, ours)| ours);
    let naming = &traits.naming;
    Features {
        can: promised.chain(exported).collect(),
        sameness: match naming.sameness {
            setup::Sameness::Exact => Sameness::Exact,
            setup::Sameness::IgnoresCase => Sameness::IgnoresCase,
            setup::Sameness::IgnoresCaseAndAccents => Sameness::IgnoresCaseAndAccents,
        },
        normal_form: match naming.normal_form {
            setup::NormalForm::AsGiven => NormalForm::AsGiven,
            setup::NormalForm::Nfc => NormalForm::Nfc,
            setup::NormalForm::Nfkc => NormalForm::Nfkc,
        },
        longest_name_bytes: naming.longest_bytes,
        modified_step_ns: traits.modified_step_ns,
        digests: traits.digests.iter().copied().map(convert::algorithm).collect(),
        early_digests: traits.early_digests.iter().copied().map(convert::algorithm).collect(),
        smallest_bytes: traits.smallest_bytes,
        largest_bytes: traits.largest_bytes,
        lag_ms: traits.lag_ms,
        relist_ms: traits.relist_ms,
    }
}
