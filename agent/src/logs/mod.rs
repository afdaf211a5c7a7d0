//! Ships output to whoever asked a manager for it.
//!
//! Owns nothing: input is the manager's list of subscriptions that concern this node, output one stream of lines for each. The
//! lines are read from the executor as fast as the manager takes them: a channel of a few batches stands between, and a slow
//! reader makes the executor wait, not the memory grow.
//!
//! - A subscription ends when its logs do, when the manager closes it, or with the connection. Closing the stream says: no more.
//! - A task whose log cannot be read is told of in words, and the others go on.
//! - A change of leader ends everything; whoever asked asks again.
//!
//! [`batch`] is what is sent together, [`run`] the loops.

pub mod batch;
pub mod run;
