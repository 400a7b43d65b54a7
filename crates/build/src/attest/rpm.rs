//! rpm's database in SQLite, as Fedora and its relatives have it.
//!
//! The file is of an image, so nothing in it is believed: it is read from a copy, its own views and
//! functions are not run, and what is no header is passed over.

use std::fs::File;
use std::io;
use std::path::Path;

use cairn_attest::package::{Package, rpm};
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

/// Reads the packages; `None` if the database cannot be read. `log` holds what was written last,
/// where somebody left it beside the database.
pub(super) fn packages(
    database: File,
    log: Option<File>,
    place: &Path,
    found_in: &str,
) -> io::Result<Option<Vec<Package>>> {
    let copies = TempDir::new_in(place)?;
    let copy = |mut from: File, name: &str| {
        let mut to = File::create_new(copies.path().join(name))?;
        io::copy(&mut from, &mut to)
    };
    copy(database, "db")?;
    if let Some(log) = log {
        copy(log, "db-wal")?;
    }
    Ok(headers(&copies.path().join("db"), found_in).ok())
}

fn headers(path: &Path, found_in: &str) -> rusqlite::Result<Vec<Package>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(path, flags)?;
    database.pragma_update(None, "trusted_schema", false)?;
    // A view of this name could do anything, for ever.
    let mut tables = database.prepare(
        "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'Packages' AND rootpage > 0",
    )?;
    if !tables.exists([])? {
        return Err(rusqlite::Error::QueryReturnedNoRows);
    }
    let mut rows = database.prepare("SELECT blob FROM main.Packages")?;
    let mut rows = rows.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        if let Ok(blob) = row.get_ref(0)?.as_blob() {
            found.extend(rpm::header(blob, found_in));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header of a package: entries of one text each.
    fn header(name: &str) -> Vec<u8> {
        let texts = [(1000_u32, name), (1001, "1"), (1002, "2")];
        let (mut index, mut data) = (Vec::new(), Vec::new());
        for (tag, text) in texts {
            let at = u32::try_from(data.len()).unwrap();
            for number in [tag, 6, at, 1] {
                index.extend(number.to_be_bytes());
            }
            data.extend([text.as_bytes(), b"\0"].concat());
        }
        let length = u32::try_from(data.len()).unwrap();
        [
            &3_u32.to_be_bytes()[..],
            &length.to_be_bytes(),
            &index,
            &data,
        ]
        .concat()
    }

    fn read(folder: &TempDir, has_log: bool) -> Option<Vec<String>> {
        let open = |name: &str| File::open(folder.path().join(name)).unwrap();
        let log = has_log.then(|| open("db-wal"));
        let found = packages(open("db"), log, folder.path(), "/db").unwrap();
        let names = |found: Vec<Package>| found.into_iter().map(|it| it.name).collect();
        found.map(names)
    }

    #[test]
    fn packages_are_read_from_the_database_and_its_log() {
        let folder = TempDir::new().unwrap();
        let database = Connection::open(folder.path().join("db")).unwrap();
        database
            .execute_batch("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)")
            .unwrap();
        let add = |blob: &[u8]| {
            let add = "INSERT INTO Packages (blob) VALUES (?1)";
            database.execute(add, [blob]).unwrap();
        };
        add(&header("bash"));
        add(b"no header");
        assert_eq!(read(&folder, false).unwrap(), ["bash"]);
        database.pragma_update(None, "journal_mode", "wal").unwrap();
        add(&header("zlib"));
        assert_eq!(read(&folder, true).unwrap(), ["bash", "zlib"]);
    }

    #[test]
    fn what_is_no_database_of_rpm_is_none() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("db");
        std::fs::write(&path, "no database").unwrap();
        assert_eq!(read(&folder, false), None);
        std::fs::remove_file(&path).unwrap();
        let endless = "CREATE VIEW Packages AS WITH RECURSIVE n(blob) AS \
                       (SELECT 1 UNION ALL SELECT blob + 1 FROM n) SELECT blob FROM n";
        Connection::open(&path)
            .unwrap()
            .execute_batch(endless)
            .unwrap();
        assert_eq!(read(&folder, false), None);
    }
}
