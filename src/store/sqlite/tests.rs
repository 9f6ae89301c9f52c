//! Tests of what only this store does.
