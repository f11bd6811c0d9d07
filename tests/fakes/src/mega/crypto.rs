//! The ciphers of MEGA's clients, as the server of a test needs them: to check what it was sent, and to play another client.
//!
//! AES is always AES-128. Nodes carry `key` (how their content and attributes are encrypted), encrypted with the master key of
//! the account. A file's key also contains its nonce and its meta-MAC, the one digest that MEGA has. This file knows nothing of
//! accounts or requests.
use aes::Aes128;
use aes::cipher::generic_array::GenericArray;
use aes::cipher::{BlockDecrypt, BlockEncrypt, KeyInit, KeyIvInit, StreamCipher};
use ctr::Ctr64BE;
use data_encoding::BASE64URL_NOPAD;

/// A key or block of AES-128.
pub(super) type Block = [u8; 16];

const BLOCK: usize = 16;
const MAGIC: &[u8] = b"MEGA";

/// Base64url without padding.
pub(super) fn encode(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

/// The bytes of base64url; `+` and `/` are read too, as MEGA does.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').replace('+', "-").replace('/', "_");
    BASE64URL_NOPAD.decode(text.as_bytes()).ok()
}

/// One block, encrypted.
pub(super) fn encrypt_block(key: &Block, block: &Block) -> Block {
    let mut block = GenericArray::from(*block);
    Aes128::new(&GenericArray::from(*key)).encrypt_block(&mut block);
    block.into()
}

/// A block encrypted with each key in turn, and that so many times.
pub(super) fn stretch(keys: &[Block], block: Block, rounds: usize) -> Block {
    let ciphers: Vec<Aes128> = keys.iter().map(|key| Aes128::new(&GenericArray::from(*key))).collect();
    let mut state = GenericArray::from(block);
    for _ in 0..rounds {
        ciphers.iter().for_each(|cipher| cipher.encrypt_block(&mut state));
    }
    state.into()
}

/// Whole blocks, each for itself; what is left at the end is padded with zeros.
pub(super) fn ecb_encrypt(key: &Block, data: &[u8]) -> Vec<u8> {
    let cipher = Aes128::new(&GenericArray::from(*key));
    blocks(data)
        .flat_map(|block| {
            let mut block = GenericArray::from(block);
            cipher.encrypt_block(&mut block);
            Block::from(block)
        })
        .collect()
}

/// The reverse of [`ecb_encrypt`], padding included.
pub(super) fn ecb_decrypt(key: &Block, data: &[u8]) -> Vec<u8> {
    let cipher = Aes128::new(&GenericArray::from(*key));
    blocks(data)
        .flat_map(|block| {
            let mut block = GenericArray::from(block);
            cipher.decrypt_block(&mut block);
            Block::from(block)
        })
        .collect()
}

/// CBC over zero-padded blocks. Its last block is a CBC-MAC.
fn cbc_encrypt(key: &Block, iv: Block, data: &[u8]) -> Vec<u8> {
    let cipher = Aes128::new(&GenericArray::from(*key));
    let mut state = iv;
    blocks(data)
        .flat_map(|block| {
            let mut next = GenericArray::from(xor(&state, &block));
            cipher.encrypt_block(&mut next);
            state = next.into();
            state
        })
        .collect()
}

fn cbc_decrypt(key: &Block, iv: Block, data: &[u8]) -> Vec<u8> {
    let cipher = Aes128::new(&GenericArray::from(*key));
    let mut previous = iv;
    blocks(data)
        .flat_map(|block| {
            let mut plain = GenericArray::from(block);
            cipher.decrypt_block(&mut plain);
            xor(&std::mem::replace(&mut previous, block), &plain.into())
        })
        .collect()
}

fn blocks(data: &[u8]) -> impl Iterator<Item = Block> + '_ {
    data.chunks(BLOCK).map(padded)
}

/// At most sixteen bytes, with zeros behind.
pub(super) fn padded(data: &[u8]) -> Block {
    let mut block = [0; BLOCK];
    for (to, from) in block.iter_mut().zip(data) {
        *to = *from;
    }
    block
}

/// Byte by byte.
pub(super) fn xor(left: &Block, right: &Block) -> Block {
    std::array::from_fn(|index| left.get(index).unwrap_or(&0) ^ right.get(index).unwrap_or(&0))
}

/// The attributes of a node (`a`): `MEGA` and JSON, encrypted.
pub(super) fn seal_attributes(key: &Block, json: &serde_json::Value) -> String {
    let text = [MAGIC, json.to_string().as_bytes()].concat();
    encode(&cbc_encrypt(key, [0; BLOCK], &text))
}

/// The JSON of sealed attributes; none with the wrong key.
pub(super) fn open_attributes(key: &Block, sealed: &str) -> Option<serde_json::Value> {
    let plain = cbc_decrypt(key, [0; BLOCK], &decode(sealed)?);
    let json = plain.strip_prefix(MAGIC)?;
    let end = json.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    serde_json::from_slice(json.get(..end)?).ok()
}

/// What decrypts a file: its 32-byte node key, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileKey {
    /// Of content and attributes.
    pub key: Block,
    /// The upper half of the counter.
    pub nonce: [u8; 8],
    /// Of the whole content.
    pub meta_mac: [u8; 8],
}

impl FileKey {
    /// From the 32 bytes that a node key decrypts to.
    pub(super) fn unpack(bytes: &[u8]) -> Option<Self> {
        let (first, second) = bytes.split_at_checked(BLOCK)?;
        let second: Block = second.try_into().ok()?;
        let (nonce, meta_mac) = second.split_at(8);
        let key = xor(&first.try_into().ok()?, &second);
        Some(Self { key, nonce: nonce.try_into().ok()?, meta_mac: meta_mac.try_into().ok()? })
    }

    /// The 32 bytes that are encrypted as a node's key.
    pub(super) fn pack(&self) -> [u8; 32] {
        let second = padded(&[self.nonce, self.meta_mac].concat());
        let first = xor(&self.key, &second);
        std::array::from_fn(|index| *first.iter().chain(&second).nth(index).unwrap_or(&0))
    }

    /// A key for `content`, with its meta-MAC.
    pub(super) fn of(key: Block, nonce: [u8; 8], content: &[u8]) -> Self {
        Self { key, nonce, meta_mac: meta_mac(&key, &nonce, content) }
    }

    /// Content from its beginning, encrypted or decrypted.
    pub(super) fn cipher(&self, content: &[u8]) -> Vec<u8> {
        let counter = padded(&self.nonce);
        let mut content = content.to_vec();
        Ctr64BE::<Aes128>::new(&GenericArray::from(self.key), &GenericArray::from(counter))
            .apply_keystream(&mut content);
        content
    }
}

/// The chunks that content is uploaded and checked in: `[start, end)`, 128 KiB, 256 KiB ... 1 MiB, and 1 MiB from then on.
pub(super) fn chunks(size: u64) -> impl Iterator<Item = (u64, u64)> {
    const STEP: u64 = 128 << 10;
    let mut start = 0;
    (1_u64..).map_while(move |number| {
        let from = start;
        start = (from + number.min(8) * STEP).min(size);
        (from < size).then_some((from, start))
    })
}

/// The CBC-MAC of one chunk of plain content.
pub(super) fn chunk_mac(key: &Block, nonce: &[u8; 8], plain: &[u8]) -> Block {
    let iv = padded(&[*nonce, *nonce].concat());
    let chain = cbc_encrypt(key, iv, plain);
    chain.rchunks(BLOCK).next().map_or(iv, padded)
}

/// The meta-MAC of plain content: the MACs of its chunks chained, and folded into eight bytes.
pub(super) fn meta_mac(key: &Block, nonce: &[u8; 8], content: &[u8]) -> [u8; 8] {
    let macs = chunks(content.len() as u64)
        .filter_map(|(start, end)| content.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?))
        .map(|chunk| chunk_mac(key, nonce, chunk));
    let mac = macs.fold([0; BLOCK], |state, mac| encrypt_block(key, &xor(&state, &mac)));
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = mac;
    [a ^ e, b ^ f, c ^ g, d ^ h, i ^ m, j ^ n, k ^ o, l ^ p]
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;
    use sha2::{Digest, Sha256};

    const KEY: Block = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    const NONCE: [u8; 8] = [0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17];
    const MASTER: Block = [32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47];

    #[test]
    fn a_short_file_matches_the_vector() {
        let file = FileKey::of(KEY, NONCE, b"hello");
        assert_eq!(HEXLOWER.encode(&file.cipher(b"hello")), "e583b4acb2");
        assert_eq!(HEXLOWER.encode(&chunk_mac(&KEY, &NONCE, b"hello")), "1dbf5ac2c078b050946a4f27b6600922");
        assert_eq!(HEXLOWER.encode(&file.meta_mac), "7d312c460af52681");
        assert_eq!(encode(&ecb_encrypt(&MASTER, &file.pack())), "D4D343gGGj6xKZ_SHfdKp2DN3IB_f7fruYLkjHtNk1I");
        assert_eq!(FileKey::unpack(&file.pack()), Some(file));
    }

    #[test]
    fn a_file_of_two_chunks_matches_the_vector() {
        let content: Vec<u8> = (0..131_089_u32).map(|index| (index % 251) as u8).collect();
        let file = FileKey::of(KEY, NONCE, &content);
        let digest = HEXLOWER.encode(&Sha256::digest(file.cipher(&content)));
        assert_eq!(digest, "f2390f1ae8ac78684daeab892ad3786be7bec14f8a9b54b36ab140da80affbde");
        let (first, second) = content.split_at(131_072);
        assert_eq!(HEXLOWER.encode(&chunk_mac(&KEY, &NONCE, first)), "17f3450813b1243736bf7c9eca93c198");
        assert_eq!(HEXLOWER.encode(&chunk_mac(&KEY, &NONCE, second)), "74b2c3e113fffbca11c846eb5d570b34");
        assert_eq!(HEXLOWER.encode(&file.meta_mac), "c73a8294ad7f26ca");
    }

    #[test]
    fn attributes_match_the_vector_and_open_again() {
        let json = serde_json::json!({ "n": "a.txt" });
        let sealed = seal_attributes(&KEY, &json);
        assert_eq!(sealed, "fqqkyjEYIL8ICI_yr0VfeG93fIcwnt630aalwouNGQM");
        assert_eq!(open_attributes(&KEY, &sealed), Some(json));
        assert_eq!(open_attributes(&MASTER, &sealed), None);
    }

    #[test]
    fn chunks_lie_where_the_layout_says() {
        let starts: Vec<u64> = chunks(6 << 20).map(|(start, _)| start).collect();
        assert_eq!(
            starts,
            [0, 131_072, 393_216, 786_432, 1_310_720, 1_966_080, 2_752_512, 3_670_016, 4_718_592, 5_767_168]
        );
        assert_eq!(chunks(6 << 20).last(), Some((5_767_168, 6 << 20)));
        assert_eq!(chunks(0).count(), 0);
    }
}
