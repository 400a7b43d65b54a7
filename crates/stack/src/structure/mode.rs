//! File modes in the form that test files write them.
//!
//! The form is Go's, not that of `ls`: what is special about a file comes first, in letters of
//! their own, and the nine permission bits follow plain. `/tmp` is `dtrwxrwxrwx`, a setuid program
//! is `urwxr-xr-x`, a symbolic link `Lrwxrwxrwx`.

use cairn_store::EntryKind;

/// Writes a mode as `-rwxr-xr-x`.
pub fn mode_string(kind: EntryKind, mode: u32) -> String {
    let special = [
        (matches!(kind, EntryKind::Directory), 'd'),
        (matches!(kind, EntryKind::Symlink), 'L'),
        (
            matches!(kind, EntryKind::BlockDevice | EntryKind::CharDevice),
            'D',
        ),
        (matches!(kind, EntryKind::Fifo), 'p'),
        (matches!(kind, EntryKind::Socket), 'S'),
        (mode & 0o4000 != 0, 'u'),
        (mode & 0o2000 != 0, 'g'),
        (matches!(kind, EntryKind::CharDevice), 'c'),
        (mode & 0o1000 != 0, 't'),
    ];
    let mut out: String = special
        .iter()
        .filter_map(|&(set, letter)| set.then_some(letter))
        .collect();
    if out.is_empty() {
        out.push('-');
    }
    for (index, letter) in "rwxrwxrwx".chars().enumerate() {
        let set = mode & (0o400 >> index) != 0;
        out.push(if set { letter } else { '-' });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_written_as_go_writes_them() {
        let cases = [
            (EntryKind::File, 0o644, "-rw-r--r--"),
            (EntryKind::Directory, 0o755, "drwxr-xr-x"),
            (EntryKind::Directory, 0o1777, "dtrwxrwxrwx"),
            (EntryKind::File, 0o4755, "urwxr-xr-x"),
            (EntryKind::File, 0o2755, "grwxr-xr-x"),
            (EntryKind::File, 0o6000, "ug---------"),
            (EntryKind::Symlink, 0o777, "Lrwxrwxrwx"),
            (EntryKind::CharDevice, 0o620, "Dcrw--w----"),
        ];
        for (kind, mode, wanted) in cases {
            assert_eq!(mode_string(kind, mode), wanted);
        }
    }
}
