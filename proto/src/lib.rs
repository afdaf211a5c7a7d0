//! The words that every part of Skep shares: the messages on the wire ([`pb`]), the checked values ([`model`]), the way from
//! one to the other ([`convert`]), the printing of error chains ([`chain`]) and how secrets lie on a disk ([`seal`]). It depends on no other crate of ours.

pub mod chain;
pub mod convert;
pub mod model;
pub mod pb;
pub mod seal;
