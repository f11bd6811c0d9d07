//! Shared Key, the signature of Azure Storage (blobs and files), made with an account key that stays with the host; and the shared access
//! signatures that the same key signs for others.

use data_encoding::BASE64;

use crate::nouns::Instant;
use crate::options::{Hash, Secret};
use crate::request::Request;
use crate::text::Text;
use crate::{Error, Result, host, percent, time};

/// The version of the service that requests speak: what listings, conditions and signatures below rely on.
pub const VERSION: &str = "2021-12-02";

/// An account and its key.
#[derive(Clone, Copy, Debug)]
pub struct SharedKey<'a> {
    /// The account's name.
    pub account: &'a str,
    /// Its key. Declares `hmac(sha256, "", 0, base64)`.
    pub key: &'a Secret,
}

/// Says when a request was made and in which version of the service; all requests do.
pub fn dated(request: Request) -> Request {
    request.header("x-ms-date", time::http_date(host::now())).header("x-ms-version", VERSION)
}

impl SharedKey<'_> {
    /// Signs a request that is dated and complete; its body has so many bytes.
    pub fn sign(&self, request: Request, body_bytes: u64) -> Result<Request> {
        let value = |name: &str| {
            let found = request.headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name));
            found.map_or(Some(""), |(_, value)| value.plain()).map(str::trim)
        };
        let unsigned = || Error::invalid("a header that is signed must be plain text");
        let mut lines = vec![request.method.to_owned()];
        for name in ["content-encoding", "content-language"] {
            lines.push(value(name).ok_or_else(unsigned)?.to_owned());
        }
        lines.push(if body_bytes == 0 { String::new() } else { body_bytes.to_string() });
        for name in ["content-md5", "content-type"] {
            lines.push(value(name).ok_or_else(unsigned)?.to_owned());
        }
        // The date stands in x-ms-date.
        lines.push(String::new());
        for name in ["if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range"] {
            lines.push(value(name).ok_or_else(unsigned)?.to_owned());
        }
        let mut headers = Vec::new();
        for (name, value) in &request.headers {
            let name = name.to_ascii_lowercase();
            if name.starts_with("x-ms-") {
                let value = value.plain().ok_or_else(unsigned)?;
                headers.push(format!("{name}:{}", value.split_whitespace().collect::<Vec<_>>().join(" ")));
            }
        }
        headers.sort();
        lines.extend(headers);
        lines.push(self.resource(&request)?);
        let signature = self.key.hmac(Hash::Sha256, &Text::from(lines.join("\n")))?;
        let credential = format!("SharedKey {}:{}", self.account, BASE64.encode(&signature));
        Ok(request.header("Authorization", credential))
    }

    /// The account, the path as it is sent, and the parameters, sorted.
    fn resource(&self, request: &Request) -> Result<String> {
        let path = if request.path.is_empty() { "/" } else { &request.path };
        let mut parameters = Vec::new();
        for (name, value) in &request.query {
            let decoded = value.plain().and_then(percent::decode_form);
            let decoded = decoded.ok_or_else(|| Error::invalid("a parameter that is signed must be plain text"))?;
            parameters.push(format!("\n{}:{decoded}", name.to_ascii_lowercase()));
        }
        parameters.sort();
        Ok(format!("/{}{path}{}", self.account, parameters.concat()))
    }

    /// The query of a shared access signature that lets anyone read this (`/container/name`, of the account) until then.
    pub fn read_access(
        &self,
        service: &str,
        path: &str,
        resource: char,
        until: Instant,
    ) -> Result<Vec<(&'static str, String)>> {
        let until = time::rfc3339(until, 0);
        let resource = resource.to_string();
        let canonical = format!("/{service}/{}{path}", self.account);
        // Permissions, start, end, resource, identifier, addresses, protocol, version, kind, and six that are not used.
        let mut fields = vec!["r", "", &until, &canonical, "", "", "https", VERSION, &resource];
        fields.extend([""; 7]);
        let signature = self.key.hmac(Hash::Sha256, &Text::from(fields.join("\n")))?;
        Ok(vec![
            ("sv", VERSION.to_owned()),
            ("sp", "r".to_owned()),
            ("se", until.clone()),
            ("spr", "https".to_owned()),
            ("sr", resource.clone()),
            ("sig", BASE64.encode(&signature)),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Stand};

    #[test]
    fn the_signature_is_that_of_an_independent_computation() {
        let emulator = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
        let stand = Stand::default().base64_key("key", emulator).now(1_704_164_645);
        let signed = testing::with(stand, || {
            let key = Secret::slot("key");
            let request = Request::get("https://acct.blob.core.windows.net")
                .path("c1")
                .query("restype", "container")
                .query("comp", "list")
                .query("prefix", "dir/");
            let signed = SharedKey { account: "acct", key: &key }.sign(dated(request), 0).unwrap();
            testing::rendered(signed, b"").unwrap()
        });
        let wanted = "SharedKey acct:ke5VA0A9/fkIe9euW4tl0uDvS1tjUu4/+7ySjovUGpg=";
        assert_eq!(signed.header("authorization"), Some(wanted));
    }
}
