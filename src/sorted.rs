//! Order, in few bytes.
//!
//! The standard library's sort brings 4 KB of machine code with each type that it sorts, and collecting into one of its sorted
//! collections sorts first. It is made for millions; what is sorted here are the names of a stack. `spec/performance.md`,
//! "Size", has what it came to.

use std::cmp::Ordering;

/// Collects into a `BTreeMap`, a `BTreeSet` or a table of JSON, one after the other. Of two with the same key the later one
/// stays.
pub fn collect<C: Default + Extend<T>, T>(items: impl IntoIterator<Item = T>) -> C {
    let mut collected = C::default();
    collected.extend(items);
    collected
}

/// Sorts as [`slice::sort`] does.
pub fn sort<T: Ord>(items: &mut [T]) {
    sort_by(items, T::cmp);
}

/// Sorts as [`slice::sort_by`] does: what is equal keeps its order. By insertion, which takes the less time the more is in order.
pub fn sort_by<T>(items: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    for sorted in 1..items.len() {
        let mut at = sorted;
        while at > 0 && compare(&items[at - 1], &items[at]).is_gt() {
            items.swap(at - 1, at);
            at -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_order_of_the_standard_library(mut items: Vec<(u8, u32)>) {
            let mut expected = items.clone();
            expected.sort_by_key(|it| it.0);
            let mut sorted = items.clone();
            sort_by(&mut sorted, |a, b| a.0.cmp(&b.0));
            prop_assert_eq!(sorted, expected);

            prop_assert_eq!(collect::<BTreeMap<_, _>, _>(items.clone()), items.iter().copied().collect());
            prop_assert_eq!(collect::<BTreeSet<_>, _>(items.clone()), items.iter().copied().collect());
            let mut expected = items.clone();
            expected.sort();
            sort(&mut items);
            prop_assert_eq!(items, expected);
        }
    }
}
