//! What MEGA's sign-in is made of: keys from passwords, and the RSA key pair that hands out the session.
//!
//! The server of a test derives from the password exactly what a client must send, so that a wrong derivation is refused as at
//! MEGA, and encrypts session ids for real. The two primes are fixed: key pairs take long to make, and nothing hangs on them.
use super::crypto::{Block, ecb_encrypt, encode, padded, stretch, xor};
use aws_lc_rs::pbkdf2;
use num_bigint::BigUint;
use std::num::NonZeroU32;

const PRIME_P: &str = "DD1BF40E6DE688686922C2BFA9CAC55C440BA516E49EABD29E62240C73833F40649927D32FED5CBEA60C47C8AC70C003\
    AD7707868D033E54585A983CCC3584B6403BDFAF038F318A562AFB796198433393C18A4760D81B8C53C1C238AE6481F9\
    CCC814A5DB2649E51A76983173035501073B3CE8810C2265CCC88447A9AF6F0D";
const PRIME_Q: &str = "E35511B087651C4E01B274D4CCF8D02E1FDA82A337467C6AB40D827CFBD4E7EE7A163AE95C93454A8502D62A9C5C1266\
    B5AFE9170CE816B9085FFE7BE82D69E43D4A765ED2F8B98C30B05F183E6768888161E6910158FC55453498DEA5A052C7\
    7FE28951605A05B337B8D1AB178FCD608C71EC77BBF582BD718C09DE8E62B937";
const EXPONENT: u32 = 65_537;

const V2_ROUNDS: NonZeroU32 = NonZeroU32::new(100_000).unwrap();
const V1_START: Block =
    [0x93, 0xC4, 0x67, 0xE3, 0x7D, 0xB0, 0xC7, 0xA4, 0xD1, 0xBE, 0x3F, 0x81, 0x01, 0x52, 0xCB, 0x56];
const V1_ROUNDS: usize = 65_536;
const V1_HASH_ROUNDS: usize = 16_384;

/// What a password becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    /// Decrypts the master key.
    pub password_key: Block,
    /// Proves the password (`uh`).
    pub proof: String,
}

/// Of an account of version 2.
pub(super) fn version_2(password: &str, salt: &[u8]) -> Credentials {
    let mut key = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA512, V2_ROUNDS, salt, password.as_bytes(), &mut key);
    let (password_key, auth_key) = key.split_at(16);
    Credentials { password_key: padded(password_key), proof: encode(auth_key) }
}

/// Of an account of version 1, where the address goes into the proof.
pub(super) fn version_1(password: &str, email: &str) -> Credentials {
    let keys: Vec<Block> = password.as_bytes().chunks(16).map(padded).collect();
    let password_key = stretch(&keys, V1_START, V1_ROUNDS);
    let folded =
        email.to_lowercase().as_bytes().chunks(16).map(padded).fold([0; 16], |state, block| xor(&state, &block));
    let hash = stretch(&[password_key], folded, V1_HASH_ROUNDS);
    let [a, b, c, d, _, _, _, _, e, f, g, h, ..] = hash;
    Credentials { password_key, proof: encode(&[a, b, c, d, e, f, g, h]) }
}

/// The RSA key pair of every account.
#[derive(Debug, Clone)]
pub(super) struct KeyPair {
    p: BigUint,
    q: BigUint,
    d: BigUint,
    u: BigUint,
}

impl KeyPair {
    /// The fixed one.
    pub(super) fn fixed() -> Self {
        let number = |hex: &str| BigUint::parse_bytes(hex.as_bytes(), 16).unwrap_or_default();
        let (p, q, one) = (number(PRIME_P), number(PRIME_Q), BigUint::from(1_u32));
        let order = (&p - &one) * (&q - &one);
        let d = BigUint::from(EXPONENT).modinv(&order).unwrap_or_default();
        let u = p.modinv(&q).unwrap_or_default();
        Self { p, q, d, u }
    }

    /// `privk`: p, q, d and u, encrypted with the master key.
    pub(super) fn private(&self, master: &Block) -> String {
        encode(&ecb_encrypt(master, &[&self.p, &self.q, &self.d, &self.u].map(multiprecision).concat()))
    }

    /// `pubk`: modulus and exponent.
    pub(super) fn public(&self) -> String {
        encode(&[self.modulus(), BigUint::from(EXPONENT)].each_ref().map(multiprecision).concat())
    }

    /// `csid`: a session id of 43 bytes, with `padding` behind up to the length that a client cuts at, encrypted.
    pub(super) fn encrypt_session(&self, session: &[u8], padding: &[u8]) -> String {
        let length = (self.p.bits().div_ceil(8) + self.q.bits().div_ceil(8)).saturating_sub(2) as usize;
        let message: Vec<u8> =
            session.iter().chain(padding).copied().chain(std::iter::repeat(0)).take(length).collect();
        let number = BigUint::from_bytes_be(&message).modpow(&BigUint::from(EXPONENT), &self.modulus());
        encode(&multiprecision(&number))
    }

    fn modulus(&self) -> BigUint {
        &self.p * &self.q
    }
}

/// Two bytes that tell the number of bits, and the number.
fn multiprecision(number: &BigUint) -> Vec<u8> {
    let bits = u16::try_from(number.bits()).unwrap_or(u16::MAX);
    [bits.to_be_bytes().as_slice(), &number.to_bytes_be()].concat()
}

#[cfg(test)]
mod tests {
    use super::super::crypto::{decode, ecb_decrypt};
    use super::*;
    use data_encoding::HEXLOWER;

    #[test]
    fn version_1_matches_the_vector() {
        let credentials = version_1("hunter2-long-password", "Alice@example.com");
        assert_eq!(HEXLOWER.encode(&credentials.password_key), "1e91b6a3a0f6efbb1e4ef5ca1c83735e");
        assert_eq!(credentials.proof, "eawoZ4Uxt0A");
    }

    #[test]
    fn version_2_matches_the_vector() {
        let salt: Vec<u8> = (0..32).collect();
        let credentials = version_2("hunter2", &salt);
        assert_eq!(HEXLOWER.encode(&credentials.password_key), "a0ace7a032490b488236b542e885bf80");
        assert_eq!(credentials.proof, "30MHLEivG4BoV04SolRdrw");
    }

    /// The client's half, as a client does it: private key from `privk`, raw RSA, the first 43 bytes of the padded message.
    fn open(private: &str, master: &Block, csid: &str) -> Vec<u8> {
        let bytes = ecb_decrypt(master, &decode(private).unwrap());
        let mut rest = bytes.as_slice();
        let mut next = || {
            let (head, tail) = rest.split_at(2);
            let length = usize::from(u16::from_be_bytes(head.try_into().unwrap())).div_ceil(8);
            let (number, tail) = tail.split_at(length);
            rest = tail;
            (BigUint::from_bytes_be(number), length)
        };
        let ((p, p_length), (q, q_length), (d, _)) = (next(), next(), next());
        let cipher = BigUint::from_bytes_be(&decode(csid).unwrap()[2..]);
        let message = cipher.modpow(&d, &(p * q)).to_bytes_be();
        let mut padded = vec![0; p_length + q_length - 2 - message.len()];
        padded.extend(message);
        padded[..43].to_vec()
    }

    #[test]
    fn a_session_opens_with_the_private_key_even_if_it_begins_with_zero() {
        let (pair, master) = (KeyPair::fixed(), [7; 16]);
        for first in [0, 200] {
            let session: Vec<u8> = std::iter::once(first).chain(1..43).collect();
            let csid = pair.encrypt_session(&session, &[0xA5; 211]);
            assert_eq!(open(&pair.private(&master), &master, &csid), session);
        }
    }
}
