//! The program as people use it: each test reads like a transcript.
//!
//! Every test has a store, a home and a working directory of its own. The base image is one static
//! busybox; where the machine has none the tests say so and pass, but fail in CI.

#[path = "e2e/web.rs"]
mod web;
#[path = "e2e/workshop.rs"]
mod workshop;
#[path = "e2e/wrong_caches.rs"]
mod wrong_caches;

#[path = "e2e/absent_layers.rs"]
mod absent_layers;
#[path = "e2e/agents.rs"]
mod agents;
#[path = "e2e/attested_stacks.rs"]
mod attested_stacks;
#[path = "e2e/attesting.rs"]
mod attesting;
#[path = "e2e/building.rs"]
mod building;
#[path = "e2e/caching.rs"]
mod caching;
#[path = "e2e/conformance.rs"]
mod conformance;
#[path = "e2e/defining.rs"]
mod defining;
#[path = "e2e/devices.rs"]
mod devices;
#[path = "e2e/disk.rs"]
mod disk;
#[path = "e2e/failing.rs"]
mod failing;
#[path = "e2e/joining.rs"]
mod joining;
#[path = "e2e/lazy_bases.rs"]
mod lazy_bases;
#[path = "e2e/leaving.rs"]
mod leaving;
#[path = "e2e/linting.rs"]
mod linting;
#[path = "e2e/outputs.rs"]
mod outputs;
#[path = "e2e/platforms.rs"]
mod platforms;
#[path = "e2e/publishing.rs"]
mod publishing;
#[path = "e2e/registries.rs"]
mod registries;
#[path = "e2e/registry_caches.rs"]
mod registry_caches;
#[path = "e2e/retaining.rs"]
mod retaining;
#[path = "e2e/seeds.rs"]
mod seeds;
#[path = "e2e/serving.rs"]
mod serving;
#[path = "e2e/signing.rs"]
mod signing;
#[path = "e2e/sources.rs"]
mod sources;
#[path = "e2e/stack.rs"]
mod stack;
#[path = "e2e/surviving.rs"]
mod surviving;
#[path = "e2e/teams.rs"]
mod teams;
#[path = "e2e/testing.rs"]
mod testing;
#[path = "e2e/two_platforms.rs"]
mod two_platforms;
