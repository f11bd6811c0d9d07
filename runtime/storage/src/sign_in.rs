//! Signing in as far as a person takes part in it: what is asked of them, and what they answer.
//!
//! It says nothing of tokens or sessions; those stay with the provider.

use crate::{Secret, Settings};

/// Whether a backend can be used, or what a person must do first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignIn {
    /// It can be used.
    Ready,
    /// It can be used with these settings: what came back with the person changed them (a tenant's own host).
    ReadyWith(Settings),
    /// A person must consent in a browser.
    Consent {
        /// Why, for people.
        reason: String,
        /// Towards whom: the same for as long as client and addresses are.
        issuer: String,
    },
    /// A person must type a code on another device.
    Device {
        /// Where.
        url: String,
        /// The code.
        code: String,
        /// For how many seconds it can still be typed.
        expires_s: u64,
    },
    /// A person must answer, or approve elsewhere.
    Question {
        /// What is asked.
        prompt: String,
        /// Whether an answer is typed in.
        typed: bool,
    },
}

/// One step towards being signed in.
#[derive(Clone, Debug)]
pub enum Act {
    /// Looks where it stands. Begins nothing.
    Look,
    /// Goes as far as it goes without a person, and begins what takes one.
    Try,
    /// A person consented, and this came back.
    Code {
        /// The code.
        code: Secret,
        /// Whatever else came back; what the provider does not ask for counts for nothing.
        parameters: Vec<(String, String)>,
        /// Where the person was sent back to.
        redirect_uri: String,
        /// What the consent was begun with.
        verifier: Secret,
        /// Towards whom it was begun; refused if that is another now.
        issuer: String,
    },
    /// A person answered; nothing, if they approved elsewhere.
    Answer(Option<Secret>),
    /// Ends the session at the provider.
    Leave,
}

/// How a person is sent to consent.
#[derive(Clone, Debug)]
pub struct ConsentRequest {
    /// Where they come back to.
    pub redirect_uri: String,
    /// What comes back with them.
    pub state: String,
    /// What the code will be exchanged with.
    pub verifier: Secret,
}
