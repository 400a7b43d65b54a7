//! Lets threads of one process do the same thing one after the other, so that all but the first
//! find it done.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex};

/// Who is doing what.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    taken: Mutex<HashSet<String>>,
    left: Condvar,
}

/// The right to do something. Dropping it lets the next one in.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    what: String,
}

impl Turns {
    /// Waits until nobody does it, then does it.
    pub(crate) fn take(&self, what: String) -> Turn<'_> {
        let mut taken = self.taken.lock().expect("no panics while held");
        while taken.contains(&what) {
            taken = self.left.wait(taken).expect("no panics while held");
        }
        taken.insert(what.clone());
        Turn { turns: self, what }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut taken = self.turns.taken.lock().expect("no panics while held");
        taken.remove(&self.what);
        self.turns.left.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn one_at_a_time() {
        let (turns, inside) = (Turns::default(), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let _turn = turns.take("it".into());
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
            let _other = turns.take("another".into());
        });
    }
}
