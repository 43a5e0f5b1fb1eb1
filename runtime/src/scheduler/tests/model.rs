//! Models of the scheduler's protocols.
