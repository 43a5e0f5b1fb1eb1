//! Models and tests of the task room.
