//! Layer 1, driver.
