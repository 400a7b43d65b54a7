//! The vocabulary of the OCI image and distribution specs: parse, validate, print; no IO.
