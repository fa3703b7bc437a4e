//! [`crate::launch::page::Chain`] for very many pages that are all alike: the same hash, without
//! what goes on around it when it is used for any length.

use sha2::block_api::compress512;

use crate::digest::Sha384;
use crate::launch::page::Update;

/// PAGE_INFO (SNP ABI, table "PAGE_INFO") as the two blocks that SHA-384 makes of its 0x70 bytes.
/// The digest so far is its first field, so each step leaves it where the next one reads it.
pub(super) struct Repeated {
    blocks: [[u8; BLOCK]; 2],
}

impl Repeated {
    pub(super) fn new(from: Sha384) -> Self {
        let mut blocks = [[0; BLOCK]; 2];
        put(&mut blocks[0], 0, &from.0);
        put(&mut blocks[0], 0x60, &LENGTH.to_le_bytes());
        // FIPS 180-4, 5.1.2: a one bit after the message, and its length in bits at the end.
        put(&mut blocks[0], LENGTH.into(), &[0x80]);
        put(&mut blocks[1], BLOCK - 2, &(LENGTH * 8).to_be_bytes());
        Self { blocks }
    }

    /// Says what the next pages are.
    pub(super) fn set(&mut self, page: &Update) {
        put(&mut self.blocks[0], 0x30, &page.contents.0);
        put(&mut self.blocks[0], 0x62, &[page.kind as u8]);
        put(&mut self.blocks[0], 0x68, &page.gpa.to_le_bytes());
    }

    /// Adds one page, and gives the digest after it.
    pub(super) fn add(&mut self) -> Sha384 {
        let mut state = INITIAL;
        compress512(&mut state, &self.blocks);
        let mut digest = [0; 48];
        for (bytes, word) in digest.chunks_exact_mut(8).zip(state) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        put(&mut self.blocks[0], 0, &digest);
        Sha384(digest)
    }
}

/// `bytes` at a constant place in the block.
fn put(block: &mut [u8; BLOCK], at: usize, bytes: &[u8]) {
    if let Some(place) = block.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

const BLOCK: usize = 128;

/// The size of PAGE_INFO, which is also one of its fields.
const LENGTH: u16 = 0x70;

/// FIPS 180-4, 5.3.4.
const INITIAL: [u64; 8] = [
    0xcbbb_9d5d_c105_9ed8,
    0x629a_292a_367c_d507,
    0x9159_015a_3070_dd17,
    0x152f_ecd8_f70e_5939,
    0x6733_2667_ffc0_0b31,
    0x8eb4_4a87_6858_1511,
    0xdb0c_2e0d_64f9_8fa7,
    0x47b5_481d_befa_4fa4,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::page::{Chain, PageType};
    use crate::launch::vmsa::VMSA_GPA;

    #[test]
    fn is_the_chain() {
        let start = Sha384::of("start");
        let (mut chain, mut repeated) = (Chain::from(start), Repeated::new(start));
        for page in ["first", "other", "other"] {
            let page = Update::hashed(PageType::Vmsa, VMSA_GPA, page.as_bytes());
            chain.add(&page);
            repeated.set(&page);
            assert_eq!(repeated.add(), chain.digest());
        }
    }
}
