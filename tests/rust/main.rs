//! The engine's tests: one binary with a module for each part of the engine.

mod agreement;
mod allocations;
mod causal_conv1d;
mod draw;
mod errors;
mod learner;
mod mamba_step;
mod models;
mod objective;
mod params;
mod selective_scan;
mod selectivity;
