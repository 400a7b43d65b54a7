//! What one running step printed, kept until it is known whether somebody will want to read it.
//!
//! A step may print gigabytes. The first part stays in memory; past that, everything goes to an
//! unnamed temporary file, which vanishes with the process whatever happens to it. Where no file
//! can be made (a full disk), the beginning is kept and the rest counted: the store's own log of
//! the step is not affected.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::Duration;

/// So many bytes of a step's log stay in memory.
const MEMORY_BYTES_MAX: usize = 256 << 10;

/// The lines of one step.
#[derive(Debug)]
pub struct StepLog {
    /// Where the file is made.
    directory: PathBuf,
    /// Lines not yet in the file, each as `<milliseconds>\t<text>\n`.
    memory: Vec<u8>,
    file: Option<File>,
    lines: u64,
    lines_lost: u64,
}

impl StepLog {
    /// An empty log that spills into `directory`.
    pub fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            memory: Vec::new(),
            file: None,
            lines: 0,
            lines_lost: 0,
        }
    }

    /// Adds a line that was printed `at` after the start of the step.
    pub fn push(&mut self, at: Duration, line: &str) {
        if self.lines_lost > 0 {
            self.lines_lost += 1;
            return;
        }
        let before = self.memory.len();
        // Writing to memory cannot fail.
        let _ = writeln!(
            self.memory,
            "{}\t{}",
            at.as_millis(),
            line.replace('\n', " ")
        );
        self.lines += 1;
        if self.memory.len() > MEMORY_BYTES_MAX && self.spill().is_err() {
            self.memory.truncate(before);
            self.lines -= 1;
            self.lines_lost = 1;
        }
    }

    fn spill(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile_in(&self.directory)?),
        };
        let end = file.seek(SeekFrom::End(0))?;
        if let Err(error) = file.write_all(&self.memory) {
            // Half a line must not be read later.
            file.set_len(end)?;
            return Err(error);
        }
        self.memory.clear();
        Ok(())
    }

    /// Whether the step has printed nothing.
    pub fn is_empty(&self) -> bool {
        self.lines == 0
    }

    /// How many lines could not be kept.
    pub fn lines_lost(&self) -> u64 {
        self.lines_lost
    }

    /// Hands every line from number `first` on (from 0) to `each`, in order.
    pub fn for_each_from(
        &mut self,
        first: u64,
        each: &mut dyn FnMut(Duration, &str),
    ) -> io::Result<()> {
        let mut skip = first;
        let mut hand_out = |line: &[u8]| {
            if skip > 0 {
                skip -= 1;
                return;
            }
            let line = String::from_utf8_lossy(line);
            let (at, text) = line.split_once('\t').unwrap_or(("0", &line));
            each(Duration::from_millis(at.parse().unwrap_or(0)), text);
        };
        if let Some(file) = &mut self.file {
            file.seek(SeekFrom::Start(0))?;
            each_line(BufReader::new(file), &mut hand_out)?;
        }
        each_line(self.memory.as_slice(), &mut hand_out)
    }

    /// Forgets all lines.
    pub fn clear(&mut self) {
        *self = Self::new(std::mem::take(&mut self.directory));
    }
}

fn each_line(mut reader: impl BufRead, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        each(line.strip_suffix(b"\n").unwrap_or(&line));
        line.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(log: &mut StepLog, first: u64) -> Vec<(u64, String)> {
        let mut all = Vec::new();
        log.for_each_from(first, &mut |at, text| {
            all.push((at.as_millis() as u64, text.to_owned()));
        })
        .unwrap();
        all
    }

    #[test]
    fn keeps_order_and_times() {
        let mut log = StepLog::new("/tmp".into());
        log.push(Duration::from_millis(5), "a\tb");
        log.push(Duration::from_millis(900), "");
        assert_eq!(lines(&mut log, 0), [(5, "a\tb".into()), (900, "".into())]);
        assert_eq!(lines(&mut log, 1), [(900, String::new())]);
    }

    #[test]
    fn a_long_log_is_whole_and_not_in_memory() {
        let mut log = StepLog::new("/tmp".into());
        let text = "x".repeat(100);
        for number in 0..20_000 {
            log.push(Duration::ZERO, &format!("{number} {text}"));
        }
        assert!(log.file.is_some() && log.memory.len() <= MEMORY_BYTES_MAX);
        let all = lines(&mut log, 0);
        assert_eq!(
            (all.len(), log.lines, log.lines_lost()),
            (20_000, 20_000, 0)
        );
        assert!(all[19_999].1.starts_with("19999 ") && all[12_345].1.starts_with("12345 "));
        assert_eq!(lines(&mut log, 19_998).len(), 2);
        log.push(Duration::ZERO, "after reading");
        assert_eq!(lines(&mut log, 20_000)[0].1, "after reading");
    }
}
