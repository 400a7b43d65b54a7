//! A run over many images: plan, build, check, report.
