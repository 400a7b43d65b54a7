//! Rows of a matrix: each axis multiplies them by its values.

use std::collections::BTreeMap;

/// Each row with each value of one more axis; at most `max` rows, since axes multiply.
pub(super) fn multiplied<T: Clone>(
    rows: &[BTreeMap<String, T>],
    axis: &str,
    values: &[T],
    max: usize,
) -> Vec<BTreeMap<String, T>> {
    let with = |row: &BTreeMap<String, T>, value: &T| {
        let mut row = row.clone();
        row.insert(axis.to_owned(), value.clone());
        row
    };
    rows.iter()
        .flat_map(|row| values.iter().map(move |value| with(row, value)))
        .take(max)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_multiply_up_to_a_limit() {
        let first = multiplied(&[BTreeMap::new()], "a", &[1, 2], 9);
        let both = multiplied(&first, "b", &[3, 4], 3);
        let rows: Vec<_> = both.iter().map(|row| (row["a"], row["b"])).collect();
        assert_eq!(rows, [(1, 3), (1, 4), (2, 3)]);
        assert!(multiplied(&first, "c", &[], 9).is_empty());
    }
}
