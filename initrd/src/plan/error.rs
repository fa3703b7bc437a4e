//! What can be wrong with a plan.

use core::fmt;

use super::value::ValueError;

/// A fault, and the line that it is in. The first line of a plan is line 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PlanError {
    /// The line; one past the last if something is missing.
    pub line: usize,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// A directive that may stand once stands twice, or an environment variable or a
    /// volume is named twice.
    Duplicate,
    /// The first line is not [`HEADER`](super::HEADER).
    Header,
    /// The plan ends without a directive that it must have.
    Missing(&'static str),
    /// The keyword needs a value.
    MissingValue,
    /// The directive must stand earlier.
    Order,
    /// The plan is longer than [`MAX_BYTES`](super::MAX_BYTES).
    TooLong,
    /// More than [`MAX_STRINGS`](super::MAX_STRINGS) arguments or environment variables.
    TooMany,
    /// The keyword takes no value.
    UnexpectedValue,
    /// The value is none of those that the keyword takes.
    UnknownChoice,
    /// No such keyword.
    UnknownKeyword,
    /// The last line does not end in a newline.
    Unterminated,
    /// The value is not of its kind.
    Value(ValueError),
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "plan line {}: {}", self.line, self.fault)
    }
}

impl core::error::Error for PlanError {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Duplicate => "said twice",
            Self::Header => "the first line must be `counterfoil-plan 1`",
            Self::Missing(keyword) => return write!(f, "`{keyword}` is missing"),
            Self::MissingValue => "a value is missing",
            Self::Order => "out of order",
            Self::TooLong => "the plan is too long",
            Self::TooMany => "too many arguments or variables",
            Self::UnexpectedValue => "takes no value",
            Self::UnknownChoice => "no such choice",
            Self::UnknownKeyword => "unknown keyword",
            Self::Unterminated => "does not end in a newline",
            Self::Value(error) => return error.fmt(f),
        })
    }
}

impl From<ValueError> for Fault {
    fn from(error: ValueError) -> Self {
        Self::Value(error)
    }
}
