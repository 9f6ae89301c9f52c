//! A set of records.

use hashbrown::HashMap;

/// How many words of 64 bits a block has, and how many keys.
const BLOCK_WORDS: usize = 128;
const BLOCK_KEYS: i64 = 128 * 64;

/// A set of keys of records: a bit for each, in blocks, because most of them follow each other.
#[derive(Debug, Default)]
pub(super) struct RecordSet {
    blocks: HashMap<i64, Box<[u64; BLOCK_WORDS]>>,
}

impl RecordSet {
    pub(super) fn insert(&mut self, record: i64) {
        let (block, word, bit) = place(record);
        let block = self.blocks.entry(block).or_insert_with(|| Box::new([0; _]));
        block[word] |= bit;
    }

    pub(super) fn contains(&self, record: i64) -> bool {
        let (block, word, bit) = place(record);
        self.blocks.get(&block).is_some_and(|block| block[word] & bit != 0)
    }
}

/// The block of a key, the word in it, and the bit in that.
fn place(record: i64) -> (i64, usize, u64) {
    let key = record.rem_euclid(BLOCK_KEYS).unsigned_abs();
    let word = usize::try_from(key / 64).expect("it is within a block");
    (record.div_euclid(BLOCK_KEYS), word, 1 << (key % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_what_was_inserted_and_nothing_else() {
        let keys = [i64::MIN, -1, 0, 1, 63, 64, 8_191, 8_192, 1 << 40, i64::MAX];
        let mut set = RecordSet::default();
        for key in keys {
            assert!(!set.contains(key));
            set.insert(key);
            set.insert(key);
        }
        assert!(keys.iter().all(|key| set.contains(*key)));
        assert!(![2, 62, 65, 8_190, (1 << 40) + 1].iter().any(|key| set.contains(*key)));
    }
}
