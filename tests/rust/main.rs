//! The engine's tests: one binary with a module for each part of the engine.

mod agreement;
mod allocations;
mod attention;
mod causal_conv1d;
mod draw;
mod errors;
mod experts;
mod fast;
mod files;
mod gated_delta_net;
mod initial_decay;
mod layer;
mod learner;
mod linear_attention;
mod linear_transformer;
mod mamba2;
mod mamba3;
mod mamba_step;
mod models;
mod objective;
mod opened;
mod params;
mod performer;
mod selective_scan;
mod selectivity;
