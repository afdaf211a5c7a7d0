//! (interface first; the theory comes with the code)
