//! The combinations of a job's matrix, by GitHub's rules.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::import::combinations::multiplied;
use crate::import::yaml::entries;

/// More combinations than GitHub has.
const COMBINATIONS_MAX: usize = 256;

/// The combinations of a matrix: axes multiplied, `exclude` taken out, `include` put in.
pub(super) fn combinations(matrix: Option<&Value>) -> Vec<BTreeMap<String, Value>> {
    let mut made = vec![BTreeMap::new()];
    let mut has_axes = false;
    for (axis, values) in entries(matrix) {
        let Some(values) = values
            .as_array()
            .filter(|_| axis != "include" && axis != "exclude")
        else {
            continue;
        };
        has_axes = true;
        made = multiplied(&made, axis, values, COMBINATIONS_MAX);
    }
    let rows = |key: &str| {
        let rows = matrix
            .and_then(|matrix| matrix.get(key))
            .and_then(Value::as_array);
        let rows = rows.into_iter().flatten().filter_map(Value::as_object);
        rows.map(|row| row.clone().into_iter().collect::<BTreeMap<String, Value>>())
            .collect::<Vec<_>>()
    };
    let excluded = rows("exclude");
    made.retain(|row| {
        !excluded
            .iter()
            .any(|out| out.iter().all(|(key, value)| row.get(key) == Some(value)))
    });
    let included = rows("include");
    if !has_axes && !included.is_empty() {
        return included;
    }
    let before = made.clone();
    for row in included {
        // GitHub's rule: it extends the combinations whose axes it does not change, else it is one more.
        let mut extends = false;
        for (made, axes) in made.iter_mut().zip(&before) {
            if row
                .iter()
                .all(|(key, value)| axes.get(key).is_none_or(|it| it == value))
            {
                made.extend(row.clone());
                extends = true;
            }
        }
        if !extends {
            made.push(row);
        }
    }
    made
}
