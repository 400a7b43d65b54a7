//! Which kind of file system the store lives on: some things fail on shared ones.

use std::path::Path;

/// Magic numbers of `statfs(2)`. FUSE is among them: what is behind it cannot be told.
const NETWORK: [(u64, &str); 13] = [
    (0x6969, "NFS"),
    (0x0BD0_0BD0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x1983_0326, "BeeGFS"),
    (0x00C3_6400, "Ceph"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB2"),
    (0x517B, "SMB"),
    (0x0102_1997, "9P"),
    (0x5346_414F, "AFS"),
    (0xAAD7_AAEA, "PanFS"),
    (0x2030_5143, "WekaFS"),
    (0x6573_5546, "FUSE"),
];

/// The name of the network file system a path is on; `None` for a local one, and where the
/// system does not tell.
pub fn network_filesystem(path: &Path) -> Option<&'static str> {
    let kind = rustix::fs::statfs(path).ok()?.f_type;
    // The field's width and sign differ between architectures; the numbers have 32 bits.
    let kind = (kind as u64) & 0xFFFF_FFFF;
    NETWORK
        .iter()
        .find(|(magic, _)| *magic == kind)
        .map(|(_, name)| *name)
}
