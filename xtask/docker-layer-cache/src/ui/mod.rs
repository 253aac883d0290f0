//! What people read: talk on stderr, data on stdout.

mod table;
mod talk;

pub(crate) use table::Table;
pub(crate) use talk::{Talk, age, bytes, data, print_error, seconds};
