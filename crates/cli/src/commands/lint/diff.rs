//! A text before and after it was mended, as a unified diff.

/// Lines shown before and after a change.
const AROUND: usize = 3;

/// The diff of two versions of a file; empty if they are the same.
///
/// Changes are small and few, so lines are matched greedily: after a difference the nearest pair
/// of equal lines goes on.
pub fn unified(name: &str, old: &str, new: &str) -> String {
    let old: Vec<&str> = old.split_inclusive('\n').collect();
    let new: Vec<&str> = new.split_inclusive('\n').collect();
    let changes = changes(&old, &new);
    let mut out = String::new();
    let mut at = 0;
    while let Some(first) = changes.get(at) {
        // Changes whose surroundings touch stand in one hunk.
        let mut end = at + 1;
        while let (Some(last), Some(next)) = (changes.get(end - 1), changes.get(end)) {
            if next.old.start > last.old.end + 2 * AROUND {
                break;
            }
            end += 1;
        }
        if out.is_empty() {
            out.push_str(&format!("--- {name}\n+++ {name}\n"));
        }
        let hunk = &changes[at..end];
        let last = &hunk[hunk.len() - 1];
        let from = first.old.start.saturating_sub(AROUND);
        let to = (last.old.end + AROUND).min(old.len());
        write_hunk(&mut out, hunk, (&old, &new), from, to);
        at = end;
    }
    out
}

/// Lines of the old text and those that take their place.
struct Change {
    old: std::ops::Range<usize>,
    new: std::ops::Range<usize>,
}

fn changes(old: &[&str], new: &[&str]) -> Vec<Change> {
    let mut changes = Vec::new();
    let (mut at, mut new_at) = (0, 0);
    while at < old.len() || new_at < new.len() {
        if at < old.len() && new_at < new.len() && old[at] == new[new_at] {
            at += 1;
            new_at += 1;
            continue;
        }
        let (skip, new_skip) = resync(&old[at..], &new[new_at..]);
        changes.push(Change {
            old: at..at + skip,
            new: new_at..new_at + new_skip,
        });
        at += skip;
        new_at += new_skip;
    }
    changes
}

/// How many lines of each to skip until they are equal again.
fn resync(old: &[&str], new: &[&str]) -> (usize, usize) {
    for distance in 1..old.len() + new.len() {
        for skip in 0..=distance.min(old.len()) {
            let new_skip = distance - skip;
            if let (Some(one), Some(other)) = (old.get(skip), new.get(new_skip))
                && one == other
            {
                return (skip, new_skip);
            }
        }
    }
    (old.len(), new.len())
}

fn write_hunk(
    out: &mut String,
    hunk: &[Change],
    (old, new): (&[&str], &[&str]),
    from: usize,
    to: usize,
) {
    let (first, last) = (&hunk[0], &hunk[hunk.len() - 1]);
    let new_from = first.new.start - (first.old.start - from);
    let new_to = last.new.end + (to - last.old.end);
    let range = |from: usize, to: usize| match to - from {
        0 => format!("{from},0"),
        length => format!("{},{length}", from + 1),
    };
    out.push_str(&format!(
        "@@ -{} +{} @@\n",
        range(from, to),
        range(new_from, new_to)
    ));
    let mut at = from;
    for change in hunk {
        old[at..change.old.start]
            .iter()
            .for_each(|text| line(out, ' ', text));
        old[change.old.clone()]
            .iter()
            .for_each(|text| line(out, '-', text));
        new[change.new.clone()]
            .iter()
            .for_each(|text| line(out, '+', text));
        at = change.old.end;
    }
    old[at..to].iter().for_each(|text| line(out, ' ', text));
}

fn line(out: &mut String, mark: char, text: &str) {
    out.push(mark);
    out.push_str(text);
    if !text.ends_with('\n') {
        out.push_str("\n\\ No newline at end of file\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_equal_has_no_diff() {
        assert_eq!(unified("f", "a\nb\n", "a\nb\n"), "");
    }

    #[test]
    fn changes_stand_in_their_surroundings() {
        let old = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n";
        let new = "1\n2\n3\n4\nx\ny\n6\n7\n8\n9\n10\n11\n12\n";
        assert_eq!(
            unified("f", old, new),
            "--- f\n+++ f\n@@ -2,7 +2,8 @@\n 2\n 3\n 4\n-5\n+x\n+y\n 6\n 7\n 8\n\
             @@ -10,4 +11,3 @@\n 10\n 11\n 12\n-13\n"
        );
    }

    #[test]
    fn a_last_line_without_an_end_is_told() {
        assert_eq!(
            unified("f", "a", "b"),
            "--- f\n+++ f\n@@ -1,1 +1,1 @@\n-a\n\\ No newline at end of file\n+b\n\\ No newline at end of file\n"
        );
    }
}
