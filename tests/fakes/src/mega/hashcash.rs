//! Proof of work: a request is answered with 402 until it is repeated with a nonce that makes a hash of 12 MB small enough.
use aws_lc_rs::digest::{SHA256, digest};

use super::crypto::{decode, encode};
use crate::{Request, Response, World};

const TOKEN_BYTES: usize = 48;
const REPEATS: usize = 262_144;

/// An open challenge.
#[derive(Debug, Clone)]
pub(super) struct Challenge {
    easiness: u8,
    time: i64,
    token: Vec<u8>,
}

impl Challenge {
    pub(super) fn new(easiness: u8, world: &mut World) -> Challenge {
        Challenge { easiness, time: world.now().as_second(), token: world.bytes(TOKEN_BYTES) }
    }

    /// The answer that poses it.
    pub(super) fn pose(&self) -> Response {
        let Challenge { easiness, time, token } = self;
        Response::empty(402).with("X-Hashcash", format!("1:{easiness}:{time}:{}", encode(token)))
    }

    /// Whether a request brings a solution.
    pub(super) fn is_solved(&self, request: &Request) -> bool {
        let parts: Vec<&str> = request.header("x-hashcash").unwrap_or_default().split(':').collect();
        let ["1", token, nonce] = parts.as_slice() else { return false };
        let (Some(token), Some(nonce)) = (decode(token), decode(nonce)) else { return false };
        token == self.token && nonce.len() == 4 && self.first_word(&nonce) <= self.threshold()
    }

    fn threshold(&self) -> u32 {
        let easiness = u32::from(self.easiness);
        ((easiness & 63) * 2 + 1) << ((easiness >> 6) * 7 + 3)
    }

    fn first_word(&self, nonce: &[u8]) -> u32 {
        let buffer = [nonce, &self.token.repeat(REPEATS)].concat();
        digest(&SHA256, &buffer).as_ref().first_chunk().map_or(u32::MAX, |word| u32::from_be_bytes(*word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_small_enough_hash_solves_it() {
        let challenge = Challenge::new(255, &mut World::default());
        let posed = challenge.pose();
        let header = posed.header("x-hashcash").unwrap().to_owned();
        let [_, _, _, token] = header.split(':').collect::<Vec<_>>()[..] else { panic!("{header}") };
        assert_eq!(token.len(), 64);
        let with = |nonce: u32| Request {
            headers: vec![("X-Hashcash".into(), format!("1:{token}:{}", encode(&nonce.to_be_bytes())))],
            ..Request::default()
        };
        assert!(!challenge.is_solved(&Request::default()));
        let outcomes: Vec<bool> = (0..12).map(|nonce| challenge.is_solved(&with(nonce))).collect();
        assert!(outcomes.contains(&true) && outcomes.contains(&false), "{outcomes:?}");
    }
}
