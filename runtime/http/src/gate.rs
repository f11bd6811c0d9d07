//! The gate: the one way out of the process. It resolves a name, checks every address, connects to one that was checked,
//! and speaks TLS. It knows nothing of secrets, pieces or backends, and no proxy of the environment.
//!
//! Resolving, checking and connecting are one step: the socket is opened to the very address that passed, so a name that
//! resolves differently the next moment gains nothing. Names that the operator mapped go where the map says. Limits: 10 s
//! for the whole step, at most 4 addresses tried.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use causeway_storage::{Error, ErrorKind, Result};
use hickory_resolver::TokioResolver;
use ipnet::IpNet;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::address::{self, Reach};
use crate::egress::{Egress, Way};
use crate::origin::Target;
use crate::pool::Pools;
use crate::weather::Weather;

/// For resolving, connecting and TLS together.
const CONNECT: Duration = Duration::from_secs(10);

/// For one address of several, so that one dead address leaves time for the others.
const CONNECT_ONE: Duration = Duration::from_secs(4);

/// Addresses tried per name.
const MOST_ADDRESSES: usize = 4;

/// What the operator allows.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Private networks that may be reached; link-local and metadata addresses stay closed even if they are in one.
    pub allow_private: Vec<IpNet>,
    /// The process's own listeners: never reached.
    pub closed: Vec<SocketAddr>,
    /// Where a host (`host` or `host:port`) really is: its names are not resolved, its addresses not checked but for
    /// `closed`.
    pub egress_map: Vec<(String, SocketAddr)>,
    /// Certificate authorities besides the public ones.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// For tests of how storages bear it.
    pub weather: Option<Arc<dyn Weather>>,
}

/// The way out; one per process.
pub struct Gate {
    policy: Policy,
    resolver: Option<TokioResolver>,
    tls: Arc<ClientConfig>,
    tls_http1: Arc<ClientConfig>,
    pub(crate) pools: Pools,
}

/// A connection that was just made.
pub(crate) enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Gate {
    /// A gate with this policy. Fails if one of the extra roots is no certificate.
    pub fn new(policy: Policy) -> Result<Arc<Gate>> {
        let tls_http1 = tls(&policy.extra_roots)?;
        let mut tls = tls_http1.clone();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Without a resolver configuration, addresses and mapped names can still be reached.
        let resolver = TokioResolver::builder_tokio().and_then(|builder| builder.build());
        let resolver = resolver.inspect_err(|error| tracing::warn!(%error, "host names cannot be resolved")).ok();
        Ok(Arc::new(Gate {
            policy,
            resolver,
            tls: Arc::new(tls),
            tls_http1: Arc::new(tls_http1),
            pools: Pools::default(),
        }))
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The way out of one backend.
    pub fn egress(self: &Arc<Gate>, way: Way) -> Arc<Egress> {
        Egress::new(self.clone(), way)
    }

    /// Opens a connection to a target; with `public_only`, whatever private networks the operator allows.
    pub(crate) async fn connect(&self, target: &Target, http1: bool, public_only: bool) -> Result<Wire> {
        let connecting = async {
            let stream = self.connect_checked(target, public_only).await?;
            // Small requests must not wait for the acknowledgement of the ones before.
            stream.set_nodelay(true).map_err(|error| unreachable_host(target, error))?;
            if target.https { self.secure(stream, target, http1).await } else { Ok(Wire::Plain(stream)) }
        };
        match timeout(CONNECT, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(unreachable_host(target, "no connection within 10 s")),
        }
    }

    async fn connect_checked(&self, target: &Target, public_only: bool) -> Result<TcpStream> {
        let mut failure = unreachable_host(target, "no address");
        for address in self.addresses(target, public_only).await? {
            match timeout(CONNECT_ONE, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failure = unreachable_host(target, error),
                Err(_) => failure = unreachable_host(target, "no connection within 4 s"),
            }
        }
        Err(failure)
    }

    /// The addresses that may be connected to, at least one.
    async fn addresses(&self, target: &Target, public_only: bool) -> Result<Vec<SocketAddr>> {
        if let Some(mapped) = self.mapped(target) {
            self.check_listener(target, mapped)?;
            return Ok(vec![mapped]);
        }
        let found: Vec<IpAddr> = match target.address() {
            Some(address) => vec![address],
            None => self.resolve(target).await?,
        };
        let mut refused = unreachable_host(target, "the name has no address");
        let mut allowed = Vec::new();
        for address in found {
            let address = SocketAddr::new(address, target.port);
            match self.check(target, address, public_only) {
                Ok(()) => allowed.push(address),
                Err(error) => refused = error,
            }
        }
        allowed.truncate(MOST_ADDRESSES);
        if allowed.is_empty() { Err(refused) } else { Ok(allowed) }
    }

    fn mapped(&self, target: &Target) -> Option<SocketAddr> {
        let with_port = format!("{}:{}", target.bracketed_host(), target.port);
        let names = |name: &str| name.eq_ignore_ascii_case(&target.host) || name.eq_ignore_ascii_case(&with_port);
        self.policy.egress_map.iter().find(|(name, _)| names(name)).map(|(_, address)| *address)
    }

    async fn resolve(&self, target: &Target) -> Result<Vec<IpAddr>> {
        let resolver = self.resolver.as_ref().ok_or_else(|| unreachable_host(target, "no resolver is configured"))?;
        let found = resolver.lookup_ip(target.host.as_str()).await.map_err(|error| {
            let message = format!("the host name {} cannot be resolved", target.host);
            Error::new(ErrorKind::Unavailable(None), message).with_detail(error)
        })?;
        Ok(found.iter().collect())
    }

    fn check(&self, target: &Target, address: SocketAddr, public_only: bool) -> Result<()> {
        let ip = address.ip();
        let denied = |message: String| Err(Error::new(ErrorKind::Denied, message));
        match address::reach(ip) {
            Reach::Closed => {
                denied(format!("the address {ip} of {} is link-local or metadata; it is never reached", target.host))
            }
            Reach::Private if public_only => denied(format!(
                "the address {ip} of {} is private; a host that only an answer named must be public",
                target.host
            )),
            Reach::Private if !address::is_allowed(ip, &self.policy.allow_private) => denied(format!(
                "the address {ip} of {} is private; the operator can allow it with --allow-private-networks",
                target.host
            )),
            Reach::Private | Reach::Public => self.check_listener(target, address),
        }
    }

    fn check_listener(&self, target: &Target, address: SocketAddr) -> Result<()> {
        if self.policy.closed.iter().any(|listener| address::reaches_listener(address, *listener)) {
            let message = format!("{}:{} is this runtime itself; it is never reached", target.host, target.port);
            return Err(Error::new(ErrorKind::Denied, message));
        }
        Ok(())
    }

    async fn secure(&self, stream: TcpStream, target: &Target, http1: bool) -> Result<Wire> {
        let name = ServerName::try_from(target.host.clone()).map_err(|error| unreachable_host(target, error))?;
        let tls = if http1 { &self.tls_http1 } else { &self.tls };
        let secured = TlsConnector::from(tls.clone()).connect(name, stream).await;
        let secured = secured.map_err(|error| {
            let message = format!("no secure connection to {}: its certificate or TLS was not accepted", target.host);
            Error::new(ErrorKind::Unavailable(None), message).with_detail(error)
        })?;
        Ok(Wire::Tls(Box::new(secured)))
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("policy", &self.policy).finish_non_exhaustive()
    }
}

fn tls(extra_roots: &[CertificateDer<'static>]) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    for root in extra_roots {
        roots.add(root.clone()).map_err(|error| {
            Error::new(ErrorKind::Invalid, "an extra certificate authority is not a certificate").with_detail(error)
        })?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(builder.map_err(Error::internal)?.with_root_certificates(roots).with_no_client_auth())
}

fn unreachable_host(target: &Target, detail: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Unavailable(None), format!("{} cannot be reached", target.authority())).with_detail(detail)
}
