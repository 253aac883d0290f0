//! An order in which everything comes behind what it stands on. Iterative: caches can be deep.

use super::{CacheConfigError, CacheLayer, CacheRecord};

/// Returns the indexes of all records, inputs before those that stand on them.
pub(super) fn inputs_first(records: &[CacheRecord]) -> Result<Vec<usize>, CacheConfigError> {
    let mut links: Vec<Vec<usize>> = Vec::with_capacity(records.len());
    for (index, record) in records.iter().enumerate() {
        let inputs = record.inputs.iter().flatten();
        let checked = inputs.map(|input| {
            place(input.link, records.len()).ok_or(CacheConfigError::LinkOutOfRange {
                record: index,
                link: input.link,
            })
        });
        links.push(checked.collect::<Result<_, _>>()?);
    }
    let order = lowest_first(records.len(), |n| links[n].iter().copied());
    match left_over(&order, records.len()) {
        Some(record) => Err(CacheConfigError::RecordCycle { record }),
        None => Ok(order),
    }
}

/// Returns the indexes of all layers, parents before those that lie on them.
pub(super) fn parents_first(layers: &[CacheLayer]) -> Result<Vec<usize>, CacheConfigError> {
    let mut parents: Vec<Option<usize>> = Vec::with_capacity(layers.len());
    for (index, layer) in layers.iter().enumerate() {
        let parent = place(layer.parent, layers.len());
        if parent.is_none() && layer.parent != -1 {
            return Err(CacheConfigError::LayerOutOfRange {
                named_by: index,
                layer: layer.parent,
            });
        }
        parents.push(parent);
    }
    let order = lowest_first(layers.len(), |n| parents[n].into_iter());
    match left_over(&order, layers.len()) {
        Some(layer) => Err(CacheConfigError::LayerCycle { layer }),
        None => Ok(order),
    }
}

/// Returns the numbers below `length`, each behind what it stands on; those that lead to a circle
/// are not among them.
pub(super) fn lowest_first<I: Iterator<Item = usize>>(
    length: usize,
    stands_on: impl Fn(usize) -> I,
) -> Vec<usize> {
    let mut dependants: Vec<Vec<usize>> = vec![Vec::new(); length];
    let mut waits_for: Vec<usize> = vec![0; length];
    for (n, waits_for) in waits_for.iter_mut().enumerate() {
        for lower in stands_on(n) {
            dependants[lower].push(n);
            *waits_for += 1;
        }
    }
    let mut order: Vec<usize> = (0..length).filter(|&n| waits_for[n] == 0).collect();
    let mut next = 0;
    while let Some(&done) = order.get(next) {
        next += 1;
        for &dependant in &dependants[done] {
            waits_for[dependant] -= 1;
            if waits_for[dependant] == 0 {
                order.push(dependant);
            }
        }
    }
    order
}

fn place(index: i64, length: usize) -> Option<usize> {
    usize::try_from(index).ok().filter(|&index| index < length)
}

fn left_over(order: &[usize], length: usize) -> Option<usize> {
    let mut ordered = vec![false; length];
    for &n in order {
        ordered[n] = true;
    }
    ordered.iter().position(|&ordered| !ordered)
}
