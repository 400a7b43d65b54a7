//! The one shape of parallelism the store needs: the same work on each of many things, in order.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

const WORKERS_MAX: usize = 16;

/// How many threads work on one thing at a time.
pub(crate) fn workers() -> usize {
    thread::available_parallelism()
        .map_or(1, usize::from)
        .min(WORKERS_MAX)
}

/// Applies a function to each item, on several threads where that pays; results in the items'
/// order. The first error in that order wins.
pub(crate) fn map<T, R, E>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E>
where
    T: Sync,
    R: Send,
    E: Send,
{
    const WORTH_A_THREAD: usize = 16;
    let workers = workers().min(items.len() / WORTH_A_THREAD);
    if workers < 2 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let take_turns = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            match items.get(index) {
                Some(item) => done.push((index, work(item))),
                None => return done,
            }
        }
    };
    let mut results: Vec<(usize, Result<R, E>)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(take_turns)).collect();
        threads
            .into_iter()
            .flat_map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    });
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_their_order() {
        for count in [0, 1, 31, 1000] {
            let items: Vec<usize> = (0..count).collect();
            let doubled = map(&items, |item| Ok::<_, ()>(item * 2)).unwrap();
            assert!(
                doubled
                    .iter()
                    .enumerate()
                    .all(|(index, value)| *value == index * 2)
            );
            assert_eq!(doubled.len(), count);
        }
    }

    #[test]
    fn the_first_error_wins() {
        let items: Vec<usize> = (0..1000).collect();
        let result = map(
            &items,
            |&item| if item % 100 == 99 { Err(item) } else { Ok(()) },
        );
        assert_eq!(result.unwrap_err(), 99);
    }
}
