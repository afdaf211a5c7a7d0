//! The words that every part of Skep shares: the messages on the wire ([`pb`]), the checked values ([`model`]), the way from
//! one to the other ([`convert`]), the printing of error chains ([`chain`]), how secrets lie on a disk ([`seal`])
//! and when a manager answers in vain ([`estranged`]). It depends on no other crate of ours.

pub mod chain;
pub mod convert;
pub mod estranged;
pub mod model;
pub mod pb;
pub mod seal;
