//! What people read: talk on stderr, data on stdout.

mod table;
mod talk;
mod wrap;

pub(crate) use table::Table;
pub(crate) use talk::{Talk, age, bytes, data, print_error, seconds};
pub(crate) use wrap::{paints, wrap};
