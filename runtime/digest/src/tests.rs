//! Published values, and that neither cutting nor company changes them.

use bytes::Bytes;
use causeway_storage::MemorySource;
use data_encoding::{BASE64, HEXLOWER};

use super::*;

const ALL: [Algorithm; 13] = [
    Algorithm::Md5,
    Algorithm::Sha1,
    Algorithm::Sha256,
    Algorithm::Sha512,
    Algorithm::Crc32,
    Algorithm::Crc32c,
    Algorithm::Whirlpool,
    Algorithm::Blake3,
    Algorithm::Quickxor,
    Algorithm::Dropbox,
    Algorithm::Hidrive,
    Algorithm::Mailru,
    Algorithm::Gcid,
];

fn hex(algorithm: Algorithm, bytes: &[u8]) -> String {
    HEXLOWER.encode(&digest_bytes(algorithm, bytes))
}

#[test]
fn published_algorithms_give_their_published_values() {
    assert_eq!(hex(Algorithm::Md5, b"abc"), "900150983cd24fb0d6963f7d28e17f72");
    assert_eq!(hex(Algorithm::Sha1, b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
    assert_eq!(hex(Algorithm::Sha256, b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(
        hex(Algorithm::Sha512, b"abc"),
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
         2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
    );
    assert_eq!(hex(Algorithm::Crc32, b"123456789"), "cbf43926");
    assert_eq!(hex(Algorithm::Crc32c, b"123456789"), "e3069283");
    assert_eq!(
        hex(Algorithm::Whirlpool, b"abc"),
        "4e2448a4c6f486bb16b6562c73b4020bf3043e3a731bce721ae1b303d97e6d4c\
         7181eebdb6c57e277d0e34957114cbd6c797fc9d95d8b582d225292076d4eef5"
    );
    assert_eq!(hex(Algorithm::Blake3, b""), "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
}

#[test]
fn quickxor_gives_the_known_values() {
    let base64 = |bytes: &[u8]| BASE64.encode(&digest_bytes(Algorithm::Quickxor, bytes));
    assert_eq!(base64(b""), "AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    assert_eq!(base64(b"hello"), "aCgDG9jwBgAAAAAABQAAAAAAAAA=");
    let bytes: Vec<u8> = (0..8).flat_map(|_| 0..=255).collect();
    assert_eq!(base64(&bytes), "rxAOGe1RimTF/e+k/mYO5nnSZT8=");
}

#[test]
fn dropbox_gives_the_known_values() {
    assert_eq!(hex(Algorithm::Dropbox, b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!(hex(Algorithm::Dropbox, b"hello"), "9595c9df90075148eb06860365df33584b75bff782a510c6cd4883a419833d50");
    assert_eq!(
        hex(Algorithm::Dropbox, &vec![b'a'; 4_194_305]),
        "5f858b62ccd88447586305aec6fd53c96747cfebf527cbba129a6dfed47d9624"
    );
}

#[test]
fn hidrive_gives_the_known_values() {
    assert_eq!(hex(Algorithm::Hidrive, b""), "0".repeat(40));
    assert_eq!(hex(Algorithm::Hidrive, b"hello"), "44c6e36e32a5029692f2f32e7844d8f52832db8a");
    assert_eq!(hex(Algorithm::Hidrive, &vec![b'a'; 4097]), "3a2b54bdb8b9aee00c68b498e8a6bc9e06545d16");
    assert_eq!(hex(Algorithm::Hidrive, &vec![b'x'; 4096 * 257]), "3388c71de8f2bcd5faac05d958890434bcc27a12");
}

#[test]
fn mailru_gives_the_known_values() {
    for (count, value) in [
        (0, "0".repeat(40)),
        (1, format!("41{}", "00".repeat(19))),
        (20, "41".repeat(20)),
        (21, "eb1d05e78a18691a5aa196a6c2b60cd40b5faafb".into()),
        (22, "037e6d960601118a0639afbeff30fe716c66ed2d".into()),
        (4096, "45a16aa192502b010280fb5b44274c601a91fd9f".into()),
    ] {
        assert_eq!(hex(Algorithm::Mailru, &vec![b'A'; count]), value, "{count}");
    }
}

#[test]
fn gcid_gives_the_known_values() {
    assert_eq!(hex(Algorithm::Gcid, b""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    assert_eq!(hex(Algorithm::Gcid, b"hello"), "6b4f89a54e2d27ecd7e8da05b4ab8fd9d1d8b119");
    let bytes: Vec<u8> = (0..600_000u32).map(|i| (i % 251) as u8).collect();
    assert_eq!(hex(Algorithm::Gcid, &bytes), "3fc0617c331816da4ee9c19c6f532f2d6d4fd6cc");
}

/// The block size by the rule as it is written, against the candidates that the state keeps.
#[test]
fn gcid_takes_the_block_size_that_the_length_demands() {
    for length in [1u64, 1 << 27, (1 << 27) + 1, 1 << 28, (1 << 28) + 1, 1 << 29, 1 << 40] {
        let mut size = GCID_START;
        while length as f64 / size as f64 > 512.0 && size < 2 << 20 {
            size *= 2;
        }
        assert_eq!(vendors::Gcid::new().block_bytes_for(length), Some(size), "{length}");
    }
}

const GCID_START: u64 = 256 * 1024;

#[test]
fn cuts_and_company_change_nothing() {
    let bytes: Vec<u8> = (0..1_300_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for step in [1_000, 4_096, 65_537] {
        let mut digester = Digester::new(&ALL);
        bytes.chunks(step).for_each(|piece| digester.update(piece));
        for digest in digester.finish() {
            assert_eq!(digest.value, digest_bytes(digest.algorithm, &bytes), "{:?} by {step}", digest.algorithm);
        }
    }
}

#[test]
fn spans_of_a_source_follow_one_another() {
    let source = MemorySource(Bytes::from_static(b"0123456789"));
    let spans = [Span::new(5, 2), Span::new(0, 3)];
    assert_eq!(digest_source(&source, Algorithm::Md5, &spans).unwrap(), digest_bytes(Algorithm::Md5, b"56012"));
    assert_eq!(digest_source(&source, Algorithm::Md5, &[]).unwrap(), digest_bytes(Algorithm::Md5, b"0123456789"));
}

#[test]
fn a_span_beyond_the_source_is_an_error() {
    let source = MemorySource(Bytes::from_static(b"0123456789"));
    assert!(digest_source(&source, Algorithm::Md5, &[Span::new(8, 3)]).is_err());
    assert!(digest_source(&source, Algorithm::Md5, &[Span::new(u64::MAX, 3)]).is_err());
}

#[test]
fn an_algorithm_named_twice_is_made_once() {
    assert_eq!(Digester::new(&[Algorithm::Md5, Algorithm::Md5]).finish().len(), 1);
}
