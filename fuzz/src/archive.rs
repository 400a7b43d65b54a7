//! Archives made of bytes that a search changes: every change is one of an entry, none is refused for
//! its checksum.

/// An archive of the entries that the bytes tell, with true checksums.
pub fn archive(mut data: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    while let Some((entry, left)) = entry(data) {
        data = left;
        append(&mut builder, &entry);
    }
    builder.into_inner().expect("memory")
}

/// One entry: a letter for its kind, a byte for its mode, then name and target or bytes, each up to
/// a NUL.
struct Entry<'a> {
    kind: tar::EntryType,
    mode: u8,
    name: &'a [u8],
    rest: &'a [u8],
}

fn entry(data: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let [kind, mode, data @ ..] = data else {
        return None;
    };
    let (name, data) = until_nul(data);
    let (rest, data) = until_nul(data);
    let kind = match kind {
        b'd' => tar::EntryType::Directory,
        b's' => tar::EntryType::Symlink,
        b'h' => tar::EntryType::Link,
        b'p' => tar::EntryType::Fifo,
        b'c' => tar::EntryType::Char,
        b'b' => tar::EntryType::Block,
        b'x' => tar::EntryType::XHeader,
        b'S' => tar::EntryType::GNUSparse,
        b'?' => tar::EntryType::new(*kind),
        _ => tar::EntryType::Regular,
    };
    let mode = *mode;
    Some((
        Entry {
            kind,
            mode,
            name,
            rest,
        },
        data,
    ))
}

/// The bytes up to a NUL, and those after it.
pub fn until_nul(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|byte| *byte == 0) {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[]),
    }
}

fn append(builder: &mut tar::Builder<Vec<u8>>, entry: &Entry<'_>) {
    let is_link = matches!(entry.kind, tar::EntryType::Symlink | tar::EntryType::Link);
    let bytes = if is_link { &[] } else { entry.rest };
    // Names that do not fit are written as GNU tar does, in entries of their own.
    long(builder, b'L', entry.name);
    if is_link {
        long(builder, b'K', entry.rest);
    }
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(entry.kind);
    header.set_mode(u32::from(entry.mode) << 4 | 0o400);
    header.set_uid(u64::from(entry.mode & 7));
    header.set_gid(u64::from(entry.mode & 3));
    header.set_mtime(u64::from(entry.mode) << 20);
    header.set_size(bytes.len() as u64);
    let _ = header.set_device_major(1);
    let _ = header.set_device_minor(u32::from(entry.mode & 15));
    fill(&mut header.as_old_mut().name, entry.name);
    if is_link {
        fill(&mut header.as_old_mut().linkname, entry.rest);
    }
    header.set_cksum();
    builder.append(&header, bytes).expect("memory");
}

fn long(builder: &mut tar::Builder<Vec<u8>>, kind: u8, name: &[u8]) {
    if name.len() <= 100 {
        return;
    }
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_size(name.len() as u64);
    header.set_cksum();
    builder.append(&header, name).expect("memory");
}

fn fill(field: &mut [u8; 100], bytes: &[u8]) {
    let len = bytes.len().min(field.len());
    field[..len].copy_from_slice(&bytes[..len]);
}
