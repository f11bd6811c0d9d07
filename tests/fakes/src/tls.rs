//! The front's own certification authority: made once per front, it mints a certificate for every host on demand. It trusts
//! and verifies nobody.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The authority and the certificates it has minted.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
    minted: Mutex<HashMap<(String, Protocols), Arc<ServerConfig>>>,
}

/// What is offered inside TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Protocols {
    /// HTTP/2 and HTTP/1.1, chosen by ALPN.
    Both,
    /// HTTP/1.1 without a word of it: clients behind a proxy are served best so.
    Silent,
}

impl Authority {
    pub(crate) fn new() -> io::Result<Authority> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "Fake servers");
        let certificate = params.self_signed(&key).map_err(io::Error::other)?;
        Ok(Authority {
            pem: certificate.pem(),
            certificate: certificate.der().clone(),
            issuer: Issuer::new(params, key),
            minted: Mutex::default(),
        })
    }

    /// The authority's certificate, for the clients' trust.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// How to serve a host.
    pub(crate) fn serve(&self, host: &str, protocols: Protocols) -> io::Result<Arc<ServerConfig>> {
        let mut minted = self.minted.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = (host.to_owned(), protocols);
        if let Some(config) = minted.get(&wanted) {
            return Ok(config.clone());
        }
        let config = Arc::new(self.mint(host, protocols)?);
        minted.insert(wanted, config.clone());
        Ok(config)
    }

    fn mint(&self, host: &str, protocols: Protocols) -> io::Result<ServerConfig> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let mut params = CertificateParams::new(vec![host.to_owned()]).map_err(io::Error::other)?;
        if host.parse::<IpAddr>().is_err() {
            params.distinguished_name.push(DnType::CommonName, host);
        }
        let certificate = params.signed_by(&key, &self.issuer).map_err(io::Error::other)?;
        let chain = vec![certificate.der().clone(), self.certificate.clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(io::Error::other)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(io::Error::other)?;
        if protocols == Protocols::Both {
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        }
        Ok(config)
    }
}
