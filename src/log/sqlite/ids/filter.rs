//! A Bloom filter of blocks: says which keys are certainly not in a run, for one cache line each.

use super::entry::Key;

/// Bits for each key.
const KEY_BITS: u64 = 12;
const BLOCK_BYTES: usize = 64;
/// Bits that a key sets in its block: each takes 9 bits of a number of 64.
const PROBES: u32 = 7;

/// One cache line.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Block([u64; BLOCK_BYTES / 8]);

pub(super) struct Filter(Vec<Block>);

impl Filter {
    /// For this many keys.
    pub(super) fn new(keys: u64) -> Self {
        let blocks = (keys * KEY_BITS).div_ceil(BLOCK_BYTES as u64 * 8).max(1);
        Self(vec![Block::default(); usize::try_from(blocks).unwrap_or(1)])
    }

    pub(super) fn insert(&mut self, key: Key) {
        let (block, bits) = self.place(key);
        for bit in bits {
            self.0[block].0[bit / 64] |= 1 << (bit % 64);
        }
    }

    /// False if the key was certainly not inserted.
    pub(super) fn may_have(&self, key: Key) -> bool {
        let (block, mut bits) = self.place(key);
        let block = &self.0[block].0;
        bits.all(|bit| block[bit / 64] >> (bit % 64) & 1 == 1)
    }

    fn place(&self, key: Key) -> (usize, impl Iterator<Item = usize> + use<>) {
        let mixed = mix(key.0);
        let block = (u128::from(mixed) * self.0.len() as u128) >> 64;
        let bits = mix(mixed);
        (
            usize::try_from(block).unwrap_or_default(),
            (0..PROBES).map(move |probe| (bits >> (9 * probe) & 0x1ff) as usize),
        )
    }

    /// The bytes from which [`Filter::read`] makes it again.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let words = self.0.iter().flat_map(|block| block.0);
        words.flat_map(u64::to_le_bytes).collect()
    }

    /// None if these are not bytes of a filter for this many keys.
    pub(super) fn read(bytes: &[u8], keys: u64) -> Option<Self> {
        let mut filter = Self::new(keys);
        if bytes.len() != filter.0.len() * BLOCK_BYTES {
            return None;
        }
        let (words, _) = bytes.as_chunks::<8>();
        let (blocks, _) = words.as_chunks::<{ BLOCK_BYTES / 8 }>();
        for (block, words) in filter.0.iter_mut().zip(blocks) {
            block.0 = words.map(u64::from_le_bytes);
        }
        Some(filter)
    }
}

/// Spreads a number over all bits (SplitMix64).
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_inserted_is_found_and_little_else() {
        let keys = 16_384;
        let mut filter = Filter::new(keys);
        for key in 0..keys {
            filter.insert(Key(key));
        }
        let again = Filter::read(&filter.bytes(), keys).unwrap();
        assert!((0..keys).all(|key| again.may_have(Key(key))));
        let others = keys..101 * keys;
        let wrong = others.filter(|&key| again.may_have(Key(key))).count() as u64;
        assert!(wrong < keys, "{wrong} of {} are false", 100 * keys);
        assert!(Filter::read(&filter.bytes(), 2 * keys).is_none());
    }
}
