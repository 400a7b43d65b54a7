//! Moves images and files between the network and the store: fetch, resume, verify, retry.
