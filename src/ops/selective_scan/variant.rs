//! What the GPU kernels of a scan are compiled for.

use crate::ops::check::state_kind;
use crate::ops::cuda::task::{element, spans};
use crate::ops::cuda::{Choice, Kernel, Source};
use tch::Kind;

/// The text of an entry: what all share, then its own.
macro_rules! source {
    ($name:literal) => {
        Source {
            name: concat!("selective_scan_", $name),
            text: concat!(
                include_str!("../cuda/numbers.cuh"),
                include_str!("kernel.cu"),
                include_str!(concat!($name, ".cu"))
            ),
        }
    };
}

/// The kernels: forward.cu, states.cu and backward.cu.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Entry {
    Forward,
    States,
    Backward,
}

impl Entry {
    pub const ALL: [Self; 3] = [Self::Forward, Self::States, Self::Backward];

    pub fn source(self) -> &'static Source {
        static FORWARD: Source = source!("forward");
        static STATES: Source = source!("states");
        static BACKWARD: Source = source!("backward");
        match self {
            Self::Forward => &FORWARD,
            Self::States => &STATES,
            Self::Backward => &BACKWARD,
        }
    }

    /// Threads of a block, at most: so many share one copy of B and C. Fewer in the backward pass, whose states of 8
    /// steps fill 45 kB of shared memory.
    fn most_threads(self) -> i64 {
        if self == Self::Backward { 64 } else { 128 }
    }

    /// Blocks of threads for some channels, and the threads of each.
    pub fn spans(self, d_inner: i64) -> (i64, i64) {
        spans(d_inner, self.most_threads())
    }

    /// For a launch.
    pub fn kernel<'a>(self, defines: &'a [(&'a str, String)]) -> Kernel<'a> {
        let source = self.source();
        Kernel { source, entry: source.name, defines }
    }
}

/// The types and sizes that decide about a kernel's text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variant {
    pub u: Kind,
    pub delta: Kind,
    pub z: Option<Kind>,
    /// Of B and C.
    pub selection: Kind,
    pub delta_softplus: bool,
    pub length: i64,
    pub d_inner: i64,
    pub d_state: i64,
}

impl Variant {
    /// The type of states and sums.
    pub fn real(&self) -> Kind {
        state_kind(self.u)
    }

    /// States of a lane's tile, and blocks of four times as many.
    pub fn blocks(&self) -> (i64, i64) {
        let states = match self.d_state {
            ..=4 => 1,
            5..=8 => 2,
            _ => 4,
        };
        (states, ((self.d_state + 4 * states - 1) / (4 * states)).max(1))
    }

    /// Steps in flight at once, a power of two. What visits the states for the backward pass has its tiles of time,
    /// and of float64 half as many fill its shared memory.
    pub fn steps(&self, entry: Entry) -> i64 {
        let most = if entry != Entry::Forward && self.real() == Kind::Double { 4 } else { 8 };
        (self.length.clamp(1, most) as u64).next_power_of_two() as i64
    }

    pub fn defines(&self, entry: Entry) -> Vec<(&'static str, String)> {
        let (states, blocks) = self.blocks();
        let threads = entry.spans(self.d_inner).1;
        // A thread may have 128 registers where numbers are small and states few, else 255.
        let small = entry != Entry::Backward && self.real() == Kind::Float && blocks == 1;
        let lanes = if small { 512 } else { 256 };
        let flag = |flag: bool| i32::from(flag).to_string();
        vec![
            ("REAL", element(self.real()).into()),
            ("U", element(self.u).into()),
            ("DELTA", element(self.delta).into()),
            ("Z", element(self.z.unwrap_or(self.u)).into()),
            ("BC", element(self.selection).into()),
            ("GATED", flag(self.z.is_some())),
            ("SOFTPLUS", flag(self.delta_softplus)),
            ("STATES", states.to_string()),
            ("BLOCKS", blocks.to_string()),
            ("STEPS", self.steps(entry).to_string()),
            ("THREADS", threads.to_string()),
            ("RESIDENT", (lanes / threads.max(32)).to_string()),
        ]
    }
}

/// The kernels that learners ask for, and some that others may: source, entry, what is defined.
pub(crate) fn kernels() -> Vec<Choice> {
    let plain = |kind| Variant {
        u: kind,
        delta: kind,
        z: Some(kind),
        selection: kind,
        delta_softplus: true,
        length: 200,
        d_inner: 1024,
        d_state: 16,
    };
    let float = plain(Kind::Float);
    let variants = [
        float,
        plain(Kind::BFloat16),
        plain(Kind::Half),
        plain(Kind::Double),
        Variant { delta: Kind::Float, selection: Kind::Float, ..plain(Kind::BFloat16) },
        Variant { z: None, delta_softplus: false, ..float },
        Variant { length: 1, ..float },
        Variant { d_state: 4, d_inner: 32, ..float },
        Variant { d_state: 64, ..float },
    ];
    let of = |variant: &Variant| {
        Entry::ALL.map(|entry| (entry.source(), entry.source().name, variant.defines(entry)))
    };
    variants.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::cuda::resources;

    /// Registers are what decides how many threads hide the latency of memory: the kernels of float32 keep to what
    /// they are compiled for without putting any aside.
    #[test]
    fn usual_scans_spill_no_registers() {
        for (source, entry, defines) in kernels().into_iter().take(Entry::ALL.len()) {
            let log = resources(source, &defines, "sm_90").unwrap();
            assert!(log.contains("0 bytes spill stores, 0 bytes spill loads"), "{entry}: {log}");
        }
    }
}
