//! Inputs: where they come from, where they are kept, and how their bytes are taken.

pub mod apt;
pub mod bounded;
pub mod bundle;
mod compile;
pub mod fetch;
pub mod http;
pub mod kds;
pub mod local;
pub mod open;
pub mod progress;
pub mod python;
pub mod resolve;
pub mod store;
