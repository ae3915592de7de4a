//! Names, roles and first values of parameters: they are part of every checkpoint.

use crate::models::{Model, Settings, classifier, image_classifier, regressor};
use mambacl::error::Error;
use mambacl::params::{Init, Role, Schema};
use tch::{Kind, Tensor};

fn names(role: Role) -> impl Fn(&Schema) -> Vec<String> {
    move |schema| {
        let specs = schema.specs().iter().filter(|spec| spec.role == role);
        specs.map(|spec| format!("{} {:?}", spec.name, spec.shape)).collect()
    }
}

fn schema(config: impl Settings) -> Schema {
    config.learner().schema().unwrap()
}

#[test]
fn the_schema_is_pinned() {
    let schema = schema(classifier());
    let all: Vec<_> = schema.specs().iter().map(|spec| format!("{} {:?}", spec.name, spec.shape)).collect();
    let mut want = [
        "encoder.layers.0.linear.weight [7, 5]",
        "encoder.layers.0.norm.weight [7]",
        "encoder.layers.0.norm.bias [7]",
        "encoder.layers.0.norm.running_mean [7]",
        "encoder.layers.0.norm.running_var [7]",
        "encoder.layers.1.linear.weight [8, 7]",
        "encoder.layers.1.norm.weight [8]",
        "encoder.layers.1.norm.bias [8]",
        "encoder.layers.1.norm.running_mean [8]",
        "encoder.layers.1.norm.running_var [8]",
        "target_embedding.weight [6, 8]",
        "head.weight [6, 8]",
        "head.bias [6]",
    ]
    .map(String::from)
    .to_vec();
    for layer in 0..2 {
        let block = [
            "norm.weight [8]",
            "mixer.in_proj.weight [32, 8]",
            "mixer.conv1d.weight [16, 1, 4]",
            "mixer.conv1d.bias [16]",
            "mixer.x_proj.weight [9, 16]",
            "mixer.dt_proj.weight [16, 1]",
            "mixer.dt_proj.bias [16]",
            "mixer.A_log [16, 4]",
            "mixer.D [16]",
            "mixer.out_proj.weight [8, 16]",
        ];
        want.extend(block.map(|name| format!("backbone.layers.{layer}.{name}")));
    }
    want.push("backbone.norm_f.weight [8]".into());
    assert_eq!(all, want);
}

#[test]
fn other_encoders_and_targets_are_pinned() {
    let conv: Vec<_> = names(Role::Decayed)(&schema(image_classifier()));
    assert_eq!(
        conv[..3],
        [
            "encoder.layers.0.conv.weight [3, 1, 3, 3]",
            "encoder.layers.1.conv.weight [4, 3, 3, 3]",
            "encoder.projection.linear.weight [8, 36]"
        ]
    );
    let schema = schema(regressor());
    let target = schema.specs().iter().filter(|spec| spec.name.starts_with("target_embedding"));
    let target: Vec<_> = target.map(|spec| format!("{} {:?}", spec.name, spec.shape)).collect();
    assert_eq!(
        target,
        [
            "target_embedding.hidden.weight [8, 3]",
            "target_embedding.hidden.bias [8]",
            "target_embedding.output.weight [8, 8]",
            "target_embedding.output.bias [8]"
        ]
    );
}

#[test]
fn dynamics_norms_and_biases_have_no_weight_decay() {
    for config in [classifier().learner(), image_classifier(), regressor()] {
        for spec in schema(config).specs() {
            let last = spec.name.rsplit('.').next().unwrap();
            let role = match last {
                "running_mean" | "running_var" => Role::Buffer,
                "A_log" | "D" | "bias" => Role::Undecayed,
                _ if spec.name.contains("norm") => Role::Undecayed,
                _ => Role::Decayed,
            };
            assert_eq!(spec.role, role, "{}", spec.name);
        }
    }
}

#[test]
fn a_var_store_has_the_names_and_trains_all_but_buffers() {
    let model = Model::new(classifier(), Kind::Float);
    let variables = model.variables.variables();
    assert_eq!(variables.len(), model.schema.specs().len());
    for (spec, value) in model.schema.specs().iter().zip(model.schema.initial(0)) {
        let variable = &variables[&spec.name];
        assert_eq!(*variable, value, "{}", spec.name);
        assert_eq!(variable.requires_grad(), spec.role != Role::Buffer, "{}", spec.name);
    }
}

fn drawn(init: Init, seed: u64, name: &str, shape: &[i64]) -> Vec<f32> {
    init.draw(seed, name, shape).flatten(0, -1).try_into().unwrap()
}

const KINDS: [Init; 6] = [
    Init::Constant(0.5),
    Init::Uniform { bound: 0.25 },
    Init::Normal { std: 2.0 },
    Init::LogOfIndex,
    Init::LogOfUniform { min: 1.0, max: 16.0 },
    Init::InverseSoftplus { min: 1e-3, max: 1e-1 },
];

/// Whoever changes these numbers changes every seeded result.
#[test]
fn first_values_are_pinned() {
    let pinned = [
        [0.5, 0.5, 0.5],
        [-0.115_904_72, -0.185_877_25, -0.223_760_68],
        [-1.063_901_9, -1.455_426_6, -3.513_030_3],
        [0.0, std::f32::consts::LN_2, 1.098_612_3],
        [1.613_999_1, 1.072_843_9, 0.580_638_77],
        [-5.670_972_3, -6.316_260_3, -6.665_445_3],
    ];
    assert_eq!(KINDS.map(|init| drawn(init, 0, "a", &[3])), pinned);
}

#[test]
fn first_values_depend_on_seed_and_name_and_nothing_else() {
    let normal = Init::Normal { std: 1.0 };
    let first = drawn(normal, 0, "a", &[4]);
    assert_eq!(drawn(normal, 0, "a", &[2, 2]), first);
    assert_eq!(drawn(normal, 0, "a", &[8])[..4], first);
    assert_ne!(drawn(normal, 1, "a", &[4]), first);
    assert_ne!(drawn(normal, 0, "b", &[4]), first);
}

#[test]
fn first_values_are_distributed_as_they_say() {
    let count = 20_000;
    let numbers =
        |init: Init| -> Vec<f64> { drawn(init, 0, "a", &[count]).into_iter().map(f64::from).collect() };
    let moments = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / count as f64;
        let square = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count as f64;
        (mean, square.sqrt())
    };
    let uniform = numbers(Init::fan_in(16)); // ±1/4
    assert!(uniform.iter().all(|value| value.abs() <= 0.25));
    let (mean, std) = moments(&uniform);
    assert!(mean.abs() < 0.005 && (std - 0.25 / 3_f64.sqrt()).abs() < 0.005, "{mean}, {std}");
    let (mean, std) = moments(&numbers(Init::Normal { std: 2.0 }));
    assert!(mean.abs() < 0.05 && (std - 2.0).abs() < 0.05, "{mean}, {std}");
    let steps = numbers(Init::InverseSoftplus { min: 1e-3, max: 1e-1 });
    let logs: Vec<_> = steps.iter().map(|bias| bias.exp().ln_1p().ln()).collect();
    assert!(logs.iter().all(|log| (1e-3_f64.ln() - 1e-5..=1e-1_f64.ln() + 1e-5).contains(log)));
    let (mean, std) = moments(&logs);
    assert!((mean - 1e-2_f64.ln()).abs() < 0.05 && (std - 100_f64.ln() / 12_f64.sqrt()).abs() < 0.05);
    let decays: Vec<_> =
        numbers(Init::LogOfUniform { min: 1.0, max: 16.0 }).iter().map(|log| log.exp()).collect();
    assert!(decays.iter().all(|decay| (1.0 - 1e-5..=16.0 + 1e-5).contains(decay)));
    let (mean, std) = moments(&decays);
    assert!((mean - 8.5).abs() < 0.1 && (std - 15.0 / 12_f64.sqrt()).abs() < 0.1, "{mean}, {std}");
    let index = drawn(Init::LogOfIndex, 0, "a", &[2, 3]);
    assert_eq!(index, [1.0, 2.0, 3.0, 1.0, 2.0, 3.0_f32].map(|n| f64::from(n).ln() as f32));
}

#[test]
fn a_missing_tensor_is_named() {
    let (config, model) = (classifier().learner(), Model::new(classifier(), Kind::Float));
    let bind = |tensors: &[Tensor]| config.bind(&model.schema, tensors).err().unwrap();
    let count = model.tensors.len();
    let error = bind(&model.tensors[..count - 1]);
    assert!(matches!(error, Error::MissingParameter { name } if name == "backbone.norm_f.weight"));
    let error = bind(&[]);
    assert!(matches!(error, Error::MissingParameter { name } if name == "encoder.layers.0.linear.weight"));
    // A schema that lacks what the model asks for.
    let other = Schema::of(|path| path.parameter("weight", &[1], Init::Constant(0.0))).unwrap();
    let error = config.bind(&other, &other.initial(0)).err().unwrap();
    assert!(matches!(error, Error::MissingParameter { name } if name == "encoder.layers.0.linear.weight"));
}

#[test]
fn a_tensor_of_another_shape_is_named() {
    let (config, model) = (classifier().learner(), Model::new(classifier(), Kind::Float));
    for (place, spec) in model.schema.specs().iter().enumerate() {
        let mut tensors: Vec<_> = model.tensors.iter().map(Tensor::shallow_clone).collect();
        tensors[place] = tensors[place].unsqueeze(0);
        let error = config.bind(&model.schema, &tensors).err().unwrap();
        let Error::Shape { op: "parameters", argument, got, .. } = error else { panic!("{error:?}") };
        assert_eq!((argument, got), (spec.name.clone(), [&[1], &spec.shape[..]].concat()));
    }
}
