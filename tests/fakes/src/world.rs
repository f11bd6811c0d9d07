//! What all fakes of a front share: a clock that tests move, ids that are the same in every run, and the size of pages.

use std::time::Duration;

use data_encoding::HEXLOWER;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

/// The shared surroundings of fakes.
#[derive(Debug)]
pub struct World {
    ahead: SignedDuration,
    ids: u64,
    /// The longest page that a listing may have, whatever the client asks for; `None`: the provider's own limit.
    pub page_size: Option<usize>,
    /// How long a request may be answered with `Wait` before it is asked a last time.
    pub patience: Duration,
}

impl Default for World {
    fn default() -> World {
        World { ahead: SignedDuration::ZERO, ids: 0, page_size: None, patience: Duration::from_secs(20) }
    }
}

impl World {
    /// The real time plus what tests moved the clock by: clients sign with the real time, so the two may not drift apart alone.
    pub fn now(&self) -> Timestamp {
        Timestamp::now().saturating_add(self.ahead).unwrap_or(Timestamp::MAX)
    }

    /// Moves the clock forward.
    pub fn advance(&mut self, by: Duration) {
        let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
        self.ahead = self.ahead.saturating_add(by);
    }

    /// 1, 2, 3 ...
    pub fn number(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    /// Bytes that were never given out before and are the same in every run. Nothing secret: a test can foresee them.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let number = self.number();
        let blocks = (0u64..).flat_map(|block| Sha256::digest([number.to_be_bytes(), block.to_be_bytes()].concat()));
        blocks.take(count).collect()
    }

    /// That many lower-case hexadecimal digits.
    pub fn hex(&mut self, digits: usize) -> String {
        let mut text = HEXLOWER.encode(&self.bytes(digits.div_ceil(2)));
        text.truncate(digits);
        text
    }

    /// That many letters and digits.
    pub fn word(&mut self, length: usize) -> String {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let picked = self.bytes(length).into_iter().filter_map(|byte| LETTERS.get(usize::from(byte) % LETTERS.len()));
        picked.map(|&letter| char::from(letter)).collect()
    }

    /// An id written as a UUID.
    pub fn uuid(&mut self) -> String {
        let hex = self.hex(32);
        let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
        format!("{}-{}-4{}-8{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
    }

    /// How many entries a page holds when the client asks for `asked` and the provider allows `most`.
    pub fn page(&self, asked: Option<usize>, most: usize) -> usize {
        let page = asked.filter(|&asked| asked > 0).unwrap_or(most).min(most);
        page.min(self.page_size.unwrap_or(most)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_from_each_other_and_not_between_runs() {
        let (mut one, mut other) = (World::default(), World::default());
        let first = one.hex(40);
        assert_eq!(first.len(), 40);
        assert_eq!(first, other.hex(40));
        assert_ne!(first, one.hex(40));
        assert_eq!(one.uuid().len(), 36);
    }

    #[test]
    fn the_clock_moves_when_told() {
        let mut world = World::default();
        let before = world.now();
        world.advance(Duration::from_secs(3600));
        assert!(world.now().duration_since(before) >= SignedDuration::from_secs(3600));
    }

    #[test]
    fn a_page_is_the_smallest_of_what_anyone_wants() {
        let mut world = World::default();
        assert_eq!((world.page(None, 1000), world.page(Some(5), 1000), world.page(Some(5000), 1000)), (1000, 5, 1000));
        world.page_size = Some(2);
        assert_eq!((world.page(None, 1000), world.page(Some(1), 1000)), (2, 1));
    }
}
