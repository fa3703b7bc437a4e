//! Text in a buffer of fixed size: there is no allocator.

use core::fmt;
use core::hint::black_box;

/// At most `N` bytes. Writing more is an error, so nothing is ever cut to fit.
pub(crate) struct Text<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Text<N> {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; N], length: 0 }
    }

    /// Forgets what was written.
    #[allow(dead_code, reason = "only PID 1 holds secrets")]
    pub(crate) fn wipe(&mut self) {
        self.bytes = [0; N];
        self.length = 0;
        // Not to be left out as being of no use.
        black_box(&self.bytes);
    }

    pub(crate) fn as_str(&self) -> &str {
        // Only whole strings are written.
        core::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl<const N: usize> fmt::Write for Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use core::fmt::Write as _;

    use super::*;

    #[test]
    fn nothing_is_cut_to_fit() {
        let mut text = Text::<5>::new();
        assert!(write!(text, "ab-{}", 7).is_ok());
        assert!(text.write_str("xy").is_err());
        assert_eq!(text.as_str(), "ab-7");
    }
}
