//! Models of a job's block.

mod model;
