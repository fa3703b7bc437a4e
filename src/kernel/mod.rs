//! The guest's kernel: reading its image, judging its configuration, closing over its modules.

pub mod bzimage;
pub mod config;
pub mod modules;
