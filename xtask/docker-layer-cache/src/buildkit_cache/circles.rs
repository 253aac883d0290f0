//! Circles of records, and how they are opened.

use std::collections::{BTreeMap, BTreeSet};

use super::record_order::lowest_first;
use super::unify::Class;

/// Drops links that lie on a circle and do not lead down in rank; a record's rank is one more
/// than the least that its inputs allow, so that every input keeps a link.
pub(super) fn break_circles(classes: &mut BTreeMap<usize, Class<'_>>) {
    let on_circle = on_circles(classes);
    if on_circle.is_empty() {
        return;
    }
    let ranks = ranks(classes);
    for (n, class) in classes {
        if !on_circle.contains(n) {
            continue;
        }
        for links in &mut class.inputs {
            links.retain(|(link, _)| !on_circle.contains(link) || ranks[link] < ranks[n]);
        }
    }
}

/// Returns what is left when everything that only leads to, or only comes from, circles is gone.
fn on_circles(classes: &BTreeMap<usize, Class<'_>>) -> BTreeSet<usize> {
    let forward: BTreeSet<usize> = classes_inputs_first(classes).into_iter().collect();
    let mut left: BTreeSet<usize> = classes
        .keys()
        .copied()
        .filter(|n| !forward.contains(n))
        .collect();
    if left.is_empty() {
        return left;
    }
    let mut dependants: BTreeMap<usize, usize> = left.iter().map(|&n| (n, 0)).collect();
    let links_of = |n: usize| classes[&n].inputs.iter().flatten().map(|&(link, _)| link);
    for link in left.iter().flat_map(|&n| links_of(n)) {
        if let Some(count) = dependants.get_mut(&link) {
            *count += 1;
        }
    }
    let mut ends: Vec<usize> = left
        .iter()
        .copied()
        .filter(|n| dependants[n] == 0)
        .collect();
    while let Some(end) = ends.pop() {
        left.remove(&end);
        for link in links_of(end) {
            if let Some(count) = dependants.get_mut(&link) {
                *count -= 1;
                if *count == 0 {
                    ends.push(link);
                }
            }
        }
    }
    left
}

/// Returns for each class the round in which all its inputs have a link to an earlier round.
fn ranks(classes: &BTreeMap<usize, Class<'_>>) -> BTreeMap<usize, usize> {
    let mut waiting: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
    let mut open: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (&n, class) in classes {
        open.insert(n, (0..class.inputs.len()).collect());
        for (input, links) in class.inputs.iter().enumerate() {
            for &(link, _) in links {
                waiting.entry(link).or_default().push((n, input));
            }
        }
    }
    let mut ranks = BTreeMap::new();
    let mut round: BTreeSet<usize> = open
        .iter()
        .filter(|(_, inputs)| inputs.is_empty())
        .map(|(&n, _)| n)
        .collect();
    for rank in 0.. {
        if round.is_empty() {
            break;
        }
        let mut next = BTreeSet::new();
        for &n in &round {
            ranks.insert(n, rank);
        }
        for n in round {
            for (dependant, input) in waiting.remove(&n).unwrap_or_default() {
                let inputs = open.get_mut(&dependant).expect("every class is open");
                if inputs.remove(&input) && inputs.is_empty() {
                    next.insert(dependant);
                }
            }
        }
        round = next;
    }
    ranks
}

/// Returns the classes, inputs first, without those that lead to a circle.
pub(super) fn classes_inputs_first(classes: &BTreeMap<usize, Class<'_>>) -> Vec<usize> {
    let length = classes.keys().next_back().map_or(0, |last| last + 1);
    let links_of = |n: usize| {
        let links = classes
            .get(&n)
            .into_iter()
            .flat_map(|c| c.inputs.iter().flatten());
        links.map(|&(link, _)| link)
    };
    let mut order = lowest_first(length, links_of);
    order.retain(|n| classes.contains_key(n));
    order
}
