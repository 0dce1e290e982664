//! The Thalweg library: start the broker inside a program or a test.
