//! Settings of the way out: which private networks may be reached, where names really are, whose certificates count.

use std::net::SocketAddr;
use std::path::PathBuf;

use causeway_http::{CertificateDer, Policy};
use clap::Args;
use ipnet::IpNet;

/// What was given about the way out.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Out {
    /// Let providers be on private networks: these, or without a value loopback, RFC 1918 and RFC 4193.
    #[arg(
        long, env = "CAUSEWAY_ALLOW_PRIVATE_NETWORKS", value_name = "CIDR,...", num_args = 0..=1, require_equals = true,
        default_missing_value = "true"
    )]
    pub(crate) allow_private_networks: Option<String>,
    /// Where hosts really are: their names are not resolved, and these addresses may be private.
    #[arg(long, env = "CAUSEWAY_EGRESS_MAP", value_name = "HOST=ADDRESS:PORT,...")]
    pub(crate) egress_map: Option<String>,
    /// A PEM file of certificate authorities that count besides the public ones.
    #[arg(long, env = "CAUSEWAY_EXTRA_CA", value_name = "FILE")]
    pub(crate) extra_ca: Option<String>,
}

/// What is meant by private networks without naming any.
pub(crate) const PRIVATE: [&str; 6] =
    ["127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];

impl Out {
    /// The policy that follows; what is wrong is told.
    pub(crate) fn policy(&self, problems: &mut Vec<String>) -> Policy {
        Policy {
            allow_private: private_networks(self.allow_private_networks.as_deref(), problems),
            egress_map: egress_map(self.egress_map.as_deref().unwrap_or_default(), problems),
            extra_roots: self.extra_ca.as_ref().map_or_else(Vec::new, |file| authorities(file, problems)),
            ..Policy::default()
        }
    }
}

fn private_networks(given: Option<&str>, problems: &mut Vec<String>) -> Vec<IpNet> {
    let all = || PRIVATE.iter().filter_map(|network| network.parse().ok()).collect();
    match given {
        None | Some("false") => Vec::new(),
        Some("true") => all(),
        Some(list) => list
            .split(',')
            .map(str::trim)
            .filter_map(|text| {
                let network = text.parse().ok();
                if network.is_none() {
                    problems.push(format!("allow-private-networks: `{text}` is not a network such as 10.0.0.0/8"));
                }
                network
            })
            .collect(),
    }
}

fn egress_map(list: &str, problems: &mut Vec<String>) -> Vec<(String, SocketAddr)> {
    let mut map = Vec::new();
    for text in list.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        match text.split_once('=').and_then(|(host, address)| Some((host, address.parse().ok()?))) {
            Some((host, address)) if !host.is_empty() => map.push((host.to_owned(), address)),
            _ => problems.push(format!("egress-map: `{text}` is not a host, `=`, and an address with a port")),
        }
    }
    map
}

fn authorities(file: &str, problems: &mut Vec<String>) -> Vec<CertificateDer<'static>> {
    use rustls_pki_types::pem::PemObject;
    let read = || CertificateDer::pem_file_iter(PathBuf::from(file))?.collect::<Result<Vec<_>, _>>();
    match read() {
        Ok(found) if !found.is_empty() => found,
        Ok(_) => {
            problems.push(format!("extra-ca: {file} holds no certificate"));
            Vec::new()
        }
        Err(error) => {
            problems.push(format!("extra-ca: {file}: {error}"));
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_told() {
        let out = Out {
            allow_private_networks: Some("10.0.0.0/8,everywhere".into()),
            egress_map: Some("api.example.com=127.0.0.1:1, nowhere, =127.0.0.1:1".into()),
            extra_ca: Some("/nowhere/ca.pem".into()),
        };
        let mut problems = Vec::new();
        let policy = out.policy(&mut problems);
        assert_eq!((policy.allow_private.len(), policy.egress_map.len(), policy.extra_roots.len()), (1, 1, 0));
        assert_eq!(problems.len(), 4, "{problems:?}");
    }
}
