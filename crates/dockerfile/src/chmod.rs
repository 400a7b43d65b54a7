//! `--chmod=`: octal and symbolic modes.
//!
//! Symbolic modes follow BSD's `setmode`, which BuildKit uses: without `ugoa` a clause leaves
//! alone what the usual umask 022 would. `X` counts after `+` and, as on Linux, after `=`; so
//! `u=rwX,go=rX` makes directories 0755 and files 0644, or 0755 where they were executable.

const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;
const STICKY: u32 = 0o1000;
/// All that `a` stands for; the sticky bit is nobody's.
const STANDARD: u32 = SET_UID | SET_GID | 0o777;
/// What a clause that names nobody may change.
const UNNAMED: u32 = !0o022;
const EXECUTE: u32 = 0o111;

/// A mode that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChmodError {
    /// It looks like a number but is none that fits.
    #[error("invalid chmod parameter: '{0}'. it should be octal string and between 0 and 07777")]
    Octal(String),
    /// It is no symbolic mode either.
    #[error("invalid chmod parameter: '{0}'. it should be octal, or symbolic like u=rwX,go=rX")]
    Symbolic(String),
}

/// A change of permission bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chmod {
    /// Exactly these bits.
    Absolute(u32),
    /// Changes, one after the other.
    Symbolic(Vec<Change>),
}

/// One step of a symbolic mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Bits that are set.
    Set(u32),
    /// Bits that are cleared.
    Clear(u32),
    /// Bits that are set if the file is a directory or was executable by anybody (`X`).
    SetExecutable(u32),
    /// Bits of one class that others get.
    Copy {
        /// The class they come from, as a shift of its three bits.
        from_shift: u32,
        /// The bits that may change.
        to: u32,
        /// Whether they are added, taken away, or put in place of the old ones.
        operator: Operator,
    },
}

/// `+`, `-` or `=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `+`
    Add,
    /// `-`
    Remove,
    /// `=`
    Assign,
}

impl Chmod {
    /// Reads a mode.
    pub fn parse(text: &str) -> Result<Self, ChmodError> {
        if text.starts_with(|ch: char| ch.is_ascii_digit()) {
            return match u32::from_str_radix(text, 8) {
                Ok(mode) if mode <= 0o7777 => Ok(Self::Absolute(mode)),
                _ => Err(ChmodError::Octal(text.to_owned())),
            };
        }
        let mut changes = Vec::new();
        for clause in text.split(',') {
            parse_clause(clause, &mut changes)
                .ok_or_else(|| ChmodError::Symbolic(text.to_owned()))?;
        }
        Ok(Self::Symbolic(changes))
    }

    /// Gives the new permission bits (07777) of a file with the given ones.
    pub fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        let changes = match self {
            Self::Absolute(mode) => return *mode,
            Self::Symbolic(changes) => changes,
        };
        let old = mode & 0o7777;
        let may_execute = is_dir || old & EXECUTE != 0;
        changes
            .iter()
            .fold(old, |mode, change| change.apply(mode, may_execute))
    }
}

impl Change {
    fn apply(self, mode: u32, may_execute: bool) -> u32 {
        match self {
            Self::Set(bits) => mode | bits,
            Self::Clear(bits) => mode & !bits,
            Self::SetExecutable(bits) if may_execute => mode | bits,
            Self::SetExecutable(_) => mode,
            Self::Copy {
                from_shift,
                to,
                operator,
            } => {
                let class = mode >> from_shift & 0o7;
                let bits = (class << 6 | class << 3 | class) & to;
                match operator {
                    Operator::Add => mode | bits,
                    Operator::Remove => mode & !bits,
                    Operator::Assign => mode & !(to & 0o777) | bits,
                }
            }
        }
    }
}

/// Reads `[ugoa...][+-=][perms...]...`.
fn parse_clause(clause: &str, changes: &mut Vec<Change>) -> Option<()> {
    let who_length = clause
        .find(|ch| !matches!(ch, 'a' | 'u' | 'g' | 'o'))
        .unwrap_or(clause.len());
    let who = clause[..who_length].chars().fold(0, |who, ch| {
        who | match ch {
            'a' => STANDARD,
            'u' => SET_UID | 0o700,
            'g' => SET_GID | 0o070,
            _ => 0o007,
        }
    });
    let mut rest = clause[who_length..].chars().peekable();
    rest.peek()?;
    while let Some(operator) = rest.next() {
        let operator = match operator {
            '+' => Operator::Add,
            '-' => Operator::Remove,
            '=' => Operator::Assign,
            _ => return None,
        };
        let mut action = Action {
            who,
            operator,
            bits: 0,
            executable: 0,
            is_assigned: false,
        };
        while let Some(perm) = rest.next_if(|ch| !matches!(ch, '+' | '-' | '=')) {
            action.take(perm, changes)?;
        }
        action.finish(changes);
    }
    Some(())
}

/// One operator with the permissions read so far.
struct Action {
    who: u32,
    operator: Operator,
    bits: u32,
    executable: u32,
    /// Whether `=` has already put something in place.
    is_assigned: bool,
}

impl Action {
    fn take(&mut self, perm: char, changes: &mut Vec<Change>) -> Option<()> {
        // Set-id and sticky bits mean nothing to "others" alone.
        let is_others_only = self.who != 0 && self.who & !0o007 == 0;
        match perm {
            'r' => self.bits |= 0o444,
            'w' => self.bits |= 0o222,
            'x' => self.bits |= EXECUTE,
            'X' if self.operator != Operator::Remove => self.executable = EXECUTE,
            'X' => {}
            's' if !is_others_only => self.bits |= SET_UID | SET_GID,
            't' if !is_others_only => {
                self.who |= STICKY;
                self.bits |= STICKY;
            }
            's' | 't' => {}
            'u' => self.copy(6, changes),
            'g' => self.copy(3, changes),
            'o' => self.copy(0, changes),
            _ => return None,
        }
        Some(())
    }

    fn copy(&mut self, from_shift: u32, changes: &mut Vec<Change>) {
        self.flush(changes);
        self.is_assigned = true;
        let classes = [0o700, 0o070, 0o007];
        let to = match self.who {
            0 => UNNAMED & 0o777,
            who => classes.iter().filter(|class| who & **class != 0).sum(),
        };
        changes.push(Change::Copy {
            from_shift,
            to,
            operator: self.operator,
        });
    }

    /// Writes down the permissions read so far.
    fn flush(&mut self, changes: &mut Vec<Change>) {
        if self.bits != 0 {
            self.write(changes);
        }
        if self.executable != 0 {
            changes.push(Change::SetExecutable(self.allowed(self.executable)));
            self.executable = 0;
        }
    }

    fn finish(mut self, changes: &mut Vec<Change>) {
        // `u=` alone clears.
        if self.bits == 0 && self.operator == Operator::Assign && !self.is_assigned {
            self.write(changes);
        }
        self.flush(changes);
    }

    fn write(&mut self, changes: &mut Vec<Change>) {
        let bits = self.allowed(self.bits);
        match self.operator {
            Operator::Add => changes.push(Change::Set(bits)),
            Operator::Remove => changes.push(Change::Clear(bits)),
            Operator::Assign => {
                self.is_assigned = true;
                let cleared = if self.who == 0 { STANDARD } else { self.who };
                changes.extend([Change::Clear(cleared), Change::Set(bits)]);
            }
        }
        self.bits = 0;
    }

    fn allowed(&self, bits: u32) -> u32 {
        bits & if self.who == 0 { UNNAMED } else { self.who }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, before: u32, is_dir: bool, after: u32) {
        let mode = Chmod::parse(text).unwrap().apply(before, is_dir);
        assert_eq!(mode, after, "{text} on {before:o} gives {mode:o}");
    }

    #[test]
    fn octal() {
        check("0644", 0o777, false, 0o644);
        check("4755", 0, true, 0o4755);
        check("0", 0o777, false, 0);
    }

    #[test]
    fn symbolic() {
        check("go-w", 0o666, false, 0o644);
        check("u=rw,g=r,o=r", 0o777, false, 0o644);
        check("a+X", 0o666, false, 0o666);
        check("a+X", 0o124, true, 0o135);
        check("a+X", 0o744, false, 0o755);
        check("u+rw,g+r,o-x,o+w", 0o124, true, 0o766);
        check("u=rwX,go=rX", 0o1700, true, 0o1755);
        check("u=rwX,go=rX", 0o600, false, 0o644);
        check("u=rwX,go=rX", 0o4744, false, 0o755);
        check("g=X", 0o770, true, 0o710);
        check("a-X", 0o755, true, 0o755);
        check("go=", 0o777, false, 0o700);
        check("go=u-w", 0o740, false, 0o755);
        check("g=u", 0o701, false, 0o771);
        check("u+s,g+s", 0o755, false, 0o6755);
        check("a+t", 0o755, true, 0o1755);
        check("o+st", 0o755, true, 0o755);
        check("u=r", 0o4755, false, 0o455);
    }

    #[test]
    fn nobody_named_means_the_umask_decides() {
        check("+w", 0o444, false, 0o644);
        check("+x", 0o644, false, 0o755);
        check("=rw", 0o777, false, 0o644);
        check("-w", 0o666, false, 0o466);
    }

    #[test]
    fn refuses() {
        for bad in ["64a", "10000", "8", "0o644"] {
            assert_eq!(Chmod::parse(bad), Err(ChmodError::Octal(bad.to_owned())));
        }
        for bad in ["", "u", "rw", "u=rwz", "u+r,", "u+r,,g+r", "-644", "u==7"] {
            assert_eq!(Chmod::parse(bad), Err(ChmodError::Symbolic(bad.to_owned())));
        }
    }
}
