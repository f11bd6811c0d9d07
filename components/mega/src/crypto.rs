//! MEGA's cryptography: what a password becomes, how a session opens, and how the keys and attributes of nodes are wrapped. AES is
//! always AES-128, integers are big-endian, and text is base64 for URLs. Contents are not seen here: the host enciphers them.

use aes::Aes128;
use aes::cipher::{BlockDecrypt, BlockEncrypt, KeyInit};
use causeway_sdk::prelude::*;
use data_encoding::BASE64URL_NOPAD;
use num_bigint::BigUint;
use serde_json::{Map, Value};

pub(crate) type Block = [u8; 16];

/// Rounds over the password of an account of the first version.
const OLD_ROUNDS: u32 = 65_536;
/// Rounds over the address of such an account.
const OLD_NAME_ROUNDS: u32 = 16_384;
/// Rounds over the password of any other account.
const ROUNDS: u32 = 100_000;
/// The state that those of the first version begin with.
const OLD_START: Block = 0x93C4_67E3_7DB0_C7A4_D1BE_3F81_0152_CB56_u128.to_be_bytes();
/// What deciphered attributes begin with.
const MAGIC: &[u8] = b"MEGA";
/// Bytes of a session id.
const SESSION: usize = 43;

/// AES with one key, block by block.
pub(crate) struct Cipher(Aes128);

impl Cipher {
    pub(crate) fn new(key: &Block) -> Cipher {
        Cipher(Aes128::new(key.into()))
    }

    pub(crate) fn encrypt(&self, block: Block) -> Block {
        let mut block = block.into();
        self.0.encrypt_block(&mut block);
        block.into()
    }

    pub(crate) fn decrypt(&self, block: Block) -> Block {
        let mut block = block.into();
        self.0.decrypt_block(&mut block);
        block.into()
    }

    /// Whole blocks, each by itself; a rest that is no block is left out.
    pub(crate) fn encrypt_all(&self, bytes: &[u8]) -> Vec<u8> {
        bytes.as_chunks().0.iter().flat_map(|block| self.encrypt(*block)).collect()
    }

    pub(crate) fn decrypt_all(&self, bytes: &[u8]) -> Vec<u8> {
        bytes.as_chunks().0.iter().flat_map(|block| self.decrypt(*block)).collect()
    }
}

pub(crate) fn xor<const N: usize>(one: [u8; N], other: [u8; N]) -> [u8; N] {
    let mut both = one;
    both.iter_mut().zip(other).for_each(|(byte, other)| *byte ^= other);
    both
}

/// Base64 for URLs; other writers pad it, or use the usual alphabet.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let plain = !text.contains(['+', '/', '=']);
    if plain {
        return BASE64URL_NOPAD.decode(text.as_bytes()).ok();
    }
    let text: String = text.trim_end_matches('=').replace('+', "-").replace('/', "_");
    BASE64URL_NOPAD.decode(text.as_bytes()).ok()
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

/// A new key, or a nonce.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let bytes = causeway_sdk::random(u32::try_from(N).unwrap_or_default());
    bytes.try_into().map_err(|_| Error::new(ErrorKind::Internal, "there is no randomness"))
}

/// Blocks of these bytes, the last one filled up with zeros.
fn padded(bytes: &[u8]) -> Vec<Block> {
    let (blocks, rest) = bytes.as_chunks();
    let mut blocks = blocks.to_vec();
    if !rest.is_empty() {
        let mut last = Block::default();
        last.iter_mut().zip(rest).for_each(|(byte, rest)| *byte = *rest);
        blocks.push(last);
    }
    blocks
}

/// What a password becomes: the key that opens the master key, and the proof that is sent instead of the password.
pub(crate) struct Credential {
    pub(crate) key: Cipher,
    pub(crate) proof: String,
}

impl Credential {
    /// Of an account of the first version.
    pub(crate) fn old(password: &[u8], user: &str) -> Credential {
        let ciphers: Vec<_> = padded(password).iter().map(Cipher::new).collect();
        let mut state = OLD_START;
        for _ in 0..OLD_ROUNDS {
            state = ciphers.iter().fold(state, |state, cipher| cipher.encrypt(state));
        }
        let key = Cipher::new(&state);
        let mut name = padded(user.as_bytes()).into_iter().fold(Block::default(), xor);
        for _ in 0..OLD_NAME_ROUNDS {
            name = key.encrypt(name);
        }
        let [a, b, c, d, _, _, _, _, e, f, g, h, ..] = name;
        Credential { key, proof: encode(&[a, b, c, d, e, f, g, h]) }
    }

    /// Of an account of the second version, with its salt.
    pub(crate) fn new(password: &[u8], salt: &[u8]) -> Credential {
        let derived: [u8; 32] = pbkdf2::pbkdf2_hmac_array::<sha2::Sha512, 32>(password, salt, ROUNDS);
        let (key, proof) = halves(&derived);
        Credential { key: Cipher::new(&key), proof: encode(&proof) }
    }
}

/// The two halves of a file's key, or of a derived one.
fn halves(bytes: &[u8; 32]) -> (Block, Block) {
    let mut halves = (Block::default(), Block::default());
    let (first, second) = bytes.split_at(16);
    halves.0.copy_from_slice(first);
    halves.1.copy_from_slice(second);
    halves
}

/// The number that begins here: its length in bits, then its bytes. And what follows it.
fn number(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (bits, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*bits)).div_ceil(8))
}

/// The session id in a sealed challenge, opened by the account's private RSA key. Checked against the user's handle, which it holds.
pub(crate) fn session(master: &Cipher, private_key: &str, challenge: &str, user: &str) -> Option<String> {
    let key = master.decrypt_all(&decode(private_key)?);
    let (p, rest) = number(&key)?;
    let (q, rest) = number(rest)?;
    let (d, _) = number(rest)?;
    let challenge = decode(challenge)?;
    let (challenge, _) = number(&challenge)?;
    let of = BigUint::from_bytes_be;
    let opened = of(challenge).modpow(&of(d), &(of(p) * of(q))).to_bytes_be();
    // Its leading zeros count.
    let length = (p.len() + q.len()).checked_sub(2)?;
    let zeros = length.checked_sub(opened.len())?;
    let padded: Vec<u8> = std::iter::repeat_n(0, zeros).chain(opened).collect();
    let id = padded.get(..SESSION)?;
    (id.get(16..27)? == user.as_bytes()).then(|| encode(id))
}

/// The key of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NodeKey {
    /// Of a folder.
    Folder(Block),
    /// Of a file: the key of its content mixed with what follows, the nonce, and the meta-MAC.
    File([u8; 32]),
}

impl NodeKey {
    /// From bytes; other lengths are no keys.
    pub(crate) fn of(bytes: &[u8]) -> Option<NodeKey> {
        match bytes.len() {
            16 => bytes.try_into().ok().map(NodeKey::Folder),
            32 => bytes.try_into().ok().map(NodeKey::File),
            _ => None,
        }
    }

    /// Of a new file.
    pub(crate) fn of_file(key: &Block, nonce: &[u8; 8], mac: &[u8; 8]) -> NodeKey {
        let mut second = Block::default();
        second.iter_mut().zip(nonce.iter().chain(mac)).for_each(|(byte, given)| *byte = *given);
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(xor(*key, second).into_iter().chain(second)).for_each(|(byte, given)| *byte = given);
        NodeKey::File(bytes)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            NodeKey::Folder(key) => key,
            NodeKey::File(key) => key,
        }
    }

    /// What enciphers the attributes, and a file's content.
    pub(crate) fn cipher_key(&self) -> Block {
        match self {
            NodeKey::Folder(key) => *key,
            NodeKey::File(key) => {
                let (first, second) = halves(key);
                xor(first, second)
            }
        }
    }

    /// Nonce and meta-MAC of a file.
    pub(crate) fn nonce_and_mac(&self) -> Option<([u8; 8], [u8; 8])> {
        let NodeKey::File(key) = self else { return None };
        let [.., nonce, mac] = key.as_chunks().0 else { return None };
        Some((*nonce, *mac))
    }

    /// Attributes, enciphered.
    pub(crate) fn seal_attributes(&self, attributes: &Attributes) -> Result<String> {
        let json = causeway_sdk::data::pack(attributes)?;
        let cipher = Cipher::new(&self.cipher_key());
        let mut last = Block::default();
        let mut sealed = Vec::new();
        for block in padded(&[MAGIC, json.as_bytes()].concat()) {
            last = cipher.encrypt(xor(block, last));
            sealed.extend(last);
        }
        Ok(encode(&sealed))
    }

    /// Attributes, deciphered; none if this is not their key.
    pub(crate) fn open_attributes(&self, sealed: &str) -> Option<Attributes> {
        let sealed = decode(sealed)?;
        let cipher = Cipher::new(&self.cipher_key());
        let mut last = Block::default();
        let mut plain = Vec::with_capacity(sealed.len());
        for block in sealed.as_chunks().0 {
            plain.extend(xor(cipher.decrypt(*block), last));
            last = *block;
        }
        let json = plain.strip_prefix(MAGIC)?;
        let end = json.iter().rposition(|byte| *byte != 0)? + 1;
        serde_json::from_slice(json.get(..end)?).ok()
    }
}

/// What is said of a node besides its content: its name `n`, and whatever other programs keep there.
pub(crate) type Attributes = Map<String, Value>;

/// The time in a fingerprint `c`: behind 16 bytes of checksums stands how many bytes of seconds follow, the lowest first.
pub(crate) fn fingerprint_seconds(fingerprint: &str) -> Option<i64> {
    let bytes = decode(fingerprint)?;
    let (length, rest) = bytes.get(16..)?.split_first()?;
    let seconds = rest.get(..usize::from(*length)).filter(|seconds| seconds.len() <= 8)?;
    i64::try_from(seconds.iter().rev().fold(0_u64, |seconds, byte| seconds << 8 | u64::from(*byte))).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    fn counted<const N: usize>(from: u8) -> [u8; N] {
        std::array::from_fn(|at| from + u8::try_from(at).unwrap())
    }

    /// The key that a cipher has shows in what it makes of nothing.
    fn same(one: &Cipher, key: &str) -> bool {
        let key: Block = data_encoding::HEXLOWER.decode(key.as_bytes()).unwrap().try_into().unwrap();
        one.encrypt([0; 16]) == Cipher::new(&key).encrypt([0; 16])
    }

    #[test]
    fn passwords_become_keys_and_proofs() {
        let old = Credential::old(b"hunter2-long-password", "alice@example.com");
        assert!(same(&old.key, "1e91b6a3a0f6efbb1e4ef5ca1c83735e"));
        assert_eq!(old.proof, "eawoZ4Uxt0A");
        let new = Credential::new(b"hunter2", &counted::<32>(0));
        assert!(same(&new.key, "a0ace7a032490b488236b542e885bf80"));
        assert_eq!(new.proof, "30MHLEivG4BoV04SolRdrw");
    }

    #[test]
    fn a_files_key_holds_nonce_and_mac() {
        let mac: [u8; 8] = 0x7d31_2c46_0af5_2681_u64.to_be_bytes();
        let key = NodeKey::of_file(&counted(0), &counted(0x10), &mac);
        assert_eq!(key.cipher_key(), counted(0));
        assert_eq!(key.nonce_and_mac(), Some((counted(0x10), mac)));
        let wrapped = encode(&Cipher::new(&counted(0x20)).encrypt_all(key.bytes()));
        assert_eq!(wrapped, "D4D343gGGj6xKZ_SHfdKp2DN3IB_f7fruYLkjHtNk1I");
        assert_eq!(NodeKey::of(&Cipher::new(&counted(0x20)).decrypt_all(&decode(&wrapped).unwrap())), Some(key));
    }

    #[test]
    fn attributes_open_with_their_key_and_no_other() {
        let key = NodeKey::Folder(counted(0));
        let attributes = Attributes::from_iter([("n".to_owned(), "a.txt".into())]);
        let sealed = key.seal_attributes(&attributes).unwrap();
        assert_eq!(sealed, "fqqkyjEYIL8ICI_yr0VfeG93fIcwnt630aalwouNGQM");
        assert_eq!(key.open_attributes(&sealed), Some(attributes));
        assert_eq!(NodeKey::Folder(counted(1)).open_attributes(&sealed), None);
    }

    #[test]
    fn a_session_keeps_its_leading_zeros() {
        // To the power of one, everything stays as it is.
        let (p, q) = ([0xff_u8; 24], [0xfe_u8; 24]);
        let mpi = |bytes: &[u8]| [&u16::try_from(bytes.len() * 8).unwrap().to_be_bytes()[..], bytes].concat();
        let mut opened = [0_u8; 46];
        opened[1..44].copy_from_slice(&[7; 43]);
        opened[16..27].copy_from_slice(b"AbCdEfGhIjK");
        let master = Cipher::new(&counted(0));
        let mut key = [mpi(&p), mpi(&q), mpi(&[1])].concat();
        key.resize(key.len().next_multiple_of(16), 0);
        let (key, challenge) = (encode(&master.encrypt_all(&key)), encode(&mpi(&opened[1..])));
        let id = session(&master, &key, &challenge, "AbCdEfGhIjK").unwrap();
        assert_eq!(decode(&id).unwrap(), &opened[..43]);
        assert_eq!(session(&master, &key, &challenge, "AbCdEfGhIjk"), None);
    }

    #[test]
    fn fingerprints_tell_a_time() {
        let seconds = 1_700_000_000_u32.to_le_bytes();
        let bytes = [&[0; 16][..], &[4], &seconds].concat();
        assert_eq!(fingerprint_seconds(&encode(&bytes)), Some(1_700_000_000));
        assert_eq!(fingerprint_seconds(&encode(&bytes[..18])), None);
    }

    #[test]
    fn other_alphabets_are_read_too() {
        assert_eq!(decode("-_8"), decode("+/8="));
    }
}
