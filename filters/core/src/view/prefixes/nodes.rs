//! The nodes themselves: an arena with a free list, and a map from a parent and a cell to the child that begins with it.
//!
//! The cell alone would name the node, if every chain were an honest one. Cells are hashes without a key of what clients
//! send, though, and events get lost: a node that was learned under a wrong parent must not block the right one, and a
//! client must not be able to fill one bucket of the map. So the parent is part of the key, and the map's own hash is
//! seeded.

use super::age::Moment;
use crate::hash::{SeededMap, seeded};
use crate::ids::{CellHash, Slot};
use crate::num::{index, u32_len};
use std::hash::{Hash, Hasher};

/// Index of a node in the arena.
pub(super) type NodeId = u32;
/// Stands for no node: the parent of a chain's first one, and the end of a list.
pub(super) const NO_NODE: NodeId = u32::MAX;

type Children = SeededMap<ChildKey, NodeId>;

/// All nodes. Every one in use has a holder, and is found by its parent and its first cell.
#[derive(Clone, Debug)]
pub(super) struct Nodes {
    arena: Vec<Node>,
    free: Vec<NodeId>,
    children: Children,
    cells: usize,
}

/// What a node is found by. The cell is kept in bytes: twelve in all, where an aligned number would make it sixteen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ChildKey {
    parent: NodeId,
    first_cell: [u8; 8],
}

/// Cells that follow each other without a branch.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    cells: Vec<u64>,
    /// By slot.
    holders: Vec<Holder>,
    parent: NodeId,
    /// Cells before its first one.
    depth: u32,
    children: u32,
}

/// One endpoint's share of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The endpoint.
    pub slot: Slot,
    /// Cells held, from the node's first.
    pub held: u16,
    /// When the endpoint last used it.
    pub(super) touched: Moment,
    /// The node that the endpoint used before this one.
    pub(super) older: NodeId,
    /// The node that it used after this one.
    pub(super) newer: NodeId,
}

// === impl Nodes ===

impl Nodes {
    /// No nodes yet; `seed` is what a client cannot know, so that it cannot make cells that collide in the map.
    pub(super) fn new(seed: u64) -> Self {
        let children = Children::with_hasher(seeded(seed));
        Self { arena: Vec::new(), free: Vec::new(), children, cells: 0 }
    }

    pub(super) fn get(&self, id: NodeId) -> Option<&Node> {
        self.arena.get(index(id))
    }

    pub(super) fn get_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.arena.get_mut(index(id))
    }

    /// Cells of all nodes.
    pub(super) fn cells(&self) -> usize {
        self.cells
    }

    /// The child of `parent` that begins with a cell.
    pub(super) fn child(&self, parent: NodeId, first: CellHash) -> Option<(NodeId, &Node)> {
        let id = *self.children.get(&ChildKey::new(parent, first.0))?;
        self.get(id).map(|node| (id, node))
    }

    /// Opens a node without holders. `None`: it would have no cells. There must be no such child yet.
    pub(super) fn open(&mut self, cells: &[CellHash], parent: NodeId) -> Option<NodeId> {
        let first = cells.first()?.0;
        self.cells += cells.len();
        let depth = self.get(parent).map_or(0, |above| above.depth + u32_len(above.cells.len()));
        let cells = cells.iter().map(|cell| cell.0).collect();
        if let Some(above) = self.get_mut(parent) {
            above.children += 1;
        }
        Some(self.store(first, Node { cells, holders: Vec::new(), parent, depth, children: 0 }))
    }

    /// Moves a node's first `at` cells into a new node, its parent from now on. Holders stay where they are.
    /// `None`: one part would be empty.
    pub(super) fn cut(&mut self, id: NodeId, at: usize) -> Option<NodeId> {
        let node = self.get_mut(id).filter(|_| at > 0)?;
        let (first, lower_first) = (*node.cells.first()?, *node.cells.get(at)?);
        let (parent, depth) = (node.parent, node.depth);
        let lower = node.cells.split_off(at);
        let mut upper = std::mem::replace(&mut node.cells, lower);
        upper.shrink_to_fit();
        let upper = self.store(first, Node { cells: upper, holders: Vec::new(), parent, depth, children: 1 });
        self.children.insert(ChildKey::new(upper, lower_first), id);
        let lower = self.get_mut(id)?;
        lower.parent = upper;
        lower.depth = depth + u32_len(at);
        Some(upper)
    }

    /// Cuts a node to its longest holding, and frees it if it has none.
    pub(super) fn trim(&mut self, id: NodeId) {
        let Some(node) = self.get_mut(id) else { return };
        let longest = node.holders.iter().map(|holder| usize::from(holder.held)).max().unwrap_or(0);
        let lost = node.cells.len().saturating_sub(longest);
        if lost == 0 {
            return;
        }
        let key = node.cells.first().map(|first| ChildKey::new(node.parent, *first));
        node.cells.truncate(longest);
        if longest == 0 {
            let parent = node.parent;
            *node = Node::default();
            self.free.push(id);
            if let Some(above) = self.get_mut(parent) {
                above.children = above.children.saturating_sub(1);
            }
            if let Some(key) = key {
                self.children.remove(&key);
            }
        } else if node.cells.capacity() > 2 * longest {
            node.cells.shrink_to_fit();
        }
        self.cells -= lost;
    }

    /// Every node with its parent, by parent.
    pub(super) fn by_parent(&self) -> Vec<(NodeId, NodeId)> {
        let mut pairs: Vec<(NodeId, NodeId)> =
            self.children.iter().map(|(key, id)| (key.parent, *id)).collect();
        pairs.sort_unstable();
        pairs
    }

    /// Bytes of memory taken. A hash table's bucket is an entry and a control byte, and an eighth of the
    /// buckets stay empty.
    pub(super) fn bytes(&self) -> usize {
        let nodes: usize = self
            .arena
            .iter()
            .map(|node| {
                node.cells.capacity() * size_of::<u64>() + node.holders.capacity() * size_of::<Holder>()
            })
            .sum();
        nodes
            + self.arena.capacity() * size_of::<Node>()
            + self.free.capacity() * size_of::<NodeId>()
            + self.children.capacity() * 8 / 7 * (size_of::<(ChildKey, NodeId)>() + 1)
    }

    fn store(&mut self, first: u64, node: Node) -> NodeId {
        let key = ChildKey::new(node.parent, first);
        let id = if let Some(id) = self.free.pop() {
            if let Some(place) = self.get_mut(id) {
                *place = node;
            }
            id
        } else {
            self.arena.push(node);
            u32_len(self.arena.len() - 1)
        };
        self.children.insert(key, id);
        id
    }
}

// === impl ChildKey ===

impl ChildKey {
    fn new(parent: NodeId, first_cell: u64) -> Self {
        Self { parent, first_cell: first_cell.to_ne_bytes() }
    }
}

impl Hash for ChildKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from_ne_bytes(self.first_cell));
        state.write_u32(self.parent);
    }
}

// === impl Node ===

impl Node {
    pub(super) fn cells(&self) -> &[u64] {
        &self.cells
    }

    /// Whether chains go on behind it, besides one of them if `is_one_known`.
    pub(super) fn branches_but(&self, is_one_known: bool) -> bool {
        self.children > u32::from(is_one_known)
    }

    pub(super) fn depth(&self) -> u32 {
        self.depth
    }

    pub(super) fn holders(&self) -> &[Holder] {
        &self.holders
    }

    pub(super) fn holder(&self, slot: Slot) -> Option<&Holder> {
        self.place(slot).ok().and_then(|at| self.holders.get(at))
    }

    pub(super) fn holder_mut(&mut self, slot: Slot) -> Option<&mut Holder> {
        self.place(slot).ok().and_then(|at| self.holders.get_mut(at))
    }

    pub(super) fn add_holder(&mut self, holder: Holder) {
        if let Err(at) = self.place(holder.slot) {
            if self.holders.capacity() == 0 {
                // Most nodes have one holder; the usual first growth would make room for four.
                self.holders.reserve_exact(1);
            }
            self.holders.insert(at, holder);
        }
    }

    pub(super) fn remove_holder(&mut self, slot: Slot) {
        if let Ok(at) = self.place(slot) {
            self.holders.remove(at);
        }
    }

    pub(super) fn take_holders(&mut self) -> Vec<Holder> {
        std::mem::take(&mut self.holders)
    }

    fn place(&self, slot: Slot) -> Result<usize, usize> {
        self.holders.binary_search_by_key(&slot, |holder| holder.slot)
    }
}

// === impl Holder ===

impl Holder {
    pub(super) fn new(slot: Slot, held: u16, touched: Moment) -> Self {
        Self { slot, held, touched, older: NO_NODE, newer: NO_NODE }
    }
}

/// How many cells two sequences share from the first. Hashes are chained: where they are equal, all before
/// is equal too, so the last equal place can be searched for.
pub(super) fn common(node: &[u64], chain: &[CellHash]) -> usize {
    let mut low = 0;
    let mut high = node.len().min(chain.len());
    while low < high {
        let middle = (low + high).div_ceil(2);
        let same = match (node.get(middle - 1), chain.get(middle - 1)) {
            (Some(a), Some(b)) => *a == b.0,
            _ => false,
        };
        if same { low = middle } else { high = middle - 1 }
    }
    low
}

/// Cells of a node, which is no longer than a chain.
pub(super) fn length16(cells: usize) -> u16 {
    u16::try_from(cells).unwrap_or(u16::MAX)
}
