//! Paths compiled so that one pass over a value finds the values of all of them.

use std::ops::ControlFlow;

use super::JsonError;
use super::find::{canonical_index, find};
use super::found::Found;
use super::path::{Path, Step};
use super::scanner::{Scanner, Value};
use super::unescape::unescape;

/// A set of paths. Their leading names are merged into a tree, along which one pass over a value
/// captures spans; what follows the first index or `[*]` is evaluated on the captured span.
#[derive(Debug)]
pub(crate) struct Selection {
    /// In depth-first order; the first is the value itself.
    nodes: Vec<Node>,
    targets: Vec<Target>,
}

#[derive(Debug)]
struct Node {
    /// The members that paths lead through.
    children: Vec<(Box<str>, NodeId)>,
    /// The node behind this one's last descendant.
    end: usize,
}

/// A node of a [`Selection`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct NodeId(usize);

/// Where a path ends.
#[derive(Debug)]
struct Target {
    node: NodeId,
    rest: Box<[Step]>,
}

/// What one pass over a value captured: the values at the nodes of a [`Selection`].
#[derive(Debug)]
pub(crate) struct Captures(Box<[Option<Value>]>);

impl Captures {
    /// The value at a node.
    pub(crate) fn get(&self, node: NodeId) -> Option<Value> {
        self.0[node.0]
    }

    pub(crate) fn set(&mut self, node: NodeId, value: Value) {
        self.0[node.0] = Some(value);
    }
}

/// How many of a path's steps are names of members.
fn leading_names(steps: &[Step]) -> usize {
    steps.iter().take_while(|step| name(step).is_some()).count()
}

/// The name of a step that leads to nothing but a member.
fn name(step: &Step) -> Option<&str> {
    match step {
        Step::Name(name) => Some(name),
        Step::Token(token) if canonical_index(token).is_none() => Some(token),
        _ => None,
    }
}

impl Selection {
    /// The node of the value itself.
    pub(crate) const ROOT: NodeId = NodeId(0);

    /// Compiles paths, which are known by their positions from now on.
    pub(crate) fn new<'p>(paths: impl IntoIterator<Item = &'p Path>) -> Self {
        let paths: Vec<&Path> = paths.into_iter().collect();
        let mut selection = Self { nodes: Vec::new(), targets: Vec::new() };
        let all: Vec<usize> = (0..paths.len()).collect();
        let mut ends = vec![Self::ROOT; paths.len()];
        selection.add_node(&paths, &all, 0, &mut ends);
        let target = |(path, node): (&&Path, NodeId)| Target {
            node,
            rest: path.steps()[leading_names(path.steps())..].into(),
        };
        selection.targets = paths.iter().zip(ends).map(target).collect();
        selection
    }

    /// Adds the node to which the first `depth` names of the paths `through` lead, with its
    /// descendants. `ends` gets the node of each path that ends here.
    fn add_node(
        &mut self,
        paths: &[&Path],
        through: &[usize],
        depth: usize,
        ends: &mut [NodeId],
    ) -> NodeId {
        let id = NodeId(self.nodes.len());
        self.nodes.push(Node { children: Vec::new(), end: 0 });
        let mut groups: Vec<(&str, Vec<usize>)> = Vec::new();
        for &path in through {
            match paths[path].steps().get(depth).and_then(name) {
                None => ends[path] = id,
                Some(name) => match groups.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, group)) => group.push(path),
                    None => groups.push((name, vec![path])),
                },
            }
        }
        for (name, group) in groups {
            let child = self.add_node(paths, &group, depth + 1, ends);
            self.nodes[id.0].children.push((name.into(), child));
        }
        self.nodes[id.0].end = self.nodes.len();
        id
    }

    /// No captures yet.
    pub(crate) fn captures(&self) -> Captures {
        Captures(vec![None; self.nodes.len()].into())
    }

    /// Forgets what was captured at a node and below: an earlier value, or an earlier member of the
    /// same name.
    pub(crate) fn clear(&self, node: NodeId, captures: &mut Captures) {
        captures.0[node.0..self.nodes[node.0].end].fill(None);
    }

    /// Whether paths lead through members of the value at this node.
    pub(crate) fn has_children(&self, node: NodeId) -> bool {
        !self.nodes[node.0].children.is_empty()
    }

    /// The node of a member, given its name as spelled between the quotes, and whether that may
    /// have an escape.
    #[inline]
    pub(crate) fn child(&self, node: NodeId, spelled: &[u8], has_escape: bool) -> Option<NodeId> {
        let children = &self.nodes[node.0].children;
        let named = |name: &[u8]| children.iter().find(|(known, _)| known.as_bytes() == name);
        let child = if has_escape {
            let name = std::str::from_utf8(spelled).ok().and_then(unescape)?;
            named(name.as_bytes())
        } else {
            named(spelled)
        };
        child.map(|(_, child)| *child)
    }

    /// Reads the value of a node, and captures what paths lead to. `depth` is as for
    /// [`Scanner::value`]; it and the longest path are together less than
    /// [`MAX_DEPTH`](super::MAX_DEPTH).
    pub(crate) fn read(
        &self,
        node: NodeId,
        scanner: &mut Scanner<'_>,
        depth: usize,
        captures: &mut Captures,
    ) -> Result<Value, JsonError> {
        self.clear(node, captures);
        let start = scanner.position();
        let value = if scanner.peek() == b'{' && self.has_children(node) {
            *scanner = self.members(node, *scanner, depth, captures)?;
            Value { kind: super::ValueKind::Other, start, end: scanner.position() }
        } else {
            scanner.value(depth)?
        };
        captures.set(node, value);
        Ok(value)
    }

    /// Reads the members of the object at a node. The scanner is passed by value so that its
    /// position stays in a register.
    fn members<'a>(
        &self,
        node: NodeId,
        mut scanner: Scanner<'a>,
        depth: usize,
        captures: &mut Captures,
    ) -> Result<Scanner<'a>, JsonError> {
        scanner.expect(b'{', "expected an object")?;
        scanner.skip_whitespace();
        if scanner.accept(b'}') {
            return Ok(scanner);
        }
        loop {
            let (start, end, has_escape) = scanner.name_bounds()?;
            scanner.skip_whitespace();
            match self.child(node, &scanner.bytes()[start..end], has_escape) {
                Some(child) => {
                    scanner.on_copy(|scanner| self.read(child, scanner, depth + 1, captures))?;
                }
                None => {
                    scanner.value(depth + 1)?;
                }
            }
            scanner.skip_whitespace();
            if scanner.accept(b'}') {
                return Ok(scanner);
            }
            scanner.expect(b',', "expected a comma or a closing brace")?;
            scanner.skip_whitespace();
        }
    }

    /// The node at which a path's leading names end, and the steps that follow.
    pub(crate) fn target(&self, path: usize) -> (NodeId, &[Step]) {
        let target = &self.targets[path];
        (target.node, &target.rest)
    }

    /// Calls `visit` for each value that a path leads to; `body` is what was read.
    pub(crate) fn visit<'t, T>(
        &self,
        path: usize,
        captures: &Captures,
        body: &'t [u8],
        visit: &mut impl FnMut(Found<'t>) -> ControlFlow<T>,
    ) -> ControlFlow<T> {
        let (node, rest) = self.target(path);
        let Some(found) = captures.get(node).and_then(|value| value.found(body)) else {
            return ControlFlow::Continue(());
        };
        if rest.is_empty() {
            visit(found)
        } else {
            find(found, rest).into_iter().try_for_each(visit)
        }
    }
}

impl Value {
    /// The value in the body that was read; `None` if it is not UTF-8.
    pub(crate) fn found(self, body: &[u8]) -> Option<Found<'_>> {
        let raw = std::str::from_utf8(&body[self.start..self.end]).ok()?;
        Some(Found { kind: self.kind, raw })
    }
}
