//! AES in counter mode at any place of a file: the keystream at an offset depends on the key, the counter at the file's
//! beginning and the offset alone, so any span can be enciphered or deciphered by itself. It authenticates nothing.

use aes::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
use aes::{Aes128, Aes192, Aes256};
use causeway_storage::{Error, ErrorKind, Result};
use ctr::Ctr64BE;

use crate::request::AesCtr;

/// Enciphers or deciphers bytes that stand at this offset of the file.
pub(crate) fn apply(cipher: &AesCtr, offset: u64, bytes: &mut [u8]) -> Result<()> {
    match cipher.key.len() {
        16 => run::<Ctr64BE<Aes128>>(cipher, offset, bytes),
        24 => run::<Ctr64BE<Aes192>>(cipher, offset, bytes),
        32 => run::<Ctr64BE<Aes256>>(cipher, offset, bytes),
        _ => Err(wrong()),
    }
}

fn run<C: KeyIvInit + StreamCipher + StreamCipherSeek>(cipher: &AesCtr, offset: u64, bytes: &mut [u8]) -> Result<()> {
    let mut stream = C::new_from_slices(&cipher.key, &cipher.counter).map_err(|_| wrong())?;
    stream.try_seek(offset).map_err(|_| wrong())?;
    stream.try_apply_keystream(bytes).map_err(|_| wrong())
}

fn wrong() -> Error {
    Error::new(ErrorKind::Invalid, "aes-ctr needs a key of 16, 24 or 32 bytes and a counter of 16")
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    /// NIST SP 800-38A, F.5.1.
    fn published() -> (AesCtr, Vec<u8>, Vec<u8>) {
        let hex = |text: &str| HEXLOWER.decode(text.as_bytes()).unwrap();
        let cipher =
            AesCtr { key: hex("2b7e151628aed2a6abf7158809cf4f3c"), counter: hex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff") };
        let plain = hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");
        let enciphered = hex("874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff");
        (cipher, plain, enciphered)
    }

    #[test]
    fn the_published_text_is_enciphered_as_published() {
        let (cipher, mut bytes, enciphered) = published();
        apply(&cipher, 0, &mut bytes).unwrap();
        assert_eq!(bytes, enciphered);
    }

    #[test]
    fn a_span_is_deciphered_by_itself() {
        let (cipher, plain, enciphered) = published();
        let mut span = enciphered[7..25].to_vec();
        apply(&cipher, 7, &mut span).unwrap();
        assert_eq!(span, plain[7..25]);
    }

    #[test]
    fn a_key_of_another_length_is_refused() {
        let cipher = AesCtr { key: vec![0; 15], counter: vec![0; 16] };
        assert!(apply(&cipher, 0, &mut [0]).is_err());
    }
}
