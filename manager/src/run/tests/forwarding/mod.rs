//! What a manager does that does not lead.

mod agents;
mod echo;
mod group;
mod leaders;
mod people;
mod way;
