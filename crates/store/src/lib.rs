//! The on-disk state: blobs, references, snapshots, layers, cache records, locks, collection.
