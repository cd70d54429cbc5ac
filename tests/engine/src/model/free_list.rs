//! The least-recently-used order of blocks that no request uses.
//!
//! A doubly linked list threaded through two arrays, because a cache hit takes a block out of the middle and
//! must not cost a search. Blocks leave at the front (the oldest) and enter at the back.

const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Links {
    older: u32,
    newer: u32,
}

/// A list over the ids `0..len`; each id is in it at most once.
#[derive(Debug)]
pub(super) struct FreeList {
    /// One entry an id, and a last one whose `newer` is the front and whose `older` is the back.
    links: Vec<Links>,
    members: Vec<bool>,
    len: usize,
}

// === impl FreeList ===

impl FreeList {
    /// All ids `0..len`, oldest first.
    pub(super) fn full(len: usize) -> Self {
        let ends = Links { older: len as u32, newer: len as u32 };
        let mut list =
            Self { links: vec![Links { older: NONE, newer: NONE }; len], members: vec![false; len], len: 0 };
        list.links.push(ends);
        for id in 0..len {
            list.push_newest(id as u32);
        }
        list
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Puts an id that is not in the list at the back.
    pub(super) fn push_newest(&mut self, id: u32) {
        debug_assert!(!self.members[id as usize], "block {id} is freed twice");
        let end = self.end();
        let older = self.links[end as usize].older;
        self.links[id as usize] = Links { older, newer: end };
        self.links[older as usize].newer = id;
        self.links[end as usize].older = id;
        self.members[id as usize] = true;
        self.len += 1;
    }

    /// Takes the id at the front.
    pub(super) fn pop_oldest(&mut self) -> Option<u32> {
        let id = self.links[self.end() as usize].newer;
        (id != self.end()).then(|| {
            self.remove(id);
            id
        })
    }

    /// Removes an id from anywhere in the list.
    pub(super) fn remove(&mut self, id: u32) {
        debug_assert!(self.members[id as usize], "block {id} is not free");
        let Links { older, newer } = self.links[id as usize];
        self.links[older as usize].newer = newer;
        self.links[newer as usize].older = older;
        self.members[id as usize] = false;
        self.len -= 1;
    }

    fn end(&self) -> u32 {
        self.members.len() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_in_the_order_of_entry_except_for_what_was_taken_out() {
        let mut list = FreeList::full(5);
        list.remove(2);
        list.remove(0);
        list.push_newest(2);
        let order: Vec<_> = std::iter::from_fn(|| list.pop_oldest()).collect();
        assert_eq!(order, [1, 3, 4, 2]);
        assert_eq!(list.len(), 0);
    }

    #[test]
    fn an_empty_list_gives_nothing() {
        assert_eq!(FreeList::full(0).pop_oldest(), None);
    }
}
