//! The A that recurrent mixers begin with, by its setting.

use crate::agreement::assert_near;
use crate::models::refused;
use mambacl::error::Result;
use mambacl::mixers::gated_delta_net::GatedDeltaNetConfig;
use mambacl::mixers::mamba::MambaConfig;
use mambacl::mixers::mamba2::Mamba2Config;
use mambacl::mixers::mamba3::Mamba3Config;
use mambacl::mixers::{InitialDecay, MixerConfig};
use mambacl::params::{Role, Schema};
use mambacl::settings;
use serde_json::{Value, json};
use tch::{Kind, Tensor};

const D_MODEL: i64 = 256;
const KINDS: [&str; 4] = ["mamba", "mamba2", "mamba3", "gated_delta_net"];

/// Many heads, with an initial decay or the default.
fn config(kind: &str, decay: Option<Value>) -> MixerConfig {
    let mut table = json!({"kind": kind});
    match kind {
        "mamba2" | "mamba3" => table["headdim"] = json!(1),
        "gated_delta_net" => table["n_head"] = json!(256),
        _ => (),
    }
    if let Some(decay) = decay {
        table["initial_decay"] = decay;
    }
    settings::read(&table.to_string()).unwrap()
}

fn schema(config: &MixerConfig) -> Result<Schema> {
    Schema::of(|path| config.settings().build(path, D_MODEL))
}

/// The first values of -A; none where there is no A_log.
fn rates(kind: &str, decay: Option<Value>) -> Option<Tensor> {
    let schema = schema(&config(kind, decay)).unwrap();
    let place = schema.specs().iter().position(|spec| spec.name == "A_log")?;
    assert_eq!(schema.specs()[place].role, Role::Undecayed);
    Some(schema.initial(0)[place].exp())
}

#[test]
fn a_number_is_every_rate() {
    for kind in KINDS {
        for (decay, want) in [(Some(json!(0.25)), 0.25), (Some(json!(3)), 3.0), (None, 0.1)] {
            let rates = rates(kind, decay).unwrap();
            assert_near(kind, &rates, &rates.full_like(want), 1e-6);
        }
    }
}

#[test]
fn published_is_as_each_mixer_is_published() {
    let published = |kind| rates(kind, Some(json!("published")));
    let index = Tensor::arange_start(1, 17, (Kind::Float, tch::Device::Cpu));
    let rates = published("mamba").unwrap();
    assert_near("mamba", &rates, &index.expand_as(&rates), 1e-5);
    for (kind, slowest) in [("mamba2", 1.0), ("gated_delta_net", 1e-3)] {
        let rates = published(kind).unwrap();
        assert!(rates.min().double_value(&[]) >= slowest * (1.0 - 1e-6), "{kind}");
        assert!(rates.max().double_value(&[]) <= 16.0 + 1e-5, "{kind}");
        // Five standard errors of a uniform number.
        let (mean, error) = ((slowest + 16.0) / 2.0, (16.0 - slowest) / (12.0 * rates.numel() as f64).sqrt());
        assert_near(kind, &rates.mean(Kind::Double), &Tensor::from(mean), 5.0 * error / mean);
    }
    assert!(published("mamba3").is_none(), "mamba-ssm's tensors alone");
}

#[test]
fn it_is_written_as_it_is_read() {
    for kind in KINDS {
        for decay in [json!("published"), json!(0.1), json!(2.0)] {
            let again = serde_json::to_value(config(kind, Some(decay.clone()))).unwrap();
            assert_eq!(again["initial_decay"], decay, "{kind}");
        }
    }
}

#[test]
fn other_texts_and_numbers_out_of_range_are_refused() {
    for kind in KINDS {
        for (decay, expected) in [
            (json!(0.0), "at least 1e-6"),
            (json!(-0.1), "at least 1e-6"),
            (json!(9e-7), "at least 1e-6"),
            (json!(1001.0), "at most 1000.0"),
            (json!("Published"), r#""published" or a number"#),
            (json!(true), r#""published" or a number"#),
            (json!([0.1]), r#""published" or a number"#),
            (json!(null), r#""published" or a number"#),
        ] {
            let table = json!({"kind": kind, "initial_decay": decay});
            let refused = settings::read::<MixerConfig>(&table.to_string()).unwrap_err().to_string();
            assert_eq!(refused, format!("configuration: `initial_decay` must be {expected}, got {decay}"));
        }
        for decay in [1e-6, 1e3] {
            assert!(schema(&config(kind, Some(json!(decay)))).is_ok(), "{kind} {decay}");
        }
    }
    for rate in [f64::NAN, f64::INFINITY, 0.0, 1001.0] {
        let initial_decay = InitialDecay::Rate(rate);
        for field in [
            refused(MambaConfig { initial_decay, ..MambaConfig::default() }, D_MODEL),
            refused(Mamba2Config { initial_decay, ..Mamba2Config::default() }, D_MODEL),
            refused(Mamba3Config { initial_decay, ..Mamba3Config::default() }, D_MODEL),
            refused(GatedDeltaNetConfig { initial_decay, ..GatedDeltaNetConfig::default() }, D_MODEL),
        ] {
            assert_eq!(field, "mixer.initial_decay");
        }
    }
}
