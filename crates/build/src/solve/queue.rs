//! Which vertices may run now: the scheduler's data, without any thread in it.
//!
//! A vertex is *waiting* until all its inputs are done, then *ready*, then *running*, then *done*
//! or *lost*. A failure loses the vertex and everything that needs it, nothing else.
//! Of several ready vertices the one with the longest chain behind it goes first, so that the
//! critical path of a stack is never kept waiting by its leaves.

use std::collections::{BTreeMap, BinaryHeap, HashMap};

use crate::event::VertexId;

/// The vertices of a run that are still to do.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: HashMap<VertexId, usize>,
    needed_by: HashMap<VertexId, Vec<VertexId>>,
    height: HashMap<VertexId, u32>,
    ready: BinaryHeap<(u32, std::cmp::Reverse<VertexId>)>,
    running: usize,
}

impl Queue {
    /// Takes vertices in topological order, each with the inputs that are to do as well.
    ///
    /// Inputs that are not part of `vertices` count as done.
    pub(super) fn new(vertices: &BTreeMap<VertexId, Vec<VertexId>>) -> Self {
        let mut queue = Queue::default();
        for (&vertex, inputs) in vertices {
            let open: Vec<_> = inputs
                .iter()
                .filter(|input| vertices.contains_key(input))
                .collect();
            queue.waiting.insert(vertex, open.len());
            for &&input in &open {
                queue.needed_by.entry(input).or_default().push(vertex);
            }
        }
        for &vertex in vertices.keys().rev() {
            let behind = queue.needed_by.get(&vertex).map_or(0, |users| {
                users
                    .iter()
                    .map(|user| queue.height[user] + 1)
                    .max()
                    .unwrap_or(0)
            });
            queue.height.insert(vertex, behind);
        }
        for &vertex in vertices.keys() {
            queue.release_if_free(vertex);
        }
        queue
    }

    /// Takes a vertex to run, if one is ready.
    pub(super) fn start_next(&mut self) -> Option<VertexId> {
        let (_, std::cmp::Reverse(vertex)) = self.ready.pop()?;
        self.running += 1;
        Some(vertex)
    }

    /// Says that a running vertex is done; its users may become ready.
    pub(super) fn finish(&mut self, vertex: VertexId) {
        self.running -= 1;
        for user in self.needed_by.remove(&vertex).unwrap_or_default() {
            if let Some(open) = self.waiting.get_mut(&user) {
                *open -= 1;
                self.release_if_free(user);
            }
        }
    }

    /// Says that a running vertex failed; gives all that can never run now, in order.
    pub(super) fn fail(&mut self, vertex: VertexId) -> Vec<VertexId> {
        self.running -= 1;
        let mut lost = Vec::new();
        let mut open = vec![vertex];
        while let Some(next) = open.pop() {
            for user in self.needed_by.remove(&next).unwrap_or_default() {
                if self.waiting.remove(&user).is_some() {
                    lost.push(user);
                    open.push(user);
                }
            }
        }
        lost.sort_unstable();
        lost
    }

    /// Gives up everything that does not run yet, in order.
    pub(super) fn drain(&mut self) -> Vec<VertexId> {
        let mut lost: Vec<_> = self.waiting.drain().map(|(vertex, _)| vertex).collect();
        lost.extend(
            self.ready
                .drain()
                .map(|(_, std::cmp::Reverse(vertex))| vertex),
        );
        lost.sort_unstable();
        lost
    }

    /// Whether nothing is running and nothing can be started.
    pub(super) fn is_over(&self) -> bool {
        self.running == 0 && self.ready.is_empty()
    }

    fn release_if_free(&mut self, vertex: VertexId) {
        if self.waiting.get(&vertex) == Some(&0) {
            self.waiting.remove(&vertex);
            self.ready
                .push((self.height[&vertex], std::cmp::Reverse(vertex)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(edges: &[(u32, &[u32])]) -> Queue {
        let vertices = edges
            .iter()
            .map(|(id, inputs)| {
                (
                    VertexId(*id),
                    inputs.iter().copied().map(VertexId).collect(),
                )
            })
            .collect();
        Queue::new(&vertices)
    }

    #[test]
    fn a_child_becomes_ready_when_its_last_input_is_done() {
        let mut queue = queue(&[(0, &[]), (1, &[]), (2, &[0, 1])]);
        assert_eq!(queue.start_next(), Some(VertexId(0)));
        assert_eq!(queue.start_next(), Some(VertexId(1)));
        queue.finish(VertexId(0));
        assert_eq!(queue.start_next(), None);
        queue.finish(VertexId(1));
        assert_eq!(queue.start_next(), Some(VertexId(2)));
        queue.finish(VertexId(2));
        assert!(queue.is_over());
    }

    #[test]
    fn the_longest_chain_goes_first() {
        let mut queue = queue(&[(0, &[]), (1, &[]), (2, &[1]), (3, &[2])]);
        assert_eq!(queue.start_next(), Some(VertexId(1)));
    }

    #[test]
    fn a_failure_loses_descendants_only() {
        let mut queue = queue(&[(0, &[]), (1, &[0]), (2, &[1]), (3, &[])]);
        assert_eq!(queue.start_next(), Some(VertexId(0)));
        assert_eq!(queue.fail(VertexId(0)), [VertexId(1), VertexId(2)]);
        assert_eq!(
            queue.start_next(),
            Some(VertexId(3)),
            "independent work goes on (DH-47)"
        );
        queue.finish(VertexId(3));
        assert!(queue.is_over());
    }

    #[test]
    fn inputs_outside_the_queue_count_as_done() {
        let mut queue = queue(&[(5, &[1])]);
        assert_eq!(queue.start_next(), Some(VertexId(5)));
    }

    #[test]
    fn drain_gives_up_what_does_not_run() {
        let mut queue = queue(&[(0, &[]), (1, &[]), (2, &[0])]);
        let running = queue.start_next().unwrap();
        assert_eq!(queue.drain().len(), 2);
        queue.finish(running);
        assert!(queue.is_over());
    }
}
