//! The language, by tables.
