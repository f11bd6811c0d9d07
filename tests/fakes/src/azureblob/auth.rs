//! Who may do what: Shared Key, shared access signatures (account, service, user delegation), bearer tokens, public containers. All
//! signatures are recomputed from the request as it was sent.

use data_encoding::BASE64;
use hmac::{Hmac, Mac};
use jiff::{SignedDuration, Timestamp};
use sha2::Sha256;

use super::{Failure, Target};
use crate::oauth::TokenServer;
use crate::text::parse_http_date;
use crate::{Request, World};

/// How far a signed date may lie from the clock.
const SKEW: SignedDuration = SignedDuration::from_mins(15);
/// From this version on, string-to-sign of a SAS has a line for the encryption scope.
const WITH_SCOPE: &str = "2020-12-06";
/// From these on, that of a user delegation has lines for a delegated user, then for headers and parameters that are signed too.
const WITH_DELEGATE: &str = "2025-07-05";
const WITH_REQUEST: &str = "2026-04-06";

/// What a request addresses; account signatures name the levels they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Account,
    Container,
    Object,
}

/// What the signer of a request may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Access {
    /// Everything: the key, or a bearer token.
    Owner,
    /// What an account signature names: permissions and levels.
    AccountSas(String, String),
    /// What a service signature names: permissions, on content only.
    ServiceSas(String),
    /// Nobody said who they are.
    Anonymous,
}

impl Access {
    /// Whether one of `any` (letters of SAS permissions) is allowed at a level. Anonymous access is for the caller to judge.
    pub(super) fn allow(&self, level: Level, any: &str) -> Result<(), Failure> {
        let letter = match level {
            Level::Account => 's',
            Level::Container => 'c',
            Level::Object => 'o',
        };
        match self {
            Access::Owner => Ok(()),
            Access::AccountSas(permissions, levels) => {
                if !levels.contains(letter) {
                    return Err(Failure::new(403, "AuthorizationResourceTypeMismatch"));
                }
                permitted(permissions, any)
            }
            Access::ServiceSas(permissions) => {
                let listing = level == Level::Container && any == "l";
                if level != Level::Object && !listing {
                    return Err(Failure::new(403, "AuthorizationFailure"));
                }
                permitted(permissions, any)
            }
            Access::Anonymous => Err(Failure::new(401, "NoAuthenticationInformation").with(
                "WWW-Authenticate",
                "Bearer authorization_uri=https://login.microsoftonline.com/faketenant/oauth2/authorize \
                 resource_id=https://storage.azure.com",
            )),
        }
    }
}

fn permitted(permissions: &str, any: &str) -> Result<(), Failure> {
    let found = any.chars().any(|letter| permissions.contains(letter));
    if found { Ok(()) } else { Err(Failure::new(403, "AuthorizationPermissionMismatch")) }
}

/// Finds out who sent a request.
pub(super) fn access(
    request: &Request,
    target: &Target,
    key: &[u8],
    tokens: &TokenServer,
    world: &World,
) -> Result<Access, Failure> {
    if request.header("x-ms-version").is_none() {
        return Err(Failure::new(400, "MissingRequiredHeader").with("x-ms-missing", "x-ms-version"));
    }
    let header = request.header("authorization").unwrap_or_default();
    if let Some(value) = header.strip_prefix("SharedKey ") {
        return shared_key(request, &target.account, key, value, world);
    }
    if header.starts_with("Bearer ") {
        if !request.https {
            return Err(denied());
        }
        let checked = tokens.check(request, world).map(|_| Access::Owner);
        return checked.map_err(|_| Failure::new(401, "InvalidAuthenticationInfo"));
    }
    if !header.is_empty() {
        return Err(Failure::new(400, "InvalidAuthenticationInfo"));
    }
    if request.param("sig").is_some() { sas(&request.params(), target, key, world) } else { Ok(Access::Anonymous) }
}

fn denied() -> Failure {
    Failure::new(403, "AuthenticationFailed")
}

pub(super) fn sign(key: &[u8], text: &str) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(text.as_bytes());
    Some(BASE64.encode(&mac.finalize().into_bytes()))
}

fn shared_key(request: &Request, account: &str, key: &[u8], value: &str, world: &World) -> Result<Access, Failure> {
    let date = request.header("x-ms-date").or(request.header("date"));
    let date = date.ok_or_else(|| Failure::new(400, "MissingRequiredHeader"))?;
    let date = parse_http_date(date).ok_or_else(|| Failure::new(400, "InvalidHeaderValue"))?;
    if world.now().duration_since(date).abs() > SKEW {
        return Err(denied());
    }
    let expected = sign(key, &string_to_sign(request, account)).map(|signature| format!("{account}:{signature}"));
    if expected.as_deref() == Some(value) { Ok(Access::Owner) } else { Err(denied()) }
}

/// What Shared Key signs.
pub(super) fn string_to_sign(request: &Request, account: &str) -> String {
    let header = |name: &str| request.header(name).unwrap_or_default().trim();
    let length = Some(header("content-length")).filter(|length| *length != "0").unwrap_or_default();
    let date = if request.header("x-ms-date").is_some() { "" } else { header("date") };
    let mut lines = vec![request.method.as_str(), header("content-encoding"), header("content-language"), length];
    lines.extend([header("content-md5"), header("content-type"), date, header("if-modified-since")]);
    lines.extend([header("if-match"), header("if-none-match"), header("if-unmodified-since"), header("range")]);
    let mut text = lines.join("\n");
    text.push('\n');

    let mut headers: Vec<_> = request.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    headers.retain(|(name, _)| name.starts_with("x-ms-"));
    headers.sort();
    for (name, value) in headers {
        let folded = value.split_whitespace().collect::<Vec<_>>().join(" ");
        text.push_str(&format!("{name}:{folded}\n"));
    }

    text.push_str(&format!("/{account}{}", request.path));
    let mut params: Vec<(String, String)> =
        request.params().into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect();
    params.sort();
    let mut last = None;
    for (name, value) in params {
        if last.as_ref() == Some(&name) {
            text.push_str(&format!(",{value}"));
        } else {
            text.push_str(&format!("\n{name}:{value}"));
        }
        last = Some(name);
    }
    text
}

/// Verifies a shared access signature, given as query parameters.
pub(super) fn sas(params: &[(String, String)], target: &Target, key: &[u8], world: &World) -> Result<Access, Failure> {
    let get = |name: &str| {
        params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).unwrap_or_default().to_owned()
    };
    let version = get("sv");
    let scoped = version.as_str() >= WITH_SCOPE;
    let time = |text: &str| time_of(text).ok_or_else(denied);
    let (start, end) = (get("st"), get("se"));
    if (!start.is_empty() && time(&start)? > world.now()) || time(&end)? <= world.now() || version.is_empty() {
        return Err(denied());
    }
    let is_account = !get("ss").is_empty();
    let mut lines = Vec::new();
    let mut key = key.to_vec();
    if is_account {
        lines.push(target.account.clone());
        lines.extend(["sp", "ss", "srt", "st", "se", "sip", "spr", "sv"].map(get));
        lines.extend(scoped.then(|| get("ses")));
        lines.push(String::new());
    } else {
        let resource = match get("sr").as_str() {
            "c" => format!("/blob/{}/{}", target.account, target.container),
            "b" => {
                format!("/blob/{}/{}/{}", target.account, target.container, target.blob.as_deref().unwrap_or_default())
            }
            _ => return Err(denied()),
        };
        lines.extend(["sp", "st", "se"].map(get));
        lines.push(resource);
        if get("skoid").is_empty() {
            lines.push(get("si"));
        } else {
            if time(&get("ske"))? <= world.now() {
                return Err(denied());
            }
            key = delegation_key(&key, &get("skt"), &get("ske"));
            lines.extend(["skoid", "sktid", "skt", "ske", "sks", "skv", "saoid", "suoid", "scid"].map(get));
            if version.as_str() >= WITH_DELEGATE {
                lines.extend(["skdutid", "sduoid"].map(get));
            }
        }
        lines.extend(["sip", "spr", "sv", "sr", "snapshot"].map(get));
        lines.extend(scoped.then(|| get("ses")));
        if !get("skoid").is_empty() && version.as_str() >= WITH_REQUEST {
            lines.extend(["srh", "srq"].map(get));
        }
        lines.extend(["rscc", "rscd", "rsce", "rscl", "rsct"].map(get));
    }
    if sign(&key, &lines.join("\n")) != Some(get("sig")) {
        return Err(denied());
    }
    match (is_account, get("ss").contains('b')) {
        (true, true) => Ok(Access::AccountSas(get("sp"), get("srt"))),
        (true, false) => Err(Failure::new(403, "AuthorizationServiceMismatch")),
        (false, _) => Ok(Access::ServiceSas(get("sp"))),
    }
}

/// The key that a user delegation with these times signs with: derived, so that it need not be remembered.
/// The query of a shared access signature for everything in the account, or in a container of it, for a day from now.
pub(super) fn signed(account: &str, container: &str, key: &[u8], now: Timestamp) -> String {
    let end = (now + SignedDuration::from_hours(24)).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let (version, all) = (WITH_SCOPE, "rwdlac");
    let (fields, text) = if container.is_empty() {
        let fields = vec![("sp", all), ("ss", "b"), ("srt", "sco"), ("se", &*end), ("sv", version)];
        (fields, [account, all, "b", "sco", "", &end, "", "", version, "", ""].join("\n"))
    } else {
        let fields = vec![("sp", all), ("sr", "c"), ("se", &*end), ("sv", version)];
        let resource = format!("/blob/{account}/{container}");
        (fields, [all, "", &end, &resource, "", "", "", version, "c", "", "", "", "", "", "", ""].join("\n"))
    };
    let signature = sign(key, &text).unwrap_or_default();
    let encoded = |value: &str| value.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D").replace(':', "%3A");
    let fields = fields.into_iter().chain([("sig", &*signature)]);
    fields.map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&")
}

pub(super) fn delegation_key(account_key: &[u8], start: &str, end: &str) -> Vec<u8> {
    let derived = sign(account_key, &format!("delegation {start} {end}")).unwrap_or_default();
    BASE64.decode(derived.as_bytes()).unwrap_or_default()
}

/// `2024-01-02`, `2024-01-02T03:04Z` or with seconds.
fn time_of(text: &str) -> Option<Timestamp> {
    let whole = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        17 => format!("{}:00Z", text.strip_suffix('Z')?),
        _ => text.to_owned(),
    };
    whole.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_key_signs_as_the_published_recipe_does() {
        let key = BASE64.decode(super::super::EMULATOR_KEY.as_bytes()).unwrap();
        let headers =
            [("X-Ms-Version", "2021-12-02"), ("x-ms-date", "Tue, 02 Jan 2024 03:04:05 GMT"), ("Content-Length", "0")];
        let request = Request {
            method: "GET".into(),
            path: "/c1".into(),
            query: "restype=container&comp=list&prefix=dir/".into(),
            headers: headers.map(|(name, value)| (name.into(), value.into())).into(),
            ..Request::default()
        };
        let signature = sign(&key, &string_to_sign(&request, "acct")).unwrap();
        assert_eq!(signature, "ke5VA0A9/fkIe9euW4tl0uDvS1tjUu4/+7ySjovUGpg=");
    }

    #[test]
    fn permissions_of_a_signature_end_where_it_says() {
        let list_only = Access::ServiceSas("rl".into());
        assert!(list_only.allow(Level::Container, "l").is_ok());
        assert!(list_only.allow(Level::Object, "r").is_ok());
        assert_eq!(list_only.allow(Level::Object, "wc").unwrap_err().code, "AuthorizationPermissionMismatch");
        assert_eq!(list_only.allow(Level::Container, "cw").unwrap_err().code, "AuthorizationFailure");
        let objects = Access::AccountSas("rwdl".into(), "o".into());
        assert_eq!(objects.allow(Level::Account, "l").unwrap_err().code, "AuthorizationResourceTypeMismatch");
    }
}
