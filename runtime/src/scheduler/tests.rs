//! Models and tests of the pure parts of the scheduler.
