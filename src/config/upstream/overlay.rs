//! Sets a value deep in a tree of nodes, as a variable names it.

use crate::config::yaml::{Entry, Node, Value};

/// Sets the value at `names` below `tree` to `leaf`, which comes from a variable. The names are
/// parts of the variable's name.
///
/// A secret from the file of an earlier layer gives way to its twin (`token` to `token_file` and
/// the reverse), so that the later layer wins.
pub(in crate::config) fn overlay(tree: Option<Node>, names: &[&str], leaf: Node) -> Node {
    set(tree, names, leaf, false)
}

/// `in_headers`: whether the keys of the tree are the names of headers.
fn set(tree: Option<Node>, names: &[&str], leaf: Node, in_headers: bool) -> Node {
    let Some((name, rest)) = names.split_first() else { return leaf };
    let position = leaf.position;
    let mut entries = match tree.map(|node| node.value) {
        Some(Value::Map(entries)) => entries,
        _ => Vec::new(),
    };
    if rest.is_empty() {
        let is_twin = |entry: &Entry| {
            let key = variable_part(&entry.key);
            key.strip_suffix("_FILE") == Some(name) || name.strip_suffix("_FILE") == Some(&key)
        };
        entries.retain(|entry| !is_twin(entry) || !entry.key_position.is_in_file());
    }
    match entries.iter().position(|entry| variable_part(&entry.key) == *name) {
        Some(index) => {
            let old = entries[index].node.clone();
            entries[index].node = set(Some(old), rest, leaf, *name == "HEADERS");
            entries[index].key_position = position;
        }
        None => {
            let key = name.to_ascii_lowercase();
            entries.push(Entry {
                key: if in_headers { key.replace('_', "-") } else { key },
                key_position: position,
                node: set(None, rest, leaf, *name == "HEADERS"),
            });
        }
    }
    Node { position, value: Value::Map(entries) }
}

/// A key as part of a variable's name.
pub(in crate::config) fn variable_part(key: &str) -> String {
    key.to_ascii_uppercase().replace('-', "_")
}
