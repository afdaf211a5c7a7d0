//! A look at what is behind a lock.
//!
//! One thread may not look twice at the same lock at once: if somebody wants to write between the two looks, the second waits for the
//! writer and the writer for the first, for ever, and with them all that the process does. It takes rare timing for that to happen, so
//! it is found out without: where assertions are on, the second look itself panics.

use std::ops::Deref;

use parking_lot::{RwLock, RwLockReadGuard};

/// Shared access, until it is dropped.
#[derive(Debug)]
pub struct Look<'a, T> {
    guard: RwLockReadGuard<'a, T>,
    #[cfg(debug_assertions)]
    _held: held::Held,
}

impl<'a, T> Look<'a, T> {
    /// Waits for writers, of whom none takes long.
    #[track_caller]
    pub(super) fn at(lock: &'a RwLock<T>) -> Self {
        #[cfg(debug_assertions)]
        let held = held::Held::new(std::ptr::from_ref(lock).addr());
        Self {
            guard: lock.read(),
            #[cfg(debug_assertions)]
            _held: held,
        }
    }
}

impl<T> Deref for Look<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

#[cfg(debug_assertions)]
mod held {
    use std::cell::RefCell;

    thread_local! {
        /// Addresses of the locks that this thread looks behind.
        static LOCKS: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    }

    #[derive(Debug)]
    pub(super) struct Held(usize);

    impl Held {
        #[track_caller]
        pub(super) fn new(lock: usize) -> Self {
            let is_second = LOCKS.with_borrow(|locks| locks.contains(&lock));
            assert!(
                !is_second,
                "one thread looks twice at the same lock: it would wait for ever if somebody wrote between"
            );
            LOCKS.with_borrow_mut(|locks| locks.push(lock));
            Self(lock)
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            LOCKS.with_borrow_mut(|locks| {
                if let Some(place) = locks.iter().rposition(|lock| *lock == self.0) {
                    locks.swap_remove(place);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_one_after_the_other_or_at_different_locks_are_fine() {
        let (one, two) = (RwLock::new(1), RwLock::new(2));
        for _ in 0..2 {
            let both = (Look::at(&one), Look::at(&two));
            assert_eq!(*both.0 + *both.1, 3);
        }
        assert_eq!(*one.write(), 1, "nobody looks any more");
    }

    #[test]
    #[should_panic(expected = "looks twice")]
    fn a_second_look_at_the_same_lock_is_found_out_although_nobody_writes() {
        let lock = RwLock::new(1);
        let first = Look::at(&lock);
        assert_eq!(*first, *Look::at(&lock));
    }
}
