//! Signing in: the password becomes two keys, one of them is the proof, the other opens the master key; a challenge sealed for the
//! account's RSA key is the session's id.

use causeway_sdk::data;
use causeway_sdk::prelude::*;
use serde_json::json;

use crate::crypto::{self, Block, Cipher, Credential};
use crate::{Mega, api, wire};

#[export]
impl Session for Mega {
    fn sign_in(&self, answer: Option<&str>) -> Result<Step> {
        let user = self.0.user.to_lowercase();
        let password = self.0.pass.reveal()?;
        let prelude: wire::Prelude = api::understood(api::ask_signed_out(json!({"a": "us0", "user": user}))?)?;
        let salt = || crypto::decode(&prelude.s).ok_or_else(|| Error::unavailable("the provider sent no salt"));
        let credential = match prelude.v {
            1 => Credential::old(&password, &user),
            2 => Credential::new(&password, &salt()?),
            _ => return Err(Error::unsupported("the account is of a version that is not known")),
        };
        let mut command = json!({"a": "us", "user": user, "uh": credential.proof});
        if let (Some(answer), Some(command)) = (answer, command.as_object_mut()) {
            command.insert("mfa".to_owned(), json!(answer.trim()));
        }
        let told = api::ask_signed_out(command)?;
        match told.as_i64() {
            Some(api::SECOND_FACTOR) => {
                let prompt = "Enter the code from your authenticator".to_owned();
                return Ok(Step::Ask(Question { prompt, typed: true }));
            }
            Some(api::ABSENT) => return Err(refused("the provider does not accept this address and password")),
            Some(api::UNCONFIRMED) => return Err(refused("the account was never confirmed")),
            _ => {}
        }
        let told: wire::SignedIn = api::understood(told)?;
        let (Some(challenge), Some(private_key)) = (&told.csid, &told.privk) else {
            return Err(Error::unsupported("the account is not complete: sign in once with a browser"));
        };
        let wrong = || Error::unavailable("the provider's session cannot be opened");
        let wrapped = crypto::decode(&told.k).and_then(|key| Block::try_from(key).ok()).ok_or_else(wrong)?;
        let master = credential.key.decrypt(wrapped);
        let session = crypto::session(&Cipher::new(&master), private_key, challenge, &told.u).ok_or_else(wrong)?;
        let keys = (told.u, crypto::encode(&master));
        Secret::slot(api::KEYS).seal(data::pack(&keys)?.as_bytes())?;
        Secret::slot(api::SID).seal(session.as_bytes())?;
        Ok(Step::SignedIn)
    }

    fn sign_out(&self) -> Result<()> {
        let ended = api::ask::<serde::de::IgnoredAny>(json!({"a": "sml"}));
        Secret::slot(api::SID).empty();
        Secret::slot(api::KEYS).empty();
        match ended {
            Err(error) if error.kind == ErrorKind::Unauthenticated => Ok(()),
            ended => ended.map(|_| ()),
        }
    }
}

fn refused(message: &str) -> Error {
    Error::new(ErrorKind::Unauthenticated, message)
}
