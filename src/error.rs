//! One error for everything above the pure modules: what went wrong, what to do next, and which of
//! the program's few answers it amounts to.

use std::error::Error as StdError;
use std::fmt;

/// The program's answers. Each is one exit code, the same for every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The machine did not let us: I/O, network, a program that would not start. Exit 1.
    Environment,
    /// The command line asks for something that does not exist. Exit 2.
    Usage,
    /// An input is not what was promised, or is refused by rule. Exit 10.
    Rejected,
    /// Something needed for an answer is missing or not supported. Exit 20.
    CannotDecide,
    /// An input is not well-formed. Exit 30.
    Malformed,
}

/// A failure as a person meets it: one sentence, its causes, and hints.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
    hints: Vec<String>,
}

/// The result of a step that can fail in front of a person.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A failure with nothing beneath it.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None, hints: Vec::new() }
    }

    /// A failure of `kind` with the error beneath it.
    pub fn caused(
        kind: Kind,
        message: impl Into<String>,
        source: impl StdError + Send + Sync + 'static,
    ) -> Self {
        Self { source: Some(Box::new(source)), ..Self::new(kind, message) }
    }

    /// The same failure with what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The same failure, seen from one step further up; its kind and hints stay.
    #[must_use]
    pub fn context(self, message: impl Into<String>) -> Self {
        let (kind, hints) = (self.kind, self.hints.clone());
        Self {
            kind,
            message: message.into(),
            source: Some(Box::new(Self { hints: Vec::new(), ..self })),
            hints,
        }
    }

    /// Which answer this failure amounts to.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What to do next, most useful first.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// What stands beneath an error, from its cause down.
pub fn causes(error: &dyn StdError) -> Vec<String> {
    let beneath = std::iter::successors(error.source(), |error| (*error).source());
    beneath.map(ToString::to_string).collect()
}

/// An error and its causes, with colons between them.
pub fn in_one_line(error: &dyn StdError) -> String {
    let mut all = vec![error.to_string()];
    all.extend(causes(error));
    all.join(": ")
}

/// Puts a sentence and a kind on top of a lower error.
pub trait Context<T> {
    /// Wraps the error, if any, as a failure of `kind` described by `message`.
    fn context(self, kind: Kind, message: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: StdError + Send + Sync + 'static> Context<T> for Result<T, E> {
    fn context(self, kind: Kind, message: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::caused(kind, message(), source))
    }
}
