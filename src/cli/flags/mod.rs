//! The small languages of single flags: text in, checked values out. Pure.

pub(crate) mod env;
pub(crate) mod labels;
pub(crate) mod placement;
pub(crate) mod ports;
pub(crate) mod since;
pub(crate) mod words;
