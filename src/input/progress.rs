//! How long work tells of itself, without knowing whether anybody looks.

/// Somebody who is told how work goes. The library never prints; `cli` implements this.
pub trait Progress {
    /// A step begins; `total` is in bytes, where known.
    fn begin(&self, what: &str, total: Option<u64>);

    /// So many bytes of the step are done, in all.
    fn advance(&self, done: u64);

    /// The step is over.
    fn end(&self);

    /// Something for those who want to know more.
    fn detail(&self, text: &str);

    /// Something worth a line.
    fn note(&self, text: &str);

    /// Something that nobody may overlook.
    fn warn(&self, text: &str);
}

/// Nobody looks.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
    fn detail(&self, _: &str) {}
    fn note(&self, _: &str) {}
    fn warn(&self, _: &str) {}
}
