//! As much of CBOR as a CoRIM needs, deterministically encoded (RFC 8949, section 4.2.1): the
//! shortest heads, definite lengths. Whoever writes a map gives its keys in ascending order.

#[derive(Debug, Default)]
pub(super) struct Encoder(Vec<u8>);

impl Encoder {
    pub(super) fn uint(&mut self, value: u64) -> &mut Self {
        self.head(0, value)
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.head(2, bytes.len() as u64).0.extend_from_slice(bytes);
        self
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.head(3, text.len() as u64).0.extend_from_slice(text.as_bytes());
        self
    }

    /// Begins an array of so many items.
    pub(super) fn array(&mut self, items: usize) -> &mut Self {
        self.head(4, items as u64)
    }

    /// Begins a map of so many pairs.
    pub(super) fn map(&mut self, pairs: usize) -> &mut Self {
        self.head(5, pairs as u64)
    }

    /// Says what the next item is.
    pub(super) fn tag(&mut self, tag: u64) -> &mut Self {
        self.head(6, tag)
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }

    fn head(&mut self, major: u8, value: u64) -> &mut Self {
        let major = major << 5;
        let bytes = value.to_be_bytes();
        let (info, width) = match value {
            0..=23 => (value as u8, 0),
            24..=0xff => (24, 1),
            0x100..=0xffff => (25, 2),
            0x1_0000..=0xffff_ffff => (26, 4),
            _ => (27, 8),
        };
        self.0.push(major | info);
        self.0.extend(bytes.iter().skip(bytes.len() - width));
        self
    }
}
