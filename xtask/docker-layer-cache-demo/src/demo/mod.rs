//! The four jobs of the demo, and the table that they end in.

mod docker;
mod job;
mod repository;
mod run;
mod table;

pub(crate) use run::run;
